//! Storing: durable, once, within quota.

use std::sync::Arc;

use bytes::Bytes;
use mailbox::{AppendError, Cursor, Stored, StoredPacket};

use super::{ALICE, BOB, Fixture, Limits, NOW, PHONE, TTL, append, hash, read_all, reopen, texts};

pub(crate) async fn append_first_packet_gets_a_cursor_above_start(fixture: impl Fixture) {
    let store = fixture.open(Limits::default()).await;
    let stored = append(&*store, ALICE, "one", NOW).await;
    assert!(stored.cursor > Cursor::START);
    assert_eq!((stored.stored_at_ms, stored.duplicate), (NOW, false));
}

pub(crate) async fn append_then_read_returns_it_byte_for_byte(fixture: impl Fixture) {
    let store = fixture.open(Limits::default()).await;
    let packet: Bytes = (0..10_000u32)
        .map(|i| (i * 31) as u8)
        .collect::<Vec<_>>()
        .into();
    let stored = store
        .append(ALICE, hash(&packet), packet.clone(), NOW)
        .await
        .unwrap();
    store.register_device(ALICE, PHONE, NOW).await.unwrap();
    let read = store
        .read(ALICE, PHONE, Cursor::START, 10, 1)
        .await
        .unwrap();
    assert_eq!(
        read,
        [StoredPacket {
            cursor: stored.cursor,
            stored_at_ms: NOW,
            packet
        }]
    );
}

pub(crate) async fn append_many_then_read_keeps_the_order(fixture: impl Fixture) {
    let store = fixture.open(Limits::default()).await;
    store.register_device(ALICE, PHONE, NOW).await.unwrap();
    let mut tasks = Vec::new();
    for i in 0..300 {
        let store = Arc::clone(&store);
        tasks.push(tokio::spawn(async move {
            (
                append(&*store, ALICE, &format!("p{i}"), NOW).await.cursor,
                i,
            )
        }));
    }
    let mut stored = Vec::new();
    for task in tasks {
        stored.push(task.await.unwrap());
    }
    stored.sort_unstable();
    let expected: Vec<_> = stored.iter().map(|(_, i)| format!("p{i}")).collect();
    assert_eq!(texts(&*store, ALICE, PHONE, Cursor::START).await, expected);
}

pub(crate) async fn append_same_packet_again_returns_the_first_outcome(fixture: impl Fixture) {
    let store = fixture.open(Limits::default()).await;
    let first = append(&*store, ALICE, "one", NOW).await;
    append(&*store, ALICE, "two", NOW + 1).await;
    let again = append(&*store, ALICE, "one", NOW + 2).await;
    assert_eq!(
        again,
        Stored {
            duplicate: true,
            ..first
        }
    );
    assert_eq!(store.stats(ALICE).await.unwrap().count, 2);
}

pub(crate) async fn append_same_packet_at_once_stores_it_once(fixture: impl Fixture) {
    let store = fixture.open(Limits::default()).await;
    let mut tasks = Vec::new();
    for _ in 0..32 {
        let store = Arc::clone(&store);
        tasks.push(tokio::spawn(async move {
            append(&*store, ALICE, "same", NOW).await
        }));
    }
    let mut outcomes = Vec::new();
    for task in tasks {
        outcomes.push(task.await.unwrap());
    }
    assert_eq!(
        outcomes.iter().filter(|stored| !stored.duplicate).count(),
        1
    );
    assert!(
        outcomes
            .iter()
            .all(|stored| stored.cursor == outcomes[0].cursor)
    );
    assert_eq!(store.stats(ALICE).await.unwrap().count, 1);
}

pub(crate) async fn append_same_packet_to_another_queue_stores_it_there_too(fixture: impl Fixture) {
    let store = fixture.open(Limits::default()).await;
    append(&*store, ALICE, "one", NOW).await;
    assert!(!append(&*store, BOB, "one", NOW).await.duplicate);
    assert_eq!(store.stats(BOB).await.unwrap().count, 1);
}

pub(crate) async fn append_acknowledged_packet_again_is_a_duplicate(fixture: impl Fixture) {
    let store = fixture.open(Limits::default()).await;
    store.register_device(ALICE, PHONE, NOW).await.unwrap();
    let first = append(&*store, ALICE, "one", NOW).await;
    store
        .acknowledge(ALICE, PHONE, first.cursor, NOW)
        .await
        .unwrap();
    let again = append(&*store, ALICE, "one", NOW + TTL - 1).await;
    assert_eq!(
        again,
        Stored {
            duplicate: true,
            ..first
        }
    );
    assert!(texts(&*store, ALICE, PHONE, Cursor::START).await.is_empty());
}

pub(crate) async fn append_acknowledged_packet_again_after_reopen_is_a_duplicate(
    fixture: impl Fixture,
) {
    let store = fixture.open(Limits::default()).await;
    store.register_device(ALICE, PHONE, NOW).await.unwrap();
    let first = append(&*store, ALICE, "one", NOW).await;
    store
        .acknowledge(ALICE, PHONE, first.cursor, NOW)
        .await
        .unwrap();
    let store = reopen(&fixture, store, Limits::default()).await;
    assert_eq!(
        append(&*store, ALICE, "one", NOW + 5).await,
        Stored {
            duplicate: true,
            ..first
        }
    );
}

pub(crate) async fn append_same_packet_after_its_ttl_stores_it_anew(fixture: impl Fixture) {
    let store = fixture.open(Limits::default()).await;
    let first = append(&*store, ALICE, "one", NOW).await;
    let again = append(&*store, ALICE, "one", NOW + TTL).await;
    assert!(!again.duplicate && again.cursor > first.cursor);
    let once_more = append(&*store, ALICE, "one", NOW + TTL + 1).await;
    assert_eq!(
        once_more,
        Stored {
            duplicate: true,
            ..again
        }
    );
}

pub(crate) async fn append_beyond_byte_quota_is_refused_until_acknowledged(fixture: impl Fixture) {
    let store = fixture
        .open(Limits {
            quota_bytes: 100,
            ..Limits::default()
        })
        .await;
    store.register_device(ALICE, PHONE, NOW).await.unwrap();
    let first = append(&*store, ALICE, &"x".repeat(60), NOW).await;
    let second = Bytes::from("y".repeat(60));
    match store
        .append(ALICE, hash(&second), second.clone(), NOW)
        .await
    {
        Err(AppendError::QueueFull {
            bytes: 60,
            count: 1,
            bytes_quota: 100,
            ..
        }) => {}
        other => panic!("{other:?}"),
    }
    append(&*store, BOB, &"z".repeat(60), NOW).await;
    store
        .acknowledge(ALICE, PHONE, first.cursor, NOW)
        .await
        .unwrap();
    assert!(
        !store
            .append(ALICE, hash(&second), second, NOW)
            .await
            .unwrap()
            .duplicate
    );
}

pub(crate) async fn append_beyond_packet_quota_is_refused_until_acknowledged(
    fixture: impl Fixture,
) {
    let store = fixture
        .open(Limits {
            quota_packets: 2,
            ..Limits::default()
        })
        .await;
    store.register_device(ALICE, PHONE, NOW).await.unwrap();
    let first = append(&*store, ALICE, "one", NOW).await;
    append(&*store, ALICE, "two", NOW).await;
    let three = Bytes::from("three");
    let refused = store.append(ALICE, hash(&three), three.clone(), NOW).await;
    assert!(
        matches!(
            refused,
            Err(AppendError::QueueFull {
                count: 2,
                count_quota: 2,
                ..
            })
        ),
        "{refused:?}"
    );
    store
        .acknowledge(ALICE, PHONE, first.cursor, NOW)
        .await
        .unwrap();
    assert!(store.append(ALICE, hash(&three), three, NOW).await.is_ok());
}

pub(crate) async fn append_duplicate_to_full_queue_is_still_answered(fixture: impl Fixture) {
    let store = fixture
        .open(Limits {
            quota_packets: 1,
            ..Limits::default()
        })
        .await;
    let first = append(&*store, ALICE, "one", NOW).await;
    assert_eq!(
        append(&*store, ALICE, "one", NOW).await,
        Stored {
            duplicate: true,
            ..first
        }
    );
}

pub(crate) async fn append_to_full_queue_of_expired_packets_is_taken(fixture: impl Fixture) {
    let store = fixture
        .open(Limits {
            quota_packets: 2,
            ..Limits::default()
        })
        .await;
    append(&*store, ALICE, "one", NOW).await;
    append(&*store, ALICE, "two", NOW).await;
    append(&*store, ALICE, "three", NOW + TTL).await;
    store
        .register_device(ALICE, PHONE, NOW + TTL)
        .await
        .unwrap();
    assert_eq!(texts(&*store, ALICE, PHONE, Cursor::START).await, ["three"]);
}

pub(crate) async fn append_too_large_packet_is_refused(fixture: impl Fixture) {
    let store = fixture
        .open(Limits {
            max_packet_bytes: 1000,
            ..Limits::default()
        })
        .await;
    let packet = Bytes::from(vec![1; 1001]);
    let refused = store.append(ALICE, hash(&packet), packet, NOW).await;
    assert!(
        matches!(
            refused,
            Err(AppendError::TooLarge {
                bytes: 1001,
                limit: 1000
            })
        ),
        "{refused:?}"
    );
}

pub(crate) async fn append_largest_packet_is_taken(fixture: impl Fixture) {
    let store = fixture.open(Limits::default()).await;
    let packet = Bytes::from(vec![1; Limits::default().max_packet_bytes]);
    store
        .append(ALICE, hash(&packet), packet.clone(), NOW)
        .await
        .unwrap();
    store.register_device(ALICE, PHONE, NOW).await.unwrap();
    assert_eq!(
        read_all(&*store, ALICE, PHONE, Cursor::START).await[0].packet,
        packet
    );
}

pub(crate) async fn append_empty_packet_is_kept(fixture: impl Fixture) {
    let store = fixture.open(Limits::default()).await;
    append(&*store, ALICE, "", NOW).await;
    let store = reopen(&fixture, store, Limits::default()).await;
    store.register_device(ALICE, PHONE, NOW).await.unwrap();
    assert_eq!(texts(&*store, ALICE, PHONE, Cursor::START).await, [""]);
}
