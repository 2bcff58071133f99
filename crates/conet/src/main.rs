//! `conet`: the one binary of CONET, client, node and devnet behind one command line.
//!
//! `cli` says what can be asked for, `commands` holds one file for each command, `devnet` runs a whole
//! network for people and tests. What they share: `context` (the global options), `failure` (errors and
//! exit codes), `screen` (what is printed).

#![deny(
    clippy::print_stderr,
    reason = "it panics where stderr takes nothing; there is `screen::tell`"
)]

mod admin_port;
mod cli;
mod commands;
mod context;
mod devnet;
mod failure;
mod logging;
mod moment;
mod names;
mod node_folder;
mod process_lock;
mod screen;
mod sealed_file;
mod session;
mod stopping;

use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = cli::parse();
    logging::start(&cli);
    let json = cli.global.json;
    match commands::run(cli) {
        Ok(exit) => exit.into(),
        Err(failure) => {
            failure.report(json);
            failure.exit.into()
        }
    }
}
