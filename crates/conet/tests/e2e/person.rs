//! Someone with a home and a wallet, who types commands.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;

use crate::devnet::{CONET, Devnet};

const EVENT_TIMEOUT: Duration = Duration::from_secs(90);

pub(crate) struct Person {
    folder: TempDir,
    network: PathBuf,
    pub(crate) address: String,
}

impl Person {
    /// A fresh home with one wallet, not yet reachable.
    pub(crate) fn stranger(devnet: &Devnet, openpgp: &str) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let mut person = Self {
            folder,
            network: devnet.network_file(),
            address: String::new(),
        };
        let made = person.ok(&["wallet", "new", "me", "--openpgp", openpgp, "--json"])?;
        person.address = made["address"]
            .as_str()
            .context("`wallet new --json` names no address")?
            .into();
        Ok(person)
    }

    /// A fresh home with one wallet and a mailbox.
    pub(crate) fn reachable(devnet: &Devnet) -> Result<Self> {
        let person = Self::stranger(devnet, "v6")?;
        person.ok(&["route", "set", "--mailbox", "auto", "--json"])?;
        Ok(person)
    }

    pub(crate) fn home(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(CONET);
        command
            .arg("--home")
            .arg(self.folder.path().join("home"))
            .arg("--network")
            .arg(&self.network)
            .args(arguments)
            .env_remove("CONET_HOME")
            .env("CONET_PASSWORD", "correct horse")
            .stdin(Stdio::null());
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Result<Output> {
        Ok(self.command(arguments).output()?)
    }

    /// Runs a command that must succeed and returns the last line of its output as JSON.
    pub(crate) fn ok(&self, arguments: &[&str]) -> Result<Value> {
        let output = self.run(arguments)?;
        let stdout = String::from_utf8_lossy(&output.stdout);
        ensure!(
            output.status.success(),
            "`conet {}` ended with {}: {}{stdout}",
            arguments.join(" "),
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
        let last = stdout
            .lines()
            .rev()
            .find(|l| !l.trim().is_empty())
            .unwrap_or("null");
        Ok(serde_json::from_str(last).unwrap_or(Value::Null))
    }

    /// Sends text and returns the message id.
    pub(crate) fn send(&self, to: &str, text: &str, more: &[&str]) -> Result<String> {
        let arguments = [&["send", to, text, "--json"], more].concat();
        let sent = self.ok(&arguments)?;
        Ok(sent["id"]
            .as_str()
            .with_context(|| format!("`send --json` names no id: {sent}"))?
            .into())
    }

    /// The mailboxes of this person's route.
    pub(crate) fn mailboxes(&self) -> Result<Vec<String>> {
        let route = self.ok(&["route", "show", "--json"])?;
        let list = route["mailboxes"]
            .as_array()
            .with_context(|| format!("no mailboxes in {route}"))?;
        Ok(list
            .iter()
            .filter_map(|m| {
                m.as_str()
                    .or_else(|| m["id"].as_str())
                    .or_else(|| m["node"].as_str())
            })
            .map(Into::into)
            .collect())
    }

    /// Starts `listen --json`.
    pub(crate) fn listen(&self, more: &[&str]) -> Result<Listener> {
        let arguments = [&["listen", "--json"], more].concat();
        let mut child = self
            .command(&arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let stdout = child.stdout.take().context("no stdout")?;
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if let Ok(event) = serde_json::from_str(&line) {
                    let _gone = sender.send(event);
                }
            }
        });
        Ok(Listener { child, lines })
    }

    /// Everything that `listen --once` prints.
    pub(crate) fn listen_once(&self, more: &[&str]) -> Result<Vec<Value>> {
        let arguments = [&["listen", "--once", "--json"], more].concat();
        let output = self.run(&arguments)?;
        ensure!(
            output.status.success(),
            "listen --once: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        let text = String::from_utf8_lossy(&output.stdout);
        Ok(text
            .lines()
            .filter_map(|l| serde_json::from_str(l).ok())
            .collect())
    }
}

/// A running `listen`.
pub(crate) struct Listener {
    pub(crate) child: Child,
    lines: Receiver<Value>,
}

impl Listener {
    /// The next event that `wanted` accepts.
    pub(crate) fn wait_for(
        &self,
        what: &str,
        mut wanted: impl FnMut(&Value) -> bool,
    ) -> Result<Value> {
        let deadline = Instant::now() + EVENT_TIMEOUT;
        let mut seen = Vec::new();
        loop {
            match self
                .lines
                .recv_timeout(deadline.saturating_duration_since(Instant::now()))
            {
                Ok(event) if wanted(&event) => return Ok(event),
                Ok(event) => seen.push(event),
                Err(_) => bail!("`listen` never printed {what}; it printed {seen:?}"),
            }
        }
    }

    pub(crate) fn wait_for_text(&self, text: &str) -> Result<Value> {
        self.wait_for(text, |e| e["text"] == text)
    }

    /// Kills it as a crash would.
    pub(crate) fn kill(mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let _gone = kill(Pid::from_raw(self.child.id() as i32), Signal::SIGTERM);
        let _status = self.child.wait();
    }
}
