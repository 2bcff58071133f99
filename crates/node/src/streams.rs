//! Streams that end at this node: what it does for their openers.
//!
//! A node that is a bridge connects them to hosts of the Web2; one that is not does nothing for anybody. Who the
//! opener is, it never learns: it knows the node that the circuit comes from.

mod associate;
mod splice;

use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;

use bridge::{Bridge, ConnectError};
use protocol::answer::Refusal;
use protocol::stream::{OpenStream, Purpose};
use protocol::target::Target;
use streams::{Accepted, Accepter, Reset, Stream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::links::{Circuit, Peer};

/// The streams of a node.
#[derive(Debug)]
pub(crate) struct Streams {
    accepter: Accepter,
    bridge: Option<Bridge>,
    /// Makes a neighbour into the number that its limits are kept under.
    numbers: RandomState,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Streams {
    /// Without a `bridge` the node accepts no streams. They end with `stop`.
    pub(crate) fn new(bridge: Option<Bridge>, stop: CancellationToken) -> Self {
        Self {
            accepter: Accepter::new(streams::best_cipher()),
            bridge,
            numbers: RandomState::new(),
            tasks: TaskTracker::new(),
            stop,
        }
    }

    /// Streams that are alive.
    pub(crate) fn count(&self) -> usize {
        self.accepter.count()
    }

    /// Waits until all are over, after the node was stopped.
    pub(crate) async fn ended(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Obeys a command that opens or resumes a stream; it is fresh. The circuit ends here from then on.
    ///
    /// # Errors
    /// A refusal, which is for the opener alone.
    pub(crate) fn open(
        self: &Arc<Self>,
        open: &OpenStream,
        circuit: &Arc<Circuit>,
    ) -> Result<(), Box<Refusal>> {
        let Some(bridge) = &self.bridge else {
            return Err(Refusal::Unsupported.into());
        };
        match self.accepter.accept(open, || circuit.ends_here()) {
            Accepted::New(stream, Purpose::Connect(target)) => {
                let (bridge, stop) = (bridge.clone(), self.stop.clone());
                let client = self.number(circuit.neighbour());
                self.tasks.spawn(async move {
                    connect(&bridge, client, &target, stream, stop).await;
                });
                Ok(())
            }
            Accepted::New(stream, Purpose::Datagrams) => {
                let (bridge, stop) = (bridge.clone(), self.stop.clone());
                let client = self.number(circuit.neighbour());
                self.tasks.spawn(async move {
                    match bridge.associate(client).await {
                        Ok(association) => {
                            stream.set_opened();
                            tokio::select! {
                                biased;
                                () = stop.cancelled() => {}
                                () = associate::associate(stream, association) => {}
                            }
                        }
                        Err(_) => stream.reset(Reset::Busy),
                    }
                });
                Ok(())
            }
            Accepted::Resumed => Ok(()),
            Accepted::Unknown => Err(Refusal::NotFound.into()),
            Accepted::Full => Err(Refusal::Busy.into()),
            Accepted::New(stream, _) => {
                stream.reset(Reset::Unsupported);
                Ok(())
            }
        }
    }

    fn number(&self, neighbour: Option<Peer>) -> u64 {
        match neighbour {
            Some(Peer::Node(node)) => self.numbers.hash_one(node.as_bytes()),
            Some(Peer::Client(from)) => self.numbers.hash_one(from.ip()),
            None => 0,
        }
    }
}

/// Connects a stream to where it wants to go, and moves bytes until both directions have ended.
async fn connect(
    bridge: &Bridge,
    client: u64,
    target: &Target,
    stream: Stream,
    stop: CancellationToken,
) {
    let connected = tokio::select! {
        biased;
        () = stop.cancelled() => return stream.reset(Reset::Stopping),
        () = stream.ended() => return,
        connected = bridge.connect(client, target) => connected,
    };
    match connected {
        Ok(connection) => {
            let _nagle = connection.stream.set_nodelay(true);
            stream.set_opened();
            let idle = bridge.idle_timeout();
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                () = splice::splice(stream, connection.stream, idle) => {}
            }
            drop(connection.permit);
        }
        Err(error) => stream.reset(reason(error)),
    }
}

fn reason(error: ConnectError) -> Reset {
    match error {
        ConnectError::Denied(_) => Reset::Denied,
        ConnectError::NoSuchHost => Reset::NoSuchHost,
        ConnectError::Refused => Reset::Refused,
        ConnectError::TimedOut => Reset::TimedOut,
        ConnectError::Busy(_) => Reset::Busy,
        _ => Reset::Unreachable,
    }
}
