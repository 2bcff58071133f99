use protocol::answer::{Answer, Refusal};

use super::*;
use crate::test_network::{Person, World};

fn at(person: &Person, mailboxes: &[NodeId]) -> Target {
    Target {
        wallet: person.wallet.address(),
        fingerprint: None,
        mailboxes: mailboxes.to_vec(),
    }
}

async fn with_mailbox() -> (Arc<World>, Network, tempfile::TempDir, Person, NodeId) {
    let world = World::start(5).await;
    let (network, home) = world.client();
    let [mailbox] = network.propose_mailboxes(1)[..] else {
        panic!("a mailbox")
    };
    let bob = Person::new(&[mailbox]);
    world.node(&mailbox).admit(&bob);
    (world, network, home, bob, mailbox)
}

#[tokio::test]
async fn listed_wallet_is_found_by_its_address_alone() {
    let (world, network, _home, bob, mailbox) = with_mailbox().await;
    world.ledger.set_route(&bob, &[mailbox]);
    let found = network
        .look_up(&Target::wallet(bob.wallet.address()))
        .await
        .unwrap();
    assert_eq!(&found.certificate, bob.keys.certificate());
    assert_eq!(
        (found.binding, found.mailboxes),
        (bob.binding, vec![mailbox])
    );
    let visits = world.take_visits();
    assert_eq!(visits.len(), 3, "asked through entry and relay: {visits:?}");
}

#[tokio::test]
async fn wallet_that_nobody_lists_says_what_to_ask_its_owner_for() {
    let (_world, network, _home, bob, _) = with_mailbox().await;
    let refused = network
        .look_up(&Target::wallet(bob.wallet.address()))
        .await
        .unwrap_err();
    assert!(matches!(refused, LookUpFailure::NoRoute(wallet) if wallet == bob.wallet.address()));
    assert!(refused.to_string().contains("conet wallet share"));
}

#[tokio::test]
async fn certificate_is_asked_for_once_an_hour() {
    let (world, network, _home, bob, mailbox) = with_mailbox().await;
    network.look_up(&at(&bob, &[mailbox])).await.unwrap();
    world.take_visits();
    network.look_up(&at(&bob, &[mailbox])).await.unwrap();
    assert!(world.take_visits().is_empty());
    network.forget_certificate(&bob.wallet.address());
    network.look_up(&at(&bob, &[mailbox])).await.unwrap();
    assert!(!world.take_visits().is_empty());
}

#[tokio::test]
async fn certificate_of_another_fingerprint_than_the_contacts_is_refused() {
    let (_world, network, _home, bob, mailbox) = with_mailbox().await;
    let other = Person::new(&[]).fingerprint();
    let target = Target {
        fingerprint: Some(other),
        ..at(&bob, &[mailbox])
    };
    let refused = network.look_up(&target).await.unwrap_err();
    let LookUpFailure::OtherFingerprint {
        expected,
        source_name: "the contact",
        ..
    } = refused
    else {
        panic!("{refused:?}")
    };
    assert_eq!(expected, other);
    // Nor is it taken from what was looked up without a contact.
    network.look_up(&at(&bob, &[mailbox])).await.unwrap();
    assert!(network.look_up(&target).await.is_err());
}

#[tokio::test]
async fn certificate_of_another_fingerprint_than_the_ledgers_is_refused() {
    let (world, network, _home, bob, mailbox) = with_mailbox().await;
    let mallory = Person::new(&[]);
    world.ledger.set_route(&bob, &[mailbox]);
    world.ledger.set_fingerprint(&bob, mallory.fingerprint());
    let refused = network.look_up(&at(&bob, &[])).await.unwrap_err();
    assert!(
        matches!(
            refused,
            LookUpFailure::OtherFingerprint {
                source_name: "the ledger",
                ..
            }
        ),
        "{refused:?}"
    );
}

#[tokio::test]
async fn certificate_of_another_wallet_or_with_other_subkeys_is_refused() {
    let (world, network, _home, bob, mailbox) = with_mailbox().await;
    let mallory = Person::new(&[]);
    let swap = |change: &dyn Fn(&mut crate::test_network::Account)| {
        change(
            world
                .node(&mailbox)
                .accounts
                .lock()
                .get_mut(&bob.wallet.address())
                .unwrap(),
        );
    };
    swap(&|account| {
        account.certificate = mallory.keys.certificate().clone();
        account.binding = mallory.binding.clone();
    });
    let refused = network.look_up(&at(&bob, &[mailbox])).await.unwrap_err();
    assert!(
        matches!(refused, LookUpFailure::OtherWallet(_)),
        "{refused:?}"
    );
    swap(&|account| account.binding = bob.binding.clone());
    let refused = network.look_up(&at(&bob, &[mailbox])).await.unwrap_err();
    assert!(
        matches!(
            refused,
            LookUpFailure::Binding(BindingError::WrongCertificate { .. })
        ),
        "{refused:?}"
    );
    swap(&|account| {
        account.certificate = bob.keys.certificate().clone();
        account.binding.sequence += 1;
    });
    let refused = network.look_up(&at(&bob, &[mailbox])).await.unwrap_err();
    assert!(matches!(refused, LookUpFailure::Binding(_)), "{refused:?}");
}

#[tokio::test]
async fn older_certificate_than_seen_before_is_refused_also_after_a_restart() {
    let (world, network, home, mut bob, mailbox) = with_mailbox().await;
    let old = (bob.keys.certificate().clone(), bob.binding.clone());
    bob.rotate();
    world.node(&mailbox).admit(&bob);
    network.look_up(&at(&bob, &[mailbox])).await.unwrap();
    drop(network);

    {
        let mut accounts = world.node(&mailbox).accounts.lock();
        let account = accounts.get_mut(&bob.wallet.address()).unwrap();
        (account.certificate, account.binding) = old;
    }
    let network = world.client_at(&home);
    let refused = network.look_up(&at(&bob, &[mailbox])).await.unwrap_err();
    assert!(
        matches!(refused, LookUpFailure::Outdated { found: 1, seen: 2 }),
        "{refused:?}"
    );
}

#[tokio::test]
async fn forged_record_does_not_raise_the_sequence_seen() {
    let (world, network, _home, bob, mailbox) = with_mailbox().await;
    let forged = {
        let mut binding = bob.binding.clone();
        binding.sequence = u64::MAX;
        Record {
            certificate: bob.keys.certificate().to_bytes().into(),
            binding,
        }
    };
    assert!(network.accept(&at(&bob, &[mailbox]), forged).await.is_err());
    network.look_up(&at(&bob, &[mailbox])).await.unwrap();
    drop(world);
}

#[tokio::test]
async fn mailbox_that_lost_the_account_is_made_up_for_by_another() {
    let (world, network, _home, bob, mailbox) = with_mailbox().await;
    let empty = world.ids().into_iter().find(|id| *id != mailbox).unwrap();
    for _ in 0..6 {
        network.forget_certificate(&bob.wallet.address());
        network.look_up(&at(&bob, &[empty, mailbox])).await.unwrap();
    }
    let refused = network
        .look_up(&at(&Person::new(&[]), &[empty, mailbox]))
        .await
        .unwrap_err();
    assert!(matches!(refused, LookUpFailure::NotFound(_)), "{refused:?}");
}

#[tokio::test]
async fn record_that_a_relay_made_up_is_not_taken_for_the_mailboxs() {
    let (world, network, _home, bob, mailbox) = with_mailbox().await;
    let liars: Vec<_> = world
        .nodes
        .iter()
        .filter(|node| node.id != mailbox)
        .take(2)
        .collect();
    let mallory = Person::new(&[]);
    let record = Record {
        certificate: mallory.keys.certificate().to_bytes().into(),
        binding: mallory.binding.clone(),
    };
    for answer in [
        Answer::Record(record),
        Answer::Refused(Refusal::NotFound),
        Answer::Done,
    ] {
        for liar in &liars {
            liar.set(|faults| faults.relays_nothing_but = Some(answer.clone()));
        }
        network.forget_certificate(&bob.wallet.address());
        let found = network.look_up(&at(&bob, &[mailbox])).await;
        // Two liars that agree may keep the answer back; they never put another in its place.
        match found {
            Ok(found) => assert_eq!(&found.certificate, bob.keys.certificate()),
            Err(error) => assert!(matches!(error, LookUpFailure::NotFound(_)), "{error:?}"),
        }
    }
}
