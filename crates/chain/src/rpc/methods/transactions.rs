//! Single transactions.

use super::{Answer, Engine, Params, result};
use crate::rpc::shapes;
use alloy_primitives::{Bytes, TxHash};

pub(super) fn send_raw(engine: &Engine, mut params: Params) -> Answer {
    let raw: Bytes = params.required()?;
    params.finish()?;
    result(&engine.submit(&raw)?)
}

pub(super) fn by_hash(engine: &Engine, mut params: Params) -> Answer {
    let hash: TxHash = params.required()?;
    params.finish()?;
    // The pool first: what leaves it meanwhile is in a block by then.
    if let Some(transaction) = engine.waiting(&hash) {
        return result(&shapes::waiting(transaction));
    }
    let found = engine.mined(&hash)?.and_then(|(block, position)| {
        let transaction = block.transactions.get(position)?.transaction.clone();
        Some(shapes::mined(&block.header, position as u64, transaction))
    });
    result(&found)
}

pub(super) fn receipt(engine: &Engine, mut params: Params) -> Answer {
    let hash: TxHash = params.required()?;
    params.finish()?;
    let found = engine
        .mined(&hash)?
        .and_then(|(block, position)| shapes::receipts(&block).into_iter().nth(position));
    result(&found)
}
