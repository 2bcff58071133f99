//! Devices and what they acknowledge.

use mailbox::{ControlError, Cursor, DEVICE_IDLE_MS, DEVICES_MAX, DeviceId};

use super::{ALICE, BOB, DAY, Fixture, LAPTOP, Limits, NOW, PHONE, append, reopen, texts};

pub(crate) async fn device_that_is_new_starts_at_the_oldest_packet_kept(fixture: impl Fixture) {
    let store = fixture.open(Limits::default()).await;
    let start = store.register_device(ALICE, PHONE, NOW).await.unwrap();
    let first = append(&*store, ALICE, "one", NOW).await;
    append(&*store, ALICE, "two", NOW).await;
    assert!(start < first.cursor);
    store
        .acknowledge(ALICE, PHONE, first.cursor, NOW)
        .await
        .unwrap();
    let start = store.register_device(ALICE, LAPTOP, NOW).await.unwrap();
    assert_eq!(texts(&*store, ALICE, LAPTOP, start).await, ["two"]);
}

pub(crate) async fn device_mark_survives_reopen(fixture: impl Fixture) {
    let store = fixture.open(Limits::default()).await;
    store.register_device(ALICE, PHONE, NOW).await.unwrap();
    store.register_device(ALICE, LAPTOP, NOW).await.unwrap();
    let first = append(&*store, ALICE, "one", NOW).await;
    append(&*store, ALICE, "two", NOW).await;
    store
        .acknowledge(ALICE, PHONE, first.cursor, NOW)
        .await
        .unwrap();
    let store = reopen(&fixture, store, Limits::default()).await;
    assert_eq!(
        store.register_device(ALICE, PHONE, NOW).await.unwrap(),
        first.cursor
    );
    let start = store.register_device(ALICE, LAPTOP, NOW).await.unwrap();
    assert_eq!(texts(&*store, ALICE, LAPTOP, start).await, ["one", "two"]);
}

pub(crate) async fn device_mark_never_goes_back(fixture: impl Fixture) {
    let store = fixture.open(Limits::default()).await;
    store.register_device(ALICE, PHONE, NOW).await.unwrap();
    let first = append(&*store, ALICE, "one", NOW).await;
    let second = append(&*store, ALICE, "two", NOW).await;
    store
        .acknowledge(ALICE, PHONE, second.cursor, NOW)
        .await
        .unwrap();
    store
        .acknowledge(ALICE, PHONE, first.cursor, NOW)
        .await
        .unwrap();
    assert_eq!(
        store.register_device(ALICE, PHONE, NOW).await.unwrap(),
        second.cursor
    );
}

pub(crate) async fn devices_each_receive_everything(fixture: impl Fixture) {
    let store = fixture.open(Limits::default()).await;
    store.register_device(ALICE, PHONE, NOW).await.unwrap();
    store.register_device(ALICE, LAPTOP, NOW).await.unwrap();
    let mut last = Cursor::START;
    for i in 0..10 {
        last = append(&*store, ALICE, &format!("{i}"), NOW).await.cursor;
    }
    store.acknowledge(ALICE, PHONE, last, NOW).await.unwrap();
    assert_eq!(texts(&*store, ALICE, LAPTOP, Cursor::START).await.len(), 10);
    assert_eq!(store.stats(ALICE).await.unwrap().count, 10);
    store.acknowledge(ALICE, LAPTOP, last, NOW).await.unwrap();
    assert_eq!(store.stats(ALICE).await.unwrap().count, 0);
}

pub(crate) async fn devices_beyond_the_limit_are_refused(fixture: impl Fixture) {
    let store = fixture.open(Limits::default()).await;
    for i in 0..DEVICES_MAX {
        store
            .register_device(ALICE, DeviceId::new([i as u8; 16]), NOW)
            .await
            .unwrap();
    }
    let refused = store
        .register_device(ALICE, DeviceId::new([99; 16]), NOW)
        .await;
    assert!(
        matches!(
            refused,
            Err(ControlError::TooManyDevices { limit: DEVICES_MAX })
        ),
        "{refused:?}"
    );
    store
        .register_device(ALICE, DeviceId::new([0; 16]), NOW)
        .await
        .unwrap();
}

pub(crate) async fn device_that_is_idle_makes_room_and_no_longer_holds_packets(
    fixture: impl Fixture,
) {
    let store = fixture
        .open(Limits {
            ttl_ms: 100 * DAY,
            ..Limits::default()
        })
        .await;
    for i in 0..DEVICES_MAX {
        store
            .register_device(ALICE, DeviceId::new([i as u8; 16]), NOW + i as u64 * DAY)
            .await
            .unwrap();
    }
    let first = append(&*store, ALICE, "one", NOW).await;
    for i in 1..DEVICES_MAX {
        store
            .acknowledge(
                ALICE,
                DeviceId::new([i as u8; 16]),
                first.cursor,
                NOW + 7 * DAY,
            )
            .await
            .unwrap();
    }
    assert_eq!(store.stats(ALICE).await.unwrap().count, 1);
    store
        .register_device(ALICE, DeviceId::new([99; 16]), NOW + DEVICE_IDLE_MS)
        .await
        .unwrap();
    let stats = store.stats(ALICE).await.unwrap();
    assert_eq!((stats.count, stats.devices), (0, DEVICES_MAX));
}

pub(crate) async fn device_that_reads_now_and_then_is_not_idle(fixture: impl Fixture) {
    let mut store = fixture.open(Limits::default()).await;
    for week in 0..10 {
        store
            .register_device(ALICE, PHONE, NOW + week * 7 * DAY)
            .await
            .unwrap();
        store.expire(NOW + week * 7 * DAY).await.unwrap();
        store = reopen(&fixture, store, Limits::default()).await;
    }
    assert_eq!(store.stats(ALICE).await.unwrap().devices, 1);
    store
        .expire(NOW + 9 * 7 * DAY + DEVICE_IDLE_MS)
        .await
        .unwrap();
    assert_eq!(store.stats(ALICE).await.unwrap().devices, 0);
}

pub(crate) async fn acknowledge_by_unknown_device_is_refused(fixture: impl Fixture) {
    let store = fixture.open(Limits::default()).await;
    let first = append(&*store, ALICE, "one", NOW).await;
    for queue in [ALICE, BOB] {
        let refused = store.acknowledge(queue, PHONE, first.cursor, NOW).await;
        assert!(
            matches!(refused, Err(ControlError::UnknownDevice)),
            "{refused:?}"
        );
    }
}

pub(crate) async fn acknowledge_past_the_end_is_refused(fixture: impl Fixture) {
    let store = fixture.open(Limits::default()).await;
    store.register_device(ALICE, PHONE, NOW).await.unwrap();
    let first = append(&*store, ALICE, "one", NOW).await;
    let beyond = Cursor::new(first.cursor.value() + 1);
    let refused = store.acknowledge(ALICE, PHONE, beyond, NOW).await;
    assert!(
        matches!(refused, Err(ControlError::PastEnd { .. })),
        "{refused:?}"
    );
    assert_eq!(texts(&*store, ALICE, PHONE, Cursor::START).await, ["one"]);
}

pub(crate) async fn acknowledged_packets_do_not_return_after_reopen(fixture: impl Fixture) {
    let store = fixture.open(Limits::default()).await;
    store.register_device(ALICE, PHONE, NOW).await.unwrap();
    let first = append(&*store, ALICE, "one", NOW).await;
    append(&*store, ALICE, "two", NOW).await;
    store
        .acknowledge(ALICE, PHONE, first.cursor, NOW)
        .await
        .unwrap();
    let store = reopen(&fixture, store, Limits::default()).await;
    assert_eq!(texts(&*store, ALICE, PHONE, Cursor::START).await, ["two"]);
    assert_eq!(store.stats(ALICE).await.unwrap().bytes, 3);
}
