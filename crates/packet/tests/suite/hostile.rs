//! Bytes that nobody meant well: cut, changed, random, outside and inside the encryption.

use packet::{OpenError, open, open_layer, peek};
use proptest::{collection::vec, prelude::*, sample::Index};
use wallet::CertificateKind;

use crate::people::{KINDS, Person, Signing, cases, draft, literal, strip, wrap};

#[test]
fn packet_cut_anywhere_is_refused() {
    for kind in KINDS {
        let bob = Person::new(2, kind);
        let packet = Person::new(1, kind).seal(&draft("hello"), bob.certificate());
        for length in 0..packet.len() {
            let cut = open(&packet.as_bytes()[..length], &bob.secret);
            assert!(cut.is_err(), "cut at {length}");
        }
    }
}

#[test]
fn packet_with_any_byte_changed_is_refused() {
    for kind in [CertificateKind::V6, CertificateKind::V6Classic] {
        let bob = Person::new(2, kind);
        let packet = Person::new(1, kind).seal(&draft("hello"), bob.certificate());
        for at in 0..packet.len() {
            for bit in [1, 0x80] {
                let mut changed = packet.as_bytes().to_vec();
                changed[at] ^= bit;
                assert!(open(&changed, &bob.secret).is_err(), "changed at {at}");
            }
        }
    }
}

#[test]
fn packet_of_version_4_with_a_byte_of_its_container_changed_is_refused() {
    // ECDH of version 4 leaves some bits of the session key packet open, the container none.
    let bob = Person::new(2, CertificateKind::V4);
    let packet = Person::new(1, CertificateKind::V4).seal(&draft("hello"), bob.certificate());
    for at in 0..packet.len() {
        let mut changed = packet.as_bytes().to_vec();
        changed[at] ^= 1;
        let opened = open(&changed, &bob.secret);
        assert!(opened.is_err() || at < 100, "changed at {at}");
    }
}

#[test]
fn packet_followed_or_preceded_by_another_is_refused() {
    let bob = Person::new(2, CertificateKind::V6);
    let packet = Person::new(1, CertificateKind::V6).seal(&draft("hello"), bob.certificate());
    let padding = [0xd5, 1, 0];
    for bytes in [
        [packet.as_bytes(), &padding].concat(),
        [packet.as_bytes(), packet.as_bytes()].concat(),
        [&literal(b"x"), packet.as_bytes()].concat(),
    ] {
        assert!(matches!(
            open(&bytes, &bob.secret),
            Err(OpenError::UnexpectedPacket(_))
        ));
    }
}

#[test]
fn container_of_another_kind_is_unsupported() {
    let bob = Person::new(2, CertificateKind::V6);
    let packet = Person::new(1, CertificateKind::V6).seal(&draft("hello"), bob.certificate());
    let session = 6 + 1_197;
    let at_container = &packet.as_bytes()[session..];
    assert_eq!(at_container[0], 0xd2);
    // Version, cipher, mode, chunk size; then the two older kinds of container.
    for (at, to) in [(6, 3), (7, 3), (8, 9), (9, 17), (0, 0xc9), (0, 0xd4)] {
        let mut changed = packet.as_bytes().to_vec();
        changed[session + at] = to;
        let refused = open(&changed, &bob.secret);
        assert!(matches!(refused, Err(OpenError::UnsupportedContainer)));
    }
}

#[test]
fn armored_message_beyond_the_limit_is_too_large() {
    let bob = Person::new(2, CertificateKind::V6);
    let base64 = "wcFM".repeat(1_048_576 / 3 + 10);
    let armored = format!("-----BEGIN PGP MESSAGE-----\n\n{base64}\n-----END PGP MESSAGE-----\n");
    let refused = open(armored.as_bytes(), &bob.secret);
    assert!(matches!(refused, Err(OpenError::TooLarge)));
    let refused = open(&vec![0xc1; 1_048_577], &bob.secret);
    assert!(matches!(refused, Err(OpenError::TooLarge)));
}

#[derive(Debug, Clone)]
enum Change {
    Set(Index, u8),
    Insert(Index, Vec<u8>),
    Remove(Index, usize),
    Repeat(Index, usize),
}

fn changes() -> impl Strategy<Value = Vec<Change>> {
    let change = prop_oneof![
        4 => (any::<Index>(), any::<u8>()).prop_map(|(at, to)| Change::Set(at, to)),
        1 => (any::<Index>(), vec(any::<u8>(), 1..20)).prop_map(|(at, new)| Change::Insert(at, new)),
        1 => (any::<Index>(), 1usize..60).prop_map(|(at, count)| Change::Remove(at, count)),
        1 => (any::<Index>(), 1usize..200).prop_map(|(at, count)| Change::Repeat(at, count)),
    ];
    vec(change, 1..6)
}

fn apply(bytes: &[u8], changes: &[Change]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for change in changes {
        if bytes.is_empty() {
            break;
        }
        match change {
            Change::Set(at, to) => {
                let at = at.index(bytes.len());
                bytes[at] = *to;
            }
            Change::Insert(at, new) => {
                let at = at.index(bytes.len());
                bytes.splice(at..at, new.iter().copied());
            }
            Change::Remove(at, count) => {
                let at = at.index(bytes.len());
                let end = (at + count).min(bytes.len());
                bytes.drain(at..end);
            }
            Change::Repeat(at, count) => {
                let at = at.index(bytes.len());
                let end = (at + count).min(bytes.len());
                let part = bytes[at..end].to_vec();
                bytes.splice(at..at, part);
            }
        }
    }
    bytes
}

proptest! {
    #![proptest_config(cases(400))]

    #[test]
    fn random_bytes_never_open(bytes in vec(any::<u8>(), 0..3_000), kind in 0usize..3) {
        let bob = Person::new(2, KINDS[kind]);
        prop_assert!(open(&bytes, &bob.secret).is_err());
    }

    #[test]
    fn changed_packet_never_panics(changes in changes(), kind in 0usize..3) {
        let bob = Person::new(2, KINDS[kind]);
        let packet = Person::new(1, KINDS[kind]).seal(&draft("hello"), bob.certificate());
        let changed = apply(packet.as_bytes(), &changes);
        let _ = peek(&changed);
        let _ = open(&changed, &bob.secret);
        let _ = open_layer(&changed, &bob.secret);
    }

    #[test]
    fn changed_head_of_a_packet_never_panics(changes in changes(), kind in 0usize..3) {
        let bob = Person::new(2, KINDS[kind]);
        let packet = Person::new(1, KINDS[kind]).seal(&draft("hello"), bob.certificate());
        let (head, tail) = packet.as_bytes().split_at(150);
        let changed = [&apply(head, &changes), tail].concat();
        let _ = peek(&changed);
        let _ = open(&changed, &bob.secret);
        let _ = open_layer(&changed, &bob.secret);
    }

    #[test]
    fn changed_cleartext_is_refused_or_shown_without_wallet(changes in changes(), kind in 0usize..3) {
        let bob = Person::new(2, KINDS[kind]);
        let alice = Person::new(1, KINDS[kind]);
        let packet = alice.seal(&draft("hello"), bob.certificate());
        let cleartext = strip(packet.as_bytes(), &bob.secret);
        // The last part is padding, which may hold anything.
        let content = &cleartext[..cleartext.len().min(900)];
        let changed = apply(content, &changes);
        let opened = open(&wrap(&changed, bob.certificate()), &bob.secret);
        if let Ok(opened) = opened
            && let Some(envelope) = opened.envelope
            && opened.verified != packet::Verified::Unsigned
        {
            prop_assert_eq!(envelope.body, "hello");
        }
    }

    #[test]
    fn changed_signature_never_panics(changes in changes(), kind in 0usize..3) {
        let bob = Person::new(2, KINDS[kind]);
        let alice = Person::new(1, KINDS[kind]);
        let signing = Signing::honest(&alice.secret, bob.certificate());
        let (announcement, signature) = signing.packets(b"hello");
        let changed = [apply(&announcement, &changes), literal(b"hello"), signature.clone()];
        let also = [announcement, literal(b"hello"), apply(&signature, &changes)];
        for cleartext in [changed, also] {
            let packet = wrap(&cleartext.concat(), bob.certificate());
            let _ = packet::open_with(&packet, &bob.secret, |_| Some(alice.certificate().clone()));
        }
    }

    #[test]
    fn random_cleartext_never_panics(
        packets in vec((prop_oneof![Just(2u8), Just(4), Just(8), Just(11), Just(21), 0u8..64], vec(any::<u8>(), 0..120)), 0..6),
    ) {
        let bob = Person::new(2, CertificateKind::V6Classic);
        let cleartext: Vec<u8> = packets
            .into_iter()
            .flat_map(|(tag, body)| [vec![0xc0 | tag, body.len() as u8], body].concat())
            .collect();
        let _ = open(&wrap(&cleartext, bob.certificate()), &bob.secret);
    }
}
