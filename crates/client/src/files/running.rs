//! The SHA-256 of a file that is being put together, as far as it has no gap.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use ring::digest::{Context, SHA256};

/// Stretches behind a gap that are remembered at most; what is not remembered is read at the end.
const MAX_AHEAD: usize = 64;
/// How much of a file is read at once.
const READ_BYTES: usize = 1 << 20;

/// Follows what is written to a file, so that at its end hardly anything has to be read again.
///
/// **Invariant**: `hash` is over the first `to` bytes as they stand in the file; if they are written again,
/// nothing is known any more.
pub(super) struct RunningHash {
    hash: Context,
    to: u64,
    /// Stretches that were written beyond, by their beginnings.
    ahead: BTreeMap<u64, u64>,
    /// Nothing is known: all of the file has to be read.
    lost: bool,
}

impl RunningHash {
    /// Of a file in which nothing stands yet.
    pub(super) fn new() -> Self {
        Self {
            hash: Context::new(&SHA256),
            to: 0,
            ahead: BTreeMap::new(),
            lost: false,
        }
    }

    /// Of a file that was begun by somebody else.
    pub(super) fn unknown() -> Self {
        Self {
            lost: true,
            ..Self::new()
        }
    }

    /// Hears that this was written there.
    pub(super) fn wrote(&mut self, path: &Path, offset: u64, data: &[u8]) -> io::Result<()> {
        if self.lost {
            return Ok(());
        }
        if offset < self.to {
            *self = Self::unknown();
            return Ok(());
        }
        if offset > self.to {
            if self.ahead.len() < MAX_AHEAD {
                self.ahead.insert(offset, offset + data.len() as u64);
            }
            return Ok(());
        }
        self.hash.update(data);
        self.to += data.len() as u64;
        if self.ahead.is_empty() {
            return Ok(());
        }
        // Most likely still in memory: it was written a moment ago.
        let file = File::open(path)?;
        while let Some(end) = self.ahead.remove(&self.to) {
            self.read(&file, end)?;
        }
        Ok(())
    }

    /// The hash of the whole file, which should have that length; what is not known yet is read.
    pub(super) fn finish(mut self, path: &Path, length: u64) -> io::Result<[u8; 32]> {
        let file = File::open(path)?;
        let found = file.metadata()?.len();
        if self.lost || found != length {
            self = Self::new();
        }
        self.read(&file, found)?;
        let mut sha256 = [0; 32];
        for (to, from) in sha256.iter_mut().zip(self.hash.finish().as_ref()) {
            *to = *from;
        }
        Ok(sha256)
    }

    /// Takes in what stands in the file up to `end`.
    fn read(&mut self, file: &File, end: u64) -> io::Result<()> {
        let mut buffer = vec![0; READ_BYTES];
        while self.to < end {
            let wanted = buffer.len().min((end - self.to) as usize);
            let piece = buffer.get_mut(..wanted).unwrap_or_default();
            file.read_exact_at(piece, self.to)?;
            self.hash.update(piece);
            self.to += piece.len() as u64;
        }
        Ok(())
    }
}

impl std::fmt::Debug for RunningHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RunningHash")
            .field("to", &self.to)
            .field("lost", &self.lost)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Whatever is written in whatever order, over what stood there or not: it is the hash of the file.
        #[test]
        fn hash_is_that_of_the_file_whatever_was_written_when(
            writes in prop::collection::vec((0u64..40, prop::collection::vec(any::<u8>(), 0..20)), 0..60),
            begun in any::<bool>(),
        ) {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("file");
            let file = File::create(&path).unwrap();
            file.set_len(60).unwrap();
            let mut running = if begun { RunningHash::new() } else { RunningHash::unknown() };
            for (offset, data) in &writes {
                file.write_all_at(data, *offset).unwrap();
                running.wrote(&path, *offset, data).unwrap();
            }
            let expected = ring::digest::digest(&SHA256, &std::fs::read(&path).unwrap());
            prop_assert_eq!(&running.finish(&path, 60).unwrap()[..], expected.as_ref());
        }
    }

    #[test]
    fn chunks_that_come_a_little_out_of_order_are_all_known_before_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let file = File::create(&path).unwrap();
        let mut running = RunningHash::new();
        for offset in [0, 3, 2, 1, 5, 4u64] {
            file.write_all_at(&[offset as u8], offset).unwrap();
            running.wrote(&path, offset, &[offset as u8]).unwrap();
        }
        assert_eq!(
            (running.to, running.lost, running.ahead.len()),
            (6, false, 0)
        );
    }
}
