//! Any bytes to a node's port: whatever they are, the next visitor is served.
#![no_main]
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::LazyLock;
use std::time::Duration;

use ledger::{Contracts, NetworkFile};
use node::{MailboxConfig, NodeConfig, NodeKeys};
use rand::rngs::OsRng;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;
use wallet::{CertificateKind, SecretCertificate, WalletAddress, WalletKey};

/// Longest wait for an answer that is not due: half a message may be answered with nothing.
const PATIENCE: Duration = Duration::from_millis(2);

static NODE: LazyLock<(Runtime, SocketAddr)> = LazyLock::new(|| {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let free = || std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (listen, admin_listen) = (free(), free());
    let wallet = WalletKey::generate(&mut OsRng);
    let certificate = SecretCertificate::create(&wallet, CertificateKind::V6Classic, 1_700_000_000, &mut OsRng).unwrap();
    let registry = WalletAddress::from_bytes([1; 20]);
    let network = NetworkFile {
        version: 1,
        name: "fuzz".into(),
        chain_id: 31_337,
        // Nobody is there: a node works without.
        rpc_urls: vec!["http://127.0.0.1:1".into()],
        contracts: Contracts { node_registry: registry, route_registry: registry },
        start_block: 0,
        confirmations: 0,
        bootstrap: Vec::new(),
        plain_intake_path: Some("/intake".into()),
        stamp_effort: 2,
        dev: None,
    };
    let config = NodeConfig {
        listen,
        admin_listen,
        data_dir: tempfile::tempdir().unwrap().keep(),
        endpoint: format!("http://{listen}"),
        mailbox: MailboxConfig::default(),
        plain_intake: network.plain_intake_path.clone(),
        submit_routes: false,
        network,
    };
    runtime.spawn(async move {
        let ended = node::run(config, NodeKeys { wallet, certificate }, CancellationToken::new()).await;
        panic!("the node ended: {ended:?}");
    });
    for _ in 0..200 {
        if TcpStream::connect(listen).is_ok() {
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    (runtime, listen)
});

/// Says something on a new connection and returns how the answer begins, if one comes in time.
fn say(bytes: &[u8], patience: Duration) -> Vec<u8> {
    let mut socket = TcpStream::connect(NODE.1).expect("the node listens");
    socket.set_read_timeout(Some(patience)).unwrap();
    // A node may close before it has heard all.
    let _ = socket.write_all(bytes);
    let mut answer = vec![0; 4096];
    let read = socket.read(&mut answer).unwrap_or(0);
    answer.truncate(read);
    answer
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    say(bytes, PATIENCE);
    let body = format!("POST /intake HTTP/1.1\r\nhost: node\r\ncontent-length: {}\r\n\r\n", bytes.len());
    say(&[body.as_bytes(), bytes].concat(), PATIENCE);
    let answer = say(b"GET / HTTP/1.1\r\nhost: node\r\n\r\n", Duration::from_secs(10));
    assert!(answer.starts_with(b"HTTP/1.1 "), "the next visitor was not served: {:?}", String::from_utf8_lossy(&answer));
});
