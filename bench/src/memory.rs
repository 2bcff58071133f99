//! Memory of a node: idle, and for each client that collects.
//!
//! Clients are wallets of the SDK's network half, each device with an event stream of its own over plain HTTP.
//! One node is the mailbox; the others are entries, among which the clients' one network chooses.

use std::time::Duration;

use anyhow::Context as _;
use client::Network;
use client::carrier::{Collection, OwnerKeys};
use protocol::answer::Item;
use rand::rngs::OsRng;
use wallet::{CertificateBinding, CertificateKind, SecretCertificate, WalletKey};

use crate::node_process::NodeProcess;
use crate::report::{Figure, Report};
use crate::world::{World, now_s};

const NODES: u64 = 4;
/// Devices of a wallet that a mailbox tells apart.
const DEVICES: u8 = 8;
const WALLETS: usize = 125;
const FEW_WALLETS: usize = 5;
const SETTLE: Duration = Duration::from_secs(3);
const READY_TIMEOUT: Duration = Duration::from_secs(60);

/// Measures resident memory.
pub(crate) async fn measure(report: &mut Report, quick: bool) -> anyhow::Result<()> {
    let wallets = if quick { FEW_WALLETS } else { WALLETS };
    let world = World::new(NODES).await?;
    let mut nodes = Vec::new();
    for (seed, at) in world.sockets.iter().enumerate() {
        nodes.push(world.start_node(seed as u64, *at, false).await?);
    }
    tokio::time::sleep(SETTLE).await;
    let idle = each(&nodes)?;
    let mb = |bytes: &[f64]| bytes.iter().map(|b| b / 1e6).collect::<Vec<_>>();
    report.add(Figure::alone("memory: idle node", "MB", mb(&idle)));

    let mailbox = crate::world::keys(0).wallet.address();
    let home = tempfile::tempdir()?;
    let network = Network::open(home.path(), world.network.clone()).await?;
    network.exclude_as_entries([mailbox]);
    network.ready(READY_TIMEOUT).await?;
    let mut accounts = Vec::new();
    for _ in 0..wallets {
        let key = WalletKey::generate(&mut OsRng);
        let certificate =
            SecretCertificate::create(&key, CertificateKind::V6, now_s(), &mut OsRng)?;
        let binding = CertificateBinding::sign(&key, certificate.certificate(), 1, vec![mailbox])?;
        let owner = OwnerKeys {
            certificate: &certificate,
            binding: &binding,
        };
        network.open_mailbox(owner, mailbox).await?;
        accounts.push((certificate, binding));
    }
    tokio::time::sleep(SETTLE).await;
    let before = each(&nodes)?;
    let mut streams = Vec::new();
    for (certificate, binding) in &accounts {
        for device in 0..DEVICES {
            let owner = OwnerKeys {
                certificate,
                binding,
            };
            let collection = Collection {
                mailbox,
                device: [device + 1; 16],
                after: None,
                window_bytes: 1 << 16,
                stay: true,
            };
            let mut delivery = network.collect(owner, collection).await?;
            let first = delivery.next().await?;
            anyhow::ensure!(
                matches!(first, Some(Item::CaughtUp { .. })),
                "a stream did not begin"
            );
            streams.push(delivery);
        }
    }
    tokio::time::sleep(SETTLE).await;
    let after = each(&nodes)?;
    let clients = streams.len() as f64;
    let mut grown = after
        .iter()
        .zip(&before)
        .map(|(after, before)| after - before);
    let of_mailbox = grown.next().context("no mailbox")? / clients / 1e3;
    let of_entries = grown.sum::<f64>() / clients / 1e3;
    let note = format!("{clients} clients, each an event stream over plain HTTP");
    report.add(
        Figure::alone("memory: entry, a client", "kB", vec![of_entries])
            .note(format!("{note}, on three entries")),
    );
    report.add(Figure::alone("memory: mailbox, a client", "kB", vec![of_mailbox]).note(note));
    drop(streams);
    drop(nodes);
    world.stop().await;
    Ok(())
}

fn each(nodes: &[NodeProcess]) -> anyhow::Result<Vec<f64>> {
    nodes
        .iter()
        .map(|node| Ok(node.process.rss()? as f64))
        .collect()
}
