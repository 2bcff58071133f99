//! Keeps a wallet's standing in the network: certificate, mailboxes, route, receipts, outbox.
//!
//! Each step is written down before the network hears of it and repeated until the network has, so that a
//! crash at any point leaves nothing half done for long.

mod draw;
mod routine;

pub(crate) use routine::Passes;

use std::sync::Arc;
use std::time::Duration;

use ledger::{NetworkFile, RouteError, RouteRecord, SignedRoute};
use packet::{MessageId, SessionId};
use protocol::NodeId;
use protocol::command::Route;
use rand::RngCore as _;
use rand::rngs::OsRng;
use wallet::MAX_MAILBOXES;

use crate::carrier::{Carrier, LookUpError, Privacy, RequestError, Target};
use crate::home::identity::{Identity, Retiring};
use crate::home::{Account, Home, HomeError, identity};
use crate::send::Outbox;
use crate::state::{OutboxItem, StateError, What};

/// Content type of the message by which one device tells the others of new subkeys.
pub(crate) const IDENTITY: &str = "application/vnd.conet.identity";

/// How long subkeys are used.
const ROTATION_MS: u64 = 7 * DAY_MS;
/// How long a second device waits for the first to rotate.
const SECONDARY_ROTATION_MS: u64 = 21 * DAY_MS;
/// Mailboxes take packets to superseded subkeys for a day and keep them for two weeks; one day more for good measure.
const SUPERSEDED_MS: u64 = (1 + 14 + 1) * DAY_MS;
/// How long former mailboxes are still collected from: senders may have old routes, and mailboxes keep what they have.
const RETIRING_MS: u64 = (1 + 14 + 1) * DAY_MS;
/// Former mailboxes at most; the oldest go first.
const MAX_RETIRING: usize = 8;
/// How long a route is good for; each rotation makes a new one.
const ROUTE_MS: u64 = 365 * DAY_MS;
/// How long the last route of a wallet that gives up its mailboxes is good for: long enough for a clock that is off.
const ENDING_ROUTE_MS: u64 = 60 * 60 * 1_000;
/// Superseded subkeys stay in the route that long: packets to them may be under way.
const ROUTE_SUPERSEDED_MS: u64 = 2 * DAY_MS;
/// Key IDs in a route at most.
const MAX_ROUTE_KEYS: usize = 8;
/// How long to wait for the network when a wallet's standing is changed.
const READY_PATIENCE: Duration = Duration::from_secs(30);
/// How long a device waits for what another one says of new subkeys.
const DEVICES_PATIENCE: Duration = Duration::from_secs(10);
const DAY_MS: u64 = 24 * 60 * 60 * 1_000;

/// Why a wallet's standing can't be kept or changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UpkeepError {
    /// The home can't be used.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// The wallet's state can't be used.
    #[error(transparent)]
    State(#[from] StateError),
    /// The network can't be asked what it knows of the wallet.
    #[error("what the network knows of this wallet can't be found out")]
    LookUp(#[from] LookUpError),
    /// No such node is on the ledger.
    #[error("no node {0} is on the ledger: check its address")]
    UnknownNode(NodeId),
    /// A mailbox did not take the certificate.
    #[error("the mailbox {mailbox} does not know of the wallet's certificate yet")]
    Mailbox {
        /// Which.
        mailbox: NodeId,
        /// Why.
        #[source]
        cause: RequestError,
    },
    /// Too few nodes are known.
    #[error("the network can't be reached")]
    Network(#[source] RequestError),
    /// The route can't be signed.
    #[error("the wallet's route can't be signed")]
    Route(#[from] RouteError),
    /// No mailbox put the route on the ledger.
    #[error("no mailbox put the wallet's route on the ledger")]
    NotListed(#[source] RequestError),
    /// More mailboxes than a wallet may have, or none.
    #[error("a wallet has 1 to {MAX_MAILBOXES} mailboxes, not {0}")]
    MailboxCount(usize),
    /// The network has too few nodes.
    #[error("the network has only {known} nodes that could be mailboxes, {wanted} are wanted")]
    TooFewNodes {
        /// Nodes known.
        known: usize,
        /// Mailboxes wanted.
        wanted: usize,
    },
    /// Another device of the wallet has newer subkeys.
    #[error(
        "another device has newer keys of this wallet: export the wallet there and import it here again"
    )]
    Outdated,
    /// No network is known whose ledger could list the route.
    #[error("this client has no ledger to list a route on")]
    NoLedger,
}

/// Where routes are listed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RouteLedger {
    chain_id: u64,
    registry: wallet::WalletAddress,
}

impl RouteLedger {
    pub(crate) fn of(network: &NetworkFile) -> Self {
        Self {
            chain_id: network.chain_id,
            registry: network.contracts.route_registry,
        }
    }
}

/// Keeps one wallet's standing; clones share it.
#[derive(Clone)]
pub(crate) struct Upkeep {
    pub(crate) home: Home,
    pub(crate) account: Arc<Account>,
    pub(crate) carrier: Arc<dyn Carrier>,
    pub(crate) outbox: Outbox,
    pub(crate) ledger: Option<RouteLedger>,
}

impl Upkeep {
    /// Finds out what a restored wallet said in its former life, and goes above it.
    pub(crate) async fn settle(&self) -> Result<(), UpkeepError> {
        if !self.account.identity()?.standing.unsettled {
            return Ok(());
        }
        let ready = self.carrier.ready(READY_PATIENCE).await;
        ready.map_err(UpkeepError::Network)?;
        let target = Target {
            wallet: self.account.address(),
            fingerprint: None,
            mailboxes: Vec::new(),
        };
        let known = match self.carrier.look_up(&target).await {
            Ok(known) => known,
            // It never had a mailbox, or lost them all: it is as good as new, and asked for again next time.
            Err(LookUpError::NotFound) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let now_ms = self.now_ms();
        self.change(move |account, identity| {
            let above = known.binding.sequence;
            let mailboxes = known.mailboxes;
            identity.bind(account.key(), above, mailboxes, now_ms)?;
            identity.standing.unsettled = false;
            identity.standing.restored = true;
            identity.standing.listed = true;
            Ok(())
        })
        .await
    }

    /// Whether the owner is still to hear that mail to the wallet's former keys is lost; then that is their chance.
    pub(crate) async fn take_restored(&self) -> Result<bool, UpkeepError> {
        if !self.account.identity()?.standing.restored {
            return Ok(false);
        }
        self.change(|_, identity| {
            identity.standing.restored = false;
            Ok(())
        })
        .await?;
        Ok(true)
    }

    /// Does what is due: rotates, destroys, announces, lists.
    pub(crate) async fn maintain(&self) -> Result<(), UpkeepError> {
        self.settle().await?;
        self.compare_with_other_devices().await?;
        let now_ms = self.now_ms();
        let identity = self.account.identity()?;
        let standing = &identity.standing;
        let every = if standing.secondary {
            SECONDARY_ROTATION_MS
        } else {
            ROTATION_MS
        };
        if !identity.binding.mailboxes.is_empty()
            && now_ms.saturating_sub(standing.rotated_ms) >= every
        {
            self.change(move |account, identity| identity.rotate(account.key(), 0, now_ms))
                .await?;
            self.tell_devices(&identity).await?;
        }
        self.destroy_superseded().await?;
        self.let_go().await?;
        self.announce().await?;
        self.list().await
    }

    /// Fails if another device has rotated and this one did not hear of it: it must not rotate too, and can't read
    /// what is sealed to the new subkeys.
    async fn compare_with_other_devices(&self) -> Result<(), UpkeepError> {
        if !self.account.identity()?.standing.shared {
            return Ok(());
        }
        for wait in [DEVICES_PATIENCE, Duration::ZERO] {
            let own = self.account.contact_uri()?;
            let known = match self.carrier.look_up(&Target::from(&own)).await {
                Ok(known) => known,
                Err(LookUpError::NotFound) => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            if known.binding.sequence <= self.account.identity()?.binding.sequence {
                return Ok(());
            }
            // The message with the new subkeys may be on its way.
            tokio::time::sleep(wait).await;
        }
        Err(UpkeepError::Outdated)
    }

    /// Replaces the subkeys now.
    pub(crate) async fn rotate(&self) -> Result<(), UpkeepError> {
        self.settle().await?;
        self.compare_with_other_devices().await?;
        let before = self.account.identity()?;
        let now_ms = self.now_ms();
        self.change(move |account, identity| identity.rotate(account.key(), 0, now_ms))
            .await?;
        self.tell_devices(&before).await?;
        self.announce().await?;
        self.list().await
    }

    /// Gives the wallet these mailboxes, and lists them on the ledger if that is wanted.
    pub(crate) async fn set_mailboxes(
        &self,
        mailboxes: Vec<NodeId>,
        listed: bool,
    ) -> Result<(), UpkeepError> {
        self.replace_mailboxes(mailboxes, listed, &[]).await
    }

    /// As [`Self::set_mailboxes`]; those in `unused` never had an account, so nothing is collected from them.
    async fn replace_mailboxes(
        &self,
        mailboxes: Vec<NodeId>,
        listed: bool,
        unused: &[NodeId],
    ) -> Result<(), UpkeepError> {
        if mailboxes.is_empty() || mailboxes.len() > MAX_MAILBOXES {
            return Err(UpkeepError::MailboxCount(mailboxes.len()));
        }
        if listed && self.ledger.is_none() {
            return Err(UpkeepError::NoLedger);
        }
        self.settle().await?;
        let before = self.account.identity()?;
        for mailbox in &mailboxes {
            if !before.binding.mailboxes.contains(mailbox) && !self.carrier.knows(mailbox).await {
                return Err(UpkeepError::UnknownNode(*mailbox));
            }
        }
        let now_ms = self.now_ms();
        let unused = unused.to_vec();
        self.change(move |account, identity| {
            retire(identity, &mailboxes, now_ms);
            let retiring = &mut identity.standing.retiring;
            retiring.retain(|former| !unused.contains(&former.node));
            identity.standing.unsettled = false;
            identity.standing.listed = listed;
            if identity.binding.mailboxes != mailboxes {
                identity.bind(account.key(), 0, mailboxes, now_ms)?;
            }
            Ok(())
        })
        .await?;
        self.tell_devices(&before).await?;
        self.announce().await?;
        self.list().await
    }

    /// Takes the wallet off its mailboxes: no more mail, except what is under way.
    pub(crate) async fn clear_mailboxes(&self) -> Result<(), UpkeepError> {
        let now_ms = self.now_ms();
        self.change(move |account, identity| {
            if identity.binding.mailboxes.is_empty() {
                return Ok(());
            }
            retire(identity, &[], now_ms);
            identity.bind(account.key(), 0, Vec::new(), now_ms)
        })
        .await?;
        self.list().await
    }

    /// Picks mailboxes at random.
    pub(crate) async fn pick_mailboxes(&self, wanted: usize) -> Result<Vec<NodeId>, UpkeepError> {
        let ready = self.carrier.ready(READY_PATIENCE).await;
        ready.map_err(UpkeepError::Network)?;
        let mut nodes = self.carrier.nodes();
        nodes.truncate(wanted);
        if nodes.len() < wanted {
            return Err(UpkeepError::TooFewNodes {
                known: nodes.len(),
                wanted,
            });
        }
        Ok(nodes)
    }

    /// Tells mailboxes of the binding that have not heard of it; tries all before it fails.
    async fn announce(&self) -> Result<(), UpkeepError> {
        let identity = self.account.identity()?;
        let sequence = identity.binding.sequence;
        let mut failure = None;
        for mailbox in identity.binding.mailboxes.iter().copied() {
            if identity.standing.announced.contains(&mailbox) {
                continue;
            }
            match self.carrier.open_mailbox(identity.owner(), mailbox).await {
                Ok(()) => {
                    self.change(move |_, identity| {
                        // Another process may have gone on meanwhile.
                        if identity.binding.sequence == sequence {
                            identity.standing.announced.push(mailbox);
                        }
                        Ok(())
                    })
                    .await?;
                }
                Err(cause) => {
                    failure = failure.or(Some(UpkeepError::Mailbox { mailbox, cause }));
                }
            }
        }
        failure.map_or(Ok(()), Err)
    }

    /// Has a mailbox put the route on the ledger, if it is wanted there and is not yet. A wallet without
    /// mailboxes has its former ones put a route there that is soon over.
    async fn list(&self) -> Result<(), UpkeepError> {
        let identity = self.account.identity()?;
        let sequence = identity.binding.sequence;
        if !identity.standing.listed || identity.standing.route_sequence == Some(sequence) {
            return Ok(());
        }
        let Some(ledger) = self.ledger else {
            return Ok(());
        };
        let record = route_of(&identity, self.now_ms());
        let carriers = record.mailboxes.clone();
        if carriers.is_empty() {
            return Ok(());
        }
        let ends = identity.binding.mailboxes.is_empty();
        let signed =
            SignedRoute::sign(record, self.account.key(), ledger.chain_id, ledger.registry)?;
        let route = Route {
            wallet: signed.route.wallet,
            fingerprint: signed.route.fingerprint,
            key_ids: signed.route.key_ids,
            mailboxes: signed.route.mailboxes,
            sequence: signed.route.sequence,
            expiry_s: signed.route.expiry_s,
        };
        let mut failure = None;
        for mailbox in carriers {
            let (owner, signature) = (identity.owner(), signed.signature);
            let submitted = self.carrier.submit_route(owner, mailbox, &route, signature);
            match submitted.await {
                Ok(()) => {
                    return self
                        .change(move |_, identity| {
                            identity.standing.route_sequence = Some(sequence);
                            if ends && identity.binding.sequence == sequence {
                                identity.standing.listed = false;
                            }
                            Ok(())
                        })
                        .await;
                }
                Err(cause) => failure = failure.or(Some(cause)),
            }
        }
        failure.map_or(Ok(()), |cause| Err(UpkeepError::NotListed(cause)))
    }

    /// Destroys the secrets of subkeys that nothing under way can be sealed to any more.
    async fn destroy_superseded(&self) -> Result<(), UpkeepError> {
        let before_s = self.now_ms().saturating_sub(SUPERSEDED_MS) / 1_000;
        let identity = self.account.identity()?;
        if !(identity.secret.superseded().iter()).any(|subkey| subkey.since_s() < before_s) {
            return Ok(());
        }
        self.change(move |_, identity| {
            identity.secret.destroy_superseded_before(before_s);
            Ok(())
        })
        .await
    }

    /// Closes the accounts at former mailboxes whose time is over.
    async fn let_go(&self) -> Result<(), UpkeepError> {
        let now_ms = self.now_ms();
        let identity = self.account.identity()?;
        for former in &identity.standing.retiring {
            if former.until_ms > now_ms {
                continue;
            }
            // One that is gone for good can't be told; it forgets by itself.
            let closed = self.carrier.close_mailbox(identity.owner(), former.node);
            let _ = closed.await;
            let node = former.node;
            self.change(move |_, identity| {
                identity.standing.retiring.retain(|r| r.node != node);
                Ok(())
            })
            .await?;
        }
        Ok(())
    }

    /// Sends the new identity to the wallet's other devices: by a message to the wallet itself, which they open
    /// with the subkeys that they have.
    async fn tell_devices(&self, before: &Identity) -> Result<(), UpkeepError> {
        use base64::Engine as _;
        let identity = self.account.identity()?;
        if !identity.standing.shared || before.binding.mailboxes.is_empty() {
            return Ok(());
        }
        let wallet = self.account.address();
        let sealed = identity::seal(&identity, wallet, self.account.vault());
        let mut session = [0; 8];
        OsRng.fill_bytes(&mut session);
        let item = OutboxItem {
            to: wallet,
            fingerprint: Some(before.binding.fingerprint),
            mailboxes: before.binding.mailboxes.clone(),
            privacy: Privacy::Relayed,
            copies: 1,
            signed: true,
            what: What::Message {
                content_type: IDENTITY.to_owned(),
                text: base64::engine::general_purpose::STANDARD.encode(sealed),
                session,
                sequence: 0,
                time_ms: self.now_ms(),
            },
        };
        let id = MessageId::random(&mut OsRng);
        self.outbox.enqueue(id, item, None, None).await?;
        // Before the new subkeys are announced, while the old ones are what the mailbox gives.
        self.outbox.flush_one(id).await?;
        Ok(())
    }

    async fn change(
        &self,
        change: impl FnOnce(&Account, &mut Identity) -> Result<(), HomeError> + Send + 'static,
    ) -> Result<(), UpkeepError> {
        let account = Arc::clone(&self.account);
        let changed = tokio::task::spawn_blocking(move || {
            account.change_identity(|identity| change(&account, identity))
        });
        match changed.await {
            Ok(changed) => Ok(changed?),
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => std::future::pending().await,
            },
        }
    }

    fn now_ms(&self) -> u64 {
        self.home.clock().now_ms()
    }
}

/// Notes which mailboxes are given up, and which are no longer.
fn retire(identity: &mut Identity, next: &[NodeId], now_ms: u64) {
    let until_ms = now_ms.saturating_add(RETIRING_MS);
    let former = identity.binding.mailboxes.clone();
    let retiring = &mut identity.standing.retiring;
    retiring.retain(|r| !next.contains(&r.node) && !former.contains(&r.node));
    let given_up = former.into_iter().filter(|node| !next.contains(node));
    retiring.extend(given_up.map(|node| Retiring { node, until_ms }));
    let surplus = retiring.len().saturating_sub(MAX_RETIRING);
    retiring.drain(..surplus);
}

/// The route that the ledger is to list: current subkeys, and those replaced a short while ago.
fn route_of(identity: &Identity, now_ms: u64) -> RouteRecord {
    let recent_s = now_ms.saturating_sub(ROUTE_SUPERSEDED_MS) / 1_000;
    let superseded = identity.secret.superseded().iter().rev();
    let recent = superseded.filter(|subkey| subkey.since_s() >= recent_s);
    let mut key_ids = identity.secret.certificate().key_ids();
    key_ids.extend(recent.map(wallet::SupersededSubkey::key_id));
    key_ids.truncate(MAX_ROUTE_KEYS);
    // The ledger takes no route without mailboxes, and none that is over already.
    let (mailboxes, good_ms) = if identity.binding.mailboxes.is_empty() {
        let former = identity.standing.retiring.iter().rev();
        let former = former.map(|former| former.node).take(MAX_MAILBOXES);
        (former.collect(), ENDING_ROUTE_MS)
    } else {
        (identity.binding.mailboxes.clone(), ROUTE_MS)
    };
    RouteRecord {
        wallet: identity.binding.wallet,
        fingerprint: identity.binding.fingerprint,
        key_ids,
        mailboxes,
        sequence: identity.binding.sequence,
        expiry_s: now_ms.saturating_add(good_ms) / 1_000,
    }
}

/// A sending session of its own.
pub(crate) fn new_session() -> SessionId {
    SessionId::random(&mut OsRng)
}
