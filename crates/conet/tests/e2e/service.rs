//! Servers that are put on the network, and ports that lead to them.

use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::person::Person;

/// How long an end may be silent.
const PATIENCE: Duration = Duration::from_secs(90);

/// A running `conet serve` or `conet forward`; it is ended in good order.
pub(crate) struct Running {
    pub(crate) process: Child,
    /// What it said once it was ready.
    pub(crate) said: Value,
}

impl Running {
    pub(crate) fn start(person: &Person, arguments: &[&str]) -> Result<Self> {
        let arguments = [arguments, &["--json"]].concat();
        let mut process = person
            .command(&arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()?;
        let stdout = process.stdout.take().context("no stdout")?;
        let mut line = String::new();
        let read = BufReader::new(stdout).read_line(&mut line);
        let mut running = Self {
            process,
            said: Value::Null,
        };
        read?;
        running.said =
            serde_json::from_str(&line).with_context(|| format!("{arguments:?} did not start"))?;
        Ok(running)
    }

    /// Kills it as a crash would.
    pub(crate) fn kill(&mut self) -> Result<()> {
        self.process.kill()?;
        self.process.wait()?;
        Ok(())
    }

    /// Where the first forwarded port listens.
    pub(crate) fn port(&self) -> Result<SocketAddr> {
        let listen = self.said["forwards"][0]["listen"].as_str();
        Ok(listen.context("no port")?.parse()?)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Ok(None) = self.process.try_wait() {
            let _gone = kill(Pid::from_raw(self.process.id() as i32), Signal::SIGTERM);
            let _status = self.process.wait();
        }
    }
}

/// Starts a TCP server that says a word to whoever connects, and then echoes all that it hears to the end.
pub(crate) fn start_echo(word: &'static str) -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let port = listener.local_addr()?.port();
    std::thread::spawn(move || {
        for socket in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let mut socket = socket;
                let mut reader = socket.try_clone()?;
                socket.write_all(word.as_bytes())?;
                std::io::copy(&mut reader, &mut socket)?;
                socket.shutdown(std::net::Shutdown::Write)
            });
        }
    });
    Ok(port)
}

/// Connects, and reads what the server says first.
pub(crate) fn greeted(address: SocketAddr, letters: usize) -> Result<(TcpStream, String)> {
    let mut socket = TcpStream::connect(address)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let mut word = vec![0; letters];
    socket.read_exact(&mut word)?;
    Ok((socket, String::from_utf8(word)?))
}
