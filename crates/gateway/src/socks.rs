//! The SOCKS5 listener: connections and datagrams, by names that nobody here resolves.

mod associate;
pub mod message;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::accept::farewell;
use crate::outbound::{Ask, ConnectError, Isolation};
use crate::splice::splice;
use crate::ways::Ways;
use message::{Method, Request};

/// What a client that finds no place is told: no method is acceptable.
pub(crate) const FULL: &[u8] = &[5, 0xff];

/// What is read of a client before it is connected, at most: one message and what came right behind it.
const HANDSHAKE_BYTES: usize = 4096;
/// The address in a reply where there is none to tell: the far one is the bridge's.
const NO_ADDRESS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);
/// The refusal of SOCKS4: request rejected.
const SOCKS4_REFUSAL: [u8; 8] = [0, 0x5b, 0, 0, 0, 0, 0, 0];
const HTTP_REFUSAL: &[u8] =
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n\
    This port speaks SOCKS5. Set it as SOCKS host, or use the port of the HTTP proxy.\n";

/// Serves clients of SOCKS5.
pub(crate) struct Socks {
    pub(crate) ways: Arc<Ways>,
    pub(crate) handshake_timeout: Duration,
    /// Places for associations: each has a socket and buffers of its own.
    pub(crate) associations: Arc<Semaphore>,
}

/// What a client has asked for in good order.
struct Asked {
    request: Request,
    isolation: Isolation,
    /// What came behind the request.
    first: Bytes,
}

/// Why nothing was asked for.
enum Unasked {
    /// It is to be told this.
    Answer(Vec<u8>),
    /// It is gone, or says nothing that could be answered.
    Silence,
}

impl From<io::Error> for Unasked {
    fn from(_: io::Error) -> Self {
        Self::Silence
    }
}

impl Socks {
    /// Serves one client to its end.
    pub(crate) async fn serve(&self, mut socket: TcpStream, from: SocketAddr) {
        let asked = match timeout(self.handshake_timeout, shake(&mut socket)).await {
            Ok(Ok(asked)) => asked,
            Ok(Err(Unasked::Answer(answer))) => return farewell(socket, &answer).await,
            Ok(Err(Unasked::Silence)) | Err(_) => return,
        };
        match asked.request {
            Request::Connect(target) => {
                let ask = Ask {
                    target,
                    isolation: asked.isolation,
                    first: asked.first,
                };
                self.connect(socket, ask).await;
            }
            Request::Associate(port) => match Arc::clone(&self.associations).try_acquire_owned() {
                Ok(_place) => {
                    associate::serve(&self.ways, socket, from, port, asked.isolation).await
                }
                Err(_) => refuse(socket, ConnectError::Busy).await,
            },
        }
    }

    async fn connect(&self, mut socket: TcpStream, ask: Ask) {
        let connected = tokio::select! {
            connected = self.ways.connect(ask) => connected,
            () = left(&socket) => return,
        };
        match connected {
            Ok(stream) => {
                let success = message::reply(0, NO_ADDRESS);
                if socket.write_all(&success).await.is_ok() {
                    splice(socket, stream).await;
                }
            }
            Err(error) => refuse(socket, error).await,
        }
    }
}

async fn refuse(socket: TcpStream, error: ConnectError) {
    farewell(socket, &message::reply(error.socks_reply(), NO_ADDRESS)).await;
}

/// Ends when the client has closed its connection without having sent anything more.
async fn left(socket: &TcpStream) {
    if let Ok(1..) = socket.peek(&mut [0]).await {
        std::future::pending().await
    }
}

async fn shake(socket: &mut TcpStream) -> Result<Asked, Unasked> {
    let mut buffer = BytesMut::with_capacity(HANDSHAKE_BYTES);
    let method = loop {
        match message::greeting(&buffer) {
            Ok(Some((method, len))) => {
                buffer.advance(len);
                break method;
            }
            Ok(None) => fill(socket, &mut buffer).await?,
            Err(_) => return Err(stranger(&buffer)),
        }
    };
    if method == Method::Unacceptable {
        return Err(Unasked::Answer(message::choice(method).to_vec()));
    }
    socket.write_all(&message::choice(method)).await?;
    let isolation = match method {
        Method::Login => login(socket, &mut buffer).await?,
        _ => Isolation::Shared,
    };
    loop {
        match message::request(&buffer) {
            Ok(Some((request, len))) => {
                buffer.advance(len);
                return Ok(Asked {
                    request,
                    isolation,
                    first: buffer.freeze(),
                });
            }
            Ok(None) => fill(socket, &mut buffer).await?,
            Err(malformed) => {
                return Err(Unasked::Answer(message::reply(
                    malformed.socks_reply(),
                    NO_ADDRESS,
                )));
            }
        }
    }
}

async fn login(socket: &mut TcpStream, buffer: &mut BytesMut) -> Result<Isolation, Unasked> {
    loop {
        match message::login(buffer) {
            Ok(Some((user, len))) => {
                let isolation = Isolation::from_user(user);
                buffer.advance(len);
                socket.write_all(&message::welcome()).await?;
                return Ok(isolation);
            }
            Ok(None) => fill(socket, buffer).await?,
            Err(_) => return Err(Unasked::Answer(message::unwelcome().to_vec())),
        }
    }
}

/// Reads more, within what the buffer has room for: it never grows.
async fn fill(socket: &mut TcpStream, buffer: &mut BytesMut) -> io::Result<()> {
    // The longest message is far shorter, so a buffer without room was not filled by a client of ours.
    let room = buffer.capacity() - buffer.len();
    let read = socket.take(room as u64).read_buf(buffer).await?;
    match read {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(()),
    }
}

/// What somebody is told who speaks something else.
fn stranger(bytes: &[u8]) -> Unasked {
    match bytes.first() {
        Some(4) => Unasked::Answer(SOCKS4_REFUSAL.to_vec()),
        Some(letter) if letter.is_ascii_uppercase() => Unasked::Answer(HTTP_REFUSAL.to_vec()),
        _ => Unasked::Silence,
    }
}
