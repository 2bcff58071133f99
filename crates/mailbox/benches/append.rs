//! How many packets a second the embedded store takes, each on disk before it is acknowledged.
//!
//! `cargo bench -p conet-mailbox --bench append -- [SENDERS] [PACKET_BYTES] [SECONDS] [QUEUES] [FOLDER]`,
//! by default 64 senders of 4096 bytes for 5 seconds into 64 queues, in the current folder.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use mailbox::{LogConfig, LogStore, PacketStore, QueueId};

const NOW: u64 = 1_800_000_000_000;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut words = std::env::args()
        .skip(1)
        .filter(|word| !word.starts_with("--"));
    let mut number = |default: u64| words.next().map_or(Ok(default), |word| word.parse());
    let (senders, packet_bytes, seconds, queues) =
        (number(64)?, number(4096)?, number(5)?, number(64)?);
    let parent = words
        .next()
        .map_or_else(|| PathBuf::from("."), PathBuf::from);
    let folder = tempfile::tempdir_in(parent)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_time()
        .build()?;
    let config = LogConfig {
        queue_quota_bytes: u64::MAX / 2,
        ..LogConfig::default()
    };
    let store = Arc::new(LogStore::open(folder.path(), config)?);
    let stop = Arc::new(AtomicBool::new(false));
    let started = Instant::now();
    let mut waits = runtime.block_on(async {
        let tasks: Vec<_> = (0..senders)
            .map(|sender| {
                tokio::spawn(send(
                    Arc::clone(&store),
                    sender,
                    queues,
                    packet_bytes as usize,
                    Arc::clone(&stop),
                ))
            })
            .collect();
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        stop.store(true, Ordering::Relaxed);
        let mut waits = Vec::new();
        for task in tasks {
            waits.extend(task.await.expect("a sender must not panic"));
        }
        waits
    });
    let elapsed = started.elapsed().as_secs_f64();
    waits.sort_unstable();
    let figures = store.figures();
    let count = waits.len();
    println!(
        "{senders} senders, {packet_bytes} bytes: {:.0} appends/s, {:.0} MB/s, wait p50 {:?} p99 {:?} max {:?}, {:.1} packets a commit, {:.0} commits/s",
        count as f64 / elapsed,
        count as f64 * packet_bytes as f64 / elapsed / 1e6,
        waits.get(count / 2).copied().unwrap_or_default(),
        waits.get(count * 99 / 100).copied().unwrap_or_default(),
        waits.last().copied().unwrap_or_default(),
        figures.appended as f64 / figures.commits.max(1) as f64,
        figures.commits as f64 / elapsed,
    );
    drop(store);
    let reopening = Instant::now();
    let store = LogStore::open(folder.path(), LogConfig::default())?;
    println!(
        "opened again in {:?}: {} packets",
        reopening.elapsed(),
        store.recovery().packets
    );
    Ok(())
}

async fn send(
    store: Arc<LogStore>,
    sender: u64,
    queues: u64,
    packet_bytes: usize,
    stop: Arc<AtomicBool>,
) -> Vec<Duration> {
    let mut waits = Vec::new();
    let packet = Bytes::from(vec![sender as u8; packet_bytes]);
    let mut queue = [0; 20];
    queue[..8].copy_from_slice(&(sender % queues.max(1)).to_le_bytes());
    let mut hash = [0; 32];
    hash[8..16].copy_from_slice(&sender.to_le_bytes());
    while !stop.load(Ordering::Relaxed) {
        hash[..8].copy_from_slice(&(waits.len() as u64).to_le_bytes());
        let begun = Instant::now();
        store
            .append(QueueId::new(queue), hash, packet.clone(), NOW)
            .await
            .expect("append must succeed");
        waits.push(begun.elapsed());
    }
    waits
}
