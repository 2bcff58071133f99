//! What an end has received: in order, held until it is read.

use bytes::Bytes;

use super::chunks::Chunks;
use super::{ACK_DELAY_MS, INITIAL_GRANT_BYTES, WINDOW_BYTES};

/// The far end is told of room, or of what came, at the latest after a quarter of the window.
const TELL_AFTER_BYTES: u64 = WINDOW_BYTES / 4;

#[derive(Debug)]
pub(super) struct Receiving {
    unread: Chunks,
    /// Bytes received in order, without the end.
    bytes: u64,
    /// Bytes that were read.
    read: u64,
    has_end: bool,
    /// What the far end was told: received, granted.
    told: (u64, u64),
    /// Since when something waits to be acknowledged.
    owed_since_ms: Option<u64>,
}

impl Default for Receiving {
    fn default() -> Self {
        Self {
            unread: Chunks::default(),
            bytes: 0,
            read: 0,
            has_end: false,
            told: (0, INITIAL_GRANT_BYTES),
            owed_since_ms: None,
        }
    }
}

impl Receiving {
    /// Takes data at `offset`; false if the far end must not have sent them.
    pub(super) fn take(&mut self, offset: u64, mut data: Bytes, last: bool, now_ms: u64) -> bool {
        let Some(end) = offset.checked_add(data.len() as u64) else {
            return false;
        };
        // Circuits keep the order, so nothing can be missing; nor is more sent than was granted, nor after the end.
        if offset > self.bytes || end > self.granted() || (self.has_end && end > self.bytes) {
            return false;
        }
        if last && end < self.bytes {
            return false;
        }
        self.owed_since_ms.get_or_insert(now_ms);
        self.has_end |= last;
        if end > self.bytes {
            // What is sent again over a new circuit may have come over the old one.
            let known = (self.bytes - offset) as usize;
            let new = data.split_off(known);
            self.bytes = end;
            self.unread.push(new);
        }
        true
    }

    pub(super) fn read(&mut self, most_bytes: usize) -> Option<Bytes> {
        let bytes = self.unread.pop(most_bytes)?;
        self.read += bytes.len() as u64;
        Some(bytes)
    }

    /// Bytes received in order, the end counting as one.
    pub(super) fn received(&self) -> u64 {
        self.bytes + u64::from(self.has_end)
    }

    pub(super) fn granted(&self) -> u64 {
        self.read + WINDOW_BYTES
    }

    pub(super) fn has_all(&self) -> bool {
        self.has_end
    }

    pub(super) fn is_read_out(&self) -> bool {
        self.has_end && self.read == self.bytes
    }

    /// The far end does not know how far this one has got.
    pub(super) fn owes(&self) -> bool {
        self.owed_since_ms.is_some()
    }

    /// The far end should be told now, if nothing else is sent.
    pub(super) fn is_due(&self, now_ms: u64) -> bool {
        self.is_due_at_once() || self.due_ms().is_some_and(|due| due <= now_ms)
    }

    fn is_due_at_once(&self) -> bool {
        let (received, granted) = self.told;
        // An end is told at once: whoever waits for it waits for nothing else.
        (self.has_end && received <= self.bytes)
            || self.bytes >= received + TELL_AFTER_BYTES
            || (!self.has_end && self.granted() >= granted + TELL_AFTER_BYTES)
    }

    pub(super) fn due_ms(&self) -> Option<u64> {
        Some(self.owed_since_ms? + ACK_DELAY_MS)
    }

    /// A frame with all of this was sealed.
    pub(super) fn told(&mut self) {
        self.told = (self.received(), self.granted());
        self.owed_since_ms = None;
    }

    /// What was told may have been lost with its circuit.
    pub(super) fn forget_told(&mut self, now_ms: u64) {
        self.owed_since_ms.get_or_insert(now_ms);
    }
}
