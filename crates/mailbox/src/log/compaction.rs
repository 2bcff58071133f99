//! Frees files of which most is dead: what still counts is written anew, then the file is deleted.
//!
//! One commit carries over a bounded part, beside the changes that callers wait for. A file is
//! deleted only after the commit with the last of its useful frames is synced, so that a crash at
//! any moment leaves one copy or two of everything, and two are as good as one.
//!
//! It is begun only where what it carries over has room for certain, and on the last file it comes
//! before everything else, so that a full disk never keeps it from freeing.

use std::io;

use bytes::Bytes;

use super::batch::{Batch, Move};
use super::frame::{Frame, Scanned, Scanner};
use super::header::FILE_HEADER_LEN;
use super::index::Index;
use super::record::{
    PacketMeta, REMEMBERED_MAX, REMOVED_FRAME_LEN, Record, Remembered, memory_frame_len,
    packet_frame_len, packet_meta,
};
use super::segments::Place;
use super::shared::{Counters, TARGET};
use super::writer::{COMMIT_BYTES, Wanted, Writer};
use crate::queue::QueueId;

/// Bytes of an old file that one commit looks through while callers wait.
const STEP_BYTES_BUSY: u64 = 512 << 10;

/// Bytes of an old file that one commit looks through when nobody waits.
const STEP_BYTES_IDLE: u64 = COMMIT_BYTES;

/// A file being freed.
pub(super) struct Compaction {
    segment: u32,
    scanner: Scanner,
}

impl Compaction {
    pub(super) fn segment(&self) -> u32 {
        self.segment
    }
}

/// How looking at one frame ended.
enum Step {
    Taken,
    NoRoom,
}

impl Writer {
    /// Carries part of a mostly dead file over into the commit.
    pub(super) fn plan_compaction(&mut self, batch: &mut Batch) {
        let Some(mut compaction) = self.compaction.take().or_else(|| self.begin_compaction())
        else {
            if self.shared.index.lock().segments.has_candidates() {
                self.want(Wanted::Spare);
            }
            return;
        };
        match self.carry_over(&mut compaction, batch) {
            Ok(true) => batch.emptied = Some(compaction.segment),
            Ok(false) => self.compaction = Some(compaction),
            Err(error) => {
                // The file stays as it is, and is tried again when the store is opened next.
                self.shared.index.lock().segments.end_rewriting();
                tracing::error!(target: TARGET, %error, file = compaction.segment, "a file of the packet log can't be read");
            }
        }
    }

    /// Begins with the file of which most is dead, if there is room for the rest of it.
    fn begin_compaction(&mut self) -> Option<Compaction> {
        let most = self.rewritable_bytes();
        let (segment, file, len) = {
            let segments = &mut self.shared.index.lock().segments;
            let segment = segments.least_live(most, !self.forced)?;
            let (file, len) = segments.take(segment)?;
            (segment, file, len)
        };
        self.forced = false;
        let scanner = Scanner::new(file, self.shared.seal(segment), FILE_HEADER_LEN as u64, len);
        Some(Compaction { segment, scanner })
    }

    /// Looks through the next part of the file; `true` when it was the last.
    fn carry_over(&mut self, compaction: &mut Compaction, batch: &mut Batch) -> io::Result<bool> {
        let segment = compaction.segment;
        let step = if batch.is_empty() {
            STEP_BYTES_IDLE
        } else {
            STEP_BYTES_BUSY
        };
        let until = compaction.scanner.offset() + step;
        let mut memories = Memories::default();
        let finished = loop {
            let at = compaction.scanner.offset();
            if at >= until {
                break false;
            }
            match compaction.scanner.next()? {
                None => break true,
                Some(Scanned::Gap { .. }) => {}
                Some(Scanned::DamagedPayload { offset, meta, .. }) => {
                    if let Some(meta) = packet_meta(meta) {
                        self.shared.index.lock().lose(
                            &meta.queue,
                            meta.cursor,
                            Place::new(segment, offset),
                        );
                    }
                }
                Some(Scanned::Frame { offset, frame }) => {
                    let place = Place::new(segment, offset);
                    if let Step::NoRoom = self.carry_frame(&frame, place, &mut memories, batch) {
                        compaction.scanner.rewind(at);
                        self.want(Wanted::FileForRewriting);
                        break false;
                    }
                }
            }
        };
        memories.write(segment, batch);
        Ok(finished)
    }

    fn carry_frame(
        &self,
        frame: &Frame<'_>,
        place: Place,
        memories: &mut Memories,
        batch: &mut Batch,
    ) -> Step {
        let Some(record) = Record::parse(frame) else {
            return Step::Taken;
        };
        let due = memories.frame_bytes;
        let mut index = self.shared.index.lock();
        match record {
            Record::Packet { meta, packet_len } => {
                let frame_len = packet_frame_len(packet_len);
                let kept = index
                    .queues
                    .get(&meta.queue)
                    .is_some_and(|queue| queue.keeps(meta.cursor, place));
                let limit = if kept {
                    self.packet_limit()
                } else {
                    self.active.capacity
                };
                let wanted = if kept { frame_len } else { memory_frame_len(1) };
                if !batch.has_room(wanted + due, 2, limit) {
                    return Step::NoRoom;
                }
                if kept {
                    let to = batch.packet(meta, Bytes::copy_from_slice(frame.payload));
                    batch.moves.push(Move {
                        queue: meta.queue,
                        cursor: meta.cursor,
                        from: place,
                        to,
                    });
                    Counters::add(&self.shared.counters.carried_bytes, frame_len as u64);
                } else {
                    memories.frame_bytes += memory_frame_len(1);
                    remember(&mut index, &meta, place.segment, memories);
                }
                keep_cursor(&mut index, &meta, batch);
            }
            Record::Memory { queue, packets } => {
                let count = packets.iter().count();
                if !batch.has_room(memory_frame_len(count) + due, 2, self.active.capacity) {
                    return Step::NoRoom;
                }
                memories.frame_bytes += memory_frame_len(count);
                for packet in packets.iter() {
                    let meta = PacketMeta {
                        queue,
                        cursor: packet.cursor,
                        stored_at_ms: packet.stored_at_ms,
                        hash: packet.hash,
                    };
                    remember(&mut index, &meta, place.segment, memories);
                    keep_cursor(&mut index, &meta, batch);
                }
            }
            Record::State(record) => {
                if !batch.has_room(due, 2, self.active.capacity) {
                    return Step::NoRoom;
                }
                if let Some(queue) = index.queues.get_mut(&record.queue)
                    && queue
                        .recorded
                        .is_some_and(|recorded| recorded.segment == place.segment)
                {
                    batch.mark(record.queue, queue);
                }
            }
            Record::Removed(record) => {
                if !batch.has_room(REMOVED_FRAME_LEN + due, 2, self.active.capacity) {
                    return Step::NoRoom;
                }
                carry_removal(&mut index, &record.queue, place.segment, batch);
            }
            Record::Filler => {}
        }
        Step::Taken
    }
}

/// Lists a packet that is gone and whose memory is written in this file only.
fn remember(index: &mut Index, meta: &PacketMeta, segment: u32, memories: &mut Memories) {
    let queue = index.queues.get(&meta.queue);
    if let Some(remembered) = queue.and_then(|queue| queue.remembers(meta.cursor, segment)) {
        memories.packets.push((meta.queue, remembered));
    }
}

/// Sees to it that a cursor is not given out again once this record of it is gone.
fn keep_cursor(index: &mut Index, meta: &PacketMeta, batch: &mut Batch) {
    if let Some(queue) = index.queues.get_mut(&meta.queue)
        && queue
            .recorded
            .is_none_or(|recorded| recorded.next <= meta.cursor)
    {
        batch.mark(meta.queue, queue);
    }
}

/// Writes anew that a queue was removed, as long as older files may hold packets of it.
fn carry_removal(index: &mut Index, id: &QueueId, segment: u32, batch: &mut Batch) {
    let Some(removed) = index
        .removed
        .get(id)
        .copied()
        .filter(|removed| removed.recorded_in == Some(segment))
    else {
        return;
    };
    if index.removal_matters(&removed, segment) {
        index.set_removed(
            *id,
            super::index::Removed {
                recorded_in: None,
                ..removed
            },
        );
        batch.removed.push(*id);
    } else {
        index.drop_removed(id);
    }
}

/// Memories of deleted packets that one commit writes anew.
#[derive(Default)]
struct Memories {
    packets: Vec<(QueueId, Remembered)>,
    /// Bytes on disk they take at most.
    frame_bytes: usize,
}

impl Memories {
    /// Writes them, those of one queue together.
    fn write(mut self, from: u32, batch: &mut Batch) {
        self.packets
            .sort_unstable_by_key(|(queue, remembered)| (*queue, remembered.cursor));
        for of_queue in self.packets.chunk_by(|(left, _), (right, _)| left == right) {
            for part in of_queue.chunks(REMEMBERED_MAX) {
                let Some((queue, _)) = part.first() else {
                    continue;
                };
                let to = batch.memory(
                    *queue,
                    part.iter().map(|(_, remembered)| *remembered).collect(),
                );
                let moves = part.iter().map(|(_, remembered)| Move {
                    queue: *queue,
                    cursor: remembered.cursor,
                    from: Place {
                        segment: from,
                        unit: 0,
                    },
                    to: Place { unit: 0, ..to },
                });
                batch.moves.extend(moves);
            }
        }
    }
}
