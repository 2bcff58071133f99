//! What becomes a pipe: CONNECT, and upgrades in absolute form.

use gateway::Config;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::http::{accept, ask, head};
use crate::scene::{Scene, config, read, read_all};

#[tokio::test]
async fn upgrade_in_absolute_form_becomes_a_pipe() {
    let scene = Scene::start().await;
    let listener = scene.server("site.example").await;
    for scheme in ["http", "ws"] {
        let mut client = TcpStream::connect(scene.http).await.unwrap();
        let request = format!(
            "GET {scheme}://site.example/chat HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Key: abc\r\n\r\n"
        );
        client.write_all(request.as_bytes()).await.unwrap();
        let mut origin = accept(&listener).await;
        let arrived = head(&mut origin).await.to_lowercase();
        assert!(
            arrived.contains("upgrade: websocket\r\n")
                && arrived.contains("connection: upgrade\r\n"),
            "{arrived}"
        );
        assert!(arrived.contains("sec-websocket-key: abc\r\n"));
        let answer = b"HTTP/1.1 101 Go\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhello";
        origin.write_all(answer).await.unwrap();
        let answered = head(&mut client).await.to_lowercase();
        assert!(
            answered.starts_with("http/1.1 101 ") && answered.contains("upgrade: websocket\r\n"),
            "{answered}"
        );
        assert_eq!(read(&mut client, 5).await, b"hello");
        client.write_all(b"frame").await.unwrap();
        assert_eq!(read(&mut origin, 5).await, b"frame");
        client.shutdown().await.unwrap();
        assert!(read_all(&mut origin).await.unwrap().is_empty());
        origin.write_all(b"last").await.unwrap();
        drop(origin);
        assert_eq!(read_all(&mut client).await.unwrap(), b"last");
    }
}

#[tokio::test]
async fn upgrade_that_nobody_asked_for_is_an_error_of_the_origin() {
    let scene = Scene::start().await;
    let listener = scene.server("site.example").await;
    tokio::spawn(async move {
        let mut origin = accept(&listener).await;
        head(&mut origin).await;
        let answer = b"HTTP/1.1 101 Go\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n";
        origin.write_all(answer).await.unwrap();
        read_all(&mut origin).await.unwrap_or_default();
    });
    let answer = ask(
        &scene,
        "GET http://site.example/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    )
    .await;
    assert!(answer.starts_with("HTTP/1.1 502 "), "{answer}");
}

#[tokio::test]
async fn tunnel_carries_what_came_right_behind_its_request() {
    let scene = Scene::start().await;
    let listener = scene.server("site.example").await;
    let mut client = TcpStream::connect(scene.http).await.unwrap();
    let request = b"CONNECT site.example:443 HTTP/1.1\r\nHost: site.example:443\r\n\r\nhello";
    client.write_all(request).await.unwrap();
    let mut origin = accept(&listener).await;
    assert!(head(&mut client).await.starts_with("HTTP/1.1 200 "));
    assert_eq!(read(&mut origin, 5).await, b"hello");
    origin.write_all(b"answer").await.unwrap();
    origin.shutdown().await.unwrap();
    assert_eq!(read_all(&mut client).await.unwrap(), b"answer");
    client.write_all(b"more").await.unwrap();
    assert_eq!(read(&mut origin, 4).await, b"more");
    client.set_zero_linger().unwrap();
    drop(client);
    read_all(&mut origin).await.unwrap_err();
    assert_eq!(
        scene.script.asks.lock()[0].target.to_string(),
        "site.example:443"
    );
}

#[tokio::test]
async fn tunnel_keeps_its_place_and_who_finds_none_is_told() {
    let scene = Scene::start_with(Config {
        max_clients: 1,
        ..config()
    })
    .await;
    let listener = scene.server("site.example").await;
    let mut client = TcpStream::connect(scene.http).await.unwrap();
    client
        .write_all(b"CONNECT site.example:443 HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .unwrap();
    let _origin = accept(&listener).await;
    head(&mut client).await;
    let mut second = TcpStream::connect(scene.http).await.unwrap();
    assert!(head(&mut second).await.starts_with("HTTP/1.1 503 "));
}
