//! The other proxies: shadowsocks-libev and microsocks.

use std::fs;
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::bail;
use serde_json::json;
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::time::sleep;

use super::socks::Way;
use crate::process::{BOTH_CORES, Measured};
use crate::world::free_socket;

const START_POLLS: u32 = 100;
const START_POLL: Duration = Duration::from_millis(50);

/// A proxy and its processes, which end with it.
#[derive(Debug)]
pub(super) struct Proxy {
    pub(super) way: Way,
    _processes: Vec<Measured>,
    _folder: TempDir,
}

/// Starts `ss-local` and `ss-server` with AES-256-GCM: one hop.
pub(super) async fn shadowsocks() -> anyhow::Result<Proxy> {
    let folder = tempfile::tempdir()?;
    let (server, local) = (free_socket()?, free_socket()?);
    let file = folder.path().join("both.json");
    let options = json!({
        "server": server.ip(), "server_port": server.port(),
        "local_address": local.ip(), "local_port": local.port(),
        "password": "only for this run", "method": "aes-256-gcm",
        "timeout": 600, "no_delay": true, "fast_open": false, "mode": "tcp_only",
    });
    fs::write(&file, options.to_string())?;
    let mut processes = Vec::new();
    for (program, listens) in [("ss-server", server), ("ss-local", local)] {
        let process = quiet(program, |command| {
            command.arg("-c").arg(&file);
        })?;
        processes.push(process);
        is_up(program, listens).await?;
    }
    Ok(Proxy {
        way: Way::through_for_all(local),
        _processes: processes,
        _folder: folder,
    })
}

/// Starts `microsocks`: a SOCKS server on this machine, no network and no encryption.
pub(super) async fn microsocks() -> anyhow::Result<Proxy> {
    let listens = free_socket()?;
    let process = quiet("microsocks", |command| {
        command
            .args(["-i", &listens.ip().to_string()])
            .args(["-p", &listens.port().to_string()]);
    })?;
    is_up("microsocks", listens).await?;
    Ok(Proxy {
        way: Way::through_for_all(listens),
        _processes: vec![process],
        _folder: tempfile::tempdir()?,
    })
}

fn quiet(program: &str, prepare: impl FnOnce(&mut Command)) -> anyhow::Result<Measured> {
    Measured::start_on(BOTH_CORES, program, |command| {
        prepare(command);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
    })
}

async fn is_up(program: &str, socket: SocketAddr) -> anyhow::Result<()> {
    for _ in 0..START_POLLS {
        if TcpStream::connect(socket).await.is_ok() {
            return Ok(());
        }
        sleep(START_POLL).await;
    }
    bail!("{program} did not come up")
}
