//! What bridges offer, as the ledger has it, and which of them are used for what.

use std::collections::BTreeMap;
use std::sync::Arc;

use gateway::stripes::MAX_BRIDGES;
use ledger::NodeRecord;
use node::bridge::policy::{Outlook, Policy};
use parking_lot::RwLock;
use protocol::NodeId;
use protocol::target::Target;

use crate::commands::node::offer_line;

/// The bridges that may be used, each with its policy; shared by the proxies and who follows the ledger.
#[derive(Debug, Clone, Default)]
pub(super) struct Offers(Arc<RwLock<Known>>);

/// What is known of the bridges at one moment.
#[derive(Debug, Default)]
struct Known {
    usable: BTreeMap<NodeId, Option<Announced>>,
    /// How many ask for more than is paid.
    dear: usize,
    /// How many say what nobody can read.
    garbled: usize,
}

#[derive(Debug)]
struct Announced {
    policy: Policy,
    line: String,
}

/// Which bridges are used.
#[derive(Debug, Clone, Copy)]
pub(super) struct Terms {
    /// Whether bridges announce what they offer on this network; if not, all that are bridges by their profile are used.
    pub(super) are_announced: bool,
    /// The most that is paid for a GiB, wei.
    pub(super) max_price_wei: u128,
}

impl Offers {
    /// Takes over what the ledger says; returns the bridges that may be used, 1,024 at most.
    pub(super) fn follow(&self, nodes: &[NodeRecord], terms: Terms) -> Vec<NodeId> {
        let mut known = Known::default();
        for node in nodes {
            let announced = match &node.offer {
                _ if !terms.are_announced && node.is_bridge() => None,
                Some(offer) if terms.are_announced => {
                    let Ok(policy) = offer.policy.parse::<Policy>() else {
                        known.garbled += 1;
                        continue;
                    };
                    if offer.price_wei > terms.max_price_wei {
                        known.dear += 1;
                        continue;
                    }
                    let line = offer_line(&policy.to_string(), &offer.price_wei.to_string());
                    Some(Announced { policy, line })
                }
                _ => continue,
            };
            if known.usable.len() < MAX_BRIDGES {
                known.usable.insert(node.address, announced);
            }
        }
        let usable = known.usable.keys().copied().collect();
        *self.0.write() = known;
        usable
    }

    /// Whether a bridge takes what goes to a target, as far as that can be known from here: its caution and what it lets out
    /// besides its policy can't.
    pub(super) fn takes(&self, bridge: NodeId, target: &Target) -> bool {
        match self.0.read().usable.get(&bridge) {
            Some(Some(announced)) => announced.policy.outlook(target) == Outlook::Open,
            // It has said nothing, and is asked.
            Some(None) => true,
            None => false,
        }
    }

    /// What a bridge offers, for people.
    pub(super) fn line(&self, bridge: NodeId) -> String {
        let known = self.0.read();
        let announced = known.usable.get(&bridge).and_then(Option::as_ref);
        announced.map_or_else(String::new, |announced| announced.line.clone())
    }

    /// Which bridges are left out, for people; empty if none is.
    pub(super) fn note(&self) -> String {
        let known = self.0.read();
        let count = |number: usize| match number {
            1 => "1 bridge".to_owned(),
            number => format!("{number} bridges"),
        };
        let mut notes = Vec::new();
        if known.dear > 0 {
            let dear = count(known.dear);
            notes.push(format!("{dear} left out for the price: see --max-price"));
        }
        if known.garbled > 0 {
            let garbled = count(known.garbled);
            notes.push(format!(
                "{garbled} left out for a policy that can't be read"
            ));
        }
        notes.join("; ")
    }
}

#[cfg(test)]
mod tests {
    use ledger::BridgeOffer;

    use super::*;

    const FREE: Terms = Terms {
        are_announced: true,
        max_price_wei: 0,
    };

    fn id(number: u8) -> NodeId {
        NodeId::from_bytes([number; 20])
    }

    fn bridge(number: u8, offer: Option<(&str, u128)>) -> NodeRecord {
        NodeRecord {
            address: id(number),
            operator: id(9),
            transport_key: [1; 32],
            certificate: Vec::new().into(),
            endpoint: "http://127.0.0.1:1".into(),
            profile: "bare+bridge".into(),
            offer: offer.map(|(policy, price_wei)| BridgeOffer {
                price_wei,
                policy: policy.into(),
            }),
        }
    }

    fn takers(offers: &Offers, target: &str) -> Vec<u8> {
        let target = target.parse().unwrap();
        (1..=3)
            .filter(|number| offers.takes(id(*number), &target))
            .collect()
    }

    #[test]
    fn bridge_takes_what_its_policy_lets_through_and_names_by_their_ports() {
        let offers = Offers::default();
        let nodes = [
            bridge(1, Some(("reject *:25;accept *:*", 0))),
            bridge(2, Some(("accept *:443", 0))),
            bridge(3, Some(("reject 198.51.100.0/24:*;accept *:80,443", 0))),
        ];
        assert_eq!(offers.follow(&nodes, FREE), [id(1), id(2), id(3)]);
        assert_eq!(takers(&offers, "a.example:443"), [1, 2, 3]);
        assert_eq!(takers(&offers, "a.example:80"), [1, 3]);
        assert_eq!(takers(&offers, "a.example:22"), [1]);
        assert_eq!(takers(&offers, "a.example:25"), [0; 0]);
        assert_eq!(takers(&offers, "198.51.100.7:443"), [1, 2]);
        assert_eq!(takers(&offers, "[::ffff:198.51.100.7]:443"), [1, 2]);
        assert_eq!(takers(&offers, "203.0.113.1:80"), [1, 3]);
        assert_eq!(offers.line(id(2)), "accept *:443 (free)");
    }

    #[test]
    fn bridge_that_is_dear_garbled_or_silent_is_left_out_and_told() {
        let offers = Offers::default();
        let nodes = [
            bridge(1, Some(("accept *:*", 5))),
            bridge(2, Some(("accept all my friends \u{1f600}", 0))),
            bridge(3, None),
        ];
        assert_eq!(offers.follow(&nodes, FREE), []);
        assert_eq!(takers(&offers, "a.example:443"), [0; 0]);
        let note = offers.note();
        assert!(note.contains("1 bridge left out for the price") && note.contains("can't be read"));
        let paying = Terms {
            max_price_wei: 5,
            ..FREE
        };
        assert_eq!(offers.follow(&nodes, paying), [id(1)]);
        assert_eq!(offers.line(id(1)), "accept *:* (5 wei for each GiB)");
    }

    #[test]
    fn bridges_of_a_network_without_offers_are_known_by_their_profile() {
        let offers = Offers::default();
        let silent = Terms {
            are_announced: false,
            ..FREE
        };
        let mut none = bridge(2, None);
        none.profile = "bare".into();
        assert_eq!(offers.follow(&[bridge(1, None), none], silent), [id(1)]);
        assert_eq!(takers(&offers, "a.example:25"), [1]);
        assert_eq!(offers.line(id(1)), "");
    }
}
