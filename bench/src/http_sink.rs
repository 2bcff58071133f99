//! An HTTP server that answers every request of a connection as it did the first, and looks only at that one's
//! head: all are of one length.

use std::net::{Ipv4Addr, SocketAddr};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

const READ_BYTES: usize = 64 * 1024;

/// Where the body begins, once the head is whole.
pub(crate) fn body_at(message: &[u8]) -> Option<usize> {
    message
        .windows(4)
        .position(|w| w == b"\r\n\r\n")
        .map(|at| at + 4)
}

/// The length of the message that `bytes` begin with, once its head is there.
pub(crate) fn message_bytes(bytes: &[u8]) -> Option<usize> {
    let body = body_at(bytes)?;
    let head = String::from_utf8_lossy(bytes.get(..body)?).to_lowercase();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length:"))?;
    Some(body + length.trim().parse::<usize>().ok()?)
}

/// Starts it on a free port; it ends with the runtime.
pub(crate) async fn start(body_bytes: usize) -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let at = listener.local_addr()?;
    let mut response = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: {body_bytes}\r\n\r\n"
    )
    .into_bytes();
    response.resize(response.len() + body_bytes, 0);
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let response = response.clone();
            tokio::spawn(async move { serve(socket, &response).await });
        }
    });
    Ok(at)
}

async fn serve(mut socket: TcpStream, response: &[u8]) -> Option<()> {
    socket.set_nodelay(true).ok()?;
    let mut first = Vec::new();
    let length = loop {
        if socket.read_buf(&mut first).await.ok()? == 0 {
            return None;
        }
        if let Some(length) = message_bytes(&first) {
            break length;
        }
    };
    let mut got = first.len();
    let mut buffer = vec![0; READ_BYTES];
    loop {
        while got >= length {
            got -= length;
            socket.write_all(response).await.ok()?;
        }
        let read = socket.read(&mut buffer).await.ok()?;
        if read == 0 {
            return None;
        }
        got += read;
    }
}
