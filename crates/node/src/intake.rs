//! The front door: one TCP port for clients' exchanges, other nodes' links and the plain intake.
//!
//! A request goes to the plain intake if its path says so, to a link if it asks for an upgrade, and
//! else is tried as an exchange. What is none of these meets the site that the node pretends to be
//! ([`site::SiteProfile`]), and learns nothing.

mod alarm;
mod exchange;
mod patience;
mod plain;
mod sessions;
mod site;
mod stream;

pub(crate) use sessions::Sessions;
pub(crate) use site::{Bare, SiteProfile};

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{Method, Request, Response};
use http_body_util::BodyExt as _;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::{Body as _, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use protocol::answer::Refusal;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::task::TaskTracker;

use crate::config::{BODY_TIMEOUT, DRAIN_TIMEOUT, HEAD_TIMEOUT, MAX_CONNECTIONS, WRITE_TIMEOUT};
use crate::forward::Router;
use crate::links;
use crate::observer::{Eyes, Sight};
use alarm::Alarms;
use patience::Patient;

/// A body at most: a frame of the largest class, its header, and what an exchange adds.
const MAX_BODY_BYTES: usize = packet::SizeClass::M1.frame_bytes()
    + protocol::frame::HEADER_BYTES
    + protocol::session::EXCHANGE_OVERHEAD_BYTES;
/// Bodies up to this are always read: with [`MAX_CONNECTIONS`] they take 320 MiB.
const SMALL_BODY_BYTES: usize = 20 * 1_024;
/// Larger bodies that are read or worked on at once, in KiB: half a gibibyte.
const LARGE_BODIES_KIB: usize = 512 * 1_024;
/// How long a large body waits for room before its client is sent away.
const ROOM_TIMEOUT: Duration = Duration::from_secs(10);

pub(crate) type Body = UnsyncBoxBody<Bytes, Infallible>;

/// What serving a request needs.
pub(crate) struct Intake {
    pub(crate) router: Arc<Router>,
    pub(crate) sessions: Sessions,
    pub(crate) site: Box<dyn SiteProfile>,
    pub(crate) plain_path: Option<String>,
    /// Accepted links, to wait for at the end.
    pub(crate) links: TaskTracker,
    pub(crate) bodies: Bodies,
}

/// Room for bodies.
pub(crate) struct Bodies(Arc<Semaphore>);

impl Default for Bodies {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(LARGE_BODIES_KIB)))
    }
}

/// A connection's place; a link that it becomes keeps it.
type Place = Arc<OwnedSemaphorePermit>;

impl Intake {
    /// Accepts connections until the node stops, then lets what is under way finish.
    pub(crate) async fn run(self: Arc<Self>, listener: TcpListener) {
        let shutdown = self.router.shutdown().clone();
        let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        loop {
            let permit = tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                permit = Arc::clone(&room).acquire_owned() => match permit {
                    Ok(permit) => permit,
                    Err(_) => break,
                },
            };
            let accepted = tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((socket, from)) => {
                    self.eyes().see(Sight::Connection { from });
                    let intake = Arc::clone(&self);
                    tokio::spawn(async move { intake.serve(socket, from, Arc::new(permit)).await });
                }
                Err(error) => {
                    // Out of file descriptors, most likely: wait for some to close.
                    tracing::warn!(target: "node::intake", %error, "a connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
        let all = room.acquire_many(MAX_CONNECTIONS as u32);
        let _slow = tokio::time::timeout(DRAIN_TIMEOUT, all).await;
    }

    async fn serve(self: &Arc<Self>, socket: TcpStream, from: SocketAddr, place: Place) {
        let _counted = Counted::new(self);
        let _slow_start = socket.set_nodelay(true);
        let bodies = Alarms::default();
        let service = service_fn(|request| {
            let (intake, place, bodies) = (Arc::clone(self), Arc::clone(&place), bodies.clone());
            async move { Ok::<_, Infallible>(intake.respond(request, from, place, &bodies).await) }
        });
        let connection = hyper::server::conn::http1::Builder::new()
            .timer(Alarms::default())
            .header_read_timeout(HEAD_TIMEOUT)
            .max_buf_size(64 * 1024)
            .serve_connection(TokioIo::new(Patient::new(socket, WRITE_TIMEOUT)), service)
            .with_upgrades();
        tokio::pin!(connection);
        let shutdown = self.router.shutdown().clone();
        let ended = tokio::select! {
            biased;
            ended = &mut connection => ended,
            () = shutdown.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            tracing::trace!(target: "node::intake", %error, "a connection ended early");
        }
    }

    async fn respond(
        self: Arc<Self>,
        mut request: Request<Incoming>,
        from: SocketAddr,
        place: Place,
        alarms: &Alarms,
    ) -> Response<Body> {
        if links::is_upgrade(&request) {
            return self.upgrade(&mut request, place);
        }
        let plain = self.plain_path.as_deref() == Some(request.uri().path());
        if request.method() != Method::POST {
            return self.stranger();
        }
        let wants_stream = request
            .headers()
            .get(http::header::ACCEPT)
            .is_some_and(|accept| accept.as_bytes().starts_with(b"text/event-stream"));
        // The room is held until the answer is there: so long may the body be.
        match (self.bodies.read(request, alarms).await, plain) {
            (Ok((body, _room)), true) => {
                let message = &body;
                self.eyes().see(Sight::Posted { by: from, message });
                plain::serve(&self, body, wants_stream).await
            }
            (Ok((body, _room)), false) => exchange::serve(&self, body, from).await,
            (Err(refusal), true) => plain::refuse(&refusal),
            (Err(_), false) => self.stranger(),
        }
    }

    fn eyes(&self) -> &Eyes {
        &self.router.local().eyes
    }

    fn stranger(&self) -> Response<Body> {
        self.router.metrics().foreign_requests.inc();
        self.site.stranger()
    }

    fn upgrade(self: &Arc<Self>, request: &mut Request<Incoming>, place: Place) -> Response<Body> {
        let Some(response) = links::respond_to_upgrade(request) else {
            return self.stranger();
        };
        let upgraded = hyper::upgrade::on(request);
        let router = Arc::clone(&self.router);
        self.links.spawn(async move {
            let _place = place;
            let Ok(upgraded) = upgraded.await else { return };
            let Ok(parts) = upgraded.downcast::<TokioIo<Patient<TcpStream>>>() else {
                return;
            };
            let socket = parts.io.into_inner().into_inner();
            let ended = links::accept(socket, parts.read_buf, router).await;
            if let Err(error) = ended {
                tracing::debug!(target: "node::links", %error, "an accepted link ended");
            }
        });
        response.map(|()| empty())
    }
}

impl Bodies {
    /// Reads a body; a large one only if there is room for it.
    async fn read(
        &self,
        request: Request<Incoming>,
        alarms: &Alarms,
    ) -> Result<(Bytes, Option<OwnedSemaphorePermit>), Refusal> {
        // A client that does not say how long its body is takes as much room as it might need.
        let claimed = request.body().size_hint().upper();
        let most = claimed.map_or(MAX_BODY_BYTES, |n| usize::try_from(n).unwrap_or(usize::MAX));
        if most > MAX_BODY_BYTES {
            return Err(Refusal::TooLarge);
        }
        let room = if most <= SMALL_BODY_BYTES {
            None
        } else {
            let kib = u32::try_from(most.div_ceil(1024)).unwrap_or(u32::MAX);
            let room = Arc::clone(&self.0).acquire_many_owned(kib);
            match tokio::time::timeout(ROOM_TIMEOUT, room).await {
                Ok(Ok(room)) => Some(room),
                _ => return Err(Refusal::Busy),
            }
        };
        tokio::select! {
            biased;
            body = collect(request.into_body()) => body.map(|body| (body, room)),
            () = alarms.after(BODY_TIMEOUT) => Err(Refusal::Malformed),
        }
    }
}

/// Reads a whole body of at most [`MAX_BODY_BYTES`]. One that comes in one piece, as those of the smallest class
/// do, is not copied.
async fn collect(mut body: Incoming) -> Result<Bytes, Refusal> {
    let (mut first, mut whole) = (Bytes::new(), BytesMut::new());
    while !body.is_end_stream() {
        let Some(frame) = body.frame().await else {
            break;
        };
        // Trailers are nobody's business.
        let Ok(piece) = frame.map_err(|_| Refusal::Malformed)?.into_data() else {
            continue;
        };
        if first.len() + whole.len() + piece.len() > MAX_BODY_BYTES {
            return Err(Refusal::TooLarge);
        }
        if first.is_empty() && whole.is_empty() {
            first = piece;
        } else {
            whole.extend_from_slice(&std::mem::take(&mut first));
            whole.extend_from_slice(&piece);
        }
    }
    Ok(if whole.is_empty() {
        first
    } else {
        whole.freeze()
    })
}

/// One of the open connections, counted until it is dropped.
struct Counted<'i>(&'i Intake);

impl<'i> Counted<'i> {
    fn new(intake: &'i Intake) -> Self {
        intake.router.metrics().connections.inc();
        Self(intake)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.router.metrics().connections.dec();
    }
}

pub(crate) fn empty() -> Body {
    http_body_util::Empty::new().boxed_unsync()
}

pub(crate) fn full(bytes: impl Into<Bytes>) -> Body {
    http_body_util::Full::new(bytes.into()).boxed_unsync()
}
