//! The world state: accounts, storage and code, with the undo of every change.
//!
//! [`WorldState`] is plain data in memory and knows only the newest block. A
//! [`StateDiff`] moves it forward; applying one gives back the diff that undoes it. An
//! older block is seen through an [`Overlay`]: the undo diffs of the blocks since, laid
//! over the newest state.

mod commitment;
mod overlay;
mod trie;

pub(crate) use commitment::StateCommitment;
pub(crate) use overlay::Overlay;

use alloy_primitives::{Address, B256, KECCAK256_EMPTY, U256, map::HashMap};
use alloy_rlp::{RlpDecodable, RlpEncodable};
use revm::state::Bytecode;
use std::collections::BTreeMap;

/// What the state trie keeps of an account, without its storage root.
#[derive(Clone, Copy, Debug, PartialEq, Eq, RlpEncodable, RlpDecodable)]
pub(crate) struct AccountRecord {
    pub(crate) nonce: u64,
    pub(crate) balance: U256,
    pub(crate) code_hash: B256,
}

impl AccountRecord {
    /// Makes an account that holds `balance` wei and nothing else.
    pub(crate) const fn funded(balance: U256) -> Self {
        Self {
            nonce: 0,
            balance,
            code_hash: KECCAK256_EMPTY,
        }
    }
}

/// New values of accounts and slots: what a block changed, or what undoes it.
///
/// An account of `None` does not exist; a slot of zero is absent. Code is only ever
/// added, since it is named by its hash.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct StateDiff {
    pub(crate) accounts: BTreeMap<Address, Option<AccountRecord>>,
    pub(crate) storage: BTreeMap<(Address, U256), U256>,
    pub(crate) code: BTreeMap<B256, Bytecode>,
}

impl StateDiff {
    /// Lays `older` over `self`: where both name a value, that of `older` stands.
    pub(crate) fn overlay(&mut self, older: &Self) {
        self.accounts.extend(older.accounts.iter());
        self.storage.extend(older.storage.iter());
    }
}

/// Every account, slot and contract of the newest block.
#[derive(Debug, Default)]
pub(crate) struct WorldState {
    accounts: HashMap<Address, AccountRecord>,
    storage: HashMap<Address, HashMap<U256, U256>>,
    code: HashMap<B256, Bytecode>,
}

impl WorldState {
    pub(crate) fn account(&self, address: &Address) -> Option<AccountRecord> {
        self.accounts.get(address).copied()
    }

    pub(crate) fn slot(&self, address: &Address, slot: &U256) -> U256 {
        self.storage
            .get(address)
            .and_then(|slots| slots.get(slot))
            .copied()
            .unwrap_or_default()
    }

    pub(crate) fn code(&self, hash: &B256) -> Option<&Bytecode> {
        self.code.get(hash)
    }

    /// Lists the slots of `address` that hold a value.
    pub(crate) fn slots(&self, address: &Address) -> impl Iterator<Item = U256> + '_ {
        self.storage
            .get(address)
            .into_iter()
            .flat_map(|slots| slots.keys().copied())
    }

    /// Gives the diff that would undo `diff`, without applying it.
    pub(crate) fn undo_of(&self, diff: &StateDiff) -> StateDiff {
        StateDiff {
            accounts: diff
                .accounts
                .keys()
                .map(|address| (*address, self.account(address)))
                .collect(),
            storage: diff
                .storage
                .keys()
                .map(|(address, slot)| ((*address, *slot), self.slot(address, slot)))
                .collect(),
            code: BTreeMap::new(),
        }
    }

    /// Moves the state by `diff`.
    pub(crate) fn apply(&mut self, diff: &StateDiff) {
        for (address, account) in &diff.accounts {
            match account {
                Some(record) => self.accounts.insert(*address, *record),
                None => self.accounts.remove(address),
            };
        }
        for ((address, slot), value) in &diff.storage {
            let slots = self.storage.entry(*address).or_default();
            if value.is_zero() {
                slots.remove(slot);
            } else {
                slots.insert(*slot, *value);
            }
            if slots.is_empty() {
                self.storage.remove(address);
            }
        }
        for (hash, code) in &diff.code {
            self.code.insert(*hash, code.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn diff(balance: Option<u64>, value: u64) -> StateDiff {
        let address = Address::repeat_byte(1);
        StateDiff {
            accounts: [(
                address,
                balance.map(|b| AccountRecord::funded(U256::from(b))),
            )]
            .into(),
            storage: [((address, U256::from(7)), U256::from(value))].into(),
            code: BTreeMap::new(),
        }
    }

    #[test]
    fn world_undone_is_as_before() {
        let address = Address::repeat_byte(1);
        let mut world = WorldState::default();
        world.apply(&diff(Some(5), 9));
        let undo = world.undo_of(&diff(None, 0));
        world.apply(&diff(None, 0));
        assert_eq!(world.account(&address), None);
        assert_eq!(world.slots(&address).count(), 0);
        world.apply(&undo);
        assert_eq!(
            world.account(&address),
            Some(AccountRecord::funded(U256::from(5)))
        );
        assert_eq!(world.slot(&address, &U256::from(7)), U256::from(9));
    }
}
