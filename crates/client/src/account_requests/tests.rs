use std::sync::Arc;

use protocol::command::Route;

use super::*;
use crate::test_network::{Person, World};

async fn world() -> (Arc<World>, Network, tempfile::TempDir, NodeId) {
    let world = World::start(5).await;
    let (network, home) = world.client();
    let [mailbox] = network.propose_mailboxes(1)[..] else {
        panic!("a mailbox")
    };
    (world, network, home, mailbox)
}

fn has_account(world: &World, mailbox: &NodeId, person: &Person) -> bool {
    world
        .node(mailbox)
        .accounts
        .lock()
        .contains_key(&person.wallet.address())
}

#[tokio::test]
async fn mailbox_is_opened_by_decrypting_its_challenges() {
    let (world, network, _home, mailbox) = world().await;
    let alice = Person::new(&[mailbox]);
    network.open_mailbox(alice.owner(), mailbox).await.unwrap();
    assert!(has_account(&world, &mailbox, &alice));
    let visits = world.take_visits();
    assert_eq!(
        visits.len(),
        6,
        "asked twice, through entry and relay: {visits:?}"
    );
}

#[tokio::test]
async fn mailbox_that_asks_for_a_stamp_and_has_another_clock_is_opened_all_the_same() {
    let (world, network, _home, mailbox) = world().await;
    world.node(&mailbox).set(|faults| {
        faults.effort = Some(3);
        faults.clock_ahead_ms = -7_200_000;
    });
    let alice = Person::new(&[mailbox]);
    network.open_mailbox(alice.owner(), mailbox).await.unwrap();
    assert!(has_account(&world, &mailbox, &alice));
}

#[tokio::test]
async fn rotated_certificate_is_announced_by_opening_again() {
    let (world, network, _home, mailbox) = world().await;
    let mut alice = Person::new(&[mailbox]);
    network.open_mailbox(alice.owner(), mailbox).await.unwrap();
    alice.rotate();
    network.open_mailbox(alice.owner(), mailbox).await.unwrap();
    let accounts = world.node(&mailbox).accounts.lock();
    assert_eq!(accounts[&alice.wallet.address()].binding, alice.binding);
}

#[tokio::test]
async fn relay_that_says_done_in_the_mailboxs_place_is_not_believed() {
    let (world, network, _home, mailbox) = world().await;
    let alice = Person::new(&[mailbox]);
    for node in world.nodes.iter().filter(|node| node.id != mailbox) {
        node.set(|faults| faults.relays_nothing_but = Some(Answer::Done));
    }
    let refused = network.open_mailbox(alice.owner(), mailbox).await;
    assert!(
        matches!(refused, Err(AccountFailure::Carry(CarryError::Forged))),
        "{refused:?}"
    );
    assert!(!has_account(&world, &mailbox, &alice));
}

#[tokio::test]
async fn request_for_somebody_elses_account_is_refused() {
    let (world, network, _home, mailbox) = world().await;
    let (alice, mallory) = (Person::new(&[mailbox]), Person::new(&[mailbox]));
    world.node(&mailbox).admit(&alice);
    let refused = network.close_mailbox(mallory.owner(), mailbox).await;
    assert!(
        matches!(&refused, Err(AccountFailure::Refused(refusal)) if **refusal == Refusal::NotFound),
        "{refused:?}"
    );
    assert!(has_account(&world, &mailbox, &alice));
    network.close_mailbox(alice.owner(), mailbox).await.unwrap();
    assert!(!has_account(&world, &mailbox, &alice));
}

#[tokio::test]
async fn acknowledgement_goes_through_an_entry_that_is_not_the_mailbox() {
    let (world, network, _home, _) = world().await;
    let alice = Person::new(&[]);
    // Also where the mailbox is one of the entries.
    for mailbox in network.entries() {
        world.node(&mailbox).admit(&alice);
        for cursor in 1..8 {
            world.take_visits();
            network
                .acknowledge(alice.owner(), mailbox, [1; 16], cursor)
                .await
                .unwrap();
            let nodes: Vec<NodeId> = world.take_visits().iter().map(|visit| visit.node).collect();
            assert!(
                nodes.len() == 2 && nodes[0] != mailbox && nodes[1] == mailbox,
                "{nodes:?}"
            );
        }
        let accounts = world.node(&mailbox).accounts.lock();
        assert_eq!(accounts[&alice.wallet.address()].acknowledged[&[1; 16]], 7);
    }
}

#[tokio::test]
async fn route_is_handed_to_the_mailbox() {
    let (world, network, _home, mailbox) = world().await;
    let alice = Person::new(&[mailbox]);
    world.node(&mailbox).admit(&alice);
    let route = Route {
        wallet: alice.wallet.address(),
        fingerprint: alice.fingerprint(),
        key_ids: alice.keys.certificate().key_ids(),
        mailboxes: vec![mailbox],
        sequence: 1,
        expiry_s: 2_000_000_000,
    };
    network
        .submit_route(
            alice.owner(),
            mailbox,
            &route,
            WalletSignature::from_bytes([1; 65]),
        )
        .await
        .unwrap();
}

#[test]
fn challenge_that_is_a_message_of_somebody_is_not_answered() {
    let (alice, bob) = (Person::new(&[]), Person::new(&[]));
    // What others sent is not decrypted for a mailbox, whatever its length.
    assert!(
        token(
            alice.letter("exactly 32 bytes, like a token: ").as_bytes(),
            &alice.keys
        )
        .is_err()
    );
    let rng = &mut rand::rngs::OsRng;
    let sealed =
        |body: &[u8]| packet::seal_bytes_to(alice.keys.certificate(), None, body, None, rng);
    let mut sealed = sealed;
    assert_eq!(
        token(sealed(&[0; 32]).unwrap().as_bytes(), &alice.keys).unwrap(),
        [0; 32]
    );
    assert!(token(sealed(&[0; 31]).unwrap().as_bytes(), &alice.keys).is_err());
    assert!(token(sealed(&[0; 33]).unwrap().as_bytes(), &alice.keys).is_err());
    assert!(token(sealed(&[0; 32]).unwrap().as_bytes(), &bob.keys).is_err());
}
