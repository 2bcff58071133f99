//! Messages of stock OpenPGP clients: without envelope, compressed, signed by strangers, in parts, armored.

use packet::{MAX_INFLATED_BYTES, MAX_SESSION_KEYS, OpenError, Verified, open, open_with, peek};
use pgp::{
    composed::{ArmorOptions, MessageBuilder},
    crypto::{
        aead::{AeadAlgorithm, ChunkSize},
        hash::HashAlgorithm,
        sym::SymmetricKeyAlgorithm,
    },
    types::{CompressionAlgorithm, Password},
};
use wallet::CertificateKind;

use crate::people::{KINDS, Person, Signing, literal, rng, wrap};

const AES: SymmetricKeyAlgorithm = SymmetricKeyAlgorithm::AES256;

/// A compressed packet in the legacy format without a length, as gpg writes it.
pub(crate) fn compressed(content: &[u8]) -> Vec<u8> {
    use std::io::Write;
    let mut encoder =
        flate2::write::DeflateEncoder::new(vec![0xa3, 1], flate2::Compression::best());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn foreign_text_is_shown_without_envelope() {
    for kind in KINDS {
        let bob = Person::new(2, kind);
        let opened = open(&wrap(&literal(b"hello"), bob.certificate()), &bob.secret).unwrap();
        assert_eq!(opened.envelope, None);
        assert_eq!(opened.body, "hello");
        assert_eq!(opened.name, None);
        assert_eq!(opened.verified, Verified::Unsigned);
        assert_eq!(opened.issuer, None);
    }
}

#[test]
fn foreign_file_keeps_its_name() {
    let bob = Person::new(2, CertificateKind::V6);
    let body = [&[b'b', 9][..], b"notes.txt", &[1, 2, 3, 4], b"hello"].concat();
    let cleartext = [&[0xcb, body.len() as u8][..], &body].concat();
    let opened = open(&wrap(&cleartext, bob.certificate()), &bob.secret).unwrap();
    assert_eq!(opened.name.as_deref(), Some("notes.txt"));
    assert_eq!(opened.body, "hello");
}

#[test]
fn foreign_message_in_parts_and_compressed_opens() {
    let text = "0123456789".repeat(5_000);
    for compression in [
        None,
        Some(CompressionAlgorithm::ZIP),
        Some(CompressionAlgorithm::ZLIB),
    ] {
        for kind in KINDS {
            let alice = Person::new(1, kind);
            let bob = Person::new(2, kind);
            let mut builder = MessageBuilder::from_reader("", text.as_bytes());
            builder.partial_chunk_size(512).unwrap();
            if let Some(compression) = compression {
                builder.compression(compression);
            }
            let key = alice.secret.primary();
            builder.sign(key, Password::empty(), HashAlgorithm::Sha256);
            let bytes = if bob.certificate().supports_seipd_v2() {
                let mut builder =
                    builder.seipd_v2(rng(0), AES, AeadAlgorithm::Eax, ChunkSize::C4KiB);
                builder
                    .encrypt_to_key(rng(1), bob.certificate().end_to_end_subkey())
                    .unwrap();
                builder.to_vec(rng(2)).unwrap()
            } else {
                let mut builder = builder.seipd_v1(rng(0), AES);
                builder
                    .encrypt_to_key(rng(1), bob.certificate().end_to_end_subkey())
                    .unwrap();
                builder.to_vec(rng(2)).unwrap()
            };
            let fingerprint = alice.certificate().fingerprint();
            let unknown = open(&bytes, &bob.secret).unwrap();
            assert_eq!(unknown.body, text);
            assert_eq!(unknown.verified, Verified::Unsigned);
            assert_eq!(unknown.issuer, Some(fingerprint));
            let known = open_with(&bytes, &bob.secret, |_| Some(alice.certificate().clone()));
            assert_eq!(known.unwrap().verified, Verified::OpenPgp { fingerprint });
        }
    }
}

#[test]
fn foreign_signature_that_is_wrong_is_refused_if_the_signer_is_known() {
    let alice = Person::new(1, CertificateKind::V4);
    let bob = Person::new(2, CertificateKind::V6);
    let mut signing = Signing::honest(&alice.secret, bob.certificate());
    for recipient in [None, Some(bob.certificate().fingerprint())] {
        signing.recipient = recipient;
        let packet = wrap(&signing.cleartext(b"pay 500", b"pay 5"), bob.certificate());
        assert_eq!(
            open(&packet, &bob.secret).unwrap().verified,
            Verified::Unsigned
        );
        let refused = open_with(&packet, &bob.secret, |_| Some(alice.certificate().clone()));
        assert!(matches!(refused, Err(OpenError::SignatureWrong(_))));
    }
}

#[test]
fn foreign_signature_made_out_to_another_is_refused() {
    let [alice, bob, carol] = [1, 2, 3].map(|seed| Person::new(seed, CertificateKind::V4));
    let signing = Signing::honest(&alice.secret, carol.certificate());
    let packet = wrap(&signing.cleartext(b"hello", b"hello"), bob.certificate());
    let refused = open(&packet, &bob.secret);
    assert!(matches!(refused, Err(OpenError::OtherRecipient)));
}

#[test]
fn foreign_signature_before_the_literal_is_read() {
    let [alice, bob] = [1, 2].map(|seed| Person::new(seed, CertificateKind::V4));
    let (_, signature) = Signing::honest(&alice.secret, bob.certificate()).packets(b"hello");
    let cleartext = [signature, literal(b"hello")].concat();
    let fingerprint = alice.certificate().fingerprint();
    let opened = open_with(&wrap(&cleartext, bob.certificate()), &bob.secret, |_| {
        Some(alice.certificate().clone())
    });
    assert_eq!(opened.unwrap().verified, Verified::OpenPgp { fingerprint });
}

#[test]
fn foreign_armored_message_opens_and_peeks_alike() {
    for kind in KINDS {
        let bob = Person::new(2, kind);
        let mut builder = MessageBuilder::from_bytes("", "hello").seipd_v1(rng(0), AES);
        builder
            .encrypt_to_key(rng(1), bob.certificate().layer_subkey())
            .unwrap();
        let armored = builder
            .to_armored_string(rng(2), ArmorOptions::default())
            .unwrap();
        let key_id = peek(armored.as_bytes()).unwrap();
        assert_eq!(key_id, bob.certificate().subkeys()[0].key_id);
        assert_eq!(open(armored.as_bytes(), &bob.secret).unwrap().body, "hello");
        let windows = armored.replace('\n', "\r\n");
        assert_eq!(open(windows.as_bytes(), &bob.secret).unwrap().body, "hello");
    }
}

#[test]
fn foreign_message_to_several_people_opens_for_each() {
    let people: Vec<Person> = (1..=4)
        .map(|seed| Person::new(seed, CertificateKind::V6Classic))
        .collect();
    let mut builder = MessageBuilder::from_bytes("", "hello").seipd_v2(
        rng(0),
        AES,
        AeadAlgorithm::Ocb,
        ChunkSize::C4KiB,
    );
    for person in &people {
        builder
            .encrypt_to_key(rng(1), person.certificate().end_to_end_subkey())
            .unwrap();
    }
    let bytes = builder.to_vec(rng(2)).unwrap();
    assert_eq!(
        peek(&bytes).unwrap(),
        people[0].certificate().subkeys()[0].key_id
    );
    for person in &people {
        assert_eq!(open(&bytes, &person.secret).unwrap().body, "hello");
    }
    let stranger = Person::new(9, CertificateKind::V6Classic);
    assert!(matches!(
        open(&bytes, &stranger.secret),
        Err(OpenError::NotForMe)
    ));
}

#[test]
fn foreign_message_with_one_broken_session_key_opens_by_the_other() {
    let bob = Person::new(2, CertificateKind::V6);
    let packet = wrap(&literal(b"hello"), bob.certificate());
    let classic = packet::seal_bytes_to(
        bob.certificate(),
        Some(bob.certificate().subkeys()[0].key_id),
        b"",
        None,
        &mut rng(7),
    )
    .unwrap();
    // The session key of another packet, its last byte changed: to Bob, but broken.
    let mut broken = classic.as_bytes()[..6 + 109].to_vec();
    *broken.last_mut().unwrap() ^= 1;
    let opened = open(&[&broken[..], &packet].concat(), &bob.secret).unwrap();
    assert_eq!(opened.body, "hello");
    let only_broken = [&broken, &classic.as_bytes()[6 + 109..]].concat();
    assert!(matches!(
        open(&only_broken, &bob.secret),
        Err(OpenError::SessionKey(_))
    ));
}

#[test]
fn foreign_message_to_too_many_people_is_refused() {
    let bob = Person::new(2, CertificateKind::V6Classic);
    let mut builder = MessageBuilder::from_bytes("", "hello").seipd_v1(rng(0), AES);
    for _ in 0..=MAX_SESSION_KEYS {
        builder
            .encrypt_to_key(rng(1), bob.certificate().end_to_end_subkey())
            .unwrap();
    }
    let refused = open(&builder.to_vec(rng(2)).unwrap(), &bob.secret);
    assert!(matches!(refused, Err(OpenError::TooManyRecipients)));
}

#[test]
fn foreign_message_to_an_anonymous_recipient_is_not_for_me() {
    let bob = Person::new(2, CertificateKind::V6Classic);
    let mut builder = MessageBuilder::from_bytes("", "hello").seipd_v1(rng(0), AES);
    builder
        .encrypt_to_key_anonymous(rng(1), bob.certificate().end_to_end_subkey())
        .unwrap();
    let bytes = builder.to_vec(rng(2)).unwrap();
    assert!(peek(&bytes).is_err());
    assert!(matches!(
        open(&bytes, &bob.secret),
        Err(OpenError::NotForMe)
    ));
}

#[test]
fn compressed_message_opens_twice_nested_and_no_deeper() {
    let bob = Person::new(2, CertificateKind::V6);
    let mut cleartext = literal(b"hello");
    for depth in 0..=3 {
        let opened = open(&wrap(&cleartext, bob.certificate()), &bob.secret);
        if depth <= 2 {
            assert_eq!(opened.unwrap().body, "hello");
        } else {
            assert!(matches!(opened, Err(OpenError::TooDeep)));
        }
        cleartext = compressed(&cleartext);
    }
}

#[test]
fn compressed_message_that_inflates_without_end_is_refused() {
    let bob = Person::new(2, CertificateKind::V6);
    let largest = literal(&vec![0; MAX_INFLATED_BYTES - 12]);
    let bytes = wrap(&compressed(&largest), bob.certificate());
    assert!(bytes.len() < 20_000);
    assert!(open(&bytes, &bob.secret).is_ok());
    let larger = literal(&vec![0; MAX_INFLATED_BYTES - 11]);
    let refused = open(&wrap(&compressed(&larger), bob.certificate()), &bob.secret);
    assert!(matches!(refused, Err(OpenError::InflatesTooMuch)));
    // A bomb in a bomb: the inner one is never inflated beyond the bound either.
    let nested = compressed(&compressed(&larger));
    let refused = open(&wrap(&nested, bob.certificate()), &bob.secret);
    assert!(matches!(refused, Err(OpenError::InflatesTooMuch)));
}

#[test]
fn compressed_message_that_is_broken_or_of_another_kind_is_refused() {
    let bob = Person::new(2, CertificateKind::V6);
    let whole = compressed(&literal(b"hello"));
    let mut bzip2 = whole.clone();
    bzip2[1] = 3;
    let cut = &whole[..whole.len() - 3];
    let refused =
        |cleartext: &[u8]| open(&wrap(cleartext, bob.certificate()), &bob.secret).unwrap_err();
    assert!(matches!(refused(&bzip2), OpenError::UnsupportedCompression));
    assert!(matches!(
        refused(cut),
        OpenError::CompressionBroken | OpenError::Framing(_)
    ));
    let sealed_both = [literal(b"hello"), whole].concat();
    assert!(matches!(
        refused(&sealed_both),
        OpenError::UnexpectedPacket(8)
    ));
}

#[test]
fn cleartext_with_packets_that_have_no_place_is_refused() {
    let bob = Person::new(2, CertificateKind::V6);
    let open = |parts: &[&[u8]]| {
        open(&wrap(&parts.concat(), bob.certificate()), &bob.secret).map(|opened| opened.body)
    };
    let hello = literal(b"hello");
    let marker = [0xca, 3, b'P', b'G', b'P'];
    let padding = [0xd5, 1, 0];
    let private = [0xfc, 1, 0];
    let critical = [0xd6, 1, 0];
    assert_eq!(
        open(&[&marker, &padding, &hello, &padding, &private]).unwrap(),
        "hello"
    );
    assert!(matches!(
        open(&[&critical, &hello]),
        Err(OpenError::UnexpectedPacket(22))
    ));
    assert!(matches!(
        open(&[&hello, &hello]),
        Err(OpenError::UnexpectedPacket(11))
    ));
    assert!(matches!(open(&[&padding]), Err(OpenError::NoContent)));
    assert!(matches!(open(&[]), Err(OpenError::NoContent)));
    let many = [&marker[..]; 20];
    assert!(matches!(
        open(&[&many.concat(), &hello]),
        Err(OpenError::TooManyPackets)
    ));
}

#[test]
fn file_that_begins_like_cbor_is_shown_as_a_file() {
    let bob = Person::new(2, CertificateKind::V6);
    let png = literal(b"\x89PNG\r\n\x1a\n....");
    let opened = open(&wrap(&png, bob.certificate()), &bob.secret).unwrap();
    assert_eq!(opened.envelope, None);
    assert!(opened.body.starts_with(b"\x89PNG"));
}
