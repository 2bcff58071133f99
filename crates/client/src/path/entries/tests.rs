use std::collections::BTreeSet;

use super::*;
use crate::test_network::World;

fn set(ids: &[NodeId]) -> BTreeSet<NodeId> {
    ids.iter().copied().collect()
}

#[tokio::test]
async fn entries_are_three_and_the_same_after_a_restart() {
    let world = World::start(9).await;
    let (network, home) = world.client();
    let first = network.entries();
    assert_eq!(set(&first).len(), ENTRIES);
    drop(network);
    for _ in 0..5 {
        let network = world.client_at(&home);
        assert_eq!(network.entries(), first);
    }
}

#[tokio::test]
async fn two_clients_of_one_home_have_the_same_entries() {
    let world = World::start(9).await;
    let (first, home) = world.client();
    let second = world.client_at(&home);
    assert_eq!(first.entries(), second.entries());
}

#[tokio::test]
async fn clients_draw_entries_of_their_own() {
    let world = World::start(9).await;
    let mut all = BTreeSet::new();
    for _ in 0..12 {
        let (network, _home) = world.client();
        all.extend(network.entries());
    }
    assert!(all.len() > 6, "{}", all.len());
}

#[tokio::test]
async fn entry_that_left_the_ledger_is_replaced_and_the_others_stay() {
    let world = World::start(6).await;
    let (network, _home) = world.client();
    let before = network.entries();
    let records = world
        .nodes
        .iter()
        .filter(|node| node.id != before[0])
        .map(|node| node.record())
        .collect();
    world.ledger.set_nodes(records);
    let after = network.entries();
    assert_eq!(after[..2], before[1..]);
    assert!(after.len() == ENTRIES && !after.contains(&before[0]));
}

#[tokio::test]
async fn own_mailbox_is_never_an_entry() {
    let world = World::start(6).await;
    let (network, _home) = world.client();
    let mailbox = network.entries()[1];
    network.exclude_as_entries([mailbox]);
    assert!(network.entries().len() == ENTRIES && !network.entries().contains(&mailbox));
}

#[tokio::test]
async fn proposed_mailboxes_are_no_entries() {
    let world = World::start(6).await;
    for _ in 0..10 {
        let (network, _home) = world.client();
        let proposed = network.propose_mailboxes(3);
        assert_eq!(set(&proposed).len(), 3);
        assert!(
            network
                .entries()
                .iter()
                .all(|entry| !proposed.contains(entry))
        );
    }
}

#[tokio::test]
async fn entries_that_are_all_down_get_at_most_three_in_reserve() {
    let world = World::start(12).await;
    let (network, _home) = world.client();
    let first = network.entries();
    for node in &world.nodes {
        node.set(|faults| faults.down = true);
    }
    let nobody = crate::test_network::Person::new(&[]);
    let mailbox = world.nodes[0].id;
    for _ in 0..4 {
        let target = crate::carrier::Target {
            wallet: nobody.wallet.address(),
            fingerprint: None,
            mailboxes: vec![mailbox],
        };
        assert!(network.look_up(&target).await.is_err());
    }
    assert_eq!(network.entries()[..3], first);
    assert!(network.entries().len() <= MAX_ENTRIES);
}

#[tokio::test]
async fn entry_is_kept_three_to_six_weeks() {
    let world = World::start(9).await;
    let directory =
        crate::directory::Directory::new(Arc::clone(&world.ledger) as Arc<_>, Vec::new());
    let nodes = directory.nodes();
    let state = State::default();
    let now_ms = 1_800_000_000_000;
    let renewed_at = |now_ms, kept| renewed(kept, &Rules::new(&nodes, &state, now_ms), ENTRIES);
    let drawn = renewed_at(now_ms, Vec::new());
    let week_ms = 7 * 24 * 3_600 * 1_000;
    let weeks = now_ms + 3 * week_ms..now_ms + 6 * week_ms;
    assert!(drawn.iter().all(|entry| weeks.contains(&entry.until_ms)));
    assert_eq!(renewed_at(weeks.start - 1, drawn.clone()), drawn);
    let later = renewed_at(weeks.end, drawn.clone());
    assert!(later.iter().all(|entry| !drawn.contains(entry)));
    // A clock that was set back by years does not keep them for ever either.
    let earlier = renewed_at(now_ms / 2, drawn.clone());
    assert!(earlier.iter().all(|entry| !drawn.contains(entry)));
}

#[tokio::test]
async fn network_so_small_that_all_nodes_are_own_mailboxes_still_has_entries() {
    let world = World::start(4).await;
    let (network, _home) = world.client();
    network.exclude_as_entries(world.ids());
    assert_eq!(network.entries().len(), ENTRIES);
    let mailbox = network.entries()[0];
    let bob = crate::test_network::Person::new(&[mailbox]);
    world.node(&mailbox).admit(&bob);
    for cursor in 0..5 {
        network
            .acknowledge(bob.owner(), mailbox, [1; 16], cursor)
            .await
            .unwrap();
    }
    let visits = world.take_visits();
    assert!(
        visits
            .iter()
            .filter(|visit| visit.node == mailbox)
            .all(|visit| visit.from.is_some())
    );
}

#[tokio::test]
async fn mailbox_that_was_opened_is_no_entry_from_then_on() {
    let world = World::start(6).await;
    let (network, _home) = world.client();
    let mailbox = network.entries()[0];
    let bob = crate::test_network::Person::new(&[mailbox]);
    network.open_mailbox(bob.owner(), mailbox).await.unwrap();
    assert!(!network.entries().contains(&mailbox));
}
