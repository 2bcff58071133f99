//! A message as it is kept: what history shows and the inbox hands over.

use std::path::PathBuf;

use packet::SessionId;
use protocol::NodeId;
use serde::{Deserialize, Serialize};
use wallet::{Fingerprint, WalletAddress};

use super::{Tag, Vault};

/// Whether a message came or went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    /// From somebody to this wallet.
    In,
    /// From this wallet to somebody.
    Out,
}

impl Direction {
    pub(super) const fn number(self) -> i64 {
        match self {
            Self::In => 0,
            Self::Out => 1,
        }
    }

    pub(super) const fn of(number: i64) -> Self {
        if number == 0 { Self::In } else { Self::Out }
    }
}

/// How far a message has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EntryState {
    /// In: durable, not yet handed over. Out: waits in the outbox.
    Pending,
    /// In: handed over. Out: stored at as many mailboxes as were wanted.
    Done,
    /// Out: the recipient sent a receipt.
    Delivered,
    /// Out: given up.
    Failed,
}

impl EntryState {
    pub(super) const fn number(self) -> i64 {
        match self {
            Self::Pending => 0,
            Self::Done => 1,
            Self::Delivered => 2,
            Self::Failed => 3,
        }
    }

    pub(super) const fn of(number: i64) -> Self {
        match number {
            0 => Self::Pending,
            1 => Self::Done,
            2 => Self::Delivered,
            _ => Self::Failed,
        }
    }
}

/// The other end of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Party {
    /// A wallet: proved for what came, named for what went.
    Wallet(WalletAddress),
    /// The holder of an OpenPGP certificate that is known.
    OpenPgp(Fingerprint),
    /// Nobody who could be named.
    Nobody,
}

impl Party {
    /// What the party is looked up by.
    pub(crate) fn tag(&self, vault: &Vault) -> Tag {
        match self {
            Self::Wallet(wallet) => vault.tag("peer", &[b"wallet", wallet.as_bytes()]),
            Self::OpenPgp(fingerprint) => vault.tag("peer", &[b"openpgp", fingerprint.as_bytes()]),
            Self::Nobody => vault.tag("peer", &[b"nobody"]),
        }
    }

    pub(crate) const fn wallet(&self) -> Option<WalletAddress> {
        match self {
            Self::Wallet(wallet) => Some(*wallet),
            _ => None,
        }
    }
}

/// Where an answer can go, as the sender says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Reply {
    pub(crate) fingerprint: Fingerprint,
    pub(crate) mailboxes: Vec<NodeId>,
}

/// What a message says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Content {
    Text(String),
    File(FileEntry),
}

/// A file that came or went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FileEntry {
    /// In: a safe base name; out: the name that was sent.
    pub(crate) name: String,
    pub(crate) content_type: Option<String>,
    pub(crate) size: u64,
    pub(crate) sha256: [u8; 32],
    /// In: the file's name among the partial transfers.
    #[serde(default)]
    pub(crate) partial: Option<String>,
    /// In: where it was put or is about to be put; out: where it was read.
    pub(crate) path: Option<PathBuf>,
}

/// A message that came or went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    pub(crate) party: Party,
    /// When the sender made it, Unix milliseconds by their clock.
    pub(crate) time_ms: u64,
    /// In: when it was made durable here.
    pub(crate) received_ms: u64,
    /// In: place in the sender's session, if it has one.
    #[serde(default)]
    pub(crate) order: Option<Order>,
    #[serde(default)]
    pub(crate) reply: Option<Reply>,
    pub(crate) content: Content,
    /// In: the key that claims to have signed, if that could not be checked.
    #[serde(default)]
    pub(crate) claimed: Option<Fingerprint>,
    /// Out: the mailboxes that keep it. In: none.
    #[serde(default)]
    pub(crate) stored_at: Vec<NodeId>,
    /// Out: why it was given up.
    #[serde(default)]
    pub(crate) failure: Option<String>,
}

/// Place of a message in its sender's session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Order {
    session: [u8; 8],
    pub(crate) sequence: u64,
}

impl Order {
    pub(crate) const fn new(session: SessionId, sequence: u64) -> Self {
        Self {
            session: *session.as_bytes(),
            sequence,
        }
    }

    pub(crate) const fn session(&self) -> SessionId {
        SessionId::from_bytes(self.session)
    }
}
