//! The newest state with other values laid over it, as the EVM reads and writes it.

use super::{AccountRecord, StateDiff, WorldState};
use alloy_primitives::{Address, B256, KECCAK256_EMPTY, U256};
use revm::{
    Database, DatabaseCommit,
    primitives::AddressMap,
    state::{Account, AccountInfo, Bytecode},
};
use std::{collections::BTreeMap, convert::Infallible};

/// A view of the state: `base`, overlaid by a diff that may look back or forward.
///
/// With the undo diffs of the latest blocks it shows an older block; while a block is
/// built it gathers what the transactions change.
#[derive(Debug)]
pub(crate) struct Overlay<'a> {
    base: &'a WorldState,
    diff: StateDiff,
    block_hashes: &'a BTreeMap<u64, B256>,
}

impl<'a> Overlay<'a> {
    /// Lays `diff` over `base`. `block_hashes` answers the `BLOCKHASH` instruction.
    pub(crate) const fn new(
        base: &'a WorldState,
        diff: StateDiff,
        block_hashes: &'a BTreeMap<u64, B256>,
    ) -> Self {
        Self {
            base,
            diff,
            block_hashes,
        }
    }

    pub(crate) fn account(&self, address: &Address) -> Option<AccountRecord> {
        match self.diff.accounts.get(address) {
            Some(account) => *account,
            None => self.base.account(address),
        }
    }

    pub(crate) fn slot(&self, address: &Address, slot: &U256) -> U256 {
        match self.diff.storage.get(&(*address, *slot)) {
            Some(value) => *value,
            None => self.base.slot(address, slot),
        }
    }

    pub(crate) fn code(&self, hash: &B256) -> Bytecode {
        self.diff
            .code
            .get(hash)
            .or_else(|| self.base.code(hash))
            .cloned()
            .unwrap_or_default()
    }

    /// Returns the gathered changes, without those that changed nothing in the end.
    pub(crate) fn into_changes(self) -> StateDiff {
        let Self { base, mut diff, .. } = self;
        diff.accounts
            .retain(|address, account| *account != base.account(address));
        diff.storage
            .retain(|(address, slot), value| *value != base.slot(address, slot));
        diff.code.retain(|hash, _| base.code(hash).is_none());
        diff
    }

    fn clear_storage(&mut self, address: Address) {
        let own: Vec<U256> = self
            .diff
            .storage
            .range((address, U256::ZERO)..=(address, U256::MAX))
            .map(|((_, slot), _)| *slot)
            .collect();
        for slot in self.base.slots(&address).chain(own) {
            self.diff.storage.insert((address, slot), U256::ZERO);
        }
    }
}

impl Database for Overlay<'_> {
    type Error = Infallible;

    fn basic(&mut self, address: Address) -> Result<Option<AccountInfo>, Infallible> {
        Ok(self.account(&address).map(|record| AccountInfo {
            balance: record.balance,
            nonce: record.nonce,
            code_hash: record.code_hash,
            code: Some(self.code(&record.code_hash)),
            account_id: None,
        }))
    }

    fn code_by_hash(&mut self, code_hash: B256) -> Result<Bytecode, Infallible> {
        Ok(self.code(&code_hash))
    }

    fn storage(&mut self, address: Address, index: U256) -> Result<U256, Infallible> {
        Ok(self.slot(&address, &index))
    }

    fn block_hash(&mut self, number: u64) -> Result<B256, Infallible> {
        Ok(self.block_hashes.get(&number).copied().unwrap_or_default())
    }
}

impl DatabaseCommit for Overlay<'_> {
    fn commit(&mut self, changes: AddressMap<Account>) {
        for (address, account) in changes {
            if !account.is_touched() {
                continue;
            }
            if account.is_selfdestructed() {
                self.diff.accounts.insert(address, None);
                self.clear_storage(address);
                continue;
            }
            for (slot, value) in account.changed_storage_slots() {
                self.diff
                    .storage
                    .insert((address, *slot), value.present_value());
            }
            // EIP-161: an account that was touched and left empty does not exist.
            let record = (!account.is_empty()).then_some(AccountRecord {
                nonce: account.info.nonce,
                balance: account.info.balance,
                code_hash: account.info.code_hash,
            });
            self.diff.accounts.insert(address, record);
            if account.info.code_hash != KECCAK256_EMPTY
                && let Some(code) = account.info.code
            {
                self.diff.code.insert(account.info.code_hash, code);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use revm::state::{EvmStorageSlot, TransactionId};

    const ADDRESS: Address = Address::repeat_byte(3);

    fn world() -> WorldState {
        let mut world = WorldState::default();
        world.apply(&StateDiff {
            accounts: [(ADDRESS, Some(AccountRecord::funded(U256::from(10))))].into(),
            storage: [((ADDRESS, U256::from(1)), U256::from(11))].into(),
            code: BTreeMap::new(),
        });
        world
    }

    #[test]
    fn overlay_with_no_real_change_has_no_changes() {
        let (world, hashes) = (world(), BTreeMap::new());
        let mut overlay = Overlay::new(&world, StateDiff::default(), &hashes);
        let mut account = Account::default().with_touched_mark();
        account.info.balance = U256::from(10);
        overlay.commit([(ADDRESS, account)].into_iter().collect());
        assert_eq!(overlay.into_changes(), StateDiff::default());
    }

    #[test]
    fn overlay_commit_of_destroyed_account_clears_its_storage() {
        let (world, hashes) = (world(), BTreeMap::new());
        let mut overlay = Overlay::new(&world, StateDiff::default(), &hashes);
        let mut written = Account::default().with_touched_mark();
        written.info.nonce = 1;
        written.storage.insert(
            U256::from(2),
            EvmStorageSlot::new_changed(U256::ZERO, U256::from(5), TransactionId::ZERO),
        );
        overlay.commit([(ADDRESS, written)].into_iter().collect());
        assert_eq!(overlay.slot(&ADDRESS, &U256::from(2)), U256::from(5));
        let destroyed = Account::default()
            .with_touched_mark()
            .with_selfdestruct_mark();
        overlay.commit([(ADDRESS, destroyed)].into_iter().collect());
        assert_eq!(overlay.account(&ADDRESS), None);
        assert_eq!(overlay.slot(&ADDRESS, &U256::from(1)), U256::ZERO);
        assert_eq!(overlay.slot(&ADDRESS, &U256::from(2)), U256::ZERO);
    }

    #[test]
    fn overlay_commit_of_emptied_account_removes_it() {
        let (world, hashes) = (world(), BTreeMap::new());
        let mut overlay = Overlay::new(&world, StateDiff::default(), &hashes);
        overlay.commit(
            [(ADDRESS, Account::default().with_touched_mark())]
                .into_iter()
                .collect(),
        );
        assert_eq!(overlay.account(&ADDRESS), None);
    }
}
