//! What readers see: the newest state and the way back from it.

use crate::{
    state::{Overlay, StateDiff, WorldState},
    store::{Store, StoreError},
};
use alloy_consensus::{Header, Sealed};
use alloy_eips::eip1559::BaseFeeParams;
use alloy_primitives::B256;
use std::collections::{BTreeMap, VecDeque};

/// Blocks whose state can be read besides the newest one.
pub const HISTORY_BLOCKS: u64 = 256;
/// Block hashes in memory: what `BLOCKHASH` reaches from the oldest readable state.
const KNOWN_HASHES: u64 = 2 * HISTORY_BLOCKS;

/// The newest block, its state, and the undo of the latest blocks.
#[derive(Debug)]
pub(crate) struct Head {
    header: Sealed<Header>,
    world: WorldState,
    /// Undo of the latest blocks, that of the newest one last.
    undo: VecDeque<StateDiff>,
    hashes: BTreeMap<u64, B256>,
}

impl Head {
    /// Reads the head from the store, which must hold a chain.
    pub(crate) fn load(store: &Store) -> Result<(Self, StateDiff), StoreError> {
        let newest = store.newest()?.ok_or(StoreError::Damaged("block list"))?;
        let headers = store.headers(newest.saturating_sub(KNOWN_HASHES)..=newest)?;
        let hashes = headers.iter().map(|h| (h.number, h.hash())).collect();
        let header = headers
            .into_iter()
            .next_back()
            .ok_or(StoreError::Damaged("block list"))?;
        let state = store.state()?;
        let mut world = WorldState::default();
        world.apply(&state);
        let mut undo = VecDeque::new();
        let kept = store.undo()?;
        let first = newest.saturating_add(1).saturating_sub(kept.len() as u64);
        for (expected, (block, diff)) in (first..).zip(kept) {
            if block != expected {
                return Err(StoreError::Damaged("undo list"));
            }
            undo.push_back(diff);
        }
        let head = Self {
            header,
            world,
            undo,
            hashes,
        };
        Ok((head, state))
    }

    pub(crate) const fn header(&self) -> &Sealed<Header> {
        &self.header
    }

    pub(crate) const fn world(&self) -> &WorldState {
        &self.world
    }

    /// Returns the base fee of the next block in wei per gas (EIP-1559).
    pub(crate) fn next_base_fee(&self) -> u64 {
        self.header
            .next_block_base_fee(BaseFeeParams::ethereum())
            .unwrap_or_default()
    }

    /// Returns the oldest block whose state can still be read.
    pub(crate) fn oldest_state(&self) -> u64 {
        self.header.number.saturating_sub(self.undo.len() as u64)
    }

    /// Shows the state after block `number`; `None` where it is not kept.
    pub(crate) fn state_at(&self, number: u64) -> Option<Overlay<'_>> {
        let back = self.header.number.checked_sub(number)?;
        let diff = self.undo_of_newest(usize::try_from(back).ok()?)?;
        Some(Overlay::new(&self.world, diff, &self.hashes))
    }

    /// Joins the undo of the newest `depth` blocks.
    pub(crate) fn undo_of_newest(&self, depth: usize) -> Option<StateDiff> {
        let mut joined = StateDiff::default();
        if depth > self.undo.len() {
            return None;
        }
        for undo in self.undo.iter().rev().take(depth) {
            joined.overlay(undo);
        }
        Some(joined)
    }

    /// Steps on to a new block.
    pub(crate) fn advance(&mut self, header: Sealed<Header>, diff: &StateDiff, undo: StateDiff) {
        self.world.apply(diff);
        self.undo.push_back(undo);
        while self.undo.len() as u64 > HISTORY_BLOCKS {
            self.undo.pop_front();
        }
        self.hashes.insert(header.number, header.hash());
        self.hashes = self
            .hashes
            .split_off(&header.number.saturating_sub(KNOWN_HASHES));
        self.header = header;
    }

    /// Steps back over the newest `depth` blocks to `header`.
    pub(crate) fn retreat(&mut self, header: Sealed<Header>, undo: &StateDiff, depth: usize) {
        self.world.apply(undo);
        self.undo.truncate(self.undo.len().saturating_sub(depth));
        self.hashes.split_off(&header.number.saturating_add(1));
        self.header = header;
    }
}
