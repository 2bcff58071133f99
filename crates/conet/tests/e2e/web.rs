//! A web site beside the devnet, the proxies in front of it, and a client that speaks to them by hand.

use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::{Child, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::devnet::get;
use crate::person::Person;

/// How long the proxy may be silent.
const PATIENCE: Duration = Duration::from_secs(60);
/// What `/slow/` sends at once, and how long it rests after that: about 4 MB/s.
const SLOW_PIECE: usize = 64 * 1024;
const SLOW_REST: Duration = Duration::from_millis(16);

/// Starts a web site and a UDP echo on one port of this machine; they last as long as the process.
///
/// `GET /bytes/N` and `GET /slow/N` give N bytes, `POST` gives the SHA-256 of its body, `Upgrade: echo` an echo
/// of all that follows, anything else `hello`.
pub(crate) fn start_site() -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let port = listener.local_addr()?.port();
    let echo = UdpSocket::bind((Ipv4Addr::LOCALHOST, port))?;
    std::thread::spawn(move || {
        let mut buffer = vec![0; 65_535];
        while let Ok((length, from)) = echo.recv_from(&mut buffer) {
            let _lost = echo.send_to(&buffer[..length], from);
        }
    });
    std::thread::spawn(move || {
        for socket in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let _ended = serve(socket);
            });
        }
    });
    Ok(port)
}

/// The byte of a download at that place.
fn byte_at(place: usize) -> u8 {
    (place ^ (place >> 8).wrapping_mul(31) ^ (place >> 16)) as u8
}

/// The SHA-256 of a download.
pub(crate) fn sha256_of(bytes: usize) -> String {
    let content: Vec<u8> = (0..bytes).map(byte_at).collect();
    hex::encode(Sha256::digest(content))
}

fn serve(mut socket: TcpStream) -> Result<()> {
    let mut reader = BufReader::new(socket.try_clone()?);
    let mut request = String::new();
    reader.read_line(&mut request)?;
    let mut length = 0;
    let mut upgrades = false;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 || line == "\r\n" {
            break;
        }
        upgrades |= line.to_lowercase().starts_with("upgrade: echo");
        if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse()?;
        }
    }
    if upgrades {
        socket.write_all(
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n",
        )?;
        std::io::copy(&mut reader, &mut socket)?;
        return Ok(());
    }
    let mut words = request.split(' ');
    let (method, path) = (
        words.next().unwrap_or_default(),
        words.next().unwrap_or("/"),
    );
    let (body, rest) = match (method, path.rsplit_once('/')) {
        ("POST", _) => {
            let mut hash = Sha256::new();
            let mut left: usize = length;
            let mut buffer = vec![0; 65_536];
            while left > 0 {
                let most = left.min(buffer.len());
                let read = reader.read(&mut buffer[..most])?;
                ensure!(read > 0, "the upload was cut");
                hash.update(&buffer[..read]);
                left -= read;
            }
            (hex::encode(hash.finalize()).into_bytes(), None)
        }
        (_, Some(("/bytes", count))) => ((0..count.parse()?).map(byte_at).collect(), None),
        (_, Some(("/slow", count))) => {
            ((0..count.parse()?).map(byte_at).collect(), Some(SLOW_REST))
        }
        _ => (b"hello".to_vec(), None),
    };
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    socket.write_all(head.as_bytes())?;
    for piece in body.chunks(if rest.is_some() {
        SLOW_PIECE
    } else {
        body.len().max(1)
    }) {
        socket.write_all(piece)?;
        if let Some(rest) = rest {
            std::thread::sleep(rest);
        }
    }
    Ok(())
}

/// A running `conet proxy`.
pub(crate) struct Proxy {
    process: Child,
    pub(crate) socks: SocketAddr,
    pub(crate) http: SocketAddr,
}

impl Proxy {
    pub(crate) fn start(person: &Person, more: &[&str]) -> Result<Self> {
        let mut arguments = vec![
            "proxy",
            "--socks",
            "127.0.0.1:0",
            "--http",
            "127.0.0.1:0",
            "--json",
        ];
        arguments.extend_from_slice(more);
        let mut process = person.command(&arguments).stdout(Stdio::piped()).spawn()?;
        let stdout = process.stdout.take().context("no stdout")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        let said: Value = serde_json::from_str(&line).context("the proxy did not start")?;
        let address = |name: &str| -> Result<SocketAddr> {
            Ok(said[name].as_str().context("no address")?.parse()?)
        };
        let (socks, http) = (address("socks")?, address("http")?);
        Ok(Self {
            process,
            socks,
            http,
        })
    }

    /// What the status page's data say.
    pub(crate) fn status(&self) -> Result<Value> {
        let text = get(&self.http.to_string(), "/status.json")?;
        let body = text.rsplit("\r\n\r\n").next().unwrap_or(&text);
        serde_json::from_str(body).with_context(|| text.clone())
    }

    /// Connects through SOCKS5, or says which reply there was.
    pub(crate) fn connect(&self, to: SocketAddr) -> Result<std::result::Result<TcpStream, u8>> {
        let SocketAddr::V4(to) = to else {
            bail!("the test speaks IPv4")
        };
        let mut socket = self.greet()?;
        let mut request = vec![5, 1, 0, 1];
        request.extend_from_slice(&to.ip().octets());
        request.extend_from_slice(&to.port().to_be_bytes());
        socket.write_all(&request)?;
        let mut reply = [0; 10];
        socket.read_exact(&mut reply)?;
        Ok(match reply[1] {
            0 => Ok(socket),
            code => Err(code),
        })
    }

    /// Connects by a name through SOCKS5, or says which reply there was.
    pub(crate) fn connect_to(
        &self,
        host: &str,
        port: u16,
    ) -> Result<std::result::Result<TcpStream, u8>> {
        let mut socket = self.greet()?;
        let mut request = vec![5, 1, 0, 3, u8::try_from(host.len())?];
        request.extend_from_slice(host.as_bytes());
        request.extend_from_slice(&port.to_be_bytes());
        socket.write_all(&request)?;
        let mut reply = [0; 10];
        socket.read_exact(&mut reply)?;
        Ok(match reply[1] {
            0 => Ok(socket),
            code => Err(code),
        })
    }

    fn greet(&self) -> Result<TcpStream> {
        let mut socket = TcpStream::connect(self.socks)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.write_all(&[5, 1, 0])?;
        let mut chosen = [0; 2];
        socket.read_exact(&mut chosen)?;
        ensure!(chosen == [5, 0], "{chosen:?}");
        Ok(socket)
    }

    /// A place for datagrams: the connection that keeps it, a socket, and where to send.
    pub(crate) fn associate(&self) -> Result<(TcpStream, UdpSocket, SocketAddr)> {
        let mut control = self.greet()?;
        control.write_all(&[5, 3, 0, 1, 0, 0, 0, 0, 0, 0])?;
        let mut reply = [0; 10];
        control.read_exact(&mut reply)?;
        ensure!(reply[1] == 0, "reply {}", reply[1]);
        let port = u16::from_be_bytes([reply[8], reply[9]]);
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        socket.set_read_timeout(Some(Duration::from_secs(5)))?;
        Ok((control, socket, (Ipv4Addr::LOCALHOST, port).into()))
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _gone = self.process.kill();
        let _gone = self.process.wait();
    }
}

/// Sends a request and reads all that comes back: the status line, and the body.
pub(crate) fn ask(mut socket: TcpStream, head: &str, body: &[u8]) -> Result<(String, Vec<u8>)> {
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.write_all(head.as_bytes())?;
    let mut writer = socket.try_clone()?;
    let answer = std::thread::scope(|scope| {
        let writing = scope.spawn(move || writer.write_all(body));
        let mut answer = Vec::new();
        socket.read_to_end(&mut answer)?;
        writing.join().map_err(|_| anyhow::anyhow!("panicked"))??;
        Ok::<_, anyhow::Error>(answer)
    })?;
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n");
    let (head, body) = answer.split_at(end.context("no head")? + 4);
    let status = String::from_utf8_lossy(head)
        .lines()
        .next()
        .unwrap_or_default()
        .to_owned();
    Ok((status, body.to_vec()))
}
