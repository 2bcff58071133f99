//! The contract that every store of packets keeps.

use std::future::Future;
use std::pin::Pin;

use bytes::Bytes;
use tokio::sync::watch;

use crate::error::{AppendError, ControlError, DirectoryError, ReadError};
use crate::queue::{Cursor, DeviceId, QueueId};

/// A boxed future, so that a store can be held as `Arc<dyn PacketStore>`.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The SHA-256 of a packet, by which a repeated packet is known.
pub type PacketHash = [u8; 32];

/// Most devices that one queue may have.
pub const DEVICES_MAX: usize = 8;

/// A device that neither registers nor acknowledges for this long is dropped: 30 days.
pub const DEVICE_IDLE_MS: u64 = 30 * 24 * 60 * 60 * 1000;

/// Most packets that one read returns, whatever it asks for.
pub const READ_ITEMS_MAX: usize = 4096;

/// Most packet bytes that one read returns, whatever it asks for, unless a single packet is larger: 16 MiB.
pub const READ_BYTES_MAX: usize = 16 << 20;

/// The outcome of storing a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Where the packet stands in its queue.
    pub cursor: Cursor,
    /// When it was stored first, in milliseconds since 1970.
    pub stored_at_ms: u64,
    /// Whether it had been stored before; cursor and time are then those of the first time.
    pub duplicate: bool,
}

/// One packet as it lies in a queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredPacket {
    /// Where the packet stands in its queue.
    pub cursor: Cursor,
    /// When it was stored, in milliseconds since 1970.
    pub stored_at_ms: u64,
    /// The packet, byte for byte.
    pub packet: Bytes,
}

/// How full a queue is.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct QueueStats {
    /// Packets kept.
    pub count: u64,
    /// Bytes of the packets kept.
    pub bytes: u64,
    /// When the oldest packet kept was stored.
    pub oldest_ms: Option<u64>,
    /// Registered devices.
    pub devices: usize,
    /// Used part of the quota, of packets or of bytes, whichever is larger: 0 to 1.
    pub quota_fraction: f64,
}

/// Tells a reader that its queue has got packets.
#[derive(Clone, Debug)]
pub struct Arrivals(watch::Receiver<Cursor>);

impl Arrivals {
    /// Wraps the channel on which a store announces the last cursor of a queue.
    pub fn new(cursors: watch::Receiver<Cursor>) -> Self {
        Self(cursors)
    }

    /// Waits for a packet stored after this handle was made or last returned, and gives its cursor.
    ///
    /// Several packets may be reported as one. `None` means that the queue was removed or the
    /// store closed. To miss nothing: subscribe, read until nothing is left, then wait.
    ///
    /// # Cancel safety
    /// A cancelled wait loses no notice.
    pub async fn arrived(&mut self) -> Option<Cursor> {
        self.0.changed().await.ok()?;
        Some(*self.0.borrow_and_update())
    }
}

/// Durable queues of packets, one per wallet.
///
/// Every change is on disk before its future is ready. Within a queue, cursors rise in the order
/// in which packets were stored, and a reader sees them in that order. A packet is kept until each
/// registered device has acknowledged it, or until its time to live is over; a queue without
/// devices keeps its packets for the time to live. Times are milliseconds since 1970 and always
/// come from the caller.
///
/// # Cancel safety
/// A dropped future of a change leaves it undecided: it may still be carried out.
pub trait PacketStore: Send + Sync + 'static {
    /// Stores a packet durably and returns its place, or the place of the same packet stored before.
    ///
    /// `packet_hash` is the SHA-256 of `packet`; within the time to live the same hash in the
    /// same queue is stored once only, also after it was acknowledged and after a restart.
    ///
    /// # Errors
    /// See [`AppendError`]; nothing was stored then.
    fn append(
        &self,
        queue: QueueId,
        packet_hash: PacketHash,
        packet: Bytes,
        now_ms: u64,
    ) -> BoxFuture<'_, Result<Stored, AppendError>>;

    /// Returns packets after a cursor, in order: as many as fit both limits, and at least one if there is any.
    ///
    /// Limits are cut to [`READ_ITEMS_MAX`] and [`READ_BYTES_MAX`]. A packet that is damaged on
    /// disk is left out and reported to the log.
    ///
    /// # Errors
    /// See [`ReadError`].
    fn read(
        &self,
        queue: QueueId,
        device: DeviceId,
        after: Cursor,
        max_items: usize,
        max_bytes: usize,
    ) -> BoxFuture<'_, Result<Vec<StoredPacket>, ReadError>>;

    /// Makes a device known at a queue, which is opened if need be, and returns the cursor it has acknowledged.
    ///
    /// A new device starts at the oldest packet kept. Devices idle for [`DEVICE_IDLE_MS`] are
    /// dropped to make room; there are [`DEVICES_MAX`] at most.
    ///
    /// # Errors
    /// See [`ControlError`].
    fn register_device(
        &self,
        queue: QueueId,
        device: DeviceId,
        now_ms: u64,
    ) -> BoxFuture<'_, Result<Cursor, ControlError>>;

    /// Notes durably that a device has everything up to a cursor; what all devices have is deleted.
    ///
    /// A cursor below the device's mark changes nothing.
    ///
    /// # Errors
    /// See [`ControlError`].
    fn acknowledge(
        &self,
        queue: QueueId,
        device: DeviceId,
        up_to: Cursor,
        now_ms: u64,
    ) -> BoxFuture<'_, Result<(), ControlError>>;

    /// Returns a handle that wakes whenever a packet was stored in the queue.
    fn subscribe(&self, queue: QueueId) -> Arrivals;

    /// Tells how full a queue is; one that doesn't exist is empty.
    ///
    /// # Errors
    /// See [`ReadError`].
    fn stats(&self, queue: QueueId) -> BoxFuture<'_, Result<QueueStats, ReadError>>;

    /// Deletes a queue with its packets, devices and memory of packet hashes.
    ///
    /// If it is opened again later, its cursors go on above those it had.
    ///
    /// # Errors
    /// See [`ControlError`].
    fn remove_queue(&self, queue: QueueId) -> BoxFuture<'_, Result<(), ControlError>>;

    /// Deletes packets older than the time to live, drops idle devices and forgets empty queues; returns how many packets went.
    ///
    /// # Errors
    /// See [`ControlError`].
    fn expire(&self, now_ms: u64) -> BoxFuture<'_, Result<u64, ControlError>>;

    /// Waits until everything handed in before is on disk.
    ///
    /// # Errors
    /// See [`ControlError`].
    fn flush(&self) -> BoxFuture<'_, Result<(), ControlError>>;

    /// Finishes what was handed in, then closes; later calls answer `Closed`.
    fn close(&self) -> BoxFuture<'_, ()>;
}

/// Longest key of an account record, in bytes.
pub const ACCOUNT_KEY_MAX: usize = 64;

/// Longest value of an account record, in bytes: 16 KiB.
pub const ACCOUNT_VALUE_MAX: usize = 16 << 10;

/// One page of account records, in the order of their keys.
pub type AccountPage = Vec<(Bytes, Bytes)>;

/// Durable small records of the accounts that have a mailbox here.
pub trait Directory: Send + Sync + 'static {
    /// Writes a record durably, in place of an older one of the same key.
    ///
    /// # Errors
    /// See [`DirectoryError`].
    fn put(&self, key: Bytes, value: Bytes) -> BoxFuture<'_, Result<(), DirectoryError>>;

    /// Returns the value of a key, if there is one.
    ///
    /// # Errors
    /// See [`DirectoryError`].
    fn get(&self, key: Bytes) -> BoxFuture<'_, Result<Option<Bytes>, DirectoryError>>;

    /// Removes a record durably; tells whether there was one.
    ///
    /// # Errors
    /// See [`DirectoryError`].
    fn remove(&self, key: Bytes) -> BoxFuture<'_, Result<bool, DirectoryError>>;

    /// Returns up to `max_items` records whose keys come after `after` in byte order; an empty page ends the iteration.
    ///
    /// Damaged values are left out and reported to the log.
    ///
    /// # Errors
    /// See [`DirectoryError`].
    fn page(
        &self,
        after: Option<Bytes>,
        max_items: usize,
    ) -> BoxFuture<'_, Result<AccountPage, DirectoryError>>;

    /// Finishes what was handed in, then closes; later calls answer `Closed`.
    fn close(&self) -> BoxFuture<'_, ()>;
}
