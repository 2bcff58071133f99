//! Receipts: for contacts only, after a while, never for receipts.

use std::time::Duration;

use client::history::MessageStatus;
use client::receive::Event;

use crate::people::{Person, message, next};
use crate::post::{Post, node};

async fn status(person: &Person) -> MessageStatus {
    let history = person.client.history(None, 1).await.unwrap();
    history[0].status.clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn contact_hears_that_a_message_has_arrived() {
    let post = Post::new();
    let alice = Person::with_mailboxes(&post, "alice", &[node(2)]).await;
    let bob = Person::with_mailboxes(&post, "bob", &[node(1)]).await;
    alice.knows(&bob, "bob");
    bob.knows(&alice, "alice");
    let id = alice.send(&bob, "hi").await;
    let mut bobs = bob.listen().await;
    let got = message(&mut bobs).await;
    assert_eq!(got.from.name.as_deref(), Some("alice"));
    let sent = post.lock().stored.len();
    bob.clock.advance(Duration::from_secs(31));
    let mut alices = alice.listen().await;
    let receipt = loop {
        if let Some(Event::Receipt { from, ids }) = next(&mut alices).await {
            break (from.wallet, ids);
        }
    };
    assert_eq!(receipt, (Some(bob.client.address()), vec![id]));
    assert_eq!(status(&alice).await, MessageStatus::Delivered);

    // None for the receipt, however long one waits.
    alice.clock.advance(Duration::from_secs(31));
    bob.clock.advance(Duration::from_secs(31));
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(post.lock().stored.len(), sent + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn receipt_waits_at_least_a_second() {
    let post = Post::new();
    let alice = Person::with_mailboxes(&post, "alice", &[node(2)]).await;
    let bob = Person::with_mailboxes(&post, "bob", &[node(1)]).await;
    bob.knows(&alice, "alice");
    alice.send(&bob, "hi").await;
    assert_eq!(bob.read_texts().await, ["hi"]);
    assert_eq!(post.lock().stored.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn stranger_hears_nothing() {
    let post = Post::new();
    let alice = Person::with_mailboxes(&post, "alice", &[node(2)]).await;
    let bob = Person::with_mailboxes(&post, "bob", &[node(1)]).await;
    alice.send(&bob, "hi").await;
    let mut bobs = bob.listen().await;
    message(&mut bobs).await;
    bob.clock.advance(Duration::from_secs(31));
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(post.lock().stored.len(), 1);
    assert!(matches!(status(&alice).await, MessageStatus::Stored(_)));
}

#[tokio::test(flavor = "multi_thread")]
async fn receipt_by_somebody_else_says_nothing_of_a_message() {
    let post = Post::new();
    let alice = Person::with_mailboxes(&post, "alice", &[node(1)]).await;
    let bob = Person::with_mailboxes(&post, "bob", &[node(1)]).await;
    let id = alice.send(&bob, "hi").await;
    let liar = crate::order::Stranger::new();
    let body = packet::Receipt { ids: vec![id] }.encode();
    liar.put(&post, &alice, 0, packet::ContentType::RECEIPT, &body);
    assert!(alice.read_all().await.is_empty());
    assert!(matches!(status(&alice).await, MessageStatus::Stored(_)));
}
