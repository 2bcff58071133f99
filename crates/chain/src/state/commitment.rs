//! The state root, kept up to date block by block.

use super::{AccountRecord, StateDiff, WorldState, trie::Trie};
use alloy_consensus::TrieAccount;
use alloy_primitives::{Address, B256, U256, keccak256, map::HashMap};
use std::collections::{BTreeMap, BTreeSet};

/// The account trie and the storage tries below it.
///
/// It follows a [`WorldState`] but is kept apart from it: only the block producer needs
/// it, and it must be able to run ahead of what readers see until a block is on disk.
#[derive(Debug, Default)]
pub(crate) struct StateCommitment {
    accounts: Trie,
    storage: HashMap<Address, Trie>,
}

impl StateCommitment {
    /// Moves by `diff` and returns the new state root.
    ///
    /// `world` is the state before `diff`; it gives the records of accounts of which only
    /// storage changed.
    pub(crate) fn advance(&mut self, world: &WorldState, diff: &StateDiff) -> B256 {
        let mut slots: BTreeMap<Address, Vec<(U256, U256)>> = BTreeMap::new();
        for ((address, slot), value) in &diff.storage {
            slots.entry(*address).or_default().push((*slot, *value));
        }
        let touched: BTreeSet<Address> =
            diff.accounts.keys().chain(slots.keys()).copied().collect();
        for address in touched {
            let record = diff
                .accounts
                .get(&address)
                .copied()
                .unwrap_or_else(|| world.account(&address));
            let changed = slots.remove(&address).unwrap_or_default();
            self.set_account(address, record, &changed);
        }
        self.accounts.root_hash()
    }

    fn set_account(
        &mut self,
        address: Address,
        record: Option<AccountRecord>,
        changed: &[(U256, U256)],
    ) {
        let trie = self.storage.entry(address).or_default();
        for (slot, value) in changed {
            let key = keccak256(slot.to_be_bytes::<32>());
            if value.is_zero() {
                trie.remove(key);
            } else {
                trie.insert(key, alloy_rlp::encode(value));
            }
        }
        let storage_root = trie.root_hash();
        if storage_root == alloy_consensus::EMPTY_ROOT_HASH {
            self.storage.remove(&address);
        }
        let key = keccak256(address);
        match record {
            None => self.accounts.remove(key),
            Some(record) => self.accounts.insert(
                key,
                alloy_rlp::encode(TrieAccount {
                    nonce: record.nonce,
                    balance: record.balance,
                    storage_root,
                    code_hash: record.code_hash,
                }),
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_consensus::{
        EMPTY_ROOT_HASH,
        proofs::{state_root_unhashed, storage_root_unhashed},
    };
    use proptest::prelude::*;

    type Change = (u8, Option<u64>, Vec<(u8, u64)>);

    fn change() -> impl Strategy<Value = Change> {
        (
            0_u8..6,
            prop::option::weighted(0.8, any::<u64>()),
            prop::collection::vec((any::<u8>(), 0_u64..3), 0..6),
        )
    }

    fn diff_of(changes: &[Change]) -> StateDiff {
        let mut diff = StateDiff::default();
        for (account, balance, slots) in changes {
            let address = Address::repeat_byte(*account);
            diff.accounts.insert(
                address,
                balance.map(|balance| AccountRecord::funded(U256::from(balance))),
            );
            for (slot, value) in slots {
                diff.storage
                    .insert((address, U256::from(*slot)), U256::from(*value));
            }
        }
        diff
    }

    fn root_from_scratch(world: &WorldState) -> B256 {
        state_root_unhashed((0_u8..6).filter_map(|n| {
            let address = Address::repeat_byte(n);
            let record = world.account(&address)?;
            let storage_root = storage_root_unhashed(world.slots(&address).map(|slot| {
                let value = world.slot(&address, &slot);
                (B256::from(slot), value)
            }));
            Some((
                address,
                TrieAccount {
                    nonce: record.nonce,
                    balance: record.balance,
                    storage_root,
                    code_hash: record.code_hash,
                },
            ))
        }))
    }

    proptest! {
        #[test]
        fn commitment_follows_every_block_and_its_undo(
            blocks in prop::collection::vec(prop::collection::vec(change(), 0..4), 1..8)
        ) {
            let mut world = WorldState::default();
            let mut commitment = StateCommitment::default();
            let mut undone = vec![];
            for block in &blocks {
                let diff = diff_of(block);
                undone.push((commitment.advance(&WorldState::default(), &StateDiff::default()), world.undo_of(&diff)));
                let root = commitment.advance(&world, &diff);
                world.apply(&diff);
                prop_assert_eq!(root, root_from_scratch(&world));
            }
            for (before, undo) in undone.iter().rev() {
                let root = commitment.advance(&world, undo);
                world.apply(undo);
                prop_assert_eq!(root, *before);
            }
            prop_assert_eq!(commitment.advance(&world, &StateDiff::default()), EMPTY_ROOT_HASH);
        }
    }
}
