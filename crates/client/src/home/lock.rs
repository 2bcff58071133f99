//! Locks between processes: taken on a file, ended by the system when their holder dies.

use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use super::private_files::{FileError, make_folder};

/// A lock on a file of the home, held until dropped.
#[derive(Debug)]
pub(crate) struct HomeLock {
    _file: File,
}

/// A process's sign of life: a lock that others look at, gone when the process is.
#[derive(Debug)]
pub(crate) struct SignOfLife {
    path: PathBuf,
    _lock: HomeLock,
}

impl SignOfLife {
    /// Gives the sign for `name`, which nobody else has.
    pub(crate) fn give(folder: &Path, name: &str) -> Result<Self, FileError> {
        make_folder(folder)?;
        let path = folder.join(name);
        let lock = HomeLock::wait(&path)?;
        Ok(Self { path, _lock: lock })
    }

    /// Whether whoever gave the sign for `name` still lives; where it can't be told, they do.
    pub(crate) fn is_given(folder: &Path, name: &str) -> bool {
        let path = folder.join(name);
        if matches!(std::fs::exists(&path), Ok(false)) {
            return false;
        }
        match HomeLock::take(&path) {
            Ok(Some(_lock)) => {
                // What the dead leave behind; no name is used twice.
                let _ = std::fs::remove_file(&path);
                false
            }
            Ok(None) | Err(_) => true,
        }
    }
}

impl Drop for SignOfLife {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

impl HomeLock {
    /// Waits for the lock; whoever holds it does so for milliseconds.
    pub(crate) fn wait(path: &Path) -> Result<Self, FileError> {
        let file = open(path)?;
        file.lock().map_err(FileError::at("lock", path))?;
        Ok(Self { _file: file })
    }

    /// Takes the lock if nobody holds it.
    pub(crate) fn take(path: &Path) -> Result<Option<Self>, FileError> {
        let file = open(path)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Self { _file: file })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(FileError::at("lock", path)(error)),
        }
    }
}

fn open(path: &Path) -> Result<File, FileError> {
    OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(path)
        .map_err(FileError::at("open", path))
}
