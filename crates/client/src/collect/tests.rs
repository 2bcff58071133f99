use std::sync::Arc;

use packet::Packet;
use protocol::NodeId;

use super::*;
use crate::test_network::{Person, StreamFault, World, collection};

/// A mailbox with three letters for Bob.
async fn with_mail() -> (
    Arc<World>,
    Network,
    tempfile::TempDir,
    Person,
    NodeId,
    Vec<Packet>,
) {
    let world = World::start(5).await;
    let (network, home) = world.client();
    let [mailbox] = network.propose_mailboxes(1)[..] else {
        panic!("a mailbox")
    };
    let bob = Person::new(&[mailbox]);
    world.node(&mailbox).admit(&bob);
    let letters: Vec<Packet> = ["one", "two", "three"]
        .iter()
        .map(|text| bob.letter(text))
        .collect();
    world
        .node(&mailbox)
        .accounts
        .lock()
        .get_mut(&bob.wallet.address())
        .unwrap()
        .queue = letters.clone();
    (world, network, home, bob, mailbox, letters)
}

/// The packets of a delivery until it ends, and how it ends.
async fn read(delivery: &mut Delivery) -> (Vec<Packet>, Result<(), CollectFailure>) {
    let mut packets = Vec::new();
    loop {
        match delivery.next().await {
            Ok(Some(Item::Packet { packet, .. })) => packets.push(Packet::new(packet).unwrap()),
            Ok(Some(_)) => {}
            Ok(None) => return (packets, Ok(())),
            Err(error) => return (packets, Err(error)),
        }
    }
}

#[tokio::test]
async fn mail_is_delivered_in_order_and_ends_when_caught_up() {
    let (_world, network, _home, bob, mailbox, letters) = with_mail().await;
    let mut delivery = network
        .collect(bob.owner(), collection(mailbox, false))
        .await
        .unwrap();
    let (packets, end) = read(&mut delivery).await;
    assert!(end.is_ok(), "{end:?}");
    assert_eq!(packets, letters);
}

#[tokio::test]
async fn delivery_after_a_cursor_skips_what_was_before() {
    let (_world, network, _home, bob, mailbox, letters) = with_mail().await;
    let after = Collection {
        after: Some(2),
        ..collection(mailbox, false)
    };
    let (packets, _) = read(&mut network.collect(bob.owner(), after).await.unwrap()).await;
    assert_eq!(packets, letters[2..]);
}

#[tokio::test]
async fn delivery_comes_through_an_entry_that_is_not_the_mailbox() {
    let (world, network, _home, bob, ..) = with_mail().await;
    for mailbox in network.entries() {
        world.node(&mailbox).admit(&bob);
        for _ in 0..8 {
            world.take_visits();
            let mut delivery = network
                .collect(bob.owner(), collection(mailbox, false))
                .await
                .unwrap();
            assert!(read(&mut delivery).await.1.is_ok());
            let nodes: Vec<NodeId> = world.take_visits().iter().map(|visit| visit.node).collect();
            assert!(
                nodes.len() == 2 && nodes[0] != mailbox && nodes[1] == mailbox,
                "{nodes:?}"
            );
        }
    }
}

#[tokio::test]
async fn mailbox_with_another_clock_delivers() {
    let (world, network, _home, bob, mailbox, letters) = with_mail().await;
    world
        .node(&mailbox)
        .set(|faults| faults.clock_ahead_ms = 86_400_000);
    let mut delivery = network
        .collect(bob.owner(), collection(mailbox, false))
        .await
        .unwrap();
    assert_eq!(read(&mut delivery).await.0, letters);
}

#[tokio::test]
async fn collecting_without_an_account_is_refused() {
    let (_world, network, _home, _, mailbox, _) = with_mail().await;
    let stranger = Person::new(&[]);
    let refused = network
        .collect(stranger.owner(), collection(mailbox, false))
        .await;
    assert!(
        matches!(&refused, Err(CollectFailure::Refused(refusal)) if **refusal == Refusal::NotFound),
        "{refused:?}"
    );
}

#[tokio::test]
async fn connection_that_ends_early_is_never_taken_for_the_end() {
    let (world, network, _home, bob, mailbox, letters) = with_mail().await;
    for stay in [false, true] {
        world
            .node(&mailbox)
            .set(|faults| faults.stream = StreamFault::Cut);
        let mut delivery = network
            .collect(bob.owner(), collection(mailbox, stay))
            .await
            .unwrap();
        let (packets, end) = read(&mut delivery).await;
        assert_eq!(packets, letters);
        assert!(matches!(end, Err(CollectFailure::Cut)), "{end:?}");
    }
    // Whoever stays does not expect an end at all.
    world
        .node(&mailbox)
        .set(|faults| faults.stream = StreamFault::None);
    let mut delivery = network
        .collect(bob.owner(), collection(mailbox, true))
        .await
        .unwrap();
    assert!(matches!(
        read(&mut delivery).await.1,
        Err(CollectFailure::Cut)
    ));
}

#[tokio::test]
async fn connection_that_breaks_is_reported_after_what_came_whole() {
    let (world, network, _home, bob, mailbox, letters) = with_mail().await;
    world
        .node(&mailbox)
        .set(|faults| faults.stream = StreamFault::Broken);
    let mut delivery = network
        .collect(bob.owner(), collection(mailbox, true))
        .await
        .unwrap();
    let (packets, end) = read(&mut delivery).await;
    assert_eq!(packets, letters);
    assert!(
        matches!(end, Err(CollectFailure::Stream(StreamError::Broken(_)))),
        "{end:?}"
    );
}

#[tokio::test]
async fn connection_that_falls_silent_is_given_up() {
    let (world, network, _home, bob, mailbox, letters) = with_mail().await;
    world
        .node(&mailbox)
        .set(|faults| faults.stream = StreamFault::Silent);
    let mut delivery = network
        .collect(bob.owner(), collection(mailbox, true))
        .await
        .unwrap();
    let (packets, end) = read(&mut delivery).await;
    assert_eq!(packets, letters);
    assert!(
        matches!(end, Err(CollectFailure::Stream(StreamError::Silent))),
        "{end:?}"
    );
}

#[tokio::test]
async fn reordered_items_are_refused_before_the_first_is_given() {
    let (world, network, _home, bob, mailbox, _) = with_mail().await;
    world
        .node(&mailbox)
        .set(|faults| faults.stream = StreamFault::Reordered);
    let mut delivery = network
        .collect(bob.owner(), collection(mailbox, false))
        .await
        .unwrap();
    let (packets, end) = read(&mut delivery).await;
    assert!(
        packets.is_empty() && matches!(end, Err(CollectFailure::Forged)),
        "{end:?}"
    );
}

#[tokio::test]
async fn repeated_event_is_refused() {
    let (world, network, _home, bob, mailbox, letters) = with_mail().await;
    world
        .node(&mailbox)
        .set(|faults| faults.stream = StreamFault::Repeated);
    let mut delivery = network
        .collect(bob.owner(), collection(mailbox, false))
        .await
        .unwrap();
    let (packets, end) = read(&mut delivery).await;
    assert_eq!(packets, letters[..1]);
    assert!(
        matches!(end, Err(CollectFailure::Stream(StreamError::Forged))),
        "{end:?}"
    );
}

#[tokio::test]
async fn several_deliveries_and_submissions_run_at_once() {
    let (world, network, _home, bob, mailbox, letters) = with_mail().await;
    world
        .node(&mailbox)
        .set(|faults| faults.stream = StreamFault::Silent);
    let mut first = network
        .collect(bob.owner(), collection(mailbox, true))
        .await
        .unwrap();
    let mut second = network
        .collect(bob.owner(), collection(mailbox, true))
        .await
        .unwrap();
    for _ in &letters {
        assert!(first.next().await.unwrap().is_some());
        assert!(second.next().await.unwrap().is_some());
    }
    let letter = bob.letter("meanwhile");
    let options = crate::submit::SubmitOptions::default();
    network
        .submit(
            &letter,
            &[mailbox],
            crate::carrier::Privacy::Relayed,
            options,
        )
        .await
        .unwrap();
}
