//! The forwarding decision: where a packet goes, from nothing but its key ID.
//!
//! Pure: it looks at what was peeked, how the packet came, and the node's tables, and returns what to
//! do. It never decrypts, asks or waits. `docs/wire-format.md` says what is peeked, this says what
//! follows, in this order: mine, kept here, another's, unknown.

use packet::PeekError;
use wallet::KeyId;

use crate::NodeId;
use crate::frame::MAX_HOPS;

/// Mailboxes that are tried for one key ID at most: four claims of three mailboxes.
pub const MAX_CANDIDATES: usize = 12;

/// How a packet came to be decided on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// A client's exchange, or the plain intake.
    Client,
    /// Another node's link.
    Link,
    /// The inside of a layer that was opened here, at this depth (1 is the first).
    Layer {
        /// How many layers have been opened here for one arrival.
        depth: u8,
        /// The next node that the layer named.
        next: Option<NodeId>,
    },
}

/// What is known of the stamp beside a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Postage {
    /// There is none, or it does not pay.
    Unpaid,
    /// It pays what this node asks.
    Paid,
}

/// One packet's arrival.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrival {
    /// How it came.
    pub origin: Origin,
    /// Its stamp. Only looked at for unknown key IDs, so that nobody else waits for its check.
    pub postage: Postage,
    /// It is on a flood already.
    pub broadcast: bool,
    /// How often it may still be passed on.
    pub hops: u8,
}

/// The layers that may be nested for the same node. A path never needs more than one.
pub const MAX_LAYERS_HERE: u8 = 2;

/// What a node knows, as far as the decision needs it. Look-ups are memory only.
pub trait Tables {
    /// This node.
    fn me(&self) -> NodeId;
    /// Says whether a key ID is one of this node's own.
    fn is_mine(&self, key: &KeyId) -> bool;
    /// Says whether a mailbox for the key ID, listed or unlisted, is kept here.
    fn is_kept(&self, key: &KeyId) -> bool;
    /// The node whose own key ID it is.
    fn node_with_key(&self, key: &KeyId) -> Option<NodeId>;
    /// Says whether that node is on the ledger.
    fn is_node(&self, node: &NodeId) -> bool;
    /// Calls `each` with the mailboxes that the ledger's routes name for a key ID, best first.
    fn mailboxes_of(&self, key: &KeyId, each: &mut dyn FnMut(NodeId));
}

/// A bounded list of next nodes, best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidates {
    nodes: [NodeId; MAX_CANDIDATES],
    count: usize,
}

impl Candidates {
    fn none() -> Self {
        Self {
            nodes: [NodeId::from_bytes([0; 20]); MAX_CANDIDATES],
            count: 0,
        }
    }

    fn one(node: NodeId) -> Self {
        let mut list = Self::none();
        list.push(node);
        list
    }

    fn push(&mut self, node: NodeId) {
        if !self.as_slice().contains(&node)
            && let Some(slot) = self.nodes.get_mut(self.count)
        {
            *slot = node;
            self.count += 1;
        }
    }

    /// The nodes.
    #[must_use]
    pub fn as_slice(&self) -> &[NodeId] {
        self.nodes.get(..self.count).unwrap_or_default()
    }
}

/// What to do with a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
#[expect(
    clippy::large_enum_variant,
    reason = "a box would be an allocation per packet"
)]
pub enum Decision {
    /// Open it: it is a layer for this node.
    Open,
    /// Store it durably, push it if its owner is online, then acknowledge.
    Store,
    /// Send it to the first of these that can be reached, with that many hops left.
    Send {
        /// Where to.
        to: Candidates,
        /// Hops left for the next node.
        hops: u8,
    },
    /// Flood it to nodes that have not had it, with that many hops left.
    Broadcast {
        /// Hops left for the next nodes.
        hops: u8,
    },
    /// Refuse it.
    Refuse(Reason),
}

/// Why a packet is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// It is no packet that can be routed.
    Malformed(PeekError),
    /// Nobody here or on the ledger has this key, and it came without a stamp that pays.
    Unpaid,
    /// Nobody has this key, and the flood ends here.
    Unknown,
    /// The layer named a node that is not on the ledger.
    NoSuchNode,
    /// Too many layers for this node, one inside the other.
    TooDeep,
    /// It has been passed on too often.
    OutOfHops,
}

/// Decides where a packet goes.
///
/// Costs one look-up for a packet that is mine or kept here and at most four for any other; never
/// allocates.
#[must_use]
pub fn decide(
    peeked: Result<KeyId, PeekError>,
    arrival: &Arrival,
    tables: &(impl Tables + ?Sized),
) -> Decision {
    let key = match peeked {
        Ok(key) => key,
        Err(error) => return Decision::Refuse(Reason::Malformed(error)),
    };
    if let Origin::Layer {
        next: Some(next), ..
    } = arrival.origin
        && next != tables.me()
    {
        return if tables.is_node(&next) {
            send(Candidates::one(next), arrival)
        } else {
            Decision::Refuse(Reason::NoSuchNode)
        };
    }
    if tables.is_mine(&key) {
        return match arrival.origin {
            Origin::Layer { depth, .. } if depth >= MAX_LAYERS_HERE => {
                Decision::Refuse(Reason::TooDeep)
            }
            _ => Decision::Open,
        };
    }
    if tables.is_kept(&key) {
        return Decision::Store;
    }
    if arrival.broadcast {
        return flood(arrival);
    }
    let mut to = Candidates::none();
    match tables.node_with_key(&key) {
        Some(node) => to.push(node),
        None => tables.mailboxes_of(&key, &mut |node| {
            // A route may name this node though the account was closed here; the others may have it.
            if node != tables.me() {
                to.push(node);
            }
        }),
    }
    if to.as_slice().is_empty() {
        flood(arrival)
    } else {
        send(to, arrival)
    }
}

fn send(to: Candidates, arrival: &Arrival) -> Decision {
    match arrival.hops.min(MAX_HOPS).checked_sub(1) {
        Some(hops) => Decision::Send { to, hops },
        None => Decision::Refuse(Reason::OutOfHops),
    }
}

fn flood(arrival: &Arrival) -> Decision {
    match (arrival.postage, arrival.hops.min(MAX_HOPS).checked_sub(1)) {
        (Postage::Unpaid, _) => Decision::Refuse(Reason::Unpaid),
        (Postage::Paid, Some(hops)) => Decision::Broadcast { hops },
        (Postage::Paid, None) => Decision::Refuse(Reason::Unknown),
    }
}

#[cfg(test)]
mod tests;
