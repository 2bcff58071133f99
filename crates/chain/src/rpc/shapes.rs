//! Blocks, transactions and receipts in the shape of JSON-RPC.

use crate::{
    engine::block_logs,
    store::{MinedBlock, SignedTransaction},
};
use alloy_consensus::{
    Block as ConsensusBlock, BlockBody, Header, ReceiptEnvelope, Sealed, Transaction as _,
    transaction::{Recovered, TransactionInfo, TxHashRef},
};
use alloy_primitives::U256;
use alloy_rlp::Encodable;
use alloy_rpc_types_eth::{
    Block, BlockTransactions, Header as RpcHeader, Log, Transaction, TransactionReceipt,
    Withdrawals,
};

pub(crate) type RpcTransaction = Transaction<SignedTransaction>;
pub(crate) type RpcBlock = Block<RpcTransaction>;
pub(crate) type RpcReceipt = TransactionReceipt<ReceiptEnvelope<Log>>;

/// Shows a block, with whole transactions or only their hashes.
pub(crate) fn block(
    header: &Sealed<Header>,
    transactions: &[Recovered<SignedTransaction>],
    full: bool,
) -> RpcBlock {
    let body = BlockBody {
        transactions: transactions.iter().map(Recovered::inner).collect(),
        ommers: Vec::new(),
        withdrawals: Some(Withdrawals::default()),
    };
    let size = ConsensusBlock::new(header.inner().clone(), body).length();
    let transactions = if full {
        let shown = (0_u64..).zip(transactions);
        BlockTransactions::Full(
            shown
                .map(|(index, transaction)| mined(header, index, transaction.clone()))
                .collect(),
        )
    } else {
        BlockTransactions::Hashes(transactions.iter().map(|t| *t.tx_hash()).collect())
    };
    Block {
        header: RpcHeader::from_consensus(header.clone(), None, Some(U256::from(size))),
        uncles: Vec::new(),
        transactions,
        withdrawals: Some(Withdrawals::default()),
    }
}

/// Shows a transaction of the block of `header`.
pub(crate) fn mined(
    header: &Sealed<Header>,
    index: u64,
    transaction: Recovered<SignedTransaction>,
) -> RpcTransaction {
    let info = TransactionInfo {
        hash: None,
        index: Some(index),
        block_hash: Some(header.hash()),
        block_number: Some(header.number),
        base_fee: header.base_fee_per_gas,
        block_timestamp: Some(header.timestamp),
    };
    Transaction::from_transaction(transaction, info)
}

/// Shows a transaction that waits.
pub(crate) fn waiting(transaction: Recovered<SignedTransaction>) -> RpcTransaction {
    Transaction::from_transaction(transaction, TransactionInfo::default())
}

/// Shows the receipts of a block.
pub(crate) fn receipts(block: &MinedBlock) -> Vec<RpcReceipt> {
    let header = &block.header;
    let mut logs = block_logs(block);
    let mut gas_before = 0;
    (0_u64..)
        .zip(&block.transactions)
        .map(|(index, mined)| {
            let transaction = &mined.transaction;
            let gas_after = mined.receipt.cumulative_gas_used();
            let gas_used = gas_after.saturating_sub(gas_before);
            gas_before = gas_after;
            let own: Vec<Log> = logs.by_ref().take(mined.receipt.logs().len()).collect();
            let mut own = own.into_iter();
            TransactionReceipt {
                // As many as there are, in the same order.
                inner: mined
                    .receipt
                    .clone()
                    .map_logs(|_| own.next().unwrap_or_default()),
                transaction_hash: *transaction.tx_hash(),
                transaction_index: Some(index),
                block_hash: Some(header.hash()),
                block_number: Some(header.number),
                gas_used,
                effective_gas_price: transaction.effective_gas_price(header.base_fee_per_gas),
                blob_gas_used: None,
                blob_gas_price: None,
                from: transaction.signer(),
                to: transaction.to(),
                contract_address: transaction
                    .is_create()
                    .then(|| transaction.signer().create(transaction.nonce())),
            }
        })
        .collect()
}
