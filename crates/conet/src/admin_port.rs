//! Asking a node's admin port.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// How long an answer may take.
const TIMEOUT: Duration = Duration::from_secs(3);
/// The longest answer that is read, bytes.
const MAX_ANSWER_BYTES: u64 = 64 * 1024;

/// What a node's admin port says of it; `None` where nothing answers as a node does.
pub(crate) async fn status(admin: SocketAddr) -> Option<serde_json::Value> {
    let asked = async {
        let mut stream = TcpStream::connect(admin).await.ok()?;
        let request = format!("GET /status HTTP/1.0\r\nHost: {admin}\r\n\r\n");
        stream.write_all(request.as_bytes()).await.ok()?;
        let mut answer = Vec::new();
        stream
            .take(MAX_ANSWER_BYTES)
            .read_to_end(&mut answer)
            .await
            .ok()?;
        let text = String::from_utf8(answer).ok()?;
        let (head, body) = text.split_once("\r\n\r\n")?;
        let ok = head.split_ascii_whitespace().nth(1) == Some("200");
        if ok {
            serde_json::from_str(body).ok()
        } else {
            None
        }
    };
    tokio::time::timeout(TIMEOUT, asked).await.ok().flatten()
}
