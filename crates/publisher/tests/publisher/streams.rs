//! What is not requests and answers: WebSockets, and TCP as it comes.

use publisher::{TcpError, serve_tcp};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::scene::{Scene, field, get, head, in_time, read, read_all, wallet};

#[tokio::test]
async fn websocket_is_opened_by_a_signed_request_and_carries_bytes_both_ways() {
    let scene = Scene::start().await;
    let mut caller = scene.caller();
    let request = get(
        "/socket",
        "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n",
    );
    let request = request.replace("Connection: close", "Connection: Upgrade");
    // Bytes that come right behind the head belong to what is spoken next.
    caller
        .write_all(format!("{request}early").as_bytes())
        .await
        .unwrap();
    let mut server = scene.server().await;
    let arrived = head(&mut server).await;
    assert_eq!(field(&arrived, "upgrade"), Some("websocket"));
    assert_eq!(field(&arrived, "connection"), Some("Upgrade"));
    let told = wallet(1).address().to_string();
    assert_eq!(field(&arrived, "conet-wallet"), Some(told.as_str()));
    let granted = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nX-Kept: 1\r\n\r\nfirst";
    server.write_all(granted.as_bytes()).await.unwrap();
    let answered = head(&mut caller).await;
    assert!(answered.starts_with("HTTP/1.1 101 "), "{answered}");
    assert_eq!(field(&answered, "upgrade"), Some("websocket"));
    assert_eq!(field(&answered, "x-kept"), Some("1"));
    assert_eq!(read(&mut caller, 5).await, b"first");
    assert_eq!(read(&mut server, 5).await, b"early");
    caller.write_all(b"ping").await.unwrap();
    assert_eq!(read(&mut server, 4).await, b"ping");
    caller.shutdown().await.unwrap();
    assert_eq!(read_all(&mut server).await, b"");
    server.write_all(b"pong").await.unwrap();
    drop(server);
    assert_eq!(read_all(&mut caller).await, b"pong");
}

#[tokio::test]
async fn server_that_does_not_change_the_protocol_answers_as_ever() {
    let scene = Scene::start().await;
    let mut caller = scene.caller();
    let request = get("/socket", "Upgrade: websocket\r\n")
        .replace("Connection: close", "Connection: Upgrade");
    caller.write_all(request.as_bytes()).await.unwrap();
    let mut server = scene.server().await;
    head(&mut server).await;
    server
        .write_all(b"HTTP/1.1 426 No\r\nContent-Length: 2\r\n\r\nno")
        .await
        .unwrap();
    assert!(head(&mut caller).await.starts_with("HTTP/1.1 426 "));
    assert_eq!(read(&mut caller, 2).await, b"no");
}

async fn tcp() -> (
    tokio::io::DuplexStream,
    TcpStream,
    tokio::task::JoinHandle<Result<(), TcpError>>,
) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = listener.local_addr().unwrap().to_string();
    let (caller, far) = tokio::io::duplex(1024);
    let serving = tokio::spawn(async move { serve_tcp(far, &target).await });
    let server = in_time("a connection", listener.accept()).await.unwrap().0;
    (caller, server, serving)
}

#[tokio::test]
async fn tcp_ends_each_direction_by_itself() {
    let (mut caller, mut server, serving) = tcp().await;
    caller.write_all(b"question").await.unwrap();
    caller.shutdown().await.unwrap();
    assert_eq!(read_all(&mut server).await, b"question");
    server.write_all(b"answer").await.unwrap();
    server.shutdown().await.unwrap();
    assert_eq!(read_all(&mut caller).await, b"answer");
    in_time("the end", serving).await.unwrap().unwrap();
}

/// A caller whose stream fails instead of ending.
struct Failing(tokio::sync::oneshot::Receiver<()>);

impl tokio::io::AsyncRead for Failing {
    fn poll_read(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
        _: &mut tokio::io::ReadBuf<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        let failed = std::pin::Pin::new(&mut self.0).poll(cx);
        failed.map(|_| Err(std::io::ErrorKind::ConnectionReset.into()))
    }
}

impl tokio::io::AsyncWrite for Failing {
    fn poll_write(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
        bytes: &[u8],
    ) -> std::task::Poll<std::io::Result<usize>> {
        std::task::Poll::Ready(Ok(bytes.len()))
    }
    fn poll_flush(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        std::task::Poll::Ready(Ok(()))
    }
    fn poll_shutdown(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        std::task::Poll::Ready(Ok(()))
    }
}

#[tokio::test]
async fn tcp_stream_that_breaks_off_is_no_end_to_the_server() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = listener.local_addr().unwrap().to_string();
    let (fail, failed) = tokio::sync::oneshot::channel();
    let serving = tokio::spawn(async move { serve_tcp(Failing(failed), &target).await });
    let mut server = in_time("a connection", listener.accept()).await.unwrap().0;
    fail.send(()).unwrap();
    let read = in_time("an error", server.read_u8()).await.unwrap_err();
    assert_eq!(read.kind(), std::io::ErrorKind::ConnectionReset);
    assert!(matches!(serving.await.unwrap(), Err(TcpError::Broken(_))));
}

#[tokio::test]
async fn tcp_server_that_is_down_is_an_error() {
    let (_caller, far) = tokio::io::duplex(16);
    assert!(matches!(
        serve_tcp(far, "127.0.0.1:9").await,
        Err(TcpError::Connect(_))
    ));
}
