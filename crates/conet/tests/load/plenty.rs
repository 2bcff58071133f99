//! A mailbox with very many packets.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::accounts::{self, Hollow};
use crate::caller::{Caller, Wish, request, response};
use crate::pair::Pair;
use crate::world::World;

const PACKET_BYTES: usize = 1_024;
const SENDERS: u64 = 64;
/// Resident memory that a packet on disk may cost, bytes, and what the node has besides, kB.
const PACKET_MOST_BYTES: i64 = 400;
const ELSE_MOST_KB: i64 = 200_000;
/// Packets that are collected without an acknowledgement: a window holds 4,096.
const COLLECTED: u64 = 4_000;

pub(crate) async fn play(world: &mut World) -> Result<String> {
    let count = world.scale.of(5_000, 1_000_000) as u64;
    let vault = world.vault().clone();
    let owner = Arc::clone(
        accounts::open(world, 1, &vault)
            .await?
            .first()
            .context("no account")?,
    );
    let before = world.rss_kb(&vault)?;

    let pair = Pair::new(world, &vault).await?;
    let hollow = Arc::new(Hollow::to(&owner)?);
    let next = Arc::new(AtomicU64::new(0));
    let work = async {
        let begun = Instant::now();
        let mut senders = JoinSet::new();
        for _ in 0..SENDERS {
            let (hollow, next, at) = (Arc::clone(&hollow), Arc::clone(&next), vault.listen);
            senders.spawn(async move {
                let mut socket = TcpStream::connect(at).await?;
                socket.set_nodelay(true)?;
                let mut read = Vec::new();
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= count {
                        return anyhow::Ok(());
                    }
                    let packet = hollow.packet(number, PACKET_BYTES);
                    socket.write_all(&request(at, "/intake", &packet)).await?;
                    let (status, body) = response(&mut socket, &mut read).await?;
                    ensure!(
                        status == 200,
                        "{status}: {}",
                        String::from_utf8_lossy(&body)
                    );
                }
            });
        }
        while let Some(sent) = senders.join_next().await {
            sent??;
        }
        Ok(begun.elapsed())
    };
    let (appending, service) = pair.beside(work).await?;
    drop(pair);
    let full = world.rss_kb(&vault)?;

    let process = &mut world.network.nodes[vault.number].process;
    process.kill().await?;
    process.start()?;
    let starting = world.is_up(vault.number).await?;
    let anew = world.rss_kb(&vault)?;

    let ask = async |after| {
        let wish = Wish {
            device: 1,
            after,
            window_bytes: 16 << 20,
            stay: true,
        };
        // The entry may have to dial the vault again first.
        for _ in 0..60 {
            if let Ok(mail) = Caller::shake_hands(world.entry())
                .await?
                .collect(&owner, &vault, wish)
                .await
            {
                return anyhow::Ok(mail);
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        anyhow::bail!("no delivery begins")
    };
    let (first, _) = ask(None).await?.next_packet().await?;
    let middle = first + count / 2;
    let begun = Instant::now();
    let mut mail = ask(Some(middle - 1)).await?;
    let (mut at, mut numbers, mut waited) = (middle - 1, std::collections::HashSet::new(), None);
    let wanted = (count - count / 2).min(COLLECTED);
    for _ in 0..wanted {
        let (cursor, packet) = mail.next_packet().await?;
        waited.get_or_insert(begun.elapsed());
        ensure!(cursor == at + 1, "{cursor} came after {at}");
        ensure!(
            packet.len() == PACKET_BYTES && numbers.insert(Hollow::number(&packet)?),
            "another packet"
        );
        at = cursor;
    }
    let collecting = begun.elapsed();

    let rate = |packets: u64, took: Duration| packets as f64 / took.as_secs_f64();
    for now in [full, anew] {
        let most = ELSE_MOST_KB + PACKET_MOST_BYTES * count as i64 / 1_024;
        ensure!(
            now - before < most,
            "the mailbox grew from {before} kB to {now} kB"
        );
    }
    Ok(format!(
        "plenty: {count} packets of 1 KiB in one mailbox at {:.0}/s, RSS {:.0} MB before, {:.0} MB after, {:.0} MB \
         started anew on them, which takes {:.2} s; from the middle the first after {:.1} ms, {wanted} at {:.0}/s; {service}",
        rate(count, appending),
        before as f64 / 1e3,
        full as f64 / 1e3,
        anew as f64 / 1e3,
        starting.as_secs_f64(),
        waited.unwrap_or_default().as_secs_f64() * 1e3,
        rate(wanted, collecting),
    ))
}
