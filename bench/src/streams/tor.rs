//! A Tor network of its own on loopback: three authorities, five relays of which two are exits, a client, and an onion
//! service in front of a web server.
//!
//! The options are those of Tor's manual for testing networks: votes every few seconds, flags without a past.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use tempfile::TempDir;
use tokio::time::sleep;

use super::socks::{Target, Way};
use crate::process::{BOTH_CORES, Measured};
use crate::world::free_socket;

const AUTHORITIES: usize = 3;
const RELAYS: usize = 5;
const EXITS: usize = 2;
/// How long the network may take to agree, and the client to get through it.
const PATIENCE: Duration = Duration::from_secs(60);
/// A network that votes every few seconds does not always come together.
const TRIES: usize = 3;
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// What a relay writes once it may be used with exits.
const READY: &str = "contains exit nodes";

/// A running Tor network, which ends with this.
#[derive(Debug)]
pub(super) struct Tor {
    /// The client's proxy.
    pub(super) way: Way,
    /// The onion service.
    pub(super) onion: Target,
    _processes: Vec<Measured>,
    _folder: TempDir,
}

impl Tor {
    /// Starts it, with an onion service in front of `web`, and waits until both ways to that work.
    pub(super) async fn start(web: SocketAddr) -> anyhow::Result<Self> {
        let mut last = None;
        for _ in 0..TRIES {
            match Self::try_start(web).await {
                Ok(tor) => return Ok(tor),
                Err(error) => last = Some(error),
            }
        }
        Err(last.context("no try")?)
    }

    async fn try_start(web: SocketAddr) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let (mut authorities, mut files) = (String::new(), Vec::new());
        for place in 0..AUTHORITIES {
            let (file, line) = authority(folder.path(), &format!("authority{place}"))?;
            authorities += &line;
            files.push(file);
        }
        for place in 0..RELAYS {
            let mut options = relay(free_socket()?);
            options += if place < EXITS {
                // What accepts no public address is no exit in the eyes of clients.
                "ExitRelay 1\nExitPolicyRejectPrivate 0\nExitPolicy accept *:*\n"
            } else {
                "ExitRelay 0\nExitPolicy reject *:*\n"
            };
            files.push(write(folder.path(), &format!("relay{place}"), &options)?);
        }
        let mut processes = Vec::new();
        for file in &files {
            processes.push(run(file, &authorities)?);
        }
        let log = files.last().context("no relay")?.with_file_name("log");
        wait(
            || fs::read_to_string(&log).is_ok_and(|log| log.contains(READY)),
            "agreed on no exits",
        )
        .await?;

        // A client that comes earlier keeps the first consensus, which has no exits.
        let socks = free_socket()?;
        let client = format!("SocksPort {socks}\nORPort 0\n");
        let client = write(folder.path(), "client", &client)?;
        let hidden = folder.path().join("service/hidden");
        let service = format!(
            "SocksPort 0\nORPort 0\nHiddenServiceDir {}\nHiddenServicePort 80 {web}\n",
            hidden.display()
        );
        let service = write(folder.path(), "service", &service)?;
        processes.push(run(&client, &authorities)?);
        processes.push(run(&service, &authorities)?);
        let name = hidden.join("hostname");
        wait(|| name.exists(), "made no onion service").await?;
        let tor = Self {
            way: Way::through(socks),
            onion: Target {
                host: fs::read_to_string(name)?.trim().to_owned(),
                port: 80,
            },
            _processes: processes,
            _folder: folder,
        };
        tor.wait_for(&Target::from(web)).await?;
        tor.wait_for(&tor.onion).await?;
        Ok(tor)
    }

    async fn wait_for(&self, target: &Target) -> anyhow::Result<()> {
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            if self.way.leads_to(target).await {
                return Ok(());
            }
            sleep(LOOK_EVERY).await;
        }
        bail!("Tor's network did not lead anywhere")
    }
}

async fn wait(mut come: impl FnMut() -> bool, not: &str) -> anyhow::Result<()> {
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        if come() {
            return Ok(());
        }
        sleep(LOOK_EVERY).await;
    }
    bail!("Tor's network {not}")
}

/// An authority's options, and the line by which the others know it.
fn authority(folder: &Path, name: &str) -> anyhow::Result<(PathBuf, String)> {
    let (or, dir) = (free_socket()?, free_socket()?);
    let options = relay(or).replace("DirPort 0", &format!("DirPort {dir}"))
        + "ExitRelay 0\nExitPolicy reject *:*\nAuthoritativeDirectory 1\nV3AuthoritativeDirectory 1\n\
           ContactInfo nobody@localhost\nTestingV3AuthInitialVotingInterval 5\n\
           TestingV3AuthInitialVoteDelay 2\nTestingV3AuthInitialDistDelay 2\nV3AuthVotingInterval 10\n\
           V3AuthVoteDelay 2\nV3AuthDistDelay 2\nV3AuthNIntervalsValid 500\nTestingDirAuthVoteHSDir *\n\
           TestingDirAuthVoteGuard *\nTestingMinExitFlagThreshold 0\n";
    let file = write(folder, name, &options)?;
    let keys = file.with_file_name("keys");
    private(&keys)?;
    let mut making = Command::new("tor-gencert")
        .args(["--create-identity-key", "-m", "12", "--passphrase-fd", "0"])
        .args(["-a", &dir.to_string(), "-i"])
        .arg(keys.join("authority_identity_key"))
        .arg("-s")
        .arg(keys.join("authority_signing_key"))
        .arg("-c")
        .arg(keys.join("authority_certificate"))
        .stdin(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .context("tor-gencert does not start")?;
    std::io::Write::write_all(making.stdin.as_mut().context("no input")?, b"none\n")?;
    ensure!(making.wait()?.success(), "tor-gencert failed");
    let certificate = fs::read_to_string(keys.join("authority_certificate"))?;
    let identity = certificate
        .lines()
        .find_map(|line| line.strip_prefix("fingerprint "))
        .context("the authority has no fingerprint")?;
    // Without other authorities it would go to the public network's; these lead nowhere.
    let nowhere = format!("x 127.0.0.1:1 {}", "F".repeat(40));
    let listed = Command::new("tor")
        .args([
            "--quiet",
            "--list-fingerprint",
            "--DirAuthority",
            &nowhere,
            "-f",
        ])
        .arg(&file)
        .stdin(Stdio::null())
        .output()?;
    ensure!(listed.status.success(), "tor has no fingerprint");
    let fingerprint = fs::read_to_string(file.with_file_name("fingerprint"))?;
    let fingerprint = fingerprint
        .split(' ')
        .nth(1)
        .context("no fingerprint")?
        .trim();
    let line = format!(
        "DirAuthority {name} orport={} no-v2 v3ident={identity} {dir} {fingerprint}\n",
        or.port()
    );
    Ok((file, line))
}

fn relay(or: SocketAddr) -> String {
    format!("Address 127.0.0.1\nORPort {or} IPv4Only\nSocksPort 0\nDirPort 0\n")
}

fn private(folder: &Path) -> std::io::Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
}

/// Writes a member's options into a folder of its own.
fn write(folder: &Path, name: &str, options: &str) -> anyhow::Result<PathBuf> {
    let folder = folder.join(name);
    private(&folder)?;
    let at = folder.display();
    let file = folder.join("torrc");
    let text = format!(
        "TestingTorNetwork 1\nAssumeReachable 1\nPathsNeededToBuildCircuits 0.67\nShutdownWaitLength 0\n\
         DataDirectory {at}\nLog notice file {at}/log\nNickname {name}\n{options}"
    );
    fs::write(&file, text)?;
    Ok(file)
}

fn run(file: &Path, authorities: &str) -> anyhow::Result<Measured> {
    let options = fs::read_to_string(file)? + authorities;
    fs::write(file, options)?;
    Measured::start_on(BOTH_CORES, "tor", |command| {
        command
            .arg("-f")
            .arg(file)
            .stdin(Stdio::null())
            .stdout(Stdio::null());
    })
}
