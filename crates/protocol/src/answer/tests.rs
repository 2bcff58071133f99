use super::*;
use proptest::prelude::*;
use rand::SeedableRng as _;
use rand_chacha::ChaCha20Rng;
use wallet::{CertificateKind, SecretCertificate, WalletKey};

const NODE: NodeId = NodeId::from_bytes([1; 20]);

/// A wallet and its certificate.
fn signer(seed: u8) -> (WalletKey, SecretCertificate) {
    let mut rng = ChaCha20Rng::from_seed([seed; 32]);
    let key = WalletKey::generate(&mut rng);
    let kind = CertificateKind::NODE;
    let certificate = SecretCertificate::create(&key, kind, 1_800_000_000, &mut rng).unwrap();
    (key, certificate)
}

fn record() -> Record {
    let (key, secret) = signer(3);
    let certificate = secret.certificate();
    Record {
        certificate: certificate.to_bytes().into(),
        binding: CertificateBinding::sign(&key, certificate, 7, vec![NODE]).unwrap(),
    }
}

/// One of each.
fn answers() -> Vec<Answer> {
    let refused = [
        Refusal::Busy,
        Refusal::UnknownKey,
        Refusal::StampRequired { effort: 200 },
        Refusal::Stale(NodeTime {
            node: NODE,
            time_ms: 9,
            signature: [5; 64],
        }),
        Refusal::Replayed,
        Refusal::Unreachable,
        Refusal::QueueFull {
            quota_bytes: u64::MAX,
        },
        Refusal::Superseded(record()),
        Refusal::Malformed,
        Refusal::Unsupported,
        Refusal::Denied,
        Refusal::TooLarge,
        Refusal::Failed,
        Refusal::NotFound,
    ];
    let mut answers = vec![
        Answer::Acknowledged(Acknowledgement {
            packet_hash: [2; 32],
            time_ms: 3,
            node: NODE,
            signature: [4; 64],
        }),
        Answer::Sealed(Bytes::from_static(b"sealed")),
        Answer::Record(record()),
        Answer::Done,
        Answer::Challenge(vec![Bytes::from_static(b"a"), Bytes::from_static(b"b")]),
    ];
    answers.extend(refused.map(Answer::Refused));
    answers
}

#[test]
fn each_answer_survives_its_encoding_under_its_own_number() {
    let mut numbers = Vec::new();
    for answer in answers() {
        let bytes = answer.encode();
        assert_eq!(Answer::decode(&bytes).unwrap(), answer);
        let mut d = Decoder::new(&bytes);
        d.array().unwrap();
        numbers.push(d.u8().unwrap());
    }
    let of_the_wire_format: Vec<u8> = (0..=4).chain(16..=29).collect();
    assert_eq!(numbers, of_the_wire_format);
    assert!(
        Answer::decode(&[0x82, 0x05, 0x40]).is_err(),
        "no such number"
    );
}

#[test]
fn answer_cut_anywhere_is_refused() {
    for answer in answers() {
        let bytes = answer.encode();
        for length in 0..bytes.len() {
            assert!(Answer::decode(&bytes[..length]).is_err(), "{answer:?}");
        }
        let longer = [&bytes[..], &[0]].concat();
        assert!(Answer::decode(&longer).is_err(), "{answer:?}");
    }
}

#[test]
fn acknowledgement_is_of_its_packet_time_node_and_certificate_only() {
    let ((_, mine), (_, other)) = (signer(1), signer(2));
    let ack = Acknowledgement::sign(NODE, [2; 32], 3, |m| mine.sign_raw(m));
    let by = mine.certificate();
    assert!(ack.verify(&[2; 32], &NODE, by));
    assert!(!ack.verify(&[3; 32], &NODE, by));
    assert!(!ack.verify(&[2; 32], &NodeId::from_bytes([9; 20]), by));
    assert!(!ack.verify(&[2; 32], &NODE, other.certificate()));
    let later = Acknowledgement { time_ms: 4, ..ack };
    assert!(!later.verify(&[2; 32], &NODE, by));
    // Made out to another packet or node, without a signature that says so.
    let packet = Acknowledgement {
        packet_hash: [3; 32],
        ..ack
    };
    assert!(!packet.verify(&[3; 32], &NODE, by) && !packet.verify(&[2; 32], &NODE, by));
    let node = NodeId::from_bytes([9; 20]);
    let moved = Acknowledgement { node, ..ack };
    assert!(!moved.verify(&[2; 32], &node, by) && !moved.verify(&[2; 32], &NODE, by));
}

#[test]
fn signed_time_is_of_its_node_and_command_only() {
    let ((_, mine), (_, other)) = (signer(1), signer(2));
    let time = NodeTime::sign(NODE, 3, &[8; 16], |m| mine.sign_raw(m));
    let by = mine.certificate();
    assert!(time.verify(&NODE, &[8; 16], by));
    assert!(
        !time.verify(&NODE, &[7; 16], by),
        "an answer to another command"
    );
    assert!(!time.verify(&NODE, &[8; 16], other.certificate()));
    assert!(!NodeTime { time_ms: 4, ..time }.verify(&NODE, &[8; 16], by));
    let node = NodeId::from_bytes([9; 20]);
    assert!(!time.verify(&node, &[8; 16], by));
    assert!(!NodeTime { node, ..time }.verify(&NODE, &[8; 16], by));
}

#[test]
fn refusal_that_may_pass_is_tried_again_and_one_that_will_not_is_not() {
    let passing: Vec<u8> = answers()
        .iter()
        .filter_map(|answer| match answer {
            Answer::Refused(refusal) if refusal.is_transient() => Some(refusal.status()),
            _ => None,
        })
        .collect();
    assert_eq!(passing, [16, 19, 20, 21, 22, 28]);
}

#[test]
fn acknowledgement_message_is_domain_separated() {
    let node = NodeId::from_bytes([1; 20]);
    let ack = Acknowledgement::message(&node, &[2; 32], 3);
    let time = NodeTime::message(&node, 3, &[2; 16]);
    assert!(ack.starts_with(b"conet/ack/1\0") && time.starts_with(b"conet/time/1\0"));
    assert!(ack.len() > 64 && time.len() > 52);
}

proptest! {
    #[test]
    fn any_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = Answer::decode(&bytes);
        let _ = Item::decode(&bytes);
    }
}
