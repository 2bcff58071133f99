//! One queue in memory: where its packets lie and what it remembers of those that are gone.
//!
//! `entries` is ordered by cursor and has two parts: the first `gone` entries are packets that were
//! deleted and are still remembered by their hash, the rest are packets kept. A packet takes an
//! entry of 40 bytes and a table slot of 5; both containers grow by a quarter, so that a packet
//! costs about 60 bytes.

use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};

use hashbrown::HashTable;

use super::record::{
    Device, QueueRecord, REMEMBERED_COST, Remembered, ShortHash, packet_frame_len, state_frame_len,
};
use super::segments::{Place, Segments};
use crate::queue::QueueId;

/// Entry counts below this are not worth giving memory back for.
const SHRINK_ABOVE: usize = 64;

/// One packet, kept or remembered.
#[derive(Clone, Copy, Debug)]
struct Entry {
    hash: ShortHash,
    /// Milliseconds in two halves, which keeps the entry at 40 bytes.
    stored_at: [u32; 2],
    /// The low half of the cursor.
    cursor: u32,
    /// The file that holds the packet or, once it is gone, the memory of it.
    segment: u32,
    /// Offset of the frame by 8, or 0 when the packet is gone.
    unit: u32,
    packet_len: u32,
}

impl Entry {
    fn stored_at_ms(&self) -> u64 {
        let [low, high] = self.stored_at;
        u64::from(low) | u64::from(high) << 32
    }

    fn is_kept(&self) -> bool {
        self.unit != 0
    }

    fn place(&self) -> Place {
        Place {
            segment: self.segment,
            unit: self.unit,
        }
    }

    fn frame_len(&self) -> u64 {
        packet_frame_len(self.packet_len as usize) as u64
    }
}

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

    /// Whether the packet is kept, and in just this place.
    pub(super) fn keeps(&self, cursor: u64, place: Place) -> bool {
        let entry = self
            .index_of(cursor)
            .and_then(|index| self.entries.get(index));
        entry.is_some_and(|entry| entry.is_kept() && entry.place() == place)
    }

    /// The memory of a packet that is gone, if this file is where it is written.
    pub(super) fn remembers(&self, cursor: u64, segment: u32) -> Option<Remembered> {
        let index = self.index_of(cursor).filter(|index| *index < self.gone)?;
        let entry = self
            .entries
            .get(index)
            .filter(|entry| entry.segment == segment)?;
        Some(Remembered {
            cursor,
            stored_at_ms: entry.stored_at_ms(),
            hash: entry.hash,
        })
    }

    /// Notes that a packet or its memory was written anew in another place, unless it changed meanwhile.
    pub(super) fn relocate(
        &mut self,
        cursor: u64,
        from: Place,
        to: Place,
        segments: &mut Segments,
    ) {
        let Some(index) = self.index_of(cursor) else {
            return;
        };
        let gone = index < self.gone;
        let Some(entry) = self.entries.get_mut(index) else {
            return;
        };
        if entry.place() != from || gone != (from.unit == 0) {
            return;
        }
        let cost = if gone {
            REMEMBERED_COST
        } else {
            entry.frame_len()
        };
        (entry.segment, entry.unit) = (to.segment, to.unit);
        segments.debit(from.segment, cost);
        segments.credit(to.segment, cost);
    }

    /// Gives up a packet that can't be read any more; tells whether it was kept in just this place.
    pub(super) fn lose(&mut self, cursor: u64, place: Place, segments: &mut Segments) -> bool {
        let Some(index) = self.index_of(cursor) else {
            return false;
        };
        let Some(entry) = self.entries.get_mut(index) else {
            return false;
        };
        if !entry.is_kept() || entry.place() != place {
            return false;
        }
        let lost = *entry;
        entry.unit = 0;
        self.uncount(&lost, segments);
        true
    }

    /// Gives up all that still points into a file; returns how many packets went.
    pub(super) fn lose_segment(&mut self, segment: u32, segments: &mut Segments) -> u64 {
        let mut lost = 0;
        for index in 0..self.entries.len() {
            let Some(entry) = self
                .entries
                .get_mut(index)
                .filter(|entry| entry.segment == segment)
            else {
                continue;
            };
            let before = *entry;
            entry.unit = 0;
            if before.is_kept() {
                self.uncount(&before, segments);
                lost += 1;
            } else if index < self.gone {
                // What is remembered moves to no file: it is forgotten at the next restart.
                if let Some(entry) = self.entries.get_mut(index) {
                    entry.segment = 0;
                }
                segments.debit(segment, REMEMBERED_COST);
            }
        }
        lost
    }
}

/// Index of the first entry at least `distance` cursors behind the first.
fn index_at_distance(entries: &VecDeque<Entry>, first: u32, distance: u32) -> usize {
    // Cursors are nearly always without gaps, and then the distance is the index.
    if let Some(entry) = entries.get(distance as usize)
        && entry.cursor.wrapping_sub(first) == distance
    {
        return distance as usize;
    }
    entries.partition_point(|entry| entry.cursor.wrapping_sub(first) < distance)
}

fn entry_hash(entries: &VecDeque<Entry>, first: u32, low: u32) -> Option<&ShortHash> {
    let entry = entries.get(index_at_distance(entries, first, low.wrapping_sub(first)))?;
    (entry.cursor == low).then_some(&entry.hash)
}

#[cfg(test)]
impl Queue {
    /// Counts everything anew, compares, and reports the use of files.
    pub(super) fn check_books(&self, hasher: &RandomState, live: &mut impl FnMut(u32, u64)) {
        let (mut count, mut bytes) = (0, 0);
        let mut before = None;
        for (index, entry) in self.entries.iter().enumerate() {
            let cursor = self.cursor_of(entry);
            assert!(
                before.is_none_or(|before| before < cursor),
                "cursors must rise"
            );
            assert!(cursor >= self.origin && cursor < self.next);
            assert_eq!(self.index_of(cursor), Some(index));
            assert_eq!(
                index < self.gone,
                cursor < self.live_from,
                "entry {index} of cursor {cursor}"
            );
            before = Some(cursor);
            if let Some((found, _)) = self.find(&entry.hash, hasher) {
                assert!(found >= cursor, "the hash of {cursor} leads to {found}");
            }
            if index < self.gone {
                assert!(!entry.is_kept());
                live(entry.segment, REMEMBERED_COST);
            } else if entry.is_kept() {
                live(entry.segment, entry.frame_len());
                count += 1;
                bytes += u64::from(entry.packet_len);
            }
        }
        assert_eq!((self.count, self.bytes), (count, bytes));
        assert!(self.table.len() <= self.entries.len());
        if let Some(recorded) = self.recorded {
            live(recorded.segment, u64::from(recorded.frame_len));
        }
    }
}
