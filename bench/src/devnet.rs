//! `conet devnet up`, as a user starts it, and the SDK on its home.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use client::{Client, ClientOptions};
use ledger::NetworkFile;
use serde::Deserialize;
use tempfile::TempDir;

use crate::process::BOTH_CORES;

/// A cold start on a busy machine, and how long it may take to end.
const UP_TIMEOUT: Duration = Duration::from_secs(180);
const DOWN_TIMEOUT: Duration = Duration::from_secs(30);
const READY_TIMEOUT: Duration = Duration::from_secs(60);
/// Lines that it prints at most before it is up.
const UP_LINES: usize = 1_000;

/// A node of a devnet.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct DevnetNode {
    pub(crate) id: String,
    pub(crate) endpoint: String,
    pub(crate) bridge: bool,
    pub(crate) pid: u32,
}

/// A running devnet, which ends with this.
#[derive(Debug)]
pub(crate) struct Devnet {
    folder: TempDir,
    process: Child,
}

impl Devnet {
    /// Starts one in a folder of its own and waits until it is up.
    pub(crate) async fn up() -> anyhow::Result<Self> {
        Self::up_for(&[]).await
    }

    /// The same, with bridges that reach these sockets of the machine.
    pub(crate) async fn up_for(targets: &[SocketAddr]) -> anyhow::Result<Self> {
        let conet = std::env::var("CONET_BIN").context("CONET_BIN names no binary")?;
        let folder = tempfile::tempdir()?;
        let mut process = Command::new("setpriv")
            // It ends its nodes itself if it is asked to end.
            .args(["--pdeathsig", "TERM", "taskset", "-c", BOTH_CORES, &conet])
            .arg("--home")
            .arg(folder.path().join("home"))
            .args(["devnet", "up", "--dir"])
            .arg(folder.path().join("devnet"))
            .args(targets.iter().map(|to| format!("--allow-target={to}")))
            .env_remove("CONET_HOME")
            .env("CONET_PASSWORD", "")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("conet does not start")?;
        let output = process.stdout.take().context("no output")?;
        let devnet = Self { folder, process };
        let up = tokio::task::spawn_blocking(move || {
            BufReader::new(output)
                .lines()
                .take(UP_LINES)
                .map_while(Result::ok)
                // The last thing it prints is how it ends.
                .any(|line| line.contains("Ctrl-C"))
        });
        if !tokio::time::timeout(UP_TIMEOUT, up).await?? {
            bail!("the devnet did not come up");
        }
        Ok(devnet)
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn home(&self) -> PathBuf {
        self.folder.path().join("home")
    }

    /// The network as clients find it.
    pub(crate) fn network_file(&self) -> PathBuf {
        self.home().join("networks/devnet.json")
    }

    /// Its nodes, as `conet devnet status` lists them.
    pub(crate) fn nodes(&self) -> anyhow::Result<Vec<DevnetNode>> {
        #[derive(Deserialize)]
        struct Status {
            nodes: Vec<DevnetNode>,
        }
        let conet = std::env::var("CONET_BIN").context("CONET_BIN names no binary")?;
        let output = Command::new(conet)
            .args(["--json", "devnet", "status", "--dir"])
            .arg(self.folder.path().join("devnet"))
            .stdin(Stdio::null())
            .output()?;
        ensure!(output.status.success(), "the devnet has no status");
        Ok(serde_json::from_slice::<Status>(&output.stdout)?.nodes)
    }

    /// The SDK as one of the demo wallets, which have a mailbox.
    pub(crate) async fn client(&self, wallet: &str) -> anyhow::Result<Client> {
        let network = NetworkFile::load(&self.network_file())?;
        let mut options = ClientOptions::new(self.home(), network);
        options.wallet = Some(wallet.to_owned());
        let client = Client::open(options).await?;
        client.ready(READY_TIMEOUT).await?;
        Ok(client)
    }
}

impl Drop for Devnet {
    fn drop(&mut self) {
        let id = self.process.id().to_string();
        let _asked = Command::new("kill").args(["-TERM", &id]).status();
        let begun = Instant::now();
        while begun.elapsed() < DOWN_TIMEOUT {
            if matches!(self.process.try_wait(), Ok(Some(_)) | Err(_)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        let _gone = self.process.kill();
        let _reaped = self.process.wait();
    }
}
