//! Clients that are all cut off at the same moment, and all come back.

use std::time::Duration;

use anyhow::{Result, ensure};
use client::carrier::Privacy;
use client::submit::SubmitOptions;
use packet::SizeClass;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::accounts::{self, DEVICES};
use crate::caller::{Caller, Wish};
use crate::idle::{self, Listener};
use crate::pair::Pair;
use crate::world::World;

/// Packets that each wallet gets while its devices are connected, and again while they are not.
const PACKETS: u64 = 2;
/// Times that a client tries again which was refused.
const TRIES: u32 = 60;
const BETWEEN_TRIES: Duration = Duration::from_millis(250);

pub(crate) async fn play(world: &World) -> Result<String> {
    let (entry, mailbox) = (world.entry(), world.mailbox());
    let owners =
        accounts::open(world, world.scale.of(100, 1_000).div_ceil(DEVICES), mailbox).await?;
    let pair = Pair::new(world, mailbox).await?;
    let listeners = idle::connect(entry, mailbox, &owners).await?;
    let clients = listeners.len();
    let (sdk, _home) = world.sdk().await?;
    let send = async |numbers: std::ops::Range<u64>| {
        for owner in &owners {
            for number in numbers.clone() {
                let packet = owner.packet(number, SizeClass::K4)?;
                let options = SubmitOptions::default();
                sdk.submit(&packet, &[mailbox.address], Privacy::Direct, options)
                    .await?;
            }
        }
        anyhow::Ok(())
    };
    let work = async {
        send(0..PACKETS).await?;
        let (mut cut, mut heard) = (Vec::new(), Vec::new());
        for mut listener in listeners {
            // They are cut while some have read all, some a part and some nothing.
            let mut last = None;
            for _ in 0..(cut.len() as u64 % (PACKETS + 1)) {
                let (cursor, packet) = listener.mail.next_packet().await?;
                heard.push((cut.len(), listener.owner.number(&packet)?));
                last = Some(cursor);
            }
            let Listener {
                owner,
                device,
                mail,
            } = listener;
            cut.push((owner, device, last, mail));
        }
        let cut: Vec<_> = cut
            .into_iter()
            .map(|(owner, device, last, _mail)| (owner, device, last))
            .collect();
        send(PACKETS..2 * PACKETS).await?;

        let begun = Instant::now();
        let mut back = JoinSet::new();
        for (client, (owner, device, after)) in cut.into_iter().enumerate() {
            let (entry, mailbox) = (entry.clone(), mailbox.clone());
            back.spawn(async move {
                let wish = Wish {
                    device,
                    after,
                    window_bytes: 1 << 16,
                    stay: true,
                };
                let mut tries = 0;
                loop {
                    let served = async {
                        let mut mail = Caller::shake_hands(&entry)
                            .await?
                            .collect(&owner, &mailbox, wish)
                            .await?;
                        let packets = mail.until_caught_up().await?;
                        let numbers: Result<Vec<u64>> = packets
                            .iter()
                            .map(|(_, packet)| owner.number(packet))
                            .collect();
                        anyhow::Ok((mail, numbers?))
                    };
                    match served.await {
                        Ok((mail, numbers)) => return anyhow::Ok((client, tries, mail, numbers)),
                        Err(error) if tries > TRIES => return Err(error),
                        Err(_) => tries += 1,
                    }
                    tokio::time::sleep(BETWEEN_TRIES).await;
                }
            });
        }
        let (mut in_vain, mut open) = (0, Vec::new());
        while let Some(served) = back.join_next().await {
            let (client, tries, mail, numbers) = served??;
            in_vain += tries;
            heard.extend(numbers.into_iter().map(|number| (client, number)));
            open.push(mail);
        }
        let took = begun.elapsed();
        // Once each, whatever they had read before they were cut.
        heard.sort_unstable();
        let all: Vec<(usize, u64)> = (0..clients)
            .flat_map(|client| (0..2 * PACKETS).map(move |number| (client, number)))
            .collect();
        ensure!(
            heard == all,
            "of {} packets {} arrived, or some twice",
            all.len(),
            heard.len()
        );
        Ok((took, in_vain))
    };
    let ((took, in_vain), service) = pair.beside(work).await?;
    Ok(format!(
        "returning: {clients} clients cut at once, all served again after {took:.1?} ({in_vain} tries in vain), no packet lost or doubled; {service}"
    ))
}
