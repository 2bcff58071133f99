//! Bodies: large ones, forged ones, and those that never end.

use signin::{BodyDigest, BodyHasher};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::scene::{Scene, field, get, head, in_time, post, read, read_all};

const CHUNK: usize = 64 * 1024;

/// A part of a large body; each differs from the others.
fn part(number: u64) -> Vec<u8> {
    let mut part = vec![0x5a; CHUNK];
    part[..8].copy_from_slice(&number.to_be_bytes());
    part
}

fn digest(parts: u64) -> BodyDigest {
    let mut hasher = BodyHasher::default();
    (0..parts).for_each(|number| hasher.update(&part(number)));
    hasher.finish()
}

async fn write_parts(to: &mut (impl tokio::io::AsyncWrite + Unpin), parts: u64) {
    for number in 0..parts {
        in_time("room for a part", to.write_all(&part(number)))
            .await
            .unwrap();
    }
}

async fn read_parts(from: &mut (impl tokio::io::AsyncRead + Unpin), parts: u64) -> BodyDigest {
    let mut hasher = BodyHasher::default();
    let mut bytes = vec![0; CHUNK];
    for _ in 0..parts {
        in_time("a part", from.read_exact(&mut bytes))
            .await
            .unwrap();
        hasher.update(&bytes);
    }
    hasher.finish()
}

/// Most memory that this process has had, in bytes.
fn peak_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmHWM:"))
        .unwrap();
    line.split_whitespace()
        .nth(1)
        .unwrap()
        .parse::<u64>()
        .unwrap()
        * 1024
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gigabyte_passes_both_ways_in_little_memory() {
    const PARTS: u64 = 1 << 14;
    let (scene, length) = (Scene::start().await, PARTS * CHUNK as u64);
    let (digest, before) = (digest(PARTS), peak_bytes());
    let mut caller = scene.caller();
    let request = post(digest, &format!("Content-Length: {length}\r\n"));
    caller.write_all(request.as_bytes()).await.unwrap();
    let served = async {
        let mut server = scene.server().await;
        let arrived = head(&mut server).await;
        assert_eq!(
            field(&arrived, "content-length"),
            Some(length.to_string().as_str())
        );
        assert_eq!(read_parts(&mut server, PARTS).await, digest);
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
        server.write_all(answer.as_bytes()).await.unwrap();
        write_parts(&mut server, PARTS).await;
    };
    let asked = async {
        write_parts(&mut caller, PARTS).await;
        assert!(head(&mut caller).await.starts_with("HTTP/1.1 200 "));
        assert_eq!(read_parts(&mut caller, PARTS).await, digest);
    };
    tokio::join!(served, asked);
    let grown = peak_bytes().saturating_sub(before);
    assert!(grown < 64 << 20, "{grown} bytes more for {length}");
}

#[tokio::test]
async fn large_body_that_was_not_signed_is_broken_off_before_its_end() {
    const PARTS: u64 = 64;
    let length = PARTS * CHUNK as u64;
    for framing in [
        format!("Content-Length: {length}\r\n"),
        "Transfer-Encoding: chunked\r\n".into(),
    ] {
        let scene = Scene::start().await;
        let is_chunked = framing.starts_with('T');
        let (mut from_caller, mut to_publisher) = tokio::io::split(scene.caller());
        // One part more was signed than is sent.
        let request = post(digest(PARTS + 1), &framing);
        to_publisher.write_all(request.as_bytes()).await.unwrap();
        let asked = async {
            for number in 0..PARTS {
                if is_chunked {
                    to_publisher
                        .write_all(format!("{CHUNK:x}\r\n").as_bytes())
                        .await
                        .unwrap();
                }
                to_publisher.write_all(&part(number)).await.unwrap();
                if is_chunked {
                    to_publisher.write_all(b"\r\n").await.unwrap();
                }
            }
            if is_chunked {
                to_publisher.write_all(b"0\r\n\r\n").await.unwrap();
            }
            String::from_utf8(read_all(&mut from_caller).await).unwrap()
        };
        let served = async {
            let mut server = scene.server().await;
            head(&mut server).await;
            read_all(&mut server).await
        };
        let (answer, received) = tokio::join!(asked, served);
        assert!(received.len() > CHUNK, "it was under way already");
        match is_chunked {
            true => assert!(!received.ends_with(b"0\r\n\r\n"), "the server saw an end"),
            false => assert!((received.len() as u64) < length, "the server saw all of it"),
        }
        assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
    }
}

#[tokio::test]
async fn caller_waits_with_its_body_until_it_is_told_to_go_on() {
    let scene = Scene::start().await;
    let mut caller = scene.caller();
    let request = post(
        BodyDigest::of(b"hi"),
        "Expect: 100-continue\r\nContent-Length: 2\r\n",
    );
    caller.write_all(request.as_bytes()).await.unwrap();
    assert_eq!(head(&mut caller).await, "HTTP/1.1 100 Continue\r\n\r\n");
    caller.write_all(b"hi").await.unwrap();
    let mut server = scene.server().await;
    assert_eq!(field(&head(&mut server).await, "expect"), None);
    assert_eq!(read(&mut server, 2).await, b"hi");
    server
        .write_all(b"HTTP/1.1 204 Done\r\n\r\n")
        .await
        .unwrap();
    assert!(head(&mut caller).await.starts_with("HTTP/1.1 204 "));
}

#[tokio::test]
async fn caller_that_may_not_is_told_before_it_sends_its_body() {
    let scene = Scene::start_with(|config| config.allow = Some([].into())).await;
    let request = post(
        BodyDigest::of(b"hi"),
        "Expect: 100-continue\r\nContent-Length: 2\r\n",
    );
    assert!(scene.ask(request).await.starts_with("HTTP/1.1 403 "));
}

#[tokio::test]
async fn event_arrives_while_the_stream_of_events_goes_on() {
    let scene = Scene::start().await;
    let mut caller = scene.caller();
    caller
        .write_all(get("/events", "Accept: text/event-stream\r\n").as_bytes())
        .await
        .unwrap();
    let mut server = scene.server().await;
    head(&mut server).await;
    server
        .write_all(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
        .await
        .unwrap();
    assert!(head(&mut caller).await.contains("text/event-stream"));
    for event in ["data: 1\n\n", "data: 2\n\n"] {
        server.write_all(event.as_bytes()).await.unwrap();
        let framed = format!("{:X}\r\n{event}\r\n", event.len());
        assert_eq!(read(&mut caller, framed.len()).await, framed.as_bytes());
    }
    drop(server);
    assert_eq!(read_all(&mut caller).await, b"0\r\n\r\n");
}

#[tokio::test]
async fn answer_that_breaks_off_has_no_end() {
    let scene = Scene::start().await;
    let mut caller = scene.caller();
    caller.write_all(get("/", "").as_bytes()).await.unwrap();
    let mut server = scene.server().await;
    head(&mut server).await;
    server
        .write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n")
        .await
        .unwrap();
    drop(server);
    let answer = String::from_utf8(read_all(&mut caller).await).unwrap();
    assert!(
        answer.contains("hi") && !answer.ends_with("0\r\n\r\n"),
        "{answer}"
    );
}
