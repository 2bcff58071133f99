//! `conet devnet`: a whole network on one machine.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::context::Context;
use crate::devnet::{self, ChainArgs, ChainKind, MIN_NODES};
use crate::failure::Outcome;
use crate::node_folder::MIN_QUOTA_BYTES;

/// What `conet devnet` can do.
#[derive(Debug, Subcommand)]
pub(crate) enum DevnetCommand {
    /// Start a network: a local chain with the contracts, nodes, the wallets alice and bob, and a notes service.
    ///
    /// It runs until Ctrl-C. The same command resumes it later as it was.
    Up(UpArgs),
    /// Show what runs.
    Status(StatusArgs),
    /// Run the chain of a devnet.
    #[command(hide = true)]
    Chain(ChainArgs),
}

/// Arguments of `conet devnet up`.
#[derive(Debug, Clone, Args)]
pub(crate) struct UpArgs {
    /// Nodes, at least 5 [default: 5, or as many as it had].
    #[arg(long, value_parser = clap::value_parser!(u16).range(i64::from(MIN_NODES)..=200))]
    pub(crate) nodes: Option<u16>,
    /// Where everything is kept [default: devnet in the home].
    #[arg(long, value_name = "DIR", conflicts_with = "ephemeral")]
    pub(crate) dir: Option<PathBuf>,
    /// Seconds between blocks; 0 makes a block for each transaction at once [default: 0, or as it was].
    #[arg(long, value_name = "S", value_parser = clap::value_parser!(u32).range(0..=3_600))]
    pub(crate) block_time: Option<u32>,
    /// Leave nothing behind.
    #[arg(long)]
    pub(crate) ephemeral: bool,
    /// Address of this machine that nodes and chain listen on, so that other machines take part.
    #[arg(long, value_name = "IP", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    pub(crate) listen: IpAddr,
    /// Which chain: the built-in one, or anvil from the path or the environment variable CONET_ANVIL.
    #[arg(long, value_enum, default_value_t = ChainKind::Revm)]
    pub(crate) chain: ChainKind,
    /// Bytes that each new node keeps for one wallet [default: 268435456].
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u64).range(MIN_QUOTA_BYTES..))]
    pub(crate) quota: Option<u64>,
    /// Host and port, such as 127.0.0.1:3000, that the devnet's bridges reach besides what is public; may be given
    /// several times.
    #[arg(long, value_name = "HOST:PORT", value_parser = super::node::allowed_target)]
    pub(crate) allow_target: Vec<String>,
    /// Leave out the notes service at notes.conet.
    #[arg(long)]
    pub(crate) no_notes: bool,
    /// Run everything in this one process.
    #[arg(long)]
    pub(crate) in_process: bool,
}

/// Arguments of `conet devnet status`.
#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    /// The devnet's folder [default: devnet in the home].
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
}

/// Does one of them.
pub(crate) async fn run(context: &Context, command: DevnetCommand) -> Outcome {
    match command {
        DevnetCommand::Up(args) => devnet::up(context, args).await,
        DevnetCommand::Status(args) => devnet::status(context, args.dir).await,
        DevnetCommand::Chain(args) => devnet::run_chain(args).await,
    }
}
