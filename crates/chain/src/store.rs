//! The chain on disk: one SQLite database, one SQL transaction per block.
//!
//! SQLite rather than a log of our own: a block, its undo, the state after it and the
//! pool change together or not at all, which is the whole of what `kill -9` asks for, and
//! a write-ahead log with `synchronous = FULL` has that tested better than we could. Its
//! cost, one sync a block, is the cost of any store that keeps its word.
//!
//! Without a directory the same tables live in memory.

mod encoding;
mod reading;
mod schema;

use crate::state::StateDiff;
use alloy_consensus::{
    EthereumTxEnvelope, Header, ReceiptEnvelope, Sealed, TxEip4844,
    transaction::{Recovered, TxHashRef},
};
use alloy_eips::Encodable2718;
use alloy_primitives::TxHash;
use parking_lot::Mutex;
use rusqlite::{Connection, Transaction, params};
use std::{
    fs::{File, TryLockError},
    io,
    path::Path,
    sync::Arc,
    time::Duration,
};

/// A signed transaction as it stands in a block.
pub(crate) type SignedTransaction = EthereumTxEnvelope<TxEip4844>;

/// The database file inside the data directory.
const DATABASE_FILE: &str = "chain.sqlite3";
/// The file whose lock keeps a second process out.
const LOCK_FILE: &str = "chain.lock";
/// How long a connection waits for the other one before it gives up.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Prepared statements kept per connection; there are fewer than this.
const STATEMENT_CACHE: usize = 64;

/// Why the store could not be opened, read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The directory or a file in it could not be used.
    #[error("can't use the chain's data directory")]
    Directory(#[source] io::Error),
    /// Another process has the same data directory open.
    #[error("the chain's data directory is in use by another process; stop that one first")]
    InUse,
    /// The file is a database of something else.
    #[error("chain.sqlite3 in the data directory is not a CONET chain")]
    Foreign,
    /// The data was written by a version that this one can't read.
    #[error("the chain on disk has format {found}, this version reads format {supported}")]
    Format {
        /// The version found.
        found: i64,
        /// The version supported.
        supported: i64,
    },
    /// The database refused: full disk, damaged file, lost device.
    #[error("the chain's database failed")]
    Database(#[from] rusqlite::Error),
    /// A record on disk is not what was written there.
    #[error("the chain on disk is damaged: unreadable {0}")]
    Damaged(&'static str),
}

/// A transaction in a block, with what became of it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct MinedTransaction {
    pub(crate) transaction: Recovered<SignedTransaction>,
    pub(crate) receipt: ReceiptEnvelope,
}

/// A block with its transactions and receipts.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct MinedBlock {
    pub(crate) header: Sealed<Header>,
    pub(crate) transactions: Vec<MinedTransaction>,
}

/// The database: one connection that writes, one that reads beside it.
#[derive(Debug)]
pub(crate) struct Store {
    writer: Arc<Mutex<Connection>>,
    reader: Arc<Mutex<Connection>>,
    /// Held for as long as the store is; the operating system drops it with the process.
    _lock: Option<File>,
}

impl Store {
    /// Opens the store in `directory`, creating it where there is none, or in memory.
    pub(crate) fn open(directory: Option<&Path>) -> Result<Self, StoreError> {
        let Some(directory) = directory else {
            let connection = Arc::new(Mutex::new(configured(Connection::open_in_memory()?)?));
            prepare_schema(&mut connection.lock())?;
            return Ok(Self {
                writer: Arc::clone(&connection),
                reader: connection,
                _lock: None,
            });
        };
        std::fs::create_dir_all(directory).map_err(StoreError::Directory)?;
        let lock = File::create(directory.join(LOCK_FILE)).map_err(StoreError::Directory)?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => StoreError::InUse,
            TryLockError::Error(error) => StoreError::Directory(error),
        })?;
        let path = directory.join(DATABASE_FILE);
        let mut writer = configured(Connection::open(&path)?)?;
        prepare_schema(&mut writer)?;
        let reader = configured(Connection::open(&path)?)?;
        Ok(Self {
            writer: Arc::new(Mutex::new(writer)),
            reader: Arc::new(Mutex::new(reader)),
            _lock: Some(lock),
        })
    }

    /// Writes a block, the state after it and its undo in one SQL transaction.
    ///
    /// `gone` are the pool's transactions that the block took or made invalid; undo older
    /// than `keep_undo_from` is dropped.
    pub(crate) fn append(
        &self,
        block: &MinedBlock,
        diff: &StateDiff,
        undo: &StateDiff,
        gone: &[TxHash],
        keep_undo_from: u64,
    ) -> Result<(), StoreError> {
        let number = row_number(block.header.number);
        let mut connection = self.writer.lock();
        let sql = connection.transaction()?;
        let has_logs = block
            .transactions
            .iter()
            .any(|mined| !mined.receipt.logs().is_empty());
        sql.prepare_cached("INSERT INTO blocks VALUES (?1, ?2, ?3, ?4)")?
            .execute(params![
                number,
                block.header.hash().as_slice(),
                alloy_rlp::encode(block.header.inner()),
                has_logs
            ])?;
        for (position, mined) in (0_i64..).zip(&block.transactions) {
            sql.prepare_cached("INSERT INTO transactions VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?
                .execute(params![
                    number,
                    position,
                    mined.transaction.tx_hash().as_slice(),
                    mined.transaction.signer().as_slice(),
                    mined.transaction.inner().encoded_2718(),
                    mined.receipt.encoded_2718(),
                ])?;
        }
        write_state(&sql, diff)?;
        sql.prepare_cached("INSERT INTO undo VALUES (?1, ?2)")?
            .execute(params![number, encoding::encode_diff(undo)])?;
        sql.prepare_cached("DELETE FROM undo WHERE block < ?1")?
            .execute([row_number(keep_undo_from)])?;
        for hash in gone {
            sql.prepare_cached("DELETE FROM pool WHERE hash = ?1")?
                .execute([hash.as_slice()])?;
        }
        Ok(sql.commit()?)
    }

    /// Drops every block above `number` and moves the state back by `undo`.
    pub(crate) fn truncate(&self, number: u64, undo: &StateDiff) -> Result<(), StoreError> {
        let mut connection = self.writer.lock();
        let sql = connection.transaction()?;
        let number = row_number(number);
        sql.execute("DELETE FROM blocks WHERE number > ?1", [number])?;
        sql.execute("DELETE FROM transactions WHERE block > ?1", [number])?;
        sql.execute("DELETE FROM undo WHERE block > ?1", [number])?;
        write_state(&sql, undo)?;
        Ok(sql.commit()?)
    }

    /// Keeps a transaction that was taken into the pool.
    pub(crate) fn add_to_pool(
        &self,
        transaction: &SignedTransaction,
        replaced: Option<TxHash>,
    ) -> Result<(), StoreError> {
        let mut connection = self.writer.lock();
        let sql = connection.transaction()?;
        if let Some(replaced) = replaced {
            sql.prepare_cached("DELETE FROM pool WHERE hash = ?1")?
                .execute([replaced.as_slice()])?;
        }
        sql.prepare_cached("INSERT OR IGNORE INTO pool (hash, raw) VALUES (?1, ?2)")?
            .execute(params![
                transaction.tx_hash().as_slice(),
                transaction.encoded_2718()
            ])?;
        Ok(sql.commit()?)
    }

    /// Forgets a transaction of the pool.
    pub(crate) fn remove_from_pool(&self, hash: &TxHash) -> Result<(), StoreError> {
        self.writer
            .lock()
            .prepare_cached("DELETE FROM pool WHERE hash = ?1")?
            .execute([hash.as_slice()])?;
        Ok(())
    }

    /// Writes the first block, with the chain ID and the genesis state.
    pub(crate) fn create(
        &self,
        chain_id: u64,
        genesis: &Sealed<Header>,
        state: &StateDiff,
    ) -> Result<(), StoreError> {
        let mut connection = self.writer.lock();
        let sql = connection.transaction()?;
        sql.execute(
            "INSERT INTO meta VALUES ('chain_id', ?1)",
            [chain_id.to_be_bytes()],
        )?;
        sql.execute(
            "INSERT INTO blocks VALUES (?1, ?2, ?3, 0)",
            params![
                row_number(genesis.number),
                genesis.hash().as_slice(),
                alloy_rlp::encode(genesis.inner())
            ],
        )?;
        write_state(&sql, state)?;
        Ok(sql.commit()?)
    }
}

fn configured(connection: Connection) -> Result<Connection, StoreError> {
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(STATEMENT_CACHE);
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    Ok(connection)
}

fn prepare_schema(connection: &mut Connection) -> Result<(), StoreError> {
    let pragma = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let (application, version) = (pragma("application_id")?, pragma("user_version")?);
    if application == schema::APPLICATION_ID {
        return if version == schema::FORMAT_VERSION {
            Ok(())
        } else {
            Err(StoreError::Format {
                found: version,
                supported: schema::FORMAT_VERSION,
            })
        };
    }
    let tables: i64 =
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if application != 0 || tables != 0 {
        return Err(StoreError::Foreign);
    }
    let sql = connection.transaction()?;
    sql.execute_batch(schema::CREATE)?;
    sql.pragma_update(None, "user_version", schema::FORMAT_VERSION)?;
    sql.pragma_update(None, "application_id", schema::APPLICATION_ID)?;
    Ok(sql.commit()?)
}

fn write_state(sql: &Transaction<'_>, diff: &StateDiff) -> Result<(), StoreError> {
    for (address, record) in &diff.accounts {
        match record {
            Some(record) => sql
                .prepare_cached("INSERT OR REPLACE INTO accounts VALUES (?1, ?2)")?
                .execute(params![address.as_slice(), alloy_rlp::encode(record)])?,
            None => sql
                .prepare_cached("DELETE FROM accounts WHERE address = ?1")?
                .execute([address.as_slice()])?,
        };
    }
    for ((address, slot), value) in &diff.storage {
        let slot = slot.to_be_bytes::<32>();
        if value.is_zero() {
            sql.prepare_cached("DELETE FROM storage WHERE address = ?1 AND slot = ?2")?
                .execute(params![address.as_slice(), slot])?;
        } else {
            sql.prepare_cached("INSERT OR REPLACE INTO storage VALUES (?1, ?2, ?3)")?
                .execute(params![address.as_slice(), slot, value.to_be_bytes::<32>()])?;
        }
    }
    for (hash, code) in &diff.code {
        sql.prepare_cached("INSERT OR IGNORE INTO code VALUES (?1, ?2)")?
            .execute(params![hash.as_slice(), code.original_byte_slice()])?;
    }
    Ok(())
}

/// SQLite's integers are signed; no chain comes near the difference.
fn row_number(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn block_number(row: i64) -> u64 {
    u64::try_from(row).unwrap_or_default()
}
