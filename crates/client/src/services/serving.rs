//! Being online at one mailbox, for as long as the publisher lives.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use protocol::NodeId;
use protocol::answer::{Item, Refusal};
use protocol::rendezvous::{MAX_OFFER_BYTES, MeetingToken, ServiceTag};
use rand::Rng as _;
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};

use super::publish::Standing;
use crate::clock::unix_ms;
use crate::collect::CollectFailure;
use crate::home::{Account, Home, HomeError};
use crate::network::Network;

/// How long to wait after the first failure, and after many.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// How often to look whether the wallet has other mailboxes now: another process may have set them.
const LOOK: Duration = Duration::from_secs(3);

/// An offer as a mailbox handed it on.
#[derive(Debug)]
pub(super) struct Handed {
    pub(super) mailbox: NodeId,
    pub(super) token: MeetingToken,
    pub(super) packet: Bytes,
    /// The mailbox's clock when it came.
    pub(super) now_ms: u64,
}

/// Why a publisher is not online at a mailbox any more.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error(transparent)]
    Delivery(#[from] CollectFailure),
    #[error(transparent)]
    Home(#[from] HomeError),
    #[error("the mailbox ended it")]
    Closed,
}

/// Keeps the publisher online at each of the wallet's mailboxes.
pub(super) struct Serving {
    pub(super) home: Home,
    pub(super) account: Arc<Account>,
    pub(super) network: Network,
    pub(super) tags: Vec<ServiceTag>,
    pub(super) offers: mpsc::Sender<Handed>,
    pub(super) standing: watch::Sender<Standing>,
}

impl Serving {
    pub(super) async fn run(self) {
        let this = Arc::new(self);
        let mut tasks: JoinSet<()> = JoinSet::new();
        let mut running: HashMap<NodeId, AbortHandle> = HashMap::new();
        loop {
            // While the identity is being replaced, as it was.
            if let Ok(wanted) = this.mailboxes() {
                running.retain(|node, task| {
                    let keep = wanted.contains(node);
                    if !keep {
                        task.abort();
                        this.standing.send_modify(|standing| standing.left(node));
                    }
                    keep
                });
                for mailbox in wanted {
                    running.entry(mailbox).or_insert_with(|| {
                        let this = Arc::clone(&this);
                        tasks.spawn(async move { this.stay_at(mailbox).await })
                    });
                }
            }
            tokio::select! {
                Some(ended) = tasks.join_next(), if !tasks.is_empty() => {
                    if let Err(Ok(panic)) = ended.map_err(tokio::task::JoinError::try_into_panic) {
                        std::panic::resume_unwind(panic);
                    }
                }
                () = tokio::time::sleep(LOOK) => {}
            }
        }
    }

    /// The wallet's mailboxes, and those that it left lately: callers may have its old route.
    fn mailboxes(&self) -> Result<Vec<NodeId>, HomeError> {
        let identity = self.account.identity()?;
        let now_ms = self.home.clock().now_ms();
        let mut wanted = identity.binding.mailboxes.clone();
        for former in &identity.standing.retiring {
            if former.until_ms > now_ms && !wanted.contains(&former.node) {
                wanted.push(former.node);
            }
        }
        Ok(wanted)
    }

    /// Is online at a mailbox, over and over.
    async fn stay_at(&self, mailbox: NodeId) {
        let mut failures = 0_u32;
        loop {
            let mut was_online = false;
            let ended = match self.be_at(mailbox, &mut was_online).await {
                Ok(()) => Ended::Closed,
                Err(ended) => ended,
            };
            tracing::debug!(target: "client::services", error = %ended, "a mailbox brings no offers now");
            if is_no_account(&ended) {
                self.open_again(mailbox).await;
            }
            let reason = crate::receive::in_full(&ended);
            self.standing
                .send_modify(|standing| standing.offline(mailbox, reason));
            failures = if was_online { 1 } else { failures + 1 };
            let doubled = FIRST_PAUSE.saturating_mul(1 << (failures - 1).min(10));
            let jitter = rand::thread_rng().gen_range(0.5..1.5);
            tokio::time::sleep(doubled.min(LONGEST_PAUSE).mul_f64(jitter)).await;
        }
    }

    async fn be_at(&self, mailbox: NodeId, was_online: &mut bool) -> Result<(), Ended> {
        let identity = self.account.identity()?;
        let tags = self.tags.clone();
        let mut delivery = self.network.serve(identity.owner(), mailbox, tags).await?;
        // By how much the mailbox's clock is ahead of this machine's.
        let mut ahead_ms = 0_i64;
        while let Some(item) = delivery.next().await? {
            match item {
                Item::Beat { node_time_ms } => {
                    let ahead = i128::from(node_time_ms) - i128::from(unix_ms());
                    ahead_ms = i64::try_from(ahead).unwrap_or(0);
                    if !std::mem::replace(was_online, true) {
                        self.standing
                            .send_modify(|standing| standing.online(mailbox));
                    }
                }
                Item::Offer { token, packet } if packet.len() <= MAX_OFFER_BYTES => {
                    let offer = Handed {
                        mailbox,
                        token,
                        packet,
                        now_ms: unix_ms().saturating_add_signed(ahead_ms),
                    };
                    if self.offers.try_send(offer).is_err() {
                        // The mailbox asks another publisher, or tells the caller.
                        tracing::debug!(target: "client::services", "an offer is passed over: too many wait");
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// The mailbox has lost the account: opens it anew.
    async fn open_again(&self, mailbox: NodeId) {
        let Ok(identity) = self.account.identity() else {
            return;
        };
        let opened = self.network.open_mailbox(identity.owner(), mailbox).await;
        if let Err(error) = opened {
            tracing::debug!(target: "client::services", %error, "a mailbox can't be opened again");
        }
    }
}

fn is_no_account(ended: &Ended) -> bool {
    use crate::carry::CarryError;
    let refusal = match ended {
        Ended::Delivery(CollectFailure::Refused(refusal)) => refusal,
        Ended::Delivery(CollectFailure::Carry(CarryError::Refused(refusal))) => refusal,
        _ => return false,
    };
    matches!(**refusal, Refusal::NotFound | Refusal::UnknownKey)
}
