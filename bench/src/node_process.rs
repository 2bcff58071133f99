//! A node in a process of its own: `node::run`, told by standard input what to be.
//!
//! The first line is its [`Orders`]. Each further line asks for the number of allocations made so far, which
//! is answered on standard output. The end of standard input stops the node, so that none outlives who
//! started it.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{ChildStdout, Stdio};
use std::time::Duration;

use anyhow::Context as _;
use ledger::NetworkFile;
use node::{MailboxConfig, NodeConfig};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use crate::process::Measured;
use crate::world;

/// The argument that makes this program a node.
pub(crate) const ARGUMENT: &str = "node-process";

/// What a node process is to be.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Orders {
    pub(crate) seed: u64,
    pub(crate) listen: SocketAddr,
    pub(crate) admin: SocketAddr,
    pub(crate) data_dir: PathBuf,
    pub(crate) network: NetworkFile,
}

/// Is a node until standard input ends.
pub(crate) fn run() -> anyhow::Result<()> {
    let mut line = String::new();
    std::io::stdin().read_line(&mut line)?;
    let orders: Orders = serde_json::from_str(&line).context("no orders")?;
    // As the product does: as many workers as there are cores to run on.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let stop = CancellationToken::new();
    let stopping = stop.clone();
    std::thread::spawn(move || {
        for _asked in std::io::stdin().lines().map_while(Result::ok) {
            let made = stats_alloc::INSTRUMENTED_SYSTEM.stats();
            println!("{}", made.allocations + made.reallocations);
        }
        stopping.cancel();
    });
    let config = NodeConfig {
        listen: orders.listen,
        admin_listen: orders.admin,
        data_dir: orders.data_dir,
        network: orders.network,
        endpoint: format!("http://{}", orders.listen),
        mailbox: MailboxConfig {
            stamp_effort: 2,
            ..MailboxConfig::default()
        },
        plain_intake: None,
        submit_routes: false,
        bridge: None,
        price_wei: 0,
    };
    runtime.block_on(node::run(config, world::keys(orders.seed), stop))?;
    runtime.shutdown_timeout(Duration::from_secs(2));
    Ok(())
}

/// A node that runs in a process of its own on the measured core.
#[derive(Debug)]
pub(crate) struct NodeProcess {
    pub(crate) process: Measured,
    answers: BufReader<ChildStdout>,
}

impl NodeProcess {
    /// Starts a node; with `counting`, one whose allocator counts, which makes it slower.
    pub(crate) fn start(orders: &Orders, counting: bool) -> anyhow::Result<Self> {
        let mut program = std::env::current_exe()?;
        if counting {
            program.set_file_name("conet-bench-counting");
        }
        let program = program.to_str().context("the program's path is no UTF-8")?;
        let mut process = Measured::start(program, |command| {
            command
                .arg(ARGUMENT)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped());
        })?;
        let answers = BufReader::new(process.child().stdout.take().context("no output")?);
        let mut node = Self { process, answers };
        let mut line = serde_json::to_vec(orders)?;
        line.push(b'\n');
        node.say(&line)?;
        Ok(node)
    }

    fn say(&mut self, line: &[u8]) -> anyhow::Result<()> {
        let input = self.process.child().stdin.as_mut().context("no input")?;
        input.write_all(line)?;
        Ok(input.flush()?)
    }

    /// The allocations that it has made so far; 0 unless it counts.
    pub(crate) fn allocations(&mut self) -> anyhow::Result<u64> {
        self.say(b"allocations\n")?;
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        Ok(line.trim().parse()?)
    }
}
