//! Streams that outlive their circuits, and those that can't.

use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use streams::{
    Accepter, Cipher, Circuit, CircuitSender, End, OpenStream, Redial, RedialError, Reset,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use tokio::sync::mpsc;

use crate::cable::{Cable, Exchange, FAR, NEAR, bytes, connect, soon};

#[tokio::test]
async fn stream_whose_circuits_are_cut_goes_on_over_others_with_no_byte_lost() {
    const ALL: usize = 4 << 20;
    let exchange = Exchange::new();
    let (mut near, mut far) = exchange.stream(Some(Arc::clone(&exchange)));
    far.set_opened();
    soon(near.opened()).await.unwrap();
    let writing = tokio::spawn(async move {
        near.write_all(&bytes(ALL, 5)).await.unwrap();
        near.shutdown().await.unwrap();
        near.read_u8().await.unwrap()
    });
    let mut heard = vec![0; ALL];
    for part in heard.chunks_mut(ALL / 4) {
        soon(far.read_exact(part)).await.unwrap();
        exchange.last().cut();
    }
    assert!(heard == bytes(ALL, 5), "they came otherwise");
    assert_eq!(soon(far.read(&mut [0])).await.unwrap(), 0);
    far.write_u8(7).await.unwrap();
    assert_eq!(soon(writing).await.unwrap(), 7);
    assert!(exchange.count() >= 4, "{} circuits", exchange.count());
}

#[tokio::test]
async fn circuit_that_can_not_be_had_at_once_is_asked_for_again() {
    let exchange = Exchange::new();
    let (mut near, mut far) = exchange.stream(Some(Arc::clone(&exchange)));
    far.set_opened();
    soon(near.opened()).await.unwrap();
    exchange.fails.store(2, Ordering::Relaxed);
    exchange.last().cut();
    near.write_all(b"over another one").await.unwrap();
    let mut heard = [0; 16];
    soon(far.read_exact(&mut heard)).await.unwrap();
    assert_eq!(&heard, b"over another one");
    assert_eq!(exchange.fails.load(Ordering::Relaxed), 0);
    assert_eq!(exchange.count(), 2);
}

/// The last frames of a circuit and the command that replaces it may come at the same time. Those frames are of
/// keys that the stream has no more; they must not cost it the new circuit.
#[tokio::test]
async fn last_frames_of_an_old_circuit_cost_a_resumed_stream_nothing() {
    let exchange = Exchange::new();
    let (mut near, mut far) = exchange.stream(Some(Arc::clone(&exchange)));
    far.set_opened();
    soon(near.opened()).await.unwrap();
    let old = exchange.last();
    old.hold(NEAR);
    near.write_all(b"held back").await.unwrap();
    let late = Arc::clone(&old);
    *exchange.meanwhile.lock() = Some(Box::new(move || {
        assert!(late.release(NEAR) > 0, "nothing was held back");
    }));
    old.cut_off(FAR);
    let mut heard = [0; 9];
    soon(far.read_exact(&mut heard)).await.unwrap();
    assert_eq!(&heard, b"held back");
    assert!(exchange.meanwhile.lock().is_none());
    // What goes back goes over the same one.
    far.write_u8(1).await.unwrap();
    soon(near.read_u8()).await.unwrap();
    assert_eq!(exchange.count(), 2, "the new circuit was given up");
}

#[tokio::test]
async fn stream_that_the_far_end_does_not_know_any_more_is_over_at_once() {
    let exchange = Exchange::new();
    let strangers = Exchange::to(Accepter::new(Cipher::Aes256Gcm));
    let (mut near, far) = exchange.stream(Some(Arc::clone(&strangers)));
    far.set_opened();
    soon(near.opened()).await.unwrap();
    let reading = tokio::spawn(async move { (near.read_u8().await, near) });
    tokio::task::yield_now().await;
    exchange.last().cut();
    let (read, near) = soon(reading).await.unwrap();
    assert_eq!(read.unwrap_err().kind(), ErrorKind::ConnectionAborted);
    assert_eq!(near.end(), Some(End::ResetHere(Reset::Unknown)));
}

#[tokio::test]
async fn stream_that_was_never_answered_is_lost_with_its_circuit() {
    let exchange = Exchange::new();
    let opening = streams::open(connect(), Cipher::Aes256Gcm);
    let (cable, near, _far) = Cable::new();
    let near = opening.over(near, Some(exchange));
    cable.cut();
    assert_eq!(soon(near.opened()).await, Err(Reset::Lost));
}

#[tokio::test]
async fn accepter_forgets_streams_that_are_over() {
    let exchange = Exchange::new();
    let (near, far) = exchange.stream(None);
    assert_eq!(exchange.accepter.count(), 1);
    drop(far);
    soon(near.ended()).await;
    drop(near);
    for _ in 0..100 {
        if exchange.accepter.count() == 0 {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("it is still there");
}

#[tokio::test]
async fn resumed_stream_gives_its_old_circuit_up() {
    let exchange = Exchange::new();
    let (mut near, mut far) = exchange.stream(Some(Arc::clone(&exchange)));
    far.set_opened();
    soon(near.opened()).await.unwrap();
    let old = exchange.last();
    old.cut_off(FAR);
    far.write_all(b"x").await.unwrap();
    soon(near.read_u8()).await.unwrap();
    let before = old.sent_bytes(FAR);
    far.write_all(b"yz").await.unwrap();
    soon(near.read_u16()).await.unwrap();
    assert_eq!(old.sent_bytes(FAR), before, "it goes on over the old one");
}

/// Makes circuits that end as soon as they begin, as if a relay could not reach the far end.
#[derive(Default)]
struct DeadEnd(AtomicUsize);

struct Nowhere;

impl CircuitSender for Nowhere {
    fn send(&self, _: &[u8]) {}

    fn grant(&self, _: u32) {}
}

impl Redial for DeadEnd {
    fn redial(
        &self,
        _: OpenStream,
    ) -> Pin<Box<dyn Future<Output = Result<Circuit, RedialError>> + Send + '_>> {
        self.0.fetch_add(1, Ordering::Relaxed);
        let (_, events) = mpsc::unbounded_channel();
        Box::pin(std::future::ready(Ok(Circuit::new(Nowhere, events))))
    }
}

/// A circuit that was refused at once led to the next one at once: for a minute, each stream to a dead bridge had layers
/// sealed as fast as they could be.
#[tokio::test(start_paused = true)]
async fn circuits_that_lead_nowhere_are_not_made_without_a_pause() {
    let (exchange, dead_end) = (Exchange::new(), Arc::<DeadEnd>::default());
    let opening = streams::open(connect(), streams::best_cipher());
    let (cable, near, far) = Cable::new();
    let _far = exchange.accepter.accept(opening.command(), || far);
    let again = Arc::clone(&dead_end);
    let mut stream = opening.over(near, Some(again));
    stream.write_all(b"some").await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    cable.cut();
    tokio::time::sleep(Duration::from_secs(10)).await;
    let tries = dead_end.0.load(Ordering::Relaxed);
    assert!((3..=10).contains(&tries), "{tries} tries");
}
