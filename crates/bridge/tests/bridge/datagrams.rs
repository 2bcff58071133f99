//! Datagrams over loopback.

use core::time::Duration;

use bridge::policy::Denial;
use bridge::{
    AssociateError, Association, Bridge, Busy, Config, Limits, MAX_DATAGRAM_BYTES, Quota,
    ReceiveError, SendError, Timeouts,
};
use protocol::target::Target;
use tokio::net::UdpSocket;

use super::name_server::{Entry, NameServer, addresses};

/// How long a test waits for what should not come.
const A_WHILE: Duration = Duration::from_millis(100);

struct Fixture {
    bridge: Bridge,
    echo: UdpSocket,
    port: u16,
    _names: NameServer,
}

async fn fixture(change: impl FnOnce(&mut Config)) -> Fixture {
    let echo = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let port = echo.local_addr().unwrap().port();
    let names = NameServer::start(&[
        ("echo.example", addresses(&["10.0.0.1", "127.0.0.1"])),
        ("evil.example", addresses(&["10.0.0.1"])),
        ("silent.example", Entry::Silent),
    ])
    .await;
    let mut config = Config {
        allow: vec![format!("127.0.0.1:{port}").parse().unwrap()],
        name_servers: names.servers(),
        ..Config::default()
    };
    change(&mut config);
    let bridge = Bridge::new(config).unwrap();
    Fixture {
        bridge,
        echo,
        port,
        _names: names,
    }
}

impl Fixture {
    fn target(&self, host: &str) -> Target {
        format!("{host}:{}", self.port).parse().unwrap()
    }

    /// Sends a datagram to the echo and lets it come back.
    async fn round_trip(
        &self,
        association: &Association,
        to: &Target,
        bytes: &[u8],
    ) -> (Target, Vec<u8>) {
        association.send(to, bytes).await.unwrap();
        let mut buffer = vec![0; MAX_DATAGRAM_BYTES];
        let (length, from) = self.echo.recv_from(&mut buffer).await.unwrap();
        self.echo.send_to(&buffer[..length], from).await.unwrap();
        let (source, length) = association.receive(&mut buffer).await.unwrap();
        buffer.truncate(length);
        (source, buffer)
    }
}

#[tokio::test]
async fn datagrams_come_back_from_addresses_and_names() {
    let fixture = fixture(|_| {}).await;
    let association = fixture.bridge.associate(1).await.unwrap();
    let address = fixture.target("127.0.0.1");
    for (to, bytes) in [
        (address.clone(), &b"first"[..]),
        (fixture.target("echo.example"), b"second"),
        (fixture.target("[::ffff:127.0.0.1]"), b""),
        (address.clone(), &[7; MAX_DATAGRAM_BYTES]),
    ] {
        let (source, echoed) = fixture.round_trip(&association, &to, bytes).await;
        assert_eq!(source, address);
        assert!(echoed == bytes);
    }
}

#[tokio::test]
async fn datagrams_are_judged_like_connections() {
    let fixture = fixture(|_| {}).await;
    let association = fixture.bridge.associate(1).await.unwrap();
    for (text, denial) in [
        ("127.0.0.2:53", Denial::Address),
        ("224.0.0.251:5353", Denial::Address),
        ("255.255.255.255:67", Denial::Address),
        ("169.254.169.254:53", Denial::Address),
        ("evil.example:53", Denial::Address),
        ("printer.local:53", Denial::Name),
        ("8.8.8.8:25", Denial::Rule),
    ] {
        let sent = association.send(&text.parse().unwrap(), b"x").await;
        assert_eq!(sent, Err(SendError::Denied(denial)), "{text}");
    }
    let too_large = association
        .send(&fixture.target("127.0.0.1"), &[0; MAX_DATAGRAM_BYTES + 1])
        .await;
    assert_eq!(too_large, Err(SendError::TooLarge));
}

#[tokio::test]
async fn datagram_of_somebody_who_was_not_sent_to_is_dropped() {
    let fixture = fixture(|_| {}).await;
    let association = fixture.bridge.associate(1).await.unwrap();
    association
        .send(&fixture.target("127.0.0.1"), b"x")
        .await
        .unwrap();
    let mut buffer = [0; 16];
    let (_, from) = fixture.echo.recv_from(&mut buffer).await.unwrap();
    let stranger = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    stranger.send_to(b"forged", from).await.unwrap();
    let nothing = tokio::time::timeout(A_WHILE, association.receive(&mut buffer)).await;
    assert!(nothing.is_err());
    fixture.echo.send_to(b"true", from).await.unwrap();
    let (_, length) = association.receive(&mut buffer).await.unwrap();
    assert_eq!(&buffer[..length], b"true");
}

#[tokio::test]
async fn idle_association_ends() {
    let timeouts = Timeouts {
        datagram_idle: A_WHILE,
        ..Timeouts::default()
    };
    let fixture = fixture(|config| config.timeouts = timeouts).await;
    let association = fixture.bridge.associate(1).await.unwrap();
    association
        .send(&fixture.target("127.0.0.1"), b"x")
        .await
        .unwrap();
    assert_eq!(
        association.receive(&mut [0; 16]).await,
        Err(ReceiveError::Idle)
    );
}

#[tokio::test]
async fn closed_port_of_a_peer_does_not_end_the_association() {
    let closed = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let allowed = closed.local_addr().unwrap().to_string();
    let fixture = fixture(|config| config.allow.push(allowed.parse().unwrap())).await;
    drop(closed);
    let association = fixture.bridge.associate(1).await.unwrap();
    for _ in 0..3 {
        association
            .send(&allowed.parse().unwrap(), b"x")
            .await
            .unwrap();
    }
    let to = fixture.target("127.0.0.1");
    let (_, echoed) = fixture.round_trip(&association, &to, b"still there").await;
    assert_eq!(echoed, b"still there");
}

#[tokio::test]
async fn new_peers_cost_of_the_rate_and_known_ones_do_not() {
    let client = Quota {
        burst: 3,
        per_second: 1,
        ..Limits::default().client
    };
    let limits = Limits {
        client,
        ..Limits::default()
    };
    let fixture = fixture(|config| config.limits = limits).await;
    // One for the association, one for the peer.
    let association = fixture.bridge.associate(1).await.unwrap();
    let to = fixture.target("127.0.0.1");
    for _ in 0..10 {
        fixture.round_trip(&association, &to, b"x").await;
    }
    let mut refused = Ok(());
    for number in 1..=20 {
        let another: Target = format!("127.0.1.{number}:53").parse().unwrap();
        refused = association.send(&another, b"x").await;
    }
    assert_eq!(refused, Err(SendError::Busy(Busy::ClientRate)));
}

#[tokio::test]
async fn association_counts_as_a_connection() {
    let client = Quota {
        connections: 1,
        ..Limits::default().client
    };
    let limits = Limits {
        client,
        ..Limits::default()
    };
    let fixture = fixture(|config| config.limits = limits).await;
    let held = fixture.bridge.associate(1).await.unwrap();
    let second = fixture.bridge.associate(1).await.unwrap_err();
    assert_eq!(second, AssociateError::Busy(Busy::ClientConnections));
    drop(held);
    assert!(fixture.bridge.associate(1).await.is_ok());
}

#[tokio::test]
async fn names_that_do_not_resolve_are_few_at_a_time() {
    let fixture = fixture(|_| {}).await;
    let association = fixture.bridge.associate(1).await.unwrap();
    let silent: Target = "silent.example:53".parse().unwrap();
    let sends = (0..20).map(|_| association.send(&silent, b"x"));
    let mut sends: Vec<_> = sends.map(Box::pin).collect();
    let mut refused = 0;
    for send in &mut sends {
        let outcome = tokio::time::timeout(Duration::ZERO, send).await;
        refused += usize::from(outcome == Ok(Err(SendError::Busy(Busy::LookUps))));
    }
    assert_eq!(refused, 20 - bridge::MAX_LOOK_UPS);
    let to = fixture.target("127.0.0.1");
    let known = association.send(&to, b"x").await;
    assert_eq!(
        known,
        Err(SendError::Busy(Busy::LookUps)),
        "a new peer waits"
    );
}
