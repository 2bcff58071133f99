//! Freshness of commands: each is obeyed at most once, also across restarts and with wrong clocks
//! (`docs/wire-format.md`, 4.1).
//!
//! Nonces live in memory only. What makes them survive a restart is the *ceiling*: no command later
//! than the ceiling is accepted, and the shell writes a new ceiling to disk before the old one is
//! reached. After a restart everything up to the ceiling found on disk is refused as stale, so nothing
//! that may have been obeyed is obeyed again. A maker whose clock is wrong learns the time to use from
//! the refusal.

use std::collections::{HashSet, VecDeque};

use thiserror::Error;

/// How far a command's time may lie from the node's, in milliseconds: two minutes cover a slow path
/// and a phone's clock, and keep the memory of nonces small.
pub const TOLERANCE_MS: u64 = 120_000;
/// How far ahead the ceiling is written.
const CEILING_AHEAD_MS: u64 = 2 * TOLERANCE_MS;
/// Nonces are forgotten in steps of this length.
const BUCKET_MS: u64 = 10_000;
/// How far above the floor the time lies that a refusal names, so that a floor which rises on the way
/// does not make it stale again.
const HINT_ABOVE_FLOOR_MS: u64 = TOLERANCE_MS / 4;

/// Why a command is not obeyed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum NotFresh {
    /// Its time lies outside the window; a command of `use_ms` would be accepted now.
    #[error("the command's time is outside the window; use {use_ms}")]
    Stale {
        /// The time to use, in Unix milliseconds.
        use_ms: u64,
    },
    /// It was obeyed before.
    #[error("the command was obeyed before")]
    Replayed,
}

#[derive(Debug)]
struct Bucket {
    start_ms: u64,
    seen: HashSet<[u8; 16]>,
}

/// A node's memory of the commands it obeyed.
///
/// **Invariant**: a (time, nonce) that was accepted once is never accepted again, whatever happens to
/// the process in between, provided the shell persists [`Freshness::ceiling_ms`] whenever
/// [`Freshness::raise_ceiling`] changes it, before it uses the new value.
#[derive(Debug)]
pub struct Freshness {
    floor_ms: u64,
    ceiling_ms: u64,
    /// The latest time that was accepted.
    latest_ms: u64,
    buckets: VecDeque<Bucket>,
    held: usize,
    capacity: usize,
    closed: bool,
}

impl Freshness {
    /// Starts with the ceiling that an earlier run left on disk (0 if there is none) and room for
    /// `capacity` nonces (about 24 bytes each).
    #[must_use]
    pub fn resume(ceiling_on_disk_ms: u64, capacity: usize) -> Self {
        Self {
            floor_ms: ceiling_on_disk_ms,
            ceiling_ms: ceiling_on_disk_ms,
            latest_ms: 0,
            buckets: VecDeque::new(),
            held: 0,
            capacity: capacity.max(1),
            closed: false,
        }
    }

    /// The ceiling that has to be on disk.
    #[must_use]
    pub fn ceiling_ms(&self) -> u64 {
        self.ceiling_ms
    }

    /// The ceiling to persist next, if the present one comes near; pass it to
    /// [`Self::raise_ceiling`] once it is on disk.
    #[must_use]
    pub fn ceiling_due(&self, now_ms: u64) -> Option<u64> {
        let reach = now_ms.max(self.floor_ms);
        let near = self.ceiling_ms < reach.saturating_add(TOLERANCE_MS + TOLERANCE_MS / 2);
        (near && !self.closed).then_some(reach.saturating_add(CEILING_AHEAD_MS))
    }

    /// Allows commands up to `ceiling_ms`, which is on disk now. Does nothing after [`Self::close`]: the
    /// closing ceiling may have taken its place on disk.
    pub fn raise_ceiling(&mut self, ceiling_ms: u64) {
        if !self.closed {
            self.ceiling_ms = self.ceiling_ms.max(ceiling_ms);
        }
    }

    /// The least ceiling that still covers all that was accepted; what a graceful stop writes.
    #[must_use]
    pub fn closing_ceiling(&self) -> u64 {
        self.floor_ms.max(self.latest_ms)
    }

    /// Accepts nothing any more and returns [`Self::closing_ceiling`], which then stays true whatever
    /// still arrives while the process ends.
    pub fn close(&mut self) -> u64 {
        let closing = self.closing_ceiling();
        (self.floor_ms, self.ceiling_ms, self.closed) = (closing, closing, true);
        closing
    }

    /// Accepts a command's time and nonce once.
    ///
    /// # Errors
    /// [`NotFresh`], with the time to use if that was the reason.
    pub fn accept(&mut self, time_ms: u64, nonce: &[u8; 16], now_ms: u64) -> Result<(), NotFresh> {
        self.forget(now_ms);
        let reach = now_ms.max(self.floor_ms);
        let last = reach.saturating_add(TOLERANCE_MS).min(self.ceiling_ms);
        let old = time_ms <= self.floor_ms || time_ms <= now_ms.saturating_sub(TOLERANCE_MS);
        if old || time_ms > last {
            let above = self.floor_ms.saturating_add(HINT_ABOVE_FLOOR_MS);
            return Err(NotFresh::Stale {
                use_ms: now_ms
                    .max(above)
                    .min(last.max(self.floor_ms.saturating_add(1))),
            });
        }
        let start_ms = time_ms - time_ms % BUCKET_MS;
        let place = self.buckets.partition_point(|b| b.start_ms < start_ms);
        if self
            .buckets
            .get(place)
            .is_none_or(|b| b.start_ms != start_ms)
        {
            self.buckets.insert(
                place,
                Bucket {
                    start_ms,
                    seen: HashSet::new(),
                },
            );
        }
        let Some(bucket) = self.buckets.get_mut(place) else {
            return Err(NotFresh::Replayed);
        };
        if !bucket.seen.insert(*nonce) {
            return Err(NotFresh::Replayed);
        }
        self.held += 1;
        self.latest_ms = self.latest_ms.max(time_ms);
        while self.held > self.capacity {
            self.drop_oldest();
        }
        Ok(())
    }

    fn forget(&mut self, now_ms: u64) {
        let horizon = now_ms.saturating_sub(TOLERANCE_MS);
        while self.buckets.front().is_some_and(|b| b.end_ms() <= horizon) {
            self.drop_oldest();
        }
    }

    /// Forgets the oldest nonces; the floor rises so that nothing of theirs passes again.
    fn drop_oldest(&mut self) {
        if let Some(bucket) = self.buckets.pop_front() {
            self.held -= bucket.seen.len();
            self.floor_ms = self.floor_ms.max(bucket.end_ms() - 1);
        }
    }
}

impl Bucket {
    /// One past the latest time in it.
    fn end_ms(&self) -> u64 {
        self.start_ms.saturating_add(BUCKET_MS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: u64 = 1_800_000_000_000;

    fn started() -> Freshness {
        let mut f = Freshness::resume(0, 1_000);
        f.raise_ceiling(f.ceiling_due(NOW).unwrap());
        f
    }

    #[test]
    fn command_seen_twice_is_obeyed_once() {
        let mut f = started();
        assert_eq!(f.accept(NOW, &[1; 16], NOW), Ok(()));
        assert_eq!(
            f.accept(NOW, &[1; 16], NOW + 50_000),
            Err(NotFresh::Replayed)
        );
        assert_eq!(f.accept(NOW, &[2; 16], NOW), Ok(()));
    }

    /// Nonces lie in a list that is searched by time. A search that went wrong was noticed by no test: they
    /// repeated a command while it was the only one.
    #[test]
    fn command_is_obeyed_once_whatever_came_before_and_after_it() {
        let mut f = started();
        let times = [0, 50_000, 20_000, 70_000, 1_000, 30_000].map(|ago| NOW + 40_000 - ago);
        for time in times {
            assert_eq!(f.accept(time, &[1; 16], NOW), Ok(()));
        }
        for time in times {
            assert_eq!(f.accept(time, &[1; 16], NOW), Err(NotFresh::Replayed));
        }
    }

    #[test]
    fn command_of_a_clock_off_by_a_day_is_stale_and_told_the_time() {
        let mut f = started();
        for wrong in [NOW - 86_400_000, NOW + 86_400_000] {
            let Err(NotFresh::Stale { use_ms }) = f.accept(wrong, &[1; 16], NOW) else {
                panic!("accepted")
            };
            assert_eq!(
                f.accept(use_ms, &(wrong as u128).to_be_bytes(), NOW),
                Ok(())
            );
        }
    }

    #[test]
    fn command_obeyed_before_a_crash_is_stale_after_it() {
        let mut f = started();
        let ahead = NOW + TOLERANCE_MS;
        assert_eq!(f.accept(ahead, &[1; 16], NOW), Ok(()));
        let mut after = Freshness::resume(f.ceiling_ms(), 1_000);
        after.raise_ceiling(after.ceiling_due(NOW + 1_000).unwrap());
        let Err(NotFresh::Stale { use_ms }) = after.accept(ahead, &[1; 16], NOW + 1_000) else {
            panic!("obeyed twice")
        };
        assert_eq!(use_ms, f.ceiling_ms() + TOLERANCE_MS / 4);
        assert_eq!(
            after.accept(use_ms, &[1; 16], NOW + 1_000),
            Ok(()),
            "a fresh command passes at once"
        );
    }

    #[test]
    fn graceful_stop_keeps_the_refused_span_short() {
        let mut f = started();
        assert_eq!(f.accept(NOW, &[1; 16], NOW), Ok(()));
        let mut after = Freshness::resume(f.closing_ceiling(), 1_000);
        after.raise_ceiling(after.ceiling_due(NOW).unwrap());
        assert!(after.accept(NOW, &[1; 16], NOW).is_err());
        assert_eq!(after.accept(NOW + 1, &[2; 16], NOW), Ok(()));
    }

    #[test]
    fn nothing_passes_the_ceiling_that_is_on_disk() {
        let mut f = Freshness::resume(0, 10);
        assert!(f.accept(NOW, &[1; 16], NOW).is_err());
        f.raise_ceiling(NOW);
        assert_eq!(f.accept(NOW, &[1; 16], NOW), Ok(()));
        assert!(f.accept(NOW + 1, &[2; 16], NOW).is_err());
        f.raise_ceiling(NOW - 1);
        assert_eq!(f.ceiling_ms(), NOW, "a ceiling never falls");
    }

    #[test]
    fn window_ends_two_minutes_before_and_after_now() {
        let mut f = started();
        for (time, fresh) in [
            (NOW - TOLERANCE_MS, false),
            (NOW - TOLERANCE_MS + 1, true),
            (NOW + TOLERANCE_MS, true),
            (NOW + TOLERANCE_MS + 1, false),
        ] {
            assert_eq!(f.accept(time, &[1; 16], NOW).is_ok(), fresh, "{time}");
        }
    }

    #[test]
    fn ceiling_is_due_again_a_minute_before_commands_could_reach_it() {
        let mut f = started();
        let ceiling = f.ceiling_ms();
        assert_eq!(ceiling, NOW + 2 * TOLERANCE_MS);
        let early = ceiling - TOLERANCE_MS - TOLERANCE_MS / 2;
        assert_eq!(f.ceiling_due(early), None);
        assert_eq!(f.ceiling_due(early + 1), Some(early + 1 + 2 * TOLERANCE_MS));
        f.raise_ceiling(u64::MAX);
        assert_eq!(
            Freshness::resume(u64::MAX, 1).ceiling_due(NOW),
            None,
            "a ceiling from a broken disk is no panic"
        );
    }

    /// Whoever fills the memory makes the floor rise, and with it the time that others must use. They
    /// are told one that the next rise does not make stale at once.
    #[test]
    fn full_memory_moves_the_floor_and_the_refused_learn_a_time_that_lasts() {
        let mut f = Freshness::resume(0, 8);
        f.raise_ceiling(f.ceiling_due(NOW).unwrap());
        let ahead = NOW + TOLERANCE_MS;
        for n in 0..9u8 {
            assert_eq!(f.accept(ahead, &[n; 16], NOW), Ok(()));
        }
        assert_eq!(f.held, 0, "one bucket may be too much for the memory, too");
        assert!(f.accept(ahead, &[0; 16], NOW).is_err(), "obeyed twice");
        let Err(NotFresh::Stale { use_ms }) = f.accept(NOW, &[77; 16], NOW) else {
            panic!("below the floor")
        };
        for n in 10..18u8 {
            assert_eq!(f.accept(ahead + BUCKET_MS, &[n; 16], NOW), Ok(()));
        }
        assert_eq!(f.accept(use_ms, &[77; 16], NOW), Ok(()));
    }

    /// Which end of the list is the old one is what keeps the floor low and the memory small.
    #[test]
    fn oldest_commands_are_forgotten_first() {
        let mut f = Freshness::resume(0, 3);
        f.raise_ceiling(f.ceiling_due(NOW).unwrap());
        for time in [NOW, NOW - 50_000, NOW + 50_000, NOW + 60_000] {
            assert_eq!(f.accept(time, &[1; 16], NOW), Ok(()));
        }
        assert_eq!(f.held, 3);
        assert!(f.accept(NOW - 50_000, &[2; 16], NOW).is_err(), "no room");
        assert_eq!(f.accept(NOW, &[1; 16], NOW), Err(NotFresh::Replayed));
        assert!(f.accept(NOW + 1, &[2; 16], NOW).is_ok());

        let mut f = started();
        for time in [NOW, NOW + 60_000] {
            assert_eq!(f.accept(time, &[1; 16], NOW), Ok(()));
        }
        let later = NOW + TOLERANCE_MS + BUCKET_MS;
        assert!(f.accept(0, &[1; 16], later).is_err());
        assert_eq!(f.held, 1);
    }

    #[test]
    fn forgotten_commands_stay_refused_if_the_clock_is_set_back() {
        let mut f = started();
        assert_eq!(f.accept(NOW, &[1; 16], NOW), Ok(()));
        assert!(f.accept(0, &[1; 16], NOW + 3 * TOLERANCE_MS).is_err());
        assert_eq!(f.held, 0);
        assert!(f.accept(NOW, &[1; 16], NOW).is_err());
    }

    #[test]
    fn closed_memory_accepts_nothing_and_covers_what_it_accepted() {
        let mut f = started();
        assert_eq!(f.accept(NOW + 5, &[1; 16], NOW), Ok(()));
        let closing = f.close();
        assert_eq!(closing, NOW + 5);
        for time in [NOW, NOW + 6, closing, closing + 1] {
            assert!(f.accept(time, &[2; 16], NOW).is_err());
        }
        assert_eq!(f.closing_ceiling(), closing);
    }

    /// A ceiling that was on its way to a slow disk when the node stopped came after the closing one, and what
    /// was accepted below it would have been accepted again by the next run.
    #[test]
    fn ceiling_that_comes_after_the_close_opens_nothing() {
        let mut f = started();
        let late = f.ceiling_due(NOW + 4 * TOLERANCE_MS).unwrap();
        let closing = f.close();
        f.raise_ceiling(late);
        assert!(f.accept(NOW + 1, &[1; 16], NOW).is_err());
        assert_eq!((f.ceiling_ms(), f.closing_ceiling()), (closing, closing));
        assert_eq!(f.ceiling_due(NOW + 4 * TOLERANCE_MS), None);
    }

    proptest! {
        /// Random times, nonces, restarts and a small memory: the accepted set never repeats.
        #[test]
        fn no_command_is_ever_obeyed_twice(steps in proptest::collection::vec((0u64..400_000, 0u8..6, 0u64..20_000, any::<bool>()), 1..200)) {
            let mut now = NOW;
            let mut f = Freshness::resume(0, 8);
            let mut obeyed = HashSet::new();
            for (offset, nonce, wait, crash) in steps {
                now += wait;
                if crash {
                    f = Freshness::resume(f.ceiling_ms(), 8);
                }
                if let Some(due) = f.ceiling_due(now) {
                    f.raise_ceiling(due);
                }
                let time = now - 200_000 + offset;
                if f.accept(time, &[nonce; 16], now).is_ok() {
                    prop_assert!(obeyed.insert((time, nonce)));
                }
                prop_assert!(f.held <= 8);
            }
        }
    }
}
