//! The chain on disk: one SQLite database, one SQL transaction per block.
//!
//! SQLite rather than a log of our own: a block, its undo, the state after it and the
//! pool change together or not at all, which is the whole of what `kill -9` asks for, and
//! a write-ahead log with `synchronous = FULL` has that tested better than we could. Its
//! cost, one sync a block, is the cost of any store that keeps its word.
//!
//! Without a directory the same tables live in memory.

mod encoding;
mod schema;

use crate::state::{AccountRecord, StateDiff};
use alloy_consensus::{
    EthereumTxEnvelope, Header, ReceiptEnvelope, Sealable, Sealed, TxEip4844,
    transaction::{Recovered, TxHashRef},
};
use alloy_eips::{Decodable2718, Encodable2718};
use alloy_primitives::{Address, B256, TxHash, U256};
use alloy_rlp::Decodable;
use parking_lot::Mutex;
use revm::state::Bytecode;
use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};
use std::{
    fs::{File, TryLockError},
    io,
    ops::RangeInclusive,
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

    /// Lists the raw transactions of the pool in the order in which they came.
    pub(crate) fn pool(&self) -> Result<Vec<Vec<u8>>, StoreError> {
        let reader = self.reader.lock();
        let mut statement = reader.prepare_cached("SELECT raw FROM pool ORDER BY arrival")?;
        let rows = statement.query_map([], |row| row.get(0))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Reads the chain ID that the chain was made with; `None` where there is no chain yet.
    pub(crate) fn chain_id(&self) -> Result<Option<u64>, StoreError> {
        let value: Option<[u8; 8]> = self
            .reader
            .lock()
            .query_row("SELECT value FROM meta WHERE key = 'chain_id'", [], |row| {
                row.get(0)
            })
            .optional()?;
        Ok(value.map(u64::from_be_bytes))
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

    /// Reads the whole newest state, as the diff from nothing.
    pub(crate) fn state(&self) -> Result<StateDiff, StoreError> {
        let reader = self.reader.lock();
        let mut state = StateDiff::default();
        let mut statement = reader.prepare("SELECT address, record FROM accounts")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let record: Vec<u8> = row.get(1)?;
            let record = AccountRecord::decode(&mut record.as_slice())
                .map_err(|_| StoreError::Damaged("account"))?;
            state
                .accounts
                .insert(Address::from(row.get::<_, [u8; 20]>(0)?), Some(record));
        }
        let mut statement = reader.prepare("SELECT address, slot, value FROM storage")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            state.storage.insert(
                (Address::from(row.get::<_, [u8; 20]>(0)?), word(row, 1)?),
                word(row, 2)?,
            );
        }
        let mut statement = reader.prepare("SELECT hash, bytes FROM code")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let code = Bytecode::new_raw_checked(row.get::<_, Vec<u8>>(1)?.into())
                .map_err(|_| StoreError::Damaged("code"))?;
            state
                .code
                .insert(B256::from(row.get::<_, [u8; 32]>(0)?), code);
        }
        Ok(state)
    }

    /// Reads the undo diffs that are kept, by block number.
    pub(crate) fn undo(&self) -> Result<Vec<(u64, StateDiff)>, StoreError> {
        let reader = self.reader.lock();
        let mut statement = reader.prepare("SELECT block, diff FROM undo ORDER BY block")?;
        let mut rows = statement.query([])?;
        let mut undo = Vec::new();
        while let Some(row) = rows.next()? {
            let diff: Vec<u8> = row.get(1)?;
            let diff =
                encoding::decode_diff(&diff).map_err(|_| StoreError::Damaged("undo record"))?;
            undo.push((block_number(row.get(0)?), diff));
        }
        Ok(undo)
    }

    /// Returns the number of the newest block.
    pub(crate) fn newest(&self) -> Result<Option<u64>, StoreError> {
        let number: Option<i64> =
            self.reader
                .lock()
                .query_row("SELECT max(number) FROM blocks", [], |row| row.get(0))?;
        Ok(number.map(block_number))
    }

    /// Reads the headers of a range of blocks, in order; absent ones are left out.
    pub(crate) fn headers(
        &self,
        range: RangeInclusive<u64>,
    ) -> Result<Vec<Sealed<Header>>, StoreError> {
        let reader = self.reader.lock();
        headers_of(
            &reader,
            "SELECT hash, header FROM blocks WHERE number BETWEEN ?1 AND ?2 ORDER BY number",
            range,
        )
    }

    /// Reads the headers of those blocks of a range that have a log.
    pub(crate) fn headers_with_logs(
        &self,
        range: RangeInclusive<u64>,
    ) -> Result<Vec<Sealed<Header>>, StoreError> {
        let reader = self.reader.lock();
        headers_of(
            &reader,
            "SELECT hash, header FROM blocks
             WHERE has_logs = 1 AND number BETWEEN ?1 AND ?2 ORDER BY number",
            range,
        )
    }

    /// Reads a block by its number.
    pub(crate) fn block(&self, number: u64) -> Result<Option<MinedBlock>, StoreError> {
        let mut reader = self.reader.lock();
        // One SQL transaction, so that header and transactions are of the same block.
        let sql = reader.transaction()?;
        let Some(header) = headers_of(
            &sql,
            "SELECT hash, header FROM blocks WHERE number BETWEEN ?1 AND ?2",
            number..=number,
        )?
        .pop() else {
            return Ok(None);
        };
        let mut statement = sql.prepare_cached(
            "SELECT sender, raw, receipt FROM transactions WHERE block = ?1 ORDER BY position",
        )?;
        let mut rows = statement.query([row_number(number)])?;
        let mut transactions = Vec::new();
        while let Some(row) = rows.next()? {
            transactions.push(mined_transaction(row)?);
        }
        Ok(Some(MinedBlock {
            header,
            transactions,
        }))
    }

    /// Finds the number of the canonical block with this hash.
    pub(crate) fn number_of(&self, hash: &B256) -> Result<Option<u64>, StoreError> {
        let reader = self.reader.lock();
        let number: Option<i64> = reader
            .prepare_cached("SELECT number FROM blocks WHERE hash = ?1")?
            .query_row([hash.as_slice()], |row| row.get(0))
            .optional()?;
        Ok(number.map(block_number))
    }

    /// Finds the block number of a mined transaction and its position in it.
    pub(crate) fn locate(&self, hash: &TxHash) -> Result<Option<(u64, usize)>, StoreError> {
        let reader = self.reader.lock();
        let place: Option<(i64, i64)> = reader
            .prepare_cached("SELECT block, position FROM transactions WHERE hash = ?1")?
            .query_row([hash.as_slice()], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        Ok(place.map(|(block, position)| {
            (
                block_number(block),
                usize::try_from(position).unwrap_or_default(),
            )
        }))
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

fn headers_of(
    connection: &Connection,
    query: &str,
    range: RangeInclusive<u64>,
) -> Result<Vec<Sealed<Header>>, StoreError> {
    let mut statement = connection.prepare_cached(query)?;
    let mut rows = statement.query([row_number(*range.start()), row_number(*range.end())])?;
    let mut headers = Vec::new();
    while let Some(row) = rows.next()? {
        let header: Vec<u8> = row.get(1)?;
        let header = Header::decode(&mut header.as_slice())
            .map_err(|_| StoreError::Damaged("block header"))?;
        headers.push(header.seal_unchecked(B256::from(row.get::<_, [u8; 32]>(0)?)));
    }
    Ok(headers)
}

fn mined_transaction(row: &Row<'_>) -> Result<MinedTransaction, StoreError> {
    let sender = Address::from(row.get::<_, [u8; 20]>(0)?);
    let raw: Vec<u8> = row.get(1)?;
    let receipt: Vec<u8> = row.get(2)?;
    let transaction = SignedTransaction::decode_2718_exact(&raw)
        .map_err(|_| StoreError::Damaged("transaction"))?;
    Ok(MinedTransaction {
        transaction: Recovered::new_unchecked(transaction, sender),
        receipt: ReceiptEnvelope::decode_2718_exact(&receipt)
            .map_err(|_| StoreError::Damaged("receipt"))?,
    })
}

fn word(row: &Row<'_>, column: usize) -> Result<U256, StoreError> {
    Ok(U256::from_be_bytes(row.get::<_, [u8; 32]>(column)?))
}

/// SQLite's integers are signed; no chain comes near the difference.
fn row_number(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn block_number(row: i64) -> u64 {
    u64::try_from(row).unwrap_or_default()
}
