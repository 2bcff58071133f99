//! Notes on disk.

use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use rusqlite::{Connection, params};
use thiserror::Error;

/// A note at most, in characters.
pub const MAX_NOTE_CHARS: usize = 2000;
/// Notes of one wallet at most.
pub const MAX_NOTES: usize = 500;
/// Notes of all wallets at most: anybody has as many wallets as they like.
pub const MAX_ALL_NOTES: usize = 100_000;

/// The notes of all wallets, in one SQLite file. Clones are the same notes.
///
/// Its methods read and write the disk: call them where that may block.
#[derive(Clone)]
pub struct Notes {
    database: Arc<Mutex<Connection>>,
}

/// One note.
pub(crate) struct Note {
    pub(crate) id: i64,
    pub(crate) text: String,
    /// Day and minute, in UTC.
    pub(crate) made: String,
}

/// Why a note was not written or read.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum NotesError {
    /// There is nothing in it.
    #[error("the note is empty")]
    Empty,
    /// It has more than [`MAX_NOTE_CHARS`].
    #[error("the note has more than {MAX_NOTE_CHARS} characters")]
    TooLong,
    /// The wallet has [`MAX_NOTES`] already, or all wallets together [`MAX_ALL_NOTES`].
    #[error("there is no room for more notes")]
    Full,
    /// The file can't be read or written.
    #[error("the file of the notes can't be read or written")]
    Database(#[from] rusqlite::Error),
}

impl Notes {
    /// Opens the file, and makes it where it is not there.
    ///
    /// # Errors
    /// What SQLite says of it.
    pub fn open(path: &Path) -> Result<Self, NotesError> {
        let database = Connection::open(path)?;
        database.pragma_update(None, "journal_mode", "wal")?;
        database.execute_batch(
            "create table if not exists notes (
                id integer primary key autoincrement,
                wallet text not null,
                text text not null,
                made_s integer not null
            ) strict;
            create index if not exists notes_of_wallet on notes (wallet, id);",
        )?;
        let database = Arc::new(Mutex::new(database));
        Ok(Self { database })
    }

    /// The notes of a wallet, the last one first.
    pub(crate) fn of(&self, wallet: &str) -> Result<Vec<Note>, NotesError> {
        let database = self.database.lock();
        let mut notes = database.prepare_cached(
            "select id, text, strftime('%Y-%m-%d %H:%M', made_s, 'unixepoch') from notes
             where wallet = ?1 order by id desc",
        )?;
        let notes = notes.query_map([wallet], |row| {
            Ok(Note {
                id: row.get(0)?,
                text: row.get(1)?,
                made: row.get(2)?,
            })
        })?;
        Ok(notes.collect::<Result<_, _>>()?)
    }

    /// Adds a note.
    ///
    /// # Errors
    /// A note that is empty or too long, and no room for it.
    pub fn add(&self, wallet: &str, text: &str) -> Result<(), NotesError> {
        // Forms end their lines with two characters.
        let text = text.replace("\r\n", "\n");
        let text = text.trim();
        if text.is_empty() {
            return Err(NotesError::Empty);
        }
        if text.chars().count() > MAX_NOTE_CHARS {
            return Err(NotesError::TooLong);
        }
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        let made_s = since.map_or(0, |since| since.as_secs().cast_signed());
        let added = self.database.lock().execute(
            "insert into notes (wallet, text, made_s) select ?1, ?2, ?3
             where (select count(*) from notes where wallet = ?1) < ?4 and (select count(*) from notes) < ?5",
            params![wallet, text, made_s, MAX_NOTES, MAX_ALL_NOTES],
        )?;
        match added {
            0 => Err(NotesError::Full),
            _ => Ok(()),
        }
    }

    /// Deletes a note of this wallet; of another's, or none, it does nothing.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn delete(&self, wallet: &str, id: i64) -> Result<(), NotesError> {
        let database = self.database.lock();
        database.execute(
            "delete from notes where wallet = ?1 and id = ?2",
            params![wallet, id],
        )?;
        Ok(())
    }
}
