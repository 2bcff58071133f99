//! The few file operations that the embedded store needs, behind a trait so that faults can be tested.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::OpenError;

/// Name of the file whose lock keeps a second process out.
const LOCK_NAME: &str = "lock";

/// Permissions of every file of a store: only its owner reads and writes.
const FILE_MODE: u32 = 0o600;

/// One directory of files.
pub trait Disk: Send + Sync + 'static {
    /// Lists the names of the files.
    ///
    /// # Errors
    /// When the directory can't be read.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Opens an existing file to read and write.
    ///
    /// # Errors
    /// When there is none, or it can't be opened.
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;

    /// Makes an empty file, in place of one of the same name.
    ///
    /// # Errors
    /// When it can't be made.
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;

    /// Gives a file another name, atomically, in place of one that has it.
    ///
    /// # Errors
    /// When it can't be renamed.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Deletes a file. Whoever has it open can go on reading it.
    ///
    /// # Errors
    /// When it can't be deleted.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Makes names made, changed and deleted before durable.
    ///
    /// # Errors
    /// When the directory can't be synced.
    fn sync_directory(&self) -> io::Result<()>;
}

/// One open file, read and written at offsets.
pub trait DiskFile: Send + Sync + 'static {
    /// Reads at an offset; fewer bytes than asked for only at the end of the file.
    ///
    /// # Errors
    /// When the disk can't be read.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Writes all bytes at an offset.
    ///
    /// # Errors
    /// When not all were written; some may have been.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// The file's length in bytes.
    ///
    /// # Errors
    /// When it can't be asked for.
    fn length(&self) -> io::Result<u64>;

    /// Cuts or lengthens (with zeros) the file.
    ///
    /// # Errors
    /// When the length can't be set.
    fn set_length(&self, length: u64) -> io::Result<()>;

    /// Lengthens the file with zeros for which room on the disk is set aside.
    ///
    /// # Errors
    /// When there is not enough room.
    fn reserve(&self, length: u64) -> io::Result<()>;

    /// Makes everything written before durable.
    ///
    /// # Errors
    /// When that failed; what of it is durable is then unknown.
    fn sync(&self) -> io::Result<()>;
}

/// A directory of the file system, locked for this process.
#[derive(Debug)]
pub struct FileDisk {
    path: PathBuf,
    directory: File,
    _lock: File,
}

impl FileDisk {
    /// Makes the directory if there is none, and locks it until the value is dropped.
    ///
    /// # Errors
    /// [`OpenError::Locked`] when it is in use, [`OpenError::Io`] when it can't be made or opened.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        let failed = |action| move |source| OpenError::Io { action, source };
        std::fs::create_dir_all(path).map_err(failed("make the directory"))?;
        let directory = File::open(path).map_err(failed("open the directory"))?;
        let lock = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(FILE_MODE)
            .open(path.join(LOCK_NAME))
            .map_err(failed("open the lock file"))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self {
                path: path.to_owned(),
                directory,
                _lock: lock,
            }),
            Err(TryLockError::WouldBlock) => Err(OpenError::Locked),
            Err(TryLockError::Error(source)) => Err(OpenError::Io {
                action: "lock",
                source,
            }),
        }
    }
}

impl Disk for FileDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&self.path)? {
            if let Ok(name) = entry?.file_name().into_string() {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(
            OpenOptions::new()
                .read(true)
                .write(true)
                .open(self.path.join(name))?,
        ))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let mut options = OpenOptions::new();
        options
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .mode(FILE_MODE);
        Ok(Arc::new(options.open(self.path.join(name))?))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        std::fs::rename(self.path.join(from), self.path.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        std::fs::remove_file(self.path.join(name))
    }

    fn sync_directory(&self) -> io::Result<()> {
        self.directory.sync_all()
    }
}

impl DiskFile for File {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut filled = 0;
        while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match FileExt::read_at(self, rest, offset + filled as u64) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.write_all_at(bytes, offset)
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn set_length(&self, length: u64) -> io::Result<()> {
        self.set_len(length)
    }

    #[cfg(any(target_os = "linux", target_os = "android", target_os = "freebsd"))]
    fn reserve(&self, length: u64) -> io::Result<()> {
        use nix::errno::Errno;
        let wanted =
            i64::try_from(length).map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge))?;
        match nix::fcntl::posix_fallocate(self, 0, wanted) {
            Ok(()) => Ok(()),
            // A file system that can't set room aside still stores; a full disk then shows later.
            Err(Errno::EOPNOTSUPP | Errno::EINVAL) => self.set_len(length),
            Err(errno) => Err(errno.into()),
        }
    }

    #[cfg(not(any(target_os = "linux", target_os = "android", target_os = "freebsd")))]
    fn reserve(&self, length: u64) -> io::Result<()> {
        self.set_len(length)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }
}

/// Whether an error says that there is no room, so that the store can go on when there is some again.
pub(crate) fn is_out_of_room(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}
