//! What the frames of the packet log say.

use super::frame::{FRAME_HEADER_LEN, Frame, frame_len};
use crate::queue::{DeviceId, QueueId};
use crate::store::DEVICES_MAX;

/// How much of a packet's hash is kept: enough that nobody finds a second packet for it.
pub(super) const HASH_LEN: usize = 16;

/// A packet's hash, cut to what is kept.
pub(super) type ShortHash = [u8; HASH_LEN];

/// Kinds of frames in the packet log.
pub(super) mod kind {
    pub(in crate::log) const PACKET: u8 = 1;
    pub(in crate::log) const STATE: u8 = 2;
    pub(in crate::log) const MEMORY: u8 = 3;
    pub(in crate::log) const REMOVED: u8 = 4;
    pub(in crate::log) const FILLER: u8 = 5;
}

/// Length of a packet record's meta: queue, cursor, time, hash.
const PACKET_META_LEN: usize = QueueId::LEN + 8 + 8 + HASH_LEN;

/// Length of a state record's meta without devices.
const STATE_META_LEN: usize = QueueId::LEN + 3 * 8 + 1;

/// Length of one device in a state record.
const DEVICE_LEN: usize = DeviceId::LEN + 8 + 8;

/// Length of one remembered packet in a memory record.
pub(super) const REMEMBERED_LEN: usize = 8 + 8 + HASH_LEN;

/// What a remembered packet counts in the use of a file: a memory record of its own.
///
/// Several share a record where they can; counting less would let files of nothing but memories
/// look half empty and be rewritten for ever.
pub(super) const REMEMBERED_COST: u64 = memory_frame_len(1) as u64;

/// Most remembered packets in one memory record.
pub(super) const REMEMBERED_MAX: usize = 1024;

/// Bytes on disk of the longest state record.
pub(super) const STATE_FRAME_MAX: usize = frame_len(STATE_META_LEN + DEVICES_MAX * DEVICE_LEN, 0);

/// Bytes on disk of a record that says that a queue was removed.
pub(super) const REMOVED_FRAME_LEN: usize = frame_len(REMOVED_META_LEN, 0);

const REMOVED_META_LEN: usize = QueueId::LEN + 8 + 4;

/// Fewest bytes on disk that a packet record takes: how many a gap may have held at most.
pub(super) const PACKET_FRAME_MIN: usize = FRAME_HEADER_LEN + PACKET_META_LEN;

/// Bytes on disk of a packet record.
pub(super) const fn packet_frame_len(packet_len: usize) -> usize {
    frame_len(PACKET_META_LEN, packet_len)
}

/// Bytes on disk of a memory record.
pub(super) const fn memory_frame_len(count: usize) -> usize {
    frame_len(QueueId::LEN, count * REMEMBERED_LEN)
}

/// Bytes on disk of a state record.
pub(super) const fn state_frame_len(devices: usize) -> usize {
    frame_len(STATE_META_LEN + devices * DEVICE_LEN, 0)
}

/// Where a packet stands and what it is known by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PacketMeta {
    pub(super) queue: QueueId,
    pub(super) cursor: u64,
    pub(super) stored_at_ms: u64,
    pub(super) hash: ShortHash,
}

/// A packet that is gone and still known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Remembered {
    pub(super) cursor: u64,
    pub(super) stored_at_ms: u64,
    pub(super) hash: ShortHash,
}

/// One device of a queue's owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Device {
    pub(super) id: DeviceId,
    /// Everything up to here is acknowledged.
    pub(super) acknowledged: u64,
    pub(super) seen_ms: u64,
}

/// All that a queue is, apart from its packets. The last one in the log counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct QueueRecord {
    pub(super) queue: QueueId,
    /// Lowest cursor that this queue ever gave out; what lies below is of a removed one.
    pub(super) origin: u64,
    /// The cursor that comes next, or a lower one if packets were stored since.
    pub(super) next: u64,
    /// Packets below are deleted.
    pub(super) live_from: u64,
    pub(super) devices: Vec<Device>,
}

/// A queue was removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RemovedRecord {
    pub(super) queue: QueueId,
    /// Queues opened from now on begin here or above.
    pub(super) floor: u64,
    /// The file of the log that was being written when it was removed; no later one holds anything of the queue.
    pub(super) removed_in: u32,
}

/// A record of the packet log.
#[derive(Debug)]
pub(super) enum Record<'a> {
    Packet {
        meta: PacketMeta,
        packet_len: usize,
    },
    State(QueueRecord),
    Memory {
        queue: QueueId,
        packets: RememberedList<'a>,
    },
    Removed(RemovedRecord),
    /// Stands over a torn part of the file.
    Filler,
}

impl<'a> Record<'a> {
    /// Reads a frame's content; `None` when a frame with right checks makes no sense.
    pub(super) fn parse(frame: &Frame<'a>) -> Option<Self> {
        let mut fields = Fields(frame.meta);
        let record = match frame.header.kind {
            kind::PACKET => Self::Packet {
                meta: packet_meta(frame.meta)?,
                packet_len: frame.payload.len(),
            },
            kind::STATE => Self::State(queue_record(&mut fields)?),
            kind::MEMORY => Self::Memory {
                queue: QueueId::new(fields.take()?),
                packets: RememberedList::new(frame.payload)?,
            },
            kind::REMOVED => Self::Removed(RemovedRecord {
                queue: QueueId::new(fields.take()?),
                floor: fields.u64()?,
                removed_in: u32::from_le_bytes(fields.take()?),
            }),
            kind::FILLER => Self::Filler,
            _ => return None,
        };
        Some(record)
    }
}

/// Reads the meta of a packet record.
pub(super) fn packet_meta(meta: &[u8]) -> Option<PacketMeta> {
    let mut fields = Fields(meta);
    Some(PacketMeta {
        queue: QueueId::new(fields.take()?),
        cursor: fields.u64()?,
        stored_at_ms: fields.u64()?,
        hash: fields.take()?,
    })
}

fn queue_record(fields: &mut Fields<'_>) -> Option<QueueRecord> {
    let (queue, origin, next, live_from) = (
        QueueId::new(fields.take()?),
        fields.u64()?,
        fields.u64()?,
        fields.u64()?,
    );
    let [count] = fields.take()?;
    let count = usize::from(count);
    if count > DEVICES_MAX {
        return None;
    }
    let mut devices = Vec::with_capacity(count);
    for _ in 0..count {
        devices.push(Device {
            id: DeviceId::new(fields.take()?),
            acknowledged: fields.u64()?,
            seen_ms: fields.u64()?,
        });
    }
    Some(QueueRecord {
        queue,
        origin,
        next,
        live_from,
        devices,
    })
}

/// The remembered packets of a memory record.
#[derive(Clone, Copy, Debug)]
pub(super) struct RememberedList<'a>(&'a [[u8; REMEMBERED_LEN]]);

impl<'a> RememberedList<'a> {
    fn new(payload: &'a [u8]) -> Option<Self> {
        let (whole, rest) = payload.as_chunks();
        rest.is_empty().then_some(Self(whole))
    }

    pub(super) fn iter(self) -> impl Iterator<Item = Remembered> + 'a {
        self.0.iter().filter_map(|bytes| {
            let mut fields = Fields(bytes);
            Some(Remembered {
                cursor: fields.u64()?,
                stored_at_ms: fields.u64()?,
                hash: fields.take()?,
            })
        })
    }
}

impl PacketMeta {
    pub(super) fn encode(&self) -> [u8; PACKET_META_LEN] {
        let mut bytes = [0; PACKET_META_LEN];
        let fields: [&[u8]; 4] = [
            self.queue.as_bytes(),
            &self.cursor.to_le_bytes(),
            &self.stored_at_ms.to_le_bytes(),
            &self.hash,
        ];
        let mut rest = bytes.as_mut_slice();
        for field in fields {
            let (place, after) = rest.split_at_mut(field.len());
            place.copy_from_slice(field);
            rest = after;
        }
        bytes
    }
}

impl QueueRecord {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(STATE_META_LEN + self.devices.len() * DEVICE_LEN);
        bytes.extend_from_slice(self.queue.as_bytes());
        for number in [self.origin, self.next, self.live_from] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes.push(self.devices.len() as u8);
        for device in &self.devices {
            bytes.extend_from_slice(device.id.as_bytes());
            bytes.extend_from_slice(&device.acknowledged.to_le_bytes());
            bytes.extend_from_slice(&device.seen_ms.to_le_bytes());
        }
        bytes
    }
}

impl Remembered {
    pub(super) fn encode_into(&self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&self.cursor.to_le_bytes());
        bytes.extend_from_slice(&self.stored_at_ms.to_le_bytes());
        bytes.extend_from_slice(&self.hash);
    }
}

impl RemovedRecord {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(REMOVED_META_LEN);
        bytes.extend_from_slice(self.queue.as_bytes());
        bytes.extend_from_slice(&self.floor.to_le_bytes());
        bytes.extend_from_slice(&self.removed_in.to_le_bytes());
        bytes
    }
}

/// Bytes taken from the front, field by field.
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl Fields<'_> {
    pub(super) fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (field, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*field)
    }

    pub(super) fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_le_bytes)
    }
}
