//! What a hostile sender can put inside: any cleartext, properly sealed to the recipient. Alice's signed messages are
//! among the seeds: whatever is made of them, nothing passes as hers but what she wrote.
#![no_main]
use std::sync::LazyLock;

use packet::{Envelope, Verified};
use pgp::composed::RawSessionKey;
use pgp::crypto::aead::{AeadAlgorithm, ChunkSize};
use pgp::crypto::sym::SymmetricKeyAlgorithm;
use pgp::packet::{PacketTrait as _, PublicKeyEncryptedSessionKey, SymEncryptedProtectedData};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng as _;
use wallet::{CertificateKind, Fingerprint, SecretCertificate, WalletAddress, WalletKey};

const KEY: [u8; 32] = [5; 32];
/// The kinds of certificate that Alice has.
const KINDS: [CertificateKind; 2] = [CertificateKind::V6Classic, CertificateKind::V4];

fn rng(seed: u64) -> ChaCha20Rng {
    ChaCha20Rng::seed_from_u64(seed)
}

fn person(seed: u64, kind: CertificateKind) -> (WalletKey, SecretCertificate) {
    let mut rng = rng(seed);
    let wallet = WalletKey::generate(&mut rng);
    let secret = SecretCertificate::create(&wallet, kind, 1_800_000_000, &mut rng).unwrap();
    (wallet, secret)
}

static ME: LazyLock<SecretCertificate> = LazyLock::new(|| person(1, CertificateKind::V6Classic).1);

static ALICE: LazyLock<(WalletAddress, [Fingerprint; 2])> = LazyLock::new(|| {
    let fingerprints = KINDS.map(|kind| person(3, kind).1.certificate().fingerprint());
    (person(3, KINDS[0]).0.address(), fingerprints)
});

/// The session key, sealed to me.
static SESSION: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let key = RawSessionKey::from(KEY.as_slice());
    let subkey = ME.certificate().end_to_end_subkey();
    let mut bytes = Vec::new();
    let packet = PublicKeyEncryptedSessionKey::from_session_key_v6(rng(1), &key, subkey).unwrap();
    packet.to_writer_with_header(&mut bytes).unwrap();
    bytes
});

/// Says whether Alice wrote this: three messages by each of her certificates, of which no two fields differ more.
fn is_hers(envelope: &Envelope) -> bool {
    let (alice, fingerprints) = &*ALICE;
    let body_is_hers = match envelope.content_type.as_str() {
        "text/plain" => envelope.body == "hello",
        "application/vnd.conet.chunk" => envelope.body.ends_with(b"notes.txt\x50sixteen bytes of"),
        "application/vnd.conet.receipt" => envelope.body.len() == 2 + 2 * 17,
        _ => false,
    };
    body_is_hers
        && *envelope.message_id.as_bytes() == [7; 16]
        && envelope.time_ms == 1_800_000_000_005
        && *envelope.session.as_bytes() == [9; 8]
        && envelope.sequence == 3
        && envelope.reply.as_ref().is_none_or(|reply| reply.mailboxes.len() == 2)
        && envelope.sender.as_ref().is_some_and(|sender| {
            sender.binding.wallet == *alice && fingerprints.contains(&sender.binding.fingerprint)
        })
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let mut packet = SESSION.clone();
    let (cipher, mode) = (SymmetricKeyAlgorithm::AES256, AeadAlgorithm::Ocb);
    SymEncryptedProtectedData::encrypt_seipdv2(rng(2), cipher, mode, ChunkSize::C4KiB, &KEY, bytes)
        .unwrap()
        .to_writer_with_header(&mut packet)
        .unwrap();
    let Ok(opened) = packet::open(&packet, &ME) else { return };
    if let Verified::Wallet { .. } = opened.verified {
        let envelope = opened.envelope.expect("what a wallet signs is an envelope");
        assert!(is_hers(&envelope), "nobody signed this: {envelope:?}");
    }
});
