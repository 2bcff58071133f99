//! One file for each command; this one says who does what.

pub(crate) mod completions;
pub(crate) mod devnet;
pub(crate) mod node;

use std::future::Future;

use crate::cli::{Cli, Command};
use crate::context::Context;
use crate::failure::Outcome;

/// Does what the command line asks for.
pub(crate) fn run(cli: Cli) -> Outcome {
    let context = Context::new(cli.global)?;
    match cli.command {
        Command::Devnet(command) => block_on(devnet::run(&context, command)),
        Command::Node(command) => block_on(node::run(&context, command)),
        Command::Completions(args) => completions::run(&args),
    }
}

fn block_on(work: impl Future<Output = Outcome>) -> Outcome {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let outcome = runtime.block_on(work);
    // A thread that still waits for a key press must not keep the process.
    runtime.shutdown_background();
    outcome
}
