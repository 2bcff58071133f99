//! A network whose nodes are recorded: each runs in a runtime of its own, so that its log is its own, and is
//! reached by all others through a recording proxy.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use alloy_primitives::U256;
use chain::{Chain, ChainConfig, RunningChain};
use ledger::{Contracts, DeploymentTerms, NetworkFile, NodeStatement, Registrar, deploy};
use node::{MailboxConfig, NodeConfig, NodeKeys, run_observed};
use protocol::NodeId;
use rand::rngs::OsRng;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;
use tracing_subscriber::filter::LevelFilter;
use wallet::{CertificateKind, SecretCertificate, WalletKey};

use crate::front::Front;
use crate::record::{Log, Needles, Recorder};

const STAKE_WEI: u128 = 1_000_000;

/// The network, and what all its nodes saw.
pub(crate) struct Devnet {
    pub(crate) network: NetworkFile,
    pub(crate) rpc: SocketAddr,
    pub(crate) nodes: Vec<RecordedNode>,
    /// What everybody knows of the nodes: nothing that shows who has to do with whom.
    pub(crate) public: Vec<Vec<u8>>,
    chain: RunningChain,
    stop: CancellationToken,
    folder: TempDir,
}

/// A node, and where all that it sees is kept.
pub(crate) struct RecordedNode {
    pub(crate) address: NodeId,
    /// Its address and the IDs of its keys.
    pub(crate) names: Needles,
    pub(crate) front: Front,
    pub(crate) recorder: Arc<Recorder>,
    pub(crate) folder: PathBuf,
    admin: SocketAddr,
    thread: std::thread::JoinHandle<()>,
}

/// A socket at an address that nobody connects from, so that nobody takes its port before the node does.
fn free_socket() -> SocketAddr {
    let [a, b, c] = rand::random();
    let host = Ipv4Addr::new(127, u8::max(a, 1), b, u8::clamp(c, 1, 254));
    TcpListener::bind((host, 0)).unwrap().local_addr().unwrap()
}

fn now_s() -> u64 {
    let now = std::time::SystemTime::now();
    let since = now.duration_since(std::time::UNIX_EPOCH).unwrap();
    since.as_secs()
}

fn node_keys() -> NodeKeys {
    let wallet = WalletKey::generate(&mut OsRng);
    let certificate =
        SecretCertificate::create(&wallet, CertificateKind::NODE, now_s(), &mut OsRng).unwrap();
    NodeKeys {
        wallet,
        certificate,
    }
}

async fn page(admin: SocketAddr, path: &str) -> std::io::Result<String> {
    let mut socket = TcpStream::connect(admin).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {admin}\r\nConnection: close\r\n\r\n");
    socket.write_all(request.as_bytes()).await?;
    let mut response = String::new();
    socket.read_to_string(&mut response).await?;
    Ok(response)
}

impl Devnet {
    pub(crate) async fn up(count: usize) -> Self {
        Self::with_bridge(count, None).await
    }

    /// A network in which the last node is a bridge.
    pub(crate) async fn with_bridge(count: usize, bridge: Option<bridge::Config>) -> Self {
        let funder = WalletKey::generate(&mut OsRng);
        let stop = CancellationToken::new();
        let config = ChainConfig {
            genesis_accounts: vec![(*funder.address().as_bytes(), U256::from(u128::MAX))],
            ..ChainConfig::default()
        };
        let chain = Chain::start(config, stop.clone()).await.unwrap();
        let rpc = chain.rpc_url();
        let rpc = rpc.trim_start_matches("http://").trim_end_matches('/');
        let rpc: SocketAddr = rpc.parse().unwrap();
        let mut network: NetworkFile = serde_json::from_value(serde_json::json!({
            "name": "test",
            "chain_id": 31_337,
            "rpc_urls": [chain.rpc_url()],
            "contracts": {
                "node_registry": funder.address(), "route_registry": funder.address(),
            },
            "stamp_effort": 2,
        }))
        .unwrap();
        let terms = DeploymentTerms {
            min_stake_wei: STAKE_WEI,
            unbonding_period_s: 60,
        };
        let deployed = deploy(&network, &funder, &terms).await.unwrap();
        network.contracts = deployed.contracts;
        network.start_block = deployed.block;

        let mut devnet = Self {
            network,
            rpc,
            nodes: Vec::new(),
            public: Vec::new(),
            chain,
            stop,
            folder: tempfile::tempdir().unwrap(),
        };
        let registrar = Registrar::new(&devnet.network, &funder).unwrap();
        for place in 1..=count {
            let bridge = bridge.clone().filter(|_| place == count);
            devnet.join(&registrar, &funder, bridge).await;
        }
        for node in &devnet.nodes {
            devnet.await_node(node).await;
        }
        devnet
    }

    async fn join(
        &mut self,
        registrar: &Registrar,
        funder: &WalletKey,
        bridge: Option<bridge::Config>,
    ) {
        let keys = node_keys();
        let (socket, admin) = (free_socket(), free_socket());
        let front = Front::before(socket).await;
        let Contracts { node_registry, .. } = self.network.contracts;
        let certificate = keys.certificate.certificate();
        let statement = NodeStatement {
            operator: funder.address(),
            transport_key: keys.transport_key(),
            certificate: certificate.to_bytes(),
            endpoint: format!("http://{}", front.address),
            profile: "bare".into(),
            nonce: 0,
            deadline_s: now_s() + 600,
        };
        let signed = statement.sign(&keys.wallet, 31_337, node_registry).unwrap();
        let address = keys.wallet.address();
        registrar
            .transfer(address, 1_000_000_000_000_000_000)
            .await
            .unwrap();
        registrar.register_node(&signed, STAKE_WEI).await.unwrap();
        self.public.push(certificate.to_bytes());
        let mut names = Needles::wallet(&address);
        for key in certificate.key_ids() {
            names = names.or(Needles::bytes(key.as_bytes()));
        }
        let subkeys = certificate.subkeys().iter().map(|key| key.fingerprint);
        for fingerprint in subkeys.chain([certificate.fingerprint()]) {
            self.public.push(fingerprint.as_bytes().to_vec());
        }
        self.public.push(address.as_bytes().to_vec());

        let folder = self.folder.path().join(self.nodes.len().to_string());
        let config = NodeConfig {
            listen: socket,
            admin_listen: admin,
            data_dir: folder.clone(),
            network: self.network.clone(),
            endpoint: format!("http://{}", front.address),
            mailbox: MailboxConfig {
                stamp_effort: 2,
                ..MailboxConfig::default()
            },
            plain_intake: Some("/intake".into()),
            submit_routes: true,
            bridge,
            price_wei: 0,
        };
        let recorder = Arc::new(Recorder::default());
        let (observer, stop) = (Arc::clone(&recorder), self.stop.child_token());
        let thread = std::thread::spawn(move || run_recorded(config, keys, observer, stop));
        self.nodes.push(RecordedNode {
            address,
            names,
            front,
            recorder,
            folder,
            admin,
            thread,
        });
    }

    /// Waits until a node is up and knows all nodes.
    async fn await_node(&self, node: &RecordedNode) {
        let knows = format!("\"nodes_known\":{}", self.nodes.len());
        for _ in 0..300 {
            let status = page(node.admin, "/status").await;
            if status.is_ok_and(|status| status.contains(&knows)) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("a node does not know all nodes");
    }

    pub(crate) async fn down(self) {
        self.stop.cancel();
        for node in self.nodes {
            tokio::task::spawn_blocking(|| node.thread.join().unwrap())
                .await
                .unwrap();
        }
        self.chain.stop().await;
    }
}

/// Runs a node whose every thread logs to the recorder, down to the last detail.
fn run_recorded(
    config: NodeConfig,
    keys: NodeKeys,
    recorder: Arc<Recorder>,
    stop: CancellationToken,
) {
    let log = Log(Arc::clone(&recorder));
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(LevelFilter::TRACE)
        .with_ansi(false)
        .with_writer(move || log.clone())
        .finish();
    let dispatch = tracing::Dispatch::new(subscriber);
    let of_threads = dispatch.clone();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .on_thread_start(move || {
            // For as long as the thread lives.
            std::mem::forget(tracing::dispatcher::set_default(&of_threads));
        })
        .build()
        .unwrap();
    let _here = tracing::dispatcher::set_default(&dispatch);
    runtime
        .block_on(run_observed(config, keys, recorder, stop))
        .unwrap();
}

impl RecordedNode {
    /// All that is on the node's disk and pages, in its log and on its wire, each under its name.
    ///
    /// The ledger is what everybody has: with `ledger`, its index and what the log says of reading it are part
    /// of it all the same.
    pub(crate) async fn remains(&self, ledger: bool) -> Vec<(String, Vec<u8>)> {
        let mut remains = vec![
            ("log".to_owned(), self.recorder.log()),
            ("wire".to_owned(), self.front.all()),
        ];
        if ledger {
            remains.push(("log".to_owned(), self.recorder.ledger_log()));
        }
        for path in ["/metrics", "/status"] {
            let page = page(self.admin, path).await.unwrap();
            assert!(page.starts_with("HTTP/1.1 200"), "{page}");
            remains.push((path.to_owned(), page.into_bytes()));
        }
        let mut folders = vec![self.folder.clone()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                let name = path.display().to_string();
                if path.is_dir() {
                    folders.push(path);
                } else if ledger || !name.contains("index.db") {
                    // A store may tidy up meanwhile.
                    remains.extend(std::fs::read(path).ok().map(|bytes| (name, bytes)));
                }
            }
        }
        remains
    }
}
