//! What every `PacketStore` must do. A store's test calls `conformance_tests!(its fixture)`, with attributes for each
//! test before the fixture if there are any.

#[path = "conformance/append.rs"]
pub(crate) mod append;
#[path = "conformance/devices.rs"]
pub(crate) mod devices;
#[path = "conformance/queues.rs"]
pub(crate) mod queues;
#[path = "conformance/reading.rs"]
pub(crate) mod reading;

use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;
use mailbox::{Cursor, DeviceId, PacketHash, PacketStore, QueueId, Stored, StoredPacket};
use sha2::{Digest, Sha256};

/// Limits that a test sets.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) quota_bytes: u64,
    pub(crate) quota_packets: u64,
    pub(crate) ttl_ms: u64,
    pub(crate) max_packet_bytes: usize,
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
pub(crate) trait Fixture: Sized {
    fn new() -> Self;
    /// Opens the store. The one opened before was closed.
    fn open(&self, limits: Limits) -> impl Future<Output = Arc<dyn PacketStore>>;
}

pub(crate) const NOW: u64 = 1_800_000_000_000;
pub(crate) const DAY: u64 = 24 * 60 * 60 * 1000;
pub(crate) const TTL: u64 = 14 * DAY;
pub(crate) const ALICE: QueueId = QueueId::new([0xa1; 20]);
pub(crate) const BOB: QueueId = QueueId::new([0xb0; 20]);
pub(crate) const PHONE: DeviceId = DeviceId::new([1; 16]);
pub(crate) const LAPTOP: DeviceId = DeviceId::new([2; 16]);

pub(crate) fn hash(packet: &[u8]) -> PacketHash {
    Sha256::digest(packet).into()
}

pub(crate) async fn append(
    store: &dyn PacketStore,
    queue: QueueId,
    packet: &str,
    now_ms: u64,
) -> Stored {
    let bytes = Bytes::copy_from_slice(packet.as_bytes());
    store
        .append(queue, hash(&bytes), bytes, now_ms)
        .await
        .unwrap()
}

pub(crate) async fn read_all(
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

pub(crate) async fn texts(
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

macro_rules! conformance_tests {
    (@group $attributes:tt $fixture:ty, $group:ident: $($name:ident)*) => {$(
        conformance_tests!(@one $attributes $fixture, $group, $name);
    )*};
    (@one [$($attribute:tt)*] $fixture:ty, $group:ident, $name:ident) => {
        $($attribute)*
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $name() {
            $crate::conformance::$group::$name(<$fixture as $crate::conformance::Fixture>::new()).await;
        }
    };
    ($(#[$attribute:meta])* $fixture:ty) => {
        conformance_tests!(@group [$(#[$attribute])*] $fixture, append:
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
        );
        conformance_tests!(@group [$(#[$attribute])*] $fixture, reading:
            read_after_reopen_returns_everything_in_order
            read_limits_are_kept_and_one_packet_always_comes
            read_by_unknown_device_is_refused
            read_of_another_queue_shows_nothing_of_it
            cursors_go_on_after_reopen_of_an_emptied_queue
        );
        conformance_tests!(@group [$(#[$attribute])*] $fixture, devices:
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
        );
        conformance_tests!(@group [$(#[$attribute])*] $fixture, queues:
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
