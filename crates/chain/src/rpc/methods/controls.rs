//! What tests need and a chain in use must not offer.

use super::{Answer, Engine, Params, RpcError, result};
use alloy_primitives::U64;

/// `evm_mine [timestamp]`: makes a block now, at `timestamp` (Unix seconds) or later.
pub(super) fn mine(engine: &Engine, mut params: Params) -> Answer {
    let timestamp = params.quantity()?;
    params.finish()?;
    engine.mine(timestamp)?;
    // What ganache answered, and what is expected since.
    result(&"0x0")
}

/// `conet_reorg depth`: drops the newest blocks; answers with the number that is newest then.
pub(super) fn reorg(engine: &Engine, mut params: Params) -> Answer {
    let depth = params
        .quantity()?
        .ok_or_else(|| RpcError::invalid_params("missing value for required argument 0"))?;
    params.finish()?;
    result(&U64::from(engine.reorg(depth)?.number))
}
