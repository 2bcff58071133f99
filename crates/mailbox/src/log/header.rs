//! The first 64 bytes of every file of the store.

use std::io;

use super::record::Fields;
use crate::disk::{Disk, DiskFile};

/// Length of a file header; the first frame stands behind it.
pub(super) const FILE_HEADER_LEN: usize = 64;

/// Version of the format that this program reads and writes.
pub(super) const FORMAT_VERSION: u16 = 1;

const MAGIC: [u8; 8] = *b"CONETLOG";

/// What a file of the store holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FileKind {
    /// The file `store`: the header alone.
    Store,
    /// Packets and queues.
    Packets,
    /// Account records.
    Directory,
}

impl FileKind {
    const fn code(self) -> u16 {
        match self {
            Self::Store => 1,
            Self::Packets => 2,
            Self::Directory => 3,
        }
    }
}

/// A file header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FileHeader {
    pub(super) kind: FileKind,
    pub(super) number: u32,
    pub(super) salt: [u8; 8],
    /// Queues opened after this file was begun start at this cursor or above.
    pub(super) floor: u64,
}

/// What stands at the beginning of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReadHeader {
    Sound(FileHeader),
    /// A sound header of a format this program doesn't know.
    OtherVersion(u16),
    Damaged,
}

impl FileHeader {
    pub(super) fn encode(&self) -> [u8; FILE_HEADER_LEN] {
        let mut bytes = Vec::with_capacity(FILE_HEADER_LEN);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
        bytes.extend_from_slice(&self.kind.code().to_le_bytes());
        bytes.extend_from_slice(&self.number.to_le_bytes());
        bytes.extend_from_slice(&self.salt);
        bytes.extend_from_slice(&self.floor.to_le_bytes());
        bytes.resize(FILE_HEADER_LEN - 4, 0);
        bytes.extend_from_slice(&crc32fast::hash(&bytes).to_le_bytes());
        let mut header = [0; FILE_HEADER_LEN];
        header.copy_from_slice(&bytes);
        header
    }

    pub(super) fn read(file: &dyn DiskFile) -> io::Result<ReadHeader> {
        let mut bytes = [0; FILE_HEADER_LEN];
        let count = file.read_at(&mut bytes, 0)?;
        Ok(if count < FILE_HEADER_LEN {
            ReadHeader::Damaged
        } else {
            Self::parse(&bytes)
        })
    }

    fn parse(bytes: &[u8; FILE_HEADER_LEN]) -> ReadHeader {
        let Some((checked, check)) = bytes.split_last_chunk::<4>() else {
            return ReadHeader::Damaged;
        };
        if crc32fast::hash(checked) != u32::from_le_bytes(*check) {
            return ReadHeader::Damaged;
        }
        let mut fields = Fields(checked);
        let parsed = (|| {
            if fields.take::<8>()? != MAGIC {
                return None;
            }
            let version = u16::from_le_bytes(fields.take()?);
            if version != FORMAT_VERSION {
                return Some(ReadHeader::OtherVersion(version));
            }
            let kind = match u16::from_le_bytes(fields.take()?) {
                1 => FileKind::Store,
                2 => FileKind::Packets,
                3 => FileKind::Directory,
                _ => return None,
            };
            let number = u32::from_le_bytes(fields.take()?);
            Some(ReadHeader::Sound(Self {
                kind,
                number,
                salt: fields.take()?,
                floor: fields.u64()?,
            }))
        })();
        parsed.unwrap_or(ReadHeader::Damaged)
    }
}

/// Makes a file with a header, whole and durable, or none at all.
pub(super) fn write_new_file(disk: &dyn Disk, name: &str, header: &FileHeader) -> io::Result<()> {
    let draft = format!("{name}{DRAFT_SUFFIX}");
    let file = disk.create(&draft)?;
    file.write_at(&header.encode(), 0)?;
    file.sync()?;
    disk.rename(&draft, name)?;
    disk.sync_directory()
}

/// Ends the names of files that are not finished; they are deleted when the store is opened.
pub(super) const DRAFT_SUFFIX: &str = ".draft";
