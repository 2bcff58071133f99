//! The front door: one TCP port for clients' exchanges, other nodes' links and the plain intake.
//!
//! A request goes to the plain intake if its path says so, to a link if it asks for an upgrade, and
//! else is tried as an exchange. What is none of these meets the site that the node pretends to be
//! ([`site::SiteProfile`]), and learns nothing.

mod alarm;
mod bodies;
mod exchange;
mod patience;
mod plain;
mod sessions;
mod site;
mod stream;

pub(crate) use bodies::Bodies;
pub(crate) use sessions::Sessions;
pub(crate) use site::{Bare, SiteProfile};
pub(crate) use stream::Unread;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::BodyExt as _;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::task::TaskTracker;

use crate::config::{CROWDED_TIMEOUT, DRAIN_TIMEOUT, HEAD_TIMEOUT, MAX_CONNECTIONS, WRITE_TIMEOUT};
use crate::forward::Router;
use crate::links;
use crate::observer::{Eyes, Sight};
use alarm::Alarms;
use patience::Patient;
use stream::Events;

pub(crate) type Body = UnsyncBoxBody<Bytes, Infallible>;

/// What a request led to.
enum Served {
    Response(Response<Body>),
    /// A stream that takes the connection over.
    Stream(Events),
}

impl From<Response<Body>> for Served {
    fn from(response: Response<Body>) -> Self {
        Self::Response(response)
    }
}

/// Where a request leaves the stream that is to take its connection over.
type Handover = Arc<Mutex<Option<Events>>>;

/// What serving a request needs.
pub(crate) struct Intake {
    pub(crate) router: Arc<Router>,
    pub(crate) sessions: Sessions,
    pub(crate) site: Box<dyn SiteProfile>,
    pub(crate) plain_path: Option<String>,
    /// Accepted links, to wait for at the end.
    pub(crate) links: TaskTracker,
    pub(crate) bodies: Bodies,
    pub(crate) unread: Unread,
    /// Connections at once; more wait in the kernel's queue.
    pub(crate) connections: usize,
}

/// A connection's place; a link that it becomes keeps it.
type Place = Arc<OwnedSemaphorePermit>;

impl Intake {
    /// Accepts connections until the node stops, then lets what is under way finish.
    pub(crate) async fn run(self: Arc<Self>, listener: TcpListener) {
        let shutdown = self.router.shutdown().clone();
        let most = self.connections.min(MAX_CONNECTIONS);
        let room = Arc::new(Semaphore::new(most));
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
                    // With few places left nobody keeps one for long who says nothing.
                    let head_most = match room.available_permits() < most / 4 {
                        true => CROWDED_TIMEOUT,
                        false => HEAD_TIMEOUT,
                    };
                    tokio::spawn(intake.serve(socket, from, Arc::new(permit), head_most));
                }
                Err(error) => {
                    // Out of file descriptors, most likely: wait for some to close.
                    tracing::warn!(target: "node::intake", %error, "a connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
        let all = room.acquire_many(most as u32);
        let _slow = tokio::time::timeout(DRAIN_TIMEOUT, all).await;
    }

    async fn serve(
        self: Arc<Self>,
        socket: TcpStream,
        from: SocketAddr,
        place: Place,
        head_most: Duration,
    ) {
        let counted = Counted::new(&self);
        let _slow_start = socket.set_nodelay(true);
        let (bodies, handover) = (Alarms::default(), Handover::default());
        let service = service_fn(|request| {
            let (intake, place) = (Arc::clone(&self), Arc::clone(&place));
            let (bodies, handover) = (bodies.clone(), Arc::clone(&handover));
            async move {
                let version = request.version();
                match intake.respond(request, from, place, &bodies).await {
                    Served::Response(response) => Ok::<_, Infallible>(response),
                    Served::Stream(events) => {
                        *handover.lock() = Some(events.for_version(version));
                        // The connection sees it now, and drops this.
                        std::future::pending().await
                    }
                }
            }
        });
        let mut connection = hyper::server::conn::http1::Builder::new()
            .timer(Alarms::default())
            .header_read_timeout(head_most)
            .max_buf_size(64 * 1024)
            .serve_connection(TokioIo::new(Patient::new(socket, WRITE_TIMEOUT)), service)
            .with_upgrades();
        let shutdown = self.router.shutdown().clone();
        let mut ended = tokio::select! {
            biased;
            ended = until_handed_over(&mut connection, &handover) => Some(ended),
            () = shutdown.cancelled() => None,
        };
        if ended.is_none() {
            Pin::new(&mut connection).graceful_shutdown();
            ended = Some(until_handed_over(&mut connection, &handover).await);
        }
        match ended {
            Some(Ok(Some(events))) => {
                let Some(parts) = connection.into_parts() else {
                    return;
                };
                let socket = parts.io.into_inner();
                let intake = Arc::clone(&self);
                // Anew, so that what a request took is given back.
                tokio::spawn(async move {
                    let _place = (place, counted);
                    let ended = events.run(socket, &intake.unread, shutdown).await;
                    if let Err(error) = ended {
                        tracing::trace!(target: "node::intake", %error, "a stream ended early");
                    }
                });
            }
            Some(Err(error)) => {
                tracing::trace!(target: "node::intake", %error, "a connection ended early");
            }
            Some(Ok(None)) | None => {}
        }
    }

    async fn respond(
        self: Arc<Self>,
        mut request: Request<Incoming>,
        from: SocketAddr,
        place: Place,
        alarms: &Alarms,
    ) -> Served {
        if links::is_upgrade(&request) {
            return self.upgrade(&mut request, place).into();
        }
        let plain = self.plain_path.as_deref() == Some(request.uri().path());
        if request.method() != Method::POST {
            return self.stranger().into();
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
            (Err(refusal), true) => plain::refuse(&refusal).into(),
            (Err(_), false) => self.stranger().into(),
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

type Connection<S> =
    hyper::server::conn::http1::UpgradeableConnection<TokioIo<Patient<TcpStream>>, S>;

/// Drives a connection to its end, or until a stream is there to take it over.
async fn until_handed_over<S>(
    connection: &mut Connection<S>,
    handover: &Handover,
) -> hyper::Result<Option<Events>>
where
    S: hyper::service::HttpService<Incoming, ResBody = Body>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    std::future::poll_fn(|cx| match Pin::new(&mut *connection).poll(cx) {
        Poll::Ready(ended) => Poll::Ready(ended.map(|()| None)),
        Poll::Pending => match handover.lock().take() {
            Some(events) => Poll::Ready(Ok(Some(events))),
            None => Poll::Pending,
        },
    })
    .await
}

/// One of the open connections, counted until it is dropped.
struct Counted(Arc<Intake>);

impl Counted {
    fn new(intake: &Arc<Intake>) -> Self {
        intake.router.metrics().connections.inc();
        Self(Arc::clone(intake))
    }
}

impl Drop for Counted {
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
