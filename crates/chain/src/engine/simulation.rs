//! `eth_call` and `eth_estimateGas`: running a call that leaves nothing behind.

use super::execution::{Machine, TRANSACTION_GAS_CAP, machine};
use crate::state::Overlay;
use alloy_consensus::Header;
use alloy_eips::eip2930::AccessList;
use alloy_primitives::{Address, Bytes, KECCAK256_EMPTY, TxKind, U256};
use revm::{
    ExecuteEvm,
    context::TxEnv,
    context_interface::result::{EVMError, ExecutionResult, HaltReason, InvalidTransaction},
};

/// The estimate may exceed the need by this share of itself, as in geth.
const ESTIMATE_TOLERANCE_PERMILLE: u64 = 15;
/// Gas of a plain transfer of value.
const TRANSFER_GAS: u64 = 21_000;
/// Gas that a call with value gives to the callee on top (Yellow Paper, `G_callstipend`).
const CALL_STIPEND: u64 = 2_300;
/// Halving 2^64 takes this many steps; no search takes more.
const MAX_SEARCH_STEPS: usize = 64;

/// A call to try out.
#[derive(Clone, Debug, Default)]
pub(crate) struct Call {
    pub(crate) from: Address,
    pub(crate) to: TxKind,
    pub(crate) gas: Option<u64>,
    /// What the call offers for gas; without it gas costs nothing.
    pub(crate) fees: Option<Fees>,
    pub(crate) value: U256,
    pub(crate) data: Bytes,
    pub(crate) access_list: AccessList,
}

/// Fees in wei per gas.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fees {
    pub(crate) max_fee: u128,
    /// Present for an EIP-1559 call.
    pub(crate) tip: Option<u128>,
}

/// Why a call or an estimate has no result. The wording follows geth.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    #[error("execution reverted{}", reason(.0))]
    Reverted(Bytes),
    #[error("{}", halt_text(.0))]
    Halted(HaltReason),
    #[error("{0}")]
    Refused(String),
    #[error("gas required exceeds allowance ({0})")]
    AllowanceTooLow(u64),
    #[error("insufficient funds for gas * price + value: address {sender} have {have} want {want}")]
    InsufficientFunds {
        sender: Address,
        have: U256,
        want: U256,
    },
    #[error("the EVM failed: {0}")]
    Machine(String),
}

/// Runs `call` on `state` in the block of `header` and returns what it returns.
pub(crate) fn run(
    state: Overlay<'_>,
    chain_id: u64,
    header: &Header,
    call: &Call,
) -> Result<Bytes, CallError> {
    let gas = call.gas.unwrap_or(header.gas_limit).min(header.gas_limit);
    let mut trial = Trial::new(state, chain_id, header, call);
    match trial.with_gas(gas)? {
        ExecutionResult::Success { output, .. } => Ok(output.into_data()),
        ExecutionResult::Revert { output, .. } => Err(CallError::Reverted(output)),
        ExecutionResult::Halt { reason, .. } => Err(CallError::Halted(reason)),
    }
}

/// Finds a gas limit with which `call` succeeds, near the lowest such one.
pub(crate) fn estimate(
    state: Overlay<'_>,
    chain_id: u64,
    header: &Header,
    call: &Call,
) -> Result<u64, CallError> {
    let mut highest = header.gas_limit.min(TRANSACTION_GAS_CAP);
    if let Some(gas) = call.gas
        && gas >= TRANSFER_GAS
    {
        highest = highest.min(gas);
    }
    let account = state.account(&call.from);
    let balance = account.map_or(U256::ZERO, |account| account.balance);
    if call.value > balance {
        return Err(CallError::InsufficientFunds {
            sender: call.from,
            have: balance,
            want: call.value,
        });
    }
    if let Some(fees) = call.fees
        && fees.max_fee > 0
    {
        let affordable = (balance - call.value) / U256::from(fees.max_fee);
        highest = highest.min(affordable.saturating_to());
    }
    let plain_transfer = call.data.is_empty()
        && call.to.to().is_some_and(|to| {
            state
                .account(to)
                .is_none_or(|account| account.code_hash == KECCAK256_EMPTY)
        });
    let mut trial = Trial::new(state, chain_id, header, call);
    if plain_transfer
        && highest >= TRANSFER_GAS
        && matches!(trial.with_gas(TRANSFER_GAS), Ok(result) if result.is_success())
    {
        return Ok(TRANSFER_GAS);
    }
    let gas = match trial.with_gas(highest) {
        Ok(ExecutionResult::Success { gas, .. }) => gas,
        Ok(ExecutionResult::Revert { output, .. }) => return Err(CallError::Reverted(output)),
        Ok(ExecutionResult::Halt {
            reason: HaltReason::OutOfGas(_),
            ..
        })
        | Err(CallError::AllowanceTooLow(_)) => return Err(CallError::AllowanceTooLow(highest)),
        Ok(ExecutionResult::Halt { reason, .. }) => return Err(CallError::Halted(reason)),
        Err(error) => return Err(error),
    };
    // What was used is too little where something was refunded or an inner call keeps 1/64.
    let mut too_low = gas.tx_gas_used().saturating_sub(1);
    let likely = gas
        .total_gas_spent()
        .saturating_add(CALL_STIPEND)
        .saturating_mul(64)
        / 63;
    if likely < highest {
        if trial.succeeds(likely)? {
            highest = likely;
        } else {
            too_low = too_low.max(likely);
        }
    }
    for _ in 0..MAX_SEARCH_STEPS {
        let gap = highest.saturating_sub(too_low);
        if gap <= 1
            || gap.saturating_mul(1000) < highest.saturating_mul(ESTIMATE_TOLERANCE_PERMILLE)
        {
            break;
        }
        // Most needs lie near the lower end.
        let middle = (too_low + gap / 2).min(too_low.saturating_mul(2).max(1));
        if trial.succeeds(middle)? {
            highest = middle;
        } else {
            too_low = middle;
        }
    }
    Ok(highest)
}

/// One call on one state, run as often as needed.
struct Trial<'a> {
    machine: Machine<'a>,
    transaction: TxEnv,
}

impl<'a> Trial<'a> {
    fn new(state: Overlay<'a>, chain_id: u64, header: &Header, call: &Call) -> Self {
        let nonce = state.account(&call.from).map_or(0, |account| account.nonce);
        let mut header = header.clone();
        let fees = call.fees.filter(|fees| fees.max_fee > 0);
        if fees.is_none() {
            header.base_fee_per_gas = Some(0);
        }
        let mut machine = machine(state, chain_id, &header);
        machine.ctx.cfg.disable_eip3607 = true;
        machine.ctx.cfg.tx_gas_limit_cap = Some(u64::MAX);
        let tip = fees.and_then(|fees| fees.tip);
        let tx_type = match (tip, call.access_list.is_empty()) {
            (Some(_), _) => 2,
            (None, false) => 1,
            (None, true) => 0,
        };
        Self {
            machine,
            transaction: TxEnv {
                tx_type,
                caller: call.from,
                gas_limit: 0,
                gas_price: fees.map_or(0, |fees| fees.max_fee),
                kind: call.to,
                value: call.value,
                data: call.data.clone(),
                nonce,
                chain_id: Some(chain_id),
                access_list: call.access_list.clone(),
                gas_priority_fee: tip,
                blob_hashes: Vec::new(),
                max_fee_per_blob_gas: 0,
                authorization_list: Vec::new(),
            },
        }
    }

    fn with_gas(&mut self, gas_limit: u64) -> Result<ExecutionResult, CallError> {
        let transaction = TxEnv {
            gas_limit,
            ..self.transaction.clone()
        };
        match self.machine.transact(transaction) {
            Ok(outcome) => Ok(outcome.result),
            Err(EVMError::Transaction(refusal)) => {
                Err(refused(refusal, self.transaction.caller, gas_limit))
            }
            Err(error) => Err(CallError::Machine(error.to_string())),
        }
    }

    fn succeeds(&mut self, gas: u64) -> Result<bool, CallError> {
        match self.with_gas(gas) {
            Ok(result) => Ok(result.is_success()),
            Err(CallError::AllowanceTooLow(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

fn refused(refusal: InvalidTransaction, sender: Address, gas: u64) -> CallError {
    match refusal {
        InvalidTransaction::LackOfFundForMaxFee { fee, balance } => CallError::InsufficientFunds {
            sender,
            have: *balance,
            want: *fee,
        },
        InvalidTransaction::CallGasCostMoreThanGasLimit { .. }
        | InvalidTransaction::GasFloorMoreThanGasLimit { .. } => CallError::AllowanceTooLow(gas),
        InvalidTransaction::GasPriceLessThanBasefee => CallError::Refused(format!(
            "max fee per gas less than block base fee: address {sender}"
        )),
        InvalidTransaction::PriorityFeeGreaterThanMaxFee => CallError::Refused(format!(
            "max priority fee per gas higher than max fee per gas: address {sender}"
        )),
        InvalidTransaction::CreateInitCodeSizeLimit => {
            CallError::Refused("max initcode size exceeded".to_owned())
        }
        other => CallError::Refused(other.to_string()),
    }
}

fn halt_text(reason: &HaltReason) -> String {
    match reason {
        HaltReason::OutOfGas(_) => "out of gas".to_owned(),
        HaltReason::OpcodeNotFound | HaltReason::InvalidFEOpcode => {
            format!("invalid opcode: {reason}")
        }
        other => other.to_string(),
    }
}

/// Reads Solidity's `Error(string)`, as `: reason`; nothing of anything else.
fn reason(data: &Bytes) -> String {
    const ERROR_STRING: [u8; 4] = [0x08, 0xc3, 0x79, 0xa0];
    let text = || {
        let arguments = data.strip_prefix(&ERROR_STRING)?;
        let word_at = |at: usize| -> Option<usize> {
            let word = arguments.get(at..at.checked_add(32)?)?;
            U256::try_from_be_slice(word)?.try_into().ok()
        };
        let at = word_at(0)?;
        let start = at.checked_add(32)?;
        let text = arguments.get(start..start.checked_add(word_at(at)?)?)?;
        std::str::from_utf8(text).ok()
    };
    text().map_or_else(String::new, |text| format!(": {text}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_primitives::hex;
    use proptest::prelude::*;

    #[test]
    fn reason_of_error_string_is_its_text() {
        let data = hex!(
            "08c379a0"
            "0000000000000000000000000000000000000000000000000000000000000020"
            "0000000000000000000000000000000000000000000000000000000000000004"
            "6e6f706500000000000000000000000000000000000000000000000000000000"
        );
        let error = CallError::Reverted(Bytes::from(data));
        assert_eq!(error.to_string(), "execution reverted: nope");
    }

    proptest! {
        #[test]
        fn reason_of_any_bytes_does_not_panic(bytes in prop::collection::vec(any::<u8>(), 0..120)) {
            let mut data = vec![0x08, 0xc3, 0x79, 0xa0];
            data.extend(bytes);
            let _ = reason(&data.into());
        }
    }
}
