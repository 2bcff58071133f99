//! Accepts connections up to a bound and ends them all when the gateway stops.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::counters::Counters;
use crate::lifeline;

/// How long accepting pauses when the system has no descriptors left.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(100);
/// How long a client that was refused may go on sending before it is cut off, so that it sees the answer.
const FAREWELL_TIMEOUT: Duration = Duration::from_secs(1);
/// What such a client may send at most.
const FAREWELL_BYTES: u64 = 64 * 1024;

/// Clients without a place that are told so at once; more of them are only cut off.
pub(crate) const MAX_FAREWELLS: usize = 64;

/// The place of one client among those that are served at once.
pub(crate) type Place = Arc<OwnedSemaphorePermit>;

/// What all listeners of a gateway share.
#[derive(Clone)]
pub(crate) struct Doorman {
    pub(crate) stop: CancellationToken,
    pub(crate) tasks: TaskTracker,
    pub(crate) places: Arc<Semaphore>,
    pub(crate) farewells: Arc<Semaphore>,
    pub(crate) counters: Arc<Counters>,
}

impl Doorman {
    /// Serves each connection in a task of its own. Who finds no place is told so by `full` and sent away at once: a place
    /// may be taken for days.
    pub(crate) async fn accept<F, S>(&self, listener: &TcpListener, full: &'static [u8], serve: F)
    where
        F: Fn(TcpStream, SocketAddr, Place) -> S,
        S: Future<Output = ()> + Send + 'static,
    {
        loop {
            let accepted = tokio::select! {
                biased;
                () = self.stop.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            let (socket, from) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(target: "gateway", %error, "a connection could not be accepted");
                    tokio::time::sleep(EXHAUSTED_PAUSE).await;
                    continue;
                }
            };
            lifeline::attach(&socket);
            let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
                self.counters.count_turned_away();
                if let Ok(room) = Arc::clone(&self.farewells).try_acquire_owned() {
                    self.spawn(async move {
                        farewell(socket, full).await;
                        drop(room);
                    });
                }
                continue;
            };
            self.spawn(serve(socket, from, Arc::new(place)));
        }
    }

    /// Runs a task that is dropped when the gateway stops.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let stop = self.stop.clone();
        self.tasks.spawn(async move {
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                () = task => {}
            }
        });
    }
}

/// Sends a last answer and closes, in such a way that a client that is still sending gets to read it.
pub(crate) async fn farewell(mut socket: TcpStream, answer: &[u8]) {
    let told = async {
        socket.write_all(answer).await?;
        socket.shutdown().await?;
        let mut rest = (&mut socket).take(FAREWELL_BYTES);
        tokio::io::copy(&mut rest, &mut tokio::io::sink()).await
    };
    let _gone_or_slow = timeout(FAREWELL_TIMEOUT, told).await;
}
