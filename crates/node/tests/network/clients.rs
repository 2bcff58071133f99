//! What clients get from a network of nodes.

use client::carrier::{Collection, OwnerKeys, Privacy};
use client::submit::{SubmitFailure, SubmitOptions};
use packet::{Draft, MessageId, Packet, Sender, SessionId, Verified};
use protocol::answer::Item;
use rand::rngs::OsRng;

use crate::world::{Person, World};

const DEVICE: [u8; 16] = [1; 16];

impl Person {
    pub(crate) fn owner(&self) -> OwnerKeys<'_> {
        OwnerKeys {
            certificate: &self.certificate,
            binding: &self.binding,
        }
    }

    pub(crate) fn seal(&self, to: &Person, text: &str) -> Packet {
        let draft = Draft {
            message_id: MessageId::random(&mut OsRng),
            time_ms: crate::world::now_s() * 1000,
            content_type: "text/plain".into(),
            session: SessionId::from_bytes([1; 8]),
            sequence: 0,
            reply: None,
            body: text.as_bytes().to_vec().into(),
        };
        let sender = Sender {
            wallet: &self.key,
            certificate: &self.certificate,
            binding: &self.binding,
        };
        packet::seal(
            &draft,
            Some(&sender),
            to.certificate.certificate(),
            &mut OsRng,
        )
        .unwrap()
    }

    /// Collects everything kept at a mailbox and acknowledges it.
    pub(crate) async fn collect(&self, mailbox: wallet::WalletAddress) -> Vec<(u64, String)> {
        let collection = Collection {
            mailbox,
            device: DEVICE,
            after: None,
            window_bytes: 1 << 20,
            stay: false,
        };
        let open = || self.network.collect(self.owner(), collection);
        let mut delivery = patiently(open).await.unwrap();
        let mut texts = Vec::new();
        while let Some(item) = delivery.next().await.unwrap() {
            match item {
                Item::Packet { cursor, packet, .. } => {
                    let opened = packet::open(&packet, &self.certificate).unwrap();
                    assert!(matches!(opened.verified, Verified::Wallet { .. }));
                    texts.push((
                        cursor,
                        String::from_utf8(opened.envelope.unwrap().body.to_vec()).unwrap(),
                    ));
                    let acknowledge = || {
                        self.network
                            .acknowledge(self.owner(), mailbox, DEVICE, cursor)
                    };
                    patiently(acknowledge).await.unwrap();
                }
                Item::CaughtUp { .. } => break,
                _ => {}
            }
        }
        texts
    }
}

/// Tries again for half a minute, as a client does: a relay that lost its link waits before it dials again.
async fn patiently<T, E, F: Future<Output = Result<T, E>>>(
    mut attempt: impl FnMut() -> F,
) -> Result<T, E> {
    for _ in 0..60 {
        if let Ok(done) = attempt().await {
            return Ok(done);
        }
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    }
    attempt().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn packet_to_an_unlisted_mailbox_arrives_relayed_direct_and_by_flood_only_if_paid() {
    let world = World::new(4).await;
    let mailbox = world.nodes[3].address;
    let alice = world.person(1, &[]).await;
    let bob = world.person(2, &[mailbox]).await;
    bob.network
        .open_mailbox(bob.owner(), mailbox)
        .await
        .unwrap();

    let options = SubmitOptions::default();
    for (privacy, text) in [(Privacy::Relayed, "relayed"), (Privacy::Direct, "direct")] {
        let packet = alice.seal(&bob, text);
        let stored = alice
            .network
            .submit(&packet, &[mailbox], privacy, options)
            .await
            .unwrap();
        assert_eq!(stored.node, mailbox);
        let again = alice
            .network
            .submit(&packet, &[mailbox], privacy, options)
            .await
            .unwrap();
        assert_eq!(again, stored, "a repeated packet gets its first outcome");
    }
    for (privacy, text) in [
        (Privacy::Direct, "flooded"),
        (Privacy::Relayed, "flooded by a relay"),
    ] {
        let packet = alice.seal(&bob, text);
        let stored = alice
            .network
            .broadcast(&packet, privacy, options)
            .await
            .unwrap();
        assert_eq!(stored.node, mailbox, "only the mailbox can have stored it");
    }
    let nobody = world.person(3, &[]).await;
    let lost = alice
        .network
        .broadcast(&alice.seal(&nobody, "x"), Privacy::Direct, options)
        .await;
    assert!(matches!(lost, Err(SubmitFailure::UnknownKey)), "{lost:?}");
    let unpaid =
        crate::strangers::post_plain(world.nodes[0].socket, alice.seal(&bob, "unpaid").as_bytes())
            .await;
    assert!(unpaid.starts_with("HTTP/1.1 402"), "{unpaid}");

    let texts: Vec<String> = bob
        .collect(mailbox)
        .await
        .into_iter()
        .map(|(_, t)| t)
        .collect();
    assert_eq!(
        texts,
        ["relayed", "direct", "flooded", "flooded by a relay"]
    );
    assert_eq!(
        bob.collect(mailbox).await,
        [],
        "what was acknowledged is not delivered again"
    );
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stopped_mailbox_is_unreachable_and_its_links_heal_when_it_is_back() {
    let mut world = World::new(4).await;
    let mailbox = world.nodes[3].address;
    let alice = world.person(4, &[]).await;
    let bob = world.person(5, &[mailbox]).await;
    bob.network
        .open_mailbox(bob.owner(), mailbox)
        .await
        .unwrap();
    let options = SubmitOptions::default();
    alice
        .network
        .submit(
            &alice.seal(&bob, "before"),
            &[mailbox],
            Privacy::Relayed,
            options,
        )
        .await
        .unwrap();

    world.stop_node(3).await;
    let packet = alice.seal(&bob, "while it was away");
    let refused = alice
        .network
        .submit(&packet, &[mailbox], Privacy::Relayed, options)
        .await;
    assert!(
        refused.as_ref().is_err_and(SubmitFailure::is_transient),
        "{refused:?}"
    );

    world.start_node(3);
    let mut stored = None;
    for _ in 0..60 {
        if let Ok(s) = alice
            .network
            .submit(&packet, &[mailbox], Privacy::Relayed, options)
            .await
        {
            stored = Some(s);
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    }
    assert!(stored.is_some(), "the links did not heal");
    let texts: Vec<String> = bob
        .collect(mailbox)
        .await
        .into_iter()
        .map(|(_, t)| t)
        .collect();
    assert_eq!(texts, ["before", "while it was away"]);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_wallets_mail_can_not_be_collected_or_claimed() {
    let world = World::new(4).await;
    let mailbox = world.nodes[3].address;
    let bob = world.person(6, &[mailbox]).await;
    bob.network
        .open_mailbox(bob.owner(), mailbox)
        .await
        .unwrap();
    let mallory = world.person(7, &[mailbox]).await;
    // No account at all.
    assert!(
        mallory
            .network
            .acknowledge(mallory.owner(), mailbox, DEVICE, 1)
            .await
            .is_err()
    );
    // Bob's certificate under mallory's signature.
    let stolen = OwnerKeys {
        certificate: &mallory.certificate,
        binding: &bob.binding,
    };
    assert!(mallory.network.open_mailbox(stolen, mailbox).await.is_err());
    // A binding that names another mailbox.
    let elsewhere = world.person(8, &[world.nodes[0].address]).await;
    assert!(
        elsewhere
            .network
            .open_mailbox(elsewhere.owner(), mailbox)
            .await
            .is_err()
    );
    world.stop().await;
}
