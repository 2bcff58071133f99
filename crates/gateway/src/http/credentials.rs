//! Whose request it is: the user name by which a client isolates.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use http::header::PROXY_AUTHORIZATION;

use super::answers::Refusal;
use crate::outbound::Isolation;

/// The credentials at most, in bytes, before they are decoded.
const MAX_CREDENTIALS_BYTES: usize = 2048;

/// Reads the user name that a client gave to the proxy (RFC 7617), if it gave any. Every password will do.
pub(super) fn isolation(headers: &HeaderMap) -> Result<Isolation, Refusal> {
    let Some(value) = headers.get(PROXY_AUTHORIZATION) else {
        return Ok(Isolation::Shared);
    };
    let user = value.to_str().ok().and_then(user);
    user.map(|user| Isolation::from_user(&user))
        .ok_or(Refusal::Credentials)
}

fn user(value: &str) -> Option<Vec<u8>> {
    let (scheme, encoded) = value.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") || encoded.len() > MAX_CREDENTIALS_BYTES {
        return None;
    }
    let mut decoded = STANDARD.decode(encoded.trim()).ok()?;
    let colon = decoded.iter().position(|byte| *byte == b':')?;
    decoded.truncate(colon);
    Some(decoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(value: &str) -> Result<Isolation, Refusal> {
        let mut headers = HeaderMap::new();
        headers.insert(PROXY_AUTHORIZATION, value.parse().unwrap());
        isolation(&headers)
    }

    #[test]
    fn user_name_is_read_whatever_the_password() {
        assert_eq!(isolation(&HeaderMap::new()).unwrap(), Isolation::Shared);
        let alice = Isolation::from_user(b"alice");
        for value in [
            "Basic YWxpY2U6",
            "basic YWxpY2U6eA==",
            "BASIC  YWxpY2U6YTpi",
        ] {
            assert_eq!(read(value).unwrap(), alice, "{value}");
        }
        assert_eq!(
            read("Basic Ong=").unwrap(),
            Isolation::Shared,
            "no name at all"
        );
    }

    #[test]
    fn credentials_that_are_none_are_refused() {
        let long = format!("Basic {}", "YWxp".repeat(MAX_CREDENTIALS_BYTES));
        for value in [
            "",
            "Basic",
            "Basic YWxpY2U=",
            "Basic ???",
            "Bearer YWxpY2U6",
            &long,
        ] {
            assert!(matches!(read(value), Err(Refusal::Credentials)), "{value}");
        }
    }
}
