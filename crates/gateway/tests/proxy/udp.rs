//! Datagrams by SOCKS5: whose they are, how far they get, when it ends.

use std::net::{Ipv4Addr, SocketAddr};

use gateway::{Config, MAX_DATAGRAM_BYTES};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpStream, UdpSocket};

use crate::scene::{Scene, config, in_time, loopback, read, reply};

/// An associated client: its connection, where its datagrams go, and a server that gives each back.
struct Associated {
    control: TcpStream,
    relay: SocketAddr,
    echo: SocketAddr,
}

async fn associate(scene: &Scene, port: u16) -> Associated {
    let server = UdpSocket::bind(loopback()).await.unwrap();
    let echo = server.local_addr().unwrap();
    tokio::spawn(async move {
        let mut room = vec![0; MAX_DATAGRAM_BYTES];
        while let Ok((len, from)) = server.recv_from(&mut room).await {
            let _gone = server.send_to(&room[..len], from).await;
        }
    });
    let mut control = scene.greeted().await;
    let mut request = vec![5, 3, 0, 1, 0, 0, 0, 0];
    request.extend_from_slice(&port.to_be_bytes());
    control.write_all(&request).await.unwrap();
    let bytes = read(&mut control, 10).await;
    assert_eq!(bytes[..4], [5, 0, 0, 1]);
    let address = <[u8; 4]>::try_from(&bytes[4..8]).unwrap();
    let relay = SocketAddr::from((
        Ipv4Addr::from(address),
        u16::from_be_bytes([bytes[8], bytes[9]]),
    ));
    Associated {
        control,
        relay,
        echo,
    }
}

fn datagram(to: SocketAddr, payload: &[u8]) -> Vec<u8> {
    let SocketAddr::V4(to) = to else {
        panic!("{to} is none of ours")
    };
    let mut bytes = vec![0, 0, 0, 1];
    bytes.extend_from_slice(&to.ip().octets());
    bytes.extend_from_slice(&to.port().to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

async fn receive(socket: &UdpSocket) -> Vec<u8> {
    let mut room = vec![0; MAX_DATAGRAM_BYTES];
    let (len, _) = in_time("a datagram", socket.recv_from(&mut room))
        .await
        .unwrap();
    room.truncate(len);
    room
}

#[tokio::test]
async fn datagram_goes_out_and_its_answer_comes_back_with_its_source() {
    let scene = Scene::start().await;
    let associated = associate(&scene, 0).await;
    let client = UdpSocket::bind(loopback()).await.unwrap();
    for payload in [&b"ping"[..], b"", &[9; 60_000]] {
        client
            .send_to(&datagram(associated.echo, payload), associated.relay)
            .await
            .unwrap();
        assert!(receive(&client).await == datagram(associated.echo, payload));
    }
    let read = scene.counters.read();
    assert_eq!((read.total.open, read.total.up_bytes), (1, 60_004));
}

#[tokio::test]
async fn datagram_of_somebody_else_is_ignored() {
    let scene = Scene::start().await;
    let client = UdpSocket::bind(loopback()).await.unwrap();
    let announced = client.local_addr().unwrap().port();
    for port in [announced, 0] {
        let associated = associate(&scene, port).await;
        let foreign = UdpSocket::bind((Ipv4Addr::new(127, 0, 0, 2), 0))
            .await
            .unwrap();
        foreign
            .send_to(&datagram(associated.echo, b"foreign"), associated.relay)
            .await
            .unwrap();
        client
            .send_to(&datagram(associated.echo, b"mine"), associated.relay)
            .await
            .unwrap();
        assert_eq!(receive(&client).await, datagram(associated.echo, b"mine"));
        let neighbour = UdpSocket::bind(loopback()).await.unwrap();
        neighbour
            .send_to(&datagram(associated.echo, b"neighbour"), associated.relay)
            .await
            .unwrap();
        client
            .send_to(&datagram(associated.echo, b"again"), associated.relay)
            .await
            .unwrap();
        assert_eq!(receive(&client).await, datagram(associated.echo, b"again"));
        assert!(neighbour.try_recv(&mut [0; 64]).is_err());
        assert!(foreign.try_recv(&mut [0; 64]).is_err());
    }
    assert_eq!(scene.counters.read().total.up_bytes, 2 * 9);
}

#[tokio::test]
async fn datagram_that_is_none_is_dropped_and_the_next_one_passes() {
    let scene = Scene::start().await;
    let associated = associate(&scene, 0).await;
    let client = UdpSocket::bind(loopback()).await.unwrap();
    let mut part = datagram(associated.echo, b"part");
    part[2] = 1;
    let portless = datagram(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), b"portless");
    for bytes in [
        &part[..],
        &portless,
        b"",
        b"\0\0\0",
        b"\0\0\0\x03\xffshort",
        &[0xff; 600],
    ] {
        client.send_to(bytes, associated.relay).await.unwrap();
    }
    client
        .send_to(&datagram(associated.echo, b"whole"), associated.relay)
        .await
        .unwrap();
    assert_eq!(receive(&client).await, datagram(associated.echo, b"whole"));
    assert_eq!(scene.counters.read().total.up_bytes, 5);
}

#[tokio::test]
async fn association_ends_with_its_connection() {
    let scene = Scene::start().await;
    let mut associated = associate(&scene, 0).await;
    associated.control.write_all(&[0; 1000]).await.unwrap();
    let client = UdpSocket::bind(loopback()).await.unwrap();
    client
        .send_to(&datagram(associated.echo, b"one"), associated.relay)
        .await
        .unwrap();
    receive(&client).await;
    drop(associated.control);
    scene
        .until("the end", |scene| scene.counters.read().total.open == 0)
        .await;
    // Its port is free again.
    UdpSocket::bind(associated.relay).await.unwrap();
}

#[tokio::test]
async fn association_beyond_the_last_place_is_refused() {
    let scene = Scene::start_with(Config {
        max_associations: 1,
        ..config()
    })
    .await;
    let _first = associate(&scene, 0).await;
    let mut second = scene.greeted().await;
    second
        .write_all(&[5, 3, 0, 1, 0, 0, 0, 0, 0, 0])
        .await
        .unwrap();
    assert_eq!(reply(&mut second).await, 1);
}

#[tokio::test]
async fn datagram_to_a_bypassed_target_goes_directly() {
    let bypass = "127.0.0.0/8".parse().unwrap();
    let scene = Scene::start_with(Config { bypass, ..config() }).await;
    let associated = associate(&scene, 0).await;
    let client = UdpSocket::bind(loopback()).await.unwrap();
    client
        .send_to(&datagram(associated.echo, b"home"), associated.relay)
        .await
        .unwrap();
    assert_eq!(receive(&client).await, datagram(associated.echo, b"home"));
    let read = scene.counters.read();
    assert_eq!(
        (
            read.direct.up_bytes,
            read.bridges.values().next().unwrap().up_bytes
        ),
        (4, 0)
    );
}
