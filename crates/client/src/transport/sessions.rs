//! One live session for each entry.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::{Mutex, RwLock};
use protocol::NodeId;
use protocol::session::{ClientHandshake, ClientSession, ExchangeId, SessionError};
use rand::rngs::OsRng;

use super::ExchangeError;
use crate::clock::unix_ms;
use crate::directory::Node;

/// Feature bits that this client understands: none yet.
const FEATURES: u64 = 0;
/// Sessions kept at most; entries are few, so more are never needed.
const MAX_SESSIONS: usize = 32;
/// Hands are shaken anew this long before a session's end, so that no exchange meets it.
const EXPIRY_MARGIN_MS: u64 = 60_000;

/// A session that exchanges overlap in.
#[derive(Debug)]
pub(super) struct Session {
    node: NodeId,
    keys: RwLock<ClientSession>,
    node_time_ms: u64,
    expires_ms: u64,
    time_taken: AtomicBool,
}

impl Session {
    pub(super) fn seal(&self, frame: &[u8]) -> Result<(ExchangeId, Vec<u8>), SessionError> {
        self.keys.write().seal(frame)
    }

    pub(super) fn open<'b>(
        &self,
        exchange: ExchangeId,
        item: u64,
        sealed: &'b mut [u8],
    ) -> Result<&'b mut [u8], SessionError> {
        self.keys.read().open(exchange, item, sealed)
    }

    /// The node's clock at the handshake; given once, while it is true.
    pub(super) fn take_node_time(&self) -> Option<u64> {
        (!self.time_taken.swap(true, Ordering::Relaxed)).then_some(self.node_time_ms)
    }

    fn is_live(&self) -> bool {
        unix_ms().saturating_add(EXPIRY_MARGIN_MS) < self.expires_ms
    }
}

type Slot = Arc<tokio::sync::Mutex<Option<Arc<Session>>>>;

/// The sessions by node; of many tasks that need a new one, one shakes hands and the others wait.
#[derive(Debug, Default)]
pub(super) struct Sessions(Mutex<HashMap<NodeId, Slot>>);

impl Sessions {
    /// The live session with a node; makes one where there is none. `post` sends the handshake's body
    /// and returns the response's.
    pub(super) async fn get_or_make<F>(
        &self,
        node: &Node,
        post: impl FnOnce(Vec<u8>) -> F,
    ) -> Result<Arc<Session>, ExchangeError>
    where
        F: Future<Output = Result<Vec<u8>, ExchangeError>>,
    {
        let slot = self.slot(node.id);
        let mut place = slot.lock().await;
        if let Some(session) = place.as_ref().filter(|session| session.is_live()) {
            return Ok(Arc::clone(session));
        }
        let (handshake, body) =
            ClientHandshake::start(&node.id, &node.transport_key, FEATURES, &mut OsRng)
                .map_err(ExchangeError::Handshake)?;
        let response = post(body).await?;
        let keys = handshake
            .finish(&response, unix_ms())
            .map_err(ExchangeError::Handshake)?;
        let session = Arc::new(Session {
            node: node.id,
            node_time_ms: keys.node_time_ms,
            expires_ms: keys.expires_ms,
            keys: RwLock::new(keys),
            time_taken: AtomicBool::new(false),
        });
        *place = Some(Arc::clone(&session));
        Ok(session)
    }

    /// Drops a session that the node no longer knows; a newer one stays.
    pub(super) fn forget(&self, session: &Arc<Session>) {
        let slot = self.slot(session.node);
        // Somebody who holds the slot is shaking hands already.
        if let Ok(mut place) = slot.try_lock()
            && place
                .as_ref()
                .is_some_and(|live| Arc::ptr_eq(live, session))
        {
            *place = None;
        }
    }

    fn slot(&self, node: NodeId) -> Slot {
        let mut slots = self.0.lock();
        if slots.len() >= MAX_SESSIONS && !slots.contains_key(&node) {
            slots.clear();
        }
        Arc::clone(slots.entry(node).or_default())
    }
}
