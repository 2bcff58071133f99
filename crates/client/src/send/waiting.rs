//! What waits in the outbox, as its owner sees it.

use std::path::PathBuf;

use packet::MessageId;
use wallet::WalletAddress;

use super::Outbox;
use crate::state::{Finished, StateError, WaitingRow, What};

/// The most rows that are listed.
pub(crate) const MAX_LISTED: u32 = 10_000;
/// What the history says of a message that its owner dropped.
const DROPPED: &str = "dropped from the outbox";

/// A message that waits to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Waiting {
    /// Its id; of a file, the transfer's.
    pub id: MessageId,
    /// Whom it is for.
    pub to: WalletAddress,
    /// What it is.
    pub what: WaitingBody,
    /// When it was put there, Unix milliseconds.
    pub since_ms: u64,
    /// How often it was tried.
    pub attempts: u32,
    /// When it is tried again by whoever listens, Unix milliseconds.
    pub next_attempt_ms: u64,
    /// Why the last attempt failed.
    pub trouble: Option<String>,
}

/// What waits.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum WaitingBody {
    /// A text.
    Text(String),
    /// A file.
    File {
        /// Where it is.
        path: PathBuf,
        /// Its length in bytes.
        size: u64,
    },
    /// Word that messages have come.
    Receipt,
}

impl From<WaitingRow> for Waiting {
    fn from(row: WaitingRow) -> Self {
        Self {
            id: row.id,
            to: row.item.to,
            what: match row.item.what {
                What::Message { text, .. } => WaitingBody::Text(text),
                What::Receipt { .. } => WaitingBody::Receipt,
                What::File(file) => WaitingBody::File {
                    path: file.path,
                    size: file.size,
                },
            },
            since_ms: row.created_ms,
            attempts: row.attempts,
            next_attempt_ms: row.next_attempt_ms,
            trouble: row.progress.trouble,
        }
    }
}

impl Outbox {
    /// What waits, oldest first.
    pub(crate) async fn waiting(&self) -> Result<Vec<Waiting>, StateError> {
        let state = self.account.state();
        let rows = state.run(|state| state.waiting_rows(MAX_LISTED)).await?;
        Ok(rows.into_iter().map(Waiting::from).collect())
    }

    /// Gives up a message that waits; says whether there was one.
    pub(crate) async fn give_up(&self, id: MessageId) -> Result<bool, StateError> {
        let state = self.account.state();
        state
            .run(move |state| {
                let rows = state.waiting_rows(MAX_LISTED)?;
                let Some(row) = rows.into_iter().find(|row| row.id == id) else {
                    return Ok(false);
                };
                state.finish(id, row.item.to, &Finished::Failed(DROPPED.to_owned()))?;
                Ok(true)
            })
            .await
    }
}
