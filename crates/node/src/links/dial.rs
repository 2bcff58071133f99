//! The asking end of a link.

mod waiting;

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
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::pipe::{Far, Frames, PipeError, read_handshake, write_frames, write_handshake};
use super::queue::{NotQueued, Queue, queue, region_kib};
use super::{LinkError, Local, Reply, Request, upgrade};
use crate::metrics::Metrics;
use waiting::Waiting;

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

struct Shared {
    queue: Queue,
    waiting: Mutex<Waiting>,
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

    let (queue, queued) = queue();
    let lifetime = Duration::from_millis(MAX_LIFETIME_MS);
    let shared = Arc::new(Shared {
        queue,
        waiting: Mutex::default(),
        next: AtomicU64::new(1),
        usable: AtomicBool::new(true),
        renew_at: Instant::now() + lifetime.saturating_sub(RENEW_BEFORE),
    });
    let (read_half, write_half) = socket.into_split();
    let (peer, eyes) = (node.address, local.eyes.clone());
    let far = Far { peer, eyes };
    metrics.links_out.inc();
    let (reader, metrics, stop) = (Arc::downgrade(&shared), Arc::clone(metrics), stop.clone());
    tokio::spawn(async move {
        // The reader holds the link only weakly, so that a link nobody uses any more can end.
        let ended = tokio::select! {
            biased;
            () = stop.cancelled() => Ok(()),
            // Streams that are left on it begin anew on its successor.
            () = tokio::time::sleep(lifetime) => Ok(()),
            ended = write_frames(write_half, sealer, queued, far.clone(), true) => ended,
            ended = read(Frames::new(read_half, opener, BytesMut::new(), far), &reader) => ended,
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
    shared: &std::sync::Weak<Shared>,
) -> Result<(), PipeError> {
    loop {
        let Incoming { header, payload } = frames.next().await?;
        let Some(shared) = shared.upgrade() else {
            return Ok(());
        };
        match header.kind {
            Kind::Answer => shared.waiting.lock().answer(header.request, payload),
            Kind::Item => {
                // Nobody reads, or the far end sent more than it was granted: that stream is over.
                let kept = shared
                    .waiting
                    .lock()
                    .item(header.request, payload, header.last);
                if !kept {
                    shared
                        .queue
                        .insist(Header::control(Kind::Cancel, header.request));
                }
            }
            Kind::GoAway => shared.usable.store(false, Ordering::Release),
            Kind::Pong => {}
            // An acceptor has nothing to ask here.
            Kind::Packet | Kind::Credit | Kind::Cancel | Kind::Ping => {}
        }
    }
}

/// Tells the far end that nobody waits, unless the answer came.
struct Asked {
    shared: Arc<Shared>,
    request: u64,
}

impl Drop for Asked {
    fn drop(&mut self) {
        if self.shared.waiting.lock().remove(self.request) {
            self.shared
                .queue
                .insist(Header::control(Kind::Cancel, self.request));
        }
    }
}

impl Asker {
    pub(super) fn is_usable(&self) -> bool {
        self.0.usable.load(Ordering::Acquire)
            && !self.0.queue.has_ended()
            && Instant::now() < self.0.renew_at
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
            .begin(request, Instant::now())
            .ok_or(LinkError::Busy)?;
        if let Err(error) = self.0.queue.offer(header, ask.packet) {
            self.0.waiting.lock().remove(request);
            return Err(match error {
                NotQueued::Ended => LinkError::Lost,
                NotQueued::Full | NotQueued::TooLarge => LinkError::Busy,
            });
        }
        let asked = Asked {
            shared: Arc::clone(&self.0),
            request,
        };
        match tokio::time::timeout(patience, answer).await {
            Ok(Ok(Reply::Stream(items))) => Ok(Reply::Stream(granting(asked, items))),
            Ok(Ok(reply)) => Ok(reply),
            Ok(Err(_)) => Err(LinkError::Lost),
            Err(_) => Err(LinkError::TimedOut),
        }
    }
}

/// Passes items on and grants their sender as much again; ends the request when the reader goes.
fn granting(asked: Asked, mut items: mpsc::Receiver<Bytes>) -> mpsc::Receiver<Bytes> {
    let (to, reader) = mpsc::channel(1);
    tokio::spawn(async move {
        let asked = asked;
        loop {
            let item = tokio::select! {
                biased;
                () = to.closed() => break,
                item = items.recv() => item,
            };
            let Some(item) = item else { break };
            let granted = region_kib(&item).unwrap_or(0) * 1024;
            if to.send(item).await.is_err() {
                break;
            }
            let credit = Header::credit(asked.request, granted);
            if asked.shared.queue.put_control(credit).await.is_err() {
                break;
            }
        }
    });
    reader
}
