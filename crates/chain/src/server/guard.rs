//! Who is let in: local programs and local pages, no page of the web.
//!
//! A browser lets any web page send requests to loopback addresses. Two headers give the
//! page away: `Origin` names its site, and `Host` names what the browser believes to be
//! talking to, which after DNS rebinding is the attacker's name and not an address.

use hyper::{
    HeaderMap, Uri,
    header::{HOST, HeaderName, HeaderValue, ORIGIN},
};
use std::net::IpAddr;

/// Schemes of browser extensions such as wallets; a web page can't claim them.
const EXTENSION_SCHEMES: [&str; 3] = ["chrome-extension", "moz-extension", "safari-web-extension"];

/// Why a request was turned away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refused {
    #[error("foreign Host: call this server by its address or localhost")]
    Host,
    #[error("foreign Origin: only local pages may call this server")]
    Origin,
}

/// The addresses that a request may call the server by.
#[derive(Clone, Copy, Debug)]
pub(super) struct Guard {
    exposed: Option<IpAddr>,
}

impl Guard {
    pub(super) const fn new(exposed: Option<IpAddr>) -> Self {
        Self { exposed }
    }

    /// Checks a request; returns its `Origin`, if it has one, to be echoed for CORS.
    pub(super) fn check<'a>(
        &self,
        uri: &Uri,
        headers: &'a HeaderMap,
    ) -> Result<Option<&'a HeaderValue>, Refused> {
        let host = single(headers, &HOST)
            .map_err(|_| Refused::Host)?
            .ok_or(Refused::Host)?;
        let named_in_target = uri.authority().is_none_or(|a| self.is_ours(a.as_str()));
        if !named_in_target || !host.to_str().is_ok_and(|host| self.is_ours(host)) {
            return Err(Refused::Host);
        }
        let origin = single(headers, &ORIGIN).map_err(|_| Refused::Origin)?;
        if let Some(origin) = origin
            && !origin.to_str().is_ok_and(|origin| self.is_local(origin))
        {
            return Err(Refused::Origin);
        }
        Ok(origin)
    }

    fn is_local(&self, origin: &str) -> bool {
        match origin.split_once("://") {
            Some(("http" | "https", authority)) => self.is_ours(authority),
            Some((scheme, id)) => EXTENSION_SCHEMES.contains(&scheme) && !id.is_empty(),
            // "null" is what a sandboxed page of any site sends.
            None => false,
        }
    }

    /// Tells whether `host[:port]` is this machine by an address that can't be rebound.
    fn is_ours(&self, authority: &str) -> bool {
        let Some(host) = host_of(authority) else {
            return false;
        };
        if host.eq_ignore_ascii_case("localhost") {
            return true;
        }
        host.parse::<IpAddr>()
            .is_ok_and(|ip| ip.is_loopback() || self.exposed == Some(ip))
    }
}

/// Cuts the port off, and the brackets of an IPv6 address.
fn host_of(authority: &str) -> Option<&str> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']')?;
            host.contains(':').then_some(())?;
            (
                host,
                rest.strip_prefix(':').or(rest.is_empty().then_some("0"))?,
            )
        }
        None => authority.split_once(':').unwrap_or((authority, "0")),
    };
    let valid = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    valid.then_some(host)
}

fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a HeaderValue>, ()> {
    let mut values = headers.get_all(name).iter();
    let first = values.next();
    if values.next().is_some() {
        return Err(());
    }
    Ok(first)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(
        exposed: Option<&str>,
        host: Option<&str>,
        origin: Option<&str>,
    ) -> Result<(), Refused> {
        let mut headers = HeaderMap::new();
        for (name, value) in [(HOST, host), (ORIGIN, origin)] {
            if let Some(value) = value {
                headers.insert(name, HeaderValue::from_str(value).unwrap());
            }
        }
        Guard::new(exposed.map(|ip| ip.parse().unwrap()))
            .check(&Uri::from_static("/"), &headers)
            .map(|_| ())
    }

    #[test]
    fn guard_lets_local_hosts_in() {
        for host in [
            "127.0.0.1:8545",
            "127.9.9.9",
            "localhost:1",
            "LOCALHOST",
            "[::1]:8545",
            "[::1]",
        ] {
            assert_eq!(check(None, Some(host), None), Ok(()), "{host}");
        }
        assert_eq!(
            check(Some("192.0.2.7"), Some("192.0.2.7:8545"), None),
            Ok(())
        );
    }

    #[test]
    fn guard_refuses_foreign_hosts() {
        for host in [
            "evil.example",
            "localhost.evil.example:8545",
            "127.0.0.1.evil.example",
            "192.0.2.7:8545",
            "0.0.0.0:8545",
            "[::1].evil.example",
            "[::]",
            "127.0.0.1:80:80",
            "user@localhost",
            "",
            "localhost:",
        ] {
            assert_eq!(check(None, Some(host), None), Err(Refused::Host), "{host}");
        }
        assert_eq!(check(None, None, None), Err(Refused::Host));
    }

    #[test]
    fn guard_refuses_foreign_origins_and_lets_local_ones_in() {
        let origin = |origin| check(None, Some("localhost"), Some(origin));
        for local in [
            "http://localhost:3000",
            "http://127.0.0.1",
            "https://[::1]:5173",
            "chrome-extension://nkbihfbeogaeaoehlefnkodbefgpgknn",
        ] {
            assert_eq!(origin(local), Ok(()), "{local}");
        }
        for foreign in [
            "https://evil.example",
            "http://localhost.evil.example",
            "null",
            "file://",
            "http://localhost@evil.example",
            "chrome-extension://",
        ] {
            assert_eq!(origin(foreign), Err(Refused::Origin), "{foreign}");
        }
    }

    proptest! {
        #[test]
        fn guard_survives_any_host(host in "\\PC{0,40}") {
            let _ = host_of(&host);
        }
    }
}
