//! What uses the proxies: a client of SOCKS5 (RFC 1928, RFC 1929) that fetches by HTTP, the same for all of them.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::web::SMALL;
use crate::http_sink::{body_at, message_bytes};

const BUFFER_BYTES: usize = 256 * 1024;
const MAX_HEAD_BYTES: usize = 16 * 1024;
/// One connection, or one request, at most.
const PATIENCE: Duration = Duration::from_secs(120);
/// One try to find out whether a way works; Tor would hold it for minutes.
const TRY: Duration = Duration::from_secs(6);

/// A way to a web server: through a proxy, or past all of them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Way {
    pub(super) socks: Option<SocketAddr>,
    /// Whether the proxy tells users apart.
    pub(super) knows_users: bool,
}

/// What is asked for: a host, which the proxy resolves, and a port.
#[derive(Debug, Clone)]
pub(super) struct Target {
    pub(super) host: String,
    pub(super) port: u16,
}

impl From<SocketAddr> for Target {
    fn from(at: SocketAddr) -> Self {
        Self {
            host: at.ip().to_string(),
            port: at.port(),
        }
    }
}

/// A connection to a web server.
#[derive(Debug)]
pub(super) struct Connection {
    socket: TcpStream,
    host: String,
    buffer: Vec<u8>,
}

impl Way {
    pub(super) fn through(socks: SocketAddr) -> Self {
        Self {
            socks: Some(socks),
            knows_users: true,
        }
    }

    /// A proxy to which all users are one.
    pub(super) fn through_for_all(socks: SocketAddr) -> Self {
        Self {
            socks: Some(socks),
            knows_users: false,
        }
    }

    /// Past all proxies.
    pub(super) const NONE: Self = Self {
        socks: None,
        knows_users: false,
    };

    /// Connects. Whoever has another `user` shares nothing with this one, where the proxy knows users.
    pub(super) async fn connect(
        self,
        to: &Target,
        user: Option<&str>,
    ) -> anyhow::Result<Connection> {
        timeout(PATIENCE, self.connecting(to, user)).await?
    }

    /// Whether a small file comes soon.
    pub(super) async fn leads_to(self, to: &Target) -> bool {
        let trying = async { self.connect(to, None).await?.get(SMALL).await };
        matches!(timeout(TRY, trying).await, Ok(Ok(_)))
    }

    async fn connecting(self, to: &Target, user: Option<&str>) -> anyhow::Result<Connection> {
        let socket = match self.socks {
            None => TcpStream::connect((to.host.as_str(), to.port)).await?,
            Some(socks) => {
                let mut socket = TcpStream::connect(socks).await?;
                socket.set_nodelay(true)?;
                greet(&mut socket, user).await?;
                ask(&mut socket, to).await?;
                socket
            }
        };
        socket.set_nodelay(true)?;
        Ok(Connection {
            socket,
            host: to.host.clone(),
            buffer: vec![0; BUFFER_BYTES],
        })
    }
}

async fn greet(socket: &mut TcpStream, user: Option<&str>) -> anyhow::Result<()> {
    let method = if user.is_some() { 2 } else { 0 };
    socket.write_all(&[5, 1, method]).await?;
    let mut chosen = [0; 2];
    socket.read_exact(&mut chosen).await?;
    ensure!(chosen == [5, method], "the proxy wants to log in otherwise");
    if let Some(user) = user {
        let mut login = vec![1, u8::try_from(user.len())?];
        login.extend_from_slice(user.as_bytes());
        login.extend_from_slice(&[1, b'x']);
        socket.write_all(&login).await?;
        let mut answer = [0; 2];
        socket.read_exact(&mut answer).await?;
        ensure!(answer == [1, 0], "the proxy refused the user");
    }
    Ok(())
}

async fn ask(socket: &mut TcpStream, to: &Target) -> anyhow::Result<()> {
    let mut request = vec![5, 1, 0];
    match to.host.parse::<std::net::Ipv4Addr>() {
        Ok(v4) => {
            request.push(1);
            request.extend_from_slice(&v4.octets());
        }
        Err(_) => {
            request.extend_from_slice(&[3, u8::try_from(to.host.len())?]);
            request.extend_from_slice(to.host.as_bytes());
        }
    }
    request.extend_from_slice(&to.port.to_be_bytes());
    socket.write_all(&request).await?;
    let mut head = [0; 4];
    socket.read_exact(&mut head).await?;
    let [_, reply, _, kind] = head;
    ensure!(reply == 0, "the proxy could not connect (reply {reply})");
    let rest = match kind {
        1 => 6,
        4 => 18,
        3 => usize::from(socket.read_u8().await?) + 2,
        _ => bail!("the proxy answered nonsense"),
    };
    let mut bound = vec![0; rest];
    socket.read_exact(&mut bound).await?;
    Ok(())
}

impl Connection {
    /// Fetches a path and throws it away.
    ///
    /// Returns the length of the body.
    pub(super) async fn get(&mut self, path: &str) -> anyhow::Result<usize> {
        let request = format!("GET /{path} HTTP/1.1\r\nHost: {}\r\n\r\n", self.host);
        timeout(PATIENCE, async {
            self.socket.write_all(request.as_bytes()).await?;
            self.answer().await
        })
        .await?
    }

    /// Sends that many bytes, and waits for the answer.
    pub(super) async fn put(&mut self, bytes: usize) -> anyhow::Result<()> {
        let request = format!(
            "PUT /u HTTP/1.1\r\nHost: {}\r\nContent-Length: {bytes}\r\n\r\n",
            self.host
        );
        timeout(PATIENCE, async {
            self.socket.write_all(request.as_bytes()).await?;
            let mut left = bytes;
            while left > 0 {
                let piece = left.min(self.buffer.len());
                let piece = self.buffer.get(..piece).context("no buffer")?;
                self.socket.write_all(piece).await?;
                left -= piece.len();
            }
            self.answer().await.map(|_| ())
        })
        .await?
    }

    async fn answer(&mut self) -> anyhow::Result<usize> {
        let mut head = Vec::new();
        let whole = loop {
            let read = self.socket.read(&mut self.buffer).await?;
            ensure!(read > 0, "the connection ended before an answer");
            head.extend_from_slice(self.buffer.get(..read).context("no buffer")?);
            if let Some(whole) = message_bytes(&head) {
                break whole;
            }
            ensure!(head.len() < MAX_HEAD_BYTES + BUFFER_BYTES, "no answer");
        };
        ensure!(head.starts_with(b"HTTP/1.1 200"), "the answer is no 200");
        let body = whole - body_at(&head).context("no head")?;
        let mut got = head.len();
        while got < whole {
            let read = self.socket.read(&mut self.buffer).await?;
            ensure!(read > 0, "cut short");
            got += read;
        }
        ensure!(got == whole, "more than was asked for");
        Ok(body)
    }
}
