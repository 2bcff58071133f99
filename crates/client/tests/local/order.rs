//! Order: what overtook something waits for it, but not for ever.

use std::time::Duration;

use client::receive::{Event, Listener};
use packet::{Draft, MessageId, Sender, SessionId};
use rand::rngs::OsRng;
use wallet::{CertificateBinding, CertificateKind, SecretCertificate, WalletKey};

use crate::people::{Person, next, text_of};
use crate::post::{Post, node};

/// Somebody who numbers messages as they please.
pub(crate) struct Stranger {
    pub(crate) key: WalletKey,
    secret: SecretCertificate,
    binding: CertificateBinding,
    pub(crate) session: SessionId,
}

impl Stranger {
    pub(crate) fn new() -> Self {
        let key = WalletKey::generate(&mut OsRng);
        let kind = CertificateKind::V6Classic;
        let secret = SecretCertificate::create(&key, kind, 1_800_000_000, &mut OsRng).unwrap();
        let binding = CertificateBinding::sign(&key, secret.certificate(), 1, vec![]).unwrap();
        let session = SessionId::random(&mut OsRng);
        Self {
            key,
            secret,
            binding,
            session,
        }
    }

    pub(crate) fn put(&self, post: &Post, to: &Person, sequence: u64, kind: &str, body: &[u8]) {
        let draft = Draft {
            message_id: MessageId::random(&mut OsRng),
            time_ms: 1_800_000_000_000,
            content_type: kind.to_owned(),
            session: self.session,
            sequence,
            reply: None,
            body: body.to_vec().into(),
        };
        let sender = Sender {
            wallet: &self.key,
            certificate: &self.secret,
            binding: &self.binding,
        };
        let recipient = post.resolved(to.client.address()).unwrap().certificate;
        let packet = packet::seal(&draft, Some(&sender), &recipient, &mut OsRng).unwrap();
        post.put(node(1), packet);
    }
}

async fn quiet(listener: &mut Listener) -> bool {
    let wait = Duration::from_millis(1_500);
    tokio::time::timeout(wait, listener.next()).await.is_err()
}

#[tokio::test(flavor = "multi_thread")]
async fn message_that_overtook_another_is_shown_after_it() {
    let post = Post::new();
    let bob = Person::with_mailboxes(&post, "bob", &[node(1)]).await;
    let stranger = Stranger::new();
    let mut listener = bob.listen().await;
    assert_eq!(next(&mut listener).await, Some(Event::CaughtUp));
    stranger.put(&post, &bob, 1, "text/plain", b"second");
    assert!(quiet(&mut listener).await);
    stranger.put(&post, &bob, 0, "text/plain", b"first");
    for expected in ["first", "second"] {
        let Some(Event::Message(message)) = next(&mut listener).await else {
            panic!("no message");
        };
        assert_eq!(text_of(&message), expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn message_after_a_gap_is_shown_after_half_a_minute_with_the_gap() {
    let post = Post::new();
    let bob = Person::with_mailboxes(&post, "bob", &[node(1)]).await;
    let stranger = Stranger::new();
    let mut listener = bob.listen().await;
    assert_eq!(next(&mut listener).await, Some(Event::CaughtUp));
    stranger.put(&post, &bob, 2, "text/plain", b"third");
    assert!(quiet(&mut listener).await);
    bob.clock.advance(Duration::from_secs(31));
    let Some(Event::Gap { from, missing: 2 }) = next(&mut listener).await else {
        panic!("no gap");
    };
    assert_eq!(from.wallet, Some(stranger.key.address()));
    let Some(Event::Message(message)) = next(&mut listener).await else {
        panic!("no message");
    };
    assert_eq!(text_of(&message), "third");
}

#[tokio::test(flavor = "multi_thread")]
async fn session_goes_on_where_an_earlier_run_has_left_it() {
    let post = Post::new();
    let bob = Person::with_mailboxes(&post, "bob", &[node(1)]).await;
    let stranger = Stranger::new();
    stranger.put(&post, &bob, 0, "text/plain", b"first");
    assert_eq!(bob.read_texts().await, ["first"]);
    let mut listener = bob.listen().await;
    assert_eq!(next(&mut listener).await, Some(Event::CaughtUp));
    stranger.put(&post, &bob, 1, "text/plain", b"second");
    let Some(Event::Message(message)) = next(&mut listener).await else {
        panic!("no message");
    };
    assert_eq!(text_of(&message), "second");
}

#[tokio::test(flavor = "multi_thread")]
async fn message_waiting_for_another_is_not_lost_by_a_restart() {
    let post = Post::new();
    let bob = Person::with_mailboxes(&post, "bob", &[node(1)]).await;
    let stranger = Stranger::new();
    stranger.put(&post, &bob, 1, "text/plain", b"second");
    let mut listener = bob.listen().await;
    assert_eq!(next(&mut listener).await, Some(Event::CaughtUp));
    while post.unacknowledged(node(1), bob.client.address()) > 0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    drop(listener);
    stranger.put(&post, &bob, 0, "text/plain", b"first");
    assert_eq!(bob.read_texts().await, ["first", "second"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn absurd_sequence_number_is_shown_at_once_and_breaks_nothing() {
    let post = Post::new();
    let bob = Person::with_mailboxes(&post, "bob", &[node(1)]).await;
    let stranger = Stranger::new();
    stranger.put(&post, &bob, u64::MAX, "text/plain", b"absurd");
    stranger.put(&post, &bob, 0, "text/plain", b"first");
    assert_eq!(bob.read_texts().await, ["absurd", "first"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn receipt_in_the_session_of_texts_leaves_no_gap() {
    let post = Post::new();
    let bob = Person::with_mailboxes(&post, "bob", &[node(1)]).await;
    let stranger = Stranger::new();
    let mut listener = bob.listen().await;
    assert_eq!(next(&mut listener).await, Some(Event::CaughtUp));
    let receipt = packet::Receipt { ids: vec![] }.encode();
    stranger.put(&post, &bob, 0, packet::ContentType::RECEIPT, &receipt);
    stranger.put(&post, &bob, 1, "text/plain", b"text");
    let Some(Event::Message(message)) = next(&mut listener).await else {
        panic!("no message");
    };
    assert_eq!(text_of(&message), "text");
}
