//! One wallet on two devices: each receives everything, also after a rotation.

use client::home::{Home, HomeError};
use client::receive::{Event, Warning};
use client::{UpkeepError, WallClock};

use crate::people::{Person, client_at, message, next, text_of};
use crate::post::{Post, node};

#[tokio::test(flavor = "multi_thread")]
async fn two_devices_each_receive_everything_before_and_after_a_rotation() {
    let post = Post::new();
    let alice = Person::new(&post, "alice");
    let bob = Person::with_mailboxes(&post, "bob", &[node(1)]).await;
    bob.knows(&alice, "alice");
    let export = bob.client.home().export(bob.client.account()).unwrap();
    assert!(Home::is_export(&export));

    let folder = tempfile::tempdir().unwrap();
    let clock = WallClock::system();
    let home = Home::open_with_clock(folder.path(), clock.clone()).unwrap();
    home.import(&export, None, "").unwrap();
    assert!(home.contacts().unwrap().named("alice").is_some());
    let second = client_at(folder.path(), &post, &clock);
    assert_eq!(second.address(), bob.client.address());

    let mut firsts = bob.listen().await;
    let mut seconds = second.listen(bob.saving(true)).await.unwrap();
    alice.send(&bob, "one").await;
    assert_eq!(text_of(&message(&mut firsts).await), "one");
    assert_eq!(text_of(&message(&mut seconds).await), "one");

    bob.client.rotate().await.unwrap();
    let rotated = bob.client.account().certificate().unwrap();
    alice.send(&bob, "two").await;
    assert_eq!(text_of(&message(&mut firsts).await), "two");
    assert_eq!(text_of(&message(&mut seconds).await), "two");
    assert_eq!(second.account().certificate().unwrap(), rotated);
}

#[tokio::test(flavor = "multi_thread")]
async fn device_from_an_old_export_is_told_and_does_not_rotate() {
    let post = Post::new();
    let bob = Person::with_mailboxes(&post, "bob", &[node(1)]).await;
    let export = bob.client.home().export(bob.client.account()).unwrap();
    bob.client.rotate().await.unwrap();
    assert!(bob.read_all().await.is_empty());
    // The message for other devices is gone by the time that the export is imported.
    post.empty(node(1));

    let folder = tempfile::tempdir().unwrap();
    let clock = WallClock::system();
    let home = Home::open_with_clock(folder.path(), clock.clone()).unwrap();
    home.import(&export, None, "").unwrap();
    let second = client_at(folder.path(), &post, &clock);
    assert!(matches!(second.rotate().await, Err(UpkeepError::Outdated)));
    clock.advance(std::time::Duration::from_secs(30 * 24 * 60 * 60));
    assert!(matches!(
        second.maintain().await,
        Err(UpkeepError::Outdated)
    ));
    assert!(bob.client.rotate().await.is_ok());
}

/// The advice was to import a new export, which was then refused since the wallet was there already.
#[tokio::test(flavor = "multi_thread")]
async fn device_with_old_keys_gets_the_new_ones_by_a_new_export() {
    let post = Post::new();
    let alice = Person::new(&post, "alice");
    let bob = Person::with_mailboxes(&post, "bob", &[node(1)]).await;
    let words = bob.client.account().mnemonic().unwrap().unwrap();
    let elsewhere = Person::restored(&post, "robert", &words);
    elsewhere.client.rotate().await.unwrap();
    alice.send(&bob, "to the other machine").await;
    let mut listener = bob.listen().await;
    let reason = loop {
        if let Some(Event::Warning(Warning::Unreadable { reason })) = next(&mut listener).await {
            break reason;
        }
    };
    assert!(reason.contains("export it there"), "{reason}");
    drop(listener);
    assert!(matches!(
        bob.client.rotate().await,
        Err(UpkeepError::Outdated)
    ));

    let there = elsewhere.client.home();
    let export = there.export(elsewhere.client.account()).unwrap();
    let here = bob.client.home();
    here.import(&export, None, "").unwrap();
    alice.send(&bob, "to both").await;
    // The one before comes again if the mailbox had not heard that it was taken; now it can be read.
    let read = bob.read_texts().await;
    assert_eq!(read.last().unwrap(), "to both");
    assert!(matches!(
        here.import(&export, None, ""),
        Err(HomeError::AlreadyHere(_))
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn export_opens_with_its_password_only() {
    let post = Post::new();
    let bob = Person::with_mailboxes(&post, "bob", &[node(1)]).await;
    let export = bob.client.home().export(bob.client.account()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let home = Home::open(folder.path()).unwrap();
    assert!(home.import(&export, None, "wrong").is_err());
    assert!(home.import("{}", None, "").is_err());
    assert!(home.wallets().unwrap().is_empty());
}
