//! What a store must hold, said in the plainest way, beside the store: random histories drive both.
//!
//! A change whose outcome the caller never heard (the power failed) may or may not have happened.
//! The model keeps both bounds, and after opening the store again takes over what it finds there,
//! once that lies within them.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::{NOW, hash, read_all};
use crate::log::{LogConfig, LogStore};
use crate::queue::{Cursor, DeviceId, QueueId};
use crate::store::{PacketStore, Stored};

/// The device that every queue of the model has from its beginning.
const READER: DeviceId = DeviceId::new([9; 16]);
const QUEUES: u8 = 5;

#[derive(Default)]
struct ModelQueue {
    /// Packets that were acknowledged to their sender and are not surely deleted: cursor to (packet, time).
    packets: BTreeMap<u64, (u32, u64)>,
    /// Packets handed in of which nobody knows: packet to time.
    doubtful: HashMap<u32, u64>,
    /// All that was ever stored and is remembered within its time: packet to (cursor, time).
    known: HashMap<u32, (u64, u64)>,
    /// Surely acknowledged, and possibly acknowledged.
    marks: HashMap<DeviceId, (u64, u64)>,
    /// Devices whose registration is in doubt.
    doubtful_devices: HashSet<DeviceId>,
    /// Packets stored at or before this time may be gone.
    maybe_expired_to: u64,
}

/// The model.
pub(super) struct Model {
    queues: HashMap<u8, ModelQueue>,
    /// Queues that may have been removed or not.
    maybe_removed: HashSet<u8>,
    /// The highest cursor that was ever told for a queue.
    highest: HashMap<u8, u64>,
    next_packet: u32,
    pub(super) now_ms: u64,
    config: LogConfig,
}

fn queue_id(queue: u8) -> QueueId {
    QueueId::new([queue; 20])
}

/// A packet's bytes follow from its number, so that the model need not keep them.
fn packet_bytes(packet: u32) -> Bytes {
    let length = (packet.wrapping_mul(2_654_435_761) >> 16) as usize % 900;
    let mut bytes = packet.to_le_bytes().to_vec();
    bytes.extend((0..length).map(|i| (i as u32 ^ packet) as u8));
    bytes.into()
}

fn packet_number(bytes: &[u8]) -> u32 {
    let number = u32::from_le_bytes(bytes[..4].try_into().unwrap());
    assert_eq!(bytes, packet_bytes(number), "a packet came back changed");
    number
}

impl Model {
    pub(super) fn new(config: &LogConfig) -> Self {
        Self {
            queues: HashMap::new(),
            maybe_removed: HashSet::new(),
            highest: HashMap::new(),
            next_packet: 0,
            now_ms: NOW,
            config: config.clone(),
        }
    }

    /// Does one random thing; `false` once the store fails.
    pub(super) async fn step(&mut self, store: &Arc<LogStore>, rng: &mut ChaCha8Rng) -> bool {
        self.now_ms += rng.gen_range(0..2000);
        let queue = rng.gen_range(0..QUEUES);
        match rng.gen_range(0..100) {
            0..55 => {
                let burst = if rng.gen_bool(0.3) {
                    rng.gen_range(2..12)
                } else {
                    1
                };
                self.append(store, queue, burst, rng).await
            }
            55..80 => self.acknowledge(store, queue, rng).await,
            80..85 => {
                let device = DeviceId::new([rng.gen_range(1..4); 16]);
                self.open_queue(store, queue).await && self.register(store, queue, device).await
            }
            85..88 => self.remove(store, queue).await,
            88..92 => {
                self.now_ms += rng.gen_range(0..self.config.ttl_ms / 2);
                self.expire(store).await
            }
            92..96 => {
                self.check_reads(store, queue).await;
                true
            }
            _ => self.append_again(store, queue, rng).await,
        }
    }

    async fn open_queue(&mut self, store: &Arc<LogStore>, queue: u8) -> bool {
        self.queues.contains_key(&queue) || self.register(store, queue, READER).await
    }

    async fn append(
        &mut self,
        store: &Arc<LogStore>,
        queue: u8,
        burst: u32,
        rng: &mut ChaCha8Rng,
    ) -> bool {
        if !self.open_queue(store, queue).await {
            return false;
        }
        let now_ms = self.now_ms;
        let mut tasks = Vec::new();
        for _ in 0..burst {
            let packet = self.next_packet;
            self.next_packet += 1;
            // Some go to another queue that exists, so that commits hold several.
            let other = rng.gen_range(0..QUEUES);
            let to = if self.queues.contains_key(&other) {
                other
            } else {
                queue
            };
            let store = Arc::clone(store);
            tasks.push((
                packet,
                to,
                tokio::spawn(async move {
                    let bytes = packet_bytes(packet);
                    store
                        .append(queue_id(to), hash(&bytes), bytes, now_ms)
                        .await
                }),
            ));
        }
        let mut well = true;
        for (packet, to, task) in tasks {
            match task.await.unwrap() {
                Ok(stored) => self.note_stored(to, packet, stored),
                Err(_) => {
                    self.queues
                        .get_mut(&to)
                        .unwrap()
                        .doubtful
                        .insert(packet, now_ms);
                    self.expire_model(to);
                    well = false;
                }
            }
        }
        well
    }

    fn note_stored(&mut self, queue: u8, packet: u32, stored: Stored) {
        let cursor = stored.cursor.value();
        assert!(!stored.duplicate, "packet {packet} is new");
        assert_eq!(stored.stored_at_ms, self.now_ms);
        let highest = self.highest.entry(queue).or_default();
        let model = self.queues.get_mut(&queue).unwrap();
        assert!(
            !model.packets.contains_key(&cursor),
            "cursor {cursor} was given out before"
        );
        *highest = cursor.max(*highest);
        model.packets.insert(cursor, (packet, self.now_ms));
        model.known.insert(packet, (cursor, self.now_ms));
        self.expire_model(queue);
    }

    /// Appending expires what is old in its queue, which the model need not know exactly.
    fn expire_model(&mut self, queue: u8) {
        let limit = self.now_ms - self.config.ttl_ms;
        let model = self.queues.get_mut(&queue).unwrap();
        model.maybe_expired_to = model.maybe_expired_to.max(limit);
    }

    async fn append_again(
        &mut self,
        store: &Arc<LogStore>,
        queue: u8,
        rng: &mut ChaCha8Rng,
    ) -> bool {
        let Some(model) = self.queues.get_mut(&queue) else {
            return true;
        };
        let mut known: Vec<_> = model
            .known
            .iter()
            .map(|(packet, first)| (*packet, *first))
            .collect();
        known.sort_unstable();
        if known.is_empty() {
            return true;
        }
        let (packet, (cursor, at)) = known[rng.gen_range(0..known.len())];
        let bytes = packet_bytes(packet);
        match store
            .append(queue_id(queue), hash(&bytes), bytes, self.now_ms)
            .await
        {
            Ok(stored) if at + self.config.ttl_ms > self.now_ms => {
                assert_eq!(
                    stored,
                    Stored {
                        cursor: Cursor::new(cursor),
                        stored_at_ms: at,
                        duplicate: true
                    }
                );
            }
            Ok(stored) => {
                model.packets.remove(&cursor);
                self.note_stored(queue, packet, stored);
            }
            Err(_) => {
                if at + self.config.ttl_ms <= self.now_ms {
                    model.known.remove(&packet);
                    model.doubtful.insert(packet, self.now_ms);
                    self.expire_model(queue);
                }
                return false;
            }
        }
        true
    }

    async fn register(&mut self, store: &Arc<LogStore>, queue: u8, device: DeviceId) -> bool {
        match store
            .register_device(queue_id(queue), device, self.now_ms)
            .await
        {
            Ok(cursor) => {
                let model = self.queues.entry(queue).or_default();
                let (sure, maybe) = *model
                    .marks
                    .entry(device)
                    .or_insert((cursor.value(), cursor.value()));
                assert!(
                    (sure..=maybe).contains(&cursor.value()),
                    "{sure} to {maybe}, not {cursor}"
                );
                model.doubtful_devices.remove(&device);
                true
            }
            Err(_) => {
                match self.queues.get_mut(&queue) {
                    Some(model) => drop(model.doubtful_devices.insert(device)),
                    None => drop(self.maybe_removed.insert(queue)),
                }
                false
            }
        }
    }

    async fn acknowledge(
        &mut self,
        store: &Arc<LogStore>,
        queue: u8,
        rng: &mut ChaCha8Rng,
    ) -> bool {
        let Some(model) = self.queues.get_mut(&queue) else {
            return true;
        };
        let mut devices: Vec<_> = model.marks.keys().copied().collect();
        devices.sort_unstable();
        let device = devices[rng.gen_range(0..devices.len())];
        let cursors: Vec<u64> = model.packets.keys().copied().collect();
        if cursors.is_empty() {
            return true;
        }
        // Mostly all, so that files empty.
        let index = if rng.gen_bool(0.6) {
            cursors.len() - 1
        } else {
            rng.gen_range(0..cursors.len())
        };
        let up_to = cursors[index];
        let outcome = store
            .acknowledge(queue_id(queue), device, Cursor::new(up_to), self.now_ms)
            .await;
        let mark = model.marks.get_mut(&device).unwrap();
        mark.1 = mark.1.max(up_to);
        if outcome.is_ok() {
            mark.0 = mark.0.max(up_to);
        }
        outcome.is_ok()
    }

    async fn remove(&mut self, store: &Arc<LogStore>, queue: u8) -> bool {
        if store.remove_queue(queue_id(queue)).await.is_err() {
            self.maybe_removed.insert(queue);
            return false;
        }
        self.queues.remove(&queue);
        true
    }

    async fn expire(&mut self, store: &Arc<LogStore>) -> bool {
        let outcome = store.expire(self.now_ms).await;
        let limit = self.now_ms - self.config.ttl_ms;
        for model in self.queues.values_mut() {
            model.maybe_expired_to = model.maybe_expired_to.max(limit);
            if outcome.is_ok() {
                model.packets.retain(|_, (_, at)| *at > limit);
            }
        }
        outcome.is_ok()
    }

    /// Compares what a queue shows with what it must and may show, and takes it over.
    pub(super) async fn check_reads(&mut self, store: &Arc<LogStore>, queue: u8) {
        let Some(model) = self.queues.get_mut(&queue) else {
            assert_eq!(store.stats(queue_id(queue)).await.unwrap().count, 0);
            return;
        };
        let read = read_all(store, queue_id(queue), READER).await;
        assert!(read.is_sorted_by(|left, right| left.cursor < right.cursor));
        let mut seen = HashSet::new();
        let (sure, maybe) = model.acknowledged_everywhere();
        let mut shown = BTreeMap::new();
        for stored in read {
            let (cursor, packet) = (stored.cursor.value(), packet_number(&stored.packet));
            assert!(seen.insert(packet), "packet {packet} shows twice");
            assert!(
                cursor > sure,
                "cursor {cursor} was acknowledged by all, up to {sure}"
            );
            match model.packets.get(&cursor) {
                Some(expected) => assert_eq!(*expected, (packet, stored.stored_at_ms)),
                None => {
                    let at = model
                        .doubtful
                        .remove(&packet)
                        .expect("a packet that nobody sent, or long gone");
                    assert_eq!(at, stored.stored_at_ms);
                    model.known.insert(packet, (cursor, at));
                }
            }
            shown.insert(cursor, (packet, stored.stored_at_ms));
            let highest = self.highest.entry(queue).or_default();
            *highest = cursor.max(*highest);
        }
        for (cursor, (packet, at)) in &model.packets {
            let may_be_gone = *cursor <= maybe || *at <= model.maybe_expired_to;
            assert!(
                shown.contains_key(cursor) || may_be_gone,
                "packet {packet} with cursor {cursor} is lost"
            );
        }
        model.packets = shown;
        let stats = store.stats(queue_id(queue)).await.unwrap();
        assert_eq!(stats.count, model.packets.len() as u64);
    }

    /// Compares everything after the store was opened again, and settles what was in doubt.
    pub(super) async fn check_after_opening(&mut self, store: &Arc<LogStore>) {
        store.check_books();
        for queue in 0..QUEUES {
            let id = queue_id(queue);
            if self.maybe_removed.remove(&queue) && store.stats(id).await.unwrap().devices == 0 {
                self.queues.remove(&queue);
            }
            if !self.queues.contains_key(&queue) {
                let stats = store.stats(id).await.unwrap();
                assert_eq!(stats.count, 0, "a removed queue has packets");
                continue;
            }
            self.check_reads(store, queue).await;
            let model = self.queues.get_mut(&queue).unwrap();
            for (device, mark) in &mut model.marks {
                let cursor = store
                    .register_device(id, *device, self.now_ms)
                    .await
                    .unwrap()
                    .value();
                assert!(
                    (mark.0..=mark.1).contains(&cursor),
                    "{mark:?}, not {cursor}"
                );
                *mark = (cursor, cursor);
            }
            for device in std::mem::take(&mut model.doubtful_devices) {
                let cursor = store
                    .register_device(id, device, self.now_ms)
                    .await
                    .unwrap()
                    .value();
                model.marks.insert(device, (cursor, cursor));
            }
            // A packet in doubt is either shown, or stored now, or known as a duplicate of one deleted since.
            for (packet, at) in std::mem::take(&mut model.doubtful) {
                let bytes = packet_bytes(packet);
                let stored = store
                    .append(id, hash(&bytes), bytes, self.now_ms)
                    .await
                    .unwrap();
                if stored.duplicate {
                    assert_eq!(stored.stored_at_ms, at);
                } else {
                    model
                        .packets
                        .insert(stored.cursor.value(), (packet, self.now_ms));
                }
                let highest = self.highest.entry(queue).or_default();
                assert!(
                    stored.duplicate || stored.cursor.value() > *highest,
                    "cursor {} again",
                    stored.cursor
                );
                *highest = stored.cursor.value().max(*highest);
                model
                    .known
                    .insert(packet, (stored.cursor.value(), stored.stored_at_ms));
            }
            self.expire_model(queue);
        }
    }
}

impl ModelQueue {
    /// Up to where all devices surely, and up to where they possibly, acknowledged.
    fn acknowledged_everywhere(&self) -> (u64, u64) {
        let sure = self.marks.values().map(|mark| mark.0).min().unwrap_or(0);
        let maybe = self.marks.values().map(|mark| mark.1).min().unwrap_or(0);
        // A device of which nobody knows may hold packets back.
        if self.doubtful_devices.is_empty() {
            (sure, maybe)
        } else {
            (0, maybe)
        }
    }
}
