//! The index: what the ledger says of nodes, routes and names, kept on disk and looked up in memory.
//!
//! A [`Syncer`](crate::Syncer) of this or another process of the same user writes the file; look-ups
//! read memory only and never wait for it. Memory follows the file: after each write, this process's
//! or another's, [`Index::refresh`] reads the rows that changed.
//!
//! **Invariant:** no look-up speaks to an RPC server or opens a file.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use arc_swap::ArcSwap;
use parking_lot::{Mutex, RwLock};
use tokio::sync::watch;
use wallet::{KeyId, WalletAddress};

use crate::{name::Name, network::NetworkFile, node::NodeRecord, route::RouteRecord};

mod arena;
mod name_row;
mod name_table;
mod node_set;
mod route_table;
mod row;
mod store;

pub use name_table::{NAME_GRACE_S, NameRecord, ResolveError};
pub use route_table::{Claim, Claims, MAX_CLAIMS, Mailboxes};
pub(crate) use store::{Advance, BlockId, Cursor, KEPT_BLOCKS, Written};

use name_table::NameTable;
use node_set::NodeSet;
use route_table::RouteTable;
use store::{Changes, RowKey, Store};

/// Rows taken into the table under one lock, so that look-ups never wait long.
const ROWS_PER_LOCK: usize = 1_024;

/// The synced index of nodes, routes and names. Clones share it.
#[derive(Debug, Clone)]
pub struct Index {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    file: Mutex<File>,
    routes: RwLock<RouteTable>,
    names: RwLock<NameTable>,
    nodes: ArcSwap<NodeSet>,
    synced_to: Mutex<SyncedTo>,
    generation: watch::Sender<u64>,
}

/// The file and how far memory has followed it.
#[derive(Debug)]
struct File {
    store: Store,
    data_version: i64,
    last_change: i64,
    written_here: bool,
}

/// How far the index has followed the chain.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SyncedTo {
    /// The last block read; none before the first.
    pub block: Option<u64>,
    /// The chain's newest block when it was last asked.
    pub head: u64,
    /// Unix second when it was last asked, 0 for never.
    pub at_s: u64,
}

/// What the index holds in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IndexSize {
    /// Active nodes.
    pub nodes: usize,
    /// Routes that are set, expired ones too.
    pub routes: usize,
    /// Bytes that the routes take.
    pub route_bytes: usize,
    /// Names that are or were registered.
    pub names: usize,
}

/// Why the index can't be opened, read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IndexError {
    /// The file can't be opened or prepared.
    #[error("it can't be opened: {source}")]
    Open {
        /// The file; empty for an index in memory.
        path: PathBuf,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The file is no database, or a broken one.
    #[error("it is damaged: delete it, it will be read from the chain again")]
    Damaged(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The file can't be read or written: a full disk, for instance.
    #[error("can't read or write the index: {0}")]
    Storage(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The file holds what this crate never writes.
    #[error("the index is damaged ({0}): delete it, it will be read from the chain again")]
    Corrupt(&'static str),
    /// The program is shutting down.
    #[error("the work on the index was interrupted")]
    Interrupted,
    /// The file is of another chain, other contracts or another start block.
    #[error("it is of another network: delete it or use another folder")]
    OtherNetwork,
    /// The file is of a format that this program doesn't know.
    #[error(
        "the index has format {found}, which this program doesn't know: delete it, it will be read from the chain again"
    )]
    UnknownFormat {
        /// The format found.
        found: i64,
    },
}

impl From<rusqlite::Error> for IndexError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Storage(Box::new(error))
    }
}

impl Index {
    /// Opens the index of a network, making a new file where there is none, and loads it into memory.
    /// Blocks for about a second for each million routes.
    ///
    /// # Errors
    /// [`IndexError`] where the file can't be opened or is of another network.
    pub fn open(path: &Path, network: &NetworkFile) -> Result<Self, IndexError> {
        Self::load(Store::open(Some(path), network)?)
    }

    /// Makes an empty index that is kept in memory only.
    ///
    /// # Errors
    /// [`IndexError`] where memory is short.
    pub fn open_in_memory(network: &NetworkFile) -> Result<Self, IndexError> {
        Self::load(Store::open(None, network)?)
    }

    fn load(store: Store) -> Result<Self, IndexError> {
        let index = Self {
            inner: Arc::new(Inner {
                file: Mutex::new(File {
                    data_version: store.data_version()?,
                    store,
                    last_change: 0,
                    written_here: false,
                }),
                routes: RwLock::default(),
                names: RwLock::default(),
                nodes: ArcSwap::default(),
                synced_to: Mutex::default(),
                generation: watch::Sender::new(0),
            }),
        };
        index.reload(&mut index.inner.file.lock())?;
        Ok(index)
    }

    /// The active nodes, ordered by address: a snapshot, shared, cheap.
    pub fn nodes(&self) -> Arc<[NodeRecord]> {
        self.inner.nodes.load().list()
    }

    /// An active node.
    pub fn node(&self, address: &WalletAddress) -> Option<Arc<NodeRecord>> {
        self.inner.nodes.load().node(address)
    }

    /// A wallet's route; none where it has none or the route is void at `now_s`, Unix seconds.
    pub fn route(&self, wallet: &WalletAddress, now_s: u64) -> Option<RouteRecord> {
        let route = self.inner.routes.read().route(wallet)?;
        route.is_live(now_s).then_some(route)
    }

    /// The wallets whose routes cover a key ID, oldest claim first, at most four, each with its
    /// mailboxes; empty where nobody claims it. Allocates nothing; well below a microsecond.
    pub fn mailboxes_for_key(&self, id: &KeyId, now_s: u64) -> Claims {
        self.inner.routes.read().claims(id, now_s)
    }

    /// The wallet that a name says at `now_s`, Unix seconds.
    ///
    /// An expired name says nothing, from the second of its expiry on.
    ///
    /// # Errors
    /// [`ResolveError`] says why it says none.
    pub fn resolve(&self, name: &Name, now_s: u64) -> Result<WalletAddress, ResolveError> {
        self.inner.names.read().resolve(name, now_s)
    }

    /// What a wallet calls itself at `now_s`, Unix seconds, if that name says the wallet (ENSIP-3).
    pub fn name_of(&self, wallet: &WalletAddress, now_s: u64) -> Option<Name> {
        self.inner.names.read().called(wallet, now_s)
    }

    /// The registration of a name, expired or not; none where there never was one, or the name is below another.
    pub fn registration(&self, name: &Name) -> Option<NameRecord> {
        self.inner.names.read().registered(name)
    }

    /// The registered names of a wallet, expired ones too, in order; looks at every name there is.
    pub fn names_owned_by(&self, owner: &WalletAddress) -> Vec<NameRecord> {
        self.inner.names.read().of_owner(owner)
    }

    /// A number that rises with each change of a node, route or name.
    pub fn generation(&self) -> u64 {
        *self.inner.generation.borrow()
    }

    /// The generation, to wait for changes.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.inner.generation.subscribe()
    }

    /// How far the index has followed the chain.
    pub fn synced_to(&self) -> SyncedTo {
        *self.inner.synced_to.lock()
    }

    /// How much the index holds.
    pub fn size(&self) -> IndexSize {
        let routes = self.inner.routes.read();
        IndexSize {
            nodes: self.inner.nodes.load().len(),
            routes: routes.len(),
            route_bytes: routes.memory_bytes(),
            names: self.inner.names.read().len(),
        }
    }

    /// Takes over what other processes have written to the file; true if anything changed. Blocks on
    /// the disk; costs microseconds where nothing was written.
    ///
    /// A [`Syncer`](crate::Syncer) does this by itself: only a process without one has to call it.
    ///
    /// # Errors
    /// [`IndexError`] where the file can't be read.
    pub fn refresh(&self) -> Result<bool, IndexError> {
        self.refresh_locked(&mut self.inner.file.lock())
    }

    pub(crate) fn cursor(&self) -> Result<Cursor, IndexError> {
        self.inner.file.lock().store.cursor()
    }

    pub(crate) fn checkpoints(&self) -> Result<Vec<BlockId>, IndexError> {
        self.inner.file.lock().store.checkpoints()
    }

    pub(crate) fn advance(&self, revision: i64, advance: &Advance) -> Result<Written, IndexError> {
        self.write(|store| store.advance(revision, advance))
    }

    pub(crate) fn touch(&self, revision: i64, head: u64, at_s: u64) -> Result<Written, IndexError> {
        self.write(|store| store.touch(revision, head, at_s))
    }

    pub(crate) fn roll_back(&self, revision: i64, to: BlockId) -> Result<Written, IndexError> {
        self.write(|store| store.roll_back(revision, to))
    }

    pub(crate) fn clear(&self, revision: i64) -> Result<Written, IndexError> {
        self.write(|store| store.clear(revision))
    }

    /// Writes to the file and lets memory follow, also after a conflict.
    fn write(
        &self,
        write: impl FnOnce(&mut Store) -> Result<Written, IndexError>,
    ) -> Result<Written, IndexError> {
        let mut file = self.inner.file.lock();
        let written = write(&mut file.store)?;
        file.written_here = true;
        self.refresh_locked(&mut file)?;
        Ok(written)
    }

    fn refresh_locked(&self, file: &mut File) -> Result<bool, IndexError> {
        let data_version = file.store.data_version()?;
        if data_version == file.data_version && !file.written_here {
            return Ok(false);
        }
        let (cursor, last, changes) = file.store.changes(file.last_change)?;
        let Changes::Rows(rows) = changes else {
            file.data_version = data_version;
            return self.reload(file).map(|()| true);
        };
        let mut nodes = None;
        for rows in rows.chunks(ROWS_PER_LOCK) {
            let mut routes = self.inner.routes.write();
            let mut names = self.inner.names.write();
            for (key, row) in rows {
                match (key, row) {
                    (RowKey::Route(wallet), Some(row)) => routes.put(*wallet, row),
                    (RowKey::Route(wallet), None) => routes.remove(*wallet),
                    (RowKey::Name(node), row) => names.put(*node, row.as_deref()),
                    (RowKey::Node(address), row) => nodes
                        .get_or_insert_with(|| self.inner.nodes.load().to_builder())
                        .put(*address, row.as_deref()),
                }
            }
        }
        if let Some(nodes) = nodes {
            self.inner.nodes.store(Arc::new(nodes.build()));
        }
        file.data_version = data_version;
        file.written_here = false;
        self.followed(file, &cursor, last);
        Ok(!rows.is_empty())
    }

    /// Reads every row into new tables and puts them in place of the old ones.
    fn reload(&self, file: &mut File) -> Result<(), IndexError> {
        let mut routes = RouteTable::default();
        let mut nodes = NodeSet::default().to_builder();
        let mut names = NameTable::default();
        let table = std::cell::RefCell::new(&mut routes);
        let (cursor, last) = file.store.everything(
            |count| **table.borrow_mut() = RouteTable::with_capacity(count),
            |key, row| match key {
                RowKey::Node(address) => nodes.put(address, Some(row)),
                RowKey::Route(wallet) => table.borrow_mut().put(wallet, row),
                RowKey::Name(node) => names.put(node, Some(row)),
            },
        )?;
        *self.inner.routes.write() = routes;
        *self.inner.names.write() = names;
        self.inner.nodes.store(Arc::new(nodes.build()));
        file.written_here = false;
        self.followed(file, &cursor, last);
        Ok(())
    }

    fn followed(&self, file: &mut File, cursor: &Cursor, last_change: i64) {
        file.last_change = last_change;
        *self.inner.synced_to.lock() = SyncedTo {
            block: cursor.tip.map(|tip| tip.number),
            head: cursor.head,
            at_s: cursor.at_s,
        };
        let generation = u64::try_from(last_change).unwrap_or_default();
        self.inner.generation.send_if_modified(|current| {
            let changed = *current != generation;
            *current = generation;
            changed
        });
    }
}

#[cfg(test)]
mod name_tests;
#[cfg(test)]
mod tests;
