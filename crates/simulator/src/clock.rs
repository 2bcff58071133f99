//! The virtual clock: events in order of time, ties in order of insertion.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// An event queue with a clock that jumps from one event to the next.
#[derive(Debug)]
pub(crate) struct Clock<E> {
    now_ms: u64,
    next: u64,
    heap: BinaryHeap<Reverse<(u64, u64)>>,
    events: std::collections::HashMap<u64, E>,
}

impl<E> Clock<E> {
    pub(crate) fn starting_at(now_ms: u64) -> Self {
        Self {
            now_ms,
            next: 0,
            heap: BinaryHeap::new(),
            events: std::collections::HashMap::new(),
        }
    }

    pub(crate) fn now_ms(&self) -> u64 {
        self.now_ms
    }

    pub(crate) fn after(&mut self, wait_ms: u64, event: E) {
        let id = self.next;
        self.next += 1;
        self.heap.push(Reverse((self.now_ms + wait_ms, id)));
        self.events.insert(id, event);
    }

    /// Jumps to the next event.
    pub(crate) fn step(&mut self) -> Option<E> {
        let Reverse((at, id)) = self.heap.pop()?;
        self.now_ms = at;
        self.events.remove(&id)
    }
}
