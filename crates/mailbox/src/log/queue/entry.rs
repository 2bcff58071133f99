//! One packet in the memory of its queue.

use std::collections::VecDeque;

use crate::log::record::{ShortHash, packet_frame_len};
use crate::log::segments::Place;

/// One packet, kept or remembered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) hash: ShortHash,
    /// Milliseconds in two halves, which keeps the entry at 40 bytes.
    pub(super) stored_at: [u32; 2],
    /// The low half of the cursor.
    pub(super) cursor: u32,
    /// The file that holds the packet or, once it is gone, the memory of it.
    pub(super) segment: u32,
    /// Offset of the frame by 8, or 0 when the packet is gone.
    pub(super) unit: u32,
    pub(super) packet_len: u32,
}

impl Entry {
    pub(super) fn stored_at_ms(&self) -> u64 {
        let [low, high] = self.stored_at;
        u64::from(low) | u64::from(high) << 32
    }

    pub(super) fn is_kept(&self) -> bool {
        self.unit != 0
    }

    pub(super) fn place(&self) -> Place {
        Place {
            segment: self.segment,
            unit: self.unit,
        }
    }

    pub(super) fn frame_len(&self) -> u64 {
        packet_frame_len(self.packet_len as usize) as u64
    }
}

/// Index of the first entry at least `distance` cursors behind the first.
pub(super) fn index_at_distance(entries: &VecDeque<Entry>, first: u32, distance: u32) -> usize {
    // Cursors are nearly always without gaps, and then the distance is the index.
    if let Some(entry) = entries.get(distance as usize)
        && entry.cursor.wrapping_sub(first) == distance
    {
        return distance as usize;
    }
    entries.partition_point(|entry| entry.cursor.wrapping_sub(first) < distance)
}

pub(super) fn entry_hash(entries: &VecDeque<Entry>, first: u32, low: u32) -> Option<&ShortHash> {
    let entry = entries.get(index_at_distance(entries, first, low.wrapping_sub(first)))?;
    (entry.cursor == low).then_some(&entry.hash)
}
