//! Reading the store, beside whoever writes it.

use super::{
    MinedBlock, MinedTransaction, SignedTransaction, Store, StoreError, block_number, encoding,
    row_number,
};
use crate::state::{AccountRecord, StateDiff};
use alloy_consensus::{Header, ReceiptEnvelope, Sealable, Sealed, transaction::Recovered};
use alloy_eips::Decodable2718;
use alloy_primitives::{Address, B256, TxHash, U256};
use alloy_rlp::Decodable;
use revm::state::Bytecode;
use rusqlite::{Connection, OptionalExtension, Row};
use std::ops::RangeInclusive;

impl Store {
    /// Lists the raw transactions of the pool in the order in which they came.
    pub(crate) fn pool(&self) -> Result<Vec<Vec<u8>>, StoreError> {
        let reader = self.reader.lock();
        let mut statement = reader.prepare_cached("SELECT raw FROM pool ORDER BY arrival")?;
        let rows = statement.query_map([], |row| row.get(0))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Reads the chain ID that the chain was made with; `None` where there is no chain yet.
    pub(crate) fn chain_id(&self) -> Result<Option<u64>, StoreError> {
        let value: Option<[u8; 8]> = self
            .reader
            .lock()
            .query_row("SELECT value FROM meta WHERE key = 'chain_id'", [], |row| {
                row.get(0)
            })
            .optional()?;
        Ok(value.map(u64::from_be_bytes))
    }

    /// Reads the whole newest state, as the diff from nothing.
    pub(crate) fn state(&self) -> Result<StateDiff, StoreError> {
        let reader = self.reader.lock();
        let mut state = StateDiff::default();
        let mut statement = reader.prepare("SELECT address, record FROM accounts")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let record: Vec<u8> = row.get(1)?;
            let record = AccountRecord::decode(&mut record.as_slice())
                .map_err(|_| StoreError::Damaged("account"))?;
            state
                .accounts
                .insert(Address::from(row.get::<_, [u8; 20]>(0)?), Some(record));
        }
        let mut statement = reader.prepare("SELECT address, slot, value FROM storage")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            state.storage.insert(
                (Address::from(row.get::<_, [u8; 20]>(0)?), word(row, 1)?),
                word(row, 2)?,
            );
        }
        let mut statement = reader.prepare("SELECT hash, bytes FROM code")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let code = Bytecode::new_raw_checked(row.get::<_, Vec<u8>>(1)?.into())
                .map_err(|_| StoreError::Damaged("code"))?;
            state
                .code
                .insert(B256::from(row.get::<_, [u8; 32]>(0)?), code);
        }
        Ok(state)
    }

    /// Reads the undo diffs that are kept, by block number.
    pub(crate) fn undo(&self) -> Result<Vec<(u64, StateDiff)>, StoreError> {
        let reader = self.reader.lock();
        let mut statement = reader.prepare("SELECT block, diff FROM undo ORDER BY block")?;
        let mut rows = statement.query([])?;
        let mut undo = Vec::new();
        while let Some(row) = rows.next()? {
            let diff: Vec<u8> = row.get(1)?;
            let diff =
                encoding::decode_diff(&diff).map_err(|_| StoreError::Damaged("undo record"))?;
            undo.push((block_number(row.get(0)?), diff));
        }
        Ok(undo)
    }

    /// Returns the number of the newest block.
    pub(crate) fn newest(&self) -> Result<Option<u64>, StoreError> {
        let number: Option<i64> =
            self.reader
                .lock()
                .query_row("SELECT max(number) FROM blocks", [], |row| row.get(0))?;
        Ok(number.map(block_number))
    }

    /// Reads the headers of a range of blocks, in order; absent ones are left out.
    pub(crate) fn headers(
        &self,
        range: RangeInclusive<u64>,
    ) -> Result<Vec<Sealed<Header>>, StoreError> {
        let reader = self.reader.lock();
        headers_of(
            &reader,
            "SELECT hash, header FROM blocks WHERE number BETWEEN ?1 AND ?2 ORDER BY number",
            range,
        )
    }

    /// Lists those blocks of a range that have a log and whose header is `wanted`.
    pub(crate) fn blocks_with_logs(
        &self,
        range: RangeInclusive<u64>,
        wanted: impl Fn(&Header) -> bool,
    ) -> Result<Vec<u64>, StoreError> {
        let reader = self.reader.lock();
        let mut statement = reader.prepare_cached(
            "SELECT hash, header FROM blocks
             WHERE has_logs = 1 AND number BETWEEN ?1 AND ?2 ORDER BY number",
        )?;
        let mut rows = statement.query([row_number(*range.start()), row_number(*range.end())])?;
        let mut numbers = Vec::new();
        while let Some(row) = rows.next()? {
            let header = header_of(row)?;
            if wanted(&header) {
                numbers.push(header.number);
            }
        }
        Ok(numbers)
    }

    /// Reads a block by its number.
    pub(crate) fn block(&self, number: u64) -> Result<Option<MinedBlock>, StoreError> {
        let mut reader = self.reader.lock();
        // One SQL transaction, so that header and transactions are of the same block.
        let sql = reader.transaction()?;
        let Some(header) = headers_of(
            &sql,
            "SELECT hash, header FROM blocks WHERE number BETWEEN ?1 AND ?2",
            number..=number,
        )?
        .pop() else {
            return Ok(None);
        };
        let mut statement = sql.prepare_cached(
            "SELECT sender, raw, receipt FROM transactions WHERE block = ?1 ORDER BY position",
        )?;
        let mut rows = statement.query([row_number(number)])?;
        let mut transactions = Vec::new();
        while let Some(row) = rows.next()? {
            transactions.push(mined_transaction(row)?);
        }
        Ok(Some(MinedBlock {
            header,
            transactions,
        }))
    }

    /// Finds the number of the canonical block with this hash.
    pub(crate) fn number_of(&self, hash: &B256) -> Result<Option<u64>, StoreError> {
        let reader = self.reader.lock();
        let number: Option<i64> = reader
            .prepare_cached("SELECT number FROM blocks WHERE hash = ?1")?
            .query_row([hash.as_slice()], |row| row.get(0))
            .optional()?;
        Ok(number.map(block_number))
    }

    /// Finds the block number of a mined transaction and its position in it.
    pub(crate) fn locate(&self, hash: &TxHash) -> Result<Option<(u64, usize)>, StoreError> {
        let reader = self.reader.lock();
        let place: Option<(i64, i64)> = reader
            .prepare_cached("SELECT block, position FROM transactions WHERE hash = ?1")?
            .query_row([hash.as_slice()], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        Ok(place.map(|(block, position)| {
            (
                block_number(block),
                usize::try_from(position).unwrap_or_default(),
            )
        }))
    }
}

fn headers_of(
    connection: &Connection,
    query: &str,
    range: RangeInclusive<u64>,
) -> Result<Vec<Sealed<Header>>, StoreError> {
    let mut statement = connection.prepare_cached(query)?;
    let mut rows = statement.query([row_number(*range.start()), row_number(*range.end())])?;
    let mut headers = Vec::new();
    while let Some(row) = rows.next()? {
        headers.push(header_of(row)?);
    }
    Ok(headers)
}

/// Reads `hash, header`.
fn header_of(row: &Row<'_>) -> Result<Sealed<Header>, StoreError> {
    let header: Vec<u8> = row.get(1)?;
    let header =
        Header::decode(&mut header.as_slice()).map_err(|_| StoreError::Damaged("block header"))?;
    Ok(header.seal_unchecked(B256::from(row.get::<_, [u8; 32]>(0)?)))
}

fn mined_transaction(row: &Row<'_>) -> Result<MinedTransaction, StoreError> {
    let sender = Address::from(row.get::<_, [u8; 20]>(0)?);
    let raw: Vec<u8> = row.get(1)?;
    let receipt: Vec<u8> = row.get(2)?;
    let transaction = SignedTransaction::decode_2718_exact(&raw)
        .map_err(|_| StoreError::Damaged("transaction"))?;
    Ok(MinedTransaction {
        transaction: Recovered::new_unchecked(transaction, sender),
        receipt: ReceiptEnvelope::decode_2718_exact(&receipt)
            .map_err(|_| StoreError::Damaged("receipt"))?,
    })
}

fn word(row: &Row<'_>, column: usize) -> Result<U256, StoreError> {
    Ok(U256::from_be_bytes(row.get::<_, [u8; 32]>(column)?))
}
