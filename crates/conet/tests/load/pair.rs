//! Two honest wallets that go on writing through the same nodes, whatever others do to those.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use client::carrier::{Collection, Privacy};
use client::submit::SubmitOptions;
use packet::{Draft, MessageId, Packet, Sender, SessionId};
use parking_lot::Mutex;
use protocol::answer::Item;
use rand::rngs::OsRng;
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use wallet::CertificateKind;

use crate::accounts::{Owner, now_ms};
use crate::world::{Spot, World};

/// How long the writer rests after each message.
const REST: Duration = Duration::from_millis(20);
/// Times that a message is tried before the network counts as down.
const TRIES: u32 = 120;
const BETWEEN_TRIES: Duration = Duration::from_millis(500);
/// How long the last of the messages may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// How the two fared.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Service {
    messages: usize,
    /// Attempts that were refused or got no answer; the message went through later.
    in_vain: u32,
    half: Duration,
    almost_all: Duration,
    longest: Duration,
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |time: Duration| time.as_secs_f64() * 1e3;
        write!(
            f,
            "{} messages of two others, {} tries in vain, p50 {:.1} ms, p99 {:.1} ms, longest {:.0} ms",
            self.messages,
            self.in_vain,
            ms(self.half),
            ms(self.almost_all),
            ms(self.longest)
        )
    }
}

#[derive(Debug, Default)]
struct Log {
    sent: HashMap<u64, Instant>,
    heard: HashMap<u64, (u32, Instant)>,
    in_vain: u32,
}

struct Shared {
    alice: Owner,
    bob: Owner,
    mailbox: Spot,
    log: Mutex<Log>,
    quiet: AtomicBool,
}

/// Alice writes to bob, whose mailbox is given.
pub(crate) struct Pair {
    shared: Arc<Shared>,
    writes: (client::Network, TempDir),
    listens: JoinHandle<()>,
    _bobs: TempDir,
}

impl Drop for Pair {
    fn drop(&mut self) {
        self.listens.abort();
    }
}

impl Pair {
    pub(crate) async fn new(world: &World, mailbox: &Spot) -> Result<Self> {
        let (bobs, home) = world.sdk().await?;
        let shared = Arc::new(Shared {
            alice: Owner::new(CertificateKind::V6, mailbox.address)?,
            bob: Owner::new(CertificateKind::V6, mailbox.address)?,
            mailbox: mailbox.clone(),
            log: Mutex::default(),
            quiet: AtomicBool::new(false),
        });
        bobs.open_mailbox(shared.bob.keys(), mailbox.address)
            .await?;
        let listens = tokio::spawn(listen(Arc::clone(&shared), bobs));
        Ok(Self {
            shared,
            writes: world.sdk().await?,
            listens,
            _bobs: home,
        })
    }

    /// Lets alice write until `work` is done; every message that was acknowledged must arrive, once.
    pub(crate) async fn beside<T>(
        &self,
        work: impl Future<Output = Result<T>>,
    ) -> Result<(T, Service)> {
        let writes = tokio::spawn(write(Arc::clone(&self.shared), self.writes.0.clone()));
        let done = work.await;
        self.shared.quiet.store(true, Ordering::Release);
        let done = done?;
        writes.await??;
        let until = Instant::now() + PATIENCE;
        while {
            let log = self.shared.log.lock();
            log.heard.len() < log.sent.len()
        } {
            ensure!(
                Instant::now() < until,
                "acknowledged messages of the honest pair are missing"
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok((done, self.judge()?))
    }

    fn judge(&self) -> Result<Service> {
        let log = self.shared.log.lock();
        let mut took = Vec::new();
        for (number, sent) in &log.sent {
            match log.heard.get(number) {
                Some((1, heard)) => took.push(heard.duration_since(*sent)),
                other => bail!("message {number} of the honest pair: {other:?}"),
            }
        }
        ensure!(!took.is_empty(), "the honest pair got nothing through");
        took.sort();
        Ok(Service {
            messages: took.len(),
            in_vain: log.in_vain,
            half: took[took.len() / 2],
            almost_all: took[took.len() * 99 / 100],
            longest: took[took.len() - 1],
        })
    }
}

impl Shared {
    fn seal(&self, number: u64) -> Result<Packet> {
        let draft = Draft {
            message_id: MessageId::random(&mut OsRng),
            time_ms: now_ms(),
            content_type: "text/plain".into(),
            session: SessionId::from_bytes([1; 8]),
            sequence: number,
            reply: None,
            body: vec![b'x'; 1_000].into(),
        };
        let sender = Sender {
            wallet: &self.alice.key,
            certificate: &self.alice.certificate,
            binding: &self.alice.binding,
        };
        let to = self.bob.certificate.certificate();
        Ok(packet::seal(&draft, Some(&sender), to, &mut OsRng)?)
    }
}

async fn write(shared: Arc<Shared>, sdk: client::Network) -> Result<()> {
    let mut number = 0;
    while !shared.quiet.load(Ordering::Acquire) {
        let begun = Instant::now();
        let packet = shared.seal(number)?;
        let mut tries = 0;
        loop {
            let to = [shared.mailbox.address];
            let submitted = sdk.submit(&packet, &to, Privacy::Relayed, SubmitOptions::default());
            match submitted.await {
                Ok(_) => break,
                Err(error) if !error.is_transient() || tries > TRIES => return Err(error.into()),
                Err(_) => tries += 1,
            }
            tokio::time::sleep(BETWEEN_TRIES).await;
        }
        {
            let mut log = shared.log.lock();
            log.in_vain += tries;
            log.sent.insert(number, begun);
        }
        number += 1;
        tokio::time::sleep(REST).await;
    }
    Ok(())
}

/// Collects for as long as it is let, anew whenever a delivery ends.
async fn listen(shared: Arc<Shared>, sdk: client::Network) {
    let mut after = None;
    loop {
        let collection = Collection {
            mailbox: shared.mailbox.address,
            device: [1; 16],
            after,
            window_bytes: 1 << 20,
            stay: true,
        };
        if let Ok(mut delivery) = sdk.collect(shared.bob.keys(), collection).await {
            while let Ok(Some(item)) = delivery.next().await {
                let Item::Packet { cursor, packet, .. } = item else {
                    continue;
                };
                let heard = Instant::now();
                if let Ok(opened) = packet::open(&packet, &shared.bob.certificate)
                    && let Some(envelope) = opened.envelope
                {
                    let mut log = shared.log.lock();
                    let entry = log.heard.entry(envelope.sequence).or_insert((0, heard));
                    entry.0 += 1;
                }
                after = Some(cursor);
                // What is not acknowledged takes room: it is acknowledged with the next.
                let mailbox = shared.mailbox.address;
                let _later = sdk
                    .acknowledge(shared.bob.keys(), mailbox, [1; 16], cursor)
                    .await;
            }
        }
        tokio::time::sleep(BETWEEN_TRIES).await;
    }
}
