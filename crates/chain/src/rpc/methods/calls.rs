//! Calls that leave nothing behind.

use super::{Answer, Params, RpcError, result, state_block};
use crate::engine::{Call, Engine, Fees};
use alloy_eips::BlockId;
use alloy_primitives::U64;
use alloy_rpc_types_eth::TransactionRequest;
use serde_json::Value;

pub(super) fn call(engine: &Engine, mut params: Params) -> Answer {
    let call = parse(engine, params.required()?)?;
    let block = state_block(&mut params)?;
    refuse_overrides(&mut params)?;
    params.finish()?;
    result(&engine.call(&call, block)?)
}

/// Estimates for the pending block unless told otherwise: that is where a transaction
/// made of the answer will run.
pub(super) fn estimate_gas(engine: &Engine, mut params: Params) -> Answer {
    let call = parse(engine, params.required()?)?;
    let block = params.optional()?.unwrap_or_else(BlockId::pending);
    refuse_overrides(&mut params)?;
    params.finish()?;
    result(&U64::from(engine.estimate(&call, block)?))
}

fn refuse_overrides(params: &mut Params) -> Result<(), RpcError> {
    match params.optional::<Value>()? {
        Some(Value::Object(overrides)) if !overrides.is_empty() => Err(RpcError::invalid_params(
            "state overrides are not supported",
        )),
        _ => Ok(()),
    }
}

fn parse(engine: &Engine, request: TransactionRequest) -> Result<Call, RpcError> {
    if let Some(chain_id) = request.chain_id
        && chain_id != engine.chain_id
    {
        return Err(RpcError::invalid_params(format!(
            "chainId does not match node's (have={chain_id}, want={})",
            engine.chain_id
        )));
    }
    if request.authorization_list.is_some() || request.blob_versioned_hashes.is_some() {
        return Err(RpcError::invalid_params(
            "set-code and blob transactions are not supported",
        ));
    }
    let fees = fees(&request)?;
    let data = request.input.try_into_unique_input();
    let data = data.map_err(|error| RpcError::invalid_params(error.to_string()))?;
    Ok(Call {
        from: request.from.unwrap_or_default(),
        to: request.to.unwrap_or_default(),
        gas: request.gas,
        fees,
        value: request.value.unwrap_or_default(),
        data: data.unwrap_or_default(),
        access_list: request.access_list.unwrap_or_default(),
    })
}

fn fees(request: &TransactionRequest) -> Result<Option<Fees>, RpcError> {
    let (max_fee, tip) = (request.max_fee_per_gas, request.max_priority_fee_per_gas);
    match (request.gas_price, max_fee, tip) {
        (Some(_), Some(_), _) | (Some(_), _, Some(_)) => Err(RpcError::invalid_params(
            "both gasPrice and (maxFeePerGas or maxPriorityFeePerGas) specified",
        )),
        (Some(max_fee), None, None) => Ok(Some(Fees { max_fee, tip: None })),
        (None, Some(max_fee), tip) => Ok(Some(Fees {
            max_fee,
            tip: Some(tip.unwrap_or_default()),
        })),
        (None, None, _) => Ok(None),
    }
}
