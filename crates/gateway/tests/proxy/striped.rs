//! Several bridges behind one way out: who is asked, and who is asked next.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use gateway::stripes::{MAX_TRIES, Mode};
use gateway::{
    Ask, Bridges, ConnectError, Datagrams, Direct, Duplex, Isolation, Outbound as _, Striped,
};
use parking_lot::Mutex;
use protocol::NodeId;
use protocol::target::Target;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::scene::{in_time, loopback};

const TRY_TIMEOUT: Duration = Duration::from_secs(1);

/// What a bridge does.
#[derive(Clone, Copy)]
enum Does {
    Connect,
    Fail(ConnectError),
    Nothing,
}

/// Bridges by a script, which remember in which order they were asked.
#[derive(Default)]
struct Scripted {
    does: HashMap<NodeId, Does>,
    asked: Arc<Mutex<Vec<NodeId>>>,
    /// Those that have announced that they let out port 443 only.
    narrow: Vec<NodeId>,
}

impl Scripted {
    async fn obey(&self, bridge: NodeId) -> Result<(), ConnectError> {
        self.asked.lock().push(bridge);
        match self.does[&bridge] {
            Does::Connect => Ok(()),
            Does::Fail(error) => Err(error),
            Does::Nothing => std::future::pending().await,
        }
    }
}

impl Bridges for Scripted {
    fn takes(&self, bridge: NodeId, target: &Target) -> bool {
        target.port.get() == 443 || !self.narrow.contains(&bridge)
    }

    fn connect(
        &self,
        bridge: NodeId,
        ask: Ask,
    ) -> BoxFuture<'_, Result<Box<dyn Duplex>, ConnectError>> {
        Box::pin(async move {
            self.obey(bridge).await?;
            Ok(Direct.connect(ask).await?.stream)
        })
    }

    fn associate(
        &self,
        bridge: NodeId,
        isolation: Isolation,
    ) -> BoxFuture<'_, Result<Box<dyn Datagrams>, ConnectError>> {
        Box::pin(async move {
            self.obey(bridge).await?;
            Ok(Direct.associate(isolation).await?.datagrams)
        })
    }
}

fn id(number: u8) -> NodeId {
    NodeId::from_bytes([number; 20])
}

/// A way out over bridges that do this, one after the other, and who was asked.
fn striped(mode: Mode<NodeId>, does: &[Does]) -> (Striped<Scripted>, Arc<Mutex<Vec<NodeId>>>) {
    let asked = Arc::default();
    let numbered = (0..).map(id).zip(does.iter().copied());
    let carrier = Scripted {
        does: numbered.collect(),
        asked: Arc::clone(&asked),
        narrow: Vec::new(),
    };
    let bridges: Vec<_> = carrier.does.keys().copied().collect();
    let striped = Striped::new(carrier, mode, TRY_TIMEOUT);
    striped.set_bridges(bridges);
    (striped, asked)
}

fn ask(target: &str) -> Ask {
    Ask {
        target: target.parse().unwrap(),
        isolation: Isolation::Shared,
        first: Bytes::from_static(b"first"),
    }
}

#[tokio::test]
async fn bridge_that_is_lost_or_silent_is_replaced_within_the_same_connection() {
    let listener = TcpListener::bind(loopback()).await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    for dead in [
        Does::Fail(ConnectError::BridgeLost),
        Does::Nothing,
        Does::Fail(ConnectError::RefusedByPolicy),
    ] {
        let (striped, asked) = striped(Mode::PerConnection, &[dead, dead, Does::Connect]);
        let mut connected = in_time("the connection", striped.connect(ask(&address)))
            .await
            .unwrap();
        assert_eq!(connected.bridge, Some(id(2)));
        assert_eq!(asked.lock().last(), Some(&id(2)));
        let (mut server, _) = listener.accept().await.unwrap();
        connected.stream.write_all(b"!").await.unwrap();
        connected.stream.shutdown().await.unwrap();
        let mut all = Vec::new();
        server.read_to_end(&mut all).await.unwrap();
        assert_eq!(
            all, b"first!",
            "what came first goes along with the try that succeeds"
        );
    }
}

#[tokio::test]
async fn tries_are_bounded_and_the_last_error_is_told() {
    let (striped, asked) = striped(Mode::PerConnection, &[Does::Fail(ConnectError::Busy); 10]);
    assert_eq!(
        striped.connect(ask("a.example:80")).await.unwrap_err(),
        ConnectError::Busy
    );
    assert_eq!(asked.lock().len(), MAX_TRIES);
}

#[tokio::test]
async fn error_of_the_target_asks_nobody_else() {
    for error in [
        ConnectError::NoSuchHost,
        ConnectError::ConnectionRefused,
        ConnectError::TimedOut,
    ] {
        let (striped, asked) = striped(Mode::PerConnection, &[Does::Fail(error); 3]);
        assert_eq!(
            striped.connect(ask("a.example:80")).await.unwrap_err(),
            error
        );
        assert_eq!(asked.lock().len(), 1);
        assert!(
            striped
                .status()
                .bridges
                .iter()
                .all(|bridge| bridge.is_healthy)
        );
    }
}

#[tokio::test]
async fn way_out_without_bridges_says_so() {
    let (striped, _) = striped(Mode::PerConnection, &[]);
    assert_eq!(
        striped.connect(ask("a.example:80")).await.unwrap_err(),
        ConnectError::NoBridge
    );
    assert_eq!(
        striped.associate(Isolation::Shared).await.unwrap_err(),
        ConnectError::NoBridge
    );
    assert!(!striped.status().is_up);
}

#[tokio::test]
async fn status_shows_who_failed_and_who_did_not() {
    let (striped, _) = striped(Mode::Pin(id(0)), &[Does::Nothing, Does::Connect]);
    assert!(striped.status().is_up);
    assert_eq!(
        striped.associate(Isolation::Shared).await.unwrap_err(),
        ConnectError::BridgeLost
    );
    let status = striped.status();
    assert!(status.is_up && !status.bridges[0].is_healthy && status.bridges[1].is_healthy);
    assert_eq!(status.bridges[1].id, id(1).to_string());
}

#[tokio::test]
async fn datagrams_take_another_bridge_where_one_is_lost() {
    let (striped, _) = striped(Mode::PerSite, &[Does::Nothing, Does::Connect]);
    let associated = in_time("the place", striped.associate(Isolation::from_user(b"a")))
        .await
        .unwrap();
    assert_eq!(associated.bridge, Some(id(1)));
}

#[tokio::test]
async fn bridge_whose_announced_policy_is_against_the_target_is_not_asked() {
    let listener = TcpListener::bind(loopback()).await.unwrap();
    let site = listener.local_addr().unwrap().to_string();
    let asked = Arc::default();
    let carrier = Scripted {
        does: [(id(0), Does::Connect), (id(1), Does::Connect)].into(),
        asked: Arc::clone(&asked),
        narrow: vec![id(0)],
    };
    let striped = Striped::new(carrier, Mode::PerConnection, TRY_TIMEOUT);
    striped.set_bridges([id(0), id(1)]);
    for _ in 0..16 {
        assert_eq!(
            striped.connect(ask(&site)).await.unwrap().bridge,
            Some(id(1))
        );
    }
    assert!(!asked.lock().contains(&id(0)));

    striped.set_bridges([id(0)]);
    asked.lock().clear();
    let error = striped.connect(ask("mail.example:25")).await.unwrap_err();
    assert_eq!(error, ConnectError::NoPolicyAllows { port: 25 });
    assert!(
        error
            .to_string()
            .contains("no bridge's policy allows port 25")
    );
    assert!(asked.lock().is_empty());
}
