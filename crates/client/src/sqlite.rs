//! How the files that processes of one home share are opened.

use std::path::Path;
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode, ffi};

/// Wait between two attempts to switch a file to write-ahead logging.
const PAUSE: Duration = Duration::from_millis(10);

/// Opens a file in write-ahead mode; blocks on the disk. Up to `patience` is waited for locks of other
/// processes, here and in each later transaction.
///
/// # Errors
/// SQLite's, among them a lock held for longer than that.
pub(crate) fn open_shared(path: &Path, patience: Duration) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(patience)?;
    // The switch takes an exclusive lock that SQLite's busy handler does not wait for.
    let until = Instant::now() + patience;
    loop {
        match connection.pragma_update(None, "journal_mode", "WAL") {
            Err(error) if is_busy(&error) && Instant::now() < until => std::thread::sleep(PAUSE),
            Err(error) => return Err(error),
            Ok(()) => return Ok(connection),
        }
    }
}

/// Says whether a file is not what SQLite has written.
pub(crate) fn is_damage(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
    )
}

/// Says whether the disk did not take what SQLite wrote.
pub(crate) fn is_of_the_disk(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(ErrorCode::DiskFull | ErrorCode::SystemIoFailure | ErrorCode::ReadOnly)
    )
}

/// Says whether somebody else held a lock for longer than was waited.
pub(crate) fn is_busy(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked)
    )
}

/// What SQLite would say if somebody else held a lock.
pub(crate) fn busy() -> rusqlite::Error {
    rusqlite::Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_BUSY), None)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(20);

    /// Several commands were started in a fresh home at once, and one of them ended with "database is
    /// locked": each wants to switch the new file to write-ahead logging.
    #[test]
    fn many_open_a_new_file_at_once() {
        let folder = tempfile::tempdir().unwrap();
        for round in 0..40 {
            let path = folder.path().join(round.to_string());
            std::thread::scope(|scope| {
                for _ in 0..8 {
                    scope.spawn(|| {
                        let connection = open_shared(&path, PATIENCE).unwrap();
                        connection
                            .execute_batch(
                                "BEGIN IMMEDIATE; CREATE TABLE IF NOT EXISTS t (x); COMMIT;",
                            )
                            .unwrap();
                    });
                }
            });
        }
    }

    #[test]
    fn file_held_by_another_is_an_error_after_the_patience() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("held");
        let holder = Connection::open(&path).unwrap();
        holder.execute_batch("BEGIN EXCLUSIVE").unwrap();
        let refused = open_shared(&path, Duration::from_millis(50)).unwrap_err();
        assert!(is_busy(&refused), "{refused}");
    }
}
