//! What came from mailboxes: one transaction makes a whole batch durable, after which it is acknowledged.

use packet::{MessageId, TransferId};
use protocol::NodeId;
use rusqlite::{OptionalExtension as _, Row, Transaction, params};
use wallet::WalletAddress;

use super::{Direction, Entry, EntryState, Party, State, StateError, Tag};

/// One message out of a packet that was opened.
#[derive(Debug, Clone)]
pub(crate) struct Arrival {
    pub(crate) party: Party,
    pub(crate) id: MessageId,
    pub(crate) kind: ArrivalKind,
}

/// What a message is to the inbox.
#[derive(Debug, Clone)]
pub(crate) enum ArrivalKind {
    /// To be shown; a receipt is due at that time, if at all.
    Message {
        entry: Box<Entry>,
        receipt_due_ms: Option<u64>,
    },
    /// Messages of ours have arrived.
    Receipt { ids: Vec<MessageId> },
}

/// How far an incoming transfer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TransferStatus {
    /// Chunks are missing.
    Partial,
    /// It is in the inbox; more chunks of it are repetitions.
    Complete,
    /// It was given up; more chunks of it are dropped.
    Refused,
}

impl TransferStatus {
    const fn number(self) -> i64 {
        match self {
            Self::Partial => 0,
            Self::Complete => 1,
            Self::Refused => 2,
        }
    }

    const fn of(number: i64) -> Self {
        match number {
            0 => Self::Partial,
            1 => Self::Complete,
            _ => Self::Refused,
        }
    }
}

/// A file that comes in chunks.
#[derive(Debug, Clone)]
pub(crate) struct InboundTransfer {
    pub(crate) tag: Tag,
    pub(crate) status: TransferStatus,
    /// Bytes of data received so far.
    pub(crate) bytes: u64,
    /// How many chunks there are in all.
    pub(crate) count: u32,
    /// The chunks received, as little-endian bits.
    pub(crate) bits: Vec<u8>,
    /// The message that it becomes; its file holds size, SHA-256, name and place of the partial file.
    pub(crate) entry: Entry,
}

/// What a batch of packets of one mailbox came to.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    pub(crate) arrivals: Vec<Arrival>,
    pub(crate) transfers: Vec<InboundTransfer>,
}

/// What was new in a batch.
#[derive(Debug, Default)]
pub(crate) struct Committed {
    /// Messages that the inbox did not have.
    pub(crate) fresh: usize,
    /// Messages of ours that were found to have arrived.
    pub(crate) delivered: Vec<(WalletAddress, MessageId)>,
}

/// How much an unfinished transfer or a sender's transfers take.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    pub(crate) transfers: u64,
    pub(crate) bytes: u64,
}

impl State {
    /// Makes a batch durable, and with it that everything of `mailbox` up to `cursor` is here.
    pub(crate) fn commit(
        &self,
        mailbox: NodeId,
        cursor: u64,
        batch: &Batch,
        now_ms: u64,
    ) -> Result<Committed, StateError> {
        let tag = self.vault.tag("mailbox", &[mailbox.as_bytes()]);
        self.change(|transaction| {
            let mut committed = Committed::default();
            for arrival in &batch.arrivals {
                self.commit_arrival(transaction, arrival, now_ms, &mut committed)?;
            }
            for transfer in &batch.transfers {
                self.commit_transfer(transaction, transfer, now_ms)?;
            }
            // As a signed number it orders wrongly beyond 2^63, but is kept bit by bit.
            transaction.execute(
                "INSERT INTO cursors(tag, cursor) VALUES (?1, ?2) ON CONFLICT(tag) DO UPDATE SET cursor = ?2",
                params![tag, cursor.cast_signed()],
            )?;
            Ok(committed)
        })
    }

    fn commit_arrival(
        &self,
        transaction: &Transaction<'_>,
        arrival: &Arrival,
        now_ms: u64,
        committed: &mut Committed,
    ) -> Result<(), StateError> {
        let peer = arrival.party.tag(&self.vault);
        // By sender, so that nobody can use up another's message id.
        let tag = self.vault.tag("seen", &[&peer, arrival.id.as_bytes()]);
        let new = transaction.execute(
            "INSERT INTO seen(tag, at_ms) VALUES (?1, ?2) ON CONFLICT DO NOTHING",
            params![tag, now_ms],
        )?;
        if new == 0 {
            return Ok(());
        }
        match &arrival.kind {
            ArrivalKind::Message {
                entry,
                receipt_due_ms,
            } => {
                let state = EntryState::Pending;
                self.insert_message(transaction, Direction::In, arrival.id, entry, state)?;
                committed.fresh += 1;
                if let (Some(due_ms), Some(to)) = (*receipt_due_ms, arrival.party.wallet()) {
                    let reply = entry.reply.as_ref();
                    self.insert_receipt(transaction, to, reply, arrival.id, due_ms)?;
                }
            }
            ArrivalKind::Receipt { ids } => {
                let Some(from) = arrival.party.wallet() else {
                    return Ok(());
                };
                for id in ids {
                    if self.mark_delivered(transaction, from, *id)? {
                        committed.delivered.push((from, *id));
                    }
                }
            }
        }
        Ok(())
    }

    fn commit_transfer(
        &self,
        transaction: &Transaction<'_>,
        transfer: &InboundTransfer,
        now_ms: u64,
    ) -> Result<(), StateError> {
        let peer = transfer.entry.party.tag(&self.vault);
        let sealed = self.seal("transfers", &transfer.tag, &transfer.entry)?;
        transaction.execute(
            "INSERT INTO transfers(tag, peer, status, bytes, at_ms, bits, entry, count)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
             ON CONFLICT(tag) DO UPDATE SET status = ?3, bytes = ?4, at_ms = ?5, bits = ?6, entry = ?7",
            params![
                transfer.tag,
                peer,
                transfer.status.number(),
                transfer.bytes,
                now_ms,
                transfer.bits,
                sealed,
                transfer.count
            ],
        )?;
        Ok(())
    }

    /// What a transfer is looked up by: two senders may use one id.
    pub(crate) fn transfer_tag(&self, party: &Party, id: TransferId) -> Tag {
        let peer = party.tag(&self.vault);
        self.vault.tag("transfer", &[&peer, id.as_bytes()])
    }

    /// An incoming transfer that was met before.
    pub(crate) fn transfer(&self, tag: Tag) -> Result<Option<InboundTransfer>, StateError> {
        let raw = self
            .lock()
            .query_row(
                "SELECT status, bytes, bits, entry, count FROM transfers WHERE tag = ?1",
                [tag],
                RawTransfer::read,
            )
            .optional()?;
        let Some(raw) = raw else { return Ok(None) };
        Ok(Some(InboundTransfer {
            tag,
            status: raw.status,
            bytes: raw.bytes,
            count: raw.count,
            bits: raw.bits,
            entry: self.unseal("transfers", &tag, &raw.entry)?,
        }))
    }

    /// What unfinished transfers take, of one sender or of all.
    pub(crate) fn usage(&self, party: Option<&Party>) -> Result<Usage, StateError> {
        let peer = party.map(|party| party.tag(&self.vault));
        let connection = self.lock();
        let usage = connection.query_row(
            "SELECT count(*), coalesce(sum(bytes), 0) FROM transfers
             WHERE status = ?1 AND (?2 IS NULL OR peer = ?2)",
            params![TransferStatus::Partial.number(), peer],
            |row| {
                Ok(Usage {
                    transfers: row.get(0)?,
                    bytes: row.get(1)?,
                })
            },
        )?;
        Ok(usage)
    }

    /// Gives up unfinished transfers that nothing came of since `before_ms`; returns their partial files.
    pub(crate) fn give_up_transfers(&self, before_ms: u64) -> Result<Vec<String>, StateError> {
        let rows: Vec<(Tag, Vec<u8>)> = {
            let connection = self.lock();
            let mut statement = connection.prepare_cached(
                "SELECT tag, entry FROM transfers WHERE status = ?1 AND at_ms < ?2",
            )?;
            let partial = TransferStatus::Partial.number();
            statement
                .query_map(params![partial, before_ms], |row| {
                    Ok((row.get(0)?, row.get(1)?))
                })?
                .collect::<Result<_, _>>()?
        };
        let mut files = Vec::new();
        for (tag, sealed) in rows {
            let entry: Entry = self.unseal("transfers", &tag, &sealed)?;
            if let super::Content::File(file) = entry.content {
                files.extend(file.partial);
            }
            self.lock().execute(
                "UPDATE transfers SET status = ?2 WHERE tag = ?1",
                params![tag, TransferStatus::Refused.number()],
            )?;
        }
        Ok(files)
    }

    /// Forgets what was seen, sessions and finished transfers of before `before_ms`.
    pub(crate) fn prune_memory(&self, before_ms: u64) -> Result<(), StateError> {
        let partial = TransferStatus::Partial.number();
        self.change(|transaction| {
            transaction.execute("DELETE FROM seen WHERE at_ms < ?1", [before_ms])?;
            transaction.execute("DELETE FROM sessions WHERE at_ms < ?1", [before_ms])?;
            transaction.execute(
                "DELETE FROM transfers WHERE status != ?1 AND at_ms < ?2",
                params![partial, before_ms],
            )?;
            Ok(())
        })
    }
}

/// A transfer as it is on disk.
struct RawTransfer {
    status: TransferStatus,
    bytes: u64,
    bits: Vec<u8>,
    entry: Vec<u8>,
    count: u32,
}

impl RawTransfer {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            status: TransferStatus::of(row.get(0)?),
            bytes: row.get(1)?,
            bits: row.get(2)?,
            entry: row.get(3)?,
            count: row.get(4)?,
        })
    }
}
