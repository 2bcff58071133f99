//! Which exchange counters a session has seen.

const WORDS: usize = 16;
/// Counters behind the highest that are still told apart; older ones are refused.
const WINDOW: u64 = WORDS as u64 * 64;

/// A sliding window of 1,024 counters, as in RFC 6479 but small enough to move bit by bit.
#[derive(Debug, Clone, Default)]
pub struct CounterWindow {
    /// One past the highest counter seen.
    end: u64,
    seen: [u64; WORDS],
}

impl CounterWindow {
    /// Takes a counter and says whether it is new; the very last number never is.
    pub fn take(&mut self, counter: u64) -> bool {
        if counter == u64::MAX {
            return false;
        }
        if counter >= self.end {
            let fresh = counter - self.end + 1;
            if fresh >= WINDOW {
                self.seen = [0; WORDS];
            } else {
                for skipped in self.end..counter {
                    self.clear(skipped);
                }
            }
            self.end = counter + 1;
            self.clear(counter);
        } else if self.end - counter > WINDOW {
            return false;
        }
        let Some(word) = self.seen.get_mut((counter / 64) as usize % WORDS) else {
            return false;
        };
        let bit = 1 << (counter % 64);
        let new = *word & bit == 0;
        *word |= bit;
        new
    }

    fn clear(&mut self, counter: u64) {
        if let Some(word) = self.seen.get_mut((counter / 64) as usize % WORDS) {
            *word &= !(1 << (counter % 64));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;

    #[test]
    fn window_reaches_back_a_thousand_and_twenty_four_counters_and_no_further() {
        let mut window = CounterWindow::default();
        assert!(window.take(5_000));
        assert!(window.take(5_000 - 1_023));
        assert!(!window.take(5_000 - 1_024));
        assert!(window.take(5_000 + 1_023));
        assert!(!window.take(5_000), "it is the last one still remembered");
        assert!(window.take(u64::MAX - 1) && !window.take(u64::MAX));
    }

    proptest! {
        #[test]
        fn counter_is_taken_exactly_once_and_never_when_too_old(steps in proptest::collection::vec(0u64..4_000, 1..400)) {
            let mut window = CounterWindow::default();
            let mut seen = HashSet::new();
            let mut highest = 0;
            for counter in steps {
                let taken = window.take(counter);
                let too_old = counter + WINDOW < highest + 1 && !seen.is_empty();
                prop_assert_eq!(taken, !too_old && !seen.contains(&counter), "counter {}", counter);
                if taken {
                    seen.insert(counter);
                    highest = highest.max(counter);
                }
            }
        }
    }
}
