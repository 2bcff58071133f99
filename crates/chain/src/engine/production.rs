//! Everything that changes the chain: taking transactions, making and dropping blocks.

use super::{
    Engine, EngineError, Head, TransactionError, admission, empty_header, execution,
    pool::{MAX_TRANSACTIONS, Pool},
    since_epoch,
};
use crate::{
    state::StateCommitment,
    store::{MinedBlock, SignedTransaction, StoreError},
};
use alloy_consensus::{
    Header, Sealable, Sealed, Transaction, TxReceipt,
    proofs::{calculate_receipt_root, calculate_transaction_root},
    transaction::{Recovered, TxHashRef},
};
use alloy_primitives::{Bloom, TxHash, keccak256};

/// Blocks that `conet_reorg` can drop at once, and by which `finalized` is then held back.
pub const MAX_REORG_BLOCKS: u64 = 64;

/// Why a transaction was not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SubmitError {
    #[error(transparent)]
    Transaction(#[from] TransactionError),
    #[error(transparent)]
    Engine(#[from] EngineError),
}

impl From<StoreError> for SubmitError {
    fn from(error: StoreError) -> Self {
        Self::Engine(error.into())
    }
}

impl Engine {
    /// Takes a raw transaction; once this returns it survives a crash. On an instant chain
    /// it is then in a block, unless its nonce leaves a gap.
    pub(crate) fn submit(&self, raw: &[u8]) -> Result<TxHash, SubmitError> {
        let transaction = admission::decode(raw)?;
        let hash = *transaction.tx_hash();
        let mut writer = self.writer.lock();
        let mineable = self.admit(&transaction)?;
        let replaced = self.pool.lock().insert(transaction.clone())?;
        // Mined at once it is on disk with its block, and need not be written twice.
        let kept = if self.instant && mineable {
            self.mine_ready(&mut writer)
        } else {
            self.store
                .add_to_pool(&transaction, replaced)
                .map_err(EngineError::from)
        };
        if let Err(error) = kept {
            self.pool.lock().remove(&hash);
            return Err(error.into());
        }
        Ok(hash)
    }

    /// Makes a block now, even an empty one. `timestamp` in Unix seconds, if given, is the
    /// earliest time of the block.
    pub(crate) fn mine(&self, timestamp: Option<u64>) -> Result<Sealed<Header>, EngineError> {
        let mut writer = self.writer.lock();
        self.make_block(&mut writer, timestamp)
    }

    /// Drops the newest `depth` blocks and what they did; their transactions are forgotten.
    pub(crate) fn reorg(&self, depth: u64) -> Result<Sealed<Header>, EngineError> {
        let mut writer = self.writer.lock();
        let (target, undo) = {
            let head = self.head.read();
            let newest = head.header().number;
            let possible = MAX_REORG_BLOCKS.min(newest - head.oldest_state());
            let too_deep = EngineError::ReorgTooDeep { depth, possible };
            if depth > possible {
                return Err(too_deep);
            }
            let steps = usize::try_from(depth).unwrap_or(usize::MAX);
            (newest - depth, head.undo_of_newest(steps).ok_or(too_deep)?)
        };
        let header = self
            .store
            .headers(target..=target)?
            .pop()
            .ok_or(StoreError::Damaged("block list"))?;
        let mut dropped = Vec::new();
        for number in target.saturating_add(1)..=target.saturating_add(depth) {
            dropped.extend(self.store.block(number)?);
        }
        let mut filters = self.filters.lock();
        let redo = self.head.read().world().undo_of(&undo);
        let root = writer.advance(self.head.read().world(), &undo);
        let truncated = if root == header.state_root {
            self.store
                .truncate(target, &undo)
                .map_err(EngineError::from)
        } else {
            Err(EngineError::StateMismatch(target))
        };
        if let Err(error) = truncated {
            writer.advance(self.head.read().world(), &redo);
            return Err(error);
        }
        let steps = usize::try_from(depth).unwrap_or(usize::MAX);
        self.head.write().retreat(header.clone(), &undo, steps);
        filters.rewind(target, &dropped);
        Ok(header)
    }

    /// Takes up the transactions that waited when the chain was last closed.
    pub(super) fn restore_pool(&self) -> Result<(), EngineError> {
        let mut writer = self.writer.lock();
        for raw in self.store.pool()? {
            let taken = admission::decode(&raw).and_then(|transaction| {
                self.admit(&transaction)?;
                self.pool.lock().insert(transaction)
            });
            if taken.is_err() {
                self.store.remove_from_pool(&keccak256(&raw))?;
            }
        }
        if self.instant {
            self.mine_ready(&mut writer)?;
        }
        Ok(())
    }

    /// Checks a transaction against the head; tells whether it can be mined at once.
    fn admit(&self, transaction: &Recovered<SignedTransaction>) -> Result<bool, TransactionError> {
        let pool = self.pool.lock();
        let head = self.head.read();
        admission::check(
            transaction,
            self.chain_id,
            self.gas_limit,
            &head,
            self.instant,
        )?;
        let sender = transaction.signer();
        let nonce = head.world().account(&sender).map_or(0, |a| a.nonce);
        Ok(transaction.nonce() <= pool.next_nonce(&sender, nonce))
    }

    /// Makes blocks until nothing in the pool can be mined.
    fn mine_ready(&self, writer: &mut StateCommitment) -> Result<(), EngineError> {
        for _ in 0..MAX_TRANSACTIONS {
            let ready = {
                let (pool, head) = (self.pool.lock(), self.head.read());
                pool.select(head.next_base_fee(), nonces(&head))
                    .next()
                    .is_some()
            };
            if !ready {
                break;
            }
            self.make_block(writer, None)?;
        }
        Ok(())
    }

    fn make_block(
        &self,
        writer: &mut StateCommitment,
        timestamp: Option<u64>,
    ) -> Result<Sealed<Header>, EngineError> {
        let (block, diff, undo, gone, keep_undo_from) = {
            let pool = self.pool.lock();
            let head = self.head.read();
            let mut header = self.next_header(&head, timestamp);
            let state = head
                .state_at(head.header().number)
                .ok_or(StoreError::Damaged("newest state"))?;
            let selection = pool.select(head.next_base_fee(), nonces(&head));
            let filled = execution::fill(state, self.chain_id, &header, selection)?;
            let (transactions, receipts): (Vec<_>, Vec<_>) = filled
                .transactions
                .iter()
                .map(|mined| (mined.transaction.inner(), &mined.receipt))
                .unzip();
            header.gas_used = filled.gas_used;
            header.transactions_root = calculate_transaction_root(&transactions);
            header.receipts_root = calculate_receipt_root(&receipts);
            header.logs_bloom = receipts
                .iter()
                .fold(Bloom::ZERO, |bloom, receipt| bloom | receipt.bloom());
            let undo = head.world().undo_of(&filled.changes);
            header.state_root = writer.advance(head.world(), &filled.changes);
            let gone = gone(&pool, &head, &filled);
            let keep_undo_from = header
                .number
                .saturating_add(1)
                .saturating_sub(super::HISTORY_BLOCKS);
            let block = MinedBlock {
                header: header.seal_slow(),
                transactions: filled.transactions,
            };
            (block, filled.changes, undo, gone, keep_undo_from)
        };
        if let Err(error) = self
            .store
            .append(&block, &diff, &undo, &gone, keep_undo_from)
        {
            writer.advance(self.head.read().world(), &undo);
            return Err(error.into());
        }
        self.head.write().advance(block.header.clone(), &diff, undo);
        let mut pool = self.pool.lock();
        for hash in &gone {
            pool.remove(hash);
        }
        tracing::debug!(
            target: "chain",
            number = block.header.number,
            transactions = block.transactions.len(),
            gas_used = block.header.gas_used,
            "made a block"
        );
        Ok(block.header)
    }

    /// Prepares the header of the next block, without what its transactions decide.
    ///
    /// Its time never runs back, but two blocks of one second share it, unlike mainnet's:
    /// a thousand instant blocks would else carry the chain's clock far ahead of the
    /// world's. `mixHash` (`PREVRANDAO`) is unforeseeable enough for tests and for nothing
    /// else.
    pub(super) fn next_header(&self, head: &Head, timestamp: Option<u64>) -> Header {
        let (parent, now) = (head.header(), since_epoch());
        let seed = [
            parent.hash().as_slice(),
            now.as_nanos().to_be_bytes().as_slice(),
        ]
        .concat();
        Header {
            parent_hash: parent.hash(),
            number: parent.number.saturating_add(1),
            gas_limit: self.gas_limit,
            timestamp: timestamp.unwrap_or(now.as_secs()).max(parent.timestamp),
            mix_hash: keccak256(seed),
            base_fee_per_gas: Some(head.next_base_fee()),
            ..empty_header()
        }
    }
}

fn nonces(head: &Head) -> impl Fn(&alloy_primitives::Address) -> u64 + '_ {
    |sender| head.world().account(sender).map_or(0, |a| a.nonce)
}

/// Lists what the pool can forget once the block is made.
fn gone(pool: &Pool, head: &Head, filled: &execution::Filled) -> Vec<TxHash> {
    let nonce_after = |sender: &alloy_primitives::Address| {
        let account = match filled.changes.accounts.get(sender) {
            Some(account) => *account,
            None => head.world().account(sender),
        };
        account.map_or(0, |a| a.nonce)
    };
    let mut gone = pool.stale(nonce_after);
    gone.extend(&filled.impossible);
    gone
}
