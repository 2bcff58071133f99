//! The real binary with a whole devnet of real processes.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that can't go on fails"
)]

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

fn conet(home: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_conet"));
    command
        .arg("--home")
        .arg(home)
        .env_remove("CONET_PASSWORD")
        .stdin(Stdio::null());
    command
}

fn run(home: &Path, arguments: &[&str]) -> Output {
    conet(home).args(arguments).output().unwrap()
}

fn done(home: &Path, arguments: &[&str]) -> String {
    let output = run(home, arguments);
    assert!(
        output.status.success(),
        "{arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// A devnet that runs; it is killed when dropped.
struct Devnet {
    process: Child,
    description: Value,
}

impl Devnet {
    /// Starts one and waits until it says what runs.
    fn up(home: &Path, arguments: &[&str]) -> Self {
        let mut process = conet(home)
            .args(["--json", "devnet", "up"])
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let description =
            serde_json::from_str(&line).unwrap_or_else(|error| panic!("{line:?}: {error}"));
        Self {
            process,
            description,
        }
    }

    fn pid(&self, node: usize) -> i32 {
        i32::try_from(self.description["nodes"][node]["pid"].as_i64().unwrap()).unwrap()
    }

    fn stop(mut self, signal: Signal) {
        kill(
            Pid::from_raw(i32::try_from(self.process.id()).unwrap()),
            signal,
        )
        .unwrap();
        self.process.wait().unwrap();
    }
}

impl Drop for Devnet {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn lives(pid: i32) -> bool {
    // A zombie whose parent has not looked yet has ended, too.
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ")
        .is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

fn await_end(pids: &[i32]) {
    let begun = Instant::now();
    while pids.iter().any(|pid| lives(*pid)) {
        assert!(begun.elapsed() < PATIENCE, "processes go on");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn devnet_resumes_with_the_same_ports_and_what_its_mailboxes_kept() {
    let home = tempfile::tempdir().unwrap();
    let devnet = Devnet::up(home.path(), &[]);
    let before = devnet.description.clone();
    let id = done(home.path(), &["--wallet", "alice", "send", "bob", "hi"]);
    let second = run(home.path(), &["devnet", "up"]);
    assert_eq!(second.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&second.stderr).contains("runs in"));
    let pids: Vec<i32> = (0..5).map(|node| devnet.pid(node)).collect();
    devnet.stop(Signal::SIGINT);
    await_end(&pids);

    let devnet = Devnet::up(home.path(), &[]);
    assert_eq!(
        devnet.description["nodes"][4]["url"],
        before["nodes"][4]["url"]
    );
    for field in ["rpc", "chainId", "contracts"] {
        assert_eq!(devnet.description["chain"][field], before["chain"][field]);
    }
    let heard = done(
        home.path(),
        &["--wallet", "bob", "listen", "--once", "--json"],
    );
    let message: Value = serde_json::from_str(heard.trim()).unwrap();
    assert_eq!(
        (message["id"].as_str(), message["text"].as_str()),
        (Some(id.trim()), Some("hi"))
    );
    assert_eq!(
        (message["verified"].as_str(), message["name"].as_str()),
        (Some("wallet"), Some("alice"))
    );
    assert_eq!(
        done(home.path(), &["--wallet", "bob", "listen", "--once"]),
        "",
        "once is once"
    );
}

#[test]
fn devnet_whose_supervisor_is_killed_leaves_no_process() {
    let home = tempfile::tempdir().unwrap();
    let devnet = Devnet::up(home.path(), &[]);
    let pids: Vec<i32> = (0..5).map(|node| devnet.pid(node)).collect();
    devnet.stop(Signal::SIGKILL);
    await_end(&pids);
    assert_eq!(
        run(home.path(), &["devnet", "status"]).status.code(),
        Some(5)
    );
}

#[test]
fn ephemeral_devnet_leaves_nothing_behind() {
    let parent = tempfile::tempdir().unwrap();
    let home = parent.path().join("home");
    let devnet = Devnet::up(&home, &["--ephemeral", "--in-process"]);
    let status: Value =
        serde_json::from_str(&done(&home, &["--json", "devnet", "status"])).unwrap();
    assert_eq!(status["nodes"], devnet.description["nodes"]);
    done(&home, &["--wallet", "alice", "send", "bob", "hi"]);
    let folder = devnet.description["dir"].as_str().unwrap().to_owned();
    devnet.stop(Signal::SIGTERM);
    assert!(!Path::new(&folder).exists());
    assert!(!home.exists());
}

#[test]
fn sixth_node_joins_by_init_and_run_and_becomes_a_mailbox() {
    let (home, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let devnet = Devnet::up(home.path(), &[]);
    let network = devnet.description["network"].as_str().unwrap();
    let arguments = ["--network", network, "--json"];
    let with = |more: &[&'static str]| -> Vec<&str> {
        arguments
            .iter()
            .copied()
            .chain(more.iter().copied())
            .collect()
    };
    let made: Value = serde_json::from_str(&done(other.path(), &with(&["node", "init"]))).unwrap();
    let node = made["id"].as_str().unwrap();
    let mut running = conet(other.path())
        .args(["node", "run"])
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let begun = Instant::now();
    while !run(other.path(), &["node", "status"]).status.success() {
        assert!(begun.elapsed() < PATIENCE, "the node does not come up");
        std::thread::sleep(Duration::from_millis(50));
    }
    done(
        home.path(),
        &["--wallet", "bob", "route", "set", "--mailbox", node],
    );
    done(
        home.path(),
        &["--wallet", "alice", "send", "bob", "to the sixth"],
    );
    assert!(done(home.path(), &["--wallet", "bob", "listen", "--once"]).contains("to the sixth"));
    kill(
        Pid::from_raw(i32::try_from(running.id()).unwrap()),
        Signal::SIGTERM,
    )
    .unwrap();
    assert!(running.wait().unwrap().success());

    // Its mailbox is gone: the message waits in the outbox.
    let kept = run(
        home.path(),
        &[
            "--wallet",
            "alice",
            "--json",
            "send",
            "bob",
            "later",
            "--patience",
            "1",
        ],
    );
    assert_eq!(
        kept.status.code(),
        Some(4),
        "{}",
        String::from_utf8_lossy(&kept.stderr)
    );
    let waiting: Value = serde_json::from_str(&done(
        home.path(),
        &["--wallet", "alice", "--json", "outbox", "list"],
    ))
    .unwrap();
    assert_eq!(waiting["what"], "later");
    done(
        home.path(),
        &[
            "--wallet",
            "alice",
            "outbox",
            "drop",
            waiting["id"].as_str().unwrap(),
        ],
    );
    assert_eq!(
        done(home.path(), &["--wallet", "alice", "outbox", "list"]),
        ""
    );
}
