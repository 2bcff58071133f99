//! Durable packet queues: what a mailbox keeps for wallets that are offline.
//!
//! A [`PacketStore`] keeps one queue of packets per wallet. What it answered is on disk: it
//! survives `kill -9` and power loss at any moment, though not the loss of the disk. It never looks
//! into a packet, never reads a clock (times come from the caller), and never logs whose queue it
//! works on. [`LogStore`] is the embedded store: an append-only log with group commit. Beside its
//! queues it keeps a [`Directory`] of small account records.
//!
//! ```
//! # tokio::runtime::Runtime::new().unwrap().block_on(async {
//! use mailbox::{Cursor, DeviceId, LogConfig, LogStore, PacketStore, QueueId};
//!
//! let folder = tempfile::tempdir()?;
//! let store = LogStore::open(folder.path(), LogConfig::default())?;
//! let (queue, device) = (QueueId::new([7; 20]), DeviceId::new([1; 16]));
//! let now_ms = 1_800_000_000_000;
//!
//! let stored = store.append(queue, [42; 32], "a packet".into(), now_ms).await?;
//! let resume = store.register_device(queue, device, now_ms).await?;
//! let packets = store.read(queue, device, resume, 100, 1 << 20).await?;
//! assert_eq!(packets[0].cursor, stored.cursor);
//! store.acknowledge(queue, device, stored.cursor, now_ms).await?;
//! assert_eq!(store.stats(queue).await?.count, 0);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # }).unwrap();
//! ```

pub mod disk;
mod error;
mod log;
mod queue;
mod store;

pub use error::{AppendError, ControlError, DirectoryError, OpenError, ReadError};
pub use log::{
    DAMAGE_REPORTED_MAX, Damage, LogConfig, LogDirectory, LogStore, Recovery, SEGMENT_BYTES_MAX,
    StoreFigures,
};
pub use queue::{Cursor, DeviceId, QueueId};
pub use store::{
    ACCOUNT_KEY_MAX, ACCOUNT_VALUE_MAX, AccountPage, Arrivals, BoxFuture, DEVICE_IDLE_MS,
    DEVICES_MAX, Directory, PacketHash, PacketStore, QueueStats, READ_BYTES_MAX, READ_ITEMS_MAX,
    Stored, StoredPacket,
};
