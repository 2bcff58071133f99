//! What an end has to send: kept until the far end has it.

use bytes::Bytes;

use super::chunks::Chunks;
use super::{INITIAL_GRANT_BYTES, WINDOW_BYTES};

/// Bytes from [`Self::base`] to [`Self::end`] are kept; those from `next` on are still to be sent over this circuit.
#[derive(Debug)]
pub(super) struct Sending {
    kept: Chunks,
    /// The first byte that the far end is not known to have.
    base: u64,
    /// The next byte to send.
    next: u64,
    /// Where what was written ends.
    end: u64,
    /// Up to where the far end takes bytes.
    granted: u64,
    /// The furthest that was ever sent, the end itself counting as a byte.
    reached: u64,
    finished: bool,
    /// The end was sent over this circuit.
    end_sent: bool,
    end_acknowledged: bool,
}

/// A piece to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) offset: u64,
    pub(super) bytes: usize,
    pub(super) last: bool,
}

impl Default for Sending {
    fn default() -> Self {
        Self {
            kept: Chunks::default(),
            base: 0,
            next: 0,
            end: 0,
            granted: INITIAL_GRANT_BYTES,
            reached: 0,
            finished: false,
            end_sent: false,
            end_acknowledged: false,
        }
    }
}

impl Sending {
    pub(super) fn room(&self) -> usize {
        if self.finished || self.kept.is_crowded() {
            return 0;
        }
        (WINDOW_BYTES - (self.end - self.base)) as usize
    }

    pub(super) fn write(&mut self, bytes: Bytes) -> bool {
        if bytes.len() > self.room() {
            return false;
        }
        self.end += bytes.len() as u64;
        self.kept.push(bytes);
        true
    }

    pub(super) fn finish(&mut self) {
        self.finished = true;
    }

    pub(super) fn is_finished(&self) -> bool {
        self.finished
    }

    /// The far end has all before `received`. False if that was never sent.
    pub(super) fn acknowledge(&mut self, received: u64) -> bool {
        if received > self.reached {
            return false;
        }
        // One beyond the last byte stands for the end.
        self.end_acknowledged |= self.finished && received == self.end + 1;
        let bytes = received.min(self.end);
        if bytes > self.base {
            self.kept.drop_front((bytes - self.base) as usize);
            self.base = bytes;
            self.next = self.next.max(bytes);
        }
        true
    }

    pub(super) fn grant(&mut self, granted: u64) {
        self.granted = self.granted.max(granted);
    }

    /// What is not acknowledged is sent again, over another circuit.
    pub(super) fn rewind(&mut self) {
        self.next = self.base;
        self.end_sent = false;
    }

    /// Takes the next piece of at most `most_bytes`, if there is any that may go. To an `unheard` far end no more than
    /// the first bytes go: it may not be there.
    pub(super) fn next(&mut self, most_bytes: usize, unheard: bool) -> Option<Piece> {
        let mut granted = self.granted;
        if unheard {
            granted = granted.min(self.base + INITIAL_GRANT_BYTES);
        }
        let may = granted.min(self.end).saturating_sub(self.next);
        let bytes = may.min(most_bytes as u64);
        let offset = self.next;
        let last = self.finished && !self.end_sent && offset + bytes == self.end;
        // An end that is acknowledged need not be said again.
        if bytes == 0 && (!last || self.end_acknowledged) {
            return None;
        }
        self.next += bytes;
        self.end_sent |= last;
        self.reached = self.reached.max(self.next + u64::from(last));
        Some(Piece {
            offset,
            bytes: bytes as usize,
            last,
        })
    }

    /// Appends the bytes of a piece.
    pub(super) fn copy(&self, piece: &Piece, out: &mut Vec<u8>) {
        let from = piece.offset.saturating_sub(self.base) as usize;
        self.kept.copy(from, piece.bytes, out);
    }

    /// Something was sent over this circuit that is not acknowledged.
    pub(super) fn is_under_way(&self) -> bool {
        self.next > self.base || (self.end_sent && !self.end_acknowledged)
    }

    /// All that was written has arrived, and the end too if there is one.
    pub(super) fn is_acknowledged(&self) -> bool {
        self.base == self.end && (!self.finished || self.end_acknowledged)
    }

    /// Nothing will ever have to be sent again.
    pub(super) fn is_over(&self) -> bool {
        self.finished && self.end_acknowledged
    }

    /// Forgets what nobody will take any more.
    pub(super) fn clear(&mut self) {
        self.kept = Chunks::default();
        self.finished = true;
        (self.base, self.next) = (self.end, self.end);
    }
}
