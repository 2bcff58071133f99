//! What freeing files and damage on disk do to a queue.

#[cfg(test)]
use std::hash::RandomState;

use super::Queue;
use crate::log::record::{REMEMBERED_COST, Remembered};
use crate::log::segments::{Place, Segments};

impl Queue {
    /// Whether the packet is kept, and in just this place.
    pub(in crate::log) fn keeps(&self, cursor: u64, place: Place) -> bool {
        let entry = self
            .index_of(cursor)
            .and_then(|index| self.entries.get(index));
        entry.is_some_and(|entry| entry.is_kept() && entry.place() == place)
    }

    /// The memory of a packet that is gone, if this file is where it is written.
    pub(in crate::log) fn remembers(&self, cursor: u64, segment: u32) -> Option<Remembered> {
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
    pub(in crate::log) fn relocate(
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
    pub(in crate::log) fn lose(
        &mut self,
        cursor: u64,
        place: Place,
        segments: &mut Segments,
    ) -> bool {
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
    pub(in crate::log) fn lose_segment(&mut self, segment: u32, segments: &mut Segments) -> u64 {
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

#[cfg(test)]
impl Queue {
    /// Counts everything anew, compares, and reports the use of files.
    pub(in crate::log) fn check_books(
        &self,
        hasher: &RandomState,
        live: &mut impl FnMut(u32, u64),
    ) {
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
