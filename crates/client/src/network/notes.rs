//! What a client keeps of a network between runs: its entries, and how new each wallet's certificate was
//! when last seen. One SQLite file, shared by all processes of a home.
//!
//! **Invariant**: the file names no wallet that was written to. A certificate's sequence is kept under
//! a keyed hash of the wallet.

use std::path::{Path, PathBuf};
use std::time::Duration;

use parking_lot::Mutex;
use protocol::NodeId;
use rand::RngCore as _;
use rand::rngs::OsRng;
use ring::hmac;
use rusqlite::{Connection, TransactionBehavior, params};
use wallet::WalletAddress;

use crate::sqlite::open_shared;

/// The format of the file.
const FORMAT: i64 = 1;
/// How long another process of the same home may hold the file.
const LOCK_TIMEOUT: Duration = Duration::from_secs(10);

/// Why the notes can't be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NotesError {
    /// SQLite can't open, read or write the file.
    #[error("can't access {path}", path = .path.display())]
    Storage {
        /// The file.
        path: PathBuf,
        /// Why.
        source: rusqlite::Error,
    },
    /// The folder can't be made.
    #[error("can't make the folder {path}", path = .path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file was written by a newer program.
    #[error("{path} has format {found}, which this program does not know: update it", path = .path.display())]
    UnknownFormat {
        /// The file.
        path: PathBuf,
        /// The format found.
        found: i64,
    },
}

/// An entry and until when it is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct KeptEntry {
    pub(crate) node: NodeId,
    pub(crate) until_ms: u64,
}

/// The file, open.
#[derive(Debug)]
pub(crate) struct Notes {
    path: PathBuf,
    database: Mutex<Connection>,
    /// Makes the hashes that stand for wallets.
    hash_key: hmac::Key,
}

impl Notes {
    /// Opens the file and makes it where there is none; blocks on the disk.
    pub(crate) fn open(path: &Path) -> Result<Self, NotesError> {
        if let Some(folder) = path.parent() {
            make_private_folder(folder)?;
        }
        let (database, hash_key) = prepare(path).map_err(|error| match error {
            Prepare::Storage(source) => NotesError::Storage {
                path: path.to_owned(),
                source,
            },
            Prepare::UnknownFormat(found) => NotesError::UnknownFormat {
                path: path.to_owned(),
                found,
            },
        })?;
        Ok(Self {
            path: path.to_owned(),
            database: Mutex::new(database),
            hash_key,
        })
    }

    /// Reads the entries, lets `change` renew them and writes them, alone among processes.
    pub(crate) fn update_entries(
        &self,
        change: impl FnOnce(Vec<KeptEntry>) -> Vec<KeptEntry>,
    ) -> Result<Vec<KeptEntry>, NotesError> {
        self.run(|database| {
            let transaction = database.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let before = {
                let mut rows = transaction
                    .prepare_cached("SELECT node, until_ms FROM entries ORDER BY place")?;
                let rows = rows.query_map([], |row| {
                    Ok(KeptEntry {
                        node: NodeId::from_bytes(row.get(0)?),
                        until_ms: row.get(1)?,
                    })
                })?;
                rows.collect::<Result<Vec<_>, _>>()?
            };
            let after = change(before.clone());
            if after != before {
                transaction.execute("DELETE FROM entries", [])?;
                for (place, entry) in after.iter().enumerate() {
                    transaction.execute(
                        "INSERT INTO entries (place, node, until_ms) VALUES (?1, ?2, ?3)",
                        params![place, entry.node.as_bytes(), entry.until_ms],
                    )?;
                }
            }
            transaction.commit()?;
            Ok(after)
        })
    }

    /// Raises the highest sequence seen of a wallet's certificate to `sequence` and returns it; returns
    /// a higher one if that was seen before.
    pub(crate) fn raise_sequence(
        &self,
        wallet: &WalletAddress,
        sequence: u64,
    ) -> Result<u64, NotesError> {
        let name = hmac::sign(&self.hash_key, wallet.as_bytes());
        // SQLite's integers have a sign; a sequence is compared as it is written here.
        let stored = i64::try_from(sequence).unwrap_or(i64::MAX);
        self.run(|database| {
            let highest: i64 = database.query_row(
                "INSERT INTO seen (wallet, sequence) VALUES (?1, ?2)
                 ON CONFLICT (wallet) DO UPDATE SET sequence = max(sequence, excluded.sequence)
                 RETURNING sequence",
                params![name.as_ref(), stored],
                |row| row.get(0),
            )?;
            Ok(u64::try_from(highest).unwrap_or(0))
        })
    }

    fn run<T>(
        &self,
        work: impl FnOnce(&mut Connection) -> rusqlite::Result<T>,
    ) -> Result<T, NotesError> {
        work(&mut self.database.lock()).map_err(|source| NotesError::Storage {
            path: self.path.clone(),
            source,
        })
    }
}

enum Prepare {
    Storage(rusqlite::Error),
    UnknownFormat(i64),
}

impl From<rusqlite::Error> for Prepare {
    fn from(error: rusqlite::Error) -> Self {
        Self::Storage(error)
    }
}

fn prepare(path: &Path) -> Result<(Connection, hmac::Key), Prepare> {
    let mut database = open_shared(path, LOCK_TIMEOUT)?;
    let transaction = database.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let found: i64 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
    match found {
        0 => {
            transaction.execute_batch(
                "CREATE TABLE entries (place INTEGER PRIMARY KEY, node BLOB NOT NULL, until_ms INTEGER NOT NULL);
                 CREATE TABLE seen (wallet BLOB PRIMARY KEY, sequence INTEGER NOT NULL) WITHOUT ROWID;
                 CREATE TABLE hash_key (key BLOB NOT NULL);",
            )?;
            let mut key = [0_u8; 32];
            OsRng.fill_bytes(&mut key);
            transaction.execute("INSERT INTO hash_key (key) VALUES (?1)", params![key])?;
            transaction.pragma_update(None, "user_version", FORMAT)?;
        }
        FORMAT => {}
        found => return Err(Prepare::UnknownFormat(found)),
    }
    let key: Vec<u8> = transaction.query_row("SELECT key FROM hash_key", [], |row| row.get(0))?;
    transaction.commit()?;
    restrict(path);
    Ok((database, hmac::Key::new(hmac::HMAC_SHA256, &key)))
}

/// Only the home's owner may read what is in it.
#[cfg(unix)]
fn restrict(path: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    let _ = std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600));
}

#[cfg(not(unix))]
fn restrict(_: &Path) {}

/// Makes a folder and its parents, for the owner only.
pub(crate) fn make_private_folder(path: &Path) -> Result<(), NotesError> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path).map_err(|source| NotesError::Folder {
        path: path.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(n: u8) -> KeptEntry {
        KeptEntry {
            node: NodeId::from_bytes([n; 20]),
            until_ms: u64::from(n),
        }
    }

    #[test]
    fn notes_opened_again_hold_entries_in_order_and_sequences() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("a/b/notes.db");
        let alice = WalletAddress::from_bytes([7; 20]);
        {
            let notes = Notes::open(&path).unwrap();
            notes
                .update_entries(|none| {
                    assert!(none.is_empty());
                    vec![entry(3), entry(1), entry(2)]
                })
                .unwrap();
            assert_eq!(notes.raise_sequence(&alice, 5).unwrap(), 5);
        }
        let notes = Notes::open(&path).unwrap();
        assert_eq!(
            notes.update_entries(|kept| kept).unwrap(),
            [entry(3), entry(1), entry(2)]
        );
        assert_eq!(notes.raise_sequence(&alice, 0).unwrap(), 5);
    }

    #[test]
    fn lower_sequence_never_replaces_a_higher_one() {
        let home = tempfile::tempdir().unwrap();
        let notes = Notes::open(&home.path().join("notes.db")).unwrap();
        let alice = WalletAddress::from_bytes([7; 20]);
        assert_eq!(notes.raise_sequence(&alice, 9).unwrap(), 9);
        assert_eq!(notes.raise_sequence(&alice, 4).unwrap(), 9);
        assert_eq!(notes.raise_sequence(&alice, 10).unwrap(), 10);
    }

    #[test]
    fn file_of_notes_does_not_contain_the_wallets_address() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("notes.db");
        let address = *b"an address, 20 bytes";
        let notes = Notes::open(&path).unwrap();
        notes
            .raise_sequence(&WalletAddress::from_bytes(address), 9)
            .unwrap();
        drop(notes);
        for file in std::fs::read_dir(home.path()).unwrap() {
            let bytes = std::fs::read(file.unwrap().path()).unwrap();
            assert!(!bytes.windows(20).any(|window| window == address));
        }
    }

    #[test]
    fn notes_of_a_newer_program_are_refused() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("notes.db");
        drop(Notes::open(&path).unwrap());
        Connection::open(&path)
            .unwrap()
            .pragma_update(None, "user_version", 2)
            .unwrap();
        assert!(matches!(
            Notes::open(&path),
            Err(NotesError::UnknownFormat { found: 2, .. })
        ));
    }
}
