//! One connection to an entry, and the circuits on it.
//!
//! A reader task gives what comes to the circuits, a writer task takes what they send in batches. Neither
//! waits for a circuit: what may come and go is bounded by credit.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use protocol::frame::{Header, Kind};
use protocol::link::{Batch, Handshake, MAX_HANDSHAKE_BYTES, OpenError, Opener, Sealer};
use rand::rngs::OsRng;
use streams::{Circuit, CircuitEvent, CircuitSender};
use thiserror::Error;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, timeout};

use super::upgrade;
use crate::directory::{EndpointError, Node};

/// Circuits on one link at once; the entry takes no more.
const MAX_CIRCUITS: usize = 4_096;
/// An entry is asked for a sign of life this often.
const PING_EVERY: Duration = Duration::from_secs(15);
/// A link on which nothing came for this long is dead: three signs of life are missing.
const SILENCE_MOST: Duration = Duration::from_secs(45);
/// Room to read into: two of the largest records.
const READ_BYTES: usize = 128 * 1024;
/// The writer seals this much at once; small enough to stay in a core's cache.
const WRITE_BYTES: usize = 128 * 1024;

/// Why there is no link.
#[derive(Debug, Error)]
#[non_exhaustive]
pub(crate) enum LinkError {
    #[error("the entry's endpoint is of no use")]
    Endpoint,
    #[error(transparent)]
    BadEndpoint(#[from] EndpointError),
    #[error("the connection failed")]
    Io(#[from] std::io::Error),
    #[error("the HTTP exchange failed")]
    Http(#[from] hyper::Error),
    #[error("the entry did not prove its key")]
    Handshake(#[from] protocol::session::SessionError),
    #[error("the entry answers like a plain web site")]
    NotANode,
    #[error("the entry did not answer in time")]
    TimedOut,
    #[error("the entry sent what it must not")]
    Protocol(#[from] OpenError),
    #[error("as many streams go through this entry as it takes")]
    Full,
}

/// A link to an entry; cheap to clone. It ends with the last of them and of its circuits.
#[derive(Clone)]
pub(crate) struct EntryLink(Arc<Shared>);

/// What was said as a circuit ended: an encoded answer, if there was one.
#[derive(Debug, Clone, Default)]
pub(super) struct Farewell(Arc<Mutex<Option<Bytes>>>);

struct Shared {
    outgoing: Arc<Outgoing>,
    next: AtomicU64,
}

/// What the tasks share with the circuits; they end when nobody else has the link.
struct Outgoing {
    batch: Mutex<Batch>,
    filled: Notify,
    circuits: Mutex<HashMap<u64, Side>>,
    usable: AtomicBool,
    /// Nobody is left who could send.
    over: AtomicBool,
}

struct Side {
    to: mpsc::UnboundedSender<CircuitEvent>,
    farewell: Farewell,
}

/// The sending end of a circuit.
struct Sender {
    link: Arc<Shared>,
    request: u64,
}

impl fmt::Debug for EntryLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EntryLink(…)")
    }
}

impl Farewell {
    pub(super) fn take(&self) -> Option<Bytes> {
        self.0.lock().take()
    }
}

impl EntryLink {
    /// Connects to an entry and has it prove its key.
    pub(super) async fn dial(entry: &Node, from: Option<IpAddr>) -> Result<Self, LinkError> {
        let endpoint = entry.endpoint.as_ref().map_err(|error| *error)?;
        let mut socket = upgrade::connect(endpoint, from).await?;
        let (handshake, message) =
            Handshake::dial_as_client(&mut OsRng, &entry.id, &entry.transport_key, 0)?;
        let mut bytes = (message.len() as u16).to_be_bytes().to_vec();
        bytes.extend_from_slice(&message);
        socket.write_all(&bytes).await?;
        let length = usize::from(socket.read_u16().await?);
        if length > MAX_HANDSHAKE_BYTES {
            return Err(LinkError::NotANode);
        }
        let mut answer = vec![0; length];
        socket.read_exact(&mut answer).await?;
        let (peer, sealer, opener) = handshake.finish(&answer)?;
        if peer.node != entry.id {
            return Err(LinkError::NotANode);
        }
        Ok(Self::start(socket, sealer, opener))
    }

    fn start(socket: TcpStream, sealer: Sealer, opener: Opener) -> Self {
        let outgoing = Arc::new(Outgoing {
            batch: Mutex::default(),
            filled: Notify::new(),
            circuits: Mutex::default(),
            usable: AtomicBool::new(true),
            over: AtomicBool::new(false),
        });
        let (reading, writing) = socket.into_split();
        let tasks = Arc::clone(&outgoing);
        tokio::spawn(async move {
            let ended = tokio::select! {
                ended = read(reading, opener, &tasks) => ended,
                ended = write(writing, sealer, &tasks) => ended,
            };
            if let Err(error) = ended {
                tracing::debug!(target: "client::streams", %error, "a link to an entry ended");
            }
            tasks.usable.store(false, Ordering::Release);
            // Their circuits are over.
            tasks.circuits.lock().clear();
        });
        Self(Arc::new(Shared {
            outgoing,
            next: AtomicU64::new(1),
        }))
    }

    pub(super) fn is_usable(&self) -> bool {
        self.0.outgoing.usable.load(Ordering::Acquire)
    }

    /// Begins a circuit with a packet.
    pub(super) fn circuit(
        &self,
        header: Header,
        packet: &[u8],
    ) -> Result<(Circuit, Farewell), LinkError> {
        let request = self.0.next.fetch_add(1, Ordering::Relaxed);
        let header = Header {
            request,
            circuit: true,
            ..header
        };
        let (to, events) = mpsc::unbounded_channel();
        let farewell = Farewell::default();
        {
            let mut circuits = self.0.outgoing.circuits.lock();
            if circuits.len() >= MAX_CIRCUITS {
                return Err(LinkError::Full);
            }
            let side = Side {
                to,
                farewell: farewell.clone(),
            };
            circuits.insert(request, side);
        }
        self.0.outgoing.push(header, packet);
        let sender = Sender {
            link: Arc::clone(&self.0),
            request,
        };
        Ok((Circuit::new(sender, events), farewell))
    }
}

impl Outgoing {
    fn push(&self, header: Header, payload: &[u8]) {
        if !self.usable.load(Ordering::Acquire) {
            return;
        }
        let was_empty = {
            let mut batch = self.batch.lock();
            let was_empty = batch.is_empty();
            let fits = batch.push(header, payload);
            debug_assert!(fits, "packets and frames of streams fit");
            was_empty
        };
        if was_empty {
            self.filled.notify_one();
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.outgoing.over.store(true, Ordering::Release);
        self.outgoing.filled.notify_one();
    }
}

impl CircuitSender for Sender {
    fn send(&self, frame: &[u8]) {
        let header = Header::data(self.request, 0);
        self.link.outgoing.push(header, frame);
    }

    fn grant(&self, bytes: u32) {
        let header = Header::credit(self.request, bytes);
        self.link.outgoing.push(header, &[]);
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        let outgoing = &self.link.outgoing;
        if outgoing.circuits.lock().remove(&self.request).is_some() {
            outgoing.push(Header::control(Kind::Cancel, self.request), &[]);
        }
    }
}

/// Gives what comes to its circuit.
async fn read(
    mut socket: OwnedReadHalf,
    mut opener: Opener,
    link: &Outgoing,
) -> Result<(), LinkError> {
    let mut wire = BytesMut::new();
    loop {
        while let Some(frame) = opener.next_of(&mut wire)? {
            let header = frame.header;
            match header.kind {
                Kind::Data | Kind::Credit => {
                    let event = match header.kind {
                        Kind::Data => CircuitEvent::Frame(BytesMut::from(&frame.payload[..])),
                        _ => CircuitEvent::Credit(header.credit),
                    };
                    // What is for a circuit that is over means nothing.
                    if let Some(side) = link.circuits.lock().get(&header.request) {
                        let _gone = side.to.send(event);
                    }
                }
                Kind::Answer => {
                    if let Some(side) = link.circuits.lock().remove(&header.request) {
                        *side.farewell.0.lock() = Some(Bytes::copy_from_slice(&frame.payload));
                    }
                }
                Kind::GoAway => link.usable.store(false, Ordering::Release),
                _ => {}
            }
        }
        wire.reserve(READ_BYTES);
        match timeout(SILENCE_MOST, socket.read_buf(&mut wire)).await {
            Ok(Ok(0)) => return Ok(()),
            Ok(read) => read?,
            Err(_) => return Err(LinkError::TimedOut),
        };
    }
}

/// Writes what circuits send, as much as is at hand in one go, until nobody can send any more.
async fn write(
    mut socket: OwnedWriteHalf,
    mut sealer: Sealer,
    link: &Outgoing,
) -> Result<(), LinkError> {
    let mut batch = Batch::default();
    let next_ping = tokio::time::sleep(Duration::ZERO);
    tokio::pin!(next_ping);
    loop {
        let is_over = link.over.load(Ordering::Acquire);
        std::mem::swap(&mut batch, &mut *link.batch.lock());
        if batch.is_empty() {
            if is_over {
                return Ok(());
            }
            tokio::select! {
                biased;
                () = link.filled.notified() => {
                    // Whoever else is ready now goes first, so that its frames go with this one.
                    tokio::task::yield_now().await;
                }
                () = next_ping.as_mut() => {
                    next_ping.as_mut().reset(Instant::now() + PING_EVERY);
                    link.push(Header::control(Kind::Ping, 0), &[]);
                }
            }
            continue;
        }
        while let Some(records) = sealer.seal_next(&mut batch, WRITE_BYTES) {
            match timeout(SILENCE_MOST, socket.write_all(records)).await {
                Ok(written) => written?,
                Err(_) => return Err(LinkError::TimedOut),
            }
        }
        batch.clear();
    }
}
