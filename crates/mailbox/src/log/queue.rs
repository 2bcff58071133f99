//! One queue in memory: where its packets lie and what it remembers of those that are gone.
//!
//! `entries` is ordered by cursor and has two parts: the first `gone` entries are packets that were
//! deleted and are still remembered by their hash, the rest are packets kept. A packet takes an
//! entry of 40 bytes and a table slot of 5; both containers grow by a quarter, so that a packet
//! costs about 60 bytes.

mod entry;
mod upkeep;

use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};

use hashbrown::HashTable;

use super::record::{
    Device, QueueRecord, REMEMBERED_COST, ShortHash, packet_frame_len, state_frame_len,
};
use super::segments::{Place, Segments};
use crate::queue::QueueId;
use entry::{Entry, entry_hash, index_at_distance};

/// Entry counts below this are not worth giving memory back for.
const SHRINK_ABOVE: usize = 64;

/// What a packet's record says, and where it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct NewEntry {
    pub(super) cursor: u64,
    pub(super) hash: ShortHash,
    pub(super) stored_at_ms: u64,
    pub(super) packet_len: u32,
    pub(super) place: Place,
}

/// Where to read a packet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Located {
    pub(super) cursor: u64,
    pub(super) stored_at_ms: u64,
    pub(super) packet_len: u32,
    pub(super) place: Place,
}

/// Where a queue's last state record is, and up to which cursor it speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Recorded {
    pub(super) segment: u32,
    pub(super) frame_len: u32,
    pub(super) next: u64,
}

/// One queue.
#[derive(Debug, Default)]
pub(super) struct Queue {
    entries: VecDeque<Entry>,
    /// The full cursor of the first entry.
    first: u64,
    /// Finds an entry by its packet's hash: holds the low halves of cursors.
    table: HashTable<u32>,
    gone: usize,
    origin: u64,
    next: u64,
    live_from: u64,
    /// Last cursor that is on disk; later entries belong to the commit under way.
    visible: u64,
    count: u64,
    bytes: u64,
    pub(super) devices: Vec<Device>,
    pub(super) recorded: Option<Recorded>,
    /// Whether its state record is on the list of those to write.
    pub(super) dirty: bool,
}

impl Queue {
    /// An empty queue whose first cursor is `origin`.
    pub(super) fn new(origin: u64) -> Self {
        Self {
            origin,
            next: origin,
            live_from: origin,
            visible: origin.saturating_sub(1),
            ..Self::default()
        }
    }

    /// A queue as its last state record describes it, still without packets.
    pub(super) fn from_record(record: &QueueRecord) -> Self {
        Self {
            origin: record.origin,
            next: record.next,
            live_from: record.live_from,
            visible: record.next.saturating_sub(1),
            devices: record.devices.clone(),
            ..Self::default()
        }
    }

    /// The state record that describes it now.
    pub(super) fn record(&self, queue: QueueId) -> QueueRecord {
        QueueRecord {
            queue,
            origin: self.origin,
            next: self.next,
            live_from: self.live_from,
            devices: self.devices.clone(),
        }
    }

    /// Length of that record on disk.
    pub(super) fn record_frame_len(&self) -> u32 {
        state_frame_len(self.devices.len()) as u32
    }

    pub(super) fn origin(&self) -> u64 {
        self.origin
    }

    pub(super) fn next_cursor(&self) -> u64 {
        self.next
    }

    pub(super) fn live_from(&self) -> u64 {
        self.live_from
    }

    pub(super) fn last_visible(&self) -> u64 {
        self.visible
    }

    pub(super) fn count(&self) -> u64 {
        self.count
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn entries_len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn remembered(&self) -> usize {
        self.gone
    }

    pub(super) fn oldest_ms(&self) -> Option<u64> {
        self.entries
            .iter()
            .skip(self.gone)
            .find(|entry| entry.is_kept())
            .map(Entry::stored_at_ms)
    }

    /// Raises the next cursor, so that cursors which may have been lost are not given out again.
    pub(super) fn skip_cursors(&mut self, count: u64) {
        self.next = self.next.saturating_add(count);
    }

    /// Raises the next cursor to at least this.
    pub(super) fn raise_next(&mut self, next: u64) {
        self.next = self.next.max(next);
    }

    fn cursor_of(&self, entry: &Entry) -> u64 {
        // The entries span far fewer than 2³² cursors: `push` sees to it.
        self.first + u64::from(entry.cursor.wrapping_sub(self.first as u32))
    }

    /// Index of the first entry whose cursor is `cursor` or above.
    fn index_from(&self, cursor: u64) -> usize {
        let Some(distance) = cursor.checked_sub(self.first) else {
            return 0;
        };
        let Ok(distance) = u32::try_from(distance) else {
            return self.entries.len();
        };
        index_at_distance(&self.entries, self.first as u32, distance)
    }

    fn index_of(&self, cursor: u64) -> Option<usize> {
        let index = self.index_from(cursor);
        let entry = self.entries.get(index)?;
        (self.cursor_of(entry) == cursor).then_some(index)
    }

    /// The packet with this hash, kept or remembered: its cursor and when it was stored.
    pub(super) fn find(&self, hash: &ShortHash, hasher: &RandomState) -> Option<(u64, u64)> {
        let (entries, first) = (&self.entries, self.first as u32);
        let low = self.table.find(hasher.hash_one(hash), |low| {
            entry_hash(entries, first, *low) == Some(hash)
        })?;
        let entry = entries.get(index_at_distance(entries, first, low.wrapping_sub(first)))?;
        Some((self.cursor_of(entry), entry.stored_at_ms()))
    }

    /// Takes the next cursor.
    pub(super) fn take_cursor(&mut self) -> u64 {
        let cursor = self.next;
        self.next = cursor + 1;
        cursor
    }

    /// Adds a packet behind all others; it is readable once [`Queue::publish`] was called.
    pub(super) fn push(&mut self, new: &NewEntry, hasher: &RandomState, segments: &mut Segments) {
        self.push_entry(new, hasher, segments);
        self.count += 1;
        self.bytes += u64::from(new.packet_len);
        segments.credit(
            new.place.segment,
            packet_frame_len(new.packet_len as usize) as u64,
        );
    }

    /// Adds a packet that is gone, behind all others that are gone; used while the store is opened.
    pub(super) fn push_remembered(
        &mut self,
        new: &NewEntry,
        hasher: &RandomState,
        segments: &mut Segments,
    ) {
        debug_assert_eq!(self.gone, self.entries.len());
        let gone = NewEntry {
            place: Place {
                unit: 0,
                ..new.place
            },
            ..*new
        };
        self.push_entry(&gone, hasher, segments);
        self.gone += 1;
        segments.remembered += 1;
        segments.credit(new.place.segment, REMEMBERED_COST);
    }

    fn push_entry(&mut self, new: &NewEntry, hasher: &RandomState, segments: &mut Segments) {
        // Never true in practice: only damage makes a queue skip cursors, and never so many.
        while !self.entries.is_empty() && new.cursor - self.first > u64::from(u32::MAX) {
            self.pop_front(hasher, segments);
        }
        if self.entries.is_empty() {
            self.first = new.cursor;
        }
        if self.entries.len() == self.entries.capacity() {
            self.entries.reserve_exact((self.entries.len() / 4).max(4));
        }
        let low = new.cursor as u32;
        self.entries.push_back(Entry {
            hash: new.hash,
            stored_at: [new.stored_at_ms as u32, (new.stored_at_ms >> 32) as u32],
            cursor: low,
            segment: new.place.segment,
            unit: new.place.unit,
            packet_len: new.packet_len,
        });
        let (entries, first) = (&self.entries, self.first as u32);
        let rehash =
            |low: &u32| entry_hash(entries, first, *low).map_or(0, |hash| hasher.hash_one(hash));
        self.table
            .insert_unique(hasher.hash_one(new.hash), low, rehash);
    }

    /// Makes what was pushed readable; returns the last cursor.
    pub(super) fn publish(&mut self) -> u64 {
        if let Some(last) = self.entries.back() {
            self.visible = self.visible.max(self.cursor_of(last));
        }
        self.visible
    }

    /// Takes back what was pushed and never reached the disk.
    pub(super) fn roll_back(&mut self, hasher: &RandomState, segments: &mut Segments) {
        while self
            .entries
            .back()
            .is_some_and(|last| self.cursor_of(last) > self.visible)
        {
            let index = self.entries.len() - 1;
            self.unlink(index, hasher);
            if let Some(entry) = self.entries.pop_back().filter(Entry::is_kept) {
                self.uncount(&entry, segments);
            }
        }
        self.gone = self.gone.min(self.entries.len());
    }

    fn uncount(&mut self, entry: &Entry, segments: &mut Segments) {
        self.count -= 1;
        self.bytes -= u64::from(entry.packet_len);
        segments.debit(entry.segment, entry.frame_len());
    }

    /// Takes an entry's hash out of the table.
    fn unlink(&mut self, index: usize, hasher: &RandomState) {
        if let Some(entry) = self.entries.get(index)
            && let Ok(slot) = self
                .table
                .find_entry(hasher.hash_one(entry.hash), |low| *low == entry.cursor)
        {
            slot.remove();
        }
    }

    /// Forgets the hash of a packet, so that the same packet can be stored anew.
    pub(super) fn forget_hash_of(&mut self, cursor: u64, hasher: &RandomState) {
        if let Some(index) = self.index_of(cursor) {
            self.unlink(index, hasher);
        }
    }

    /// Deletes packets below a cursor, keeping their hashes; returns how many went.
    pub(super) fn delete_below(&mut self, cursor: u64, segments: &mut Segments) -> u64 {
        let mut deleted = 0;
        while let Some(entry) = self.entries.get(self.gone).copied() {
            if self.cursor_of(&entry) >= cursor {
                break;
            }
            if entry.is_kept() {
                self.uncount(&entry, segments);
                deleted += 1;
            }
            segments.credit(entry.segment, REMEMBERED_COST);
            segments.remembered += 1;
            if let Some(entry) = self.entries.get_mut(self.gone) {
                entry.unit = 0;
            }
            self.gone += 1;
        }
        self.live_from = self.live_from.max(cursor);
        deleted
    }

    /// Deletes packets stored at or before `limit_ms`, from the oldest to the first younger one.
    pub(super) fn expire(
        &mut self,
        limit_ms: Option<u64>,
        most: usize,
        segments: &mut Segments,
    ) -> u64 {
        let Some(limit_ms) = limit_ms else { return 0 };
        let old = self.entries.iter().skip(self.gone).take(most);
        let old = old.take_while(|entry| {
            entry.stored_at_ms() <= limit_ms && self.cursor_of(entry) <= self.visible
        });
        match old.last().map(|entry| self.cursor_of(entry)) {
            Some(last) => self.delete_below(last + 1, segments),
            None => 0,
        }
    }

    /// Forgets hashes stored at or before `limit_ms`, and the oldest beyond `keep`; at most `most` of them.
    pub(super) fn forget(
        &mut self,
        limit_ms: Option<u64>,
        keep: usize,
        most: usize,
        hasher: &RandomState,
        segments: &mut Segments,
    ) -> usize {
        let mut forgotten = 0;
        while forgotten < most && self.gone > 0 {
            let expired = self.entries.front().is_some_and(|entry| {
                limit_ms.is_some_and(|limit_ms| entry.stored_at_ms() <= limit_ms)
            });
            if !expired && self.gone <= keep {
                break;
            }
            self.pop_front(hasher, segments);
            forgotten += 1;
        }
        if forgotten > 0 {
            self.give_memory_back(hasher);
        }
        forgotten
    }

    fn pop_front(&mut self, hasher: &RandomState, segments: &mut Segments) {
        self.unlink(0, hasher);
        let second = self.entries.get(1).map(|entry| self.cursor_of(entry));
        let Some(entry) = self.entries.pop_front() else {
            return;
        };
        self.first = second.unwrap_or(self.first);
        if self.gone > 0 {
            self.gone -= 1;
            segments.remembered -= 1;
            segments.debit(entry.segment, REMEMBERED_COST);
        } else if entry.is_kept() {
            self.uncount(&entry, segments);
        }
    }

    fn give_memory_back(&mut self, hasher: &RandomState) {
        let len = self.entries.len();
        if self.entries.capacity() > SHRINK_ABOVE && len < self.entries.capacity() / 4 {
            self.entries.shrink_to(len + len / 4);
            let (entries, first) = (&self.entries, self.first as u32);
            let rehash = |low: &u32| {
                entry_hash(entries, first, *low).map_or(0, |hash| hasher.hash_one(hash))
            };
            self.table.shrink_to(len + len / 4, rehash);
        }
    }

    /// Takes the whole queue off the books.
    pub(super) fn dissolve(self, segments: &mut Segments) {
        for (index, entry) in self.entries.iter().enumerate() {
            if index < self.gone {
                segments.remembered -= 1;
                segments.debit(entry.segment, REMEMBERED_COST);
            } else if entry.is_kept() {
                segments.debit(entry.segment, entry.frame_len());
            }
        }
        if let Some(recorded) = self.recorded {
            segments.debit(recorded.segment, u64::from(recorded.frame_len));
        }
    }

    /// Places of readable packets after a cursor, within both limits, and one at least if there is any.
    pub(super) fn locate(&self, after: u64, max_items: usize, max_bytes: usize) -> Vec<Located> {
        let from = self.index_from(after.saturating_add(1)).max(self.gone);
        let mut located = Vec::new();
        let mut bytes = 0usize;
        for entry in self.entries.range(from..) {
            let cursor = self.cursor_of(entry);
            if located.len() >= max_items || cursor > self.visible {
                break;
            }
            if !entry.is_kept() {
                continue;
            }
            bytes = bytes.saturating_add(entry.packet_len as usize);
            if bytes > max_bytes && !located.is_empty() {
                break;
            }
            located.push(Located {
                cursor,
                stored_at_ms: entry.stored_at_ms(),
                packet_len: entry.packet_len,
                place: entry.place(),
            });
        }
        located
    }
}
