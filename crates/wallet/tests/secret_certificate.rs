//! Secret certificates: derived primaries, rotation, destruction, storage.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

#[path = "openpgp_support/openpgp.rs"]
mod openpgp;

use std::collections::BTreeSet;

use proptest::prelude::*;
use rand::SeedableRng;
use rand::rngs::StdRng;
use serde::Deserialize;
use wallet::{
    CertificateKind, KeyId, MAX_SECRET_CERTIFICATE_BYTES, MAX_SUPERSEDED_SUBKEYS,
    PRIMARY_CREATED_S, SecretCertificate, SecretCertificateError, WalletKey,
};

use openpgp::{KINDS, NOW_S, create, opens, wallet};

/// What derives from some wallets, computed by an independent program.
const PRIMARY_KEYS: &str = include_str!("vectors/primary-keys.json");

#[derive(Deserialize)]
struct PrimaryKeys {
    primary_created_s: u32,
    wallets: Vec<Derived>,
}

#[derive(Deserialize)]
struct Derived {
    secret: String,
    address: String,
    v6_seed: String,
    v6_public: String,
    v6_fingerprint: String,
    v4_seed: String,
    v4_public: String,
    v4_fingerprint: String,
    node_transport: String,
    local_state: String,
}

#[test]
fn primary_key_of_a_wallet_is_as_in_the_vectors() {
    let vectors: PrimaryKeys = serde_json::from_str(PRIMARY_KEYS).unwrap();
    assert_eq!(vectors.primary_created_s, PRIMARY_CREATED_S);
    for vector in vectors.wallets {
        let secret = hex::decode(&vector.secret).unwrap().try_into().unwrap();
        let key = WalletKey::from_bytes(secret).unwrap();
        assert_eq!(key.address().to_string(), vector.address);
        let derived = |info| hex::encode(key.derive(info).as_slice());
        assert_eq!(derived("openpgp/primary/v6"), vector.v6_seed);
        assert_eq!(derived("openpgp/primary/v4"), vector.v4_seed);
        assert_eq!(derived("node/transport"), vector.node_transport);
        assert_eq!(derived("local/state"), vector.local_state);
        for kind in KINDS {
            let (public, fingerprint) = match kind {
                CertificateKind::V4 => (&vector.v4_public, &vector.v4_fingerprint),
                _ => (&vector.v6_public, &vector.v6_fingerprint),
            };
            let mut rng = StdRng::seed_from_u64(1);
            let secret = SecretCertificate::create(&key, kind, NOW_S, &mut rng).unwrap();
            let certificate = secret.certificate();
            assert_eq!(&hex::encode(certificate.primary_ed25519()), public);
            assert_eq!(&certificate.fingerprint().to_string(), fingerprint);
        }
    }
}

#[test]
fn restored_certificate_has_the_same_primary_and_other_subkeys() {
    for kind in KINDS {
        let first = create(kind, 1);
        let mut rng = StdRng::seed_from_u64(2);
        let restored =
            SecretCertificate::create(&wallet(), kind, NOW_S + 1_000_000, &mut rng).unwrap();
        assert_eq!(
            restored.certificate().fingerprint(),
            first.certificate().fingerprint()
        );
        for key_id in restored.certificate().key_ids() {
            assert!(first.secret_subkey(&key_id).is_none());
        }
        let signature = first.sign_raw(b"conet/test/1\0");
        assert!(
            restored
                .certificate()
                .verify_raw(b"conet/test/1\0", &signature)
        );
    }
}

#[test]
fn certificate_made_by_the_same_random_numbers_is_the_same() {
    for kind in KINDS {
        assert_eq!(create(kind, 3).certificate(), create(kind, 3).certificate());
    }
}

#[test]
fn rotation_shows_new_subkeys_and_still_opens_the_old() {
    for kind in KINDS {
        let mut secret = create(kind, 1);
        let old = secret.certificate().clone();
        let mut rng = StdRng::seed_from_u64(2);
        secret.rotate(NOW_S + 604_800, &mut rng).unwrap();
        let new = secret.certificate().clone();

        assert_eq!(new.fingerprint(), old.fingerprint());
        assert_eq!(new.subkeys().len(), old.subkeys().len());
        assert!(
            new.subkeys()
                .iter()
                .all(|subkey| subkey.created_s == NOW_S + 604_800)
        );
        assert!(new.key_ids().iter().all(|id| !old.key_ids().contains(id)));
        for certificate in [&old, &new] {
            for subkey in &certificate.as_openpgp().public_subkeys {
                assert!(opens(&secret, subkey));
            }
        }
        let superseded: Vec<KeyId> = secret.superseded().iter().map(|old| old.key_id()).collect();
        assert_eq!(superseded, old.key_ids());
    }
}

#[test]
fn destroyed_subkey_opens_nothing_and_is_not_stored() {
    let mut secret = create(CertificateKind::V6, 1);
    let mut rng = StdRng::seed_from_u64(2);
    let first = secret.certificate().clone();
    secret.rotate(NOW_S + 100, &mut rng).unwrap();
    let second = secret.certificate().clone();
    secret.rotate(NOW_S + 200, &mut rng).unwrap();

    assert_eq!(secret.destroy_superseded_before(NOW_S + 100), 0);
    assert_eq!(secret.destroy_superseded_before(NOW_S + 101), 2);
    let stored = SecretCertificate::from_bytes(&secret.to_bytes()).unwrap();
    for secret in [&secret, &stored] {
        assert!(!opens(secret, &first.as_openpgp().public_subkeys[0]));
        assert!(!opens(secret, &first.as_openpgp().public_subkeys[1]));
        assert!(opens(secret, &second.as_openpgp().public_subkeys[0]));
        assert!(opens(secret, &second.as_openpgp().public_subkeys[1]));
        assert_eq!(secret.superseded().len(), 2);
        assert!(
            secret
                .superseded()
                .iter()
                .all(|old| old.since_s() == NOW_S + 200)
        );
    }
}

#[test]
fn rotation_without_destruction_ends_with_an_error_and_loses_nothing() {
    let mut secret = create(CertificateKind::V6, 1);
    let mut rng = StdRng::seed_from_u64(2);
    for _ in 0..MAX_SUPERSEDED_SUBKEYS / 2 {
        secret.rotate(NOW_S, &mut rng).unwrap();
    }
    let before = secret.certificate().clone();
    let error = secret.rotate(NOW_S, &mut rng).unwrap_err();
    assert!(matches!(error, SecretCertificateError::TooManySuperseded));
    assert_eq!(secret.certificate(), &before);

    let stored = secret.to_bytes();
    assert!(stored.len() < MAX_SECRET_CERTIFICATE_BYTES);
    let stored = SecretCertificate::from_bytes(&stored).unwrap();
    let key_ids = |secret: &SecretCertificate| -> BTreeSet<KeyId> {
        secret.superseded().iter().map(|old| old.key_id()).collect()
    };
    assert_eq!(key_ids(&stored).len(), MAX_SUPERSEDED_SUBKEYS);
    assert_eq!(key_ids(&stored), key_ids(&secret));
}

#[test]
fn clock_before_the_primary_key_counts_as_its_creation() {
    let mut rng = StdRng::seed_from_u64(2);
    let secret = SecretCertificate::create(&wallet(), CertificateKind::V4, 0, &mut rng).unwrap();
    assert_eq!(
        secret.certificate().subkeys()[0].created_s,
        u64::from(PRIMARY_CREATED_S)
    );
}

#[test]
fn clock_beyond_openpgp_is_refused() {
    let mut rng = StdRng::seed_from_u64(2);
    let error =
        SecretCertificate::create(&wallet(), CertificateKind::V4, 1 << 32, &mut rng).unwrap_err();
    assert!(matches!(error, SecretCertificateError::TimeOutOfRange(_)));
    let mut secret = create(CertificateKind::V4, 1);
    let error = secret.rotate(u64::MAX, &mut rng).unwrap_err();
    assert!(matches!(error, SecretCertificateError::TimeOutOfRange(_)));
    assert!(secret.superseded().is_empty());
}

#[test]
fn secret_certificate_is_read_back_as_it_was() {
    for kind in KINDS {
        let mut secret = create(kind, 1);
        let mut rng = StdRng::seed_from_u64(2);
        secret.rotate(NOW_S + 7, &mut rng).unwrap();
        let bytes = secret.to_bytes();
        let again = SecretCertificate::from_bytes(&bytes).unwrap();
        assert_eq!(again.kind(), kind);
        assert_eq!(again.certificate(), secret.certificate());
        assert_eq!(again.to_bytes(), bytes);
        assert_eq!(
            again.sign_raw(b"conet/test/1\0"),
            secret.sign_raw(b"conet/test/1\0")
        );
        for subkey in &again.certificate().as_openpgp().public_subkeys {
            assert!(opens(&again, subkey));
        }
    }
}

#[test]
fn stored_certificate_of_another_version_or_size_is_refused() {
    let mut bytes = create(CertificateKind::V4, 1).to_bytes().to_vec();
    assert_eq!(bytes[1], 1);
    bytes[1] = 2;
    let error = SecretCertificate::from_bytes(&bytes).unwrap_err();
    assert!(matches!(error, SecretCertificateError::UnknownVersion(2)));
    bytes[1] = 1;
    bytes.push(0);
    let error = SecretCertificate::from_bytes(&bytes).unwrap_err();
    assert!(matches!(error, SecretCertificateError::Malformed(_)));
    bytes.resize(MAX_SECRET_CERTIFICATE_BYTES + 1, 0);
    let error = SecretCertificate::from_bytes(&bytes).unwrap_err();
    assert!(matches!(error, SecretCertificateError::TooLarge));
}

#[test]
fn secret_certificate_debug_output_hides_the_secrets() {
    let mut secret = create(CertificateKind::V6, 1);
    secret.rotate(NOW_S, &mut StdRng::seed_from_u64(2)).unwrap();
    let shown = format!("{secret:?}");
    assert!(shown.contains(&secret.certificate().fingerprint().to_string()));
    let seed = hex::encode(wallet().derive("openpgp/primary/v6").as_slice());
    assert!(!shown.contains(&seed));
    assert!(!shown.to_lowercase().contains("secretparams"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn stored_certificate_with_changed_bytes_never_gives_other_keys(at: prop::sample::Index, change in 1_u8..) {
        let mut secret = create(CertificateKind::V6, 1);
        secret.rotate(NOW_S, &mut StdRng::seed_from_u64(2)).unwrap();
        let mut bytes = secret.to_bytes().to_vec();
        let at = at.index(bytes.len());
        bytes[at] ^= change;
        if let Ok(read) = SecretCertificate::from_bytes(&bytes) {
            // Times of supersession, and bits of secrets that no public key depends on, may change.
            prop_assert!(opens(&read, &secret.certificate().as_openpgp().public_subkeys[0]));
            prop_assert!(opens(&read, &secret.certificate().as_openpgp().public_subkeys[1]));
            prop_assert_eq!(read.kind(), secret.kind());
            prop_assert_eq!(read.certificate(), secret.certificate());
            prop_assert_eq!(read.superseded().len(), 2);
        }
    }

    #[test]
    fn stored_certificate_parser_survives_any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        prop_assert!(SecretCertificate::from_bytes(&bytes).is_err());
        let head = [&[0x84, 1, 0, 0x59, 1, 0x40][..], &bytes].concat();
        prop_assert!(SecretCertificate::from_bytes(&head).is_err());
    }
}
