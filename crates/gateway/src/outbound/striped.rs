//! A way out over several bridges: chooses one by [`Stripes`], asks the next where it fails, and learns from both.

use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use protocol::NodeId;
use protocol::target::Target;
use tokio::time::timeout;

use super::{
    Ask, Associated, BridgeStatus, ConnectError, Connected, Datagrams, Duplex, Isolation, Outbound,
    OutboundStatus, is_service,
};
use crate::stripes::{Mode, NoBridge, Stripes, Tries};

/// How long one bridge may take to answer by default, before the next is asked. Its own try to reach the target is to
/// take less.
pub const DEFAULT_TRY_TIMEOUT: Duration = Duration::from_secs(20);

/// What carries connections to a bridge that was chosen.
pub trait Bridges: Send + Sync + 'static {
    /// Asks a bridge to connect, and waits until it says that it has.
    ///
    /// The error decides what happens next ([`ConnectError::blame`]): where the bridge itself does not answer it is
    /// [`ConnectError::BridgeLost`], and another one is asked.
    fn connect(
        &self,
        bridge: NodeId,
        ask: Ask,
    ) -> BoxFuture<'_, Result<Box<dyn Duplex>, ConnectError>>;

    /// Asks a bridge for a place for datagrams, and waits for it.
    fn associate(
        &self,
        bridge: NodeId,
        isolation: Isolation,
    ) -> BoxFuture<'_, Result<Box<dyn Datagrams>, ConnectError>>;

    /// Whether a bridge takes what goes to a target, by what it has announced. One that does not is not asked; one that
    /// does may refuse all the same.
    fn takes(&self, bridge: NodeId, target: &Target) -> bool {
        let _any = (bridge, target);
        true
    }

    /// What a bridge offers, in one line for the status page.
    fn offer(&self, bridge: NodeId) -> String {
        let _nothing = bridge;
        String::new()
    }

    /// One line for the status page: how it stands with the way to the bridges.
    fn note(&self) -> String {
        String::new()
    }
}

/// An [`Outbound`] over [`Bridges`].
pub struct Striped<T> {
    carrier: T,
    stripes: Mutex<Stripes<NodeId>>,
    try_timeout: Duration,
    started: Instant,
}

impl<T: Bridges> Striped<T> {
    /// Begins without bridges: [`Striped::set_bridges`] says which there are.
    #[must_use]
    pub fn new(carrier: T, mode: Mode<NodeId>, try_timeout: Duration) -> Self {
        Self {
            carrier,
            stripes: Mutex::new(Stripes::new(mode, &mut rand::thread_rng())),
            try_timeout,
            started: Instant::now(),
        }
    }

    /// Sets which bridges there are. Connections that are open stay; what is known of those that stay is kept.
    pub fn set_bridges(&self, bridges: impl IntoIterator<Item = NodeId>) {
        self.stripes.lock().set_bridges(bridges);
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Tries bridges until one has done what is asked, or none would fare better.
    async fn first_that<'a, R>(
        &'a self,
        mut tries: Tries<NodeId>,
        target: Option<&Target>,
        ask: impl Fn(NodeId) -> BoxFuture<'a, Result<R, ConnectError>>,
    ) -> Result<(R, NodeId), ConnectError> {
        let fit = |bridge: &NodeId| target.is_none_or(|to| self.carrier.takes(*bridge, to));
        let mut last = ConnectError::NoBridge;
        loop {
            let now_ms = self.now_ms();
            let chosen =
                self.stripes
                    .lock()
                    .choose(&mut tries, fit, now_ms, &mut rand::thread_rng());
            let bridge = match chosen {
                Ok(bridge) => bridge,
                Err(NoBridge::Unfit) => {
                    let port = target.map_or(0, |target| target.port.get());
                    return Err(ConnectError::NoPolicyAllows { port });
                }
                Err(NoBridge::Unknown) => return Err(ConnectError::NoBridge),
                Err(NoBridge::Exhausted) => return Err(last),
            };
            let asked = timeout(self.try_timeout, ask(bridge)).await;
            let error = match asked.unwrap_or(Err(ConnectError::BridgeLost)) {
                Ok(done) => {
                    let (latency_ms, now_ms) =
                        (self.now_ms().saturating_sub(now_ms), self.now_ms());
                    self.stripes.lock().succeeded(bridge, latency_ms, now_ms);
                    return Ok((done, bridge));
                }
                Err(error) => error,
            };
            let now_ms = self.now_ms();
            if !self.stripes.lock().failed(bridge, error, now_ms) {
                return Err(error);
            }
            last = error;
        }
    }
}

impl<T: Bridges> Outbound for Striped<T> {
    fn connect(&self, ask: Ask) -> BoxFuture<'_, Result<Connected, ConnectError>> {
        Box::pin(async move {
            if is_service(&ask.target.host) {
                // No bridge is to hear of it.
                return Err(ConnectError::Unsupported);
            }
            let tries = self.stripes.lock().start(&ask.target, &ask.isolation);
            let one = |bridge| self.carrier.connect(bridge, ask.clone());
            let (stream, bridge) = self.first_that(tries, Some(&ask.target), one).await?;
            Ok(Connected {
                stream,
                bridge: Some(bridge),
                is_to_service: false,
            })
        })
    }

    /// Datagrams of one place go to many targets: of the modes, only a pinned bridge and the isolation key count.
    fn associate(&self, isolation: Isolation) -> BoxFuture<'_, Result<Associated, ConnectError>> {
        Box::pin(async move {
            let tries = self.stripes.lock().start_for_many(&isolation);
            let one = |bridge| self.carrier.associate(bridge, isolation.clone());
            let (datagrams, bridge) = self.first_that(tries, None, one).await?;
            Ok(Associated {
                datagrams,
                bridge: Some(bridge),
            })
        })
    }

    fn status(&self) -> OutboundStatus {
        let now_ms = self.now_ms();
        let known = self.stripes.lock().bridges().collect::<Vec<_>>();
        let bridges = known.into_iter().map(|(id, health)| BridgeStatus {
            id: id.to_string(),
            is_healthy: health.is_healthy(now_ms),
            latency_ms: health.latency_ms(),
            offer: self.carrier.offer(id),
        });
        let bridges: Vec<_> = bridges.collect();
        OutboundStatus {
            is_up: bridges.iter().any(|bridge| bridge.is_healthy),
            note: self.carrier.note(),
            bridges,
        }
    }
}
