//! Certificates: made, read back, rotated, and everything else refused.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use pgp::composed::{MessageBuilder, SignedPublicSubKey};
use pgp::crypto::sym::SymmetricKeyAlgorithm;
use pgp::types::{KeyDetails, Password};
use rand::SeedableRng;
use rand::rngs::StdRng;
use wallet::{
    Certificate, CertificateKind, Fingerprint, SecretCertificate, SubkeyAlgorithm, WalletKey,
};

const NOW_S: u64 = 1_800_000_000;
const KINDS: [CertificateKind; 3] = [
    CertificateKind::V6,
    CertificateKind::V6Classic,
    CertificateKind::V4,
];

fn wallet() -> WalletKey {
    WalletKey::from_bytes([0x11; 32]).unwrap()
}

fn create(kind: CertificateKind, seed: u64) -> SecretCertificate {
    SecretCertificate::create(&wallet(), kind, NOW_S, &mut StdRng::seed_from_u64(seed)).unwrap()
}

/// Encrypts to one subkey and decrypts with the secret found by its key ID.
fn opens(secret: &SecretCertificate, subkey: &SignedPublicSubKey) -> bool {
    let mut rng = StdRng::seed_from_u64(9);
    let mut builder = MessageBuilder::from_bytes("", &b"for your eyes only"[..])
        .seipd_v1(&mut rng, SymmetricKeyAlgorithm::AES256);
    builder.encrypt_to_key(&mut rng, subkey).unwrap();
    let sealed = builder.to_vec(&mut rng).unwrap();

    let fingerprint = Fingerprint::from_slice(subkey.key.fingerprint().as_bytes()).unwrap();
    let Some(found) = secret.secret_subkey(&fingerprint.key_id()) else {
        return false;
    };
    let transferable = pgp::composed::SignedSecretKey {
        primary_key: secret.primary().clone(),
        details: secret.certificate().as_openpgp().details.clone(),
        public_subkeys: Vec::new(),
        secret_subkeys: vec![found.clone()],
    };
    let message = pgp::composed::Message::from_bytes(sealed.as_slice()).unwrap();
    let mut opened = message.decrypt(&Password::empty(), &transferable).unwrap();
    opened.as_data_vec().unwrap() == b"for your eyes only"
}

#[test]
fn certificate_of_each_kind_is_read_back_binary_and_armored() {
    for kind in KINDS {
        let secret = create(kind, 1);
        let certificate = secret.certificate();
        let bytes = certificate.to_bytes();
        assert!(bytes.len() < 4096, "{kind:?} has {} bytes", bytes.len());
        assert_eq!(&Certificate::parse(&bytes).unwrap(), certificate);
        let armored = certificate.armored();
        assert!(armored.starts_with("-----BEGIN PGP PUBLIC KEY BLOCK-----"));
        assert_eq!(
            &Certificate::parse(armored.as_bytes()).unwrap(),
            certificate
        );
        assert_eq!(certificate.wallet(), Some(wallet().address()));
    }
}

#[test]
fn certificate_has_the_subkeys_and_features_of_its_kind() {
    let algorithms = |kind| -> Vec<SubkeyAlgorithm> {
        let secret = create(kind, 1);
        let subkeys = secret.certificate().subkeys();
        assert!(subkeys.iter().all(|subkey| subkey.created_s == NOW_S));
        subkeys.iter().map(|subkey| subkey.algorithm).collect()
    };
    assert_eq!(
        algorithms(CertificateKind::V6),
        [SubkeyAlgorithm::X25519, SubkeyAlgorithm::MlKem768X25519]
    );
    assert_eq!(
        algorithms(CertificateKind::V6Classic),
        [SubkeyAlgorithm::X25519]
    );
    assert_eq!(
        algorithms(CertificateKind::V4),
        [SubkeyAlgorithm::EcdhCurve25519]
    );
    for kind in KINDS {
        let secret = create(kind, 1);
        let is_v6 = kind != CertificateKind::V4;
        assert_eq!(secret.certificate().supports_seipd_v2(), is_v6);
        assert_eq!(secret.certificate().prefers_gcm(), is_v6);
    }
}

#[test]
fn every_subkey_opens_what_is_encrypted_to_it() {
    for kind in KINDS {
        let secret = create(kind, 2);
        for subkey in &secret.certificate().as_openpgp().public_subkeys {
            assert!(opens(&secret, subkey), "{kind:?}");
        }
    }
}
