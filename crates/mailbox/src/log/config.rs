//! The limits of the embedded store.

use super::header::FILE_HEADER_LEN;
use super::record::{REMEMBERED_MAX, STATE_FRAME_MAX, memory_frame_len, packet_frame_len};
use crate::error::OpenError;

/// Longest file of the packet log: places are kept as 32-bit multiples of 8, and files this long would be rewritten in one go.
pub const SEGMENT_BYTES_MAX: u64 = 4 << 30;

/// Limits of a [`LogStore`](super::LogStore); the default fits a node on one ordinary machine.
#[derive(Clone, Debug)]
pub struct LogConfig {
    /// Length of one file of the log. Default 64 MiB.
    pub segment_bytes: u64,
    /// Longest packet, in bytes. Default 1 MiB.
    pub max_packet_bytes: usize,
    /// Bytes of packets that one queue may keep. Default 256 MiB.
    pub queue_quota_bytes: u64,
    /// Packets that one queue may keep. Default 4 Mi.
    pub queue_quota_packets: u64,
    /// How long a packet is kept, and its hash remembered, in milliseconds. Default 14 days.
    pub ttl_ms: u64,
    /// Bytes that all files of the packet log may take on disk together. Default 64 GiB.
    pub max_total_bytes: u64,
    /// Queues that the store may keep. Default 1 Mi.
    pub max_queues: usize,
    /// Deleted packets whose hashes one queue remembers. Default 1 Mi (45 MiB of memory).
    ///
    /// Past it the oldest are forgotten: a packet that old which is sent once more is then stored
    /// once more, and the recipient's own memory of message ids has to sort it out.
    pub queue_remembered_packets: usize,
    /// Deleted packets whose hashes all queues remember together. Default 16 Mi (720 MiB of memory).
    ///
    /// Past it every queue forgets the older half of its own.
    pub total_remembered_packets: usize,
    /// Account records that the directory may keep. Default 1 Mi.
    pub max_accounts: usize,
    /// Bytes that may wait to be written before appending answers `Busy`. Default 64 MiB.
    pub waiting_bytes: usize,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            segment_bytes: 64 << 20,
            max_packet_bytes: 1 << 20,
            queue_quota_bytes: 256 << 20,
            queue_quota_packets: 4 << 20,
            ttl_ms: 14 * 24 * 60 * 60 * 1000,
            max_total_bytes: 64 << 30,
            max_queues: 1 << 20,
            queue_remembered_packets: 1 << 20,
            total_remembered_packets: 16 << 20,
            max_accounts: 1 << 20,
            waiting_bytes: 64 << 20,
        }
    }
}

impl LogConfig {
    /// The part of each file kept for records other than packets, so that acknowledging works on a full disk.
    pub(super) fn control_reserve(&self) -> u64 {
        (self.segment_bytes / 16).max(4 * STATE_FRAME_MAX as u64)
    }

    /// The least length of a file, which holds the longest packet and some states.
    fn least_segment(&self) -> u64 {
        let needed =
            FILE_HEADER_LEN + packet_frame_len(self.max_packet_bytes) + 8 * STATE_FRAME_MAX;
        needed as u64 * 16 / 15
    }

    /// Shortest file that is begun: on a full disk a freed file may not get back what was cut off its end.
    pub(super) fn shortest_segment(&self) -> u64 {
        (self.segment_bytes / 4 * 3).max(self.least_segment())
    }

    pub(super) fn check(&self) -> Result<(), OpenError> {
        let refuse = |reason| Err(OpenError::Config { reason });
        if self.segment_bytes > SEGMENT_BYTES_MAX || !self.segment_bytes.is_multiple_of(8) {
            return refuse("segment_bytes must be a multiple of 8 and 4 GiB at most");
        }
        if self.max_packet_bytes > super::frame::PAYLOAD_MAX {
            return refuse("max_packet_bytes must be 32 MiB at most");
        }
        if self.segment_bytes < self.least_segment() {
            return refuse("segment_bytes must hold the longest packet and 4 KiB besides");
        }
        if self.max_total_bytes < 4 * self.segment_bytes {
            return refuse("max_total_bytes must be four times segment_bytes at least");
        }
        if self.ttl_ms == 0 || self.waiting_bytes == 0 || self.max_queues == 0 {
            return refuse("ttl_ms, waiting_bytes and max_queues must not be 0");
        }
        debug_assert!(memory_frame_len(REMEMBERED_MAX) < super::frame::PAYLOAD_MAX);
        Ok(())
    }
}
