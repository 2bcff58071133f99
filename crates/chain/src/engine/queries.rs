//! Everything that only reads the chain.

use super::{
    Engine, MAX_REORG_BLOCKS,
    simulation::{self, Call, CallError},
};
use crate::{
    state::{AccountRecord, Overlay},
    store::{MinedBlock, SignedTransaction, StoreError},
};
use alloy_consensus::{Header, Sealable, Sealed, Transaction, transaction::Recovered};
use alloy_eips::{BlockId, BlockNumberOrTag, RpcBlockHash};
use alloy_primitives::{Address, B256, Bytes, TxHash, U256};
use alloy_rpc_types_eth::{FeeHistory, Filter, FilterBlockOption, Log};
use std::ops::RangeInclusive;

/// Blocks that one log query may span.
pub(crate) const MAX_LOG_BLOCKS: u64 = 100_000;
/// Logs that one query over more than one block may return.
pub(crate) const MAX_LOGS: usize = 10_000;
/// Blocks that one fee history covers, as in geth.
pub(crate) const MAX_FEE_HISTORY_BLOCKS: u64 = 1_024;
/// The price of blob gas where there are no blobs (EIP-4844, `MIN_BASE_FEE_PER_BLOB_GAS`).
const MIN_BLOB_GAS_PRICE: u128 = 1;

/// Why a query has no answer. The wording follows geth where it has one.
#[derive(Debug, thiserror::Error)]
pub(crate) enum QueryError {
    #[error("header not found")]
    UnknownBlock,
    #[error("state of block {number} is not available: the oldest kept is that of block {oldest}")]
    StateNotKept { number: u64, oldest: u64 },
    #[error("invalid block range params")]
    InvalidRange,
    #[error("block range exceeds {MAX_LOG_BLOCKS} blocks; ask for a smaller one")]
    RangeTooLong,
    #[error("query returned more than {MAX_LOGS} results; ask for a smaller block range")]
    TooManyLogs,
    #[error(transparent)]
    Call(#[from] CallError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A block that a request names: one of the chain, or the one that comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Mined(u64),
    Pending,
}

impl Engine {
    /// Finds the block that a number or tag names; `None` beyond the newest one.
    pub(crate) fn place(&self, block: BlockNumberOrTag) -> Option<Place> {
        let newest = self.head.read().header().number;
        let number = match block {
            BlockNumberOrTag::Pending => return Some(Place::Pending),
            BlockNumberOrTag::Latest => newest,
            BlockNumberOrTag::Earliest => 0,
            // One producer and no forks: a block is final, but for `conet_reorg`.
            BlockNumberOrTag::Safe | BlockNumberOrTag::Finalized => {
                let held_back = if self.test_controls {
                    MAX_REORG_BLOCKS
                } else {
                    0
                };
                newest.saturating_sub(held_back)
            }
            BlockNumberOrTag::Number(number) => number,
        };
        (number <= newest).then_some(Place::Mined(number))
    }

    fn place_of(&self, block: BlockId) -> Result<Place, QueryError> {
        match block {
            BlockId::Number(block) => self.place(block).ok_or(QueryError::UnknownBlock),
            BlockId::Hash(RpcBlockHash { block_hash, .. }) => {
                let number = self.store.number_of(&block_hash)?;
                Ok(Place::Mined(number.ok_or(QueryError::UnknownBlock)?))
            }
        }
    }

    /// Shows the state after `block`, with the header that a call there runs under.
    fn with_state<T>(
        &self,
        block: BlockId,
        read: impl FnOnce(Overlay<'_>, &Header) -> T,
    ) -> Result<T, QueryError> {
        let place = self.place_of(block)?;
        let head = self.head.read();
        let newest = head.header().number;
        let (number, header) = match place {
            Place::Pending => (newest, self.next_header(&head, None)),
            Place::Mined(number) if number == newest => (number, head.header().inner().clone()),
            Place::Mined(number) => (number, self.stored_header(number)?),
        };
        let state = head.state_at(number).ok_or(QueryError::StateNotKept {
            number,
            oldest: head.oldest_state(),
        })?;
        Ok(read(state, &header))
    }

    fn stored_header(&self, number: u64) -> Result<Header, QueryError> {
        let header = self.store.headers(number..=number)?.pop();
        Ok(header.ok_or(QueryError::UnknownBlock)?.into_inner())
    }

    /// Reads an account as it was after `block`.
    pub(crate) fn account(
        &self,
        address: &Address,
        block: BlockId,
    ) -> Result<Option<AccountRecord>, QueryError> {
        self.with_state(block, |state, _| state.account(address))
    }

    /// Reads a contract's code as it was after `block`.
    pub(crate) fn code(&self, address: &Address, block: BlockId) -> Result<Bytes, QueryError> {
        self.with_state(block, |state, _| {
            state.account(address).map_or_else(Bytes::new, |account| {
                state.code(&account.code_hash).original_bytes()
            })
        })
    }

    /// Reads a storage slot as it was after `block`.
    pub(crate) fn slot(
        &self,
        address: &Address,
        slot: &U256,
        block: BlockId,
    ) -> Result<U256, QueryError> {
        self.with_state(block, |state, _| state.slot(address, slot))
    }

    /// Counts the transactions of `address`; with `Pending`, those that wait too.
    pub(crate) fn nonce(&self, address: &Address, block: BlockId) -> Result<u64, QueryError> {
        let pool = self.pool.lock();
        let mined = self.account(address, block)?.map_or(0, |a| a.nonce);
        Ok(if block.is_pending() {
            pool.next_nonce(address, mined)
        } else {
            mined
        })
    }

    /// Runs a call on the state after `block` and returns what it returns.
    pub(crate) fn call(&self, call: &Call, block: BlockId) -> Result<Bytes, QueryError> {
        let result = self.with_state(block, |state, header| {
            simulation::run(state, self.chain_id, header, call)
        })?;
        Ok(result?)
    }

    /// Estimates the gas that a call needs on the state after `block`.
    pub(crate) fn estimate(&self, call: &Call, block: BlockId) -> Result<u64, QueryError> {
        let result = self.with_state(block, |state, header| {
            simulation::estimate(state, self.chain_id, header, call)
        })?;
        Ok(result?)
    }

    /// Returns the base fee of the next block in wei per gas.
    pub(crate) fn next_base_fee(&self) -> u64 {
        self.head.read().next_base_fee()
    }

    /// Reads a mined block.
    pub(crate) fn block(&self, number: u64) -> Result<Option<MinedBlock>, QueryError> {
        Ok(self.store.block(number)?)
    }

    /// Reads a mined block by its hash.
    pub(crate) fn block_by_hash(&self, hash: &B256) -> Result<Option<MinedBlock>, QueryError> {
        match self.store.number_of(hash)? {
            Some(number) => self.block(number),
            None => Ok(None),
        }
    }

    /// Shows the next block as it would be filled now, but not executed: without gas used,
    /// state root or receipts.
    pub(crate) fn pending_block(&self) -> (Sealed<Header>, Vec<Recovered<SignedTransaction>>) {
        let pool = self.pool.lock();
        let head = self.head.read();
        let header = self.next_header(&head, None);
        let nonce_of = |sender: &Address| head.world().account(sender).map_or(0, |a| a.nonce);
        let mut selection = pool.select(head.next_base_fee(), nonce_of);
        let (mut transactions, mut gas) = (Vec::new(), 0_u64);
        while let Some(transaction) = selection.next() {
            let after = gas.saturating_add(transaction.gas_limit());
            if after <= header.gas_limit {
                gas = after;
                transactions.push(transaction.clone());
                selection.mined(transaction);
            }
        }
        (header.seal_slow(), transactions)
    }

    /// Finds a mined transaction: its block, and its position there.
    pub(crate) fn mined(&self, hash: &TxHash) -> Result<Option<(MinedBlock, usize)>, QueryError> {
        let Some((number, position)) = self.store.locate(hash)? else {
            return Ok(None);
        };
        let block = self.store.block(number)?;
        // Gone or another if the chain was just reorganised between the two reads.
        Ok(block
            .filter(|block| {
                block
                    .transactions
                    .get(position)
                    .is_some_and(|mined| mined.transaction.hash() == hash)
            })
            .map(|block| (block, position)))
    }

    /// Finds a transaction that waits in the pool.
    pub(crate) fn waiting(&self, hash: &TxHash) -> Option<Recovered<SignedTransaction>> {
        self.pool.lock().find(hash).cloned()
    }

    /// Searches logs.
    pub(crate) fn logs(&self, filter: &Filter) -> Result<Vec<Log>, QueryError> {
        let range = match filter.block_option {
            FilterBlockOption::AtBlockHash(hash) => {
                let number = self.store.number_of(&hash)?;
                let number = number.ok_or(QueryError::UnknownBlock)?;
                number..=number
            }
            FilterBlockOption::Range {
                from_block,
                to_block,
            } => {
                let newest = self.head.read().header().number;
                let bound = |block: Option<BlockNumberOrTag>| match block {
                    None | Some(BlockNumberOrTag::Pending) => newest,
                    Some(BlockNumberOrTag::Number(number)) => number,
                    Some(tag) => match self.place(tag) {
                        Some(Place::Mined(number)) => number,
                        _ => newest,
                    },
                };
                let (from, to) = (bound(from_block), bound(to_block));
                if from > to {
                    return Err(QueryError::InvalidRange);
                }
                from..=to.min(newest)
            }
        };
        if range.end().saturating_sub(*range.start()) >= MAX_LOG_BLOCKS {
            return Err(QueryError::RangeTooLong);
        }
        let last = *range.end();
        let (logs, reached) = self.logs_within(filter, range)?;
        if reached == last {
            Ok(logs)
        } else {
            Err(QueryError::TooManyLogs)
        }
    }

    /// Searches logs block by block until more than [`MAX_LOGS`] would be found; returns
    /// also the last block that was searched. At least one block always is.
    pub(super) fn logs_within(
        &self,
        filter: &Filter,
        range: RangeInclusive<u64>,
    ) -> Result<(Vec<Log>, u64), QueryError> {
        let (first, last) = (*range.start(), *range.end());
        let mut found: Vec<Log> = Vec::new();
        let wanted = |header: &Header| filter.matches_bloom(header.logs_bloom);
        for number in self.store.blocks_with_logs(range, wanted)? {
            let Some(block) = self.store.block(number)? else {
                continue;
            };
            let mut logs = logs_of(&block, filter);
            if number > first && found.len().saturating_add(logs.len()) > MAX_LOGS {
                return Ok((found, number.saturating_sub(1)));
            }
            found.append(&mut logs);
        }
        Ok((found, last))
    }

    /// Gathers fees of `count` blocks up to `newest`, with the tips at `percentiles` of the
    /// gas used, each between 0 and 100 and not descending.
    pub(crate) fn fee_history(
        &self,
        count: u64,
        newest: BlockNumberOrTag,
        percentiles: &[f64],
    ) -> Result<FeeHistory, QueryError> {
        let newest = match self.place(newest).ok_or(QueryError::UnknownBlock)? {
            Place::Mined(number) => number,
            Place::Pending => self.head.read().header().number,
        };
        let count = count
            .min(MAX_FEE_HISTORY_BLOCKS)
            .min(newest.saturating_add(1));
        if count == 0 {
            return Ok(FeeHistory::default());
        }
        let oldest = newest - (count - 1);
        let headers = self.store.headers(oldest..=newest)?;
        let mut history = FeeHistory {
            oldest_block: oldest,
            ..FeeHistory::default()
        };
        let mut rewards = Vec::new();
        for header in &headers {
            let base_fee = header.base_fee_per_gas.unwrap_or_default();
            history.base_fee_per_gas.push(base_fee.into());
            history.base_fee_per_blob_gas.push(MIN_BLOB_GAS_PRICE);
            history.blob_gas_used_ratio.push(0.0);
            history
                .gas_used_ratio
                .push(header.gas_used as f64 / header.gas_limit as f64);
            if !percentiles.is_empty() {
                rewards.push(self.tips(header, percentiles)?);
            }
        }
        let next = headers.last().and_then(|header| {
            header.next_block_base_fee(alloy_eips::eip1559::BaseFeeParams::ethereum())
        });
        history
            .base_fee_per_gas
            .push(next.unwrap_or_default().into());
        history.base_fee_per_blob_gas.push(MIN_BLOB_GAS_PRICE);
        history.reward = (!percentiles.is_empty()).then_some(rewards);
        Ok(history)
    }

    fn tips(&self, header: &Header, percentiles: &[f64]) -> Result<Vec<u128>, QueryError> {
        let block = if header.gas_used == 0 {
            None
        } else {
            self.store.block(header.number)?
        };
        let Some(block) = block else {
            return Ok(vec![0; percentiles.len()]);
        };
        let base_fee = header.base_fee_per_gas.unwrap_or_default();
        let mut before = 0;
        let mut tips: Vec<(u128, u64)> = block
            .transactions
            .iter()
            .map(|mined| {
                let used = mined.receipt.cumulative_gas_used().saturating_sub(before);
                before = mined.receipt.cumulative_gas_used();
                let tip = mined.transaction.effective_tip_per_gas(base_fee);
                (tip.unwrap_or_default(), used)
            })
            .collect();
        tips.sort_unstable();
        let at = |percentile: &f64| {
            let wanted = (header.gas_used as f64 * percentile / 100.0) as u64;
            let mut used = 0_u64;
            tips.iter()
                .find(|(_, gas)| {
                    used = used.saturating_add(*gas);
                    used >= wanted
                })
                .or(tips.last())
                .map_or(0, |(tip, _)| *tip)
        };
        Ok(percentiles.iter().map(at).collect())
    }
}

/// Lists the logs of a block that match, as JSON-RPC shows them.
pub(super) fn logs_of(block: &MinedBlock, filter: &Filter) -> Vec<Log> {
    block_logs(block)
        .filter(|log| filter.matches(&log.inner))
        .collect()
}

/// Lists all logs of a block with their places in it.
pub(crate) fn block_logs(block: &MinedBlock) -> impl Iterator<Item = Log> + '_ {
    let logs = (0_u64..)
        .zip(&block.transactions)
        .flat_map(|(index, mined)| {
            mined
                .receipt
                .logs()
                .iter()
                .map(move |log| (index, *mined.transaction.hash(), log))
        });
    (0_u64..)
        .zip(logs)
        .map(|(log_index, (index, hash, log))| Log {
            inner: log.clone(),
            block_hash: Some(block.header.hash()),
            block_number: Some(block.header.number),
            block_timestamp: Some(block.header.timestamp),
            transaction_hash: Some(hash),
            transaction_index: Some(index),
            log_index: Some(log_index),
            removed: false,
        })
}
