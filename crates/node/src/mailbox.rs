//! Mailboxes kept at this node: accounts, storing, and delivery to owners.
//!
//! [`Accounts`] says whose key IDs are kept here, [`Mailboxes`] stores packets for them and obeys
//! their owners; callers meet their publishers here. What is acknowledged is on stable storage; what is delivered stays until every
//! device of its owner has acknowledged it.

mod accounts;
mod deliver;
mod owner;
mod serve;

pub(crate) use accounts::Accounts;

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use mailbox::{AppendError, DeviceId, PacketStore, QueueId};
use parking_lot::Mutex;
use protocol::NodeId;
use protocol::answer::{Acknowledgement, Answer, Refusal};
use protocol::command::Subject;
use protocol::duplicates::Recent;
use protocol::frame::STAMP_BYTES;
use sha2::{Digest as _, Sha256};
use wallet::{KeyId, SecretCertificate, WalletAddress};

use crate::clock::now_ms;
use crate::config::{MAX_STORED_BYTES, MailboxConfig};
use crate::forward::Postmark;
use crate::metrics::Metrics;
use crate::observer::{Eyes, Sight};
use crate::rendezvous::Rendezvous;
use crate::routes::RouteSubmitter;
use deliver::Delivery;

/// How long a superseded key is still accepted, in milliseconds: a day, for senders that have not
/// seen the new certificate.
const SUPERSEDED_GRACE_MS: u64 = 86_400_000;
/// Wallets whose paid routes are counted.
const ROUTE_OWNERS: usize = 65_536;
/// A queue fuller than this asks for stamps.
const STAMPED_ABOVE: f64 = 0.5;

/// The mailboxes of this node.
pub(crate) struct Mailboxes {
    me: NodeId,
    config: MailboxConfig,
    accounts: Arc<Accounts>,
    store: Arc<dyn PacketStore>,
    /// Whether other processes serve the same mailboxes.
    is_shared: bool,
    certificate: Arc<SecretCertificate>,
    challenge_key: ring::hmac::Key,
    deliveries: Mutex<HashMap<(QueueId, DeviceId), Delivery>>,
    rendezvous: Arc<Rendezvous>,
    routes: RouteSubmitter,
    routes_paid: Mutex<Recent<WalletAddress, u32>>,
    metrics: Arc<Metrics>,
    eyes: Eyes,
}

/// The parts of [`Mailboxes`].
pub(crate) struct MailboxParts {
    pub(crate) me: NodeId,
    pub(crate) config: MailboxConfig,
    pub(crate) accounts: Arc<Accounts>,
    pub(crate) store: Arc<dyn PacketStore>,
    pub(crate) is_shared: bool,
    pub(crate) certificate: Arc<SecretCertificate>,
    pub(crate) challenge_secret: zeroize::Zeroizing<[u8; 32]>,
    pub(crate) routes: RouteSubmitter,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) eyes: Eyes,
}

impl Mailboxes {
    pub(crate) fn new(parts: MailboxParts) -> Arc<Self> {
        let MailboxParts {
            me,
            config,
            accounts,
            store,
            is_shared,
            certificate,
            challenge_secret,
            routes,
            metrics,
            eyes,
        } = parts;
        let challenge_key =
            ring::hmac::Key::new(ring::hmac::HMAC_SHA256, challenge_secret.as_ref());
        let deliveries = Mutex::default();
        let rendezvous = Rendezvous::new(Arc::clone(&metrics));
        Arc::new(Self {
            me,
            config,
            accounts,
            store,
            is_shared,
            certificate,
            challenge_key,
            deliveries,
            rendezvous,
            routes,
            routes_paid: Mutex::new(Recent::new(owner::ROUTES_SPAN_MS, ROUTE_OWNERS)),
            metrics,
            eyes,
        })
    }

    /// Stores a packet for everyone who holds its key ID here and acknowledges it.
    pub(crate) async fn keep(
        &self,
        node: NodeId,
        key: KeyId,
        packet: Bytes,
        stamp: Option<[u8; STAMP_BYTES]>,
    ) -> Answer {
        if packet.len() > MAX_STORED_BYTES {
            return Answer::Refused(Refusal::TooLarge);
        }
        let now = now_ms();
        let packet_hash: [u8; 32] = Sha256::digest(&packet).into();
        let acknowledge = |time_ms| {
            Acknowledgement::sign(node, packet_hash, time_ms, |m| self.certificate.sign_raw(m))
        };
        let mut refusal = Refusal::UnknownKey;
        let (mut stored_at, mut signed) = (None, None);
        for holder in self.accounts.holders(&key) {
            if let Some(since) = holder.superseded_ms
                && now.saturating_sub(since) > SUPERSEDED_GRACE_MS
            {
                refusal = Refusal::Superseded(holder.account.record());
                continue;
            }
            let queue = QueueId::new(*holder.account.wallet().as_bytes());
            if self.is_crowded(queue).await
                && !(Postmark {
                    packet: &packet,
                    stamp,
                })
                .pays(self.config.stamp_effort)
            {
                refusal = Refusal::StampRequired {
                    effort: self.config.stamp_effort,
                };
                continue;
            }
            let appending = self.store.append(queue, packet_hash, packet.clone(), now);
            // Signed while the disk is at work; it leaves only if that goes well.
            let signing = async { signed.get_or_insert_with(|| acknowledge(now)) };
            let (appended, _) = tokio::join!(biased; appending, signing);
            match appended {
                Ok(stored) => {
                    if stored.duplicate {
                        &self.metrics.duplicates
                    } else {
                        &self.metrics.stored
                    }
                    .inc();
                    self.eyes.see(Sight::Stored {
                        wallet: holder.account.wallet(),
                        packet: &packet,
                    });
                    stored_at.get_or_insert(stored.stored_at_ms);
                }
                Err(AppendError::QueueFull { bytes_quota, .. }) => {
                    refusal = Refusal::QueueFull {
                        quota_bytes: bytes_quota,
                    }
                }
                Err(AppendError::TooLarge { .. }) => refusal = Refusal::TooLarge,
                Err(AppendError::Busy) => refusal = Refusal::Busy,
                Err(error) => {
                    tracing::error!(target: "node::mailbox", %error, "a packet could not be stored");
                    refusal = Refusal::Failed;
                }
            }
        }
        match stored_at {
            Some(time_ms) => {
                // A duplicate was stored earlier.
                let signed = signed.filter(|signed| signed.time_ms == time_ms);
                Answer::Acknowledged(signed.unwrap_or_else(|| acknowledge(time_ms)))
            }
            None => Answer::Refused(refusal),
        }
    }

    async fn is_crowded(&self, queue: QueueId) -> bool {
        self.store
            .stats(queue)
            .await
            .is_ok_and(|stats| stats.quota_fraction > STAMPED_ABOVE)
    }

    /// The certificate of an account.
    pub(crate) fn look_up(&self, subject: &Subject) -> Answer {
        match self.accounts.find(subject) {
            Some(account) => Answer::Record(account.record()),
            None => Answer::Refused(Refusal::NotFound),
        }
    }

    /// Drops what is past its time; called now and then.
    pub(crate) async fn expire(&self) {
        if let Err(error) = self.store.expire(now_ms()).await {
            tracing::warn!(target: "node::mailbox", %error, "expired packets could not be dropped");
        }
        self.accounts
            .forget_superseded(now_ms().saturating_sub(self.config.ttl_ms + SUPERSEDED_GRACE_MS))
            .await;
    }

    /// Ends all deliveries and closes the stores.
    pub(crate) async fn close(&self) {
        self.deliveries.lock().clear();
        self.store.close().await;
        self.accounts.close().await;
    }
}
