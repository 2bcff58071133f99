//! Order within a sender's session: a message that overtook another waits for it, for a while.

use std::collections::BTreeMap;

/// How long a message waits for the ones before it.
pub const GAP_WAIT_MS: u64 = 30_000;
/// Messages of one session that wait at most; one more and the gap is given up.
const MAX_WAITING: usize = 256;

/// What is ready to be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ready<T> {
    /// The next message.
    Message(T),
    /// This many messages before the next one did not come in time.
    Gap(u64),
}

/// Puts the messages of one sender session in order.
#[derive(Debug)]
pub struct Reorder<T> {
    next: u64,
    waiting: BTreeMap<u64, (u64, T)>,
}

impl<T> Reorder<T> {
    /// Expects sequence number `next` next (0 for a session not met before).
    #[must_use]
    pub fn expecting(next: u64) -> Self {
        Self {
            next,
            waiting: BTreeMap::new(),
        }
    }

    /// The sequence number expected next.
    #[must_use]
    pub fn expected(&self) -> u64 {
        self.next
    }

    /// Takes a message. One that is late (before what is expected), or has the number of one that waits,
    /// is ready at once, out of order: a sender's wrong numbers must not make a message vanish.
    pub fn push(&mut self, sequence: u64, message: T, now_ms: u64) -> Vec<Ready<T>> {
        if sequence < self.next || self.waiting.contains_key(&sequence) {
            return vec![Ready::Message(message)];
        }
        self.waiting.insert(sequence, (now_ms, message));
        let mut ready = self.in_order();
        if self.waiting.len() > MAX_WAITING {
            ready.extend(self.give_up());
        }
        ready
    }

    /// Gives up gaps that were waited for long enough.
    pub fn poll(&mut self, now_ms: u64) -> Vec<Ready<T>> {
        let mut ready = Vec::new();
        while self
            .deadline_ms()
            .is_some_and(|deadline| deadline <= now_ms)
        {
            ready.extend(self.give_up());
        }
        ready
    }

    /// When [`Self::poll`] next has something to do.
    #[must_use]
    pub fn deadline_ms(&self) -> Option<u64> {
        self.waiting
            .values()
            .map(|(since, _)| since.saturating_add(GAP_WAIT_MS))
            .min()
    }

    fn in_order(&mut self) -> Vec<Ready<T>> {
        let mut ready = Vec::new();
        while let Some((_, message)) = self.waiting.remove(&self.next) {
            // The last number of all is expected for ever.
            self.next = self.next.saturating_add(1);
            ready.push(Ready::Message(message));
        }
        ready
    }

    fn give_up(&mut self) -> Vec<Ready<T>> {
        let Some(first) = self.waiting.keys().next().copied() else {
            return Vec::new();
        };
        let mut ready = vec![Ready::Gap(first - self.next)];
        self.next = first;
        ready.extend(self.in_order());
        ready
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn message_that_overtook_another_waits_for_it() {
        let mut order = Reorder::expecting(0);
        assert_eq!(order.push(1, 'b', 0), []);
        assert_eq!(
            order.push(0, 'a', 10),
            [Ready::Message('a'), Ready::Message('b')]
        );
    }

    #[test]
    fn gap_that_stays_shows_as_a_gap_after_thirty_seconds() {
        let mut order = Reorder::expecting(0);
        assert_eq!(order.push(2, 'c', 0), []);
        assert_eq!(order.poll(GAP_WAIT_MS - 1), []);
        assert_eq!(
            order.poll(GAP_WAIT_MS),
            [Ready::Gap(2), Ready::Message('c')]
        );
        assert_eq!(order.push(0, 'a', GAP_WAIT_MS), [Ready::Message('a')]);
    }

    #[test]
    fn gap_is_given_up_when_more_wait_behind_it_than_there_is_room_for() {
        let mut order = Reorder::expecting(5);
        for n in 0..256 {
            assert_eq!(order.push(6 + n, n, 0), []);
        }
        assert_eq!(order.expected(), 5);
        let ready = order.push(6 + 256, 256, 0);
        assert_eq!(ready.len(), 1 + 257);
        assert_eq!(ready[..2], [Ready::Gap(1), Ready::Message(0)]);
        assert_eq!((order.expected(), order.deadline_ms()), (6 + 257, None));
    }

    #[test]
    fn message_with_the_last_number_of_all_is_shown_like_any_other() {
        let mut order = Reorder::expecting(0);
        assert_eq!(order.push(u64::MAX, 'a', 0), []);
        assert_eq!(
            order.poll(GAP_WAIT_MS),
            [Ready::Gap(u64::MAX), Ready::Message('a')]
        );
        assert_eq!(
            order.push(u64::MAX, 'b', GAP_WAIT_MS),
            [Ready::Message('b')]
        );
        assert_eq!(
            Reorder::expecting(u64::MAX).push(u64::MAX, 'c', 0),
            [Ready::Message('c')]
        );
    }

    #[test]
    fn second_message_with_a_number_that_waits_displaces_nobody() {
        let mut order = Reorder::expecting(0);
        assert_eq!(order.push(1, 'a', 0), []);
        assert_eq!(order.push(1, 'b', 1), [Ready::Message('b')]);
        assert_eq!(
            order.push(0, 'c', 2),
            [Ready::Message('c'), Ready::Message('a')]
        );
    }

    proptest! {
        #[test]
        fn every_message_comes_out_once_and_what_was_in_time_in_order(order in Just((0u64..60).collect::<Vec<_>>()).prop_shuffle()) {
            let mut reorder = Reorder::expecting(0);
            let mut out = Vec::new();
            for n in &order {
                out.extend(reorder.push(*n, *n, 5));
            }
            prop_assert_eq!(out, (0..60).map(Ready::Message).collect::<Vec<_>>());
        }
    }
}
