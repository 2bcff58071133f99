//! Sending: what `send` has taken is not forgotten, and what it says is stored is.

use std::time::Duration;

use client::history::MessageStatus;
use client::send::{SendError, SendOptions, SendProgress};

use crate::people::{Person, impatient, quick};
use crate::post::{Post, node};

#[tokio::test(flavor = "multi_thread")]
async fn send_names_the_mailbox_that_stores_the_message() {
    let post = Post::new();
    let alice = Person::new(&post, "alice");
    let bob = Person::with_mailboxes(&post, "bob", &[node(1)]).await;
    let sent = alice
        .client
        .send_text(&bob.recipient(), "hi", quick())
        .await;
    let sent = sent.unwrap();
    assert_eq!(sent.stored_at, [node(1)]);
    let history = alice.client.history(None, 10).await.unwrap();
    assert_eq!(history.len(), 1);
    assert_eq!(history[0].id, sent.id);
    assert_eq!(history[0].status, MessageStatus::Stored(vec![node(1)]));
}

#[tokio::test(flavor = "multi_thread")]
async fn message_is_durable_before_its_first_attempt() {
    let post = Post::new();
    let alice = Person::new(&post, "alice");
    let bob = Person::with_mailboxes(&post, "bob", &[node(1)]).await;
    post.lock().hang_submits = true;
    let (client, to) = (alice.client.clone(), bob.recipient());
    let sending = tokio::spawn(async move { client.send_text(&to, "hi", quick()).await });
    let other = alice.another_process();
    let history = loop {
        let history = other.history(None, 10).await.unwrap();
        if !history.is_empty() {
            break history;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    assert_eq!(history[0].status, MessageStatus::Waiting);
    assert!(post.lock().stored.is_empty());
    sending.abort();
    let _ = sending.await;

    // The process died. Another sends it once the lease of the dead one has ended.
    post.lock().hang_submits = false;
    assert_eq!(other.flush_outbox().await.unwrap().stored, 0);
    alice.clock.advance(Duration::from_secs(61));
    assert_eq!(other.flush_outbox().await.unwrap().stored, 1);
    assert_eq!(bob.read_texts().await, ["hi"]);
    assert_eq!(other.flush_outbox().await.unwrap().stored, 0);
}

/// The message is sealed while it is written down, and no sooner sent for that.
#[tokio::test(flavor = "multi_thread")]
async fn message_leaves_only_once_the_outbox_has_it() {
    let post = Post::new();
    let alice = Person::new(&post, "alice");
    let bob = Person::with_mailboxes(&post, "bob", &[node(1)]).await;
    post.lock().asked = 0;
    let accounts = alice.client.home().path().join("accounts");
    let folder = std::fs::read_dir(accounts).unwrap().next().unwrap();
    let state = folder.unwrap().path().join("state.db");
    let holder = rusqlite::Connection::open(state).unwrap();
    holder.execute_batch("BEGIN IMMEDIATE").unwrap();
    let (client, to) = (alice.client.clone(), bob.recipient());
    let sending = tokio::spawn(async move { client.send_text(&to, "hi", quick()).await });
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!sending.is_finished());
    assert_eq!(post.lock().asked, 0, "nobody has been asked anything");
    holder.execute_batch("COMMIT").unwrap();
    sending.await.unwrap().unwrap();
    assert_eq!(post.lock().asked, 1, "the certificate was at hand");
    assert_eq!(bob.read_texts().await, ["hi"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn message_of_a_process_that_died_is_taken_over_at_once() {
    let post = Post::new();
    let alice = Person::new(&post, "alice");
    let bob = Person::with_mailboxes(&post, "bob", &[node(1)]).await;
    post.lock().hang_submits = true;
    let dying = alice.another_process();
    let to = bob.recipient();
    let sending = tokio::spawn(async move { dying.send_text(&to, "hi", quick()).await });
    while alice.client.history(None, 1).await.unwrap().is_empty() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // Whatever it was doing: the process and its locks are gone.
    tokio::time::sleep(Duration::from_millis(200)).await;
    sending.abort();
    let _ = sending.await;
    post.lock().hang_submits = false;
    let entry = alice.client.history(None, 1).await.unwrap().remove(0);
    assert_eq!(entry.status, MessageStatus::Waiting);
    let mut left = 1;
    for _ in 0..100 {
        let report = alice.client.flush_outbox().await.unwrap();
        left = report.waiting;
        if left == 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(left, 0);
    assert_eq!(bob.read_texts().await, ["hi"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn message_on_its_way_is_not_sent_again_by_whoever_empties_the_outbox() {
    let post = Post::new();
    let alice = Person::with_mailboxes(&post, "alice", &[node(2)]).await;
    let bob = Person::with_mailboxes(&post, "bob", &[node(1)]).await;
    post.lock().slowness = Duration::from_millis(2_500);
    let listener = alice.listen().await;
    let other = alice.another_process();
    let to = bob.recipient();
    let sending = tokio::spawn({
        let client = alice.client.clone();
        async move { client.send_text(&to, "hi", quick()).await }
    });
    for _ in 0..20 {
        other.flush_outbox().await.unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    sending.await.unwrap().unwrap();
    drop(listener);
    assert_eq!(post.lock().stored.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn message_that_got_through_at_the_third_attempt_is_sent() {
    let post = Post::new();
    let alice = Person::new(&post, "alice");
    let bob = Person::with_mailboxes(&post, "bob", &[node(1)]).await;
    post.lock().fail_submits = 2;
    let sent = alice
        .client
        .send_text(&bob.recipient(), "hi", SendOptions::default())
        .await;
    assert!(sent.is_ok(), "{sent:?}");
    assert_eq!(bob.read_texts().await, ["hi"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn message_not_stored_in_time_stays_and_goes_when_it_is_due() {
    let post = Post::new();
    let alice = Person::new(&post, "alice");
    let bob = Person::with_mailboxes(&post, "bob", &[node(1)]).await;
    post.lock().dead.insert(node(1));
    let sent = alice
        .client
        .send_text(&bob.recipient(), "hi", impatient())
        .await;
    assert!(matches!(sent, Err(SendError::NotYet { .. })), "{sent:?}");
    post.lock().dead.clear();
    alice.clock.advance(Duration::from_secs(60));
    let report = alice.another_process().flush_outbox().await.unwrap();
    assert_eq!((report.stored, report.waiting), (1, 0));
    assert_eq!(bob.read_texts().await, ["hi"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn message_to_nobody_is_refused_and_not_kept() {
    let post = Post::new();
    let alice = Person::new(&post, "alice");
    let nobody = Person::new(&post, "nobody");
    let sent = alice
        .client
        .send_text(&nobody.recipient(), "hi", quick())
        .await;
    assert!(matches!(sent, Err(SendError::Refused { .. })), "{sent:?}");
    assert_eq!(alice.client.flush_outbox().await.unwrap().waiting, 0);
    let history = alice.client.history(None, 10).await.unwrap();
    assert!(matches!(history[0].status, MessageStatus::Failed(_)));
}

#[tokio::test(flavor = "multi_thread")]
async fn message_whose_answer_was_lost_is_stored_twice_and_shown_once() {
    let post = Post::new();
    let alice = Person::new(&post, "alice");
    let bob = Person::with_mailboxes(&post, "bob", &[node(1)]).await;
    post.lock().lose_answers = 1;
    alice.send(&bob, "hi").await;
    assert_eq!(post.lock().stored.len(), 2);
    assert_eq!(bob.read_texts().await, ["hi"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_copies_are_at_two_mailboxes_and_survive_the_loss_of_one() {
    let post = Post::new();
    let alice = Person::new(&post, "alice");
    let bob = Person::with_mailboxes(&post, "bob", &[node(1), node(2)]).await;
    let mut options = quick();
    options.copies = 2;
    let sent = alice
        .client
        .send_text(&bob.recipient(), "hi", options)
        .await
        .unwrap();
    assert_eq!(sent.stored_at.len(), 2);
    post.lock().dead.insert(sent.stored_at[0]);
    assert_eq!(bob.read_texts().await, ["hi"]);
    post.lock().dead.clear();
    assert!(
        bob.read_texts().await.is_empty(),
        "the other copy is not shown"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn second_copy_that_is_missing_keeps_the_message_in_the_outbox() {
    let post = Post::new();
    let alice = Person::new(&post, "alice");
    let bob = Person::with_mailboxes(&post, "bob", &[node(1), node(2)]).await;
    post.lock().dead.insert(node(2));
    let mut options = impatient();
    options.copies = 2;
    let sent = alice
        .client
        .send_text(&bob.recipient(), "hi", options)
        .await;
    let Err(SendError::NotYet { cause, .. }) = sent else {
        panic!("{sent:?}");
    };
    assert!(cause.to_string().contains("1 of 2"), "{cause}");
    post.lock().dead.clear();
    alice.clock.advance(Duration::from_secs(60));
    assert_eq!(alice.client.flush_outbox().await.unwrap().stored, 1);
    assert_eq!(
        post.lock().stored.len(),
        2,
        "the first copy is not stored again"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn message_to_a_superseded_key_is_sealed_to_the_new_one() {
    let post = Post::new();
    let alice = Person::new(&post, "alice");
    let bob = Person::with_mailboxes(&post, "bob", &[node(1)]).await;
    let old = post.resolved(bob.client.address()).unwrap();
    bob.client.rotate().await.unwrap();
    {
        let mut inner = post.lock();
        inner.stale.insert(bob.client.address(), old);
        inner.refuse_superseded = true;
    }
    alice.send(&bob, "hi").await;
    assert_eq!(bob.read_texts().await, ["hi"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn certificate_of_somebody_else_is_not_taken_for_a_new_one() {
    let post = Post::new();
    let alice = Person::new(&post, "alice");
    let bob = Person::with_mailboxes(&post, "bob", &[node(1)]).await;
    let mallory = Person::with_mailboxes(&post, "mallory", &[node(1)]).await;
    // Alice believes that Bob's key is one that the mailbox answers for with Mallory's record.
    let mut believed = post.resolved(mallory.client.address()).unwrap();
    believed.wallet = bob.client.address();
    mallory.client.rotate().await.unwrap();
    {
        let mut inner = post.lock();
        inner.stale.insert(bob.client.address(), believed);
        inner.refuse_superseded = true;
    }
    let sent = alice
        .client
        .send_text(&bob.recipient(), "hi", quick())
        .await;
    assert!(matches!(sent, Err(SendError::Refused { .. })), "{sent:?}");
    assert!(post.lock().stored.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn full_mailbox_pauses_sending_until_its_owner_has_collected() {
    let post = Post::new();
    let alice = Person::new(&post, "alice");
    let bob = Person::with_mailboxes(&post, "bob", &[node(1)]).await;
    post.lock().capacity = Some(1);
    alice.send(&bob, "one").await;
    let (waits, mut waiting) = tokio::sync::mpsc::unbounded_channel();
    let mut options = SendOptions::default();
    options.on_progress = Some(std::sync::Arc::new(move |progress| {
        if let SendProgress::Waiting { reason, .. } = progress {
            let _ = waits.send(reason);
        }
    }));
    let (client, to) = (alice.client.clone(), bob.recipient());
    let sending = tokio::spawn(async move { client.send_text(&to, "two", options).await });
    let reason = waiting.recv().await.unwrap();
    assert!(reason.contains("full"), "{reason}");
    assert_eq!(bob.read_texts().await, ["one"]);
    sending.await.unwrap().unwrap();
    assert_eq!(bob.read_texts().await, ["two"]);
}

/// Three processes have given up waiting for a full mailbox, each with a next attempt of its own. Whoever empties
/// the outbox tried them at once, and that which was written last took the room that came free first.
#[tokio::test(flavor = "multi_thread")]
async fn messages_that_wait_for_a_full_mailbox_get_in_in_the_order_in_which_they_were_sent() {
    let post = Post::new();
    let alice = Person::new(&post, "alice");
    let bob = Person::with_mailboxes(&post, "bob", &[node(1)]).await;
    post.lock().capacity = Some(1);
    alice.send(&bob, "0").await;
    for n in 1..6 {
        let (sender, to) = (alice.another_process(), bob.recipient());
        let sent = sender.send_text(&to, &n.to_string(), impatient()).await;
        assert!(matches!(sent, Err(SendError::NotYet { .. })), "{sent:?}");
    }
    let mut read = bob.read_texts().await;
    for _ in 0..5 {
        alice.clock.advance(Duration::from_secs(60));
        assert_eq!(alice.client.flush_outbox().await.unwrap().stored, 1);
        read.extend(bob.read_texts().await);
    }
    assert_eq!(read, ["0", "1", "2", "3", "4", "5"]);
}

/// A message that wants more copies than there are living mailboxes may wait for ever: the others must not.
#[tokio::test(flavor = "multi_thread")]
async fn message_that_waits_for_its_second_copy_holds_nothing_up() {
    let post = Post::new();
    let alice = Person::new(&post, "alice");
    let bob = Person::with_mailboxes(&post, "bob", &[node(1), node(2)]).await;
    post.lock().dead.extend([node(1), node(2)]);
    for copies in [2, 1] {
        let mut options = impatient();
        options.copies = copies;
        let (sender, to) = (alice.another_process(), bob.recipient());
        let sent = sender.send_text(&to, &copies.to_string(), options).await;
        assert!(matches!(sent, Err(SendError::NotYet { .. })), "{sent:?}");
    }
    post.lock().dead.remove(&node(1));
    alice.clock.advance(Duration::from_secs(60));
    let report = alice.client.flush_outbox().await.unwrap();
    assert_eq!((report.stored, report.waiting), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn text_too_long_for_a_message_is_refused_and_the_longest_is_not() {
    let post = Post::new();
    let alice = Person::new(&post, "alice");
    let bob = Person::with_mailboxes(&post, "bob", &[node(1)]).await;
    let longest = "x".repeat(client::send::MAX_TEXT_BYTES);
    alice.send(&bob, &longest).await;
    let longer = format!("{longest}x");
    let sent = alice
        .client
        .send_text(&bob.recipient(), &longer, quick())
        .await;
    assert!(matches!(sent, Err(SendError::TextTooLong(_))), "{sent:?}");
    assert_eq!(bob.read_texts().await, [longest]);
}
