//! Which requests have counted already, for as long as they could count again.

use std::collections::{BTreeSet, HashSet};

/// Nonces remembered at once by default: some 60 MiB when full, and 3,000 requests a second for 90 s until then.
pub const DEFAULT_MAX_NONCES: usize = 262_144;

/// What stands for a wallet and its nonce: their hash.
pub(crate) type NonceKey = [u8; 32];

/// The memory.
///
/// Nothing is forgotten before its time, whatever comes: when it is full, what is new is refused.
#[derive(Debug)]
pub(crate) struct Nonces {
    limit: usize,
    known: HashSet<NonceKey>,
    by_end: BTreeSet<(u64, NonceKey)>,
    /// What ends before this may have been forgotten. The clock may be set back; this is not.
    forgotten_s: u64,
}

/// Why a nonce does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    /// It has counted before.
    Known,
    /// It could have been forgotten already.
    Late,
    /// There is no room.
    Full,
}

impl Nonces {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            limit,
            known: HashSet::new(),
            by_end: BTreeSet::new(),
            forgotten_s: 0,
        }
    }

    /// Counts a nonce, once, that has to be remembered to the end of the second `until_s`.
    pub(crate) fn take(&mut self, key: NonceKey, until_s: u64, now_s: u64) -> Result<(), Refused> {
        self.forgotten_s = self.forgotten_s.max(now_s);
        while let Some((until_s, key)) = self.by_end.first().copied()
            && until_s < self.forgotten_s
        {
            self.by_end.pop_first();
            self.known.remove(&key);
        }
        if until_s < self.forgotten_s {
            return Err(Refused::Late);
        }
        if self.known.contains(&key) {
            return Err(Refused::Known);
        }
        if self.known.len() >= self.limit {
            return Err(Refused::Full);
        }
        self.known.insert(key);
        self.by_end.insert((until_s, key));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn nonce_counts_once_until_it_could_not_count_again() {
        let mut nonces = Nonces::new(8);
        assert_eq!(nonces.take([1; 32], 100, 50), Ok(()));
        assert_eq!(nonces.take([1; 32], 100, 50), Err(Refused::Known));
        assert_eq!(nonces.take([1; 32], 100, 100), Err(Refused::Known));
        assert_eq!(nonces.take([1; 32], 100, 101), Err(Refused::Late));
        assert!(nonces.known.is_empty() && nonces.by_end.is_empty());
    }

    #[test]
    fn full_memory_refuses_the_new_and_forgets_no_old() {
        let mut nonces = Nonces::new(2);
        assert_eq!(nonces.take([1; 32], 60, 0), Ok(()));
        assert_eq!(nonces.take([2; 32], 70, 0), Ok(()));
        assert_eq!(nonces.take([3; 32], 80, 60), Err(Refused::Full));
        assert_eq!(nonces.take([1; 32], 60, 60), Err(Refused::Known));
        assert_eq!(nonces.take([3; 32], 80, 61), Ok(()), "the first has ended");
        assert_eq!(nonces.take([2; 32], 70, 61), Err(Refused::Known));
    }

    #[test]
    fn clock_that_is_set_back_opens_no_door() {
        let mut nonces = Nonces::new(8);
        assert_eq!(nonces.take([1; 32], 100, 50), Ok(()));
        assert_eq!(nonces.take([2; 32], 900, 500), Ok(()));
        assert_eq!(nonces.take([1; 32], 100, 50), Err(Refused::Late));
    }

    proptest! {
        #[test]
        fn no_nonce_counts_twice(takes in proptest::collection::vec((0_u8..6, 0_u64..40, 0_u64..40), 1..80)) {
            let mut nonces = Nonces::new(4);
            let mut counted = HashSet::new();
            for (nonce, until_s, now_s) in takes {
                // One nonce has one end, since a signature covers both.
                let (key, until_s) = ([nonce; 32], until_s / 8 * 8 + u64::from(nonce));
                if nonces.take(key, until_s, now_s).is_ok() {
                    prop_assert!(counted.insert((key, until_s)));
                }
                prop_assert!(nonces.known.len() <= 4);
                prop_assert_eq!(nonces.known.len(), nonces.by_end.len());
            }
        }
    }
}
