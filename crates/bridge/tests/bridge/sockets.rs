//! Real connections over loopback.

use std::net::UdpSocket;

use bridge::{Bridge, Config, ConnectError, Machine, Outside, Route};
use protocol::target::Target;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::name_server::{NameServer, addresses};

#[tokio::test]
async fn connection_carries_bytes_both_ways_at_once() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = NameServer::start(&[("site.example", addresses(&["127.0.0.1"]))]).await;
    let bridge = Bridge::new(Config {
        allow: vec![format!("127.0.0.1:{port}").parse().unwrap()],
        name_servers: server.servers(),
        ..Config::default()
    })
    .unwrap();
    let target: Target = format!("site.example:{port}").parse().unwrap();
    let mut connection = bridge.connect(1, &target).await.unwrap();
    assert!(connection.stream.nodelay().unwrap());
    let (mut peer, _) = listener.accept().await.unwrap();
    connection.stream.write_all(b"there").await.unwrap();
    peer.write_all(b"back").await.unwrap();
    let (mut there, mut back) = ([0; 5], [0; 4]);
    peer.read_exact(&mut there).await.unwrap();
    connection.stream.read_exact(&mut back).await.unwrap();
    assert_eq!((&there, &back), (b"there", b"back"));
}

#[tokio::test]
async fn closed_port_refuses_and_the_other_family_is_tried() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = NameServer::start(&[
        ("both.example", addresses(&["::1", "127.0.0.1"])),
        ("other.example", addresses(&["127.0.0.2"])),
    ])
    .await;
    let allow =
        ["127.0.0.1", "127.0.0.2", "[::1]"].map(|host| format!("{host}:{port}").parse().unwrap());
    let bridge = Bridge::new(Config {
        allow: allow.to_vec(),
        name_servers: server.servers(),
        ..Config::default()
    })
    .unwrap();
    let connection = bridge
        .connect(1, &format!("both.example:{port}").parse().unwrap())
        .await
        .unwrap();
    assert_eq!(
        connection.stream.peer_addr().unwrap(),
        listener.local_addr().unwrap()
    );
    let refused = bridge
        .connect(1, &format!("other.example:{port}").parse().unwrap())
        .await;
    assert_eq!(refused.unwrap_err(), ConnectError::Refused);
}

#[test]
fn machine_knows_its_own_addresses() {
    for address in ["127.0.0.1", "::ffff:127.0.0.1"] {
        assert_eq!(
            Machine.route(address.parse().unwrap()).unwrap(),
            Route::Own,
            "{address}"
        );
    }
    // The address towards the outside, where there is one. Nothing is sent.
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    if socket.connect("8.8.8.8:9").is_ok() {
        let own = socket.local_addr().unwrap().ip();
        assert_eq!(Machine.route(own).unwrap(), Route::Own);
        assert_eq!(
            Machine.route("8.8.8.8".parse().unwrap()).unwrap(),
            Route::Away
        );
    }
}
