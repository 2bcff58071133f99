//! What nodes on the way may claim, and what of it is believed.

use protocol::answer::{Answer, NodeTime, Refusal};

use super::*;

#[tokio::test]
async fn time_that_the_node_did_not_sign_is_not_believed() {
    let (world, network, _home, bob, mailbox) = with_mailbox(5).await;
    for node in world.nodes.iter().filter(|node| node.id != mailbox) {
        let forger = Person::new(&[]);
        let time = NodeTime::sign(node.id, 1, &[0; 16], |message| {
            forger.keys.sign_raw(message)
        });
        node.set(|faults| faults.relays_nothing_but = Some(Answer::Refused(Refusal::Stale(time))));
    }
    let failed = send(&network, &bob.letter("hello"), &[mailbox]).await;
    assert!(
        matches!(
            &failed,
            Err(SubmitFailure::NotDelivered(CarryError::Refused(refusal)))
                if matches!(**refusal, Refusal::Stale(_))
        ),
        "{failed:?}"
    );
    for node in &world.nodes {
        node.set(|faults| faults.relays_nothing_but = None);
    }
    world.take_visits();
    send(&network, &bob.letter("hello"), &[mailbox])
        .await
        .unwrap();
    assert_eq!(
        world.take_visits().len(),
        3,
        "the first path works: no clock was moved"
    );
}

#[tokio::test]
async fn forged_acknowledgement_is_refused() {
    let (world, network, _home, bob, mailbox) = with_mailbox(5).await;
    world
        .node(&mailbox)
        .set(|faults| faults.forges_acknowledgements = true);
    let refused = send(&network, &bob.letter("hello"), &[mailbox]).await;
    assert!(
        matches!(
            refused,
            Err(SubmitFailure::NotDelivered(CarryError::Forged))
        ),
        "{refused:?}"
    );
}

#[tokio::test]
async fn relay_that_acknowledges_in_the_mailboxs_place_is_not_believed() {
    let (world, network, _home, bob, mailbox) = with_mailbox(6).await;
    let letter = bob.letter("hello");
    let liars: Vec<_> = world
        .nodes
        .iter()
        .filter(|node| node.id != mailbox)
        .take(3)
        .collect();
    for liar in &liars {
        let forged = Acknowledgement::sign(mailbox, letter.hash(), 1, |message| {
            liar.keys.sign_raw(message)
        });
        liar.set(|faults| faults.relays_nothing_but = Some(Answer::Acknowledged(forged)));
    }
    // Some relay is honest: the packet arrives in the end.
    send(&network, &letter, &[mailbox]).await.unwrap();
    assert_eq!(world.node(&mailbox).stored(&bob), [letter]);
}

#[tokio::test]
async fn refusal_of_one_lying_relay_is_not_believed() {
    let (world, network, _home, bob, mailbox) = with_mailbox(5).await;
    let liar = world.nodes.iter().find(|node| node.id != mailbox).unwrap();
    for refusal in [
        Refusal::UnknownKey,
        Refusal::QueueFull { quota_bytes: 1 },
        Refusal::Malformed,
    ] {
        liar.set(|faults| faults.relays_nothing_but = Some(Answer::Refused(refusal)));
        for _ in 0..6 {
            send(&network, &bob.letter("hello"), &[mailbox])
                .await
                .unwrap();
        }
    }
}

#[tokio::test]
async fn superseded_key_brings_the_new_certificate() {
    let (world, network, _home, mut bob, mailbox) = with_mailbox(5).await;
    let first = bob.letter("to the old key");
    send(&network, &first, &[mailbox]).await.unwrap();
    let second = bob.letter("also to the old key");
    bob.rotate();
    let queue = world.node(&mailbox).stored(&bob);
    world.node(&mailbox).admit(&bob);
    world
        .node(&mailbox)
        .accounts
        .lock()
        .get_mut(&bob.wallet.address())
        .unwrap()
        .queue = queue;

    let refused = send(&network, &second, &[mailbox]).await;
    let Err(SubmitFailure::Superseded(record)) = refused else {
        panic!("{refused:?}")
    };
    let target = crate::carrier::Target {
        wallet: bob.wallet.address(),
        fingerprint: None,
        mailboxes: vec![mailbox],
    };
    let resolved = network.accept(&target, *record).await.unwrap();
    assert_eq!(
        (resolved.binding.sequence, &resolved.certificate),
        (2, bob.keys.certificate())
    );
    send(&network, &bob.letter("to the new key"), &[mailbox])
        .await
        .unwrap();
}

#[tokio::test]
async fn superseded_record_that_still_has_the_key_or_is_unsigned_is_not_believed() {
    let (world, network, _home, bob, mailbox) = with_mailbox(5).await;
    let mallory = Person::new(&[]);
    let own = Record {
        certificate: bob.keys.certificate().to_bytes().into(),
        binding: bob.binding.clone(),
    };
    let mut mixed = own.clone();
    mixed.binding = mallory.binding.clone();
    for record in [own, mixed] {
        let liar = world.nodes.iter().find(|node| node.id != mailbox).unwrap();
        liar.set(|faults| {
            faults.relays_nothing_but = Some(Answer::Refused(Refusal::Superseded(record)))
        });
        for _ in 0..6 {
            send(&network, &bob.letter("hello"), &[mailbox])
                .await
                .unwrap();
        }
    }
}

#[tokio::test]
async fn session_that_the_entry_lost_is_made_anew_without_the_caller_noticing() {
    let (world, network, _home, bob, mailbox) = with_mailbox(5).await;
    for _ in 0..10 {
        send(&network, &bob.letter("hello"), &[mailbox])
            .await
            .unwrap();
    }
    let before: usize = world.nodes.iter().map(|node| node.handshakes()).sum();
    assert!(before <= 3, "one session for each entry, not {before}");
    for node in &world.nodes {
        node.forget_sessions();
    }
    for _ in 0..20 {
        send(&network, &bob.letter("hello"), &[mailbox])
            .await
            .unwrap();
    }
    let after: usize = world.nodes.iter().map(|node| node.handshakes()).sum();
    assert!(
        (before + 1..=before + 3).contains(&after),
        "{before} then {after}"
    );
}
