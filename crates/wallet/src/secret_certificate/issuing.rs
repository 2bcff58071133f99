//! Makes the keys and self-signatures of a certificate.
//!
//! The OpenPGP library could do it in one call, but would ask the system for the time.

use pgp::composed::{KeyType, SignedKeyDetails, SignedSecretSubKey};
use pgp::crypto::aead::AeadAlgorithm;
use pgp::crypto::ecc_curve::ECCCurve;
use pgp::crypto::hash::HashAlgorithm;
use pgp::crypto::public_key::PublicKeyAlgorithm;
use pgp::crypto::sym::SymmetricKeyAlgorithm;
use pgp::crypto::{ed25519, eddsa_legacy};
use pgp::packet::{
    Features, KeyFlags, PubKeyInner, PublicKey, PublicSubkey, SecretKey, SecretSubkey,
    SignatureConfig, SignatureType, Subpacket, SubpacketData, UserId,
};
use pgp::types::{
    CompressionAlgorithm, KeyDetails, KeyVersion, PacketHeaderVersion, Password, PlainSecretParams,
    PublicParams, SecretParams, Tag, Timestamp,
};
use rand::{CryptoRng, RngCore};

use super::{PRIMARY_CREATED_S, SecretCertificateError};
use crate::{CertificateKind, SubkeyAlgorithm, WalletAddress, WalletKey};

type OpenPgpResult<T> = Result<T, pgp::errors::Error>;

/// The hash of all self-signatures.
const SELF_SIGNATURE_HASH: HashAlgorithm = HashAlgorithm::Sha512;

/// The primary key that derives from a wallet key, in its OpenPGP and its plain form.
pub(super) fn primary(
    wallet: &WalletKey,
    kind: CertificateKind,
) -> Result<(SecretKey, ed25519_dalek::SigningKey), SecretCertificateError> {
    let info = match kind {
        CertificateKind::V6 | CertificateKind::V6Classic => "openpgp/primary/v6",
        CertificateKind::V4 => "openpgp/primary/v4",
    };
    let seed = wallet.derive(info);
    let signing = ed25519_dalek::SigningKey::from_bytes(&seed);
    let primary = openpgp_primary(&signing, kind).map_err(SecretCertificateError::OpenPgp)?;
    Ok((primary, signing))
}

fn openpgp_primary(
    signing: &ed25519_dalek::SigningKey,
    kind: CertificateKind,
) -> OpenPgpResult<SecretKey> {
    let seed = signing.to_bytes();
    let (algorithm, public, secret) = match kind {
        CertificateKind::V6 | CertificateKind::V6Classic => {
            let key = ed25519::SecretKey::try_from_bytes(seed, ed25519::Mode::Ed25519)?;
            (
                PublicKeyAlgorithm::Ed25519,
                PublicParams::Ed25519((&key).into()),
                PlainSecretParams::Ed25519(key),
            )
        }
        CertificateKind::V4 => {
            let key = ed25519::SecretKey::try_from_bytes(seed, ed25519::Mode::EdDSALegacy)?;
            (
                PublicKeyAlgorithm::EdDSALegacy,
                PublicParams::EdDSALegacy((&key).into()),
                PlainSecretParams::EdDSALegacy(eddsa_legacy::SecretKey::Ed25519(key)),
            )
        }
    };
    let created = Timestamp::from_secs(PRIMARY_CREATED_S);
    let inner = PubKeyInner::new(key_version(kind), algorithm, created, None, public)?;
    SecretKey::new(PublicKey::from_inner(inner)?, SecretParams::Plain(secret))
}

/// Signs the user ID and, for version 6, the key itself.
pub(super) fn self_signatures(
    primary: &SecretKey,
    wallet: WalletAddress,
    kind: CertificateKind,
    now_s: u64,
    rng: &mut (impl CryptoRng + RngCore),
) -> Result<SignedKeyDetails, SecretCertificateError> {
    let now = timestamp(now_s)?;
    sign_details(primary, wallet, kind, now, rng).map_err(SecretCertificateError::OpenPgp)
}

fn sign_details(
    primary: &SecretKey,
    wallet: WalletAddress,
    kind: CertificateKind,
    now: Timestamp,
    rng: &mut (impl CryptoRng + RngCore),
) -> OpenPgpResult<SignedKeyDetails> {
    let mut direct_signatures = Vec::new();
    let mut over_user_id = config(primary, SignatureType::CertPositive, now, rng)?;
    push(&mut over_user_id, SubpacketData::IsPrimary(true))?;
    if kind == CertificateKind::V4 {
        push_preferences(&mut over_user_id, kind)?;
    } else {
        let mut direct = config(primary, SignatureType::Key, now, rng)?;
        push_preferences(&mut direct, kind)?;
        direct_signatures.push(direct.sign_key(
            primary,
            &Password::empty(),
            primary.public_key(),
        )?);
    }
    let user_id = UserId::from_str(PacketHeaderVersion::New, wallet.to_string())?;
    let signature = over_user_id.sign_certification(
        primary,
        primary.public_key(),
        &Password::empty(),
        Tag::UserId,
        &user_id,
    )?;
    Ok(SignedKeyDetails {
        revocation_signatures: Vec::new(),
        direct_signatures,
        users: vec![user_id.into_signed(signature)],
        user_attributes: Vec::new(),
    })
}

/// Says what the primary key is for and what its owner reads.
fn push_preferences(config: &mut SignatureConfig, kind: CertificateKind) -> OpenPgpResult<()> {
    let mut flags = KeyFlags::default();
    flags.set_certify(true);
    flags.set_sign(true);
    push(config, SubpacketData::KeyFlags(flags))?;

    let mut features = Features::new();
    features.set_seipd_v1(true);
    features.set_seipd_v2(kind != CertificateKind::V4);
    push(config, SubpacketData::Features(features))?;

    let ciphers = [SymmetricKeyAlgorithm::AES256];
    push(
        config,
        SubpacketData::PreferredSymmetricAlgorithms(ciphers.into_iter().collect()),
    )?;
    if kind != CertificateKind::V4 {
        let suites = [AeadAlgorithm::Gcm, AeadAlgorithm::Ocb]
            .map(|mode| (SymmetricKeyAlgorithm::AES256, mode));
        push(
            config,
            SubpacketData::PreferredAeadAlgorithms(suites.into_iter().collect()),
        )?;
    }
    let hashes = [HashAlgorithm::Sha256, HashAlgorithm::Sha512];
    push(
        config,
        SubpacketData::PreferredHashAlgorithms(hashes.into_iter().collect()),
    )?;
    let compression = [CompressionAlgorithm::Uncompressed];
    push(
        config,
        SubpacketData::PreferredCompressionAlgorithms(compression.into_iter().collect()),
    )
}

/// The encryption subkeys of a kind, in the order of the certificate.
pub(super) const fn algorithms(kind: CertificateKind) -> &'static [SubkeyAlgorithm] {
    match kind {
        CertificateKind::V6 => &[SubkeyAlgorithm::X25519, SubkeyAlgorithm::MlKem768X25519],
        CertificateKind::V6Classic => &[SubkeyAlgorithm::X25519],
        CertificateKind::V4 => &[SubkeyAlgorithm::EcdhCurve25519],
    }
}

/// Makes new random encryption subkeys, in the order of the certificate, and binds them to the primary.
pub(super) fn subkeys(
    primary: &SecretKey,
    kind: CertificateKind,
    now_s: u64,
    rng: &mut (impl CryptoRng + RngCore),
) -> Result<Vec<SignedSecretSubKey>, SecretCertificateError> {
    let now = timestamp(now_s)?;
    algorithms(kind)
        .iter()
        .map(|algorithm| subkey(primary, *algorithm, key_version(kind), now, rng))
        .collect::<OpenPgpResult<_>>()
        .map_err(SecretCertificateError::OpenPgp)
}

fn subkey(
    primary: &SecretKey,
    algorithm: SubkeyAlgorithm,
    version: KeyVersion,
    now: Timestamp,
    rng: &mut (impl CryptoRng + RngCore),
) -> OpenPgpResult<SignedSecretSubKey> {
    let key_type = match algorithm {
        SubkeyAlgorithm::X25519 => KeyType::X25519,
        SubkeyAlgorithm::MlKem768X25519 => KeyType::MlKem768X25519,
        SubkeyAlgorithm::EcdhCurve25519 => KeyType::ECDH(ECCCurve::Curve25519Legacy),
    };
    let (public, secret) = key_type.generate(&mut *rng)?;
    let inner = PubKeyInner::new(version, key_type.to_alg(), now, None, public)?;
    let key = SecretSubkey::new(PublicSubkey::from_inner(inner)?, secret)?;

    let mut flags = KeyFlags::default();
    flags.set_encrypt_comms(true);
    flags.set_encrypt_storage(true);
    let mut binding = config(primary, SignatureType::SubkeyBinding, now, rng)?;
    push(&mut binding, SubpacketData::KeyFlags(flags))?;
    let signature = binding.sign_subkey_binding(
        primary,
        primary.public_key(),
        &Password::empty(),
        key.public_key(),
    )?;
    Ok(SignedSecretSubKey::new(key, vec![signature]))
}

/// A self-signature to be: time and issuer are in it, the caller adds what it says.
fn config(
    primary: &SecretKey,
    signature_type: SignatureType,
    now: Timestamp,
    rng: &mut (impl CryptoRng + RngCore),
) -> OpenPgpResult<SignatureConfig> {
    let algorithm = primary.algorithm();
    let mut config = if primary.version() == KeyVersion::V6 {
        SignatureConfig::v6(&mut *rng, signature_type, algorithm, SELF_SIGNATURE_HASH)?
    } else {
        let mut config = SignatureConfig::v4(signature_type, algorithm, SELF_SIGNATURE_HASH);
        config.unhashed_subpackets = vec![Subpacket::regular(SubpacketData::IssuerKeyId(
            primary.legacy_key_id(),
        ))?];
        config
    };
    push(&mut config, SubpacketData::SignatureCreationTime(now))?;
    push(
        &mut config,
        SubpacketData::IssuerFingerprint(primary.fingerprint()),
    )?;
    Ok(config)
}

fn push(config: &mut SignatureConfig, data: SubpacketData) -> OpenPgpResult<()> {
    config.hashed_subpackets.push(Subpacket::regular(data)?);
    Ok(())
}

const fn key_version(kind: CertificateKind) -> KeyVersion {
    match kind {
        CertificateKind::V6 | CertificateKind::V6Classic => KeyVersion::V6,
        CertificateKind::V4 => KeyVersion::V4,
    }
}

/// The time as OpenPGP writes it, never before that of the primary key.
fn timestamp(now_s: u64) -> Result<Timestamp, SecretCertificateError> {
    let now = u32::try_from(now_s).map_err(|_| SecretCertificateError::TimeOutOfRange(now_s))?;
    Ok(Timestamp::from_secs(now.max(PRIMARY_CREATED_S)))
}
