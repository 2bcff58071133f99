//! Finds out what the files say when a store is opened.
//!
//! Every commit was synced before the next one was written, so a crash can have torn the last
//! commit of the last file only. Damage anywhere else is no crash: it is reported, and reading
//! goes on behind it. Of a torn commit, whole frames are kept: nobody was told that they are
//! stored, and nobody was told that they are not.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::Arc;

use super::frame::{Frame, FrameSeal};
use super::header::FILE_HEADER_LEN;
use super::index::{Index, Removed};
use super::queue::{NewEntry, Queue, Recorded};
use super::record::{
    PACKET_FRAME_MIN, QueueRecord, REMOVED_FRAME_LEN, Record, RemovedRecord, kind, packet_meta,
    state_frame_len,
};
use super::segments::Place;
use super::settle::{Gap, Scan, scan_file, settle_last};
use super::shared::TARGET;
use crate::disk::DiskFile;
use crate::queue::QueueId;

/// Most damaged places that a report names.
pub const DAMAGE_REPORTED_MAX: usize = 64;

/// Bytes of a file that could not be read as records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Damage {
    /// Number of the file.
    pub file: u32,
    /// Where in the file.
    pub offset: u64,
    /// How many bytes.
    pub bytes: u64,
}

/// What opening a store found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Files of the packet log.
    pub files: usize,
    /// Queues.
    pub queues: usize,
    /// Packets kept.
    pub packets: u64,
    /// Deleted packets whose hashes are remembered.
    pub remembered: u64,
    /// Bytes of the last commit that a crash had torn. Nothing acknowledged was in them.
    pub torn_bytes: u64,
    /// Bytes that were damaged otherwise, and with them what they held.
    pub damaged_bytes: u64,
    /// The first [`DAMAGE_REPORTED_MAX`] damaged places.
    pub damage: Vec<Damage>,
}

impl Recovery {
    fn add_damage(&mut self, damage: Damage) {
        self.damaged_bytes += damage.bytes;
        if self.damage.len() < DAMAGE_REPORTED_MAX {
            self.damage.push(damage);
        }
    }
}

/// A packet or the memory of one, as found in a file.
struct FoundPacket {
    entry: NewEntry,
    /// Whether the packet itself is there.
    whole: bool,
}

/// What the files say of one queue.
#[derive(Default)]
struct FoundQueue {
    state: Option<(QueueRecord, Recorded)>,
    packets: Vec<FoundPacket>,
    /// The cursor behind the highest one met.
    next: u64,
}

/// What all files say, gathered file by file in the order of their numbers.
#[derive(Default)]
pub(super) struct Findings {
    queues: HashMap<QueueId, FoundQueue>,
    removed: HashMap<QueueId, (RemovedRecord, u32)>,
    floor: u64,
    /// Number of the last commit.
    pub(super) commit: u64,
    /// How many cursors may have been in damaged parts.
    lost_cursors: u64,
    pub(super) report: Recovery,
}

impl Findings {
    pub(super) fn raise_floor(&mut self, floor: u64) {
        self.floor = self.floor.max(floor);
    }

    /// Whether anything was damaged, so that cursors may be missing.
    pub(super) fn is_damaged(&self) -> bool {
        self.report.damaged_bytes > 0
    }

    /// Reads a file of the packet log.
    pub(super) fn scan(
        &mut self,
        file: &Arc<dyn DiskFile>,
        seal: FrameSeal,
        len: u64,
    ) -> io::Result<Scan> {
        let findings = RefCell::new(&mut *self);
        let scan = scan_file(
            file,
            seal,
            len,
            |frame, offset| {
                findings
                    .borrow_mut()
                    .note(frame, Place::new(seal.file, offset))
            },
            |kind, meta| kind == kind::PACKET && findings.borrow_mut().note_lost(meta),
        )?;
        self.commit = self.commit.max(scan.last_commit.unwrap_or(0));
        Ok(scan)
    }

    fn note_lost(&mut self, meta: &[u8]) -> bool {
        let Some(meta) = packet_meta(meta) else {
            return false;
        };
        let queue = self.queues.entry(meta.queue).or_default();
        queue.next = queue.next.max(meta.cursor.saturating_add(1));
        true
    }

    fn note(&mut self, frame: &Frame<'_>, place: Place) {
        match Record::parse(frame) {
            Some(Record::Packet { meta, packet_len }) => {
                let found = self.queues.entry(meta.queue).or_default();
                found.next = found.next.max(meta.cursor.saturating_add(1));
                let entry = NewEntry {
                    cursor: meta.cursor,
                    hash: meta.hash,
                    stored_at_ms: meta.stored_at_ms,
                    packet_len: packet_len as u32,
                    place,
                };
                found.packets.push(FoundPacket { entry, whole: true });
            }
            Some(Record::Memory { queue, packets }) => {
                let found = self.queues.entry(queue).or_default();
                for packet in packets.iter() {
                    found.next = found.next.max(packet.cursor.saturating_add(1));
                    let entry = NewEntry {
                        cursor: packet.cursor,
                        hash: packet.hash,
                        stored_at_ms: packet.stored_at_ms,
                        packet_len: 0,
                        place: Place { unit: 0, ..place },
                    };
                    found.packets.push(FoundPacket {
                        entry,
                        whole: false,
                    });
                }
            }
            Some(Record::State(record)) => {
                let recorded = Recorded {
                    segment: place.segment,
                    frame_len: state_frame_len(record.devices.len()) as u32,
                    next: record.next,
                };
                let found = self.queues.entry(record.queue).or_default();
                found.state = Some((record, recorded));
            }
            Some(Record::Removed(record)) => {
                self.raise_floor(record.floor);
                let newest = self
                    .removed
                    .get(&record.queue)
                    .is_none_or(|(before, _)| before.floor <= record.floor);
                if newest {
                    self.removed.insert(record.queue, (record, place.segment));
                }
            }
            Some(Record::Filler) | None => {}
        }
    }

    /// Judges the gaps of a file that was followed by another: all of them are damage.
    pub(super) fn judge_sealed(&mut self, file: u32, scan: &Scan) {
        scan.gaps.iter().for_each(|gap| self.note_damage(file, gap));
    }

    fn note_damage(&mut self, file: u32, gap: &Gap) {
        self.report.add_damage(Damage {
            file,
            offset: gap.offset,
            bytes: gap.len,
        });
        tracing::error!(target: TARGET, file, offset = gap.offset, bytes = gap.len, "part of the packet log is damaged");
        if !gap.known {
            self.lost_cursors = self
                .lost_cursors
                .saturating_add(gap.len / PACKET_FRAME_MIN as u64 + 1);
        }
    }

    /// Heals the file that was written last; the next commit stands at the scan's end.
    pub(super) fn settle(
        &mut self,
        file: &dyn DiskFile,
        seal: FrameSeal,
        scan: &Scan,
    ) -> io::Result<()> {
        let settled = settle_last(file, seal, scan)?;
        self.report.torn_bytes += settled.torn_bytes;
        settled
            .damage
            .iter()
            .for_each(|gap| self.note_damage(seal.file, gap));
        Ok(())
    }

    /// Notes that a file's header can't be read. Its frames can, if they are sound.
    pub(super) fn note_damaged_header(&mut self, file: u32) {
        self.report.add_damage(Damage {
            file,
            offset: 0,
            bytes: FILE_HEADER_LEN as u64,
        });
    }

    /// Builds the index. The files are in it already, none of them sealed yet.
    pub(super) fn build(mut self, index: &mut Index) -> (Recovery, Vec<QueueId>) {
        index.floor = self.floor.max(1).saturating_add(self.lost_cursors);
        for (id, (record, segment)) in &self.removed {
            let removed = Removed {
                floor: record.floor,
                removed_in: record.removed_in,
                recorded_in: Some(*segment),
            };
            index.removed.insert(*id, removed);
            index.segments.credit(*segment, REMOVED_FRAME_LEN as u64);
        }
        let mut unrecorded: HashSet<QueueId> = HashSet::new();
        for (id, found) in std::mem::take(&mut self.queues) {
            let floor = self.removed.get(&id).map_or(0, |(record, _)| record.floor);
            let Some(mut queue) = found.build(floor, index) else {
                continue;
            };
            if self.lost_cursors > 0 {
                queue.skip_cursors(self.lost_cursors);
            }
            if self.lost_cursors > 0 || queue.recorded.is_none() {
                unrecorded.insert(id);
            }
            self.report.packets += queue.count();
            self.report.remembered += queue.remembered() as u64;
            index.queues.insert(id, queue);
        }
        self.report.queues = index.queues.len();
        self.report.files = index.segments.count();
        (self.report, unrecorded.into_iter().collect())
    }
}

impl FoundQueue {
    /// The queue as it is now; `None` when it was removed. `floor`: what lies below is of a removed queue.
    fn build(mut self, floor: u64, index: &mut Index) -> Option<Queue> {
        let Index {
            segments, hasher, ..
        } = index;
        let state = self.state.filter(|(record, _)| record.origin >= floor);
        let origin = state
            .as_ref()
            .map_or(floor.max(1), |(record, _)| record.origin);
        self.packets.retain(|found| found.entry.cursor >= origin);
        if state.is_none() && !self.packets.iter().any(|found| found.whole) {
            return None;
        }
        let mut queue = match &state {
            Some((record, _)) => Queue::from_record(record),
            None => Queue::new(origin),
        };
        if let Some((_, recorded)) = state {
            segments.credit(recorded.segment, u64::from(recorded.frame_len));
            queue.recorded = Some(recorded);
        }
        let live_from = queue.live_from();
        // A memory of a packet that isn't deleted comes from a torn commit: the packet counts.
        self.packets
            .retain(|found| found.whole || found.entry.cursor < live_from);
        // Of several copies the last one counts; the sort keeps the order of the log.
        self.packets.sort_by_key(|found| found.entry.cursor);
        let mut packets = self.packets.into_iter().peekable();
        while let Some(found) = packets.next() {
            if packets
                .peek()
                .is_some_and(|next| next.entry.cursor == found.entry.cursor)
            {
                continue;
            }
            // The same packet may have been stored again after its time: then the later one counts.
            if let Some((earlier, _)) = queue.find(&found.entry.hash, hasher) {
                queue.forget_hash_of(earlier, hasher);
            }
            if found.entry.cursor < live_from {
                queue.push_remembered(&found.entry, hasher, segments);
            } else {
                queue.push(&found.entry, hasher, segments);
            }
        }
        queue.raise_next(self.next);
        queue.publish();
        Some(queue)
    }
}
