//! The messages of SOCKS5 (RFC 1928, RFC 1929) as pure functions over bytes.
//!
//! Each reader is given what has come so far and says: not whole yet, or whole and how long it was, or none. No message
//! is longer than [`MAX_MESSAGE_BYTES`].

use core::num::NonZeroU16;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use protocol::target::{Host, Target};
use thiserror::Error;

/// The longest message of a client: names and passwords have one byte for their length.
pub const MAX_MESSAGE_BYTES: usize = 3 + 2 * 255;
/// Bytes before a datagram's payload at most: a name of 255 bytes.
pub const MAX_DATAGRAM_HEADER_BYTES: usize = 3 + 1 + 1 + 255 + 2;

const VERSION: u8 = 5;
const LOGIN_VERSION: u8 = 1;

const IPV4: u8 = 1;
const NAME: u8 = 3;
const IPV6: u8 = 4;

const CONNECT: u8 = 1;
const ASSOCIATE: u8 = 3;

/// How a client may say who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Method {
    /// Not at all.
    Nobody,
    /// By user name and password.
    Login,
    /// In no way that is known here.
    Unacceptable,
}

/// What a client asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Request {
    /// A connection.
    Connect(Target),
    /// A place for datagrams; the port that they will come from, where the client knows.
    Associate(Option<NonZeroU16>),
}

/// Why bytes are no message that is served here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Malformed {
    /// The first byte is another version's, or no SOCKS at all.
    #[error("this is not version 5 of SOCKS")]
    Version,
    /// The version of the login is unknown.
    #[error("the version of the login is unknown")]
    LoginVersion,
    /// The client asks to be connected to, or something unknown.
    #[error("only connect and associate are served")]
    Command,
    /// The kind of address is unknown.
    #[error("the kind of the address is unknown")]
    AddressKind,
    /// The host is none, or the port is zero.
    #[error("the host or the port is none")]
    Target,
    /// The datagram is a part of one.
    #[error("datagrams in parts are not put together")]
    Fragment,
    /// The datagram ends within its header.
    #[error("the datagram is too short")]
    Short,
}

impl Method {
    /// The byte that names it.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Nobody => 0x00,
            Self::Login => 0x02,
            Self::Unacceptable => 0xff,
        }
    }
}

impl Malformed {
    /// The reply that tells it (RFC 1928 section 6).
    #[must_use]
    pub fn socks_reply(self) -> u8 {
        match self {
            Self::Command => 0x07,
            Self::AddressKind => 0x08,
            Self::Target => 0x04,
            Self::Version | Self::LoginVersion | Self::Fragment | Self::Short => 0x01,
        }
    }
}

/// Reads the methods that a client offers, of which a login is taken before nobody: its user name isolates.
///
/// # Errors
///
/// [`Malformed::Version`], from the first byte on.
pub fn greeting(bytes: &[u8]) -> Result<Option<(Method, usize)>, Malformed> {
    let (version, count) = (bytes.first(), bytes.get(1));
    if version.is_some_and(|version| *version != VERSION) {
        return Err(Malformed::Version);
    }
    let Some(end) = count.map(|count| 2 + usize::from(*count)) else {
        return Ok(None);
    };
    let Some(methods) = bytes.get(2..end) else {
        return Ok(None);
    };
    let method = [Method::Login, Method::Nobody]
        .into_iter()
        .find(|method| methods.contains(&method.code()));
    Ok(Some((method.unwrap_or(Method::Unacceptable), end)))
}

/// Reads a user name, any bytes. The password is skipped: nothing here is kept from anybody.
///
/// # Errors
///
/// [`Malformed::LoginVersion`].
pub fn login(bytes: &[u8]) -> Result<Option<(&[u8], usize)>, Malformed> {
    if bytes
        .first()
        .is_some_and(|version| *version != LOGIN_VERSION)
    {
        return Err(Malformed::LoginVersion);
    }
    let Some(user_len) = bytes.get(1) else {
        return Ok(None);
    };
    let user_end = 2 + usize::from(*user_len);
    let Some(password_len) = bytes.get(user_end) else {
        return Ok(None);
    };
    let end = user_end + 1 + usize::from(*password_len);
    match (bytes.get(2..user_end), bytes.len() >= end) {
        (Some(user), true) => Ok(Some((user, end))),
        _ => Ok(None),
    }
}

/// Reads what a client asks for.
///
/// # Errors
///
/// What is not served, as soon as that is seen; [`Malformed::socks_reply`] answers it.
pub fn request(bytes: &[u8]) -> Result<Option<(Request, usize)>, Malformed> {
    if bytes.first().is_some_and(|version| *version != VERSION) {
        return Err(Malformed::Version);
    }
    let Some(command) = bytes.get(1) else {
        return Ok(None);
    };
    if !matches!(*command, CONNECT | ASSOCIATE) {
        // Its address need not be waited for: nothing would be done with it.
        return Err(Malformed::Command);
    }
    let Some(rest) = bytes.get(3..) else {
        return Ok(None);
    };
    let Some((address, port, len)) = address(rest)? else {
        return Ok(None);
    };
    let request = match *command {
        // Whatever host a client names, datagrams are taken from where its connection comes from.
        ASSOCIATE => Request::Associate(NonZeroU16::new(port)),
        _ => Request::Connect(target(&address, port)?),
    };
    Ok(Some((request, 3 + len)))
}

/// Reads a datagram from a client: where to, and the payload.
///
/// # Errors
///
/// Anything that is no whole datagram to a target; it is to be dropped (RFC 1928 section 7).
pub fn datagram(bytes: &[u8]) -> Result<(Target, &[u8]), Malformed> {
    let fragment = *bytes.get(2).ok_or(Malformed::Short)?;
    if fragment != 0 {
        return Err(Malformed::Fragment);
    }
    let rest = bytes.get(3..).ok_or(Malformed::Short)?;
    let (address, port, len) = address(rest)?.ok_or(Malformed::Short)?;
    let payload = rest.get(len..).ok_or(Malformed::Short)?;
    Ok((target(&address, port)?, payload))
}

/// Writes the answer to a login: everybody is welcome.
#[must_use]
pub fn welcome() -> [u8; 2] {
    [LOGIN_VERSION, 0]
}

/// Writes the answer to a login that was none.
#[must_use]
pub fn unwelcome() -> [u8; 2] {
    [LOGIN_VERSION, 1]
}

/// Writes the choice of a method.
#[must_use]
pub fn choice(method: Method) -> [u8; 2] {
    [VERSION, method.code()]
}

/// Writes a reply: 0 for success, and the address that goes with it.
#[must_use]
pub fn reply(code: u8, bound: SocketAddr) -> Vec<u8> {
    let mut out = vec![VERSION, code, 0];
    put_address(&Host::Address(bound.ip()), bound.port(), &mut out);
    out
}

/// Puts the header of a datagram to a client behind what is in `out`.
pub fn put_datagram_header(from: &Target, out: &mut Vec<u8>) {
    out.extend_from_slice(&[0, 0, 0]);
    put_address(&from.host, from.port.get(), out);
}

fn put_address(host: &Host, port: u16, out: &mut Vec<u8>) {
    match host {
        Host::Address(IpAddr::V4(v4)) => {
            out.push(IPV4);
            out.extend_from_slice(&v4.octets());
        }
        Host::Address(IpAddr::V6(v6)) => {
            out.push(IPV6);
            out.extend_from_slice(&v6.octets());
        }
        Host::Name(name) => {
            let name = name.as_str().as_bytes();
            // A host name has 253 bytes at most.
            out.extend_from_slice(&[NAME, name.len() as u8]);
            out.extend_from_slice(name);
        }
    }
    out.extend_from_slice(&port.to_be_bytes());
}

/// An address as it stands in a message; names are only looked at where they are used.
enum Address<'a> {
    Ip(IpAddr),
    Name(&'a [u8]),
}

/// Reads a kind, an address and a port, and says how long they were.
fn address(bytes: &[u8]) -> Result<Option<(Address<'_>, u16, usize)>, Malformed> {
    let Some((kind, rest)) = bytes.split_first() else {
        return Ok(None);
    };
    let (address, port, len) = match *kind {
        IPV4 => match (rest.first_chunk::<4>(), rest.get(4..6)) {
            (Some(v4), Some(port)) => (Address::Ip(Ipv4Addr::from(*v4).into()), port, 4),
            _ => return Ok(None),
        },
        IPV6 => match (rest.first_chunk::<16>(), rest.get(16..18)) {
            (Some(v6), Some(port)) => (Address::Ip(Ipv6Addr::from(*v6).into()), port, 16),
            _ => return Ok(None),
        },
        NAME => {
            let Some(len) = rest.first() else {
                return Ok(None);
            };
            let end = 1 + usize::from(*len);
            match (rest.get(1..end), rest.get(end..end + 2)) {
                (Some(name), Some(port)) => (Address::Name(name), port, end),
                _ => return Ok(None),
            }
        }
        _ => return Err(Malformed::AddressKind),
    };
    let port = port.iter().fold(0, |high, low| high << 8 | u16::from(*low));
    Ok(Some((address, port, 1 + len + 2)))
}

fn target(address: &Address<'_>, port: u16) -> Result<Target, Malformed> {
    let host = match address {
        Address::Ip(address) => Host::Address(*address),
        // Some clients send the text of an address as a name.
        Address::Name(name) => core::str::from_utf8(name)
            .ok()
            .and_then(|name| name.parse().ok())
            .ok_or(Malformed::Target)?,
    };
    let port = NonZeroU16::new(port).ok_or(Malformed::Target)?;
    Ok(Target { host, port })
}

#[cfg(test)]
mod tests;
