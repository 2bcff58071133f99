//! What a wallet's client keeps: outbox, inbox, transfers, receipts and history, in one SQLite file.
//!
//! **Invariant**: whoever is told that something was taken (a user by `send`, a mailbox by an
//! acknowledgement) is told after the transaction that holds it is on disk (WAL with `synchronous=FULL`). What a
//! mailbox has acknowledged lies there; that it did is noted here without waiting for the disk: after a power
//! failure it is sent once more, and shown once.
//!
//! Several processes use one file at once: each change is one immediate transaction, and what only one of
//! them may do at a time is claimed by a lease ([`outbox`]) or a lock file ([`crate::home`]).
//! Contents and whom they concern are encrypted ([`vault`]); times, sizes and numbers of rows are not.

mod entry;
mod inbound;
mod messages;
mod outbox;
mod receipts;
mod schema;
pub(crate) mod vault;

pub(crate) use entry::{Content, Direction, Entry, EntryState, FileEntry, Order, Party, Reply};
pub(crate) use inbound::{Arrival, ArrivalKind, Batch, Committed, InboundTransfer, TransferStatus};
pub(crate) use messages::{MessageRow, Shown, Unshown};
pub(crate) use outbox::{
    Claim, FileReference, Finished, Lease, OutboxItem, OutboxLane, OutboxProgress, OutboxRow,
    Owner, WaitingRow, What,
};
pub(crate) use vault::{Damaged, Tag, Vault};

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use rusqlite::{Connection, Transaction, TransactionBehavior};
use serde::{Serialize, de::DeserializeOwned};

use crate::sqlite::{busy, is_busy};

/// Why the local state can't be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// The database can't be opened, read or written: a full disk, for example.
    #[error("the wallet's local state can't be used")]
    Database(#[source] rusqlite::Error),
    /// The disk does not take what must be written down.
    #[error("the wallet's local state can't be written: is the disk full, or read-only?")]
    Disk(#[source] rusqlite::Error),
    /// The file is no database, or a broken one.
    #[error("{path} is damaged: move it away; the messages in it are lost, the wallet is not", path = .path.display())]
    NoDatabase {
        /// The file.
        path: PathBuf,
        /// Why.
        source: rusqlite::Error,
    },
    /// The file can't be made.
    #[error("can't make {path}", path = .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A value does not decrypt.
    #[error("the wallet's local state is damaged, or was written by another wallet")]
    Damaged,
    /// A value decrypts to something else than it should.
    #[error("the wallet's local state holds a value that can't be read")]
    Malformed(#[from] serde_json::Error),
    /// The file was written by a later version of this program.
    #[error("the wallet's local state has format {0}, which this program does not know: update it")]
    NewerFormat(u32),
    /// Too much waits to be sent.
    #[error("{0} messages wait to be sent already: let them go first")]
    OutboxFull(u64),
}

impl From<rusqlite::Error> for StateError {
    fn from(error: rusqlite::Error) -> Self {
        if crate::sqlite::is_of_the_disk(&error) {
            Self::Disk(error)
        } else {
            Self::Database(error)
        }
    }
}

impl From<Damaged> for StateError {
    fn from(_: Damaged) -> Self {
        Self::Damaged
    }
}

/// The state of one wallet; clones share it.
#[derive(Clone)]
pub(crate) struct State {
    connection: Arc<Mutex<Connection>>,
    vault: Arc<Vault>,
    /// Whether a change waits for others who use the file, or fails at once.
    waits: bool,
}

impl State {
    /// Opens the file at `path`, making it if need be.
    pub(crate) fn open(path: &Path, vault: Arc<Vault>) -> Result<Self, StateError> {
        let connection = schema::open(path).map_err(|error| match error {
            StateError::Database(source) if crate::sqlite::is_damage(&source) => {
                StateError::NoDatabase {
                    path: path.to_owned(),
                    source,
                }
            }
            error => error,
        })?;
        Ok(Self {
            connection: Arc::new(Mutex::new(connection)),
            vault,
            waits: true,
        })
    }

    /// Runs `work` where it may block.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Self) -> Result<T, StateError> + Send + 'static,
    ) -> Result<T, StateError> {
        let state = self.clone();
        match tokio::task::spawn_blocking(move || work(&state)).await {
            Ok(result) => result,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // The runtime is shutting down: nobody waits for the result.
                Err(_) => std::future::pending().await,
            },
        }
    }

    /// Runs a change that does not wait for the disk: where it is called, as long as nobody else is at the file,
    /// since handing it to another thread would take as long as the change; else as [`Self::run`].
    ///
    /// `work` runs twice if it is in the way of somebody; the first time it has changed nothing.
    pub(crate) async fn run_at_once<T: Send + 'static>(
        &self,
        work: impl Fn(&Self) -> Result<T, StateError> + Send + 'static,
    ) -> Result<T, StateError> {
        let impatient = Self {
            waits: false,
            ..self.clone()
        };
        match work(&impatient) {
            Err(StateError::Database(error)) if is_busy(&error) => self.run(work).await,
            done => done,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Connection> {
        self.connection.lock()
    }

    /// One durable change: all of it or nothing.
    fn change<T>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, StateError>,
    ) -> Result<T, StateError> {
        let mut connection = self.lock();
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let value = work(&transaction)?;
        transaction.commit()?;
        Ok(value)
    }

    /// One change, all of it or nothing, that a power failure may undo (and nothing less: it survives the end of the
    /// process). Later durable changes make it durable, too.
    fn change_without_sync<T>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, StateError>,
    ) -> Result<T, StateError> {
        let mut connection = if self.waits {
            self.lock()
        } else {
            self.connection.try_lock().ok_or_else(busy)?
        };
        let changed = (|| {
            if !self.waits {
                connection.busy_timeout(Duration::ZERO)?;
            }
            connection.pragma_update(None, "synchronous", "NORMAL")?;
            // What gathers in the side file is carried over, and synced, by changes that wait for the disk anyway.
            connection.pragma_update(None, "wal_autocheckpoint", 0)?;
            let transaction =
                connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let value = work(&transaction)?;
            transaction.commit()?;
            Ok(value)
        })();
        connection.busy_timeout(schema::BUSY_TIMEOUT)?;
        connection.pragma_update(None, "wal_autocheckpoint", schema::CHECKPOINT_PAGES)?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        changed
    }

    fn seal<T: Serialize>(
        &self,
        table: &str,
        row: &[u8],
        value: &T,
    ) -> Result<Vec<u8>, StateError> {
        Ok(self.vault.seal(table, row, &serde_json::to_vec(value)?))
    }

    fn unseal<T: DeserializeOwned>(
        &self,
        table: &str,
        row: &[u8],
        sealed: &[u8],
    ) -> Result<T, StateError> {
        let value = self.vault.open(table, row, sealed)?;
        Ok(serde_json::from_slice(&value)?)
    }

    /// A small value that the wallet's client keeps under a name.
    pub(crate) fn note<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, StateError> {
        let sealed = {
            let connection = self.lock();
            let mut statement =
                connection.prepare_cached("SELECT value FROM notes WHERE name = ?1")?;
            let mut rows = statement.query([name])?;
            match rows.next()? {
                Some(row) => row.get::<_, Vec<u8>>(0)?,
                None => return Ok(None),
            }
        };
        self.unseal("notes", name.as_bytes(), &sealed).map(Some)
    }

    /// Keeps a small value under a name; if there is one already and `replace` is false, that one stays.
    pub(crate) fn set_note<T: Serialize>(
        &self,
        name: &str,
        value: &T,
        replace: bool,
    ) -> Result<(), StateError> {
        let sealed = self.seal("notes", name.as_bytes(), value)?;
        let statement = if replace {
            "INSERT INTO notes(name, value) VALUES (?1, ?2) ON CONFLICT(name) DO UPDATE SET value = ?2"
        } else {
            "INSERT INTO notes(name, value) VALUES (?1, ?2) ON CONFLICT(name) DO NOTHING"
        };
        self.change(|transaction| {
            transaction.execute(statement, rusqlite::params![name, sealed])?;
            Ok(())
        })
    }
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State").finish_non_exhaustive()
    }
}

#[cfg(test)]
pub(crate) mod tests;
