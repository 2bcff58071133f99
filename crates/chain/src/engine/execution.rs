//! Running transactions on `revm`: into a block, or only to see what would happen.

use super::pool::Selection;
use crate::{
    state::{Overlay, StateDiff},
    store::{MinedTransaction, SignedTransaction},
};
use alloy_consensus::{
    Header, Receipt, ReceiptEnvelope, Transaction, Typed2718,
    transaction::{Recovered, TxHashRef},
};
use alloy_primitives::{TxHash, U256};
use revm::{
    Context, ExecuteCommitEvm, MainBuilder,
    context::{BlockEnv, TxEnv},
    context_interface::{block::BlobExcessGasAndPrice, result::EVMError},
    handler::{MainnetContext, MainnetEvm},
    primitives::{eip7825::TX_GAS_LIMIT_CAP, hardfork::SpecId},
};

/// The rules of the chain: those of Ethereum's mainnet.
pub(crate) const RULES: SpecId = SpecId::OSAKA;
/// Gas that one transaction may ask for (EIP-7825).
pub(crate) const TRANSACTION_GAS_CAP: u64 = TX_GAS_LIMIT_CAP;

/// An EVM over a view of the state.
pub(crate) type Machine<'a> = MainnetEvm<MainnetContext<Overlay<'a>>>;

/// The EVM failed in itself; a transaction can't cause this.
#[derive(Debug, thiserror::Error)]
#[error("the EVM failed: {0}")]
pub struct MachineError(pub(crate) String);

/// The transactions of a block and what they did.
#[derive(Debug)]
pub(crate) struct Filled {
    pub(crate) transactions: Vec<MinedTransaction>,
    pub(crate) gas_used: u64,
    pub(crate) changes: StateDiff,
    /// Transactions that turned out to be impossible, such as for want of funds.
    pub(crate) impossible: Vec<TxHash>,
}

/// Prepares an EVM that runs inside the block of `header`, on `state`.
pub(crate) fn machine<'a>(state: Overlay<'a>, chain_id: u64, header: &Header) -> Machine<'a> {
    let block = BlockEnv {
        number: U256::from(header.number),
        beneficiary: header.beneficiary,
        timestamp: U256::from(header.timestamp),
        gas_limit: header.gas_limit,
        basefee: header.base_fee_per_gas.unwrap_or_default(),
        difficulty: U256::ZERO,
        prevrandao: Some(header.mix_hash),
        blob_excess_gas_and_price: Some(BlobExcessGasAndPrice::new_with_spec(0, RULES)),
        slot_num: 0,
    };
    let context: MainnetContext<Overlay<'a>> = Context::new(state, RULES);
    context
        .with_block(block)
        .modify_cfg_chained(|config| config.chain_id = chain_id)
        .build_mainnet()
}

/// Runs the chosen transactions in the block of `header` until it is full.
pub(crate) fn fill(
    state: Overlay<'_>,
    chain_id: u64,
    header: &Header,
    mut selection: Selection<'_>,
) -> Result<Filled, MachineError> {
    let mut machine = machine(state, chain_id, header);
    let mut transactions = Vec::new();
    let mut impossible = Vec::new();
    let mut gas_used = 0_u64;
    while let Some(transaction) = selection.next() {
        if gas_used.saturating_add(transaction.gas_limit()) > header.gas_limit {
            continue;
        }
        let result = match machine.transact_commit(environment(transaction)) {
            Ok(result) => result,
            Err(EVMError::Transaction(_)) => {
                impossible.push(*transaction.tx_hash());
                continue;
            }
            Err(error) => return Err(MachineError(error.to_string())),
        };
        gas_used = gas_used.saturating_add(result.tx_gas_used());
        let success = result.is_success();
        let receipt = Receipt {
            status: success.into(),
            cumulative_gas_used: gas_used,
            // Only what succeeded leaves logs.
            logs: if success {
                result.into_logs()
            } else {
                Vec::new()
            },
        };
        transactions.push(MinedTransaction {
            transaction: transaction.clone(),
            receipt: ReceiptEnvelope::from_typed(transaction.tx_type(), receipt),
        });
        selection.mined(transaction);
    }
    Ok(Filled {
        transactions,
        gas_used,
        changes: machine.ctx.journaled_state.database.into_changes(),
        impossible,
    })
}

fn environment(transaction: &Recovered<SignedTransaction>) -> TxEnv {
    TxEnv {
        tx_type: transaction.ty(),
        caller: transaction.signer(),
        gas_limit: transaction.gas_limit(),
        gas_price: transaction.max_fee_per_gas(),
        kind: transaction.kind(),
        value: transaction.value(),
        data: transaction.input().clone(),
        nonce: transaction.nonce(),
        chain_id: transaction.chain_id(),
        access_list: transaction.access_list().cloned().unwrap_or_default(),
        gas_priority_fee: transaction.max_priority_fee_per_gas(),
        blob_hashes: Vec::new(),
        max_fee_per_blob_gas: 0,
        authorization_list: Vec::new(),
    }
}
