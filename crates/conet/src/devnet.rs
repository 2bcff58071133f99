//! A whole network on one machine, for people and tests.
//!
//! `up` makes a `plan` (ports, contracts; kept on disk, so that the next `up` resumes it), has the
//! `chain` and the nodes run as `members` (child processes or tasks), puts `demo_wallets` into the home,
//! and waits. Its folder:
//!
//! ```text
//! devnet.json     the plan
//! devnet.lock     locked by the process that runs it
//! network.json    the network file
//! chain/          the chain; chain.log
//! notes/          the home of the notes service, and its notes
//! nodes/<n>/      a node's folder each, as `conet node init` makes it; node.log
//! ```

mod bring_up;
mod chain;
mod demo_wallets;
mod home_entry;
mod members;
mod notes;
mod plan;
mod ports;
mod presentation;
mod status;
mod up;

pub(crate) use chain::{ChainArgs, run as run_chain};
pub(crate) use plan::ChainKind;
pub(crate) use ports::free_ports;
pub(crate) use status::status;
pub(crate) use up::up;

use ledger::NetworkFile;
use wallet::{Mnemonic, WalletKey};

use crate::failure::Outcome;

/// The fewest nodes: entry, relay and mailbox of both sides, none of them twice.
pub(crate) const MIN_NODES: u16 = 5;
/// The nodes of a new devnet.
const DEFAULT_NODES: u16 = 5;
/// The mnemonic of the accounts that have all the money, as of anvil and hardhat. Everybody knows it, so it
/// is accepted on chain ID 31337 only.
const DEV_MNEMONIC: &str = "test test test test test test test test test test test junk";
/// How many accounts of the mnemonic have money.
const FUNDED_ACCOUNTS: u32 = 10;
/// Name of the network, and of its file in the home.
const NETWORK_NAME: &str = "devnet";
/// Effort of stamps: cheap, since nobody floods a devnet.
const STAMP_EFFORT: u32 = 2;
/// Path of the nodes' plain intake.
const PLAIN_INTAKE: &str = "/intake";

/// A wallet with money of everybody's on a devnet, `None` elsewhere.
///
/// One of several at random: the nonces of two who pay at once don't meet, mostly.
pub(crate) fn dev_funder(network: &NetworkFile) -> Outcome<Option<WalletKey>> {
    let Some(dev) = &network.dev else {
        return Ok(None);
    };
    let index = rand::Rng::gen_range(&mut rand::rngs::OsRng, 1..FUNDED_ACCOUNTS);
    Ok(Some(Mnemonic::parse(&dev.mnemonic)?.wallet(index)?))
}
