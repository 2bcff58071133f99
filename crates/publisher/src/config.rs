//! What a publisher is told at its start.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use http::HeaderValue;
use http::uri::{Authority as UriAuthority, Scheme, Uri};
use signin::Authority;
use thiserror::Error;
use wallet::WalletAddress;

/// Requests at once by default; each costs two sockets and some 200 KiB while bytes move.
pub const DEFAULT_MAX_REQUESTS: usize = 1024;
/// How long it may take from one request to the end of the next one's head by default.
pub const DEFAULT_HEAD_TIMEOUT: Duration = Duration::from_secs(60);
/// How long nothing may move of a request, before its answer begins, by default. An answer that has begun may take its
/// time: event streams are silent for days.
pub const DEFAULT_IDLE_TIMEOUT: Duration = Duration::from_secs(300);

/// The service, the server behind it, and limits.
#[derive(Debug, Clone)]
pub struct Config {
    /// The server.
    pub target: HttpTarget,
    /// The chain whose signatures count.
    pub chain_id: u64,
    /// What the service is called: signatures for others don't count. Requests that nobody signed may have any `Host`.
    pub names: Vec<Authority>,
    /// The wallets that are let in; all, and requests of none, if there is no list.
    pub allow: Option<BTreeSet<WalletAddress>>,
    /// The `Host` that the server sees, instead of the one that the caller wrote.
    pub host: Option<HeaderValue>,
    /// Requests at once, of all streams. A WebSocket or event stream is one for as long as it lasts.
    pub max_requests: usize,
    /// How long it may take from one request of a stream to the end of the next one's head.
    pub head_timeout: Duration,
    /// How long nothing may move of a request before its answer begins.
    pub idle_timeout: Duration,
}

/// A server that speaks HTTP, given as `http://HOST:PORT`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpTarget(UriAuthority);

/// Why a text is no server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TargetError {
    /// It is no URL of the right form.
    #[error("a server is given as http://HOST:PORT, without a path, query or user")]
    Form,
    /// It is for another scheme.
    #[error("only http: servers are published; what speaks TLS can be published as TCP")]
    Scheme,
}

impl Config {
    /// Publishes a server under these names, for everybody, with the default limits.
    #[must_use]
    pub fn new(
        target: HttpTarget,
        chain_id: u64,
        names: impl IntoIterator<Item = Authority>,
    ) -> Self {
        Self {
            target,
            chain_id,
            names: names.into_iter().collect(),
            allow: None,
            host: None,
            max_requests: DEFAULT_MAX_REQUESTS,
            head_timeout: DEFAULT_HEAD_TIMEOUT,
            idle_timeout: DEFAULT_IDLE_TIMEOUT,
        }
    }
}

impl HttpTarget {
    /// Host and port.
    #[must_use]
    pub fn authority(&self) -> &UriAuthority {
        &self.0
    }
}

impl FromStr for HttpTarget {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Self, TargetError> {
        let uri: Uri = text.parse().map_err(|_| TargetError::Form)?;
        match uri.scheme() {
            Some(scheme) if *scheme == Scheme::HTTP => {}
            Some(_) => return Err(TargetError::Scheme),
            None => return Err(TargetError::Form),
        }
        let authority = uri.authority().ok_or(TargetError::Form)?;
        let is_bare = uri.path() == "/" && uri.query().is_none() && !text.contains('#');
        let is_host = !authority.host().is_empty() && !authority.as_str().contains('@');
        match is_bare && is_host {
            true => Ok(Self(authority.clone())),
            false => Err(TargetError::Form),
        }
    }
}

impl fmt::Display for HttpTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn server_is_a_host_and_a_port_and_nothing_else() {
        for text in [
            "http://127.0.0.1:3000",
            "http://localhost",
            "http://[::1]:80/",
        ] {
            let target: HttpTarget = text.parse().unwrap();
            assert_eq!(target.to_string(), text.trim_end_matches('/'));
        }
        for (text, error) in [
            ("https://localhost", TargetError::Scheme),
            ("localhost:80", TargetError::Form),
            ("http://localhost/x", TargetError::Form),
            ("http://localhost/?x", TargetError::Form),
            ("http://a@localhost", TargetError::Form),
            ("", TargetError::Form),
        ] {
            assert_eq!(text.parse::<HttpTarget>(), Err(error), "{text}");
        }
    }
}
