//! The front door: one TCP port for clients' exchanges, other nodes' links and the plain intake.
//!
//! A request goes to the plain intake if its path says so, to a link if it asks for an upgrade, and
//! else is tried as an exchange. What is none of these meets the site that the node pretends to be
//! ([`site::SiteProfile`]), and learns nothing.

mod exchange;
mod plain;
mod sessions;
mod site;
mod stream;

pub(crate) use sessions::Sessions;
pub(crate) use site::{Bare, SiteProfile};

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use crate::config::{BODY_TIMEOUT, DRAIN_TIMEOUT, HEAD_TIMEOUT, MAX_CONNECTIONS};
use crate::forward::Router;
use crate::links;

/// A body at most: a frame of the largest class, its header, and what an exchange adds.
const MAX_BODY_BYTES: usize = packet::SizeClass::M1.frame_bytes()
    + protocol::frame::HEADER_BYTES
    + protocol::session::EXCHANGE_OVERHEAD_BYTES;

pub(crate) type Body = UnsyncBoxBody<Bytes, Infallible>;

/// What serving a request needs.
pub(crate) struct Intake {
    pub(crate) router: Arc<Router>,
    pub(crate) sessions: Sessions,
    pub(crate) site: Box<dyn SiteProfile>,
    pub(crate) plain_path: Option<String>,
}

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
                Ok((socket, _)) => {
                    let intake = Arc::clone(&self);
                    tokio::spawn(async move {
                        intake.router.metrics().connections.inc();
                        intake.serve(socket).await;
                        intake.router.metrics().connections.dec();
                        drop(permit);
                    });
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

    async fn serve(self: &Arc<Self>, socket: TcpStream) {
        let _slow_start = socket.set_nodelay(true);
        let service = service_fn(|request| {
            let intake = Arc::clone(self);
            async move { Ok::<_, Infallible>(intake.respond(request).await) }
        });
        let connection = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .max_buf_size(64 * 1024)
            .serve_connection(TokioIo::new(socket), service)
            .with_upgrades();
        tokio::pin!(connection);
        let shutdown = self.router.shutdown().clone();
        let ended = tokio::select! {
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

    async fn respond(self: Arc<Self>, mut request: Request<Incoming>) -> Response<Body> {
        if links::is_upgrade(&request) {
            return self.upgrade(&mut request);
        }
        let plain = self.plain_path.as_deref() == Some(request.uri().path());
        if request.method() != Method::POST {
            return self.stranger();
        }
        let wants_stream = request
            .headers()
            .get(http::header::ACCEPT)
            .is_some_and(|accept| accept.as_bytes().starts_with(b"text/event-stream"));
        let body = match read_body(request).await {
            Some(body) => body,
            None if plain => return plain::too_large(),
            None => return self.stranger(),
        };
        if plain {
            plain::serve(&self, body, wants_stream).await
        } else {
            exchange::serve(&self, body).await
        }
    }

    fn stranger(&self) -> Response<Body> {
        self.router.metrics().foreign_requests.inc();
        self.site.stranger()
    }

    fn upgrade(self: &Arc<Self>, request: &mut Request<Incoming>) -> Response<Body> {
        let Some(response) = links::respond_to_upgrade(request) else {
            return self.stranger();
        };
        let upgraded = hyper::upgrade::on(request);
        let router = Arc::clone(&self.router);
        tokio::spawn(async move {
            let Ok(upgraded) = upgraded.await else { return };
            let Ok(parts) = upgraded.downcast::<TokioIo<TcpStream>>() else {
                return;
            };
            let ended = links::accept(parts.io.into_inner(), parts.read_buf, router).await;
            if let Err(error) = ended {
                tracing::debug!(target: "node::links", %error, "an accepted link ended");
            }
        });
        response.map(|()| empty())
    }
}

async fn read_body(request: Request<Incoming>) -> Option<Bytes> {
    let collecting = Limited::new(request.into_body(), MAX_BODY_BYTES).collect();
    match tokio::time::timeout(BODY_TIMEOUT, collecting).await {
        Ok(Ok(body)) => Some(body.to_bytes()),
        _ => None,
    }
}

pub(crate) fn empty() -> Body {
    http_body_util::Empty::new().boxed_unsync()
}

pub(crate) fn full(bytes: impl Into<Bytes>) -> Body {
    http_body_util::Full::new(bytes.into()).boxed_unsync()
}
