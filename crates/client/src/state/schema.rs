//! The tables of the state file, and how it is opened.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, TransactionBehavior};

use super::StateError;
use crate::sqlite::open_shared;

/// The format that this program writes, in SQLite's `user_version`.
const FORMAT: u32 = 1;
/// How long one process waits for another's transaction; the longest are a few milliseconds.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(20);
/// Pages of the side file after which a change carries them over into the file; SQLite's own default.
pub(super) const CHECKPOINT_PAGES: u32 = 1_000;

/// `id` is a message id, `peer` and `tag` are HMACs, blobs called `item`, `progress`, `entry` and `value` are
/// encrypted, `…_ms` are Unix milliseconds.
const TABLES: &str = "
CREATE TABLE notes(
  name TEXT PRIMARY KEY,
  value BLOB NOT NULL
) WITHOUT ROWID;

CREATE TABLE outbox(
  id BLOB PRIMARY KEY,
  tag BLOB,
  status INTEGER NOT NULL,
  attempts INTEGER NOT NULL,
  next_attempt_ms INTEGER NOT NULL,
  lease_owner BLOB,
  lease_until_ms INTEGER NOT NULL,
  created_ms INTEGER NOT NULL,
  item BLOB NOT NULL,
  progress BLOB NOT NULL
);
CREATE INDEX outbox_due ON outbox(status, next_attempt_ms);
CREATE INDEX outbox_tag ON outbox(tag);

CREATE TABLE seen(
  tag BLOB PRIMARY KEY,
  at_ms INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX seen_age ON seen(at_ms);

CREATE TABLE messages(
  place INTEGER PRIMARY KEY AUTOINCREMENT,
  id BLOB NOT NULL,
  peer BLOB NOT NULL,
  direction INTEGER NOT NULL,
  state INTEGER NOT NULL,
  at_ms INTEGER NOT NULL,
  entry BLOB NOT NULL
);
CREATE UNIQUE INDEX messages_id ON messages(direction, peer, id);
CREATE INDEX messages_peer ON messages(peer, place);
CREATE INDEX messages_state ON messages(direction, state, place);

CREATE TABLE sessions(
  tag BLOB PRIMARY KEY,
  next INTEGER NOT NULL,
  at_ms INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE cursors(
  tag BLOB PRIMARY KEY,
  cursor INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE transfers(
  tag BLOB PRIMARY KEY,
  peer BLOB NOT NULL,
  status INTEGER NOT NULL,
  bytes INTEGER NOT NULL,
  count INTEGER NOT NULL,
  at_ms INTEGER NOT NULL,
  bits BLOB NOT NULL,
  entry BLOB NOT NULL
) WITHOUT ROWID;
CREATE INDEX transfers_peer ON transfers(status, peer);

CREATE TABLE receipts(
  tag BLOB PRIMARY KEY,
  peer BLOB NOT NULL,
  due_ms INTEGER NOT NULL,
  item BLOB NOT NULL
) WITHOUT ROWID;
CREATE INDEX receipts_due ON receipts(due_ms);
";

/// Opens the database, makes its tables if it is new, and refuses one of a later format.
pub(super) fn open(path: &Path) -> Result<Connection, StateError> {
    // SQLite would make it readable for all; its side files take the mode of the first.
    let made = OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(path);
    made.map_err(|source| StateError::Io {
        path: path.to_owned(),
        source,
    })?;
    let mut connection = open_shared(path, BUSY_TIMEOUT)?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    // What is deleted is overwritten, not only forgotten.
    connection.pragma_update(None, "secure_delete", "ON")?;
    connection.set_prepared_statement_cache_capacity(64);
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let format: u32 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
    match format {
        0 => {
            transaction.execute_batch(TABLES)?;
            transaction.pragma_update(None, "user_version", FORMAT)?;
        }
        FORMAT => {}
        newer => return Err(StateError::NewerFormat(newer)),
    }
    transaction.commit()?;
    Ok(connection)
}
