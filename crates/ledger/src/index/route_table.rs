//! All routes in memory, compact: 10 million of them fit into a node.
//!
//! Rows lie in an [`Arena`]; two hash tables lead to them, by wallet and by key ID, each in 64 parts so
//! that look-ups never wait for a whole one to grow. Hashes are keyed at random: anybody may choose
//! the key IDs of their route.

use std::{
    collections::{BTreeMap, HashMap},
    hash::{BuildHasher, RandomState},
};

use hashbrown::{HashTable, hash_table::Entry};
use wallet::{KeyId, WalletAddress};

use super::{
    arena::{Arena, NOWHERE},
    row::{RouteRow, SetRoute},
};
use crate::route::{MAX_MAILBOXES, RouteRecord};

/// Most claims of one key ID that receive its packets.
pub const MAX_CLAIMS: usize = 4;
/// Claims of one key ID that a look-up examines: it is not kept busy by a thousand expired ones.
const MAX_CLAIMS_EXAMINED: usize = 64;

/// Parts of each hash table.
const PARTS: usize = 64;
/// The place of a key ID that several wallets claim.
const CONTESTED: u32 = NOWHERE;

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

/// A key ID and the place of its route's row, or [`CONTESTED`].
#[derive(Debug, Clone, Copy)]
struct KeyEntry {
    id: [u8; 8],
    unit: u32,
}

/// The claims of a contested key ID by age; equal ages (one batch) by wallet.
type Contest = BTreeMap<(u64, WalletAddress), u32>;

/// The routes that are set, expired ones too.
#[derive(Debug)]
pub(super) struct RouteTable {
    hasher: RandomState,
    arena: Arena,
    by_wallet: Parts<u32>,
    by_key: Parts<KeyEntry>,
    contested: HashMap<[u8; 8], Contest>,
    count: usize,
}

/// A hash table in [`PARTS`] parts.
#[derive(Debug)]
struct Parts<T> {
    parts: [HashTable<T>; PARTS],
}

impl<T> Parts<T> {
    fn with_capacity(entries: usize) -> Self {
        // Parts differ a little in size: an eighth more than the mean is enough for all.
        let each = entries / PARTS + entries / PARTS / 8;
        Self {
            parts: std::array::from_fn(|_| HashTable::with_capacity(each)),
        }
    }

    #[expect(clippy::indexing_slicing, reason = "the index is below PARTS")]
    fn part(&self, hash: u64) -> &HashTable<T> {
        &self.parts[part_of(hash)]
    }

    #[expect(clippy::indexing_slicing, reason = "the index is below PARTS")]
    fn part_mut(&mut self, hash: u64) -> &mut HashTable<T> {
        &mut self.parts[part_of(hash)]
    }

    fn memory_bytes(&self) -> usize {
        self.parts.iter().map(HashTable::allocation_size).sum()
    }
}

/// The part of a hash, by bits that the parts themselves don't use.
fn part_of(hash: u64) -> usize {
    (hash >> 40) as usize % PARTS
}

impl Default for RouteTable {
    fn default() -> Self {
        Self::with_capacity(0)
    }
}

impl RouteTable {
    /// An empty table with room for `routes` of two key IDs each.
    pub(super) fn with_capacity(routes: usize) -> Self {
        const USUAL_KEY_IDS: usize = 2;
        Self {
            hasher: RandomState::new(),
            arena: Arena::default(),
            by_wallet: Parts::with_capacity(routes),
            by_key: Parts::with_capacity(routes * USUAL_KEY_IDS),
            contested: HashMap::new(),
            count: 0,
        }
    }

    /// Puts a wallet's row in place of its old one; a row that is cleared or malformed removes it.
    pub(super) fn put(&mut self, wallet: WalletAddress, row: &[u8]) {
        self.remove(wallet);
        let Some(set) = RouteRow::read(row).and_then(|row| row.set) else {
            return;
        };
        let Some(unit) = self.arena.store(wallet, row) else {
            return;
        };
        let hash = self.hasher.hash_one(wallet);
        let (hasher, arena) = (&self.hasher, &self.arena);
        let part = self.by_wallet.part_mut(hash);
        part.insert_unique(hash, unit, |unit| {
            let wallet = arena.get(*unit).map(|(wallet, _)| wallet);
            hasher.hash_one(wallet.unwrap_or(NO_WALLET))
        });
        self.count += 1;
        for (id, age) in set.key_ids() {
            self.claim(id, age, wallet, unit);
        }
    }

    /// Removes a wallet's route, if it has one.
    pub(super) fn remove(&mut self, wallet: WalletAddress) {
        let hash = self.hasher.hash_one(wallet);
        let arena = &self.arena;
        let part = self.by_wallet.part_mut(hash);
        let found = part.find_entry(hash, |unit| {
            arena.get(*unit).is_some_and(|(it, _)| it == wallet)
        });
        let Ok(found) = found else {
            return;
        };
        let (unit, _) = found.remove();
        self.count -= 1;
        let key_ids: Vec<_> = (self.arena.get(unit))
            .and_then(|(_, row)| RouteRow::read(row)?.set)
            .map(|set| set.key_ids().collect())
            .unwrap_or_default();
        for (id, age) in key_ids {
            self.unclaim(id, age, wallet, unit);
        }
        self.arena.free(unit);
    }

    /// A wallet's route, expired or not.
    pub(super) fn route(&self, wallet: &WalletAddress) -> Option<RouteRecord> {
        let hash = self.hasher.hash_one(wallet);
        let unit = self.by_wallet.part(hash).find(hash, |unit| {
            self.arena.get(*unit).is_some_and(|(it, _)| it == *wallet)
        })?;
        let (wallet, row) = self.arena.get(*unit)?;
        RouteRow::read(row)?.record(wallet)
    }

    /// The live claims of a key ID, oldest first. Allocates nothing.
    pub(super) fn claims(&self, id: &KeyId, now_s: u64) -> Claims {
        let mut claims = Claims::NONE;
        let id = *id.as_bytes();
        let hash = self.hash_of(id);
        let entry = self.by_key.part(hash).find(hash, |entry| entry.id == id);
        match entry {
            None => {}
            Some(entry) if entry.unit != CONTESTED => {
                self.push_live(&mut claims, entry.unit, now_s);
            }
            Some(_) => {
                let contest = self.contested.get(&id);
                let units = contest.into_iter().flat_map(BTreeMap::values);
                for unit in units.take(MAX_CLAIMS_EXAMINED) {
                    self.push_live(&mut claims, *unit, now_s);
                    if claims.is_full() {
                        break;
                    }
                }
            }
        }
        claims
    }

    pub(super) fn len(&self) -> usize {
        self.count
    }

    /// Bytes allocated, but for those of contested key IDs.
    pub(super) fn memory_bytes(&self) -> usize {
        self.arena.memory_bytes() + self.by_wallet.memory_bytes() + self.by_key.memory_bytes()
    }

    fn hash_of(&self, id: [u8; 8]) -> u64 {
        self.hasher.hash_one(u64::from_ne_bytes(id))
    }

    fn push_live(&self, claims: &mut Claims, unit: u32, now_s: u64) {
        let Some((wallet, row)) = self.arena.get(unit) else {
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

    fn claim(&mut self, id: KeyId, age: u64, wallet: WalletAddress, unit: u32) {
        let id = *id.as_bytes();
        let hash = self.hash_of(id);
        let hasher = &self.hasher;
        let entry = self.by_key.part_mut(hash).entry(
            hash,
            |entry| entry.id == id,
            |entry| hasher.hash_one(u64::from_ne_bytes(entry.id)),
        );
        match entry {
            Entry::Vacant(place) => {
                place.insert(KeyEntry { id, unit });
            }
            // One route naming a key ID twice claims it once.
            Entry::Occupied(entry) if entry.get().unit == unit => {}
            Entry::Occupied(mut entry) => {
                let first = std::mem::replace(&mut entry.get_mut().unit, CONTESTED);
                let first_claim = (first != CONTESTED)
                    .then(|| claim_key(&self.arena, first, id))
                    .flatten();
                let contest = self.contested.entry(id).or_default();
                contest.extend(first_claim.map(|claim| (claim, first)));
                contest.insert((age, wallet), unit);
            }
        }
    }

    fn unclaim(&mut self, id: KeyId, age: u64, wallet: WalletAddress, unit: u32) {
        let id = *id.as_bytes();
        let hash = self.hash_of(id);
        let part = self.by_key.part_mut(hash);
        let Ok(mut entry) = part.find_entry(hash, |entry| entry.id == id) else {
            return;
        };
        if entry.get().unit == unit {
            entry.remove();
        } else if entry.get().unit == CONTESTED
            && let Some(contest) = self.contested.get_mut(&id)
        {
            contest.remove(&(age, wallet));
            if let (1, Some(last)) = (contest.len(), contest.values().next()) {
                entry.get_mut().unit = *last;
                self.contested.remove(&id);
            }
        }
    }
}

/// The key under which the route at `unit` is in the contest for `id`.
fn claim_key(arena: &Arena, unit: u32, id: [u8; 8]) -> Option<(u64, WalletAddress)> {
    let (wallet, row) = arena.get(unit)?;
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
