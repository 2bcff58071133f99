//! Who is let in, and what strangers may ask.

use crate::fixture::{Fixture, config, signed, transfer};
use chain::{Chain, ChainConfig, ChainError, ConfigError};
use serde_json::json;
use tokio_util::sync::CancellationToken;

const REQUEST: &[u8] = br#"{"jsonrpc":"2.0","id":1,"method":"eth_chainId"}"#;
const JSON: &str = "Content-Type: application/json\r\n";

#[tokio::test(flavor = "multi_thread")]
async fn request_with_a_foreign_host_is_refused() {
    let fixture = Fixture::start(config()).await;
    for (host, status) in [
        ("Host: 127.0.0.1:8545\r\n", 200),
        ("Host: localhost\r\n", 200),
        ("Host: [::1]:8545\r\n", 200),
        ("Host: evil.example\r\n", 403),
        ("Host: evil.example:8545\r\n", 403),
        ("Host: 192.0.2.1\r\n", 403),
        ("", 403),
        ("Host: localhost\r\nHost: evil.example\r\n", 403),
    ] {
        let headers = format!("{host}{JSON}");
        let (got, _, body) = fixture.http("POST", &headers, REQUEST).await;
        assert_eq!(got, status, "{host}: {body}");
        assert_eq!(body.contains("0x7a69"), status == 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn request_with_a_foreign_origin_is_refused_and_nothing_is_granted() {
    let fixture = Fixture::start(config()).await;
    for origin in [
        "https://evil.example",
        "null",
        "http://127.0.0.1.evil.example",
    ] {
        let headers = format!("Host: localhost\r\n{JSON}Origin: {origin}\r\n");
        for method in ["POST", "OPTIONS"] {
            let (status, head, _) = fixture.http(method, &headers, REQUEST).await;
            assert_eq!(status, 403, "{method} {origin}");
            assert!(!head.contains("access-control"), "{head}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn request_of_a_local_page_or_a_wallet_extension_is_granted() {
    let fixture = Fixture::start(config()).await;
    for origin in [
        "http://localhost:5173",
        "chrome-extension://nkbihfbeogaeaoehlefnkodbefgpgknn",
    ] {
        let headers = format!("Host: localhost\r\n{JSON}Origin: {origin}\r\n");
        let granted = format!("access-control-allow-origin: {origin}");
        let (status, head, _) = fixture.http("OPTIONS", &headers, b"").await;
        assert_eq!(status, 204);
        assert!(
            head.contains(&granted) && head.contains("access-control-allow-headers: content-type")
        );
        let (status, head, body) = fixture.http("POST", &headers, REQUEST).await;
        assert_eq!(status, 200);
        assert!(head.contains(&granted) && body.contains("0x7a69"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn request_that_is_no_json_post_is_refused() {
    let fixture = Fixture::start(config()).await;
    let host = "Host: localhost\r\n";
    let (status, head, _) = fixture.http("GET", host, b"").await;
    assert_eq!(status, 405);
    assert!(head.contains("allow: post, options"));
    for kind in ["", "Content-Type: text/plain\r\n"] {
        let (status, ..) = fixture
            .http("POST", &format!("{host}{kind}"), REQUEST)
            .await;
        assert_eq!(status, 415);
    }
    let charset = format!("{host}Content-Type: application/json; charset=utf-8\r\n");
    assert_eq!(fixture.http("POST", &charset, REQUEST).await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn request_larger_than_the_bound_is_refused() {
    let fixture = Fixture::start(config()).await;
    let headers = format!("Host: localhost\r\n{JSON}");
    let mut body = REQUEST.to_vec();
    body.resize(1024 * 1024, b' ');
    assert_eq!(fixture.http("POST", &headers, &body).await.0, 200);
    body.push(b' ');
    assert_eq!(fixture.http("POST", &headers, &body).await.0, 413);
}

#[tokio::test(flavor = "multi_thread")]
async fn chain_beyond_loopback_does_not_start_unless_exposed() {
    for listen in ["0.0.0.0:0", "192.0.2.1:0", "[::]:0"] {
        let config = ChainConfig {
            listen: listen.parse().unwrap(),
            ..config()
        };
        let error = Chain::start(config, CancellationToken::new()).await;
        assert!(matches!(
            error,
            Err(ChainError::Config(ConfigError::NotLoopback(_)))
        ));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn chain_exposed_serves_reads_and_transactions_and_nothing_else() {
    let exposed = ChainConfig {
        exposed: Some("127.0.0.1".parse().unwrap()),
        test_controls: true,
        ..config()
    };
    let fixture = Fixture::start(exposed).await;
    let raw = signed(transfer(0)).await;
    fixture.get("eth_sendRawTransaction", json!([raw])).await;
    assert_eq!(fixture.get("eth_blockNumber", json!([])).await, "0x1");
    for method in ["evm_mine", "conet_reorg"] {
        let error = fixture.call(method, json!([1])).await.unwrap_err();
        assert_eq!(error["code"], -32601);
    }
}
