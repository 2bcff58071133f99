//! The outbox: what is to be sent, kept until mailboxes have said that they store it.
//!
//! A row is worked on by one process at a time, which holds a lease on it and renews it; when that process
//! dies the lease ends and another goes on. Should two ever send the same, the recipient shows it once.

mod lanes;
mod listing;

pub(crate) use lanes::OutboxLane;
pub(crate) use listing::WaitingRow;

use std::path::PathBuf;

use packet::{MessageId, SessionId};
use protocol::NodeId;
use rusqlite::{OptionalExtension as _, Row, Transaction, params};
use serde::{Deserialize, Serialize};
use wallet::{Fingerprint, WalletAddress};

use super::{Direction, Entry, EntryState, State, StateError, Tag};
use crate::carrier::Privacy;

/// The most rows that wait; a client that sends more than it can get rid of is told so.
const MAX_WAITING: u64 = 10_000;

/// What is to be sent, to whom and how.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct OutboxItem {
    pub(crate) to: WalletAddress,
    /// What a contact or reply route says of the recipient.
    pub(crate) fingerprint: Option<Fingerprint>,
    pub(crate) mailboxes: Vec<NodeId>,
    pub(crate) privacy: Privacy,
    /// At how many mailboxes it is to be stored.
    pub(crate) copies: u8,
    /// Whether to sign it; otherwise nobody learns who sent it.
    pub(crate) signed: bool,
    pub(crate) what: What,
}

/// The content of an outbox row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum What {
    /// One message.
    Message {
        content_type: String,
        /// The body: UTF-8 text.
        text: String,
        session: [u8; 8],
        sequence: u64,
        time_ms: u64,
    },
    /// A receipt for these messages.
    Receipt {
        ids: Vec<[u8; 16]>,
        session: [u8; 8],
        time_ms: u64,
    },
    /// A file, sent in chunks; the row's id is the transfer's.
    File(FileReference),
}

/// A file that is to be sent, and how it is cut.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FileReference {
    pub(crate) path: PathBuf,
    pub(crate) name: String,
    pub(crate) size: u64,
    /// Modification time in nanoseconds since 1970, as the file system tells it.
    pub(crate) modified_ns: i128,
    pub(crate) sha256: [u8; 32],
    pub(crate) chunk_bytes: u32,
    /// The session of its chunks, in which their sequence is their index.
    pub(crate) session: [u8; 8],
    /// What the message ids of its chunks derive from, so that a chunk sent twice has the same.
    pub(crate) seed: [u8; 32],
    pub(crate) time_ms: u64,
}

impl FileReference {
    pub(crate) const fn session(&self) -> SessionId {
        SessionId::from_bytes(self.session)
    }
}

/// How far a row has come.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct OutboxProgress {
    /// The mailboxes that store the message, or the last chunk that was stored.
    pub(crate) stored_at: Vec<NodeId>,
    /// The chunks that are stored, as little-endian bits.
    pub(crate) chunks: Vec<u8>,
    /// Why the last attempt failed.
    pub(crate) trouble: Option<String>,
}

/// A row of the outbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OutboxRow {
    pub(crate) id: MessageId,
    pub(crate) attempts: u32,
    pub(crate) item: OutboxItem,
    pub(crate) progress: OutboxProgress,
}

/// What became of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Finished {
    /// Stored at these mailboxes.
    Stored(Vec<NodeId>),
    /// Given up, for this reason.
    Failed(String),
}

/// The answer to a claim.
#[derive(Debug)]
pub(crate) enum Claim {
    /// It is the caller's until the lease ends.
    Taken(Box<OutboxRow>),
    /// Another process works on it, or it is not due.
    Busy,
    /// Nothing is left to do.
    Finished(Finished),
}

/// Names a process that works on rows: random.
pub(crate) type Owner = [u8; 16];

/// Whose a row is, and until when.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lease {
    pub(crate) owner: Owner,
    pub(crate) until_ms: u64,
}

/// Row status.
const WAITING: i64 = 0;
const STORED: i64 = 1;
const FAILED: i64 = 2;

impl State {
    /// Makes a row durable, with its line in the history if it has one. With a lease it is the holder's from
    /// the start, as if they had claimed it at once.
    pub(crate) fn enqueue(
        &self,
        id: MessageId,
        item: &OutboxItem,
        tag: Option<Tag>,
        entry: Option<&Entry>,
        now_ms: u64,
        lease: Option<Lease>,
    ) -> Result<(), StateError> {
        let row = id.as_bytes().as_slice();
        let sealed = self.seal("outbox.item", row, item)?;
        let progress = self.seal("outbox.progress", row, &OutboxProgress::default())?;
        self.change(|transaction| {
            let waiting: u64 = transaction
                .prepare_cached("SELECT count(*) FROM outbox WHERE status = ?1")?
                .query_row([WAITING], |row| row.get(0))?;
            if waiting >= MAX_WAITING {
                return Err(StateError::OutboxFull(waiting));
            }
            let mut insert = transaction.prepare_cached(
                "INSERT INTO outbox(id, tag, status, attempts, next_attempt_ms, lease_owner,
                   lease_until_ms, created_ms, item, progress)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?5, ?8, ?9)",
            )?;
            insert.execute(params![
                row,
                tag,
                WAITING,
                u32::from(lease.is_some()),
                now_ms,
                lease.map(|lease| lease.owner),
                lease.map_or(0, |lease| lease.until_ms),
                sealed,
                progress
            ])?;
            if let Some(entry) = entry {
                let state = EntryState::Pending;
                self.insert_message(transaction, Direction::Out, id, entry, state)?;
            }
            Ok(())
        })
    }

    /// The unfinished row with this tag, if there is one.
    pub(crate) fn waiting_with_tag(&self, tag: &Tag) -> Result<Option<MessageId>, StateError> {
        let connection = self.lock();
        let id = connection
            .query_row(
                "SELECT id FROM outbox WHERE tag = ?1 AND status = ?2",
                params![tag, WAITING],
                |row| row.get(0),
            )
            .optional()?;
        Ok(id.map(MessageId::from_bytes))
    }

    /// Claims a row until `lease_ms` from now; with `at_once` also if it is not due yet. A lease of a holder that
    /// is not `alive` counts for nothing.
    pub(crate) fn claim(
        &self,
        id: MessageId,
        owner: &Owner,
        now_ms: u64,
        lease_ms: u64,
        at_once: bool,
        alive: impl Fn(&Owner) -> bool,
    ) -> Result<Claim, StateError> {
        // Undone, it is a row that nobody has claimed.
        let row = self.change_without_sync(|transaction| {
            let found = transaction
                .prepare_cached(
                    "SELECT status, attempts, item, progress, lease_owner, lease_until_ms, next_attempt_ms
                     FROM outbox WHERE id = ?1",
                )?
                .query_row([id.as_bytes().as_slice()], Raw::read)
                .optional()?;
            if let Some(raw) = found.as_ref().filter(|raw| raw.is_free(owner, now_ms, at_once, &alive)) {
                transaction.execute(
                    "UPDATE outbox SET lease_owner = ?2, lease_until_ms = ?3, attempts = ?4 WHERE id = ?1",
                    params![
                        id.as_bytes(),
                        owner,
                        now_ms.saturating_add(lease_ms),
                        raw.attempts.saturating_add(1)
                    ],
                )?;
                return Ok((found, true));
            }
            Ok((found, false))
        })?;
        let (Some(raw), taken) = row else {
            return Ok(Claim::Finished(Finished::Failed(
                "it is no longer known".into(),
            )));
        };
        let key = id.as_bytes().as_slice();
        let progress: OutboxProgress = self.unseal("outbox.progress", key, &raw.progress)?;
        Ok(match raw.status {
            WAITING if taken => Claim::Taken(Box::new(OutboxRow {
                id,
                attempts: raw.attempts.saturating_add(1),
                item: self.unseal("outbox.item", key, &raw.item)?,
                progress,
            })),
            WAITING => Claim::Busy,
            STORED => Claim::Finished(Finished::Stored(progress.stored_at)),
            _ => Claim::Finished(Finished::Failed(progress.trouble.unwrap_or_default())),
        })
    }

    /// How many rows wait to be sent.
    pub(crate) fn waiting(&self) -> Result<u64, StateError> {
        let connection = self.lock();
        let statement = "SELECT count(*) FROM outbox WHERE status = ?1";
        Ok(connection.query_row(statement, [WAITING], |row| row.get(0))?)
    }

    /// Keeps a lease for longer; says whether it still was the caller's.
    pub(crate) fn renew(
        &self,
        id: MessageId,
        owner: &Owner,
        now_ms: u64,
        lease_ms: u64,
    ) -> Result<bool, StateError> {
        let renewed = self.lock().execute(
            "UPDATE outbox SET lease_until_ms = ?3 WHERE id = ?1 AND lease_owner = ?2 AND status = ?4",
            params![id.as_bytes(), owner, now_ms.saturating_add(lease_ms), WAITING],
        )?;
        Ok(renewed == 1)
    }

    /// Writes down how far a row has come.
    pub(crate) fn save_progress(
        &self,
        id: MessageId,
        progress: &OutboxProgress,
    ) -> Result<(), StateError> {
        let sealed = self.seal("outbox.progress", id.as_bytes(), progress)?;
        // Undone, what a mailbox knows already is sent again.
        self.change_without_sync(|transaction| {
            transaction.execute(
                "UPDATE outbox SET progress = ?2 WHERE id = ?1 AND status = ?3",
                params![id.as_bytes(), sealed, WAITING],
            )?;
            Ok(())
        })
    }

    /// Gives a row back, to be tried again at `next_ms`.
    pub(crate) fn postpone(
        &self,
        id: MessageId,
        owner: &Owner,
        progress: &OutboxProgress,
        next_ms: u64,
    ) -> Result<(), StateError> {
        let sealed = self.seal("outbox.progress", id.as_bytes(), progress)?;
        self.lock().execute(
            "UPDATE outbox SET progress = ?3, next_attempt_ms = ?4, lease_owner = NULL, lease_until_ms = 0
             WHERE id = ?1 AND lease_owner = ?2 AND status = ?5",
            params![id.as_bytes(), owner, sealed, next_ms, WAITING],
        )?;
        Ok(())
    }

    /// Ends a row; what it held is deleted, what became of it is kept for a while.
    pub(crate) fn finish(
        &self,
        id: MessageId,
        to: WalletAddress,
        outcome: &Finished,
    ) -> Result<(), StateError> {
        let (status, state, progress) = match outcome {
            Finished::Stored(nodes) => (
                STORED,
                EntryState::Done,
                OutboxProgress {
                    stored_at: nodes.clone(),
                    ..OutboxProgress::default()
                },
            ),
            Finished::Failed(reason) => (
                FAILED,
                EntryState::Failed,
                OutboxProgress {
                    trouble: Some(reason.clone()),
                    ..OutboxProgress::default()
                },
            ),
        };
        let sealed = self.seal("outbox.progress", id.as_bytes(), &progress)?;
        // Undone, what a mailbox knows already is sent again.
        self.change_without_sync(|transaction| {
            let mut end = transaction.prepare_cached(
                "UPDATE outbox SET status = ?2, progress = ?3, item = x'', lease_owner = NULL, lease_until_ms = 0
                 WHERE id = ?1 AND status = ?4",
            )?;
            end.execute(params![id.as_bytes(), status, sealed, WAITING])?;
            self.settle_sent(transaction, id, to, state, progress.clone())
        })
    }

    fn settle_sent(
        &self,
        transaction: &Transaction<'_>,
        id: MessageId,
        to: WalletAddress,
        state: EntryState,
        progress: OutboxProgress,
    ) -> Result<(), StateError> {
        self.amend_message(transaction, Direction::Out, to, id, |entry, now| {
            entry.stored_at = progress.stored_at;
            entry.failure = progress.trouble;
            // A receipt can overtake the last acknowledgement.
            if now == EntryState::Delivered {
                now
            } else {
                state
            }
        })
    }

    /// Forgets rows that were finished before `before_ms`.
    pub(crate) fn prune_outbox(&self, before_ms: u64) -> Result<(), StateError> {
        self.lock().execute(
            "DELETE FROM outbox WHERE status != ?1 AND created_ms < ?2",
            params![WAITING, before_ms],
        )?;
        Ok(())
    }
}

/// A row as it is on disk.
struct Raw {
    status: i64,
    attempts: u32,
    item: Vec<u8>,
    progress: Vec<u8>,
    lease_owner: Option<Owner>,
    lease_until_ms: u64,
    next_attempt_ms: u64,
}

impl Raw {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            status: row.get(0)?,
            attempts: row.get(1)?,
            item: row.get(2)?,
            progress: row.get(3)?,
            lease_owner: row.get(4)?,
            lease_until_ms: row.get(5)?,
            next_attempt_ms: row.get(6)?,
        })
    }

    fn is_free(
        &self,
        owner: &Owner,
        now_ms: u64,
        at_once: bool,
        alive: impl Fn(&Owner) -> bool,
    ) -> bool {
        let other = self.lease_owner.as_ref().filter(|other| *other != owner);
        let leased = self.lease_until_ms > now_ms && other.is_some_and(alive);
        self.status == WAITING && !leased && (at_once || self.next_attempt_ms <= now_ms)
    }
}
