//! Layers: exact lengths, three of them around a packet, and nothing else that passes for one.

use packet::{
    LAYER_BYTES, LAYER_OVERHEAD_BYTES, OpenError, Packet, SealError, SizeClass, open_layer, seal,
    seal_layer,
};
use pgp::crypto::aead::{AeadAlgorithm, ChunkSize};
use proptest::prelude::*;
use wallet::CertificateKind;

use crate::people::{NOW_S, Person, draft, literal, rng, wrap_as};

fn node(seed: u64) -> Person {
    Person::new(seed, CertificateKind::NODE)
}

#[test]
fn three_layers_around_a_packet_fill_its_frame_and_come_off_again() {
    let bob = Person::new(2, CertificateKind::V6);
    let nodes = [11, 12, 13].map(node);
    for class in [SizeClass::K4, SizeClass::K16, SizeClass::M1] {
        let body = vec![1; packet::max_body(bob.certificate(), false, class)];
        let inner = seal(&draft(body), None, bob.certificate(), &mut rng(0)).unwrap();
        assert_eq!(inner.len(), class.packet_bytes());
        let mut packet = inner.clone();
        for node in &nodes {
            let length = packet.len() + LAYER_BYTES;
            packet =
                seal_layer(node.certificate(), packet.as_bytes(), length, &mut rng(1)).unwrap();
            assert_eq!(packet.len(), length);
        }
        assert_eq!(packet.len(), class.frame_bytes());
        for node in nodes.iter().rev() {
            let command = open_layer(packet.as_bytes(), &node.secret).unwrap();
            packet = Packet::new(command).unwrap();
            assert_eq!(packet.size_class(), class);
        }
        assert_eq!(packet, inner);
    }
}

#[test]
fn layer_of_every_command_length_is_exact() {
    let node = node(11);
    let length = 1_000;
    let most = length - LAYER_OVERHEAD_BYTES;
    for command in 0..=most {
        let command = vec![5; command];
        let packet = seal_layer(node.certificate(), &command, length, &mut rng(0)).unwrap();
        assert_eq!(packet.len(), length);
        assert_eq!(
            open_layer(packet.as_bytes(), &node.secret).unwrap(),
            command
        );
    }
    let refused = seal_layer(node.certificate(), &vec![5; most + 1], length, &mut rng(0));
    assert!(matches!(refused, Err(SealError::TooLong { .. })));
}

#[test]
fn layer_leaves_room_for_a_forward_command() {
    // Version, node, time, nonce, answer key, kind, next, stamp, and CBOR heads.
    let forward = 1 + 1 + 21 + 9 + 17 + 34 + 1 + 1 + 21 + 50 + 5;
    assert!(LAYER_OVERHEAD_BYTES + forward <= LAYER_BYTES);
}

#[test]
fn layer_is_sealed_to_the_x25519_subkey_even_where_there_is_a_larger_one() {
    let person = Person::new(11, CertificateKind::V6);
    let packet = seal_layer(person.certificate(), b"command", 600, &mut rng(0)).unwrap();
    assert_eq!(packet.key_id(), person.certificate().subkeys()[0].key_id);
    assert_eq!(
        open_layer(packet.as_bytes(), &person.secret).unwrap(),
        "command"
    );
}

#[test]
fn layer_for_a_certificate_of_version_4_is_refused() {
    let person = Person::new(11, CertificateKind::V4);
    let refused = seal_layer(person.certificate(), b"command", 600, &mut rng(0));
    assert!(matches!(refused, Err(SealError::NotANode)));
}

#[test]
fn layer_of_another_node_is_not_for_me() {
    let packet = seal_layer(node(11).certificate(), b"command", 600, &mut rng(0)).unwrap();
    let refused = open_layer(packet.as_bytes(), &node(12).secret);
    assert!(matches!(refused, Err(OpenError::NotForMe)));
}

#[test]
fn layer_opens_by_a_superseded_subkey() {
    let mut node = node(11);
    let packet = seal_layer(node.certificate(), b"command", 600, &mut rng(0)).unwrap();
    node.secret.rotate(NOW_S + 1, &mut rng(4)).unwrap();
    assert_eq!(
        open_layer(packet.as_bytes(), &node.secret).unwrap(),
        "command"
    );
}

#[test]
fn layer_of_another_implementation_opens_in_gcm_only() {
    let node = node(11);
    let cleartext = literal(b"command");
    let seal = |mode, chunk_size| {
        let packet = wrap_as(&cleartext, node.certificate(), mode, chunk_size);
        open_layer(&packet, &node.secret)
    };
    for chunk_size in [ChunkSize::C64B, ChunkSize::C4MiB] {
        assert_eq!(seal(AeadAlgorithm::Gcm, chunk_size).unwrap(), "command");
        for mode in [AeadAlgorithm::Ocb, AeadAlgorithm::Eax] {
            let refused = seal(mode, chunk_size);
            assert!(matches!(refused, Err(OpenError::UnsupportedContainer)));
        }
    }
}

#[test]
fn layer_with_anything_but_a_literal_and_padding_is_refused() {
    let node = node(11);
    let plain = literal(b"command");
    let padding = vec![0xd5, 2, 0, 0];
    let named = [&[0xcb, 8, b'b', 1, b'x', 0, 0, 0, 0, 1][..]].concat();
    let compressed = vec![0xc8, 2, 0, 0];
    let accepted = [plain.clone(), padding.clone()].concat();
    for (cleartext, is_layer) in [
        (accepted, true),
        ([padding.clone(), plain.clone()].concat(), false),
        ([plain.clone(), plain.clone()].concat(), false),
        ([plain.clone(), padding.clone(), padding].concat(), false),
        (named, false),
        (compressed, false),
        (plain[..plain.len() - 1].to_vec(), false),
    ] {
        let packet = wrap_as(
            &cleartext,
            node.certificate(),
            AeadAlgorithm::Gcm,
            ChunkSize::C4KiB,
        );
        assert_eq!(open_layer(&packet, &node.secret).is_ok(), is_layer);
    }
}

#[test]
fn layer_with_any_byte_changed_or_cut_is_refused() {
    let node = node(11);
    let packet = seal_layer(node.certificate(), b"command", 600, &mut rng(0)).unwrap();
    let bytes = packet.as_bytes();
    for at in 0..bytes.len() {
        assert!(
            open_layer(&bytes[..at], &node.secret).is_err(),
            "cut at {at}"
        );
        for bit in [1, 0x80] {
            let mut changed = bytes.to_vec();
            changed[at] ^= bit;
            assert!(
                open_layer(&changed, &node.secret).is_err(),
                "changed at {at}"
            );
        }
    }
    let longer = [bytes, &[0]].concat();
    assert!(open_layer(&longer, &node.secret).is_err());
}

proptest! {
    #[test]
    fn layer_of_any_bytes_never_panics(bytes: Vec<u8>) {
        prop_assert!(open_layer(&bytes, &node(11).secret).is_err());
    }
}
