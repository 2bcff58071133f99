//! Single rows of the store: reading, writing, and applying an event to them.

use rusqlite::{Connection, OptionalExtension, Transaction, params};
use wallet::WalletAddress;

use super::{BlockId, Cursor, FORMAT_VERSION, IndexError, KEPT_CHANGES, Kind};
use crate::{
    event::{LedgerEvent, Positioned},
    index::row::{self, NodeRow, RouteRow},
    network::NetworkFile,
};

/// Writes the network into a new file, or checks that the file is of this network.
pub(super) fn check_network(tx: &Transaction<'_>, network: &NetworkFile) -> Result<(), IndexError> {
    tx.execute(
        "INSERT OR IGNORE INTO meta VALUES (1, ?, ?, ?, ?, ?)",
        params![
            FORMAT_VERSION,
            network.chain_id,
            network.contracts.node_registry.as_bytes(),
            network.contracts.route_registry.as_bytes(),
            network.start_block,
        ],
    )?;
    let (format, same) = tx.query_row("SELECT * FROM meta", [], |row| {
        let contracts = &network.contracts;
        let same = row.get::<_, u64>("chain_id")? == network.chain_id
            && row.get::<_, [u8; 20]>("node_registry")? == *contracts.node_registry.as_bytes()
            && row.get::<_, [u8; 20]>("route_registry")? == *contracts.route_registry.as_bytes()
            && row.get::<_, u64>("start_block")? == network.start_block;
        Ok((row.get::<_, i64>("format")?, same))
    })?;
    if format != FORMAT_VERSION {
        return Err(IndexError::UnknownFormat { found: format });
    }
    if same {
        Ok(())
    } else {
        Err(IndexError::OtherNetwork)
    }
}

pub(super) fn read_cursor(connection: &Connection) -> Result<Cursor, IndexError> {
    let mut statement = connection
        .prepare_cached("SELECT revision, block, hash, undo_floor, head, at_s FROM cursor")?;
    Ok(statement.query_row([], |row| {
        let number: Option<u64> = row.get(1)?;
        let hash: Option<[u8; 32]> = row.get(2)?;
        Ok(Cursor {
            revision: row.get(0)?,
            tip: (number.zip(hash)).map(|(number, hash)| BlockId { number, hash }),
            undo_floor: row.get(3)?,
            head: row.get(4)?,
            at_s: row.get(5)?,
        })
    })?)
}

pub(super) fn write_cursor(tx: &Transaction<'_>, cursor: &Cursor) -> Result<(), IndexError> {
    tx.prepare_cached(
        "UPDATE cursor SET revision = ?, block = ?, hash = ?, undo_floor = ?, head = ?, at_s = ?",
    )?
    .execute(params![
        cursor.revision,
        cursor.tip.map(|tip| tip.number),
        cursor.tip.map(|tip| tip.hash),
        cursor.undo_floor,
        cursor.head,
        cursor.at_s,
    ])?;
    Ok(())
}

/// Applies one event to the rows; with `undoable`, keeps what it replaces.
pub(super) fn apply(
    tx: &Transaction<'_>,
    event: &Positioned,
    undoable: bool,
) -> Result<(), IndexError> {
    let position = row::age(event.block, event.log_index);
    let (kind, key) = match &event.event {
        LedgerEvent::NodeRegistered { node, .. }
        | LedgerEvent::NodeUpdated { node, .. }
        | LedgerEvent::NodeLeft { node } => (Kind::Node, *node),
        LedgerEvent::RouteSet(route) => (Kind::Route, route.wallet),
        LedgerEvent::RouteCleared { wallet, .. } => (Kind::Route, *wallet),
    };
    let old = read_row(tx, kind, key)?;
    let old_route = old.as_deref().and_then(RouteRow::read);
    let is_stale = |sequence| old_route.is_some_and(|old| old.sequence >= sequence);
    let new = match &event.event {
        LedgerEvent::NodeRegistered {
            operator,
            particulars,
            ..
        } => {
            let row = NodeRow {
                operator: *operator,
                particulars: particulars.clone(),
            };
            Some(row.write())
        }
        LedgerEvent::NodeUpdated { particulars, .. } => {
            let Some(mut row) = old.as_deref().and_then(NodeRow::read) else {
                return Ok(());
            };
            row.particulars.clone_from(particulars);
            Some(row.write())
        }
        LedgerEvent::NodeLeft { .. } => None,
        LedgerEvent::RouteSet(route) if is_stale(route.sequence) => return Ok(()),
        LedgerEvent::RouteSet(route) => Some(row::write_route(route, old_route.as_ref(), position)),
        LedgerEvent::RouteCleared { sequence, .. } if is_stale(*sequence) => return Ok(()),
        LedgerEvent::RouteCleared { sequence, .. } => Some(row::write_cleared(*sequence)),
    };
    if new == old {
        return Ok(());
    }
    if undoable {
        tx.prepare_cached("INSERT INTO undo (block, kind, key, old) VALUES (?, ?, ?, ?)")?
            .execute(params![event.block, kind.number(), key.as_bytes(), old])?;
    }
    put(tx, kind, key, new.as_deref())
}

pub(super) fn read_row(
    connection: &Connection,
    kind: Kind,
    key: WalletAddress,
) -> Result<Option<Vec<u8>>, IndexError> {
    let mut statement = connection.prepare_cached(match kind {
        Kind::Node => "SELECT value FROM nodes WHERE key = ?",
        Kind::Route => "SELECT value FROM routes WHERE key = ?",
    })?;
    Ok(statement
        .query_row([key.as_bytes()], |row| row.get(0))
        .optional()?)
}

pub(super) fn put(
    tx: &Transaction<'_>,
    kind: Kind,
    key: WalletAddress,
    value: Option<&[u8]>,
) -> Result<(), IndexError> {
    let key = key.as_bytes();
    match value {
        Some(value) => tx
            .prepare_cached(match kind {
                Kind::Node => "INSERT OR REPLACE INTO nodes VALUES (?, ?)",
                Kind::Route => "INSERT OR REPLACE INTO routes VALUES (?, ?)",
            })?
            .execute(params![key, value])?,
        None => tx
            .prepare_cached(match kind {
                Kind::Node => "DELETE FROM nodes WHERE key = ?",
                Kind::Route => "DELETE FROM routes WHERE key = ?",
            })?
            .execute(params![key])?,
    };
    tx.prepare_cached("INSERT INTO changes (kind, key) VALUES (?, ?)")?
        .execute(params![kind.number(), key])?;
    Ok(())
}

pub(super) fn last_change(connection: &Connection) -> Result<i64, IndexError> {
    let last = connection
        .prepare_cached("SELECT seq FROM sqlite_sequence WHERE name = 'changes'")?
        .query_row([], |row| row.get(0))
        .optional()?;
    Ok(last.unwrap_or(0))
}

pub(super) fn trim_changes(tx: &Transaction<'_>) -> Result<(), IndexError> {
    let last = last_change(tx)?;
    tx.prepare_cached("DELETE FROM changes WHERE id <= ?")?
        .execute([last - KEPT_CHANGES])?;
    Ok(())
}
