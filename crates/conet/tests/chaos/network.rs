//! A chain and nodes as processes, each node behind a cable of its own.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use ledger::{Contracts, DEV_CHAIN_ID, DeploymentTerms, DevKeys, NetworkFile, Registrar, deploy};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::{Child, Command};
use tokio::time::Instant;
use wallet::{Mnemonic, WalletAddress};

use crate::proxy::{Cable, Proxy};

pub(crate) const CONET: &str = env!("CARGO_BIN_EXE_conet");
const MNEMONIC: &str = "test test test test test test test test test test test junk";
const STAKE_WEI: u128 = 1_000_000_000_000_000_000;
/// How long a chain may take to answer, or a node to be healthy.
const PATIENCE: Duration = Duration::from_secs(60);

/// One process that can be killed and started again.
#[derive(Debug)]
pub(crate) struct Process {
    program: PathBuf,
    arguments: Vec<String>,
    log: PathBuf,
    running: Option<Child>,
}

impl Process {
    pub(crate) fn new(program: impl Into<PathBuf>, arguments: Vec<String>, log: PathBuf) -> Self {
        Self {
            program: program.into(),
            arguments,
            log,
            running: None,
        }
    }

    pub(crate) fn start(&mut self) -> Result<()> {
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.log)?;
        let child = Command::new(&self.program)
            .args(&self.arguments)
            .env("CONET_PASSWORD", "")
            .env_remove("CONET_HOME")
            // Open for as long as this process lives: the chain ends with its stdin.
            .stdin(Stdio::piped())
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(true)
            .spawn()?;
        self.running = Some(child);
        Ok(())
    }

    /// Kills it at once, and waits until it is gone.
    pub(crate) async fn kill(&mut self) -> Result<()> {
        if let Some(mut child) = self.running.take() {
            child.kill().await?;
        }
        Ok(())
    }

    pub(crate) fn signal(&self, signal: Signal) -> Result<()> {
        if let Some(id) = self.running.as_ref().and_then(Child::id) {
            kill(Pid::from_raw(i32::try_from(id)?), signal)?;
        }
        Ok(())
    }

    /// How it ended, if it did so by itself.
    pub(crate) fn has_ended(&mut self) -> Result<Option<String>> {
        let Some(child) = &mut self.running else {
            return Ok(None);
        };
        Ok(child.try_wait()?.map(|status| status.to_string()))
    }

    /// Whether it ended with an error whose last line says this. It can then be started again.
    pub(crate) fn has_refused(&mut self, reason: &str) -> Result<bool> {
        if self.has_ended()?.is_none() {
            return Ok(false);
        }
        let log = std::fs::read_to_string(&self.log)?;
        let refused = log
            .lines()
            .last()
            .is_some_and(|line| line.starts_with("error:") && line.contains(reason));
        if refused {
            self.running = None;
        }
        Ok(refused)
    }

    pub(crate) fn log(&self) -> &Path {
        &self.log
    }

    /// The number of the process, while it runs.
    pub(crate) fn id(&self) -> Option<u32> {
        self.running.as_ref().and_then(Child::id)
    }
}

/// What a network is to be made of.
#[derive(Debug)]
pub(crate) struct Layout<'a> {
    /// What each node's `node init` is told besides the usual.
    pub(crate) nodes: &'a [&'a [&'a str]],
    /// Whether each node is reached through a cable.
    pub(crate) cables: bool,
}

/// A node, and the cable to it if it has one.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) process: Process,
    pub(crate) cable: Option<Proxy>,
    pub(crate) listen: SocketAddr,
    pub(crate) admin: SocketAddr,
}

impl Node {
    /// Spoils or mends its cable.
    pub(crate) fn set_cable(&self, state: Cable) {
        if let Some(cable) = &self.cable {
            cable.set(state);
        }
    }
}

#[derive(Debug)]
pub(crate) struct Network {
    pub(crate) file: PathBuf,
    pub(crate) chain: Process,
    pub(crate) chain_folder: PathBuf,
    pub(crate) nodes: Vec<Node>,
    registrar: Registrar,
}

impl Network {
    /// Starts a chain with the contracts, and the nodes.
    pub(crate) async fn start(folder: &Path, layout: &Layout<'_>) -> Result<Self> {
        let ports = free_ports(2 * layout.nodes.len() + 1)?;
        let (chain_address, node_addresses) = ports.split_first().context("no port")?;
        let chain_folder = folder.join("chain");
        let arguments = [
            "devnet",
            "chain",
            "--kind",
            "revm",
            "--block-time",
            "0",
            "--listen",
            &chain_address.to_string(),
            "--dir",
            text(&chain_folder)?,
        ];
        let mut chain = Process::new(
            CONET,
            arguments.map(str::to_owned).to_vec(),
            folder.join("chain.log"),
        );
        chain.start()?;

        let funder = Mnemonic::parse(MNEMONIC)?.wallet(0)?;
        let nowhere = WalletAddress::from_bytes([0; 20]);
        let mut file = NetworkFile {
            version: 1,
            name: "chaos".into(),
            chain_id: DEV_CHAIN_ID,
            rpc_urls: vec![format!("http://{chain_address}")],
            contracts: Contracts {
                node_registry: nowhere,
                route_registry: nowhere,
                name_registry: None,
                bridge_offers: None,
            },
            start_block: 0,
            confirmations: 0,
            bootstrap: Vec::new(),
            plain_intake_path: Some("/intake".into()),
            stamp_effort: 2,
            dev: Some(DevKeys {
                mnemonic: MNEMONIC.into(),
            }),
        };
        let registrar = Registrar::new(&file, &funder)?;
        answers(&registrar).await?;
        let terms = DeploymentTerms {
            min_stake_wei: STAKE_WEI,
            unbonding_period_s: 3_600,
        };
        let deployed = deploy(&file, &funder, &terms).await?;
        file.contracts = deployed.contracts;
        file.start_block = deployed.block;
        let path = folder.join("network.json");
        file.save(&path)?;

        let mut network = Self {
            registrar: Registrar::new(&file, &funder)?,
            file: path,
            chain,
            chain_folder,
            nodes: Vec::new(),
        };
        let of_nodes = node_addresses.chunks_exact(2).zip(layout.nodes);
        for (number, (addresses, told)) in of_nodes.enumerate() {
            let folder = folder.join(format!("node{number}"));
            let cable = match layout.cables {
                true => Some(Proxy::to(addresses[0]).await?),
                false => None,
            };
            let node = network.make_node(&folder, addresses, cable, told).await?;
            network.nodes.push(node);
        }
        Ok(network)
    }

    /// Registers a node whose endpoint is its cable, or where it listens, and starts it.
    async fn make_node(
        &self,
        folder: &Path,
        addresses: &[SocketAddr],
        cable: Option<Proxy>,
        told: &[&str],
    ) -> Result<Node> {
        let reached = cable.as_ref().map_or(addresses[0], |cable| cable.address);
        std::fs::create_dir_all(folder)?;
        let dir = folder.join("state");
        // Not on the small disk: what a node says of it is read.
        let log = folder.with_extension("log");
        let network = ["--network", text(&self.file)?].map(str::to_owned);
        let place = ["--dir", text(&dir)?].map(str::to_owned);
        let particulars = [
            "--listen".to_owned(),
            addresses[0].to_string(),
            "--admin".to_owned(),
            addresses[1].to_string(),
            "--endpoint".to_owned(),
            format!("http://{reached}"),
        ];
        let init = [
            &network[..],
            &["node".into(), "init".into()],
            &place,
            &particulars,
        ]
        .concat();
        let told = told.iter().copied().map(str::to_owned);
        let made = Command::new(CONET)
            .args(init)
            .args(told)
            .env("CONET_PASSWORD", "")
            .env("CONET_HOME", folder.join("home"))
            .output()
            .await?;
        ensure!(
            made.status.success(),
            "node init: {}",
            String::from_utf8_lossy(&made.stderr)
        );
        let run = [&network[..], &["node".into(), "run".into()], &place].concat();
        let mut process = Process::new(CONET, run, log);
        process.start()?;
        Ok(Node {
            process,
            cable,
            listen: addresses[0],
            admin: addresses[1],
        })
    }

    /// Waits until the chain answers again.
    pub(crate) async fn chain_answers(&self) -> Result<()> {
        answers(&self.registrar).await
    }
}

async fn answers(registrar: &Registrar) -> Result<()> {
    let until = Instant::now() + PATIENCE;
    loop {
        match registrar.balance(registrar.payer()).await {
            Ok(_) => return Ok(()),
            Err(error) if Instant::now() > until => {
                return Err(error).context("the chain does not answer");
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

/// Addresses that nobody listens on just now.
fn free_ports(count: usize) -> Result<Vec<SocketAddr>> {
    let held: Vec<std::net::TcpListener> = (0..count)
        .map(|_| std::net::TcpListener::bind(("127.0.0.1", 0)))
        .collect::<std::io::Result<_>>()?;
    Ok(held
        .iter()
        .map(std::net::TcpListener::local_addr)
        .collect::<std::io::Result<_>>()?)
}

pub(crate) fn text(path: &Path) -> Result<&str> {
    path.to_str().context("a path that is not text")
}
