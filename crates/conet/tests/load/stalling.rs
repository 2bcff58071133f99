//! Peers that take a place and do nothing with it: heads and bodies that come byte by byte or not at all, answers
//! that nobody reads.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use packet::SizeClass;
use protocol::answer::{Answer, Refusal};
use protocol::frame::Header;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::accounts::{Hollow, Owner};
use crate::caller::Caller;
use crate::pair::Pair;
use crate::world::{Spot, World};
use wallet::CertificateKind;

/// Time between two bytes.
const BYTE_EVERY: Duration = Duration::from_secs(2);
/// Connections that are made at the same time.
const AT_ONCE: usize = 64;
/// Longest life of a peer that does nothing: a body may take a minute.
const LIFE: Duration = Duration::from_secs(180);
/// Memory that one of them may cost the entry, kB.
const EACH_MOST_KB: f64 = 60.0;
/// Exchanges that are sent and whose answers nobody reads: far more than both kernels keep.
const UNREAD: usize = 20_000;
/// Time between two newcomers.
const NEWCOMER_EVERY: Duration = Duration::from_millis(100);
const PATIENCE: Duration = Duration::from_secs(60);

/// What a peer does not finish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stall {
    /// Says nothing.
    Silent,
    /// A head, byte by byte.
    Head,
    /// A small body, byte by byte.
    Body,
    /// The largest body, of which nothing comes but a few bytes.
    LargeBody,
    /// Reading its answers.
    Reading,
}

/// Stalls until the node has closed the connection.
async fn stall(entry: &Spot, kind: Stall, connected: tokio::sync::mpsc::Sender<()>) -> Result<()> {
    if kind == Stall::Reading {
        return never_read(entry, connected).await;
    }
    let mut socket = TcpStream::connect(entry.listen).await?;
    let _counted = connected.send(()).await;
    let head =
        |length: usize| format!("POST /c HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n");
    let slow = match kind {
        Stall::Silent | Stall::Reading => Vec::new(),
        Stall::Head => head(4_000).into_bytes(),
        Stall::Body => {
            socket.write_all(head(4_000).as_bytes()).await?;
            vec![b'x'; 4_000]
        }
        Stall::LargeBody => {
            socket.write_all(head(1 << 20).as_bytes()).await?;
            vec![b'x'; 4_000]
        }
    };
    let (mut bytes, mut answer) = (slow.iter(), [0; 256]);
    loop {
        tokio::select! {
            read = socket.read(&mut answer) => match read {
                Ok(1..) => {}
                Ok(0) | Err(_) => return Ok(()),
            },
            () = tokio::time::sleep(BYTE_EVERY) => {
                if let Some(byte) = bytes.next() && socket.write_all(&[*byte]).await.is_err() {
                    return Ok(());
                }
            }
        }
    }
}

/// Asks, and reads no answer, until nothing can be written any more because the node has closed.
async fn never_read(entry: &Spot, connected: tokio::sync::mpsc::Sender<()>) -> Result<()> {
    let mut caller = Caller::narrow(entry).await?;
    let _counted = connected.send(()).await;
    let nobody = Hollow::to(&Owner::new(CertificateKind::V6Classic, entry.address)?)?;
    for number in 0..UNREAD as u64 {
        let packet = nobody.packet(number, 1_024);
        let (_, bytes) = caller.seal(Header::packet(SizeClass::K4, 0), &packet)?;
        if caller.socket.write_all(&bytes).await.is_err() {
            return Ok(());
        }
    }
    anyhow::bail!("the node took {UNREAD} requests of somebody who reads no answer")
}

pub(crate) async fn play(world: &World) -> Result<String> {
    let entry = world.entry();
    let of = |kind, gate, full| (kind, world.scale.of(gate, full));
    // In the gate nobody waits a minute for bodies to be given up.
    let kinds = [
        of(Stall::Silent, 100, 4_000),
        of(Stall::Head, 200, 10_000),
        of(Stall::Body, 100, 4_000),
        of(Stall::LargeBody, 600, 2_000),
        of(Stall::Reading, 10, 100),
    ];
    let pair = Pair::new(world, world.mailbox()).await?;
    let before = world.rss_kb(entry)?;
    let open_before = entry.metric("conet_connections").await?;

    let work = async {
        let (connected, mut counting) = tokio::sync::mpsc::channel(AT_ONCE);
        let (mut short, mut long) = (JoinSet::new(), JoinSet::new());
        let mut all = 0;
        for (kind, count) in kinds {
            for _ in 0..count {
                let (entry, connected) = (entry.clone(), connected.clone());
                let stalling = async move { stall(&entry, kind, connected).await };
                match kind {
                    Stall::Silent | Stall::Head => short.spawn(stalling),
                    _ => long.spawn(stalling),
                };
                all += 1;
                counting.recv().await;
            }
        }
        let grown = world.rss_kb(entry)? - before;
        let newcomers = newcomers(entry, world.scale.of(20, 200)).await?;
        let large = large_exchange(entry).await?;
        let begun = Instant::now();
        gone(&mut short).await.context("heads that never end")?;
        let heads = begun.elapsed();
        if world.scale == crate::Scale::Full {
            gone(&mut long)
                .await
                .context("bodies that never end, answers that nobody reads")?;
        }
        drop((short, long));
        Ok((all, grown, newcomers, large, heads, begun.elapsed()))
    };
    let ((all, grown, newcomers, large, heads, ended), service) = pair.beside(work).await?;
    drop(pair);
    entry
        .falls_to("conet_connections", open_before + 8, PATIENCE)
        .await?;
    let each = grown as f64 / f64::from(all);
    ensure!(each < EACH_MOST_KB, "a peer that stalls costs {each:.1} kB");
    Ok(format!(
        "stalling: {all} peers stall, each {each:.1} kB; newcomers shake hands in {:.1} ms (p50), {:.0} ms at most; an \
         exchange of 1 MiB takes {large:.2?}; heads given up {heads:.1?} later, all {ended:.1?} later; {service}",
        newcomers.0.as_secs_f64() * 1e3,
        newcomers.1.as_secs_f64() * 1e3,
    ))
}

async fn gone(stalling: &mut JoinSet<Result<()>>) -> Result<()> {
    let all = async {
        while let Some(ended) = stalling.join_next().await {
            ended??;
        }
        anyhow::Ok(())
    };
    tokio::time::timeout(LIFE, all)
        .await
        .context("they keep their places")?
}

/// Clients that come meanwhile: how long they take to be served, half of them and all.
async fn newcomers(entry: &Spot, count: usize) -> Result<(Duration, Duration)> {
    let mut took = Vec::new();
    for _ in 0..count {
        let begun = Instant::now();
        let served = tokio::time::timeout(PATIENCE, Caller::shake_hands(entry));
        served.await.context("a newcomer is not served")??;
        took.push(begun.elapsed());
        tokio::time::sleep(NEWCOMER_EVERY).await;
    }
    took.sort();
    Ok((took[took.len() / 2], took[took.len() - 1]))
}

/// Bodies that were only claimed once took all the room there was for large ones: everybody else's were refused for as
/// long as the claims stood.
async fn large_exchange(entry: &Spot) -> Result<Duration> {
    let nobody = Hollow::to(&Owner::new(CertificateKind::V6Classic, entry.address)?)?;
    let mut caller = Caller::shake_hands(entry).await?;
    let packet = nobody.packet(0, SizeClass::M1.packet_bytes());
    let begun = Instant::now();
    let answer = caller.ask(Header::packet(SizeClass::M1, 0), &packet).await;
    let answer = answer.context("an exchange of the largest class")?;
    ensure!(
        matches!(answer, Answer::Refused(Refusal::StampRequired { .. })),
        "{answer:?}"
    );
    Ok(begun.elapsed())
}
