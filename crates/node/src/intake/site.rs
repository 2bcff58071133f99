//! What a node's exchanges look like from outside: the joint where site profiles plug in.

use http::{HeaderValue, Response, StatusCode, header};

use super::{Body, empty};

/// The shape of a node's responses on the wire. Secrecy does not depend on it; being recognised does.
pub(crate) trait SiteProfile: Send + Sync + 'static {
    /// The response around the bytes of an answered exchange or handshake.
    fn answer(&self, body: Body) -> Response<Body>;
    /// The head of the response around an event stream.
    fn stream(&self) -> Response<()>;
    /// What someone meets who is no client: it must not depend on why.
    fn stranger(&self) -> Response<Body>;
}

/// No pretence: plain binary bodies, and an empty 404 for strangers. For devnets, until a profile of a
/// real site takes its place.
#[derive(Debug, Default)]
pub(crate) struct Bare;

impl SiteProfile for Bare {
    fn answer(&self, body: Body) -> Response<Body> {
        typed(body, HeaderValue::from_static("application/octet-stream"))
    }

    fn stream(&self) -> Response<()> {
        let mut response = typed((), HeaderValue::from_static("text/event-stream"));
        response
            .headers_mut()
            .insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }

    fn stranger(&self) -> Response<Body> {
        let mut response = Response::new(empty());
        *response.status_mut() = StatusCode::NOT_FOUND;
        response
    }
}

fn typed<B>(body: B, content_type: HeaderValue) -> Response<B> {
    let mut response = Response::new(body);
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, content_type);
    response
}
