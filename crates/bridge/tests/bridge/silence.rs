//! No log of destinations, at any level.

use std::io;
use std::sync::{Arc, Mutex};

use bridge::{Bridge, Config, NameServers, Timeouts};
use tokio::net::{TcpListener, UdpSocket};
use tracing_subscriber::fmt::MakeWriter;

use super::name_server::{Entry, NameServer, addresses, alias};

/// Part of every name that must not be seen.
const MARK: &str = "where-to";

#[derive(Clone, Default)]
struct Captured(Arc<Mutex<Vec<u8>>>);

impl io::Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Captured {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

/// hickory writes each name that it is asked for at `debug`, and errors with names in them at `error`. A subscriber that
/// takes everything, for the whole process and so for its background tasks too, must see none of that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_of_a_destination_is_logged_at_any_level() {
    let captured = Captured::default();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .without_time()
        .with_writer(captured.clone());
    subscriber.init();
    tracing::trace!("the control line");

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let sink = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let (tcp, udp) = (listener.local_addr().unwrap(), sink.local_addr().unwrap());
    let server = NameServer::start(&[
        ("good.where-to.example", alias("alias.where-to.example")),
        ("alias.where-to.example", addresses(&["127.0.0.1"])),
        (
            "large.where-to.example",
            Entry::Large(vec!["127.0.0.1".parse().unwrap()]),
        ),
        ("evil.where-to.example", addresses(&["10.11.12.13"])),
        ("fails.where-to.example", Entry::Fails),
        ("silent.where-to.example", Entry::Silent),
    ])
    .await;
    let timeouts = Timeouts {
        resolve: core::time::Duration::from_secs(1),
        ..Timeouts::default()
    };
    let bridge = |name_servers| {
        let allow = [tcp, udp].map(|address| address.to_string().parse().unwrap());
        Bridge::new(Config {
            allow: allow.into(),
            name_servers,
            timeouts,
            ..Config::default()
        })
        .unwrap()
    };

    let working = bridge(server.servers());
    for (name, is_there) in [
        ("good", true),
        ("large", true),
        ("evil", false),
        ("fails", false),
        ("silent", false),
        ("no", false),
    ] {
        let target = format!("{name}.where-to.example:{}", tcp.port())
            .parse()
            .unwrap();
        let connection = working.connect(1, &target).await;
        assert_eq!(connection.is_ok(), is_there, "{name}");
        let said = connection.map_or_else(
            |error| format!("{error} {error:?}"),
            |there| format!("{:?}", there.permit),
        );
        assert!(
            !said.contains(MARK) && !said.contains("10.11.12.13"),
            "{said}"
        );
    }
    let association = working.associate(1).await.unwrap();
    let target = format!("good.where-to.example:{}", udp.port())
        .parse()
        .unwrap();
    association.send(&target, b"x").await.unwrap();
    // Name servers that nobody runs, over UDP and TCP.
    let closed = UdpSocket::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    let target = "dead.where-to.example:443".parse().unwrap();
    assert!(
        bridge(NameServers::Given(vec![closed]))
            .connect(1, &target)
            .await
            .is_err()
    );
    let shown = format!("{working:?} {association:?}");
    drop((working, association));
    tokio::time::sleep(core::time::Duration::from_millis(50)).await;

    let log = String::from_utf8(captured.0.lock().unwrap().clone()).unwrap();
    // Names go out in random case.
    let log = log.to_ascii_lowercase();
    assert!(log.contains("the control line"));
    for secret in [MARK, "10.11.12.13", &tcp.to_string(), &udp.to_string()] {
        let line = log.lines().find(|line| line.contains(secret));
        assert_eq!(line, None, "{secret}");
        assert!(!shown.contains(secret), "{shown}");
    }
}
