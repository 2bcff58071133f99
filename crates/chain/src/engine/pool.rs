//! Transactions that were taken but are in no block yet.
//!
//! Each sender's transactions wait in nonce order; those without a gap from the sender's
//! next nonce can be mined, the others wait for the gap to close.

use super::admission::TransactionError;
use crate::store::SignedTransaction;
use alloy_consensus::{
    Transaction,
    transaction::{Recovered, TxHashRef},
};
use alloy_primitives::{Address, TxHash, map::HashMap};
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
};

/// Transactions in the pool, of all senders: a few blocks full.
pub(crate) const MAX_TRANSACTIONS: usize = 4096;
/// Transactions of one sender, so that none can fill the pool alone.
pub(crate) const MAX_PER_SENDER: usize = 256;
/// How much more a replacement must offer, in percent, as geth asks.
const REPLACEMENT_BUMP_PERCENT: u128 = 10;

/// The pool: at most one transaction per sender and nonce.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    by_sender: HashMap<Address, BTreeMap<u64, Waiting>>,
    by_hash: HashMap<TxHash, (Address, u64)>,
    arrivals: u64,
}

#[derive(Debug)]
struct Waiting {
    transaction: Recovered<SignedTransaction>,
    arrival: u64,
}

impl Pool {
    /// Takes a transaction; returns the hash of the one that it replaces.
    ///
    /// # Errors
    ///
    /// When it is known already, replaces one without offering more, or the pool is full.
    pub(crate) fn insert(
        &mut self,
        transaction: Recovered<SignedTransaction>,
    ) -> Result<Option<TxHash>, TransactionError> {
        let hash = *transaction.tx_hash();
        if self.by_hash.contains_key(&hash) {
            return Err(TransactionError::AlreadyKnown);
        }
        let (sender, nonce) = (transaction.signer(), transaction.nonce());
        let queue = self.by_sender.entry(sender).or_default();
        let replaced = match queue.get(&nonce) {
            Some(old) if !outbids(&transaction, &old.transaction) => {
                return Err(TransactionError::ReplacementUnderpriced);
            }
            Some(old) => Some(*old.transaction.tx_hash()),
            None if queue.len() >= MAX_PER_SENDER => {
                return Err(TransactionError::SenderQueueFull {
                    limit: MAX_PER_SENDER,
                });
            }
            None if self.by_hash.len() >= MAX_TRANSACTIONS => {
                if queue.is_empty() {
                    self.by_sender.remove(&sender);
                }
                return Err(TransactionError::PoolFull);
            }
            None => None,
        };
        let arrival = self.arrivals;
        self.arrivals = self.arrivals.saturating_add(1);
        queue.insert(
            nonce,
            Waiting {
                transaction,
                arrival,
            },
        );
        if let Some(replaced) = &replaced {
            self.by_hash.remove(replaced);
        }
        self.by_hash.insert(hash, (sender, nonce));
        Ok(replaced)
    }

    /// Removes a transaction, if it is here.
    pub(crate) fn remove(&mut self, hash: &TxHash) {
        let Some((sender, nonce)) = self.by_hash.remove(hash) else {
            return;
        };
        if let Some(queue) = self.by_sender.get_mut(&sender) {
            queue.remove(&nonce);
            if queue.is_empty() {
                self.by_sender.remove(&sender);
            }
        }
    }

    /// Finds a transaction by its hash.
    pub(crate) fn find(&self, hash: &TxHash) -> Option<&Recovered<SignedTransaction>> {
        let (sender, nonce) = self.by_hash.get(hash)?;
        Some(&self.by_sender.get(sender)?.get(nonce)?.transaction)
    }

    /// Counts on from `nonce` over the waiting transactions of `sender` up to the first gap.
    pub(crate) fn next_nonce(&self, sender: &Address, nonce: u64) -> u64 {
        let waiting = self
            .by_sender
            .get(sender)
            .into_iter()
            .flat_map(|queue| queue.range(nonce..).map(|(nonce, _)| *nonce));
        waiting
            .zip(nonce..)
            .take_while(|(waiting, expected)| waiting == expected)
            .last()
            .map_or(nonce, |(last, _)| last.saturating_add(1))
    }

    /// Lists the transactions whose nonce is below the sender's: they can never be mined.
    pub(crate) fn stale(&self, nonce_of: impl Fn(&Address) -> u64) -> Vec<TxHash> {
        self.by_sender
            .iter()
            .flat_map(|(sender, queue)| {
                queue
                    .range(..nonce_of(sender))
                    .map(|(_, waiting)| *waiting.transaction.tx_hash())
            })
            .collect()
    }

    /// Starts choosing transactions for a block.
    pub(crate) fn select(
        &self,
        base_fee: u64,
        nonce_of: impl Fn(&Address) -> u64,
    ) -> Selection<'_> {
        let mut selection = Selection {
            pool: self,
            base_fee,
            best: BinaryHeap::new(),
        };
        for sender in self.by_sender.keys() {
            selection.consider(*sender, nonce_of(sender));
        }
        selection
    }
}

/// Offers transactions for a block: the highest tip first, then the first come.
///
/// After each one the caller says by [`Selection::mined`] that the sender's next may
/// follow; a sender who is not so advanced is passed over for this block.
#[derive(Debug)]
pub(crate) struct Selection<'a> {
    pool: &'a Pool,
    base_fee: u64,
    best: BinaryHeap<(u128, Reverse<u64>, Address, u64)>,
}

impl<'a> Selection<'a> {
    /// Offers the best transaction that is left.
    pub(crate) fn next(&mut self) -> Option<&'a Recovered<SignedTransaction>> {
        let (_, _, sender, nonce) = self.best.pop()?;
        Some(&self.pool.by_sender.get(&sender)?.get(&nonce)?.transaction)
    }

    /// Makes the sender's following transaction eligible.
    pub(crate) fn mined(&mut self, transaction: &Recovered<SignedTransaction>) {
        if let Some(next) = transaction.nonce().checked_add(1) {
            self.consider(transaction.signer(), next);
        }
    }

    fn consider(&mut self, sender: Address, nonce: u64) {
        let waiting = self
            .pool
            .by_sender
            .get(&sender)
            .and_then(|queue| queue.get(&nonce));
        let Some(waiting) = waiting else { return };
        // Below the base fee it waits for cheaper times.
        if let Some(tip) = waiting.transaction.effective_tip_per_gas(self.base_fee) {
            self.best
                .push((tip, Reverse(waiting.arrival), sender, nonce));
        }
    }
}

fn outbids(new: &SignedTransaction, old: &SignedTransaction) -> bool {
    let raised = |old: u128| {
        old.saturating_add(
            old.saturating_mul(REPLACEMENT_BUMP_PERCENT)
                .div_ceil(100)
                .max(1),
        )
    };
    let tip = |transaction: &SignedTransaction| {
        transaction
            .max_priority_fee_per_gas()
            .unwrap_or_else(|| transaction.max_fee_per_gas())
    };
    new.max_fee_per_gas() >= raised(old.max_fee_per_gas()) && tip(new) >= raised(tip(old))
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_consensus::{SignableTransaction, TxEip1559};
    use alloy_primitives::Signature;

    const ALICE: Address = Address::repeat_byte(0xa1);
    const BOB: Address = Address::repeat_byte(0xb0);

    fn transaction(
        sender: Address,
        nonce: u64,
        fee: u128,
        tip: u128,
    ) -> Recovered<SignedTransaction> {
        let signature = Signature::test_signature();
        let signed = TxEip1559 {
            nonce,
            max_fee_per_gas: fee,
            max_priority_fee_per_gas: tip,
            input: sender.to_vec().into(),
            ..TxEip1559::default()
        }
        .into_signed(signature);
        Recovered::new_unchecked(signed.into(), sender)
    }

    fn order(pool: &Pool, base_fee: u64) -> Vec<(Address, u64)> {
        let mut selection = pool.select(base_fee, |_| 0);
        let mut order = vec![];
        while let Some(next) = selection.next() {
            order.push((next.signer(), next.nonce()));
            selection.mined(next);
        }
        order
    }

    #[test]
    fn pool_selection_goes_by_tip_but_keeps_each_senders_nonces_in_order() {
        let mut pool = Pool::default();
        for (sender, nonce, tip) in [(ALICE, 1, 9), (ALICE, 0, 1), (BOB, 0, 5), (BOB, 2, 50)] {
            pool.insert(transaction(sender, nonce, 1000, tip)).unwrap();
        }
        assert_eq!(order(&pool, 10), [(BOB, 0), (ALICE, 0), (ALICE, 1)]);
        assert_eq!(pool.next_nonce(&ALICE, 0), 2);
        assert_eq!(pool.next_nonce(&BOB, 0), 1);
        assert_eq!(pool.next_nonce(&BOB, 2), 3);
    }

    #[test]
    fn pool_selection_passes_over_fees_below_the_base_fee() {
        let mut pool = Pool::default();
        pool.insert(transaction(ALICE, 0, 99, 1)).unwrap();
        assert_eq!(order(&pool, 100), []);
        assert_eq!(order(&pool, 98), [(ALICE, 0)]);
    }

    #[test]
    fn pool_replacement_needs_ten_percent_more_of_both_fees() {
        let mut pool = Pool::default();
        let old = transaction(ALICE, 0, 100, 10);
        pool.insert(old.clone()).unwrap();
        assert!(matches!(
            pool.insert(old.clone()),
            Err(TransactionError::AlreadyKnown)
        ));
        for (fee, tip) in [(109, 11), (110, 10)] {
            assert!(matches!(
                pool.insert(transaction(ALICE, 0, fee, tip)),
                Err(TransactionError::ReplacementUnderpriced)
            ));
        }
        let replaced = pool.insert(transaction(ALICE, 0, 110, 11)).unwrap();
        assert_eq!(replaced, Some(*old.tx_hash()));
        assert!(pool.find(old.tx_hash()).is_none());
        assert_eq!(order(&pool, 0).len(), 1);
    }

    #[test]
    fn pool_full_of_one_sender_refuses_that_sender_only() {
        let mut pool = Pool::default();
        for nonce in 0..MAX_PER_SENDER as u64 {
            pool.insert(transaction(ALICE, nonce, 1, 1)).unwrap();
        }
        assert!(matches!(
            pool.insert(transaction(ALICE, 10_000, 1, 1)),
            Err(TransactionError::SenderQueueFull { .. })
        ));
        pool.insert(transaction(BOB, 0, 1, 1)).unwrap();
        assert_eq!(pool.stale(|_| 3).len(), 4);
    }
}
