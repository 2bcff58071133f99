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
    password: &'static str,
    pub(crate) address: String,
    /// The words that the wallet comes from.
    pub(crate) words: String,
}

impl Person {
    /// A home on a machine of its own, with no wallet.
    fn machine(network: PathBuf, password: &'static str) -> Result<Self> {
        Ok(Self {
            folder: tempfile::tempdir()?,
            network,
            password,
            address: String::new(),
            words: String::new(),
        })
    }

    /// A fresh home with one wallet, not yet reachable. Its password is empty: a good one costs a second a command.
    pub(crate) fn stranger(devnet: &Devnet, openpgp: &str) -> Result<Self> {
        Self::with_password(devnet, openpgp, "")
    }

    /// Somebody reachable whose wallet has a password.
    pub(crate) fn careful(devnet: &Devnet) -> Result<Self> {
        let person = Self::with_password(devnet, "v6", "correct horse")?;
        person.ok(&["route", "set", "--mailbox", "auto", "--json"])?;
        Ok(person)
    }

    fn with_password(devnet: &Devnet, openpgp: &str, password: &'static str) -> Result<Self> {
        let mut person = Self::machine(devnet.network_file(), password)?;
        let made = person.ok(&["wallet", "new", "me", "--openpgp", openpgp, "--json"])?;
        person.address = made["address"]
            .as_str()
            .context("`wallet new --json` names no address")?
            .into();
        person.words = made["mnemonic"].as_str().unwrap_or_default().into();
        Ok(person)
    }

    /// Another machine with the same wallet, from an export.
    pub(crate) fn second_device(&self) -> Result<Self> {
        let export = self.home().join("export.json");
        let export = export.to_string_lossy();
        self.ok(&["wallet", "export", "--output", &export])?;
        self.elsewhere(&export)
    }

    /// Another machine with the same wallet, from that export.
    pub(crate) fn device_from(&self, export: &Path) -> Result<Self> {
        self.elsewhere(&export.to_string_lossy())
    }

    /// Another machine with the same wallet, from its words alone.
    pub(crate) fn restored(&self) -> Result<Self> {
        let words = self.home().join("words");
        std::fs::write(&words, &self.words)?;
        self.elsewhere(&words.to_string_lossy())
    }

    fn elsewhere(&self, file: &str) -> Result<Self> {
        let mut other = Self::machine(self.network.clone(), self.password)?;
        let made = other.ok(&["wallet", "import", file, "--label", "me", "--json"])?;
        ensure!(made["address"] == *self.address, "{made}");
        other.address.clone_from(&self.address);
        Ok(other)
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
            .env("CONET_PASSWORD", self.password)
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
        let lines = events(child.stdout.take().context("no stdout")?);
        let notices = events(child.stderr.take().context("no stderr")?);
        Ok(Listener {
            child,
            lines,
            notices,
        })
    }

    /// Every message that `listen --once` prints.
    pub(crate) fn listen_once(&self, more: &[&str]) -> Result<Vec<Value>> {
        Ok(self.hear_all(more)?.0)
    }

    /// Every message that `listen --once` prints, and every notice.
    pub(crate) fn hear_all(&self, more: &[&str]) -> Result<(Vec<Value>, Vec<Value>)> {
        let arguments = [&["listen", "--once", "--json"], more].concat();
        let output = self.run(&arguments)?;
        ensure!(
            output.status.success(),
            "listen --once: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        let read = |bytes: &[u8]| {
            let text = String::from_utf8_lossy(bytes);
            text.lines()
                .filter_map(|l| serde_json::from_str(l).ok())
                .collect()
        };
        Ok((read(&output.stdout), read(&output.stderr)))
    }

    /// The texts that `listen --once` prints, in order.
    pub(crate) fn texts(&self) -> Result<Vec<String>> {
        let heard = self.listen_once(&[])?;
        let texts = heard.iter().filter_map(|e| e["text"].as_str());
        Ok(texts.map(Into::into).collect())
    }

    /// What others need to write to this wallet.
    pub(crate) fn contact(&self) -> Result<String> {
        let shared = self.ok(&["wallet", "share", "--json"])?;
        Ok(shared["uri"]
            .as_str()
            .with_context(|| format!("`wallet share --json` names no uri: {shared}"))?
            .into())
    }

    /// How many messages wait in the outbox.
    pub(crate) fn waiting(&self) -> Result<usize> {
        let output = self.run(&["outbox", "list", "--json"])?;
        ensure!(output.status.success(), "outbox list: {}", output.status);
        Ok(String::from_utf8_lossy(&output.stdout).lines().count())
    }
}

/// Reads JSON, one object a line, for as long as it comes.
fn events(from: impl std::io::Read + Send + 'static) -> Receiver<Value> {
    let (sender, lines) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            if let Ok(event) = serde_json::from_str(&line) {
                let _gone = sender.send(event);
            }
        }
    });
    lines
}

/// A running `listen`.
pub(crate) struct Listener {
    pub(crate) child: Child,
    lines: Receiver<Value>,
    notices: Receiver<Value>,
}

impl Listener {
    /// The next message that `wanted` accepts.
    pub(crate) fn wait_for(&self, what: &str, wanted: impl FnMut(&Value) -> bool) -> Result<Value> {
        wait_for(&self.lines, what, wanted)
    }

    /// The next notice that `wanted` accepts.
    pub(crate) fn wait_for_notice(
        &self,
        what: &str,
        wanted: impl FnMut(&Value) -> bool,
    ) -> Result<Value> {
        wait_for(&self.notices, what, wanted)
    }

    /// The notices that came until now.
    pub(crate) fn notices(&self) -> Vec<Value> {
        self.notices.try_iter().collect()
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

fn wait_for(
    events: &Receiver<Value>,
    what: &str,
    mut wanted: impl FnMut(&Value) -> bool,
) -> Result<Value> {
    let deadline = Instant::now() + EVENT_TIMEOUT;
    let mut seen = Vec::new();
    loop {
        match events.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(event) if wanted(&event) => return Ok(event),
            Ok(event) => seen.push(event),
            Err(_) => bail!("`listen` never printed {what}; it printed {seen:?}"),
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let _gone = kill(Pid::from_raw(self.child.id() as i32), Signal::SIGTERM);
        let _status = self.child.wait();
    }
}
