//! One file for each command; this one says who does what.

pub(crate) mod block;
pub(crate) mod chat;
pub(crate) mod completions;
pub(crate) mod contact;
pub(crate) mod devnet;
pub(crate) mod forward;
pub(crate) mod listen;
pub(crate) mod name;
pub(crate) mod node;
pub(crate) mod outbox;
pub(crate) mod proxy;
pub(crate) mod route;
pub(crate) mod send;
pub(crate) mod serve;
pub(crate) mod wallet;

use std::future::Future;

use crate::cli::{Cli, Command};
use crate::context::Context;
use crate::failure::Outcome;

/// Does what the command line asks for.
pub(crate) fn run(cli: Cli) -> Outcome {
    let context = Context::new(cli.global)?;
    match cli.command {
        Command::Wallet(command) => block_on(wallet::run(&context, command)),
        Command::Contact(command) => contact::run(&context, command),
        Command::Block(args) => block::run(&context, &args),
        Command::Route(command) => block_on(route::run(&context, command)),
        Command::Name(command) => block_on(name::run(&context, command)),
        Command::Send(args) => block_on(send::run(&context, args)),
        Command::Listen(args) => block_on(listen::run(&context, args)),
        Command::Chat(args) => block_on(chat::run(&context, &args)),
        Command::Outbox(command) => block_on(outbox::run(&context, command)),
        Command::Devnet(command) => block_on(devnet::run(&context, command)),
        Command::Node(command) => block_on(node::run(&context, command)),
        Command::Proxy(args) => block_on(proxy::run(&context, args)),
        Command::Serve(args) => block_on(serve::run(&context, args)),
        Command::Forward(args) => block_on(forward::run(&context, args)),
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
