//! The bytes of a name's row, on disk and in memory.
//!
//! ```text
//! owner [20] │ flags u8 │ expiry u64 │ generation u32 │ parent [32] │ parent generation u32
//! │ wallet [20], if flag 2 │ n u8, label │ what a reverse node is called
//! ```
//!
//! Flag 1: the resolver is the one that this crate reads. Integers are big-endian. An expiry of 0 is none. Generations
//! are counted as the NameRegistry counts them.

use wallet::WalletAddress;

use crate::name::{MAX_LABEL_BYTES, MAX_NAME_TEXT_BYTES, NameNode};

const RESOLVER_KNOWN: u8 = 1;
const HAS_WALLET: u8 = 2;

/// What the index keeps of a name's node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NameRow {
    /// To whom it belongs, or belonged before it expired; all zero for nobody.
    pub(super) owner: WalletAddress,
    pub(super) resolver_known: bool,
    /// Unix second from which it doesn't stand.
    pub(super) expiry_s: Option<u64>,
    pub(super) generation: u32,
    pub(super) parent: NameNode,
    pub(super) parent_generation: u32,
    /// What it says, of this generation.
    pub(super) wallet: Option<WalletAddress>,
    /// Its own part of the name, where that is known: of registered names.
    pub(super) label: String,
    /// What a reverse node says, of this generation.
    pub(super) called: String,
}

impl Default for NameRow {
    fn default() -> Self {
        Self {
            owner: WalletAddress::from_bytes([0; 20]),
            resolver_known: false,
            expiry_s: None,
            generation: 0,
            parent: NameNode::ROOT,
            parent_generation: 0,
            wallet: None,
            label: String::new(),
            called: String::new(),
        }
    }
}

impl NameRow {
    /// The row after its node was given by the owner of `parent`, which has that generation.
    pub(super) fn given(
        &self,
        owner: WalletAddress,
        parent: NameNode,
        parent_generation: u32,
    ) -> Self {
        Self {
            owner,
            parent,
            parent_generation,
            generation: self.generation.saturating_add(1),
            label: self.label.clone(),
            ..Self::default()
        }
    }

    pub(super) fn has_owner(&self) -> bool {
        self.owner.as_bytes() != &[0; 20]
    }

    pub(super) fn write(&self) -> Vec<u8> {
        let mut flags = 0;
        if self.resolver_known {
            flags |= RESOLVER_KNOWN;
        }
        if self.wallet.is_some() {
            flags |= HAS_WALLET;
        }
        let mut row = self.owner.as_bytes().to_vec();
        row.push(flags);
        row.extend(self.expiry_s.unwrap_or(0).to_be_bytes());
        row.extend(self.generation.to_be_bytes());
        row.extend(self.parent.as_bytes());
        row.extend(self.parent_generation.to_be_bytes());
        row.extend(self.wallet.iter().flat_map(|wallet| *wallet.as_bytes()));
        // Events with longer ones are refused before they become rows.
        row.push(self.label.len().min(MAX_LABEL_BYTES) as u8);
        row.extend(self.label.bytes().take(MAX_LABEL_BYTES));
        row.extend(self.called.bytes().take(MAX_NAME_TEXT_BYTES));
        row
    }

    /// Reads a row; none where it is none.
    pub(super) fn read(row: &[u8]) -> Option<Self> {
        let (owner, rest) = row.split_first_chunk()?;
        let (flags, rest) = rest.split_first()?;
        let (expiry, rest) = rest.split_first_chunk()?;
        let (generation, rest) = rest.split_first_chunk()?;
        let (parent, rest) = rest.split_first_chunk()?;
        let (parent_generation, rest) = rest.split_first_chunk()?;
        let (wallet, rest) = if flags & HAS_WALLET == 0 {
            (None, rest)
        } else {
            let (wallet, rest) = rest.split_first_chunk()?;
            (Some(WalletAddress::from_bytes(*wallet)), rest)
        };
        let (count, rest) = rest.split_first()?;
        let (label, called) = rest.split_at_checked(usize::from(*count))?;
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).ok();
        Some(Self {
            owner: WalletAddress::from_bytes(*owner),
            resolver_known: flags & RESOLVER_KNOWN != 0,
            expiry_s: Some(u64::from_be_bytes(*expiry)).filter(|expiry| *expiry != 0),
            generation: u32::from_be_bytes(*generation),
            parent: NameNode::from_bytes(*parent),
            parent_generation: u32::from_be_bytes(*parent_generation),
            wallet,
            label: text(label)?,
            called: text(called)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn name_row_reader_survives_any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..500)) {
            let _ = NameRow::read(&bytes);
        }

        #[test]
        fn name_row_read_back_is_the_row(
            owner: [u8; 20], expiry in proptest::option::of(1..u64::MAX), parent: [u8; 32], generation: u32, parent_generation: u32,
            wallet: Option<[u8; 20]>, resolver_known: bool, label in "[a-z]{0,63}", called in "[a-zé]{0,100}",
        ) {
            let row = NameRow {
                owner: WalletAddress::from_bytes(owner),
                resolver_known,
                expiry_s: expiry,
                generation,
                parent: NameNode::from_bytes(parent),
                parent_generation,
                wallet: wallet.map(WalletAddress::from_bytes),
                label,
                called,
            };
            prop_assert_eq!(NameRow::read(&row.write()), Some(row));
        }
    }
}
