use super::*;
use crate::intake::site::{Bare, SiteProfile as _};
use tokio::sync::mpsc;

/// What a reader gets of a stream of these items that then ends.
async fn read(items: Vec<Bytes>, version: http::Version) -> String {
    let (to, from) = mpsc::channel(8);
    for item in items {
        to.send(item).await.unwrap();
    }
    drop(to);
    let (near, mut far) = tokio::io::duplex(1 << 20);
    let (unread, stop) = (Unread::default(), CancellationToken::new());
    let events = Events::new(Bare.stream(), from.into()).for_version(version);
    let reading = async {
        let mut text = String::new();
        far.read_to_string(&mut text).await.unwrap();
        text
    };
    let (ran, text) = tokio::join!(events.run(near, &unread, stop), reading);
    ran.unwrap();
    assert_eq!(unread.0.into_inner(), 0);
    text
}

/// The events in chunks, after the head.
fn chunks(text: &str) -> Vec<&str> {
    let (head, mut rest) = text.split_once("\r\n\r\n").unwrap();
    assert!(head.contains("transfer-encoding: chunked"), "{head}");
    let mut chunks = Vec::new();
    loop {
        let (length, after) = rest.split_once("\r\n").unwrap();
        let length = usize::from_str_radix(length, 16).unwrap();
        chunks.push(&after[..length]);
        rest = after[length..].strip_prefix("\r\n").unwrap();
        if length == 0 {
            assert_eq!(rest, "", "something after the last chunk");
            return chunks;
        }
    }
}

#[tokio::test]
async fn events_of_any_length_are_one_chunk_each() {
    for length in [
        0,
        1,
        2,
        3,
        PIECE_BYTES - 1,
        PIECE_BYTES,
        PIECE_BYTES + 1,
        3 * PIECE_BYTES,
        500_000,
    ] {
        let item = Bytes::from(vec![7; length]);
        let text = read(vec![item.clone(), item.clone()], http::Version::HTTP_11).await;
        let event = format!("data: {}\n\n", STANDARD.encode(&item));
        assert_eq!(chunks(&text), [&event[..], &event, ""], "{length}");
    }
}

#[tokio::test]
async fn client_of_an_old_version_gets_no_chunks() {
    let text = read(vec![Bytes::from_static(b"abc")], http::Version::HTTP_10).await;
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    assert!(!head.contains("chunked"), "{head}");
    assert_eq!(body, "data: YWJj\n\n");
}

#[tokio::test(start_paused = true)]
async fn silent_stream_says_that_it_is_alive() {
    let (_to, from) = mpsc::channel(1);
    let (near, mut far) = tokio::io::duplex(1_024);
    let (unread, stop) = (Unread::default(), CancellationToken::new());
    let events = Events::new(Bare.stream(), from.into());
    let reading = async {
        let mut bytes = Vec::new();
        while !bytes.ends_with(b"3\r\n:\n\n\r\n3\r\n:\n\n\r\n") {
            assert!(far.read_buf(&mut bytes).await.unwrap() > 0);
        }
        drop(far);
    };
    let begun = Instant::now();
    let (ran, ()) = tokio::join!(events.run(near, &unread, stop), reading);
    ran.unwrap();
    assert_eq!(begun.elapsed(), 2 * STREAM_COMMENT_EVERY);
}

#[tokio::test]
async fn stream_ends_in_order_when_the_node_stops_and_with_its_reader() {
    let (to, from) = mpsc::channel(1);
    let (near, mut far) = tokio::io::duplex(1_024);
    let (unread, stop) = (Unread::default(), CancellationToken::new());
    let events = Events::new(Bare.stream(), from.into());
    stop.cancel();
    events.run(near, &unread, stop).await.unwrap();
    let mut text = String::new();
    far.read_to_string(&mut text).await.unwrap();
    assert_eq!(chunks(&text), [""]);
    assert!(to.is_closed(), "who sends it is not told");

    let (to, from) = mpsc::channel(1);
    let (near, far) = tokio::io::duplex(1_024);
    drop(far);
    let events = Events::new(Bare.stream(), from.into());
    let _ended = events.run(near, &unread, CancellationToken::new()).await;
    assert!(to.is_closed());
}

/// Sixteen thousand readers that read nothing could each hold an event of a mebibyte for a minute.
#[tokio::test(start_paused = true)]
async fn reader_that_reads_nothing_is_given_up_soon_where_much_waits_for_readers() {
    for (crowd, gives_up) in [(MAX_UNREAD_BYTES, true), (0, false)] {
        let (to, from) = mpsc::channel(1);
        let (near, _far) = tokio::io::duplex(1_024);
        let unread = Unread::default();
        let _crowd = unread.count(crowd);
        to.send(vec![7; 4_096].into()).await.unwrap();
        let running = Events::new(Bare.stream(), from.into());
        let running = running.run(near, &unread, CancellationToken::new());
        let ended = tokio::time::timeout(2 * CROWDED_STALL, running).await;
        assert_eq!(ended.is_ok(), gives_up, "{crowd}");
    }
}
