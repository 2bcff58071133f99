//! Services of the network beside the rest of the world: what goes where, and what never does.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use gateway::{
    Ask, Associated, Bypass, Config, ConnectError, Connected, DatagramError, Direct, Duplex,
    Gateway, Isolation, Outbound, Services, Split, Striped, is_service,
};
use parking_lot::Mutex;
use protocol::target::Target;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

/// Remembers the hosts that it was asked for, and reaches one server for all of them.
#[derive(Clone)]
struct Asked {
    hosts: Arc<Mutex<Vec<String>>>,
    server: String,
}

impl Asked {
    fn new(server: &str) -> Self {
        Self {
            hosts: Arc::default(),
            server: server.to_owned(),
        }
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.hosts.lock())
    }

    async fn reach(&self, ask: Ask) -> Result<Connected, ConnectError> {
        self.hosts.lock().push(ask.target.host.to_string());
        let target = self.server.parse().unwrap();
        Direct.connect(Ask { target, ..ask }).await
    }
}

impl Services for Asked {
    fn connect(&self, ask: Ask) -> BoxFuture<'_, Result<Box<dyn Duplex>, ConnectError>> {
        Box::pin(async move { Ok(self.reach(ask).await?.stream) })
    }
}

impl Outbound for Asked {
    fn connect(&self, ask: Ask) -> BoxFuture<'_, Result<Connected, ConnectError>> {
        Box::pin(self.reach(ask))
    }

    fn associate(&self, isolation: Isolation) -> BoxFuture<'_, Result<Associated, ConnectError>> {
        Direct.associate(isolation)
    }
}

/// A server that answers any request by one word.
async fn server(word: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut request = [0; 1_024];
                let _read = socket.read(&mut request).await;
                let answer = format!(
                    "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{word}",
                    word.len()
                );
                let _written = socket.write_all(answer.as_bytes()).await;
            });
        }
    });
    address
}

async fn said(address: std::net::SocketAddr, request: &[u8]) -> String {
    let mut socket = TcpStream::connect(address).await.unwrap();
    socket.write_all(request).await.unwrap();
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).await.unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

fn socks_request(host: &str) -> Vec<u8> {
    let mut request = vec![5, 1, 0, 5, 1, 0, 3, host.len() as u8];
    request.extend_from_slice(host.as_bytes());
    request.extend_from_slice(&80_u16.to_be_bytes());
    request.extend_from_slice(b"GET / HTTP/1.1\r\n\r\n");
    request
}

#[tokio::test]
async fn name_below_conet_goes_to_services_whatever_the_bypass_rules_say() {
    let services = Asked::new(&server("service").await);
    let rest = Asked::new(&server("bridge").await);
    let split = Split::new(services.clone(), Arc::new(rest.clone()));
    let bypass: Bypass = ".conet, shop.conet, *.conet, <local>".parse().unwrap();
    let config = Config {
        socks: Some("127.0.0.1:0".parse().unwrap()),
        http: Some("127.0.0.1:0".parse().unwrap()),
        bypass,
        ..Config::default()
    };
    let gateway = Gateway::bind(config, Arc::new(split)).await.unwrap();
    let (socks, http) = (
        gateway.socks_address().unwrap(),
        gateway.http_address().unwrap(),
    );
    let counters = gateway.counters();
    let stop = CancellationToken::new();
    let running = tokio::spawn(gateway.run(stop.clone()));

    for host in ["shop.conet", "SHOP.Conet", "a.b.conet"] {
        let answer = said(socks, &socks_request(host)).await;
        assert!(answer.ends_with("service"), "{host}: {answer}");
        let request = format!("GET http://{host}/ HTTP/1.1\r\nConnection: close\r\n\r\n");
        let answer = said(http, request.as_bytes()).await;
        assert!(answer.ends_with("service"), "{host}: {answer}");
        let request = format!("CONNECT {host}:80 HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\n\r\n");
        let answer = said(http, request.as_bytes()).await;
        assert!(answer.ends_with("service"), "{host}: {answer}");
        assert_eq!(services.take(), vec![host.to_ascii_lowercase(); 3]);
    }
    for host in ["conet.example", "shopconet.org"] {
        let answer = said(socks, &socks_request(host)).await;
        assert!(answer.ends_with("bridge"), "{host}: {answer}");
        assert_eq!(rest.take(), [host]);
    }
    assert!(services.take().is_empty() && rest.take().is_empty());
    let counted = counters.read();
    assert_eq!(counted.services.opened, 9);

    let pac = said(
        http,
        format!("GET /proxy.pac HTTP/1.1\r\nHost: {http}\r\nConnection: close\r\n\r\n").as_bytes(),
    )
    .await;
    let (_, pac) = pac.split_once("\r\n\r\n").unwrap();
    let program = format!(
        "{pac}\nconsole.log(FindProxyForURL('http://shop.conet/', 'shop.conet'), FindProxyForURL('https://Shop.conet./', 'Shop.conet.'))"
    );
    if let Ok(node) = std::process::Command::new("node")
        .args(["-e", &program])
        .output()
    {
        let found = String::from_utf8_lossy(&node.stdout).into_owned();
        assert!(
            found.contains("PROXY") && !found.contains("DIRECT"),
            "{found}"
        );
    }
    stop.cancel();
    running.await.unwrap();
}

#[tokio::test]
async fn no_resolver_bridge_or_datagram_gets_a_name_below_conet() {
    let ask = |text: &str| Ask {
        target: text.parse().unwrap(),
        isolation: Isolation::Shared,
        first: Bytes::new(),
    };
    let refused = Direct.connect(ask("shop.conet:80")).await.unwrap_err();
    assert_eq!(refused, ConnectError::Unsupported);

    let nowhere = Asked::new("127.0.0.1:1");
    let split = Split::new(nowhere.clone(), Arc::new(nowhere));
    let datagrams = split.associate(Isolation::Shared).await.unwrap().datagrams;
    let target: Target = "shop.conet:53".parse().unwrap();
    assert!(is_service(&target.host));
    let sent = datagrams.send(target, Bytes::from_static(b"x")).await;
    assert_eq!(sent, Err(DatagramError::Dropped));
}

/// Bridges that must not be asked.
struct Forbidden;

impl gateway::Bridges for Forbidden {
    fn connect(
        &self,
        _: protocol::NodeId,
        ask: Ask,
    ) -> BoxFuture<'_, Result<Box<dyn Duplex>, ConnectError>> {
        panic!("a bridge heard of {}", ask.target);
    }

    fn associate(
        &self,
        _: protocol::NodeId,
        _: Isolation,
    ) -> BoxFuture<'_, Result<Box<dyn gateway::Datagrams>, ConnectError>> {
        panic!("nothing is associated here");
    }
}

#[tokio::test]
async fn bridges_never_hear_of_a_name_below_conet() {
    let mode = gateway::stripes::Mode::PerConnection;
    let striped = Striped::new(Forbidden, mode, gateway::DEFAULT_TRY_TIMEOUT);
    striped.set_bridges([protocol::NodeId::from_bytes([1; 20])]);
    let ask = Ask {
        target: "shop.conet:80".parse().unwrap(),
        isolation: Isolation::Shared,
        first: Bytes::new(),
    };
    let refused = striped.connect(ask).await.unwrap_err();
    assert_eq!(refused, ConnectError::Unsupported);
    assert!(striped.status().is_up, "no bridge is blamed");
}
