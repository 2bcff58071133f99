//! Datagrams of a SOCKS5 client (RFC 1928 section 7): one socket for as long as its connection stands.
//!
//! Taken only from the address that the connection comes from, and of its ports from the one that was announced or else
//! spoke first: nobody else gets to use or to fill the place.

use core::num::NonZeroU16;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use bytes::Bytes;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};

use super::message::{self, MAX_DATAGRAM_HEADER_BYTES};
use super::refuse;
use crate::counters::Share;
use crate::outbound::{
    Associated, ConnectError, DatagramError, Datagrams, Direct, Isolation, MAX_DATAGRAM_BYTES,
    Outbound as _,
};
use crate::ways::Ways;

/// One way for datagrams, and its place in the counters.
struct Lane {
    datagrams: Box<dyn Datagrams>,
    share: Share,
}

/// The client's end.
struct Near {
    socket: UdpSocket,
    from: SocketAddr,
    /// The port that datagrams come from; 0 as long as it is not known.
    port: AtomicU16,
}

/// Serves one association until its connection ends.
pub(super) async fn serve(
    ways: &Arc<Ways>,
    mut control: TcpStream,
    from: SocketAddr,
    port: Option<NonZeroU16>,
    isolation: Isolation,
) {
    let (network, direct, near) = match open(ways, &control, from, port, isolation).await {
        Ok(opened) => opened,
        Err(error) => return refuse(control, error).await,
    };
    let Ok(bound) = near.socket.local_addr() else {
        return;
    };
    if control.write_all(&message::reply(0, bound)).await.is_err() {
        return;
    }
    tokio::select! {
        () = ended(&mut control) => {}
        () = outwards(ways, &near, &network, direct.as_ref()) => {}
        () = inwards(&near, &network) => {}
        () = inwards_directly(&near, direct.as_ref()) => {}
    }
}

async fn open(
    ways: &Arc<Ways>,
    control: &TcpStream,
    from: SocketAddr,
    port: Option<NonZeroU16>,
    isolation: Isolation,
) -> Result<(Lane, Option<Lane>, Near), ConnectError> {
    let network = Lane::new(ways, ways.associate(isolation.clone()).await?);
    let direct = match ways.bypass.rules() {
        [] => None,
        _ => Some(Lane::new(ways, Direct.associate(isolation).await?)),
    };
    let local = control.local_addr().map_err(|_| ConnectError::Busy)?.ip();
    let socket = UdpSocket::bind((local, 0))
        .await
        .map_err(|_| ConnectError::Busy)?;
    let port = AtomicU16::new(port.map_or(0, NonZeroU16::get));
    Ok((network, direct, Near { socket, from, port }))
}

impl Lane {
    fn new(ways: &Ways, associated: Associated) -> Self {
        let share = ways.counters.open(associated.bridge);
        Self {
            datagrams: associated.datagrams,
            share,
        }
    }
}

impl Near {
    /// Whether a datagram from there is the client's. The first one settles its port, if nothing else has.
    fn admits(&self, source: SocketAddr) -> bool {
        if source.ip().to_canonical() != self.from.ip().to_canonical() {
            return false;
        }
        let known =
            self.port
                .compare_exchange(0, source.port(), Ordering::Relaxed, Ordering::Relaxed);
        known.is_ok() || known == Err(source.port())
    }

    /// Where datagrams to the client go, once it has sent one.
    fn address(&self) -> Option<SocketAddr> {
        let port = self.port.load(Ordering::Relaxed);
        (port != 0).then(|| SocketAddr::new(self.from.ip(), port))
    }
}

/// Ends with the connection. What is sent on it means nothing.
async fn ended(control: &mut TcpStream) {
    let mut nothing = [0; 64];
    while let Ok(1..) = control.read(&mut nothing).await {}
}

async fn outwards(ways: &Ways, near: &Near, network: &Lane, direct: Option<&Lane>) {
    let mut room = vec![0; MAX_DATAGRAM_BYTES + MAX_DATAGRAM_HEADER_BYTES];
    loop {
        let (len, source) = match near.socket.recv_from(&mut room).await {
            Ok(received) => received,
            // An earlier datagram found its receiver gone: that ends nothing.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => continue,
            Err(_) => return,
        };
        if !near.admits(source) {
            continue;
        }
        let bytes = room.get(..len).unwrap_or_default();
        let Ok((target, payload)) = message::datagram(bytes) else {
            continue;
        };
        let lane = match direct {
            Some(direct) if ways.bypasses(&target) => direct,
            _ => network,
        };
        let payload = Bytes::copy_from_slice(payload);
        let payload_len = payload.len();
        match lane.datagrams.send(target, payload).await {
            Ok(()) => lane.share.up(payload_len),
            Err(DatagramError::Closed) => return,
            Err(_) => {}
        }
    }
}

async fn inwards(near: &Near, lane: &Lane) {
    let mut out = Vec::new();
    loop {
        let (from, payload) = match lane.datagrams.receive().await {
            Ok(received) => received,
            Err(DatagramError::Closed) => return,
            Err(_) => continue,
        };
        let Some(client) = near.address() else {
            continue;
        };
        out.clear();
        message::put_datagram_header(&from, &mut out);
        out.extend_from_slice(&payload);
        // What does not fit a datagram any more, or finds nobody, is lost as datagrams are.
        if near.socket.send_to(&out, client).await.is_ok() {
            lane.share.down(payload.len());
        }
    }
}

async fn inwards_directly(near: &Near, lane: Option<&Lane>) {
    match lane {
        Some(lane) => inwards(near, lane).await,
        None => std::future::pending().await,
    }
}
