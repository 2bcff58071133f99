//! Floods of packets to keys that nobody has: without a stamp, with a wrong one, with a real one, with a used one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Result, ensure};
use packet::SizeClass;
use protocol::answer::{Answer, Refusal};
use protocol::frame::{Header, STAMP_BYTES};
use protocol::stamp::Stamp;
use sha2::{Digest as _, Sha256};
use tokio::task::JoinSet;
use tokio::time::Instant;
use wallet::CertificateKind;

use crate::accounts::{Hollow, Owner, now_ms};
use crate::caller::Caller;
use crate::pair::Pair;
use crate::world::{Spot, World};

const FLOODERS: u64 = 32;
const PACKET_BYTES: usize = 1_024;
/// Memory by which any node may grow, whatever it is flooded with, kB.
const GROWTH_MOST_KB: i64 = 100_000;
/// How often each paid packet may come to one node: from each of the others once.
const ROUNDS: u64 = 4;
const BROADCASTS: &str = "conet_packets_total{decision=\"broadcast\"}";

/// One kind of flood: what each packet is like, and what it must be told.
struct Flood {
    name: &'static str,
    packets: Vec<(Vec<u8>, Option<[u8; STAMP_BYTES]>)>,
    told: Refusal,
    /// Whether nodes may pass them on.
    spreads: bool,
}

/// Sends all packets of a flood, some connections at the same time; returns packets per second.
async fn pour(entry: &Spot, flood: Arc<Flood>) -> Result<f64> {
    let next = Arc::new(AtomicU64::new(0));
    let (mut flooders, begun) = (JoinSet::new(), Instant::now());
    for _ in 0..FLOODERS {
        let (flood, next, entry) = (Arc::clone(&flood), Arc::clone(&next), entry.clone());
        flooders.spawn(async move {
            let mut caller = Caller::shake_hands(&entry).await?;
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed) as usize;
                let Some((packet, stamp)) = flood.packets.get(number) else {
                    return anyhow::Ok(());
                };
                let header = Header {
                    stamp: *stamp,
                    ..Header::packet(SizeClass::K4, 0)
                };
                let answer = caller.ask(header, packet).await?;
                ensure!(
                    answer == Answer::Refused(flood.told.clone()),
                    "{}: told {answer:?}",
                    flood.name
                );
            }
        });
    }
    while let Some(ended) = flooders.join_next().await {
        ended??;
    }
    Ok(flood.packets.len() as f64 / begun.elapsed().as_secs_f64())
}

fn mint(packet: &[u8], effort: u32) -> Result<[u8; STAMP_BYTES]> {
    let hash: [u8; 32] = Sha256::digest(packet).into();
    Ok(Stamp::mint(&hash, effort, now_ms(), rand::random(), || true)?.to_bytes())
}

fn floods(world: &World) -> Result<Vec<Flood>> {
    let effort = world.file.stamp_effort;
    let nobody = Hollow::to(&Owner::new(
        CertificateKind::V6Classic,
        world.mailbox().address,
    )?)?;
    let (many, paid) = (
        world.scale.of(5_000, 300_000) as u64,
        world.scale.of(100, 2_000) as u64,
    );
    let unpaid = Refusal::StampRequired { effort };
    let stamped: Result<Vec<_>> = (0..paid)
        .map(|number| {
            let packet = nobody.packet(number, PACKET_BYTES);
            let stamp = mint(&packet, effort)?;
            Ok((packet, Some(stamp)))
        })
        .collect();
    let stamped = stamped?;
    // Stamps of other packets, and stamps of enough effort that solve nothing.
    let wrong = (0..many).map(|number| {
        let packet = nobody.packet(paid + number, PACKET_BYTES);
        let mut stamp = stamped[number as usize % stamped.len()].1;
        if let Some(bytes) = stamp.as_mut().filter(|_| number % 2 == 0) {
            bytes[8..16].copy_from_slice(&number.to_be_bytes());
        }
        (packet, stamp)
    });
    let replays = (0..many).map(|number| stamped[number as usize % stamped.len()].clone());
    Ok(vec![
        Flood {
            name: "without a stamp",
            packets: (0..many)
                .map(|number| (nobody.packet(number, PACKET_BYTES), None))
                .collect(),
            told: unpaid.clone(),
            spreads: false,
        },
        Flood {
            name: "with a wrong one",
            packets: wrong.collect(),
            told: unpaid,
            spreads: false,
        },
        Flood {
            name: "with a used one",
            packets: replays.collect(),
            told: Refusal::UnknownKey,
            spreads: false,
        },
        Flood {
            name: "with a real one",
            packets: stamped,
            told: Refusal::UnknownKey,
            spreads: true,
        },
    ])
}

async fn broadcasts(spots: &[Spot]) -> Result<Vec<u64>> {
    let mut counts = Vec::new();
    for spot in spots {
        counts.push(spot.metric(BROADCASTS).await?);
    }
    Ok(counts)
}

pub(crate) async fn play(world: &World) -> Result<String> {
    let mut floods = floods(world)?;
    // The paid ones go before those that use their stamps again.
    floods.swap(2, 3);
    let pair = Pair::new(world, world.mailbox()).await?;
    let spots = world.spots();
    let memory = || {
        spots
            .iter()
            .map(|spot| world.rss_kb(spot))
            .collect::<Result<Vec<i64>>>()
    };
    let before = memory()?;
    let work = async {
        let mut rates = Vec::new();
        for flood in floods {
            let (name, spreads, packets) = (flood.name, flood.spreads, flood.packets.len() as u64);
            let counted = broadcasts(spots).await?;
            let rate = pour(world.entry(), Arc::new(flood)).await?;
            // The entry counts what comes to it; the others, what it passed on.
            for (spot, (now, before)) in spots
                .iter()
                .zip(broadcasts(spots).await?.into_iter().zip(counted))
                .skip(1)
            {
                let most = if spreads { ROUNDS * packets } else { 0 };
                let passed = now - before;
                ensure!(
                    passed <= most,
                    "{name}: node {} was passed {passed} of {packets}",
                    spot.number
                );
            }
            rates.push(format!("{packets} {name} at {rate:.0}/s"));
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
        Ok(rates)
    };
    let (rates, service) = pair.beside(work).await?;
    let after = memory()?;
    let grown: Vec<i64> = after
        .iter()
        .zip(&before)
        .map(|(after, before)| after - before)
        .collect();
    let most = grown.iter().max().copied().unwrap_or(0);
    ensure!(most < GROWTH_MOST_KB, "a node grew by {most} kB");
    Ok(format!(
        "floods: {}; no node grew by more than {:.1} MB; {service}",
        rates.join(", "),
        most as f64 / 1e3
    ))
}
