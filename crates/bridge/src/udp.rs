//! Datagrams: what a SOCKS5 client's UDP ASSOCIATE (RFC 1928 section 7) becomes at the bridge.
//!
//! An association has one socket of each family. Each new target is judged as a connection would be; what it resolved to is
//! kept while it is used, so that a flow stays with its peer. Only who was sent to may answer (address and port must
//! match, the strictest filtering of RFC 4787).

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use core::num::NonZeroU16;
use core::time::Duration;
use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use parking_lot::Mutex;
use protocol::target::{Host, Target};
use thiserror::Error;
use tokio::net::UdpSocket;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::bridge::Core;
use crate::connect::ConnectError;
use crate::dial::may_go;
use crate::limits::{Busy, Permit};
use crate::outside::{Machine, Outside, is_unreachable};
use crate::policy::Denial;
use crate::resolve::{LookUpError, ResolveError};

/// Targets of one association at once; beyond, the one that was unused for longest is forgotten.
pub const MAX_PEERS: usize = 256;
/// A peer may answer this long after it was last sent to (RFC 4787 section 4.3 asks for two minutes).
pub const PEER_IDLE: Duration = Duration::from_secs(120);
/// Names of one association that are being resolved at once.
pub const MAX_LOOK_UPS: usize = 8;
/// A datagram's content at most, in bytes: what UDP over IPv4 carries.
pub const MAX_DATAGRAM_BYTES: usize = 65_507;

/// A client's datagrams. Dropping it closes the sockets.
pub struct Association<O: Outside = Machine> {
    core: Arc<Core<O>>,
    client: u64,
    v4: Option<UdpSocket>,
    v6: Option<UdpSocket>,
    peers: Mutex<Peers>,
    active: Mutex<Instant>,
    look_ups: Semaphore,
    _permit: Permit,
}

/// Why there is no association.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum AssociateError {
    /// A limit is reached.
    #[error("busy: {0}")]
    Busy(#[from] Busy),
    /// The bridge's machine gave no socket.
    #[error("the bridge's machine gave no socket: {0}")]
    Socket(io::ErrorKind),
}

/// Why a datagram was not sent. Says nothing of the target, so that it can be logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SendError {
    /// The bridge does not reach this target.
    #[error("denied: {0}")]
    Denied(Denial),
    /// The name does not exist or has no addresses.
    #[error("there is no such host")]
    NoSuchHost,
    /// No name server gave an answer in time.
    #[error("no name server gave an answer")]
    ResolverFailed,
    /// There is no way to the host.
    #[error("there is no way to the host")]
    Unreachable,
    /// The datagram is larger than what UDP carries.
    #[error("a datagram carries {MAX_DATAGRAM_BYTES} bytes at most")]
    TooLarge,
    /// A limit is reached.
    #[error("busy: {0}")]
    Busy(#[from] Busy),
    /// The bridge's socket failed.
    #[error("the bridge's socket failed: {0}")]
    Socket(io::ErrorKind),
}

/// Why nothing will be received any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ReceiveError {
    /// Nothing was sent or received for the idle time: the association is over.
    #[error("the association was idle for too long")]
    Idle,
    /// The bridge's socket failed.
    #[error("the bridge's socket failed: {0}")]
    Socket(io::ErrorKind),
}

/// Who was sent to, and when last.
#[derive(Default)]
struct Peers {
    by_target: HashMap<Target, Peer>,
}

#[derive(Clone, Copy)]
struct Peer {
    address: SocketAddr,
    used: Instant,
}

impl<O: Outside> Association<O> {
    pub(crate) async fn open(core: Arc<Core<O>>, client: u64) -> Result<Self, AssociateError> {
        let pending = core.gate.admit(client, core.outside.now())?;
        let v4 = UdpSocket::bind((IpAddr::from(Ipv4Addr::UNSPECIFIED), 0)).await;
        // May take IPv4 as well where the system has it so; those senders are then known to nobody.
        let v6 = UdpSocket::bind((IpAddr::from(Ipv6Addr::UNSPECIFIED), 0)).await;
        let (v4, v6) = match (v4, v6) {
            (Err(error), Err(_)) => return Err(AssociateError::Socket(error.kind())),
            (v4, v6) => (v4.ok(), v6.ok()),
        };
        Ok(Self {
            core,
            client,
            v4,
            v6,
            peers: Mutex::default(),
            active: Mutex::new(Instant::now()),
            look_ups: Semaphore::new(MAX_LOOK_UPS),
            _permit: pending.open(),
        })
    }

    /// Sends one datagram.
    ///
    /// A name that is not known yet is resolved meanwhile; several may be sent at once.
    ///
    /// # Errors
    /// Why it was not sent. The association goes on.
    pub async fn send(&self, target: &Target, datagram: &[u8]) -> Result<(), SendError> {
        if datagram.len() > MAX_DATAGRAM_BYTES {
            return Err(SendError::TooLarge);
        }
        let known = self.peers.lock().use_known(target, Instant::now());
        let address = match known {
            Some(address) => address,
            None => self.meet(target).await?,
        };
        let socket = self.socket(address).ok_or(SendError::Unreachable)?;
        match socket.send_to(datagram, address).await {
            Ok(_) => {
                *self.active.lock() = Instant::now();
                Ok(())
            }
            Err(error) if is_unreachable(error.kind()) => Err(SendError::Unreachable),
            // What an earlier datagram met; this one is lost as datagrams may be.
            Err(error) if is_echo(error.kind()) => Ok(()),
            Err(error) => Err(SendError::Socket(error.kind())),
        }
    }

    /// Receives one datagram from somebody who was sent to, and says from whom and how many bytes.
    ///
    /// The buffer has room for [`MAX_DATAGRAM_BYTES`]; of what is longer than a buffer the rest is lost.
    ///
    /// # Errors
    /// When the association is over.
    ///
    /// # Cancel safety
    /// No datagram is lost when the future is dropped.
    pub async fn receive(&self, buffer: &mut [u8]) -> Result<(Target, usize), ReceiveError> {
        loop {
            let idle_at = *self.active.lock() + self.core.timeouts.datagram_idle;
            let socket = tokio::select! {
                socket = readable(self.v4.as_ref()) => socket,
                socket = readable(self.v6.as_ref()) => socket,
                () = tokio::time::sleep_until(idle_at) => {
                    // What was sent meanwhile has moved the end.
                    if *self.active.lock() + self.core.timeouts.datagram_idle <= Instant::now() {
                        return Err(ReceiveError::Idle);
                    }
                    continue;
                }
            };
            match socket.and_then(|socket| socket.try_recv_from(buffer)) {
                Ok((bytes, from)) => {
                    let now = Instant::now();
                    let is_known = self.peers.lock().has(from, now);
                    if let Some(from) = target_of(from).filter(|_| is_known) {
                        *self.active.lock() = now;
                        return Ok((from, bytes));
                    }
                }
                Err(error) if is_echo(error.kind()) => {}
                Err(error) => return Err(ReceiveError::Socket(error.kind())),
            }
        }
    }

    /// Judges and, if need be, resolves a target that is not known yet.
    async fn meet(&self, target: &Target) -> Result<SocketAddr, SendError> {
        let Ok(_turn) = self.look_ups.try_acquire() else {
            return Err(SendError::Busy(Busy::LookUps));
        };
        self.core
            .gate
            .charge(self.client, self.core.outside.now())?;
        let mut failure = SendError::Unreachable;
        for checked in self.core.look_up(target).await? {
            let address = checked.address();
            if self.socket(address).is_none() {
                continue;
            }
            match may_go(&self.core.outside, checked) {
                Ok(()) => {
                    let mut peers = self.peers.lock();
                    return Ok(peers.remember(target.clone(), address, Instant::now()));
                }
                Err(ConnectError::Denied(denial)) => failure = SendError::Denied(denial),
                Err(ConnectError::Socket(kind)) => failure = SendError::Socket(kind),
                Err(_) => {}
            }
        }
        Err(failure)
    }

    fn socket(&self, to: SocketAddr) -> Option<&UdpSocket> {
        if to.is_ipv4() {
            self.v4.as_ref()
        } else {
            self.v6.as_ref()
        }
    }
}

impl<O: Outside> core::fmt::Debug for Association<O> {
    /// Shows nothing: it knows who was sent to.
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Association").finish_non_exhaustive()
    }
}

impl Peers {
    fn use_known(&mut self, target: &Target, now: Instant) -> Option<SocketAddr> {
        let peer = self
            .by_target
            .get_mut(target)
            .filter(|peer| peer.is_live(now))?;
        peer.used = now;
        Some(peer.address)
    }

    fn has(&self, address: SocketAddr, now: Instant) -> bool {
        let mut peers = self.by_target.values();
        peers.any(|peer| peer.address == address && peer.is_live(now))
    }

    /// Remembers a peer, unless somebody was faster: then it stays with what that one found.
    fn remember(&mut self, target: Target, address: SocketAddr, now: Instant) -> SocketAddr {
        self.by_target.retain(|_, peer| peer.is_live(now));
        let is_known = self.by_target.contains_key(&target);
        if !is_known && self.by_target.len() >= MAX_PEERS {
            let oldest = self.by_target.iter().min_by_key(|(_, peer)| peer.used);
            if let Some(oldest) = oldest.map(|(target, _)| target.clone()) {
                self.by_target.remove(&oldest);
            }
        }
        let peer = self
            .by_target
            .entry(target)
            .or_insert(Peer { address, used: now });
        peer.used = now;
        peer.address
    }
}

impl Peer {
    fn is_live(&self, now: Instant) -> bool {
        now.duration_since(self.used) < PEER_IDLE
    }
}

impl From<LookUpError> for SendError {
    fn from(error: LookUpError) -> Self {
        match error {
            LookUpError::Denied(denial) => Self::Denied(denial),
            LookUpError::Resolve(ResolveError::NoSuchHost) => Self::NoSuchHost,
            LookUpError::Resolve(ResolveError::Failed) => Self::ResolverFailed,
        }
    }
}

async fn readable(socket: Option<&UdpSocket>) -> io::Result<&UdpSocket> {
    match socket {
        Some(socket) => socket.readable().await.map(|()| socket),
        None => core::future::pending().await,
    }
}

/// Whether an error is only what an earlier datagram came back with, or none at all.
fn is_echo(kind: io::ErrorKind) -> bool {
    matches!(
        kind,
        io::ErrorKind::WouldBlock
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionReset
    )
}

fn target_of(address: SocketAddr) -> Option<Target> {
    Some(Target {
        host: Host::Address(address.ip()),
        port: NonZeroU16::new(address.port())?,
    })
}

#[cfg(test)]
mod tests;
