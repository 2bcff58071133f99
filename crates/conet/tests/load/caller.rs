//! A client by hand, over one HTTP connection with a session of its own: it costs little, and does what no honest
//! client would.

use std::net::SocketAddr;

use anyhow::{Context as _, Result, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use packet::SizeClass;
use protocol::answer::{Answer, Item, ItemOpener, Refusal, open_answer};
use protocol::command::Request;
use protocol::frame::{self, Header};
use protocol::session::{ClientHandshake, ClientSession, ExchangeId};
use rand::rngs::OsRng;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

use crate::accounts::{Owner, now_ms};
use crate::world::Spot;

/// A response's head at most.
const HEAD_BYTES: usize = 4_096;
const DATA: &[u8] = b"data: ";

/// Joins a connection with a session.
pub(crate) struct Caller {
    pub(crate) socket: TcpStream,
    pub(crate) at: SocketAddr,
    session: ClientSession,
    read: Vec<u8>,
}

/// What a device asks for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wish {
    pub(crate) device: u8,
    pub(crate) after: Option<u64>,
    pub(crate) window_bytes: u32,
    pub(crate) stay: bool,
}

/// A delivery by hand.
pub(crate) struct Mail {
    caller: Caller,
    exchange: ExchangeId,
    items: ItemOpener,
    next: u64,
}

pub(crate) fn request(at: SocketAddr, path: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let mut bytes =
        format!("POST {path} HTTP/1.1\r\nHost: {at}\r\nContent-Length: {length}\r\n\r\n")
            .into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

/// Reads the head of a response: what it says, and what was read beyond it stays in `read`.
async fn head(socket: &mut TcpStream, read: &mut Vec<u8>) -> Result<String> {
    loop {
        if let Some(end) = find(read, b"\r\n\r\n") {
            let head = String::from_utf8(read.drain(..end + 4).collect())?;
            return Ok(head.to_ascii_lowercase());
        }
        ensure!(read.len() < HEAD_BYTES, "a head without an end");
        ensure!(socket.read_buf(read).await? > 0, "the connection closed");
    }
}

/// Reads a response whole: its status and body.
pub(crate) async fn response(socket: &mut TcpStream, read: &mut Vec<u8>) -> Result<(u16, Vec<u8>)> {
    let head = head(socket, read).await?;
    let status = head.get(9..12).context("no status")?.parse()?;
    Ok((status, rest(socket, read, &head).await?))
}

/// Reads the body after a head.
async fn rest(socket: &mut TcpStream, read: &mut Vec<u8>, head: &str) -> Result<Vec<u8>> {
    let field = "content-length: ";
    let length = head.lines().find_map(|line| line.strip_prefix(field));
    let length: usize = length.context("no length")?.trim().parse()?;
    while read.len() < length {
        ensure!(socket.read_buf(read).await? > 0, "the connection closed");
    }
    Ok(read.drain(..length).collect())
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

impl Caller {
    pub(crate) async fn shake_hands(node: &Spot) -> Result<Self> {
        let socket = TcpStream::connect(node.listen).await?;
        Self::on(socket, node).await
    }

    /// With as little room in the kernel for what it does not read as the kernel takes.
    pub(crate) async fn narrow(node: &Spot) -> Result<Self> {
        let socket = TcpSocket::new_v4()?;
        socket.set_recv_buffer_size(4_096)?;
        Self::on(socket.connect(node.listen).await?, node).await
    }

    async fn on(mut socket: TcpStream, node: &Spot) -> Result<Self> {
        socket.set_nodelay(true)?;
        let (handshake, body) =
            ClientHandshake::start(&node.address, &node.transport_key, 0, &mut OsRng)?;
        socket.write_all(&request(node.listen, "/c", &body)).await?;
        let mut read = Vec::new();
        let (status, body) = response(&mut socket, &mut read).await?;
        ensure!(status == 200, "a handshake was answered {status}");
        Ok(Self {
            socket,
            at: node.listen,
            session: handshake.finish(&body, 0)?,
            read,
        })
    }

    /// The bytes of an exchange's request.
    pub(crate) fn seal(&mut self, header: Header, packet: &[u8]) -> Result<(ExchangeId, Vec<u8>)> {
        let mut clear = Vec::new();
        ensure!(
            frame::append(&mut clear, header, packet),
            "it fits no class"
        );
        let (exchange, body) = self.session.seal(&clear)?;
        Ok((exchange, request(self.at, "/c", &body)))
    }

    /// Sends a packet and reads the answer.
    pub(crate) async fn ask(&mut self, header: Header, packet: &[u8]) -> Result<Answer> {
        let (exchange, bytes) = self.seal(header, packet)?;
        self.socket.write_all(&bytes).await?;
        let (status, mut body) = response(&mut self.socket, &mut self.read).await?;
        ensure!(status == 200, "an exchange was answered {status}");
        let clear = self.session.open(exchange, 0, &mut body)?;
        Ok(Answer::decode(frame::split(clear)?.1)?)
    }

    /// Asks a mailbox to deliver, and reads nothing yet.
    pub(crate) async fn collect(
        mut self,
        owner: &Owner,
        mailbox: &Spot,
        wish: Wish,
    ) -> Result<Mail> {
        let collect = Request::Collect {
            device: [wish.device; 16],
            after: wish.after,
            window_bytes: wish.window_bytes,
            stay: wish.stay,
        };
        let header = Header {
            stream: true,
            ..Header::packet(SizeClass::K4, 0)
        };
        let mut time_ms = now_ms();
        // A node that crashed takes no command of before some time yet to come, and says so.
        for _ in 0..2 {
            let (layer, key) = owner.layer(mailbox, &collect, time_ms)?;
            let (exchange, bytes) = self.seal(header, &layer)?;
            self.socket.write_all(&bytes).await?;
            let head = head(&mut self.socket, &mut self.read).await?;
            if head.contains("text/event-stream") {
                return Ok(Mail {
                    caller: self,
                    exchange,
                    items: ItemOpener::new(&key),
                    next: 0,
                });
            }
            let mut body = rest(&mut self.socket, &mut self.read, &head).await?;
            let clear = self.session.open(exchange, 0, &mut body)?;
            let answer = match Answer::decode(frame::split(clear)?.1)? {
                Answer::Sealed(sealed) => Answer::decode(&open_answer(&key, &sealed)?)?,
                answer => answer,
            };
            let Answer::Refused(Refusal::Stale(time)) = answer else {
                bail!("no delivery: {answer:?}")
            };
            time_ms = time.time_ms;
        }
        bail!("no time is right")
    }
}

impl Mail {
    /// The next item; none at the end of the stream.
    pub(crate) async fn next(&mut self) -> Result<Option<Item>> {
        let Caller {
            socket,
            session,
            read,
            ..
        } = &mut self.caller;
        // The node writes each event as one chunk, so that nothing stands between these two marks but the event.
        let mut looked = 0;
        let mut line = loop {
            if let Some(start) = find(read, DATA) {
                let from = looked.max(start);
                if let Some(end) = find(&read[from..], b"\n\n") {
                    let line = STANDARD.decode(&read[start + DATA.len()..from + end])?;
                    read.drain(..from + end + 2);
                    break line;
                }
                looked = read.len().saturating_sub(1);
            } else if read.len() > 64 {
                // Comments.
                read.drain(..read.len() - 8);
            }
            if socket.read_buf(read).await? == 0 {
                return Ok(None);
            }
        };
        let clear = session.open(self.exchange, self.next, &mut line)?;
        self.next += 1;
        let Answer::Sealed(sealed) = Answer::decode(frame::split(clear)?.1)? else {
            return Ok(None);
        };
        Ok(Some(Item::decode(&self.items.open(&sealed)?)?))
    }

    /// The next packet and its cursor.
    pub(crate) async fn next_packet(&mut self) -> Result<(u64, Bytes)> {
        loop {
            match self.next().await?.context("the delivery ended")? {
                Item::Packet { cursor, packet, .. } => return Ok((cursor, packet)),
                Item::Closed { status } => bail!("the delivery was closed: {status}"),
                _ => {}
            }
        }
    }

    /// Reads up to the sign that all was delivered: the packets with their cursors.
    pub(crate) async fn until_caught_up(&mut self) -> Result<Vec<(u64, Bytes)>> {
        let mut packets = Vec::new();
        loop {
            match self.next().await?.context("the delivery ended")? {
                Item::Packet { cursor, packet, .. } => packets.push((cursor, packet)),
                Item::CaughtUp { .. } => return Ok(packets),
                _ => {}
            }
        }
    }
}
