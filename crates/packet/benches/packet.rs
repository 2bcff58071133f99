//! How long peek, seal, open and layers take, beside a bare rPGP round trip.
//!
//! `cargo bench -p conet-packet -- layer` measures what has `layer` in its name; prints medians, one
//! core. No statistics: ratios are what counts.

#![expect(
    clippy::unwrap_used,
    reason = "a benchmark that can't be set up has nothing to measure"
)]

use std::{hint::black_box, io::Read, time::Instant};

use packet::{
    ContentType, Draft, LAYER_BYTES, MessageId, Sender, SessionId, SizeClass, max_body, open,
    open_layer, peek, seal, seal_layer,
};
use pgp::{
    composed::{Deserializable, Message, MessageBuilder, SignedSecretKey},
    crypto::{
        aead::{AeadAlgorithm, ChunkSize},
        sym::SymmetricKeyAlgorithm,
    },
    types::Password,
};
use rand_chacha::{ChaCha12Rng, rand_core::SeedableRng};
use wallet::{CertificateBinding, CertificateKind, SecretCertificate, WalletKey};

/// Rounds of which the median is taken.
const ROUNDS: usize = 15;
/// Least time of a round in nanoseconds.
const ROUND_NS: u128 = 20_000_000;

/// Prints the median time of one call.
fn measure<T>(name: &str, mut call: impl FnMut() -> T) {
    let wanted = std::env::args()
        .skip(1)
        .all(|argument| argument.starts_with("--") || name.contains(argument.as_str()));
    if !wanted {
        return;
    }
    let start = Instant::now();
    black_box(call());
    let once = start.elapsed().as_nanos().max(1);
    let calls = u32::try_from((ROUND_NS / once).clamp(1, 1_000_000)).unwrap();
    let mut rounds: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            for _ in 0..calls {
                black_box(call());
            }
            start.elapsed().as_secs_f64() * 1e6 / f64::from(calls)
        })
        .collect();
    rounds.sort_by(f64::total_cmp);
    let median = rounds.get(ROUNDS / 2).copied().unwrap_or_default();
    println!("{name:<44} {median:>12.3} µs");
}

fn main() {
    let rng = &mut ChaCha12Rng::seed_from_u64(1);
    let now_s = 1_800_000_000;
    let wallet = WalletKey::generate(rng);
    let alice = SecretCertificate::create(&wallet, CertificateKind::V6, now_s, rng).unwrap();
    let binding = CertificateBinding::sign(&wallet, alice.certificate(), 1, Vec::new()).unwrap();
    let sender = Sender {
        wallet: &wallet,
        certificate: &alice,
        binding: &binding,
    };
    let kinds = [
        ("v6", CertificateKind::V6),
        ("v6-classic", CertificateKind::V6Classic),
        ("v4", CertificateKind::V4),
    ];
    for (name, kind) in kinds {
        let bob = SecretCertificate::create(&wallet, kind, now_s, rng).unwrap();
        for class in [SizeClass::K4, SizeClass::K16, SizeClass::M1] {
            let length = max_body(bob.certificate(), true, class);
            let draft = Draft {
                message_id: MessageId::random(rng),
                time_ms: now_s * 1_000,
                content_type: ContentType::TEXT.to_owned(),
                session: SessionId::random(rng),
                sequence: 0,
                reply: None,
                body: vec![b'x'; length].into(),
            };
            let packet = seal(&draft, Some(&sender), bob.certificate(), rng).unwrap();
            let bytes = packet.as_bytes();
            if class == SizeClass::K4 {
                measure(&format!("peek {name}"), || peek(black_box(bytes)));
                let armored = armor(bytes);
                measure(&format!("peek {name}, armored"), || {
                    peek(black_box(armored.as_bytes()))
                });
            }
            measure(&format!("seal {name} {class:?}, signed"), || {
                seal(&draft, Some(&sender), bob.certificate(), rng).unwrap()
            });
            measure(&format!("seal {name} {class:?}, anonymous"), || {
                seal(&draft, None, bob.certificate(), rng).unwrap()
            });
            measure(&format!("open {name} {class:?}, signed"), || {
                open(bytes, &bob).unwrap()
            });
            let anonymous = seal(&draft, None, bob.certificate(), rng).unwrap();
            measure(&format!("open {name} {class:?}, anonymous"), || {
                open(anonymous.as_bytes(), &bob).unwrap()
            });
        }
    }
    layers(rng);
}

/// Layers, and the same bytes through rPGP's own message builder and reader.
fn layers(rng: &mut ChaCha12Rng) {
    let wallet = WalletKey::generate(rng);
    let node =
        SecretCertificate::create(&wallet, CertificateKind::NODE, 1_800_000_000, rng).unwrap();
    let armored = node.to_openpgp_armored();
    let (key, _) = SignedSecretKey::from_string(&armored).unwrap();
    for class in [SizeClass::K4, SizeClass::K16, SizeClass::M1] {
        let inner = vec![7; class.packet_bytes()];
        let length = inner.len() + LAYER_BYTES;
        let layer = seal_layer(node.certificate(), &inner, length, rng).unwrap();
        measure(&format!("seal layer {class:?}"), || {
            seal_layer(node.certificate(), &inner, length, rng).unwrap()
        });
        measure(&format!("open layer {class:?}"), || {
            open_layer(layer.as_bytes(), &node).unwrap()
        });
        let build = |rng: &mut ChaCha12Rng| {
            let mut builder = MessageBuilder::from_bytes("", inner.clone()).seipd_v2(
                &mut *rng,
                SymmetricKeyAlgorithm::AES256,
                AeadAlgorithm::Gcm,
                ChunkSize::C64KiB,
            );
            builder
                .encrypt_to_key(&mut *rng, node.certificate().layer_subkey())
                .unwrap();
            builder.to_vec(rng).unwrap()
        };
        let bare = build(rng);
        measure(&format!("rPGP seal {class:?}"), || build(rng));
        measure(&format!("rPGP open {class:?}"), || {
            let message = Message::from_bytes(&bare[..]).unwrap();
            let mut message = message.decrypt(&Password::empty(), &key).unwrap();
            let mut content = Vec::new();
            message.read_to_end(&mut content).unwrap();
            content
        });
    }
}

fn armor(bytes: &[u8]) -> String {
    use base64::{Engine, prelude::BASE64_STANDARD};
    let text = BASE64_STANDARD.encode(bytes);
    format!("-----BEGIN PGP MESSAGE-----\n\n{text}\n-----END PGP MESSAGE-----\n")
}
