//! Names of the packet log's files, and files kept ready for it.

use std::io;
use std::sync::Arc;

use super::config::LogConfig;
use super::header::{FILE_HEADER_LEN, FileHeader, FileKind};
use super::shared::{Shared, TARGET};
use super::writer::Active;
use crate::disk::{Disk, DiskFile};

/// Spare files that packets never take: one for acknowledgements and other changes, one into which
/// a mostly dead file can be rewritten, so that on a full disk both go on.
pub(super) const SPARES_RESERVED: usize = 2;

/// Most files kept ready. Freed files become such, since writing where the disk was written before
/// syncs in about half the time.
const SPARES_KEPT: usize = SPARES_RESERVED + 1;

/// Name of a file of the packet log.
pub(super) fn segment_name(number: u32) -> String {
    format!("packets-{number:08x}.log")
}

/// Number in the name of a file of the packet log.
pub(super) fn segment_number(name: &str) -> Option<u32> {
    parse_number(name, "packets-")
}

fn spare_name(number: u32) -> String {
    format!("spare-{number:08x}.log")
}

fn spare_number(name: &str) -> Option<u32> {
    parse_number(name, "spare-")
}

/// Number in a name between a prefix and `.log`: eight digits, hexadecimal in lower case.
pub(super) fn parse_number(name: &str, prefix: &str) -> Option<u32> {
    let digits = name.strip_prefix(prefix)?.strip_suffix(".log")?;
    let number = u32::from_str_radix(digits, 16).ok()?;
    (format!("{number:08x}") == digits).then_some(number)
}

/// A file with room on the disk and no meaning.
pub(super) struct Spare {
    number: u32,
    file: Arc<dyn DiskFile>,
    /// Its length: a full one, or less where a freed file could not get back what was cut off it.
    len: u64,
}

/// Files kept ready for the packet log.
///
/// [`SPARES_RESERVED`] are there as long as the disk has room. When it has none any more, these last
/// ones are for acknowledgements and for freeing other files.
pub(super) struct Spares {
    files: Vec<Spare>,
    next: u32,
}

impl Spares {
    /// Takes over the files left by an earlier run, and deletes those that don't fit.
    pub(super) fn adopt(disk: &dyn Disk, names: &[String], config: &LogConfig) -> io::Result<Self> {
        let lengths = config.shortest_segment()..=config.segment_bytes;
        let mut numbers: Vec<u32> = names.iter().filter_map(|name| spare_number(name)).collect();
        numbers.sort_unstable();
        let mut spares = Self {
            files: Vec::new(),
            next: numbers.last().map_or(1, |last| last.wrapping_add(1)),
        };
        for number in numbers {
            let file = disk.open(&spare_name(number))?;
            let len = file.length()?;
            if spares.files.len() < SPARES_KEPT && lengths.contains(&len) {
                spares.files.push(Spare { number, file, len });
            } else {
                drop(file);
                disk.remove(&spare_name(number))?;
            }
        }
        Ok(spares)
    }

    pub(super) fn len(&self) -> usize {
        self.files.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    pub(super) fn take(&mut self) -> Option<Spare> {
        self.files.pop()
    }

    /// Length of the file that will be taken next.
    pub(super) fn next_len(&self) -> Option<u64> {
        self.files.last().map(|spare| spare.len)
    }

    /// Makes another file, within the store's limit on disk.
    pub(super) fn make(&mut self, shared: &Shared) -> io::Result<()> {
        let segment_bytes = shared.config.segment_bytes;
        let total =
            shared.index.lock().segments.total_len() + self.files.len() as u64 * segment_bytes;
        if total + segment_bytes > shared.config.max_total_bytes {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let number = self.next;
        self.next = number.wrapping_add(1);
        let name = spare_name(number);
        let made = (|| {
            let file = shared.disk.create(&name)?;
            file.reserve(segment_bytes)?;
            file.sync()?;
            Ok(file)
        })();
        match made {
            Ok(file) => self.files.push(Spare {
                number,
                file,
                len: segment_bytes,
            }),
            Err(error) => {
                // Left behind, it would be deleted by the next opening.
                drop(shared.disk.remove(&name));
                return Err(error);
            }
        }
        Ok(())
    }

    /// Keeps a freed file as a spare one, if there is need of it; tells whether.
    ///
    /// Nobody else may hold the file: what a reader finds in it would change under its hands.
    pub(super) fn recycle(
        &mut self,
        shared: &Shared,
        number: u32,
        file: Arc<dyn DiskFile>,
    ) -> bool {
        if self.files.len() >= SPARES_KEPT || Arc::strong_count(&file) > 1 {
            return false;
        }
        let spare = self.next;
        if shared
            .disk
            .rename(&segment_name(number), &spare_name(spare))
            .is_err()
        {
            return false;
        }
        // On a full disk somebody else may have what was cut off when the file was sealed.
        drop(file.reserve(shared.config.segment_bytes));
        match file.length() {
            Ok(len) if len >= shared.config.shortest_segment() => {
                self.next = spare.wrapping_add(1);
                self.files.push(Spare {
                    number: spare,
                    file,
                    len,
                });
            }
            _ => drop(shared.disk.remove(&spare_name(spare))),
        }
        true
    }
}

impl Spare {
    /// Makes it a file of the packet log, durably.
    pub(super) fn begin(self, shared: &Shared, number: u32, floor: u64) -> io::Result<Active> {
        let header = FileHeader {
            kind: FileKind::Packets,
            number,
            salt: shared.salt,
            floor,
        };
        self.file.write_at(&header.encode(), 0)?;
        self.file.sync()?;
        shared
            .disk
            .rename(&spare_name(self.number), &segment_name(number))?;
        shared.disk.sync_directory()?;
        tracing::debug!(target: TARGET, file = number, "another file of the packet log begins");
        Ok(Active {
            number,
            file: self.file,
            used: FILE_HEADER_LEN as u64,
            capacity: self.len,
        })
    }
}
