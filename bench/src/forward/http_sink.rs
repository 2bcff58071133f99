//! An HTTP server that answers every request with the same body, and looks only at the first head.

use std::net::{Ipv4Addr, SocketAddr};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::http_load::message_bytes;

const READ_BYTES: usize = 64 * 1024;

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
