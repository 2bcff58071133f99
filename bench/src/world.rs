//! A chain, its contracts, and nodes registered there, of which some may run.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use alloy_primitives::U256;
use anyhow::bail;
use chain::{Chain, ChainConfig, RunningChain};
use ledger::{Contracts, DeploymentTerms, NetworkFile, NodeStatement, Registrar, deploy};
use node::NodeKeys;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;
use wallet::{CertificateKind, SecretCertificate, WalletAddress, WalletKey};

use crate::node_process::{NodeProcess, Orders};

const CHAIN_ID: u64 = 31_337;
const STAKE_WEI: u128 = 1_000_000;
const FUNDS_WEI: u128 = 1_000_000_000_000_000_000;
/// How often a starting node is asked whether it is up, and how long to wait between.
const START_POLLS: u32 = 300;
const START_POLL: Duration = Duration::from_millis(100);

/// A chain and what is on it.
pub(crate) struct World {
    pub(crate) network: NetworkFile,
    /// The sockets of the registered nodes, by their seeds.
    pub(crate) sockets: Vec<SocketAddr>,
    folder: TempDir,
    chain: RunningChain,
    stop: CancellationToken,
}

/// The keys of the `seed`-th node, the same in every process.
pub(crate) fn keys(seed: u64) -> NodeKeys {
    let mut rng = StdRng::seed_from_u64(seed);
    let wallet = WalletKey::generate(&mut rng);
    let certificate =
        SecretCertificate::create(&wallet, CertificateKind::NODE, 1_770_000_000, &mut rng);
    #[expect(clippy::expect_used, reason = "it depends on constants alone")]
    let certificate = certificate.expect("a certificate of constants");
    NodeKeys {
        wallet,
        certificate,
    }
}

pub(crate) fn now_s() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

pub(crate) fn free_socket() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

impl World {
    /// Starts a chain and registers `count` nodes on it, of which none runs yet.
    pub(crate) async fn new(count: u64) -> anyhow::Result<Self> {
        let funder = WalletKey::from_bytes([7; 32])?;
        let stop = CancellationToken::new();
        let config = ChainConfig {
            genesis_accounts: vec![(*funder.address().as_bytes(), U256::from(u128::MAX))],
            ..ChainConfig::default()
        };
        let chain = Chain::start(config, stop.clone()).await?;
        let nowhere = WalletAddress::from_bytes([0; 20]);
        let mut network: NetworkFile = serde_json::from_value(serde_json::json!({
            "name": "bench",
            "chain_id": CHAIN_ID,
            "rpc_urls": [chain.rpc_url()],
            "contracts": { "node_registry": nowhere, "route_registry": nowhere },
            "stamp_effort": 2,
        }))?;
        let terms = DeploymentTerms {
            min_stake_wei: STAKE_WEI,
            unbonding_period_s: 60,
        };
        let deployed = deploy(&network, &funder, &terms).await?;
        let node_registry = deployed.contracts.node_registry;
        network.contracts = Contracts {
            node_registry,
            route_registry: deployed.contracts.route_registry,
            name_registry: None,
            bridge_offers: None,
        };
        network.start_block = deployed.block;

        let registrar = Registrar::new(&network, &funder)?;
        let mut sockets = Vec::new();
        for seed in 0..count {
            let keys = keys(seed);
            let socket = free_socket()?;
            let statement = NodeStatement {
                operator: funder.address(),
                transport_key: keys.transport_key(),
                certificate: keys.certificate.certificate().to_bytes(),
                endpoint: format!("http://{socket}"),
                profile: "bare".into(),
                nonce: 0,
                deadline_s: now_s() + 600,
            };
            registrar.transfer(keys.wallet.address(), FUNDS_WEI).await?;
            let signed = statement.sign(&keys.wallet, CHAIN_ID, node_registry)?;
            registrar.register_node(&signed, STAKE_WEI).await?;
            sockets.push(socket);
        }
        Ok(Self {
            network,
            sockets,
            folder: tempfile::tempdir()?,
            chain,
            stop,
        })
    }

    /// Starts the `seed`-th node in a process of its own and waits until it knows all nodes.
    pub(crate) async fn start_node(
        &self,
        seed: u64,
        listen: SocketAddr,
        counting: bool,
    ) -> anyhow::Result<NodeProcess> {
        let orders = Orders {
            seed,
            listen,
            admin: free_socket()?,
            data_dir: self.folder.path().join(listen.port().to_string()),
            network: self.network.clone(),
        };
        let node = NodeProcess::start(&orders, counting)?;
        let knows = format!("\"nodes_known\":{}", self.sockets.len());
        for _ in 0..START_POLLS {
            if status(orders.admin)
                .await
                .is_ok_and(|status| status.contains(&knows))
            {
                return Ok(node);
            }
            tokio::time::sleep(START_POLL).await;
        }
        bail!("the node did not come up")
    }

    pub(crate) async fn stop(self) {
        self.stop.cancel();
        self.chain.stop().await;
    }
}

async fn status(admin: SocketAddr) -> std::io::Result<String> {
    let mut socket = TcpStream::connect(admin).await?;
    let request = format!("GET /status HTTP/1.1\r\nHost: {admin}\r\nConnection: close\r\n\r\n");
    socket.write_all(request.as_bytes()).await?;
    let mut response = String::new();
    socket.read_to_string(&mut response).await?;
    Ok(response)
}
