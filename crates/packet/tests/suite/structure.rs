//! Messages whose parts are sound, each for itself, and do not go together, or stand where none is read.

use packet::{MAX_INFLATED_BYTES, OpenError, Verified, open, peek};
use pgp::{
    composed::RawSessionKey,
    crypto::{
        aead::{AeadAlgorithm, ChunkSize},
        sym::SymmetricKeyAlgorithm,
    },
    packet::{PublicKeyEncryptedSessionKey, SymEncryptedProtectedData},
};
use wallet::CertificateKind;

use crate::{
    foreign::compressed,
    people::{Person, Signing, draft, envelope_of, literal, rng, with_header, wrap},
};

const AES: SymmetricKeyAlgorithm = SymmetricKeyAlgorithm::AES256;

/// What is left out of an envelope's literal is in no signature: it may not decide what is shown.
#[test]
fn envelope_in_a_literal_that_is_not_written_as_ours_is_shown_as_a_file() {
    let [alice, bob] = [1, 2].map(|seed| Person::new(seed, CertificateKind::V6));
    let bytes = envelope_of(&alice.seal(&draft("hello"), bob.certificate()), &bob).encode();
    let signing = Signing::honest(&alice.secret, bob.certificate());
    let (announcement, signature) = signing.packets(&bytes);
    for (head, is_ours) in [
        (&b"b\0\0\0\0\0"[..], true),
        (b"u\0\0\0\0\0", false),
        (b"b\x01x\0\0\0\0", false),
        (b"b\0\0\0\0\x01", false),
    ] {
        let mut literal = vec![0xcb, 0xff];
        literal.extend_from_slice(&((head.len() + bytes.len()) as u32).to_be_bytes());
        literal.extend_from_slice(head);
        literal.extend_from_slice(&bytes);
        let cleartext = [&announcement[..], &literal, &signature].concat();
        let opened = open(&wrap(&cleartext, bob.certificate()), &bob.secret).unwrap();
        assert_eq!(opened.envelope.is_some(), is_ours);
        let by_wallet = matches!(opened.verified, Verified::Wallet { .. });
        assert_eq!((by_wallet, opened.body == bytes), (is_ours, !is_ours));
    }
}

/// Whoever takes a signature along without its message, or a message without its signature, gets neither
/// past the reader in another order than writers have.
#[test]
fn signature_in_a_place_where_none_is_read_is_refused_not_dropped() {
    let [alice, bob] = [1, 2].map(|seed| Person::new(seed, CertificateKind::V4));
    let (announcement, signature) =
        Signing::honest(&alice.secret, bob.certificate()).packets(b"hello");
    let hello = literal(b"hello");
    // With a length, so that what follows is not taken for a part of it.
    let inside = compressed(&hello);
    let inside = [&[0xc8, (inside.len() - 1) as u8], &inside[1..]].concat();
    let refused = |parts: &[&[u8]]| {
        let packet = wrap(&parts.concat(), bob.certificate());
        match open(&packet, &bob.secret) {
            Err(OpenError::UnexpectedPacket(tag)) => tag,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(refused(&[&hello, &signature]), 2);
    assert_eq!(refused(&[&hello, &announcement]), 4);
    assert_eq!(refused(&[&announcement, &inside]), 8);
    assert_eq!(refused(&[&signature, &inside]), 8);
    assert_eq!(refused(&[&announcement, &inside, &signature]), 8);
    assert_eq!(refused(&[&inside, &hello]), 11);
    assert_eq!(refused(&[&inside, &inside]), 8);
}

#[test]
fn foreign_message_with_more_than_four_signatures_is_refused() {
    let [alice, bob] = [1, 2].map(|seed| Person::new(seed, CertificateKind::V4));
    let (announcement, signature) =
        Signing::honest(&alice.secret, bob.certificate()).packets(b"hello");
    let hello = literal(b"hello");
    for (count, is_read) in [(4, true), (5, false)] {
        let announced = [
            announcement.repeat(count),
            hello.clone(),
            signature.repeat(count),
        ];
        let in_front = [signature.repeat(count), hello.clone()];
        for cleartext in [announced.concat(), in_front.concat()] {
            match open(&wrap(&cleartext, bob.certificate()), &bob.secret) {
                Ok(opened) => assert!(is_read && opened.body == "hello"),
                Err(OpenError::TooManySignatures) => assert!(!is_read),
                Err(other) => panic!("{other}"),
            }
        }
    }
}

/// Sixteen packets on one level, those that are ignored among them.
#[test]
fn foreign_message_of_as_many_packets_as_are_read_opens_and_one_more_does_not() {
    let bob = Person::new(2, CertificateKind::V6);
    let marker = [0xca, 3, b'P', b'G', b'P'];
    for (markers, is_read) in [(15, true), (16, false)] {
        let cleartext = [literal(b"hello"), marker.repeat(markers)].concat();
        let opened = open(&wrap(&cleartext, bob.certificate()), &bob.secret);
        assert_eq!(opened.is_ok(), is_read);
    }
    assert_eq!(MAX_INFLATED_BYTES, 4_194_304);
}

/// Version 3 session keys go with version 1 containers, version 6 with version 2; each container with AES.
#[test]
fn session_key_and_container_that_do_not_go_together_are_refused() {
    let bob = Person::new(2, CertificateKind::V6Classic);
    let subkey = bob.certificate().end_to_end_subkey();
    let key = RawSessionKey::from([5; 32].as_slice());
    let hello = literal(b"hello");
    let key_v3 = |cipher, key: &RawSessionKey| {
        let session =
            PublicKeyEncryptedSessionKey::from_session_key_v3(rng(1), key, cipher, subkey);
        with_header(&session.unwrap())
    };
    let key_v6 = PublicKeyEncryptedSessionKey::from_session_key_v6(rng(1), &key, subkey);
    let key_v6 = with_header(&key_v6.unwrap());
    let container_v1 = |cipher, key: &RawSessionKey| {
        let data = SymEncryptedProtectedData::encrypt_seipdv1(rng(2), cipher, key.as_ref(), &hello);
        with_header(&data.unwrap())
    };
    let container_v2 = SymEncryptedProtectedData::encrypt_seipdv2(
        rng(2),
        AES,
        AeadAlgorithm::Gcm,
        ChunkSize::C4KiB,
        key.as_ref(),
        &hello,
    );
    let container_v2 = with_header(&container_v2.unwrap());
    let opens = |parts: [&[u8]; 2]| open(&parts.concat(), &bob.secret).map(|opened| opened.body);
    let (v3, v1) = (key_v3(AES, &key), container_v1(AES, &key));
    assert_eq!(opens([&v3, &v1]).unwrap(), "hello");
    assert_eq!(opens([&key_v6, &container_v2]).unwrap(), "hello");
    let old = SymmetricKeyAlgorithm::CAST5;
    let short = RawSessionKey::from([5; 16].as_slice());
    for parts in [
        [&v3[..], &container_v2],
        [&key_v6, &v1],
        [&key_v3(old, &short), &container_v1(old, &short)],
    ] {
        let refused = opens(parts);
        assert!(matches!(refused, Err(OpenError::UnsupportedContainer)));
    }
}

/// Nobody has to look at a certificate's features before they use what it can do.
#[test]
fn foreign_message_of_version_6_to_a_key_of_version_4_peeks_and_opens() {
    let bob = Person::new(2, CertificateKind::V4);
    let subkey = bob.certificate().end_to_end_subkey();
    let key = RawSessionKey::from([5; 32].as_slice());
    let session = PublicKeyEncryptedSessionKey::from_session_key_v6(rng(1), &key, subkey);
    let data = SymEncryptedProtectedData::encrypt_seipdv2(
        rng(2),
        AES,
        AeadAlgorithm::Gcm,
        ChunkSize::C4KiB,
        key.as_ref(),
        &literal(b"hello"),
    );
    let packet = [with_header(&session.unwrap()), with_header(&data.unwrap())].concat();
    let key_id = bob.certificate().subkeys()[0].key_id;
    assert_eq!(peek(&packet), Ok(key_id));
    assert_eq!(open(&packet, &bob.secret).unwrap().body, "hello");
}
