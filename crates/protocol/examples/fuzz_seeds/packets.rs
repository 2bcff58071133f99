//! Seeds of `peek`, `open`, `sealed_inside` and `envelope`: packets, and what lies inside them.

use std::error::Error;
use std::io::Cursor;

use bytes::Bytes;
use packet::{Chunk, ContentType, Draft, Envelope, MessageId, Receipt, ReplyRoute, TransferId};
use packet::{LAYER_BYTES, Packet, SizeClass};
use pgp::composed::{ArmorOptions, MessageBuilder, PlainSessionKey};
use pgp::crypto::sym::SymmetricKeyAlgorithm;
use pgp::crypto::{aead::AeadAlgorithm, aead::ChunkSize, hash::HashAlgorithm};
use pgp::packet::{Packet as PgpPacket, PacketParser};
use pgp::types::{CompressionAlgorithm, DecryptionKey, EskType, Password, Seipdv1ReadMode};
use wallet::{Certificate, CertificateKind, SecretCertificate};

use crate::people::{Person, RECIPIENT, SIGNER, draft, rng};
use crate::{Outcome, Seeds};

/// A packet's head that `peek` reads, and some bytes more.
const HEAD_BYTES: usize = 96;

pub(crate) fn peek(seeds: &mut Seeds) -> Outcome {
    let text = draft(ContentType::TEXT, "hello");
    for (name, kind) in [
        ("v6", CertificateKind::V6),
        ("v6-classic", CertificateKind::V6Classic),
        ("v4", CertificateKind::V4),
    ] {
        let bob = Person::new(RECIPIENT, kind)?;
        let packet = packet::seal(&text, None, bob.secret.certificate(), &mut rng(2))?;
        let head = packet.as_bytes().get(..HEAD_BYTES);
        seeds.put(name, head.ok_or("a short packet")?)?;
    }
    let bob = Person::new(RECIPIENT, CertificateKind::V4)?;
    let to = bob.secret.certificate().end_to_end_subkey();
    let mut builder = MessageBuilder::from_bytes("", "hello").seipd_v1(rng(4), AES);
    builder.encrypt_to_key(rng(5), to)?;
    let message = builder.to_armored_string(rng(6), ArmorOptions::default())?;
    seeds.put("armored", &message)?;
    seeds.put(
        "armored-with-headers",
        message.replacen("\n\n", "\nComment: of another program\nHash: SHA256\n\n", 1),
    )?;
    // A session key of version 3 to a key ID, in the lengths that there are (RFC 9580, 4.2).
    let body: &[u8] = &[3, 1, 2, 3, 4, 5, 6, 7, 8, 18, 0, 0];
    for (name, header) in [
        ("length-of-one-byte", &[0xc1, 12][..]),
        ("length-of-two-bytes", &[0xc1, 192, 0]),
        ("length-of-five-bytes", &[0xc1, 255, 0, 0, 0, 12]),
        ("partial-length", &[0xc1, 0xe4]),
        ("legacy-length-of-one-byte", &[0x84, 12]),
        ("legacy-length-of-two-bytes", &[0x85, 0, 12]),
        ("legacy-length-of-four-bytes", &[0x86, 0, 0, 0, 12]),
        ("legacy-length-unknown", &[0x87]),
    ] {
        seeds.put(name, [header, body].concat())?;
    }
    seeds.put(
        "anonymous-v3",
        [&[0xc1, 12, 3][..], &[0; 8], &[18, 0, 0]].concat(),
    )?;
    seeds.put("anonymous-v6", [0xc1, 4, 6, 0, 25, 0])?;
    seeds.put(
        "v6-to-a-v4-key",
        [&[0xc1, 25, 6, 21, 4][..], &[9; 20], &[25, 0]].concat(),
    )
}

pub(crate) fn open(seeds: &mut Seeds) -> Outcome {
    let me = Person::new(RECIPIENT, CertificateKind::V6)?;
    let (mine, subkeys) = (me.secret.certificate(), me.secret.certificate().key_ids());
    let alice = Person::new(SIGNER, CertificateKind::V6Classic)?;
    let text = draft(ContentType::TEXT, "hello");
    let rng = &mut rng(10);
    seeds.put("text", packet::seal(&text, None, mine, rng)?.as_bytes())?;
    let signed = packet::seal(&text, Some(&alice.sender()), mine, rng)?;
    seeds.put("text-signed-by-a-wallet", signed.as_bytes())?;
    for (name, key) in ["token-to-x25519", "token-to-ml-kem"].iter().zip(subkeys) {
        let sealed = packet::seal_bytes_to(mine, Some(key), &[0x42; 32], None, rng)?;
        seeds.put(name, sealed.as_bytes())?;
    }
    // What OpenPGP programs make: signed and compressed, in parts, to several, with another cipher mode.
    let subkey = mine.layer_subkey();
    for (name, aead) in [
        ("foreign-ocb", AeadAlgorithm::Ocb),
        ("foreign-eax", AeadAlgorithm::Eax),
    ] {
        let mut builder = MessageBuilder::from_reader("", Cursor::new("hello ".repeat(150)));
        builder.partial_chunk_size(512)?;
        builder.compression(CompressionAlgorithm::ZLIB);
        builder.sign(
            alice.secret.primary(),
            Password::empty(),
            HashAlgorithm::Sha256,
        );
        let mut builder = builder.seipd_v2(&mut *rng, AES, aead, ChunkSize::C64B);
        builder.encrypt_to_key(&mut *rng, alice.secret.certificate().layer_subkey())?;
        builder.encrypt_to_key(&mut *rng, subkey)?;
        seeds.put(name, builder.to_vec(&mut *rng)?)?;
    }
    let mut builder = MessageBuilder::from_bytes("notes.txt", "hello").seipd_v1(&mut *rng, AES);
    builder.encrypt_to_key(&mut *rng, subkey)?;
    let old = builder.to_vec(&mut *rng)?;
    seeds.put("foreign-seipd-v1", &old)?;
    let mut builder = MessageBuilder::from_bytes("", "hello").seipd_v1(&mut *rng, AES);
    builder.encrypt_to_key(&mut *rng, subkey)?;
    let armored = builder.to_armored_string(&mut *rng, ArmorOptions::default())?;
    seeds.put("foreign-armored", armored)?;
    let layer = packet::seal_layer(mine, b"a command", LAYER_BYTES + 512, rng)?;
    seeds.put("layer", layer.as_bytes())
}

const AES: SymmetricKeyAlgorithm = SymmetricKeyAlgorithm::AES256;

pub(crate) fn sealed_inside(seeds: &mut Seeds) -> Outcome {
    let me = Person::new(RECIPIENT, CertificateKind::V6Classic)?;
    let mine = me.secret.certificate();
    let alice = Person::new(SIGNER, CertificateKind::V6Classic)?;
    for (name, draft) in signed_drafts(mine)? {
        let packet = packet::seal(&draft, Some(&alice.sender()), mine, &mut rng(11))?;
        seeds.put(name, cleartext(&packet, &me.secret)?)?;
    }
    let packet = packet::seal(&draft(ContentType::TEXT, "hello"), None, mine, &mut rng(12))?;
    seeds.put("text", cleartext(&packet, &me.secret)?)?;
    seeds.put(
        "foreign-text",
        [0xcb, 11, b't', 0, 0, 0, 0, 0, b'h', b'e', b'l', b'l', b'o'],
    )?;
    seeds.put(
        "foreign-in-parts",
        [0xcb, 0xe3, b'b', 1, b'n', 0, 0, 0, 0, b'x', 2, b'y', b'z'],
    )?;
    seeds.put(
        "marker-and-unknown",
        [
            0xca, 3, b'P', b'G', b'P', 0xfc, 1, 0, 0xcb, 7, b'u', 0, 0, 0, 0, 0, b'x',
        ],
    )?;
    seeds.put("padding-only", [0xd5, 4, 1, 2, 3, 4])?;
    for (name, algorithm) in [
        ("zip", CompressionAlgorithm::ZIP),
        ("zlib", CompressionAlgorithm::ZLIB),
        ("uncompressed", CompressionAlgorithm::Uncompressed),
    ] {
        let mut builder = MessageBuilder::from_bytes("", "hello ".repeat(100));
        builder.compression(algorithm);
        builder.sign(
            alice.secret.primary(),
            Password::empty(),
            HashAlgorithm::Sha512,
        );
        let bytes = builder.to_vec(rng(13))?;
        seeds.put(&format!("foreign-{name}"), &bytes)?;
        // A compressed packet inside a stored one.
        let length = u8::try_from(bytes.len() + 1)
            .ok()
            .filter(|length| *length < 192);
        if let Some(length) = length {
            seeds.put(
                &format!("foreign-{name}-twice"),
                [&[0xc8, length, 0][..], &bytes].concat(),
            )?;
        }
    }
    let old = Person::new(SIGNER, CertificateKind::V4)?;
    let packet = packet::seal(
        &draft(ContentType::TEXT, "hello"),
        Some(&old.sender()),
        mine,
        &mut rng(14),
    )?;
    seeds.put("signed-by-a-v4-wallet", cleartext(&packet, &me.secret)?)
}

/// What Alice signs; the target knows her and knows that she signs nothing else.
fn signed_drafts(to: &Certificate) -> Result<[(&'static str, Draft); 3], Box<dyn Error>> {
    let reply = ReplyRoute {
        fingerprint: to.fingerprint(),
        mailboxes: vec![[1; 20].into(), [2; 20].into()],
    };
    let text = Draft {
        reply: Some(reply),
        ..draft(ContentType::TEXT, "hello")
    };
    let ids = vec![
        MessageId::from_bytes([1; 16]),
        MessageId::from_bytes([2; 16]),
    ];
    Ok([
        ("signed-text", text),
        ("signed-chunk", draft(ContentType::CHUNK, chunk().encode())),
        (
            "signed-receipt",
            draft(ContentType::RECEIPT, Receipt { ids }.encode()),
        ),
    ])
}

fn chunk() -> Chunk {
    Chunk {
        transfer: TransferId::from_bytes([5; 16]),
        index: 1,
        count: 3,
        total: 40,
        sha256: [6; 32],
        offset: 16,
        name: "notes.txt".to_owned(),
        data: Bytes::from_static(b"sixteen bytes of"),
    }
}

pub(crate) fn envelope(seeds: &mut Seeds) -> Outcome {
    let me = Person::new(RECIPIENT, CertificateKind::V6)?;
    for (name, kind) in [("v6", CertificateKind::V6), ("v4", CertificateKind::V4)] {
        let alice = Person::new(SIGNER, kind)?;
        for (what, draft) in signed_drafts(me.secret.certificate())? {
            let to = me.secret.certificate();
            let packet = packet::seal(&draft, Some(&alice.sender()), to, &mut rng(15))?;
            seeds.put(&format!("{what}-{name}"), of(&packet, &me.secret)?.encode())?;
        }
    }
    let to = me.secret.certificate();
    let packet = packet::seal(&draft("image/png", "\u{fffd}PNG"), None, to, &mut rng(16))?;
    let anonymous = of(&packet, &me.secret)?.encode();
    seeds.put("anonymous", &anonymous)?;
    // One element more, as a later version may have it; and a version that nobody knows.
    let longer = [&[0x8a][..], anonymous.get(1..).unwrap_or_default(), &[0xf6]].concat();
    seeds.put("with-a-further-element", longer)?;
    let later = [&[0x89, 2][..], anonymous.get(2..).unwrap_or_default()].concat();
    seeds.put("of-a-later-version", later)?;
    seeds.put("chunk", chunk().encode())?;
    let ids = (0..3).map(|n| MessageId::from_bytes([n; 16])).collect();
    seeds.put("receipt", Receipt { ids }.encode())
}

/// The envelope of a packet.
fn of(packet: &Packet, me: &SecretCertificate) -> Result<Envelope, Box<dyn Error>> {
    let opened = packet::open(packet.as_bytes(), me)?;
    opened.envelope.ok_or_else(|| "no envelope".into())
}

/// Takes a packet's cleartext out, with eight bytes of padding for what it had.
fn cleartext(packet: &Packet, me: &SecretCertificate) -> Result<Vec<u8>, Box<dyn Error>> {
    assert_eq!(packet.size_class(), SizeClass::K4);
    let mut packets = PacketParser::new(packet.as_bytes());
    let Some(Ok(PgpPacket::PublicKeyEncryptedSessionKey(session))) = packets.next() else {
        return Err("no session key".into());
    };
    let Some(Ok(PgpPacket::SymEncryptedProtectedData(data))) = packets.next() else {
        return Err("no container".into());
    };
    let subkey = me.secret_subkey(&packet.key_id()).ok_or("no subkey")?;
    let unlocked = subkey
        .key
        .decrypt(&Password::empty(), session.values()?, EskType::V6)??;
    let PlainSessionKey::V6 { ref key } = unlocked else {
        return Err("a session key of another version".into());
    };
    let clear = data.decrypt(key.as_ref(), None, Seipdv1ReadMode::default())?;
    let (mut kept, mut rest) = (Vec::new(), &clear[..]);
    while let [tag, 0xff, a, b, c, d, after @ ..] = rest {
        let length = u32::from_be_bytes([*a, *b, *c, *d]) as usize;
        let (body, later) = after.split_at_checked(length).ok_or("cut short")?;
        if *tag == 0xd5 {
            kept.extend_from_slice(&[0xd5, 0xff, 0, 0, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8]);
        } else {
            kept.extend_from_slice(&[*tag, 0xff, *a, *b, *c, *d]);
            kept.extend_from_slice(body);
        }
        rest = later;
    }
    Ok(kept)
}
