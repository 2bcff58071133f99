//! alloy's transport over HTTP, with bounds on time and size.

use std::{
    task::{Context, Poll},
    time::Duration,
};

use alloy::{
    rpc::json_rpc::{ErrorPayload, RequestPacket, ResponsePacket},
    transports::{
        RpcError, TransportError, TransportErrorKind, TransportFut,
        http::reqwest::{Client, Response, Url, header::CONTENT_TYPE, redirect::Policy},
    },
};
use tower_service::Service;

use super::RpcFailure;

/// Longest answer that is read, bytes. A range of logs that is longer is asked for in parts.
const MAX_RESPONSE_BYTES: usize = 32 << 20;
/// From the first byte sent to the last byte read.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(20);
/// To open a connection: a server that takes longer is as good as dead.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest error message that is kept, characters.
const MAX_MESSAGE_CHARS: usize = 256;
/// Longest revert data that is kept, bytes: the errors of the contracts take less than 200.
const MAX_REVERT_BYTES: usize = 4_096;

/// JSON-RPC over HTTP POST to one URL.
#[derive(Clone)]
pub(super) struct BoundedHttp {
    client: Client,
    url: Url,
}

impl BoundedHttp {
    pub(super) fn new(url: Url) -> Result<Self, RpcFailure> {
        let mut builder = Client::builder()
            .timeout(REQUEST_TIMEOUT)
            .connect_timeout(CONNECT_TIMEOUT)
            // A server can't send us elsewhere, into the local network for instance.
            .redirect(Policy::none());
        if alloy::transports::utils::guess_local_url(url.as_str()) {
            builder = builder.no_proxy();
        }
        let client = (builder.build()).map_err(|error| RpcFailure::Unusable(Box::new(error)))?;
        Ok(Self { client, url })
    }

    async fn exchange(self, request: RequestPacket) -> Result<ResponsePacket, TransportError> {
        let body = serde_json::to_vec(&request).map_err(TransportError::ser_err)?;
        let response = (self.client.post(self.url))
            .header(CONTENT_TYPE, "application/json")
            .body(body)
            .send()
            .await
            .map_err(|error| carried(http_failure(error)))?;
        let status = response.status();
        let body = read_bounded(response).await.map_err(carried)?;
        match serde_json::from_slice(&body) {
            // Many servers send JSON-RPC errors with an HTTP error status.
            Ok(packet) => Ok(packet),
            Err(_) if !status.is_success() => Err(carried(RpcFailure::Http {
                status: status.as_u16(),
            })),
            Err(_) => Err(carried(RpcFailure::Malformed {
                what: "no JSON-RPC response",
            })),
        }
    }
}

impl Service<RequestPacket> for BoundedHttp {
    type Response = ResponsePacket;
    type Error = TransportError;
    type Future = TransportFut<'static>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: RequestPacket) -> Self::Future {
        Box::pin(self.clone().exchange(request))
    }
}

async fn read_bounded(mut response: Response) -> Result<Vec<u8>, RpcFailure> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(http_failure)? {
        if body.len() + chunk.len() > MAX_RESPONSE_BYTES {
            return Err(RpcFailure::TooLong);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

fn http_failure(error: alloy::transports::http::reqwest::Error) -> RpcFailure {
    if error.is_timeout() {
        RpcFailure::TimedOut
    } else {
        // URLs often hold the key of a paid account.
        RpcFailure::Unreachable(Box::new(error.without_url()))
    }
}

/// Wraps a failure for its way through alloy; [`failure`] takes it out again.
fn carried(failure: RpcFailure) -> TransportError {
    TransportErrorKind::custom(failure)
}

/// Turns alloy's error into ours.
pub(super) fn failure(error: TransportError) -> RpcFailure {
    match error {
        RpcError::Transport(TransportErrorKind::Custom(inner)) => {
            match inner.downcast::<RpcFailure>() {
                Ok(failure) => *failure,
                Err(other) => RpcFailure::Unreachable(other),
            }
        }
        RpcError::ErrorResp(payload) => refused(&payload),
        RpcError::NullResp => RpcFailure::Malformed {
            what: "null where there must be something",
        },
        RpcError::DeserError { .. } => RpcFailure::Malformed {
            what: "a result of another shape",
        },
        RpcError::LocalUsageError(inner) => RpcFailure::Unusable(inner),
        other => RpcFailure::Unreachable(Box::new(other)),
    }
}

fn refused(payload: &ErrorPayload) -> RpcFailure {
    let mut revert_data = payload.as_revert_data().unwrap_or_default().to_vec();
    revert_data.truncate(MAX_REVERT_BYTES);
    RpcFailure::Refused {
        code: payload.code,
        message: (payload.message.chars())
            .filter(|char| !char.is_control())
            .take(MAX_MESSAGE_CHARS)
            .collect(),
        revert_data,
    }
}
