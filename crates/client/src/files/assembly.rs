//! Files that come in chunks, put together in partial files.
//!
//! Owned by the one process that listens. What is in memory may be ahead of what is durable: if making it
//! durable fails, [`Assemblies::forget`] throws it away and it is read again.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use packet::Chunk;
use protocol::transfer::Assembly;

use super::name::safe_name;
use super::running::RunningHash;
use crate::home::{FileError, private_files};
use crate::state::{
    Content, Entry, FileEntry, InboundTransfer, Party, State, StateError, Tag, TransferStatus,
};

/// Unfinished transfers of one sender at most.
const MAX_TRANSFERS_OF_ONE: u64 = 16;
/// Unfinished transfers of all senders at most.
const MAX_TRANSFERS: u64 = 256;
/// The longest file that is taken from whoever is not a contact.
const MAX_STRANGERS_FILE_BYTES: u64 = 4 << 30;
/// What the unfinished files of one such sender may take on disk.
const MAX_STRANGERS_BYTES: u64 = 8 << 30;
/// What the unfinished files of all senders may take on disk.
const MAX_BYTES: u64 = 256 << 30;
/// Transfers that are kept in memory at most; others are read again when their next chunk comes.
const MAX_CACHED: usize = 64;

/// What a chunk did.
#[derive(Debug)]
pub(crate) enum ChunkOutcome {
    /// It is a repetition, or of a transfer that is over.
    Nothing,
    /// It is one of several; the rest is still missing.
    Progress(Box<InboundTransfer>),
    /// It was the last one; the file is whole and right, and becomes this message.
    Complete(Box<InboundTransfer>),
    /// The transfer is given up, for this reason.
    Refused(Box<InboundTransfer>, Refused),
}

/// Why an incoming file is given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    #[error("its sender has too many unfinished files here")]
    TooMany,
    #[error("it is larger than what is taken from somebody who is no contact")]
    TooLarge,
    #[error("its chunks contradict each other")]
    Contradiction,
    #[error("it is damaged: its SHA-256 is not the one that was announced")]
    Damaged,
}

/// Why a chunk could not be taken; it has to come again.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AssemblyError {
    /// The partial file can't be written: the disk is full, for example.
    #[error(transparent)]
    File(#[from] FileError),
    /// The state can't be used.
    #[error(transparent)]
    State(#[from] StateError),
}

/// The unfinished files of an account.
#[derive(Debug)]
pub(crate) struct Assemblies {
    folder: PathBuf,
    active: HashMap<Tag, Active>,
}

#[derive(Debug)]
struct Active {
    assembly: Assembly,
    transfer: InboundTransfer,
    /// Written since it was last made durable.
    file: Option<File>,
    hash: RunningHash,
    /// Whether the state knows of it.
    recorded: bool,
}

impl Assemblies {
    pub(crate) fn in_folder(folder: PathBuf) -> Result<Self, FileError> {
        private_files::make_folder(&folder)?;
        Ok(Self {
            folder,
            active: HashMap::new(),
        })
    }

    /// Forgets what is in memory; what is durable is read again.
    pub(crate) fn forget(&mut self) {
        self.active.clear();
    }

    /// Makes all data written so far durable; to be done before the rows that speak of it.
    pub(crate) fn sync(&mut self) -> Result<(), FileError> {
        for active in self.active.values_mut() {
            if let Some(file) = active.file.take() {
                file.sync_data()
                    .map_err(FileError::at("write", &self.folder))?;
            }
        }
        Ok(())
    }

    /// Hears that everything taken so far is durable.
    pub(crate) fn committed(&mut self) {
        if self.active.len() > MAX_CACHED {
            self.forget();
        }
        for active in self.active.values_mut() {
            active.recorded = true;
        }
    }

    /// How many transfers the state does not know of yet.
    fn unrecorded(&self, party: Option<&Party>) -> u64 {
        let active = self.active.values().filter(|active| {
            !active.recorded && party.is_none_or(|party| active.transfer.entry.party == *party)
        });
        active.count() as u64
    }

    /// Takes a chunk. `entry` makes the message that a new transfer will become.
    pub(crate) fn take(
        &mut self,
        state: &State,
        party: &Party,
        chunk: &Chunk,
        is_contact: bool,
        entry: impl FnOnce(FileEntry) -> Entry,
    ) -> Result<ChunkOutcome, AssemblyError> {
        let tag = state.transfer_tag(party, chunk.transfer);
        if !self.active.contains_key(&tag) {
            match self.load(state, tag, chunk, is_contact, entry)? {
                Loaded::Active(active) => {
                    self.active.insert(tag, *active);
                }
                Loaded::Over => return Ok(ChunkOutcome::Nothing),
                Loaded::Refused(transfer, why) => return Ok(ChunkOutcome::Refused(transfer, why)),
            }
        }
        let path = self.folder.join(partial_name(&tag));
        let Some(active) = self.active.get_mut(&tag) else {
            return Ok(ChunkOutcome::Nothing);
        };
        if active.transfer.status != TransferStatus::Partial {
            return Ok(ChunkOutcome::Nothing);
        }
        let mut assembly = active.assembly.clone();
        match assembly.take(chunk) {
            Ok(true) => {}
            Ok(false) => return Ok(ChunkOutcome::Nothing),
            Err(_) => return Ok(active.refuse(&path, Refused::Contradiction)),
        }
        active.write(&path, chunk)?;
        active.assembly = assembly;
        active.transfer.bits = active.assembly.bits();
        active.transfer.bytes += chunk.data.len() as u64;
        if !active.assembly.is_complete() {
            return Ok(ChunkOutcome::Progress(Box::new(active.transfer.clone())));
        }
        let hash = std::mem::replace(&mut active.hash, RunningHash::unknown());
        let hash = hash.finish(&path, active.assembly.total);
        if hash.map_err(FileError::at("read", &path))? != active.assembly.sha256 {
            return Ok(active.refuse(&path, Refused::Damaged));
        }
        active.transfer.status = TransferStatus::Complete;
        Ok(ChunkOutcome::Complete(Box::new(active.transfer.clone())))
    }

    /// Keeps a whole body as a partial file; it is durable on return.
    pub(crate) fn keep_whole(&self, tag: &Tag, body: &[u8]) -> Result<String, FileError> {
        let name = partial_name(tag);
        private_files::replace(&self.folder.join(&name), body)?;
        Ok(name)
    }

    fn load(
        &self,
        state: &State,
        tag: Tag,
        chunk: &Chunk,
        is_contact: bool,
        entry: impl FnOnce(FileEntry) -> Entry,
    ) -> Result<Loaded, AssemblyError> {
        if let Some(transfer) = state.transfer(tag)? {
            if transfer.status != TransferStatus::Partial {
                return Ok(Loaded::Over);
            }
            return Ok(self.resume(transfer, chunk));
        }
        let partial = partial_name(&tag);
        let file = FileEntry {
            name: safe_name(&chunk.name),
            content_type: None,
            size: chunk.total,
            sha256: chunk.sha256,
            partial: Some(partial),
            path: None,
        };
        let mut transfer = InboundTransfer {
            tag,
            status: TransferStatus::Partial,
            bytes: 0,
            count: chunk.count,
            bits: Vec::new(),
            entry: entry(file),
        };
        let (assembly, refused) = match Assembly::start(chunk) {
            Ok(assembly) => {
                let refused = self.too_much(state, &transfer.entry.party, chunk, is_contact)?;
                (Some(assembly), refused)
            }
            Err(_) => (None, Some(Refused::Contradiction)),
        };
        match (assembly, refused) {
            (Some(assembly), None) => Ok(Loaded::Active(Box::new(Active {
                assembly,
                transfer,
                file: None,
                hash: RunningHash::new(),
                recorded: false,
            }))),
            (_, why) => {
                transfer.status = TransferStatus::Refused;
                let why = why.unwrap_or(Refused::Contradiction);
                Ok(Loaded::Refused(Box::new(transfer), why))
            }
        }
    }

    /// Whether a new transfer would be one too many.
    fn too_much(
        &self,
        state: &State,
        party: &Party,
        chunk: &Chunk,
        is_contact: bool,
    ) -> Result<Option<Refused>, StateError> {
        let mut of_all = state.usage(None)?;
        let mut of_one = state.usage(Some(party))?;
        of_all.transfers += self.unrecorded(None);
        of_one.transfers += self.unrecorded(Some(party));
        if of_one.transfers >= MAX_TRANSFERS_OF_ONE
            || of_all.transfers >= MAX_TRANSFERS
            || of_all.bytes >= MAX_BYTES
        {
            return Ok(Some(Refused::TooMany));
        }
        if !is_contact {
            if chunk.total > MAX_STRANGERS_FILE_BYTES {
                return Ok(Some(Refused::TooLarge));
            }
            if of_one.bytes >= MAX_STRANGERS_BYTES {
                return Ok(Some(Refused::TooMany));
            }
        }
        Ok(None)
    }

    /// Goes on with a transfer of an earlier run; what the chunk says is checked against it when taken.
    fn resume(&self, transfer: InboundTransfer, chunk: &Chunk) -> Loaded {
        let Content::File(file) = &transfer.entry.content else {
            return Loaded::Over;
        };
        let claimed = Chunk {
            index: 0,
            count: transfer.count,
            total: file.size,
            sha256: file.sha256,
            ..chunk.clone()
        };
        let Ok(mut assembly) = Assembly::start(&claimed) else {
            return Loaded::Over;
        };
        assembly.restore(&transfer.bits);
        Loaded::Active(Box::new(Active {
            assembly,
            transfer,
            file: None,
            hash: RunningHash::unknown(),
            recorded: true,
        }))
    }
}

enum Loaded {
    Active(Box<Active>),
    Over,
    Refused(Box<InboundTransfer>, Refused),
}

impl Active {
    fn write(&mut self, path: &Path, chunk: &Chunk) -> Result<(), FileError> {
        let written = (|| {
            if self.file.is_none() {
                self.file = Some(open(path)?);
            }
            match &self.file {
                Some(file) => file.write_all_at(&chunk.data, chunk.offset)?,
                None => return Ok(()),
            }
            self.hash.wrote(path, chunk.offset, &chunk.data)
        })();
        written.map_err(FileError::at("write", path))
    }

    fn refuse(&mut self, path: &Path, why: Refused) -> ChunkOutcome {
        self.file = None;
        // Left behind at worst: nothing refers to it any more.
        let _ = std::fs::remove_file(path);
        self.transfer.status = TransferStatus::Refused;
        ChunkOutcome::Refused(Box::new(self.transfer.clone()), why)
    }
}

fn partial_name(tag: &Tag) -> String {
    hex::encode(tag)
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
}
