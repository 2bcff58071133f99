//! The nodes, as processes, and what is known of them.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use ledger::NetworkFile;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::Instant;
use wallet::{Certificate, WalletAddress};

use crate::Scale;
use crate::network::{Layout, Network};
use crate::pair::{Pair, Service};

/// Bytes that the mailbox keeps for one wallet.
pub(crate) const QUOTA_BYTES: u64 = 8 << 20;
/// The same of the mailbox for very many packets.
const LARGE_QUOTA: &str = "8589934592";
const PATIENCE: Duration = Duration::from_secs(60);

const ENTRY: usize = 0;
const MAILBOX: usize = 3;
const VAULT: usize = 4;
const NODES: usize = 5;

/// A node as whoever wants to talk to it knows it.
#[derive(Debug, Clone)]
pub(crate) struct Spot {
    pub(crate) number: usize,
    pub(crate) address: WalletAddress,
    pub(crate) transport_key: [u8; 32],
    pub(crate) certificate: Certificate,
    pub(crate) listen: SocketAddr,
    admin: SocketAddr,
}

/// Five nodes: an entry that all clients use, two that relay, a mailbox, and a mailbox with much room.
pub(crate) struct World {
    pub(crate) scale: Scale,
    pub(crate) file: NetworkFile,
    pub(crate) network: Network,
    spots: Vec<Spot>,
    /// How two honest wallets fare while nothing else happens.
    pub(crate) quiet: Service,
    folder: TempDir,
}

impl World {
    pub(crate) async fn new(scale: Scale) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("conet-load").tempdir()?;
        let quota = QUOTA_BYTES.to_string();
        let (small, large) = (["--quota", &quota], ["--quota", LARGE_QUOTA]);
        let nodes: [&[&str]; NODES] = [&[], &[], &[], &small, &large];
        let layout = Layout {
            nodes: &nodes,
            cables: false,
        };
        let network = Network::start(folder.path(), &layout).await?;
        let file = NetworkFile::load(&network.file)?;
        let mut world = Self {
            scale,
            file,
            network,
            spots: Vec::new(),
            quiet: Service::default(),
            folder,
        };
        world.look_around().await?;
        let pair = Pair::new(&world, world.mailbox()).await?;
        let calm = async {
            tokio::time::sleep(Duration::from_secs(scale.of(2, 15) as u64)).await;
            Ok(())
        };
        let ((), quiet) = pair.beside(calm).await?;
        world.quiet = quiet;
        Ok(world)
    }

    /// Finds out what the ledger says of the nodes, and waits until each of them knows all.
    async fn look_around(&mut self) -> Result<()> {
        let home = tempfile::tempdir_in(self.folder.path())?;
        let sdk = client::Network::open(home.path(), self.file.clone()).await?;
        sdk.ready(PATIENCE).await?;
        let known = sdk.nodes();
        for (number, node) in self.network.nodes.iter().enumerate() {
            let endpoint = format!("http://{}", node.listen);
            let record =
                (known.iter().find(|it| it.endpoint == endpoint)).context("a node is missing")?;
            self.spots.push(Spot {
                number,
                address: record.address,
                transport_key: record.transport_key,
                certificate: Certificate::parse(&record.certificate)?,
                listen: node.listen,
                admin: node.admin,
            });
            self.is_up(number).await?;
        }
        Ok(())
    }

    /// Waits until a node knows all nodes; says how long that took.
    pub(crate) async fn is_up(&self, number: usize) -> Result<Duration> {
        let (begun, all) = (Instant::now(), format!("\"nodes_known\":{NODES}"));
        while begun.elapsed() < PATIENCE {
            let status = ask(self.network.nodes[number].admin, "/status").await;
            if status.is_ok_and(|status| status.contains(&all)) {
                return Ok(begun.elapsed());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        bail!("node {number} does not come up")
    }

    pub(crate) fn entry(&self) -> &Spot {
        &self.spots[ENTRY]
    }

    pub(crate) fn mailbox(&self) -> &Spot {
        &self.spots[MAILBOX]
    }

    pub(crate) fn vault(&self) -> &Spot {
        &self.spots[VAULT]
    }

    pub(crate) fn spots(&self) -> &[Spot] {
        &self.spots
    }

    /// A network of the SDK that uses the one entry and no other.
    pub(crate) async fn sdk(&self) -> Result<(client::Network, TempDir)> {
        let home = tempfile::tempdir_in(self.folder.path())?;
        let sdk = client::Network::open(home.path(), self.file.clone()).await?;
        let others = self.spots.iter().filter(|it| it.number != ENTRY);
        sdk.exclude_as_entries(others.map(|it| it.address));
        sdk.ready(PATIENCE).await?;
        Ok((sdk, home))
    }

    /// Resident memory of a node in kB.
    pub(crate) fn rss_kb(&self, spot: &Spot) -> Result<i64> {
        let id = self.network.nodes[spot.number].process.id();
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", id.context("no process")?))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let text = line.and_then(|line| line.split_whitespace().next());
        Ok(text.context("no VmRSS")?.parse()?)
    }

    /// No node may have ended by itself.
    pub(crate) fn look(&mut self) -> Result<()> {
        for node in &mut self.network.nodes {
            let ended = node.process.has_ended()?;
            ensure!(
                ended.is_none(),
                "{}: {ended:?}",
                node.process.log().display()
            );
        }
        Ok(())
    }
}

impl Spot {
    /// The value of one of the node's metrics, as its line says before the number.
    pub(crate) async fn metric(&self, name: &str) -> Result<u64> {
        let text = ask(self.admin, "/metrics").await?;
        let value = text
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        Ok(value.map_or(Ok(0), str::parse)?)
    }

    /// Waits until a gauge is at most that.
    pub(crate) async fn falls_to(&self, gauge: &str, most: u64, patience: Duration) -> Result<()> {
        let until = Instant::now() + patience;
        loop {
            let now = self.metric(gauge).await?;
            if now <= most {
                return Ok(());
            }
            ensure!(Instant::now() < until, "{gauge} stays at {now}, not {most}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

async fn ask(admin: SocketAddr, path: &str) -> Result<String> {
    let mut socket = TcpStream::connect(admin).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {admin}\r\nConnection: close\r\n\r\n");
    socket.write_all(request.as_bytes()).await?;
    let mut response = String::new();
    socket.read_to_string(&mut response).await?;
    Ok(response)
}
