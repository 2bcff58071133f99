//! Single rows of the store: reading, writing, and applying an event to them.

use rusqlite::{Connection, OptionalExtension, Transaction, params};

use super::{BlockId, Cursor, FORMAT_VERSION, IndexError, KEPT_CHANGES, RowKey};
use crate::{
    event::{LedgerEvent, NameChange, Positioned},
    index::{
        name_row::NameRow,
        row::{self, NodeRow, RouteRow},
    },
    name::NameNode,
    network::NetworkFile,
};

/// Empties a file of an earlier format: what was in it is read from the chain again.
pub(super) fn empty_earlier_format(tx: &Transaction<'_>) -> rusqlite::Result<()> {
    let is_new: bool = tx.query_row(
        "SELECT count(*) = 0 FROM sqlite_master WHERE name = 'meta'",
        [],
        |row| row.get(0),
    )?;
    if is_new {
        return Ok(());
    }
    let format: Option<i64> = tx
        .query_row("SELECT format FROM meta", [], |row| row.get(0))
        .optional()?;
    if format.is_some_and(|format| format < FORMAT_VERSION) {
        tx.execute_batch(
            "DROP TABLE meta; DROP TABLE cursor; DROP TABLE checkpoints; DROP TABLE nodes; DROP TABLE routes;
             DROP TABLE IF EXISTS names; DROP TABLE undo; DROP TABLE changes;",
        )?;
    }
    Ok(())
}

/// Writes the network into a new file, or checks that the file is of this network.
pub(super) fn check_network(tx: &Transaction<'_>, network: &NetworkFile) -> Result<(), IndexError> {
    tx.execute(
        "INSERT OR IGNORE INTO meta VALUES (1, ?, ?, ?, ?, ?, ?, ?)",
        params![
            FORMAT_VERSION,
            network.chain_id,
            network.contracts.node_registry.as_bytes(),
            network.contracts.route_registry.as_bytes(),
            network.contracts.name_registry.map(|it| *it.as_bytes()),
            network.contracts.bridge_offers.map(|it| *it.as_bytes()),
            network.start_block,
        ],
    )?;
    let (format, same) = tx.query_row("SELECT * FROM meta", [], |row| {
        let contracts = &network.contracts;
        let same = row.get::<_, u64>("chain_id")? == network.chain_id
            && row.get::<_, [u8; 20]>("node_registry")? == *contracts.node_registry.as_bytes()
            && row.get::<_, [u8; 20]>("route_registry")? == *contracts.route_registry.as_bytes()
            && row.get::<_, Option<[u8; 20]>>("name_registry")?
                == contracts.name_registry.map(|it| *it.as_bytes())
            && row.get::<_, Option<[u8; 20]>>("bridge_offers")?
                == contracts.bridge_offers.map(|it| *it.as_bytes())
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
    let key = match &event.event {
        LedgerEvent::NodeRegistered { node, .. }
        | LedgerEvent::NodeUpdated { node, .. }
        | LedgerEvent::NodeLeft { node }
        | LedgerEvent::Offer { node, .. } => RowKey::Node(*node),
        LedgerEvent::RouteSet(route) => RowKey::Route(route.wallet),
        LedgerEvent::RouteCleared { wallet, .. } => RowKey::Route(*wallet),
        LedgerEvent::Name { node, .. } => RowKey::Name(*node),
    };
    let old = read_row(tx, &key)?;
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
                // What was offered before it left is void.
                offer: None,
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
        LedgerEvent::Offer { offer, .. } => {
            let Some(mut row) = old.as_deref().and_then(NodeRow::read) else {
                return Ok(());
            };
            row.offer.clone_from(offer);
            Some(row.write())
        }
        LedgerEvent::NodeLeft { .. } => None,
        LedgerEvent::RouteSet(route) if is_stale(route.sequence) => return Ok(()),
        LedgerEvent::RouteSet(route) => Some(row::write_route(route, old_route.as_ref(), position)),
        LedgerEvent::RouteCleared { sequence, .. } if is_stale(*sequence) => return Ok(()),
        LedgerEvent::RouteCleared { sequence, .. } => Some(row::write_cleared(*sequence)),
        LedgerEvent::Name { change, .. } => {
            let row = old.as_deref().and_then(NameRow::read).unwrap_or_default();
            Some(changed(tx, row, change)?.write())
        }
    };
    if new == old {
        return Ok(());
    }
    if undoable {
        tx.prepare_cached("INSERT INTO undo (block, kind, key, old) VALUES (?, ?, ?, ?)")?
            .execute(params![event.block, key.kind(), key.bytes(), old])?;
    }
    put(tx, key, new.as_deref())
}

/// A name's row after a change.
fn changed(
    tx: &Transaction<'_>,
    mut row: NameRow,
    change: &NameChange,
) -> Result<NameRow, IndexError> {
    match change {
        NameChange::Given { parent, owner } => {
            return Ok(row.given(*owner, *parent, generation(tx, *parent)?));
        }
        NameChange::Owner(owner) => row.owner = *owner,
        NameChange::ResolverKnown(known) => row.resolver_known = *known,
        NameChange::Expiry(expiry_s) => row.expiry_s = *expiry_s,
        NameChange::Wallet(wallet) => row.wallet = *wallet,
        NameChange::Label(label) => row.label.clone_from(label),
        NameChange::Called(called) => row.called.clone_from(called),
    }
    Ok(row)
}

/// The generation of a node, 0 for one that nobody was given.
fn generation(tx: &Transaction<'_>, node: NameNode) -> Result<u32, IndexError> {
    let row = read_row(tx, &RowKey::Name(node))?;
    let row = row.as_deref().and_then(NameRow::read);
    Ok(row.map_or(0, |row| row.generation))
}

pub(super) fn read_row(
    connection: &Connection,
    key: &RowKey,
) -> Result<Option<Vec<u8>>, IndexError> {
    let mut statement = connection.prepare_cached(match key {
        RowKey::Node(_) => "SELECT value FROM nodes WHERE key = ?",
        RowKey::Route(_) => "SELECT value FROM routes WHERE key = ?",
        RowKey::Name(_) => "SELECT value FROM names WHERE key = ?",
    })?;
    Ok(statement
        .query_row([key.bytes()], |row| row.get(0))
        .optional()?)
}

pub(super) fn put(
    tx: &Transaction<'_>,
    key: RowKey,
    value: Option<&[u8]>,
) -> Result<(), IndexError> {
    let bytes = key.bytes();
    match value {
        Some(value) => tx
            .prepare_cached(match key {
                RowKey::Node(_) => "INSERT OR REPLACE INTO nodes VALUES (?, ?)",
                RowKey::Route(_) => "INSERT OR REPLACE INTO routes VALUES (?, ?)",
                RowKey::Name(_) => "INSERT OR REPLACE INTO names VALUES (?, ?)",
            })?
            .execute(params![bytes, value])?,
        None => tx
            .prepare_cached(match key {
                RowKey::Node(_) => "DELETE FROM nodes WHERE key = ?",
                RowKey::Route(_) => "DELETE FROM routes WHERE key = ?",
                RowKey::Name(_) => "DELETE FROM names WHERE key = ?",
            })?
            .execute(params![bytes])?,
    };
    tx.prepare_cached("INSERT INTO changes (kind, key) VALUES (?, ?)")?
        .execute(params![key.kind(), bytes])?;
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
