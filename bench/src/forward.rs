//! Blind forwarding: what one core passes on, from clients to a link and from link to link, beside nginx.
//!
//! All three move the same: a body of one sealed frame of 4 KiB there, one back. The node under test is
//! `node::run` in its own process on its own core; load and sinks share the other one and do no more than
//! they must.

mod http_load;
mod link_load;
mod link_sink;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use packet::SizeClass;
use rand::rngs::OsRng;

use crate::http_sink;
use crate::node_process::NodeProcess;
use crate::peer::Nginx;
use crate::process::Measured;
use crate::report::{Figure, LEAST_ROUNDS, Report};
use crate::world::{World, keys};

/// Seeds of the nodes: the one under test, the sink, and the one whose link brings packets.
const NODE: u64 = 0;
const SINK: u64 = 1;
const DIALER: u64 = 2;
/// Connections of clients, each with one request under way: as browsers and our clients do.
const CONNECTIONS: usize = 64;
/// Packets of a round.
const HTTP_PACKETS: usize = 64_000;
const LINK_PACKETS: usize = 192_000;
/// Packets of a warm-up, and of each round of `--quick`.
const FEW_PACKETS: usize = 6_400;

/// What one round came to.
#[derive(Debug, Clone, Copy)]
struct Round {
    packets: usize,
    wall: Duration,
    cpu: Duration,
}

#[derive(Debug, Default)]
struct Rounds {
    per_s: Vec<f64>,
    cpu_us: Vec<f64>,
    busy: Vec<f64>,
}

impl Rounds {
    fn add(&mut self, round: Round) {
        let packets = round.packets as f64;
        self.per_s.push(packets / round.wall.as_secs_f64());
        self.cpu_us.push(round.cpu.as_secs_f64() * 1e6 / packets);
        self.busy
            .push(round.cpu.as_secs_f64() / round.wall.as_secs_f64());
    }

    /// Packets that a core would pass on if it did nothing else and never waited.
    fn per_core(&self) -> Vec<f64> {
        self.cpu_us.iter().map(|us| 1e6 / us).collect()
    }

    fn note(&self) -> String {
        let middle = crate::report::median;
        format!(
            "{:.2} µs of CPU a packet, {:.0}/s seen with the core {:.0} % busy",
            middle(&self.cpu_us),
            middle(&self.per_s),
            middle(&self.busy) * 100.0
        )
    }
}

/// The places packets come from and go to.
struct Setting {
    world: World,
    received: Arc<AtomicU64>,
    packet: Vec<u8>,
}

impl Setting {
    async fn new() -> anyhow::Result<Self> {
        let world = World::new(3).await?;
        let received = Arc::new(AtomicU64::new(0));
        let at = world.sockets.get(SINK as usize).context("no sink")?;
        link_sink::start(*at, keys(SINK), Arc::clone(&received)).await?;
        // What a client's first layer looks like to who passes it on.
        let certificate = keys(SINK).certificate;
        let inner = SizeClass::K4.packet_bytes();
        let packet = packet::seal_layer(
            certificate.certificate(),
            &vec![7; inner],
            inner + packet::LAYER_BYTES,
            &mut OsRng,
        )?;
        Ok(Self {
            world,
            received,
            packet: packet.as_bytes().to_vec(),
        })
    }

    async fn intake(
        &self,
        process: &Measured,
        at: std::net::SocketAddr,
        packets: usize,
    ) -> anyhow::Result<Round> {
        let load = http_load::sealed(at, &keys(NODE), &self.packet, CONNECTIONS, packets).await?;
        let before = self.received.load(Ordering::Relaxed);
        let round = timed(process, load).await?;
        let arrived = self.received.load(Ordering::Relaxed) - before;
        ensure!(arrived == packets as u64, "only {arrived} packets arrived");
        Ok(round)
    }

    async fn transit(
        &self,
        process: &Measured,
        at: std::net::SocketAddr,
        packets: usize,
    ) -> anyhow::Result<Round> {
        let load = link_load::LinkLoad::dial(at, &keys(DIALER), &keys(NODE), &self.packet, packets)
            .await?;
        let before = self.received.load(Ordering::Relaxed);
        let (cpu, begun) = (process.cpu()?, Instant::now());
        load.run().await?;
        let round = Round {
            packets,
            wall: begun.elapsed(),
            cpu: process.cpu()? - cpu,
        };
        let arrived = self.received.load(Ordering::Relaxed) - before;
        ensure!(arrived == packets as u64, "only {arrived} packets arrived");
        Ok(round)
    }
}

async fn timed(process: &Measured, load: http_load::HttpLoad) -> anyhow::Result<Round> {
    let packets = load.requests();
    let (cpu, begun) = (process.cpu()?, Instant::now());
    load.run().await?;
    Ok(Round {
        packets,
        wall: begun.elapsed(),
        cpu: process.cpu()? - cpu,
    })
}

/// Measures intake → link and link → link beside nginx.
pub(crate) async fn measure(report: &mut Report, quick: bool) -> anyhow::Result<()> {
    let (http_packets, link_packets) = if quick {
        (FEW_PACKETS, FEW_PACKETS)
    } else {
        (HTTP_PACKETS, LINK_PACKETS)
    };
    let setting = Setting::new().await?;
    let at = *setting
        .world
        .sockets
        .get(NODE as usize)
        .context("no node")?;
    let node = setting.world.start_node(NODE, at, false).await?;
    let nginx = Nginx::start(http_sink::start(http_load::BODY_BYTES).await?, true).await?;

    let (mut intake, mut transit, mut peer) =
        (Rounds::default(), Rounds::default(), Rounds::default());
    for round in 0..=LEAST_ROUNDS {
        // The first is for warming up.
        let few = |packets: usize| if round == 0 { FEW_PACKETS } else { packets };
        let bare = http_load::bare(nginx.socket, CONNECTIONS, few(http_packets)).await?;
        let of_peer = timed(&nginx.process, bare).await?;
        let of_intake = setting.intake(&node.process, at, few(http_packets)).await?;
        let of_transit = setting
            .transit(&node.process, at, few(link_packets))
            .await?;
        if round > 0 {
            peer.add(of_peer);
            intake.add(of_intake);
            transit.add(of_transit);
        }
    }
    for (name, ours) in [("intake → link", &intake), ("link → link", &transit)] {
        let figure = Figure::beside(
            format!("forward: {name}"),
            "packets/s/core",
            ours.per_core(),
            "nginx",
            &peer.per_core(),
        );
        report.add(figure.note(ours.note()));
    }
    let figure = Figure::alone("forward: nginx", "requests/s/core", peer.per_core());
    report.add(figure.note(peer.note()));
    drop(node);
    count(&setting, report).await?;
    setting.world.stop().await;
    Ok(())
}

/// Counts what a packet allocates, in a node of its own that is not timed.
async fn count(setting: &Setting, report: &mut Report) -> anyhow::Result<()> {
    let at = crate::world::free_socket()?;
    let mut node: NodeProcess = setting.world.start_node(NODE, at, true).await?;
    let (mut intake, mut transit) = (Vec::new(), Vec::new());
    for round in 0..=LEAST_ROUNDS {
        // What a connection or a link takes once counts in both rounds, and so not in their difference.
        let mut made = Vec::new();
        for packets in [FEW_PACKETS, 2 * FEW_PACKETS] {
            let before = node.allocations()?;
            setting.intake(&node.process, at, packets).await?;
            let between = node.allocations()?;
            setting.transit(&node.process, at, packets).await?;
            made.push((between - before, node.allocations()? - between));
        }
        if let (Some(few), Some(many), true) = (made.first(), made.get(1), round > 0) {
            let each = |few: u64, many: u64| (many as f64 - few as f64) / FEW_PACKETS as f64;
            intake.push(each(few.0, many.0));
            transit.push(each(few.1, many.1));
        }
    }
    report.add(Figure::alone(
        "forward: intake → link",
        "allocations/packet",
        intake,
    ));
    report.add(Figure::alone(
        "forward: link → link",
        "allocations/packet",
        transit,
    ));
    Ok(())
}
