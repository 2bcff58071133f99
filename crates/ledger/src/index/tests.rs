use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::{
    BridgeOffer,
    event::{LedgerEvent, Particulars, Positioned},
    test_data::{key, network, route},
};

fn particulars(number: u8) -> Particulars {
    Particulars {
        transport_key: [number.max(1); 32],
        certificate: vec![number; 10].into(),
        endpoint: format!("http://10.0.0.{number}"),
        profile: "plain".into(),
    }
}

fn registered(number: u8) -> LedgerEvent {
    LedgerEvent::NodeRegistered {
        node: key(number).address(),
        operator: key(100).address(),
        particulars: Some(particulars(number)),
    }
}

fn set(number: u8, sequence: u64) -> LedgerEvent {
    LedgerEvent::RouteSet(route(&key(number), sequence, 1_000))
}

fn at(block: u64, log_index: u64, event: LedgerEvent) -> Positioned {
    Positioned {
        block,
        log_index,
        event,
    }
}

fn block(number: u64, fork: u8) -> BlockId {
    let mut hash = [fork; 32];
    hash[..8].copy_from_slice(&number.to_be_bytes());
    BlockId { number, hash }
}

fn advance(index: &Index, tip: BlockId, events: Vec<Positioned>) {
    let cursor = index.cursor().unwrap();
    let advance = Advance {
        tip,
        first: cursor.tip.is_none().then_some(block(0, 0)),
        head: tip.number,
        at_s: 5,
        events,
    };
    let written = index.advance(cursor.revision, &advance).unwrap();
    assert_eq!(written, Written::Done);
}

#[test]
fn index_reopened_is_where_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("index.sqlite");
    let index = Index::open(&path, &network()).unwrap();
    let events = vec![at(1, 0, registered(1)), at(2, 0, set(2, 7))];
    advance(&index, block(3, 0), events);
    let generation = index.generation();
    assert!(generation > 0);
    drop(index);

    let index = Index::open(&path, &network()).unwrap();
    assert_eq!(index.nodes().len(), 1);
    assert_eq!(
        index.node(&key(1).address()).unwrap().endpoint,
        "http://10.0.0.1"
    );
    let expected = route(&key(2), 7, 1_000);
    assert_eq!(index.route(&key(2).address(), 999), Some(expected));
    assert_eq!(index.route(&key(2).address(), 1_000), None);
    assert_eq!(index.generation(), generation);
    let synced = SyncedTo {
        block: Some(3),
        head: 3,
        at_s: 5,
    };
    assert_eq!(index.synced_to(), synced);
}

fn offered(number: u8, price_wei: u128) -> LedgerEvent {
    LedgerEvent::Offer {
        node: key(number).address(),
        offer: Some(offer(price_wei)),
    }
}

fn offer(price_wei: u128) -> BridgeOffer {
    BridgeOffer {
        price_wei,
        policy: "accept *:443".into(),
    }
}

#[test]
fn offer_is_the_latest_until_withdrawn_and_survives_an_update_and_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("index.sqlite");
    let index = Index::open(&path, &network()).unwrap();
    let updated = LedgerEvent::NodeUpdated {
        node: key(1).address(),
        particulars: Some(particulars(9)),
    };
    let events = vec![
        at(1, 0, offered(1, 1)),
        at(2, 0, registered(1)),
        at(2, 1, registered(2)),
        at(3, 0, offered(1, 2)),
        at(3, 1, offered(1, 3)),
        at(3, 2, updated),
    ];
    advance(&index, block(3, 0), events);
    drop(index);

    let index = Index::open(&path, &network()).unwrap();
    let of = |number: u8| index.node(&key(number).address()).unwrap().offer.clone();
    assert_eq!(of(1), Some(offer(3)));
    assert_eq!(
        index.node(&key(1).address()).unwrap().endpoint,
        "http://10.0.0.9"
    );
    // The one of before it was registered was nobody's.
    assert_eq!(of(2), None);
    let withdrawn = LedgerEvent::Offer {
        node: key(1).address(),
        offer: None,
    };
    advance(&index, block(4, 0), vec![at(4, 0, withdrawn)]);
    assert_eq!(of(1), None);
    let cursor = index.cursor().unwrap();
    assert_eq!(
        index.roll_back(cursor.revision, block(3, 0)).unwrap(),
        Written::Done
    );
    assert_eq!(of(1), Some(offer(3)));
}

#[test]
fn offer_of_a_node_that_left_is_void_also_when_it_comes_back() {
    let index = Index::open_in_memory(&network()).unwrap();
    let node = key(1).address();
    let events = vec![
        at(1, 0, registered(1)),
        at(1, 1, offered(1, 1)),
        at(2, 0, LedgerEvent::NodeLeft { node }),
    ];
    advance(&index, block(2, 0), events);
    assert_eq!(index.node(&node), None);
    advance(&index, block(3, 0), vec![at(3, 0, registered(1))]);
    assert_eq!(index.node(&node).unwrap().offer, None);
}

#[test]
fn index_of_another_network_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("index.sqlite");
    drop(Index::open(&path, &network()).unwrap());
    let mut other = network();
    other.contracts.route_registry = key(9).address();
    assert!(matches!(
        Index::open(&path, &other),
        Err(IndexError::OtherNetwork)
    ));
}

#[test]
fn index_over_a_file_that_is_none_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("index.sqlite");
    std::fs::write(&path, "not a database at all".repeat(100)).unwrap();
    assert!(matches!(
        Index::open(&path, &network()),
        Err(IndexError::Damaged(_))
    ));
}

#[test]
fn index_in_a_second_process_sees_what_the_first_writes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("index.sqlite");
    let first = Index::open(&path, &network()).unwrap();
    let second = Index::open(&path, &network()).unwrap();
    let mut changes = second.subscribe();
    assert!(!second.refresh().unwrap());

    advance(
        &first,
        block(1, 0),
        vec![at(1, 0, registered(1)), at(1, 1, set(2, 1))],
    );
    assert_eq!(second.nodes().len(), 0);
    assert!(second.refresh().unwrap());
    assert_eq!(second.nodes().len(), 1);
    assert!(second.route(&key(2).address(), 0).is_some());
    assert!(changes.has_changed().unwrap());
    assert_eq!(*changes.borrow_and_update(), first.generation());
    assert_eq!(second.synced_to(), first.synced_to());
    assert!(!second.refresh().unwrap());

    let cursor = first.cursor().unwrap();
    assert_eq!(first.clear(cursor.revision).unwrap(), Written::Done);
    second.refresh().unwrap();
    assert_eq!(second.nodes().len(), 0);
    assert!(second.route(&key(2).address(), 0).is_none());
    assert_eq!(second.generation(), first.generation());
}

#[test]
fn index_written_by_two_syncers_takes_one_and_refuses_the_other() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("index.sqlite");
    let first = Index::open(&path, &network()).unwrap();
    let second = Index::open(&path, &network()).unwrap();
    let stretch = |number| Advance {
        tip: block(1, 0),
        first: Some(block(0, 0)),
        head: 1,
        at_s: 1,
        events: vec![at(1, 0, set(number, 1))],
    };
    let revision = first.cursor().unwrap().revision;
    assert_eq!(second.cursor().unwrap().revision, revision);
    assert_eq!(first.advance(revision, &stretch(1)).unwrap(), Written::Done);
    assert_eq!(
        second.advance(revision, &stretch(2)).unwrap(),
        Written::Conflict
    );
    assert_eq!(second.touch(revision, 9, 9).unwrap(), Written::Conflict);
    assert_eq!(
        second.roll_back(revision, block(0, 0)).unwrap(),
        Written::Conflict
    );
    assert_eq!(second.clear(revision).unwrap(), Written::Conflict);
    // The conflict has made it read what the first wrote.
    assert!(second.route(&key(1).address(), 0).is_some());
    assert!(second.route(&key(2).address(), 0).is_none());
}

#[test]
fn route_of_a_higher_sequence_wins_in_any_order() {
    let index = Index::open_in_memory(&network()).unwrap();
    let cleared = LedgerEvent::RouteCleared {
        wallet: key(1).address(),
        sequence: 8,
    };
    advance(
        &index,
        block(1, 0),
        vec![at(1, 0, set(1, 5)), at(1, 1, set(1, 4))],
    );
    assert_eq!(index.route(&key(1).address(), 0).unwrap().sequence, 5);
    advance(
        &index,
        block(2, 0),
        vec![at(2, 0, cleared), at(2, 1, set(1, 8))],
    );
    assert_eq!(index.route(&key(1).address(), 0), None);
    advance(&index, block(3, 0), vec![at(3, 0, set(1, 9))]);
    assert_eq!(index.route(&key(1).address(), 0).unwrap().sequence, 9);
}

#[test]
fn node_that_left_is_no_longer_listed_until_it_registers_again() {
    let index = Index::open_in_memory(&network()).unwrap();
    let left = LedgerEvent::NodeLeft {
        node: key(1).address(),
    };
    let updated = LedgerEvent::NodeUpdated {
        node: key(1).address(),
        particulars: Some(particulars(2)),
    };
    advance(
        &index,
        block(1, 0),
        vec![at(1, 0, registered(1)), at(1, 1, updated.clone())],
    );
    assert_eq!(
        index.node(&key(1).address()).unwrap().endpoint,
        "http://10.0.0.2"
    );
    assert_eq!(
        index.node(&key(1).address()).unwrap().operator,
        key(100).address()
    );
    advance(&index, block(2, 0), vec![at(2, 0, left), at(2, 1, updated)]);
    assert!(index.nodes().is_empty());
    advance(&index, block(3, 0), vec![at(3, 0, registered(1))]);
    assert_eq!(index.nodes()[0].endpoint, "http://10.0.0.1");
}

#[test]
fn roll_back_below_what_is_kept_is_refused() {
    let index = Index::open_in_memory(&network()).unwrap();
    advance(&index, block(1, 0), vec![at(1, 0, set(1, 1))]);
    advance(&index, block(600, 0), vec![at(600, 0, set(1, 2))]);
    let cursor = index.cursor().unwrap();
    assert_eq!(cursor.undo_floor, 600 - KEPT_BLOCKS);
    assert!(index.roll_back(cursor.revision, block(1, 0)).is_err());
    let checkpoints = index.checkpoints().unwrap();
    assert_eq!(checkpoints, [block(600, 0), block(0, 0)]);
}

/// What each active node says and offers.
type ExpectedNodes = BTreeMap<WalletAddress, (Particulars, Option<BridgeOffer>)>;

/// A chain of blocks with events, from which the index's contents follow.
#[derive(Debug, Clone, Default)]
struct Model {
    blocks: Vec<(BlockId, Vec<LedgerEvent>)>,
}

impl Model {
    fn expected(&self) -> (ExpectedNodes, BTreeMap<WalletAddress, (u64, bool)>) {
        let mut nodes = BTreeMap::new();
        let mut routes: BTreeMap<WalletAddress, (u64, bool)> = BTreeMap::new();
        for event in self.blocks.iter().flat_map(|(_, events)| events) {
            match event {
                LedgerEvent::NodeRegistered {
                    node, particulars, ..
                } => {
                    nodes.insert(*node, (particulars.clone().unwrap(), None));
                }
                LedgerEvent::NodeUpdated { node, particulars } => {
                    if let Some((known, _)) = nodes.get_mut(node) {
                        *known = particulars.clone().unwrap();
                    }
                }
                LedgerEvent::Offer { node, offer } => {
                    if let Some((_, known)) = nodes.get_mut(node) {
                        known.clone_from(offer);
                    }
                }
                LedgerEvent::NodeLeft { node } => {
                    nodes.remove(node);
                }
                LedgerEvent::RouteSet(route) => {
                    let known = routes.entry(route.wallet).or_default();
                    if route.sequence > known.0 {
                        *known = (route.sequence, true);
                    }
                }
                LedgerEvent::RouteCleared { wallet, sequence } => {
                    let known = routes.entry(*wallet).or_default();
                    if *sequence > known.0 {
                        *known = (*sequence, false);
                    }
                }
                // They have a test of their own.
                LedgerEvent::Name { .. } => {}
            }
        }
        (nodes, routes)
    }
}

fn any_event() -> impl Strategy<Value = LedgerEvent> {
    prop_oneof![
        (1_u8..5).prop_map(registered),
        (1_u8..5, 1_u8..9).prop_map(|(node, other)| LedgerEvent::NodeUpdated {
            node: key(node).address(),
            particulars: Some(particulars(other)),
        }),
        (1_u8..5).prop_map(|node| LedgerEvent::NodeLeft {
            node: key(node).address()
        }),
        (1_u8..5, prop::option::of(0_u128..9)).prop_map(|(node, price)| LedgerEvent::Offer {
            node: key(node).address(),
            offer: price.map(offer),
        }),
        (1_u8..6, 1_u64..20).prop_map(|(wallet, sequence)| set(wallet, sequence)),
        (1_u8..6, 1_u64..20).prop_map(|(wallet, sequence)| LedgerEvent::RouteCleared {
            wallet: key(wallet).address(),
            sequence,
        }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn index_after_any_events_and_roll_backs_equals_the_canonical_chain(
        steps in prop::collection::vec((prop::collection::vec(any_event(), 0..6), prop::option::weighted(0.3, 0_usize..6)), 1..30),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("index.sqlite");
        let index = Index::open(&path, &network()).unwrap();
        let follower = Index::open(&path, &network()).unwrap();
        let mut model = Model::default();
        let mut fork = 0;
        advance(&index, block(0, 0), Vec::new());
        model.blocks.push((block(0, 0), Vec::new()));
        for (events, back) in steps {
            if let Some(back) = back {
                let keep = model.blocks.len().saturating_sub(back).max(1);
                model.blocks.truncate(keep);
                let (to, _) = model.blocks[keep - 1];
                fork += 1;
                let cursor = index.cursor().unwrap();
                prop_assert_eq!(index.roll_back(cursor.revision, to).unwrap(), Written::Done);
            }
            let tip = block(model.blocks.len() as u64, fork);
            let positioned = events.iter().enumerate();
            let positioned = positioned.map(|(log, event)| at(tip.number, log as u64, event.clone()));
            advance(&index, tip, positioned.collect());
            model.blocks.push((tip, events));
        }
        follower.refresh().unwrap();
        let reopened = Index::open(&path, &network()).unwrap();
        let (nodes, routes) = model.expected();
        for index in [&index, &follower, &reopened] {
            let found: BTreeMap<_, _> = index.nodes().iter().map(|node| (node.address, (node.endpoint.clone(), node.offer.clone()))).collect();
            let expected: BTreeMap<_, _> = nodes.iter().map(|(node, (it, offer))| (*node, (it.endpoint.clone(), offer.clone()))).collect();
            prop_assert_eq!(found, expected);
            for (wallet, (sequence, is_set)) in &routes {
                let expected = is_set.then_some(*sequence);
                let found = index.route(wallet, 0);
                prop_assert_eq!(found.as_ref().map(|route| route.sequence), expected);
                if let Some(route) = found {
                    let claims = index.mailboxes_for_key(&route.key_ids[0], 0);
                    prop_assert_eq!(claims[0].wallet, *wallet);
                }
            }
        }
    }
}

/// Sizes and times of an index of a million routes, or of `CONET_ROUTES`, of the usual shape: two key IDs, one
/// mailbox. `bench/run routes` runs it.
#[test]
#[ignore = "takes a minute and 300 MB of disk"]
fn index_of_many_routes_is_small() {
    use rand::{Rng, SeedableRng, rngs::StdRng};
    use std::time::Instant;

    const LOOK_UPS: u64 = 2_000_000;
    const PER_STRETCH: u64 = 50_000;
    let asked = std::env::var("CONET_ROUTES").ok();
    let routes: u64 = asked.map_or(1_000_000, |asked| asked.parse().unwrap());
    let routes = routes.next_multiple_of(PER_STRETCH);

    let wallet = |number: u64| {
        let mut random = StdRng::seed_from_u64(number);
        WalletAddress::from_bytes(random.r#gen())
    };
    let record = |number: u64| {
        let mut random = StdRng::seed_from_u64(!number);
        RouteRecord {
            wallet: wallet(number),
            fingerprint: wallet::Fingerprint::V6(random.r#gen()),
            key_ids: vec![
                KeyId::from_bytes(random.r#gen()),
                KeyId::from_bytes(random.r#gen()),
            ],
            mailboxes: vec![wallet(number % 1_000)],
            sequence: 1,
            expiry_s: 4_000_000_000,
        }
    };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("index.sqlite");
    let index = Index::open(&path, &network()).unwrap();
    let began = Instant::now();
    for stretch in 0..routes / PER_STRETCH {
        let routes = stretch * PER_STRETCH..(stretch + 1) * PER_STRETCH;
        let events = routes.enumerate().map(|(log, number)| {
            at(
                stretch * 1_000,
                log as u64,
                LedgerEvent::RouteSet(record(number)),
            )
        });
        advance(&index, block(stretch * 1_000 + 999, 0), events.collect());
    }
    let wrote = began.elapsed();
    drop(index);

    let began = Instant::now();
    let index = Index::open(&path, &network()).unwrap();
    let loaded = began.elapsed();
    let size = index.size();
    assert_eq!(size.routes as u64, routes);

    let ids: Vec<_> = (0..routes / 10)
        .map(|number| record(number * 10).key_ids[1])
        .collect();
    let time_look_ups = |among: usize| {
        let began = Instant::now();
        for round in 0..LOOK_UPS {
            let claims = index.mailboxes_for_key(&ids[(round as usize * 7_919) % among], 1);
            assert_eq!(claims.len(), 1);
        }
        began.elapsed().as_secs_f64() * 1e9 / LOOK_UPS as f64
    };
    let any = time_look_ups(ids.len());
    let busy = time_look_ups(1_000);

    let mut table = RouteTable::default();
    let mut slowest = std::time::Duration::ZERO;
    for number in 0..routes {
        let row = row::write_route(&record(number), None, 1);
        let began = Instant::now();
        table.put(wallet(number), &row);
        slowest = slowest.max(began.elapsed());
    }
    let disk = std::fs::metadata(&path).unwrap().len();
    let each = |bytes: u64| bytes / routes;
    for (what, value, unit) in [
        (
            "written",
            wrote.as_secs_f64() * 1e6 / routes as f64,
            "µs a route",
        ),
        ("loaded", loaded.as_secs_f64(), "s"),
        (
            "memory",
            each(size.route_bytes as u64) as f64,
            "bytes a route",
        ),
        ("disk", each(disk) as f64, "bytes a route"),
        ("look-up of any key ID", any, "ns"),
        ("look-up of a thousand busy ones", busy, "ns"),
        ("slowest to put one in", slowest.as_secs_f64() * 1e3, "ms"),
    ] {
        println!("routes: {what}\t{value:.1}\t{unit}");
    }
    assert!(size.route_bytes as u64 / routes < 256);
}
