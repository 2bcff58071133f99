//! A node that answers every packet at once and does nothing with it: the cheapest far end a link can have.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context as _, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::BytesMut;
use node::NodeKeys;
use packet::SizeClass;
use protocol::frame::{Header, Kind};
use protocol::link::Handshake;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

const READ_BYTES: usize = 64 * 1024;
/// As long as the sealed answer of a relay.
const ANSWER: [u8; 3_072] = [3; 3_072];
/// What the key of an upgrade is joined with (RFC 6455, 1.3).
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Listens as that node; counts packets in `received`.
pub(super) async fn start(
    at: SocketAddr,
    keys: NodeKeys,
    received: Arc<AtomicU64>,
) -> anyhow::Result<()> {
    let listener = TcpListener::bind(at).await?;
    let keys = Arc::new(keys);
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let (keys, received) = (Arc::clone(&keys), Arc::clone(&received));
            tokio::spawn(async move {
                // The link ends with its dialer.
                let _ended = serve(socket, &keys, &received).await;
            });
        }
    });
    Ok(())
}

async fn serve(mut socket: TcpStream, keys: &NodeKeys, received: &AtomicU64) -> anyhow::Result<()> {
    socket.set_nodelay(true)?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        ensure!(socket.read_buf(&mut head).await? > 0, "closed");
    }
    let head = String::from_utf8(head)?;
    let key = head
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("sec-websocket-key"))
        .context("no upgrade")?
        .1
        .trim();
    let accept = ring::digest::digest(
        &ring::digest::SHA1_FOR_LEGACY_USE_ONLY,
        format!("{key}{GUID}").as_bytes(),
    );
    let granted = format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: {}\r\n\r\n",
        STANDARD.encode(accept)
    );
    socket.write_all(granted.as_bytes()).await?;
    let mut message = vec![0; usize::from(socket.read_u16().await?)];
    socket.read_exact(&mut message).await?;
    let (_, answer, mut sealer, mut opener) =
        Handshake::accept(keys.wallet.address(), &keys.transport_secret(), 0, &message)?;
    socket.write_u16(u16::try_from(answer.len())?).await?;
    socket.write_all(&answer).await?;

    let (mut wire, mut out) = (BytesMut::new(), Vec::new());
    loop {
        opener.feed(&mut wire)?;
        while let Some(frame) = opener.next_frame()? {
            match frame.header.kind {
                Kind::Packet => {
                    received.fetch_add(1, Ordering::Relaxed);
                    let header = Header::answer(frame.header.request, SizeClass::K4, 0);
                    ensure!(sealer.push(header, &ANSWER), "the answer fits no class");
                }
                Kind::Ping => {
                    let pong = Header::control(Kind::Pong, frame.header.request);
                    ensure!(sealer.push(pong, &[]), "a pong fits no class");
                }
                _ => {}
            }
        }
        if sealer.pending_bytes() > 0 {
            out.clear();
            sealer.flush(&mut out);
            socket.write_all(&out).await?;
        }
        wire.reserve(READ_BYTES);
        if socket.read_buf(&mut wire).await? == 0 {
            return Ok(());
        }
    }
}
