//! What can go wrong, one type per operation.

use std::io;
use std::sync::Arc;

use crate::queue::Cursor;

/// Why a packet was not stored. Nothing of it is kept, and sending it again is safe.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AppendError {
    /// The queue's quota is used up: its owner has to collect and acknowledge first.
    #[error("queue is full: {count} packets of {count_quota}, {bytes} bytes of {bytes_quota}")]
    QueueFull {
        /// Bytes kept in the queue.
        bytes: u64,
        /// Packets kept in the queue.
        count: u64,
        /// Bytes the queue may keep.
        bytes_quota: u64,
        /// Packets the queue may keep.
        count_quota: u64,
    },
    /// The packet is larger than the store takes.
    #[error("packet of {bytes} bytes exceeds the limit of {limit}")]
    TooLarge {
        /// Length of the packet.
        bytes: usize,
        /// Longest packet the store takes.
        limit: usize,
    },
    /// The store may not keep more queues.
    #[error("store already keeps {limit} queues")]
    TooManyQueues {
        /// Most queues the store keeps.
        limit: usize,
    },
    /// The disk, or the part of it given to the store, is full; reading still works.
    #[error("no room left on disk for the store")]
    DiskFull,
    /// More is waiting to be written than the store queues up; try again shortly.
    #[error("store is busy")]
    Busy,
    /// Writing failed. When it was the sync that failed, the store refuses every further write.
    #[error("store could not write")]
    Io(#[source] Arc<io::Error>),
    /// The store is closed.
    #[error("store is closed")]
    Closed,
}

/// Why packets could not be read.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The device is not registered at this queue, or was dropped after long idleness.
    #[error("device is not registered at this queue")]
    UnknownDevice,
    /// Reading failed.
    #[error("store could not read")]
    Io(#[source] Arc<io::Error>),
    /// The store is closed.
    #[error("store is closed")]
    Closed,
}

/// Why a queue's devices, marks or existence could not be changed.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ControlError {
    /// The device is not registered at this queue, or was dropped after long idleness.
    #[error("device is not registered at this queue")]
    UnknownDevice,
    /// The queue has its full number of devices, and none of them is idle for long enough.
    #[error("queue already has {limit} devices")]
    TooManyDevices {
        /// Most devices a queue may have.
        limit: usize,
    },
    /// The acknowledged cursor lies behind the last packet of the queue.
    #[error("cursor {up_to} is past the last packet, {last}")]
    PastEnd {
        /// The cursor that was to be acknowledged.
        up_to: Cursor,
        /// The last cursor given out in this queue.
        last: Cursor,
    },
    /// The store may not keep more queues.
    #[error("store already keeps {limit} queues")]
    TooManyQueues {
        /// Most queues the store keeps.
        limit: usize,
    },
    /// The disk, or the part of it given to the store, is full; reading still works.
    #[error("no room left on disk for the store")]
    DiskFull,
    /// More is waiting to be written than the store queues up; try again shortly.
    #[error("store is busy")]
    Busy,
    /// Writing failed. When it was the sync that failed, the store refuses every further write.
    #[error("store could not write")]
    Io(#[source] Arc<io::Error>),
    /// The store is closed.
    #[error("store is closed")]
    Closed,
}

/// Why an account record was not written or read.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DirectoryError {
    /// The key is empty or too long.
    #[error("key of {bytes} bytes is not within 1 to {limit}")]
    KeyLength {
        /// Length of the key.
        bytes: usize,
        /// Longest key.
        limit: usize,
    },
    /// The value is too long.
    #[error("value of {bytes} bytes exceeds the limit of {limit}")]
    ValueTooLarge {
        /// Length of the value.
        bytes: usize,
        /// Longest value.
        limit: usize,
    },
    /// The directory may not keep more records.
    #[error("directory already keeps {limit} records")]
    Full {
        /// Most records.
        limit: usize,
    },
    /// The disk is full; reading still works.
    #[error("no room left on disk for the directory")]
    DiskFull,
    /// More is waiting to be written than the directory queues up; try again shortly.
    #[error("directory is busy")]
    Busy,
    /// The record on disk is damaged.
    #[error("record is damaged on disk")]
    Damaged,
    /// Reading or writing failed. After a failed sync every further write is refused.
    #[error("directory could not read or write")]
    Io(#[source] Arc<io::Error>),
    /// The directory is closed.
    #[error("directory is closed")]
    Closed,
}

/// Why a store could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// A configured limit makes no sense, or two contradict each other.
    #[error("invalid store configuration: {reason}")]
    Config {
        /// What is wrong and how it would be right.
        reason: &'static str,
    },
    /// Another process, or another store of this process, has the directory open.
    #[error("store directory is in use by another process")]
    Locked,
    /// The files were written in a format that this version doesn't know.
    #[error("store has format version {found}, this program reads version {supported}")]
    Version {
        /// The version in the file.
        found: u16,
        /// The version that this program reads and writes.
        supported: u16,
    },
    /// No file in the directory says what its records are checked with.
    #[error("no file of the store has a readable header")]
    NoHeader,
    /// Reading or writing failed.
    #[error("could not {action} in the store directory")]
    Io {
        /// What was being done.
        action: &'static str,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
}
