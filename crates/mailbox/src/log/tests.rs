//! Faults, crashes and long random histories, on a simulated disk and against a model.

mod corruption;
mod faults;
mod limits;
mod model;
mod power;
mod simulated_disk;

use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use bytes::Bytes;

use super::{LogConfig, LogStore};
use crate::queue::{Cursor, DeviceId, QueueId};
use crate::store::{PacketStore, Stored, StoredPacket};
use simulated_disk::SimulatedDisk;

const NOW: u64 = 1_800_000_000_000;
const ALICE: QueueId = QueueId::new([0xa1; 20]);
const BOB: QueueId = QueueId::new([0xb0; 20]);
const PHONE: DeviceId = DeviceId::new([1; 16]);

fn tiny_files() -> LogConfig {
    LogConfig {
        segment_bytes: 8 << 10,
        max_packet_bytes: 1500,
        ttl_ms: 1_000_000,
        max_total_bytes: 1 << 30,
        ..LogConfig::default()
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

fn open(disk: &Arc<SimulatedDisk>, config: &LogConfig) -> Arc<LogStore> {
    Arc::new(
        LogStore::open_on(
            Arc::clone(disk) as Arc<dyn crate::disk::Disk>,
            config.clone(),
        )
        .unwrap(),
    )
}

/// The hash that the tests give a packet; any injective function does.
fn hash(packet: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash[..4].copy_from_slice(&crc32fast::hash(packet).to_le_bytes());
    hash[4..8].copy_from_slice(&(packet.len() as u32).to_le_bytes());
    let head = packet.len().min(8);
    hash[8..8 + head].copy_from_slice(&packet[..head]);
    hash
}

async fn append(store: &LogStore, queue: QueueId, packet: impl Into<Bytes>, now_ms: u64) -> Stored {
    let packet = packet.into();
    store
        .append(queue, hash(&packet), packet, now_ms)
        .await
        .unwrap()
}

async fn read_all(store: &LogStore, queue: QueueId, device: DeviceId) -> Vec<StoredPacket> {
    let mut all: Vec<StoredPacket> = Vec::new();
    loop {
        let after = all.last().map_or(Cursor::START, |last| last.cursor);
        let page = store.read(queue, device, after, 64, 1 << 20).await.unwrap();
        if page.is_empty() {
            return all;
        }
        all.extend(page);
    }
}

/// Stores packets for Alice in one commit.
async fn append_at_once(store: &LogStore, packets: Vec<Vec<u8>>) {
    let mut context = Context::from_waker(Waker::noop());
    let mut flush = store.flush();
    let mut appends = Vec::new();
    {
        // While the index is locked, the writer gets as far as planning the flush.
        let _index = store.shared.index.lock();
        assert!(flush.as_mut().poll(&mut context).is_pending());
        std::thread::sleep(Duration::from_millis(50));
        for packet in packets {
            let mut append = store.append(ALICE, hash(&packet), packet.into(), NOW);
            assert!(append.as_mut().poll(&mut context).is_pending());
            appends.push(append);
        }
    }
    flush.await.unwrap();
    let before = store.figures().commits;
    for append in appends {
        append.await.unwrap();
    }
    assert!(
        store.figures().commits <= before + 1,
        "they must share a commit"
    );
}

/// Waits until the writer has nothing to free any more.
async fn rest(store: &LogStore) {
    for _ in 0..10_000 {
        store.flush().await.unwrap();
        if store.is_at_rest() {
            return;
        }
    }
    panic!("the writer never comes to rest");
}

impl LogStore {
    fn is_at_rest(&self) -> bool {
        !self.shared.index.lock().segments.is_rewriting()
    }

    /// Counts everything anew and compares.
    fn check_books(&self) {
        let index = self.shared.index.lock();
        let mut live = std::collections::BTreeMap::<u32, u64>::new();
        let mut remembered = 0;
        for queue in index.queues.values() {
            remembered += queue.remembered();
            queue.check_books(&index.hasher, &mut |file, bytes| {
                *live.entry(file).or_default() += bytes
            });
        }
        for removed in index.removed.values() {
            if let Some(file) = removed.recorded_in {
                *live.entry(file).or_default() += super::record::REMOVED_FRAME_LEN as u64;
            }
        }
        for number in index.segments.numbers() {
            let counted = live.remove(&number).unwrap_or(0);
            assert_eq!(
                index.segments.live(number),
                counted,
                "live bytes of file {number}"
            );
        }
        assert!(
            live.values().all(|bytes| *bytes == 0),
            "something points into a file that is gone: {live:?}"
        );
        assert_eq!(index.segments.remembered, remembered);
    }
}
