//! What every `PacketStore` must do. A store's test calls `conformance_tests!(its fixture)`.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use mailbox::{
    AppendError, ControlError, Cursor, DEVICE_IDLE_MS, DEVICES_MAX, DeviceId, PacketHash,
    PacketStore, QueueId, ReadError, Stored, StoredPacket,
};
use sha2::{Digest, Sha256};

/// Limits that a test sets.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub quota_bytes: u64,
    pub quota_packets: u64,
    pub ttl_ms: u64,
    pub max_packet_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            quota_bytes: 1 << 20,
            quota_packets: 10_000,
            ttl_ms: TTL,
            max_packet_bytes: 16 << 10,
        }
    }
}

/// One store on something durable, opened any number of times.
pub trait Fixture: Sized {
    fn new() -> Self;
    /// Opens the store. The one opened before was closed.
    fn open(&self, limits: Limits) -> impl Future<Output = Arc<dyn PacketStore>>;
}

pub const NOW: u64 = 1_800_000_000_000;
pub const DAY: u64 = 24 * 60 * 60 * 1000;
pub const TTL: u64 = 14 * DAY;
pub const ALICE: QueueId = QueueId::new([0xa1; 20]);
pub const BOB: QueueId = QueueId::new([0xb0; 20]);
pub const PHONE: DeviceId = DeviceId::new([1; 16]);
pub const LAPTOP: DeviceId = DeviceId::new([2; 16]);

pub fn hash(packet: &[u8]) -> PacketHash {
    Sha256::digest(packet).into()
}

pub async fn append(store: &dyn PacketStore, queue: QueueId, packet: &str, now_ms: u64) -> Stored {
    let bytes = Bytes::copy_from_slice(packet.as_bytes());
    store
        .append(queue, hash(&bytes), bytes, now_ms)
        .await
        .unwrap()
}

pub async fn read_all(
    store: &dyn PacketStore,
    queue: QueueId,
    device: DeviceId,
    after: Cursor,
) -> Vec<StoredPacket> {
    let mut all: Vec<StoredPacket> = Vec::new();
    loop {
        let after = all.last().map_or(after, |last| last.cursor);
        let page = store
            .read(queue, device, after, 100, 64 << 10)
            .await
            .unwrap();
        if page.is_empty() {
            return all;
        }
        all.extend(page);
    }
}

pub async fn texts(
    store: &dyn PacketStore,
    queue: QueueId,
    device: DeviceId,
    after: Cursor,
) -> Vec<String> {
    let packets = read_all(store, queue, device, after).await;
    assert!(
        packets.is_sorted_by(|left, right| left.cursor < right.cursor),
        "cursors must rise strictly"
    );
    packets
        .into_iter()
        .map(|packet| String::from_utf8(packet.packet.to_vec()).unwrap())
        .collect()
}

#[macro_export]
macro_rules! conformance_tests {
    ($fixture:ty) => {
        conformance_tests!($fixture:
            append_first_packet_gets_a_cursor_above_start
            append_then_read_returns_it_byte_for_byte
            append_many_then_read_keeps_the_order
            append_same_packet_again_returns_the_first_outcome
            append_same_packet_at_once_stores_it_once
            append_same_packet_to_another_queue_stores_it_there_too
            append_acknowledged_packet_again_is_a_duplicate
            append_acknowledged_packet_again_after_reopen_is_a_duplicate
            append_same_packet_after_its_ttl_stores_it_anew
            append_beyond_byte_quota_is_refused_until_acknowledged
            append_beyond_packet_quota_is_refused_until_acknowledged
            append_duplicate_to_full_queue_is_still_answered
            append_to_full_queue_of_expired_packets_is_taken
            append_too_large_packet_is_refused
            append_largest_packet_is_taken
            append_empty_packet_is_kept
            read_after_reopen_returns_everything_in_order
            read_limits_are_kept_and_one_packet_always_comes
            read_by_unknown_device_is_refused
            read_of_another_queue_shows_nothing_of_it
            cursors_go_on_after_reopen_of_an_emptied_queue
            device_that_is_new_starts_at_the_oldest_packet_kept
            device_mark_survives_reopen
            device_mark_never_goes_back
            devices_each_receive_everything
            devices_beyond_the_limit_are_refused
            device_that_is_idle_makes_room_and_no_longer_holds_packets
            device_that_reads_now_and_then_is_not_idle
            acknowledge_by_unknown_device_is_refused
            acknowledge_past_the_end_is_refused
            acknowledged_packets_do_not_return_after_reopen
            subscription_wakes_after_append
            subscription_does_not_wake_for_other_queues
            subscription_ends_when_the_queue_is_removed
            subscription_ends_when_the_store_closes
            stats_count_what_is_kept
            removed_queue_is_empty_and_its_cursors_go_on
            removed_queue_stays_removed_after_reopen
            removed_queue_takes_the_same_packet_again
            expire_deletes_old_packets_and_frees_quota
            expire_persists_over_reopen
            closed_store_refuses_everything
            flush_of_idle_store_returns
        );
    };
    ($fixture:ty: $($name:ident)*) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $name() {
            $crate::conformance::$name(<$fixture as $crate::conformance::Fixture>::new()).await;
        }
    )*};
}

async fn reopen(
    fixture: &impl Fixture,
    store: Arc<dyn PacketStore>,
    limits: Limits,
) -> Arc<dyn PacketStore> {
    store.close().await;
    drop(store);
    fixture.open(limits).await
}

pub async fn append_first_packet_gets_a_cursor_above_start(fixture: impl Fixture) {
    let store = fixture.open(Limits::default()).await;
    let stored = append(&*store, ALICE, "one", NOW).await;
    assert!(stored.cursor > Cursor::START);
    assert_eq!((stored.stored_at_ms, stored.duplicate), (NOW, false));
}

pub async fn append_then_read_returns_it_byte_for_byte(fixture: impl Fixture) {
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

pub async fn append_many_then_read_keeps_the_order(fixture: impl Fixture) {
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

pub async fn append_same_packet_again_returns_the_first_outcome(fixture: impl Fixture) {
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

pub async fn append_same_packet_at_once_stores_it_once(fixture: impl Fixture) {
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

pub async fn append_same_packet_to_another_queue_stores_it_there_too(fixture: impl Fixture) {
    let store = fixture.open(Limits::default()).await;
    append(&*store, ALICE, "one", NOW).await;
    assert!(!append(&*store, BOB, "one", NOW).await.duplicate);
    assert_eq!(store.stats(BOB).await.unwrap().count, 1);
}

pub async fn append_acknowledged_packet_again_is_a_duplicate(fixture: impl Fixture) {
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

pub async fn append_acknowledged_packet_again_after_reopen_is_a_duplicate(fixture: impl Fixture) {
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

pub async fn append_same_packet_after_its_ttl_stores_it_anew(fixture: impl Fixture) {
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

pub async fn append_beyond_byte_quota_is_refused_until_acknowledged(fixture: impl Fixture) {
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

pub async fn append_beyond_packet_quota_is_refused_until_acknowledged(fixture: impl Fixture) {
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

pub async fn append_duplicate_to_full_queue_is_still_answered(fixture: impl Fixture) {
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

pub async fn append_to_full_queue_of_expired_packets_is_taken(fixture: impl Fixture) {
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

pub async fn append_too_large_packet_is_refused(fixture: impl Fixture) {
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

pub async fn append_largest_packet_is_taken(fixture: impl Fixture) {
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

pub async fn append_empty_packet_is_kept(fixture: impl Fixture) {
    let store = fixture.open(Limits::default()).await;
    append(&*store, ALICE, "", NOW).await;
    let store = reopen(&fixture, store, Limits::default()).await;
    store.register_device(ALICE, PHONE, NOW).await.unwrap();
    assert_eq!(texts(&*store, ALICE, PHONE, Cursor::START).await, [""]);
}

pub async fn read_after_reopen_returns_everything_in_order(fixture: impl Fixture) {
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

pub async fn read_limits_are_kept_and_one_packet_always_comes(fixture: impl Fixture) {
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

pub async fn read_by_unknown_device_is_refused(fixture: impl Fixture) {
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

pub async fn read_of_another_queue_shows_nothing_of_it(fixture: impl Fixture) {
    let store = fixture.open(Limits::default()).await;
    store.register_device(BOB, PHONE, NOW).await.unwrap();
    append(&*store, ALICE, "for alice", NOW).await;
    append(&*store, BOB, "for bob", NOW).await;
    assert_eq!(texts(&*store, BOB, PHONE, Cursor::START).await, ["for bob"]);
}

pub async fn cursors_go_on_after_reopen_of_an_emptied_queue(fixture: impl Fixture) {
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

pub async fn device_that_is_new_starts_at_the_oldest_packet_kept(fixture: impl Fixture) {
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

pub async fn device_mark_survives_reopen(fixture: impl Fixture) {
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

pub async fn device_mark_never_goes_back(fixture: impl Fixture) {
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

pub async fn devices_each_receive_everything(fixture: impl Fixture) {
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

pub async fn devices_beyond_the_limit_are_refused(fixture: impl Fixture) {
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

pub async fn device_that_is_idle_makes_room_and_no_longer_holds_packets(fixture: impl Fixture) {
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

pub async fn device_that_reads_now_and_then_is_not_idle(fixture: impl Fixture) {
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

pub async fn acknowledge_by_unknown_device_is_refused(fixture: impl Fixture) {
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

pub async fn acknowledge_past_the_end_is_refused(fixture: impl Fixture) {
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

pub async fn acknowledged_packets_do_not_return_after_reopen(fixture: impl Fixture) {
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

const A_WHILE: Duration = Duration::from_secs(20);
const SHORTLY: Duration = Duration::from_millis(200);

pub async fn subscription_wakes_after_append(fixture: impl Fixture) {
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

pub async fn subscription_does_not_wake_for_other_queues(fixture: impl Fixture) {
    let store = fixture.open(Limits::default()).await;
    let mut arrivals = store.subscribe(ALICE);
    append(&*store, BOB, "one", NOW).await;
    assert!(
        tokio::time::timeout(SHORTLY, arrivals.arrived())
            .await
            .is_err()
    );
}

pub async fn subscription_ends_when_the_queue_is_removed(fixture: impl Fixture) {
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

pub async fn subscription_ends_when_the_store_closes(fixture: impl Fixture) {
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

pub async fn stats_count_what_is_kept(fixture: impl Fixture) {
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

pub async fn removed_queue_is_empty_and_its_cursors_go_on(fixture: impl Fixture) {
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

pub async fn removed_queue_stays_removed_after_reopen(fixture: impl Fixture) {
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

pub async fn removed_queue_takes_the_same_packet_again(fixture: impl Fixture) {
    let store = fixture.open(Limits::default()).await;
    append(&*store, ALICE, "one", NOW).await;
    store.remove_queue(ALICE).await.unwrap();
    assert!(!append(&*store, ALICE, "one", NOW).await.duplicate);
    store.remove_queue(ALICE).await.unwrap();
    append(&*store, ALICE, "other", NOW).await;
    let store = reopen(&fixture, store, Limits::default()).await;
    assert!(!append(&*store, ALICE, "one", NOW).await.duplicate);
}

pub async fn expire_deletes_old_packets_and_frees_quota(fixture: impl Fixture) {
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

pub async fn expire_persists_over_reopen(fixture: impl Fixture) {
    let store = fixture.open(Limits::default()).await;
    store.register_device(ALICE, PHONE, NOW).await.unwrap();
    append(&*store, ALICE, "one", NOW).await;
    append(&*store, ALICE, "two", NOW + 10).await;
    store.expire(NOW + TTL).await.unwrap();
    let store = reopen(&fixture, store, Limits::default()).await;
    assert_eq!(texts(&*store, ALICE, PHONE, Cursor::START).await, ["two"]);
}

pub async fn closed_store_refuses_everything(fixture: impl Fixture) {
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

pub async fn flush_of_idle_store_returns(fixture: impl Fixture) {
    let store = fixture.open(Limits::default()).await;
    store.flush().await.unwrap();
    append(&*store, ALICE, "one", NOW).await;
    store.flush().await.unwrap();
}
