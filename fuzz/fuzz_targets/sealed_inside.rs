//! What a hostile sender can put inside: any cleartext, properly sealed to the recipient.
#![no_main]
use rand_chacha::rand_core::SeedableRng as _;
use std::sync::LazyLock;
use wallet::{CertificateKind, SecretCertificate, WalletKey};

static ME: LazyLock<SecretCertificate> = LazyLock::new(|| {
    let mut rng = rand_chacha::ChaCha20Rng::seed_from_u64(1);
    let key = WalletKey::generate(&mut rng);
    SecretCertificate::create(&key, CertificateKind::V6Classic, 1_800_000_000, &mut rng).unwrap()
});

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let mut rng = rand_chacha::ChaCha20Rng::seed_from_u64(2);
    let Ok(sealed) = packet::seal_bytes_to(ME.certificate(), None, bytes, None, &mut rng) else { return };
    if let Ok(opened) = packet::open(sealed.as_bytes(), &ME) {
        assert!(!matches!(opened.verified, packet::Verified::Wallet { .. }), "nobody signed this");
    }
});
