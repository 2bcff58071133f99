//! Where changes wait for the next commit: bounded, many in, one out, taken all at once.

use std::time::Duration;

use parking_lot::{Condvar, Mutex};

/// Most changes that wait.
const WAITING_MAX: usize = 65_536;

/// Why a change was not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    Busy,
    Closed,
}

/// How long to wait for the first change.
#[derive(Clone, Copy, Debug)]
pub(super) enum Patience {
    None,
    For(Duration),
    Forever,
}

struct Waiting<T> {
    items: Vec<T>,
    bytes: usize,
    closed: bool,
}

/// The queue before a writer.
pub(super) struct Inbox<T> {
    waiting: Mutex<Waiting<T>>,
    arrived: Condvar,
    most_bytes: usize,
}

impl<T> Inbox<T> {
    pub(super) fn new(most_bytes: usize) -> Self {
        let waiting = Waiting {
            items: Vec::new(),
            bytes: 0,
            closed: false,
        };
        Self {
            waiting: Mutex::new(waiting),
            arrived: Condvar::new(),
            most_bytes,
        }
    }

    /// Hands a change in. One alone is let in however long it is.
    pub(super) fn push(&self, item: T, bytes: usize) -> Result<(), Refused> {
        let mut waiting = self.waiting.lock();
        if waiting.closed {
            return Err(Refused::Closed);
        }
        let crowded = waiting.items.len() >= WAITING_MAX
            || waiting.bytes.saturating_add(bytes) > self.most_bytes;
        if crowded && !waiting.items.is_empty() {
            return Err(Refused::Busy);
        }
        waiting.items.push(item);
        waiting.bytes += bytes;
        drop(waiting);
        self.arrived.notify_one();
        Ok(())
    }

    /// Moves everything that waits into `into`; `false` when closed and nothing is left.
    pub(super) fn take(&self, into: &mut Vec<T>, patience: Patience) -> bool {
        debug_assert!(into.is_empty());
        let mut waiting = self.waiting.lock();
        loop {
            if !waiting.items.is_empty() {
                std::mem::swap(&mut waiting.items, into);
                waiting.bytes = 0;
                return true;
            }
            if waiting.closed {
                return false;
            }
            match patience {
                Patience::None => return true,
                Patience::For(time) => {
                    if self.arrived.wait_for(&mut waiting, time).timed_out() {
                        return true;
                    }
                }
                Patience::Forever => self.arrived.wait(&mut waiting),
            }
        }
    }

    /// Lets nothing more in; what waits is still taken.
    pub(super) fn close(&self) {
        self.waiting.lock().closed = true;
        self.arrived.notify_all();
    }

    /// Whether nothing is let in any more.
    pub(super) fn is_closed(&self) -> bool {
        self.waiting.lock().closed
    }

    /// Drops what waits, which tells those who wait for an answer.
    pub(super) fn discard(&self) {
        self.close();
        let items = std::mem::take(&mut self.waiting.lock().items);
        drop(items);
    }
}
