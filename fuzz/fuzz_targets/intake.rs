//! Any bytes to a node's port: as they are, posted to its plain intake, as the frame of a session, and as a command in
//! a layer. Whatever they are, the next visitor is served.
#![no_main]
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{LazyLock, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ledger::{Contracts, NetworkFile};
use node::{MailboxConfig, NodeConfig, NodeKeys};
use packet::{LAYER_OVERHEAD_BYTES, SizeClass};
use protocol::command::{Body, Command, owner_message};
use protocol::frame::{self, HEADER_BYTES, Header};
use protocol::session::{ClientHandshake, ClientSession};
use rand::rngs::OsRng;
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng as _;
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use wallet::{Certificate, CertificateKind, SecretCertificate, WalletAddress, WalletKey};

/// Longest wait for an answer that is not due: half a message may be answered with nothing.
const PATIENCE: Duration = Duration::from_millis(2);

/// Longest wait for an answer that is due: longer than the fuzzer waits for an input to be done with.
const DUE: Duration = Duration::from_secs(300);

/// How the folder of a run is named, before the number of its process.
const FOLDER: &str = "conet-fuzz-intake-";

/// The seeds are made for this node, and by this owner of an account.
const NODE_SEED: u64 = 5;
const OWNER_SEED: u64 = 3;

struct Running {
    _runtime: Runtime,
    listen: SocketAddr,
    id: WalletAddress,
    transport_key: [u8; 32],
    certificate: Certificate,
}

fn person(seed: u64) -> (WalletKey, SecretCertificate) {
    let mut rng = ChaCha20Rng::seed_from_u64(seed);
    let wallet = WalletKey::generate(&mut rng);
    let kind = CertificateKind::V6Classic;
    let secret = SecretCertificate::create(&wallet, kind, 1_800_000_000, &mut rng).unwrap();
    (wallet, secret)
}

static OWNER: LazyLock<SecretCertificate> = LazyLock::new(|| person(OWNER_SEED).1);

static NODE: LazyLock<Running> = LazyLock::new(|| {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    // Rust programs ignore this signal from their beginning, but here main is the fuzzer's.
    let _ = runtime
        .block_on(async { signal(SignalKind::pipe()) })
        .unwrap();
    let free = || {
        std::net::TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
    };
    let (listen, admin_listen) = (free(), free());
    let (wallet, certificate) = person(NODE_SEED);
    let public = certificate.certificate().clone();
    let (id, keys) = (
        wallet.address(),
        NodeKeys {
            wallet,
            certificate,
        },
    );
    let transport_key = keys.transport_key();
    let registry = WalletAddress::from_bytes([1; 20]);
    let network = NetworkFile {
        version: 1,
        name: "fuzz".into(),
        chain_id: 31_337,
        // Nobody is there: a node works without.
        rpc_urls: vec!["http://127.0.0.1:1".into()],
        contracts: Contracts {
            node_registry: registry,
            route_registry: registry,
            name_registry: None,
            bridge_offers: None,
        },
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
        data_dir: own_folder(),
        endpoint: format!("http://{listen}"),
        mailbox: MailboxConfig::default(),
        plain_intake: network.plain_intake_path.clone(),
        submit_routes: false,
        bridge: None,
        price_wei: 0,
        network,
    };
    runtime.spawn(async move {
        let ended = node::run(config, keys, CancellationToken::new()).await;
        panic!("the node ended: {ended:?}");
    });
    for _ in 0..200 {
        if TcpStream::connect(listen).is_ok() {
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Running {
        _runtime: runtime,
        listen,
        id,
        transport_key,
        certificate: public,
    }
});

/// A folder that the next run clears away: a fuzzer ends without dropping anything.
fn own_folder() -> PathBuf {
    let place = std::env::temp_dir();
    for entry in std::fs::read_dir(&place).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let owner = name.to_str().and_then(|name| name.strip_prefix(FOLDER));
        if owner.is_some_and(|owner| !Path::new("/proc").join(owner).exists()) {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
    let folder = place.join(format!("{FOLDER}{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// Says something on a new connection and returns how the answer begins, if one comes in time.
fn say(bytes: &[u8], patience: Duration) -> Vec<u8> {
    let mut socket = TcpStream::connect(NODE.listen).expect("the node listens");
    socket.set_read_timeout(Some(patience)).unwrap();
    // A node may close before it has heard all.
    let _ = socket.write_all(bytes);
    let mut answer = vec![0; 16_384];
    let read = socket.read(&mut answer).unwrap_or(0);
    answer.truncate(read);
    answer
}

/// Posts a body and returns the answer's body, or what came of it.
fn post(path: &str, body: &[u8], patience: Duration) -> Vec<u8> {
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: node\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    let answer = say(&[head.as_bytes(), body].concat(), patience);
    let end = answer
        .windows(4)
        .position(|four| four == b"\r\n\r\n")
        .map_or(answer.len(), |end| end + 4);
    answer[end..].to_vec()
}

static SESSION: LazyLock<Mutex<ClientSession>> = LazyLock::new(|| {
    let (handshake, body) =
        ClientHandshake::start(&NODE.id, &NODE.transport_key, 0, &mut OsRng).unwrap();
    let session = handshake
        .finish(&post("/", &body, DUE), 0)
        .expect("the node shakes hands");
    Mutex::new(session)
});

/// Sends a frame in the session, whatever it is.
fn exchange(frame: &[u8], patience: Duration) {
    let (_, body) = SESSION.lock().unwrap().seal(frame).unwrap();
    post("/", &body, patience);
}

/// The bytes as a frame whose region is as long as its header says.
fn as_frame(bytes: &[u8]) -> Vec<u8> {
    let mut frame = bytes.to_vec();
    if let Ok(header) = Header::decode(bytes)
        && header.region_bytes() <= SizeClass::K16.frame_bytes()
    {
        frame.resize(HEADER_BYTES + header.region_bytes(), 0);
    }
    frame
}

/// The bytes as a command; one that decodes becomes one for this node and moment, signed where that is needed.
fn as_command(bytes: &[u8]) -> Vec<u8> {
    let Ok(mut command) = Command::decode(bytes) else {
        return bytes.to_vec();
    };
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_millis() as u64;
    (command.ties.node, command.ties.time_ms, command.ties.nonce) = (NODE.id, now, rand::random());
    if let Body::Owner {
        fingerprint,
        request,
        signature,
    } = &mut command.body
    {
        *fingerprint = OWNER.certificate().fingerprint();
        *signature = OWNER.sign_raw(&owner_message(&command.ties, request));
    }
    command.encode()
}

/// Seals a command to the node and puts it into a frame.
fn layered(command: &[u8]) -> Option<Vec<u8>> {
    let room = command.len() + LAYER_OVERHEAD_BYTES;
    let class = SizeClass::for_packet_len(room)?;
    let layer = packet::seal_layer(&NODE.certificate, command, room, &mut OsRng).ok()?;
    let mut out = Vec::new();
    frame::append(&mut out, Header::packet(class, 0), layer.as_bytes()).then_some(out)
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    say(bytes, PATIENCE);
    post("/intake", bytes, PATIENCE);
    exchange(&as_frame(bytes), PATIENCE);
    if let Some(frame) = layered(&as_command(bytes)) {
        exchange(&frame, PATIENCE);
    }
    let answer = say(b"GET / HTTP/1.1\r\nhost: node\r\n\r\n", DUE);
    assert!(
        answer.starts_with(b"HTTP/1.1 "),
        "the next visitor was not served: {:?}",
        String::from_utf8_lossy(&answer)
    );
});
