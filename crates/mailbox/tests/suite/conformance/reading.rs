//! Reading: in order, within limits.

use mailbox::{Cursor, ReadError};

use super::{ALICE, BOB, Fixture, Limits, NOW, PHONE, TTL, append, reopen, texts};

pub(crate) async fn read_after_reopen_returns_everything_in_order(fixture: impl Fixture) {
    let mut store = fixture.open(Limits::default()).await;
    store.register_device(ALICE, PHONE, NOW).await.unwrap();
    let mut expected = Vec::new();
    for round in 0..4 {
        for i in 0..25 {
            let text = format!("{round}-{i}");
            append(&*store, ALICE, &text, NOW).await;
            append(&*store, BOB, &text, NOW).await;
            expected.push(text);
        }
        store = reopen(&fixture, store, Limits::default()).await;
        assert_eq!(texts(&*store, ALICE, PHONE, Cursor::START).await, expected);
    }
}

pub(crate) async fn read_limits_are_kept_and_one_packet_always_comes(fixture: impl Fixture) {
    let store = fixture.open(Limits::default()).await;
    store.register_device(ALICE, PHONE, NOW).await.unwrap();
    for i in 0..10 {
        append(&*store, ALICE, &format!("{i}{}", "x".repeat(99)), NOW).await;
    }
    let read = |after, items, bytes| store.read(ALICE, PHONE, after, items, bytes);
    assert_eq!(read(Cursor::START, 3, 100_000).await.unwrap().len(), 3);
    assert_eq!(read(Cursor::START, 100, 350).await.unwrap().len(), 3);
    assert_eq!(read(Cursor::START, 100, 300).await.unwrap().len(), 3);
    assert_eq!(read(Cursor::START, 100, 1).await.unwrap().len(), 1);
    assert_eq!(read(Cursor::START, 0, 0).await.unwrap().len(), 1);
    let fourth = read(Cursor::START, 4, 100_000)
        .await
        .unwrap()
        .pop()
        .unwrap();
    assert!(fourth.packet.starts_with(b"3"));
    assert!(
        read(fourth.cursor, 1, 1000).await.unwrap()[0]
            .packet
            .starts_with(b"4")
    );
    assert!(
        read(Cursor::new(u64::MAX), 1, 1000)
            .await
            .unwrap()
            .is_empty()
    );
}

pub(crate) async fn read_by_unknown_device_is_refused(fixture: impl Fixture) {
    let store = fixture.open(Limits::default()).await;
    append(&*store, ALICE, "one", NOW).await;
    for queue in [ALICE, BOB] {
        let refused = store.read(queue, PHONE, Cursor::START, 1, 1000).await;
        assert!(
            matches!(refused, Err(ReadError::UnknownDevice)),
            "{refused:?}"
        );
    }
}

pub(crate) async fn read_of_another_queue_shows_nothing_of_it(fixture: impl Fixture) {
    let store = fixture.open(Limits::default()).await;
    store.register_device(BOB, PHONE, NOW).await.unwrap();
    append(&*store, ALICE, "for alice", NOW).await;
    append(&*store, BOB, "for bob", NOW).await;
    assert_eq!(texts(&*store, BOB, PHONE, Cursor::START).await, ["for bob"]);
}

pub(crate) async fn cursors_go_on_after_reopen_of_an_emptied_queue(fixture: impl Fixture) {
    let mut store = fixture.open(Limits::default()).await;
    store.register_device(ALICE, PHONE, NOW).await.unwrap();
    let mut last = Cursor::START;
    for i in 0..6 {
        let stored = append(&*store, ALICE, &format!("{i}"), NOW + i * TTL).await;
        assert!(
            stored.cursor > last,
            "cursor {} after {last}",
            stored.cursor
        );
        last = stored.cursor;
        if i % 2 == 0 {
            store
                .acknowledge(ALICE, PHONE, last, NOW + i * TTL)
                .await
                .unwrap();
        }
        store
            .register_device(ALICE, PHONE, NOW + i * TTL)
            .await
            .unwrap();
        store.expire(NOW + (i + 1) * TTL).await.unwrap();
        assert_eq!(store.stats(ALICE).await.unwrap().count, 0);
        store = reopen(&fixture, store, Limits::default()).await;
    }
}
