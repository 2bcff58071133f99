//! A chain, its contracts and some nodes on loopback.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::time::Duration;

use alloy_primitives::U256;
use chain::{Chain, ChainConfig, RunningChain};
use client::Network;
use ledger::{Contracts, DeploymentTerms, NetworkFile, NodeStatement, Registrar, deploy};
use node::{MailboxConfig, NodeConfig, NodeKeys};
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use wallet::{CertificateBinding, CertificateKind, SecretCertificate, WalletAddress, WalletKey};

const STAKE_WEI: u128 = 1_000_000;
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct World {
    pub(crate) network: NetworkFile,
    pub(crate) nodes: Vec<TestNode>,
    folder: TempDir,
    /// Those that are bridges, by their seeds.
    bridges: HashMap<u64, bridge::Config>,
    chain: Option<RunningChain>,
    stop: CancellationToken,
}

pub(crate) struct TestNode {
    pub(crate) address: WalletAddress,
    pub(crate) transport_key: [u8; 32],
    pub(crate) socket: SocketAddr,
    admin: SocketAddr,
    seed: u64,
    stop: CancellationToken,
    running: Option<JoinHandle<()>>,
}

pub(crate) struct Person {
    pub(crate) key: WalletKey,
    pub(crate) certificate: SecretCertificate,
    pub(crate) binding: CertificateBinding,
    pub(crate) network: Network,
    _home: TempDir,
}

pub(crate) fn now_s() -> u64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_secs()
}

/// The keys of the `seed`-th node.
pub(crate) fn keys(seed: u64) -> NodeKeys {
    let mut rng = StdRng::seed_from_u64(seed);
    let wallet = WalletKey::generate(&mut rng);
    // A fixed creation time, so that a restarted node has the same certificate.
    let certificate =
        SecretCertificate::create(&wallet, CertificateKind::NODE, 1_770_000_000, &mut rng).unwrap();
    NodeKeys {
        wallet,
        certificate,
    }
}

/// A socket for a node.
///
/// The port is let go of before a node takes it. On 127.0.0.1 somebody who connected meanwhile had it now and then; at
/// an address that is drawn nobody else is.
pub(crate) fn free_socket() -> SocketAddr {
    let [a, b, c] = rand::random();
    let host = Ipv4Addr::new(127, u8::max(a, 1), b, u8::clamp(c, 1, 254));
    TcpListener::bind((host, 0)).unwrap().local_addr().unwrap()
}

async fn status(admin: SocketAddr) -> std::io::Result<String> {
    let mut socket = tokio::net::TcpStream::connect(admin).await?;
    let request = format!("GET /status HTTP/1.1\r\nHost: {admin}\r\nConnection: close\r\n\r\n");
    socket.write_all(request.as_bytes()).await?;
    let mut response = String::new();
    socket.read_to_string(&mut response).await?;
    Ok(response)
}

impl World {
    pub(crate) async fn new(count: u64) -> Self {
        Self::with_bridges(count, HashMap::new()).await
    }

    /// A world some of whose nodes are bridges.
    pub(crate) async fn with_bridges(count: u64, bridges: HashMap<u64, bridge::Config>) -> Self {
        let funder = WalletKey::from_bytes([7; 32]).unwrap();
        let stop = CancellationToken::new();
        let config = ChainConfig {
            genesis_accounts: vec![(*funder.address().as_bytes(), U256::from(u128::MAX))],
            ..ChainConfig::default()
        };
        let chain = Chain::start(config, stop.clone()).await.unwrap();
        let nowhere = WalletAddress::from_bytes([0; 20]);
        let mut network: NetworkFile = serde_json::from_value(serde_json::json!({
            "name": "test",
            "chain_id": 31_337,
            "rpc_urls": [chain.rpc_url()],
            "contracts": { "node_registry": nowhere, "route_registry": nowhere },
            "stamp_effort": 2,
        }))
        .unwrap();
        let terms = DeploymentTerms {
            min_stake_wei: STAKE_WEI,
            unbonding_period_s: 60,
        };
        let deployed = deploy(&network, &funder, &terms).await.unwrap();
        let Contracts {
            node_registry,
            route_registry,
            ..
        } = deployed.contracts;
        network.contracts = Contracts {
            node_registry,
            route_registry,
            name_registry: None,
            bridge_offers: None,
        };
        network.start_block = deployed.block;

        let folder = tempfile::tempdir().unwrap();
        let mut world = Self {
            network,
            nodes: Vec::new(),
            folder,
            bridges,
            chain: Some(chain),
            stop,
        };
        let registrar = Registrar::new(&world.network, &funder).unwrap();
        for seed in 0..count {
            let keys = keys(seed);
            let socket = free_socket();
            let statement = NodeStatement {
                operator: funder.address(),
                transport_key: keys.transport_key(),
                certificate: keys.certificate.certificate().to_bytes(),
                endpoint: format!("http://{socket}"),
                profile: "bare".into(),
                nonce: 0,
                deadline_s: now_s() + 600,
            };
            registrar
                .transfer(keys.wallet.address(), 1_000_000_000_000_000_000)
                .await
                .unwrap();
            let signed = statement.sign(&keys.wallet, 31_337, node_registry).unwrap();
            registrar.register_node(&signed, STAKE_WEI).await.unwrap();
            let mut node = TestNode {
                address: keys.wallet.address(),
                transport_key: keys.transport_key(),
                socket,
                admin: free_socket(),
                seed,
                stop: world.stop.child_token(),
                running: None,
            };
            world.start(&mut node);
            world.nodes.push(node);
        }
        for index in 0..world.nodes.len() {
            world.await_node(index).await;
        }
        world
    }

    /// Waits until a node is up and knows all nodes.
    pub(crate) async fn await_node(&self, index: usize) {
        let knows = format!("\"nodes_known\":{}", self.nodes.len());
        for _ in 0..200 {
            if status(self.nodes[index].admin)
                .await
                .is_ok_and(|status| status.contains(&knows))
            {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("node {index} does not know all nodes");
    }

    /// Waits until a number of a node's status is what it should be.
    pub(crate) async fn await_count(&self, index: usize, name: &str, count: usize) {
        let mut last = String::new();
        for _ in 0..100 {
            last = status(self.nodes[index].admin).await.unwrap();
            let field = format!("\"{name}\":{count}");
            if last.contains(&(field.clone() + ",")) || last.contains(&(field + "}")) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("{name} is not {count}: {last}");
    }

    /// The settings of a node.
    pub(crate) fn config(&self, node: &TestNode) -> NodeConfig {
        NodeConfig {
            listen: node.socket,
            admin_listen: node.admin,
            data_dir: self.folder.path().join(node.seed.to_string()),
            network: self.network.clone(),
            endpoint: format!("http://{}", node.socket),
            mailbox: MailboxConfig {
                stamp_effort: 2,
                ..MailboxConfig::default()
            },
            plain_intake: Some("/intake".into()),
            submit_routes: true,
            bridge: self.bridges.get(&node.seed).cloned(),
            price_wei: 0,
        }
    }

    fn start(&self, node: &mut TestNode) {
        let config = self.config(node);
        node.stop = self.stop.child_token();
        let running = node::run(config, keys(node.seed), node.stop.clone());
        node.running = Some(tokio::spawn(async move { running.await.unwrap() }));
    }

    pub(crate) async fn stop_node(&mut self, index: usize) {
        let node = &mut self.nodes[index];
        node.stop.cancel();
        node.running.take().unwrap().await.unwrap();
    }

    pub(crate) fn start_node(&mut self, index: usize) {
        let mut node = self.nodes.remove(index);
        self.start(&mut node);
        self.nodes.insert(index, node);
    }

    /// Someone with a network of their own, bound to these mailboxes, with an account at none.
    pub(crate) async fn person(&self, seed: u64, mailboxes: &[WalletAddress]) -> Person {
        let mut rng = StdRng::seed_from_u64(1_000 + seed);
        let key = WalletKey::generate(&mut rng);
        let certificate =
            SecretCertificate::create(&key, CertificateKind::V6, now_s(), &mut rng).unwrap();
        let binding =
            CertificateBinding::sign(&key, certificate.certificate(), 1, mailboxes.to_vec())
                .unwrap();
        let home = tempfile::tempdir().unwrap();
        let network = Network::open(home.path(), self.network.clone())
            .await
            .unwrap();
        network.exclude_as_entries(mailboxes.iter().copied());
        network.ready(PATIENCE).await.unwrap();
        Person {
            key,
            certificate,
            binding,
            network,
            _home: home,
        }
    }

    pub(crate) async fn stop(mut self) {
        self.stop.cancel();
        for node in &mut self.nodes {
            if let Some(running) = node.running.take() {
                running.await.unwrap();
            }
        }
        if let Some(chain) = self.chain.take() {
            chain.stop().await;
        }
    }
}
