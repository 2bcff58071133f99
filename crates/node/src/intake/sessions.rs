//! The sessions that clients have with this node.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::{Mutex, RwLock};
use protocol::session::{CounterWindow, NodeSession, SessionId};

use crate::config::MAX_SESSIONS;
use crate::metrics::Metrics;

/// A session without an exchange for this long is dropped; its client shakes hands again.
const IDLE_MS: u64 = 3_600_000;
/// Sessions looked at for the longest idle one when there is no room.
const EVICTION_SAMPLE: usize = 32;

/// A session and what changes with its use.
pub(super) struct Session {
    pub(super) keys: NodeSession,
    window: Mutex<CounterWindow>,
    used_ms: AtomicU64,
}

impl Session {
    /// Takes an exchange's counter and says whether it is new.
    pub(super) fn take(&self, counter: u64, now_ms: u64) -> bool {
        self.used_ms.store(now_ms, Ordering::Relaxed);
        self.window.lock().take(counter)
    }
}

/// All sessions, by id, bounded.
pub(crate) struct Sessions {
    by_id: RwLock<HashMap<SessionId, Arc<Session>>>,
    metrics: Arc<Metrics>,
}

impl Sessions {
    pub(crate) fn new(metrics: Arc<Metrics>) -> Self {
        Self {
            by_id: RwLock::default(),
            metrics,
        }
    }

    pub(super) fn find(&self, id: &SessionId, now_ms: u64) -> Option<Arc<Session>> {
        let session = Arc::clone(self.by_id.read().get(id)?);
        (now_ms < session.keys.expires_ms).then_some(session)
    }

    pub(super) fn insert(&self, keys: NodeSession, now_ms: u64) {
        let session = Session {
            window: Mutex::default(),
            used_ms: AtomicU64::new(now_ms),
            keys,
        };
        let mut by_id = self.by_id.write();
        if by_id.len() >= MAX_SESSIONS {
            // The map's order is random per process, so any few of it are a fair sample.
            let idlest = by_id
                .iter()
                .take(EVICTION_SAMPLE)
                .min_by_key(|(_, s)| s.used_ms.load(Ordering::Relaxed))
                .map(|(id, _)| *id);
            if let Some(id) = idlest {
                by_id.remove(&id);
            }
        }
        by_id.insert(*session.keys.id(), Arc::new(session));
        self.metrics.sessions.set(by_id.len() as i64);
    }

    /// Drops what has expired or was idle for long.
    pub(crate) fn sweep(&self, now_ms: u64) {
        let mut by_id = self.by_id.write();
        by_id.retain(|_, s| {
            now_ms < s.keys.expires_ms
                && now_ms.saturating_sub(s.used_ms.load(Ordering::Relaxed)) < IDLE_MS
        });
        self.metrics.sessions.set(by_id.len() as i64);
    }
}
