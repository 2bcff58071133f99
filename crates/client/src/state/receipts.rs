//! Receipts that are due: who is to hear, after a while, that their messages have arrived.

use packet::{MAX_RECEIPT_IDS, MessageId};
use rusqlite::{Transaction, params};
use serde::{Deserialize, Serialize};
use wallet::WalletAddress;

use super::entry::Reply;
use super::{Party, State, StateError};

/// One wallet's messages that are to be acknowledged to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DueReceipts {
    pub(crate) to: WalletAddress,
    pub(crate) reply: Option<Reply>,
    pub(crate) ids: Vec<MessageId>,
}

/// What a row holds.
#[derive(Serialize, Deserialize)]
struct Due {
    to: WalletAddress,
    reply: Option<Reply>,
    id: [u8; 16],
}

impl State {
    pub(super) fn insert_receipt(
        &self,
        transaction: &Transaction<'_>,
        to: WalletAddress,
        reply: Option<&Reply>,
        id: MessageId,
        due_ms: u64,
    ) -> Result<(), StateError> {
        let peer = Party::Wallet(to).tag(&self.vault);
        let tag = self.vault.tag("receipt", &[&peer, id.as_bytes()]);
        let due = Due {
            to,
            reply: reply.cloned(),
            id: *id.as_bytes(),
        };
        let sealed = self.seal("receipts", &tag, &due)?;
        transaction.execute(
            "INSERT INTO receipts(tag, peer, due_ms, item) VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING",
            params![tag, peer, due_ms, sealed],
        )?;
        Ok(())
    }

    /// The receipts of one wallet of which one is due, at most as many as one message carries.
    pub(crate) fn due_receipts(&self, now_ms: u64) -> Result<Option<DueReceipts>, StateError> {
        let rows: Vec<(Vec<u8>, Vec<u8>)> = {
            let connection = self.lock();
            let mut statement = connection.prepare_cached(
                "SELECT tag, item FROM receipts
                 WHERE peer = (SELECT peer FROM receipts WHERE due_ms <= ?1 ORDER BY due_ms LIMIT 1)
                 ORDER BY due_ms LIMIT ?2",
            )?;
            let limit = u32::try_from(MAX_RECEIPT_IDS).unwrap_or(1);
            statement
                .query_map(params![now_ms, limit], |row| Ok((row.get(0)?, row.get(1)?)))?
                .collect::<Result<_, _>>()?
        };
        let mut due: Option<DueReceipts> = None;
        for (tag, sealed) in rows {
            let row: Due = self.unseal("receipts", &tag, &sealed)?;
            let due = due.get_or_insert_with(|| DueReceipts {
                to: row.to,
                reply: None,
                ids: Vec::new(),
            });
            due.reply = row.reply.or(due.reply.take());
            due.ids.push(MessageId::from_bytes(row.id));
        }
        Ok(due)
    }

    /// Forgets receipts that are on their way, or not to be sent.
    pub(crate) fn drop_receipts(
        &self,
        to: WalletAddress,
        ids: &[MessageId],
    ) -> Result<(), StateError> {
        let peer = Party::Wallet(to).tag(&self.vault);
        self.change(|transaction| {
            for id in ids {
                let tag = self.vault.tag("receipt", &[&peer, id.as_bytes()]);
                transaction.execute("DELETE FROM receipts WHERE tag = ?1", [tag])?;
            }
            Ok(())
        })
    }
}
