//! What is known of one bridge: how often it failed of late, and how long it takes.

/// How long it takes until a failure counts half, in milliseconds.
pub const HALF_LIFE_MS: u64 = 30_000;
/// The longest time to connect that is told apart, in milliseconds.
pub const MAX_LATENCY_MS: u64 = 60_000;

/// Failures count as many at most, so that any bridge is tried again some minutes after its last.
const MAX_PENALTY: f64 = 8.0;
/// From here on a bridge is avoided. One failure alone is forgiven after one half-life.
const SICK_PENALTY: f64 = 0.5;
/// A success leaves this much of the penalty.
const FORGIVEN: f64 = 0.25;
/// How much the last latency counts against those before.
const LATENCY_SHARE: f64 = 0.2;
/// Added to each latency, so that small differences between near bridges don't decide where everything goes.
const LATENCY_FLOOR_MS: f64 = 50.0;
/// What is assumed of a bridge that was never used: good enough to be tried.
const UNKNOWN_LATENCY_MS: f64 = 150.0;

/// What is known of one bridge.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Health {
    /// Failures, as they counted at `since_ms`.
    penalty: f64,
    since_ms: u64,
    latency_ms: Option<f64>,
}

impl Health {
    /// Whether it is chosen while others are left.
    #[must_use]
    pub fn is_healthy(&self, now_ms: u64) -> bool {
        self.penalty(now_ms) < SICK_PENALTY
    }

    /// How long it took to connect of late, in milliseconds; nothing before the first time.
    #[must_use]
    pub fn latency_ms(&self) -> Option<u64> {
        self.latency_ms.map(|latency| latency as u64)
    }

    /// How often it is chosen, in proportion to others; above zero and finite.
    pub(super) fn weight(&self, now_ms: u64) -> f64 {
        let latency = self.latency_ms.unwrap_or(UNKNOWN_LATENCY_MS);
        (-4.0 * self.penalty(now_ms)).exp2() / (LATENCY_FLOOR_MS + latency)
    }

    pub(super) fn succeeded(&mut self, latency_ms: u64, now_ms: u64) {
        self.set_penalty(self.penalty(now_ms) * FORGIVEN, now_ms);
        let latest = latency_ms.min(MAX_LATENCY_MS) as f64;
        let before = self.latency_ms.unwrap_or(latest);
        self.latency_ms = Some(before + LATENCY_SHARE * (latest - before));
    }

    pub(super) fn failed(&mut self, now_ms: u64) {
        self.set_penalty(self.penalty(now_ms) + 1.0, now_ms);
    }

    /// A clock that goes back leaves the penalty as it was.
    fn penalty(&self, now_ms: u64) -> f64 {
        let age = now_ms.saturating_sub(self.since_ms) as f64;
        self.penalty * (-age / HALF_LIFE_MS as f64).exp2()
    }

    fn set_penalty(&mut self, penalty: f64, now_ms: u64) {
        self.penalty = penalty.min(MAX_PENALTY);
        self.since_ms = now_ms;
    }
}
