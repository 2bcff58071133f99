//! The embedded store keeps the contract, with files of ordinary length and with tiny ones.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a failed test may panic"
)]

#[macro_use]
#[path = "suite/conformance.rs"]
mod conformance;

use std::sync::Arc;

use conformance::{Fixture, Limits};
use mailbox::{LogConfig, LogStore, PacketStore};

fn config(limits: Limits, segment_bytes: u64) -> LogConfig {
    LogConfig {
        segment_bytes,
        max_packet_bytes: limits.max_packet_bytes,
        queue_quota_bytes: limits.quota_bytes,
        queue_quota_packets: limits.quota_packets,
        ttl_ms: limits.ttl_ms,
        ..LogConfig::default()
    }
}

mod ordinary {
    use super::*;

    struct Ordinary(tempfile::TempDir);

    impl Fixture for Ordinary {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        async fn open(&self, limits: Limits) -> Arc<dyn PacketStore> {
            Arc::new(LogStore::open(self.0.path(), config(limits, 8 << 20)).unwrap())
        }
    }

    conformance_tests!(Ordinary);
}

mod tiny_files {
    use super::*;

    struct Tiny(tempfile::TempDir);

    impl Fixture for Tiny {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        async fn open(&self, limits: Limits) -> Arc<dyn PacketStore> {
            Arc::new(LogStore::open(self.0.path(), config(limits, 28 << 10)).unwrap())
        }
    }

    conformance_tests!(Tiny);
}
