//! Sealing: exact lengths, every kind of certificate, and who is shown as the sender.

use std::io::Read;

use packet::{
    Chunk, ContentType, Draft, OpenError, ReplyRoute, SealError, SizeClass, TransferId, Verified,
    max_body, seal, seal_bytes_to,
};
use pgp::{
    composed::{Message, VerificationResult},
    packet::{Packet as PgpPacket, PacketParser},
    types::Password,
};
use proptest::prelude::*;
use wallet::{CertificateKind, WalletKey};

use crate::people::{KINDS, NOW_S, Person, cases, draft, envelope_of, rng, strip};

fn wallet_of(person: &Person) -> Verified {
    Verified::Wallet {
        wallet: person.wallet.address(),
        binding: person.binding.clone(),
    }
}

#[test]
fn sealed_message_between_all_kinds_is_verified_by_wallet() {
    for sender_kind in KINDS {
        for recipient_kind in KINDS {
            let alice = Person::new(1, sender_kind);
            let bob = Person::new(2, recipient_kind);
            let mut draft = draft("hello");
            draft.reply = Some(ReplyRoute {
                fingerprint: alice.certificate().fingerprint(),
                mailboxes: alice.binding.mailboxes.clone(),
            });
            let packet = alice.seal(&draft, bob.certificate());
            assert_eq!(packet.len(), SizeClass::K4.packet_bytes());

            let opened = bob.open(&packet);
            assert_eq!(opened.verified, wallet_of(&alice));
            assert_eq!(opened.issuer, Some(alice.certificate().fingerprint()));
            let envelope = opened.envelope.unwrap();
            assert_eq!(envelope.message_id, draft.message_id);
            assert_eq!(envelope.time_ms, draft.time_ms);
            assert_eq!(envelope.content_type, draft.content_type);
            assert_eq!(envelope.session, draft.session);
            assert_eq!(envelope.sequence, draft.sequence);
            assert_eq!(envelope.reply, draft.reply);
            assert_eq!(envelope.body, draft.body);
        }
    }
}

#[test]
fn sealed_message_without_sender_is_unsigned() {
    for kind in KINDS {
        let bob = Person::new(2, kind);
        let packet = seal(&draft("hello"), None, bob.certificate(), &mut rng(0)).unwrap();
        let opened = bob.open(&packet);
        assert_eq!(opened.verified, Verified::Unsigned);
        assert_eq!(opened.issuer, None);
        assert_eq!(opened.envelope.unwrap().sender, None);
    }
}

#[test]
fn sealed_message_goes_to_the_post_quantum_subkey_where_there_is_one() {
    for (kind, subkey) in KINDS.into_iter().zip([1, 0, 0]) {
        let bob = Person::new(2, kind);
        let packet = seal(&draft("hello"), None, bob.certificate(), &mut rng(0)).unwrap();
        assert_eq!(packet.key_id(), bob.certificate().subkeys()[subkey].key_id);
    }
}

#[test]
fn sealed_message_of_every_small_length_has_its_class_length() {
    for kind in KINDS {
        let alice = Person::new(1, kind);
        let bob = Person::new(2, kind);
        let mut last = SizeClass::K4;
        // Ends well inside the second class, so that the edge lies within.
        for length in 0..2_600 {
            let draft = draft(vec![b'x'; length]);
            let packet = alice.seal(&draft, bob.certificate());
            let class = packet.size_class();
            assert_eq!(packet.len(), class.packet_bytes(), "body of {length}");
            assert!(class >= last, "class falls at {length}");
            last = class;
            if length % 97 == 0 {
                assert_eq!(envelope_of(&packet, &bob).body, draft.body);
            }
        }
        assert_eq!(last, SizeClass::K16);
    }
}

#[test]
fn sealed_message_around_every_class_edge_has_its_class_length() {
    let bob = Person::new(2, CertificateKind::V6);
    for class in SizeClass::ALL {
        let edge = max_body(bob.certificate(), false, class);
        for length in (edge..edge + 1_200).step_by(41) {
            let draft = draft(vec![b'x'; length]);
            match seal(&draft, None, bob.certificate(), &mut rng(0)) {
                Ok(packet) => assert_eq!(packet.len(), packet.size_class().packet_bytes()),
                Err(SealError::TooLong { needed, length }) => {
                    assert_eq!(class, SizeClass::M1);
                    assert!(needed > length);
                }
                Err(other) => panic!("{other}"),
            }
        }
    }
}

#[test]
fn body_of_max_body_bytes_seals_into_its_class_whatever_the_other_fields_hold() {
    for kind in KINDS {
        let alice = Person::new(1, kind);
        let bob = Person::new(2, kind);
        for class in SizeClass::ALL {
            for sender in [None, Some(alice.sender())] {
                let most = max_body(bob.certificate(), sender.is_some(), class);
                let draft = Draft {
                    time_ms: u64::from(u32::MAX) * 1_000,
                    sequence: u64::MAX,
                    content_type: "x".repeat(64),
                    reply: Some(ReplyRoute {
                        fingerprint: alice.certificate().fingerprint(),
                        mailboxes: alice.binding.mailboxes.clone(),
                    }),
                    ..draft(vec![0; most])
                };
                let packet = seal(&draft, sender.as_ref(), bob.certificate(), &mut rng(0)).unwrap();
                assert!(packet.len() <= class.packet_bytes());
                // The guess is not far off: what it leaves is the room for eight subkeys.
                assert!(most == 0 || most + 3_000 > class.packet_bytes());
            }
        }
        let text = max_body(bob.certificate(), true, SizeClass::K4);
        assert!(
            text >= 150,
            "a text of {text} bytes fits the smallest class"
        );
    }
}

#[test]
fn sealed_message_too_long_for_the_largest_class_is_refused() {
    let bob = Person::new(2, CertificateKind::V6);
    let draft = draft(vec![0; SizeClass::M1.packet_bytes()]);
    let refused = seal(&draft, None, bob.certificate(), &mut rng(0));
    assert!(matches!(refused, Err(SealError::TooLong { .. })));
}

#[test]
fn sealing_refuses_what_the_envelope_can_not_hold() {
    let alice = Person::new(1, CertificateKind::V6);
    let bob = Person::new(2, CertificateKind::V6);
    let refused = |draft: &Draft| {
        seal(draft, Some(&alice.sender()), bob.certificate(), &mut rng(0)).unwrap_err()
    };
    let long = Draft {
        content_type: "x".repeat(65),
        ..draft("")
    };
    assert!(matches!(refused(&long), SealError::ContentTypeTooLong));
    let mailboxes = vec![[0; 20].into(); 4];
    let many = Draft {
        reply: Some(ReplyRoute {
            fingerprint: alice.certificate().fingerprint(),
            mailboxes,
        }),
        ..draft("")
    };
    assert!(matches!(refused(&many), SealError::TooManyMailboxes));
    let late = Draft {
        time_ms: (u64::from(u32::MAX) + 1) * 1_000,
        ..draft("")
    };
    assert!(matches!(refused(&late), SealError::TimeOutOfRange));
}

#[test]
fn sealing_refuses_a_binding_of_somebody_else() {
    let alice = Person::new(1, CertificateKind::V6);
    let mallory = Person::new(3, CertificateKind::V6);
    let mut sender = alice.sender();
    sender.binding = &mallory.binding;
    let refused = seal(
        &draft(""),
        Some(&sender),
        mallory.certificate(),
        &mut rng(0),
    );
    assert!(matches!(refused, Err(SealError::ForeignBinding)));
    let other_wallet = WalletKey::generate(&mut rng(5));
    let mut sender = alice.sender();
    sender.wallet = &other_wallet;
    let refused = seal(
        &draft(""),
        Some(&sender),
        mallory.certificate(),
        &mut rng(0),
    );
    assert!(matches!(refused, Err(SealError::ForeignBinding)));
}

#[test]
fn sealed_message_is_read_and_verified_by_another_implementation() {
    for kind in KINDS {
        let alice = Person::new(1, kind);
        let bob = Person::new(2, kind);
        let packet = alice.seal(&draft("hello"), bob.certificate());

        let message = Message::from_bytes(packet.as_bytes()).unwrap();
        let armored = bob.secret.to_openpgp_armored();
        let (key, _) =
            <pgp::composed::SignedSecretKey as pgp::composed::Deserializable>::from_string(
                &armored,
            )
            .unwrap();
        let mut message = message.decrypt(&Password::empty(), &key).unwrap();
        let mut content = Vec::new();
        message.read_to_end(&mut content).unwrap();
        let results = message
            .verify_nested(&[&alice.certificate().as_openpgp().primary_key])
            .unwrap();
        assert!(matches!(results[..], [VerificationResult::Valid(_)]));
        let envelope = packet::Envelope::decode(&content.into()).unwrap();
        assert_eq!(envelope.body, "hello");
    }
}

#[test]
fn sealed_cleartext_is_announcement_literal_signature_padding() {
    let alice = Person::new(1, CertificateKind::V6);
    let bob = Person::new(2, CertificateKind::V6);
    let packet = alice.seal(&draft("hello"), bob.certificate());
    let cleartext = strip(packet.as_bytes(), &bob.secret);
    let kinds: Vec<PgpPacket> = PacketParser::new(&cleartext[..])
        .collect::<Result<_, _>>()
        .unwrap();
    assert!(matches!(
        kinds[..],
        [
            PgpPacket::OnePassSignature(_),
            PgpPacket::LiteralData(_),
            PgpPacket::Signature(_),
            PgpPacket::Padding(_),
        ]
    ));
}

#[test]
fn superseded_subkey_still_opens_until_it_is_destroyed() {
    for kind in KINDS {
        let alice = Person::new(1, kind);
        let mut bob = Person::new(2, kind);
        let packet = alice.seal(&draft("hello"), bob.certificate());
        bob.secret.rotate(NOW_S + 10, &mut rng(8)).unwrap();
        assert_eq!(envelope_of(&packet, &bob).body, "hello");

        bob.secret.destroy_superseded_before(NOW_S + 11);
        let refused = packet::open(packet.as_bytes(), &bob.secret);
        assert!(matches!(refused, Err(OpenError::NotForMe)));
    }
}

#[test]
fn sealed_message_for_somebody_else_is_not_for_me() {
    for kind in KINDS {
        let alice = Person::new(1, kind);
        let bob = Person::new(2, kind);
        let packet = alice.seal(&draft("hello"), bob.certificate());
        let refused = packet::open(packet.as_bytes(), &alice.secret);
        assert!(matches!(refused, Err(OpenError::NotForMe)));
    }
}

#[test]
fn bytes_sealed_to_a_given_subkey_open_there() {
    for kind in KINDS {
        let bob = Person::new(2, kind);
        for key_id in bob.certificate().key_ids() {
            for exact in [None, Some(2_000)] {
                let packet = seal_bytes_to(
                    bob.certificate(),
                    Some(key_id),
                    &[7; 32],
                    exact,
                    &mut rng(0),
                )
                .unwrap();
                assert_eq!(packet.key_id(), key_id);
                assert!(exact.is_none_or(|exact| packet.len() == exact));
                let opened = bob.open(&packet);
                assert_eq!(opened.body[..], [7; 32]);
                assert_eq!(opened.envelope, None);
                assert_eq!(opened.verified, Verified::Unsigned);
            }
        }
        let unknown = seal_bytes_to(
            bob.certificate(),
            Some([1; 8].into()),
            &[],
            None,
            &mut rng(0),
        );
        assert!(matches!(unknown, Err(SealError::UnknownSubkey(_))));
        let short = seal_bytes_to(bob.certificate(), None, &[], Some(50), &mut rng(0));
        assert!(matches!(short, Err(SealError::TooLong { .. })));
    }
}

#[test]
fn sealed_packets_of_the_same_message_share_no_ciphertext() {
    let bob = Person::new(2, CertificateKind::V6);
    let rng = &mut rng(0);
    let first = seal(&draft("hello"), None, bob.certificate(), rng).unwrap();
    let second = seal(&draft("hello"), None, bob.certificate(), rng).unwrap();
    assert_ne!(first.hash(), second.hash());
    let same = first
        .as_bytes()
        .iter()
        .zip(second.as_bytes())
        .skip(60)
        .filter(|(a, b)| a == b)
        .count();
    // One in 256 by chance, and the headers.
    assert!(same < 60, "{same} bytes are equal");
}

#[test]
fn chunk_of_max_body_bytes_is_the_largest_packet() {
    let alice = Person::new(1, CertificateKind::V6);
    let bob = Person::new(2, CertificateKind::V6);
    let name = "ü".repeat(127);
    let room = max_body(bob.certificate(), true, SizeClass::M1);
    let chunk = Chunk {
        transfer: TransferId::from_bytes([1; 16]),
        index: 6,
        count: u32::MAX,
        total: u64::MAX,
        sha256: [2; 32],
        offset: 1 << 62,
        data: vec![3; room - Chunk::overhead_bytes(name.len())].into(),
        name,
    };
    let draft = Draft {
        content_type: ContentType::CHUNK.to_owned(),
        ..draft(chunk.encode())
    };
    let packet = alice.seal(&draft, bob.certificate());
    assert_eq!(packet.size_class(), SizeClass::M1);
    let body = envelope_of(&packet, &bob).body;
    assert_eq!(Chunk::decode(&body).unwrap(), chunk);
}

proptest! {
    #![proptest_config(cases(48))]

    #[test]
    fn sealed_message_of_any_length_round_trips_at_its_class_length(
        length in prop_oneof![0usize..20_000, 0usize..1_040_000],
        seed: u64,
        signed: bool,
        kind in 0usize..3,
    ) {
        let alice = Person::new(seed, KINDS[kind]);
        let bob = Person::new(seed ^ 1, KINDS[kind]);
        let mut body = vec![0; length];
        rand::RngCore::fill_bytes(&mut rng(seed), &mut body);
        let draft = draft(body);
        let sender = signed.then(|| alice.sender());
        let packet = seal(&draft, sender.as_ref(), bob.certificate(), &mut rng(seed)).unwrap();
        prop_assert_eq!(packet.len(), packet.size_class().packet_bytes());
        let opened = bob.open(&packet);
        let expected = if signed { wallet_of(&alice) } else { Verified::Unsigned };
        prop_assert_eq!(opened.verified, expected);
        prop_assert_eq!(opened.envelope.unwrap().body, draft.body);
    }
}
