//! What both ends of a link share: moving sealed bytes between a socket and frames.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::BytesMut;
use protocol::NodeId;
use protocol::frame::{Header, Kind};
use protocol::link::{Batch, Incoming, Opener, Sealer};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::Instant;

use super::queue::{Queued, Taken};
use crate::observer::{Eyes, Sight};

/// The writer seals this much at once; small enough to stay in a core's cache.
const WRITE_BYTES: usize = 128 * 1024;
/// A dialer asks for a sign of life this often.
pub(super) const PING_EVERY: Duration = Duration::from_secs(15);
/// A link on which nothing came for this long is dead.
const SILENCE_MOST: Duration = Duration::from_secs(45);
/// A peer that takes nothing for this long is dead.
const WRITE_TIMEOUT: Duration = Duration::from_secs(45);
/// Room to read into: two of the largest records.
const READ_BYTES: usize = 128 * 1024;

/// Why a link ended.
#[derive(Debug, Error)]
pub(super) enum PipeError {
    #[error("the connection closed")]
    Closed,
    #[error("the peer was silent for too long")]
    Silent,
    #[error("the peer gave two requests one name")]
    Repeated,
    #[error("the connection failed")]
    Io(#[from] std::io::Error),
    #[error("the peer sent what it must not")]
    Protocol(#[from] protocol::link::OpenError),
}

/// Who is at the other end of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Peer {
    /// A node of the ledger, proven.
    Node(NodeId),
    /// A client, of whom nothing is known but where it connected from.
    Client(SocketAddr),
}

/// The other end of a link, and who is told what passes.
#[derive(Debug, Clone)]
pub(super) struct Far {
    pub(super) peer: Peer,
    pub(super) eyes: Eyes,
}

impl Far {
    /// Tells of a frame that is about to go.
    #[inline]
    pub(super) fn sends(&self, header: Header, payload: &[u8]) {
        self.eyes.see(match self.peer {
            Peer::Node(peer) => Sight::LinkOut {
                peer,
                header,
                payload,
            },
            Peer::Client(to) => Sight::ClientOut {
                to,
                header,
                payload,
            },
        });
    }
}

/// Writes queued frames, as many as are at hand in one go, until the queue closes. With `ping`, a sign
/// of life is asked for at once (it proves to the acceptor that the link is no replay) and ever again.
pub(super) async fn write_frames(
    mut socket: impl AsyncWrite + Unpin,
    mut sealer: Sealer,
    mut queue: Queued,
    ping: bool,
) -> Result<(), PipeError> {
    let mut batch = Batch::default();
    let next_ping = tokio::time::sleep(Duration::ZERO);
    tokio::pin!(next_ping);
    loop {
        let Taken {
            mut kib,
            mut data_bytes,
        } = tokio::select! {
            biased;
            taken = queue.next(&mut batch) => match taken {
                Some(taken) => taken,
                None => break,
            },
            () = next_ping.as_mut(), if ping => {
                next_ping.as_mut().reset(Instant::now() + PING_EVERY);
                queue.add(&mut batch, Header::control(Kind::Ping, 0));
                Taken::default()
            }
        };
        while let Some(records) = sealer.seal_next(&mut batch, WRITE_BYTES) {
            match tokio::time::timeout(WRITE_TIMEOUT, socket.write_all(records)).await {
                Ok(written) => written?,
                Err(_) => return Err(PipeError::Silent),
            }
            // Regions are rounded down, so some is left for the end.
            let written = kib.min((records.len() / 1024) as u32);
            queue.give_back(written);
            kib -= written;
            let written = data_bytes.min(records.len());
            queue.wrote_data(written);
            data_bytes -= written;
        }
        queue.give_back(kib);
        queue.wrote_data(data_bytes);
        batch.clear();
    }
    socket.shutdown().await?;
    Ok(())
}

/// Reads frames one by one.
pub(super) struct Frames<R> {
    socket: R,
    opener: Opener,
    wire: BytesMut,
    far: Far,
}

impl<R: AsyncRead + Unpin> Frames<R> {
    /// `wire` holds what was read from the socket beyond the handshake.
    pub(super) fn new(socket: R, opener: Opener, wire: BytesMut, far: Far) -> Self {
        Self {
            socket,
            opener,
            wire,
            far,
        }
    }

    /// The next frame, whose payload shares the memory that the socket is read into: what is kept must be
    /// [`Incoming::detached`], and what is not must be gone when the next one is asked for.
    pub(super) async fn next(&mut self) -> Result<Incoming, PipeError> {
        let frame = self.read().await?;
        let (header, payload) = (frame.header, &frame.payload[..]);
        self.far.eyes.see(match self.far.peer {
            Peer::Node(peer) => Sight::LinkIn {
                peer,
                header,
                payload,
            },
            Peer::Client(by) => Sight::ClientIn {
                by,
                header,
                payload,
            },
        });
        Ok(frame)
    }

    async fn read(&mut self) -> Result<Incoming, PipeError> {
        loop {
            if let Some(frame) = self.opener.next_of(&mut self.wire)? {
                return Ok(frame);
            }
            self.wire.reserve(READ_BYTES);
            match tokio::time::timeout(SILENCE_MOST, self.socket.read_buf(&mut self.wire)).await {
                Ok(Ok(0)) => return Err(PipeError::Closed),
                Ok(read) => read?,
                Err(_) => return Err(PipeError::Silent),
            };
        }
    }
}

/// Reads one handshake message: length as `u16`, then bytes.
pub(super) async fn read_handshake(
    socket: &mut (impl AsyncRead + Unpin),
) -> std::io::Result<Vec<u8>> {
    let length = usize::from(socket.read_u16().await?);
    if length > protocol::link::MAX_HANDSHAKE_BYTES {
        return Err(std::io::Error::new(
            std::io::ErrorKind::InvalidData,
            "handshake message too long",
        ));
    }
    let mut message = vec![0; length];
    socket.read_exact(&mut message).await?;
    Ok(message)
}

/// Writes one handshake message.
pub(super) async fn write_handshake(
    socket: &mut (impl AsyncWrite + Unpin),
    message: &[u8],
) -> std::io::Result<()> {
    let mut bytes = (message.len() as u16).to_be_bytes().to_vec();
    bytes.extend_from_slice(message);
    socket.write_all(&bytes).await
}
