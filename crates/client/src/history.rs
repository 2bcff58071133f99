//! The history of a wallet's messages: encrypted on disk, readable by whoever has unlocked the wallet.

use packet::MessageId;
use protocol::NodeId;

use crate::home::ContactBook;
use crate::receive::{Body, Sender, message_of};
use crate::state::{Direction, EntryState, MessageRow};

/// A message that came or went.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct HistoryEntry {
    /// The message; of a file, the transfer.
    pub id: MessageId,
    /// The other end: who sent it, or whom it was sent to.
    pub peer: Sender,
    /// When its sender made it, Unix milliseconds.
    pub time_ms: u64,
    /// What it says.
    pub body: Body,
    /// How far it has come.
    pub status: MessageStatus,
}

/// How far a message has come.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum MessageStatus {
    /// It came, and was not handed over yet.
    Unread,
    /// It came and was handed over.
    Read,
    /// It waits in the outbox.
    Waiting,
    /// These mailboxes keep it for its recipient.
    Stored(Vec<NodeId>),
    /// Its recipient has it, says their receipt.
    Delivered,
    /// It was given up, for this reason.
    Failed(String),
}

impl MessageStatus {
    /// Whether the message went, not came.
    #[must_use]
    pub const fn is_outgoing(&self) -> bool {
        !matches!(self, Self::Unread | Self::Read)
    }
}

/// A line of the history as its reader sees it.
pub(crate) fn entry_of(row: MessageRow, book: &ContactBook) -> HistoryEntry {
    let mut entry = row.entry;
    let status = match (row.direction, row.state) {
        (Direction::In, EntryState::Pending) => MessageStatus::Unread,
        (Direction::In, _) => MessageStatus::Read,
        (Direction::Out, EntryState::Pending) => MessageStatus::Waiting,
        (Direction::Out, EntryState::Done) => {
            MessageStatus::Stored(std::mem::take(&mut entry.stored_at))
        }
        (Direction::Out, EntryState::Delivered) => MessageStatus::Delivered,
        (Direction::Out, EntryState::Failed) => {
            MessageStatus::Failed(entry.failure.take().unwrap_or_default())
        }
    };
    let message = message_of(row.id, entry, book);
    HistoryEntry {
        id: message.id,
        peer: message.from,
        time_ms: message.time_ms,
        body: message.body,
        status,
    }
}
