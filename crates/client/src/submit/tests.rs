use protocol::answer::Refusal;

mod distrust;

use super::*;
use crate::carry::StampingError;
use crate::path::PathError;
use crate::test_network::{Person, World};

const HOUR_MS: i64 = 3_600_000;

async fn send(
    network: &Network,
    packet: &Packet,
    mailboxes: &[NodeId],
) -> Result<Stored, SubmitFailure> {
    network
        .submit(
            packet,
            mailboxes,
            Privacy::Relayed,
            SubmitOptions::default(),
        )
        .await
}

/// A world, a client and somebody with an account at a node that is not an entry of the client.
async fn with_mailbox(nodes: usize) -> (Arc<World>, Network, tempfile::TempDir, Person, NodeId) {
    let world = World::start(nodes).await;
    let (network, home) = world.client();
    let [mailbox] = network.propose_mailboxes(1)[..] else {
        panic!("a mailbox")
    };
    let bob = Person::new(&[mailbox]);
    world.node(&mailbox).admit(&bob);
    (world, network, home, bob, mailbox)
}

#[tokio::test]
async fn packet_to_a_mailbox_is_stored_and_acknowledged_by_it() {
    let (world, network, _home, bob, mailbox) = with_mailbox(5).await;
    let letter = bob.letter("hello");
    let stored = send(&network, &letter, &[mailbox]).await.unwrap();
    assert_eq!(stored.node, mailbox);
    assert_eq!(world.node(&mailbox).stored(&bob), [letter]);
}

#[tokio::test]
async fn entry_relay_and_mailbox_are_always_three_nodes_and_the_entry_never_sees_the_key() {
    let (world, network, _home, bob, _) = with_mailbox(5).await;
    for place in 0..40 {
        // Every node is the mailbox in turn, also those that are entries.
        let mailbox = world.nodes[place % 5].id;
        world.node(&mailbox).admit(&bob);
        let letter = bob.letter(&format!("{place}"));
        world.take_visits();
        send(&network, &letter, &[mailbox]).await.unwrap();
        let visits = world.take_visits();
        let nodes: Vec<NodeId> = visits.iter().map(|visit| visit.node).collect();
        let [entry, relay, last] = nodes[..] else {
            panic!("three visits, not {visits:?}")
        };
        assert!(
            entry != relay && relay != last && entry != last,
            "{visits:?}"
        );
        assert_eq!(last, mailbox);
        assert!(network.entries().contains(&entry));
        assert!(
            visits[..2].iter().all(|visit| visit.key != letter.key_id()),
            "{visits:?}"
        );
        world.node(&mailbox).accounts.lock().clear();
    }
}

#[tokio::test]
async fn prepared_submission_takes_its_own_way_once_and_another_one_if_that_fails() {
    let (world, network, _home, bob, mailbox) = with_mailbox(6).await;
    let options = SubmitOptions::default();
    for relay_is_down in [false, true] {
        let letter = bob.letter("hello");
        world.take_visits();
        let prepared = network.prepare_submission(&letter, &[mailbox], Privacy::Relayed);
        let prepared = prepared.unwrap();
        assert!(world.take_visits().is_empty(), "nothing has left");
        let (entry, relay) = prepared.prepared.nodes();
        let relay = relay.unwrap();
        world.node(&relay).set(|it| it.down = relay_is_down);
        let stored = network
            .submit_prepared(
                &letter,
                Some(prepared),
                &[mailbox],
                Privacy::Relayed,
                options,
            )
            .await;
        assert_eq!(stored.unwrap().node, mailbox);
        let visits = world.take_visits();
        assert_eq!((visits[0].node, visits[1].node), (entry, relay));
        assert_eq!(visits.len() > 3, relay_is_down, "{visits:?}");
        world.node(&relay).set(|it| it.down = false);
    }
}

#[tokio::test]
async fn path_goes_through_three_operators_where_there_are_enough() {
    // Nodes 0–3 belong to one operator, 4 and 5 to one each.
    let world = World::start_with(6, |place| place.saturating_sub(3)).await;
    let (network, _home) = world.client();
    let mailbox = world.nodes[0].id;
    let bob = Person::new(&[mailbox]);
    world.node(&mailbox).admit(&bob);
    for _ in 0..20 {
        world.take_visits();
        send(&network, &bob.letter("hello"), &[mailbox])
            .await
            .unwrap();
        let mut operators: Vec<_> = world
            .take_visits()
            .iter()
            .map(|visit| world.node(&visit.node).operator)
            .collect();
        operators.sort_unstable();
        operators.dedup();
        assert_eq!(operators.len(), 3);
    }
}

#[tokio::test]
async fn relays_are_drawn_anew_each_time_from_nodes_that_do_not_know_the_client() {
    let (world, network, _home, bob, mailbox) = with_mailbox(11).await;
    let mut own = world.nodes.iter().map(|node| node.id);
    let own = own.rfind(|id| *id != mailbox).unwrap();
    network.exclude_as_entries([own]);
    for _ in 0..40 {
        send(&network, &bob.letter("hello"), &[mailbox])
            .await
            .unwrap();
    }
    let mut relays: Vec<NodeId> = world
        .take_visits()
        .chunks(3)
        .map(|path| path[1].node)
        .collect();
    relays.sort_unstable();
    relays.dedup();
    assert!(relays.len() >= 5, "{}", relays.len());
    // One that was both would know an address, or a wallet, and whom somebody behind another node writes to.
    let known = |id: &NodeId| *id == own || network.entries().contains(id);
    assert!(!relays.iter().any(known), "{relays:?}");
}

#[tokio::test]
async fn private_path_with_two_nodes_is_refused_with_the_reason() {
    let world = World::start(2).await;
    let (network, _home) = world.client();
    let mailbox = world.nodes[0].id;
    let bob = Person::new(&[mailbox]);
    world.node(&mailbox).admit(&bob);
    let refused = send(&network, &bob.letter("hello"), &[mailbox]).await;
    assert!(
        matches!(
            refused,
            Err(SubmitFailure::NotDelivered(CarryError::Path(
                PathError::NoRelay
            )))
        ),
        "{refused:?}"
    );
}

/// After a restart of a whole devnet each node refused the first command with the time to use, and the
/// client gave up since each of its corrections was spent on another relay.
#[tokio::test]
async fn packet_is_stored_though_every_node_on_the_way_has_to_correct_the_time() {
    let (world, network, _home, bob, mailbox) = with_mailbox(16).await;
    for node in &world.nodes {
        node.set(|faults| faults.clock_ahead_ms = HOUR_MS);
    }
    for text in ["first", "second", "third", "fourth", "fifth"] {
        send(&network, &bob.letter(text), &[mailbox]).await.unwrap();
    }
}

#[tokio::test]
async fn nodes_with_wrong_clocks_still_store() {
    let (world, network, _home, bob, mailbox) = with_mailbox(5).await;
    for (place, node) in world.nodes.iter().enumerate() {
        let hours = i64::try_from(place).unwrap() - 2;
        node.set(|faults| faults.clock_ahead_ms = hours * HOUR_MS);
    }
    for text in ["first", "second", "third"] {
        send(&network, &bob.letter(text), &[mailbox]).await.unwrap();
    }
    assert_eq!(world.node(&mailbox).stored(&bob).len(), 3);
}

#[tokio::test]
async fn stamp_that_the_mailbox_asks_for_is_minted_once_and_stored() {
    let (world, network, _home, bob, mailbox) = with_mailbox(5).await;
    world.node(&mailbox).set(|faults| faults.effort = Some(3));
    send(&network, &bob.letter("hello"), &[mailbox])
        .await
        .unwrap();
    let stamped: Vec<bool> = world
        .take_visits()
        .iter()
        .filter(|visit| visit.node == mailbox)
        .map(|visit| visit.stamped)
        .collect();
    assert_eq!(stamped, [false, true]);
}

#[tokio::test]
async fn stamp_dearer_than_allowed_is_not_minted() {
    let (world, network, _home, bob, mailbox) = with_mailbox(5).await;
    world
        .node(&mailbox)
        .set(|faults| faults.effort = Some(50_000));
    let options = SubmitOptions { max_effort: 10 };
    let refused = network
        .submit(&bob.letter("hello"), &[mailbox], Privacy::Relayed, options)
        .await;
    let Err(SubmitFailure::NotDelivered(CarryError::Stamp(StampingError::TooDear {
        asked,
        allowed,
    }))) = refused
    else {
        panic!("{refused:?}")
    };
    assert_eq!((asked, allowed), (50_000, 10));
}

#[tokio::test]
async fn relays_that_are_down_are_passed_over() {
    let (world, network, _home, bob, mailbox) = with_mailbox(7).await;
    let entries = network.entries();
    // Of the relays outside of entries and mailbox one is left.
    let spare: Vec<NodeId> = world
        .ids()
        .into_iter()
        .filter(|id| *id != mailbox && !entries.contains(id))
        .collect();
    for id in &spare[1..] {
        world.node(id).set(|faults| faults.down = true);
    }
    for text in ["first", "second", "third", "fourth"] {
        send(&network, &bob.letter(text), &[mailbox]).await.unwrap();
    }
}

#[tokio::test]
async fn entries_that_are_down_are_passed_over() {
    let (world, network, _home, bob, mailbox) = with_mailbox(5).await;
    for entry in &network.entries()[..2] {
        world.node(entry).set(|faults| faults.down = true);
    }
    for text in ["first", "second", "third"] {
        send(&network, &bob.letter(text), &[mailbox]).await.unwrap();
    }
}

#[tokio::test]
async fn entries_that_hang_are_found_out_and_passed_over() {
    let (world, _network, home, bob, mailbox) = with_mailbox(5).await;
    let wait = std::time::Duration::from_millis(1_500);
    let network = world.client_that_waits(&home, wait);
    let entries = network.entries();
    for _ in 0..9 {
        send(&network, &bob.letter("hello"), &[mailbox])
            .await
            .unwrap();
    }
    for entry in &entries[..2] {
        world.node(entry).set(|faults| faults.hangs = true);
    }
    // Each costs one answer that does not come and one handshake; then it is known.
    let mut slow = 0;
    for place in 0..20 {
        let letter = bob.letter(&format!("{place}"));
        let started = std::time::Instant::now();
        while send(&network, &letter, &[mailbox]).await.is_err() {}
        slow += usize::from(started.elapsed() >= wait / 2);
    }
    assert!((1..=4).contains(&slow), "{slow}");
    assert_eq!(network.entries(), entries);
}

#[tokio::test]
async fn mailbox_that_is_down_is_replaced_by_the_next() {
    let (world, network, _home, bob, _) = with_mailbox(6).await;
    let both = network.propose_mailboxes(2);
    for mailbox in &both {
        world.node(mailbox).admit(&bob);
    }
    world.node(&both[0]).set(|faults| faults.down = true);
    let stored = send(&network, &bob.letter("hello"), &both).await.unwrap();
    assert_eq!(stored.node, both[1]);
}

#[tokio::test]
async fn full_mailbox_is_reported_as_full() {
    let (world, network, _home, bob, mailbox) = with_mailbox(5).await;
    world
        .node(&mailbox)
        .set(|faults| faults.refuses_to_store = Some(Refusal::QueueFull { quota_bytes: 77 }));
    let refused = send(&network, &bob.letter("hello"), &[mailbox]).await;
    assert!(
        matches!(refused, Err(SubmitFailure::QueueFull { quota_bytes: 77 })),
        "{refused:?}"
    );
}

#[tokio::test]
async fn busy_mailbox_is_asked_again() {
    let (world, network, _home, bob, mailbox) = with_mailbox(5).await;
    world
        .node(&mailbox)
        .set(|faults| faults.refuses_to_store = Some(Refusal::Busy));
    let later = Arc::clone(&world);
    tokio::spawn(async move {
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        later
            .node(&mailbox)
            .set(|faults| faults.refuses_to_store = None);
    });
    send(&network, &bob.letter("hello"), &[mailbox])
        .await
        .unwrap();
}

#[tokio::test]
async fn many_packets_at_once_share_one_session_for_each_entry() {
    let (world, network, _home, bob, mailbox) = with_mailbox(5).await;
    let sends = (0..30).map(|place| {
        let (network, letter) = (network.clone(), bob.letter(&format!("{place}")));
        tokio::spawn(async move { send(&network, &letter, &[mailbox]).await })
    });
    for sent in sends.collect::<Vec<_>>() {
        sent.await.unwrap().unwrap();
    }
    assert_eq!(world.node(&mailbox).stored(&bob).len(), 30);
    assert!(world.nodes.iter().all(|node| node.handshakes() <= 1));
}

#[tokio::test]
async fn direct_packet_to_a_listed_key_goes_blind_through_the_entry() {
    let (world, network, _home, bob, mailbox) = with_mailbox(5).await;
    world.ledger.set_route(&bob, &[mailbox]);
    let letter = bob.letter("hello");
    network
        .submit(
            &letter,
            &[mailbox],
            Privacy::Direct,
            SubmitOptions::default(),
        )
        .await
        .unwrap();
    let visits = world.take_visits();
    assert!(
        visits.iter().all(|visit| visit.key == letter.key_id()),
        "{visits:?}"
    );
    assert_eq!(visits.len(), 2, "{visits:?}");
}

#[tokio::test]
async fn direct_packet_to_an_unlisted_mailbox_goes_in_a_layer_for_it() {
    let (world, network, _home, bob, mailbox) = with_mailbox(5).await;
    let letter = bob.letter("hello");
    let stored = network
        .submit(
            &letter,
            &[mailbox],
            Privacy::Direct,
            SubmitOptions::default(),
        )
        .await
        .unwrap();
    assert_eq!(stored.node, mailbox);
    let visits = world.take_visits();
    assert!(
        visits
            .iter()
            .filter(|visit| visit.key == letter.key_id())
            .all(|visit| visit.node == mailbox)
    );
}

#[tokio::test]
async fn broadcast_finds_an_unlisted_mailbox_and_carries_a_stamp() {
    let (world, network, _home, bob, mailbox) = with_mailbox(5).await;
    for privacy in [Privacy::Relayed, Privacy::Direct] {
        world.take_visits();
        let letter = bob.letter("hello");
        let stored = network
            .broadcast(&letter, privacy, SubmitOptions::default())
            .await
            .unwrap();
        assert_eq!(stored.node, mailbox);
        assert!(
            world
                .take_visits()
                .iter()
                .filter(|visit| visit.key == letter.key_id())
                .all(|visit| visit.stamped)
        );
    }
}

#[tokio::test]
async fn broadcast_that_nobody_stores_says_so() {
    let world = World::start(5).await;
    let (network, _home) = world.client();
    let nobody = Person::new(&[]);
    let refused = network
        .broadcast(
            &nobody.letter("hello"),
            Privacy::Relayed,
            SubmitOptions::default(),
        )
        .await;
    assert!(
        matches!(refused, Err(SubmitFailure::UnknownKey)),
        "{refused:?}"
    );
}

#[tokio::test]
async fn mailbox_without_the_account_says_unknown_key() {
    let (world, network, _home, bob, mailbox) = with_mailbox(5).await;
    world.node(&mailbox).accounts.lock().clear();
    let refused = send(&network, &bob.letter("hello"), &[mailbox]).await;
    // The mailbox has no route for it either and asks for a stamp first, as a broadcast would need.
    assert!(
        matches!(refused, Err(SubmitFailure::UnknownKey)),
        "{refused:?}"
    );
}

#[tokio::test]
async fn mailbox_that_is_not_on_the_ledger_is_named() {
    let world = World::start(4).await;
    let (network, _home) = world.client();
    let nowhere = NodeId::from_bytes([9; 20]);
    let refused = send(&network, &Person::new(&[]).letter("hello"), &[nowhere]).await;
    assert!(matches!(
        refused,
        Err(SubmitFailure::NotDelivered(CarryError::Path(
            PathError::UnknownMailbox(_)
        )))
    ));
    let refused = send(&network, &Person::new(&[]).letter("hello"), &[]).await;
    assert!(matches!(refused, Err(SubmitFailure::NoMailbox)));
}
