//! A gateway, a way out that obeys a script, and servers to reach.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::BoxFuture;
use gateway::{
    Ask, Associated, BridgeStatus, Config, ConnectError, Connected, Counters, Direct, Gateway,
    Isolation, Outbound, OutboundStatus,
};
use parking_lot::Mutex;
use protocol::NodeId;
use protocol::target::Target;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

/// Longer than anything takes that happens at all.
pub(crate) const LONG: Duration = Duration::from_secs(20);

/// Hosts that fail, each in its way.
pub(crate) const FAILURES: [(&str, ConnectError); 18] = [
    ("policy.example", ConnectError::RefusedByPolicy),
    (
        "unwanted.example",
        ConnectError::NoPolicyAllows { port: 80 },
    ),
    ("nowhere.example", ConnectError::NoSuchHost),
    ("host.example", ConnectError::HostUnreachable),
    ("network.example", ConnectError::NetworkUnreachable),
    ("refused.example", ConnectError::ConnectionRefused),
    ("slow.example", ConnectError::TimedOut),
    ("bridgeless.example", ConnectError::NoBridge),
    ("lost.example", ConnectError::BridgeLost),
    ("down.example", ConnectError::NetworkDown),
    ("busy.example", ConnectError::Busy),
    ("unsupported.example", ConnectError::Unsupported),
    ("deceit.conet", ConnectError::NoName),
    ("unknown.conet", ConnectError::NameUnknown),
    ("expired.conet", ConnectError::NameExpired),
    ("offline.conet", ConnectError::NotServed),
    ("closed.conet", ConnectError::RefusedByService),
    ("lost.conet", ConnectError::ServiceLost),
];

pub(crate) fn bridge() -> NodeId {
    NodeId::from_bytes([0xb1; 20])
}

/// Leads names to loopback servers, remembers what it was asked, and leaves `never.example` without an answer.
#[derive(Default)]
pub(crate) struct Script {
    pub(crate) servers: Mutex<HashMap<String, SocketAddr>>,
    pub(crate) asks: Mutex<Vec<Ask>>,
    pub(crate) waiting: AtomicUsize,
}

struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Outbound for Script {
    fn connect(&self, ask: Ask) -> BoxFuture<'_, Result<Connected, ConnectError>> {
        Box::pin(async move {
            self.asks.lock().push(ask.clone());
            let host = ask.target.host.to_string();
            if host == "never.example" {
                self.waiting.fetch_add(1, Ordering::SeqCst);
                let _waiting = Waiting(&self.waiting);
                std::future::pending::<()>().await;
            }
            if let Some((_, error)) = FAILURES.iter().find(|(name, _)| *name == host) {
                return Err(*error);
            }
            let server = self.servers.lock().get(&host).copied();
            let server = server.ok_or(ConnectError::NoSuchHost)?;
            let target = server.to_string().parse::<Target>().unwrap();
            let connected = Direct.connect(Ask { target, ..ask }).await?;
            Ok(Connected {
                bridge: Some(bridge()),
                ..connected
            })
        })
    }

    fn associate(&self, isolation: Isolation) -> BoxFuture<'_, Result<Associated, ConnectError>> {
        Box::pin(async move {
            let associated = Direct.associate(isolation).await?;
            Ok(Associated {
                bridge: Some(bridge()),
                ..associated
            })
        })
    }

    fn status(&self) -> OutboundStatus {
        OutboundStatus {
            is_up: true,
            note: "two < three & \"four\"".into(),
            bridges: vec![BridgeStatus {
                id: bridge().to_string(),
                is_healthy: true,
                latency_ms: Some(42),
                offer: "accept <*:443>".into(),
            }],
        }
    }
}

/// A running gateway; it ends with the value.
pub(crate) struct Scene {
    pub(crate) script: Arc<Script>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) socks: SocketAddr,
    pub(crate) http: SocketAddr,
    pub(crate) stop: CancellationToken,
    pub(crate) done: tokio::task::JoinHandle<()>,
}

impl Drop for Scene {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

pub(crate) fn loopback() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, 0))
}

pub(crate) fn config() -> Config {
    Config {
        socks: Some(loopback()),
        http: Some(loopback()),
        ..Config::default()
    }
}

impl Scene {
    pub(crate) async fn start() -> Self {
        Self::start_with(config()).await
    }

    pub(crate) async fn start_with(config: Config) -> Self {
        let script = Arc::new(Script::default());
        let gateway = Gateway::bind(config, Arc::clone(&script) as Arc<dyn Outbound>)
            .await
            .unwrap();
        let (socks, http) = (
            gateway.socks_address().unwrap(),
            gateway.http_address().unwrap(),
        );
        let (counters, stop) = (gateway.counters(), CancellationToken::new());
        let done = tokio::spawn(gateway.run(stop.clone()));
        Self {
            script,
            counters,
            socks,
            http,
            stop,
            done,
        }
    }

    /// A server of that name that the way out leads to.
    pub(crate) fn name(&self, name: &str, server: SocketAddr) {
        self.script.servers.lock().insert(name.into(), server);
    }

    /// The server's side of the next connection to `name`.
    pub(crate) async fn server(&self, name: &str) -> TcpListener {
        let listener = TcpListener::bind(loopback()).await.unwrap();
        self.name(name, listener.local_addr().unwrap());
        listener
    }

    /// A client and a server that are connected by SOCKS.
    pub(crate) async fn pair(&self) -> (TcpStream, TcpStream) {
        let listener = self.server("pair.example").await;
        let mut client = self.greeted().await;
        client
            .write_all(&connect("pair.example", 80))
            .await
            .unwrap();
        let (server, _) = listener.accept().await.unwrap();
        assert_eq!(reply(&mut client).await, 0);
        (client, server)
    }

    /// A SOCKS client that has said hello.
    pub(crate) async fn greeted(&self) -> TcpStream {
        let mut client = TcpStream::connect(self.socks).await.unwrap();
        client.write_all(&[5, 1, 0]).await.unwrap();
        assert_eq!(read(&mut client, 2).await, [5, 0]);
        client
    }

    /// Waits until something holds.
    pub(crate) async fn until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let waited = async {
            while !holds(self) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        in_time(what, waited).await;
    }
}

pub(crate) async fn in_time<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(LONG, future).await {
        Ok(done) => done,
        Err(_) => panic!("{what} took too long"),
    }
}

pub(crate) fn connect(host: &str, port: u16) -> Vec<u8> {
    let mut bytes = vec![5, 1, 0, 3, host.len() as u8];
    bytes.extend_from_slice(host.as_bytes());
    bytes.extend_from_slice(&port.to_be_bytes());
    bytes
}

pub(crate) async fn read(from: &mut TcpStream, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    in_time("an answer", from.read_exact(&mut bytes))
        .await
        .unwrap();
    bytes
}

/// The code of the reply that comes next, which is one with an IPv4 address.
pub(crate) async fn reply(from: &mut TcpStream) -> u8 {
    let bytes = read(from, 10).await;
    assert_eq!((bytes[0], bytes[3]), (5, 1));
    bytes[1]
}

pub(crate) async fn read_all(from: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    in_time("the end", from.read_to_end(&mut bytes))
        .await
        .map(|_| bytes)
}
