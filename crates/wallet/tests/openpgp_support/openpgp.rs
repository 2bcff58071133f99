//! What the certificate tests share: our certificates, others' certificates, and opening a message.

#![allow(dead_code, reason = "each test file uses a part")]

use pgp::composed::{
    EncryptionCaps, KeyType, Message, MessageBuilder, SecretKeyParamsBuilder, SignedPublicSubKey,
    SignedSecretKey, SubkeyParamsBuilder,
};
use pgp::crypto::hash::HashAlgorithm;
use pgp::crypto::sym::SymmetricKeyAlgorithm;
use pgp::packet::{Signature, SignatureConfig, SignatureType, Subpacket, SubpacketData};
use pgp::ser::Serialize;
use pgp::types::{KeyDetails, KeyVersion, Password, Timestamp};
use rand::SeedableRng;
use rand::rngs::StdRng;
use wallet::{CertificateKind, Fingerprint, SecretCertificate, WalletKey};

/// In 2026, after the primary keys' creation and before any clock that `gpg` may see.
pub(crate) const NOW_S: u64 = 1_780_000_000;

pub(crate) const KINDS: [CertificateKind; 3] = [
    CertificateKind::V6,
    CertificateKind::V6Classic,
    CertificateKind::V4,
];

pub(crate) fn wallet() -> WalletKey {
    WalletKey::from_bytes([0x11; 32]).unwrap()
}

pub(crate) fn create(kind: CertificateKind, seed: u64) -> SecretCertificate {
    SecretCertificate::create(&wallet(), kind, NOW_S, &mut StdRng::seed_from_u64(seed)).unwrap()
}

pub(crate) fn write(openpgp: &impl Serialize) -> Vec<u8> {
    openpgp.to_bytes().unwrap()
}

/// Encrypts to one subkey and opens it with the secret found by its key ID, if there is one.
pub(crate) fn opens(secret: &SecretCertificate, subkey: &SignedPublicSubKey) -> bool {
    let mut rng = StdRng::seed_from_u64(9);
    let mut builder = MessageBuilder::from_bytes("", &b"for your eyes only"[..])
        .seipd_v1(&mut rng, SymmetricKeyAlgorithm::AES256);
    builder.encrypt_to_key(&mut rng, subkey).unwrap();
    let sealed = builder.to_vec(&mut rng).unwrap();
    open(secret, subkey, &sealed).is_some_and(|opened| opened == b"for your eyes only")
}

/// Opens a message with the secret of `subkey`, if `secret` still has it.
pub(crate) fn open(
    secret: &SecretCertificate,
    subkey: &SignedPublicSubKey,
    sealed: &[u8],
) -> Option<Vec<u8>> {
    let fingerprint = Fingerprint::from_slice(subkey.key.fingerprint().as_bytes()).unwrap();
    let found = secret.secret_subkey(&fingerprint.key_id())?;
    let transferable = SignedSecretKey {
        primary_key: secret.primary().clone(),
        details: secret.certificate().as_openpgp().details.clone(),
        public_subkeys: Vec::new(),
        secret_subkeys: vec![found.clone()],
    };
    let message = Message::from_bytes(sealed).unwrap();
    let mut opened = message.decrypt(&Password::empty(), &transferable).unwrap();
    if opened.is_compressed() {
        opened = opened.decompress().unwrap();
    }
    Some(opened.as_data_vec().unwrap())
}

/// A subkey of a certificate that is not ours.
#[derive(Clone)]
pub(crate) struct SubkeyShape {
    pub(crate) key_type: KeyType,
    pub(crate) encrypts: bool,
}

impl SubkeyShape {
    pub(crate) fn encrypting(key_type: KeyType) -> Self {
        Self {
            key_type,
            encrypts: true,
        }
    }
}

/// A valid v6 certificate as another program might make it.
pub(crate) fn foreign(primary: KeyType, subkeys: &[SubkeyShape]) -> Vec<u8> {
    let subkeys = subkeys.iter().map(|shape| {
        let caps = if shape.encrypts {
            EncryptionCaps::All
        } else {
            EncryptionCaps::None
        };
        SubkeyParamsBuilder::default()
            .version(KeyVersion::V6)
            .key_type(shape.key_type.clone())
            .can_encrypt(caps)
            .can_sign(!shape.encrypts)
            .build()
            .unwrap()
    });
    let secret = SecretKeyParamsBuilder::default()
        .version(KeyVersion::V6)
        .key_type(primary)
        .can_certify(true)
        .can_sign(true)
        .primary_user_id(String::from("somebody"))
        .subkeys(subkeys.collect())
        .build()
        .unwrap()
        .generate(StdRng::seed_from_u64(77))
        .unwrap();
    write(&secret.to_public_key())
}

/// A signature by the primary key of `secret` over itself.
pub(crate) fn signature(
    secret: &SecretCertificate,
    signature_type: SignatureType,
    says: Vec<SubpacketData>,
) -> Signature {
    let primary = secret.primary();
    let algorithm = primary.algorithm();
    let hash = HashAlgorithm::Sha512;
    let mut config = if primary.version() == KeyVersion::V6 {
        let rng = StdRng::seed_from_u64(5);
        SignatureConfig::v6(rng, signature_type, algorithm, hash).unwrap()
    } else {
        SignatureConfig::v4(signature_type, algorithm, hash)
    };
    let time = SubpacketData::SignatureCreationTime(Timestamp::from_secs(NOW_S as u32));
    config.hashed_subpackets = std::iter::once(time)
        .chain(says)
        .map(|data| Subpacket::regular(data).unwrap())
        .collect();
    config
        .sign_key(primary, &Password::empty(), primary.public_key())
        .unwrap()
}
