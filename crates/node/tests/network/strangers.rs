//! What meets whoever is no client and no node, or repeats what one sent.

use std::net::SocketAddr;

use packet::SizeClass;
use protocol::frame::{self, Header};
use protocol::link::Handshake;
use protocol::session::ClientHandshake;
use rand::rngs::OsRng;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::world::World;

/// One request over a connection of its own; the response's head as text and its body.
pub(crate) async fn post(to: SocketAddr, path: &str, body: &[u8]) -> (String, Vec<u8>) {
    let mut socket = TcpStream::connect(to).await.unwrap();
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: {to}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    socket.write_all(head.as_bytes()).await.unwrap();
    socket.write_all(body).await.unwrap();
    let mut response = Vec::new();
    socket.read_to_end(&mut response).await.unwrap();
    let end = response.windows(4).position(|w| w == b"\r\n\r\n").unwrap() + 4;
    (
        String::from_utf8_lossy(&response[..end]).into_owned(),
        response[end..].to_vec(),
    )
}

pub(crate) async fn post_plain(to: SocketAddr, message: &[u8]) -> String {
    let (head, body) = post(to, "/intake", message).await;
    head + &String::from_utf8_lossy(&body)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn repeated_altered_or_invented_exchange_meets_the_site() {
    let world = World::new(1).await;
    let node = &world.nodes[0];
    let (handshake, body) =
        ClientHandshake::start(&node.address, &node.transport_key, 0, &mut OsRng).unwrap();
    let (head, response) = post(node.socket, "/a", &body).await;
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    let mut session = handshake.finish(&response, 0).unwrap();

    let mut frame = Vec::new();
    assert!(frame::append(
        &mut frame,
        Header::packet(SizeClass::K4, 0),
        b"no packet at all"
    ));
    let (exchange, sealed) = session.seal(&frame).unwrap();
    let (head, mut answer) = post(node.socket, "/b", &sealed).await;
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    let (header, _) = frame::split(session.open(exchange, 0, &mut answer).unwrap()).unwrap();
    assert_eq!(header.kind, frame::Kind::Answer);

    let (stranger, page) = post(node.socket, "/c", b"who are you?").await;
    let date = |head: &str| {
        head.lines()
            .filter(|l| !l.to_lowercase().starts_with("date"))
            .collect::<Vec<_>>()
            .join("\n")
    };
    let mut altered = session.seal(&frame).unwrap().1;
    altered[40] ^= 1;
    for body in [sealed, altered, vec![7; 5_000], Vec::new()] {
        let (head, body) = post(node.socket, "/d", &body).await;
        assert_eq!(
            (date(&head), body),
            (date(&stranger), page.clone()),
            "told apart from a stranger"
        );
    }
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn link_of_a_node_that_is_not_on_the_ledger_is_closed_unanswered() {
    let world = World::new(2).await;
    let node = &world.nodes[0];
    let impostor = [9; 32];
    for me in [
        wallet::WalletAddress::from_bytes([5; 20]),
        world.nodes[1].address,
    ] {
        let mut socket = TcpStream::connect(node.socket).await.unwrap();
        let upgrade = format!(
            "GET /x HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
            node.socket
        );
        socket.write_all(upgrade.as_bytes()).await.unwrap();
        let mut head = vec![0; 1024];
        let n = socket.read(&mut head).await.unwrap();
        assert!(head[..n].starts_with(b"HTTP/1.1 101"));
        let (_, message) =
            Handshake::dial(me, &impostor, &node.address, &node.transport_key, 0).unwrap();
        socket.write_u16(message.len() as u16).await.unwrap();
        socket.write_all(&message).await.unwrap();
        let mut rest = Vec::new();
        assert_eq!(
            socket.read_to_end(&mut rest).await.unwrap_or(0),
            0,
            "it was answered"
        );
    }
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plain_intake_says_what_is_wrong() {
    let world = World::new(1).await;
    let node = world.nodes[0].socket;
    assert!(post_plain(node, b"").await.starts_with("HTTP/1.1 400"));
    assert!(post_plain(node, b"hello").await.starts_with("HTTP/1.1 400"));
    assert!(
        post_plain(
            node,
            b"-----BEGIN PGP MESSAGE-----\n\n!!!!\n-----END PGP MESSAGE-----\n"
        )
        .await
        .starts_with("HTTP/1.1 400")
    );
    let (head, _) = post(node, "/intake", &vec![0xc1; 1_048_500]).await;
    assert!(head.starts_with("HTTP/1.1 413"), "{head}");
    world.stop().await;
}
