//! Whole packets opened with a recipient's keys: `bytes` after a key ID of ours, or as they are.
#![no_main]
use rand_chacha::rand_core::SeedableRng as _;
use std::sync::LazyLock;
use wallet::{CertificateKind, SecretCertificate, WalletKey};

static ME: LazyLock<SecretCertificate> = LazyLock::new(|| {
    let mut rng = rand_chacha::ChaCha20Rng::seed_from_u64(1);
    let key = WalletKey::generate(&mut rng);
    SecretCertificate::create(&key, CertificateKind::V6, 1_800_000_000, &mut rng).unwrap()
});

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = packet::open(bytes, &ME);
    let _ = packet::open_layer(bytes, &ME);
});
