//! The thread that writes account records.

use std::io;
use std::sync::Arc;

use bytes::Bytes;

use super::table::{Place, Table, append_put, begin, read_value};
use super::{Change, KIND_REMOVE, State, file_name};
use crate::disk::{DiskFile, is_out_of_room};
use crate::error::DirectoryError;
use crate::log::command::{Failure, Reply};
use crate::log::frame::write_frame;
use crate::log::header::FILE_HEADER_LEN;
use crate::log::inbox::Patience;
use crate::log::shared::TARGET;

/// The file grows by this much at a time, set aside before it is written.
const GROW_BYTES: u64 = 1 << 20;

/// A file is written anew when its dead bytes exceed the live ones by this.
const DEAD_ALLOWANCE: u64 = 1 << 20;

pub(super) struct Writer {
    pub(super) state: Arc<State>,
    /// Where the next commit stands.
    pub(super) end: u64,
    /// Up to where room is set aside.
    pub(super) reserved: u64,
    pub(super) commit: u64,
}

/// What a written change does to the table, and who waits for it.
enum Written {
    Put(Bytes, Place, Reply<(), DirectoryError>),
    Removed(Bytes, Reply<bool, DirectoryError>),
}

impl Writer {
    pub(super) fn run(mut self) {
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
