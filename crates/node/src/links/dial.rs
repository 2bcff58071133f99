//! The asking end of a link.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use ledger::NodeRecord;
use parking_lot::Mutex;
use protocol::frame::{Header, Kind};
use protocol::link::{Handshake, Incoming, MAX_LIFETIME_MS};
use thiserror::Error;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::pipe::{
    Frames, Outgoing, PipeError, QUEUE_FRAMES, read_handshake, write_frames, write_handshake,
};
use super::{LinkError, Local, Reply, Request, upgrade};
use crate::config::REQUEST_TIMEOUT_PER_HOP;
use crate::metrics::Metrics;

/// Items of one stream that wait for their reader; credit keeps it below this.
const STREAM_ITEMS: usize = 64;
/// A link near its end of life is replaced this long before.
const RENEW_BEFORE: Duration = Duration::from_secs(600);

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

/// What waits for an answer.
enum Slot {
    First(oneshot::Sender<Reply>),
    Stream { items: mpsc::Sender<Bytes> },
}

struct Shared {
    queue: mpsc::Sender<Outgoing>,
    waiting: Mutex<HashMap<u64, Slot>>,
    next: AtomicU64,
    /// Cleared when the link breaks or asks for no more.
    usable: AtomicBool,
    renew_at: Instant,
}

/// Asks over one link; cheap to clone.
#[derive(Clone)]
pub(super) struct Asker(Arc<Shared>);

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
pub(super) async fn dial(
    local: &Local,
    node: &NodeRecord,
    metrics: &Arc<Metrics>,
    shutdown: &CancellationToken,
) -> Result<Asker, DialError> {
    let authority = authority(&node.endpoint).ok_or(DialError::Endpoint)?;
    let socket = TcpStream::connect(&authority).await?;
    socket.set_nodelay(true)?;
    let (mut http, connection) =
        hyper::client::conn::http1::handshake(hyper_util::rt::TokioIo::new(socket)).await?;
    let connection = tokio::spawn(connection.with_upgrades());
    let (request, expected) = upgrade::ask(&authority)?;
    let response = http.send_request(request).await?;
    if response.status() != http::StatusCode::SWITCHING_PROTOCOLS
        || response.headers().get(http::header::SEC_WEBSOCKET_ACCEPT) != Some(&expected)
    {
        connection.abort();
        return Err(DialError::NotGranted);
    }
    let upgraded = hyper::upgrade::on(response).await?;
    let parts = upgraded
        .downcast::<hyper_util::rt::TokioIo<TcpStream>>()
        .map_err(|_| DialError::NotGranted)?;
    let mut socket = parts.io.into_inner();

    let (handshake, message) = Handshake::dial(
        local.me,
        &local.transport_secret,
        &node.address,
        &node.transport_key,
        0,
    )?;
    write_handshake(&mut socket, &message).await?;
    // What hyper read ahead belongs to the link; the acceptor waits for us, so there is none.
    if !parts.read_buf.is_empty() {
        return Err(DialError::NotGranted);
    }
    let answer = read_handshake(&mut socket).await?;
    let (peer, sealer, opener) = handshake.finish(&answer)?;
    if peer.node != node.address || peer.transport_key != node.transport_key {
        return Err(DialError::Impostor);
    }

    let (queue, queued) = mpsc::channel(QUEUE_FRAMES);
    let shared = Arc::new(Shared {
        queue,
        waiting: Mutex::default(),
        next: AtomicU64::new(1),
        usable: AtomicBool::new(true),
        renew_at: Instant::now()
            + Duration::from_millis(MAX_LIFETIME_MS).saturating_sub(RENEW_BEFORE),
    });
    let (read_half, write_half) = socket.into_split();
    metrics.links_out.inc();
    let (reader, metrics, shutdown) = (
        Arc::downgrade(&shared),
        Arc::clone(metrics),
        shutdown.clone(),
    );
    tokio::spawn(async move {
        // The reader holds the link only weakly, so that a link nobody uses any more can end.
        let ended = tokio::select! {
            biased;
            () = shutdown.cancelled() => Ok(()),
            ended = write_frames(write_half, sealer, queued, true) => ended,
            ended = read(Frames::new(read_half, opener, BytesMut::new()), &reader) => ended,
        };
        if let Err(error) = ended {
            tracing::debug!(target: "node::links", %error, "a dialled link ended");
        }
        if let Some(shared) = reader.upgrade() {
            shared.usable.store(false, Ordering::Release);
            shared.waiting.lock().clear();
        }
        metrics.links_out.dec();
    });
    Ok(Asker(shared))
}

async fn read(
    mut frames: Frames<tokio::net::tcp::OwnedReadHalf>,
    shared: &std::sync::Weak<Shared>,
) -> Result<(), PipeError> {
    loop {
        let Incoming { header, payload } = frames.next().await?;
        let Some(shared) = shared.upgrade() else {
            return Ok(());
        };
        match header.kind {
            Kind::Answer => match shared.waiting.lock().remove(&header.request) {
                Some(Slot::First(asker)) => {
                    let _gone = asker.send(Reply::Answer(payload));
                }
                // The last item of a stream may be an answer, if the far end refuses midway.
                Some(Slot::Stream { items }) => {
                    let _gone = items.try_send(payload);
                }
                None => {}
            },
            Kind::Item => shared.item(header, payload),
            Kind::GoAway => shared.usable.store(false, Ordering::Release),
            Kind::Pong => {}
            // An acceptor has nothing to ask here.
            Kind::Packet | Kind::Credit | Kind::Cancel | Kind::Ping => {}
        }
    }
}

impl Shared {
    fn item(&self, header: Header, payload: Bytes) {
        let mut waiting = self.waiting.lock();
        let overrun = match waiting.remove(&header.request) {
            Some(Slot::First(asker)) => {
                let (items, reader) = mpsc::channel(STREAM_ITEMS);
                let _first = items.try_send(payload);
                if asker.send(Reply::Stream(reader)).is_ok() && !header.last {
                    waiting.insert(header.request, Slot::Stream { items });
                    false
                } else {
                    !header.last
                }
            }
            Some(Slot::Stream { items }) => {
                let sent = items.try_send(payload).is_ok();
                if sent && !header.last {
                    waiting.insert(header.request, Slot::Stream { items });
                }
                !sent
            }
            None => false,
        };
        // Nobody reads, or the far end sent more than it was granted: that stream is over.
        if overrun {
            let _full = self.queue.try_send(Outgoing::control(Header::control(
                Kind::Cancel,
                header.request,
            )));
        }
    }
}

/// Tells the far end that nobody waits, unless the answer came.
struct Waiting {
    shared: Arc<Shared>,
    request: u64,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if self.shared.waiting.lock().remove(&self.request).is_some() {
            let _full = self
                .shared
                .queue
                .try_send(Outgoing::control(Header::control(
                    Kind::Cancel,
                    self.request,
                )));
        }
    }
}

impl Asker {
    pub(super) fn is_usable(&self) -> bool {
        self.0.usable.load(Ordering::Acquire)
            && !self.0.queue.is_closed()
            && Instant::now() < self.0.renew_at
    }

    pub(super) async fn ask(&self, ask: Request) -> Result<Reply, LinkError> {
        let Some(class) = packet::SizeClass::for_packet_len(ask.packet.len()) else {
            return Err(LinkError::Busy);
        };
        let patience = REQUEST_TIMEOUT_PER_HOP * (u32::from(ask.hops) + 1);
        let request = self.0.next.fetch_add(1, Ordering::Relaxed);
        let (asker, answer) = oneshot::channel();
        self.0.waiting.lock().insert(request, Slot::First(asker));
        let waiting = Waiting {
            shared: Arc::clone(&self.0),
            request,
        };
        let header = Header {
            request,
            stamp: ask.stamp,
            broadcast: ask.broadcast,
            stream: ask.stream,
            hops: ask.hops,
            ..Header::packet(class, ask.packet.len() as u32)
        };
        self.0
            .queue
            .try_send(Outgoing {
                header,
                payload: ask.packet,
            })
            .map_err(|e| match e {
                mpsc::error::TrySendError::Full(_) => LinkError::Busy,
                mpsc::error::TrySendError::Closed(_) => LinkError::Lost,
            })?;
        match tokio::time::timeout(patience, answer).await {
            Ok(Ok(Reply::Stream(items))) => Ok(Reply::Stream(granting(waiting, items))),
            Ok(Ok(reply)) => Ok(reply),
            Ok(Err(_)) => Err(LinkError::Lost),
            Err(_) => Err(LinkError::TimedOut),
        }
    }
}

/// Passes items on and grants their sender as much again; ends the request when the reader goes.
fn granting(waiting: Waiting, mut items: mpsc::Receiver<Bytes>) -> mpsc::Receiver<Bytes> {
    let (to, reader) = mpsc::channel(1);
    tokio::spawn(async move {
        let waiting = waiting;
        loop {
            let item = tokio::select! {
                biased;
                () = to.closed() => break,
                item = items.recv() => item,
            };
            let Some(item) = item else { break };
            let region = packet::SizeClass::for_packet_len(item.len())
                .map_or(0, packet::SizeClass::frame_bytes);
            if to.send(item).await.is_err() {
                break;
            }
            let credit = Outgoing::control(Header::credit(waiting.request, region as u32));
            if waiting.shared.queue.send(credit).await.is_err() {
                break;
            }
        }
    });
    reader
}
