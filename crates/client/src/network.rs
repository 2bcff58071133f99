//! The network as a client sees it: nodes, entries, sessions and what was looked up.

mod carrier;
mod names;
pub(crate) mod notes;

pub use notes::NotesError;

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ledger::{Index, IndexError, NetworkFile, NodeRecord, SyncError, Syncer};
use protocol::NodeId;
use tokio::sync::watch;
use wallet::WalletAddress;

use crate::carry::Courier;
use crate::clock::Clocks;
use crate::directory::{Directory, LedgerView, Node};
use crate::look_up::Certificates;
use crate::path::{Entries, PathError, propose_mailboxes};
use crate::streams::EntryLinks;
use crate::transport::{Bare, Timeouts, Transport};
use notes::Notes;

/// Nodes that open layers which a private path needs: relay and mailbox, and one that can be neither.
const MIN_OPENERS: usize = 3;

/// How often the index is looked at while its nodes are waited for, if it does not tell.
const READY_POLL: Duration = Duration::from_millis(100);

/// How long something that the index lacks waits for the first reading of the ledger.
const FIRST_READING: Duration = Duration::from_secs(10);

/// Why a network can't be opened or used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NetworkError {
    /// The ledger's index can't be opened.
    #[error("can't use the index of the ledger, {path}", path = .path.display())]
    Index {
        /// Its file.
        path: PathBuf,
        /// Why.
        source: IndexError,
    },
    /// The client's notes can't be opened.
    #[error("can't open the notes on the network")]
    Notes(#[from] NotesError),
    /// The ledger's follower can't be started.
    #[error("can't follow the ledger")]
    Syncer(#[from] SyncError),
    /// Too few nodes became known in time.
    #[error(
        "only {known} nodes of the network are known, {MIN_OPENERS} are needed: is the ledger's RPC server reachable?"
    )]
    TooFewNodes {
        /// Nodes known that can be relay or mailbox.
        known: usize,
        /// Why the ledger could not be read, if it could not.
        #[source]
        cause: Option<Arc<SyncError>>,
    },
}

/// A network, open. Clones share it; it closes with the last of them.
#[derive(Debug, Clone)]
pub struct Network {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    file: NetworkFile,
    directory: Directory,
    entries: Entries,
    transport: Transport,
    clocks: Arc<Clocks>,
    notes: Arc<Notes>,
    certificates: Certificates,
    entry_links: EntryLinks,
    /// Follows the ledger as long as the network is open.
    follower: Option<Follower>,
}

/// What follows the ledger in the background.
#[derive(Debug)]
pub(crate) struct Follower {
    task: tokio::task::AbortHandle,
    /// True once the ledger was read for the first time, or could not be.
    has_read: watch::Receiver<bool>,
    /// Why the first reading failed, if it did.
    trouble: watch::Receiver<Option<Arc<SyncError>>>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Some(follower) = &self.follower {
            follower.task.abort();
        }
    }
}

impl Network {
    /// Opens a network: reads the index of its ledger under `home`, follows the ledger in the background
    /// and loads the entries. Blocks on no network; needs a tokio runtime.
    ///
    /// # Errors
    /// [`NetworkError`] where files under `home` can't be used.
    pub async fn open(home: &Path, file: NetworkFile) -> Result<Self, NetworkError> {
        Self::open_from(home, file, None).await
    }

    /// As [`Network::open`]; exchanges with entries leave from that address of this machine. The ledger's
    /// RPC servers are asked from the system's choice all the same.
    ///
    /// # Errors
    /// [`NetworkError`] where files under `home` can't be used.
    pub async fn open_from(
        home: &Path,
        file: NetworkFile,
        from: Option<IpAddr>,
    ) -> Result<Self, NetworkError> {
        let folder = folder(home, &file);
        let for_index = file.clone();
        let opened = tokio::task::spawn_blocking(move || {
            notes::make_private_folder(&folder)?;
            let notes = Notes::open(&folder.join("notes.db"))?;
            let path = folder.join("index.db");
            match Index::open(&path, &for_index) {
                Ok(index) => Ok((notes, index)),
                Err(source) => Err(NetworkError::Index { path, source }),
            }
        });
        let (notes, index) = match opened.await {
            Ok(opened) => opened?,
            Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
        };
        let follower = follow(&file, &index)?;
        Ok(Self::assemble(
            file,
            Arc::new(index),
            notes,
            Some(follower),
            Timeouts::default(),
            from,
        ))
    }

    pub(crate) fn assemble(
        file: NetworkFile,
        ledger: Arc<dyn LedgerView>,
        notes: Notes,
        follower: Option<Follower>,
        timeouts: Timeouts,
        from: Option<IpAddr>,
    ) -> Self {
        let clocks = Arc::new(Clocks::default());
        let notes = Arc::new(notes);
        Self {
            inner: Arc::new(Inner {
                directory: Directory::new(ledger, file.bootstrap.clone()),
                entries: Entries::new(Arc::clone(&notes)),
                transport: Transport::new(Bare, Arc::clone(&clocks), timeouts, from),
                clocks,
                notes,
                certificates: Certificates::default(),
                entry_links: EntryLinks::new(from),
                follower,
                file,
            }),
        }
    }

    /// Waits until the ledger's index is complete and enough nodes are known for a private path.
    ///
    /// Entries that are drawn before that would be drawn from the first few nodes only.
    ///
    /// # Errors
    /// [`NetworkError::TooFewNodes`] if that takes longer than `timeout`.
    pub async fn ready(&self, timeout: Duration) -> Result<(), NetworkError> {
        let mut changes = self.directory().changes();
        let directory = self.directory();
        let enough = || directory.nodes().openers() >= MIN_OPENERS;
        let complete = async {
            while !(enough() && directory.is_complete()) {
                let _changed_or_closed = tokio::time::timeout(READY_POLL, changes.changed()).await;
            }
        };
        let waited = tokio::time::timeout(timeout, complete).await;
        // With the ledger out of reach, what the index has must do.
        if waited.is_ok() || enough() {
            return Ok(());
        }
        let follower = self.inner.follower.as_ref();
        let trouble = follower.and_then(|follower| follower.trouble.borrow().clone());
        Err(NetworkError::TooFewNodes {
            known: directory.nodes().openers(),
            // It may have been read since.
            cause: trouble.filter(|_| !directory.is_complete()),
        })
    }

    /// Waits until the ledger has been read for the first time since the network was opened, or can't be; at
    /// most a few seconds. What is in the index from earlier may lack what has changed since.
    pub async fn ledger_read(&self) {
        if let Some(follower) = &self.inner.follower {
            let mut has_read = follower.has_read.clone();
            let _late = tokio::time::timeout(FIRST_READING, has_read.wait_for(|read| *read)).await;
        }
    }

    /// The network file that this was opened with.
    #[must_use]
    pub fn file(&self) -> &NetworkFile {
        &self.inner.file
    }

    /// The nodes that the ledger lists, ordered by address.
    #[must_use]
    pub fn nodes(&self) -> Arc<[NodeRecord]> {
        self.directory().records()
    }

    /// Changes whenever what is known of the ledger does.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.directory().changes()
    }

    /// The live route of a wallet on the ledger, from the index.
    #[must_use]
    pub fn route(&self, wallet: &WalletAddress) -> Option<ledger::RouteRecord> {
        self.directory().route(wallet)
    }

    /// Names mailboxes of this home's wallets: none of them is used as an entry from now on.
    ///
    /// **Invariant** of the caller: called with all of them before anything is sent or collected.
    pub fn exclude_as_entries(&self, mailboxes: impl IntoIterator<Item = NodeId>) {
        self.inner.entries.exclude(mailboxes);
    }

    /// Proposes up to `count` mailboxes for a wallet: at random, no entries of this client and of
    /// different operators as far as there are enough nodes.
    #[must_use]
    pub fn propose_mailboxes(&self, count: usize) -> Vec<NodeId> {
        propose_mailboxes(&self.directory().nodes(), &self.entries(), count)
    }

    /// The entries in use, and those in reserve after them.
    #[must_use]
    pub fn entries(&self) -> Vec<NodeId> {
        if let Err(error) = self.inner.entries.renew(&self.directory().nodes()) {
            tracing::warn!(target: "client::path", %error, "entries can't be kept");
        }
        self.inner.entries.ids()
    }

    pub(crate) fn directory(&self) -> &Directory {
        &self.inner.directory
    }

    pub(crate) fn certificates(&self) -> &Certificates {
        &self.inner.certificates
    }

    pub(crate) fn entry_links(&self) -> &EntryLinks {
        &self.inner.entry_links
    }

    pub(crate) fn courier(&self) -> Courier<'_> {
        let Inner {
            directory,
            entries,
            transport,
            clocks,
            ..
        } = &*self.inner;
        Courier {
            transport,
            directory,
            entries,
            clocks,
        }
    }

    pub(crate) fn node(&self, id: &NodeId) -> Option<Arc<Node>> {
        self.directory().nodes().node(id)
    }

    /// A node that something is to be asked of.
    ///
    /// One that is not known yet may have joined since the ledger was read.
    pub(crate) async fn known(&self, id: &NodeId) -> Result<Arc<Node>, PathError> {
        if self.node(id).is_none() {
            self.ledger_read().await;
        }
        self.node(id).ok_or(PathError::UnknownMailbox(*id))
    }

    pub(crate) fn stamp_effort(&self) -> u32 {
        self.inner.file.stamp_effort.max(1)
    }

    /// Notes a certificate's sequence and returns the highest seen of its wallet.
    pub(crate) async fn note_sequence(
        &self,
        wallet: WalletAddress,
        sequence: u64,
    ) -> Result<u64, NotesError> {
        let notes = Arc::clone(&self.inner.notes);
        match tokio::task::spawn_blocking(move || notes.raise_sequence(&wallet, sequence)).await {
            Ok(raised) => raised,
            Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
        }
    }
}

/// Where a network's files lie.
fn folder(home: &Path, file: &NetworkFile) -> PathBuf {
    home.join("networks").join(&file.name)
}

/// Starts to follow the ledger.
fn follow(file: &NetworkFile, index: &Index) -> Result<Follower, NetworkError> {
    let syncer = Syncer::new(index.clone(), file)?;
    let (reading, has_read) = watch::channel(false);
    let (failing, trouble) = watch::channel(None);
    let task = tokio::spawn(async move {
        loop {
            match syncer.sync_once().await {
                Ok(report) if !report.caught_up && !report.overtaken => {}
                Ok(_) => break,
                Err(error) => {
                    failing.send_replace(Some(Arc::new(error)));
                    break;
                }
            }
        }
        reading.send_replace(true);
        syncer.run(std::future::pending()).await;
    });
    Ok(Follower {
        task: task.abort_handle(),
        has_read,
        trouble,
    })
}

#[cfg(test)]
mod tests;
