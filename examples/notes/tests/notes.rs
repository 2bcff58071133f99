//! The service behind a publisher, asked by wallets.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests are outside of test functions"
)]

use std::net::SocketAddr;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use http::Request;
use notes::{MAX_NOTE_CHARS, MAX_NOTES, Notes};
use publisher::{Config, Publisher};
use rand::SeedableRng as _;
use rand::rngs::{OsRng, StdRng};
use signin::{BodyDigest, Nonce, RequestParts, sign};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use wallet::WalletKey;

const CHAIN: u64 = 31_337;

struct Service {
    publisher: Publisher,
    direct: SocketAddr,
}

async fn start(db: &Path) -> Service {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let direct = listener.local_addr().unwrap();
    let router = notes::router(Notes::open(db).unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    let target = format!("http://{direct}").parse().unwrap();
    let publisher = Publisher::new(Config::new(target, CHAIN, ["notes.conet".parse().unwrap()]));
    Service { publisher, direct }
}

fn wallet(seed: u64) -> WalletKey {
    WalletKey::generate(&mut StdRng::seed_from_u64(seed))
}

impl Service {
    /// Asks through the publisher, signed by a wallet or by nobody.
    async fn ask(
        &self,
        by: Option<u64>,
        method: &str,
        path: &str,
        more: &str,
        form: &str,
    ) -> String {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "notes.conet")
            .body(())
            .unwrap();
        if let Some(by) = by {
            let has_body = !form.is_empty();
            let digest = has_body.then(|| BodyDigest::of(form.as_bytes()));
            let parts = RequestParts::of(&request, has_body).unwrap();
            let now_s = SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap()
                .as_secs();
            let signed = sign(
                &parts,
                digest.as_ref(),
                &wallet(by),
                CHAIN,
                now_s,
                &Nonce::generate(&mut OsRng),
            );
            signed.unwrap().put_into(request.headers_mut());
        }
        let mut text = format!("{method} {path} HTTP/1.1\r\n{more}Connection: close\r\n");
        for (name, value) in request.headers() {
            text += &format!("{name}: {}\r\n", value.to_str().unwrap());
        }
        if method == "POST" {
            text += &format!(
                "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n",
                form.len()
            );
        }
        let (mut near, far) = tokio::io::duplex(64 * 1024);
        let publisher = self.publisher.clone();
        tokio::spawn(async move { publisher.serve(far).await });
        near.write_all(format!("{text}\r\n{form}").as_bytes())
            .await
            .unwrap();
        let mut answer = String::new();
        near.read_to_string(&mut answer).await.unwrap();
        answer
    }

    async fn list(&self, by: u64) -> String {
        self.ask(Some(by), "GET", "/", "", "").await
    }

    async fn add(&self, by: u64, text: &str) -> String {
        self.ask(
            Some(by),
            "POST",
            "/notes",
            "Origin: http://notes.conet\r\n",
            &format!("text={text}"),
        )
        .await
    }
}

fn ids(page: &str) -> Vec<&str> {
    page.split("action=\"/notes/")
        .skip(1)
        .map(|rest| rest.split('/').next().unwrap())
        .collect()
}

#[tokio::test]
async fn wallet_finds_its_notes_again_and_nobody_elses() {
    let folder = tempfile::tempdir().unwrap();
    let db = folder.path().join("notes.db");
    let service = start(&db).await;
    assert!(service.list(1).await.contains("No notes yet"));
    let added = service.add(1, "buy+milk%0D%0A%3Cscript%3E+%26+%22").await;
    assert!(
        added.starts_with("HTTP/1.1 303 ") && added.contains("location: /\r\n"),
        "{added}"
    );
    service.add(2, "another+person").await;
    let page = service.list(1).await;
    assert!(
        page.contains(&format!("You are <code>{}</code>", wallet(1).address())),
        "{page}"
    );
    assert!(
        page.contains("buy milk\n&lt;script> &amp; &quot;</p>"),
        "{page}"
    );
    assert!(!page.contains("another person"));
    // After a restart too.
    let again = start(&db).await;
    assert!(again.list(1).await.contains("buy milk"));
    assert!(again.list(3).await.contains("No notes yet"));
}

#[tokio::test]
async fn note_is_deleted_by_its_own_wallet_only() {
    let folder = tempfile::tempdir().unwrap();
    let service = start(&folder.path().join("notes.db")).await;
    for text in ["one", "two"] {
        service.add(1, text).await;
    }
    let page = service.list(1).await;
    let path = format!("/notes/{}/delete", ids(&page)[0]);
    assert!(
        service
            .ask(Some(2), "POST", &path, "", "")
            .await
            .starts_with("HTTP/1.1 303 ")
    );
    assert_eq!(
        ids(&service.list(1).await).len(),
        2,
        "the other wallet deleted nothing"
    );
    service.ask(Some(1), "POST", &path, "", "").await;
    let page = service.list(1).await;
    assert!(
        page.contains("<p>one</p>") && !page.contains("<p>two</p>"),
        "{page}"
    );
}

#[tokio::test]
async fn nobody_is_told_so_and_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let service = start(&folder.path().join("notes.db")).await;
    let page = service
        .ask(
            None,
            "GET",
            "/",
            "Conet-Wallet: 0x52908400098527886E0F7030069857D2E4169EE7\r\n",
            "",
        )
        .await;
    assert!(
        page.starts_with("HTTP/1.1 200 ") && page.contains("You are nobody here yet"),
        "{page}"
    );
    let answer = service.ask(None, "POST", "/notes", "", "text=x").await;
    assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
    // Signed, as it should not be, and caused by a page of another site.
    for origin in [
        "http://evil.test",
        "null",
        "https://notes.conet",
        "http://notes.conet\r\nOrigin: http://evil.test",
    ] {
        let more = format!("Origin: {origin}\r\n");
        let answer = service
            .ask(Some(1), "POST", "/notes", &more, "text=x")
            .await;
        assert!(answer.starts_with("HTTP/1.1 401 "), "{origin}: {answer}");
    }
    assert!(service.list(1).await.contains("No notes yet"));
}

#[tokio::test]
async fn wallet_that_is_none_is_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let service = start(&folder.path().join("notes.db")).await;
    for wallet in [
        "0x12",
        "x",
        "0x52908400098527886E0F7030069857D2E4169EEz",
        "0x52908400098527886E0F7030069857D2E4169EE7\r\nConet-Wallet: 0x1",
    ] {
        let mut server = TcpStream::connect(service.direct).await.unwrap();
        let request = format!(
            "GET / HTTP/1.1\r\nHost: x\r\nConet-Wallet: {wallet}\r\nConnection: close\r\n\r\n"
        );
        server.write_all(request.as_bytes()).await.unwrap();
        let mut page = String::new();
        server.read_to_string(&mut page).await.unwrap();
        assert!(page.contains("You are nobody here yet"), "{wallet}: {page}");
    }
}

#[tokio::test]
async fn notes_have_limits_and_the_page_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let db = folder.path().join("notes.db");
    let service = start(&db).await;
    for (text, said, shown) in [
        ("+%0A", "empty", "Write something first"),
        (&"x".repeat(MAX_NOTE_CHARS + 1), "long", "too long"),
    ] {
        let answer = service.add(1, text).await;
        assert!(
            answer.contains(&format!("location: /?said={said}\r\n")),
            "{answer}"
        );
        let page = service
            .ask(Some(1), "GET", &format!("/?said={said}"), "", "")
            .await;
        assert!(page.contains(shown), "{page}");
    }
    assert!(
        service
            .add(1, &"x".repeat(40_000))
            .await
            .starts_with("HTTP/1.1 413 ")
    );
    let notes = Notes::open(&db).unwrap();
    for _ in 0..MAX_NOTES {
        notes.add("0x1", "x").unwrap();
    }
    assert!(matches!(
        notes.add("0x1", "x"),
        Err(notes::NotesError::Full)
    ));
    notes.add("0x2", "x").unwrap();
}

#[tokio::test]
async fn page_runs_nothing_and_is_framed_by_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let service = start(&folder.path().join("notes.db")).await;
    let page = service.list(1).await;
    for part in [
        "default-src 'none'",
        "frame-ancestors 'none'",
        "referrer-policy: same-origin",
        "no-store",
    ] {
        assert!(page.contains(part), "{part}: {page}");
    }
    assert!(!page.contains("<script") && !page.to_lowercase().contains("set-cookie"));
    assert!(
        service
            .ask(Some(1), "GET", "/x", "", "")
            .await
            .starts_with("HTTP/1.1 404 ")
    );
}
