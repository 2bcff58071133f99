//! A devnet as a user starts it, and what a test may do to it.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;

use crate::web::start_site;

/// The binary under test.
pub(crate) const CONET: &str = env!("CARGO_BIN_EXE_conet");
/// A cold start on a busy machine.
const UP_TIMEOUT: Duration = Duration::from_secs(180);
const DOWN_TIMEOUT: Duration = Duration::from_secs(30);

/// A running devnet with a home of its own.
pub(crate) struct Devnet {
    folder: TempDir,
    arguments: Vec<String>,
    process: Option<Child>,
    /// The port of a web site beside it that its bridges reach.
    pub(crate) site: u16,
}

/// One node, as `devnet status --json` tells.
#[derive(Debug, Clone)]
pub(crate) struct NodeStatus {
    pub(crate) id: String,
    pub(crate) pid: i32,
    pub(crate) admin: String,
    /// Its plain intake.
    pub(crate) url: String,
}

impl Devnet {
    /// Starts `conet devnet up` with extra arguments and waits until it says that it is up.
    pub(crate) fn up(arguments: &[&str]) -> Result<Self> {
        let mut arguments: Vec<String> = arguments.iter().map(ToString::to_string).collect();
        let site = start_site()?;
        arguments.extend(["--allow-target".into(), format!("127.0.0.1:{site}")]);
        if let Ok(chain) = std::env::var("CONET_E2E_CHAIN") {
            arguments.extend(["--chain".into(), chain]);
        }
        let folder = tempfile::tempdir()?;
        if !arguments.iter().any(|a| a == "--ephemeral") {
            let state = folder.path().join("devnet");
            arguments.extend(["--dir".into(), state.to_string_lossy().into_owned()]);
        }
        let mut devnet = Self {
            folder,
            arguments,
            process: None,
            site,
        };
        devnet.start()?;
        Ok(devnet)
    }

    /// The home that it was started with.
    pub(crate) fn home(&self) -> PathBuf {
        self.folder.path().join("home")
    }

    /// The network file, for other homes.
    pub(crate) fn network_file(&self) -> PathBuf {
        self.home().join("networks/devnet.json")
    }

    /// Where its state lies.
    pub(crate) fn state(&self) -> PathBuf {
        self.folder.path().join("devnet")
    }

    fn command(&self) -> Command {
        let mut command = Command::new(CONET);
        command
            .arg("--home")
            .arg(self.home())
            .env_remove("CONET_HOME")
            .env("CONET_PASSWORD", "");
        command
    }

    /// Starts it, or starts it again on the same state.
    pub(crate) fn start(&mut self) -> Result<()> {
        let mut child = self
            .command()
            .args(["devnet", "up"])
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()?;
        let stdout = child.stdout.take().context("no stdout")?;
        self.process = Some(child);
        let (sender, lines) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let _gone = sender.send(line);
            }
        });
        let deadline = Instant::now() + UP_TIMEOUT;
        let mut seen = String::new();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match lines.recv_timeout(left) {
                Ok(line) => {
                    seen.push_str(&line);
                    seen.push('\n');
                    // The last thing it prints is what to paste.
                    if line.contains("listen") && line.contains("bob") {
                        return Ok(());
                    }
                }
                Err(_) => bail!("`devnet up` did not print its next commands; it printed:\n{seen}"),
            }
        }
    }

    /// What `devnet status --json` says.
    pub(crate) fn status(&self) -> Result<Value> {
        let output = self
            .command()
            .args(["devnet", "status", "--json", "--dir"])
            .arg(self.state())
            .output()?;
        ensure!(
            output.status.success(),
            "devnet status: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(serde_json::from_slice(&output.stdout)?)
    }

    pub(crate) fn nodes(&self) -> Result<Vec<NodeStatus>> {
        let status = self.status()?;
        let nodes = status["nodes"].as_array().context("no nodes")?;
        nodes
            .iter()
            .map(|n| {
                Ok(NodeStatus {
                    id: n["id"].as_str().context("id")?.into(),
                    pid: n["pid"].as_i64().unwrap_or(0) as i32,
                    admin: n["admin"].as_str().unwrap_or_default().into(),
                    url: n["url"].as_str().unwrap_or_default().into(),
                })
            })
            .collect()
    }

    pub(crate) fn node(&self, id: &str) -> Result<NodeStatus> {
        self.nodes()?
            .into_iter()
            .find(|n| n.id.eq_ignore_ascii_case(id))
            .context("no such node")
    }

    /// Kills a node as a crash would.
    pub(crate) fn kill_node(&self, id: &str) -> Result<()> {
        let pid = self.node(id)?.pid;
        ensure!(pid > 0, "node {id} has no process");
        kill(Pid::from_raw(pid), Signal::SIGKILL)?;
        wait_until("the killed node is gone", || {
            Ok(kill(Pid::from_raw(pid), None).is_err() || is_zombie(pid))
        })
    }

    /// Starts a node of the devnet by itself, as an operator would.
    pub(crate) fn revive_node(&self, id: &str) -> Result<Revived> {
        self.revive_node_with(id, &[])
    }

    /// The same with other settings.
    pub(crate) fn revive_node_with(&self, id: &str, arguments: &[&str]) -> Result<Revived> {
        let folder = self.node_folder(id)?;
        let child = self
            .command()
            .arg("--network")
            .arg(self.network_file())
            .args(["node", "run", "--dir"])
            .arg(&folder)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let revived = Revived(child);
        let admin = self.node(id)?.admin;
        wait_until("the node is healthy again", || Ok(is_healthy(&admin)))?;
        Ok(revived)
    }

    /// The folder of a node.
    pub(crate) fn node_folder(&self, id: &str) -> Result<PathBuf> {
        let status = self.status()?;
        let nodes = status["nodes"].as_array().context("no nodes")?;
        let node = nodes
            .iter()
            .find(|n| n["id"].as_str().is_some_and(|i| i.eq_ignore_ascii_case(id)));
        let folder = node
            .and_then(|n| n["dir"].as_str())
            .context("the status names no folder")?;
        Ok(Path::new(folder).to_owned())
    }

    /// Kills the chain as a crash would: the process that runs it, or the one that this one looks after.
    pub(crate) fn kill_chain(&self) -> Result<()> {
        let pid = self.chain_pid()?;
        let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
        let child = children
            .ok()
            .and_then(|list| list.split_whitespace().next()?.parse().ok());
        kill(Pid::from_raw(child.unwrap_or(pid)), Signal::SIGKILL)?;
        wait_until("the chain is gone", || {
            Ok(kill(Pid::from_raw(pid), None).is_err() || is_zombie(pid))
        })
    }

    fn chain_pid(&self) -> Result<i32> {
        Ok(self.status()?["chain"]["pid"]
            .as_i64()
            .context("the status names no chain process")? as i32)
    }

    /// Stops it as Ctrl-C does and waits until it is gone.
    pub(crate) fn stop(&mut self) -> Result<()> {
        let Some(mut child) = self.process.take() else {
            return Ok(());
        };
        kill(Pid::from_raw(child.id() as i32), Signal::SIGINT)?;
        let deadline = Instant::now() + DOWN_TIMEOUT;
        loop {
            if let Some(status) = child.try_wait()? {
                ensure!(status.success(), "devnet ended with {status}");
                return Ok(());
            }
            if Instant::now() > deadline {
                child.kill()?;
                child.wait()?;
                bail!("the devnet did not stop in {DOWN_TIMEOUT:?}");
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Devnet {
    fn drop(&mut self) {
        if let Err(error) = self.stop() {
            eprintln!("{error:#}");
        }
    }
}

/// A node that a test started by itself.
pub(crate) struct Revived(pub(crate) Child);

impl Drop for Revived {
    fn drop(&mut self) {
        let _gone = kill(Pid::from_raw(self.0.id() as i32), Signal::SIGTERM);
        let _status = self.0.wait();
    }
}

fn is_zombie(pid: i32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|s| s.contains(") Z "))
}

/// Asks an admin port for its health.
pub(crate) fn is_healthy(admin: &str) -> bool {
    let admin = admin.trim_start_matches("http://").trim_end_matches('/');
    get(admin, "/health").is_ok_and(|response| response.starts_with("HTTP/1.1 200"))
}

/// A plain GET, for ports of our own.
pub(crate) fn get(authority: &str, path: &str) -> Result<String> {
    use std::io::{Read as _, Write as _};
    let mut socket = std::net::TcpStream::connect(authority)?;
    socket.set_read_timeout(Some(Duration::from_secs(5)))?;
    write!(
        socket,
        "GET {path} HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n\r\n"
    )?;
    let mut response = String::new();
    socket.read_to_string(&mut response)?;
    Ok(response)
}

/// Waits for something to become true.
pub(crate) fn wait_until(what: &str, mut is_true: impl FnMut() -> Result<bool>) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(60);
    while Instant::now() < deadline {
        if is_true()? {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    bail!("waited in vain until {what}")
}
