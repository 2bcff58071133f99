//! Envelopes, chunks and receipts as CBOR: what is written, what is read, what is refused.

use bytes::Bytes;
use packet::{
    Chunk, ContentError, ContentType, Envelope, EnvelopeError, MAX_RECEIPT_IDS, MessageId, Receipt,
    ReplyRoute, SenderProof, SessionId, TransferId,
};
use proptest::{collection::vec, prelude::*};
use wallet::{CertificateKind, Fingerprint, WalletSignature};

use crate::people::Person;

fn envelope() -> Envelope {
    Envelope {
        message_id: MessageId::from_bytes([1; 16]),
        time_ms: 2,
        content_type: "text/plain".to_owned(),
        session: SessionId::from_bytes([3; 8]),
        sequence: 4,
        reply: None,
        sender: None,
        body: Bytes::from_static(b"hi"),
    }
}

fn decode(bytes: &[u8]) -> Result<Envelope, EnvelopeError> {
    Envelope::decode(&Bytes::copy_from_slice(bytes))
}

#[test]
fn envelope_is_written_as_specified() {
    let expected = concat!(
        "89",
        "01",
        "5001010101010101010101010101010101",
        "02",
        "6a746578742f706c61696e",
        "480303030303030303",
        "04",
        "f6",
        "f6",
        "426869",
    );
    assert_eq!(hex::encode(envelope().encode()), expected);
    let with_reply = Envelope {
        reply: Some(ReplyRoute {
            fingerprint: Fingerprint::V4([5; 20]),
            mailboxes: vec![[6; 20].into()],
        }),
        ..envelope()
    };
    let reply = format!("8254{}8154{}", "05".repeat(20), "06".repeat(20));
    let expected = expected.replace("f6f6", &format!("{reply}f6"));
    assert_eq!(hex::encode(with_reply.encode()), expected);
}

#[test]
fn envelope_with_later_fields_is_read_and_they_are_ignored() {
    let mut bytes = envelope().encode();
    bytes[0] = 0x8b;
    bytes.extend_from_slice(&[0x82, 0x01, 0xa1, 0x01, 0x80, 0xf5]);
    assert_eq!(decode(&bytes).unwrap(), envelope());
}

#[test]
fn envelope_followed_by_bytes_or_cut_is_malformed() {
    let bytes = envelope().encode();
    let longer = [&bytes[..], &[0]].concat();
    assert!(matches!(decode(&longer), Err(EnvelopeError::Malformed(_))));
    for length in 0..bytes.len() {
        let cut = decode(&bytes[..length]);
        assert!(matches!(cut, Err(EnvelopeError::Malformed(_))));
    }
}

#[test]
fn envelope_of_a_later_version_is_unsupported() {
    let mut bytes = envelope().encode();
    bytes[1] = 2;
    assert!(Envelope::looks_like(&bytes));
    assert!(matches!(
        decode(&bytes),
        Err(EnvelopeError::UnsupportedVersion(2))
    ));
}

#[test]
fn envelope_beyond_a_bound_is_malformed() {
    let alice = Person::new(1, CertificateKind::V6);
    let proof = SenderProof {
        binding: alice.binding.clone(),
        primary_key: vec![0; 257],
        signature: WalletSignature::from_bytes([0; 65]),
    };
    let mailboxes = vec![[0; 20].into(); 4];
    let reply = ReplyRoute {
        fingerprint: Fingerprint::V4([5; 20]),
        mailboxes,
    };
    for beyond in [
        Envelope {
            content_type: "x".repeat(65),
            ..envelope()
        },
        Envelope {
            sender: Some(proof),
            ..envelope()
        },
        Envelope {
            reply: Some(reply),
            ..envelope()
        },
    ] {
        let refused = decode(&beyond.encode());
        assert!(matches!(refused, Err(EnvelopeError::Malformed(_))));
    }
}

#[test]
fn envelope_at_its_bounds_is_read() {
    let alice = Person::new(1, CertificateKind::V6);
    let most = Envelope {
        content_type: "x".repeat(64),
        reply: Some(ReplyRoute {
            fingerprint: Fingerprint::V4([5; 20]),
            mailboxes: vec![[0; 20].into(); 3],
        }),
        sender: Some(SenderProof {
            binding: alice.binding.clone(),
            primary_key: vec![0; 256],
            signature: WalletSignature::from_bytes([0; 65]),
        }),
        ..envelope()
    };
    assert_eq!(decode(&most.encode()).unwrap(), most);
}

#[test]
fn envelope_of_indefinite_length_is_malformed() {
    let mut bytes = envelope().encode();
    bytes[0] = 0x9f;
    bytes.push(0xff);
    assert!(!Envelope::looks_like(&bytes));
    assert!(matches!(decode(&bytes), Err(EnvelopeError::Malformed(_))));
}

#[test]
fn text_and_common_files_do_not_look_like_an_envelope() {
    let files: [&[u8]; 7] = [
        b"",
        b"hello",
        "ü".as_bytes(),
        b"\x89PNG\r\n\x1a\n",
        b"\xff\xd8\xff\xe0",
        b"\x1f\x8b\x08",
        b"%PDF",
    ];
    for file in files {
        assert!(!Envelope::looks_like(file));
    }
    assert!(Envelope::looks_like(&envelope().encode()));
}

#[test]
fn content_types_are_told_apart() {
    for (text, content_type) in [
        ("text/plain", ContentType::Text),
        ("application/vnd.conet.chunk", ContentType::Chunk),
        ("application/vnd.conet.receipt", ContentType::Receipt),
        ("image/png", ContentType::Other("image/png")),
    ] {
        assert_eq!(ContentType::parse(text), content_type);
        assert_eq!(content_type.as_str(), text);
    }
}

fn chunk() -> Chunk {
    Chunk {
        transfer: TransferId::from_bytes([1; 16]),
        index: 1,
        count: 3,
        total: 10,
        sha256: [2; 32],
        offset: 4,
        name: "a.txt".to_owned(),
        data: Bytes::from_static(b"1234"),
    }
}

#[test]
fn chunk_is_written_as_specified() {
    let expected = format!(
        "8850{}01030a5820{}0465612e7478744431323334",
        "01".repeat(16),
        "02".repeat(32)
    );
    assert_eq!(hex::encode(chunk().encode()), expected);
}

#[test]
fn last_chunk_reaches_to_the_end() {
    let last = Chunk {
        index: 2,
        offset: 6,
        name: "x".repeat(255),
        ..chunk()
    };
    assert_eq!(Chunk::decode(&last.encode().into()).unwrap(), last);
}

#[test]
fn chunk_that_contradicts_itself_is_refused() {
    let changes: [fn(&mut Chunk); 5] = [
        |chunk| chunk.index = 3,
        |chunk| (chunk.index, chunk.count) = (0, 0),
        |chunk| chunk.offset = 7,
        |chunk| chunk.offset = u64::MAX,
        |chunk| chunk.total = 7,
    ];
    for change in changes {
        let mut changed = chunk();
        change(&mut changed);
        let refused = Chunk::decode(&changed.encode().into());
        assert!(matches!(refused, Err(ContentError::Inconsistent)));
    }
    let mut long = chunk();
    long.name = "x".repeat(256);
    let refused = Chunk::decode(&long.encode().into());
    assert!(matches!(refused, Err(ContentError::Malformed(_))));
}

#[test]
fn receipt_of_too_many_messages_is_refused() {
    let ids = vec![MessageId::from_bytes([1; 16]); MAX_RECEIPT_IDS + 1];
    let most = Receipt {
        ids: ids[1..].to_vec(),
    };
    assert_eq!(Receipt::decode(&most.encode()).unwrap(), most);
    let refused = Receipt::decode(&Receipt { ids }.encode());
    assert!(matches!(refused, Err(ContentError::Malformed(_))));
    // A claim without the ids behind it.
    let claim = Receipt::decode(&[0x81, 0x9b, 0xff, 0, 0, 0, 0, 0, 0, 0]);
    assert!(matches!(claim, Err(ContentError::Malformed(_))));
}

#[test]
fn identifiers_show_as_hexadecimal() {
    let id = SessionId::from_bytes([0, 1, 2, 3, 4, 5, 0xfe, 0xff]);
    assert_eq!(id.to_string(), "000102030405feff");
    assert_eq!(format!("{id:?}"), "000102030405feff");
}

proptest! {
    #[test]
    fn envelope_round_trips(
        id: [u8; 16],
        session: [u8; 8],
        time_ms: u64,
        sequence: u64,
        content_type in "[a-z/.+-]{0,64}",
        fingerprint: [u8; 32],
        mailboxes in vec(any::<[u8; 20]>(), 0..=3),
        has_reply: bool,
        has_sender: bool,
        key in vec(any::<u8>(), 0..=256),
        body in vec(any::<u8>(), 0..2_000),
    ) {
        let alice = Person::new(1, CertificateKind::V6Classic);
        let envelope = Envelope {
            message_id: id.into(),
            time_ms,
            content_type,
            session: session.into(),
            sequence,
            reply: has_reply.then(|| ReplyRoute {
                fingerprint: Fingerprint::V6(fingerprint),
                mailboxes: mailboxes.into_iter().map(Into::into).collect(),
            }),
            sender: has_sender.then(|| SenderProof {
                binding: alice.binding.clone(),
                primary_key: key,
                signature: WalletSignature::from_bytes([9; 65]),
            }),
            body: body.into(),
        };
        let bytes = envelope.encode();
        prop_assert!(Envelope::looks_like(&bytes));
        prop_assert_eq!(decode(&bytes).unwrap(), envelope);
    }

    #[test]
    fn chunk_and_receipt_round_trip(
        index in 0u32..1_000,
        more in 1u32..1_000,
        offset in 0u64..1 << 40,
        name in ".{0,60}",
        data in vec(any::<u8>(), 0..2_000),
        ids in vec(any::<[u8; 16]>(), 0..=64),
    ) {
        let chunk = Chunk {
            index,
            count: index + more,
            total: offset + data.len() as u64 + 1,
            offset,
            name,
            data: data.into(),
            ..chunk()
        };
        let bytes = Bytes::from(chunk.encode());
        prop_assert!(bytes.len() <= chunk.data.len() + Chunk::overhead_bytes(chunk.name.len()));
        prop_assert_eq!(Chunk::decode(&bytes).unwrap(), chunk);
        let receipt = Receipt { ids: ids.into_iter().map(Into::into).collect() };
        prop_assert_eq!(Receipt::decode(&receipt.encode()).unwrap(), receipt);
    }

    #[test]
    fn any_bytes_are_read_or_refused_without_panic(bytes: Vec<u8>) {
        let _ = decode(&bytes);
        let _ = Chunk::decode(&Bytes::copy_from_slice(&bytes));
        let _ = Receipt::decode(&bytes);
        let _ = Envelope::looks_like(&bytes);
    }

    #[test]
    fn changed_envelope_is_read_or_refused_without_panic(at: prop::sample::Index, to: u8) {
        let alice = Person::new(1, CertificateKind::V6Classic);
        let mut bytes = Envelope {
            sender: Some(SenderProof {
                binding: alice.binding.clone(),
                primary_key: vec![1; 42],
                signature: WalletSignature::from_bytes([9; 65]),
            }),
            ..envelope()
        }
        .encode();
        let at = at.index(bytes.len());
        bytes[at] = to;
        let _ = decode(&bytes);
    }
}
