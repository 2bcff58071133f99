//! What the bridge needs of its machine: connections, routes and time. A trait, so that tests run on a virtual clock.

use core::future::Future;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use core::time::Duration;
use std::io;
use std::net::UdpSocket;
use std::time::Instant;

use tokio::net::TcpStream;

/// A port for asking the system about routes; nothing is sent to it ("discard", RFC 863).
const ROUTE_PORT: u16 = 9;

/// Where the system would send what goes to an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// Away, to another machine.
    Away,
    /// To this machine.
    Own,
    /// Nowhere: there is no route.
    Nowhere,
}

/// The machine, seen from the bridge.
pub trait Outside: Send + Sync + 'static {
    /// A connection.
    type Stream: Send;

    /// Connects, for as long as it is waited for.
    fn connect(&self, to: SocketAddr) -> impl Future<Output = io::Result<Self::Stream>> + Send;

    /// Says where the system would send what goes to an address, without sending anything.
    ///
    /// # Errors
    /// When the system can't be asked.
    fn route(&self, to: IpAddr) -> io::Result<Route>;

    /// Waits.
    fn sleep(&self, duration: Duration) -> impl Future<Output = ()> + Send;

    /// The time.
    fn now(&self) -> Instant;
}

/// This machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct Machine;

impl Outside for Machine {
    type Stream = TcpStream;

    async fn connect(&self, to: SocketAddr) -> io::Result<TcpStream> {
        let stream = TcpStream::connect(to).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    /// The system answers with the address that it would send from. To an address of its own it sends from that very
    /// address, so that addresses are known as own ones though they came after the start.
    fn route(&self, to: IpAddr) -> io::Result<Route> {
        let any: IpAddr = match to {
            IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let from = UdpSocket::bind((any, 0))
            .and_then(|socket| socket.connect((to, ROUTE_PORT)).map(|()| socket))
            .and_then(|socket| socket.local_addr());
        match from {
            Ok(from) if from.ip().to_canonical() == to.to_canonical() => Ok(Route::Own),
            Ok(_) => Ok(Route::Away),
            Err(error) if is_unreachable(error.kind()) => Ok(Route::Nowhere),
            Err(error) => Err(error),
        }
    }

    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }

    fn now(&self) -> Instant {
        Instant::now()
    }
}

/// Whether an error says that there is no way to an address, or that the system lets nobody go there.
pub(crate) fn is_unreachable(kind: io::ErrorKind) -> bool {
    matches!(
        kind,
        io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkDown
            | io::ErrorKind::AddrNotAvailable
            | io::ErrorKind::PermissionDenied
            | io::ErrorKind::Unsupported
    )
}
