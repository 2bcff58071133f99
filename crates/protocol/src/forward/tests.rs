//! Every combination of origin, postage, flood, hops and table content, against the table of the
//! design written out as plain rules.

use super::*;

const ME: NodeId = NodeId::from_bytes([1; 20]);
const OTHER: NodeId = NodeId::from_bytes([2; 20]);
const STRANGER: NodeId = NodeId::from_bytes([3; 20]);
const KEY: KeyId = KeyId::from_bytes([9; 8]);

#[derive(Clone, Copy, Default)]
struct Fake {
    mine: bool,
    kept: bool,
    node: bool,
    routes: &'static [NodeId],
}

impl Tables for Fake {
    fn me(&self) -> NodeId {
        ME
    }
    fn is_mine(&self, key: &KeyId) -> bool {
        self.mine && *key == KEY
    }
    fn is_kept(&self, key: &KeyId) -> bool {
        self.kept && *key == KEY
    }
    fn node_with_key(&self, key: &KeyId) -> Option<NodeId> {
        (self.node && *key == KEY).then_some(OTHER)
    }
    fn is_node(&self, node: &NodeId) -> bool {
        *node == ME || *node == OTHER
    }
    fn mailboxes_of(&self, key: &KeyId, each: &mut dyn FnMut(NodeId)) {
        if *key == KEY {
            self.routes.iter().copied().for_each(each);
        }
    }
}

fn arrival(origin: Origin) -> Arrival {
    Arrival {
        origin,
        postage: Postage::Unpaid,
        broadcast: false,
        hops: MAX_HOPS,
    }
}

fn to(nodes: &[NodeId], hops: u8) -> Decision {
    let mut list = Candidates::none();
    nodes.iter().for_each(|n| list.push(*n));
    Decision::Send { to: list, hops }
}

#[test]
fn own_key_is_opened_from_anywhere() {
    let tables = Fake {
        mine: true,
        kept: true,
        node: true,
        routes: &[OTHER],
    };
    for origin in [
        Origin::Client,
        Origin::Link,
        Origin::Layer {
            depth: 1,
            next: None,
        },
        Origin::Layer {
            depth: 1,
            next: Some(ME),
        },
    ] {
        assert_eq!(decide(Ok(KEY), &arrival(origin), &tables), Decision::Open);
    }
}

#[test]
fn layer_in_layer_in_layer_for_one_node_is_refused() {
    let tables = Fake {
        mine: true,
        ..Fake::default()
    };
    let origin = Origin::Layer {
        depth: MAX_LAYERS_HERE,
        next: None,
    };
    assert_eq!(
        decide(Ok(KEY), &arrival(origin), &tables),
        Decision::Refuse(Reason::TooDeep)
    );
}

#[test]
fn kept_key_is_stored_even_where_the_ledger_names_others() {
    let tables = Fake {
        kept: true,
        node: true,
        routes: &[OTHER],
        ..Fake::default()
    };
    assert_eq!(
        decide(Ok(KEY), &arrival(Origin::Link), &tables),
        Decision::Store
    );
}

#[test]
fn layer_that_names_another_node_goes_there_unread() {
    let tables = Fake {
        mine: true,
        kept: true,
        routes: &[ME],
        ..Fake::default()
    };
    let origin = Origin::Layer {
        depth: 1,
        next: Some(OTHER),
    };
    assert_eq!(
        decide(Ok(KEY), &arrival(origin), &tables),
        to(&[OTHER], MAX_HOPS - 1)
    );
}

#[test]
fn layer_that_names_a_stranger_is_refused() {
    let origin = Origin::Layer {
        depth: 1,
        next: Some(STRANGER),
    };
    assert_eq!(
        decide(Ok(KEY), &arrival(origin), &Fake::default()),
        Decision::Refuse(Reason::NoSuchNode)
    );
}

#[test]
fn routed_key_goes_to_its_mailboxes_in_order_without_repeats_or_me() {
    let tables = Fake {
        routes: &[STRANGER, ME, OTHER, STRANGER],
        ..Fake::default()
    };
    assert_eq!(
        decide(Ok(KEY), &arrival(Origin::Client), &tables),
        to(&[STRANGER, OTHER], MAX_HOPS - 1)
    );
}

#[test]
fn candidates_beyond_the_bound_are_dropped() {
    let mut list = Candidates::none();
    for i in 0..40 {
        list.push(NodeId::from_bytes([i; 20]));
    }
    assert_eq!(list.as_slice().len(), MAX_CANDIDATES);
}

#[test]
fn packet_out_of_hops_goes_no_further() {
    for tables in [
        Fake {
            node: true,
            ..Fake::default()
        },
        Fake {
            routes: &[OTHER],
            ..Fake::default()
        },
    ] {
        let a = Arrival {
            hops: 0,
            ..arrival(Origin::Link)
        };
        assert_eq!(
            decide(Ok(KEY), &a, &tables),
            Decision::Refuse(Reason::OutOfHops)
        );
    }
}

#[test]
fn hops_claimed_beyond_the_most_are_cut() {
    let a = Arrival {
        hops: 255,
        ..arrival(Origin::Link)
    };
    let tables = Fake {
        node: true,
        ..Fake::default()
    };
    assert_eq!(decide(Ok(KEY), &a, &tables), to(&[OTHER], MAX_HOPS - 1));
}

#[test]
fn flood_with_hops_claimed_beyond_the_most_is_cut_too() {
    let a = Arrival {
        hops: 255,
        postage: Postage::Paid,
        ..arrival(Origin::Link)
    };
    assert_eq!(
        decide(Ok(KEY), &a, &Fake::default()),
        Decision::Broadcast { hops: MAX_HOPS - 1 }
    );
}

#[test]
fn node_that_has_the_key_comes_before_mailboxes_that_claim_it() {
    let tables = Fake {
        node: true,
        routes: &[STRANGER],
        ..Fake::default()
    };
    assert_eq!(
        decide(Ok(KEY), &arrival(Origin::Client), &tables),
        to(&[OTHER], MAX_HOPS - 1)
    );
}

#[test]
fn unreadable_key_is_refused_with_its_reason_from_anywhere() {
    let tables = Fake {
        mine: true,
        kept: true,
        ..Fake::default()
    };
    for origin in [
        Origin::Client,
        Origin::Link,
        Origin::Layer {
            depth: 1,
            next: Some(OTHER),
        },
    ] {
        let error = packet::peek(&[]).unwrap_err();
        assert_eq!(
            decide(Err(error), &arrival(origin), &tables),
            Decision::Refuse(Reason::Malformed(error))
        );
    }
}

#[test]
fn route_that_names_only_me_without_an_account_counts_as_unknown() {
    let tables = Fake {
        routes: &[ME],
        ..Fake::default()
    };
    assert_eq!(
        decide(Ok(KEY), &arrival(Origin::Link), &tables),
        Decision::Refuse(Reason::Unpaid)
    );
}

/// All combinations, judged by rules written the other way round: from the decision to what must hold.
#[test]
fn every_combination_obeys_the_rules() {
    let origins = [
        Origin::Client,
        Origin::Link,
        Origin::Layer {
            depth: 1,
            next: None,
        },
        Origin::Layer {
            depth: 2,
            next: None,
        },
        Origin::Layer {
            depth: 1,
            next: Some(ME),
        },
        Origin::Layer {
            depth: 1,
            next: Some(OTHER),
        },
        Origin::Layer {
            depth: 1,
            next: Some(STRANGER),
        },
    ];
    let routes: [&'static [NodeId]; 4] = [&[], &[ME], &[OTHER], &[ME, OTHER]];
    let mut seen = 0;
    for origin in origins {
        for bits in 0..32u8 {
            for (r, hops) in routes
                .iter()
                .flat_map(|r| (0..=MAX_HOPS).map(move |h| (*r, h)))
            {
                let tables = Fake {
                    mine: bits & 1 != 0,
                    kept: bits & 2 != 0,
                    node: bits & 4 != 0,
                    routes: r,
                };
                let postage = if bits & 8 != 0 {
                    Postage::Paid
                } else {
                    Postage::Unpaid
                };
                let broadcast = bits & 16 != 0;
                let named = match origin {
                    Origin::Layer { next: Some(n), .. } if n != ME => Some(n),
                    _ => None,
                };
                let local = named.is_none();
                let elsewhere = tables.node || r.contains(&OTHER);
                let a = Arrival {
                    origin,
                    postage,
                    broadcast,
                    hops,
                };
                match decide(Ok(KEY), &a, &tables) {
                    Decision::Open => assert!(local && tables.mine),
                    Decision::Store => assert!(local && !tables.mine && tables.kept),
                    Decision::Send { to, hops: left } => {
                        assert_eq!(left + 1, hops);
                        assert_eq!(to.as_slice(), [OTHER]);
                        assert!(
                            named == Some(OTHER)
                                || (!tables.mine && !tables.kept && !broadcast && elsewhere)
                        );
                    }
                    Decision::Broadcast { hops: left } => {
                        assert_eq!(left + 1, hops);
                        assert!(
                            local
                                && !tables.mine
                                && !tables.kept
                                && postage == Postage::Paid
                                && (broadcast || !elsewhere)
                        );
                    }
                    Decision::Refuse(Reason::Unpaid) => {
                        assert!(local && postage == Postage::Unpaid && (broadcast || !elsewhere));
                    }
                    Decision::Refuse(Reason::Unknown) => {
                        assert!(hops == 0 && postage == Postage::Paid)
                    }
                    Decision::Refuse(Reason::NoSuchNode) => assert_eq!(named, Some(STRANGER)),
                    Decision::Refuse(Reason::TooDeep) => {
                        assert!(tables.mine && matches!(origin, Origin::Layer { depth: 2, .. }))
                    }
                    Decision::Refuse(Reason::OutOfHops) => assert_eq!(hops, 0),
                    Decision::Refuse(Reason::Malformed(_)) => panic!("the key was readable"),
                }
                seen += 1;
            }
        }
    }
    assert_eq!(seen, 7 * 32 * 4 * 5);
}
