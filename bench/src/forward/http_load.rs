//! Load over kept-alive HTTP connections: requests are made before the clock starts, answers are counted by
//! their length, which is always the same.

use std::net::SocketAddr;

use anyhow::{Context as _, ensure};
use node::NodeKeys;
use packet::SizeClass;
use protocol::frame::{self, Header};
use protocol::session::{ClientHandshake, ClientSession, EXCHANGE_OVERHEAD_BYTES};
use rand::rngs::OsRng;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::http_sink::{body_at, message_bytes};

/// The body of one exchange of the smallest class.
pub(crate) const BODY_BYTES: usize =
    SizeClass::K4.frame_bytes() + frame::HEADER_BYTES + EXCHANGE_OVERHEAD_BYTES;
const READ_BYTES: usize = 16 * 1024;
const OK: &[u8] = b"HTTP/1.1 200";

/// Connections and what they are going to say.
pub(super) struct HttpLoad(Vec<Connection>);

struct Connection {
    socket: TcpStream,
    /// Requests of equal length, one after the other.
    requests: Vec<u8>,
    request_bytes: usize,
}

fn head(at: SocketAddr, body: usize) -> Vec<u8> {
    format!(
        "POST /c HTTP/1.1\r\nHost: {at}\r\nContent-Type: application/octet-stream\r\nContent-Length: {body}\r\n\r\n"
    )
    .into_bytes()
}

/// Requests with zeros as their bodies.
pub(super) async fn bare(
    at: SocketAddr,
    connections: usize,
    requests: usize,
) -> anyhow::Result<HttpLoad> {
    let mut request = head(at, BODY_BYTES);
    request.resize(request.len() + BODY_BYTES, 0);
    let mut load = Vec::new();
    for _ in 0..connections {
        load.push(Connection {
            socket: connect(at).await?,
            requests: request.repeat(requests / connections),
            request_bytes: request.len(),
        });
    }
    Ok(HttpLoad(load))
}

/// Exchanges, each connection with a session of its own.
pub(super) async fn sealed(
    at: SocketAddr,
    node: &NodeKeys,
    packet: &[u8],
    connections: usize,
    requests: usize,
) -> anyhow::Result<HttpLoad> {
    let head = head(at, BODY_BYTES);
    let request_bytes = head.len() + BODY_BYTES;
    let mut plain = Vec::new();
    let fits = frame::append(&mut plain, Header::packet(SizeClass::K4, 0), packet);
    ensure!(fits, "the packet fits no class");
    let mut load = Vec::new();
    for _ in 0..connections {
        let mut socket = connect(at).await?;
        let mut session = shake_hands(&mut socket, at, node).await?;
        let each = requests / connections;
        let mut requests = Vec::with_capacity(each * request_bytes);
        for _ in 0..each {
            let (_, body) = session.seal(&plain)?;
            requests.extend_from_slice(&head);
            requests.extend_from_slice(&body);
        }
        load.push(Connection {
            socket,
            requests,
            request_bytes,
        });
    }
    Ok(HttpLoad(load))
}

async fn connect(at: SocketAddr) -> anyhow::Result<TcpStream> {
    let socket = TcpStream::connect(at).await?;
    socket.set_nodelay(true)?;
    Ok(socket)
}

async fn shake_hands(
    socket: &mut TcpStream,
    at: SocketAddr,
    node: &NodeKeys,
) -> anyhow::Result<ClientSession> {
    let (handshake, body) =
        ClientHandshake::start(&node.wallet.address(), &node.transport_key(), 0, &mut OsRng)?;
    socket
        .write_all(&[head(at, body.len()), body].concat())
        .await?;
    let mut response = Vec::new();
    let length = first_response(socket, &mut response).await?;
    ensure!(response.len() == length, "more came than was asked for");
    let body = body_at(&response).context("no head")?;
    let body = response.get(body..).context("no body")?;
    Ok(handshake.finish(body, 0)?)
}

/// Reads one whole response and says how long it is.
async fn first_response(socket: &mut TcpStream, into: &mut Vec<u8>) -> anyhow::Result<usize> {
    loop {
        let read = socket.read_buf(into).await?;
        ensure!(read > 0, "the connection closed");
        if let Some(length) = message_bytes(into)
            && into.len() >= length
        {
            ensure!(into.starts_with(OK), "refused: {:?}", into.get(..64));
            return Ok(length);
        }
    }
}

impl HttpLoad {
    pub(super) fn requests(&self) -> usize {
        self.0
            .iter()
            .map(|c| c.requests.len() / c.request_bytes)
            .sum()
    }

    /// Sends all of it, on each connection one request after the other, and waits for all answers.
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let mut connections = JoinSet::new();
        for connection in self.0 {
            connections.spawn(connection.run());
        }
        while let Some(ended) = connections.join_next().await {
            ended??;
        }
        Ok(())
    }
}

impl Connection {
    async fn run(mut self) -> anyhow::Result<()> {
        let mut requests = self.requests.chunks_exact(self.request_bytes);
        let Some(first) = requests.next() else {
            return Ok(());
        };
        self.socket.write_all(first).await?;
        let length = first_response(&mut self.socket, &mut Vec::new()).await?;
        let mut buffer = vec![0; READ_BYTES];
        for request in requests {
            self.socket.write_all(request).await?;
            let mut got = 0;
            while got < length {
                let read = self.socket.read(&mut buffer).await?;
                ensure!(read > 0, "the connection closed");
                ensure!(got > 0 || buffer.starts_with(OK), "a request was refused");
                got += read;
            }
            ensure!(got == length, "an answer of another length");
        }
        Ok(())
    }
}
