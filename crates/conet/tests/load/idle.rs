//! Clients that only listen.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use client::carrier::Privacy;
use client::submit::SubmitOptions;
use packet::SizeClass;
use tokio::task::JoinSet;

use crate::accounts::{self, DEVICES, Owner};
use crate::caller::{Caller, Mail, Wish};
use crate::pair::Pair;
use crate::world::{Spot, World};

/// Clients that connect at the same time.
const AT_ONCE: usize = 64;
/// Resident memory that a client may cost its entry, and its mailbox, kB.
const ENTRY_MOST_KB: f64 = 20.0;
const MAILBOX_MOST_KB: f64 = 25.0;
/// Wallets to which something is sent, on all their devices.
const SAMPLE: usize = 16;
/// Time after which memory is looked at.
const SETTLE: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(60);

/// A device that listens.
pub(crate) struct Listener {
    pub(crate) owner: Arc<Owner>,
    pub(crate) device: u8,
    pub(crate) mail: Mail,
}

/// Connects every device of every owner; each has caught up.
pub(crate) async fn connect(
    entry: &Spot,
    mailbox: &Spot,
    owners: &[Arc<Owner>],
) -> Result<Vec<Listener>> {
    let (mut connecting, mut listeners) = (JoinSet::new(), Vec::new());
    for number in 0..owners.len() * DEVICES {
        if connecting.len() >= AT_ONCE {
            listeners.push(connecting.join_next().await.context("none")???);
        }
        let owner = Arc::clone(&owners[number / DEVICES]);
        let (entry, mailbox) = (entry.clone(), mailbox.clone());
        connecting.spawn(async move {
            let wish = Wish {
                device: (number % DEVICES) as u8 + 1,
                after: None,
                window_bytes: 1 << 16,
                stay: true,
            };
            let mut mail = Caller::shake_hands(&entry)
                .await?
                .collect(&owner, &mailbox, wish)
                .await?;
            mail.until_caught_up().await?;
            anyhow::Ok(Listener {
                owner,
                device: wish.device,
                mail,
            })
        });
    }
    while let Some(connected) = connecting.join_next().await {
        listeners.push(connected??);
    }
    Ok(listeners)
}

pub(crate) async fn play(world: &World) -> Result<String> {
    let (entry, mailbox) = (world.entry(), world.mailbox());
    let owners = accounts::open(world, world.scale.of(500, 10_000) / DEVICES, mailbox).await?;
    let pair = Pair::new(world, mailbox).await?;
    tokio::time::sleep(SETTLE).await;
    let before = (world.rss_kb(entry)?, world.rss_kb(mailbox)?);

    let begun = tokio::time::Instant::now();
    let mut listeners = connect(entry, mailbox, &owners).await?;
    let took = begun.elapsed();
    tokio::time::sleep(SETTLE).await;
    let clients = listeners.len() as f64;
    let grown = (
        world.rss_kb(entry)? - before.0,
        world.rss_kb(mailbox)? - before.1,
    );
    let each = (grown.0 as f64 / clients, grown.1 as f64 / clients);

    let work = async {
        let (sdk, _home) = world.sdk().await?;
        let step = (owners.len() / SAMPLE).max(1);
        let mut delivered = 0;
        for (number, owner) in owners.iter().step_by(step).enumerate() {
            let packet = owner.packet(number as u64, SizeClass::K4)?;
            let options = SubmitOptions::default();
            sdk.submit(&packet, &[mailbox.address], Privacy::Relayed, options)
                .await?;
            for listener in listeners
                .iter_mut()
                .filter(|it| Arc::ptr_eq(&it.owner, owner))
            {
                let got = tokio::time::timeout(PATIENCE, listener.mail.next_packet());
                ensure!(got.await??.1 == packet.as_bytes(), "another packet");
                delivered += 1;
            }
        }
        // They stay for a while, with their signs of life.
        tokio::time::sleep(Duration::from_secs(world.scale.of(1, 60) as u64)).await;
        Ok(delivered)
    };
    let (delivered, service) = pair.beside(work).await?;
    ensure!(
        each.0 < ENTRY_MOST_KB,
        "a client costs its entry {:.1} kB",
        each.0
    );
    ensure!(
        each.1 < MAILBOX_MOST_KB,
        "a client costs its mailbox {:.1} kB",
        each.1
    );
    Ok(format!(
        "idle: {clients} clients in {took:.1?}, each {:.1} kB at the entry, {:.1} kB at the mailbox; a sample of \
         {delivered} delivered to; {service}",
        each.0, each.1
    ))
}
