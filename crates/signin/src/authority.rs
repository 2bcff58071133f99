//! Whom a request is for.

use core::fmt;
use core::str::FromStr;

use protocol::target::{Host, TargetError};
use thiserror::Error;

/// The port that goes without saying.
const HTTP_PORT: u16 = 80;

/// The host and port of an `http` request, as they are signed: in lower case, without port 80 (RFC 9421 section 2.2.3).
///
/// Two are equal if they name the same host and port; a dot at the end of a name makes no difference.
#[derive(Debug, Clone)]
pub struct Authority {
    signed: String,
    host: Host,
    port: u16,
}

/// Why a text names no host and port.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum AuthorityError {
    /// It is no authority of a URI, or has a part before an `@`.
    #[error("a host is a name or address, with or without a port")]
    Form,
    /// The host is none.
    #[error("{0}")]
    Host(#[from] TargetError),
}

impl Authority {
    /// The text that a signature covers, and that follows `http://` in a web page's origin.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.signed
    }

    /// The host.
    #[must_use]
    pub fn host(&self) -> &Host {
        &self.host
    }
}

impl FromStr for Authority {
    type Err = AuthorityError;

    fn from_str(text: &str) -> Result<Self, AuthorityError> {
        let authority: http::uri::Authority = text.parse().map_err(|_| AuthorityError::Form)?;
        if authority.as_str().contains('@') {
            return Err(AuthorityError::Form);
        }
        let bare = authority.host();
        let port = match authority.as_str().get(bare.len()..) {
            // `host:` is good form, and means the same as without (RFC 3986 section 3.2.3).
            Some("" | ":") => HTTP_PORT,
            _ => authority.port_u16().ok_or(AuthorityError::Form)?,
        };
        let host = bare.parse()?;
        let mut signed = bare.to_ascii_lowercase();
        if port != HTTP_PORT {
            signed = format!("{signed}:{port}");
        }
        Ok(Self { signed, host, port })
    }
}

impl PartialEq for Authority {
    fn eq(&self, other: &Self) -> bool {
        (&self.host, self.port) == (&other.host, other.port)
    }
}

impl Eq for Authority {}

impl fmt::Display for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.signed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Authority {
        text.parse().unwrap()
    }

    #[test]
    fn authority_is_signed_in_lower_case_without_the_port_of_http() {
        for (text, signed) in [
            ("Notes.Conet", "notes.conet"),
            ("notes.conet:80", "notes.conet"),
            ("notes.conet:", "notes.conet"),
            ("notes.conet.", "notes.conet."),
            ("notes.conet:8080", "notes.conet:8080"),
            ("[::1]:80", "[::1]"),
            ("127.0.0.1:3000", "127.0.0.1:3000"),
        ] {
            assert_eq!(read(text).as_str(), signed);
        }
        assert_eq!(read("notes.conet."), read("NOTES.conet:80"));
        assert_ne!(read("notes.conet"), read("notes.conet:81"));
        assert_ne!(read("notes.conet"), read("other.conet"));
    }

    #[test]
    fn text_that_names_no_host_is_refused() {
        for text in [
            "",
            ":80",
            "a b",
            "user@notes.conet",
            "notes.conet:x",
            "notes.conet:99999",
            "notes.conet/x",
            "a..b",
        ] {
            assert!(text.parse::<Authority>().is_err(), "{text}");
        }
    }
}
