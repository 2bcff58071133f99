//! Certificates: made, read back and used; everything else is refused.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

#[path = "openpgp_support/openpgp.rs"]
mod openpgp;

use pgp::composed::{KeyType, SignedPublicKey};
use pgp::crypto::ecc_curve::ECCCurve;
use pgp::packet::{SignatureType, SubpacketData};
use pgp::types::Duration;
use proptest::prelude::*;
use wallet::{
    Certificate, CertificateError, CertificateKind, MAX_CERTIFICATE_BYTES, SubkeyAlgorithm,
};

use openpgp::{KINDS, NOW_S, SubkeyShape, create, foreign, opens, signature, wallet, write};

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

#[test]
fn certificate_chooses_subkeys_for_messages_and_layers() {
    let chosen = |kind| {
        let secret = create(kind, 1);
        let certificate = secret.certificate();
        let algorithm_of = |openpgp: &pgp::composed::SignedPublicSubKey| {
            let position = certificate
                .as_openpgp()
                .public_subkeys
                .iter()
                .position(|subkey| subkey == openpgp)
                .unwrap();
            certificate.subkeys()[position].algorithm
        };
        (
            algorithm_of(certificate.end_to_end_subkey()),
            algorithm_of(certificate.layer_subkey()),
        )
    };
    use SubkeyAlgorithm::{EcdhCurve25519, MlKem768X25519, X25519};
    assert_eq!(chosen(CertificateKind::V6), (MlKem768X25519, X25519));
    assert_eq!(chosen(CertificateKind::V6Classic), (X25519, X25519));
    assert_eq!(
        chosen(CertificateKind::V4),
        (EcdhCurve25519, EcdhCurve25519)
    );
}

#[test]
fn raw_signature_verifies_by_its_certificate_only() {
    let secret = create(CertificateKind::V6, 1);
    let signature = secret.sign_raw(b"conet/test/1\0message");
    let certificate = secret.certificate();
    assert!(certificate.verify_raw(b"conet/test/1\0message", &signature));
    assert!(!certificate.verify_raw(b"conet/test/1\0massage", &signature));
    let v4 = create(CertificateKind::V4, 1);
    assert!(
        !v4.certificate()
            .verify_raw(b"conet/test/1\0message", &signature)
    );
}

#[test]
fn certificate_of_rfc_9580_is_read() {
    let text = include_str!("vectors/rfc9580-certificate.asc");
    let certificate = Certificate::parse(text.as_bytes()).unwrap();
    assert_eq!(
        certificate.fingerprint().to_string(),
        "cb186c4f0609a697e4d52dfa6c722b0c1f1e27c18a56708f6525ec27bad9acc9"
    );
    assert_eq!(certificate.key_ids()[0].to_string(), "12C83F1E706F6308");
    assert_eq!(certificate.wallet(), None);
    assert!(certificate.supports_seipd_v2());
    assert!(!certificate.prefers_gcm());
}

#[test]
fn certificate_with_bytes_before_between_or_after_is_refused() {
    let bytes = create(CertificateKind::V6Classic, 1)
        .certificate()
        .to_bytes();
    let padding = [0xd5, 2, 7, 7];
    let cases = [
        [&bytes[..], &bytes[..]].concat(),
        [&padding[..], &bytes[..]].concat(),
        [&bytes[..], &padding[..]].concat(),
    ];
    for case in cases {
        let error = Certificate::parse(&case).unwrap_err();
        assert!(
            matches!(error, CertificateError::UnexpectedPacket),
            "{error:?}"
        );
    }
    for tail in [&[0xc6][..], &[0], &[0xc6, 5, 0], b"\n"] {
        let case = [&bytes[..], tail].concat();
        let error = Certificate::parse(&case).unwrap_err();
        assert!(
            matches!(
                error,
                CertificateError::NotCanonical | CertificateError::Malformed(_)
            ),
            "{tail:?}: {error:?}"
        );
    }
}

#[test]
fn certificate_cut_off_inside_a_part_is_refused() {
    for kind in KINDS {
        let whole = create(kind, 1);
        let bytes = whole.certificate().to_bytes();
        for length in 0..bytes.len() {
            let Ok(cut) = Certificate::parse(&bytes[..length]) else {
                continue;
            };
            // Without its last subkey it is a certificate; that it is not the wallet's, the binding tells.
            assert_eq!(kind, CertificateKind::V6);
            assert_eq!(cut.subkeys(), &whole.certificate().subkeys()[..1]);
        }
    }
}

#[test]
fn certificate_that_is_too_large_is_refused_unread() {
    let mut bytes = create(CertificateKind::V4, 1).certificate().to_bytes();
    bytes.resize(MAX_CERTIFICATE_BYTES + 1, 0);
    let error = Certificate::parse(&bytes).unwrap_err();
    assert!(matches!(error, CertificateError::TooLarge));
    let text = vec![b'-'; 2 * MAX_CERTIFICATE_BYTES + 1];
    let error = Certificate::parse(&text).unwrap_err();
    assert!(matches!(error, CertificateError::TooLarge));
}

#[test]
fn secret_key_in_place_of_a_certificate_is_refused() {
    let secret = create(CertificateKind::V6, 1);
    let error = Certificate::parse(secret.to_openpgp_armored().as_bytes()).unwrap_err();
    assert!(matches!(error, CertificateError::NotPublicKeyBlock));
}

#[test]
fn certificate_with_another_primary_algorithm_is_refused() {
    for primary in [KeyType::ECDSA(ECCCurve::P256), KeyType::Ed448] {
        let bytes = foreign(primary, &[SubkeyShape::encrypting(KeyType::X25519)]);
        let error = Certificate::parse(&bytes).unwrap_err();
        assert!(matches!(error, CertificateError::UnsupportedPrimary));
    }
}

#[test]
fn certificate_with_another_kind_of_subkey_is_refused() {
    let signing = SubkeyShape {
        key_type: KeyType::Ed25519,
        encrypts: false,
    };
    for subkey in [SubkeyShape::encrypting(KeyType::X448), signing] {
        let x25519 = SubkeyShape::encrypting(KeyType::X25519);
        let bytes = foreign(KeyType::Ed25519, &[x25519, subkey]);
        let error = Certificate::parse(&bytes).unwrap_err();
        assert!(matches!(error, CertificateError::UnsupportedSubkey));
    }
}

#[test]
fn certificate_without_subkeys_or_with_too_many_is_refused() {
    for count in [0, 9] {
        let subkeys = vec![SubkeyShape::encrypting(KeyType::X25519); count];
        let error = Certificate::parse(&foreign(KeyType::Ed25519, &subkeys)).unwrap_err();
        assert!(matches!(error, CertificateError::SubkeyCount(n) if n == count));
    }
    let subkeys = vec![SubkeyShape::encrypting(KeyType::X25519); 8];
    assert!(Certificate::parse(&foreign(KeyType::Ed25519, &subkeys)).is_ok());
}

/// What is refused about our own certificate after `change`.
fn error_after(
    kind: CertificateKind,
    change: impl FnOnce(&mut SignedPublicKey),
) -> CertificateError {
    let mut openpgp = create(kind, 1).certificate().as_openpgp().clone();
    change(&mut openpgp);
    Certificate::parse(&write(&openpgp)).unwrap_err()
}

#[test]
fn certificate_with_a_grafted_subkey_or_user_id_is_refused() {
    let other = create(CertificateKind::V6, 2);
    let graft = |openpgp: &mut SignedPublicKey| {
        openpgp.public_subkeys[1] = other.certificate().as_openpgp().public_subkeys[0].clone();
    };
    // The same primary signed it, so it is a certificate, but not the bound one.
    let mut openpgp = create(CertificateKind::V6, 1)
        .certificate()
        .as_openpgp()
        .clone();
    graft(&mut openpgp);
    assert!(Certificate::parse(&write(&openpgp)).is_ok());

    let stranger = foreign(
        KeyType::Ed25519,
        &[SubkeyShape::encrypting(KeyType::X25519)],
    );
    let stranger = Certificate::parse(&stranger).unwrap();
    let error = error_after(CertificateKind::V6, |openpgp| {
        openpgp.public_subkeys[1] = stranger.as_openpgp().public_subkeys[0].clone();
    });
    assert!(matches!(error, CertificateError::BadSignature(_)));
    let error = error_after(CertificateKind::V6, |openpgp| {
        openpgp.details.users = stranger.as_openpgp().details.users.clone();
    });
    assert!(matches!(error, CertificateError::BadSignature(_)));
}

#[test]
fn certificate_without_its_self_signature_is_refused() {
    let error = error_after(CertificateKind::V6, |openpgp| {
        openpgp.details.direct_signatures.clear();
    });
    assert!(matches!(error, CertificateError::MissingSelfSignature));
    let error = error_after(CertificateKind::V4, |openpgp| {
        openpgp.details.users.clear();
    });
    assert!(matches!(error, CertificateError::MissingSelfSignature));
    let error = error_after(CertificateKind::V6, |openpgp| {
        openpgp.public_subkeys[0].signatures.clear();
    });
    assert!(matches!(error, CertificateError::NotCanonical));
}

#[test]
fn certificate_that_is_revoked_is_refused() {
    for kind in KINDS {
        let secret = create(kind, 1);
        let revocation = signature(&secret, SignatureType::KeyRevocation, Vec::new());
        let error = error_after(kind, |openpgp| {
            openpgp.details.revocation_signatures.push(revocation);
        });
        assert!(matches!(error, CertificateError::Revoked));
    }
}

#[test]
fn certificate_that_expires_is_refused() {
    let secret = create(CertificateKind::V6, 1);
    let expires = SubpacketData::KeyExpirationTime(Duration::from_secs(60));
    let direct = signature(&secret, SignatureType::Key, vec![expires]);
    let error = error_after(CertificateKind::V6, |openpgp| {
        openpgp.details.direct_signatures.push(direct);
    });
    assert!(matches!(error, CertificateError::Expires));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn certificate_parser_survives_any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..600), first in 0x80_u8..) {
        let _ = Certificate::parse(&bytes);
        let _ = Certificate::parse(&[&[first], &bytes[..]].concat());
        let armored = format!("-----BEGIN PGP PUBLIC KEY BLOCK-----\n\n{}", String::from_utf8_lossy(&bytes));
        let _ = Certificate::parse(armored.as_bytes());
    }

    #[test]
    fn certificate_with_changed_bytes_is_refused(
        kind in prop::sample::select(&KINDS[..2]),
        changes in prop::collection::vec((any::<prop::sample::Index>(), 1_u8..), 1..4),
    ) {
        let original = create(kind, 1).certificate().to_bytes();
        let mut bytes = original.clone();
        for (at, change) in changes {
            bytes[at.index(original.len())] ^= change;
        }
        prop_assume!(bytes != original);
        prop_assert!(Certificate::parse(&bytes).is_err());
    }

    #[test]
    fn v4_certificate_with_changed_bytes_never_shows_other_keys(at: prop::sample::Index, change in 1_u8..) {
        let original = create(CertificateKind::V4, 1);
        let mut bytes = original.certificate().to_bytes();
        let at = at.index(bytes.len());
        bytes[at] ^= change;
        // The issuer's key ID is not signed, so changing it may go unnoticed; nothing else may.
        if let Ok(certificate) = Certificate::parse(&bytes) {
            prop_assert_eq!(certificate.fingerprint(), original.certificate().fingerprint());
            prop_assert_eq!(certificate.subkeys(), original.certificate().subkeys());
            prop_assert_eq!(certificate.wallet(), original.certificate().wallet());
        }
    }

    #[test]
    fn armored_certificate_with_changed_bytes_does_no_harm(at: prop::sample::Index, byte: u8) {
        let mut text = create(CertificateKind::V6, 1).certificate().armored().into_bytes();
        let at = at.index(text.len());
        text[at] = byte;
        let _ = Certificate::parse(&text);
    }
}
