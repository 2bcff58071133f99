//! The directory of account records: a log of its own, with one writer thread and group commit.
//!
//! Keys and places are in memory, values on disk. When more of the file is dead than alive, the
//! live records are written to a new file, which takes the place of the old one at one stroke;
//! changes wait meanwhile, reading doesn't.

mod table;
mod writer;

use std::io;
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{oneshot, watch};

use super::command::{Failure, Reply};
use super::files::parse_number;
use super::header::{FORMAT_VERSION, FileHeader, ReadHeader};
use super::inbox::Inbox;
use crate::disk::Disk;
use crate::error::{DirectoryError, OpenError};
use crate::store::{ACCOUNT_KEY_MAX, ACCOUNT_VALUE_MAX, AccountPage, BoxFuture, Directory};
use table::{Table, begin, load};
use writer::Writer;

const KIND_PUT: u8 = 16;
const KIND_REMOVE: u8 = 17;

/// Bytes of records that may wait to be written.
const WAITING_BYTES: usize = 8 << 20;

/// Most records of one page.
const PAGE_ITEMS_MAX: usize = 1024;

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
