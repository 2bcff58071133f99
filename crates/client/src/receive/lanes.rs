//! Order: each sending session is a lane in which messages wait for those before them.

use std::collections::HashMap;

use packet::SessionId;
use protocol::order::{Ready, Reorder};

use crate::state::{Order, Party};

/// Lanes at most; beyond it the one that was quiet for longest is given up.
const MAX_LANES: usize = 1_024;

/// What has its place in a lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Slot {
    /// A message, by its place in the inbox.
    Message(i64),
    /// Something that is not shown: a part of a file, a receipt.
    Silent,
}

/// What comes out of a lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Out {
    /// The message at this place of the inbox is next.
    Show(i64),
    /// So many messages of that sender are missing before the next one.
    Gap(Party, u64),
}

/// All lanes.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    lanes: HashMap<(Party, SessionId), Lane>,
    turn: u64,
}

#[derive(Debug)]
struct Lane {
    reorder: Reorder<Slot>,
    /// Missed before whatever is shown next; what is never shown is not missed.
    missing: u64,
    last_turn: u64,
}

impl Lanes {
    /// Says whether the lane of this session was met since the start.
    pub(super) fn knows(&self, party: &Party, order: &Order) -> bool {
        self.lanes.contains_key(&(*party, order.session()))
    }

    /// Puts something in its lane, which expects `expected` next if it is new, and returns what is ready.
    pub(super) fn push(
        &mut self,
        party: Party,
        order: Order,
        slot: Slot,
        expected: u64,
        now_ms: u64,
    ) -> Vec<Out> {
        let mut out = self.make_room(&party, &order);
        self.turn += 1;
        let lane = self
            .lanes
            .entry((party, order.session()))
            .or_insert_with(|| Lane {
                reorder: Reorder::expecting(expected),
                missing: 0,
                last_turn: 0,
            });
        lane.last_turn = self.turn;
        let ready = lane.reorder.push(order.sequence, slot, now_ms);
        lane.sort(party, ready, &mut out);
        out
    }

    /// Gives up gaps that were waited for long enough.
    pub(super) fn poll(&mut self, now_ms: u64) -> Vec<Out> {
        let mut out = Vec::new();
        for ((party, _), lane) in &mut self.lanes {
            let ready = lane.reorder.poll(now_ms);
            lane.sort(*party, ready, &mut out);
        }
        out
    }

    /// When [`Self::poll`] next has something to do.
    pub(super) fn deadline_ms(&self) -> Option<u64> {
        let lanes = self.lanes.values();
        lanes.filter_map(|lane| lane.reorder.deadline_ms()).min()
    }

    fn make_room(&mut self, party: &Party, order: &Order) -> Vec<Out> {
        let mut out = Vec::new();
        if self.lanes.len() < MAX_LANES || self.knows(party, order) {
            return out;
        }
        let quietest = self.lanes.iter().min_by_key(|(_, lane)| lane.last_turn);
        if let Some(key) = quietest.map(|(key, _)| *key)
            && let Some(mut lane) = self.lanes.remove(&key)
        {
            let ready = lane.reorder.poll(u64::MAX);
            lane.sort(key.0, ready, &mut out);
        }
        out
    }
}

impl Lane {
    fn sort(&mut self, party: Party, ready: Vec<Ready<Slot>>, out: &mut Vec<Out>) {
        for ready in ready {
            match ready {
                Ready::Gap(missing) => self.missing = self.missing.saturating_add(missing),
                Ready::Message(Slot::Silent) => {}
                Ready::Message(Slot::Message(place)) => {
                    if self.missing > 0 {
                        out.push(Out::Gap(party, self.missing));
                        self.missing = 0;
                    }
                    out.push(Out::Show(place));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use protocol::order::GAP_WAIT_MS;

    use super::*;

    const ALICE: Party = Party::Wallet(wallet::WalletAddress::from_bytes([1; 20]));

    fn order(session: u8, sequence: u64) -> Order {
        Order::new(SessionId::from_bytes([session; 8]), sequence)
    }

    #[test]
    fn message_that_overtook_another_waits_for_it() {
        let mut lanes = Lanes::default();
        assert_eq!(lanes.push(ALICE, order(1, 1), Slot::Message(10), 0, 0), []);
        let out = lanes.push(ALICE, order(1, 0), Slot::Message(11), 0, 0);
        assert_eq!(out, [Out::Show(11), Out::Show(10)]);
    }

    #[test]
    fn gap_is_told_once_before_the_message_after_it() {
        let mut lanes = Lanes::default();
        lanes.push(ALICE, order(1, 3), Slot::Message(10), 0, 0);
        assert_eq!(lanes.deadline_ms(), Some(GAP_WAIT_MS));
        assert_eq!(lanes.poll(GAP_WAIT_MS - 1), []);
        assert_eq!(lanes.poll(GAP_WAIT_MS), [Out::Gap(ALICE, 3), Out::Show(10)]);
        assert_eq!(lanes.poll(u64::MAX), []);
    }

    #[test]
    fn parts_of_files_fill_their_places_and_are_never_missed_themselves() {
        let mut lanes = Lanes::default();
        lanes.push(ALICE, order(1, 5), Slot::Silent, 0, 0);
        assert_eq!(
            lanes.poll(u64::MAX),
            [],
            "nothing is shown, so nothing is missed"
        );
        lanes.push(ALICE, order(2, 1), Slot::Silent, 0, 0);
        lanes.push(ALICE, order(2, 2), Slot::Message(7), 0, 0);
        let out = lanes.push(ALICE, order(2, 0), Slot::Message(8), 0, 0);
        assert_eq!(out, [Out::Show(8), Out::Show(7)]);
    }

    #[test]
    fn session_met_in_an_earlier_run_goes_on_where_it_was() {
        let mut lanes = Lanes::default();
        let out = lanes.push(ALICE, order(1, 7), Slot::Message(1), 7, 0);
        assert_eq!(out, [Out::Show(1)]);
    }

    #[test]
    fn flood_of_sessions_loses_no_message_and_keeps_memory_bounded() {
        let mut lanes = Lanes::default();
        let mut shown = 0;
        let sessions = MAX_LANES as u64 + 100;
        for number in 0..sessions {
            let session = SessionId::from_bytes(number.to_be_bytes());
            let order = Order::new(session, 1);
            let out = lanes.push(ALICE, order, Slot::Message(1), 0, 0);
            shown += out.iter().filter(|out| matches!(out, Out::Show(_))).count();
        }
        assert!(lanes.lanes.len() <= MAX_LANES);
        let rest = lanes.poll(u64::MAX);
        shown += rest
            .iter()
            .filter(|out| matches!(out, Out::Show(_)))
            .count();
        assert_eq!(shown as u64, sessions);
    }
}
