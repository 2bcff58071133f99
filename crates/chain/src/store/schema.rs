//! The tables, drawn column by column. All integers are big-endian where they are blobs.

/// The version of the tables and of what is in them, in `PRAGMA user_version`.
pub(crate) const FORMAT_VERSION: i64 = 1;

/// Marks the file as a chain of ours, in `PRAGMA application_id` ("CNet").
pub(crate) const APPLICATION_ID: i64 = 0x434e_6574;

/// Creates every table of [`FORMAT_VERSION`].
pub(crate) const CREATE: &str = "
-- chain_id: 8 bytes
CREATE TABLE meta (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;

-- The canonical blocks. header: RLP. has_logs: 1 if any receipt has a log.
CREATE TABLE blocks (
  number INTEGER PRIMARY KEY,
  hash BLOB NOT NULL UNIQUE,
  header BLOB NOT NULL,
  has_logs INTEGER NOT NULL
);
CREATE INDEX blocks_with_logs ON blocks (number) WHERE has_logs = 1;

-- Their transactions. raw, receipt: EIP-2718 encodings.
CREATE TABLE transactions (
  block INTEGER NOT NULL,
  position INTEGER NOT NULL,
  hash BLOB NOT NULL UNIQUE,
  sender BLOB NOT NULL,
  raw BLOB NOT NULL,
  receipt BLOB NOT NULL,
  PRIMARY KEY (block, position)
) WITHOUT ROWID;

-- What undoes a block, for the newest blocks only. diff: RLP, see encoding.rs.
CREATE TABLE undo (block INTEGER PRIMARY KEY, diff BLOB NOT NULL);

-- The state after the newest block. record: RLP [nonce, balance, code hash].
CREATE TABLE accounts (address BLOB PRIMARY KEY, record BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE storage (
  address BLOB NOT NULL,
  slot BLOB NOT NULL,
  value BLOB NOT NULL,
  PRIMARY KEY (address, slot)
) WITHOUT ROWID;
CREATE TABLE code (hash BLOB PRIMARY KEY, bytes BLOB NOT NULL) WITHOUT ROWID;

-- Transactions taken but not yet in a block, in the order in which they came.
CREATE TABLE pool (
  arrival INTEGER PRIMARY KEY AUTOINCREMENT,
  hash BLOB NOT NULL UNIQUE,
  raw BLOB NOT NULL
);
";
