//! Files that are sent: what they are, and how they are cut.

use std::fs::{File, Metadata};
use std::io::Read as _;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use packet::{Chunk, MAX_NAME_BYTES, TransferId};
use protocol::transfer::{Plan, TooManyChunks};
use ring::digest::{Context, SHA256};

use super::CHUNK_BYTES;
use crate::state::FileReference;

/// How much of a file is read at once while it is hashed.
const READ_BYTES: usize = 1 << 20;

/// Why a file can't be sent.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OutgoingError {
    /// It can't be read.
    #[error("can't read {path}", path = .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is a folder, a device or the like.
    #[error("{path} is no regular file: what a pipe or a device gives can be sent from stdin", path = .0.display())]
    NoFile(PathBuf),
    /// It was changed since it was first read.
    #[error("{path} has changed since sending began: send it again", path = .0.display())]
    Changed(PathBuf),
    /// It is larger than a transfer can be.
    #[error("the file is too large to send")]
    TooLarge(#[from] TooManyChunks),
}

/// What a file is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Facts {
    pub(crate) path: PathBuf,
    pub(crate) size: u64,
    pub(crate) modified_ns: i128,
    pub(crate) sha256: [u8; 32],
}

/// Reads a whole file to learn what it is; `progress` hears of bytes read and of their total.
pub(crate) fn facts(path: &Path, progress: impl Fn(u64, u64)) -> Result<Facts, OutgoingError> {
    let failed = |source| OutgoingError::Io {
        path: path.to_owned(),
        source,
    };
    let path = path.canonicalize().map_err(failed)?;
    // Before it is opened: opening a pipe waits until somebody writes into it.
    if !path.metadata().map_err(failed)?.is_file() {
        return Err(OutgoingError::NoFile(path));
    }
    let mut file = File::open(&path).map_err(failed)?;
    let before = file.metadata().map_err(failed)?;
    if !before.is_file() {
        return Err(OutgoingError::NoFile(path));
    }
    Plan::new(before.len(), CHUNK_BYTES)?;
    let mut hash = Context::new(&SHA256);
    let mut buffer = vec![0; READ_BYTES];
    let mut read = 0u64;
    loop {
        let length = file.read(&mut buffer).map_err(failed)?;
        if length == 0 {
            break;
        }
        hash.update(buffer.get(..length).unwrap_or_default());
        read += length as u64;
        if read > before.len() {
            break;
        }
        progress(read, before.len());
    }
    let after = file.metadata().map_err(failed)?;
    let same = after.len() == before.len() && modified_ns(&after) == modified_ns(&before);
    if !same || read != before.len() {
        return Err(OutgoingError::Changed(path));
    }
    let mut sha256 = [0; 32];
    for (to, from) in sha256.iter_mut().zip(hash.finish().as_ref()) {
        *to = *from;
    }
    Ok(Facts {
        path,
        size: before.len(),
        modified_ns: modified_ns(&before),
        sha256,
    })
}

/// The name that a file is sent under: its own, at most 255 bytes.
pub(crate) fn file_name(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let mut end = name.len().min(MAX_NAME_BYTES);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    name.get(..end).unwrap_or_default().to_owned()
}

/// How a file is cut.
pub(crate) fn plan(file: &FileReference) -> Result<Plan, TooManyChunks> {
    Plan::new(file.size, file.chunk_bytes)
}

/// Reads one chunk of a file that must not have changed.
pub(crate) fn read_chunk(
    reference: &FileReference,
    transfer: TransferId,
    index: u32,
) -> Result<Chunk, OutgoingError> {
    let failed = |source| OutgoingError::Io {
        path: reference.path.clone(),
        source,
    };
    let changed = || OutgoingError::Changed(reference.path.clone());
    let file = File::open(&reference.path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    if metadata.len() != reference.size || modified_ns(&metadata) != reference.modified_ns {
        return Err(changed());
    }
    let plan = plan(reference)?;
    let (offset, length) = plan.place(index);
    let mut data = vec![0; length];
    file.read_exact_at(&mut data, offset).map_err(failed)?;
    Ok(Chunk {
        transfer,
        index,
        count: plan.count(),
        total: reference.size,
        sha256: reference.sha256,
        offset,
        name: reference.name.clone(),
        data: Bytes::from(data),
    })
}

fn modified_ns(metadata: &Metadata) -> i128 {
    i128::from(metadata.mtime()) * 1_000_000_000 + i128::from(metadata.mtime_nsec())
}
