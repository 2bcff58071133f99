//! The daemon of a CONET node: it forwards packets by the key ID they show, keeps mailboxes, and opens
//! only the layers that are sealed to itself.
//!
//! The folders are the way of a packet: it comes in at `intake` (a client's exchange) or `links`
//! (another node), `forward` decides and carries it on, `mailbox` stores and delivers it.
//!
//! **Invariant**: nothing on that way asks a ledger; the index of the `ledger` crate is synced beside
//! it. **Invariant**: no log line at `info` or above names a wallet, a key ID, a node or an address.
//!
//! [`run`] is the whole interface; [`NodeConfig`] and [`NodeKeys`] are what it needs. [`run_observed`] tells
//! an [`Observer`] all that the node gets to see.

mod admin;
mod ceiling;
mod clock;
mod config;
mod descriptors;
mod forward;
mod intake;
mod links;
mod mailbox;
mod metrics;
mod observer;
mod offers;
mod rendezvous;
mod routes;
mod store;
mod streams;
mod tables;

/// What a node needs to be a bridge.
pub use bridge;
pub use config::{MailboxConfig, MailboxStore, NodeConfig, NodeKeys};
pub use observer::{Observer, Sight};

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ledger::{BridgeOffer, Index, Registrar, Syncer};
use protocol::freshness::Freshness;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::clock::now_ms;
use crate::config::{DRAIN_TIMEOUT, MAX_NONCES};
use crate::forward::{Router, RouterParts};
use crate::intake::{Bare, Bodies, Intake, Sessions, Unread};
use crate::links::{Links, Local};
use crate::mailbox::{Accounts, MailboxParts, Mailboxes};
use crate::metrics::Metrics;
use crate::observer::Eyes;
use crate::offers::Announcer;
use crate::routes::RouteSubmitter;
use crate::streams::Streams;
use crate::tables::{Ledger, NodeTables};

/// How often sessions, queues and accounts are looked through for what is past its time.
const HOUSEKEEPING_EVERY: Duration = Duration::from_secs(60);

/// Why a node could not start.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum NodeError {
    /// The data directory or a file in it can't be used.
    #[error("can't use {path}: {source}")]
    Files {
        /// The directory or file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A port is taken or not allowed.
    #[error("can't listen on {address}: {source}")]
    Listen {
        /// The address asked for.
        address: std::net::SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// The index of the ledger can't be opened.
    #[error("can't use the index of the ledger, {path}", path = .path.display())]
    Index {
        /// Its file.
        path: PathBuf,
        /// Why not.
        source: ledger::IndexError,
    },
    /// The ledger can't be spoken to at all.
    #[error("can't follow the ledger")]
    Sync(#[from] ledger::SyncError),
    /// The mailboxes' store can't be opened.
    #[error("can't open the mailboxes")]
    Store(#[from] ::mailbox::OpenError),
    /// The mailboxes' store on NATS can't be opened.
    #[cfg(feature = "nats")]
    #[error("can't open the mailboxes on NATS")]
    Nats(#[from] mailbox_nats::OpenError),
    /// This program was built without the store that was asked for.
    #[error("this program was built without the store on NATS: build it with the feature `nats`")]
    NoNats,
    /// The node can't be a bridge.
    #[error("can't be a bridge")]
    Bridge(#[from] bridge::SetupError),
    /// The mailboxes' accounts can't be read.
    #[error("can't read the mailboxes' accounts")]
    Accounts(#[from] ::mailbox::DirectoryError),
}

/// Runs a node until `shutdown`, then lets what is under way finish and closes its stores.
///
/// # Errors
/// [`NodeError`] where it could not start; once it runs it does not fail.
pub async fn run(
    config: NodeConfig,
    keys: NodeKeys,
    shutdown: CancellationToken,
) -> Result<(), NodeError> {
    start(config, keys, Eyes::default(), shutdown).await
}

/// As [`run`], and tells `observer` what the node sees.
///
/// # Errors
/// As [`run`].
///
/// # Security
/// The observer gets addresses of clients and opened commands: never write down what it hears of others.
pub async fn run_observed(
    config: NodeConfig,
    keys: NodeKeys,
    observer: Arc<dyn Observer>,
    shutdown: CancellationToken,
) -> Result<(), NodeError> {
    start(config, keys, Eyes::of(observer), shutdown).await
}

async fn start(
    config: NodeConfig,
    keys: NodeKeys,
    eyes: Eyes,
    shutdown: CancellationToken,
) -> Result<(), NodeError> {
    let files = |path: PathBuf| move |source| NodeError::Files { path, source };
    std::fs::create_dir_all(&config.data_dir).map_err(files(config.data_dir.clone()))?;
    let listen = |address| async move {
        TcpListener::bind(address)
            .await
            .map_err(|source| NodeError::Listen { address, source })
    };
    let (listener, admin_listener) = (
        listen(config.listen).await?,
        listen(config.admin_listen).await?,
    );

    let metrics = Arc::new(Metrics::default());
    let tasks = TaskTracker::new();
    let local = Arc::new(Local {
        me: keys.wallet.address(),
        transport_secret: keys.transport_secret(),
        eyes: eyes.clone(),
    });
    let certificate = Arc::new(keys.certificate);

    let path = config.data_dir.join("index.db");
    let index = match Index::open(&path, &config.network) {
        Ok(index) => index,
        Err(source) => return Err(NodeError::Index { path, source }),
    };
    let syncer = Syncer::new(index.clone(), &config.network)?;
    let ledger = Arc::new(Ledger::new(index));
    {
        let (ledger, stop) = (Arc::clone(&ledger), shutdown.clone());
        tasks.spawn(ledger.follow(stop));
    }

    let store::Opened {
        store,
        directory,
        changes,
        claims,
    } = store::open(&config, local.me).await?;
    let accounts = Arc::new(Accounts::load(directory, Arc::clone(&metrics)).await?);
    if let Some(changes) = changes {
        let (accounts, stop) = (Arc::clone(&accounts), shutdown.clone());
        tasks.spawn(async move { accounts.follow(changes, stop).await });
    }
    // One for all that is paid for, so that its transactions don't use a nonce twice.
    let registrar = match Registrar::new(&config.network, &keys.wallet) {
        Ok(registrar) => Some(Arc::new(registrar)),
        Err(error) => {
            tracing::error!(target: "node", %error, "nothing can be put on the ledger");
            None
        }
    };
    let payer = registrar.clone().filter(|_| config.submit_routes);
    let mailboxes = Mailboxes::new(MailboxParts {
        me: local.me,
        config: config.mailbox.clone(),
        accounts: Arc::clone(&accounts),
        store,
        is_shared: config.mailbox.store != MailboxStore::Files,
        certificate: Arc::clone(&certificate),
        challenge_secret: keys.wallet.derive("node/challenge"),
        routes: RouteSubmitter::start(
            &config.network,
            payer,
            Arc::clone(&metrics),
            shutdown.clone(),
        ),
        metrics: Arc::clone(&metrics),
        eyes,
    });

    let ceiling_file = config.data_dir.join("ceiling");
    let found = ceiling::read(&ceiling_file).map_err(files(ceiling_file.clone()))?;
    let mut freshness = Freshness::resume(found, MAX_NONCES);
    ceiling::raise(&ceiling_file, &mut freshness).map_err(files(ceiling_file.clone()))?;

    let tables = NodeTables {
        me: local.me,
        my_keys: certificate.certificate().key_ids(),
        ledger: Arc::clone(&ledger),
        accounts,
    };
    // Dialled links outlive the shutdown until what is under way has its answers.
    let hang_up = CancellationToken::new();
    let _at_last = hang_up.clone().drop_guard();
    let links = Links::new(
        Arc::clone(&local),
        Arc::clone(&ledger),
        Arc::clone(&metrics),
        hang_up,
    );
    let bridge = config.bridge.clone().map(bridge::Bridge::new).transpose()?;
    let streams = Arc::new(Streams::new(bridge, shutdown.clone()));
    let router = Arc::new(Router::new(RouterParts {
        local,
        tables,
        ledger,
        links: Arc::new(links),
        mailboxes: Arc::clone(&mailboxes),
        certificate,
        freshness,
        claims,
        streams: Arc::clone(&streams),
        stamp_effort: config.mailbox.stamp_effort,
        metrics: Arc::clone(&metrics),
        shutdown: shutdown.clone(),
    }));
    let intake = Arc::new(Intake {
        router: Arc::clone(&router),
        sessions: Sessions::new(metrics),
        site: Box::new(Bare),
        plain_path: config.plain_intake.clone(),
        links: TaskTracker::new(),
        bodies: Bodies::default(),
        unread: Unread::default(),
        connections: descriptors::connections(),
    });

    if let (Some(registrar), Some(_)) = (registrar, config.network.contracts.bridge_offers) {
        let announcer = Announcer {
            me: router.local().me,
            wanted: config.bridge.as_ref().map(|bridge| BridgeOffer {
                price_wei: config.price_wei,
                policy: bridge.policy.to_string().into(),
            }),
            index: router.ledger().index().clone(),
            registrar,
            confirmations: config.network.confirmations,
        };
        tasks.spawn(announcer.run(shutdown.clone()));
    }
    tasks.spawn(syncer.run(shutdown.clone().cancelled_owned()));
    tasks.spawn(admin::run(admin_listener, Arc::clone(&router)));
    tasks.spawn(ceiling::keep(ceiling_file.clone(), Arc::clone(&router)));
    tasks.spawn(housekeeping(Arc::clone(&intake), Arc::clone(&mailboxes)));
    tracing::info!(target: "node", "the node is up");
    intake.clone().run(listener).await;

    tracing::info!(target: "node", "the node stops");
    tasks.close();
    intake.links.close();
    let all = async { tokio::join!(tasks.wait(), intake.links.wait(), streams.ended()) };
    let _slow = tokio::time::timeout(2 * DRAIN_TIMEOUT, all).await;
    mailboxes.close().await;
    // Nothing is obeyed after this, though a slow connection may still be open.
    let closing = router.freshness().lock().close();
    if let Err(error) = ceiling::write(&ceiling_file, closing) {
        tracing::warn!(target: "node", %error, "the closing time could not be written");
    }
    Ok(())
}

async fn housekeeping(intake: Arc<Intake>, mailboxes: Arc<Mailboxes>) {
    let shutdown = intake.router.shutdown().clone();
    let mut every = tokio::time::interval(HOUSEKEEPING_EVERY);
    loop {
        tokio::select! {
            biased;
            () = shutdown.cancelled() => return,
            _ = every.tick() => {}
        }
        intake.sessions.sweep(now_ms());
        mailboxes.expire().await;
    }
}
