//! Peek, seal and open, beside bare rPGP: the same cryptography by the same library, without our checks,
//! envelope and padding.

use std::hint::black_box;
use std::io::Read as _;
use std::time::Instant;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use packet::{ContentType, Draft, MessageId, SessionId, SizeClass, peek, seal};
use pgp::composed::{Deserializable as _, Message, MessageBuilder, SignedSecretKey};
use pgp::crypto::aead::{AeadAlgorithm, ChunkSize};
use pgp::crypto::sym::SymmetricKeyAlgorithm;
use pgp::types::Password;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use wallet::{CertificateKind, SecretCertificate, WalletKey};

use crate::report::{Figure, Report};

/// Rounds of each side.
const ROUNDS: usize = 15;
/// Least time of a round in nanoseconds.
const ROUND_NS: u128 = 20_000_000;
const NOW_S: u64 = 1_800_000_000;
/// Content of a message.
const CONTENT_BYTES: usize = 1_024;

/// One side of a comparison: how many calls make a round.
struct Side<F> {
    call: F,
    calls: u32,
}

impl<F: FnMut()> Side<F> {
    fn new(mut call: F) -> Self {
        call();
        let begun = Instant::now();
        call();
        let once = begun.elapsed().as_nanos().max(1);
        let calls = (ROUND_NS / once).clamp(1, 1_000_000);
        Self {
            call,
            calls: u32::try_from(calls).unwrap_or(u32::MAX),
        }
    }

    /// Nanoseconds of one call.
    fn round(&mut self) -> f64 {
        let begun = Instant::now();
        for _ in 0..self.calls {
            (self.call)();
        }
        begun.elapsed().as_secs_f64() * 1e9 / f64::from(self.calls)
    }
}

/// Both sides take turns; nanoseconds of one call.
fn interleaved(ours: impl FnMut(), theirs: impl FnMut()) -> (Vec<f64>, Vec<f64>) {
    let (mut ours, mut theirs) = (Side::new(ours), Side::new(theirs));
    (0..ROUNDS).map(|_| (ours.round(), theirs.round())).unzip()
}

fn certificate(kind: CertificateKind, rng: &mut StdRng) -> anyhow::Result<SecretCertificate> {
    let wallet = WalletKey::generate(rng);
    Ok(SecretCertificate::create(&wallet, kind, NOW_S, rng)?)
}

/// Bare rPGP: one literal to one key, unsigned.
fn build(content: &[u8], to: &SecretCertificate, rng: &mut StdRng) -> anyhow::Result<Vec<u8>> {
    let mut builder = MessageBuilder::from_bytes("", content.to_vec()).seipd_v2(
        &mut *rng,
        SymmetricKeyAlgorithm::AES256,
        AeadAlgorithm::Gcm,
        ChunkSize::C64KiB,
    );
    builder.encrypt_to_key(&mut *rng, to.certificate().layer_subkey())?;
    Ok(builder.to_vec(rng)?)
}

fn read(message: &[u8], key: &SignedSecretKey) -> anyhow::Result<Vec<u8>> {
    let message = Message::from_bytes(message)?;
    let mut message = message.decrypt(&Password::empty(), key)?;
    let mut content = Vec::new();
    message.read_to_end(&mut content)?;
    Ok(content)
}

/// Measures reading the key ID of a packet beside rPGP's packet parser.
pub(crate) fn peeking(report: &mut Report) -> anyhow::Result<()> {
    let rng = &mut StdRng::seed_from_u64(1);
    let node = certificate(CertificateKind::NODE, rng)?;
    let packet = packet::seal_layer(
        node.certificate(),
        &[7; CONTENT_BYTES],
        SizeClass::K4.packet_bytes(),
        rng,
    )?;
    let binary = packet.as_bytes();
    let armored = format!(
        "-----BEGIN PGP MESSAGE-----\n\n{}\n-----END PGP MESSAGE-----\n",
        BASE64_STANDARD.encode(binary)
    );
    for (name, message) in [("binary", binary), ("armored", armored.as_bytes())] {
        let (ours, theirs) = interleaved(
            || {
                let _shown = black_box(peek(black_box(message)));
            },
            || {
                let _parsed = black_box(if name == "binary" {
                    Message::from_bytes(black_box(message)).is_ok()
                } else {
                    Message::from_armor(black_box(message)).is_ok()
                });
            },
        );
        let name = format!("peek: {name}");
        report.add(Figure::beside(name, "ns", ours, "rPGP's parser", &theirs));
    }
    Ok(())
}

/// Measures seal and open of 1 KiB beside bare rPGP.
pub(crate) fn sealing(report: &mut Report) -> anyhow::Result<()> {
    let rng = &mut StdRng::seed_from_u64(2);
    let bob = certificate(CertificateKind::V6Classic, rng)?;
    let (key, _) = SignedSecretKey::from_string(&bob.to_openpgp_armored())?;
    let content = vec![7; CONTENT_BYTES];
    let length = SizeClass::K4.packet_bytes();
    let mut ours_rng = rng.clone();
    let draft = Draft {
        message_id: MessageId::random(rng),
        time_ms: NOW_S * 1_000,
        content_type: ContentType::TEXT.to_owned(),
        session: SessionId::random(rng),
        sequence: 0,
        reply: None,
        body: content.clone().into(),
    };
    let certificate = bob.certificate();

    // Fails here, and not in a round that would then be fast.
    let layer = packet::seal_layer(certificate, &content, length, rng)?;
    packet::open_layer(layer.as_bytes(), &bob)?;
    let message = seal(&draft, None, certificate, rng)?;
    packet::open(message.as_bytes(), &bob)?;
    let bare = build(&content, &bob, rng)?;
    anyhow::ensure!(read(&bare, &key)? == content, "rPGP reads something else");

    let mut both = |name: &str, ours: &dyn Fn(&mut StdRng) -> bool| {
        let (ours, theirs) = interleaved(
            || {
                black_box(ours(&mut ours_rng));
            },
            || {
                let built = build(black_box(&content), &bob, rng);
                let read = built.and_then(|built| read(&built, &key));
                black_box(read.is_ok());
            },
        );
        let micros = |ns: Vec<f64>| ns.into_iter().map(|ns| ns / 1_000.0).collect::<Vec<_>>();
        let name = format!("seal + open 1 KiB: {name}");
        report.add(Figure::beside(
            name,
            "µs",
            micros(ours),
            "rPGP",
            &micros(theirs),
        ));
    };
    both("message", &|rng| {
        seal(&draft, None, certificate, rng)
            .is_ok_and(|sealed| packet::open(sealed.as_bytes(), &bob).is_ok())
    });
    both("layer", &|rng| {
        packet::seal_layer(certificate, &content, length, rng)
            .is_ok_and(|sealed| packet::open_layer(sealed.as_bytes(), &bob).is_ok())
    });
    Ok(())
}
