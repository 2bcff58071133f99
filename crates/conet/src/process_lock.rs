//! One process at a time: a locked file that says which.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use nix::fcntl::{Flock, FlockArg};

/// A lock that is held until it is dropped or its process ends, however it ends.
#[derive(Debug)]
pub(crate) struct ProcessLock {
    _file: Flock<File>,
}

/// What taking a lock gives.
#[derive(Debug)]
pub(crate) enum Taken {
    /// It is ours.
    Ours(ProcessLock),
    /// A process holds it; its id, if it has written it by now.
    Held(Option<u32>),
}

impl ProcessLock {
    /// Takes the lock of that file and writes this process's id into it.
    ///
    /// # Errors
    /// Where the file can't be used.
    pub(crate) fn take(path: &Path) -> io::Result<Taken> {
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .mode(0o600)
            .open(path)?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(mut file) => {
                file.set_len(0)?;
                write!(&mut *file, "{}", std::process::id())?;
                Ok(Taken::Ours(Self { _file: file }))
            }
            Err((mut file, nix::errno::Errno::EWOULDBLOCK)) => Ok(Taken::Held(read_id(&mut file))),
            Err((_, error)) => Err(error.into()),
        }
    }

    /// The process that holds the lock of that file now, if any does.
    pub(crate) fn holder(path: &Path) -> Option<u32> {
        let mut file = File::open(path).ok()?;
        let id = read_id(&mut file);
        match Flock::lock(file, FlockArg::LockSharedNonblock) {
            Err((_, nix::errno::Errno::EWOULDBLOCK)) => id,
            _ => None,
        }
    }
}

fn read_id(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.take(16).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lock_is_held_once_and_names_its_holder_until_it_is_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        assert_eq!(ProcessLock::holder(&path), None);
        let Taken::Ours(lock) = ProcessLock::take(&path).unwrap() else {
            panic!("nobody holds it")
        };
        let me = Some(std::process::id());
        assert_eq!(ProcessLock::holder(&path), me);
        assert!(matches!(ProcessLock::take(&path).unwrap(), Taken::Held(id) if id == me));
        drop(lock);
        assert_eq!(ProcessLock::holder(&path), None);
    }
}
