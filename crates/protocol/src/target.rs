//! Where a bridge is asked to connect to: a host name or an address, and a port.
//!
//! Parsed once, at the edge. A name is resolved by the bridge and by nobody else.

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::num::NonZeroU16;
use core::str::FromStr;

use thiserror::Error;

/// A host name at most, in bytes (RFC 1035 2.3.4, without the root's dot).
pub const MAX_HOST_NAME_BYTES: usize = 253;
/// A label of a host name at most, in bytes (RFC 1035 2.3.4).
pub const MAX_LABEL_BYTES: usize = 63;

/// A host name: lower-case ASCII labels joined by dots, never the text of an address.
///
/// A name whose last label is a number, in decimal or in hexadecimal, is none: resolvers of old read such a text as an
/// address (WHATWG URL, "ends in a number").
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HostName(String);

/// A host to connect to.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Host {
    /// A name that is resolved at the bridge.
    Name(HostName),
    /// An address.
    Address(IpAddr),
}

/// A host and a port.
///
/// ```
/// use protocol::target::Target;
/// let target: Target = "Example.ORG:443".parse()?;
/// assert_eq!(target.to_string(), "example.org:443");
/// assert_eq!("[::1]:80".parse::<Target>()?.to_string(), "[::1]:80");
/// # Ok::<(), protocol::target::TargetError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Target {
    /// The host.
    pub host: Host,
    /// The port.
    pub port: NonZeroU16,
}

/// Why a text is no target.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TargetError {
    /// Nothing stands where the host should.
    #[error("the host is missing")]
    NoHost,
    /// The name, or one of its labels, is too long or empty.
    #[error("the host name or one of its labels is empty or too long")]
    Length,
    /// A character that no host name has. Names beyond ASCII come in their `xn--` form (RFC 5891).
    #[error("the host name has a character that host names don't have")]
    Character,
    /// It looks like an address and is none in the usual form.
    #[error("the host ends in a number but is no address in its usual form")]
    Number,
    /// The port is missing or no number from 1 to 65535.
    #[error("the port is missing or no number from 1 to 65535")]
    Port,
}

impl HostName {
    /// The name, in lower case and without a dot at its end.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for HostName {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Self, TargetError> {
        let text = text.strip_suffix('.').unwrap_or(text);
        if text.is_empty() {
            return Err(TargetError::NoHost);
        }
        if text.len() > MAX_HOST_NAME_BYTES {
            return Err(TargetError::Length);
        }
        let mut last = "";
        for label in text.split('.') {
            if label.is_empty() || label.len() > MAX_LABEL_BYTES {
                return Err(TargetError::Length);
            }
            let is_known = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
            if !label.bytes().all(is_known) || label.starts_with('-') || label.ends_with('-') {
                return Err(TargetError::Character);
            }
            last = label;
        }
        let is_decimal = last.bytes().all(|b| b.is_ascii_digit());
        let hex = last.strip_prefix("0x").or_else(|| last.strip_prefix("0X"));
        let is_hex = hex.is_some_and(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()));
        if is_decimal || is_hex {
            return Err(TargetError::Number);
        }
        Ok(Self(text.to_ascii_lowercase()))
    }
}

impl FromStr for Host {
    type Err = TargetError;

    /// Reads a name, an IPv4 address in four decimal parts, or an IPv6 address with or without brackets.
    fn from_str(text: &str) -> Result<Self, TargetError> {
        let bare = text
            .strip_prefix('[')
            .and_then(|inner| inner.strip_suffix(']'));
        if let Some(inner) = bare {
            let address: Ipv6Addr = inner.parse().map_err(|_| TargetError::Character)?;
            return Ok(Self::Address(address.into()));
        }
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(Self::Address(address));
        }
        text.parse().map(Self::Name)
    }
}

impl FromStr for Target {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Self, TargetError> {
        let (host, port) = text.rsplit_once(':').ok_or(TargetError::Port)?;
        if host.contains(':') && !host.starts_with('[') {
            // Where an IPv6 address ends and the port begins nobody could tell.
            return Err(TargetError::Port);
        }
        if !port.bytes().all(|b| b.is_ascii_digit()) {
            return Err(TargetError::Port);
        }
        Ok(Self {
            port: port.parse().map_err(|_| TargetError::Port)?,
            host: host.parse()?,
        })
    }
}

impl From<Ipv4Addr> for Host {
    fn from(address: Ipv4Addr) -> Self {
        Self::Address(address.into())
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Host {
    /// IPv6 addresses stand in brackets, as in a URL.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => name.fmt(f),
            Self::Address(IpAddr::V4(address)) => address.fmt(f),
            Self::Address(IpAddr::V6(address)) => write!(f, "[{address}]"),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn texts_that_old_resolvers_read_as_addresses_are_refused() {
        for text in [
            "2130706433:80",
            "0x7f000001:80",
            "0x7f.1:80",
            "127.1:80",
            "0177.0.0.1:80",
            "127.0.0.0x1:80",
            "1.2.3.4.5:80",
            "example.123:80",
        ] {
            assert_eq!(text.parse::<Target>(), Err(TargetError::Number), "{text}");
        }
    }

    #[test]
    fn targets_that_are_none_say_why() {
        for (text, error) in [
            ("example.org", TargetError::Port),
            ("example.org:", TargetError::Port),
            ("example.org:0", TargetError::Port),
            ("example.org:+1", TargetError::Port),
            ("example.org:65536", TargetError::Port),
            ("::1:80", TargetError::Port),
            (":80", TargetError::NoHost),
            (".:80", TargetError::NoHost),
            ("a..b:80", TargetError::Length),
            ("exa mple:80", TargetError::Character),
            ("b\u{fc}cher.example:80", TargetError::Character),
            ("-a.example:80", TargetError::Character),
            ("[127.0.0.1]:80", TargetError::Character),
        ] {
            assert_eq!(text.parse::<Target>(), Err(error), "{text}");
        }
        let long = format!("{}.example:80", "a".repeat(64));
        assert_eq!(long.parse::<Target>(), Err(TargetError::Length));
    }

    #[test]
    fn usual_targets_are_read_and_written_alike() {
        for (text, written) in [
            ("EXAMPLE.org.:443", "example.org:443"),
            ("127.0.0.1:80", "127.0.0.1:80"),
            ("[2001:DB8::1]:80", "[2001:db8::1]:80"),
            ("_sip._tcp.example:5060", "_sip._tcp.example:5060"),
            ("xn--bcher-kva.example:80", "xn--bcher-kva.example:80"),
            ("0xcafe.conet:80", "0xcafe.conet:80"),
        ] {
            assert_eq!(text.parse::<Target>().unwrap().to_string(), written);
        }
    }

    proptest! {
        #[test]
        fn what_is_read_is_read_again_from_what_it_is_written_as(text in "[a-zA-Z0-9._\\[\\]:-]{0,40}") {
            if let Ok(target) = text.parse::<Target>() {
                prop_assert_eq!(target.to_string().parse::<Target>(), Ok(target));
            }
        }
    }
}
