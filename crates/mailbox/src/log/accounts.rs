//! The directory of account records: a log of its own, with one writer thread and group commit.
//!
//! Keys and places are in memory, values on disk. When more of the file is dead than alive, the
//! live records are written to a new file, which takes the place of the old one at one stroke;
//! changes wait meanwhile, reading doesn't.

use std::collections::BTreeMap;
use std::io;
use std::ops::Bound;
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{oneshot, watch};

use super::command::{Failure, Reply};
use super::files::parse_number;
use super::frame::{FRAME_HEADER_LEN, FrameSeal, Parsed, frame_len, parse_frame, write_frame};
use super::header::{
    DRAFT_SUFFIX, FILE_HEADER_LEN, FORMAT_VERSION, FileHeader, FileKind, ReadHeader,
};
use super::inbox::{Inbox, Patience};
use super::settle::{scan_file, settle_last};
use super::shared::TARGET;
use crate::disk::{Disk, DiskFile, is_out_of_room};
use crate::error::{DirectoryError, OpenError};
use crate::store::{ACCOUNT_KEY_MAX, ACCOUNT_VALUE_MAX, AccountPage, BoxFuture, Directory};

const KIND_PUT: u8 = 16;
const KIND_REMOVE: u8 = 17;

/// Bytes of records that may wait to be written.
const WAITING_BYTES: usize = 8 << 20;

/// The file grows by this much at a time, set aside before it is written.
const GROW_BYTES: u64 = 1 << 20;

/// A file is written anew when its dead bytes exceed the live ones by this.
const DEAD_ALLOWANCE: u64 = 1 << 20;

/// Most records of one page.
const PAGE_ITEMS_MAX: usize = 1024;

/// Bytes written at once while a file is written anew.
const COPY_BYTES: usize = 1 << 20;

enum Change {
    Put {
        key: Bytes,
        value: Bytes,
        reply: Reply<(), DirectoryError>,
    },
    Remove {
        key: Bytes,
        reply: Reply<bool, DirectoryError>,
    },
}

/// Where a record stands in the file.
#[derive(Clone, Copy)]
struct Place {
    offset: u64,
    frame_len: u32,
}

/// What is in the file, and the file.
struct Table {
    records: BTreeMap<Bytes, Place>,
    live_bytes: u64,
    file: Arc<dyn DiskFile>,
    number: u32,
}

struct State {
    disk: Arc<dyn Disk>,
    salt: [u8; 8],
    table: Mutex<Table>,
    inbox: Inbox<Change>,
    failure: OnceLock<Arc<io::Error>>,
    most: usize,
}

/// The embedded directory of account records; see [`LogStore::directory`](super::LogStore::directory).
pub struct LogDirectory {
    state: Arc<State>,
    ended: watch::Receiver<()>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

fn file_name(number: u32) -> String {
    format!("accounts-{number:08x}.log")
}

fn file_number(name: &str) -> Option<u32> {
    parse_number(name, "accounts-")
}

fn failed(action: &'static str) -> impl Fn(io::Error) -> OpenError {
    move |source| OpenError::Io { action, source }
}

impl LogDirectory {
    /// The salt in the header of the newest file, if it is sound.
    pub(super) fn find_salt(disk: &dyn Disk, names: &[String]) -> Option<[u8; 8]> {
        let number = names.iter().filter_map(|name| file_number(name)).max()?;
        let file = disk.open(&file_name(number)).ok()?;
        match FileHeader::read(&*file).ok()? {
            ReadHeader::Sound(header) => Some(header.salt),
            _ => None,
        }
    }

    /// Opens the directory among the files of a store, or makes it.
    pub(super) fn open(
        disk: Arc<dyn Disk>,
        salt: [u8; 8],
        names: &[String],
        most: usize,
    ) -> Result<Self, OpenError> {
        let mut numbers: Vec<u32> = names.iter().filter_map(|name| file_number(name)).collect();
        numbers.sort_unstable();
        let newest = numbers.pop();
        for old in numbers {
            disk.remove(&file_name(old))
                .map_err(failed("delete an old file of accounts"))?;
        }
        let (table, end, commit) = match newest {
            Some(number) => load(&*disk, salt, number).map_err(failed("read the accounts"))?,
            None => {
                let made = begin(&*disk, salt, 1, std::iter::empty())
                    .map_err(failed("make the file of accounts"))?;
                (made.0, made.1, 0)
            }
        };
        let header = FileHeader::read(&*table.file).map_err(failed("read the accounts"))?;
        if let ReadHeader::OtherVersion(found) = header {
            return Err(OpenError::Version {
                found,
                supported: FORMAT_VERSION,
            });
        }
        let state = Arc::new(State {
            disk,
            salt,
            table: Mutex::new(table),
            inbox: Inbox::new(WAITING_BYTES),
            failure: OnceLock::new(),
            most,
        });
        let (tell_end, ended) = watch::channel(());
        let writer = Writer {
            state: Arc::clone(&state),
            end,
            reserved: end,
            commit: commit + 1,
        };
        let thread = std::thread::Builder::new()
            .name("mailbox-accounts".to_owned())
            .spawn(move || {
                let _tell_end = tell_end;
                writer.run();
            })
            .map_err(failed("start the accounts thread"))?;
        Ok(Self {
            state,
            ended,
            writer: Mutex::new(Some(thread)),
        })
    }

    /// Number of records.
    pub fn len(&self) -> usize {
        self.state.table.lock().records.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    async fn ask<T>(
        &self,
        bytes: usize,
        change: impl FnOnce(Reply<T, DirectoryError>) -> Change,
    ) -> Result<T, DirectoryError> {
        if let Some(error) = self.state.failure.get() {
            return Err(DirectoryError::Io(Arc::clone(error)));
        }
        let (reply, outcome) = oneshot::channel();
        self.state
            .inbox
            .push(change(reply), bytes)
            .map_err(Failure::from)?;
        outcome.await.unwrap_or(Err(DirectoryError::Closed))
    }

    async fn on_blocking_thread<T: Send + 'static>(
        &self,
        read: impl FnOnce(&State) -> Result<T, DirectoryError> + Send + 'static,
    ) -> Result<T, DirectoryError> {
        if self.state.inbox.is_closed() {
            return Err(DirectoryError::Closed);
        }
        let state = Arc::clone(&self.state);
        tokio::task::spawn_blocking(move || read(&state))
            .await
            .unwrap_or(Err(DirectoryError::Closed))
    }
}

fn check_key(key: &Bytes) -> Result<(), DirectoryError> {
    if key.is_empty() || key.len() > ACCOUNT_KEY_MAX {
        return Err(DirectoryError::KeyLength {
            bytes: key.len(),
            limit: ACCOUNT_KEY_MAX,
        });
    }
    Ok(())
}

impl Directory for LogDirectory {
    fn put(&self, key: Bytes, value: Bytes) -> BoxFuture<'_, Result<(), DirectoryError>> {
        Box::pin(async move {
            check_key(&key)?;
            if value.len() > ACCOUNT_VALUE_MAX {
                return Err(DirectoryError::ValueTooLarge {
                    bytes: value.len(),
                    limit: ACCOUNT_VALUE_MAX,
                });
            }
            self.ask(key.len() + value.len(), |reply| Change::Put {
                key,
                value,
                reply,
            })
            .await
        })
    }

    fn get(&self, key: Bytes) -> BoxFuture<'_, Result<Option<Bytes>, DirectoryError>> {
        Box::pin(async move {
            check_key(&key)?;
            self.on_blocking_thread(move |state| state.get(&key)).await
        })
    }

    fn remove(&self, key: Bytes) -> BoxFuture<'_, Result<bool, DirectoryError>> {
        Box::pin(async move {
            check_key(&key)?;
            self.ask(key.len(), |reply| Change::Remove { key, reply })
                .await
        })
    }

    fn page(
        &self,
        after: Option<Bytes>,
        max_items: usize,
    ) -> BoxFuture<'_, Result<AccountPage, DirectoryError>> {
        Box::pin(
            self.on_blocking_thread(move |state| {
                state.page(after, max_items.clamp(1, PAGE_ITEMS_MAX))
            }),
        )
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            self.state.inbox.close();
            while self.ended.clone().changed().await.is_ok() {}
        })
    }
}

impl Drop for LogDirectory {
    fn drop(&mut self) {
        self.state.inbox.close();
        if let Some(writer) = self.writer.get_mut().take() {
            drop(writer.join());
        }
    }
}

impl State {
    fn seal(&self, number: u32) -> FrameSeal {
        FrameSeal {
            salt: self.salt,
            file: number,
        }
    }

    fn get(&self, key: &Bytes) -> Result<Option<Bytes>, DirectoryError> {
        let (place, file, number) = {
            let table = self.table.lock();
            let Some(place) = table.records.get(key).copied() else {
                return Ok(None);
            };
            (place, Arc::clone(&table.file), table.number)
        };
        read_value(&*file, self.seal(number), key, place).map(Some)
    }

    fn page(&self, after: Option<Bytes>, max_items: usize) -> Result<AccountPage, DirectoryError> {
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

fn read_value(
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
fn load(disk: &dyn Disk, salt: [u8; 8], number: u32) -> io::Result<(Table, u64, u64)> {
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
fn begin(
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
fn append_put(
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

struct Writer {
    state: Arc<State>,
    /// Where the next commit stands.
    end: u64,
    /// Up to where room is set aside.
    reserved: u64,
    commit: u64,
}

/// What a written change does to the table, and who waits for it.
enum Written {
    Put(Bytes, Place, Reply<(), DirectoryError>),
    Removed(Bytes, Reply<bool, DirectoryError>),
}

impl Writer {
    fn run(mut self) {
        let _shut = ShutOnExit(Arc::clone(&self.state));
        let mut changes = Vec::new();
        while self.state.inbox.take(&mut changes, Patience::Forever) {
            self.commit(changes.drain(..));
            if let Err(error) = self.shrink() {
                self.note_failure(error);
            }
        }
    }

    fn commit(&mut self, changes: impl Iterator<Item = Change>) {
        let mut buffer = Vec::new();
        let mut written = Vec::new();
        let table = self.state.table.lock();
        let (file, seal) = (Arc::clone(&table.file), self.state.seal(table.number));
        let mut count = table.records.len();
        for change in changes {
            match change {
                Change::Put { key, reply, .. }
                    if count >= self.state.most && !table.records.contains_key(&key) =>
                {
                    drop(reply.send(Err(DirectoryError::Full {
                        limit: self.state.most,
                    })));
                }
                Change::Put { key, value, reply } => {
                    let place = append_put(&mut buffer, &seal, self.end, self.commit, &key, &value);
                    written.push(Written::Put(key, place, reply));
                    count += 1;
                }
                Change::Remove { key, reply } => {
                    let offset = self.end + buffer.len() as u64;
                    write_frame(
                        &mut buffer,
                        &seal,
                        offset,
                        KIND_REMOVE,
                        self.commit,
                        &key,
                        &[],
                    );
                    written.push(Written::Removed(key, reply));
                }
            }
        }
        drop(table);
        match self.write(&*file, &buffer) {
            Ok(()) => self.publish(written),
            Err(failure) => written
                .into_iter()
                .for_each(|written| written.fail(failure.clone())),
        }
    }

    fn write(&mut self, file: &dyn DiskFile, buffer: &[u8]) -> Result<(), Failure> {
        if let Some(error) = self.state.failure.get() {
            return Err(Failure::Io(Arc::clone(error)));
        }
        if buffer.is_empty() {
            return Ok(());
        }
        let end = self.end + buffer.len() as u64;
        let written = (|| {
            if end > self.reserved {
                file.reserve(end + GROW_BYTES)?;
                self.reserved = end + GROW_BYTES;
            }
            file.write_at(buffer, self.end)
        })();
        if let Err(error) = written {
            let undone = file.set_length(self.end);
            self.reserved = self.end;
            if is_out_of_room(&error) && undone.is_ok() {
                return Err(Failure::DiskFull);
            }
            return Err(self.note_failure(error));
        }
        file.sync().map_err(|error| self.note_failure(error))?;
        self.end = end;
        self.commit += 1;
        Ok(())
    }

    fn note_failure(&self, error: io::Error) -> Failure {
        tracing::error!(target: TARGET, %error, "the accounts can't be written and refuse changes until opened anew");
        Failure::Io(Arc::clone(
            self.state.failure.get_or_init(|| Arc::new(error)),
        ))
    }

    fn publish(&self, written: Vec<Written>) {
        let mut table = self.state.table.lock();
        let Table {
            records,
            live_bytes,
            ..
        } = &mut *table;
        let mut told: Vec<Box<dyn FnOnce()>> = Vec::with_capacity(written.len());
        for written in written {
            match written {
                Written::Put(key, place, reply) => {
                    *live_bytes += u64::from(place.frame_len);
                    if let Some(before) = records.insert(key, place) {
                        *live_bytes -= u64::from(before.frame_len);
                    }
                    told.push(Box::new(|| drop(reply.send(Ok(())))));
                }
                Written::Removed(key, reply) => {
                    let before = records.remove(&key);
                    *live_bytes -= before.map_or(0, |before| u64::from(before.frame_len));
                    told.push(Box::new(move || drop(reply.send(Ok(before.is_some())))));
                }
            }
        }
        drop(table);
        told.into_iter().for_each(|tell| tell());
    }

    /// Writes the file anew when most of it is dead.
    fn shrink(&mut self) -> io::Result<()> {
        if self.state.failure.get().is_some() {
            return Ok(());
        }
        let (records, file, number, live_bytes) = {
            let table = self.state.table.lock();
            let dead = self.end - (FILE_HEADER_LEN as u64) - table.live_bytes;
            if dead <= table.live_bytes + DEAD_ALLOWANCE {
                return Ok(());
            }
            let records: Vec<_> = table
                .records
                .iter()
                .map(|(key, place)| (key.clone(), *place))
                .collect();
            (
                records,
                Arc::clone(&table.file),
                table.number,
                table.live_bytes,
            )
        };
        let seal = self.state.seal(number);
        let live = records.into_iter().filter_map(|(key, place)| {
            // A damaged record can't be carried over; reading it says so.
            let value = read_value(&*file, seal, &key, place).ok()?;
            Some((key, value))
        });
        let next = number
            .checked_add(1)
            .ok_or_else(|| io::Error::other("file numbers used up"))?;
        let (table, end) = match begin(&*self.state.disk, self.state.salt, next, live) {
            Ok(made) => made,
            Err(error) if is_out_of_room(&error) => {
                tracing::warn!(target: TARGET, live_bytes, "no room to write the accounts anew");
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        *self.state.table.lock() = table;
        (self.end, self.reserved) = (end, end);
        if let Err(error) = self.state.disk.remove(&file_name(number)) {
            tracing::warn!(target: TARGET, %error, "an old file of accounts could not be deleted");
        }
        Ok(())
    }
}

impl Written {
    fn fail(self, failure: Failure) {
        match self {
            Self::Put(_, _, reply) => drop(reply.send(Err(failure.into()))),
            Self::Removed(_, reply) => drop(reply.send(Err(failure.into()))),
        }
    }
}

struct ShutOnExit(Arc<State>);

impl Drop for ShutOnExit {
    fn drop(&mut self) {
        self.0.inbox.discard();
    }
}
