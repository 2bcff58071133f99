//! A chain behind JSON-RPC on loopback that fails in the ways servers do.

use std::sync::Arc;

use alloy::{
    primitives::{Address, B256, LogData, keccak256},
    sol_types::SolEvent,
};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
};
use wallet::WalletAddress;

use crate::{
    RouteRecord,
    contracts::{NodeRegistry, RouteRegistry},
    test_data::{CHAIN, NODE_REGISTRY, ROUTE_REGISTRY, key},
};

/// How a server behaves; all of it can be changed while it runs.
#[derive(Debug, Clone)]
pub(crate) struct Behaviour {
    pub(crate) chain_id: u64,
    /// Closes every connection at once.
    pub(crate) dead: bool,
    /// Answers with what is no JSON.
    pub(crate) garbage: bool,
    /// Refuses wider ranges of logs.
    pub(crate) max_log_range: u64,
    /// Shows no blocks above this.
    pub(crate) head_at_most: u64,
    /// Puts logs of another contract into its answers.
    pub(crate) foreign_logs: bool,
    /// Answers with this many bytes of blanks.
    pub(crate) flood_bytes: usize,
}

impl Default for Behaviour {
    fn default() -> Self {
        Self {
            chain_id: CHAIN,
            dead: false,
            garbage: false,
            max_log_range: u64::MAX,
            head_at_most: u64::MAX,
            foreign_logs: false,
            flood_bytes: 0,
        }
    }
}

#[derive(Debug, Clone)]
struct Block {
    hash: B256,
    parent: B256,
    logs: Vec<(Address, LogData)>,
}

/// A chain of blocks with logs; clones are other chains.
#[derive(Debug, Clone)]
pub(crate) struct FakeChain {
    blocks: Vec<Block>,
    salt: u64,
}

impl FakeChain {
    /// A genesis block; chains of different salts share no block.
    pub(crate) fn new(salt: u64) -> Self {
        let mut chain = Self {
            blocks: Vec::new(),
            salt,
        };
        chain.mine(Vec::new());
        chain
    }

    pub(crate) fn height(&self) -> u64 {
        self.blocks.len() as u64 - 1
    }

    /// Adds a block with these logs.
    pub(crate) fn mine(&mut self, logs: Vec<(Address, LogData)>) {
        let parent = self.blocks.last().map_or(B256::ZERO, |block| block.hash);
        let seed = format!("{parent}{}{}", self.salt, self.blocks.len());
        self.blocks.push(Block {
            hash: keccak256(seed),
            parent,
            logs,
        });
    }

    pub(crate) fn mine_empty(&mut self, blocks: u64) {
        for _ in 0..blocks {
            self.mine(Vec::new());
        }
    }

    /// Takes away the newest blocks; what is mined next is on another fork.
    pub(crate) fn fork_back(&mut self, blocks: usize) {
        let keep = self.blocks.len() - blocks;
        self.blocks.truncate(keep);
        self.salt += 1_000;
    }
}

/// A server on loopback.
#[derive(Debug)]
pub(crate) struct FakeServer {
    pub(crate) url: String,
    pub(crate) chain: Arc<Mutex<FakeChain>>,
    pub(crate) behaviour: Arc<Mutex<Behaviour>>,
    /// The methods called, in order.
    pub(crate) calls: Arc<Mutex<Vec<String>>>,
}

impl FakeServer {
    pub(crate) async fn start(chain: FakeChain) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Self {
            url: format!("http://{}", listener.local_addr().unwrap()),
            chain: Arc::new(Mutex::new(chain)),
            behaviour: Arc::default(),
            calls: Arc::default(),
        };
        let state = (
            Arc::clone(&server.chain),
            Arc::clone(&server.behaviour),
            Arc::clone(&server.calls),
        );
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let state = state.clone();
                tokio::spawn(async move {
                    let (chain, behaviour, calls) = state;
                    let _ = serve(stream, &chain, &behaviour, &calls).await;
                });
            }
        });
        server
    }
}

async fn serve(
    stream: TcpStream,
    chain: &Mutex<FakeChain>,
    behaviour: &Mutex<Behaviour>,
    calls: &Mutex<Vec<String>>,
) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let mut length = 0;
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).await? == 0 {
                return Ok(());
            }
            if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
            if line == "\r\n" {
                break;
            }
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await?;
        let behaviour = behaviour.lock().clone();
        if behaviour.dead {
            return Ok(());
        }
        let request: Value = serde_json::from_slice(&body).unwrap();
        calls
            .lock()
            .push(request["method"].as_str().unwrap().to_owned());
        let body = if behaviour.garbage {
            "<html>Bad gateway</html>".to_owned()
        } else if behaviour.flood_bytes > 0 {
            " ".repeat(behaviour.flood_bytes)
        } else {
            let mut response = json!({"jsonrpc": "2.0", "id": request["id"]});
            match answer(&request, &chain.lock(), &behaviour) {
                Ok(result) => response["result"] = result,
                Err((code, message)) => {
                    response["error"] = json!({"code": code, "message": message});
                }
            }
            response.to_string()
        };
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
        stream.write_all((head + &body).as_bytes()).await?;
    }
}

fn answer(
    request: &Value,
    chain: &FakeChain,
    behaviour: &Behaviour,
) -> Result<Value, (i64, &'static str)> {
    let head = chain.height().min(behaviour.head_at_most);
    let number = |value: &Value| {
        let text = value.as_str().unwrap();
        match text.strip_prefix("0x") {
            Some(digits) => u64::from_str_radix(digits, 16).unwrap(),
            None => head,
        }
    };
    match request["method"].as_str().unwrap() {
        "eth_chainId" => Ok(json!(format!("{:#x}", behaviour.chain_id))),
        "eth_getBlockByNumber" => {
            let number = number(&request["params"][0]);
            let block = chain.blocks.get(number as usize).filter(|_| number <= head);
            Ok(block.map_or(Value::Null, |block| {
                json!({"number": format!("{number:#x}"), "hash": block.hash, "parentHash": block.parent, "extra": "ignored"})
            }))
        }
        "eth_getLogs" => {
            let filter = &request["params"][0];
            let (from, to) = (number(&filter["fromBlock"]), number(&filter["toBlock"]));
            if to - from >= behaviour.max_log_range {
                return Err((-32_005, "query exceeds the maximum block range"));
            }
            let mut logs = Vec::new();
            for number in from..=to.min(head) {
                let block = &chain.blocks[number as usize];
                for (index, (address, log)) in block.logs.iter().enumerate() {
                    let address = if behaviour.foreign_logs {
                        Address::repeat_byte(0xee)
                    } else {
                        *address
                    };
                    logs.push(json!({
                        "address": address,
                        "topics": log.topics(),
                        "data": log.data,
                        "blockNumber": format!("{number:#x}"),
                        "blockHash": block.hash,
                        "transactionHash": B256::ZERO,
                        "transactionIndex": "0x0",
                        "logIndex": format!("{index:#x}"),
                        "removed": false,
                    }));
                }
            }
            Ok(Value::Array(logs))
        }
        _ => Err((-32_601, "the method does not exist")),
    }
}

/// The log of a node's registration.
pub(crate) fn node_log(number: u8, endpoint: &str) -> (Address, LogData) {
    let event = NodeRegistry::NodeRegistered {
        node: address(key(number).address()),
        operator: address(key(100).address()),
        transportKey: B256::repeat_byte(number),
        certificate: vec![number; 8].into(),
        endpoint: endpoint.into(),
        profile: "plain".into(),
    };
    (address(NODE_REGISTRY), event.encode_log_data())
}

/// The log of a route.
pub(crate) fn route_log(route: &RouteRecord) -> (Address, LogData) {
    let route = route.to_contract();
    let event = RouteRegistry::RouteSet {
        wallet: route.wallet,
        fingerprint: route.fingerprint,
        keyIds: route.keyIds,
        mailboxes: route.mailboxes,
        sequence: route.sequence,
        expiry: route.expiry,
    };
    (address(ROUTE_REGISTRY), event.encode_log_data())
}

/// The log of a cleared route.
pub(crate) fn clear_log(wallet: WalletAddress, sequence: u64) -> (Address, LogData) {
    let event = RouteRegistry::RouteCleared {
        wallet: address(wallet),
        sequence,
    };
    (address(ROUTE_REGISTRY), event.encode_log_data())
}

fn address(wallet: WalletAddress) -> Address {
    Address::from(*wallet.as_bytes())
}
