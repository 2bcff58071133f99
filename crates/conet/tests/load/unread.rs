//! A sender that is faster than its recipient, who reads slowly or not at all.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use client::carrier::Privacy;
use client::submit::{SubmitFailure, SubmitOptions};
use packet::SizeClass;
use tokio::task::JoinSet;

use crate::accounts::{self, DEVICES, Owner};
use crate::caller::{Caller, Mail, Wish};
use crate::pair::Pair;
use crate::world::{QUOTA_BYTES, World};

/// Resident memory that a reader which does not read may cost the entry, and the mailbox, kB; and what all that is
/// sent may cost either besides, in queues and in what the allocator keeps.
const ENTRY_MOST_KB: f64 = 3_200.0;
const MAILBOX_MOST_KB: f64 = 500.0;
const ELSE_MOST_KB: f64 = 300_000.0;
/// Packets sent to one wallet at most, far beyond its quota.
const ATTEMPTS: u64 = 100;
/// Times that a packet is tried again where only the way was busy.
const TRIES: u32 = 60;
/// Time in which all that is on its way has come as far as it can.
const SETTLE: Duration = Duration::from_secs(4);
/// How long a reader that reads at last may have to wait.
const PATIENCE: Duration = Duration::from_secs(60);

/// Sends until it is told that the mailbox is full; how many were taken.
async fn fill(sdk: &client::Network, owner: &Owner, mailbox: wallet::WalletAddress) -> Result<u64> {
    for number in 0..ATTEMPTS {
        let packet = owner.packet(number, SizeClass::M1)?;
        let mut tries = 0;
        loop {
            match sdk
                .submit(
                    &packet,
                    &[mailbox],
                    Privacy::Direct,
                    SubmitOptions::default(),
                )
                .await
            {
                Ok(_) => break,
                Err(SubmitFailure::QueueFull { quota_bytes }) => {
                    ensure!(
                        quota_bytes == QUOTA_BYTES,
                        "told of a quota of {quota_bytes}"
                    );
                    return Ok(number);
                }
                Err(error) if !error.is_transient() || tries > TRIES => return Err(error.into()),
                Err(_) => tries += 1,
            }
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
    }
    anyhow::bail!("the sender is never told that the mailbox is full")
}

/// Reads a delivery up to so many packets.
async fn read(mut mail: Mail, owner: &Owner, packets: u64) -> Result<()> {
    for expected in 0..packets {
        let (_, packet) = tokio::time::timeout(PATIENCE, mail.next_packet()).await??;
        ensure!(owner.number(&packet)? == expected, "not packet {expected}");
    }
    Ok(())
}

pub(crate) async fn play(world: &World) -> Result<String> {
    let (entry, mailbox) = (world.entry(), world.mailbox());
    let owners = accounts::open(world, world.scale.of(4, 32), mailbox).await?;
    let pair = Pair::new(world, mailbox).await?;
    let mut unread = Vec::new();
    for owner in &owners {
        for device in 0..DEVICES {
            let wish = Wish {
                device: device as u8 + 1,
                after: None,
                window_bytes: 16 << 20,
                stay: true,
            };
            unread.push(
                Caller::narrow(entry)
                    .await?
                    .collect(owner, mailbox, wish)
                    .await?,
            );
        }
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let before = (world.rss_kb(entry)?, world.rss_kb(mailbox)?);
    let work = async {
        let mut filling = JoinSet::new();
        for owner in &owners {
            let (sdk, home) = world.sdk().await?;
            let (owner, address) = (Arc::clone(owner), mailbox.address);
            filling.spawn(async move {
                let _home = home;
                fill(&sdk, &owner, address).await
            });
        }
        let mut taken = Vec::new();
        while let Some(filled) = filling.join_next().await {
            taken.push(filled??);
        }
        tokio::time::sleep(SETTLE).await;
        let now = (world.rss_kb(entry)?, world.rss_kb(mailbox)?);
        Ok((taken, now))
    };
    let ((taken, now), service) = pair.beside(work).await?;
    let readers = unread.len() as f64;
    let grown = ((now.0 - before.0) as f64, (now.1 - before.1) as f64);
    // One begins to read, and a device comes that has read nothing yet: both get everything, in order.
    let (owner, packets) = (&owners[0], taken.iter().min().copied().unwrap_or(0));
    ensure!(packets > 0, "nothing was taken");
    let late = unread.swap_remove(0);
    read(late, owner, packets)
        .await
        .context("a reader that reads at last")?;
    for (place, grown, each) in [
        ("entry", grown.0, ENTRY_MOST_KB),
        ("mailbox", grown.1, MAILBOX_MOST_KB),
    ] {
        let most = ELSE_MOST_KB + each * readers;
        ensure!(
            grown < most,
            "{readers} readers that do not read cost their {place} {grown} kB"
        );
    }
    Ok(format!(
        "unread: {readers} readers that do not read, {} packets of 1 MiB sent to them until the quota of {} MiB was \
         said to be full; {:.0} MB at the entry, {:.0} MB at the mailbox; one that read at last got all; {service}",
        taken.iter().sum::<u64>(),
        QUOTA_BYTES >> 20,
        grown.0 / 1e3,
        grown.1 / 1e3
    ))
}
