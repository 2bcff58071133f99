//! The time that messages, leases and rotations go by.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The machine's clock, which a test may put forward; clones share it.
#[derive(Debug, Clone, Default)]
pub struct WallClock {
    ahead_ms: Arc<AtomicU64>,
}

impl WallClock {
    /// The machine's clock as it is.
    #[must_use]
    pub fn system() -> Self {
        Self::default()
    }

    /// Unix milliseconds.
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        let machine = since.map_or(0, millis);
        machine.saturating_add(self.ahead_ms.load(Ordering::Relaxed))
    }

    /// Unix seconds.
    #[must_use]
    pub fn now_s(&self) -> u64 {
        self.now_ms() / 1_000
    }

    /// Puts the clock forward, for whoever shares it.
    pub fn advance(&self, by: Duration) {
        self.ahead_ms.fetch_add(millis(by), Ordering::Relaxed);
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
