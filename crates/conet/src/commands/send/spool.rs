//! What comes from stdin: a text if it is one and short enough, else a file, which must stay until it is sent.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Read, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use client::send::MAX_TEXT_BYTES;
use rand::Rng as _;

use crate::failure::{Context as _, Failure, Outcome};

/// How long a spooled file stays that was not sent: a month, longer than anybody goes on trying.
const KEPT: Duration = Duration::from_secs(30 * 86_400);

/// What stdin held.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Spooled {
    Text(String),
    File(PathBuf),
}

/// Reads stdin to its end; what is no short text goes into a file in `folder`.
pub(super) fn spool_stdin(folder: &Path) -> Outcome<Spooled> {
    spool(io::stdin().lock(), folder)
}

fn spool(mut from: impl Read, folder: &Path) -> Outcome<Spooled> {
    let mut head = Vec::new();
    (&mut from)
        .take(MAX_TEXT_BYTES as u64 + 1)
        .read_to_end(&mut head)
        .context("reading stdin")?;
    if head.is_empty() {
        return Err(Failure::error("stdin is empty: nothing was sent"));
    }
    let head = if head.len() > MAX_TEXT_BYTES {
        head
    } else {
        match String::from_utf8(head) {
            Ok(text) => return Ok(Spooled::Text(text)),
            Err(error) => error.into_bytes(),
        }
    };
    remove_old(folder);
    // A folder of its own, since the file's name is what the recipient sees.
    let folder = folder.join(format!("{:016x}", rand::thread_rng().r#gen::<u64>()));
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&folder)
        .context(folder.display())?;
    let path = folder.join("stdin");
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&path)
        .context(path.display())?;
    let written = file
        .write_all(&head)
        .and_then(|()| io::copy(&mut from, &mut file))
        .and_then(|_| file.sync_all());
    written.context(path.display())?;
    Ok(Spooled::File(path))
}

fn remove_old(folder: &Path) {
    let is_old = |entry: &fs::DirEntry| {
        let modified = entry
            .metadata()
            .and_then(|metadata| metadata.modified())
            .ok();
        modified
            .and_then(|modified| SystemTime::now().duration_since(modified).ok())
            .is_some_and(|age| age > KEPT)
    };
    for entry in fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .filter(is_old)
    {
        let _ = fs::remove_dir_all(entry.path());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_text_from_stdin_is_sent_as_text_and_the_rest_as_file() {
        let folder = tempfile::tempdir().unwrap();
        let text = spool("hällo\n".as_bytes(), folder.path()).unwrap();
        assert_eq!(text, Spooled::Text("hällo\n".to_owned()));
        for content in [vec![0xff; 10], vec![b'a'; MAX_TEXT_BYTES + 5]] {
            let Spooled::File(path) = spool(content.as_slice(), folder.path()).unwrap() else {
                panic!("a file")
            };
            assert_eq!(fs::read(path).unwrap(), content);
        }
        assert!(spool(&b""[..], folder.path()).is_err());
    }
}
