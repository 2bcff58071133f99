//! The words of a queue: whose it is, which device reads it, where a reader stands.

use std::fmt;

use wallet::WalletAddress;

/// Names one queue: the 20 bytes of the wallet address whose packets it keeps.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueueId([u8; 20]);

impl QueueId {
    /// Length in bytes.
    pub const LEN: usize = 20;

    /// Takes the 20 bytes as they are.
    pub const fn new(bytes: [u8; 20]) -> Self {
        Self(bytes)
    }

    /// Shows the 20 bytes.
    pub const fn as_bytes(&self) -> &[u8; 20] {
        &self.0
    }
}

impl From<WalletAddress> for QueueId {
    fn from(address: WalletAddress) -> Self {
        let mut bytes = [0; 20];
        bytes.copy_from_slice(address.as_ref());
        Self(bytes)
    }
}

impl From<[u8; 20]> for QueueId {
    fn from(bytes: [u8; 20]) -> Self {
        Self(bytes)
    }
}

impl fmt::Debug for QueueId {
    /// Writes nothing of the queue's name, so that a log line can't carry a wallet.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("QueueId(…)")
    }
}

/// Names one device of a queue's owner: 16 random bytes that the device chose.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceId([u8; 16]);

impl DeviceId {
    /// Length in bytes.
    pub const LEN: usize = 16;

    /// Takes the 16 bytes as they are.
    pub const fn new(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Shows the 16 bytes.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl From<[u8; 16]> for DeviceId {
    fn from(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }
}

impl fmt::Debug for DeviceId {
    /// Writes nothing of the device's name, for the same reason as [`QueueId`].
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DeviceId(…)")
    }
}

/// A packet's place in its queue: strictly rising from 1, never used twice, gaps allowed.
///
/// [`Cursor::START`] (0) stands before the first packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cursor(u64);

impl Cursor {
    /// The place before the first packet of any queue.
    pub const START: Self = Self(0);

    /// Takes a cursor as it travelled in a command.
    pub const fn new(value: u64) -> Self {
        Self(value)
    }

    /// The number itself.
    pub const fn value(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
