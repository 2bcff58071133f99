//! Pooled HTTP/1.1 with bounds on time and length.

use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::time::timeout;

/// How long a TCP connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Idle connections to one entry that are kept for the next exchange.
const MAX_IDLE_CONNECTIONS: usize = 4;
/// How long they are kept.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

pub(super) enum HttpError {
    Unreachable(Box<dyn std::error::Error + Send + Sync>),
    Timeout,
    TooLong,
}

#[derive(Debug)]
pub(super) struct HttpClient(Client<HttpConnector, Full<Bytes>>);

impl HttpClient {
    /// Connections leave from the machine's address `from`; from the system's choice if there is none.
    pub(super) fn new(from: Option<IpAddr>) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_local_address(from);
        connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
        connector.set_nodelay(true);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(MAX_IDLE_CONNECTIONS)
            .build(connector);
        Self(client)
    }

    /// Sends a request and waits for the head of its response.
    pub(super) async fn send(
        &self,
        request: Request<Full<Bytes>>,
        within: Duration,
    ) -> Result<Response<Incoming>, HttpError> {
        match timeout(within, self.0.request(request)).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) => Err(HttpError::Unreachable(error.into())),
            Err(_) => Err(HttpError::Timeout),
        }
    }
}

/// Reads a body of at most `limit` bytes.
pub(super) async fn whole(
    mut body: Incoming,
    limit: usize,
    within: Duration,
) -> Result<Vec<u8>, HttpError> {
    let read = async {
        let mut bytes = Vec::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| HttpError::Unreachable(error.into()))?;
            if let Ok(data) = frame.into_data() {
                if bytes.len() + data.len() > limit {
                    return Err(HttpError::TooLong);
                }
                bytes.extend_from_slice(&data);
            }
        }
        Ok(bytes)
    };
    timeout(within, read)
        .await
        .unwrap_or(Err(HttpError::Timeout))
}
