//! What CONET costs, measured beside its peers.
//!
//! `bench/run [NAME]` builds and starts this, pinned to one core; what is measured runs in processes of its
//! own on another. Each figure that has a peer comes from one run in which both take turns, and is the median
//! of at least `LEAST_ROUNDS` rounds. Nothing is asserted here: figures are read, not passed.

mod append;
mod devnet;
mod file;
mod forward;
mod http_sink;
mod latency;
mod memory;
mod node_process;
mod peer;
mod process;
mod report;
mod sealing;
mod streams;
mod world;

use std::process::ExitCode;

use anyhow::{Context as _, bail};

use report::Report;

/// What can be measured, in the order of `bench/run` without a name.
const NAMES: &[(&str, &str)] = &[
    (
        "forward",
        "blind forwarding of 4 KiB packets on one core, beside nginx as reverse proxy",
    ),
    ("peek", "reading a packet's key ID, beside rPGP's parser"),
    ("seal", "seal and open of 1 KiB, beside bare rPGP"),
    (
        "latency",
        "a message of 1 KiB through a devnet, beside three nginx in a chain",
    ),
    (
        "file",
        "a file through a devnet, beside curl through three nginx",
    ),
    (
        "streams",
        "streams through bridges, beside Tor, shadowsocks and microsocks; pages in Chromium",
    ),
    (
        "append",
        "durable appends of 4 KiB by 64 senders, beside NATS JetStream that syncs always",
    ),
    (
        "memory",
        "a node's memory, idle and for each collecting client",
    ),
];

/// How a run is asked for.
#[derive(Debug, Default)]
struct Arguments {
    names: Vec<String>,
    json: bool,
    quick: bool,
}

/// Runs what the arguments ask for; the programs' only way in.
#[must_use]
pub fn main() -> ExitCode {
    let outcome = if std::env::args().nth(1).as_deref() == Some(node_process::ARGUMENT) {
        node_process::run()
    } else {
        run()
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> anyhow::Result<()> {
    let mut arguments = Arguments::default();
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            "--list" => {
                for (name, about) in NAMES {
                    println!("{name:<10} {about}");
                }
                return Ok(());
            }
            "--json" => arguments.json = true,
            "--quick" => arguments.quick = true,
            name if NAMES.iter().any(|(known, _)| *known == name) => {
                arguments.names.push(argument);
            }
            other => bail!("no such measurement: {other}; --list names them"),
        }
    }
    if arguments.names.is_empty() {
        arguments.names = NAMES.iter().map(|(name, _)| (*name).to_owned()).collect();
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let mut report = Report::new(arguments.json);
    for name in &arguments.names {
        let measured = match name.as_str() {
            "forward" => runtime.block_on(forward::measure(&mut report, arguments.quick)),
            "peek" => sealing::peeking(&mut report),
            "seal" => sealing::sealing(&mut report),
            "latency" => runtime.block_on(latency::measure(&mut report, arguments.quick)),
            "file" => runtime.block_on(file::measure(&mut report, arguments.quick)),
            "streams" => runtime.block_on(streams::measure(&mut report, arguments.quick)),
            "append" => runtime.block_on(append::measure(&mut report, arguments.quick)),
            "memory" => runtime.block_on(memory::measure(&mut report, arguments.quick)),
            _ => Ok(()),
        };
        measured.with_context(|| format!("{name} could not be measured"))?;
    }
    report.finish()
}
