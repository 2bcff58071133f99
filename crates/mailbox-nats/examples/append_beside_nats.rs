//! How fast packets are stored durably: the embedded store and the store on NATS beside bare NATS
//! JetStream that syncs always, on one disk, in one interleaved run.
//!
//! ```sh
//! CONET_NATS_SERVER=$(tests/nats/install) cargo run --release -p conet-mailbox-nats --example append_beside_nats
//! ```
//!
//! Files stand in the folder for temporary ones (`TMPDIR`): let that be on the disk to be measured.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a measurement that fails may panic"
)]

#[path = "../tests/fixture/server.rs"]
mod server;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use async_nats::jetstream;
use bytes::Bytes;
use mailbox::{BoxFuture, LogConfig, LogStore, PacketStore, QueueId};
use mailbox_nats::{NatsConfig, NatsStore};
use server::{Server, free_ports};
use sha2::{Digest, Sha256};

const SENDERS: u64 = 64;
const PACKET_BYTES: usize = 4096;
const ROUNDS: usize = 7;
const ROUND: Duration = Duration::from_secs(2);
const NOW: u64 = 1_800_000_000_000;

/// Stores one packet of a sender durably.
type Append = Arc<dyn Fn(u64, Bytes) -> BoxFuture<'static, ()> + Send + Sync>;

fn of_store(store: Arc<dyn PacketStore>) -> Append {
    Arc::new(move |sender, packet| {
        let store = Arc::clone(&store);
        Box::pin(async move {
            let mut queue = [0; 20];
            queue[..8].copy_from_slice(&sender.to_be_bytes());
            let hash = Sha256::digest(&packet).into();
            let stored = store.append(QueueId::new(queue), hash, packet, NOW).await;
            assert!(!stored.unwrap().duplicate);
        })
    })
}

async fn of_nats(url: &str) -> Append {
    let context = jetstream::new(async_nats::connect(url).await.unwrap());
    let stream = jetstream::stream::Config {
        name: "bare".into(),
        subjects: vec!["bare.*".into()],
        max_bytes: 16 << 30,
        ..Default::default()
    };
    context.create_stream(stream).await.unwrap();
    Arc::new(move |sender, packet| {
        let context = context.clone();
        Box::pin(async move {
            let sent = context.publish(format!("bare.{sender}"), packet).await;
            sent.unwrap().await.unwrap();
        })
    })
}

/// Packets a second, all senders together.
async fn rate(append: &Append, next: &Arc<AtomicU64>) -> f64 {
    let begun = Instant::now();
    let senders = (0..SENDERS).map(|sender| {
        let (append, next) = (Arc::clone(append), Arc::clone(next));
        tokio::spawn(async move {
            let mut count = 0u64;
            while begun.elapsed() < ROUND {
                let mut packet = vec![sender as u8; PACKET_BYTES];
                packet[..8].copy_from_slice(&next.fetch_add(1, Ordering::Relaxed).to_be_bytes());
                append(sender, packet.into()).await;
                count += 1;
            }
            count
        })
    });
    let mut count = 0;
    for sender in senders.collect::<Vec<_>>() {
        count += sender.await.unwrap();
    }
    count as f64 / begun.elapsed().as_secs_f64()
}

fn median(rates: &mut [f64]) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates[rates.len() / 2]
}

#[tokio::main]
async fn main() {
    let mut server = Server::prepare(free_ports(1)[0], "");
    server.run();
    let folder = tempfile::tempdir().unwrap();
    let (quota_bytes, quota_packets) = (64 << 30, 1 << 30);
    let log = LogConfig {
        queue_quota_bytes: quota_bytes,
        queue_quota_packets: quota_packets,
        ..LogConfig::default()
    };
    let shared = NatsConfig {
        queue_quota_bytes: quota_bytes,
        queue_quota_packets: quota_packets,
        ..NatsConfig::new(server.url(), "measured")
    };
    let candidates = [
        of_nats(&server.url()).await,
        of_store(Arc::new(LogStore::open(folder.path(), log).unwrap())),
        of_store(Arc::new(NatsStore::open(shared).await.unwrap())),
    ];
    let next = Arc::new(AtomicU64::new(0));
    let mut rates = [const { Vec::new() }; 3];
    for round in 0..=ROUNDS {
        for (append, rates) in candidates.iter().zip(&mut rates) {
            let rate = rate(append, &next).await;
            // The first round is for warming up.
            if round > 0 {
                rates.push(rate);
            }
        }
    }
    let [nats, log, shared] = rates.each_mut().map(|rates| median(rates));
    println!("durable append, {SENDERS} senders of {PACKET_BYTES} bytes, median of {ROUNDS}:");
    println!("  NATS JetStream, sync always  {nats:>9.0}/s");
    println!(
        "  embedded store               {log:>9.0}/s  {:.2}× NATS JetStream",
        log / nats
    );
    println!(
        "  store on NATS JetStream      {shared:>9.0}/s  {:.2}× NATS JetStream",
        shared / nats
    );
}
