//! The command line: global options and the list of commands.

use std::path::PathBuf;

use clap::{Args, CommandFactory as _, Parser, Subcommand};

use crate::commands;
use crate::failure::{Exit, Failure};

const EXIT_CODES: &str = "Exit codes: 0 done, 1 error, 2 wrong usage, 3 refused, 4 not stored yet: kept in the \
outbox, 5 not found, 6 network or ledger unreachable.";

/// CONET: send packets by wallet address over a network that can't read them.
#[derive(Debug, Parser)]
#[command(name = "conet", version, after_help = EXIT_CODES, propagate_version = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options that every command takes.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// Folder of wallets, contacts and networks [default: conet in the XDG data directory].
    #[arg(long, global = true, env = "CONET_HOME", value_name = "DIR")]
    pub(crate) home: Option<PathBuf>,
    /// Network: the name of one in the home, or a network file.
    #[arg(
        long,
        global = true,
        default_value = "devnet",
        value_name = "NAME|FILE"
    )]
    pub(crate) network: String,
    /// Wallet: its label or address [default: the first].
    #[arg(long, global = true, value_name = "LABEL|0x…")]
    pub(crate) wallet: Option<String>,
    /// File whose first line is the wallet's password; the environment variable CONET_PASSWORD does as well.
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) password_file: Option<PathBuf>,
    /// Print JSON, one object on a line.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Log more on stderr; twice for still more.
    #[arg(short, long, global = true, action = clap::ArgAction::Count, conflicts_with = "quiet")]
    pub(crate) verbose: u8,
    /// Print results only, and log errors only.
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,
}

/// What can be asked for.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Wallets: make, import, show, export, rotate, share.
    #[command(subcommand)]
    Wallet(commands::wallet::WalletCommand),
    /// The contact book.
    #[command(subcommand)]
    Contact(commands::contact::ContactCommand),
    /// Drop the messages of a wallet.
    Block(commands::block::BlockArgs),
    /// Where packets for my wallet go.
    #[command(subcommand)]
    Route(commands::route::RouteCommand),
    /// Names: register, resolve, renew, transfer, list.
    #[command(subcommand)]
    Name(commands::name::NameCommand),
    /// Send a text or a file.
    Send(commands::send::SendArgs),
    /// Receive messages and files.
    Listen(commands::listen::ListenArgs),
    /// Talk with somebody.
    Chat(commands::chat::ChatArgs),
    /// What waits to be sent.
    #[command(subcommand)]
    Outbox(commands::outbox::OutboxCommand),
    /// Browse the Web2 through the network: SOCKS5 and HTTP on this machine.
    Proxy(commands::proxy::ProxyArgs),
    /// Put a server of this machine on the network, under the wallet and its names; nobody learns where it is.
    Serve(commands::serve::ServeArgs),
    /// Reach a service by a port of this machine: ssh, databases, anything over TCP.
    Forward(commands::forward::ForwardArgs),
    /// A whole network on this machine, to try things out.
    #[command(subcommand)]
    Devnet(commands::devnet::DevnetCommand),
    /// Run a node of a network.
    #[command(subcommand)]
    Node(commands::node::NodeCommand),
    /// Print what a shell needs to complete commands.
    Completions(commands::completions::CompletionsArgs),
}

impl Command {
    /// Says whether it runs until it is stopped and logs for an operator.
    pub(crate) fn is_daemon(&self) -> bool {
        matches!(
            self,
            Self::Node(commands::node::NodeCommand::Run(_))
                | Self::Devnet(commands::devnet::DevnetCommand::Chain(_))
        )
    }
}

/// Reads the command line; ends the process where it makes no sense, or to show help.
pub(crate) fn parse() -> Cli {
    Cli::try_parse().unwrap_or_else(|error| {
        // What a program asked for comes as JSON, even if it asked wrongly; help is for people.
        if error.use_stderr() && std::env::args_os().any(|word| word == "--json") {
            let failure = Failure::new(Exit::Usage, usage(&error));
            failure.report(true);
            std::process::exit(failure.exit as i32)
        }
        error.exit()
    })
}

/// What is wrong with a command line, without how it should look.
fn usage(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let said = text.split("\n\n").next().unwrap_or_default();
    let said = said.strip_prefix("error: ").unwrap_or(said);
    said.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The command line as a description, for completions.
pub(crate) fn description() -> clap::Command {
    Cli::command()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_line_is_consistent() {
        super::description().debug_assert();
    }

    #[test]
    fn usage_error_is_one_line_without_the_usage() {
        let error = Cli::try_parse_from(["conet", "send", "bob"]).unwrap_err();
        assert_eq!(
            usage(&error),
            "the following required arguments were not provided: <TEXT|->..."
        );
        let error = Cli::try_parse_from(["conet", "frob"]).unwrap_err();
        assert_eq!(usage(&error), "unrecognized subcommand 'frob'");
    }
}
