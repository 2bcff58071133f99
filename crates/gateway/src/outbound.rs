//! The joint between the listeners and whatever carries their connections: a network of bridges, or the system's own
//! sockets ([`Direct`]).

mod direct;
mod split;
mod striped;

pub use direct::{Direct, MAX_DIRECT_ADDRESSES};
pub use split::{Services, Split};
pub use striped::{Bridges, DEFAULT_TRY_TIMEOUT, Striped};

use core::fmt;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::StatusCode;
use protocol::NodeId;
use protocol::target::{Host, Target};
use serde::Serialize;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

/// Bytes of an isolation key at most: as long as a SOCKS user name (RFC 1929).
pub const MAX_ISOLATION_BYTES: usize = 255;
/// Bytes of a datagram's payload at most: what fits a UDP packet on IPv4.
pub const MAX_DATAGRAM_BYTES: usize = 65_507;

/// Reaches targets on behalf of the listeners.
///
/// A caller that drops a future of these gives up, and whatever was under way for it is to be given up as well.
pub trait Outbound: Send + Sync + 'static {
    /// Opens a connection to a target.
    fn connect(&self, ask: Ask) -> BoxFuture<'_, Result<Connected, ConnectError>>;

    /// Opens a place from which datagrams go to any target, and come back to.
    fn associate(&self, isolation: Isolation) -> BoxFuture<'_, Result<Associated, ConnectError>>;

    /// Says how it stands with the way out, for the status page. Names no target.
    fn status(&self) -> OutboundStatus {
        OutboundStatus::default()
    }
}

/// Whether a host is a service of the network itself: a name below `.conet`, which nobody outside the network is to hear.
#[must_use]
pub fn is_service(host: &Host) -> bool {
    let Host::Name(name) = host else { return false };
    let name = name.as_str();
    name == "conet" || name.ends_with(".conet")
}

/// What a listener asks of an [`Outbound`].
#[derive(Debug, Clone)]
pub struct Ask {
    /// Where to.
    pub target: Target,
    /// With whom the connection may share a bridge.
    pub isolation: Isolation,
    /// What the client has sent already, to go before everything that is written later. Mostly empty; a few KiB at most.
    pub first: Bytes,
}

/// Which connections may share a bridge, and so be seen as one person's.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Isolation {
    /// The client has named nothing.
    #[default]
    Shared,
    /// Connections with the same key belong together, and to no others.
    Key(IsolationKey),
}

/// What a client gave as its user name; any bytes.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct IsolationKey(Arc<[u8]>);

/// A connection that was opened.
pub struct Connected {
    /// Its bytes, both ways.
    pub stream: Box<dyn Duplex>,
    /// The bridge it goes through, if any.
    pub bridge: Option<NodeId>,
    /// Whether it ends at a service of the network itself.
    pub is_to_service: bool,
}

/// A place for datagrams that was opened.
pub struct Associated {
    /// Its datagrams, both ways.
    pub datagrams: Box<dyn Datagrams>,
    /// The bridge they go through, if any.
    pub bridge: Option<NodeId>,
}

/// A connection's bytes, both ways. Shutting down the writing half leaves the reading half open; dropping it without that
/// gives the connection up, in whatever way the far end sees.
pub trait Duplex: AsyncRead + AsyncWrite + Unpin + Send {
    /// Makes the far end see an error and no end, once this is dropped, which is at once.
    fn reset(&mut self);
}

/// Datagrams to and from many targets. May lose, double and reorder them, as UDP does.
pub trait Datagrams: Send + Sync {
    /// Sends one datagram of at most [`MAX_DATAGRAM_BYTES`]. Waits while there is no room.
    ///
    /// # Errors
    ///
    /// [`DatagramError::Dropped`] means this one; with any other the whole place is gone.
    fn send(&self, target: Target, payload: Bytes) -> BoxFuture<'_, Result<(), DatagramError>>;

    /// Waits for the next datagram, and from where it came.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost by dropping the future.
    ///
    /// # Errors
    ///
    /// As [`Datagrams::send`].
    fn receive(&self) -> BoxFuture<'_, Result<(Target, Bytes), DatagramError>>;
}

/// How it stands with the way out.
#[derive(Debug, Clone, Default, Serialize)]
pub struct OutboundStatus {
    /// Whether connections can be opened now.
    pub is_up: bool,
    /// One line on it, for people.
    pub note: String,
    /// The bridges that are known.
    pub bridges: Vec<BridgeStatus>,
}

/// How it stands with one bridge.
#[derive(Debug, Clone, Serialize)]
pub struct BridgeStatus {
    /// Its address.
    pub id: String,
    /// Whether it is chosen for new connections.
    pub is_healthy: bool,
    /// How long it took to connect of late, in milliseconds.
    pub latency_ms: Option<u64>,
    /// What it offers, in one line for people; empty where it has said nothing.
    pub offer: String,
}

/// Why a connection was not opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The bridge's exit policy forbids the target.
    #[error("the bridge does not let connections to this address or port through")]
    RefusedByPolicy,
    /// No bridge's exit policy lets the target through, by what they have announced: none was asked.
    #[error("no bridge's policy allows port {port} of this host")]
    NoPolicyAllows {
        /// The target's port.
        port: u16,
    },
    /// The name does not exist.
    #[error("there is no host of this name")]
    NoSuchHost,
    /// The host can't be reached from where the connection leaves.
    #[error("the host can't be reached")]
    HostUnreachable,
    /// The host's network can't be reached from where the connection leaves.
    #[error("the network of the host can't be reached")]
    NetworkUnreachable,
    /// The host answers but nothing listens there.
    #[error("the host refused the connection")]
    ConnectionRefused,
    /// The bridge is there, but the host did not answer it in time.
    #[error("the host did not answer in time")]
    TimedOut,
    /// No bridge is known that could be asked.
    #[error("no bridge is there to connect through")]
    NoBridge,
    /// The bridge was lost, or broke the protocol, before it had answered.
    #[error("the bridge was lost before it had answered")]
    BridgeLost,
    /// The way to the bridges is interrupted.
    #[error("the network is not reachable from this machine")]
    NetworkDown,
    /// The bridge, or this machine, has too much to do already.
    #[error("too many connections are open already")]
    Busy,
    /// The way out does not carry this kind of traffic.
    #[error("this kind of traffic is not carried")]
    Unsupported,
    /// It can be no name of a service: it has no normal form, or is not how its name is written.
    #[error("this can be no .conet name, or only looks like one")]
    NoName,
    /// Nobody has the name, or it says no wallet.
    #[error("this .conet name leads to no wallet")]
    NameUnknown,
    /// The registration of the name is over.
    #[error("the registration of this .conet name is over")]
    NameExpired,
    /// No publisher of the service is online.
    #[error("nobody serves it now")]
    NotServed,
    /// The service lets this caller not in.
    #[error("the service does not let this caller in")]
    RefusedByService,
    /// The way to the service was lost before it had answered.
    #[error("no way to the service worked")]
    ServiceLost,
}

/// On whose side the cause of a [`ConnectError`] lies, which decides who is asked next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blame {
    /// The bridge failed: another one is asked, and this one less often.
    Bridge,
    /// The bridge does not want to: another one is asked, and this one as often as before.
    Policy,
    /// The target, or this machine: nobody else would fare better.
    Nobody,
}

/// Why a datagram did not pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DatagramError {
    /// This datagram was not sent; others may be.
    #[error("the datagram was dropped")]
    Dropped,
    /// Nothing passes any more.
    #[error("the way of the datagrams has ended")]
    Closed,
}

impl IsolationKey {
    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl Isolation {
    /// Takes a user name, of which an empty one isolates nothing. What is beyond [`MAX_ISOLATION_BYTES`] is cut off.
    #[must_use]
    pub fn from_user(name: &[u8]) -> Self {
        match name.get(..MAX_ISOLATION_BYTES).unwrap_or(name) {
            [] => Self::Shared,
            name => Self::Key(IsolationKey(name.into())),
        }
    }
}

impl fmt::Debug for IsolationKey {
    /// A user name may be a person's: it is not shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IsolationKey(..)")
    }
}

impl ConnectError {
    /// The reply of a SOCKS5 server (RFC 1928 section 6).
    #[must_use]
    pub fn socks_reply(self) -> u8 {
        match self {
            Self::RefusedByPolicy | Self::RefusedByService | Self::NoPolicyAllows { .. } => 0x02,
            Self::NetworkUnreachable | Self::NetworkDown => 0x03,
            Self::NoSuchHost
            | Self::HostUnreachable
            | Self::NoName
            | Self::NameUnknown
            | Self::NameExpired
            | Self::NotServed => 0x04,
            Self::ConnectionRefused => 0x05,
            // What the list has for it: "TTL expired".
            Self::TimedOut => 0x06,
            Self::Unsupported => 0x07,
            Self::NoBridge | Self::BridgeLost | Self::Busy | Self::ServiceLost => 0x01,
        }
    }

    /// The status of an HTTP proxy's answer (RFC 9110 section 15).
    #[must_use]
    pub fn http_status(self) -> StatusCode {
        match self {
            Self::RefusedByPolicy | Self::RefusedByService | Self::NoPolicyAllows { .. } => {
                StatusCode::FORBIDDEN
            }
            Self::TimedOut => StatusCode::GATEWAY_TIMEOUT,
            Self::NoBridge | Self::NetworkDown | Self::Busy | Self::NotServed => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::Unsupported => StatusCode::NOT_IMPLEMENTED,
            Self::NoName => StatusCode::BAD_REQUEST,
            Self::NameUnknown
            | Self::NameExpired
            | Self::ServiceLost
            | Self::NoSuchHost
            | Self::HostUnreachable
            | Self::NetworkUnreachable
            | Self::ConnectionRefused
            | Self::BridgeLost => StatusCode::BAD_GATEWAY,
        }
    }

    /// What a person can do about it, in one sentence.
    #[must_use]
    pub fn advice(self) -> &'static str {
        match self {
            Self::RefusedByPolicy | Self::NoPolicyAllows { .. } => {
                "Bridges reach public addresses only, and not every port; a bypass rule lets this machine connect itself."
            }
            Self::NoSuchHost => "Look for a typing error in the name.",
            Self::HostUnreachable
            | Self::NetworkUnreachable
            | Self::ConnectionRefused
            | Self::TimedOut => "The site may be down; try again later.",
            Self::BridgeLost => "Try again: another bridge may have more luck.",
            Self::NoBridge => "Wait until a bridge is on the ledger, or name one that is up.",
            Self::NetworkDown => "Look whether this machine is online.",
            Self::Busy => "Close some connections, or try again in a moment.",
            Self::Unsupported => "Use TCP, or a bridge that carries it.",
            Self::NoName => {
                "Letters of several scripts that look alike are refused: type the name yourself."
            }
            Self::NameUnknown => {
                "Look for a typing error in the name; one that was registered just now is known in a moment."
            }
            Self::NameExpired => "Its owner has to renew it.",
            Self::NotServed => "Its owner may have switched it off; try again later.",
            Self::RefusedByService => "Its owner decides who may use it; ask them.",
            Self::ServiceLost => "Try again in a moment.",
        }
    }

    /// On whose side the cause lies.
    #[must_use]
    pub fn blame(self) -> Blame {
        match self {
            Self::BridgeLost | Self::Busy => Blame::Bridge,
            Self::RefusedByPolicy | Self::Unsupported | Self::NetworkUnreachable => Blame::Policy,
            Self::NoPolicyAllows { .. }
            | Self::NoSuchHost
            | Self::HostUnreachable
            | Self::ConnectionRefused
            | Self::TimedOut
            | Self::NoBridge
            | Self::NetworkDown
            | Self::NoName
            | Self::NameUnknown
            | Self::NameExpired
            | Self::NotServed
            | Self::RefusedByService
            | Self::ServiceLost => Blame::Nobody,
        }
    }
}

impl Duplex for TcpStream {
    fn reset(&mut self) {
        // Without it what is dropped here looks over there like an end in good order.
        let _closed_already = self.set_zero_linger();
    }
}

impl Duplex for Box<dyn Duplex> {
    fn reset(&mut self) {
        (**self).reset();
    }
}

impl fmt::Debug for Connected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connected")
            .field("bridge", &self.bridge)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Associated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Associated")
            .field("bridge", &self.bridge)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [ConnectError; 18] = [
        ConnectError::RefusedByPolicy,
        ConnectError::NoPolicyAllows { port: 25 },
        ConnectError::NoSuchHost,
        ConnectError::HostUnreachable,
        ConnectError::NetworkUnreachable,
        ConnectError::ConnectionRefused,
        ConnectError::TimedOut,
        ConnectError::NoBridge,
        ConnectError::BridgeLost,
        ConnectError::NetworkDown,
        ConnectError::Busy,
        ConnectError::Unsupported,
        ConnectError::NoName,
        ConnectError::NameUnknown,
        ConnectError::NameExpired,
        ConnectError::NotServed,
        ConnectError::RefusedByService,
        ConnectError::ServiceLost,
    ];

    #[test]
    fn error_is_told_as_the_page_says() {
        let page = include_str!("../../../docs/proxy.md");
        let table = page.split("## Replies").nth(1).unwrap();
        let rows = table
            .lines()
            .skip_while(|line| !line.starts_with("| ---"))
            .skip(1);
        let rows: Vec<Vec<&str>> = rows
            .take_while(|line| line.starts_with('|'))
            .map(|line| line.split('|').map(str::trim).collect())
            .collect();
        assert_eq!(rows.len(), ALL.len());
        for (row, error) in rows.iter().zip(ALL) {
            let next = match error.blame() {
                Blame::Bridge => "yes, and this one less often for a while",
                Blame::Policy => "yes",
                Blame::Nobody => "no",
            };
            let told = [
                format!("{:02}", error.socks_reply()),
                error.http_status().as_u16().to_string(),
                next.to_owned(),
            ];
            assert_eq!(row[2..5], told, "{error}");
        }
    }
}
