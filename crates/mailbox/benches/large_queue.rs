//! One mailbox with very many packets: memory, opening, reading and acknowledging.
//!
//! `cargo bench -p conet-mailbox --bench large_queue -- [PACKETS] [PACKET_BYTES] [FOLDER]`,
//! by default 1,000,000 packets of 1024 bytes, in the current folder.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use mailbox::{Cursor, DeviceId, LogConfig, LogStore, PacketStore, QueueId};

const NOW: u64 = 1_800_000_000_000;
const QUEUE: QueueId = QueueId::new([1; 20]);
const DEVICE: DeviceId = DeviceId::new([1; 16]);
const SENDERS: u64 = 256;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut words = std::env::args()
        .skip(1)
        .filter(|word| !word.starts_with("--"));
    let mut number = |default: u64| words.next().map_or(Ok(default), |word| word.parse());
    let (packets, packet_bytes) = (number(1_000_000)?, number(1024)?);
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
        queue_quota_packets: u64::MAX / 2,
        ..LogConfig::default()
    };
    let before = resident_bytes();
    let store = Arc::new(LogStore::open(folder.path(), config.clone())?);
    let begun = Instant::now();
    runtime.block_on(fill(&store, packets, packet_bytes as usize));
    let rate = packets as f64 / begun.elapsed().as_secs_f64();
    let each = (resident_bytes().saturating_sub(before)) as f64 / packets as f64;
    println!(
        "{packets} packets of {packet_bytes} bytes: {rate:.0} appends/s, {each:.0} bytes of memory each"
    );
    drop(store);
    let begun = Instant::now();
    let store = Arc::new(LogStore::open(folder.path(), config)?);
    println!(
        "opened again in {:?}: {} packets",
        begun.elapsed(),
        store.recovery().packets
    );
    runtime.block_on(async {
        store.register_device(QUEUE, DEVICE, NOW).await?;
        let begun = Instant::now();
        let (mut count, mut after) = (0u64, Cursor::START);
        loop {
            let page = store.read(QUEUE, DEVICE, after, 1024, 1 << 20).await?;
            let Some(last) = page.last() else { break };
            after = last.cursor;
            count += page.len() as u64;
        }
        println!(
            "read {:.0} packets/s",
            count as f64 / begun.elapsed().as_secs_f64()
        );
        let begun = Instant::now();
        store.acknowledge(QUEUE, DEVICE, after, NOW).await?;
        println!("acknowledged all at once in {:?}", begun.elapsed());
        let begun = Instant::now();
        while store.figures().files > 2 {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        println!(
            "freed all files in {:?}, {} bytes on disk",
            begun.elapsed(),
            store.figures().disk_bytes
        );
        Ok(())
    })
}

async fn fill(store: &Arc<LogStore>, packets: u64, packet_bytes: usize) {
    let tasks: Vec<_> = (0..SENDERS)
        .map(|sender| {
            let store = Arc::clone(store);
            let packet = Bytes::from(vec![sender as u8; packet_bytes]);
            tokio::spawn(async move {
                for number in (sender..packets).step_by(SENDERS as usize) {
                    let mut hash = [0; 32];
                    hash[..8].copy_from_slice(&number.to_le_bytes());
                    store
                        .append(QUEUE, hash, packet.clone(), NOW)
                        .await
                        .expect("append must succeed");
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("a sender must not panic");
    }
}

/// Resident memory of this process, on Linux.
fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok())
        .unwrap_or(0)
        * 1024
}
