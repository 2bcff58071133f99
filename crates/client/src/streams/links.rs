//! The connections to entries that streams share: one each, dialled when first needed.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use protocol::NodeId;
use tokio::time::timeout;

use super::entry_link::{EntryLink, LinkError};
use crate::directory::Node;

/// How long a dial, with its handshakes, may take.
const DIAL_TIMEOUT: Duration = Duration::from_secs(10);
/// Entries that links are kept to at most: a client keeps few, and direct streams go to few nodes.
const MAX_LINKS: usize = 256;

/// One entry's place.
type Place = Arc<tokio::sync::Mutex<Option<EntryLink>>>;

/// The links to entries.
#[derive(Debug)]
pub(crate) struct EntryLinks {
    from: Option<IpAddr>,
    places: Mutex<HashMap<NodeId, Place>>,
}

impl EntryLinks {
    /// Connections leave from the machine's address `from`; from the system's choice if there is none.
    pub(crate) fn new(from: Option<IpAddr>) -> Self {
        Self {
            from,
            places: Mutex::default(),
        }
    }

    /// The link to an entry, dialled if there is none.
    pub(crate) async fn link(&self, entry: &Node) -> Result<EntryLink, LinkError> {
        let place = {
            let mut places = self.places.lock();
            if places.len() >= MAX_LINKS {
                places.retain(|_, place| Arc::strong_count(place) > 1);
            }
            Arc::clone(places.entry(entry.id).or_default())
        };
        // One dials, the others wait for the outcome.
        let mut kept = place.lock().await;
        if let Some(link) = kept.as_ref().filter(|link| link.is_usable()) {
            return Ok(link.clone());
        }
        *kept = None;
        let dialled = timeout(DIAL_TIMEOUT, EntryLink::dial(entry, self.from)).await;
        let link = dialled.unwrap_or(Err(LinkError::TimedOut))?;
        *kept = Some(link.clone());
        Ok(link)
    }
}
