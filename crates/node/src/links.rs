//! Links to other nodes: dialled when first needed, kept, healed, bounded.
//!
//! A link is one TCP connection with one reader and one writer task. The dialer asks and the acceptor
//! answers, so two nodes that ask each other keep two links and never have to agree on one. Requests
//! of any number of clients share a link; a slow stream holds up nobody, because it may only send
//! what its reader has granted.
//!
//! [`Links`] owns the dialled ones and is what the rest of the node asks; [`accept`] serves the others.

mod accept;
mod circuit;
mod dial;
mod items;
mod pipe;
mod queue;
mod transit;
mod upgrade;

pub(crate) use accept::accept;
pub(crate) use circuit::Circuit;
pub(crate) use upgrade::{is_upgrade, respond as respond_to_upgrade};

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use protocol::NodeId;
use rand::Rng as _;
use thiserror::Error;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::metrics::Metrics;
use crate::observer::Eyes;
use crate::tables::Ledger;
pub(crate) use dial::Asker;
pub(crate) use items::{Items, ItemsTo, items};
pub(crate) use pipe::Peer;

/// Links dialled at once; beyond that the request is refused as unreachable.
const MAX_LINKS: usize = 4_096;
/// Links that one node may keep to this one: one, its successor, and those of which it does not know yet
/// that they are dead.
const MAX_LINKS_OF_ONE: usize = 8;
/// How long a dial, with its handshakes, may take.
const DIAL_TIMEOUT: Duration = Duration::from_secs(5);
/// The first wait after a failed dial; it doubles up to [`BACKOFF_MOST`], with jitter.
const BACKOFF_FIRST: Duration = Duration::from_millis(200);
const BACKOFF_MOST: Duration = Duration::from_secs(15);

/// A packet to send over a link.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) packet: Bytes,
    pub(crate) stamp: Option<[u8; protocol::frame::STAMP_BYTES]>,
    pub(crate) broadcast: bool,
    pub(crate) stream: bool,
    pub(crate) hops: u8,
}

/// What comes back for a packet: encoded answers, passed on unread.
#[derive(Debug)]
pub(crate) enum Reply {
    /// The one answer.
    Answer(Bytes),
    /// Encoded items.
    Stream(Items),
    /// Nothing: a circuit has been made.
    Circuit,
}

/// Why a request got no answer.
#[derive(Debug, Error)]
pub(crate) enum LinkError {
    #[error("the node is not on the ledger")]
    NoSuchNode,
    #[error("the node can't be reached")]
    Unreachable,
    #[error("the link's queue is full")]
    Busy,
    #[error("the link broke before the answer came, or the answer did not come in time")]
    Lost,
}

/// What a node needs to know of itself to make links.
pub(crate) struct Local {
    pub(crate) me: NodeId,
    pub(crate) transport_secret: zeroize::Zeroizing<[u8; 32]>,
    /// Who is told what the node sees.
    pub(crate) eyes: Eyes,
}

#[derive(Default)]
struct Dialled {
    asker: tokio::sync::Mutex<Dialling>,
}

#[derive(Default)]
struct Dialling {
    live: Option<Asker>,
    failures: u32,
    not_before: Option<Instant>,
}

/// The links that this node dialled, and a count of the others.
pub(crate) struct Links {
    local: Arc<Local>,
    ledger: Arc<Ledger>,
    metrics: Arc<Metrics>,
    stop: CancellationToken,
    peers: Mutex<HashMap<NodeId, Arc<Dialled>>>,
    accepted: Mutex<HashMap<NodeId, usize>>,
}

/// The place of one accepted link; free again when dropped.
pub(crate) struct Place<'l> {
    links: &'l Links,
    peer: NodeId,
}

impl Links {
    /// `stop` ends all dialled links at once; what waits for an answer then is lost.
    pub(crate) fn new(
        local: Arc<Local>,
        ledger: Arc<Ledger>,
        metrics: Arc<Metrics>,
        stop: CancellationToken,
    ) -> Self {
        Self {
            local,
            ledger,
            metrics,
            stop,
            peers: Mutex::default(),
            accepted: Mutex::default(),
        }
    }

    /// Sends a packet to a node and waits for its answer or the start of its stream, for `patience` at
    /// most beyond what a dial takes.
    ///
    /// # Cancel safety
    /// Dropping the future tells the other node that nobody waits any more.
    pub(crate) async fn request(
        &self,
        to: NodeId,
        request: Request,
        patience: Duration,
    ) -> Result<Reply, LinkError> {
        let asker = self.asker(to).await?;
        asker.ask(request, patience).await
    }

    /// Lets a circuit go on to a node, with a packet that says what for.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the circuit where it is.
    pub(crate) async fn extend(
        &self,
        to: NodeId,
        request: &Request,
        circuit: &Arc<Circuit>,
    ) -> Result<(), LinkError> {
        self.asker(to).await?.extend(request, circuit)
    }

    /// The link to a node, if it is up now.
    pub(crate) fn at_hand(&self, to: &NodeId) -> Option<Asker> {
        let peer = Arc::clone(self.peers.lock().get(to)?);
        let dialling = peer.asker.try_lock().ok()?;
        dialling.live.as_ref().filter(|a| a.is_usable()).cloned()
    }

    /// Takes a place for a link that `peer` dialled, if it does not keep too many.
    fn admit(&self, peer: NodeId) -> Option<Place<'_>> {
        let mut accepted = self.accepted.lock();
        let count = accepted.entry(peer).or_default();
        if *count >= MAX_LINKS_OF_ONE {
            return None;
        }
        *count += 1;
        self.metrics.links_in.inc();
        Some(Place { links: self, peer })
    }

    /// Says how many links are up.
    pub(crate) fn live(&self) -> usize {
        let peers: Vec<_> = self.peers.lock().values().cloned().collect();
        peers
            .iter()
            .filter(|p| p.asker.try_lock().is_ok_and(|d| d.is_live()))
            .count()
    }

    async fn asker(&self, to: NodeId) -> Result<Asker, LinkError> {
        let peer = {
            let mut peers = self.peers.lock();
            if let Some(peer) = peers.get(&to) {
                Arc::clone(peer)
            } else {
                if peers.len() >= MAX_LINKS {
                    // Those of nobody else and without a link have nothing to lose but their wait.
                    peers.retain(|_, p| {
                        Arc::strong_count(p) > 1 || p.asker.try_lock().is_ok_and(|d| d.is_live())
                    });
                }
                if peers.len() >= MAX_LINKS {
                    return Err(LinkError::Busy);
                }
                let peer = Arc::<Dialled>::default();
                peers.insert(to, Arc::clone(&peer));
                peer
            }
        };
        // One dials, the others wait for the outcome; a dial is bounded by its timeout.
        let mut dialling = peer.asker.lock().await;
        if let Some(asker) = dialling.live.as_ref().filter(|a| a.is_usable()) {
            return Ok(asker.clone());
        }
        dialling.live = None;
        if dialling.not_before.is_some_and(|t| Instant::now() < t) {
            return Err(LinkError::Unreachable);
        }
        let Some(node) = self.ledger.node(&to) else {
            self.peers.lock().remove(&to);
            return Err(LinkError::NoSuchNode);
        };
        let dialled = tokio::select! {
            biased;
            () = self.stop.cancelled() => return Err(LinkError::Unreachable),
            dialled = tokio::time::timeout(DIAL_TIMEOUT, dial::dial(&self.local, &node, &self.metrics, &self.stop)) => dialled,
        };
        match dialled {
            Ok(Ok(asker)) => {
                dialling.failures = 0;
                dialling.not_before = None;
                dialling.live = Some(asker.clone());
                Ok(asker)
            }
            failed => {
                let exponent = dialling.failures.min(10);
                dialling.failures = exponent + 1;
                let wait = BACKOFF_FIRST
                    .saturating_mul(1 << exponent)
                    .min(BACKOFF_MOST);
                dialling.not_before =
                    Some(Instant::now() + wait.mul_f64(rand::thread_rng().gen_range(0.5..1.0)));
                self.metrics.dial_failures.inc();
                if let Ok(Err(error)) = failed {
                    tracing::debug!(target: "node::links", %error, "a dial failed");
                }
                Err(LinkError::Unreachable)
            }
        }
    }
}

impl Dialling {
    fn is_live(&self) -> bool {
        self.live.as_ref().is_some_and(Asker::is_usable)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut accepted = self.links.accepted.lock();
        if let Some(count) = accepted.get_mut(&self.peer) {
            *count -= 1;
            if *count == 0 {
                accepted.remove(&self.peer);
            }
        }
        self.links.metrics.links_in.dec();
    }
}
