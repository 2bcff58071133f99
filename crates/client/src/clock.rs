//! The machine's clock, and what nodes say of theirs.
//!
//! A command must carry the time of the node that shall obey it. What a node said of its clock is used
//! for that node alone: if it were used for others, an entry could give each client a clock of its own
//! and colluding relays would know the client by it.

use std::collections::HashMap;
use std::time::{SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use protocol::NodeId;
use protocol::freshness::TOLERANCE_MS;
use rand::Rng as _;

/// Commands carry a time up to this much later than now, so that their milliseconds don't show the
/// machine's own offset.
const BLUR_MS: u64 = 2_000;
/// Nodes whose clocks are remembered at most; beyond it all are forgotten and learnt anew.
const MAX_CLOCKS: usize = 4_096;
/// Stamps are bound to an hour: only a clock that is off by more than this matters for them.
const STAMP_TOLERANCE_MS: i64 = 30 * 60 * 1_000;

/// The machine's clock, in Unix milliseconds.
pub(crate) fn unix_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| {
            u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
        })
}

/// A node that crashed asks for times that are ahead of its clock by this much at most: its ceiling, and some.
const MOST_CEILING_MS: i64 = (3 * TOLERANCE_MS) as i64;

/// What is known of the clocks of nodes.
#[derive(Debug, Default)]
pub(crate) struct Clocks {
    /// By how much a node's clock is ahead, as it signed for a command that it found stale.
    signed: Mutex<HashMap<NodeId, i64>>,
    /// The same as entries said in handshakes; good enough for the hour of a stamp.
    told: Mutex<HashMap<NodeId, i64>>,
}

impl Clocks {
    /// Takes a time that `node` signed in answer to a stale command.
    pub(crate) fn learn(&self, node: NodeId, time_ms: u64) {
        insert(&mut self.signed.lock(), node, time_ms);
    }

    /// Takes the time that an entry told in a handshake.
    pub(crate) fn note(&self, node: NodeId, time_ms: u64) {
        insert(&mut self.told.lock(), node, time_ms);
    }

    /// The time for a command to `node`.
    pub(crate) fn command_ms(&self, node: &NodeId) -> u64 {
        let offset = self.signed.lock().get(node).copied().unwrap_or(0);
        unix_ms().saturating_add_signed(offset) + rand::thread_rng().gen_range(0..BLUR_MS)
    }

    /// What a node's own clock shows, as far as it is known: what others judge by it. A node that crashed asks for times ahead of
    /// its clock for some minutes; such a hint is taken for its clock only with `hint`, and where this machine's must be wrong.
    pub(crate) fn clock_ms(&self, node: &NodeId, hint: bool) -> u64 {
        let offset = self.signed.lock().get(node).copied().unwrap_or(0);
        let offset = if hint || !may_be_ceiling(offset) {
            offset
        } else {
            0
        };
        unix_ms().saturating_add_signed(offset) + rand::thread_rng().gen_range(0..BLUR_MS)
    }

    /// Says whether [`Clocks::clock_ms`] depends on `hint`.
    pub(crate) fn is_ambiguous(&self, node: &NodeId) -> bool {
        may_be_ceiling(self.signed.lock().get(node).copied().unwrap_or(0))
    }

    /// The time for a stamp: the machine's, unless most entries say that it is off by more than half
    /// an hour.
    pub(crate) fn stamp_ms(&self) -> u64 {
        let mut offsets: Vec<i64> = self.told.lock().values().copied().collect();
        offsets.sort_unstable();
        let median = offsets.get(offsets.len() / 2).copied().unwrap_or(0);
        let offset = if median.abs() > STAMP_TOLERANCE_MS {
            median
        } else {
            0
        };
        unix_ms().saturating_add_signed(offset)
    }
}

/// Whether a node that is ahead by so much may only have been restarted.
fn may_be_ceiling(offset_ms: i64) -> bool {
    (1..=MOST_CEILING_MS).contains(&offset_ms)
}

fn insert(offsets: &mut HashMap<NodeId, i64>, node: NodeId, time_ms: u64) {
    if offsets.len() >= MAX_CLOCKS && !offsets.contains_key(&node) {
        offsets.clear();
    }
    let ahead = i128::from(time_ms) - i128::from(unix_ms());
    offsets.insert(node, i64::try_from(ahead).unwrap_or(0));
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY_MS: u64 = 86_400_000;

    #[test]
    fn clock_of_one_node_is_never_used_for_another() {
        let clocks = Clocks::default();
        let (ahead, other) = (NodeId::from_bytes([1; 20]), NodeId::from_bytes([2; 20]));
        clocks.learn(ahead, unix_ms() + DAY_MS);
        clocks.note(ahead, unix_ms() + DAY_MS);
        assert!(clocks.command_ms(&ahead) >= unix_ms() + DAY_MS - 1_000);
        assert!(clocks.command_ms(&other) < unix_ms() + DAY_MS / 2);
    }

    /// A mailbox that was killed asks for times minutes ahead, and still tells publishers its clock: offers that went by what it
    /// asked for were refused by all of them.
    #[test]
    fn hint_of_a_node_that_may_have_crashed_is_not_taken_for_its_clock_at_once() {
        let clocks = Clocks::default();
        let (crashed, ahead) = (NodeId::from_bytes([1; 20]), NodeId::from_bytes([2; 20]));
        clocks.learn(crashed, unix_ms() + 4 * 60_000);
        clocks.learn(ahead, unix_ms() + DAY_MS);
        assert!(clocks.is_ambiguous(&crashed) && !clocks.is_ambiguous(&ahead));
        assert!(clocks.clock_ms(&crashed, false) < unix_ms() + 60_000);
        assert!(clocks.clock_ms(&crashed, true) > unix_ms() + 3 * 60_000);
        assert!(clocks.clock_ms(&ahead, false) > unix_ms() + DAY_MS / 2);
        let behind = NodeId::from_bytes([3; 20]);
        clocks.learn(behind, unix_ms() - 4 * 60_000);
        assert!(clocks.clock_ms(&behind, false) < unix_ms() - 60_000);
    }

    #[test]
    fn stamp_time_follows_entries_only_when_the_machine_is_far_off() {
        let clocks = Clocks::default();
        for i in 0..3 {
            clocks.note(NodeId::from_bytes([i; 20]), unix_ms() + 60_000);
        }
        assert!(clocks.stamp_ms() < unix_ms() + 1_000);
        for i in 0..3 {
            clocks.note(NodeId::from_bytes([i; 20]), unix_ms() + DAY_MS);
        }
        assert!(clocks.stamp_ms() > unix_ms() + DAY_MS - 1_000);
    }

    #[test]
    fn absurd_node_time_does_not_overflow() {
        let clocks = Clocks::default();
        let node = NodeId::from_bytes([1; 20]);
        clocks.learn(node, u64::MAX);
        let _ = clocks.command_ms(&node);
        clocks.learn(node, 0);
        let _ = clocks.command_ms(&node);
    }
}
