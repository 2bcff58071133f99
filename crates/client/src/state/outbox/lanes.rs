//! What is due of the outbox, sorted by whom it is for and how it goes there.

use packet::MessageId;
use protocol::NodeId;
use rusqlite::params;
use wallet::{Fingerprint, WalletAddress};

use super::{OutboxItem, WAITING, What};
use crate::carrier::Privacy;
use crate::state::{State, StateError};

/// The oldest rows that wait are looked through for what goes before something that is due; what is due beyond
/// them goes by itself.
const MAX_SORTED: u32 = 1_024;
/// Rows that one flush takes on beyond those.
const MAX_BEYOND: u32 = 256;

/// Rows that are to be sent one after the other, oldest first.
pub(crate) type OutboxLane = Vec<MessageId>;

/// What rows have in common that get through, or not, together.
#[derive(PartialEq, Eq)]
struct Way {
    to: WalletAddress,
    fingerprint: Option<Fingerprint>,
    mailboxes: Vec<NodeId>,
    privacy: Privacy,
    copies: u8,
}

impl Way {
    /// The way of a message; files go by themselves, since they take so long.
    fn of(item: OutboxItem) -> Option<Self> {
        (!matches!(item.what, What::File(_))).then_some(Self {
            to: item.to,
            fingerprint: item.fingerprint,
            mailboxes: item.mailboxes,
            privacy: item.privacy,
            copies: item.copies,
        })
    }
}

struct Lane {
    way: Option<Way>,
    rows: OutboxLane,
    /// How many of its rows there are up to the last that is due.
    due: usize,
}

impl State {
    /// The rows that are due, each behind what waits before it for the same recipient on the same way.
    ///
    /// Lanes of which somebody works on the first row, who may have died, come last.
    pub(crate) fn due_lanes(&self, due_ms: u64) -> Result<Vec<OutboxLane>, StateError> {
        let connection = self.lock();
        let due_at_all: bool = connection
            .prepare_cached(
                "SELECT EXISTS(SELECT 1 FROM outbox WHERE status = ?1 AND next_attempt_ms <= ?2)",
            )?
            .query_row(params![WAITING, stored(due_ms)], |row| row.get(0))?;
        drop(connection);
        if !due_at_all {
            return Ok(Vec::new());
        }
        let mut lanes: Vec<Lane> = Vec::new();
        let oldest = self.oldest()?;
        for (id, is_due) in oldest.iter().map(|(id, next_ms)| (*id, *next_ms <= due_ms)) {
            let Some(item) = self.item(id)? else { continue };
            let way = Way::of(item);
            let same = (lanes.iter_mut()).find(|lane| lane.way.is_some() && lane.way == way);
            let lane = match same {
                Some(lane) => lane,
                None => {
                    lanes.push(Lane {
                        way,
                        rows: Vec::new(),
                        due: 0,
                    });
                    let Some(lane) = lanes.last_mut() else {
                        continue;
                    };
                    lane
                }
            };
            lane.rows.push(id);
            if is_due {
                lane.due = lane.rows.len();
            }
        }
        let mut due: Vec<OutboxLane> = Vec::new();
        for mut lane in lanes {
            lane.rows.truncate(lane.due);
            if !lane.rows.is_empty() {
                due.push(lane.rows);
            }
        }
        if oldest.len() >= MAX_SORTED as usize {
            due.extend(self.due_beyond(due_ms)?.into_iter().map(|id| vec![id]));
        }
        Ok(due)
    }

    /// Puts off rows that nobody works on, so that they are not tried before the one that they wait behind.
    pub(crate) fn delay(&self, rows: &[MessageId], next_ms: u64) -> Result<(), StateError> {
        self.change(|transaction| {
            for id in rows {
                transaction.execute(
                    "UPDATE outbox SET next_attempt_ms = ?2 WHERE id = ?1 AND status = ?3 AND lease_owner IS NULL",
                    params![id.as_bytes(), next_ms, WAITING],
                )?;
            }
            Ok(())
        })
    }

    fn oldest(&self) -> Result<Vec<(MessageId, u64)>, StateError> {
        let connection = self.lock();
        let mut statement = connection.prepare_cached(
            "SELECT id, next_attempt_ms FROM outbox WHERE status = ?1 ORDER BY created_ms, rowid LIMIT ?2",
        )?;
        let rows = statement.query_map(params![WAITING, MAX_SORTED], |row| {
            Ok((MessageId::from_bytes(row.get(0)?), row.get(1)?))
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    fn due_beyond(&self, due_ms: u64) -> Result<Vec<MessageId>, StateError> {
        let connection = self.lock();
        let mut statement = connection.prepare_cached(
            "SELECT id FROM (SELECT id, next_attempt_ms FROM outbox WHERE status = ?1
                             ORDER BY created_ms, rowid LIMIT -1 OFFSET ?3)
             WHERE next_attempt_ms <= ?2 LIMIT ?4",
        )?;
        let rows = statement.query_map(
            params![WAITING, stored(due_ms), MAX_SORTED, MAX_BEYOND],
            |row| Ok(MessageId::from_bytes(row.get(0)?)),
        )?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// What a row sends, one at a time: a thousand long texts need not be in memory together.
    fn item(&self, id: MessageId) -> Result<Option<OutboxItem>, StateError> {
        use rusqlite::OptionalExtension as _;
        let connection = self.lock();
        let sealed: Option<Vec<u8>> = connection
            .prepare_cached("SELECT item FROM outbox WHERE id = ?1")?
            .query_row([id.as_bytes().as_slice()], |row| row.get(0))
            .optional()?;
        drop(connection);
        sealed
            .map(|sealed| self.unseal("outbox.item", id.as_bytes(), &sealed))
            .transpose()
    }
}

/// A time as the database can compare it.
fn stored(ms: u64) -> i64 {
    i64::try_from(ms).unwrap_or(i64::MAX)
}
