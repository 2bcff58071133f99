//! Durable appends: the embedded store and the store on NATS, beside bare NATS JetStream that syncs always.
//!
//! 64 senders of 4 KiB, each with one append under way, all on one disk. The server has a core of its own; the
//! embedded store shares one with the load.

use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use async_nats::jetstream;
use bytes::Bytes;
use mailbox::{BoxFuture, LogConfig, LogStore, PacketStore, QueueId};
use mailbox_nats::{NatsConfig, NatsStore};
use ring::digest::{SHA256, digest};

use crate::process::Measured;
use crate::report::{Figure, LEAST_ROUNDS, Report};
use crate::world::free_socket;

const SENDERS: u64 = 64;
const PACKET_BYTES: usize = 4096;
const ROUND: Duration = Duration::from_secs(3);
const QUICK_ROUND: Duration = Duration::from_millis(300);
/// Room of the bare stream.
const BARE_BYTES: i64 = 4 << 30;
/// Room of the store's stream.
const STORE_BYTES: u64 = 4 << 30;
const NOW_MS: u64 = 1_800_000_000_000;

/// Stores one packet of a sender durably.
type Append = Arc<dyn Fn(u64, Bytes) -> BoxFuture<'static, anyhow::Result<()>> + Send + Sync>;

/// Measures appends a second.
pub(crate) async fn measure(report: &mut Report, quick: bool) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let (url, _server) = start_server(folder.path()).await?;
    let (queue_quota_bytes, queue_quota_packets) = (64 << 30, 1 << 30);
    let log = LogConfig {
        queue_quota_bytes,
        queue_quota_packets,
        ..LogConfig::default()
    };
    let shared = NatsConfig {
        queue_quota_bytes,
        queue_quota_packets,
        max_total_bytes: STORE_BYTES,
        ..NatsConfig::new(&url, "measured")
    };
    let candidates = [
        of_nats(&url).await?,
        of_store(Arc::new(LogStore::open(folder.path().join("log"), log)?)),
        of_store(Arc::new(NatsStore::open(shared).await?)),
    ];
    let next = Arc::new(AtomicU64::new(0));
    let mut rates = [const { Vec::new() }; 3];
    for round in 0..=LEAST_ROUNDS {
        for (append, rates) in candidates.iter().zip(&mut rates) {
            let rate = rate(append, &next, if quick { QUICK_ROUND } else { ROUND }).await?;
            // The first round is for warming up.
            if round > 0 {
                rates.push(rate);
            }
        }
    }
    let [bare, embedded, shared] = rates;
    let peer = "NATS, sync always";
    for (name, rates) in [("embedded store", embedded), ("store on NATS", shared)] {
        let name = format!("append: {name}");
        report.add(Figure::beside(name, "packets/s", rates, peer, &bare));
    }
    Ok(())
}

/// A server that syncs before it answers.
async fn start_server(folder: &std::path::Path) -> anyhow::Result<(String, Measured)> {
    let socket = free_socket()?;
    let configuration = folder.join("server.conf");
    let store = folder.join("server");
    std::fs::write(
        &configuration,
        format!(
            "listen: \"{socket}\"\njetstream {{ store_dir: \"{}\", sync_interval: always }}\n",
            store.display()
        ),
    )?;
    let program = std::env::var("CONET_NATS_SERVER")
        .context("CONET_NATS_SERVER names no server; `bench/run` installs one")?;
    let server = Measured::start(&program, |command: &mut Command| {
        command.arg("-c").arg(&configuration);
        command.stdout(Stdio::null()).stderr(Stdio::null());
    })?;
    let url = format!("nats://{socket}");
    for _ in 0..100 {
        if async_nats::connect(&url).await.is_ok() {
            return Ok((url, server));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    bail!("{program} does not answer")
}

fn of_store(store: Arc<dyn PacketStore>) -> Append {
    Arc::new(move |sender, packet| {
        let store = Arc::clone(&store);
        Box::pin(async move {
            let mut queue = [0; 20];
            for (to, from) in queue.iter_mut().zip(sender.to_be_bytes()) {
                *to = from;
            }
            // The mailbox needs it to know repeats by; it is part of what an append costs.
            let hash = digest(&SHA256, &packet).as_ref().try_into()?;
            let stored = store
                .append(QueueId::new(queue), hash, packet, NOW_MS)
                .await?;
            anyhow::ensure!(!stored.duplicate, "a packet came twice");
            Ok(())
        })
    })
}

async fn of_nats(url: &str) -> anyhow::Result<Append> {
    let context = jetstream::new(async_nats::connect(url).await?);
    let stream = jetstream::stream::Config {
        name: "bare".into(),
        subjects: vec!["bare.*".into()],
        max_bytes: BARE_BYTES,
        ..Default::default()
    };
    context.create_stream(stream).await?;
    Ok(Arc::new(move |sender, packet| {
        let context = context.clone();
        Box::pin(async move {
            let sent = context.publish(format!("bare.{sender}"), packet).await?;
            sent.await?;
            Ok(())
        })
    }))
}

/// Packets a second, all senders together.
async fn rate(append: &Append, next: &Arc<AtomicU64>, round: Duration) -> anyhow::Result<f64> {
    let begun = Instant::now();
    let senders = (0..SENDERS).map(|sender| {
        let (append, next) = (Arc::clone(append), Arc::clone(next));
        tokio::spawn(async move {
            let mut count = 0u64;
            while begun.elapsed() < round {
                let mut packet = vec![0; PACKET_BYTES];
                let number = next.fetch_add(1, Ordering::Relaxed).to_be_bytes();
                for (to, from) in packet.iter_mut().zip(number) {
                    *to = from;
                }
                append(sender, packet.into()).await?;
                count += 1;
            }
            anyhow::Ok(count)
        })
    });
    let mut count = 0;
    for sender in senders.collect::<Vec<_>>() {
        count += sender.await??;
    }
    Ok(count as f64 / begun.elapsed().as_secs_f64())
}
