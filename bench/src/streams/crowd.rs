//! Many streams: a thousand at once, ten thousand short ones, and what a byte and a stream cost each process.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::ours::{Hops, Ours};
use super::socks::{Connection, Target, Way};
use super::web::{MIDDLE, SMALL};
use super::{Lengths, rounds, sockets};
use crate::process::{cpu, rss};
use crate::report::{Figure, Report};

/// Connections that are begun at once.
const AT_ONCE: usize = 64;
/// What is held is looked at when it has come to rest.
const SETTLE: Duration = Duration::from_secs(2);

/// CPU time of client, entry, relay and bridge for each GB, with one stream.
pub(super) async fn cpu_of_each(
    report: &mut Report,
    ours: &Ours,
    site: &Target,
    lengths: Lengths,
) -> anyhow::Result<()> {
    let proxy = ours.unused_proxy(Hops::Relayed, true).await?;
    let mut connection = proxy.way.connect(site, None).await?;
    let path = lengths.whole.to_string();
    connection.get(&lengths.part.to_string()).await?;
    // The client has begun with one stream, so that it has one link, to that stream's entry.
    let linked = sockets::of(proxy.process.id())?;
    let is_linked = |port: u16| linked.iter().any(|socket| socket.remote_port == port);
    let mut entries = ours.nodes.iter().filter(|node| {
        let port = node.endpoint.rsplit(':').next();
        port.and_then(|port| port.trim_end_matches('/').parse().ok())
            .is_some_and(is_linked)
    });
    let (entry, another) = (entries.next().context("no entry")?, entries.next());
    ensure!(another.is_none(), "the client has more than one entry");
    let bridge = ours.bridge()?;
    let others: Vec<u32> = ours
        .nodes
        .iter()
        .map(|node| node.pid)
        .filter(|id| *id != entry.pid && *id != bridge.pid)
        .collect();
    let mut costs: [Vec<f64>; 4] = Default::default();
    for _ in 1..=*rounds().end() {
        let ids = [proxy.process.id(), entry.pid, bridge.pid];
        let before = (each(&ids)?, each(&others)?);
        ensure!(
            connection.get(&path).await? == lengths.whole,
            "another file came"
        );
        let after = (each(&ids)?, each(&others)?);
        let per_gb = |before: &[f64], after: &[f64]| -> Vec<f64> {
            let gb = lengths.whole as f64 / 1e9;
            let pairs = before.iter().zip(after);
            pairs.map(|(before, after)| (after - before) / gb).collect()
        };
        let ours = per_gb(&before.0, &after.0);
        // Of the nodes that are left one is the relay; the rest do next to nothing.
        let relay = per_gb(&before.1, &after.1).into_iter().fold(0.0, f64::max);
        let [client, entry, bridge] = ours.as_slice() else {
            continue;
        };
        for (cost, of) in costs.iter_mut().zip([*client, *entry, relay, *bridge]) {
            cost.push(of);
        }
    }
    for (name, cost) in ["client", "entry", "relay", "bridge"].iter().zip(costs) {
        let name = format!("streams: CPU of a GB, {name}");
        report.add(Figure::alone(name, "s", cost).note("one download"));
    }
    Ok(())
}

fn each(processes: &[u32]) -> anyhow::Result<Vec<f64>> {
    let times = processes.iter().map(|id| Ok(cpu(*id)?.as_secs_f64()));
    times.collect()
}

/// Many streams at once: whether all work, and what they hold.
pub(super) async fn at_once(
    report: &mut Report,
    ours: &Ours,
    site: &Target,
    count: usize,
) -> anyhow::Result<()> {
    let proxy = ours.proxy(Hops::Relayed, false, site).await?;
    sleep(SETTLE).await;
    let memory = || -> anyhow::Result<[f64; 3]> {
        let (mut bridges, mut others) = (0, 0);
        for node in &ours.nodes {
            let sum = if node.bridge {
                &mut bridges
            } else {
                &mut others
            };
            *sum += rss(node.pid)?;
        }
        Ok([rss(proxy.process.id())?, others, bridges].map(|bytes| bytes as f64))
    };
    let before = memory()?;
    let (mut held, mut failed) = open(proxy.way, site, count).await;
    sleep(SETTLE).await;
    let idle = memory()?;
    let begun = Instant::now();
    let mut fetching = JoinSet::new();
    for mut connection in held.drain(..) {
        fetching.spawn(async move {
            let got = connection.get(MIDDLE).await;
            (connection, got)
        });
    }
    let mut bytes = 0;
    while let Some(fetched) = fetching.join_next().await {
        let (connection, got) = fetched?;
        match got {
            Ok(got) => bytes += got,
            Err(_) => failed += 1,
        }
        held.push(connection);
    }
    let rate = bytes as f64 / 1e6 / begun.elapsed().as_secs_f64();
    let used = memory()?;
    drop(held);
    let name = format!("streams: {count} at once");
    report.add(Figure::alone(
        format!("{name}, failed"),
        "streams",
        vec![failed as f64],
    ));
    report.add(
        Figure::alone(format!("{name}, download"), "MB/s", vec![rate])
            .note("64 KiB over each, all at once"),
    );
    let grown = |after: [f64; 3], part: usize| {
        let of = |all: [f64; 3]| all.get(part).copied().unwrap_or(f64::NAN);
        (of(after) - of(before)) / count as f64 / 1e3
    };
    for (part, whose) in ["client", "other nodes", "bridges"].iter().enumerate() {
        let note = match part {
            1 => "for each stream; entries and relays, as far as these are no bridges",
            2 => "for each stream; both bridges, some entry or relay too",
            _ => "for each stream",
        };
        for (when, memory) in [("idle", idle), ("used", used)] {
            let name = format!("streams: memory, {whose}, {when}");
            report.add(Figure::alone(name, "kB", vec![grown(memory, part)]).note(note));
        }
    }
    Ok(())
}

async fn open(way: Way, site: &Target, count: usize) -> (Vec<Connection>, usize) {
    let places = Arc::new(Semaphore::new(AT_ONCE));
    let mut opening = JoinSet::new();
    for _ in 0..count {
        let (places, site) = (Arc::clone(&places), site.clone());
        opening.spawn(async move {
            let _place = places.acquire().await?;
            let mut connection = way.connect(&site, None).await?;
            connection.get(SMALL).await?;
            anyhow::Ok(connection)
        });
    }
    let (mut held, mut failed) = (Vec::new(), 0);
    while let Some(opened) = opening.join_next().await {
        match opened {
            Ok(Ok(connection)) => held.push(connection),
            _ => failed += 1,
        }
    }
    (held, failed)
}

/// Short connections one after the other, many at once: whether all work, and how many a second.
pub(super) async fn short(
    report: &mut Report,
    ours: &Ours,
    site: &Target,
    microsocks: Way,
    count: usize,
) -> anyhow::Result<()> {
    let proxy = ours.proxy(Hops::Relayed, false, site).await?;
    let mut outcomes = Vec::new();
    for way in [proxy.way, microsocks] {
        let begun = Instant::now();
        let places = Arc::new(Semaphore::new(AT_ONCE));
        let mut using = JoinSet::new();
        for _ in 0..count {
            let (places, site) = (Arc::clone(&places), site.clone());
            using.spawn(async move {
                let _place = places.acquire().await?;
                way.connect(&site, None).await?.get(SMALL).await
            });
        }
        let (mut failed, mut last) = (0, String::new());
        while let Some(used) = using.join_next().await {
            match used? {
                Ok(1_024) => {}
                Ok(_) => failed += 1,
                Err(error) => {
                    last = format!("{error:#}");
                    failed += 1;
                }
            }
        }
        outcomes.push((count as f64 / begun.elapsed().as_secs_f64(), failed, last));
    }
    let [(rate, failed, last), (peer, _, _)] = outcomes.as_slice() else {
        return Ok(());
    };
    let name = format!("streams: {count} short");
    let figure = Figure::alone(
        format!("{name}, failed"),
        "streams",
        vec![f64::from(*failed)],
    );
    report.add(figure.note(last.clone()));
    let figure = Figure::beside(name, "connections/s", vec![*rate], "microsocks", &[*peer]);
    report.add(figure.note(format!("1 KiB each, {AT_ONCE} at once")));
    Ok(())
}
