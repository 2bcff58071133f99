//! Bindings of certificates to wallets.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

#[path = "openpgp_support/openpgp.rs"]
mod openpgp;

use proptest::prelude::*;
use rand::SeedableRng;
use rand::rngs::StdRng;
use serde::Deserialize;
use wallet::{
    BindingError, Certificate, CertificateBinding, CertificateKind, Fingerprint, MAX_BINDING_BYTES,
    SecretCertificate, WalletAddress, WalletKey,
};

use openpgp::{NOW_S, create, wallet, write};

/// Text, signature and CBOR of some bindings, made by an independent program.
const VECTORS: &str = include_str!("vectors/bindings.json");

#[derive(Deserialize)]
struct Vector {
    secret: String,
    wallet: WalletAddress,
    fingerprint: Fingerprint,
    sequence: String,
    subkeys: Vec<Fingerprint>,
    mailboxes: Vec<WalletAddress>,
    text: String,
    signature: String,
    cbor: String,
}

fn mailbox(byte: u8) -> WalletAddress {
    WalletAddress::from_bytes([byte; 20])
}

fn bound(mailboxes: Vec<WalletAddress>) -> (SecretCertificate, CertificateBinding) {
    let secret = create(CertificateKind::V6, 1);
    let binding = CertificateBinding::sign(&wallet(), secret.certificate(), 7, mailboxes).unwrap();
    (secret, binding)
}

#[test]
fn binding_of_each_vector_has_its_text_signature_and_bytes() {
    let vectors: Vec<Vector> = serde_json::from_str(VECTORS).unwrap();
    assert_eq!(vectors.len(), 3);
    for vector in vectors {
        let bytes = hex::decode(&vector.cbor).unwrap();
        let binding = CertificateBinding::from_bytes(&bytes).unwrap();
        assert_eq!(binding.wallet, vector.wallet);
        assert_eq!(binding.fingerprint, vector.fingerprint);
        assert_eq!(binding.sequence.to_string(), vector.sequence);
        assert_eq!(binding.subkeys, vector.subkeys);
        assert_eq!(binding.mailboxes, vector.mailboxes);
        assert_eq!(binding.signed_text(), vector.text);
        assert_eq!(binding.signature.to_string(), vector.signature);
        binding.verify().unwrap();
        assert_eq!(binding.to_bytes(), bytes);

        let secret = hex::decode(&vector.secret).unwrap().try_into().unwrap();
        let signature = WalletKey::from_bytes(secret)
            .unwrap()
            .sign_message(vector.text.as_bytes());
        assert_eq!(signature, binding.signature);
    }
}

#[test]
fn binding_verifies_with_its_certificate_of_every_kind() {
    for kind in openpgp::KINDS {
        let secret = create(kind, 1);
        let mailboxes = vec![mailbox(1), mailbox(2), mailbox(3)];
        let binding =
            CertificateBinding::sign(&wallet(), secret.certificate(), 1, mailboxes).unwrap();
        binding.verify().unwrap();
        binding.verify_certificate(secret.certificate()).unwrap();
        assert!(binding.to_bytes().len() <= MAX_BINDING_BYTES);
    }
}

#[test]
fn binding_with_any_part_changed_does_not_verify() {
    let (_, binding) = bound(vec![mailbox(1)]);
    let changes: [fn(&mut CertificateBinding); 7] = [
        |binding| binding.wallet = mailbox(9),
        |binding| binding.fingerprint = Fingerprint::V6([9; 32]),
        |binding| binding.sequence += 1,
        |binding| binding.subkeys.reverse(),
        |binding| binding.subkeys.truncate(1),
        |binding| binding.mailboxes.clear(),
        |binding| binding.mailboxes.push(mailbox(2)),
    ];
    for change in changes {
        let mut changed = binding.clone();
        change(&mut changed);
        let error = changed.verify().unwrap_err();
        assert!(
            matches!(
                error,
                BindingError::WrongSigner { .. } | BindingError::Signature(_)
            ),
            "{error:?}"
        );
    }
}

#[test]
fn certificate_stripped_of_its_post_quantum_subkey_is_not_the_bound_one() {
    let (secret, binding) = bound(Vec::new());
    let mut openpgp = secret.certificate().as_openpgp().clone();
    openpgp.public_subkeys.pop();
    let stripped = Certificate::parse(&write(&openpgp)).unwrap();
    let error = binding.verify_certificate(&stripped).unwrap_err();
    assert!(matches!(error, BindingError::WrongSubkeys));

    openpgp = secret.certificate().as_openpgp().clone();
    openpgp.public_subkeys.reverse();
    let reordered = Certificate::parse(&write(&openpgp)).unwrap();
    let error = binding.verify_certificate(&reordered).unwrap_err();
    assert!(matches!(error, BindingError::WrongSubkeys));
}

#[test]
fn certificate_from_before_a_rotation_is_not_the_bound_one() {
    let (mut secret, binding) = bound(Vec::new());
    secret
        .rotate(NOW_S + 1, &mut StdRng::seed_from_u64(2))
        .unwrap();
    let error = binding
        .verify_certificate(secret.certificate())
        .unwrap_err();
    assert!(matches!(error, BindingError::WrongSubkeys));
}

#[test]
fn certificate_of_another_wallet_is_not_the_bound_one() {
    let (_, binding) = bound(Vec::new());
    let mut rng = StdRng::seed_from_u64(2);
    let other = WalletKey::generate(&mut rng);
    let other = SecretCertificate::create(&other, CertificateKind::V6, NOW_S, &mut rng).unwrap();
    let error = binding.verify_certificate(other.certificate()).unwrap_err();
    assert!(matches!(error, BindingError::WrongCertificate { .. }));
}

#[test]
fn binding_with_too_many_or_repeated_mailboxes_is_refused() {
    let secret = create(CertificateKind::V6, 1);
    let sign = |mailboxes| {
        CertificateBinding::sign(&wallet(), secret.certificate(), 1, mailboxes).unwrap_err()
    };
    let four = (1..=4).map(mailbox).collect();
    assert!(matches!(sign(four), BindingError::TooManyMailboxes(4)));
    let twice = vec![mailbox(1), mailbox(2), mailbox(1)];
    assert!(matches!(sign(twice), BindingError::DuplicateMailbox(_)));
}

#[test]
fn binding_with_further_elements_is_read_without_them() {
    let (_, binding) = bound(vec![mailbox(1)]);
    let mut bytes = binding.to_bytes();
    assert_eq!(bytes[0], 0x86);
    bytes[0] = 0x88;
    bytes.extend([0x01, 0x82, 0x02, 0x03]);
    assert_eq!(CertificateBinding::from_bytes(&bytes).unwrap(), binding);
}

#[test]
fn binding_with_too_much_of_anything_is_refused() {
    let (_, binding) = bound(Vec::new());
    let mut many = binding.clone();
    many.subkeys = vec![Fingerprint::V4([1; 20]); 9];
    let mut far = binding.clone();
    far.mailboxes = vec![mailbox(1); 4];
    let mut trailing = binding.to_bytes();
    trailing.push(0);
    let mut short = binding.to_bytes();
    short.pop();
    let mut large = binding.to_bytes();
    large[0] = 0x87;
    large.extend([0x59, 0x04, 0x00]);
    large.extend([0; 1024]);
    let indefinite = [&[0x9f][..], &binding.to_bytes()[1..], &[0xff]].concat();
    for bytes in [
        many.to_bytes(),
        far.to_bytes(),
        trailing,
        short,
        large,
        indefinite,
    ] {
        let error = CertificateBinding::from_bytes(&bytes).unwrap_err();
        assert!(matches!(error, BindingError::Malformed(_)));
    }
}

proptest! {
    #[test]
    fn binding_parser_survives_any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = CertificateBinding::from_bytes(&bytes);
        let _ = CertificateBinding::from_bytes(&[&[0x86, 0x54], &bytes[..]].concat());
    }

    #[test]
    fn binding_with_a_changed_byte_never_verifies(at: prop::sample::Index, change in 1_u8..) {
        let (_, binding) = bound(vec![mailbox(1), mailbox(2)]);
        let mut bytes = binding.to_bytes();
        let at = at.index(bytes.len());
        bytes[at] ^= change;
        if let Ok(changed) = CertificateBinding::from_bytes(&bytes) {
            prop_assert!(changed.verify().is_err() || changed == binding);
        }
    }
}
