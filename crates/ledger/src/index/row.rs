//! The bytes of a row: what the index keeps of a node or a route, on disk and, for routes, in memory.
//!
//! ```text
//! route   sequence u64 │ expiry u64 │ n u8, n mailboxes [20] │ n u8, n × (key ID [8] ‖ age u64) │ fingerprint [20|32]
//! cleared sequence u64
//! node    operator [20] ‖ offer
//!         or operator [20] ‖ offer ‖ transport key [32] ‖ n u16, certificate ‖ n u16, endpoint ‖ profile
//! offer   0
//!         or 1 ‖ price u128 ‖ n u16, policy
//! ```
//!
//! Integers are big-endian. A key ID's *age* is where in the chain its wallet first claimed it (see
//! [`age`]); it is kept while the wallet's routes go on naming the key ID.

use std::sync::Arc;

use wallet::{Fingerprint, KeyId, WalletAddress};

use crate::{
    event::Particulars,
    node::NodeRecord,
    offer::BridgeOffer,
    route::{MAX_KEY_IDS, MAX_MAILBOXES, RouteRecord},
};

/// Longest row of a route, bytes.
pub(super) const MAX_ROUTE_ROW_BYTES: usize =
    8 + 8 + 1 + 20 * MAX_MAILBOXES + 1 + 16 * MAX_KEY_IDS + 32;

const LOG_INDEX_BITS: u32 = 24;

/// A position in the chain as one number: the block, then 24 bits of the log's index in it.
pub(super) fn age(block: u64, log_index: u64) -> u64 {
    let highest_block = u64::MAX >> LOG_INDEX_BITS;
    let highest_index = (1 << LOG_INDEX_BITS) - 1;
    (block.min(highest_block) << LOG_INDEX_BITS) | log_index.min(highest_index)
}

/// A route's row, read in place.
#[derive(Debug, Clone, Copy)]
pub(super) struct RouteRow<'a> {
    pub(super) sequence: u64,
    /// None where the wallet has cleared its route.
    pub(super) set: Option<SetRoute<'a>>,
}

/// What a route's row says while it is set.
#[derive(Debug, Clone, Copy)]
pub(super) struct SetRoute<'a> {
    pub(super) expiry_s: u64,
    mailboxes: &'a [[u8; 20]],
    key_ids: &'a [[u8; 16]],
    fingerprint: &'a [u8],
}

impl<'a> RouteRow<'a> {
    /// Reads a row; none where it is none.
    pub(super) fn read(row: &'a [u8]) -> Option<Self> {
        let (sequence, rest) = row.split_first_chunk()?;
        let sequence = u64::from_be_bytes(*sequence);
        if rest.is_empty() {
            return Some(Self {
                sequence,
                set: None,
            });
        }
        let (expiry, rest) = rest.split_first_chunk()?;
        let (count, rest) = rest.split_first()?;
        let (mailboxes, rest) = rest.split_at_checked(20 * usize::from(*count))?;
        let (count, rest) = rest.split_first()?;
        let (key_ids, fingerprint) = rest.split_at_checked(16 * usize::from(*count))?;
        let set = SetRoute {
            expiry_s: u64::from_be_bytes(*expiry),
            mailboxes: mailboxes.as_chunks().0,
            key_ids: key_ids.as_chunks().0,
            fingerprint,
        };
        Some(Self {
            sequence,
            set: Some(set),
        })
    }

    pub(super) fn record(&self, wallet: WalletAddress) -> Option<RouteRecord> {
        let set = self.set?;
        Some(RouteRecord {
            wallet,
            fingerprint: Fingerprint::from_slice(set.fingerprint).ok()?,
            key_ids: set.key_ids().map(|(id, _)| id).collect(),
            mailboxes: set.mailboxes().collect(),
            sequence: self.sequence,
            expiry_s: set.expiry_s,
        })
    }
}

impl<'a> SetRoute<'a> {
    pub(super) fn mailboxes(&self) -> impl Iterator<Item = WalletAddress> + 'a {
        self.mailboxes
            .iter()
            .map(|it| WalletAddress::from_bytes(*it))
    }

    /// Key IDs with their ages.
    pub(super) fn key_ids(&self) -> impl Iterator<Item = (KeyId, u64)> + 'a {
        self.key_ids.iter().filter_map(|entry| {
            let (id, age) = entry.split_first_chunk()?;
            let age = age.first_chunk()?;
            Some((KeyId::from_bytes(*id), u64::from_be_bytes(*age)))
        })
    }

    pub(super) fn is_live(&self, now_s: u64) -> bool {
        now_s < self.expiry_s
    }
}

/// Writes the row of a route that was set at `position` (an [`age`]) in place of `old`.
pub(super) fn write_route(
    route: &RouteRecord,
    old: Option<&RouteRow<'_>>,
    position: u64,
) -> Vec<u8> {
    let old = old.and_then(|old| old.set);
    let age_of = |id: &KeyId| {
        let mut known = old.iter().flat_map(SetRoute::key_ids);
        known
            .find(|(known, _)| known == id)
            .map_or(position, |(_, age)| age)
    };
    let mut row = Vec::with_capacity(MAX_ROUTE_ROW_BYTES);
    row.extend(route.sequence.to_be_bytes());
    row.extend(route.expiry_s.to_be_bytes());
    row.push(route.mailboxes.len().min(MAX_MAILBOXES) as u8);
    for mailbox in route.mailboxes.iter().take(MAX_MAILBOXES) {
        row.extend(mailbox.as_bytes());
    }
    row.push(route.key_ids.len().min(MAX_KEY_IDS) as u8);
    for id in route.key_ids.iter().take(MAX_KEY_IDS) {
        row.extend(id.as_bytes());
        row.extend(age_of(id).to_be_bytes());
    }
    row.extend(route.fingerprint.as_bytes());
    row
}

/// Writes the row of a route that was cleared.
pub(super) fn write_cleared(sequence: u64) -> Vec<u8> {
    sequence.to_be_bytes().to_vec()
}

/// A node's row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NodeRow {
    pub(super) operator: WalletAddress,
    /// None where they are out of bounds: the node is not listed until it updates them.
    pub(super) particulars: Option<Particulars>,
    /// What it offers as a bridge.
    pub(super) offer: Option<BridgeOffer>,
}

impl NodeRow {
    pub(super) fn write(&self) -> Vec<u8> {
        let mut row = self.operator.as_bytes().to_vec();
        match &self.offer {
            None => row.push(0),
            Some(offer) => {
                row.push(1);
                row.extend(offer.price_wei.to_be_bytes());
                // Longer ones are refused before they become rows.
                row.extend((offer.policy.len() as u16).to_be_bytes());
                row.extend(offer.policy.as_bytes());
            }
        }
        if let Some(it) = &self.particulars {
            row.extend(it.transport_key);
            for part in [&it.certificate[..], it.endpoint.as_bytes()] {
                // Both are checked to be shorter than 64 KiB before they become particulars.
                row.extend((part.len() as u16).to_be_bytes());
                row.extend(part);
            }
            row.extend(it.profile.as_bytes());
        }
        row
    }

    /// Reads a row; none where it is none.
    pub(super) fn read(row: &[u8]) -> Option<Self> {
        let (operator, rest) = row.split_first_chunk()?;
        let operator = WalletAddress::from_bytes(*operator);
        let (offer, rest) = split_offer(rest)?;
        if rest.is_empty() {
            return Some(Self {
                operator,
                particulars: None,
                offer,
            });
        }
        let (transport_key, rest) = rest.split_first_chunk()?;
        let (certificate, rest) = split_counted(rest)?;
        let (endpoint, profile) = split_counted(rest)?;
        let particulars = Particulars {
            transport_key: *transport_key,
            certificate: certificate.into(),
            endpoint: String::from_utf8(endpoint.to_vec()).ok()?,
            profile: String::from_utf8(profile.to_vec()).ok()?,
        };
        Some(Self {
            operator,
            particulars: Some(particulars),
            offer,
        })
    }

    pub(super) fn record(&self, address: WalletAddress) -> Option<NodeRecord> {
        let it = self.particulars.as_ref()?;
        Some(NodeRecord {
            address,
            operator: self.operator,
            transport_key: it.transport_key,
            certificate: Arc::clone(&it.certificate),
            endpoint: it.endpoint.clone(),
            profile: it.profile.clone(),
            offer: self.offer.clone(),
        })
    }
}

fn split_offer(bytes: &[u8]) -> Option<(Option<BridgeOffer>, &[u8])> {
    let (is_there, rest) = bytes.split_first()?;
    if *is_there == 0 {
        return Some((None, rest));
    }
    let (price, rest) = rest.split_first_chunk()?;
    let (policy, rest) = split_counted(rest)?;
    let offer = BridgeOffer {
        price_wei: u128::from_be_bytes(*price),
        policy: str::from_utf8(policy).ok()?.into(),
    };
    Some((Some(offer), rest))
}

fn split_counted(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (count, rest) = bytes.split_first_chunk()?;
    rest.split_at_checked(usize::from(u16::from_be_bytes(*count)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::test_data::{key, route};

    #[test]
    fn route_row_read_back_is_the_route() {
        let record = route(&key(1), 7, 99);
        let row = write_route(&record, None, 5);
        let read = RouteRow::read(&row).unwrap();
        assert_eq!(read.record(record.wallet), Some(record));
        assert!(row.len() <= MAX_ROUTE_ROW_BYTES);
    }

    #[test]
    fn route_row_that_follows_another_keeps_the_age_of_known_key_ids() {
        let first = write_route(&route(&key(1), 1, 99), None, 5);
        let old = RouteRow::read(&first).unwrap();
        let mut record = route(&key(1), 2, 99);
        record.key_ids[1] = KeyId::from_bytes([0xee; 8]);
        let second = write_route(&record, Some(&old), 8);
        let read = RouteRow::read(&second).unwrap();
        let ages: Vec<_> = read.set.unwrap().key_ids().map(|(_, age)| age).collect();
        assert_eq!(ages, [5, 8]);
    }

    #[test]
    fn route_row_after_a_clear_begins_a_new_age() {
        let cleared = write_cleared(3);
        let old = RouteRow::read(&cleared).unwrap();
        assert!(old.set.is_none());
        let row = write_route(&route(&key(1), 4, 99), Some(&old), 8);
        let read = RouteRow::read(&row).unwrap();
        assert!(read.set.unwrap().key_ids().all(|(_, age)| age == 8));
    }

    #[test]
    fn age_orders_by_block_then_log() {
        assert!(age(1, 5) < age(1, 6));
        assert!(age(1, u64::MAX) < age(2, 0));
        assert!(age(u64::MAX, u64::MAX) >= age(u64::MAX, 0));
    }

    proptest! {
        #[test]
        fn row_readers_survive_any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            if let Some(row) = RouteRow::read(&bytes) {
                let _ = row.record(key(1).address());
            }
            let _ = NodeRow::read(&bytes);
        }

        #[test]
        fn node_row_read_back_is_the_node(certificate in prop::collection::vec(any::<u8>(), 1..4_096), endpoint in ".{1,64}", profile in ".{0,16}", listed: bool, offer in prop::option::of((any::<u128>(), ".{1,64}"))) {
            let particulars = Particulars { transport_key: [1; 32], certificate: certificate.into(), endpoint, profile };
            let row = NodeRow { operator: key(1).address(), particulars: listed.then_some(particulars), offer: offer.map(|(price_wei, policy)| BridgeOffer { price_wei, policy: policy.into() }) };
            prop_assert_eq!(NodeRow::read(&row.write()), Some(row));
        }
    }
}
