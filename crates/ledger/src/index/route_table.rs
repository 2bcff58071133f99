//! All routes in memory, compact: 10 million of them fit into a node.
//!
//! Rows (see [`super::row`]) lie one after the other in an arena of 16-byte units; two hash tables
//! lead to them, by wallet and by key ID. What a row leaves is used again by rows of the same number
//! of units, so nothing ever has to be moved. Hashes are keyed at random: anybody may choose the key
//! IDs of their route.

use std::{
    collections::{BTreeMap, HashMap},
    hash::{BuildHasher, RandomState},
};

use hashbrown::{HashTable, hash_table::Entry};
use wallet::{KeyId, WalletAddress};

use super::row::{MAX_ROUTE_ROW_BYTES, RouteRow, SetRoute};
use crate::route::{MAX_MAILBOXES, RouteRecord};

/// Most claims of one key ID that receive its packets.
pub const MAX_CLAIMS: usize = 4;
/// Claims of one key ID that a look-up examines: it is not kept busy by a thousand expired ones.
const MAX_CLAIMS_EXAMINED: usize = 64;

const UNIT_BYTES: usize = 16;
const MAX_UNITS: usize = (20 + MAX_ROUTE_ROW_BYTES).div_ceil(UNIT_BYTES);
/// The slot of a key ID that several wallets claim.
const CONTESTED: u32 = u32::MAX;

/// Up to three mailboxes, held in place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mailboxes {
    nodes: [WalletAddress; MAX_MAILBOXES],
    count: u8,
}

/// A wallet that claims a key ID, and its mailboxes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    /// The wallet.
    pub wallet: WalletAddress,
    /// The nodes that keep its packets, best first.
    pub mailboxes: Mailboxes,
}

/// The wallets that claim a key ID, oldest claim first, up to [`MAX_CLAIMS`], held in place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claims {
    claims: [Claim; MAX_CLAIMS],
    count: u8,
}

const NO_WALLET: WalletAddress = WalletAddress::from_bytes([0; 20]);

impl Mailboxes {
    const NONE: Self = Self {
        nodes: [NO_WALLET; MAX_MAILBOXES],
        count: 0,
    };

    fn push(&mut self, node: WalletAddress) {
        if let Some(place) = self.nodes.get_mut(usize::from(self.count)) {
            *place = node;
            self.count += 1;
        }
    }
}

impl std::ops::Deref for Mailboxes {
    type Target = [WalletAddress];

    fn deref(&self) -> &[WalletAddress] {
        self.nodes
            .get(..usize::from(self.count))
            .unwrap_or_default()
    }
}

impl Claims {
    pub(super) const NONE: Self = Self {
        claims: [Claim {
            wallet: NO_WALLET,
            mailboxes: Mailboxes::NONE,
        }; MAX_CLAIMS],
        count: 0,
    };

    fn push(&mut self, claim: Claim) {
        if let Some(place) = self.claims.get_mut(usize::from(self.count)) {
            *place = claim;
            self.count += 1;
        }
    }

    fn is_full(&self) -> bool {
        usize::from(self.count) == MAX_CLAIMS
    }
}

impl std::ops::Deref for Claims {
    type Target = [Claim];

    fn deref(&self) -> &[Claim] {
        self.claims
            .get(..usize::from(self.count))
            .unwrap_or_default()
    }
}

/// Where a row lies.
#[derive(Debug, Clone, Copy)]
struct Slot {
    first_unit: u32,
    bytes: u16,
}

#[derive(Debug, Clone, Copy)]
struct KeyEntry {
    id: [u8; 8],
    /// Or [`CONTESTED`].
    slot: u32,
}

/// The claims of a contested key ID by age; equal ages (one batch) by wallet.
type Contest = BTreeMap<(u64, WalletAddress), u32>;

/// The routes that are set, expired ones too.
#[derive(Debug, Default)]
pub(super) struct RouteTable {
    hasher: RandomState,
    arena: Vec<u8>,
    free_units: Vec<Vec<u32>>,
    slots: Vec<Slot>,
    free_slots: Vec<u32>,
    by_wallet: HashTable<u32>,
    by_key: HashTable<KeyEntry>,
    contested: HashMap<[u8; 8], Contest>,
}

impl RouteTable {
    /// An empty table with room for `routes` of the usual size.
    pub(super) fn with_capacity(routes: usize) -> Self {
        const USUAL_UNITS: usize = 9;
        const USUAL_KEY_IDS: usize = 2;
        let mut table = Self::default();
        table.arena.reserve(routes * USUAL_UNITS * UNIT_BYTES);
        table.slots.reserve(routes);
        table.by_wallet = HashTable::with_capacity(routes);
        table.by_key = HashTable::with_capacity(routes * USUAL_KEY_IDS);
        table
    }

    /// Puts a wallet's row in place of its old one; a row that is cleared or malformed removes it.
    pub(super) fn put(&mut self, wallet: WalletAddress, row: &[u8]) {
        self.remove(wallet);
        let Some(set) = RouteRow::read(row).and_then(|row| row.set) else {
            return;
        };
        let Some(slot) = self.store(wallet, row) else {
            return;
        };
        let hash = self.hasher.hash_one(wallet);
        let (hasher, slots, arena) = (&self.hasher, &self.slots, &self.arena);
        self.by_wallet.insert_unique(hash, slot, |slot| {
            let wallet = row_at(slots, arena, *slot).map(|(wallet, _)| wallet);
            hasher.hash_one(wallet.unwrap_or(NO_WALLET))
        });
        for (id, age) in set.key_ids() {
            self.claim(id, age, wallet, slot);
        }
    }

    /// Removes a wallet's route, if it has one.
    pub(super) fn remove(&mut self, wallet: WalletAddress) {
        let hash = self.hasher.hash_one(wallet);
        let (slots, arena) = (&self.slots, &self.arena);
        let found = self.by_wallet.find_entry(hash, |slot| {
            row_at(slots, arena, *slot).is_some_and(|(it, _)| it == wallet)
        });
        let Ok(found) = found else {
            return;
        };
        let (slot, _) = found.remove();
        let key_ids: Vec<_> = row_at(&self.slots, &self.arena, slot)
            .and_then(|(_, row)| RouteRow::read(row)?.set)
            .map(|set| set.key_ids().collect())
            .unwrap_or_default();
        for (id, age) in key_ids {
            self.unclaim(id, age, wallet, slot);
        }
        self.release(slot);
    }

    /// A wallet's route, expired or not.
    pub(super) fn route(&self, wallet: &WalletAddress) -> Option<RouteRecord> {
        let hash = self.hasher.hash_one(wallet);
        let slot = self.by_wallet.find(hash, |slot| {
            row_at(&self.slots, &self.arena, *slot).is_some_and(|(it, _)| it == *wallet)
        })?;
        let (wallet, row) = row_at(&self.slots, &self.arena, *slot)?;
        RouteRow::read(row)?.record(wallet)
    }

    /// The live claims of a key ID, oldest first. Allocates nothing.
    pub(super) fn claims(&self, id: &KeyId, now_s: u64) -> Claims {
        let mut claims = Claims::NONE;
        let hash = self.hasher.hash_one(id.as_bytes());
        let entry = self.by_key.find(hash, |entry| entry.id == *id.as_bytes());
        match entry {
            None => {}
            Some(entry) if entry.slot != CONTESTED => {
                self.push_live(&mut claims, entry.slot, now_s);
            }
            Some(_) => {
                let contest = self.contested.get(id.as_bytes());
                let slots = contest.into_iter().flat_map(BTreeMap::values);
                for slot in slots.take(MAX_CLAIMS_EXAMINED) {
                    self.push_live(&mut claims, *slot, now_s);
                    if claims.is_full() {
                        break;
                    }
                }
            }
        }
        claims
    }

    pub(super) fn len(&self) -> usize {
        self.by_wallet.len()
    }

    /// Bytes allocated.
    pub(super) fn memory_bytes(&self) -> usize {
        self.arena.capacity()
            + self.slots.capacity() * size_of::<Slot>()
            + self.by_wallet.allocation_size()
            + self.by_key.allocation_size()
    }

    fn push_live(&self, claims: &mut Claims, slot: u32, now_s: u64) {
        let Some((wallet, row)) = row_at(&self.slots, &self.arena, slot) else {
            return;
        };
        let set = RouteRow::read(row).and_then(|row| row.set);
        if let Some(set) = set.filter(|set| set.is_live(now_s)) {
            claims.push(Claim {
                wallet,
                mailboxes: mailboxes_of(&set),
            });
        }
    }

    fn claim(&mut self, id: KeyId, age: u64, wallet: WalletAddress, slot: u32) {
        let id = *id.as_bytes();
        let hash = self.hasher.hash_one(id);
        let hasher = &self.hasher;
        let entry = self.by_key.entry(
            hash,
            |entry| entry.id == id,
            |entry| hasher.hash_one(entry.id),
        );
        match entry {
            Entry::Vacant(place) => {
                place.insert(KeyEntry { id, slot });
            }
            // One route naming a key ID twice claims it once.
            Entry::Occupied(entry) if entry.get().slot == slot => {}
            Entry::Occupied(mut entry) => {
                let first = std::mem::replace(&mut entry.get_mut().slot, CONTESTED);
                let first_claim = (first != CONTESTED)
                    .then(|| claim_key(&self.slots, &self.arena, first, id))
                    .flatten();
                let contest = self.contested.entry(id).or_default();
                contest.extend(first_claim.map(|claim| (claim, first)));
                contest.insert((age, wallet), slot);
            }
        }
    }

    fn unclaim(&mut self, id: KeyId, age: u64, wallet: WalletAddress, slot: u32) {
        let id = *id.as_bytes();
        let hash = self.hasher.hash_one(id);
        let Ok(mut entry) = self.by_key.find_entry(hash, |entry| entry.id == id) else {
            return;
        };
        if entry.get().slot == slot {
            entry.remove();
        } else if entry.get().slot == CONTESTED
            && let Some(contest) = self.contested.get_mut(&id)
        {
            contest.remove(&(age, wallet));
            if let [last] = contest.values().copied().take(2).collect::<Vec<_>>()[..] {
                entry.get_mut().slot = last;
                self.contested.remove(&id);
            }
        }
    }

    /// Copies a row into the arena; none if its size or the number of routes is out of bounds.
    fn store(&mut self, wallet: WalletAddress, row: &[u8]) -> Option<u32> {
        let bytes = 20 + row.len();
        let units = bytes.div_ceil(UNIT_BYTES);
        if units > MAX_UNITS {
            return None;
        }
        let reused = self.free_units.get_mut(units).and_then(Vec::pop);
        let first_unit = match reused {
            Some(unit) => unit,
            None => {
                let unit = u32::try_from(self.arena.len() / UNIT_BYTES).ok()?;
                self.arena.resize(self.arena.len() + units * UNIT_BYTES, 0);
                unit
            }
        };
        let start = first_unit as usize * UNIT_BYTES;
        let (address, rest) = self
            .arena
            .get_mut(start..start + bytes)?
            .split_at_mut_checked(20)?;
        address.copy_from_slice(wallet.as_bytes());
        rest.copy_from_slice(row);
        let slot = Slot {
            first_unit,
            bytes: u16::try_from(bytes).ok()?,
        };
        if let Some(index) = self.free_slots.pop() {
            *self.slots.get_mut(index as usize)? = slot;
            return Some(index);
        }
        let index = u32::try_from(self.slots.len()).ok()?;
        self.slots.push(slot);
        (index != CONTESTED).then_some(index)
    }

    fn release(&mut self, slot: u32) {
        if let Some(Slot { first_unit, bytes }) = self.slots.get(slot as usize).copied() {
            let units = usize::from(bytes).div_ceil(UNIT_BYTES);
            if self.free_units.len() <= units {
                self.free_units.resize(units + 1, Vec::new());
            }
            if let Some(free) = self.free_units.get_mut(units) {
                free.push(first_unit);
            }
            self.free_slots.push(slot);
        }
    }
}

/// The wallet and the row in a slot.
fn row_at<'a>(slots: &[Slot], arena: &'a [u8], slot: u32) -> Option<(WalletAddress, &'a [u8])> {
    let Slot { first_unit, bytes } = slots.get(slot as usize)?;
    let start = *first_unit as usize * UNIT_BYTES;
    let (wallet, row) = arena
        .get(start..start + usize::from(*bytes))?
        .split_first_chunk()?;
    Some((WalletAddress::from_bytes(*wallet), row))
}

/// The key under which the route in `slot` is in the contest for `id`.
fn claim_key(slots: &[Slot], arena: &[u8], slot: u32, id: [u8; 8]) -> Option<(u64, WalletAddress)> {
    let (wallet, row) = row_at(slots, arena, slot)?;
    let mut key_ids = RouteRow::read(row)?.set?.key_ids();
    let (_, age) = key_ids.find(|(known, _)| *known.as_bytes() == id)?;
    Some((age, wallet))
}

fn mailboxes_of(set: &SetRoute<'_>) -> Mailboxes {
    let mut mailboxes = Mailboxes::NONE;
    for node in set.mailboxes() {
        mailboxes.push(node);
    }
    mailboxes
}

#[cfg(test)]
#[path = "route_table_tests.rs"]
mod tests;
