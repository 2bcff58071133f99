//! Blocks and what is in them.

use super::{Answer, Params, RpcError, result};
use crate::{
    engine::{Engine, Place},
    rpc::shapes,
    store::MinedBlock,
};
use alloy_eips::{BlockId, BlockNumberOrTag};
use alloy_primitives::{B256, U64};

pub(super) fn by_number(engine: &Engine, mut params: Params) -> Answer {
    let block: BlockNumberOrTag = params.required()?;
    let full: bool = params.optional()?.unwrap_or_default();
    params.finish()?;
    match engine.place(block) {
        None => result(&()),
        Some(Place::Pending) => {
            let (header, transactions) = engine.pending_block();
            result(&shapes::block(&header, &transactions, full))
        }
        Some(Place::Mined(number)) => result(&engine.block(number)?.map(|b| shown(&b, full))),
    }
}

pub(super) fn by_hash(engine: &Engine, mut params: Params) -> Answer {
    let hash: B256 = params.required()?;
    let full: bool = params.optional()?.unwrap_or_default();
    params.finish()?;
    result(&engine.block_by_hash(&hash)?.map(|b| shown(&b, full)))
}

/// A pending block has no receipts yet: it is answered like one that does not exist.
pub(super) fn receipts(engine: &Engine, mut params: Params) -> Answer {
    let block: BlockId = params.required()?;
    params.finish()?;
    let block = match block {
        BlockId::Hash(hash) => engine.block_by_hash(&hash.block_hash)?,
        BlockId::Number(number) => mined(engine, number)?,
    };
    result(&block.map(|block| shapes::receipts(&block)))
}

pub(super) fn count_by_number(engine: &Engine, mut params: Params) -> Answer {
    let block: BlockNumberOrTag = params.required()?;
    params.finish()?;
    if engine.place(block) == Some(Place::Pending) {
        return result(&count(engine.pending_block().1.len()));
    }
    let block = mined(engine, block)?;
    result(&block.map(|block| count(block.transactions.len())))
}

pub(super) fn count_by_hash(engine: &Engine, mut params: Params) -> Answer {
    let hash: B256 = params.required()?;
    params.finish()?;
    let block = engine.block_by_hash(&hash)?;
    result(&block.map(|block| count(block.transactions.len())))
}

fn mined(engine: &Engine, block: BlockNumberOrTag) -> Result<Option<MinedBlock>, RpcError> {
    match engine.place(block) {
        Some(Place::Mined(number)) => Ok(engine.block(number)?),
        Some(Place::Pending) | None => Ok(None),
    }
}

fn shown(block: &MinedBlock, full: bool) -> shapes::RpcBlock {
    let transactions: Vec<_> = block
        .transactions
        .iter()
        .map(|mined| mined.transaction.clone())
        .collect();
    shapes::block(&block.header, &transactions, full)
}

fn count(transactions: usize) -> U64 {
    U64::from(transactions)
}
