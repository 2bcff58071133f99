//! Subscriptions, figures, removal, age and closing.

use std::time::Duration;

use bytes::Bytes;
use mailbox::{AppendError, ControlError, Cursor, ReadError};

use super::{ALICE, BOB, Fixture, Limits, NOW, PHONE, TTL, append, hash, reopen, texts};

const A_WHILE: Duration = Duration::from_secs(20);
const SHORTLY: Duration = Duration::from_millis(200);

pub(crate) async fn subscription_wakes_after_append(fixture: impl Fixture) {
    let store = fixture.open(Limits::default()).await;
    store.register_device(ALICE, PHONE, NOW).await.unwrap();
    let mut arrivals = store.subscribe(ALICE);
    let stored = append(&*store, ALICE, "one", NOW).await;
    assert_eq!(
        tokio::time::timeout(A_WHILE, arrivals.arrived())
            .await
            .unwrap(),
        Some(stored.cursor)
    );
    assert_eq!(texts(&*store, ALICE, PHONE, Cursor::START).await, ["one"]);
    assert!(
        tokio::time::timeout(SHORTLY, arrivals.arrived())
            .await
            .is_err(),
        "one packet wakes once"
    );
    append(&*store, ALICE, "one", NOW).await;
    assert!(
        tokio::time::timeout(SHORTLY, arrivals.arrived())
            .await
            .is_err(),
        "a duplicate is no arrival"
    );
}

pub(crate) async fn subscription_does_not_wake_for_other_queues(fixture: impl Fixture) {
    let store = fixture.open(Limits::default()).await;
    let mut arrivals = store.subscribe(ALICE);
    append(&*store, BOB, "one", NOW).await;
    assert!(
        tokio::time::timeout(SHORTLY, arrivals.arrived())
            .await
            .is_err()
    );
}

pub(crate) async fn subscription_ends_when_the_queue_is_removed(fixture: impl Fixture) {
    let store = fixture.open(Limits::default()).await;
    append(&*store, ALICE, "one", NOW).await;
    let mut arrivals = store.subscribe(ALICE);
    store.remove_queue(ALICE).await.unwrap();
    assert_eq!(
        tokio::time::timeout(A_WHILE, arrivals.arrived())
            .await
            .unwrap(),
        None
    );
}

pub(crate) async fn subscription_ends_when_the_store_closes(fixture: impl Fixture) {
    let store = fixture.open(Limits::default()).await;
    let mut arrivals = store.subscribe(ALICE);
    store.close().await;
    assert_eq!(
        tokio::time::timeout(A_WHILE, arrivals.arrived())
            .await
            .unwrap(),
        None
    );
    let mut late = store.subscribe(ALICE);
    assert_eq!(
        tokio::time::timeout(A_WHILE, late.arrived()).await.unwrap(),
        None
    );
}

pub(crate) async fn stats_count_what_is_kept(fixture: impl Fixture) {
    let store = fixture
        .open(Limits {
            quota_bytes: 1000,
            quota_packets: 10,
            ..Limits::default()
        })
        .await;
    assert_eq!(store.stats(ALICE).await.unwrap().count, 0);
    store.register_device(ALICE, PHONE, NOW).await.unwrap();
    let first = append(&*store, ALICE, &"x".repeat(100), NOW).await;
    append(&*store, ALICE, &"y".repeat(400), NOW + 5).await;
    let stats = store.stats(ALICE).await.unwrap();
    assert_eq!(
        (stats.count, stats.bytes, stats.oldest_ms, stats.devices),
        (2, 500, Some(NOW), 1)
    );
    assert!((stats.quota_fraction - 0.5).abs() < 1e-9);
    store
        .acknowledge(ALICE, PHONE, first.cursor, NOW)
        .await
        .unwrap();
    let stats = store.stats(ALICE).await.unwrap();
    assert_eq!(
        (stats.count, stats.bytes, stats.oldest_ms),
        (1, 400, Some(NOW + 5))
    );
}

pub(crate) async fn removed_queue_is_empty_and_its_cursors_go_on(fixture: impl Fixture) {
    let store = fixture.open(Limits::default()).await;
    store.register_device(ALICE, PHONE, NOW).await.unwrap();
    append(&*store, ALICE, "one", NOW).await;
    let last = append(&*store, ALICE, "two", NOW).await;
    store.remove_queue(ALICE).await.unwrap();
    let stats = store.stats(ALICE).await.unwrap();
    assert_eq!((stats.count, stats.devices), (0, 0));
    let refused = store.read(ALICE, PHONE, Cursor::START, 1, 1000).await;
    assert!(
        matches!(refused, Err(ReadError::UnknownDevice)),
        "{refused:?}"
    );
    assert!(append(&*store, ALICE, "three", NOW).await.cursor > last.cursor);
    store.remove_queue(BOB).await.unwrap();
}

pub(crate) async fn removed_queue_stays_removed_after_reopen(fixture: impl Fixture) {
    let store = fixture.open(Limits::default()).await;
    store.register_device(ALICE, PHONE, NOW).await.unwrap();
    let old = append(&*store, ALICE, "one", NOW).await;
    store.remove_queue(ALICE).await.unwrap();
    let store = reopen(&fixture, store, Limits::default()).await;
    assert_eq!(store.stats(ALICE).await.unwrap().count, 0);
    let new = append(&*store, ALICE, "new", NOW).await;
    assert!(new.cursor > old.cursor);
    let store = reopen(&fixture, store, Limits::default()).await;
    let start = store.register_device(ALICE, PHONE, NOW).await.unwrap();
    assert_eq!(texts(&*store, ALICE, PHONE, start).await, ["new"]);
}

pub(crate) async fn removed_queue_takes_the_same_packet_again(fixture: impl Fixture) {
    let store = fixture.open(Limits::default()).await;
    append(&*store, ALICE, "one", NOW).await;
    store.remove_queue(ALICE).await.unwrap();
    assert!(!append(&*store, ALICE, "one", NOW).await.duplicate);
    store.remove_queue(ALICE).await.unwrap();
    append(&*store, ALICE, "other", NOW).await;
    let store = reopen(&fixture, store, Limits::default()).await;
    assert!(!append(&*store, ALICE, "one", NOW).await.duplicate);
}

pub(crate) async fn expire_deletes_old_packets_and_frees_quota(fixture: impl Fixture) {
    let store = fixture
        .open(Limits {
            quota_packets: 3,
            ..Limits::default()
        })
        .await;
    store.register_device(ALICE, PHONE, NOW).await.unwrap();
    append(&*store, ALICE, "one", NOW).await;
    append(&*store, ALICE, "two", NOW + 10).await;
    append(&*store, ALICE, "three", NOW + 20).await;
    assert_eq!(store.expire(NOW + TTL - 1).await.unwrap(), 0);
    assert_eq!(store.expire(NOW + TTL + 10).await.unwrap(), 2);
    assert_eq!(texts(&*store, ALICE, PHONE, Cursor::START).await, ["three"]);
    assert_eq!(store.stats(ALICE).await.unwrap().oldest_ms, Some(NOW + 20));
}

pub(crate) async fn expire_persists_over_reopen(fixture: impl Fixture) {
    let store = fixture.open(Limits::default()).await;
    store.register_device(ALICE, PHONE, NOW).await.unwrap();
    append(&*store, ALICE, "one", NOW).await;
    append(&*store, ALICE, "two", NOW + 10).await;
    store.expire(NOW + TTL).await.unwrap();
    let store = reopen(&fixture, store, Limits::default()).await;
    assert_eq!(texts(&*store, ALICE, PHONE, Cursor::START).await, ["two"]);
}

pub(crate) async fn closed_store_refuses_everything(fixture: impl Fixture) {
    let store = fixture.open(Limits::default()).await;
    append(&*store, ALICE, "one", NOW).await;
    store.close().await;
    store.close().await;
    let packet = Bytes::from("two");
    assert!(matches!(
        store.append(ALICE, hash(&packet), packet, NOW).await,
        Err(AppendError::Closed)
    ));
    assert!(matches!(
        store.read(ALICE, PHONE, Cursor::START, 1, 1).await,
        Err(ReadError::Closed)
    ));
    assert!(matches!(store.stats(ALICE).await, Err(ReadError::Closed)));
    assert!(matches!(
        store.register_device(ALICE, PHONE, NOW).await,
        Err(ControlError::Closed)
    ));
    assert!(matches!(
        store.acknowledge(ALICE, PHONE, Cursor::START, NOW).await,
        Err(ControlError::Closed)
    ));
    assert!(matches!(
        store.remove_queue(ALICE).await,
        Err(ControlError::Closed)
    ));
    assert!(matches!(store.expire(NOW).await, Err(ControlError::Closed)));
    assert!(matches!(store.flush().await, Err(ControlError::Closed)));
}

pub(crate) async fn flush_of_idle_store_returns(fixture: impl Fixture) {
    let store = fixture.open(Limits::default()).await;
    store.flush().await.unwrap();
    append(&*store, ALICE, "one", NOW).await;
    store.flush().await.unwrap();
}
