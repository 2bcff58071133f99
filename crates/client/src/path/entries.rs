//! The few entries that a client keeps for weeks.
//!
//! A new entry for each exchange would sooner or later be one that colludes with a relay; a few kept ones
//! are a risk taken once. They are drawn at random and kept 3 to 6 weeks each. When all that are meant
//! for use have failed, one more is drawn, up to a small bound, so that an attacker who can make entries
//! unreachable still can't walk a client through the network.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use protocol::NodeId;
use rand::Rng;
use rand::seq::SliceRandom as _;

use super::{PathError, Tried, cheapest, same_operator};
use crate::clock::unix_ms;
use crate::directory::{Node, Nodes};
use crate::network::notes::{KeptEntry, Notes, NotesError};

/// Entries in use.
pub(crate) const ENTRIES: usize = 3;
/// Entries kept at most, with those drawn while all others were down.
const MAX_ENTRIES: usize = 6;
/// An entry is kept at least 3 weeks …
const MIN_KEPT_MS: u64 = 21 * 24 * 3_600 * 1_000;
/// … and at most 6.
const MAX_KEPT_MS: u64 = 2 * MIN_KEPT_MS;
/// With fewer nodes than this that are no mailboxes of ours, those are entries too.
const MIN_FOREIGN: usize = 2;
/// How long an entry that failed is passed over.
const DOWN: Duration = Duration::from_secs(60);

/// The entries, in order of preference, and what is known of them.
#[derive(Debug)]
pub(crate) struct Entries {
    notes: Arc<Notes>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    kept: Vec<KeptEntry>,
    /// Mailboxes of this home's wallets: never entries.
    own_mailboxes: HashSet<NodeId>,
    down: HashMap<NodeId, Instant>,
}

impl State {
    fn is_down(&self, node: &NodeId) -> bool {
        self.down
            .get(node)
            .is_some_and(|since| since.elapsed() < DOWN)
    }
}

impl Entries {
    pub(crate) fn new(notes: Arc<Notes>) -> Self {
        Self {
            notes,
            state: Mutex::default(),
        }
    }

    /// The nodes that are entries now, for those who choose mailboxes.
    pub(crate) fn ids(&self) -> Vec<NodeId> {
        self.state
            .lock()
            .kept
            .iter()
            .map(|entry| entry.node)
            .collect()
    }

    /// The nodes that know this client: its entries its address, its mailboxes its wallets.
    pub(crate) fn acquainted(&self) -> Vec<NodeId> {
        let state = self.state.lock();
        let entries = state.kept.iter().map(|entry| entry.node);
        entries.chain(state.own_mailboxes.iter().copied()).collect()
    }

    /// Names the mailboxes of this home's wallets, which may not be entries.
    pub(crate) fn exclude(&self, mailboxes: impl IntoIterator<Item = NodeId>) {
        self.state.lock().own_mailboxes.extend(mailboxes);
    }

    /// Brings the entries up to date: those that are gone from the network, outlived or now a mailbox of
    /// ours are replaced. Blocks on the disk where something changes.
    pub(crate) fn renew(&self, nodes: &Nodes) -> Result<(), NotesError> {
        let mut state = self.state.lock();
        let now_ms = unix_ms();
        let rules = Rules::new(nodes, &state, now_ms);
        let wanted = rules.eligible().take(ENTRIES).count();
        if state.kept.len() >= wanted && state.kept.iter().all(|entry| rules.keeps(entry)) {
            return Ok(());
        }
        let kept = self
            .notes
            .update_entries(|kept| renewed(kept, &rules, ENTRIES))?;
        state.kept = kept;
        Ok(())
    }

    /// An entry for an exchange with `target`: never the target itself; if possible one that has not
    /// failed and is of another operator.
    ///
    /// `may_be_target` gives up the former for exchanges that promise no privacy.
    pub(crate) fn choose(
        &self,
        nodes: &Nodes,
        target: Option<&Node>,
        may_be_target: bool,
        tried: &Tried,
    ) -> Result<Arc<Node>, PathError> {
        if let Err(error) = self.renew(nodes) {
            // What is in memory still serves; without any entry the error below says so.
            tracing::warn!(target: "client::path", %error, "entries can't be kept");
        }
        let mut state = self.state.lock();
        let usable = |state: &State| {
            let usable: Vec<Arc<Node>> = state
                .kept
                .iter()
                .filter_map(|entry| nodes.node(&entry.node))
                .filter(|node| node.can_be_entry())
                .filter(|node| may_be_target || target.is_none_or(|target| target.id != node.id))
                .collect();
            usable
        };
        let mut candidates = usable(&state);
        let failed = |state: &State, node: &Node| {
            state.is_down(&node.id) || tried.entries.contains(&node.id)
        };
        if candidates.iter().all(|node| failed(&state, node)) && state.kept.len() < MAX_ENTRIES {
            let more = state.kept.len() + 1;
            let drawn = self
                .notes
                .update_entries(|kept| renewed(kept, &Rules::new(nodes, &state, unix_ms()), more));
            if let Ok(drawn) = drawn {
                state.kept = drawn;
                candidates = usable(&state);
            }
        }
        let cost = |node: &Node| {
            let again = tried.entries.iter().filter(|id| **id == node.id).count();
            let place = state
                .kept
                .iter()
                .position(|entry| entry.node == node.id)
                .unwrap_or(MAX_ENTRIES);
            let is_target = target.is_some_and(|target| target.id == node.id);
            (
                again,
                state.is_down(&node.id),
                is_target,
                place >= ENTRIES,
                same_operator(node, target),
            )
        };
        let candidates: Vec<&Arc<Node>> = candidates.iter().collect();
        cheapest(&candidates, cost, &mut rand::thread_rng()).ok_or(PathError::NoEntry)
    }

    /// Notes that an entry failed just now.
    pub(crate) fn failed(&self, node: NodeId) {
        let mut state = self.state.lock();
        state.down.retain(|_, since| since.elapsed() < DOWN);
        state.down.insert(node, Instant::now());
    }

    /// Notes that an entry works.
    pub(crate) fn worked(&self, node: &NodeId) {
        self.state.lock().down.remove(node);
    }
}

/// Which nodes may be entries now.
///
/// A mailbox of ours may be one only in a network so small that there would be no choice otherwise; the
/// entry of an exchange still never is the mailbox that the exchange is with.
struct Rules<'a> {
    nodes: &'a Nodes,
    own_mailboxes: &'a HashSet<NodeId>,
    own_too: bool,
    now_ms: u64,
}

impl<'a> Rules<'a> {
    fn new(nodes: &'a Nodes, state: &'a State, now_ms: u64) -> Self {
        let own_mailboxes = &state.own_mailboxes;
        let mut rules = Self {
            nodes,
            own_mailboxes,
            own_too: false,
            now_ms,
        };
        rules.own_too = rules.eligible().take(MIN_FOREIGN).count() < MIN_FOREIGN;
        rules
    }

    fn admits(&self, node: &Node) -> bool {
        node.can_be_entry() && (self.own_too || !self.own_mailboxes.contains(&node.id))
    }

    fn eligible(&self) -> impl Iterator<Item = &'a Arc<Node>> {
        self.nodes.iter().filter(|node| self.admits(node))
    }

    fn keeps(&self, entry: &KeptEntry) -> bool {
        // A clock that was set back must not keep an entry for ever.
        let latest_ms = self.now_ms.saturating_add(MAX_KEPT_MS);
        let in_time = self.now_ms < entry.until_ms && entry.until_ms <= latest_ms;
        let node = self.nodes.node(&entry.node);
        in_time && node.is_some_and(|node| self.admits(&node))
    }
}

/// Keeps what is good and draws what is missing to make `count`.
fn renewed(kept: Vec<KeptEntry>, rules: &Rules<'_>, count: usize) -> Vec<KeptEntry> {
    let rng = &mut rand::thread_rng();
    let mut kept: Vec<KeptEntry> = kept
        .into_iter()
        .filter(|entry| rules.keeps(entry))
        .take(MAX_ENTRIES)
        .collect();
    while kept.len() < count {
        let candidates: Vec<&Arc<Node>> = rules
            .eligible()
            .filter(|node| kept.iter().all(|entry| entry.node != node.id))
            .collect();
        let of_kin = |node: &Node| {
            kept.iter()
                .filter(|entry| same_operator(node, rules.nodes.node(&entry.node).as_deref()))
                .count()
        };
        // Entries of one operator are as good as one entry.
        let Some(drawn) = cheapest(&candidates, of_kin, rng) else {
            break;
        };
        let until_ms = rules.now_ms + rng.gen_range(MIN_KEPT_MS..MAX_KEPT_MS);
        kept.push(KeptEntry {
            node: drawn.id,
            until_ms,
        });
    }
    kept
}

/// Mailboxes for a new account: at random, no entries, of different operators where possible.
pub(crate) fn propose_mailboxes(nodes: &Nodes, entries: &[NodeId], count: usize) -> Vec<NodeId> {
    let rng = &mut rand::thread_rng();
    let mut candidates: Vec<&Arc<Node>> =
        nodes.iter().filter(|node| node.can_open_layers()).collect();
    candidates.shuffle(rng);
    let mut proposed: Vec<Arc<Node>> = Vec::new();
    while proposed.len() < count {
        let left: Vec<&Arc<Node>> = candidates
            .iter()
            .copied()
            .filter(|node| proposed.iter().all(|p| p.id != node.id))
            .collect();
        let cost = |node: &Node| {
            let kin = proposed
                .iter()
                .filter(|p| same_operator(node, Some(p)))
                .count();
            (entries.contains(&node.id), kin)
        };
        let Some(node) = cheapest(&left, cost, rng) else {
            break;
        };
        proposed.push(node);
    }
    proposed.into_iter().map(|node| node.id).collect()
}

#[cfg(test)]
mod tests;
