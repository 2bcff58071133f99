//! Logs: on stderr, never with anything secret.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

use crate::cli::Cli;

/// Names of our crates, as targets of log lines begin.
const OURS: [&str; 7] = [
    "node", "client", "ledger", "chain", "mailbox", "conet", "devnet",
];

/// Starts to log: errors, more with `-v`; daemons log what happens, only errors with `-q`; the environment variable `CONET_LOG`
/// (syntax of `tracing`'s `EnvFilter`) goes before all of them.
pub(crate) fn start(cli: &Cli) {
    let level = match (
        cli.global.quiet,
        cli.global.verbose,
        cli.command.is_daemon(),
    ) {
        (true, ..) => "error",
        (_, 0, false) => "error",
        (_, 0, true) | (_, 1, false) => "info",
        (_, 1, true) | (_, 2, _) => "debug",
        _ => "trace",
    };
    let others = if level == "error" { "error" } else { "warn" };
    let ours: String = OURS
        .iter()
        .map(|target| format!(",{target}={level}"))
        .collect();
    let filter = EnvFilter::try_from_env("CONET_LOG")
        .or_else(|_| EnvFilter::try_new(format!("{others}{ours}")));
    let builder = tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        // It would be said with `eprintln!`, which panics where stderr takes nothing: a log on a full disk
        // must not end the work of a node.
        .log_internal_errors(false)
        .with_ansi(std::io::stderr().is_terminal())
        .with_env_filter(filter.unwrap_or_else(|_| EnvFilter::new("warn")));
    // A second start in one process changes nothing.
    let _started = if cli.global.json && cli.command.is_daemon() {
        builder.json().try_init()
    } else {
        builder.try_init()
    };
}
