//! The methods: those that viem, ethers, alloy, cast and MetaMask call.

mod accounts;
mod blocks;
mod calls;
mod controls;
mod fees;
mod logs;
mod transactions;

use super::{Access, Params, RpcError, result};
use crate::engine::Engine;
use alloy_eips::BlockId;
use alloy_primitives::U64;
use serde::Serialize;
use serde_json::value::RawValue;

/// What strangers may call on an exposed chain.
const EXPOSED: [&str; 29] = [
    "web3_clientVersion",
    "net_version",
    "eth_chainId",
    "eth_blockNumber",
    "eth_syncing",
    "eth_accounts",
    "eth_getBalance",
    "eth_getTransactionCount",
    "eth_getCode",
    "eth_getStorageAt",
    "eth_call",
    "eth_estimateGas",
    "eth_gasPrice",
    "eth_maxPriorityFeePerGas",
    "eth_feeHistory",
    "eth_sendRawTransaction",
    "eth_getTransactionByHash",
    "eth_getTransactionReceipt",
    "eth_getBlockByNumber",
    "eth_getBlockByHash",
    "eth_getBlockReceipts",
    "eth_getBlockTransactionCountByNumber",
    "eth_getBlockTransactionCountByHash",
    "eth_getLogs",
    "eth_newFilter",
    "eth_newBlockFilter",
    "eth_getFilterChanges",
    "eth_getFilterLogs",
    "eth_uninstallFilter",
];

type Answer = Result<Box<RawValue>, RpcError>;

/// Calls a method.
pub(super) fn call(engine: &Engine, access: Access, method: &str, params: Params) -> Answer {
    if access == Access::Exposed && !EXPOSED.contains(&method) {
        return Err(RpcError::method_not_found(method));
    }
    match method {
        "web3_clientVersion" => {
            constant(params, concat!("conet-chain/", env!("CARGO_PKG_VERSION")))
        }
        "net_version" => constant(params, engine.chain_id.to_string()),
        "eth_chainId" => constant(params, U64::from(engine.chain_id)),
        "eth_blockNumber" => constant(params, U64::from(engine.newest().number)),
        "eth_syncing" => constant(params, false),
        "eth_accounts" => constant(params, [(); 0]),
        "eth_gasPrice" => fees::gas_price(engine, params),
        "eth_maxPriorityFeePerGas" => constant(params, U64::from(fees::SUGGESTED_TIP)),
        "eth_feeHistory" => fees::history(engine, params),
        "eth_getBalance" => accounts::balance(engine, params),
        "eth_getTransactionCount" => accounts::transaction_count(engine, params),
        "eth_getCode" => accounts::code(engine, params),
        "eth_getStorageAt" => accounts::storage_at(engine, params),
        "eth_call" => calls::call(engine, params),
        "eth_estimateGas" => calls::estimate_gas(engine, params),
        "eth_sendRawTransaction" => transactions::send_raw(engine, params),
        "eth_getTransactionByHash" => transactions::by_hash(engine, params),
        "eth_getTransactionReceipt" => transactions::receipt(engine, params),
        "eth_getBlockByNumber" => blocks::by_number(engine, params),
        "eth_getBlockByHash" => blocks::by_hash(engine, params),
        "eth_getBlockReceipts" => blocks::receipts(engine, params),
        "eth_getBlockTransactionCountByNumber" => blocks::count_by_number(engine, params),
        "eth_getBlockTransactionCountByHash" => blocks::count_by_hash(engine, params),
        "eth_getLogs" => logs::search(engine, params),
        "eth_newFilter" => logs::new_log_filter(engine, params),
        "eth_newBlockFilter" => logs::new_block_filter(engine, params),
        "eth_getFilterChanges" => logs::changes(engine, params),
        "eth_getFilterLogs" => logs::of_filter(engine, params),
        "eth_uninstallFilter" => logs::drop_filter(engine, params),
        "evm_mine" if engine.test_controls => controls::mine(engine, params),
        "conet_reorg" if engine.test_controls => controls::reorg(engine, params),
        _ => Err(RpcError::method_not_found(method)),
    }
}

/// Answers a method that takes no parameters.
fn constant(params: Params, value: impl Serialize) -> Answer {
    params.finish()?;
    result(&value)
}

/// Takes the block that a state is asked of; the newest one if none is named.
fn state_block(params: &mut Params) -> Result<BlockId, RpcError> {
    Ok(params.optional()?.unwrap_or_else(BlockId::latest))
}
