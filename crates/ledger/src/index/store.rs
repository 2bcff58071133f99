//! The index on disk: SQLite in WAL mode, shared by the processes of one user.
//!
//! Tables:
//!
//! | table | holds |
//! | --- | --- |
//! | `meta` | the file's format and the network it is of |
//! | `cursor` | one row: how far the chain has been read; `revision` rises with each write |
//! | `checkpoints` | block hashes, newest 256 blocks and the first block read |
//! | `nodes`, `routes` | rows as in [`super::row`] |
//! | `names` | rows as in [`super::name_row`] |
//! | `undo` | for blocks above `cursor.undo_floor`: what each write replaced |
//! | `changes` | the newest keys written, numbered: what a process reads to catch up with another |
//!
//! **Invariant:** every write checks that the cursor's revision is still the one its caller read, in
//! the same transaction. Two processes that sync at once can't mix their results.

use std::{path::Path, time::Duration};

use rusqlite::{
    Connection, ErrorCode, OpenFlags, OptionalExtension, Transaction, TransactionBehavior, params,
};
use wallet::WalletAddress;

use super::IndexError;
use crate::{event::Positioned, name::NameNode, network::NetworkFile};

mod rows;

use rows::{
    apply, check_network, empty_earlier_format, last_change, put, read_cursor, read_row,
    trim_changes, write_cursor,
};

/// Blocks below the head whose changes can be undone; a deeper reorganisation rebuilds the index.
pub(crate) const KEPT_BLOCKS: u64 = 256;
/// Changes kept for other processes; one that is further behind reads everything anew.
const KEPT_CHANGES: i64 = 262_144;
/// How long to wait for another process's write.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
/// Attempts to switch a new file to WAL mode while another process does the same.
const OPEN_ATTEMPTS: u32 = 5;
/// Keys of changes read at once.
const CHANGES_PER_PAGE: i64 = 4_096;

const FORMAT_VERSION: i64 = 3;

/// The tables of rows, each at the number of its kind.
const TABLES: [&str; 3] = ["nodes", "routes", "names"];

const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS meta (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    format INTEGER NOT NULL,
    chain_id INTEGER NOT NULL,
    node_registry BLOB NOT NULL,
    route_registry BLOB NOT NULL,
    name_registry BLOB,
    bridge_offers BLOB,
    start_block INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS cursor (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    revision INTEGER NOT NULL,
    block INTEGER,
    hash BLOB,
    undo_floor INTEGER NOT NULL,
    head INTEGER NOT NULL,
    at_s INTEGER NOT NULL
);
INSERT OR IGNORE INTO cursor VALUES (1, 0, NULL, NULL, 0, 0, 0);
CREATE TABLE IF NOT EXISTS checkpoints (block INTEGER PRIMARY KEY, hash BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS nodes (key BLOB PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS routes (key BLOB PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS names (key BLOB PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS undo (
    id INTEGER PRIMARY KEY,
    block INTEGER NOT NULL,
    kind INTEGER NOT NULL,
    key BLOB NOT NULL,
    old BLOB
);
CREATE INDEX IF NOT EXISTS undo_by_block ON undo (block);
CREATE TABLE IF NOT EXISTS changes (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    kind INTEGER NOT NULL,
    key BLOB NOT NULL
);
";

/// How far the chain has been read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cursor {
    /// Rises with every write.
    pub(crate) revision: i64,
    /// The last block read; none before the first.
    pub(crate) tip: Option<BlockId>,
    /// Checkpoints from here on can be rolled back to.
    pub(crate) undo_floor: u64,
    /// The chain's newest block when last asked.
    pub(crate) head: u64,
    /// Unix seconds of the last successful pass.
    pub(crate) at_s: u64,
}

/// A block by number and hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BlockId {
    pub(crate) number: u64,
    pub(crate) hash: [u8; 32],
}

/// The next stretch of the chain.
#[derive(Debug, Clone)]
pub(crate) struct Advance {
    /// The last block of the stretch.
    pub(crate) tip: BlockId,
    /// The first block of all, with the first stretch only.
    pub(crate) first: Option<BlockId>,
    /// The chain's newest block.
    pub(crate) head: u64,
    /// Unix seconds now.
    pub(crate) at_s: u64,
    /// The events in it, by position.
    pub(crate) events: Vec<Positioned>,
}

/// What became of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub(crate) enum Written {
    /// It is on disk.
    Done,
    /// Another process wrote first: read the cursor again.
    Conflict,
}

/// Which row: its table and its key there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RowKey {
    Node(WalletAddress),
    Route(WalletAddress),
    Name(NameNode),
}

/// What has changed since a process last read.
#[derive(Debug)]
pub(super) enum Changes {
    /// These rows; none for a row that is gone.
    Rows(Vec<(RowKey, Option<Vec<u8>>)>),
    /// Too much, or everything: read all rows.
    Everything,
}

#[derive(Debug)]
pub(super) struct Store {
    connection: Connection,
    start_block: u64,
}

impl Store {
    /// Opens the file, or a new index in memory where there is no path.
    pub(super) fn open(path: Option<&Path>, network: &NetworkFile) -> Result<Self, IndexError> {
        let open_error = |source: rusqlite::Error| match source.sqlite_error_code() {
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                IndexError::Damaged(Box::new(source))
            }
            _ => IndexError::Open {
                path: path.map(Path::to_owned).unwrap_or_default(),
                source: Box::new(source),
            },
        };
        let connection = match path {
            Some(path) => Connection::open_with_flags(path, OpenFlags::default()),
            None => Connection::open_in_memory(),
        };
        let mut connection = connection.map_err(open_error)?;
        connection.busy_timeout(BUSY_TIMEOUT).map_err(open_error)?;
        // Switching to WAL takes an exclusive lock that SQLite doesn't wait for.
        let mut attempt = 1;
        while let Err(error) = connection.pragma_update(None, "journal_mode", "WAL") {
            if attempt == OPEN_ATTEMPTS {
                return Err(open_error(error));
            }
            std::thread::sleep(Duration::from_millis(50 * u64::from(attempt)));
            attempt += 1;
        }
        // What a power cut takes is read from the chain again.
        (connection.pragma_update(None, "synchronous", "NORMAL")).map_err(open_error)?;
        connection.set_prepared_statement_cache_capacity(32);

        let tx = connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(open_error)?;
        empty_earlier_format(&tx).map_err(open_error)?;
        tx.execute_batch(SCHEMA).map_err(open_error)?;
        check_network(&tx, network)?;
        tx.commit()?;
        Ok(Self {
            connection,
            start_block: network.start_block,
        })
    }

    pub(super) fn cursor(&self) -> Result<Cursor, IndexError> {
        read_cursor(&self.connection)
    }

    /// The checkpoints, newest first; the first block read is the last of them.
    pub(super) fn checkpoints(&self) -> Result<Vec<BlockId>, IndexError> {
        let mut statement = self
            .connection
            .prepare_cached("SELECT block, hash FROM checkpoints ORDER BY block DESC")?;
        let rows = statement.query_map([], |row| {
            Ok(BlockId {
                number: row.get(0)?,
                hash: row.get(1)?,
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Writes the next stretch of the chain.
    pub(super) fn advance(
        &mut self,
        revision: i64,
        advance: &Advance,
    ) -> Result<Written, IndexError> {
        let start_block = self.start_block;
        let tx = self.begin()?;
        let cursor = read_cursor(&tx)?;
        if cursor.revision != revision {
            return Ok(Written::Conflict);
        }
        let undo_floor = (cursor.undo_floor)
            .max(advance.head.saturating_sub(KEPT_BLOCKS))
            .min(advance.tip.number);
        for event in &advance.events {
            apply(&tx, event, event.block > undo_floor)?;
        }
        for checkpoint in [advance.first, Some(advance.tip)].into_iter().flatten() {
            tx.prepare_cached("INSERT OR REPLACE INTO checkpoints VALUES (?, ?)")?
                .execute(params![checkpoint.number, checkpoint.hash])?;
        }
        tx.prepare_cached("DELETE FROM undo WHERE block <= ?")?
            .execute([undo_floor])?;
        tx.prepare_cached("DELETE FROM checkpoints WHERE block < ? AND block <> ?")?
            .execute([undo_floor, start_block])?;
        trim_changes(&tx)?;
        let cursor = Cursor {
            revision: revision + 1,
            tip: Some(advance.tip),
            undo_floor,
            head: advance.head,
            at_s: advance.at_s,
        };
        write_cursor(&tx, &cursor)?;
        tx.commit()?;
        Ok(Written::Done)
    }

    /// Notes that the chain's head was seen and nothing is new.
    pub(super) fn touch(
        &mut self,
        revision: i64,
        head: u64,
        at_s: u64,
    ) -> Result<Written, IndexError> {
        let tx = self.begin()?;
        let mut cursor = read_cursor(&tx)?;
        if cursor.revision != revision {
            return Ok(Written::Conflict);
        }
        cursor.revision += 1;
        cursor.head = head;
        cursor.at_s = at_s;
        write_cursor(&tx, &cursor)?;
        tx.commit()?;
        Ok(Written::Done)
    }

    /// Undoes everything above a checkpoint that is not below the undo floor.
    pub(super) fn roll_back(&mut self, revision: i64, to: BlockId) -> Result<Written, IndexError> {
        let tx = self.begin()?;
        let mut cursor = read_cursor(&tx)?;
        if cursor.revision != revision {
            return Ok(Written::Conflict);
        }
        if to.number < cursor.undo_floor {
            return Err(IndexError::Corrupt("a roll back below what can be undone"));
        }
        let mut last_id = i64::MAX;
        loop {
            let next = tx
                .prepare_cached(
                    "SELECT id, kind, key, old FROM undo WHERE block > ? AND id < ? ORDER BY id DESC LIMIT 1",
                )?
                .query_row(params![to.number, last_id], |row| {
                    Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
                })
                .optional()?;
            let Some((id, kind, key, old)) = next else {
                break;
            };
            let key: Vec<u8> = key;
            let old: Option<Vec<u8>> = old;
            put(&tx, RowKey::read(kind, &key)?, old.as_deref())?;
            last_id = id;
        }
        tx.execute("DELETE FROM undo WHERE block > ?", [to.number])?;
        tx.execute("DELETE FROM checkpoints WHERE block > ?", [to.number])?;
        trim_changes(&tx)?;
        cursor.revision += 1;
        cursor.tip = Some(to);
        write_cursor(&tx, &cursor)?;
        tx.commit()?;
        Ok(Written::Done)
    }

    /// Forgets everything, to begin at the start block again.
    pub(super) fn clear(&mut self, revision: i64) -> Result<Written, IndexError> {
        let tx = self.begin()?;
        let cursor = read_cursor(&tx)?;
        if cursor.revision != revision {
            return Ok(Written::Conflict);
        }
        tx.execute_batch(
            "DELETE FROM nodes; DELETE FROM routes; DELETE FROM names; DELETE FROM undo; DELETE FROM checkpoints; DELETE FROM changes;",
        )?;
        // Leaves a gap in the numbers, by which every process sees that it has to read anew.
        tx.execute(
            "UPDATE sqlite_sequence SET seq = seq + 2 WHERE name = 'changes'",
            [],
        )?;
        let cursor = Cursor {
            revision: revision + 1,
            tip: None,
            undo_floor: 0,
            ..cursor
        };
        write_cursor(&tx, &cursor)?;
        tx.commit()?;
        Ok(Written::Done)
    }

    /// A number that changes when another connection has written.
    pub(super) fn data_version(&self) -> Result<i64, IndexError> {
        Ok((self.connection).pragma_query_value(None, "data_version", |row| row.get(0))?)
    }

    /// The cursor, the number of the last change, and what has changed since change `since`.
    pub(super) fn changes(&mut self, since: i64) -> Result<(Cursor, i64, Changes), IndexError> {
        let tx = self.connection.transaction()?;
        let cursor = read_cursor(&tx)?;
        let last = last_change(&tx)?;
        let oldest: Option<i64> =
            tx.query_row("SELECT min(id) FROM changes", [], |row| row.get(0))?;
        if last == since {
            return Ok((cursor, last, Changes::Rows(Vec::new())));
        }
        if last < since || oldest.is_none_or(|oldest| oldest > since + 1) {
            return Ok((cursor, last, Changes::Everything));
        }
        let mut rows = Vec::new();
        let mut from = since;
        while from < last {
            let to = last.min(from + CHANGES_PER_PAGE);
            let mut keys = tx.prepare_cached(
                "SELECT DISTINCT kind, key FROM changes WHERE id > ? AND id <= ?",
            )?;
            let mut keys = keys.query([from, to])?;
            while let Some(key) = keys.next()? {
                let key = RowKey::read(key.get(0)?, &key.get::<_, Vec<u8>>(1)?)?;
                rows.push((key, read_row(&tx, &key)?));
            }
            from = to;
        }
        Ok((cursor, last, Changes::Rows(rows)))
    }

    /// Hands every row of the tables to `visit`, in one view of the file; returns the cursor and the
    /// number of the last change. `begin` gets the number of routes first.
    pub(super) fn everything(
        &mut self,
        begin: impl FnOnce(usize),
        mut visit: impl FnMut(RowKey, &[u8]),
    ) -> Result<(Cursor, i64), IndexError> {
        let tx = self.connection.transaction()?;
        let cursor = read_cursor(&tx)?;
        let last = last_change(&tx)?;
        begin(tx.query_row("SELECT count(*) FROM routes", [], |row| row.get(0))?);
        for (kind, table) in TABLES.iter().enumerate() {
            let kind = kind as i64;
            let mut statement = tx.prepare(&format!("SELECT key, value FROM {table}"))?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                let value = row.get_ref(1)?.as_blob();
                let value = value.map_err(|_| IndexError::Corrupt("a row is no blob"))?;
                let key = row.get_ref(0)?.as_blob();
                let key = key.map_err(|_| IndexError::Corrupt("a key is no blob"))?;
                visit(RowKey::read(kind, key)?, value);
            }
        }
        Ok((cursor, last))
    }

    fn begin(&mut self) -> Result<Transaction<'_>, IndexError> {
        Ok((self.connection).transaction_with_behavior(TransactionBehavior::Immediate)?)
    }
}

impl RowKey {
    /// The number of its table, by which undo and changes know it.
    const fn kind(&self) -> i64 {
        match self {
            Self::Node(_) => 0,
            Self::Route(_) => 1,
            Self::Name(_) => 2,
        }
    }

    const fn bytes(&self) -> &[u8] {
        match self {
            Self::Node(wallet) | Self::Route(wallet) => wallet.as_bytes(),
            Self::Name(node) => node.as_bytes(),
        }
    }

    fn read(kind: i64, bytes: &[u8]) -> Result<Self, IndexError> {
        let wallet = || bytes.try_into().map(WalletAddress::from_bytes).ok();
        let key = match kind {
            0 => wallet().map(Self::Node),
            1 => wallet().map(Self::Route),
            2 => bytes
                .try_into()
                .map(NameNode::from_bytes)
                .ok()
                .map(Self::Name),
            _ => None,
        };
        key.ok_or(IndexError::Corrupt("a key of an unknown kind"))
    }
}
