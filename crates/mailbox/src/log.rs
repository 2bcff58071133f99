//! The embedded store: an append-only log of files in one directory.
//!
//! | part | owns |
//! | --- | --- |
//! | `inbox` | changes that wait, bounded |
//! | `writer` | the thread that makes commits of them; `plan` decides what a change does, `compaction` frees files |
//! | `index` | what every queue holds and where, in memory; `queue` is one of them, `segments` counts the use of files |
//! | `open`, `recovery`, `settle` | finding all that out again from the files |
//! | `frame`, `record`, `header` | the format, see `docs/store-format.md` |
//! | `accounts` | the directory of account records, a log of its own |

mod accounts;
mod batch;
mod command;
mod compaction;
mod config;
mod files;
mod frame;
mod header;
mod inbox;
mod index;
mod notices;
mod open;
mod plan;
mod queue;
mod record;
mod recovery;
mod segments;
mod settle;
mod shared;
#[cfg(test)]
mod tests;
mod writer;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{oneshot, watch};

pub use accounts::LogDirectory;
pub use config::{LogConfig, SEGMENT_BYTES_MAX};
pub use recovery::{DAMAGE_REPORTED_MAX, Damage, Recovery};

use command::{Command, Failure, Reply};
use record::HASH_LEN;
use shared::{Found, Shared};

use crate::disk::{Disk, FileDisk};
use crate::error::{AppendError, ControlError, OpenError, ReadError};
use crate::queue::{Cursor, DeviceId, QueueId};
use crate::store::{
    Arrivals, BoxFuture, PacketHash, PacketStore, QueueStats, READ_BYTES_MAX, READ_ITEMS_MAX,
    Stored, StoredPacket,
};

/// Packets of the newest file up to this many bytes are read on the calling thread: they are in the page cache.
const READ_AT_ONCE: usize = 32 << 10;

/// What a change other than a packet counts in the inbox.
const CONTROL_BYTES: usize = 256;

/// What a packet counts in the inbox besides its length.
const APPEND_BYTES: usize = 128;

/// The embedded store of packets.
///
/// Dropping it waits for the commit under way and for everything handed in before.
pub struct LogStore {
    shared: Arc<Shared>,
    directory: Arc<LogDirectory>,
    recovery: Recovery,
    /// Its sender is dropped when the writer ends.
    ended: watch::Receiver<()>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

/// Counts of a store, for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoreFigures {
    /// Queues kept.
    pub queues: u64,
    /// Bytes that the files of the packet log take on disk.
    pub disk_bytes: u64,
    /// Bytes that they may take.
    pub disk_limit_bytes: u64,
    /// Files of the packet log.
    pub files: u64,
    /// Deleted packets whose hashes are remembered.
    pub remembered: u64,
    /// Commits since the store was opened; each is one write and one sync.
    pub commits: u64,
    /// Packets stored since the store was opened.
    pub appended: u64,
    /// Bytes of packets written anew to free files since the store was opened.
    pub carried_bytes: u64,
    /// Packets given up because they were damaged on disk, since the store was opened.
    pub lost: u64,
    /// Whether writing failed, so that every change is refused until the store is opened anew.
    pub failed: bool,
}

impl LogStore {
    /// Opens the store in a directory, which is made if there is none, and locks it.
    ///
    /// Reads the whole log: call it from a thread that may block.
    ///
    /// # Errors
    /// See [`OpenError`]. Damaged files are no error: see [`LogStore::recovery`].
    pub fn open(path: impl AsRef<Path>, config: LogConfig) -> Result<Self, OpenError> {
        config.check()?;
        Self::open_on(Arc::new(FileDisk::open(path.as_ref())?), config)
    }

    /// Opens the store on a disk of the caller's making.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open_on(disk: Arc<dyn Disk>, config: LogConfig) -> Result<Self, OpenError> {
        config.check()?;
        let open::Opened {
            shared,
            writer,
            directory,
            recovery,
        } = open::open(disk, config)?;
        let (end, ended) = watch::channel(());
        let thread = std::thread::Builder::new()
            .name("mailbox-writer".to_owned())
            .spawn(move || {
                let _end = end;
                writer.run();
            })
            .map_err(|source| OpenError::Io {
                action: "start the writer thread",
                source,
            })?;
        Ok(Self {
            shared,
            directory: Arc::new(directory),
            recovery,
            ended,
            writer: Mutex::new(Some(thread)),
        })
    }

    /// The directory of account records in the same place.
    pub fn directory(&self) -> Arc<LogDirectory> {
        Arc::clone(&self.directory)
    }

    /// What was found when the store was opened.
    pub fn recovery(&self) -> &Recovery {
        &self.recovery
    }

    /// Counts for metrics.
    pub fn figures(&self) -> StoreFigures {
        let counters = &self.shared.counters;
        let count = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
        let index = self.shared.index.lock();
        StoreFigures {
            queues: index.queues.len() as u64,
            disk_bytes: index.segments.total_len(),
            disk_limit_bytes: self.shared.config.max_total_bytes,
            files: index.segments.count() as u64,
            remembered: index.segments.remembered as u64,
            commits: count(&counters.commits),
            appended: count(&counters.appended),
            carried_bytes: count(&counters.carried_bytes),
            lost: count(&counters.lost),
            failed: self.shared.failure.get().is_some(),
        }
    }

    /// Hands a change in and waits for its outcome.
    async fn ask<T, E: From<Failure>>(
        &self,
        bytes: usize,
        command: impl FnOnce(Reply<T, E>) -> Command,
    ) -> Result<T, E> {
        if let Some(error) = self.shared.failure.get() {
            return Err(Failure::Io(Arc::clone(error)).into());
        }
        let (reply, outcome) = oneshot::channel();
        self.shared
            .inbox
            .push(command(reply), bytes)
            .map_err(Failure::from)?;
        outcome
            .await
            .unwrap_or_else(|_| Err(Failure::Closed.into()))
    }

    async fn read_from(
        &self,
        queue: QueueId,
        device: DeviceId,
        after: Cursor,
        max_items: usize,
        max_bytes: usize,
    ) -> Result<Vec<StoredPacket>, ReadError> {
        if self.shared.inbox.is_closed() {
            return Err(ReadError::Closed);
        }
        let found = {
            let index = self.shared.index.lock();
            let known = index
                .queues
                .get(&queue)
                .is_some_and(|known| known.devices.iter().any(|d| d.id == device));
            if !known {
                return Err(ReadError::UnknownDevice);
            }
            let (items, bytes) = (
                max_items.clamp(1, READ_ITEMS_MAX),
                max_bytes.min(READ_BYTES_MAX),
            );
            self.shared
                .find(&index, &queue, after.value(), items, bytes)
        };
        let loaded = if Found::are_at_hand(&found, READ_AT_ONCE) {
            self.shared.load(&queue, &found)
        } else {
            let shared = Arc::clone(&self.shared);
            let reading = tokio::task::spawn_blocking(move || shared.load(&queue, &found));
            reading.await.map_err(|_| ReadError::Closed)?
        };
        loaded.map_err(|error| ReadError::Io(Arc::new(error)))
    }

    fn stats_of(&self, queue: &QueueId) -> QueueStats {
        let index = self.shared.index.lock();
        let Some(found) = index.queues.get(queue) else {
            return QueueStats::default();
        };
        let config = &self.shared.config;
        let part = |used: u64, quota: u64| used as f64 / quota.max(1) as f64;
        QueueStats {
            count: found.count(),
            bytes: found.bytes(),
            oldest_ms: found.oldest_ms(),
            devices: found.devices.len(),
            quota_fraction: part(found.bytes(), config.queue_quota_bytes)
                .max(part(found.count(), config.queue_quota_packets)),
        }
    }
}

impl PacketStore for LogStore {
    fn append(
        &self,
        queue: QueueId,
        packet_hash: PacketHash,
        packet: Bytes,
        now_ms: u64,
    ) -> BoxFuture<'_, Result<Stored, AppendError>> {
        Box::pin(async move {
            let limit = self.shared.config.max_packet_bytes;
            if packet.len() > limit {
                return Err(AppendError::TooLarge {
                    bytes: packet.len(),
                    limit,
                });
            }
            let mut hash = [0; HASH_LEN];
            hash.iter_mut()
                .zip(packet_hash)
                .for_each(|(kept, byte)| *kept = byte);
            let bytes = packet.len() + APPEND_BYTES;
            self.ask(bytes, |reply| Command::Append {
                queue,
                hash,
                packet,
                now_ms,
                reply,
            })
            .await
        })
    }

    fn read(
        &self,
        queue: QueueId,
        device: DeviceId,
        after: Cursor,
        max_items: usize,
        max_bytes: usize,
    ) -> BoxFuture<'_, Result<Vec<StoredPacket>, ReadError>> {
        Box::pin(self.read_from(queue, device, after, max_items, max_bytes))
    }

    fn register_device(
        &self,
        queue: QueueId,
        device: DeviceId,
        now_ms: u64,
    ) -> BoxFuture<'_, Result<Cursor, ControlError>> {
        Box::pin(self.ask(CONTROL_BYTES, move |reply| Command::Register {
            queue,
            device,
            now_ms,
            reply,
        }))
    }

    fn acknowledge(
        &self,
        queue: QueueId,
        device: DeviceId,
        up_to: Cursor,
        now_ms: u64,
    ) -> BoxFuture<'_, Result<(), ControlError>> {
        Box::pin(self.ask(CONTROL_BYTES, move |reply| Command::Acknowledge {
            queue,
            device,
            up_to,
            now_ms,
            reply,
        }))
    }

    fn subscribe(&self, queue: QueueId) -> Arrivals {
        let last = {
            let index = self.shared.index.lock();
            index
                .queues
                .get(&queue)
                .map_or(0, queue::Queue::last_visible)
        };
        if self.shared.inbox.is_closed() {
            return Arrivals::new(watch::channel(Cursor::new(last)).1);
        }
        self.shared.notices.subscribe(queue, Cursor::new(last))
    }

    fn stats(&self, queue: QueueId) -> BoxFuture<'_, Result<QueueStats, ReadError>> {
        Box::pin(async move {
            if self.shared.inbox.is_closed() {
                return Err(ReadError::Closed);
            }
            Ok(self.stats_of(&queue))
        })
    }

    fn remove_queue(&self, queue: QueueId) -> BoxFuture<'_, Result<(), ControlError>> {
        Box::pin(self.ask(CONTROL_BYTES, move |reply| Command::Remove { queue, reply }))
    }

    fn expire(&self, now_ms: u64) -> BoxFuture<'_, Result<u64, ControlError>> {
        Box::pin(self.ask(CONTROL_BYTES, move |reply| Command::Expire {
            now_ms,
            reply,
        }))
    }

    fn flush(&self) -> BoxFuture<'_, Result<(), ControlError>> {
        Box::pin(self.ask(CONTROL_BYTES, |reply| Command::Flush { reply }))
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            self.shared.inbox.close();
            // The sender is never used: its end is the news.
            while self.ended.clone().changed().await.is_ok() {}
        })
    }
}

impl Drop for LogStore {
    fn drop(&mut self) {
        self.shared.inbox.close();
        if let Some(writer) = self.writer.get_mut().take() {
            // A panic of the writer was reported where it happened.
            drop(writer.join());
        }
    }
}
