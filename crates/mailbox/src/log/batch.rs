//! One commit while it is being put together.

use bytes::Bytes;

use super::command::Answer;
use super::frame::{FrameSeal, write_frame};
use super::queue::{Queue, Recorded};
use super::record::{
    PacketMeta, QueueRecord, REMOVED_FRAME_LEN, Remembered, RemovedRecord, STATE_FRAME_MAX, kind,
    memory_frame_len, packet_frame_len, state_frame_len,
};
use super::segments::Place;
use crate::queue::QueueId;

/// A frame that the commit will write.
enum Planned {
    Packet(PacketMeta, Bytes),
    State(QueueRecord),
    Memory(QueueId, Vec<Remembered>),
    Removed(RemovedRecord),
}

/// A packet, or the memory of one, that the commit writes anew.
pub(super) struct Move {
    pub(super) queue: QueueId,
    pub(super) cursor: u64,
    pub(super) from: Place,
    pub(super) to: Place,
}

/// One commit: what is written, and what holds once it is on disk.
pub(super) struct Batch {
    segment: u32,
    start: u64,
    len: u64,
    frames: Vec<Planned>,
    /// Queues that got packets.
    pub(super) touched: Vec<QueueId>,
    /// Queues whose state changed; each is recorded before the commit is written.
    pub(super) dirty: Vec<QueueId>,
    /// Queues whose removal is to be recorded.
    pub(super) removed: Vec<QueueId>,
    pub(super) recorded: Vec<(QueueId, Recorded)>,
    pub(super) moves: Vec<Move>,
    pub(super) answers: Vec<Answer>,
    /// A file whose last useful frames this commit carries over.
    pub(super) emptied: Option<u32>,
}

impl Batch {
    /// An empty commit that will stand at an offset of a file.
    pub(super) fn new(segment: u32, start: u64) -> Self {
        Self {
            segment,
            start,
            len: 0,
            frames: Vec::new(),
            touched: Vec::new(),
            dirty: Vec::new(),
            removed: Vec::new(),
            recorded: Vec::new(),
            moves: Vec::new(),
            answers: Vec::new(),
            emptied: None,
        }
    }

    pub(super) fn segment(&self) -> u32 {
        self.segment
    }

    pub(super) fn start(&self) -> u64 {
        self.start
    }

    pub(super) fn len(&self) -> u64 {
        self.len
    }

    pub(super) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// Whether `bytes` more fit below `limit`, with `states` state records and what else is due.
    pub(super) fn has_room(&self, bytes: usize, states: usize, limit: u64) -> bool {
        let due =
            (self.dirty.len() + states) * STATE_FRAME_MAX + self.removed.len() * REMOVED_FRAME_LEN;
        self.start + self.len + (bytes + due) as u64 <= limit
    }

    /// Lists a queue whose state changed.
    pub(super) fn mark(&mut self, id: QueueId, queue: &mut Queue) {
        if !queue.dirty {
            queue.dirty = true;
            self.dirty.push(id);
        }
    }

    fn plan(&mut self, frame: Planned, frame_len: usize) -> Place {
        let place = Place::new(self.segment, self.start + self.len);
        self.frames.push(frame);
        self.len += frame_len as u64;
        place
    }

    pub(super) fn packet(&mut self, meta: PacketMeta, packet: Bytes) -> Place {
        let frame_len = packet_frame_len(packet.len());
        self.plan(Planned::Packet(meta, packet), frame_len)
    }

    pub(super) fn state(&mut self, record: QueueRecord) -> Place {
        let frame_len = state_frame_len(record.devices.len());
        self.plan(Planned::State(record), frame_len)
    }

    pub(super) fn memory(&mut self, queue: QueueId, packets: Vec<Remembered>) -> Place {
        let frame_len = memory_frame_len(packets.len());
        self.plan(Planned::Memory(queue, packets), frame_len)
    }

    pub(super) fn removal(&mut self, record: RemovedRecord) -> Place {
        self.plan(Planned::Removed(record), REMOVED_FRAME_LEN)
    }

    /// Writes the frames into a buffer, which begins where the commit does.
    pub(super) fn encode(&self, seal: &FrameSeal, commit: u64, out: &mut Vec<u8>) {
        for frame in &self.frames {
            let offset = self.start + out.len() as u64;
            match frame {
                Planned::Packet(meta, packet) => {
                    write_frame(
                        out,
                        seal,
                        offset,
                        kind::PACKET,
                        commit,
                        &meta.encode(),
                        packet,
                    );
                }
                Planned::State(record) => {
                    write_frame(
                        out,
                        seal,
                        offset,
                        kind::STATE,
                        commit,
                        &record.encode(),
                        &[],
                    );
                }
                Planned::Memory(queue, packets) => {
                    let mut payload = Vec::new();
                    packets
                        .iter()
                        .for_each(|packet| packet.encode_into(&mut payload));
                    write_frame(
                        out,
                        seal,
                        offset,
                        kind::MEMORY,
                        commit,
                        queue.as_bytes(),
                        &payload,
                    );
                }
                Planned::Removed(record) => {
                    write_frame(
                        out,
                        seal,
                        offset,
                        kind::REMOVED,
                        commit,
                        &record.encode(),
                        &[],
                    );
                }
            }
        }
        debug_assert_eq!(out.len() as u64, self.len);
    }
}
