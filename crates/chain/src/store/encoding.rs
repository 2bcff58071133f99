//! How state diffs are written into the store: RLP, like everything else on the chain.

use crate::state::{AccountRecord, StateDiff};
use alloy_primitives::{Address, U256};
use alloy_rlp::{Decodable, RlpDecodable, RlpEncodable};

/// `[[[address, [record?]], …], [[address, slot, value], …]]`
#[derive(RlpEncodable, RlpDecodable)]
struct DiffRecord {
    accounts: Vec<AccountChange>,
    slots: Vec<SlotChange>,
}

#[derive(RlpEncodable, RlpDecodable)]
struct AccountChange {
    address: Address,
    /// One record, or none for an account that does not exist.
    record: Vec<AccountRecord>,
}

#[derive(RlpEncodable, RlpDecodable)]
struct SlotChange {
    address: Address,
    slot: U256,
    value: U256,
}

/// Encodes the accounts and slots of `diff`; its code is stored elsewhere.
pub(crate) fn encode_diff(diff: &StateDiff) -> Vec<u8> {
    alloy_rlp::encode(DiffRecord {
        accounts: diff
            .accounts
            .iter()
            .map(|(address, record)| AccountChange {
                address: *address,
                record: record.iter().copied().collect(),
            })
            .collect(),
        slots: diff
            .storage
            .iter()
            .map(|((address, slot), value)| SlotChange {
                address: *address,
                slot: *slot,
                value: *value,
            })
            .collect(),
    })
}

/// Decodes what [`encode_diff`] wrote.
pub(crate) fn decode_diff(mut bytes: &[u8]) -> alloy_rlp::Result<StateDiff> {
    let record = DiffRecord::decode(&mut bytes)?;
    Ok(StateDiff {
        accounts: record
            .accounts
            .into_iter()
            .map(|change| (change.address, change.record.first().copied()))
            .collect(),
        storage: record
            .slots
            .into_iter()
            .map(|change| ((change.address, change.slot), change.value))
            .collect(),
        ..StateDiff::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn diff_written_and_read_is_the_same(
            accounts in prop::collection::btree_map(any::<[u8; 20]>(), prop::option::of((any::<u64>(), any::<[u64; 4]>())), 0..5),
            slots in prop::collection::btree_map((any::<[u8; 20]>(), any::<[u64; 4]>()), any::<[u64; 4]>(), 0..5),
        ) {
            let diff = StateDiff {
                accounts: accounts.into_iter().map(|(address, record)| (Address::from(address), record.map(|(nonce, balance)| AccountRecord { nonce, ..AccountRecord::funded(U256::from_limbs(balance)) }))).collect(),
                storage: slots.into_iter().map(|((address, slot), value)| ((Address::from(address), U256::from_limbs(slot)), U256::from_limbs(value))).collect(),
                ..StateDiff::default()
            };
            prop_assert_eq!(decode_diff(&encode_diff(&diff)), Ok(diff));
        }

        #[test]
        fn diff_from_garbage_is_an_error_or_a_diff(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode_diff(&bytes);
        }
    }
}
