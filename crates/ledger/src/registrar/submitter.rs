//! One transaction: nonce, fees and gas, signature, broadcast, receipt.

use std::{
    fmt,
    time::{Duration, Instant},
};

use alloy::{
    network::{EthereumWallet, NetworkTransactionBuilder, eip2718::Encodable2718},
    primitives::{Address, B256, Bytes, TxKind, U64, U128, U256},
    rpc::types::{TransactionInput, TransactionRequest},
    signers::local::PrivateKeySigner,
    sol_types::SolCall,
};
use serde::Deserialize;
use tokio::sync::Mutex;
use wallet::{WalletAddress, WalletKey};

use super::{Revert, SubmitError};
use crate::{
    network::NetworkFile,
    rpc::{Endpoint, EndpointPool, RpcFailure},
    sync::ServerFailure,
};

/// How long a transaction may take to get into a block, if nothing else is set: ten blocks of 12 s.
const RECEIPT_TIMEOUT: Duration = Duration::from_secs(120);
/// First wait between two questions for a receipt; doubles up to the next bound.
const FIRST_RECEIPT_WAIT: Duration = Duration::from_millis(50);
/// Longest wait between two questions for a receipt.
const MAX_RECEIPT_WAIT: Duration = Duration::from_secs(2);
/// A transaction that is in no block yet is sent again this often, perhaps to another server.
const REBROADCAST_AFTER: Duration = Duration::from_secs(15);
/// Attempts with a new nonce where another process has used ours.
const MAX_NONCE_ATTEMPTS: usize = 3;
/// Percent of the estimated gas that is offered: others' transactions may come first and raise it.
const GAS_PERCENT: u64 = 125;
/// Tip where the server names none, wei for each gas.
const FALLBACK_TIP: u128 = 1_000_000_000;
/// How servers say that they have the transaction already.
const KNOWN: [&str; 3] = ["already known", "known transaction", "already imported"];
/// How servers say that a nonce is used.
const NONCE_USED: [&str; 3] = [
    "nonce too low",
    "replacement transaction underpriced",
    "nonce has already been used",
];

/// A transaction in a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipt {
    /// The transaction's hash.
    pub transaction: [u8; 32],
    /// The block it is in.
    pub block: u64,
    /// The gas it took.
    pub gas_used: u64,
}

pub(super) struct Submitter {
    pool: EndpointPool,
    signer: EthereumWallet,
    payer: Address,
    chain_id: u64,
    pub(super) receipt_timeout: Duration,
    /// Held from reading the nonce to having sent the transaction that uses it.
    nonce_order: Mutex<()>,
}

impl fmt::Debug for Submitter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Submitter")
            .field("payer", &self.payer)
            .finish_non_exhaustive()
    }
}

/// A signed transaction.
struct Signed {
    raw: Bytes,
    hash: B256,
    nonce: u64,
    request: TransactionRequest,
}

/// Why one server did not do it.
enum Obstacle {
    /// It will be the same with any server.
    Final(SubmitError),
    /// Another server may do.
    Server(RpcFailure),
    /// The nonce is used already.
    NonceUsed(RpcFailure),
}

impl From<RpcFailure> for Obstacle {
    fn from(failure: RpcFailure) -> Self {
        Self::Server(failure)
    }
}

impl Submitter {
    pub(super) fn new(network: &NetworkFile, payer: &WalletKey) -> Result<Self, SubmitError> {
        let secret = payer.to_bytes();
        let signer = PrivateKeySigner::from_slice(secret.as_slice())
            .map_err(|error| SubmitError::Unusable(Box::new(error)))?;
        let pool = EndpointPool::new(network);
        Ok(Self {
            pool: pool.map_err(|error| SubmitError::Unusable(Box::new(error)))?,
            payer: signer.address(),
            signer: EthereumWallet::from(signer),
            chain_id: network.chain_id,
            receipt_timeout: RECEIPT_TIMEOUT,
            nonce_order: Mutex::new(()),
        })
    }

    pub(super) fn payer(&self) -> WalletAddress {
        WalletAddress::from_bytes(self.payer.into())
    }

    pub(super) async fn balance(&self, wallet: WalletAddress) -> Result<u128, SubmitError> {
        let wallet = Address::from(*wallet.as_bytes());
        let balance: U256 = self.ask("eth_getBalance", (wallet, "latest")).await?;
        Ok(balance.saturating_to())
    }

    /// Calls a function that changes nothing.
    pub(super) async fn view<C: SolCall>(
        &self,
        contract: WalletAddress,
        call: C,
    ) -> Result<C::Return, SubmitError> {
        let request = TransactionRequest {
            to: Some(TxKind::Call(Address::from(*contract.as_bytes()))),
            input: TransactionInput::new(call.abi_encode().into()),
            ..TransactionRequest::default()
        };
        let answer: Bytes = self.ask("eth_call", (request, "latest")).await?;
        C::abi_decode_returns_validate(&answer).map_err(|_| {
            SubmitError::NoServer(vec![ServerFailure {
                server: "all".to_owned(),
                failure: RpcFailure::Malformed {
                    what: "another result than the contract gives: is its address right?",
                },
            }])
        })
    }

    /// Sends a transaction to a contract or wallet, or without `to` one that makes a contract, and
    /// waits for its receipt.
    pub(super) async fn submit(
        &self,
        to: Option<WalletAddress>,
        wei: U256,
        input: Bytes,
    ) -> Result<Receipt, SubmitError> {
        Ok(self.submit_with_nonce(to, wei, input).await?.0)
    }

    /// As [`Self::submit`]; also tells the nonce used.
    pub(super) async fn submit_with_nonce(
        &self,
        to: Option<WalletAddress>,
        wei: U256,
        input: Bytes,
    ) -> Result<(Receipt, u64), SubmitError> {
        let request = TransactionRequest {
            from: Some(self.payer),
            to: Some(to.map_or(TxKind::Create, |to| {
                TxKind::Call(Address::from(*to.as_bytes()))
            })),
            value: Some(wei),
            input: TransactionInput::new(input),
            chain_id: Some(self.chain_id),
            ..TransactionRequest::default()
        };
        let signed = self.sign_and_send(request).await?;
        let receipt = self.wait(&signed).await?;
        Ok((receipt, signed.nonce))
    }

    /// Signs and sends, by one server after the other.
    ///
    /// **Invariant:** once a signed transaction may have left us, no other one is signed in its place: a
    /// server whose answer was lost may have passed it on, and a transfer must not be made twice.
    async fn sign_and_send(&self, request: TransactionRequest) -> Result<Signed, SubmitError> {
        let _order = self.nonce_order.lock().await;
        let mut failures = Vec::new();
        let mut sent: Option<Signed> = None;
        for endpoint in self.pool.candidates() {
            let failure = match sent.take() {
                Some(signed) => match self.send(&endpoint, &signed).await {
                    // If the nonce is used, then most likely by this very transaction.
                    Ok(()) | Err(Obstacle::NonceUsed(_)) => return Ok(signed),
                    Err(Obstacle::Final(error)) => return Err(error),
                    Err(Obstacle::Server(failure)) => {
                        sent = Some(signed);
                        failure
                    }
                },
                None => match self.sign_and_send_by(&endpoint, &request).await {
                    Ok(signed) => return Ok(signed),
                    Err((_, Obstacle::Final(error))) => return Err(error),
                    Err((signed, Obstacle::Server(failure) | Obstacle::NonceUsed(failure))) => {
                        // What a server has refused, it has not passed on.
                        let refused = matches!(failure, RpcFailure::Refused { .. });
                        sent = signed.filter(|_| !refused);
                        failure
                    }
                },
            };
            endpoint.failed();
            let server = endpoint.label().to_owned();
            failures.push(ServerFailure { server, failure });
        }
        sent.ok_or(SubmitError::NoServer(failures))
    }

    /// With one server, with a new nonce where the first is used already; also gives back what was
    /// signed last.
    async fn sign_and_send_by(
        &self,
        endpoint: &Endpoint,
        request: &TransactionRequest,
    ) -> Result<Signed, (Option<Signed>, Obstacle)> {
        let mut attempt = 1;
        loop {
            let signed = self.sign(endpoint, request.clone()).await;
            let signed = signed.map_err(|obstacle| (None, obstacle))?;
            match self.send(endpoint, &signed).await {
                Ok(()) => {
                    endpoint.succeeded();
                    return Ok(signed);
                }
                Err(Obstacle::NonceUsed(_)) if attempt < MAX_NONCE_ATTEMPTS => attempt += 1,
                Err(obstacle) => return Err((Some(signed), obstacle)),
            }
        }
    }

    async fn send(&self, endpoint: &Endpoint, signed: &Signed) -> Result<(), Obstacle> {
        let sent: Result<B256, RpcFailure> = endpoint
            .call("eth_sendRawTransaction", (signed.raw.clone(),))
            .await;
        match sent {
            Err(failure) if !says(&failure, &KNOWN) => Err(self.obstacle(failure)),
            _ => Ok(()),
        }
    }

    /// Fills in nonce, fees and gas and signs.
    async fn sign(
        &self,
        endpoint: &Endpoint,
        mut request: TransactionRequest,
    ) -> Result<Signed, Obstacle> {
        let nonce: U64 = endpoint
            .call("eth_getTransactionCount", (self.payer, "pending"))
            .await?;
        request.nonce = Some(nonce.to());
        fill_fees(endpoint, &mut request).await?;
        let gas: Result<U64, RpcFailure> = endpoint.call("eth_estimateGas", (&request,)).await;
        let gas: u64 = gas.map_err(|failure| self.obstacle(failure))?.to();
        request.gas = Some(gas.saturating_mul(GAS_PERCENT) / 100);
        let envelope = request.clone().build(&self.signer).await;
        let envelope =
            envelope.map_err(|error| Obstacle::Final(SubmitError::Unusable(Box::new(error))))?;
        Ok(Signed {
            raw: envelope.encoded_2718().into(),
            hash: *envelope.tx_hash(),
            nonce: nonce.to(),
            request,
        })
    }

    /// Waits until the transaction is in a block.
    async fn wait(&self, signed: &Signed) -> Result<Receipt, SubmitError> {
        let began = Instant::now();
        let mut sent_at = began;
        let mut wait = FIRST_RECEIPT_WAIT;
        while began.elapsed() < self.receipt_timeout {
            for endpoint in self.pool.candidates() {
                let answer: Result<Option<ReceiptAnswer>, RpcFailure> = endpoint
                    .call("eth_getTransactionReceipt", (signed.hash,))
                    .await;
                match answer {
                    Ok(Some(receipt)) => return self.judge(&endpoint, signed, &receipt).await,
                    Ok(None) => {
                        if sent_at.elapsed() >= REBROADCAST_AFTER {
                            sent_at = Instant::now();
                            // It is there already, or the next time will do.
                            let _: Result<B256, _> = endpoint
                                .call("eth_sendRawTransaction", (signed.raw.clone(),))
                                .await;
                        }
                        break;
                    }
                    Err(_) => endpoint.failed(),
                }
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(MAX_RECEIPT_WAIT);
        }
        Err(SubmitError::NoReceipt {
            hash: signed.hash.0,
            waited_s: self.receipt_timeout.as_secs(),
        })
    }

    async fn judge(
        &self,
        endpoint: &Endpoint,
        signed: &Signed,
        receipt: &ReceiptAnswer,
    ) -> Result<Receipt, SubmitError> {
        if receipt.status == U64::from(1) {
            return Ok(Receipt {
                transaction: signed.hash.0,
                block: receipt.block_number.to(),
                gas_used: receipt.gas_used.to(),
            });
        }
        // The block has no reason; asking again, on the state after it, mostly gives the same one.
        let again: Result<Bytes, RpcFailure> = endpoint
            .call("eth_call", (&signed.request, receipt.block_number))
            .await;
        let reason = match again {
            Err(RpcFailure::Refused { revert_data, .. }) => Revert::decode(&revert_data),
            _ => Revert::Unexplained,
        };
        Err(SubmitError::Reverted(reason))
    }

    /// What a server's refusal means.
    fn obstacle(&self, failure: RpcFailure) -> Obstacle {
        let RpcFailure::Refused {
            message,
            revert_data,
            ..
        } = &failure
        else {
            return Obstacle::Server(failure);
        };
        if !revert_data.is_empty() || message.to_lowercase().contains("revert") {
            return Obstacle::Final(SubmitError::Reverted(Revert::decode(revert_data)));
        }
        if says(&failure, &["insufficient funds", "lack of funds"]) {
            let payer = self.payer();
            return Obstacle::Final(SubmitError::InsufficientFunds { payer });
        }
        if says(&failure, &NONCE_USED) {
            return Obstacle::NonceUsed(failure);
        }
        Obstacle::Server(failure)
    }

    /// Asks the servers in turn.
    async fn ask<P, R>(&self, method: &'static str, params: P) -> Result<R, SubmitError>
    where
        P: alloy::rpc::json_rpc::RpcSend,
        R: alloy::rpc::json_rpc::RpcRecv,
    {
        let mut failures = Vec::new();
        for endpoint in self.pool.candidates() {
            match endpoint.call(method, params.clone()).await {
                Ok(answer) => {
                    endpoint.succeeded();
                    return Ok(answer);
                }
                Err(failure) => match self.obstacle(failure) {
                    Obstacle::Final(error) => return Err(error),
                    Obstacle::Server(failure) | Obstacle::NonceUsed(failure) => {
                        endpoint.failed();
                        let server = endpoint.label().to_owned();
                        failures.push(ServerFailure { server, failure });
                    }
                },
            }
        }
        Err(SubmitError::NoServer(failures))
    }
}

/// EIP-1559 fees with room for the base fee to double, or a gas price where the chain has no base fee.
async fn fill_fees(
    endpoint: &Endpoint,
    request: &mut TransactionRequest,
) -> Result<(), RpcFailure> {
    let block: Option<FeeAnswer> = endpoint
        .call("eth_getBlockByNumber", ("latest", false))
        .await?;
    let base_fee = block.and_then(|block| block.base_fee_per_gas);
    let Some(base_fee) = base_fee else {
        let price: U128 = endpoint.call("eth_gasPrice", ()).await?;
        request.gas_price = Some(price.to());
        return Ok(());
    };
    let tip: Result<U128, RpcFailure> = endpoint.call("eth_maxPriorityFeePerGas", ()).await;
    let tip = match tip {
        Ok(tip) => tip.to(),
        Err(RpcFailure::Refused { .. }) => FALLBACK_TIP,
        Err(failure) => return Err(failure),
    };
    request.max_priority_fee_per_gas = Some(tip);
    request.max_fee_per_gas = Some(base_fee.to::<u128>().saturating_mul(2).saturating_add(tip));
    Ok(())
}

fn says(failure: &RpcFailure, words: &[&str]) -> bool {
    let RpcFailure::Refused { message, .. } = failure else {
        return false;
    };
    let message = message.to_lowercase();
    words.iter().any(|words| message.contains(words))
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct FeeAnswer {
    base_fee_per_gas: Option<U128>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ReceiptAnswer {
    block_number: U64,
    status: U64,
    gas_used: U64,
}
