//! What an exchange looks like from outside: the joint where site profiles plug in.

use std::fmt::Debug;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Uri, response};
use http_body_util::Full;
use rand::RngCore;

use crate::directory::EndpointError;

/// Random bytes of a request's path.
const PATH_BYTES: usize = 8;

/// Gives an exchange its shape and recognises its response.
pub(crate) trait SiteProfile: Debug + Send + Sync + 'static {
    /// The request that carries `body` to the node at `endpoint`.
    ///
    /// # Errors
    /// [`EndpointError::Malformed`] where the endpoint can't be a request's target.
    fn request(
        &self,
        endpoint: &Uri,
        body: Bytes,
        rng: &mut dyn RngCore,
    ) -> Result<Request<Full<Bytes>>, EndpointError>;

    /// Says whether a response is a stream of events.
    fn is_stream(&self, response: &response::Parts) -> bool;
}

/// No disguise: a `POST` of binary data to a random path.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Bare;

impl SiteProfile for Bare {
    fn request(
        &self,
        endpoint: &Uri,
        body: Bytes,
        rng: &mut dyn RngCore,
    ) -> Result<Request<Full<Bytes>>, EndpointError> {
        let mut path = [0; PATH_BYTES];
        rng.fill_bytes(&mut path);
        let base = endpoint.path().trim_end_matches('/');
        let authority = endpoint.authority().ok_or(EndpointError::Malformed)?;
        let target = format!("http://{authority}{base}/{}", hex::encode(path));
        Request::builder()
            .method(Method::POST)
            .uri(target)
            .header(
                CONTENT_TYPE,
                HeaderValue::from_static("application/octet-stream"),
            )
            .header(ACCEPT, HeaderValue::from_static("*/*"))
            .body(Full::new(body))
            .map_err(|_| EndpointError::Malformed)
    }

    fn is_stream(&self, response: &response::Parts) -> bool {
        response
            .headers
            .get(CONTENT_TYPE)
            .is_some_and(|value| value.as_bytes().starts_with(b"text/event-stream"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bare_requests_have_nothing_in_common_but_their_form() {
        let endpoint: Uri = "http://127.0.0.1:4001/base".parse().unwrap();
        let mut rng = rand::thread_rng();
        let mut path = || {
            let request = Bare
                .request(&endpoint, Bytes::from_static(b"x"), &mut rng)
                .unwrap();
            request.uri().path().to_owned()
        };
        let (first, second) = (path(), path());
        assert!(
            first.starts_with("/base/") && first.len() == "/base/".len() + 16,
            "{first}"
        );
        assert_ne!(first, second);
    }
}
