//! Any body to the local chain's JSON-RPC: an answer that is JSON, never an internal error, and the chain stays.
#![no_main]
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::{LazyLock, Mutex};

use chain::{Chain, ChainConfig, RunningChain};
use serde_json::Value;
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

const INTERNAL_ERROR: i64 = -32603;

static CHAIN: LazyLock<(Runtime, RunningChain, Mutex<Option<TcpStream>>)> = LazyLock::new(|| {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    // Rust programs ignore this signal from their beginning, but here main is the fuzzer's.
    let _ = runtime.block_on(async { signal(SignalKind::pipe()) }).unwrap();
    let config = ChainConfig { test_controls: false, ..ChainConfig::default() };
    let chain = runtime.block_on(Chain::start(config, CancellationToken::new())).unwrap();
    (runtime, chain, Mutex::new(None))
});

/// Posts a body over a connection that is kept; returns status and body.
fn post(body: &[u8]) -> Option<(u16, Vec<u8>)> {
    let authority = CHAIN.1.rpc_url().strip_prefix("http://")?.trim_end_matches('/').to_owned();
    let mut held = CHAIN.2.lock().ok()?;
    let mut socket = held.take().or_else(|| TcpStream::connect(&authority).ok())?;
    let head = format!("POST / HTTP/1.1\r\nhost: {authority}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n", body.len());
    // In one piece: what comes in two waits for the other side's delayed acknowledgement.
    socket.write_all(&[head.as_bytes(), body].concat()).ok()?;
    let mut answer = Vec::new();
    let (head_end, length) = loop {
        let mut piece = [0; 4096];
        let read = socket.read(&mut piece).ok().filter(|read| *read > 0)?;
        answer.extend_from_slice(&piece[..read]);
        let Some(end) = answer.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(&answer[..end]).to_ascii_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
        break (end + 4, length.unwrap_or(0));
    };
    while answer.len() < head_end + length {
        let mut piece = [0; 4096];
        let read = socket.read(&mut piece).ok().filter(|read| *read > 0)?;
        answer.extend_from_slice(&piece[..read]);
    }
    let status = std::str::from_utf8(answer.get(9..12)?).ok()?.parse().ok()?;
    *held = Some(socket);
    Some((status, answer.split_off(head_end)))
}

fn check(answer: &Value) {
    assert_ne!(answer["error"]["code"], INTERNAL_ERROR, "{answer}");
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Some((200, body)) = post(bytes)
        && !body.is_empty()
    {
        match serde_json::from_slice(&body).expect("an answer is JSON") {
            Value::Array(answers) => answers.iter().for_each(check),
            answer => check(&answer),
        }
    }
    let alive = post(br#"{"jsonrpc":"2.0","id":1,"method":"eth_chainId"}"#)
        .or_else(|| post(br#"{"jsonrpc":"2.0","id":1,"method":"eth_chainId"}"#));
    let (status, body) = alive.expect("the chain answers");
    assert_eq!(status, 200);
    assert!(body.windows(6).any(|six| six == b"0x7a69"));
});
