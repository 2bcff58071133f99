//! A bounded memory of recent outcomes, so that whoever asks again gets the same answer.

use std::collections::HashMap;
use std::hash::Hash;

/// Remembers values for at least `span_ms` and at most twice that, and never more than twice
/// `capacity` of them: two generations that are swapped when the younger is old or full.
#[derive(Debug)]
pub struct Recent<K, V> {
    young: HashMap<K, V>,
    old: HashMap<K, V>,
    young_since_ms: u64,
    span_ms: u64,
    capacity: usize,
}

impl<K: Eq + Hash, V> Recent<K, V> {
    /// An empty memory.
    #[must_use]
    pub fn new(span_ms: u64, capacity: usize) -> Self {
        Self {
            young: HashMap::new(),
            old: HashMap::new(),
            young_since_ms: 0,
            span_ms,
            capacity: capacity.max(1),
        }
    }

    /// What is remembered for `key`.
    pub fn recall(&mut self, key: &K, now_ms: u64) -> Option<&V> {
        self.age(now_ms);
        self.young.get(key).or_else(|| self.old.get(key))
    }

    /// Remembers `value` for `key`.
    pub fn remember(&mut self, key: K, value: V, now_ms: u64) {
        self.age(now_ms);
        if self.young.len() >= self.capacity {
            self.turn(now_ms);
        }
        self.young.insert(key, value);
    }

    /// Forgets `key`.
    pub fn forget(&mut self, key: &K) {
        self.young.remove(key);
        self.old.remove(key);
    }

    fn age(&mut self, now_ms: u64) {
        let age = now_ms.saturating_sub(self.young_since_ms);
        if age >= 2 * self.span_ms {
            self.old.clear();
            self.young.clear();
            self.young_since_ms = now_ms;
        } else if age >= self.span_ms {
            self.turn(now_ms);
        }
    }

    fn turn(&mut self, now_ms: u64) {
        self.old = std::mem::take(&mut self.young);
        self.young_since_ms = now_ms;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn value_is_recalled_within_its_span_and_forgotten_after_two() {
        let mut recent = Recent::new(100, 10);
        recent.remember("a", 1, 1_000);
        assert_eq!(recent.recall(&"a", 1_099), Some(&1));
        assert_eq!(recent.recall(&"a", 1_150), Some(&1));
        assert_eq!(recent.recall(&"a", 1_400), None);
    }

    /// A memory that turned with every value would know the last two only.
    #[test]
    fn each_of_many_values_is_recalled_until_it_is_forgotten() {
        let mut recent = Recent::new(100, 50);
        for i in 0..50 {
            recent.remember(i, i, 1_000);
        }
        for i in 0..50 {
            assert_eq!(recent.recall(&i, 1_099), Some(&i));
        }
        recent.forget(&7);
        assert_eq!(recent.recall(&7, 1_099), None);
        assert_eq!(recent.recall(&8, 1_199), Some(&8));
        recent.forget(&8);
        assert_eq!(recent.recall(&8, 1_199), None);
    }

    #[test]
    fn flood_of_values_stays_within_twice_the_capacity() {
        let mut recent = Recent::new(1_000_000, 50);
        for i in 0..10_000 {
            recent.remember(i, i, 5);
        }
        assert!(recent.young.len() + recent.old.len() <= 100);
        assert_eq!(recent.recall(&9_999, 5), Some(&9_999));
    }
}
