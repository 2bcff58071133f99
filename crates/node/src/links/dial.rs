//! The asking end of a link.

mod waiting;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::BytesMut;
use ledger::NodeRecord;
use packet::SizeClass;
use parking_lot::Mutex;
use protocol::answer::{Answer, Refusal};
use protocol::frame::{Header, Kind};
use protocol::link::{Handshake, MAX_LIFETIME_MS};
use thiserror::Error;
use tokio::net::TcpStream;
use tokio::task::AbortHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::circuit::{Circuit, Whose};
use super::pipe::{Far, Frames, Peer, PipeError, read_handshake, write_frames, write_handshake};
use super::queue::{NotQueued, Queue, queue, region_kib};
use super::transit::Passing;
use super::{LinkError, Local, Reply, Request, upgrade};
use crate::metrics::Metrics;
use waiting::{Asking, Kept, Waiting};

/// A link near its end of life is replaced this long before.
const RENEW_BEFORE: Duration = Duration::from_secs(600);
/// How often requests are looked through for those that have waited too long: so much later than they may
/// they get to know. A timer for each would cost more than all the rest of their waiting.
const EXPIRE_EVERY: Duration = Duration::from_secs(1);

/// Why a dial failed.
#[derive(Debug, Error)]
pub(super) enum DialError {
    #[error("the endpoint is no http URL of host and port")]
    Endpoint,
    #[error("the connection failed")]
    Io(#[from] std::io::Error),
    #[error("the HTTP exchange failed")]
    Http(#[from] hyper::Error),
    #[error("the request could not be made")]
    Request(#[from] http::Error),
    #[error("the node did not grant the upgrade")]
    NotGranted,
    #[error("the handshake failed")]
    Handshake(#[from] protocol::session::SessionError),
    #[error("another node answered")]
    Impostor,
}

#[derive(Debug)]
pub(super) struct Shared {
    queue: Queue,
    waiting: Mutex<Waiting>,
    next: AtomicU64,
    /// Cleared when the link breaks or asks for no more.
    usable: AtomicBool,
    renew_at: Instant,
}

/// Asks over one link; cheap to clone.
#[derive(Clone)]
pub(crate) struct Asker(Arc<Shared>);

/// The host and port of an endpoint URL.
pub(crate) fn authority(endpoint: &str) -> Option<String> {
    let uri: http::Uri = endpoint.parse().ok()?;
    if uri.scheme_str() != Some("http") {
        return None;
    }
    let authority = uri.authority()?;
    Some(format!(
        "{}:{}",
        authority.host(),
        authority.port_u16().unwrap_or(80)
    ))
}

/// Connects to a node, proves both ends and starts the link's tasks.
///
/// # Cancel safety
/// Dropping the future closes the connection.
pub(super) async fn dial(
    local: &Local,
    node: &NodeRecord,
    metrics: &Arc<Metrics>,
    stop: &CancellationToken,
) -> Result<Asker, DialError> {
    let mut socket = upgrade(node).await?;
    let (handshake, message) = Handshake::dial(
        local.me,
        &local.transport_secret,
        &node.address,
        &node.transport_key,
        0,
    )?;
    write_handshake(&mut socket, &message).await?;
    let answer = read_handshake(&mut socket).await?;
    let (peer, sealer, opener) = handshake.finish(&answer)?;
    if peer.node != node.address || peer.transport_key != node.transport_key {
        return Err(DialError::Impostor);
    }

    let (peer, eyes) = (Peer::Node(node.address), local.eyes.clone());
    let far = Far { peer, eyes };
    let (queue, queued) = queue(far.clone());
    let lifetime = Duration::from_millis(MAX_LIFETIME_MS);
    let shared = Arc::new(Shared {
        queue,
        waiting: Mutex::default(),
        next: AtomicU64::new(1),
        usable: AtomicBool::new(true),
        renew_at: Instant::now() + lifetime.saturating_sub(RENEW_BEFORE),
    });
    let (read_half, write_half) = socket.into_split();
    metrics.links_out.inc();
    let (reader, metrics, stop) = (Arc::downgrade(&shared), Arc::clone(metrics), stop.clone());
    tokio::spawn(async move {
        // The reader holds the link only weakly, so that a link nobody uses any more can end.
        let ended = tokio::select! {
            biased;
            () = stop.cancelled() => Ok(()),
            // Streams that are left on it begin anew on its successor.
            () = tokio::time::sleep(lifetime) => Ok(()),
            ended = write_frames(write_half, sealer, queued, true) => ended,
            ended = read(Frames::new(read_half, opener, BytesMut::new(), far), &reader) => ended,
            () = expire(&reader) => Ok(()),
        };
        if let Err(error) = ended {
            tracing::debug!(target: "node::links", %error, "a dialled link ended");
        }
        if let Some(shared) = reader.upgrade() {
            shared.usable.store(false, Ordering::Release);
            let (waited, circuits) = shared.waiting.lock().clear();
            for passing in waited {
                passing.refuse(Refusal::Unreachable);
            }
            let lost = Answer::Refused(Refusal::Unreachable).encode();
            for circuit in circuits {
                circuit.close(Whose::Asked, Some(&lost));
            }
        }
        metrics.links_out.dec();
    });
    Ok(Asker(shared))
}

/// Ends a task that would outlive who started it.
struct Abort(AbortHandle);

impl Drop for Abort {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Connects and asks for the upgrade.
async fn upgrade(node: &NodeRecord) -> Result<TcpStream, DialError> {
    let authority = authority(&node.endpoint).ok_or(DialError::Endpoint)?;
    let socket = TcpStream::connect(&authority).await?;
    socket.set_nodelay(true)?;
    let (mut http, connection) =
        hyper::client::conn::http1::handshake(hyper_util::rt::TokioIo::new(socket)).await?;
    let _until_upgraded = Abort(tokio::spawn(connection.with_upgrades()).abort_handle());
    let (request, expected) = upgrade::ask(&authority)?;
    let response = http.send_request(request).await?;
    if response.status() != http::StatusCode::SWITCHING_PROTOCOLS
        || response.headers().get(http::header::SEC_WEBSOCKET_ACCEPT) != Some(&expected)
    {
        return Err(DialError::NotGranted);
    }
    let upgraded = hyper::upgrade::on(response).await?;
    let parts = upgraded
        .downcast::<hyper_util::rt::TokioIo<TcpStream>>()
        .map_err(|_| DialError::NotGranted)?;
    // What hyper read ahead would belong to the link; the acceptor waits for us, so there is none.
    if !parts.read_buf.is_empty() {
        return Err(DialError::NotGranted);
    }
    Ok(parts.io.into_inner())
}

/// Takes what the acceptor sends. Never waits for anything else, so that neither a slow stream nor a
/// full queue keeps answers from those who wait for them.
async fn read(
    mut frames: Frames<tokio::net::tcp::OwnedReadHalf>,
    shared: &Weak<Shared>,
) -> Result<(), PipeError> {
    loop {
        let frame = frames.next().await?;
        let header = frame.header;
        let Some(shared) = shared.upgrade() else {
            return Ok(());
        };
        match header.kind {
            Kind::Answer => {
                let asking = shared.waiting.lock().take(header.request);
                if let Some(asking) = asking {
                    asking.answer(frame);
                }
            }
            Kind::Item => {
                let item = frame.detached().payload;
                let kept = shared
                    .waiting
                    .lock()
                    .item(header.request, item, header.last);
                if let Kept::Unasked(passing) = kept {
                    passing.refuse(Refusal::Failed);
                } else if matches!(kept, Kept::Yes) {
                    continue;
                }
                shared
                    .queue
                    .insist(Header::control(Kind::Cancel, header.request));
            }
            Kind::Data => {
                let circuit = shared.waiting.lock().circuit(header.request);
                if let Some(circuit) = circuit {
                    circuit.data(Whose::Asked, &frame.payload);
                }
            }
            Kind::Credit => {
                let circuit = shared.waiting.lock().circuit(header.request);
                if let Some(circuit) = circuit {
                    circuit.grant(Whose::Asked, header.credit);
                }
            }
            Kind::GoAway => shared.usable.store(false, Ordering::Release),
            Kind::Pong => {}
            // An acceptor has nothing to ask here.
            Kind::Packet | Kind::Cancel | Kind::Ping => {}
        }
    }
}

/// Ends the waiting of requests that got no answer in time; does so as long as it is polled.
async fn expire(shared: &Weak<Shared>) {
    loop {
        tokio::time::sleep(EXPIRE_EVERY).await;
        let Some(shared) = shared.upgrade() else {
            return std::future::pending().await;
        };
        let expired = shared.waiting.lock().expired(Instant::now());
        for (request, asking) in expired {
            shared.queue.insist(Header::control(Kind::Cancel, request));
            if let Asking::Link(passing) = asking {
                passing.refuse(Refusal::Unreachable);
            }
        }
    }
}

/// Tells the far end that nobody waits, unless the answer came.
#[derive(Debug)]
pub(super) struct Asked {
    shared: Arc<Shared>,
    request: u64,
}

impl Asked {
    /// Grants the sender of a stream as much as an item of it took.
    pub(super) fn grant(&self, item: &[u8]) {
        let granted = region_kib(item).unwrap_or(0) * 1024;
        // A stream sends no more than it was granted, so that of these few can wait at a time.
        self.shared
            .queue
            .insist(Header::credit(self.request, granted));
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        self.shared.cancel(self.request);
    }
}

impl Shared {
    pub(super) fn queue(&self) -> &Queue {
        &self.queue
    }

    pub(super) fn cancel(&self, request: u64) {
        let waited = self.waiting.lock().take(request);
        if waited.is_some() {
            self.queue.insist(Header::control(Kind::Cancel, request));
        }
    }
}

/// A request of another link, under the number that it has on this one.
#[derive(Debug, Clone)]
pub(super) struct Passage {
    link: Weak<Shared>,
    request: u64,
}

impl Passage {
    /// Tells the far end that nobody waits, unless the answer came.
    pub(super) fn cancel(&self) {
        if let Some(link) = self.link.upgrade() {
            link.cancel(self.request);
        }
    }
}

impl Asker {
    pub(super) fn is_usable(&self) -> bool {
        self.0.usable.load(Ordering::Acquire)
            && !self.0.queue.has_ended()
            && Instant::now() < self.0.renew_at
    }

    /// A number for a request of another link.
    pub(super) fn passage(&self) -> Passage {
        Passage {
            link: Arc::downgrade(&self.0),
            request: self.0.next.fetch_add(1, Ordering::Relaxed),
        }
    }

    /// Sends a request of another link on, which gets its answer within `patience`; no task waits for it.
    pub(super) fn pass(
        &self,
        passage: &Passage,
        header: Header,
        packet: &[u8],
        passing: Passing,
        patience: Duration,
    ) {
        let request = passage.request;
        let now = Instant::now();
        let begun = self
            .0
            .waiting
            .lock()
            .begin_for(passing, request, now, patience);
        if let Err(passing) = begun {
            return passing.refuse(Refusal::Busy);
        }
        let Err(error) = self.0.queue.offer(Header { request, ..header }, packet) else {
            return;
        };
        // Unless the link has ended meanwhile and said so.
        let waited = self.0.waiting.lock().take(request);
        if let Some(Asking::Link(passing)) = waited {
            passing.refuse(match error {
                NotQueued::Ended => Refusal::Unreachable,
                NotQueued::Full | NotQueued::TooLarge => Refusal::Busy,
            });
        }
    }

    /// Asks for a circuit's next stretch, of which the packet is the first thing to go.
    pub(super) fn extend(&self, ask: &Request, circuit: &Arc<Circuit>) -> Result<(), LinkError> {
        let request = self.0.next.fetch_add(1, Ordering::Relaxed);
        let header = Header {
            request,
            stamp: ask.stamp,
            circuit: true,
            hops: ask.hops,
            ..Header::packet(SizeClass::K4, 0)
        };
        if !self.0.waiting.lock().begin_circuit(request, circuit) {
            return Err(LinkError::Busy);
        }
        if let Err(error) = self.0.queue.offer(header, &ask.packet) {
            let _unsent = self.0.waiting.lock().take(request);
            return Err(match error {
                NotQueued::Ended => LinkError::Lost,
                NotQueued::Full | NotQueued::TooLarge => LinkError::Busy,
            });
        }
        circuit.goes_on(Arc::clone(&self.0), request);
        Ok(())
    }

    /// Sends a request and waits for `patience` at most.
    pub(super) async fn ask(&self, ask: Request, patience: Duration) -> Result<Reply, LinkError> {
        let Some(class) = packet::SizeClass::for_packet_len(ask.packet.len()) else {
            return Err(LinkError::Busy);
        };
        let request = self.0.next.fetch_add(1, Ordering::Relaxed);
        let header = Header {
            request,
            stamp: ask.stamp,
            broadcast: ask.broadcast,
            stream: ask.stream,
            hops: ask.hops,
            ..Header::packet(class, ask.packet.len() as u32)
        };
        let answer = self
            .0
            .waiting
            .lock()
            .begin(request, Instant::now(), patience)
            .ok_or(LinkError::Busy)?;
        if let Err(error) = self.0.queue.offer(header, &ask.packet) {
            let _unanswered = self.0.waiting.lock().take(request);
            return Err(match error {
                NotQueued::Ended => LinkError::Lost,
                NotQueued::Full | NotQueued::TooLarge => LinkError::Busy,
            });
        }
        let asked = Asked {
            shared: Arc::clone(&self.0),
            request,
        };
        match answer.await {
            Ok(Reply::Stream(items)) => Ok(Reply::Stream(items.asked(asked))),
            Ok(reply) => Ok(reply),
            Err(_) => Err(LinkError::Lost),
        }
    }
}
