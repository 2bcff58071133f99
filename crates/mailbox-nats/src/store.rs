//! The store: appending, reading, figures, closing. Devices and queues are in `control`.

use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream;
use async_nats::jetstream::context::{PublishError, PublishErrorKind};
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::stream::{
    DirectGetErrorKind, LastRawMessageErrorKind, RawMessageErrorKind,
};
use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _};
use mailbox::{
    AppendError, Arrivals, BoxFuture, ControlError, Cursor, DeviceId, PacketHash, PacketStore,
    QueueId, QueueStats, READ_BYTES_MAX, READ_ITEMS_MAX, ReadError, Stored, StoredPacket,
};
use parking_lot::Mutex;
use tokio::sync::{RwLock, RwLockReadGuard, watch};

use crate::config::{Connection, NatsConfig, OpenError, connect};
use crate::directory::NatsDirectory;
use crate::follow;
use crate::message::{packet_headers, packet_subject, stored};
use crate::sweep::Sweeper;
use crate::view::{Kept, Queue, View};

/// How often an append is tried that meets others of the same packet.
const TRIES: u32 = 8;

/// How long a change waits to be seen in the stream by its own process; it is durable already.
pub(crate) const SEEN_WITHIN: Duration = Duration::from_secs(2);

/// Packets that one read fetches at once.
const FETCHES: usize = 16;

/// A store on NATS JetStream; dropping it stops following the stream.
pub struct NatsStore {
    pub(crate) shared: Arc<Shared>,
    directory: Arc<NatsDirectory>,
}

pub(crate) struct Shared {
    pub(crate) config: NatsConfig,
    pub(crate) prefix: String,
    pub(crate) context: jetstream::Context,
    pub(crate) stream: jetstream::stream::Stream,
    pub(crate) view: Mutex<View>,
    /// The last sequence of the stream that the view has.
    pub(crate) progress: watch::Sender<u64>,
    pub(crate) closing: watch::Sender<bool>,
    /// Read by each change under way, written by whoever waits for all of them; `true` once closed.
    closed: RwLock<bool>,
    pub(crate) sweeper: Sweeper,
}

/// What stands at a packet's subject.
struct Found {
    sequence: u64,
    cursor: u64,
    stored_at_ms: u64,
}

/// The store is closed.
pub(crate) struct Closed;

impl NatsStore {
    /// Connects, makes the stream if there is none, and learns what it holds.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub async fn open(config: NatsConfig) -> Result<Self, OpenError> {
        let Connection {
            client,
            context,
            stream,
        } = connect(&config).await?;
        let directory = NatsDirectory::open(&config, &context, client).await?;
        let sweeper = Sweeper::start(context.clone(), config.prefix(), config.ttl_ms);
        let shared = Arc::new(Shared {
            prefix: config.prefix(),
            config,
            context,
            stream,
            view: Mutex::default(),
            progress: watch::Sender::new(0),
            closing: watch::Sender::new(false),
            closed: RwLock::new(false),
            sweeper,
        });
        follow::start(&shared).await?;
        Ok(Self {
            shared,
            directory: Arc::new(directory),
        })
    }

    /// The account records beside the queues.
    #[must_use]
    pub fn directory(&self) -> Arc<NatsDirectory> {
        Arc::clone(&self.directory)
    }
}

impl Drop for NatsStore {
    fn drop(&mut self) {
        self.shared.closing.send_replace(true);
        self.shared.view.lock().close();
    }
}

/// Room in a queue's quota for a packet under way.
struct Reservation<'s> {
    shared: &'s Shared,
    queue: QueueId,
    bytes: u64,
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        if let Some(queue) = self.shared.view.lock().queues.get_mut(&self.queue) {
            queue.reserved.count -= 1;
            queue.reserved.bytes -= self.bytes;
        }
    }
}

impl Shared {
    /// Lets a change begin, unless the store is closed.
    pub(crate) async fn enter(&self) -> Result<RwLockReadGuard<'_, bool>, Closed> {
        let closed = self.closed.read().await;
        if *closed { Err(Closed) } else { Ok(closed) }
    }

    fn reserve(&self, id: QueueId, bytes: u64) -> Result<Reservation<'_>, AppendError> {
        let mut view = self.view.lock();
        let count = view.queues.len();
        let queue = match view.queues.entry(id) {
            Entry::Occupied(queue) => queue.into_mut(),
            Entry::Vacant(_) if count >= self.config.max_queues => {
                return Err(AppendError::TooManyQueues {
                    limit: self.config.max_queues,
                });
            }
            Entry::Vacant(queue) => queue.insert(Queue::default()),
        };
        let (bytes_quota, count_quota) = (
            self.config.queue_quota_bytes,
            self.config.queue_quota_packets,
        );
        if queue.bytes + queue.reserved.bytes + bytes > bytes_quota
            || queue.count() + queue.reserved.count >= count_quota
        {
            return Err(AppendError::QueueFull {
                bytes: queue.bytes,
                count: queue.count(),
                bytes_quota,
                count_quota,
            });
        }
        queue.reserved.count += 1;
        queue.reserved.bytes += bytes;
        Ok(Reservation {
            shared: self,
            queue: id,
            bytes,
        })
    }

    async fn append(
        &self,
        id: QueueId,
        hash: PacketHash,
        packet: Bytes,
        now_ms: u64,
    ) -> Result<Stored, AppendError> {
        let limit = self.config.max_packet_bytes;
        if packet.len() > limit {
            return Err(AppendError::TooLarge {
                bytes: packet.len(),
                limit,
            });
        }
        let _open = self.enter().await.map_err(|Closed| AppendError::Closed)?;
        let bytes = packet.len() as u64;
        let reservation = match self.reserve(id, bytes) {
            Err(AppendError::QueueFull { .. }) => {
                if let Some(found) = self.find(&id, &hash).await.map_err(append_failed)?
                    && let Some(stored) = self.judge(&id, &found, now_ms)
                {
                    return Ok(stored);
                }
                // What is past its time takes no room.
                self.expire_queue(id, now_ms).await.map_err(of_control)?;
                self.reserve(id, bytes)?
            }
            reserved => reserved?,
        };
        let stored = self.publish_packet(id, hash, packet, now_ms).await?;
        if !stored.duplicate {
            follow::wait_for(&self.progress, stored.cursor.value(), SEEN_WITHIN).await;
        }
        drop(reservation);
        Ok(stored)
    }

    /// Stores a packet if there is none like it.
    async fn publish_packet(
        &self,
        id: QueueId,
        hash: PacketHash,
        packet: Bytes,
        now_ms: u64,
    ) -> Result<Stored, AppendError> {
        let subject = packet_subject(&self.prefix, &id, &hash);
        let mut expected = 0;
        for attempt in 0..TRIES {
            let headers = packet_headers(now_ms, expected, self.config.ttl_ms);
            match self.publish(&subject, headers, packet.clone()).await {
                Ok(sequence) => {
                    return Ok(Stored {
                        cursor: Cursor::new(sequence),
                        stored_at_ms: now_ms,
                        duplicate: false,
                    });
                }
                Err(error) if is_conflict(&error) => {}
                Err(error) => return Err(append_error(error)),
            }
            match self.find(&id, &hash).await.map_err(append_failed)? {
                Some(found) => match self.judge(&id, &found, now_ms) {
                    Some(stored) => return Ok(stored),
                    None => expected = found.sequence,
                },
                None => {
                    // Another one like it is on its way into the stream, or has just left it.
                    expected = 0;
                    tokio::time::sleep(Duration::from_millis(5 << attempt)).await;
                }
            }
        }
        Err(AppendError::Busy)
    }

    /// Publishes on condition of what stands at the subject; returns the sequence.
    pub(crate) async fn publish(
        &self,
        subject: &str,
        headers: async_nats::HeaderMap,
        payload: Bytes,
    ) -> Result<u64, PublishError> {
        let message = PublishMessage::build().headers(headers).payload(payload);
        let answer = self
            .context
            .send_publish(subject.to_owned(), message)
            .await?;
        Ok(answer.await?.sequence)
    }

    /// What stands at a packet's subject, as the stream's leader has it.
    async fn find(
        &self,
        id: &QueueId,
        hash: &PacketHash,
    ) -> Result<Option<Found>, async_nats::Error> {
        let subject = packet_subject(&self.prefix, id, hash);
        let found = match self.stream.get_last_raw_message_by_subject(&subject).await {
            Ok(found) => found,
            Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => {
                return Ok(None);
            }
            Err(error) => return Err(error.into()),
        };
        let (cursor, stored_at_ms) = stored(&found.headers, found.sequence)
            .ok_or("a message without its time stands where a packet should")?;
        Ok(Some(Found {
            sequence: found.sequence,
            cursor,
            stored_at_ms,
        }))
    }

    /// The outcome of a packet stored before, if it still counts.
    fn judge(&self, id: &QueueId, found: &Found, now_ms: u64) -> Option<Stored> {
        let view = self.view.lock();
        let origin = view.queues.get(id).map_or(0, |queue| queue.state.origin);
        let limit_ms = now_ms.checked_sub(self.config.ttl_ms);
        let counts =
            found.cursor >= origin && limit_ms.is_none_or(|limit_ms| found.stored_at_ms > limit_ms);
        counts.then_some(Stored {
            cursor: Cursor::new(found.cursor),
            stored_at_ms: found.stored_at_ms,
            duplicate: true,
        })
    }

    async fn read(
        &self,
        id: QueueId,
        device: DeviceId,
        after: Cursor,
        max_items: usize,
        max_bytes: usize,
    ) -> Result<Vec<StoredPacket>, ReadError> {
        let (max_items, max_bytes) = (
            max_items.clamp(1, READ_ITEMS_MAX),
            max_bytes.min(READ_BYTES_MAX) as u64,
        );
        let wanted = {
            let view = self.view.lock();
            if view.closed {
                return Err(ReadError::Closed);
            }
            let queue = view
                .queues
                .get(&id)
                .filter(|queue| queue.device_is_known(device));
            let queue = queue.ok_or(ReadError::UnknownDevice)?;
            let Some(from) = after.value().checked_add(1) else {
                return Ok(Vec::new());
            };
            let mut wanted: Vec<(u64, Kept)> = Vec::new();
            let mut bytes = 0;
            for (cursor, kept) in queue.packets.range(from..) {
                bytes += u64::from(kept.len);
                if wanted.len() >= max_items || (bytes > max_bytes && !wanted.is_empty()) {
                    break;
                }
                wanted.push((*cursor, *kept));
            }
            wanted
        };
        let fetches = wanted
            .into_iter()
            .map(|(cursor, kept)| self.fetch(cursor, kept));
        let fetched: Vec<Option<StoredPacket>> = futures_util::stream::iter(fetches)
            .buffered(FETCHES)
            .try_collect()
            .await
            .map_err(|error| ReadError::Io(Arc::new(std::io::Error::other(error))))?;
        Ok(fetched.into_iter().flatten().collect())
    }

    /// One packet; `None` if it went meanwhile.
    async fn fetch(
        &self,
        cursor: u64,
        kept: Kept,
    ) -> Result<Option<StoredPacket>, async_nats::Error> {
        let message = match self.stream.direct_get(cursor).await {
            Ok(message) => message,
            // Any replica answers this; one that lags is no reason to leave a packet out.
            Err(error) if error.kind() == DirectGetErrorKind::NotFound => {
                match self.stream.get_raw_message(cursor).await {
                    Ok(message) => message,
                    Err(error) if error.kind() == RawMessageErrorKind::NoMessageFound => {
                        return Ok(None);
                    }
                    Err(error) => return Err(error.into()),
                }
            }
            Err(error) => return Err(error.into()),
        };
        Ok(Some(StoredPacket {
            cursor: Cursor::new(cursor),
            stored_at_ms: kept.stored_at_ms,
            packet: message.payload,
        }))
    }

    fn stats(&self, id: &QueueId) -> Result<QueueStats, ReadError> {
        let view = self.view.lock();
        if view.closed {
            return Err(ReadError::Closed);
        }
        let Some(queue) = view.queues.get(id) else {
            return Ok(QueueStats::default());
        };
        let part = |used: u64, quota: u64| used as f64 / quota.max(1) as f64;
        Ok(QueueStats {
            count: queue.count(),
            bytes: queue.bytes,
            oldest_ms: queue.packets.values().next().map(|kept| kept.stored_at_ms),
            devices: queue.state.devices.len(),
            quota_fraction: part(queue.bytes, self.config.queue_quota_bytes)
                .max(part(queue.count(), self.config.queue_quota_packets)),
        })
    }

    async fn flush(&self) -> Result<(), ControlError> {
        // Who asks for the lock waits for all changes that came before.
        let closed = self.closed.write().await;
        if *closed {
            Err(ControlError::Closed)
        } else {
            Ok(())
        }
    }

    async fn close(&self) {
        *self.closed.write().await = true;
        self.closing.send_replace(true);
        self.view.lock().close();
        self.sweeper.finish().await;
    }
}

/// Whether something else than expected stood at the subject, or is about to.
pub(crate) fn is_conflict(error: &PublishError) -> bool {
    error.kind() == PublishErrorKind::WrongLastSequence
        || server_error(error) == Some(jetstream::ErrorCode::STREAM_WRONG_LAST_SEQUENCE_CONSTANT)
}

fn server_error(error: &PublishError) -> Option<jetstream::ErrorCode> {
    let source = std::error::Error::source(error)?;
    source
        .downcast_ref::<jetstream::Error>()
        .map(jetstream::Error::error_code)
}

/// Whether the servers have no room.
pub(crate) fn is_full(error: &PublishError) -> bool {
    use jetstream::ErrorCode as Code;
    matches!(
        server_error(error),
        Some(
            Code::STORAGE_RESOURCES_EXCEEDED
                | Code::STREAM_STORE_FAILED
                | Code::INSUFFICIENT_RESOURCES
        )
    )
}

fn append_error(error: PublishError) -> AppendError {
    if is_full(&error) {
        AppendError::DiskFull
    } else if error.kind() == PublishErrorKind::MaxAckPending {
        AppendError::Busy
    } else {
        append_failed(error.into())
    }
}

fn append_failed(error: async_nats::Error) -> AppendError {
    AppendError::Io(Arc::new(std::io::Error::other(error)))
}

fn of_control(error: ControlError) -> AppendError {
    match error {
        ControlError::DiskFull => AppendError::DiskFull,
        ControlError::Busy => AppendError::Busy,
        ControlError::Closed => AppendError::Closed,
        error => append_failed(error.into()),
    }
}

impl PacketStore for NatsStore {
    fn append(
        &self,
        queue: QueueId,
        packet_hash: PacketHash,
        packet: Bytes,
        now_ms: u64,
    ) -> BoxFuture<'_, Result<Stored, AppendError>> {
        Box::pin(self.shared.append(queue, packet_hash, packet, now_ms))
    }

    fn read(
        &self,
        queue: QueueId,
        device: DeviceId,
        after: Cursor,
        max_items: usize,
        max_bytes: usize,
    ) -> BoxFuture<'_, Result<Vec<StoredPacket>, ReadError>> {
        Box::pin(self.shared.read(queue, device, after, max_items, max_bytes))
    }

    fn register_device(
        &self,
        queue: QueueId,
        device: DeviceId,
        now_ms: u64,
    ) -> BoxFuture<'_, Result<Cursor, ControlError>> {
        Box::pin(self.shared.register_device(queue, device, now_ms))
    }

    fn acknowledge(
        &self,
        queue: QueueId,
        device: DeviceId,
        up_to: Cursor,
        now_ms: u64,
    ) -> BoxFuture<'_, Result<(), ControlError>> {
        Box::pin(self.shared.acknowledge(queue, device, up_to, now_ms))
    }

    fn subscribe(&self, queue: QueueId) -> Arrivals {
        self.shared.view.lock().subscribe(queue)
    }

    fn stats(&self, queue: QueueId) -> BoxFuture<'_, Result<QueueStats, ReadError>> {
        Box::pin(async move { self.shared.stats(&queue) })
    }

    fn remove_queue(&self, queue: QueueId) -> BoxFuture<'_, Result<(), ControlError>> {
        Box::pin(self.shared.remove_queue(queue))
    }

    fn expire(&self, now_ms: u64) -> BoxFuture<'_, Result<u64, ControlError>> {
        Box::pin(self.shared.expire(now_ms))
    }

    fn flush(&self) -> BoxFuture<'_, Result<(), ControlError>> {
        Box::pin(self.shared.flush())
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.shared.close())
    }
}
