//! Peek: every header that is allowed, and no bytes that make it panic.

use packet::{HEAD_BYTES, PeekError, inspect, peek};
use proptest::{collection::vec, prelude::*};
use wallet::CertificateKind;

use crate::people::{KINDS, Person, draft};

fn armored(bytes: &[u8]) -> String {
    use base64::{Engine, prelude::BASE64_STANDARD};
    let text = BASE64_STANDARD.encode(bytes);
    let lines: Vec<&str> = text
        .as_bytes()
        .chunks(64)
        .map(|line| std::str::from_utf8(line).unwrap())
        .collect();
    format!(
        "-----BEGIN PGP MESSAGE-----\nComment: made by hand\n\n{}\n-----END PGP MESSAGE-----\n",
        lines.join("\n")
    )
}

#[test]
fn peek_of_a_sealed_packet_is_the_key_it_is_encrypted_to() {
    for kind in KINDS {
        let bob = Person::new(2, kind);
        let packet = Person::new(1, kind).seal(&draft("hello"), bob.certificate());
        let key_id = bob.certificate().subkeys().last().unwrap().key_id;
        let bytes = packet.as_bytes();
        assert_eq!(peek(bytes), Ok(key_id));
        assert_eq!(peek(&bytes[..HEAD_BYTES]), Ok(key_id));
        assert_eq!(peek(armored(bytes).as_bytes()), Ok(key_id));
        assert!(!inspect(bytes).unwrap().armored);
        assert!(inspect(armored(bytes).as_bytes()).unwrap().armored);
    }
}

#[test]
fn peek_needs_no_more_than_the_head_of_an_armored_message() {
    let bob = Person::new(2, CertificateKind::V6);
    let packet = Person::new(1, CertificateKind::V6).seal(&draft("hello"), bob.certificate());
    let text = armored(packet.as_bytes());
    assert_eq!(peek(&text.as_bytes()[..200]), Ok(packet.key_id()));
}

#[test]
fn peek_of_bytes_cut_before_the_key_id_is_an_error() {
    for kind in KINDS {
        let bob = Person::new(2, kind);
        let packet = Person::new(1, kind).seal(&draft("hello"), bob.certificate());
        let enough = (1..HEAD_BYTES)
            .find(|length| peek(&packet.as_bytes()[..*length]).is_ok())
            .unwrap();
        for length in 0..enough {
            let cut = peek(&packet.as_bytes()[..length]);
            assert_eq!(cut, Err(PeekError::Truncated));
        }
        assert!((11..=17 + 20).contains(&enough));
    }
}

const SHOWN: [u8; 8] = [1, 2, 3, 4, 5, 6, 7, 8];

#[test]
fn peek_reads_each_way_to_write_a_length_and_refuses_the_indefinite_ones() {
    let body = [&[3][..], &SHOWN].concat();
    let peek_at = |header: &[u8]| peek(&[header, &body].concat()).map(|key| *key.as_bytes());
    let definite: [&[u8]; 10] = [
        &[0xc1, 9],
        &[0xc1, 191],
        &[0xc1, 192, 0],
        &[0xc1, 192, 255],
        &[0xc1, 223, 255],
        &[0xc1, 255, 0, 0, 0, 9],
        &[0xc1, 255, 255, 255, 255, 255],
        &[0x84, 9],
        &[0x85, 0, 9],
        &[0x86, 0, 0, 0, 9],
    ];
    for header in definite {
        assert_eq!(peek_at(header), Ok(SHOWN), "{header:?}");
    }
    for partial in 224..=254 {
        assert_eq!(peek_at(&[0xc1, partial]), Err(PeekError::IndefiniteLength));
    }
    assert_eq!(peek_at(&[0x87]), Err(PeekError::IndefiniteLength));
}

#[test]
fn peek_tells_packet_types_apart_by_their_first_byte() {
    for first in 0..=255u8 {
        if first == b'-' {
            continue;
        }
        let shown = peek(&[&[first, 9, 3][..], &SHOWN].concat());
        let tag = match first {
            0..0x80 => {
                assert_eq!(shown, Err(PeekError::NotOpenPgp));
                continue;
            }
            0x80..0xc0 => (first - 0x80) / 4,
            0xc0.. => first - 0xc0,
        };
        let of_another_kind = shown == Err(PeekError::NotEncrypted(tag));
        assert_eq!(of_another_kind, tag != 1, "{first:#x}");
    }
}

/// A session key that says it ends before its key ID does is not read on into what follows.
#[test]
fn peek_of_a_session_key_shorter_than_its_recipient_is_too_short() {
    let fingerprint: Vec<u8> = (1..=32).collect();
    let forms = [
        ([&[3][..], &SHOWN].concat(), SHOWN),
        ([&[6, 33, 6][..], &fingerprint].concat(), SHOWN),
        (
            [&[6, 21, 4][..], &fingerprint[..20]].concat(),
            [13, 14, 15, 16, 17, 18, 19, 20],
        ),
    ];
    for (body, shown) in forms {
        let length = body.len() as u8;
        let says = |length: u8| peek(&[&[0xc1, length][..], &body].concat());
        assert_eq!(says(length), Ok(shown.into()));
        assert_eq!(says(length - 1), Err(PeekError::TooShort));
        assert_eq!(says(0), Err(PeekError::TooShort));
    }
    for (size, version) in [
        (33, 4),
        (21, 6),
        (32, 6),
        (34, 6),
        (20, 4),
        (22, 4),
        (33, 5),
    ] {
        let body = [&[6, size, version][..], &fingerprint].concat();
        let shown = peek(&[&[0xc1, 60][..], &body].concat());
        assert_eq!(shown, Err(PeekError::UnsupportedVersion(version)));
    }
}

proptest! {
    #[test]
    fn peek_of_any_bytes_never_panics(bytes in vec(any::<u8>(), 0..100)) {
        let _ = peek(&bytes);
        let _ = inspect(&bytes);
        let _ = packet::dearmor(&bytes, 100);
    }

    #[test]
    fn peek_of_almost_a_session_key_never_panics(first in 0x80u8.., rest in vec(any::<u8>(), 0..80)) {
        let mut bytes = vec![first];
        bytes.extend_from_slice(&rest);
        let _ = peek(&bytes);
        bytes[0] = 0xc1;
        let _ = peek(&bytes);
    }

    #[test]
    fn peek_of_almost_an_armored_message_never_panics(text in "-----BEGIN PGP MESSAGE-----[ \r\n]{0,3}[A-Za-z0-9+/=:\\-\n ]{0,300}") {
        let _ = peek(text.as_bytes());
        let _ = packet::dearmor(text.as_bytes(), 1_000);
    }

    #[test]
    fn armored_bytes_peek_and_dearmor_like_the_bytes(bytes in vec(any::<u8>(), 1..300)) {
        let text = armored(&bytes);
        let dearmored = packet::dearmor(text.as_bytes(), 300);
        prop_assert_eq!(dearmored.as_deref(), Ok(&bytes[..]));
        if bytes[0] != b'-' {
            prop_assert_eq!(peek(text.as_bytes()), peek(&bytes));
        }
    }
}
