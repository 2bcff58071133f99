//! Messages that came and went: the inbox is the part of the history that was not shown yet.

use packet::MessageId;
use rusqlite::{OptionalExtension as _, Row, Transaction, params};
use wallet::WalletAddress;

use super::entry::Order;
use super::{Direction, Entry, EntryState, Party, State, StateError, Tag};

/// A line of the history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MessageRow {
    pub(crate) id: MessageId,
    pub(crate) direction: Direction,
    pub(crate) state: EntryState,
    pub(crate) entry: Entry,
}

/// A message that was handed over.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shown {
    pub(crate) place: i64,
    pub(crate) party: Party,
    /// Its place in its sender's session, if it has one.
    pub(crate) order: Option<Order>,
}

/// A message that is durable but was not handed over yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unshown {
    /// Its place in the order of arrival.
    pub(crate) place: i64,
    pub(crate) id: MessageId,
    pub(crate) entry: Entry,
}

impl State {
    pub(super) fn insert_message(
        &self,
        transaction: &Transaction<'_>,
        direction: Direction,
        id: MessageId,
        entry: &Entry,
        state: EntryState,
    ) -> Result<bool, StateError> {
        let peer = entry.party.tag(&self.vault);
        let row = row_key(direction, &peer, &id);
        let sealed = self.seal("messages", &row, entry)?;
        let at_ms = match direction {
            Direction::In => entry.received_ms,
            Direction::Out => entry.time_ms,
        };
        let mut insert = transaction.prepare_cached(
            "INSERT INTO messages(id, peer, direction, state, at_ms, entry) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
             ON CONFLICT DO NOTHING",
        )?;
        let inserted = insert.execute(params![
            id.as_bytes(),
            peer,
            direction.number(),
            state.number(),
            at_ms,
            sealed
        ])?;
        Ok(inserted == 1)
    }

    /// Changes a message where it lies; one that is gone is left alone.
    pub(super) fn amend_message(
        &self,
        transaction: &Transaction<'_>,
        direction: Direction,
        party: WalletAddress,
        id: MessageId,
        amend: impl FnOnce(&mut Entry, EntryState) -> EntryState,
    ) -> Result<(), StateError> {
        let peer = Party::Wallet(party).tag(&self.vault);
        self.amend_row(transaction, direction, &peer, id, amend)
    }

    fn amend_row(
        &self,
        transaction: &Transaction<'_>,
        direction: Direction,
        peer: &Tag,
        id: MessageId,
        amend: impl FnOnce(&mut Entry, EntryState) -> EntryState,
    ) -> Result<(), StateError> {
        let found: Option<(i64, i64, Vec<u8>)> = transaction
            .prepare_cached(
                "SELECT place, state, entry FROM messages WHERE direction = ?1 AND peer = ?2 AND id = ?3",
            )?
            .query_row(params![direction.number(), peer, id.as_bytes()], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?))
            })
            .optional()?;
        let Some((place, state, sealed)) = found else {
            return Ok(());
        };
        let row = row_key(direction, peer, &id);
        let mut entry: Entry = self.unseal("messages", &row, &sealed)?;
        let state = amend(&mut entry, EntryState::of(state));
        let sealed = self.seal("messages", &row, &entry)?;
        transaction
            .prepare_cached("UPDATE messages SET state = ?2, entry = ?3 WHERE place = ?1")?
            .execute(params![place, state.number(), sealed])?;
        Ok(())
    }

    /// Marks a sent message as delivered; says whether there is one to that wallet.
    pub(super) fn mark_delivered(
        &self,
        transaction: &Transaction<'_>,
        from: WalletAddress,
        id: MessageId,
    ) -> Result<bool, StateError> {
        let peer = Party::Wallet(from).tag(&self.vault);
        let changed = transaction.execute(
            "UPDATE messages SET state = ?4 WHERE direction = ?1 AND peer = ?2 AND id = ?3 AND state != ?4",
            params![
                Direction::Out.number(),
                peer,
                id.as_bytes(),
                EntryState::Delivered.number()
            ],
        )?;
        Ok(changed == 1)
    }

    /// The messages not handed over yet that arrived after `after`, in the order of arrival.
    pub(crate) fn unshown(&self, after: i64, limit: u32) -> Result<Vec<Unshown>, StateError> {
        let raw: Vec<(i64, [u8; 16], Tag, Vec<u8>)> = {
            let connection = self.lock();
            let mut statement = connection.prepare_cached(
                "SELECT place, id, peer, entry FROM messages
                 WHERE direction = ?1 AND state = ?2 AND place > ?3 ORDER BY place LIMIT ?4",
            )?;
            let (direction, state) = (Direction::In.number(), EntryState::Pending.number());
            statement
                .query_map(params![direction, state, after, limit], |row| {
                    Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
                })?
                .collect::<Result<_, _>>()?
        };
        raw.into_iter()
            .map(|(place, id, peer, sealed)| {
                let id = MessageId::from_bytes(id);
                let row = row_key(Direction::In, &peer, &id);
                Ok(Unshown {
                    place,
                    id,
                    entry: self.unseal("messages", &row, &sealed)?,
                })
            })
            .collect()
    }

    /// Writes down that a message was handed over, and what its session expects next.
    pub(crate) fn mark_shown(&self, mark: &Shown, now_ms: u64) -> Result<(), StateError> {
        self.change(|transaction| {
            transaction.execute(
                "UPDATE messages SET state = ?2 WHERE place = ?1 AND direction = ?3",
                params![
                    mark.place,
                    EntryState::Done.number(),
                    Direction::In.number()
                ],
            )?;
            if let Some(order) = &mark.order {
                let tag = self.session_tag(&mark.party, order);
                transaction.execute(
                    "INSERT INTO sessions(tag, next, at_ms) VALUES (?1, ?2, ?3)
                     ON CONFLICT(tag) DO UPDATE SET next = max(next, ?2), at_ms = ?3",
                    params![tag, order.sequence.saturating_add(1), now_ms],
                )?;
            }
            Ok(())
        })
    }

    /// Changes an incoming message, for example to write down where its file goes.
    pub(crate) fn amend_received(
        &self,
        message: &Unshown,
        entry: &Entry,
    ) -> Result<(), StateError> {
        let peer = message.entry.party.tag(&self.vault);
        self.change(|transaction| {
            self.amend_row(
                transaction,
                Direction::In,
                &peer,
                message.id,
                |stored, state| {
                    stored.clone_from(entry);
                    state
                },
            )
        })
    }

    /// The last messages to and from a wallet, or to and from anybody, oldest of them first.
    pub(crate) fn history(
        &self,
        party: Option<&Party>,
        limit: u32,
    ) -> Result<Vec<MessageRow>, StateError> {
        let peer = party.map(|party| party.tag(&self.vault));
        let raw: Vec<RawMessage> = {
            let connection = self.lock();
            let mut statement = connection.prepare_cached(
                "SELECT id, peer, direction, state, entry FROM messages
                 WHERE ?1 IS NULL OR peer = ?1 ORDER BY place DESC LIMIT ?2",
            )?;
            statement
                .query_map(params![peer, limit], RawMessage::read)?
                .collect::<Result<_, _>>()?
        };
        raw.into_iter()
            .rev()
            .map(|raw| {
                let row = row_key(raw.direction, &raw.peer, &raw.id);
                Ok(MessageRow {
                    id: raw.id,
                    direction: raw.direction,
                    state: raw.state,
                    entry: self.unseal("messages", &row, &raw.entry)?,
                })
            })
            .collect()
    }

    /// Forgets messages older than `before_ms`, and beyond `keep` the oldest; never what was not shown or waits.
    pub(crate) fn prune_messages(&self, before_ms: u64, keep: u32) -> Result<(), StateError> {
        let pending = EntryState::Pending.number();
        self.change(|transaction| {
            transaction.execute(
                "DELETE FROM messages WHERE state != ?1 AND at_ms < ?2",
                params![pending, before_ms],
            )?;
            transaction.execute(
                "DELETE FROM messages WHERE state != ?1 AND place <=
                   (SELECT place FROM messages ORDER BY place DESC LIMIT 1 OFFSET ?2)",
                params![pending, keep],
            )?;
            Ok(())
        })
    }

    /// What the session of this sender expects next; 0 for a session not met before.
    pub(crate) fn expected(&self, party: &Party, order: &Order) -> Result<u64, StateError> {
        let tag = self.session_tag(party, order);
        let connection = self.lock();
        let next = connection
            .query_row("SELECT next FROM sessions WHERE tag = ?1", [tag], |row| {
                row.get(0)
            })
            .optional()?;
        Ok(next.unwrap_or(0))
    }

    fn session_tag(&self, party: &Party, order: &Order) -> Tag {
        let peer = party.tag(&self.vault);
        self.vault
            .tag("session", &[&peer, order.session().as_bytes()])
    }
}

/// A message as it is on disk.
struct RawMessage {
    id: MessageId,
    peer: Tag,
    direction: Direction,
    state: EntryState,
    entry: Vec<u8>,
}

impl RawMessage {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            id: MessageId::from_bytes(row.get(0)?),
            peer: row.get(1)?,
            direction: Direction::of(row.get(2)?),
            state: EntryState::of(row.get(3)?),
            entry: row.get(4)?,
        })
    }
}

/// What an entry is encrypted for.
fn row_key(direction: Direction, peer: &Tag, id: &MessageId) -> Vec<u8> {
    let mut key = Vec::with_capacity(40);
    key.extend_from_slice(&direction.number().to_be_bytes());
    key.extend_from_slice(peer);
    key.extend_from_slice(id.as_bytes());
    key
}
