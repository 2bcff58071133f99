//! What a caller is told when its request did not reach the server: a status that fits and one line.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use signin::{PartsError, VerifyError};
use thiserror::Error;

use crate::body::AnswerBody;

/// Why a request was not passed on. Texts name neither the server nor anybody else.
#[derive(Debug, Error)]
pub(crate) enum Refusal {
    /// The signature does not count.
    #[error(transparent)]
    Signature(#[from] VerifyError),
    /// The body is not the one that was signed.
    #[error("the body is not the one that was signed")]
    Digest,
    /// The service is for some wallets only, and none has signed.
    #[error("this service asks for requests that a wallet has signed")]
    Unsigned,
    /// The service is not for this wallet.
    #[error("this service is not open to your wallet")]
    NotAllowed,
    /// The request says not, or not clearly, whom it is for.
    #[error(transparent)]
    Parts(#[from] PartsError),
    /// The request is for a proxy.
    #[error("this is a service and no proxy")]
    Proxy,
    /// The body is in a transfer coding that is not known here.
    #[error("of transfer codings only chunked is known")]
    Coded,
    /// The caller ended in the middle of its body.
    #[error("the body of the request broke off")]
    BrokenOff,
    /// The caller has stopped in the middle of its body.
    #[error("the body of the request did not come in time")]
    SlowCaller,
    /// There are too many.
    #[error("too many requests at once; try again in a moment")]
    Busy,
    /// The server can't be connected to, or ended before its answer, or answered what is none.
    #[error("the server behind this service does not answer; it may be down")]
    ServerDown,
    /// The server takes too long.
    #[error("the server behind this service did not answer in time")]
    ServerSlow,
}

impl Refusal {
    fn status(&self) -> StatusCode {
        match self {
            Self::Signature(VerifyError::Busy) | Self::Busy => StatusCode::SERVICE_UNAVAILABLE,
            Self::Signature(_) | Self::Digest | Self::Unsigned => StatusCode::UNAUTHORIZED,
            Self::NotAllowed => StatusCode::FORBIDDEN,
            Self::Parts(_) | Self::Proxy | Self::BrokenOff => StatusCode::BAD_REQUEST,
            Self::Coded => StatusCode::NOT_IMPLEMENTED,
            Self::SlowCaller => StatusCode::REQUEST_TIMEOUT,
            Self::ServerDown => StatusCode::BAD_GATEWAY,
            Self::ServerSlow => StatusCode::GATEWAY_TIMEOUT,
        }
    }

    pub(crate) fn into_response(self) -> Response<AnswerBody> {
        let text = Full::new(Bytes::from(format!("{self}\n")));
        let mut response = Response::new(text.map_err(|never| match never {}).boxed_unsync());
        *response.status_mut() = self.status();
        let plain = HeaderValue::from_static("text/plain; charset=utf-8");
        response.headers_mut().insert(CONTENT_TYPE, plain);
        response
    }
}
