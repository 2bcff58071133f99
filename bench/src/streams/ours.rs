//! CONET: a devnet whose bridges reach the web server, `conet proxy` in front of it, `conet serve` behind it.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use serde::Deserialize;
use tempfile::TempDir;
use tokio::time::sleep;

use super::socks::{Target, Way};
use crate::devnet::{Devnet, DevnetNode};
use crate::process::{BOTH_CORES, Measured};

/// How long a proxy may take to be of use.
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// The network.
#[derive(Debug)]
pub(super) struct Ours {
    pub(super) devnet: Devnet,
    pub(super) nodes: Vec<DevnetNode>,
    conet: String,
}

/// What the network has at most between a client and its bridge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hops {
    /// Entry, relay, bridge.
    Relayed,
    /// Entry, bridge.
    Direct,
    /// The bridge itself.
    One,
}

/// A `conet proxy` with a home of its own, which ends with this.
#[derive(Debug)]
pub(super) struct OurProxy {
    pub(super) way: Way,
    pub(super) process: Measured,
    _home: TempDir,
}

/// What `conet proxy --json` says of itself.
#[derive(Deserialize)]
struct Announced {
    socks: SocketAddr,
}

impl Ours {
    pub(super) async fn start(targets: &[SocketAddr]) -> anyhow::Result<Self> {
        let devnet = Devnet::up_for(targets).await?;
        let nodes = devnet.nodes()?;
        let conet = std::env::var("CONET_BIN").context("CONET_BIN names no binary")?;
        Ok(Self {
            devnet,
            nodes,
            conet,
        })
    }

    /// The bridge that is taken where it is to be one and the same.
    pub(super) fn bridge(&self) -> anyhow::Result<&DevnetNode> {
        let mut bridges = self.nodes.iter().filter(|node| node.bridge);
        bridges.next().context("the devnet has no bridge")
    }

    /// Starts a proxy and waits until it leads to `probe`; with `pinned`, all goes over one bridge.
    pub(super) async fn proxy(
        &self,
        hops: Hops,
        pinned: bool,
        probe: &Target,
    ) -> anyhow::Result<OurProxy> {
        let proxy = self.unused_proxy(hops, pinned).await?;
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            if proxy.way.leads_to(probe).await {
                return Ok(proxy);
            }
            sleep(LOOK_EVERY).await;
        }
        bail!("conet proxy leads nowhere")
    }

    /// Starts a proxy through which nothing has gone yet.
    pub(super) async fn unused_proxy(&self, hops: Hops, pinned: bool) -> anyhow::Result<OurProxy> {
        let home = tempfile::tempdir()?;
        let bridge = pinned.then(|| self.bridge()).transpose()?;
        let mut process = Measured::start_on(BOTH_CORES, &self.conet, |command| {
            command
                .arg("--home")
                .arg(home.path())
                .arg("--network")
                .arg(self.devnet.network_file())
                .args(["--json", "--quiet", "proxy"])
                .args(["--socks", "127.0.0.1:0", "--http", "127.0.0.1:0"])
                .args(bridge.map(|bridge| format!("--pin={}", bridge.id)))
                .args(match hops {
                    Hops::Relayed => None,
                    Hops::Direct => Some("--direct"),
                    Hops::One => Some("--one-hop"),
                })
                .env_remove("CONET_HOME")
                .stdin(Stdio::null())
                .stdout(Stdio::piped());
        })?;
        let output = process.child().stdout.take().context("no output")?;
        let line = tokio::task::spawn_blocking(move || {
            let mut text = String::new();
            for line in BufReader::new(output).lines().take(16) {
                text += &line?;
                if serde_json::from_str::<Announced>(&text).is_ok() {
                    break;
                }
            }
            std::io::Result::Ok(text)
        });
        let line = tokio::time::timeout(PATIENCE, line).await???;
        let announced: Announced =
            serde_json::from_str(&line).context("conet proxy announced nothing")?;
        Ok(OurProxy {
            way: Way::through(announced.socks),
            process,
            _home: home,
        })
    }

    /// Publishes `web` under alice's wallet and waits until `through` reaches it; `None` with the reason if that can't be.
    pub(super) async fn service(
        &self,
        web: SocketAddr,
        through: Way,
    ) -> anyhow::Result<Result<(Measured, Target), &'static str>> {
        let known = Command::new(&self.conet)
            .args(["serve", "--help"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()?;
        if !known.success() {
            return Ok(Err("not built"));
        }
        let alice = self.devnet.client("alice").await?.address().to_string();
        let process = Measured::start_on(BOTH_CORES, &self.conet, |command| {
            command
                .arg("--home")
                .arg(self.devnet.home())
                .args(["--quiet", "--wallet", "alice", "serve", "--to"])
                .arg(format!("http://{web}"))
                .env_remove("CONET_HOME")
                .env("CONET_PASSWORD", "")
                .stdin(Stdio::null())
                .stdout(Stdio::null());
        })?;
        let target = Target {
            host: format!("{alice}.conet"),
            port: 80,
        };
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            if through.leads_to(&target).await {
                return Ok(Ok((process, target)));
            }
            sleep(LOOK_EVERY).await;
        }
        Ok(Err("built, but not reached"))
    }
}
