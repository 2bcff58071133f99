//! Who asks, and what a server is told of it.

use std::sync::Arc;

use http::HeaderValue;
use signin::{BodyDigest, CLOCK_SKEW_S, DEFAULT_VALIDITY_S};
use tokio::io::AsyncWriteExt as _;

use crate::scene::{Scene, Signing, field, fields, get, head, now_s, post, read, wallet};

const FORGED: &str =
    "Conet-Wallet: 0x1\r\nCONET_WALLET: 0x2\r\nconet.wallet: 0x3\r\nConetWallet: 0x4\r\n";

#[tokio::test]
async fn server_is_told_the_wallet_that_signed_and_no_other() {
    let scene = Scene::start().await;
    let mut caller = scene.caller();
    caller
        .write_all(
            get(
                "/list?page=1",
                &format!("{FORGED}Connection: Conet-Wallet\r\n"),
            )
            .as_bytes(),
        )
        .await
        .unwrap();
    let arrived = head(&mut scene.server().await).await;
    assert!(
        arrived.starts_with("GET /list?page=1 HTTP/1.1\r\n"),
        "{arrived}"
    );
    let told = wallet(1).address().to_string();
    assert_eq!(field(&arrived, "conet-wallet"), Some(told.as_str()));
    let lower = arrived.to_lowercase();
    for spelled in [
        "0x1\r",
        "0x2\r",
        "0x3\r",
        "0x4\r",
        "conet_wallet",
        "conet.wallet",
    ] {
        assert!(!lower.contains(spelled), "{arrived}");
    }
}

#[tokio::test]
async fn server_is_told_no_wallet_where_nobody_signed() {
    let scene = Scene::start().await;
    let mut caller = scene.caller();
    let request = format!(
        "GET / HTTP/1.1\r\nHost: Any.Conet:81\r\n{FORGED}Connection: X-Hop, Conet-Wallet\r\nX-Hop: 1\r\nTE: trailers\r\nX-Kept: 2\r\n\r\n"
    );
    caller.write_all(request.as_bytes()).await.unwrap();
    let arrived = head(&mut scene.server().await).await;
    let mut lines: Vec<_> = arrived.trim_end().split("\r\n").collect();
    assert_eq!(lines.remove(0), "GET / HTTP/1.1");
    lines.sort_unstable();
    assert_eq!(lines, ["Host: Any.Conet:81", "X-Kept: 2"]);
}

#[tokio::test]
async fn wallet_in_a_trailer_reaches_no_server() {
    let scene = Scene::start().await;
    let mut caller = scene.caller();
    let request = "POST / HTTP/1.1\r\nHost: notes.conet\r\nTransfer-Encoding: chunked\r\nTrailer: Conet-Wallet\r\n\r\n\
        2\r\nhi\r\n0\r\nConet-Wallet: 0x1\r\n\r\n";
    caller.write_all(request.as_bytes()).await.unwrap();
    let mut server = scene.server().await;
    assert!(!head(&mut server).await.to_lowercase().contains("wallet"));
    assert_eq!(read(&mut server, 12).await, b"2\r\nhi\r\n0\r\n\r\n");
}

#[tokio::test]
async fn host_is_passed_on_as_written_or_as_the_publisher_is_told() {
    let scene =
        Scene::start_with(|config| config.host = Some(HeaderValue::from_static("localhost"))).await;
    let mut caller = scene.caller();
    caller.write_all(get("/", "").as_bytes()).await.unwrap();
    let arrived = head(&mut scene.server().await).await;
    assert_eq!(field(&arrived, "host"), Some("localhost"));
    assert!(
        field(&arrived, "conet-wallet").is_some(),
        "what was signed is what the caller wrote"
    );
}

#[tokio::test]
async fn request_that_is_sent_again_is_refused() {
    let scene = Arc::new(Scene::start().await);
    let _heads = scene.serve();
    let request = get("/", "");
    assert!(scene.ask(&request).await.starts_with("HTTP/1.1 200 "));
    let again = scene.ask(&request).await;
    assert!(again.starts_with("HTTP/1.1 401 "), "{again}");
    assert!(
        again.ends_with("the request was sent before; sign it again\n"),
        "{again}"
    );
}

#[tokio::test]
async fn signature_that_does_not_count_never_reaches_the_server() {
    let scene = Scene::start().await;
    let signed = |head: &str, at_s| {
        fields(&Signing {
            head,
            digest: None,
            wallet: 1,
            at_s,
        })
    };
    let now_s = now_s();
    let good = signed("GET /", now_s);
    for (what, line, host, signature, says) in [
        (
            "another path",
            "GET /admin",
            "notes.conet",
            &good,
            "or the request was changed",
        ),
        (
            "another method",
            "DELETE /",
            "notes.conet",
            &good,
            "or the request was changed",
        ),
        (
            "another query",
            "GET /?all",
            "notes.conet",
            &good,
            "does not cover @query",
        ),
        (
            "another host",
            "GET /",
            "bank.conet",
            &good,
            "another service",
        ),
        (
            "another port",
            "GET /",
            "notes.conet:81",
            &good,
            "another service",
        ),
        (
            "an old one",
            "GET /",
            "notes.conet",
            &signed("GET /", now_s - DEFAULT_VALIDITY_S - CLOCK_SKEW_S - 5),
            "expired",
        ),
        (
            "a future one",
            "GET /",
            "notes.conet",
            &signed("GET /", now_s + CLOCK_SKEW_S + 60),
            "clock skew",
        ),
        (
            "a half one",
            "GET /",
            "notes.conet",
            &good.replace("signature: ", "x: "),
            "its Signature is missing",
        ),
        (
            "garbage",
            "GET /",
            "notes.conet",
            &"signature-input: ((\r\n".to_owned(),
            "can't be read",
        ),
    ] {
        let request =
            format!("{line} HTTP/1.1\r\nHost: {host}\r\n{signature}Connection: close\r\n\r\n");
        let answer = scene.ask(&request).await;
        assert!(
            answer.starts_with("HTTP/1.1 401 ") && answer.contains(says),
            "{what}: {answer}"
        );
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        assert_eq!(body.matches('\n').count(), 1, "one line: {body}");
    }
    let unsigned = "POST / HTTP/1.1\r\nHost: notes.conet\r\nContent-Length: 2\r\n";
    let uncovered = signed("POST /", now_s);
    let answer = scene
        .ask(format!("{unsigned}{uncovered}Connection: close\r\n\r\nhi"))
        .await;
    assert!(
        answer.starts_with("HTTP/1.1 401 ") && answer.contains("content-digest"),
        "{answer}"
    );
    assert!(scene.is_untouched().await);
}

#[tokio::test]
async fn service_with_a_list_is_open_to_its_wallets_only() {
    let allow = [wallet(1).address()].into();
    let scene = Arc::new(Scene::start_with(|config| config.allow = Some(allow)).await);
    let mut heads = scene.serve();
    let unsigned =
        "GET / HTTP/1.1\r\nHost: notes.conet\r\nConet-Wallet: 0x1\r\nConnection: close\r\n\r\n";
    let answer = scene.ask(unsigned).await;
    assert!(
        answer.starts_with("HTTP/1.1 401 ") && answer.contains("a wallet has signed"),
        "{answer}"
    );
    let stranger = fields(&Signing {
        head: "GET /",
        digest: None,
        wallet: 2,
        at_s: now_s(),
    });
    let answer = scene
        .ask(format!(
            "GET / HTTP/1.1\r\nHost: notes.conet\r\n{stranger}Connection: close\r\n\r\n"
        ))
        .await;
    assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
    assert!(heads.try_recv().is_err(), "neither has reached the server");
    assert!(scene.ask(get("/", "")).await.starts_with("HTTP/1.1 200 "));
}

#[tokio::test]
async fn small_body_that_was_not_signed_never_reaches_the_server() {
    let scene = Arc::new(Scene::start().await);
    let mut heads = scene.serve();
    let digest = BodyDigest::of(b"buy milk");
    for (framing, body) in [
        ("Content-Length: 8\r\n", "buy silk"),
        (
            "Transfer-Encoding: chunked\r\n",
            "4\r\nbuy \r\n4\r\nsilk\r\n0\r\n\r\n",
        ),
        ("Transfer-Encoding: chunked\r\n", "0\r\n\r\n"),
    ] {
        let answer = scene.ask(format!("{}{body}", post(digest, framing))).await;
        assert!(answer.starts_with("HTTP/1.1 401 "), "{framing}: {answer}");
        assert!(
            answer.ends_with("the body is not the one that was signed\n"),
            "{answer}"
        );
    }
    assert!(heads.try_recv().is_err());
    for (framing, body) in [
        ("Content-Length: 8\r\n", "buy milk"),
        (
            "Transfer-Encoding: chunked\r\n",
            "4\r\nbuy \r\n4\r\nmilk\r\n0\r\n\r\n",
        ),
    ] {
        let answer = scene.ask(format!("{}{body}", post(digest, framing))).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{framing}: {answer}");
        assert!(
            heads.recv().await.unwrap().ends_with("\r\n\r\nbuy milk"),
            "with its length"
        );
    }
}
