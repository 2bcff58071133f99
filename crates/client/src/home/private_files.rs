//! Files that only their owner may read, written whole or not at all.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rand::Rng as _;

/// A file or folder of the home can't be used.
#[derive(Debug, thiserror::Error)]
#[error("can't {action} {path}", path = .path.display())]
pub struct FileError {
    /// What was tried.
    pub action: &'static str,
    /// On what.
    pub path: PathBuf,
    /// Why it failed.
    pub source: io::Error,
}

impl FileError {
    /// Says of an error what was tried on which path.
    pub(crate) fn at<'a>(
        action: &'static str,
        path: &'a Path,
    ) -> impl FnOnce(io::Error) -> Self + 'a {
        move |source| Self {
            action,
            path: path.to_owned(),
            source,
        }
    }
}

/// Makes a folder and those above it, for the owner alone.
pub(crate) fn make_folder(path: &Path) -> Result<(), FileError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(FileError::at("make the folder", path))
}

/// Opens a new file for the owner alone.
pub(crate) fn create_new(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
}

/// Replaces a file by one with this content: after a crash it is the old or the new one.
pub(crate) fn replace(path: &Path, content: &[u8]) -> Result<(), FileError> {
    let temporary = beside(path);
    let written = (|| {
        let mut file = create_new(&temporary)?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        sync_folder_of(path)
    })();
    written.map_err(|source| {
        let _ = fs::remove_file(&temporary);
        FileError::at("write", path)(source)
    })
}

/// Writes a file that must not be there yet, whole or not at all.
pub(crate) fn write_new(path: &Path, content: &[u8]) -> Result<(), FileError> {
    let temporary = beside(path);
    let written = (|| {
        let mut file = create_new(&temporary)?;
        file.write_all(content)?;
        file.sync_all()?;
        // A link, unlike a rename, never replaces.
        fs::hard_link(&temporary, path)?;
        sync_folder_of(path)
    })();
    let _ = fs::remove_file(&temporary);
    written.map_err(FileError::at("write", path))
}

/// Replaces a file as [`replace`] does and overwrites the bytes of the old one.
///
/// File systems that copy on write, and disks that spread their wear, may still hold them.
pub(crate) fn replace_and_wipe(path: &Path, content: &[u8]) -> Result<(), FileError> {
    let old = OpenOptions::new().write(true).open(path).ok();
    replace(path, content)?;
    if let Some(old) = old {
        overwrite(old).map_err(FileError::at("overwrite", path))?;
    }
    Ok(())
}

/// Removes a file after overwriting its bytes; one that is not there is fine.
pub(crate) fn wipe(path: &Path) -> Result<(), FileError> {
    let wiped = (|| {
        let file = match OpenOptions::new().write(true).open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        overwrite(file)?;
        fs::remove_file(path)?;
        sync_folder_of(path)
    })();
    wiped.map_err(FileError::at("wipe", path))
}

/// Reads a file of at most `limit` bytes; `None` if there is none.
pub(crate) fn read(path: &Path, limit: u64) -> Result<Option<Vec<u8>>, FileError> {
    let read = (|| {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut content = Vec::new();
        file.take(limit + 1).read_to_end(&mut content)?;
        if content.len() as u64 > limit {
            return Err(io::Error::new(
                io::ErrorKind::FileTooLarge,
                format!("it is longer than {limit} bytes"),
            ));
        }
        Ok(Some(content))
    })();
    read.map_err(FileError::at("read", path))
}

/// Makes renames and removals in a path's folder durable.
pub(crate) fn sync_folder_of(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => File::open(folder)?.sync_all(),
        _ => File::open(".")?.sync_all(),
    }
}

fn overwrite(mut file: File) -> io::Result<()> {
    const ZEROS: [u8; 4096] = [0; 4096];
    let mut left = file.metadata()?.len();
    file.seek(SeekFrom::Start(0))?;
    while left > 0 {
        let length = left.min(ZEROS.len() as u64);
        let zeros = usize::try_from(length).ok().and_then(|n| ZEROS.get(..n));
        file.write_all(zeros.unwrap_or_default())?;
        left -= length;
    }
    file.sync_all()
}

/// A name for a temporary file in the same folder.
pub(crate) fn beside(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{:016x}.new", rand::thread_rng().r#gen::<u64>()));
    path.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn replaced_file_has_the_new_content_and_is_the_owners_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        replace(&path, b"old and longer").unwrap();
        replace_and_wipe(&path, b"new").unwrap();
        assert_eq!(read(&path, 100).unwrap().unwrap(), b"new");
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn replaced_content_is_overwritten_where_it_lay() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        replace(&path, b"old secret").unwrap();
        let second_name = folder.path().join("link");
        fs::hard_link(&path, &second_name).unwrap();
        replace_and_wipe(&path, b"new").unwrap();
        assert_eq!(fs::read(&second_name).unwrap(), [0; 10]);
    }

    #[test]
    fn file_longer_than_its_limit_is_refused_and_a_missing_one_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("long");
        replace(&path, &[7; 101]).unwrap();
        assert!(read(&path, 100).is_err());
        assert_eq!(read(&path, 101).unwrap().unwrap().len(), 101);
        assert!(read(&folder.path().join("none"), 1).unwrap().is_none());
        wipe(&folder.path().join("none")).unwrap();
    }
}
