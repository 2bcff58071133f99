//! What callers, readers and the writer of a store have in common.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use parking_lot::Mutex;

use super::command::Command;
use super::config::LogConfig;
use super::frame::{FrameSeal, Parsed, parse_frame};
use super::inbox::Inbox;
use super::index::Index;
use super::notices::Notices;
use super::queue::Located;
use super::record::{kind, packet_frame_len, packet_meta};
use crate::disk::{Disk, DiskFile};
use crate::queue::{Cursor, QueueId};
use crate::store::StoredPacket;

/// The `tracing` target of everything the store logs.
pub(super) const TARGET: &str = "conet::mailbox";

/// Counts since the store was opened.
#[derive(Default)]
pub(super) struct Counters {
    pub(super) commits: AtomicU64,
    pub(super) appended: AtomicU64,
    pub(super) carried_bytes: AtomicU64,
    pub(super) lost: AtomicU64,
}

impl Counters {
    pub(super) fn add(counter: &AtomicU64, count: u64) {
        counter.fetch_add(count, Ordering::Relaxed);
    }
}

/// One open store.
pub(super) struct Shared {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) config: LogConfig,
    pub(super) salt: [u8; 8],
    pub(super) index: Mutex<Index>,
    pub(super) inbox: Inbox<Command>,
    pub(super) notices: Notices,
    pub(super) counters: Counters,
    /// Set by the failure after which nothing is written any more.
    pub(super) failure: OnceLock<Arc<io::Error>>,
}

/// A packet's place with the file it is in.
pub(super) struct Found {
    located: Located,
    file: Arc<dyn DiskFile>,
    /// Whether the file is the newest one, whose pages the system has at hand.
    recent: bool,
}

impl Shared {
    pub(super) fn seal(&self, segment: u32) -> FrameSeal {
        FrameSeal {
            salt: self.salt,
            file: segment,
        }
    }

    /// Finds files and places of the packets to read.
    pub(super) fn find(
        &self,
        index: &Index,
        id: &QueueId,
        after: u64,
        items: usize,
        bytes: usize,
    ) -> Vec<Found> {
        let newest = index.segments.newest();
        let located = index
            .queues
            .get(id)
            .map(|queue| queue.locate(after, items, bytes))
            .unwrap_or_default();
        let file = |located: Located| {
            let file = index.segments.file(located.place.segment)?;
            Some(Found {
                located,
                file,
                recent: located.place.segment == newest,
            })
        };
        located.into_iter().filter_map(file).collect()
    }

    /// Reads packets; those that are damaged are given up and left out.
    pub(super) fn load(&self, id: &QueueId, found: &[Found]) -> io::Result<Vec<StoredPacket>> {
        let mut packets = Vec::with_capacity(found.len());
        for found in found {
            let located = &found.located;
            match self.load_one(id, found)? {
                Some(packet) => packets.push(StoredPacket {
                    cursor: Cursor::new(located.cursor),
                    stored_at_ms: located.stored_at_ms,
                    packet,
                }),
                None => self.report_lost(id, located),
            }
        }
        Ok(packets)
    }

    fn load_one(&self, id: &QueueId, found: &Found) -> io::Result<Option<Bytes>> {
        let Found { located, file, .. } = found;
        let mut bytes = vec![0; packet_frame_len(located.packet_len as usize)];
        let offset = located.place.offset();
        let count = file.read_at(&mut bytes, offset)?;
        bytes.truncate(count);
        let Parsed::Whole(frame) = parse_frame(&bytes, &self.seal(located.place.segment), offset)
        else {
            return Ok(None);
        };
        let expected = packet_meta(frame.meta)
            .is_some_and(|meta| meta.queue == *id && meta.cursor == located.cursor);
        if frame.header.kind != kind::PACKET || !expected {
            return Ok(None);
        }
        let from = super::frame::FRAME_HEADER_LEN + frame.meta.len();
        let to = from + frame.payload.len();
        Ok(Some(Bytes::from(bytes).slice(from..to)))
    }

    fn report_lost(&self, id: &QueueId, located: &Located) {
        if self.index.lock().lose(id, located.cursor, located.place) {
            Counters::add(&self.counters.lost, 1);
            tracing::error!(
                target: TARGET,
                file = located.place.segment,
                offset = located.place.offset(),
                "a stored packet is damaged on disk and was given up"
            );
        }
    }

    /// Ends everything; called by the writer as its last act.
    pub(super) fn shut(&self) {
        self.inbox.discard();
        self.notices.end_all();
    }
}

impl Found {
    /// Whether reading these packets is so quick that it need not leave the calling thread.
    pub(super) fn are_at_hand(found: &[Self], most_bytes: usize) -> bool {
        let bytes: usize = found
            .iter()
            .map(|found| found.located.packet_len as usize)
            .sum();
        bytes <= most_bytes && found.iter().all(|found| found.recent)
    }
}
