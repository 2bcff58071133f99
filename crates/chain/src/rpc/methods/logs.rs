//! Logs: searched once, or followed by a filter.

use super::{Answer, Engine, Params, RpcError, result};
use crate::engine::{FilterChanges, FilterId};
use alloy_primitives::U64;
use alloy_rpc_types_eth::Filter;

pub(super) fn search(engine: &Engine, mut params: Params) -> Answer {
    let filter: Filter = params.required()?;
    params.finish()?;
    result(&engine.logs(&filter)?)
}

pub(super) fn new_log_filter(engine: &Engine, mut params: Params) -> Answer {
    let filter: Filter = params.required()?;
    params.finish()?;
    result(&U64::from(engine.new_log_filter(filter)?))
}

pub(super) fn new_block_filter(engine: &Engine, params: Params) -> Answer {
    params.finish()?;
    result(&U64::from(engine.new_block_filter()?))
}

pub(super) fn changes(engine: &Engine, params: Params) -> Answer {
    match engine.poll_filter(id(params)?)? {
        FilterChanges::Blocks(hashes) => result(&hashes),
        FilterChanges::Logs(logs) => result(&logs),
    }
}

pub(super) fn of_filter(engine: &Engine, params: Params) -> Answer {
    result(&engine.filter_logs(id(params)?)?)
}

pub(super) fn drop_filter(engine: &Engine, params: Params) -> Answer {
    result(&engine.drop_filter(id(params)?))
}

fn id(mut params: Params) -> Result<FilterId, RpcError> {
    let id = params.quantity()?;
    params.finish()?;
    id.ok_or_else(|| RpcError::invalid_params("missing value for required argument 0"))
}
