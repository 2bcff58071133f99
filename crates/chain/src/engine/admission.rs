//! What a raw transaction must satisfy to enter the pool.
//!
//! The wording follows geth: wallets and libraries recognise these errors by their text.

use super::{
    Head,
    execution::{RULES, TRANSACTION_GAS_CAP},
};
use crate::store::SignedTransaction;
use alloy_consensus::{
    Transaction, Typed2718,
    transaction::{Recovered, SignerRecoverable},
};
use alloy_eips::Decodable2718;
use alloy_primitives::{Address, B256, KECCAK256_EMPTY, U256};
use revm::{context_interface::cfg::GasParams, primitives::eip3860::MAX_INITCODE_SIZE};

/// Encoded size of a transaction, as in geth's pool.
pub(crate) const MAX_TRANSACTION_BYTES: usize = 128 * 1024;

/// Why a transaction was not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TransactionError {
    /// The bytes are no transaction.
    #[error("rlp: {0}")]
    Undecodable(alloy_eips::eip2718::Eip2718Error),
    /// The transaction is of a type other than 0 (legacy), 1 (EIP-2930) and 2 (EIP-1559).
    #[error("transaction type not supported")]
    TypeNotSupported,
    /// The encoding is longer than the pool takes.
    #[error("oversized data: transaction size {size}, limit {limit}")]
    Oversized {
        /// The size in bytes.
        size: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// No sender can be recovered from the signature (EIP-2: `s` must be low).
    #[error("invalid sender")]
    InvalidSender,
    /// The transaction names no chain and so could be replayed on another one (EIP-155).
    #[error("only replay-protected (EIP-155) transactions allowed over RPC")]
    ReplayUnprotected,
    /// The transaction is for another chain.
    #[error("invalid chain id for signer: have {have} want {want}")]
    WrongChain {
        /// The chain that it names.
        have: u64,
        /// This chain.
        want: u64,
    },
    /// Init code is longer than EIP-3860 allows.
    #[error("max initcode size exceeded: code size {size}, limit {limit}")]
    InitCodeTooLong {
        /// The size in bytes.
        size: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// The tip is higher than the whole fee.
    #[error(
        "max priority fee per gas higher than max fee per gas: address {sender}, maxPriorityFeePerGas: {tip}, maxFeePerGas: {fee}"
    )]
    TipAboveFee {
        /// The sender.
        sender: Address,
        /// The tip, in wei per gas.
        tip: u128,
        /// The whole fee, in wei per gas.
        fee: u128,
    },
    /// The gas limit is above that of a block.
    #[error("exceeds block gas limit")]
    ExceedsBlockGasLimit,
    /// The gas limit is above what EIP-7825 allows one transaction.
    #[error("transaction gas limit too high (cap: {cap}, tx: {gas})")]
    ExceedsGasCap {
        /// The cap.
        cap: u64,
        /// The gas limit.
        gas: u64,
    },
    /// The gas limit does not pay for the transaction's existence.
    #[error("intrinsic gas too low: gas {gas}, minimum needed {needed}")]
    IntrinsicGas {
        /// The gas limit.
        gas: u64,
        /// The gas needed.
        needed: u64,
    },
    /// The gas limit is below the floor for the data (EIP-7623).
    #[error("insufficient gas for floor data gas cost: gas {gas}, minimum needed {needed}")]
    FloorGas {
        /// The gas limit.
        gas: u64,
        /// The gas needed.
        needed: u64,
    },
    /// The nonce was used already.
    #[error("nonce too low: next nonce {next}, tx nonce {nonce}")]
    NonceTooLow {
        /// The sender's next nonce.
        next: u64,
        /// The transaction's nonce.
        nonce: u64,
    },
    /// The nonce can't be counted on from (EIP-2681).
    #[error("nonce has max value: address {sender}")]
    NonceMax {
        /// The sender.
        sender: Address,
    },
    /// The sender is a contract (EIP-3607).
    #[error("sender not an eoa: address {sender}, codehash: {code_hash}")]
    SenderIsContract {
        /// The sender.
        sender: Address,
        /// The hash of its code.
        code_hash: B256,
    },
    /// The sender can't pay for the transaction at its highest price.
    #[error(
        "insufficient funds for gas * price + value: balance {balance}, tx cost {cost}, overshot {}",
        cost.saturating_sub(*balance)
    )]
    InsufficientFunds {
        /// The sender's balance in wei.
        balance: U256,
        /// The highest cost in wei.
        cost: U256,
    },
    /// With a block per transaction, one that is below the base fee would wait forever.
    #[error(
        "max fee per gas less than block base fee: address {sender}, maxFeePerGas: {fee}, baseFee: {base_fee}"
    )]
    FeeBelowBaseFee {
        /// The sender.
        sender: Address,
        /// The fee offered, in wei per gas.
        fee: u128,
        /// The next block's base fee, in wei per gas.
        base_fee: u64,
    },
    /// The very transaction is waiting or mined already.
    #[error("already known")]
    AlreadyKnown,
    /// Another transaction of this nonce waits and offers about as much.
    #[error("replacement transaction underpriced")]
    ReplacementUnderpriced,
    /// Too many transactions of this sender are waiting.
    #[error("account limit exceeded: pooled {limit} txs")]
    SenderQueueFull {
        /// The limit.
        limit: usize,
    },
    /// Too many transactions are waiting.
    #[error("txpool is full")]
    PoolFull,
}

/// Decodes an EIP-2718 transaction and recovers its sender.
pub(crate) fn decode(raw: &[u8]) -> Result<Recovered<SignedTransaction>, TransactionError> {
    if raw.len() > MAX_TRANSACTION_BYTES {
        return Err(TransactionError::Oversized {
            size: raw.len(),
            limit: MAX_TRANSACTION_BYTES,
        });
    }
    // The first byte of a legacy transaction begins an RLP list (EIP-2718).
    if raw.first().is_some_and(|byte| (3..0xc0).contains(byte)) {
        return Err(TransactionError::TypeNotSupported);
    }
    let transaction =
        SignedTransaction::decode_2718_exact(raw).map_err(TransactionError::Undecodable)?;
    if transaction.ty() > 2 {
        return Err(TransactionError::TypeNotSupported);
    }
    transaction
        .try_into_recovered()
        .map_err(|_| TransactionError::InvalidSender)
}

/// Checks a transaction against the newest state. `must_pay_now` refuses one that is below
/// the next block's base fee.
pub(crate) fn check(
    transaction: &Recovered<SignedTransaction>,
    chain_id: u64,
    block_gas_limit: u64,
    head: &Head,
    must_pay_now: bool,
) -> Result<(), TransactionError> {
    let sender = transaction.signer();
    match transaction.chain_id() {
        None => return Err(TransactionError::ReplayUnprotected),
        Some(have) if have != chain_id => {
            return Err(TransactionError::WrongChain {
                have,
                want: chain_id,
            });
        }
        Some(_) => {}
    }
    check_gas(transaction, block_gas_limit)?;
    let (fee, base_fee) = (transaction.max_fee_per_gas(), head.next_base_fee());
    if let Some(tip) = transaction.max_priority_fee_per_gas()
        && tip > fee
    {
        return Err(TransactionError::TipAboveFee { sender, tip, fee });
    }
    let account = head.world().account(&sender);
    let (nonce, next) = (transaction.nonce(), account.map_or(0, |a| a.nonce));
    if nonce < next {
        return Err(TransactionError::NonceTooLow { next, nonce });
    }
    if nonce == u64::MAX {
        return Err(TransactionError::NonceMax { sender });
    }
    if let Some(account) = account
        && account.code_hash != KECCAK256_EMPTY
    {
        return Err(TransactionError::SenderIsContract {
            sender,
            code_hash: account.code_hash,
        });
    }
    let balance = account.map_or(U256::ZERO, |a| a.balance);
    let cost = U256::from(fee)
        .saturating_mul(U256::from(transaction.gas_limit()))
        .saturating_add(transaction.value());
    if cost > balance {
        return Err(TransactionError::InsufficientFunds { balance, cost });
    }
    if must_pay_now && fee < u128::from(base_fee) {
        return Err(TransactionError::FeeBelowBaseFee {
            sender,
            fee,
            base_fee,
        });
    }
    Ok(())
}

fn check_gas(
    transaction: &SignedTransaction,
    block_gas_limit: u64,
) -> Result<(), TransactionError> {
    let (gas, input) = (transaction.gas_limit(), transaction.input());
    if transaction.is_create() && input.len() > MAX_INITCODE_SIZE {
        return Err(TransactionError::InitCodeTooLong {
            size: input.len(),
            limit: MAX_INITCODE_SIZE,
        });
    }
    if gas > block_gas_limit {
        return Err(TransactionError::ExceedsBlockGasLimit);
    }
    if gas > TRANSACTION_GAS_CAP {
        return Err(TransactionError::ExceedsGasCap {
            cap: TRANSACTION_GAS_CAP,
            gas,
        });
    }
    let (accounts, slots) = transaction.access_list().map_or((0, 0), |list| {
        let slots: usize = list.iter().map(|item| item.storage_keys.len()).sum();
        (list.len() as u64, slots as u64)
    });
    let needed = GasParams::new_spec(RULES).initial_tx_gas(
        input,
        transaction.is_create(),
        accounts,
        slots,
        0,
        None,
    );
    if gas < needed.initial_total_gas() {
        return Err(TransactionError::IntrinsicGas {
            gas,
            needed: needed.initial_total_gas(),
        });
    }
    if gas < needed.floor_gas() {
        return Err(TransactionError::FloorGas {
            gas,
            needed: needed.floor_gas(),
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn decode_of_any_bytes_is_an_error_and_no_panic(
            kind in prop_oneof![Just(None), (0_u8..5).prop_map(Some)],
            bytes in prop::collection::vec(any::<u8>(), 0..300),
        ) {
            let raw: Vec<u8> = kind.into_iter().chain(bytes).collect();
            prop_assert!(decode(&raw).is_err());
        }
    }

    #[test]
    fn decode_of_blob_and_set_code_transactions_says_the_type_is_not_supported() {
        for kind in [3, 4, 0x7f] {
            assert!(matches!(
                decode(&[kind, 0xc0]),
                Err(TransactionError::TypeNotSupported)
            ));
        }
    }
}
