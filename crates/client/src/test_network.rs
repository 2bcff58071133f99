//! A network for tests: nodes that speak the wire on loopback HTTP, with real keys and layers, joined in
//! memory instead of by links. Each can be told to misbehave.

mod arrival;
mod server;

pub(crate) use arrival::Visit;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use ledger::{Contracts, NetworkFile, NodeRecord, RouteRecord};
use packet::{ContentType, Draft, MessageId, Packet, SessionId};
use parking_lot::Mutex;
use protocol::NodeId;
use protocol::answer::Refusal;
use protocol::command::DeviceId;
use rand::rngs::OsRng;
use tempfile::TempDir;
use tokio::sync::watch;
use wallet::{
    Certificate, CertificateBinding, CertificateKind, Fingerprint, KeyId, SecretCertificate,
    WalletAddress, WalletKey,
};

use crate::carrier::{Collection, OwnerKeys};
use crate::clock::unix_ms;
use crate::directory::LedgerView;
use crate::network::Network;
use crate::network::notes::Notes;
use crate::transport::Timeouts;

/// What a node does wrong, or asks for.
#[derive(Debug, Clone, Default)]
pub(crate) struct Faults {
    /// Its clock is ahead by so much.
    pub(crate) clock_ahead_ms: i64,
    /// It can't be reached, by clients or nodes.
    pub(crate) down: bool,
    /// It takes connections and never answers.
    pub(crate) hangs: bool,
    /// It asks for a stamp of this effort before it stores a packet or opens an account.
    pub(crate) effort: Option<u32>,
    /// It acknowledges with somebody else's key.
    pub(crate) forges_acknowledgements: bool,
    /// As a relay it answers this instead of forwarding.
    pub(crate) relays_nothing_but: Option<protocol::answer::Answer>,
    /// As a mailbox it refuses to store so.
    pub(crate) refuses_to_store: Option<Refusal>,
    /// Its stream of items is damaged so.
    pub(crate) stream: StreamFault,
}

/// How a stream is damaged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum StreamFault {
    #[default]
    None,
    /// The connection ends before the last item.
    Cut,
    /// The connection breaks in the middle of an event.
    Broken,
    /// The mailbox's first two items change places.
    Reordered,
    /// The entry's first event comes twice.
    Repeated,
    /// Nothing comes any more, and the connection stays.
    Silent,
}

/// An account at a node.
#[derive(Debug)]
pub(crate) struct Account {
    pub(crate) certificate: Certificate,
    pub(crate) binding: CertificateBinding,
    pub(crate) queue: Vec<Packet>,
    pub(crate) acknowledged: HashMap<DeviceId, u64>,
}

/// A node of the test network.
#[derive(Debug)]
pub(crate) struct FakeNode {
    pub(crate) id: NodeId,
    pub(crate) keys: SecretCertificate,
    pub(crate) transport_secret: [u8; 32],
    pub(crate) operator: WalletAddress,
    pub(crate) faults: Mutex<Faults>,
    pub(crate) accounts: Mutex<HashMap<WalletAddress, Account>>,
    nonces: Mutex<HashSet<[u8; 16]>>,
    sessions: server::Sessions,
    endpoint: String,
}

/// The nodes and what passed between them.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) nodes: Vec<Arc<FakeNode>>,
    pub(crate) visits: Mutex<Vec<Visit>>,
    pub(crate) ledger: Arc<TestLedger>,
}

/// A ledger that says what the test wants.
#[derive(Debug)]
pub(crate) struct TestLedger {
    nodes: Mutex<Arc<[NodeRecord]>>,
    routes: Mutex<HashMap<WalletAddress, RouteRecord>>,
    changes: watch::Sender<u64>,
    complete: Mutex<bool>,
}

impl LedgerView for TestLedger {
    fn nodes(&self) -> Arc<[NodeRecord]> {
        Arc::clone(&self.nodes.lock())
    }

    fn route(&self, wallet: &WalletAddress) -> Option<RouteRecord> {
        self.routes.lock().get(wallet).cloned()
    }

    fn is_listed(&self, key: &KeyId, node: &NodeId) -> bool {
        let routes = self.routes.lock();
        routes
            .values()
            .any(|route| route.key_ids.contains(key) && route.mailboxes.contains(node))
    }

    fn is_complete(&self) -> bool {
        *self.complete.lock()
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }
}

impl TestLedger {
    pub(crate) fn set_nodes(&self, nodes: Vec<NodeRecord>) {
        *self.nodes.lock() = nodes.into();
        self.changes.send_modify(|generation| *generation += 1);
    }

    pub(crate) fn set_complete(&self, complete: bool) {
        *self.complete.lock() = complete;
    }

    pub(crate) fn set_fingerprint(&self, person: &Person, fingerprint: Fingerprint) {
        if let Some(route) = self.routes.lock().get_mut(&person.wallet.address()) {
            route.fingerprint = fingerprint;
        }
    }

    pub(crate) fn set_route(&self, person: &Person, mailboxes: &[NodeId]) {
        let route = RouteRecord {
            wallet: person.wallet.address(),
            fingerprint: person.fingerprint(),
            key_ids: person.keys.certificate().key_ids(),
            mailboxes: mailboxes.to_vec(),
            sequence: 1,
            expiry_s: u64::MAX,
        };
        self.routes.lock().insert(route.wallet, route);
    }
}

impl World {
    /// Starts `count` nodes, each of an operator of its own.
    pub(crate) async fn start(count: usize) -> Arc<Self> {
        Self::start_with(count, |place| place).await
    }

    /// Starts `count` nodes of the operators that `operator` numbers.
    pub(crate) async fn start_with(count: usize, operator: impl Fn(usize) -> usize) -> Arc<Self> {
        let mut listeners = Vec::new();
        let mut nodes = Vec::new();
        for place in 0..count {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let endpoint = format!("http://{}", listener.local_addr().unwrap());
            let number = u8::try_from(operator(place)).unwrap();
            nodes.push(Arc::new(FakeNode::new(
                endpoint,
                WalletAddress::from_bytes([number; 20]),
            )));
            listeners.push(listener);
        }
        let mut records: Vec<NodeRecord> = nodes.iter().map(|node| node.record()).collect();
        records.sort_by_key(|record| record.address);
        let ledger = Arc::new(TestLedger {
            nodes: Mutex::new(records.into()),
            routes: Mutex::default(),
            changes: watch::Sender::new(0),
            complete: Mutex::new(true),
        });
        let world = Arc::new(Self {
            nodes,
            visits: Mutex::default(),
            ledger,
        });
        for (place, listener) in listeners.into_iter().enumerate() {
            tokio::spawn(server::serve(listener, Arc::clone(&world), place));
        }
        world
    }

    pub(crate) fn node(&self, id: &NodeId) -> &Arc<FakeNode> {
        self.nodes.iter().find(|node| node.id == *id).unwrap()
    }

    pub(crate) fn ids(&self) -> Vec<NodeId> {
        self.nodes.iter().map(|node| node.id).collect()
    }

    /// Takes what passed since it was last asked.
    pub(crate) fn take_visits(&self) -> Vec<Visit> {
        std::mem::take(&mut *self.visits.lock())
    }

    /// A client with a home of its own.
    pub(crate) fn client(&self) -> (Network, TempDir) {
        let home = tempfile::tempdir().unwrap();
        (self.client_at(&home), home)
    }

    /// A client with this home.
    pub(crate) fn client_at(&self, home: &TempDir) -> Network {
        let answer = std::time::Duration::from_secs(10);
        self.client_that_waits(home, answer)
    }

    /// A client that waits so long for answers, and half as long for handshakes.
    pub(crate) fn client_that_waits(&self, home: &TempDir, answer: std::time::Duration) -> Network {
        let notes = Notes::open(&home.path().join("notes.db")).unwrap();
        let timeouts = Timeouts {
            handshake: answer / 2,
            answer,
            silence: std::time::Duration::from_millis(400),
        };
        Network::assemble(
            file(),
            Arc::clone(&self.ledger) as Arc<dyn LedgerView>,
            notes,
            None,
            timeouts,
            None,
        )
    }
}

pub(crate) fn file() -> NetworkFile {
    NetworkFile {
        version: 1,
        name: "test".into(),
        chain_id: 31_337,
        rpc_urls: vec!["http://127.0.0.1:1".into()],
        contracts: Contracts {
            node_registry: WalletAddress::from_bytes([1; 20]),
            route_registry: WalletAddress::from_bytes([2; 20]),
            name_registry: None,
            bridge_offers: None,
        },
        start_block: 0,
        confirmations: 0,
        bootstrap: Vec::new(),
        plain_intake_path: None,
        stamp_effort: 2,
        dev: None,
    }
}

impl FakeNode {
    fn new(endpoint: String, operator: WalletAddress) -> Self {
        let wallet = WalletKey::generate(&mut OsRng);
        let now_s = unix_ms() / 1_000;
        Self {
            id: wallet.address(),
            keys: SecretCertificate::create(&wallet, CertificateKind::NODE, now_s, &mut OsRng)
                .unwrap(),
            transport_secret: *wallet.derive("node/transport"),
            operator,
            faults: Mutex::default(),
            accounts: Mutex::default(),
            nonces: Mutex::default(),
            sessions: server::Sessions::default(),
            endpoint,
        }
    }

    pub(crate) fn record(&self) -> NodeRecord {
        NodeRecord {
            address: self.id,
            operator: self.operator,
            transport_key: protocol::link::public_key(&self.transport_secret),
            certificate: self.keys.certificate().to_bytes().into(),
            endpoint: self.endpoint.clone(),
            profile: "bare".into(),
            offer: None,
        }
    }

    /// Loses all sessions, as a restart does.
    pub(crate) fn forget_sessions(&self) {
        self.sessions.forget();
    }

    pub(crate) fn handshakes(&self) -> usize {
        self.sessions.made()
    }

    pub(crate) fn set(&self, change: impl FnOnce(&mut Faults)) {
        change(&mut self.faults.lock());
    }

    /// Opens an account without asking for proofs.
    pub(crate) fn admit(&self, person: &Person) {
        let account = Account {
            certificate: person.keys.certificate().clone(),
            binding: person.binding.clone(),
            queue: Vec::new(),
            acknowledged: HashMap::new(),
        };
        self.accounts
            .lock()
            .insert(person.wallet.address(), account);
    }

    pub(crate) fn stored(&self, person: &Person) -> Vec<Packet> {
        let accounts = self.accounts.lock();
        accounts
            .get(&person.wallet.address())
            .map_or_else(Vec::new, |account| account.queue.clone())
    }
}

/// A wallet with its certificate.
#[derive(Debug)]
pub(crate) struct Person {
    pub(crate) wallet: WalletKey,
    pub(crate) keys: SecretCertificate,
    pub(crate) binding: CertificateBinding,
}

impl Person {
    pub(crate) fn new(mailboxes: &[NodeId]) -> Self {
        let wallet = WalletKey::generate(&mut OsRng);
        let keys =
            SecretCertificate::create(&wallet, CertificateKind::V6, unix_ms() / 1_000, &mut OsRng)
                .unwrap();
        let binding =
            CertificateBinding::sign(&wallet, keys.certificate(), 1, mailboxes.to_vec()).unwrap();
        Self {
            wallet,
            keys,
            binding,
        }
    }

    /// Replaces the subkeys and signs a binding of the next sequence.
    pub(crate) fn rotate(&mut self) {
        self.keys.rotate(unix_ms() / 1_000, &mut OsRng).unwrap();
        let mailboxes = self.binding.mailboxes.clone();
        let sequence = self.binding.sequence + 1;
        self.binding =
            CertificateBinding::sign(&self.wallet, self.keys.certificate(), sequence, mailboxes)
                .unwrap();
    }

    pub(crate) fn fingerprint(&self) -> Fingerprint {
        self.keys.certificate().fingerprint()
    }

    pub(crate) fn owner(&self) -> OwnerKeys<'_> {
        OwnerKeys {
            certificate: &self.keys,
            binding: &self.binding,
        }
    }

    /// An anonymous text message to this person.
    pub(crate) fn letter(&self, text: &str) -> Packet {
        let draft = Draft {
            message_id: MessageId::random(&mut OsRng),
            time_ms: unix_ms(),
            content_type: ContentType::TEXT.to_owned(),
            session: SessionId::random(&mut OsRng),
            sequence: 0,
            reply: None,
            body: text.to_owned().into(),
        };
        packet::seal(&draft, None, self.keys.certificate(), &mut OsRng).unwrap()
    }
}

/// What a test collects with.
pub(crate) fn collection(mailbox: NodeId, stay: bool) -> Collection {
    Collection {
        mailbox,
        device: [1; 16],
        after: None,
        window_bytes: 1 << 20,
        stay,
    }
}
