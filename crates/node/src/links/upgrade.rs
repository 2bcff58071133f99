//! How a link begins on the wire: an HTTP/1.1 upgrade that any WebSocket client might ask for
//! (RFC 6455, 4), on the same port as everything else.

use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use rand::RngCore as _;

const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Says whether a request asks for a link.
pub(crate) fn is_upgrade<B>(request: &Request<B>) -> bool {
    let token = |name, value: &str| {
        request
            .headers()
            .get(name)
            .and_then(|v: &HeaderValue| v.to_str().ok())
            .is_some_and(|v| v.split(',').any(|t| t.trim().eq_ignore_ascii_case(value)))
    };
    request.method() == Method::GET
        && token(header::CONNECTION, "upgrade")
        && token(header::UPGRADE, "websocket")
        && request.headers().contains_key(header::SEC_WEBSOCKET_KEY)
}

/// The request that asks a node at `authority` for a link, and the answer's key that proves it was read.
pub(super) fn ask(
    authority: &str,
) -> Result<(Request<http_body_util::Empty<bytes::Bytes>>, HeaderValue), http::Error> {
    let mut random = [0; 24];
    rand::thread_rng().fill_bytes(&mut random);
    let (path, nonce) = random.split_at(8);
    let key = base64(nonce);
    let request = Request::get(format!("/{}", hex::encode(path)))
        .header(header::HOST, authority)
        .header(header::CONNECTION, "Upgrade")
        .header(header::UPGRADE, "websocket")
        .header(header::SEC_WEBSOCKET_VERSION, "13")
        .header(header::SEC_WEBSOCKET_KEY, &key)
        .body(http_body_util::Empty::new())?;
    Ok((request, HeaderValue::from_str(&accept_key(&key))?))
}

/// The response that grants it.
pub(crate) fn respond<B>(request: &Request<B>) -> Option<Response<()>> {
    let key = request
        .headers()
        .get(header::SEC_WEBSOCKET_KEY)?
        .to_str()
        .ok()?;
    Response::builder()
        .status(StatusCode::SWITCHING_PROTOCOLS)
        .header(header::CONNECTION, "Upgrade")
        .header(header::UPGRADE, "websocket")
        .header(header::SEC_WEBSOCKET_ACCEPT, accept_key(key))
        .body(())
        .ok()
}

fn accept_key(key: &str) -> String {
    let digest = ring::digest::digest(
        &ring::digest::SHA1_FOR_LEGACY_USE_ONLY,
        format!("{key}{GUID}").as_bytes(),
    );
    base64(digest.as_ref())
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accept_key_is_that_of_rfc_6455() {
        assert_eq!(
            accept_key("dGhlIHNhbXBsZSBub25jZQ=="),
            "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        );
    }

    #[test]
    fn asked_upgrade_is_recognised_and_granted() {
        let (request, expected) = ask("127.0.0.1:1").unwrap();
        assert!(is_upgrade(&request));
        assert_eq!(
            respond(&request).unwrap().headers()[header::SEC_WEBSOCKET_ACCEPT],
            expected
        );
        assert!(!is_upgrade(&Request::get("/").body(()).unwrap()));
    }
}
