//! Gives a complete file its name in the user's folder.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use super::name::numbered;
use crate::home::FileError;
use crate::home::private_files::{beside, create_new, sync_folder_of};

/// Names that are tried; a folder with as many files of one name is somebody's joke.
const MAX_NUMBER: u32 = 10_000;

/// Why a file can't be placed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum PlaceError<E> {
    /// The folder can't be written: it is full, gone or somebody else's.
    #[error(transparent)]
    File(#[from] FileError),
    /// The place could not be written down beforehand.
    #[error("can't write down where the file goes")]
    Remember(#[source] E),
    /// There are too many files of that name.
    #[error("there are too many files called {0} already")]
    NoFreeName(String),
}

/// Moves `partial` into `folder` under the first free of its names and returns where it is.
///
/// `remember` is told of the place before anything is there. After a crash the caller gives it as
/// `remembered`, so that a file is neither lost nor placed twice.
pub(crate) fn place<E>(
    partial: &Path,
    folder: &Path,
    name: &str,
    remembered: Option<&Path>,
    mut remember: impl FnMut(&Path) -> Result<(), E>,
) -> Result<PathBuf, PlaceError<E>> {
    if let Some(target) = remembered {
        let exists = fs::exists(partial).map_err(FileError::at("look at", partial))?;
        // What was placed may since have been moved away by its owner.
        if !exists || take(partial, target, true)? {
            return Ok(target.to_owned());
        }
    }
    let made = fs::create_dir_all(folder);
    made.map_err(FileError::at("make the folder", folder))?;
    for number in 0..MAX_NUMBER {
        let target = folder.join(numbered(name, number));
        let there = fs::symlink_metadata(&target).is_ok();
        if there {
            continue;
        }
        remember(&target).map_err(PlaceError::Remember)?;
        if take(partial, &target, false)? {
            return Ok(target);
        }
    }
    Err(PlaceError::NoFreeName(name.to_owned()))
}

/// Reserves `target` by an empty file, then replaces that by the partial one. `false` if something is there
/// already; an empty file counts as our own reservation if there may be one.
fn take(partial: &Path, target: &Path, reserved: bool) -> Result<bool, FileError> {
    let reservation = OpenOptions::new().write(true).create_new(true).open(target);
    match reservation {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let ours = fs::symlink_metadata(target).is_ok_and(|m| m.is_file() && m.len() == 0);
            if !(reserved && ours) {
                return Ok(false);
            }
        }
        Err(error) => return Err(FileError::at("write", target)(error)),
    }
    let moved = match fs::rename(partial, target) {
        Err(error) if error.kind() == io::ErrorKind::CrossesDevices => copy(partial, target),
        other => other,
    };
    let synced = moved.and_then(|()| sync_folder_of(target));
    if let Err(error) = synced {
        // An empty file that nobody asked for must not stay; what is not empty is the file itself.
        if fs::metadata(target).is_ok_and(|metadata| metadata.len() == 0) {
            let _ = fs::remove_file(target);
        }
        return Err(FileError::at("write", target)(error));
    }
    Ok(true)
}

/// Moves a file to another file system: a copy beside the target takes its place.
fn copy(partial: &Path, target: &Path) -> io::Result<()> {
    let temporary = beside(target);
    let copied = (|| {
        let mut to = create_new(&temporary)?;
        io::copy(&mut File::open(partial)?, &mut to)?;
        to.sync_all()?;
        fs::rename(&temporary, target)
    })();
    if copied.is_err() {
        let _ = fs::remove_file(&temporary);
        return copied;
    }
    fs::remove_file(partial)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    fn never(_: &Path) -> Result<(), Infallible> {
        Ok(())
    }

    #[test]
    fn file_placed_beside_one_of_its_name_gets_a_number() {
        let folder = tempfile::tempdir().unwrap();
        for expected in ["a.txt", "a (1).txt", "a (2).txt"] {
            let partial = folder.path().join("partial");
            fs::write(&partial, expected).unwrap();
            let path = place(&partial, &folder.path().join("in"), "a.txt", None, never).unwrap();
            assert_eq!(path, folder.path().join("in").join(expected));
            assert_eq!(fs::read_to_string(&path).unwrap(), expected);
            assert!(!partial.exists());
        }
    }

    #[test]
    fn link_of_that_name_is_never_written_through() {
        let folder = tempfile::tempdir().unwrap();
        let outside = folder.path().join("outside");
        std::os::unix::fs::symlink(&outside, folder.path().join("a")).unwrap();
        let partial = folder.path().join("partial");
        fs::write(&partial, "text").unwrap();
        let path = place(&partial, folder.path(), "a", None, never).unwrap();
        assert_eq!(path, folder.path().join("a (1)"));
        assert!(!outside.exists());
    }

    #[test]
    fn placing_that_died_at_any_step_ends_with_one_file() {
        let folder = tempfile::tempdir().unwrap();
        let partial = folder.path().join("partial");
        let target = folder.path().join("a");
        // Remembered, nothing there yet.
        fs::write(&partial, "text").unwrap();
        assert_eq!(
            place(&partial, folder.path(), "a", Some(&target), never).unwrap(),
            target
        );
        // Moved already.
        assert_eq!(
            place(&partial, folder.path(), "a", Some(&target), never).unwrap(),
            target
        );
        // Reserved, not moved yet.
        fs::write(&partial, "text").unwrap();
        fs::write(&target, "").unwrap();
        assert_eq!(
            place(&partial, folder.path(), "a", Some(&target), never).unwrap(),
            target
        );
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        // Remembered, but somebody else took the name.
        fs::write(&partial, "other").unwrap();
        let second = place(&partial, folder.path(), "a", Some(&target), never).unwrap();
        assert_eq!(second, folder.path().join("a (1)"));
        assert_eq!(fs::read_to_string(&target).unwrap(), "text");
    }
}
