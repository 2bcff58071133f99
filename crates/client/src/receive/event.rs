//! What a listener hears.

use std::path::PathBuf;

use packet::MessageId;
use protocol::NodeId;
use wallet::{Fingerprint, WalletAddress};

use crate::home::ContactBook;
use crate::state::{Content, Entry, Party, Reply};

/// Something that a listener hears.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// A message for the user.
    Message(Box<Message>),
    /// Messages of this wallet have arrived, says their recipient.
    Receipt {
        /// Who says so.
        from: Sender,
        /// The messages; of files, the transfers.
        ids: Vec<MessageId>,
    },
    /// Messages of a sender's session did not come in time, before the next event of theirs.
    Gap {
        /// Whose messages.
        from: Sender,
        /// How many.
        missing: u64,
    },
    /// All mailboxes have delivered what they kept. Comes once.
    CaughtUp,
    /// Something that the user should know; listening goes on.
    Warning(Warning),
}

/// Something that went wrong while listening goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Warning {
    /// A mailbox can't be collected from at the moment.
    MailboxUnreachable {
        /// Which.
        mailbox: NodeId,
        /// Why, in one line.
        reason: String,
    },
    /// A mailbox that could not be collected from is back.
    MailboxBack {
        /// Which.
        mailbox: NodeId,
    },
    /// A packet could not be opened and was dropped.
    Unreadable {
        /// Why, in one line.
        reason: String,
    },
    /// A file that came, or was coming, was given up.
    FileRefused {
        /// From whom.
        from: Sender,
        /// What the sender calls it, made safe.
        name: String,
        /// Why, in one line.
        reason: String,
    },
    /// A file is here but can't be put where it should go; it is tried again.
    FileNotPlaced {
        /// What it is called.
        name: String,
        /// Why, in one line.
        reason: String,
    },
    /// What came can't be made durable, so it was not acknowledged; it is tried again.
    NotDurable {
        /// Why, in one line.
        reason: String,
    },
    /// The wallet was restored: what was sent to its former subkeys can't be read.
    Restored,
    /// Keeping certificate, mailboxes or route up to date failed; it is tried again.
    Upkeep {
        /// Why, in one line.
        reason: String,
    },
}

/// Who sent a message, as far as that is proved.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Sender {
    /// Their wallet, if it is proved.
    pub wallet: Option<WalletAddress>,
    /// The fingerprint of their OpenPGP certificate, if only that is proved.
    pub fingerprint: Option<Fingerprint>,
    /// What they are called in the contact book.
    pub name: Option<String>,
}

/// How well a sender is proved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verification {
    /// By wallet and certificate.
    Wallet,
    /// By an OpenPGP certificate that is known.
    OpenPgp,
    /// Not at all.
    Unsigned,
}

impl Verification {
    /// The word for it in JSON: `wallet`, `openpgp` or `unsigned`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Wallet => "wallet",
            Self::OpenPgp => "openpgp",
            Self::Unsigned => "unsigned",
        }
    }
}

/// A message that came.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Message {
    /// Its id; of a file, the transfer's.
    pub id: MessageId,
    /// Who sent it.
    pub from: Sender,
    /// How well that is proved.
    pub verified: Verification,
    /// Of an unsigned message, the fingerprint of the key that claims to have signed it: anybody can claim that.
    pub claimed: Option<Fingerprint>,
    /// When the sender made it, Unix milliseconds by their clock.
    pub time_ms: u64,
    /// When it came here, Unix milliseconds.
    pub received_ms: u64,
    /// What it says.
    pub body: Body,
    pub(crate) reply: Option<Reply>,
}

/// What a message says.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Body {
    /// A text, as the sender wrote it: it may hold any character.
    Text(String),
    /// A file.
    File(ReceivedFile),
}

/// A file that came or went.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReceivedFile {
    /// Its name, made safe.
    pub name: String,
    /// Where it is now.
    pub path: Option<PathBuf>,
    /// Its length in bytes.
    pub size: u64,
    /// Its SHA-256, which was checked.
    pub sha256: [u8; 32],
    /// Its content type, if the sender said one.
    pub content_type: Option<String>,
}

impl Sender {
    pub(crate) fn of(party: &Party, book: &ContactBook) -> Self {
        let wallet = party.wallet();
        Self {
            wallet,
            fingerprint: match party {
                Party::OpenPgp(fingerprint) => Some(*fingerprint),
                _ => None,
            },
            name: wallet
                .and_then(|wallet| book.of(&wallet))
                .map(|contact| contact.name.to_string()),
        }
    }
}

/// The message that an entry of the inbox is.
pub(crate) fn message_of(id: MessageId, entry: Entry, book: &ContactBook) -> Message {
    Message {
        id,
        from: Sender::of(&entry.party, book),
        verified: match entry.party {
            Party::Wallet(_) => Verification::Wallet,
            Party::OpenPgp(_) => Verification::OpenPgp,
            Party::Nobody => Verification::Unsigned,
        },
        claimed: entry.claimed,
        time_ms: entry.time_ms,
        received_ms: entry.received_ms,
        body: match entry.content {
            Content::Text(text) => Body::Text(text),
            Content::File(file) => Body::File(ReceivedFile {
                name: file.name,
                path: file.path,
                size: file.size,
                sha256: file.sha256,
                content_type: file.content_type,
            }),
        },
        reply: entry.reply,
    }
}

/// An error and its causes in one line.
pub(crate) fn in_full(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
