//! Requests to services are signed for the person, and for nobody else.

use std::net::SocketAddr;
use std::sync::Arc;

use gateway::{Bypass, Config, Signer, SiteIdentity};
use http::Request;
use protocol::target::HostName;
use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;
use signin::{
    BodyDigest, BodyHasher, RequestParts, Verified, Verifier, VerifierConfig, site_wallet,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use wallet::{WalletAddress, WalletKey};

use crate::http::{accept, ask, head};
use crate::scene::{Scene, config, read, read_all};

const CHAIN: u64 = 31_337;
const CHROME: &str = "User-Agent: Mozilla/5.0 (X11; Linux x86_64) Chrome/130\r\n";

fn person() -> WalletKey {
    WalletKey::generate(&mut ChaCha8Rng::seed_from_u64(1))
}

fn site(name: &str) -> WalletAddress {
    site_wallet(&person(), &name.parse().unwrap()).address()
}

fn with(signer: Signer) -> Config {
    Config {
        signer: Some(Arc::new(signer)),
        ..config()
    }
}

async fn start() -> Scene {
    Scene::start_with(with(Signer::new(person(), CHAIN))).await
}

/// What a publisher of these names makes of a head.
fn verified(head: &str, has_body: bool) -> Option<Verified> {
    let mut lines = head.trim_end().split("\r\n");
    let (method, rest) = lines.next().unwrap().split_once(' ').unwrap();
    let mut request = Request::builder()
        .method(method)
        .uri(rest.trim_end_matches(" HTTP/1.1"));
    for line in lines {
        let (name, value) = line.split_once(": ").unwrap();
        request = request.header(name, value);
    }
    let request = request.body(()).unwrap();
    let names = ["notes.conet", "shop.conet", "notes.conet:8080"].map(|name| name.parse().unwrap());
    let verifier = Verifier::new(VerifierConfig::new(CHAIN, names));
    let parts = RequestParts::of(&request, has_body).unwrap();
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    verifier.verify(&parts, now.as_secs()).unwrap()
}

/// Sends a request and gives its head as the origin sees it.
async fn passed(scene: &Scene, listener: &TcpListener, from: &str, request: &str) -> String {
    let mut client = TcpStream::connect((from, scene.http.port())).await.unwrap();
    client.write_all(request.as_bytes()).await.unwrap();
    head(&mut accept(listener).await).await
}

async fn get(
    scene: &Scene,
    listener: &TcpListener,
    url: &str,
    more: &str,
) -> Option<WalletAddress> {
    let request = format!("GET {url} HTTP/1.1\r\nHost: x\r\n{more}\r\n");
    let head = passed(scene, listener, "127.0.0.1", &request).await;
    verified(&head, false).map(|verified| verified.wallet)
}

#[tokio::test]
async fn request_to_a_service_is_signed_by_a_wallet_of_the_site_alone() {
    let scene = start().await;
    let (notes, shop) = (
        scene.server("notes.conet").await,
        scene.server("shop.conet").await,
    );
    for _ in 0..2 {
        assert_eq!(
            get(&scene, &notes, "http://notes.conet/", "").await,
            Some(site("notes.conet"))
        );
        assert_eq!(
            get(&scene, &notes, "http://NOTES.conet:8080/a?b=c", "").await,
            Some(site("notes.conet"))
        );
        assert_eq!(
            get(&scene, &shop, "http://shop.conet/?q", "").await,
            Some(site("shop.conet"))
        );
    }
    assert_ne!(site("notes.conet"), site("shop.conet"));
    assert_ne!(site("notes.conet"), person().address());
}

#[tokio::test]
async fn request_to_any_other_host_is_not_signed() {
    let scene = start().await;
    for host in ["site.example", "conet.example", "notconet", "conet"] {
        let listener = scene.server(host).await;
        let request = format!("GET http://{host}/ HTTP/1.1\r\nHost: x\r\n\r\n");
        let head = passed(&scene, &listener, "127.0.0.1", &request).await;
        assert!(!head.to_lowercase().contains("signature"), "{head}");
    }
}

#[tokio::test]
async fn person_decides_for_each_site() {
    let named = |name: &str| name.parse::<HostName>().unwrap();
    let signer = Signer::new(person(), CHAIN)
        .with_identity(named("notes.conet"), SiteIdentity::Person)
        .with_identity(named("shop.conet"), SiteIdentity::Nobody);
    let scene = Scene::start_with(with(signer)).await;
    let (notes, shop) = (
        scene.server("notes.conet").await,
        scene.server("shop.conet").await,
    );
    assert_eq!(
        get(&scene, &notes, "http://notes.conet/", "").await,
        Some(person().address())
    );
    assert_eq!(get(&scene, &shop, "http://shop.conet/", "").await, None);
    let none = Signer::new(person(), CHAIN).with_default(SiteIdentity::Nobody);
    assert!(none.wallet_for(&named("a.conet")).is_none());
}

#[tokio::test]
async fn request_that_goes_around_the_network_is_not_signed() {
    let bypass: Bypass = "local.conet,127.0.0.1".parse().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let signer = Signer::new(person(), CHAIN).with_spool(folder.path().into(), 1);
    let scene = Scene::start_with(Config {
        bypass,
        ..with(signer)
    })
    .await;
    let listener = scene.server("unused.conet").await;
    let url = format!("http://{}/", listener.local_addr().unwrap());
    assert_eq!(get(&scene, &listener, &url, "").await, None);
    // No name under `.conet` goes around it, whatever the rules say: there is no room for this body, so both would be signed.
    let large = "Connection: close\r\nContent-Length: 2000000\r\n\r\n";
    for name in ["other.conet", "local.conet"] {
        let request = format!("PUT http://{name}/ HTTP/1.1\r\nHost: x\r\n{large}");
        let answer = ask(&scene, &request).await;
        assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    }
}

#[tokio::test]
async fn request_that_its_client_has_signed_is_left_as_it_is() {
    let scene = start().await;
    let listener = scene.server("notes.conet").await;
    let request = "GET http://notes.conet/ HTTP/1.1\r\nHost: x\r\nSignature-Input: a=()\r\nSignature: a=:AA==:\r\n\r\n";
    let head = passed(&scene, &listener, "127.0.0.1", request).await;
    assert!(
        head.contains("Signature-Input: a=()\r\n") && head.contains("Signature: a=:AA==:\r\n"),
        "{head}"
    );
}

#[tokio::test]
async fn body_is_signed_with_its_digest_however_it_is_framed() {
    let scene = start().await;
    let listener = scene.server("notes.conet").await;
    for framed in [
        "Content-Length: 8\r\n\r\nbuy milk",
        "Transfer-Encoding: chunked\r\n\r\n4\r\nbuy \r\n4\r\nmilk\r\n0\r\n\r\n",
    ] {
        let mut client = TcpStream::connect(scene.http).await.unwrap();
        let request = format!(
            "POST http://notes.conet/notes HTTP/1.1\r\nHost: x\r\nContent-Digest: sha-256=:AA==:\r\n{framed}"
        );
        client.write_all(request.as_bytes()).await.unwrap();
        let mut origin = accept(&listener).await;
        let arrived = head(&mut origin).await;
        let signed = verified(&arrived, true).unwrap();
        assert_eq!(signed.digest, Some(BodyDigest::of(b"buy milk")));
        assert!(
            arrived.to_lowercase().contains("content-length: 8\r\n"),
            "{arrived}"
        );
        assert_eq!(read(&mut origin, 8).await, b"buy milk");
    }
    // A body that turns out empty is none.
    let request = "POST http://notes.conet/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    let arrived = passed(&scene, &listener, "127.0.0.1", request).await;
    assert_eq!(verified(&arrived, false).unwrap().digest, None);
}

#[tokio::test]
async fn large_body_is_kept_in_a_file_that_nobody_sees_until_it_is_signed() {
    const BYTES: usize = 24 << 20;
    let folder = tempfile::tempdir().unwrap();
    let signer = Signer::new(person(), CHAIN).with_spool(folder.path().into(), BYTES as u64);
    let scene = Scene::start_with(with(signer)).await;
    let listener = scene.server("notes.conet").await;
    let body: Vec<u8> = (0..BYTES).map(|at| (at / 251) as u8).collect();
    // A second one after the first: its room has been given back.
    for _ in 0..2 {
        let mut client = TcpStream::connect(scene.http).await.unwrap();
        let request = format!(
            "PUT http://notes.conet/file HTTP/1.1\r\nHost: x\r\nContent-Length: {BYTES}\r\n\r\n"
        );
        client.write_all(request.as_bytes()).await.unwrap();
        let sent = body.clone();
        let sending = tokio::spawn(async move {
            client.write_all(&sent).await.unwrap();
            client
        });
        let mut origin = accept(&listener).await;
        let arrived = head(&mut origin).await;
        let signed = verified(&arrived, true).unwrap();
        let mut hasher = BodyHasher::default();
        let mut left = BYTES;
        let mut buffer = vec![0; 65536];
        while left > 0 {
            let read = origin.read(&mut buffer).await.unwrap();
            hasher.update(&buffer[..read]);
            left -= read;
        }
        let digest = hasher.finish();
        assert_eq!(signed.digest, Some(digest));
        assert_eq!(digest, BodyDigest::of(&body));
        assert_eq!(
            std::fs::read_dir(folder.path()).unwrap().count(),
            0,
            "files have no names"
        );
        origin
            .write_all(b"HTTP/1.1 204 Done\r\n\r\n")
            .await
            .unwrap();
        let mut client = sending.await.unwrap();
        assert!(head(&mut client).await.starts_with("HTTP/1.1 204 "));
    }
    // Larger than the room, announced and not.
    let announced = format!(
        "PUT http://notes.conet/file HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        BYTES + 1
    );
    let answer = ask(&scene, &announced).await;
    assert!(
        answer.starts_with("HTTP/1.1 413 ") && answer.contains("--no-sign"),
        "{answer}"
    );
    let mut client = TcpStream::connect(scene.http).await.unwrap();
    let chunked = "PUT http://notes.conet/file HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n";
    client
        .write_all(format!("{chunked}{:x}\r\n", BYTES + 1).as_bytes())
        .await
        .unwrap();
    let (mut from, mut to) = client.into_split();
    tokio::spawn(async move {
        let _refused = to.write_all(&body).await;
        let _refused = to.write_all(b"x\r\n0\r\n\r\n").await;
    });
    let mut answer = vec![0; 12];
    from.read_exact(&mut answer).await.unwrap();
    assert_eq!(answer, b"HTTP/1.1 413");
}

#[tokio::test]
async fn websocket_is_opened_signed() {
    let scene = start().await;
    let listener = scene.server("notes.conet").await;
    let more = format!(
        "{CHROME}Origin: http://notes.conet\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    );
    assert_eq!(
        get(&scene, &listener, "http://notes.conet/socket", &more).await,
        Some(site("notes.conet"))
    );
    let more = more.replace("http://notes.conet", "http://evil.test");
    assert_eq!(
        get(&scene, &listener, "http://notes.conet/socket", &more).await,
        None
    );
}

#[tokio::test]
async fn browser_that_opens_a_service_is_known_there() {
    let scene = start().await;
    let listener = scene.server("notes.conet").await;
    for more in [
        "Upgrade-Insecure-Requests: 1\r\n",
        "Sec-Fetch-Site: none\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document\r\n",
        "Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document\r\n",
        "Referer: http://notes.conet/\r\n",
    ] {
        let wallet = get(
            &scene,
            &listener,
            "http://notes.conet/",
            &format!("{CHROME}{more}"),
        )
        .await;
        assert_eq!(wallet, Some(site("notes.conet")), "{more}");
    }
}

#[tokio::test]
async fn page_of_another_site_makes_nobody_sign() {
    let scene = start().await;
    let listener = scene.server("notes.conet").await;
    for more in [
        // fetch("http://notes.conet/", {mode: "no-cors", method: "POST"}), a form, and one that hides its page.
        "Origin: http://evil.test\r\nReferer: http://evil.test/\r\n",
        "Origin: http://evil.test\r\nUpgrade-Insecure-Requests: 1\r\n",
        "Origin: null\r\nUpgrade-Insecure-Requests: 1\r\n",
        "Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document\r\n",
        "Sec-Fetch-Site: same-site\r\nSec-Fetch-Mode: no-cors\r\nSec-Fetch-Dest: empty\r\n",
    ] {
        let request = format!(
            "POST http://notes.conet/notes HTTP/1.1\r\nHost: x\r\n{CHROME}{more}Content-Length: 6\r\n\r\ntext=x"
        );
        let head = passed(&scene, &listener, "127.0.0.1", &request).await;
        assert_eq!(verified(&head, true), None, "{more}");
    }
    // <img src="http://notes.conet/…">, with and without a referrer, and a frame.
    for more in [
        "",
        "Referer: http://evil.test/\r\n",
        "Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: no-cors\r\nSec-Fetch-Dest: image\r\n",
        "Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: iframe\r\n",
    ] {
        let wallet = get(
            &scene,
            &listener,
            "http://notes.conet/delete",
            &format!("{CHROME}{more}"),
        )
        .await;
        assert_eq!(wallet, None, "{more}");
    }
}

#[tokio::test]
async fn page_that_reaches_the_listener_itself_gets_nothing_signed() {
    let scene = start().await;
    let listener = scene.server("notes.conet").await;
    let port = scene.http.port();
    // fetch("http://127.0.0.1:8080/"), a name that was rebound to 127.0.0.1, and a service's name sent to the listener as
    // if it were the service.
    for (line, host) in [
        ("GET /", format!("127.0.0.1:{port}")),
        ("POST /notes", format!("127.0.0.1:{port}")),
        ("GET /", format!("evil.test:{port}")),
        ("GET /", "notes.conet".to_owned()),
        ("POST /notes", format!("notes.conet:{port}")),
    ] {
        let request = format!(
            "{line} HTTP/1.1\r\nHost: {host}\r\n{CHROME}Origin: http://evil.test\r\nConnection: close\r\n\r\n"
        );
        let answer = ask(&scene, &request).await;
        assert!(
            answer.starts_with("HTTP/1.1 403 "),
            "{line} {host}: {answer}"
        );
        assert!(!answer.to_lowercase().contains("signature"), "{answer}");
    }
    let asked = scene.script.asks.lock().len();
    assert_eq!(asked, 0, "nothing went out");
    drop(listener);
}

#[tokio::test]
async fn client_on_another_machine_signs_for_nobody() {
    let every = Some(SocketAddr::from(([0, 0, 0, 0], 0)));
    let remote = Config {
        http: every,
        socks: every,
        allow_remote: true,
        ..with(Signer::new(person(), CHAIN))
    };
    let scene = Scene::start_with(remote).await;
    let listener = scene.server("notes.conet").await;
    assert!(
        get(&scene, &listener, "http://notes.conet/", "")
            .await
            .is_some(),
        "who is on this one does"
    );
    // As if it were another machine: an address of this one that is not a loopback one, where there is any.
    let probe = std::net::UdpSocket::bind("0.0.0.0:0").unwrap();
    let outside = probe
        .connect("192.0.2.1:9")
        .and_then(|()| probe.local_addr());
    let Ok(outside) = outside else { return };
    let request = "GET http://notes.conet/ HTTP/1.1\r\nHost: x\r\n\r\n";
    let head = passed(&scene, &listener, &outside.ip().to_string(), request).await;
    assert!(!head.to_lowercase().contains("signature"), "{head}");
}

#[tokio::test]
async fn tunnel_to_a_service_carries_what_its_client_says() {
    let scene = start().await;
    let listener = scene.server("notes.conet").await;
    let mut client = TcpStream::connect(scene.http).await.unwrap();
    client
        .write_all(b"CONNECT notes.conet:80 HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .unwrap();
    let mut origin = accept(&listener).await;
    head(&mut client).await;
    client
        .write_all(b"GET / HTTP/1.1\r\nHost: notes.conet\r\n\r\n")
        .await
        .unwrap();
    assert_eq!(
        head(&mut origin).await,
        "GET / HTTP/1.1\r\nHost: notes.conet\r\n\r\n"
    );
    drop(origin);
    assert_eq!(read_all(&mut client).await.unwrap(), b"");
}
