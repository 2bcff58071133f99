//! From a log of the contracts to what it changes in the index.

use std::sync::Arc;

use alloy::{
    primitives::{B256, LogData},
    sol_types::SolEvent,
};
use wallet::WalletAddress;

use crate::{
    batch,
    contracts::{
        BridgeOffers, NameRegistrar, NameRegistry, NameResolver, NodeRegistry, Route, RouteRegistry,
    },
    name::{MAX_LABEL_BYTES, MAX_NAME_TEXT_BYTES, NameNode},
    network::{NameContracts, NetworkFile},
    node::check_particulars,
    offer::{self, BridgeOffer},
    route::RouteRecord,
};

/// Longest data of a log that is read: a batch of 65,536 bytes and its ABI head.
pub(crate) const MAX_LOG_DATA_BYTES: usize = batch::MAX_BATCH_BYTES + 256;

/// The contracts that are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Registries {
    pub(crate) chain_id: u64,
    pub(crate) node: WalletAddress,
    pub(crate) route: WalletAddress,
    pub(crate) names: Option<NameContracts>,
    pub(crate) offers: Option<WalletAddress>,
}

impl Registries {
    pub(crate) fn of(network: &NetworkFile) -> Self {
        Self {
            chain_id: network.chain_id,
            node: network.contracts.node_registry,
            route: network.contracts.route_registry,
            names: network.contracts.names(),
            offers: network.contracts.bridge_offers,
        }
    }

    /// The contracts whose logs are read.
    pub(crate) fn emitters(&self) -> impl Iterator<Item = WalletAddress> {
        let names = (self.names.iter()).flat_map(|it| [it.registry, it.registrar, it.resolver]);
        ([self.node, self.route].into_iter())
            .chain(names)
            .chain(self.offers)
    }
}

/// What a log changes. Its position in the chain is [`Positioned`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum LedgerEvent {
    NodeRegistered {
        node: WalletAddress,
        operator: WalletAddress,
        /// None where they are out of the bounds of the contract and of this crate.
        particulars: Option<Particulars>,
    },
    NodeUpdated {
        node: WalletAddress,
        particulars: Option<Particulars>,
    },
    NodeLeft {
        node: WalletAddress,
    },
    /// What a node offers as a bridge from now on; none where it is nothing, or nothing that can be read.
    Offer {
        node: WalletAddress,
        offer: Option<BridgeOffer>,
    },
    RouteSet(RouteRecord),
    RouteCleared {
        wallet: WalletAddress,
        sequence: u64,
    },
    Name {
        node: NameNode,
        change: NameChange,
    },
}

/// What of a name's node changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NameChange {
    /// The owner of the node above gave it to somebody, empty.
    Given {
        parent: NameNode,
        owner: WalletAddress,
    },
    /// Its owner handed it on.
    Owner(WalletAddress),
    /// Whether its resolver is the one that is read.
    ResolverKnown(bool),
    /// From when on it doesn't stand.
    Expiry(Option<u64>),
    /// What it says.
    Wallet(Option<WalletAddress>),
    /// Its own part of the name.
    Label(String),
    /// What a reverse node says.
    Called(String),
}

/// The part of a node's entry that an update replaces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Particulars {
    pub(crate) transport_key: [u8; 32],
    pub(crate) certificate: Arc<[u8]>,
    pub(crate) endpoint: String,
    pub(crate) profile: String,
}

/// An event and where in the chain it happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Positioned {
    pub(crate) block: u64,
    pub(crate) log_index: u64,
    pub(crate) event: LedgerEvent,
}

/// The log is none that the contracts write: who sent it lies or errs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a log is none that the contract writes")]
pub(crate) struct ForeignLog;

/// The topics of the events that are read, for a filter.
pub(crate) fn topics() -> Vec<B256> {
    vec![
        NodeRegistry::NodeRegistered::SIGNATURE_HASH,
        NodeRegistry::NodeUpdated::SIGNATURE_HASH,
        NodeRegistry::NodeUnbonding::SIGNATURE_HASH,
        RouteRegistry::RouteSet::SIGNATURE_HASH,
        RouteRegistry::RouteCleared::SIGNATURE_HASH,
        RouteRegistry::RouteBatchSubmitted::SIGNATURE_HASH,
        NameRegistry::NewOwner::SIGNATURE_HASH,
        NameRegistry::Transfer::SIGNATURE_HASH,
        NameRegistry::NewResolver::SIGNATURE_HASH,
        NameRegistry::NewExpiry::SIGNATURE_HASH,
        NameRegistrar::NameRegistered::SIGNATURE_HASH,
        NameResolver::AddrChanged::SIGNATURE_HASH,
        NameResolver::NameChanged::SIGNATURE_HASH,
        BridgeOffers::OfferAnnounced::SIGNATURE_HASH,
        BridgeOffers::OfferWithdrawn::SIGNATURE_HASH,
    ]
}

/// Reads a log of one of the registries; one batch gives many events, a log of another kind none.
///
/// Announced routes whose wallet has not signed them, or that are out of bounds, are left out.
pub(crate) fn decode(
    registries: &Registries,
    emitter: WalletAddress,
    log: &LogData,
) -> Result<Vec<LedgerEvent>, ForeignLog> {
    if log.data.len() > MAX_LOG_DATA_BYTES {
        return Err(ForeignLog);
    }
    let topic = log.topics().first().copied().ok_or(ForeignLog)?;
    if emitter == registries.node {
        decode_node(topic, log)
    } else if emitter == registries.route {
        decode_route(registries, topic, log)
    } else if registries.offers == Some(emitter) {
        offer::decode(topic, log)
    } else if let Some(names) = registries.names {
        decode_name(&names, emitter, topic, log)
    } else {
        Err(ForeignLog)
    }
}

fn decode_name(
    names: &NameContracts,
    emitter: WalletAddress,
    topic: B256,
    log: &LogData,
) -> Result<Vec<LedgerEvent>, ForeignLog> {
    let is_foreign = ![names.registry, names.registrar, names.resolver].contains(&emitter);
    if is_foreign {
        return Err(ForeignLog);
    }
    let (node, change) = match topic {
        NameRegistry::NewOwner::SIGNATURE_HASH if emitter == names.registry => {
            let event: NameRegistry::NewOwner = read(log)?;
            let parent = NameNode::from_bytes(event.node.0);
            let owner = address(event.owner);
            let node = parent.below_hash(event.label.0);
            (node, NameChange::Given { parent, owner })
        }
        NameRegistry::Transfer::SIGNATURE_HASH if emitter == names.registry => {
            let event: NameRegistry::Transfer = read(log)?;
            let owner = NameChange::Owner(address(event.owner));
            (NameNode::from_bytes(event.node.0), owner)
        }
        NameRegistry::NewResolver::SIGNATURE_HASH if emitter == names.registry => {
            let event: NameRegistry::NewResolver = read(log)?;
            let known = address(event.resolver) == names.resolver;
            let change = NameChange::ResolverKnown(known);
            (NameNode::from_bytes(event.node.0), change)
        }
        NameRegistry::NewExpiry::SIGNATURE_HASH if emitter == names.registry => {
            let event: NameRegistry::NewExpiry = read(log)?;
            let expiry = Some(event.expiry).filter(|expiry| *expiry != 0);
            (
                NameNode::from_bytes(event.node.0),
                NameChange::Expiry(expiry),
            )
        }
        NameRegistrar::NameRegistered::SIGNATURE_HASH if emitter == names.registrar => {
            let event: NameRegistrar::NameRegistered = read_text(log)?;
            if !is_text(&event.label) {
                // Nobody can ask for such a name.
                return Ok(Vec::new());
            }
            if event.label.is_empty() || event.label.len() > MAX_LABEL_BYTES {
                return Err(ForeignLog);
            }
            let node = NameNode::conet().below(&event.label);
            (node, NameChange::Label(event.label))
        }
        NameResolver::AddrChanged::SIGNATURE_HASH if emitter == names.resolver => {
            let event: NameResolver::AddrChanged = read(log)?;
            let wallet = Some(address(event.a)).filter(|_| !event.a.is_zero());
            (
                NameNode::from_bytes(event.node.0),
                NameChange::Wallet(wallet),
            )
        }
        NameResolver::NameChanged::SIGNATURE_HASH if emitter == names.resolver => {
            let event: NameResolver::NameChanged = read_text(log)?;
            let called = Some(event.name).filter(|name| is_text(name));
            let called = called.unwrap_or_default();
            if called.len() > MAX_NAME_TEXT_BYTES {
                return Err(ForeignLog);
            }
            (
                NameNode::from_bytes(event.node.0),
                NameChange::Called(called),
            )
        }
        _ => return Ok(Vec::new()),
    };
    Ok(vec![LedgerEvent::Name { node, change }])
}

fn decode_node(topic: B256, log: &LogData) -> Result<Vec<LedgerEvent>, ForeignLog> {
    let event = match topic {
        NodeRegistry::NodeRegistered::SIGNATURE_HASH => {
            let event: NodeRegistry::NodeRegistered = read_text(log)?;
            LedgerEvent::NodeRegistered {
                node: address(event.node),
                operator: address(event.operator),
                particulars: particulars(
                    event.transportKey,
                    &event.certificate,
                    event.endpoint,
                    event.profile,
                ),
            }
        }
        NodeRegistry::NodeUpdated::SIGNATURE_HASH => {
            let event: NodeRegistry::NodeUpdated = read_text(log)?;
            LedgerEvent::NodeUpdated {
                node: address(event.node),
                particulars: particulars(
                    event.transportKey,
                    &event.certificate,
                    event.endpoint,
                    event.profile,
                ),
            }
        }
        NodeRegistry::NodeUnbonding::SIGNATURE_HASH => {
            let event: NodeRegistry::NodeUnbonding = read(log)?;
            LedgerEvent::NodeLeft {
                node: address(event.node),
            }
        }
        _ => return Ok(Vec::new()),
    };
    Ok(vec![event])
}

fn decode_route(
    registries: &Registries,
    topic: B256,
    log: &LogData,
) -> Result<Vec<LedgerEvent>, ForeignLog> {
    match topic {
        RouteRegistry::RouteSet::SIGNATURE_HASH => {
            let event: RouteRegistry::RouteSet = read(log)?;
            let route = Route {
                wallet: event.wallet,
                fingerprint: event.fingerprint,
                keyIds: event.keyIds,
                mailboxes: event.mailboxes,
                sequence: event.sequence,
                expiry: event.expiry,
            };
            let route = RouteRecord::from_contract(&route).map_err(|_| ForeignLog)?;
            Ok(vec![LedgerEvent::RouteSet(route)])
        }
        RouteRegistry::RouteCleared::SIGNATURE_HASH => {
            let event: RouteRegistry::RouteCleared = read(log)?;
            Ok(vec![LedgerEvent::RouteCleared {
                wallet: address(event.wallet),
                sequence: event.sequence,
            }])
        }
        RouteRegistry::RouteBatchSubmitted::SIGNATURE_HASH => {
            let event: RouteRegistry::RouteBatchSubmitted = read(log)?;
            let routes = batch::decode_announced(&event.routes, event.count, event.root)
                .map_err(|_| ForeignLog)?;
            Ok(routes
                .into_iter()
                .filter(|signed| signed.verify(registries.chain_id, registries.route).is_ok())
                .map(|signed| LedgerEvent::RouteSet(signed.route))
                .collect())
        }
        _ => Ok(Vec::new()),
    }
}

pub(crate) fn read<E: SolEvent>(log: &LogData) -> Result<E, ForeignLog> {
    E::decode_log_data_validate(log).map_err(|_| ForeignLog)
}

/// Reads an event with text, which the contracts take as it comes: what is no UTF-8 must not stop everybody's reading.
/// [`is_text`] tells whether it was any.
pub(crate) fn read_text<E: SolEvent>(log: &LogData) -> Result<E, ForeignLog> {
    E::decode_log_data(log).map_err(|_| ForeignLog)
}

/// Tells whether nothing in a text of [`read_text`] was replaced because it is no UTF-8.
pub(crate) fn is_text(text: &str) -> bool {
    !text.contains(char::REPLACEMENT_CHARACTER)
}

pub(crate) fn address(address: alloy::primitives::Address) -> WalletAddress {
    WalletAddress::from_bytes(address.into())
}

fn particulars(
    transport_key: B256,
    certificate: &[u8],
    endpoint: String,
    profile: String,
) -> Option<Particulars> {
    check_particulars(&transport_key.0, certificate, &endpoint, &profile).ok()?;
    if !is_text(&endpoint) || !is_text(&profile) {
        return None;
    }
    Some(Particulars {
        transport_key: transport_key.0,
        certificate: certificate.into(),
        endpoint,
        profile,
    })
}

#[cfg(test)]
mod tests {
    use alloy::primitives::Address;

    use super::*;
    use crate::{
        RouteBatch, SignedRoute,
        test_data::{CHAIN, NODE_REGISTRY, ROUTE_REGISTRY, key, route, signed_route},
    };

    const REGISTRIES: Registries = Registries {
        chain_id: CHAIN,
        node: NODE_REGISTRY,
        route: ROUTE_REGISTRY,
        names: None,
        offers: None,
    };

    fn batch_log(routes: Vec<SignedRoute>) -> LogData {
        let batch = RouteBatch::new(routes).unwrap();
        RouteRegistry::RouteBatchSubmitted {
            mailbox: Address::ZERO,
            root: batch.root().into(),
            count: batch.routes().len() as u32,
            routes: batch.encoded().to_vec().into(),
        }
        .encode_log_data()
    }

    #[test]
    fn batch_event_yields_only_routes_that_their_wallet_signed() {
        let good = signed_route(&key(1), 1, 1_000);
        let mut forged = signed_route(&key(2), 1, 1_000);
        forged.signature = key(3).sign_hash(&[1; 32]);
        let other_chain =
            SignedRoute::sign(route(&key(4), 1, 1_000), &key(4), 1, ROUTE_REGISTRY).unwrap();
        let log = batch_log(vec![forged, good.clone(), other_chain]);
        assert_eq!(
            decode(&REGISTRIES, ROUTE_REGISTRY, &log),
            Ok(vec![LedgerEvent::RouteSet(good.route)])
        );
    }

    #[test]
    fn log_of_a_foreign_contract_or_shape_is_refused() {
        let log = batch_log(vec![signed_route(&key(1), 1, 1_000)]);
        assert_eq!(decode(&REGISTRIES, key(1).address(), &log), Err(ForeignLog));
        let cut = LogData::new_unchecked(log.topics().to_vec(), log.data.slice(0..100));
        assert_eq!(decode(&REGISTRIES, ROUTE_REGISTRY, &cut), Err(ForeignLog));
        let bare = LogData::new_unchecked(Vec::new(), log.data.clone());
        assert_eq!(decode(&REGISTRIES, ROUTE_REGISTRY, &bare), Err(ForeignLog));
        let long = LogData::new_unchecked(
            log.topics().to_vec(),
            vec![0; MAX_LOG_DATA_BYTES + 1].into(),
        );
        assert_eq!(decode(&REGISTRIES, ROUTE_REGISTRY, &long), Err(ForeignLog));
    }

    #[test]
    fn log_of_an_unknown_event_is_passed_over() {
        let log = LogData::new_unchecked(vec![B256::repeat_byte(1)], Vec::new().into());
        assert_eq!(decode(&REGISTRIES, NODE_REGISTRY, &log), Ok(Vec::new()));
    }

    /// One transaction with `\xff` in its text made every index refuse all servers, for good.
    #[test]
    fn text_that_is_no_utf8_stops_nobody() {
        let spoiled = |log: LogData| {
            let data = log.data.iter().map(|byte| match byte {
                b'~' => 0xff,
                byte => *byte,
            });
            LogData::new_unchecked(log.topics().to_vec(), data.collect())
        };
        let registered = NodeRegistry::NodeRegistered {
            node: Address::ZERO,
            operator: Address::ZERO,
            transportKey: B256::repeat_byte(1),
            certificate: vec![1].into(),
            endpoint: "http://~".into(),
            profile: String::new(),
        };
        let events = decode(
            &REGISTRIES,
            NODE_REGISTRY,
            &spoiled(registered.encode_log_data()),
        );
        let [LedgerEvent::NodeRegistered { particulars, .. }] = &events.unwrap()[..] else {
            panic!("not registered")
        };
        assert_eq!(particulars, &None);

        let mut network = crate::test_data::network();
        network.contracts.name_registry = Some(key(9).address());
        let registries = Registries::of(&network);
        let names = registries.names.unwrap();
        let changed = NameResolver::NameChanged {
            node: B256::ZERO,
            name: "~".repeat(MAX_NAME_TEXT_BYTES),
        };
        let log = spoiled(changed.encode_log_data());
        let change = NameChange::Called(String::new());
        let node = NameNode::from_bytes([0; 32]);
        assert_eq!(
            decode(&registries, names.resolver, &log),
            Ok(vec![LedgerEvent::Name { node, change }])
        );
        let given = NameRegistrar::NameRegistered {
            label: "~".repeat(MAX_LABEL_BYTES),
            labelHash: B256::ZERO,
            owner: Address::ZERO,
            price: alloy::primitives::U256::ZERO,
            expiry: 1,
        };
        let log = spoiled(given.encode_log_data());
        assert_eq!(decode(&registries, names.registrar, &log), Ok(Vec::new()));
    }

    #[test]
    fn node_registered_with_control_characters_has_no_particulars() {
        let log = NodeRegistry::NodeRegistered {
            node: Address::ZERO,
            operator: Address::ZERO,
            transportKey: B256::repeat_byte(1),
            certificate: vec![1].into(),
            endpoint: "http://\u{7}".into(),
            profile: String::new(),
        }
        .encode_log_data();
        let events = decode(&REGISTRIES, NODE_REGISTRY, &log).unwrap();
        assert!(matches!(
            events.as_slice(),
            [LedgerEvent::NodeRegistered {
                particulars: None,
                ..
            }]
        ));
    }
}
