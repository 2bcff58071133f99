//! The system's own sockets: for what bypasses the network, and for tests.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use bytes::Bytes;
use core::num::NonZeroU16;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use protocol::target::{Host, Target};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpStream, UdpSocket, lookup_host};

use crate::lifeline;

use super::{
    Ask, Associated, ConnectError, Connected, DatagramError, Datagrams, Isolation,
    MAX_DATAGRAM_BYTES, Outbound, OutboundStatus, is_service,
};

/// Addresses of one name that are tried, in the order in which the system gives them.
pub const MAX_DIRECT_ADDRESSES: usize = 4;

/// Out of descriptors, on the machine and in this process: the standard library has no kind for either.
const ENFILE: i32 = 23;
const EMFILE: i32 = 24;

/// Connects from this machine, by the system's resolver: hides nothing from anybody.
#[derive(Debug, Clone, Copy, Default)]
pub struct Direct;

impl Outbound for Direct {
    fn connect(&self, ask: Ask) -> BoxFuture<'_, Result<Connected, ConnectError>> {
        Box::pin(async move {
            if is_service(&ask.target.host) {
                // No resolver is to hear of it.
                return Err(ConnectError::Unsupported);
            }
            let mut last = ConnectError::NoSuchHost;
            for address in resolve(&ask.target).await? {
                match TcpStream::connect(address).await {
                    Ok(mut stream) => {
                        lifeline::attach(&stream);
                        stream
                            .write_all(&ask.first)
                            .await
                            .map_err(|error| blame(&error))?;
                        return Ok(Connected {
                            stream: Box::new(stream),
                            bridge: None,
                            is_to_service: false,
                        });
                    }
                    Err(error) => last = blame(&error),
                }
            }
            Err(last)
        })
    }

    fn associate(&self, _: Isolation) -> BoxFuture<'_, Result<Associated, ConnectError>> {
        Box::pin(async {
            let v4 = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))
                .await
                .map_err(|error| blame(&error))?;
            // A machine without IPv6 is no reason to refuse.
            let v6 = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)).await.ok();
            let (room4, room6) = (Room::default(), Room::default());
            Ok(Associated {
                datagrams: Box::new(DirectDatagrams {
                    v4,
                    v6,
                    room4,
                    room6,
                }),
                bridge: None,
            })
        })
    }

    fn status(&self) -> OutboundStatus {
        OutboundStatus {
            is_up: true,
            note: "connections leave from this machine".into(),
            bridges: Vec::new(),
        }
    }
}

/// A buffer that one reader at a time takes.
#[derive(Default)]
struct Room(Mutex<Vec<u8>>);

struct DirectDatagrams {
    v4: UdpSocket,
    v6: Option<UdpSocket>,
    room4: Room,
    room6: Room,
}

impl Datagrams for DirectDatagrams {
    fn send(&self, target: Target, payload: Bytes) -> BoxFuture<'_, Result<(), DatagramError>> {
        Box::pin(async move {
            let addresses = resolve(&target).await.map_err(|_| DatagramError::Dropped)?;
            for address in addresses {
                let socket = match address {
                    SocketAddr::V4(_) => Some(&self.v4),
                    SocketAddr::V6(_) => self.v6.as_ref(),
                };
                if let Some(socket) = socket {
                    let sent = socket.send_to(&payload, address).await;
                    return sent.map(|_| ()).map_err(|_| DatagramError::Dropped);
                }
            }
            Err(DatagramError::Dropped)
        })
    }

    fn receive(&self) -> BoxFuture<'_, Result<(Target, Bytes), DatagramError>> {
        Box::pin(async {
            match &self.v6 {
                None => receive(&self.v4, &self.room4).await,
                Some(v6) => tokio::select! {
                    received = receive(&self.v4, &self.room4) => received,
                    received = receive(v6, &self.room6) => received,
                },
            }
        })
    }
}

async fn receive(socket: &UdpSocket, room: &Room) -> Result<(Target, Bytes), DatagramError> {
    loop {
        socket.readable().await.map_err(|_| DatagramError::Closed)?;
        let mut room = room.0.lock();
        room.resize(MAX_DATAGRAM_BYTES, 0);
        match socket.try_recv_from(&mut room) {
            Ok((len, from)) => {
                let Some(port) = NonZeroU16::new(from.port()) else {
                    continue;
                };
                let payload = Bytes::copy_from_slice(room.get(..len).unwrap_or_default());
                return Ok((
                    Target {
                        host: Host::Address(from.ip()),
                        port,
                    },
                    payload,
                ));
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            // An earlier datagram met nobody: that ends nothing.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
            Err(_) => return Err(DatagramError::Dropped),
        }
    }
}

async fn resolve(target: &Target) -> Result<Vec<SocketAddr>, ConnectError> {
    let port = target.port.get();
    match &target.host {
        Host::Address(address) => Ok(vec![SocketAddr::new(*address, port)]),
        Host::Name(name) if is_localhost(name.as_str()) => {
            // Never another machine, whatever a resolver says (RFC 6761 6.3).
            Ok([
                IpAddr::from(Ipv4Addr::LOCALHOST),
                Ipv6Addr::LOCALHOST.into(),
            ]
            .map(|address| SocketAddr::new(address, port))
            .to_vec())
        }
        Host::Name(name) => {
            let found = lookup_host((name.as_str(), port)).await;
            let found = found.map_err(|_| ConnectError::NoSuchHost)?;
            Ok(found.take(MAX_DIRECT_ADDRESSES).collect())
        }
    }
}

fn is_localhost(name: &str) -> bool {
    name == "localhost" || name.ends_with(".localhost")
}

fn blame(error: &io::Error) -> ConnectError {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => ConnectError::ConnectionRefused,
        io::ErrorKind::TimedOut => ConnectError::TimedOut,
        io::ErrorKind::NetworkUnreachable => ConnectError::NetworkUnreachable,
        io::ErrorKind::NetworkDown => ConnectError::NetworkDown,
        io::ErrorKind::PermissionDenied => ConnectError::RefusedByPolicy,
        io::ErrorKind::AddrInUse | io::ErrorKind::AddrNotAvailable => ConnectError::Busy,
        _ if matches!(error.raw_os_error(), Some(ENFILE | EMFILE)) => ConnectError::Busy,
        _ => ConnectError::HostUnreachable,
    }
}
