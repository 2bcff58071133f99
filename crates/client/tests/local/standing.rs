//! A wallet's standing: rotation, former mailboxes, life after a restore.

use std::time::Duration;

use client::UpkeepError;
use client::receive::{Event, Warning};

use crate::people::{Person, impatient, next, text_of};
use crate::post::{Post, node};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

#[tokio::test(flavor = "multi_thread")]
async fn subkeys_rotate_after_a_week_and_old_mail_can_still_be_read() {
    let post = Post::new();
    let alice = Person::new(&post, "alice");
    let bob = Person::with_mailboxes(&post, "bob", &[node(1)]).await;
    alice.send(&bob, "old").await;
    let before = bob.client.account().certificate().unwrap();
    bob.client.maintain().await.unwrap();
    assert_eq!(bob.client.account().certificate().unwrap(), before);
    bob.clock.advance(DAY * 8);
    bob.client.maintain().await.unwrap();
    let after = bob.client.account().certificate().unwrap();
    assert_ne!(after, before);
    assert_eq!(after.fingerprint(), before.fingerprint());
    assert_eq!(
        post.resolved(bob.client.address()).unwrap().certificate,
        after
    );
    alice.send(&bob, "new").await;
    let mut texts = bob.read_texts().await;
    texts.sort();
    assert_eq!(texts, ["new", "old"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_of_superseded_subkeys_are_destroyed_when_nothing_can_be_under_way() {
    let post = Post::new();
    let alice = Person::new(&post, "alice");
    let bob = Person::with_mailboxes(&post, "bob", &[node(1)]).await;
    alice.send(&bob, "lost").await;
    bob.client.rotate().await.unwrap();
    bob.clock.advance(DAY * 15);
    bob.client.maintain().await.unwrap();
    let secret = bob.client.account().openpgp_secret().unwrap();
    bob.clock.advance(DAY * 2);
    bob.client.maintain().await.unwrap();
    assert!(bob.client.account().openpgp_secret().unwrap().len() < secret.len());
    let mut listener = bob.client.listen(bob.saving(false)).await.unwrap();
    let mut unreadable = 0;
    while let Some(event) = next(&mut listener).await {
        match event {
            Event::Warning(Warning::Unreadable { .. }) => unreadable += 1,
            Event::Message(message) => panic!("{message:?}"),
            _ => {}
        }
    }
    assert_eq!(unreadable, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn mail_at_a_former_mailbox_is_still_collected() {
    let post = Post::new();
    let alice = Person::new(&post, "alice");
    let bob = Person::with_mailboxes(&post, "bob", &[node(1)]).await;
    alice.send(&bob, "at the old place").await;
    bob.client.set_route(vec![node(2)], false).await.unwrap();
    let route = bob.client.route().unwrap();
    assert_eq!(
        (route.mailboxes, route.former),
        (vec![node(2)], vec![node(1)])
    );
    alice.send(&bob, "at the new place").await;
    let mut texts = bob.read_texts().await;
    texts.sort();
    assert_eq!(texts, ["at the new place", "at the old place"]);
    assert_eq!(bob.client.home().mailboxes().unwrap(), [node(2)]);
    bob.clock.advance(DAY * 17);
    bob.client.maintain().await.unwrap();
    assert!(bob.client.route().unwrap().former.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn mailbox_that_was_dead_hears_of_the_certificate_later() {
    let post = Post::new();
    let bob = Person::new(&post, "bob");
    post.lock().dead.insert(node(2));
    assert!(
        bob.client
            .set_route(vec![node(1), node(2)], false)
            .await
            .is_err()
    );
    assert_eq!(bob.client.route().unwrap().announced, [node(1)]);
    post.lock().dead.clear();
    bob.client.maintain().await.unwrap();
    assert_eq!(bob.client.route().unwrap().announced, [node(1), node(2)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn wallet_restored_from_its_words_gets_the_mail_to_come_and_is_warned() {
    let post = Post::new();
    let alice = Person::new(&post, "alice");
    let bob = Person::with_mailboxes(&post, "bob", &[node(1)]).await;
    bob.client.rotate().await.unwrap();
    alice.send(&bob, "before").await;
    let words = bob.client.account().mnemonic().unwrap().unwrap();
    let sequence = bob.client.route().unwrap().sequence;
    let address = bob.client.address();
    drop(bob);

    let bob = Person::restored(&post, "robert", &words);
    assert_eq!(bob.client.address(), address);
    let mut listener = bob.listen().await;
    assert_eq!(
        next(&mut listener).await,
        Some(Event::Warning(Warning::Restored))
    );
    let route = bob.client.route().unwrap();
    assert_eq!(route.mailboxes, [node(1)]);
    assert!(route.sequence > sequence);
    while bob.client.route().unwrap().announced.is_empty() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    alice.send(&bob, "after").await;
    while post.unacknowledged(node(1), address) > 0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // The one before can't be read, so the one after waits for it.
    bob.clock.advance(Duration::from_secs(31));
    let mut gap = 0;
    let text = loop {
        match next(&mut listener).await {
            Some(Event::Message(message)) => break text_of(&message),
            Some(Event::Gap { missing, .. }) => gap += missing,
            _ => {}
        }
    };
    assert_eq!((text.as_str(), gap), ("after", 1));
}

/// The warning was lost if anything but listening was the first thing done with a restored wallet.
#[tokio::test(flavor = "multi_thread")]
async fn wallet_restored_and_rotated_before_anybody_listens_warns_once_all_the_same() {
    let post = Post::new();
    let bob = Person::with_mailboxes(&post, "bob", &[node(1)]).await;
    let words = bob.client.account().mnemonic().unwrap().unwrap();
    let bob = Person::restored(&post, "robert", &words);
    bob.client.rotate().await.unwrap();
    let mut listener = bob.listen().await;
    assert_eq!(
        next(&mut listener).await,
        Some(Event::Warning(Warning::Restored))
    );
    drop(listener);
    let mut listener = bob.listen().await;
    assert_eq!(next(&mut listener).await, Some(Event::CaughtUp));
}

#[tokio::test(flavor = "multi_thread")]
async fn listener_that_does_not_stay_still_does_what_is_due() {
    let post = Post::new();
    let alice = Person::with_mailboxes(&post, "alice", &[node(2)]).await;
    let bob = Person::with_mailboxes(&post, "bob", &[node(1)]).await;
    let before = alice.client.account().certificate().unwrap();
    post.lock().dead.insert(node(1));
    let sent = alice
        .client
        .send_text(&bob.recipient(), "hi", impatient())
        .await;
    assert!(sent.is_err());
    post.lock().dead.clear();
    alice.clock.advance(DAY * 8);
    assert!(alice.read_all().await.is_empty());
    let after = post.resolved(alice.client.address()).unwrap().certificate;
    assert_ne!(after, before);
    assert_eq!(bob.read_texts().await, ["hi"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn discarded_wallet_leaves_nothing() {
    let post = Post::new();
    let bob = Person::with_mailboxes(&post, "bob", &[node(1)]).await;
    let home = bob.client.home().clone();
    let head = home.find(Some("bob")).unwrap();
    home.discard(&head).unwrap();
    assert!(home.wallets().unwrap().is_empty());
    let accounts = std::fs::read_dir(home.path().join("accounts")).unwrap();
    assert_eq!(accounts.count(), 0);
}

/// `route set --mailbox auto` drew a node that was on the ledger but did not run, failed, and left the wallet
/// with a mailbox that nobody could reach.
#[tokio::test(flavor = "multi_thread")]
async fn mailbox_at_random_that_does_not_open_gives_way_to_another() {
    let post = Post::new();
    post.lock().dead.extend([node(1), node(3)]);
    let bob = Person::new(&post, "bob");
    bob.client
        .fill_route(vec![node(2)], 3, false)
        .await
        .unwrap();
    let route = bob.client.route().unwrap();
    assert_eq!(route.mailboxes, [node(2), node(4), node(5)]);
    assert_eq!(route.announced.len(), 3);
    // Nothing is collected from nodes that never had an account.
    assert_eq!(route.former, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn mailbox_that_was_named_does_not_give_way() {
    let post = Post::new();
    post.lock().dead.insert(node(1));
    let bob = Person::new(&post, "bob");
    let set = bob.client.fill_route(vec![node(1)], 1, false).await;
    assert!(
        matches!(set, Err(UpkeepError::Mailbox { mailbox, .. }) if mailbox == node(1)),
        "{set:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn former_mailbox_that_is_drawn_in_vain_stays_a_former_one() {
    let post = Post::new();
    let bob = Person::with_mailboxes(&post, "bob", &[node(1)]).await;
    bob.client.set_route(vec![node(2)], false).await.unwrap();
    post.lock().dead.insert(node(1));
    bob.client.fill_route(vec![], 1, false).await.unwrap();
    let route = bob.client.route().unwrap();
    assert_eq!(route.mailboxes, [node(2)]);
    assert_eq!(route.former, [node(1)]);
}

/// A node that is nowhere on the ledger became the wallet's mailbox before anybody looked.
#[tokio::test(flavor = "multi_thread")]
async fn mailbox_that_is_no_node_leaves_the_route_as_it_was() {
    let post = Post::new();
    let bob = Person::with_mailboxes(&post, "bob", &[node(1)]).await;
    let set = bob.client.set_route(vec![node(99)], false).await;
    assert!(
        matches!(set, Err(UpkeepError::UnknownNode(unknown)) if unknown == node(99)),
        "{set:?}"
    );
    assert_eq!(bob.client.route().unwrap().mailboxes, [node(1)]);
}
