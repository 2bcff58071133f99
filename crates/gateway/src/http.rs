//! The HTTP proxy: tunnels by CONNECT, requests in absolute form, and a few pages of its own.
//!
//! A client's connection is served one request after the other. It keeps one connection to the origin it last asked, so
//! that a page's many requests don't open one each, and gives it to nobody else.

mod answers;
mod credentials;
mod forward;
mod own;
mod tunnel;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::sync::Mutex;

use crate::accept::{Doorman, Place};
use crate::signing::Signer;
use crate::ways::Ways;
use forward::Kept;

/// What a client that finds no place is told.
pub(crate) const FULL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain\r\n\
    Connection: close\r\n\r\nToo many connections are open already. Close some, or try again in a moment.\n";

/// The head of a request or an answer at most, in bytes; also what is buffered of a body.
const MAX_HEAD_BYTES: usize = 128 * 1024;
/// Fields in the head of a request or an answer at most.
const MAX_FIELDS: usize = 256;

type Body = UnsyncBoxBody<Bytes, hyper::Error>;

/// Serves clients of the HTTP proxy.
pub(crate) struct Http {
    pub(crate) ways: Arc<Ways>,
    pub(crate) doorman: Doorman,
    pub(crate) head_timeout: Duration,
    /// Where the listeners are, for the pages.
    pub(crate) socks: Option<SocketAddr>,
    pub(crate) http: SocketAddr,
    pub(crate) allow_remote: bool,
    /// Who signs requests to services, if anybody.
    pub(crate) signer: Option<Arc<Signer>>,
}

/// One client's connection.
struct Visit {
    from: SocketAddr,
    local: SocketAddr,
    /// The client's place, which a tunnel keeps.
    place: Place,
    kept: Mutex<Option<Kept>>,
}

impl Http {
    /// Serves one client to its end. A tunnel goes on in a task of its own.
    pub(crate) async fn serve(self: Arc<Self>, socket: TcpStream, from: SocketAddr, place: Place) {
        let Ok(local) = socket.local_addr() else {
            return;
        };
        let kept = Mutex::default();
        let visit = Arc::new(Visit {
            from,
            local,
            place,
            kept,
        });
        let head_timeout = self.head_timeout;
        let service = service_fn(move |request| {
            let (this, visit) = (Arc::clone(&self), Arc::clone(&visit));
            async move { Ok::<_, Infallible>(this.respond(request, &visit).await) }
        });
        let served = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(head_timeout)
            .max_headers(MAX_FIELDS)
            .max_buf_size(MAX_HEAD_BYTES)
            .preserve_header_case(true)
            .auto_date_header(false)
            .serve_connection(TokioIo::new(socket), service)
            .with_upgrades()
            .await;
        if let Err(error) = served {
            // Its text names no host.
            tracing::debug!(target: "gateway::http", %error, "a client's connection ended early");
        }
    }

    async fn respond(&self, request: Request<Incoming>, visit: &Visit) -> Response<Body> {
        let wants_html = answers::wants_html(request.headers());
        let response = if request.method() == Method::CONNECT {
            self.tunnel(request, visit).await
        } else if request.uri().scheme().is_some() {
            self.forward(request, visit).await
        } else {
            self.own(&request, visit)
        };
        response.unwrap_or_else(|refusal| refusal.into_response(wants_html))
    }
}
