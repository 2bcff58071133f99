//! Where the route table's rows lie: blocks of memory that never move.
//!
//! A row is `length u16 ‖ wallet [20] ‖ row` in units of 16 bytes and is named by its first unit. What
//! a row leaves is used again by rows of the same number of units, so nothing has to be compacted, and
//! memory grows by one block at a time, so nothing has to be copied while look-ups wait.

use wallet::WalletAddress;

use super::row::MAX_ROUTE_ROW_BYTES;

const UNIT_BYTES: usize = 16;
const UNITS_PER_BLOCK: usize = 1 << 16;
const BLOCK_BYTES: usize = UNIT_BYTES * UNITS_PER_BLOCK;
const HEAD_BYTES: usize = 2 + 20;
const MAX_UNITS: usize = (HEAD_BYTES + MAX_ROUTE_ROW_BYTES).div_ceil(UNIT_BYTES);

/// A place that no row can have: the last unit of all is never a first one.
pub(super) const NOWHERE: u32 = u32::MAX;

#[derive(Debug, Default)]
pub(super) struct Arena {
    blocks: Vec<Box<[u8]>>,
    /// First unit that was never used.
    next_unit: usize,
    /// First units of what was freed, by number of units.
    free: [Vec<u32>; MAX_UNITS + 1],
}

impl Arena {
    /// Copies a row in; none if it is longer than a route's row can be or the arena is full (64 GiB).
    pub(super) fn store(&mut self, wallet: WalletAddress, row: &[u8]) -> Option<u32> {
        let bytes = HEAD_BYTES + row.len();
        let units = bytes.div_ceil(UNIT_BYTES);
        let reused = self.free.get_mut(units)?.pop();
        let unit = match reused {
            Some(unit) => unit,
            None => self.take_new(units)?,
        };
        let (block, start) = place(unit);
        let place = self.blocks.get_mut(block)?.get_mut(start..start + bytes)?;
        let (length, rest) = place.split_first_chunk_mut()?;
        let (address, rest) = rest.split_first_chunk_mut()?;
        *length = u16::try_from(bytes).ok()?.to_be_bytes();
        *address = *wallet.as_bytes();
        rest.copy_from_slice(row);
        Some(unit)
    }

    /// The wallet and the row at a place that was stored to and not freed.
    pub(super) fn get(&self, unit: u32) -> Option<(WalletAddress, &[u8])> {
        let (block, start) = place(unit);
        let rest = self.blocks.get(block)?.get(start..)?;
        let (length, _) = rest.split_first_chunk()?;
        let row = rest.get(2..usize::from(u16::from_be_bytes(*length)))?;
        let (wallet, row) = row.split_first_chunk()?;
        Some((WalletAddress::from_bytes(*wallet), row))
    }

    /// Gives a place back.
    pub(super) fn free(&mut self, unit: u32) {
        let units = self
            .get(unit)
            .map(|(_, row)| (HEAD_BYTES + row.len()).div_ceil(UNIT_BYTES));
        if let Some(free) = units.and_then(|units| self.free.get_mut(units)) {
            free.push(unit);
        }
    }

    /// Bytes allocated.
    pub(super) fn memory_bytes(&self) -> usize {
        self.blocks.len() * BLOCK_BYTES
            + (self.free.iter())
                .map(|free| free.capacity() * size_of::<u32>())
                .sum::<usize>()
    }

    /// Units that were never used before; a row never crosses from one block into the next.
    fn take_new(&mut self, units: usize) -> Option<u32> {
        let left = self.blocks.len() * UNITS_PER_BLOCK - self.next_unit;
        if left < units {
            self.next_unit = self.blocks.len() * UNITS_PER_BLOCK;
            self.blocks.push(vec![0; BLOCK_BYTES].into_boxed_slice());
        }
        let unit = u32::try_from(self.next_unit).ok()?;
        self.next_unit += units;
        (unit != NOWHERE).then_some(unit)
    }
}

/// The block of a unit, and where in it the unit begins.
fn place(unit: u32) -> (usize, usize) {
    let unit = unit as usize;
    (unit / UNITS_PER_BLOCK, unit % UNITS_PER_BLOCK * UNIT_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wallet(number: u32) -> WalletAddress {
        let mut bytes = [0; 20];
        bytes[..4].copy_from_slice(&number.to_be_bytes());
        WalletAddress::from_bytes(bytes)
    }

    #[test]
    fn arena_holds_rows_across_many_blocks() {
        let mut arena = Arena::default();
        let row = |number: u32| vec![number as u8; 1 + number as usize % MAX_ROUTE_ROW_BYTES];
        let units: Vec<_> = (0..30_000)
            .map(|number| arena.store(wallet(number), &row(number)).unwrap())
            .collect();
        assert!(arena.blocks.len() > 2);
        for (number, unit) in (0..).zip(units) {
            assert_eq!(arena.get(unit), Some((wallet(number), &row(number)[..])));
        }
    }

    #[test]
    fn arena_uses_again_what_was_freed() {
        let mut arena = Arena::default();
        for round in 0..1_000_u32 {
            let row = vec![7; round as usize % MAX_ROUTE_ROW_BYTES];
            let unit = arena.store(wallet(round), &row).unwrap();
            arena.free(unit);
        }
        assert!(arena.next_unit <= (1..=MAX_UNITS).sum());
    }

    #[test]
    fn arena_refuses_a_row_that_is_too_long() {
        let mut arena = Arena::default();
        assert_eq!(arena.store(wallet(1), &[0; MAX_ROUTE_ROW_BYTES + 16]), None);
    }
}
