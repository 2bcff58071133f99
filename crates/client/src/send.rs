//! Sending: an outbox that forgets nothing until a mailbox has said that it stores it.
//!
//! ```text
//! text or file ─→ row in the outbox (durable) ─→ attempt: look up, seal, submit ─→ acknowledged ─→ done
//!                          ↑                              │
//!                          └──────── later, with back-off ┘
//! ```
//!
//! **Invariant**: a row is durable before its first attempt, and ends only when as many mailboxes as were
//! wanted have acknowledged it, or when no later attempt could succeed.

mod attempt;
mod backoff;
mod chunks;
mod flush;
mod outbox;
mod waiting;
mod work;

pub use crate::files::OutgoingError;
pub(crate) use outbox::Outbox;
pub use waiting::{Waiting, WaitingBody};

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use packet::MessageId;
use protocol::NodeId;

use crate::carrier::{LookUpError, Privacy, SubmitError};
use crate::home::{HomeError, RecipientError};
use crate::state::StateError;

/// The longest text that is sent as a message, in bytes: it fits into one packet. More is sent as a file.
pub const MAX_TEXT_BYTES: usize = 1_000_000;
/// The most mailboxes that a message is stored at.
pub const MAX_COPIES: u8 = 3;
/// How long `send` goes on trying a text, unless told otherwise.
pub const TEXT_PATIENCE: Duration = Duration::from_secs(90);
/// How long `send` goes on with a file of which nothing more gets through, unless told otherwise.
pub const FILE_PATIENCE: Duration = Duration::from_secs(600);

/// How a message is to be sent.
#[derive(Clone, Default)]
#[non_exhaustive]
pub struct SendOptions {
    /// How much of its path is hidden; the client's default where none is said.
    pub privacy: Option<Privacy>,
    /// At how many mailboxes it is stored, 1–3; 0 is read as 1. A recipient with fewer mailboxes gets fewer.
    pub copies: u8,
    /// How long to go on trying while nothing gets through; [`TEXT_PATIENCE`] or [`FILE_PATIENCE`] where none
    /// is said. What is not stored by then stays in the outbox.
    pub patience: Option<Duration>,
    /// Sends without a signature: the recipient does not learn who wrote.
    pub anonymous: bool,
    /// Hears how it goes, from whatever task is at work.
    pub on_progress: Option<Arc<dyn Fn(SendProgress) + Send + Sync>>,
}

impl fmt::Debug for SendOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendOptions")
            .field("privacy", &self.privacy)
            .field("copies", &self.copies)
            .field("patience", &self.patience)
            .field("anonymous", &self.anonymous)
            .finish_non_exhaustive()
    }
}

impl SendOptions {
    pub(crate) fn tell(&self, progress: SendProgress) {
        if let Some(hear) = &self.on_progress {
            hear(progress);
        }
    }
}

/// How sending goes.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SendProgress {
    /// The file is read to learn its SHA-256; in bytes.
    Reading {
        /// Bytes read.
        done: u64,
        /// Bytes in all.
        total: u64,
    },
    /// The message is in the outbox; from now on it is not forgotten.
    Queued {
        /// Its id.
        id: MessageId,
        /// Whether an interrupted transfer goes on.
        resumed: bool,
    },
    /// Parts of the file are stored; in bytes of the file.
    Stored {
        /// Bytes stored.
        done: u64,
        /// Bytes in all.
        total: u64,
    },
    /// Nothing gets through at the moment.
    Waiting {
        /// Why.
        reason: String,
        /// When it is tried again.
        retry_in: Duration,
    },
}

/// A message that mailboxes have acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Sent {
    /// The message; of a file, the transfer.
    pub id: MessageId,
    /// The mailboxes that store it (of a file, those that store its last part).
    pub stored_at: Vec<NodeId>,
}

/// Why a message was not sent.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// The text names no recipient.
    #[error(transparent)]
    Recipient(#[from] RecipientError),
    /// The text is longer than [`MAX_TEXT_BYTES`].
    #[error("the text has {0} bytes, more than {MAX_TEXT_BYTES}: send it as a file")]
    TextTooLong(usize),
    /// More copies than a wallet has mailboxes.
    #[error("at most {MAX_COPIES} copies can be stored, not {0}")]
    TooManyCopies(u8),
    /// The message to answer does not tell who sent it.
    #[error("this message does not tell who sent it, so it can't be answered")]
    NobodyToAnswer,
    /// The file can't be sent.
    #[error(transparent)]
    File(#[from] OutgoingError),
    /// The wallet's state can't be used.
    #[error(transparent)]
    State(#[from] StateError),
    /// The wallet's certificate can't be used.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// Nothing got through in time; the message stays in the outbox and is tried again later.
    #[error(
        "message {id} is not stored yet, it stays in the outbox: `conet listen` goes on trying"
    )]
    NotYet {
        /// The message.
        id: MessageId,
        /// What the last attempt failed for.
        #[source]
        cause: AttemptError,
    },
    /// The message can't be sent; it is not kept.
    #[error("message {id} can't be sent")]
    Refused {
        /// The message.
        id: MessageId,
        /// Why.
        #[source]
        cause: AttemptError,
    },
    /// Another process that worked on the message gave it up.
    #[error("message {id} can't be sent: {reason}")]
    GivenUp {
        /// The message.
        id: MessageId,
        /// What that process wrote down.
        reason: String,
    },
}

/// Why one attempt to send failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AttemptError {
    /// The recipient's certificate was not found.
    #[error(transparent)]
    LookUp(#[from] LookUpError),
    /// The packet was not stored.
    #[error(transparent)]
    Submit(#[from] SubmitError),
    /// The recipient's new certificate is not one that their wallet vouches for.
    #[error(
        "the recipient's mailbox offers a new certificate that their wallet does not vouch for"
    )]
    FalseCertificate,
    /// The recipient's certificate changes faster than messages can be sealed to it.
    #[error("the recipient's certificate keeps changing")]
    Unsettled,
    /// Some mailboxes store it, but not as many as were wanted.
    #[error("only {stored} of {wanted} mailboxes store it")]
    TooFewCopies {
        /// How many do.
        stored: usize,
        /// How many were wanted.
        wanted: usize,
        /// Why the next did not.
        #[source]
        cause: SubmitError,
    },
    /// The message can't be sealed.
    #[error("the message can't be sealed to the recipient's certificate")]
    Seal(#[from] packet::SealError),
    /// The file can't be read or has changed.
    #[error(transparent)]
    File(#[from] OutgoingError),
    /// The wallet's state can't be used.
    #[error(transparent)]
    State(#[from] StateError),
    /// The wallet's certificate can't be used.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// Another process is at it.
    #[error("another process is sending it")]
    Elsewhere,
}

impl AttemptError {
    /// Whether a later attempt may succeed.
    pub(crate) fn may_pass(&self) -> bool {
        match self {
            Self::LookUp(error) => matches!(error, LookUpError::Unreachable(_)),
            Self::Submit(error) | Self::TooFewCopies { cause: error, .. } => {
                !matches!(error, SubmitError::Refused(_))
            }
            Self::Unsettled | Self::Elsewhere => true,
            Self::State(_) | Self::Home(_) => true,
            Self::FalseCertificate | Self::Seal(_) | Self::File(_) => false,
        }
    }

    /// The error and its causes in one line.
    pub(crate) fn in_full(&self) -> String {
        let mut text = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            text.push_str(": ");
            text.push_str(&error.to_string());
            cause = error.source();
        }
        text
    }
}

/// What [`crate::Client::flush_outbox`] did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct FlushReport {
    /// Messages that mailboxes have acknowledged.
    pub stored: usize,
    /// Messages that were given up.
    pub failed: usize,
    /// Messages that still wait, for whatever reason.
    pub waiting: u64,
}
