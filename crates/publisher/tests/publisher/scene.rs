//! A publisher, a server that the test plays itself, and callers.

use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::{HeaderMap, Request};
use publisher::{Config, Publisher};
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use signin::{BodyDigest, RequestParts, sign};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::net::{TcpListener, TcpStream};
use wallet::WalletKey;

/// Longer than anything takes that happens at all.
const LONG: Duration = Duration::from_secs(60);
pub(crate) const CHAIN: u64 = 31_337;

pub(crate) struct Scene {
    pub(crate) publisher: Publisher,
    listener: TcpListener,
}

pub(crate) fn wallet(seed: u64) -> WalletKey {
    WalletKey::generate(&mut StdRng::seed_from_u64(seed))
}

pub(crate) fn now_s() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs()
}

impl Scene {
    pub(crate) async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    pub(crate) async fn start_with(change: impl FnOnce(&mut Config)) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let target = format!("http://{}", listener.local_addr().unwrap());
        let mut config = Config::new(
            target.parse().unwrap(),
            CHAIN,
            ["notes.conet".parse().unwrap()],
        );
        change(&mut config);
        let publisher = Publisher::new(config);
        Self {
            publisher,
            listener,
        }
    }

    /// A stream that the publisher serves.
    pub(crate) fn caller(&self) -> DuplexStream {
        let (near, far) = tokio::io::duplex(64 * 1024);
        let publisher = self.publisher.clone();
        tokio::spawn(async move { publisher.serve(far).await });
        near
    }

    pub(crate) async fn server(&self) -> TcpStream {
        in_time("a connection to the server", self.listener.accept())
            .await
            .unwrap()
            .0
    }

    /// Sends a request and reads the answer to the end of the stream.
    pub(crate) async fn ask(&self, request: impl AsRef<[u8]>) -> String {
        let mut caller = self.caller();
        caller.write_all(request.as_ref()).await.unwrap();
        String::from_utf8(read_all(&mut caller).await).unwrap()
    }

    /// Whether nobody has connected to the server.
    pub(crate) async fn is_untouched(&self) -> bool {
        let wait = Duration::from_millis(50);
        tokio::time::timeout(wait, self.listener.accept())
            .await
            .is_err()
    }

    /// Answers each request with `200`, and tells their heads.
    pub(crate) fn serve(
        self: &std::sync::Arc<Self>,
    ) -> tokio::sync::mpsc::UnboundedReceiver<String> {
        let (told, heads) = tokio::sync::mpsc::unbounded_channel();
        let scene = std::sync::Arc::clone(self);
        tokio::spawn(async move {
            loop {
                let (mut server, _) = scene.listener.accept().await.unwrap();
                let told = told.clone();
                tokio::spawn(async move {
                    while let Some(head) = try_head(&mut server).await {
                        let length = field(&head, "content-length")
                            .map_or(0, |length| length.parse().unwrap());
                        let mut body = vec![0; length];
                        server.read_exact(&mut body).await.unwrap();
                        let _ended = told.send(format!("{head}{}", String::from_utf8_lossy(&body)));
                        server
                            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
                            .await
                            .unwrap();
                    }
                });
            }
        });
        heads
    }
}

/// What a request is signed for.
pub(crate) struct Signing<'a> {
    pub(crate) head: &'a str,
    pub(crate) digest: Option<BodyDigest>,
    pub(crate) wallet: u64,
    pub(crate) at_s: u64,
}

/// The fields of a signature for a head like `GET /path` to `notes.conet`.
pub(crate) fn fields(signing: &Signing<'_>) -> String {
    static NONCE: AtomicU64 = AtomicU64::new(0);
    let (method, target) = signing.head.split_once(' ').unwrap();
    let request = Request::builder()
        .method(method)
        .uri(target)
        .header("host", "notes.conet");
    let request = request.body(()).unwrap();
    let parts = RequestParts::of(&request, signing.digest.is_some()).unwrap();
    let nonce = format!("n{}", NONCE.fetch_add(1, Ordering::Relaxed))
        .parse()
        .unwrap();
    let signer = wallet(signing.wallet);
    let signed = sign(
        &parts,
        signing.digest.as_ref(),
        &signer,
        CHAIN,
        signing.at_s,
        &nonce,
    )
    .unwrap();
    let mut map = HeaderMap::new();
    signed.put_into(&mut map);
    let lines = map
        .iter()
        .map(|(name, value)| format!("{name}: {}\r\n", value.to_str().unwrap()));
    lines.collect()
}

/// A whole request without a body, signed now by wallet 1.
pub(crate) fn get(target: &str, more: &str) -> String {
    let head = format!("GET {target}");
    let signature = fields(&Signing {
        head: &head,
        digest: None,
        wallet: 1,
        at_s: now_s(),
    });
    format!("{head} HTTP/1.1\r\nHost: notes.conet\r\n{signature}{more}Connection: close\r\n\r\n")
}

/// The head of a request with a body of this digest, signed now by wallet 1.
pub(crate) fn post(digest: BodyDigest, more: &str) -> String {
    let signature = fields(&Signing {
        head: "POST /up",
        digest: Some(digest),
        wallet: 1,
        at_s: now_s(),
    });
    format!("POST /up HTTP/1.1\r\nHost: notes.conet\r\n{signature}{more}Connection: close\r\n\r\n")
}

pub(crate) fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = head.split("\r\n").filter_map(|line| line.split_once(": "));
    lines
        .find(|(of, _)| of.eq_ignore_ascii_case(name))
        .map(|(_, value)| value)
}

pub(crate) async fn in_time<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(LONG, future).await {
        Ok(done) => done,
        Err(_) => panic!("{what} took too long"),
    }
}

async fn try_head(from: &mut (impl AsyncRead + Unpin)) -> Option<String> {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\n") {
        bytes.push(from.read_u8().await.ok()?);
    }
    Some(String::from_utf8(bytes).unwrap())
}

/// A head, to its empty line.
pub(crate) async fn head(from: &mut (impl AsyncRead + Unpin)) -> String {
    in_time("a head", try_head(from)).await.unwrap()
}

pub(crate) async fn read(from: &mut (impl AsyncRead + Unpin), len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    in_time("bytes", from.read_exact(&mut bytes)).await.unwrap();
    bytes
}

/// What comes until the end, or until it breaks off.
pub(crate) async fn read_all(from: &mut (impl AsyncRead + Unpin)) -> Vec<u8> {
    let mut bytes = Vec::new();
    let _broke_off = in_time("the end", from.read_to_end(&mut bytes)).await;
    bytes
}
