//! A chain to test against, a funded wallet, raw requests, and a small contract.

use alloy::{
    network::{EthereumWallet, TransactionBuilder},
    primitives::{Address, B256, Bytes, U256, hex},
    providers::{DynProvider, Provider, ProviderBuilder},
    rpc::types::{TransactionReceipt, TransactionRequest},
    signers::local::PrivateKeySigner,
};
use chain::{BlockTime, Chain, ChainConfig, RunningChain};
use serde_json::{Value, json};
use std::{path::Path, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;

/// Ether of the funded account.
pub(crate) const FUNDS: u64 = 1_000;
/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) fn ether(amount: u64) -> U256 {
    U256::from(amount) * U256::from(10).pow(U256::from(18))
}

/// The funded account; the key is as secret as this file.
pub(crate) fn alice() -> PrivateKeySigner {
    PrivateKeySigner::from_bytes(&B256::repeat_byte(0xa1)).unwrap()
}

/// An account without funds.
pub(crate) fn bob() -> Address {
    Address::repeat_byte(0xb0)
}

pub(crate) fn config() -> ChainConfig {
    ChainConfig {
        genesis_accounts: vec![(alice().address().into_array(), ether(FUNDS))],
        ..ChainConfig::default()
    }
}

pub(crate) fn config_on(directory: &Path) -> ChainConfig {
    ChainConfig {
        data_dir: Some(directory.to_owned()),
        ..config()
    }
}

pub(crate) fn every(interval: Duration) -> ChainConfig {
    ChainConfig {
        block_time: BlockTime::Every(interval),
        ..config()
    }
}

/// Blocks only by `evm_mine`.
pub(crate) fn by_hand() -> ChainConfig {
    ChainConfig {
        test_controls: true,
        ..every(Duration::from_secs(3600))
    }
}

pub(crate) struct Fixture {
    pub(crate) chain: RunningChain,
    /// Signs as alice.
    pub(crate) provider: DynProvider,
}

impl Fixture {
    pub(crate) async fn start(config: ChainConfig) -> Self {
        let chain = Chain::start(config, CancellationToken::new())
            .await
            .unwrap();
        let provider = provider(&chain.rpc_url());
        Self { chain, provider }
    }

    /// Calls a method by hand; returns its result or its error object.
    pub(crate) async fn call(&self, method: &str, params: Value) -> Result<Value, Value> {
        let request = json!({"jsonrpc": "2.0", "id": 7, "method": method, "params": params});
        let (status, body) = self.post(&request.to_string()).await;
        assert_eq!(status, 200, "{body}");
        let answer: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(answer["id"], 7);
        match answer.get("error") {
            Some(error) => Err(error.clone()),
            None => Ok(answer["result"].clone()),
        }
    }

    /// Calls a method that must succeed.
    pub(crate) async fn get(&self, method: &str, params: Value) -> Value {
        self.call(method, params).await.unwrap()
    }

    /// The message of the error that a call must end in.
    pub(crate) async fn refusal(&self, method: &str, params: Value) -> String {
        let error = self.call(method, params).await.unwrap_err();
        error["message"].as_str().unwrap().to_owned()
    }

    pub(crate) async fn post(&self, body: &str) -> (u16, String) {
        let headers = "Host: localhost\r\nContent-Type: application/json\r\n";
        let (status, _, body) = self.http("POST", headers, body.as_bytes()).await;
        (status, body)
    }

    /// Sends a request as it stands; returns status, head and body.
    pub(crate) async fn http(
        &self,
        method: &str,
        headers: &str,
        body: &[u8],
    ) -> (u16, String, String) {
        let mut stream = TcpStream::connect(self.chain.address()).await.unwrap();
        let length = body.len();
        let head = format!(
            "{method} / HTTP/1.1\r\n{headers}Content-Length: {length}\r\nConnection: close\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        // The server may answer, and close, before it has read a body that it refuses.
        let _ = stream.write_all(body).await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        let answer = String::from_utf8(answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, head.to_ascii_lowercase(), body.to_owned())
    }

    pub(crate) async fn number(&self) -> u64 {
        self.provider.get_block_number().await.unwrap()
    }

    pub(crate) async fn mine(&self) {
        self.get("evm_mine", json!([])).await;
    }

    /// Sends value to bob and waits for the receipt.
    pub(crate) async fn pay(&self, wei: u64) -> TransactionReceipt {
        self.send(
            TransactionRequest::default()
                .with_to(bob())
                .with_value(U256::from(wei)),
        )
        .await
    }

    pub(crate) async fn send(&self, request: TransactionRequest) -> TransactionReceipt {
        let pending = self.provider.send_transaction(request).await.unwrap();
        self.receipt(*pending.tx_hash()).await
    }

    pub(crate) async fn receipt(&self, hash: B256) -> TransactionReceipt {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(receipt) = self.provider.get_transaction_receipt(hash).await.unwrap() {
                return receipt;
            }
            assert!(Instant::now() < deadline, "no receipt");
            sleep(Duration::from_millis(10)).await;
        }
    }

    pub(crate) async fn deploy_counter(&self) -> Address {
        let receipt = self
            .send(TransactionRequest::default().with_deploy_code(counter_init_code()))
            .await;
        assert!(receipt.status());
        receipt.contract_address.unwrap()
    }
}

pub(crate) fn provider(url: &str) -> DynProvider {
    ProviderBuilder::new()
        // Asks for the nonce each time: a reorganisation takes nonces back.
        .with_simple_nonce_management()
        .wallet(EthereumWallet::from(alice()))
        .connect_http(url.parse().unwrap())
        .erased()
}

/// A transaction of alice's with every field given, signed and encoded.
pub(crate) async fn signed(request: TransactionRequest) -> Bytes {
    use alloy::{eips::Encodable2718, network::NetworkWallet};
    let wallet = EthereumWallet::from(alice());
    let envelope = NetworkWallet::<alloy::network::Ethereum>::sign_request(&wallet, request)
        .await
        .unwrap();
    envelope.encoded_2718().into()
}

/// A plain transfer of alice's with every field given.
pub(crate) fn transfer(nonce: u64) -> TransactionRequest {
    TransactionRequest::default()
        .with_from(alice().address())
        .with_to(bob())
        .with_value(U256::from(1))
        .with_nonce(nonce)
        .with_gas_limit(21_000)
        .with_chain_id(chain::DEFAULT_CHAIN_ID)
        .with_max_fee_per_gas(10_000_000_000)
        .with_max_priority_fee_per_gas(1_000_000_000)
}

/// The topic of the counter's log.
pub(crate) fn counted() -> B256 {
    B256::with_last_byte(0x42)
}

/// Calldata that makes the counter revert with `Error("no")`.
pub(crate) const REVERT: [u8; 1] = [0xff];
/// Calldata that makes the counter return its value.
pub(crate) const READ: [u8; 1] = [0x01];

/// What the counter reverts with.
pub(crate) fn revert_data() -> Vec<u8> {
    hex!(
        "08c379a0"
        "0000000000000000000000000000000000000000000000000000000000000020"
        "0000000000000000000000000000000000000000000000000000000000000002"
        "6e6f000000000000000000000000000000000000000000000000000000000000"
    )
    .to_vec()
}

/// Init code of a counter in slot 0. Called without data it counts and logs the new value
/// under [`counted`]; with [`READ`] it returns the value; with [`REVERT`] it reverts.
pub(crate) fn counter_init_code() -> Vec<u8> {
    let runtime = counter_code();
    // Copies the runtime from behind these 9 bytes and returns it.
    let mut init = hex!("60008060095f395ff3").to_vec();
    init[1] = runtime.len() as u8;
    init.extend(runtime);
    init
}

pub(crate) fn counter_code() -> Vec<u8> {
    let dispatch = hex!("3615" "6000" "57" "5f3560f81c60ff14" "6000" "57");
    let read = hex!("5f545f5260205ff3");
    let count = hex!("5b5f5460010180" "5f55" "5f52" "6042" "6020" "5f" "a1" "00");
    let revert = hex!("5b" "6064" "6000" "5f39" "6064" "5ffd");
    let count_at = dispatch.len() + read.len();
    let revert_at = count_at + count.len();
    let data_at = revert_at + revert.len();
    let mut code = [&dispatch[..], &read, &count, &revert, &revert_data()].concat();
    code[3] = count_at as u8;
    code[14] = revert_at as u8;
    code[revert_at + 4] = data_at as u8;
    code
}
