//! The publisher: what a program holds that serves services.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use protocol::NodeId;
use protocol::rendezvous::{MAX_SERVICE_TAGS, ServiceTag};
use protocol::target::Target as ServiceTarget;
use rand::Rng as _;
use streams::{Accepter, Stream};
use tokio::sync::{Mutex, mpsc, watch};
use tokio::task::JoinSet;
use wallet::WalletAddress;

use super::offers::Worker;
use super::serving::Serving;
use super::slot::{Slot, SlotError};
use crate::clock::unix_ms;
use crate::home::{Account, Home, HomeError};
use crate::network::Network;
use crate::upkeep::{Upkeep, UpkeepError};

/// Services of one publisher at most.
pub const MAX_SERVICES: usize = MAX_SERVICE_TAGS;
/// Offers that wait to be opened; more are passed over, and the mailbox asks another publisher.
const OFFERS: usize = 64;
/// Offers opened at once: each costs about a millisecond of a core, and anybody may make one.
const WORKERS: usize = 2;
/// Streams that wait to be taken; callers of more are told that the service is busy.
const INCOMING: usize = 64;
/// How often the wallet's standing is looked at: keys rotate, routes run out.
const UPKEEP_EVERY: Duration = Duration::from_secs(60 * 60);
/// When it is looked at again after it failed.
const UPKEEP_AGAIN: Duration = Duration::from_secs(60);

/// Why nothing can be published.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// There is no service to publish.
    #[error("no service is named")]
    NoService,
    /// More than [`MAX_SERVICES`].
    #[error("one publisher serves at most {MAX_SERVICES} names and ports, not {0}")]
    TooMany(usize),
    /// The wallet has no mailbox to be called at.
    #[error("this wallet has no mailbox yet: give it one with `conet route set --mailbox auto`")]
    NoMailbox,
    /// The client has no network of its own.
    #[error("this client has no network to publish on")]
    NoNetwork,
    /// The wallet was restored, and the network can't be asked for its mailboxes.
    #[error("this wallet was restored and its mailboxes can't be found now: try again later")]
    NotRestored(#[source] UpkeepError),
    /// What was taken can't be remembered.
    #[error(transparent)]
    Slot(#[from] SlotError),
    /// The home can't be used.
    #[error(transparent)]
    Home(#[from] HomeError),
}

/// A stream to a service of the publisher's, that a stranger has opened.
///
/// Whoever takes it says [`Stream::set_opened`] once it leads somewhere, or resets it.
#[derive(Debug)]
pub struct Incoming {
    /// The stream.
    pub stream: Stream,
    /// The name and port that it was called by.
    pub target: ServiceTarget,
    /// The wallet that the caller has proved to be, if it wanted to be known.
    pub caller: Option<WalletAddress>,
}

/// At which mailboxes a publisher is online, and why not at others.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Standing {
    /// The mailboxes that hand on offers now.
    pub online: BTreeSet<NodeId>,
    /// The others, and what went wrong last.
    pub offline: BTreeMap<NodeId, String>,
}

impl Standing {
    pub(super) fn online(&mut self, mailbox: NodeId) {
        self.offline.remove(&mailbox);
        self.online.insert(mailbox);
    }

    pub(super) fn offline(&mut self, mailbox: NodeId, reason: String) {
        self.online.remove(&mailbox);
        self.offline.insert(mailbox, reason);
    }

    pub(super) fn left(&mut self, mailbox: &NodeId) {
        self.online.remove(mailbox);
        self.offline.remove(mailbox);
    }
}

/// Serves services of a wallet. Dropping it takes them off the network, and resets no stream.
#[derive(Debug)]
pub struct Publisher {
    incoming: mpsc::Receiver<Incoming>,
    standing: watch::Receiver<Standing>,
    slot: Arc<Slot>,
    accepter: Arc<Accepter>,
    tasks: JoinSet<()>,
}

impl Publisher {
    /// The next stream that a stranger opens.
    ///
    /// # Cancel safety
    /// No stream is lost if the future is dropped.
    pub async fn next(&mut self) -> Option<Incoming> {
        self.incoming.recv().await
    }

    /// Where the publisher is online, and tells of changes.
    #[must_use]
    pub fn standing(&self) -> watch::Receiver<Standing> {
        self.standing.clone()
    }

    /// Streams that are alive.
    #[must_use]
    pub fn count(&self) -> usize {
        self.accepter.count()
    }

    /// Takes no stream any more, and remembers what it took, so that the next publisher begins without a pause.
    pub async fn close(mut self) {
        self.tasks.shutdown().await;
        let slot = Arc::clone(&self.slot);
        let closed = tokio::task::spawn_blocking(move || slot.close()).await;
        if let Ok(Err(error)) = closed {
            tracing::warn!(target: "client::services", %error, "what was taken can't be written down");
        }
    }
}

/// Begins to publish.
pub(crate) async fn publish(
    home: &Home,
    account: &Arc<Account>,
    network: Network,
    upkeep: Upkeep,
    services: Vec<ServiceTarget>,
) -> Result<Publisher, PublishError> {
    let services: BTreeSet<ServiceTarget> = services.into_iter().collect();
    match services.len() {
        0 => return Err(PublishError::NoService),
        1..=MAX_SERVICES => {}
        count => return Err(PublishError::TooMany(count)),
    }
    upkeep.settle().await.map_err(PublishError::NotRestored)?;
    if account.identity()?.binding.mailboxes.is_empty() {
        return Err(PublishError::NoMailbox);
    }
    let folder = account.folder().join("serve");
    let slot = match tokio::task::spawn_blocking(move || Slot::take(&folder)).await {
        Ok(slot) => Arc::new(slot?),
        Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
    };
    let tags = services
        .iter()
        .map(|service| ServiceTag::new(&account.address(), service))
        .collect();
    let accepter = Arc::new(Accepter::new(streams::best_cipher()));
    let (offers_in, offers) = mpsc::channel(OFFERS);
    let (incoming_in, incoming) = mpsc::channel(INCOMING);
    let (standing_in, standing) = watch::channel(Standing::default());
    let mut tasks = JoinSet::new();
    let worker = Worker {
        account: Arc::clone(account),
        network: network.clone(),
        services: Arc::new(services),
        slot: Arc::clone(&slot),
        accepter: Arc::clone(&accepter),
        offers: Arc::new(Mutex::new(offers)),
        incoming: incoming_in,
    };
    for _ in 1..WORKERS {
        tasks.spawn(worker.clone().run());
    }
    tasks.spawn(worker.run());
    let serving = Serving {
        home: home.clone(),
        account: Arc::clone(account),
        network,
        tags,
        offers: offers_in,
        standing: standing_in,
    };
    let wait = slot.wait(unix_ms());
    tasks.spawn(async move {
        // Offers from before a crash would be refused, and with them what callers make now.
        tokio::time::sleep(wait).await;
        serving.run().await;
    });
    tasks.spawn(keep_up(upkeep));
    Ok(Publisher {
        incoming,
        standing,
        slot,
        accepter,
        tasks,
    })
}

/// Keeps the wallet's standing: without, its keys would not rotate and its route would run out.
async fn keep_up(upkeep: Upkeep) {
    loop {
        let pause = match upkeep.maintain().await {
            Ok(()) => UPKEEP_EVERY,
            Err(error) => {
                tracing::debug!(target: "client::services", %error, "the wallet's route can't be kept up");
                UPKEEP_AGAIN
            }
        };
        // Several publishers of a wallet do not go about it at once.
        let jitter = rand::thread_rng().gen_range(0.75..1.25);
        tokio::time::sleep(pause.mul_f64(jitter)).await;
    }
}
