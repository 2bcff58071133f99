//! Reading the outbox, for its owner.

use packet::MessageId;
use rusqlite::params;

use super::{OutboxItem, OutboxProgress, WAITING};
use crate::state::{State, StateError};

/// A row that waits to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WaitingRow {
    pub(crate) id: MessageId,
    pub(crate) created_ms: u64,
    pub(crate) next_attempt_ms: u64,
    pub(crate) attempts: u32,
    pub(crate) item: OutboxItem,
    pub(crate) progress: OutboxProgress,
}

impl State {
    /// The rows that wait, oldest first.
    pub(crate) fn waiting_rows(&self, limit: u32) -> Result<Vec<WaitingRow>, StateError> {
        type Sealed = ([u8; 16], u64, u64, u32, Vec<u8>, Vec<u8>);
        let sealed = {
            let connection = self.lock();
            let mut statement = connection.prepare_cached(
                "SELECT id, created_ms, next_attempt_ms, attempts, item, progress
                 FROM outbox WHERE status = ?1 ORDER BY created_ms LIMIT ?2",
            )?;
            let rows = statement.query_map(params![WAITING, limit], |row| row.try_into())?;
            rows.collect::<Result<Vec<Sealed>, _>>()?
        };
        sealed
            .into_iter()
            .map(
                |(id, created_ms, next_attempt_ms, attempts, item, progress)| {
                    Ok(WaitingRow {
                        id: MessageId::from_bytes(id),
                        created_ms,
                        next_attempt_ms,
                        attempts,
                        item: self.unseal("outbox.item", &id, &item)?,
                        progress: self.unseal("outbox.progress", &id, &progress)?,
                    })
                },
            )
            .collect()
    }
}
