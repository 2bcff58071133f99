//! What bridges offer, as the BridgeOffers contract has it.

use std::sync::Arc;

use alloy::{
    primitives::{B256, LogData},
    sol_types::SolEvent,
};

use crate::{
    contracts::BridgeOffers,
    event::{ForeignLog, LedgerEvent, address, is_text, read, read_text},
};

/// Longest policy that a bridge can announce, bytes (as in the BridgeOffers).
pub const MAX_POLICY_BYTES: usize = 1_024;

/// What a node offers as a bridge.
///
/// # Security
/// `policy` is what the node's operator wrote: bounded and free of control characters, nothing more. It may be no policy
/// at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BridgeOffer {
    /// What it asks for each GiB (2^30 bytes) that it carries, both directions together, wei; 0 for nothing.
    pub price_wei: u128,
    /// Its exit policy as text, 1–1,024 bytes.
    pub policy: Arc<str>,
}

/// Why an offer is none that the ledger would take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OfferError {
    /// The policy is empty or too long.
    #[error("an announced policy has 1 to {MAX_POLICY_BYTES} bytes, not {0}")]
    PolicyLength(usize),
    /// The policy holds control characters.
    #[error("an announced policy holds no control characters")]
    ControlCharacter,
}

impl BridgeOffer {
    /// Checks the bounds that the contract and the index enforce.
    ///
    /// # Errors
    /// [`OfferError`] naming the bound that is crossed.
    pub fn check(&self) -> Result<(), OfferError> {
        if !(1..=MAX_POLICY_BYTES).contains(&self.policy.len()) {
            return Err(OfferError::PolicyLength(self.policy.len()));
        }
        // It is shown in terminals.
        if self.policy.chars().any(char::is_control) {
            return Err(OfferError::ControlCharacter);
        }
        Ok(())
    }
}

/// Reads a log of the BridgeOffers. An offer that nobody could read is none: it must not hide behind the one before.
pub(crate) fn decode(topic: B256, log: &LogData) -> Result<Vec<LedgerEvent>, ForeignLog> {
    let (node, offer) = match topic {
        BridgeOffers::OfferAnnounced::SIGNATURE_HASH => {
            let event: BridgeOffers::OfferAnnounced = read_text(log)?;
            let offer = BridgeOffer {
                price_wei: event.price,
                policy: event.policy.into(),
            };
            let is_readable = is_text(&offer.policy) && offer.check().is_ok();
            (event.node, is_readable.then_some(offer))
        }
        BridgeOffers::OfferWithdrawn::SIGNATURE_HASH => {
            let event: BridgeOffers::OfferWithdrawn = read(log)?;
            (event.node, None)
        }
        _ => return Ok(Vec::new()),
    };
    let node = address(node);
    Ok(vec![LedgerEvent::Offer { node, offer }])
}

#[cfg(test)]
mod tests {
    use alloy::primitives::Address;

    use super::*;
    use crate::{
        event::{self, Registries},
        test_data::{key, network},
    };

    fn decoded(log: &LogData) -> Result<Vec<LedgerEvent>, ForeignLog> {
        let mut network = network();
        let offers = key(50).address();
        network.contracts.bridge_offers = Some(offers);
        event::decode(&Registries::of(&network), offers, log)
    }

    /// An announcement with these bytes as its policy.
    fn announced(policy: &[u8]) -> LogData {
        let event = BridgeOffers::OfferAnnounced {
            node: Address::from(*key(1).address().as_bytes()),
            price: 7,
            policy: "x".repeat(policy.len()),
        };
        let log = event.encode_log_data();
        let mut data = log.data.to_vec();
        // Price, offset, length, policy.
        data[96..96 + policy.len()].copy_from_slice(policy);
        LogData::new_unchecked(log.topics().to_vec(), data.into())
    }

    fn offer(policy: &[u8]) -> Option<BridgeOffer> {
        let events = decoded(&announced(policy)).unwrap();
        match events.as_slice() {
            [LedgerEvent::Offer { node, offer }] if *node == key(1).address() => offer.clone(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn offer_is_read_with_price_and_policy() {
        let expected = BridgeOffer {
            price_wei: 7,
            policy: "accept *:443".into(),
        };
        assert_eq!(offer(b"accept *:443"), Some(expected));
        assert!(offer(&[b'x'; MAX_POLICY_BYTES]).is_some());
    }

    #[test]
    fn offer_whose_policy_is_no_text_is_none_and_stops_nobody() {
        for garbage in [
            &[0xff; 5][..],
            &[0xff; MAX_POLICY_BYTES],
            b"accept *:443\x1b[2J",
            b"\xc3",
            "accept \u{fffd}".as_bytes(),
        ] {
            assert_eq!(offer(garbage), None, "{garbage:?}");
        }
    }

    #[test]
    fn offer_withdrawn_is_none() {
        let event = BridgeOffers::OfferWithdrawn {
            node: Address::from(*key(1).address().as_bytes()),
        };
        let node = key(1).address();
        assert_eq!(
            decoded(&event.encode_log_data()),
            Ok(vec![LedgerEvent::Offer { node, offer: None }])
        );
    }

    #[test]
    fn offer_out_of_bounds_is_refused_before_it_is_sent() {
        let checked = |policy: String| {
            let policy = policy.into();
            BridgeOffer {
                price_wei: 0,
                policy,
            }
            .check()
        };
        assert_eq!(checked("x".repeat(1_024)), Ok(()));
        let long = checked("x".repeat(1_025));
        assert_eq!(long, Err(OfferError::PolicyLength(1_025)));
        assert_eq!(checked(String::new()), Err(OfferError::PolicyLength(0)));
        assert_eq!(checked("a\nb".into()), Err(OfferError::ControlCharacter));
    }
}
