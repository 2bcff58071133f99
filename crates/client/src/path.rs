//! Which nodes an exchange goes through.
//!
//! **Invariant**: entry, relay and mailbox of one exchange are three different nodes; of three
//! different operators where the network has enough of them. The entry is one of the few that the client
//! keeps ([`Entries`]), the relay is drawn anew each time, from nodes that don't know the client.

mod entries;

pub(crate) use entries::{Entries, propose_mailboxes};

use std::sync::Arc;

use protocol::NodeId;
use rand::Rng;
use rand::seq::SliceRandom as _;
use wallet::WalletAddress;

use crate::directory::{Node, Nodes};

/// Fewer relays than this are no choice: then nodes that know the client are relays too.
const MIN_STRANGERS: usize = 2;

/// Why no path could be chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PathError {
    /// The client knows no node that could be the entry.
    #[error(
        "no entry node is known that is not the mailbox itself: wait for the ledger's index or check the network file"
    )]
    NoEntry,
    /// The client knows no node that could be the relay.
    #[error(
        "no relay is known besides entry and mailbox: a private path needs at least three nodes"
    )]
    NoRelay,
    /// The mailbox is not on the ledger.
    #[error("the mailbox {0} is not on the ledger")]
    UnknownMailbox(NodeId),
}

/// What failed before in the same operation and is avoided where there is something else.
#[derive(Debug, Default)]
pub(crate) struct Tried {
    pub(crate) entries: Vec<NodeId>,
    pub(crate) relays: Vec<NodeId>,
}

/// A relay for an exchange between these two: any node that opens layers and is neither of them; if
/// possible none that failed before, not of their operators, and none that knows the client.
///
/// `acquainted` are the client's entries and mailboxes. A relay sees the recipient's key, an entry the
/// client's address, and a mailbox whose it is: one node should not have two of these, even of two exchanges.
pub(crate) fn choose_relay(
    nodes: &Nodes,
    entry: &Node,
    target: Option<&Node>,
    tried: &[NodeId],
    acquainted: &[NodeId],
    rng: &mut impl Rng,
) -> Result<Arc<Node>, PathError> {
    let target_id = target.map(|node| node.id);
    let candidates: Vec<&Arc<Node>> = nodes
        .iter()
        .filter(|node| node.can_open_layers() && node.id != entry.id && Some(node.id) != target_id)
        .collect();
    let kin = |node: &Node| same_operator(node, Some(entry)) || same_operator(node, target);
    let knows_us = |node: &Node| acquainted.contains(&node.id);
    let least_kin = candidates.iter().map(|node| kin(node)).min();
    let is_stranger = |node: &Node| Some(kin(node)) == least_kin && !knows_us(node);
    let strangers = candidates.iter().filter(|node| is_stranger(node)).count();
    let cost = |node: &Node| {
        let again = tried.iter().filter(|id| **id == node.id).count();
        let avoided = strangers >= MIN_STRANGERS && knows_us(node);
        (again, kin(node), avoided)
    };
    cheapest(&candidates, cost, rng).ok_or(PathError::NoRelay)
}

/// One of the candidates of the least cost, at random.
fn cheapest<C: Ord>(
    candidates: &[&Arc<Node>],
    cost: impl Fn(&Node) -> C,
    rng: &mut impl Rng,
) -> Option<Arc<Node>> {
    let least = candidates.iter().map(|node| cost(node)).min()?;
    let best: Vec<&Arc<Node>> = candidates
        .iter()
        .copied()
        .filter(|node| cost(node) == least)
        .collect();
    best.choose(rng).map(|node| Arc::clone(node))
}

fn same_operator(a: &Node, b: Option<&Node>) -> bool {
    let known: Option<WalletAddress> = a.operator;
    known.is_some() && b.is_some_and(|b| b.operator == known)
}
