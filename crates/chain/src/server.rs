//! JSON-RPC over HTTP/1.1: one path, `POST` only.
//!
//! hyper without a framework: there is nothing to route, and it lets us bound the
//! connections and the time that a client may take, which `axum::serve` does not.

mod guard;

use crate::{
    engine::Engine,
    rpc::{Access, answer},
};
use bytes::Bytes;
use guard::Guard;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::{
    HeaderMap, Method, Request, Response, StatusCode,
    body::Incoming,
    header::{self, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
};
use std::{convert::Infallible, net::IpAddr, sync::Arc, time::Duration};
use tokio::{net::TcpListener, sync::Semaphore, time::timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Bytes of a request.
pub(crate) const MAX_BODY_BYTES: usize = 1024 * 1024;
/// Connections at a time; more wait to be accepted.
const MAX_CONNECTIONS: usize = 256;
/// Requests that are worked on at a time; more wait.
const MAX_CONCURRENT_REQUESTS: usize = 16;
/// Bytes of a request's head.
const MAX_HEAD_BYTES: usize = 16 * 1024;
/// Time for a request's head, also the longest a connection may idle between two; above the
/// 90 s after which common clients close idle connections, so that none meets a closed one.
const HEAD_TIMEOUT: Duration = Duration::from_secs(120);
/// Time for a request's body.
const BODY_TIMEOUT: Duration = Duration::from_secs(15);
/// Time that open requests get at shutdown.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(5);
/// Rest after a failed accept, such as for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What every request needs.
#[derive(Clone)]
struct Service {
    engine: Arc<Engine>,
    guard: Guard,
    access: Access,
    workers: Arc<Semaphore>,
}

/// Serves until `shutdown`, then lets open requests finish.
pub(crate) async fn serve(
    listener: TcpListener,
    engine: Arc<Engine>,
    exposed: Option<IpAddr>,
    shutdown: CancellationToken,
) {
    let service = Service {
        engine,
        guard: Guard::new(exposed),
        access: exposed.map_or(Access::Local, |_| Access::Exposed),
        workers: Arc::new(Semaphore::new(MAX_CONCURRENT_REQUESTS)),
    };
    let connections = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let (graceful, tasks) = (GracefulShutdown::new(), TaskTracker::new());
    loop {
        let accepted = tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            accepted = accept(&listener, &connections) => accepted,
        };
        let Some((stream, permit)) = accepted else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let service = service.clone();
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .max_buf_size(MAX_HEAD_BYTES)
            .serve_connection(
                TokioIo::new(stream),
                service_fn(move |request| {
                    let service = service.clone();
                    async move { Ok::<_, Infallible>(service.respond(request).await) }
                }),
            );
        let connection = graceful.watch(connection);
        tasks.spawn(async move {
            // The client's faults and departures are its own business.
            let _ = connection.await;
            drop(permit);
        });
    }
    drop(listener);
    tasks.close();
    let finished = async {
        graceful.shutdown().await;
        tasks.wait().await;
    };
    let _ = timeout(SHUTDOWN_GRACE, finished).await;
}

async fn accept(
    listener: &TcpListener,
    connections: &Arc<Semaphore>,
) -> Option<(tokio::net::TcpStream, tokio::sync::OwnedSemaphorePermit)> {
    let permit = Arc::clone(connections).acquire_owned().await.ok()?;
    let (stream, _) = listener.accept().await.ok()?;
    // Answers are short: don't wait for more to send.
    let _ = stream.set_nodelay(true);
    Some((stream, permit))
}

impl Service {
    async fn respond(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let origin = match self.guard.check(request.uri(), request.headers()) {
            Ok(origin) => origin.cloned(),
            Err(refused) => return text(StatusCode::FORBIDDEN, &refused.to_string()),
        };
        let mut response = match *request.method() {
            Method::POST => self.post(request).await,
            Method::OPTIONS => preflight(),
            _ => {
                let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "POST JSON-RPC 2.0 here");
                let allow = HeaderValue::from_static("POST, OPTIONS");
                response.headers_mut().insert(header::ALLOW, allow);
                response
            }
        };
        let headers = response.headers_mut();
        headers.insert(header::VARY, HeaderValue::from_static("origin"));
        if let Some(origin) = origin {
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        }
        response
    }

    async fn post(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        // A page can send other types without asking first, JSON only after a preflight.
        if !is_json(request.headers()) {
            return text(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "send JSON-RPC with content-type: application/json",
            );
        }
        let body = Limited::new(request.into_body(), MAX_BODY_BYTES).collect();
        let body = match timeout(BODY_TIMEOUT, body).await {
            Ok(Ok(body)) => body.to_bytes(),
            Ok(Err(error)) if error.is::<LengthLimitError>() => {
                let limit = format!("request body exceeds {MAX_BODY_BYTES} bytes");
                return text(StatusCode::PAYLOAD_TOO_LARGE, &limit);
            }
            Ok(Err(_)) => return text(StatusCode::BAD_REQUEST, "request body was cut off"),
            Err(_) => return text(StatusCode::REQUEST_TIMEOUT, "request body came too slowly"),
        };
        let Ok(_permit) = self.workers.acquire().await else {
            return text(StatusCode::SERVICE_UNAVAILABLE, "shutting down");
        };
        let (engine, access) = (Arc::clone(&self.engine), self.access);
        match tokio::task::spawn_blocking(move || answer(&engine, access, &body)).await {
            Ok(Some(answer)) => {
                let mut response = Response::new(Full::from(answer));
                let json = HeaderValue::from_static("application/json");
                response.headers_mut().insert(header::CONTENT_TYPE, json);
                response
            }
            Ok(None) => empty(StatusCode::NO_CONTENT),
            Err(error) => {
                tracing::error!(target: "chain", %error, "a request's thread stopped");
                text(StatusCode::INTERNAL_SERVER_ERROR, "internal error")
            }
        }
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .is_some_and(|value| value.trim().eq_ignore_ascii_case("application/json"))
}

fn preflight() -> Response<Full<Bytes>> {
    let mut response = empty(StatusCode::NO_CONTENT);
    let headers = response.headers_mut();
    headers.insert(
        header::ACCESS_CONTROL_ALLOW_METHODS,
        HeaderValue::from_static("POST"),
    );
    headers.insert(
        header::ACCESS_CONTROL_ALLOW_HEADERS,
        HeaderValue::from_static("content-type"),
    );
    response
}

fn empty(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    response
}

fn text(status: StatusCode, message: &str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(format!("{message}\n")));
    *response.status_mut() = status;
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    response
}
