//! What readers and writers see while the circuit holds.

use std::io::ErrorKind;

use protocol::stream::WINDOW_BYTES;
use streams::{End, Reset};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::cable::{Exchange, NEAR, bytes, soon};

#[tokio::test]
async fn bytes_written_at_either_end_are_read_at_the_other_one_in_order() {
    let exchange = Exchange::new();
    let (near, far) = exchange.stream(None);
    far.set_opened();
    soon(near.opened()).await.unwrap();
    let mut tasks = Vec::new();
    for (stream, mine, theirs) in [(near, 1, 2), (far, 2, 1)] {
        tasks.push(tokio::spawn(async move {
            let (mut read, mut write) = tokio::io::split(stream);
            let (written, mut heard) = (bytes(3 << 20, mine), Vec::new());
            let writing = async {
                write.write_all(&written).await.unwrap();
                write.shutdown().await.unwrap();
            };
            let (_, length) = tokio::join!(writing, read.read_to_end(&mut heard));
            assert_eq!(length.unwrap(), 3 << 20);
            assert!(heard == bytes(3 << 20, theirs), "they came otherwise");
        }));
    }
    for task in tasks {
        soon(task).await.unwrap();
    }
    assert_eq!(exchange.count(), 1);
}

#[tokio::test]
async fn end_that_is_shut_down_reads_on_until_the_other_one_has_ended() {
    let exchange = Exchange::new();
    let (mut near, mut far) = exchange.stream(None);
    near.write_all(b"a question").await.unwrap();
    near.shutdown().await.unwrap();
    let mut heard = Vec::new();
    soon(far.read_to_end(&mut heard)).await.unwrap();
    assert_eq!(heard, b"a question");
    let error = near.write(b"more").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BrokenPipe);

    far.write_all(b"a late answer").await.unwrap();
    far.shutdown().await.unwrap();
    let mut heard = Vec::new();
    soon(near.read_to_end(&mut heard)).await.unwrap();
    assert_eq!(heard, b"a late answer");
    for end in [&near, &far] {
        soon(end.ended()).await;
        assert_eq!(end.end(), Some(End::Finished));
    }
}

#[tokio::test]
async fn stream_dropped_while_open_wakes_the_reader_at_the_other_end() {
    let exchange = Exchange::new();
    let (mut near, far) = exchange.stream(None);
    far.set_opened();
    soon(near.opened()).await.unwrap();
    let reading = tokio::spawn(async move { near.read_u8().await });
    tokio::task::yield_now().await;
    drop(far);
    let error = soon(reading).await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn what_came_before_a_reset_can_be_read_and_then_its_reason() {
    let exchange = Exchange::new();
    let (mut near, mut far) = exchange.stream(None);
    far.write_all(b"some").await.unwrap();
    far.reset(Reset::Refused);
    assert_eq!(soon(near.opened()).await, Err(Reset::Refused));
    assert_eq!(near.end(), Some(End::ResetThere(Reset::Refused)));
    let mut some = [0; 4];
    near.read_exact(&mut some).await.unwrap();
    assert_eq!(&some, b"some");
    let error = near.read_u8().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    let error = near.write(b"x").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
}

#[tokio::test]
async fn stream_dropped_after_both_ends_finished_is_no_reset() {
    let exchange = Exchange::new();
    let (mut near, mut far) = exchange.stream(None);
    far.write_all(b"all").await.unwrap();
    far.shutdown().await.unwrap();
    near.shutdown().await.unwrap();
    let mut heard = Vec::new();
    soon(far.read_to_end(&mut heard)).await.unwrap();
    drop(far);
    soon(near.read_to_end(&mut heard)).await.unwrap();
    assert_eq!(heard, b"all");
    soon(near.ended()).await;
    assert_eq!(near.end(), Some(End::Finished));
}

/// A server that answered `Connection: close` closed its stream while its caller's direction was open, as such servers do.
/// The reset that followed overtook the end of the answer.
#[tokio::test]
async fn what_was_written_before_a_stream_was_shut_down_and_dropped_arrives_whole() {
    let exchange = Exchange::new();
    let (mut near, mut far) = exchange.stream(None);
    near.write_all(b"a question").await.unwrap();
    let answer = bytes(900_000, 5);
    far.write_all(&answer).await.unwrap();
    far.shutdown().await.unwrap();
    drop(far);
    let mut heard = Vec::new();
    soon(near.read_to_end(&mut heard)).await.unwrap();
    assert!(heard == answer, "{} bytes came", heard.len());
    // Only now the caller's end.
    near.shutdown().await.unwrap();
    soon(near.ended()).await;
    assert_eq!(near.end(), Some(End::Finished));
}

#[tokio::test]
async fn caller_who_goes_on_writing_to_a_stream_that_was_closed_is_reset() {
    let exchange = Exchange::new();
    let (mut near, mut far) = exchange.stream(None);
    far.write_all(b"no more").await.unwrap();
    far.shutdown().await.unwrap();
    drop(far);
    let writing = async {
        while near.write_all(&[0; 4096]).await.is_ok() {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    soon(writing).await;
    assert_eq!(near.end(), Some(End::ResetThere(Reset::Aborted)));
}

#[tokio::test]
async fn writer_stops_at_the_window_and_goes_on_once_the_far_end_reads() {
    const ALL: usize = 8 << 20;
    let exchange = Exchange::new();
    let (mut near, mut far) = exchange.stream(None);
    far.set_opened();
    soon(near.opened()).await.unwrap();
    let writing = tokio::spawn(async move {
        near.write_all(&bytes(ALL, 3)).await.unwrap();
        near.shutdown().await.unwrap();
        near
    });
    // Until nothing moves any more.
    let cable = exchange.last();
    let mut sent = usize::MAX;
    while sent != cable.sent_bytes(NEAR) {
        sent = cable.sent_bytes(NEAR);
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    let window = WINDOW_BYTES as usize;
    assert!(
        (window..window + window / 8).contains(&sent),
        "{sent} bytes were sent to nobody"
    );
    assert!(!writing.is_finished(), "the writer does not wait");
    let mut heard = Vec::new();
    soon(far.read_to_end(&mut heard)).await.unwrap();
    assert!(heard == bytes(ALL, 3), "they came otherwise");
    drop(soon(writing).await.unwrap());
}
