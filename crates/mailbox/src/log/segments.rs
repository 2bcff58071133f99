//! The files of the packet log and how much of each is still of use.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::disk::DiskFile;

/// Where a frame stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Number of the file.
    pub(super) segment: u32,
    /// Offset by 8; 0 where only the file matters.
    pub(super) unit: u32,
}

impl Place {
    pub(super) fn new(segment: u32, offset: u64) -> Self {
        debug_assert_eq!(offset % 8, 0);
        Self {
            segment,
            unit: (offset / 8) as u32,
        }
    }

    pub(super) fn offset(self) -> u64 {
        u64::from(self.unit) * 8
    }
}

/// One file of the packet log.
struct Segment {
    file: Arc<dyn DiskFile>,
    /// Bytes it takes on disk.
    len: u64,
    /// Bytes of frames in it that still count. What is remembered of a deleted packet counts with what it will take elsewhere.
    live: u64,
    /// Whether it is written no more.
    sealed: bool,
    /// Whether it is on the list of files to be rewritten.
    listed: bool,
}

/// All files of the packet log.
#[derive(Default)]
pub(super) struct Segments {
    files: BTreeMap<u32, Segment>,
    /// Files of which half or more is dead.
    candidates: Vec<u32>,
    /// Whether the file taken last is not done with.
    rewriting: bool,
    /// Bytes that all files take.
    total_len: u64,
    /// Packets that are gone and remembered, in all queues.
    pub(super) remembered: usize,
}

impl Segments {
    /// Adds a file that is being written.
    pub(super) fn insert(&mut self, number: u32, file: Arc<dyn DiskFile>, len: u64) {
        self.total_len += len;
        self.files.insert(
            number,
            Segment {
                file,
                len,
                live: 0,
                sealed: false,
                listed: false,
            },
        );
    }

    pub(super) fn file(&self, number: u32) -> Option<Arc<dyn DiskFile>> {
        self.files
            .get(&number)
            .map(|segment| Arc::clone(&segment.file))
    }

    pub(super) fn live(&self, number: u32) -> u64 {
        self.files.get(&number).map_or(0, |segment| segment.live)
    }

    pub(super) fn count(&self) -> usize {
        self.files.len()
    }

    pub(super) fn total_len(&self) -> u64 {
        self.total_len
    }

    /// Number of the file that is being written.
    pub(super) fn newest(&self) -> u32 {
        self.files.last_key_value().map_or(0, |(number, _)| *number)
    }

    pub(super) fn numbers(&self) -> impl Iterator<Item = u32> + '_ {
        self.files.keys().copied()
    }

    pub(super) fn credit(&mut self, number: u32, bytes: u64) {
        if let Some(segment) = self.files.get_mut(&number) {
            segment.live += bytes;
        }
    }

    pub(super) fn debit(&mut self, number: u32, bytes: u64) {
        if let Some(segment) = self.files.get_mut(&number) {
            debug_assert!(
                segment.live >= bytes,
                "file {number} has {} live bytes, not {bytes}",
                segment.live
            );
            segment.live = segment.live.saturating_sub(bytes);
        }
        self.consider(number);
    }

    /// Notes that a file is written no more and how long it has become.
    pub(super) fn seal(&mut self, number: u32, len: u64) {
        if let Some(segment) = self.files.get_mut(&number) {
            self.total_len = self.total_len - segment.len + len;
            (segment.sealed, segment.len) = (true, len);
        }
        self.consider(number);
    }

    /// Notes the length of a file that is being written.
    pub(super) fn resize(&mut self, number: u32, len: u64) {
        if let Some(segment) = self.files.get_mut(&number) {
            self.total_len = self.total_len - segment.len + len;
            segment.len = len;
        }
    }

    /// Lists a file if half of it is dead.
    fn consider(&mut self, number: u32) {
        if let Some(segment) = self.files.get_mut(&number)
            && segment.sealed
            && !segment.listed
            && segment.live <= segment.len / 2
        {
            segment.listed = true;
            self.candidates.push(number);
        }
    }

    /// Whether a file is being rewritten or freed, or waits for it.
    #[cfg(test)]
    pub(super) fn is_rewriting(&self) -> bool {
        self.rewriting || self.has_candidates()
    }

    /// Notes that the file taken last is done with.
    pub(super) fn end_rewriting(&mut self) {
        self.rewriting = false;
    }

    pub(super) fn has_candidates(&self) -> bool {
        !self.candidates.is_empty()
    }

    /// The file that has the least in it that counts, if that is `most` bytes or fewer: one on the list, or any that is written no more.
    pub(super) fn least_live(&self, most: u64, listed_only: bool) -> Option<u32> {
        let of_any = self
            .files
            .iter()
            .filter(|(_, segment)| !listed_only && segment.sealed && !segment.listed)
            .map(|(number, _)| *number);
        let numbers = self.candidates.iter().copied().chain(of_any);
        let least = numbers.min_by_key(|number| self.live(*number))?;
        (self.live(least) <= most).then_some(least)
    }

    /// Takes a file to be rewritten.
    pub(super) fn take(&mut self, number: u32) -> Option<(Arc<dyn DiskFile>, u64)> {
        self.candidates.retain(|candidate| *candidate != number);
        let segment = self.files.get_mut(&number)?;
        segment.listed = true;
        self.rewriting = true;
        Some((Arc::clone(&segment.file), segment.len))
    }

    /// Puts a file back on the list.
    pub(super) fn put_back(&mut self, number: u32) {
        self.rewriting = false;
        self.candidates.push(number);
    }

    /// Takes a file off the books.
    pub(super) fn remove(&mut self, number: u32) -> Option<Arc<dyn DiskFile>> {
        self.candidates.retain(|candidate| *candidate != number);
        let segment = self.files.remove(&number)?;
        self.total_len -= segment.len;
        Some(segment.file)
    }
}
