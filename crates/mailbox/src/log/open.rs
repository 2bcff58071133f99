//! Opening a store: its header, its files, its writer.

use std::io;
use std::sync::Arc;
use std::sync::OnceLock;

use parking_lot::Mutex;

use super::accounts::LogDirectory;
use super::config::{LogConfig, SEGMENT_BYTES_MAX};
use super::files::{SPARES_RESERVED, Spares, segment_name, segment_number};
use super::header::{
    DRAFT_SUFFIX, FORMAT_VERSION, FileHeader, FileKind, ReadHeader, write_new_file,
};
use super::inbox::Inbox;
use super::index::Index;
use super::notices::Notices;
use super::recovery::{Findings, Recovery};
use super::settle::Scan;
use super::shared::{Counters, Shared};
use super::writer::{Active, Writer};
use crate::disk::{Disk, DiskFile, is_out_of_room};
use crate::error::OpenError;

/// Name of the file that holds nothing but the store's header.
const STORE_NAME: &str = "store";

/// A store about to run.
pub(super) struct Opened {
    pub(super) shared: Arc<Shared>,
    pub(super) writer: Writer,
    pub(super) directory: LogDirectory,
    pub(super) recovery: Recovery,
}

/// A file of the packet log as it was found.
struct OldFile {
    number: u32,
    file: Arc<dyn DiskFile>,
    header: ReadHeader,
    len: u64,
}

fn failed(action: &'static str) -> impl Fn(io::Error) -> OpenError {
    move |source| OpenError::Io { action, source }
}

/// Opens the store on a disk.
pub(super) fn open(disk: Arc<dyn Disk>, config: LogConfig) -> Result<Opened, OpenError> {
    let names = disk.list().map_err(failed("list the files"))?;
    for draft in names.iter().filter(|name| name.ends_with(DRAFT_SUFFIX)) {
        disk.remove(draft)
            .map_err(failed("delete an unfinished file"))?;
    }
    let mut numbers: Vec<u32> = names
        .iter()
        .filter_map(|name| segment_number(name))
        .collect();
    numbers.sort_unstable();
    let files = numbers
        .into_iter()
        .map(|number| open_file(&*disk, number))
        .collect::<Result<Vec<_>, _>>()?;
    let salt = find_salt(&*disk, &names, &files)?;
    let shared = Arc::new(Shared {
        inbox: Inbox::new(config.waiting_bytes),
        disk: Arc::clone(&disk),
        salt,
        index: Mutex::new(Index::new()),
        notices: Notices::default(),
        counters: Counters::default(),
        failure: OnceLock::new(),
        config,
    });
    let directory = LogDirectory::open(disk, salt, &names, shared.config.max_accounts)?;
    let spares = Spares::adopt(&*shared.disk, &names, &shared.config);
    let spares = spares.map_err(failed("open the spare files"))?;
    let (writer, recovery) = recover(&shared, files, spares)?;
    Ok(Opened {
        shared,
        writer,
        directory,
        recovery,
    })
}

fn open_file(disk: &dyn Disk, number: u32) -> Result<OldFile, OpenError> {
    let file = disk
        .open(&segment_name(number))
        .map_err(failed("open a file of the packet log"))?;
    let header = FileHeader::read(&*file).map_err(failed("read a file of the packet log"))?;
    let len = file
        .length()
        .map_err(failed("read a file of the packet log"))?
        .min(SEGMENT_BYTES_MAX);
    if let ReadHeader::OtherVersion(found) = header {
        return Err(OpenError::Version {
            found,
            supported: FORMAT_VERSION,
        });
    }
    Ok(OldFile {
        number,
        file,
        header,
        len,
    })
}

/// The salt of the store: from its header file, else from any other file; a new one for a new store.
fn find_salt(disk: &dyn Disk, names: &[String], files: &[OldFile]) -> Result<[u8; 8], OpenError> {
    let has_header = names.iter().any(|name| name == STORE_NAME);
    if has_header {
        let file = disk
            .open(STORE_NAME)
            .map_err(failed("open the store header"))?;
        match FileHeader::read(&*file).map_err(failed("read the store header"))? {
            ReadHeader::Sound(header) => return Ok(header.salt),
            ReadHeader::OtherVersion(found) => {
                return Err(OpenError::Version {
                    found,
                    supported: FORMAT_VERSION,
                });
            }
            ReadHeader::Damaged => {}
        }
    }
    let of_file = files.iter().find_map(|file| match file.header {
        ReadHeader::Sound(header) => Some(header.salt),
        _ => None,
    });
    let of_directory = || LogDirectory::find_salt(disk, names);
    let salt = match of_file.or_else(of_directory) {
        Some(salt) => salt,
        // Without a readable header nothing can be told from garbage; don't start over beside it.
        None if has_header || !files.is_empty() => return Err(OpenError::NoHeader),
        None => rand::random(),
    };
    let header = FileHeader {
        kind: FileKind::Store,
        number: 0,
        salt,
        floor: 0,
    };
    write_new_file(disk, STORE_NAME, &header).map_err(failed("write the store header"))?;
    Ok(salt)
}

fn recover(
    shared: &Arc<Shared>,
    mut files: Vec<OldFile>,
    mut spares: Spares,
) -> Result<(Writer, Recovery), OpenError> {
    let mut findings = Findings::default();
    let mut scans = Vec::new();
    for old in &files {
        if let ReadHeader::Sound(header) = old.header {
            findings.raise_floor(header.floor);
        }
        let scan = findings.scan(&old.file, shared.seal(old.number), old.len);
        scans.push(scan.map_err(failed("read a file of the packet log"))?);
    }
    drop_unbegun(shared, &mut files, &mut scans)?;
    let newest = files.last().map_or(0, |old| old.number);
    let mut active = None;
    for (old, scan) in files.iter().zip(&scans) {
        let seal = shared.seal(old.number);
        if old.header == ReadHeader::Damaged {
            findings.note_damaged_header(old.number);
        }
        if old.number == newest {
            findings
                .settle(&*old.file, seal, scan)
                .map_err(failed("settle the last file"))?;
            active = Some(Active {
                number: old.number,
                file: Arc::clone(&old.file),
                used: scan.end,
                capacity: old.len,
            });
        } else {
            findings.judge_sealed(old.number, scan);
        }
    }
    let mut index = shared.index.lock();
    for old in &files {
        let len = old
            .file
            .length()
            .map_err(failed("read a file of the packet log"))?;
        index
            .segments
            .insert(old.number, Arc::clone(&old.file), len);
    }
    drop(index);
    make_spares(shared, &mut spares, 1)?;
    let mut index = shared.index.lock();
    let (commit, damaged) = (findings.commit + 1, findings.is_damaged());
    let (mut report, backlog) = findings.build(&mut index);
    let active = resume(shared, &mut index, &mut spares, active, damaged)?;
    for old in files.iter().filter(|old| old.number != active.number) {
        let used = old
            .file
            .length()
            .map_err(failed("read a file of the packet log"))?;
        index.segments.seal(old.number, used);
    }
    report.files = index.segments.count();
    drop(index);
    make_spares(shared, &mut spares, SPARES_RESERVED)?;
    Ok((
        Writer::new(Arc::clone(shared), active, commit, backlog, spares),
        report,
    ))
}

/// Makes spare files until there are so many, if the disk has room.
fn make_spares(shared: &Shared, spares: &mut Spares, count: usize) -> Result<(), OpenError> {
    while spares.len() < count {
        match spares.make(shared) {
            Ok(()) => {}
            Err(error) if is_out_of_room(&error) => break,
            Err(error) => return Err(failed("make a spare file")(error)),
        }
    }
    Ok(())
}

/// Deletes a last file that a crash kept from getting its header.
fn drop_unbegun(
    shared: &Shared,
    files: &mut Vec<OldFile>,
    scans: &mut Vec<Scan>,
) -> Result<(), OpenError> {
    while let (Some(old), Some(scan)) = (files.last(), scans.last())
        && old.header == ReadHeader::Damaged
        && scan.is_blank()
    {
        shared
            .disk
            .remove(&segment_name(old.number))
            .map_err(failed("delete an unfinished file"))?;
        shared
            .disk
            .sync_directory()
            .map_err(failed("delete an unfinished file"))?;
        files.pop();
        scans.pop();
    }
    Ok(())
}

/// Goes on in the last file, or begins a new one: the first, or one behind damage.
fn resume(
    shared: &Shared,
    index: &mut Index,
    spares: &mut Spares,
    last: Option<Active>,
    damaged: bool,
) -> Result<Active, OpenError> {
    let segment_bytes = shared.config.segment_bytes;
    let number = match &last {
        None => 1,
        Some(active) => {
            let next = active.number.checked_add(1);
            next.ok_or(OpenError::Config {
                reason: "file numbers used up",
            })?
        }
    };
    if let Some(mut active) = last {
        let goes_on = active.used + shared.config.control_reserve() < segment_bytes && !damaged;
        let too_few = spares.len() < if damaged { 1 } else { SPARES_RESERVED };
        if goes_on || too_few {
            // No room on disk is no reason not to open: reading works, and the writer says what doesn't.
            drop(active.file.reserve(segment_bytes));
            let len = active.file.length();
            active.capacity = len.map_err(failed("read a file of the packet log"))?;
            index.segments.resize(active.number, active.capacity);
            return Ok(active);
        }
        active
            .file
            .set_length(active.used)
            .map_err(failed("cut the last file"))?;
    }
    let Some(spare) = spares.take() else {
        return Err(failed("make the first file")(
            io::ErrorKind::StorageFull.into(),
        ));
    };
    let begun = spare.begin(shared, number, index.floor);
    let active = begun.map_err(failed("begin a file of the packet log"))?;
    index
        .segments
        .insert(number, Arc::clone(&active.file), active.capacity);
    Ok(active)
}
