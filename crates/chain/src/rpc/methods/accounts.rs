//! Balances, nonces, code and storage.

use super::{Answer, Engine, Params, result, state_block};
use alloy_primitives::{Address, B256, U64, U256};

pub(super) fn balance(engine: &Engine, mut params: Params) -> Answer {
    let address: Address = params.required()?;
    let block = state_block(&mut params)?;
    params.finish()?;
    let account = engine.account(&address, block)?;
    result(&account.map_or(U256::ZERO, |account| account.balance))
}

pub(super) fn transaction_count(engine: &Engine, mut params: Params) -> Answer {
    let address: Address = params.required()?;
    let block = state_block(&mut params)?;
    params.finish()?;
    result(&U64::from(engine.nonce(&address, block)?))
}

pub(super) fn code(engine: &Engine, mut params: Params) -> Answer {
    let address: Address = params.required()?;
    let block = state_block(&mut params)?;
    params.finish()?;
    result(&engine.code(&address, block)?)
}

pub(super) fn storage_at(engine: &Engine, mut params: Params) -> Answer {
    let address: Address = params.required()?;
    let slot = params.word()?;
    let block = state_block(&mut params)?;
    params.finish()?;
    result(&B256::from(engine.slot(&address, &slot, block)?))
}
