//! Makes circuits to one node, each time over another path, and learns from what is said of them.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use parking_lot::Mutex;
use protocol::answer::{Answer, Refusal};
use protocol::stream::OpenStream;
use streams::{Circuit, Redial, RedialError};

use super::OpenError;
use super::entry_link::{Farewell, LinkError};
use crate::carry::{Attempt, Errand, Load, Speaker, Way};
use crate::directory::Node;
use crate::network::Network;
use crate::path::{self, Tried};

/// Paths that are remembered as having failed; beyond that all are tried anew.
const MAX_TRIED: usize = 6;

/// Makes circuits to a node.
#[derive(Debug)]
pub(crate) struct Dialler {
    network: Network,
    target: Arc<Node>,
    way: Way,
    /// The node is dialled itself, and no other.
    is_entry: bool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    tried: Tried,
    last: Option<Last>,
    /// The path to try once more, since nothing but a clock was wrong.
    same_way: Option<(Arc<Node>, Option<Arc<Node>>)>,
}

/// The circuit that was made last.
#[derive(Debug)]
struct Last {
    attempt: Attempt,
    farewell: Farewell,
    entry: Arc<Node>,
    relay: Option<Arc<Node>>,
}

/// What to think of a circuit that is over.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// Another one may do better.
    Again(Option<Refusal>),
    /// The node at its end itself has refused.
    Said(Refusal),
}

impl Verdict {
    /// Whether a node that streams end at will have no other circuit either.
    pub(super) fn is_final(&self) -> bool {
        use Refusal::{Denied, NotFound, Unsupported};
        matches!(self, Self::Said(NotFound | Unsupported | Denied))
    }
}

impl Dialler {
    pub(crate) fn new(network: Network, target: Arc<Node>, way: Way) -> Self {
        Self {
            network,
            target,
            way,
            is_entry: false,
            state: Mutex::default(),
        }
    }

    /// Circuits of which the node is the entry as well.
    pub(super) fn one_hop(network: Network, target: Arc<Node>) -> Self {
        Self {
            is_entry: true,
            ..Self::new(network, target, Way::Direct)
        }
    }

    /// Makes a circuit that carries a command. Whether the node takes it shows later.
    pub(crate) async fn dial(&self, load: Load<'_>) -> Result<Circuit, OpenError> {
        let (entry, relay) = self.choose()?;
        let courier = self.network.courier();
        let errand = Errand {
            load,
            target: Some(&self.target),
            way: self.way,
            stream: false,
            effort: None,
            max_effort: 0,
        };
        let made = Attempt::make(&errand, relay.as_ref(), None, &mut None, courier.clocks).await;
        let attempt = made.map_err(|_| OpenError::Lost)?;
        let link = match self.network.entry_links().link(&entry).await {
            Ok(link) => link,
            Err(error) => {
                tracing::debug!(target: "client::streams", %error, "an entry can't be used");
                if !matches!(error, LinkError::Full) {
                    courier.entries.failed(entry.id);
                }
                self.state.lock().tried.entries.push(entry.id);
                return Err(OpenError::Lost);
            }
        };
        let (circuit, farewell) = link
            .circuit(attempt.header(false), attempt.outer())
            .map_err(|_| OpenError::Lost)?;
        courier.entries.worked(&entry.id);
        self.state.lock().last = Some(Last {
            attempt,
            farewell,
            entry,
            relay,
        });
        Ok(circuit)
    }

    fn choose(&self) -> Result<(Arc<Node>, Option<Arc<Node>>), OpenError> {
        let mut state = self.state.lock();
        if let Some(way) = state.same_way.take() {
            return Ok(way);
        }
        if self.is_entry {
            return Ok((Arc::clone(&self.target), None));
        }
        if state.tried.entries.len() + state.tried.relays.len() > MAX_TRIED {
            state.tried = Tried::default();
        }
        let courier = self.network.courier();
        let nodes = courier.directory.nodes();
        let target = Some(&*self.target);
        let may_be_target = self.way == Way::Direct;
        let entry = courier
            .entries
            .choose(&nodes, target, may_be_target, &state.tried)?;
        let relay = match self.way {
            Way::Relayed => Some(path::choose_relay(
                &nodes,
                &entry,
                target,
                &state.tried.relays,
                &courier.entries.acquainted(),
                &mut rand::thread_rng(),
            )?),
            _ => None,
        };
        Ok((entry, relay))
    }

    /// The circuit led to the far end: what failed before may have mended.
    pub(crate) fn worked(&self) {
        self.state.lock().tried = Tried::default();
    }

    /// Says what became of the last circuit, and remembers it.
    pub(crate) fn verdict(&self) -> Verdict {
        let mut state = self.state.lock();
        let Some(last) = state.last.take() else {
            return Verdict::Again(None);
        };
        let heard = last
            .farewell
            .take()
            .and_then(|bytes| Answer::decode(&bytes).ok())
            .map(|answer| last.attempt.open(answer));
        let refusal = match &heard {
            Some(heard) => match &heard.answer {
                Some(Answer::Refused(refusal)) => Some(refusal.clone()),
                _ => None,
            },
            None => None,
        };
        if let Some(Refusal::Stale(time)) = &refusal
            && last.attempt.verify_time(time)
        {
            self.network.courier().clocks.learn(time.node, time.time_ms);
            state.same_way = Some((last.entry, last.relay));
            return Verdict::Again(refusal);
        }
        let by_target = heard.is_some_and(|heard| heard.speaker == Speaker::Target);
        state.tried.entries.push(last.entry.id);
        state.tried.relays.extend(last.relay.map(|relay| relay.id));
        match refusal {
            Some(refusal) if by_target => Verdict::Said(refusal),
            refusal => Verdict::Again(refusal),
        }
    }
}

impl Redial for Dialler {
    fn redial(
        &self,
        open: OpenStream,
    ) -> Pin<Box<dyn Future<Output = Result<Circuit, RedialError>> + Send + '_>> {
        Box::pin(async move {
            if self.verdict().is_final() {
                return Err(RedialError::Refused);
            }
            let dialled = self.dial(Load::Stream(&open)).await;
            dialled.map_err(|_| RedialError::NotNow)
        })
    }
}
