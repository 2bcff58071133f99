//! The account records of one file.

use std::collections::BTreeMap;
use std::io;
use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;

use super::{KIND_PUT, KIND_REMOVE, State, file_name};
use crate::disk::{Disk, DiskFile};
use crate::error::DirectoryError;
use crate::log::frame::{FRAME_HEADER_LEN, FrameSeal, Parsed, frame_len, parse_frame, write_frame};
use crate::log::header::{DRAFT_SUFFIX, FileHeader, FileKind};
use crate::log::settle::{scan_file, settle_last};
use crate::log::shared::TARGET;
use crate::store::AccountPage;

/// Bytes written at once while a file is written anew.
const COPY_BYTES: usize = 1 << 20;

/// Where a record stands in the file.
#[derive(Clone, Copy)]
pub(super) struct Place {
    pub(super) offset: u64,
    pub(super) frame_len: u32,
}

/// What is in the file, and the file.
pub(super) struct Table {
    pub(super) records: BTreeMap<Bytes, Place>,
    pub(super) live_bytes: u64,
    pub(super) file: Arc<dyn DiskFile>,
    pub(super) number: u32,
}

impl State {
    pub(super) fn seal(&self, number: u32) -> FrameSeal {
        FrameSeal {
            salt: self.salt,
            file: number,
        }
    }

    pub(super) fn get(&self, key: &Bytes) -> Result<Option<Bytes>, DirectoryError> {
        let (place, file, number) = {
            let table = self.table.lock();
            let Some(place) = table.records.get(key).copied() else {
                return Ok(None);
            };
            (place, Arc::clone(&table.file), table.number)
        };
        read_value(&*file, self.seal(number), key, place).map(Some)
    }

    pub(super) fn page(
        &self,
        after: Option<Bytes>,
        max_items: usize,
    ) -> Result<AccountPage, DirectoryError> {
        let mut from = after.map_or(Bound::Unbounded, Bound::Excluded);
        loop {
            let (found, file, number) = {
                let table = self.table.lock();
                let range = table
                    .records
                    .range((from, Bound::Unbounded))
                    .take(max_items);
                let found: Vec<_> = range.map(|(key, place)| (key.clone(), *place)).collect();
                (found, Arc::clone(&table.file), table.number)
            };
            let Some((last, _)) = found.last().cloned() else {
                return Ok(Vec::new());
            };
            let mut page = Vec::with_capacity(found.len());
            for (key, place) in found {
                match read_value(&*file, self.seal(number), &key, place) {
                    Ok(value) => page.push((key, value)),
                    Err(DirectoryError::Damaged) => {
                        tracing::error!(target: TARGET, offset = place.offset, "an account record is damaged on disk");
                    }
                    Err(error) => return Err(error),
                }
            }
            if !page.is_empty() {
                return Ok(page);
            }
            // Everything on this page was damaged, and an empty one would mean the end.
            from = Bound::Excluded(last);
        }
    }
}

pub(super) fn read_value(
    file: &dyn DiskFile,
    seal: FrameSeal,
    key: &[u8],
    place: Place,
) -> Result<Bytes, DirectoryError> {
    let mut bytes = vec![0; place.frame_len as usize];
    file.read_at(&mut bytes, place.offset)
        .map_err(|error| DirectoryError::Io(Arc::new(error)))?;
    let Parsed::Whole(frame) = parse_frame(&bytes, &seal, place.offset) else {
        return Err(DirectoryError::Damaged);
    };
    if frame.header.kind != KIND_PUT || frame.meta != key {
        return Err(DirectoryError::Damaged);
    }
    let from = FRAME_HEADER_LEN + frame.meta.len();
    let to = from + frame.payload.len();
    Ok(Bytes::from(bytes).slice(from..to))
}

/// Reads the newest file. Returns also its end and its last commit.
pub(super) fn load(disk: &dyn Disk, salt: [u8; 8], number: u32) -> io::Result<(Table, u64, u64)> {
    let file = disk.open(&file_name(number))?;
    let seal = FrameSeal { salt, file: number };
    let mut records: BTreeMap<Bytes, Place> = BTreeMap::new();
    let scan = scan_file(
        &file,
        seal,
        file.length()?,
        |frame, offset| match frame.header.kind {
            KIND_PUT => {
                let place = Place {
                    offset,
                    frame_len: frame.header.frame_len() as u32,
                };
                records.insert(Bytes::copy_from_slice(frame.meta), place);
            }
            KIND_REMOVE => drop(records.remove(frame.meta)),
            _ => {}
        },
        |_, _| false,
    )?;
    for gap in settle_last(&*file, seal, &scan)?.damage {
        tracing::error!(target: TARGET, offset = gap.offset, bytes = gap.len, "part of the accounts is damaged");
    }
    let live_bytes = records
        .values()
        .map(|place| u64::from(place.frame_len))
        .sum();
    Ok((
        Table {
            records,
            live_bytes,
            file,
            number,
        },
        scan.end,
        scan.last_commit.unwrap_or(0),
    ))
}

/// Makes a file with the given frames' records, whole and durable. Returns also its end.
pub(super) fn begin(
    disk: &dyn Disk,
    salt: [u8; 8],
    number: u32,
    records: impl Iterator<Item = (Bytes, Bytes)>,
) -> io::Result<(Table, u64)> {
    let name = file_name(number);
    let draft = format!("{name}{DRAFT_SUFFIX}");
    let file = disk.create(&draft)?;
    let seal = FrameSeal { salt, file: number };
    let mut table = Table {
        records: BTreeMap::new(),
        live_bytes: 0,
        file,
        number,
    };
    let mut buffer = FileHeader {
        kind: FileKind::Directory,
        number,
        salt,
        floor: 0,
    }
    .encode()
    .to_vec();
    let mut written = 0;
    for (key, value) in records {
        let place = append_put(&mut buffer, &seal, written, 0, &key, &value);
        table.live_bytes += u64::from(place.frame_len);
        table.records.insert(key, place);
        if buffer.len() >= COPY_BYTES {
            table.file.write_at(&buffer, written)?;
            written += buffer.len() as u64;
            buffer.clear();
        }
    }
    table.file.write_at(&buffer, written)?;
    written += buffer.len() as u64;
    table.file.sync()?;
    disk.rename(&draft, &name)?;
    disk.sync_directory()?;
    Ok((table, written))
}

/// Appends the frame of a record to a buffer that will be written at `base`.
pub(super) fn append_put(
    buffer: &mut Vec<u8>,
    seal: &FrameSeal,
    base: u64,
    commit: u64,
    key: &[u8],
    value: &[u8],
) -> Place {
    let offset = base + buffer.len() as u64;
    write_frame(buffer, seal, offset, KIND_PUT, commit, key, value);
    Place {
        offset,
        frame_len: frame_len(key.len(), value.len()) as u32,
    }
}
