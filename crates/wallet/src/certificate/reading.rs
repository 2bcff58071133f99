//! Reads certificates and checks all that they claim of themselves.

use std::io::{BufReader, Read};

use pgp::armor::{BlockType, Dearmor};
use pgp::composed::{Deserializable, SignedPublicKey, SignedPublicSubKey};
use pgp::crypto::aead::AeadAlgorithm;
use pgp::crypto::hash::HashAlgorithm;
use pgp::crypto::sym::SymmetricKeyAlgorithm;
use pgp::packet::{Packet, PacketParser, Signature, SignatureType};
use pgp::types::{EcdhPublicParams, EddsaLegacyPublicParams, KeyDetails, KeyVersion, PublicParams};

use super::{
    Certificate, CertificateError, MAX_CERTIFICATE_BYTES, MAX_SUBKEYS, Subkey, SubkeyAlgorithm,
};
use crate::{Fingerprint, WalletAddress};

/// The most packets in a certificate: the primary key, user IDs, subkeys, and few signatures each.
const MAX_PACKETS: usize = 64;

/// Armor makes 4 bytes of 3 and adds line ends and headers.
const MAX_ARMORED_BYTES: usize = 2 * MAX_CERTIFICATE_BYTES;

pub(super) fn parse(bytes: &[u8]) -> Result<Certificate, CertificateError> {
    let is_binary = bytes.first().is_some_and(|first| first & 0x80 != 0);
    if is_binary {
        parse_binary(bytes)
    } else {
        parse_binary(&dearmor(bytes)?)
    }
}

fn dearmor(text: &[u8]) -> Result<Vec<u8>, CertificateError> {
    if text.len() > MAX_ARMORED_BYTES {
        return Err(CertificateError::TooLarge);
    }
    let mut dearmor = Dearmor::new(BufReader::new(text));
    dearmor.read_header().map_err(CertificateError::Malformed)?;
    if dearmor.typ != Some(BlockType::PublicKey) {
        return Err(CertificateError::NotPublicKeyBlock);
    }
    let mut bytes = Vec::new();
    dearmor
        .read_to_end(&mut bytes)
        .map_err(|error| CertificateError::Malformed(error.into()))?;
    Ok(bytes)
}

fn parse_binary(bytes: &[u8]) -> Result<Certificate, CertificateError> {
    if bytes.len() > MAX_CERTIFICATE_BYTES {
        return Err(CertificateError::TooLarge);
    }
    let packets = read_packets(bytes)?;
    let openpgp = SignedPublicKey::from_packets(packets.into_iter().map(Ok).peekable())
        .next()
        .ok_or(CertificateError::UnexpectedPacket)?
        .map_err(CertificateError::Malformed)?;
    let certificate = Certificate::from_openpgp(openpgp)?;
    if certificate.to_bytes() != bytes {
        return Err(CertificateError::NotCanonical);
    }
    Ok(certificate)
}

/// Reads all packets, the first error ends it; a certificate has few kinds of them.
fn read_packets(bytes: &[u8]) -> Result<Vec<Packet>, CertificateError> {
    let mut packets = Vec::new();
    for packet in PacketParser::new(bytes) {
        let packet = packet.map_err(CertificateError::Malformed)?;
        let belongs = match &packet {
            Packet::PublicKey(_) => packets.is_empty(),
            Packet::Signature(_) | Packet::UserId(_) | Packet::PublicSubkey(_) => true,
            _ => false,
        };
        if !belongs || packets.len() == MAX_PACKETS {
            return Err(CertificateError::UnexpectedPacket);
        }
        packets.push(packet);
    }
    Ok(packets)
}

impl Certificate {
    /// Checks a certificate that was read or made: algorithms, signatures, revocations, bounds.
    pub(crate) fn from_openpgp(openpgp: SignedPublicKey) -> Result<Self, CertificateError> {
        let primary = primary_key(&openpgp)?;
        let fingerprint = fingerprint(&openpgp).ok_or(CertificateError::UnsupportedPrimary)?;
        let subkeys: Vec<Subkey> = openpgp
            .public_subkeys
            .iter()
            .map(subkey)
            .collect::<Result<_, _>>()?;
        if subkeys.is_empty() || subkeys.len() > MAX_SUBKEYS {
            return Err(CertificateError::SubkeyCount(subkeys.len()));
        }
        check_primary_signatures(&openpgp)?;
        openpgp
            .verify_bindings()
            .map_err(CertificateError::BadSignature)?;

        let preferences =
            newest_preferences(&openpgp).ok_or(CertificateError::MissingSelfSignature)?;
        let supports_seipd_v2 = preferences
            .features()
            .is_some_and(|features| features.seipd_v2());
        let prefers_gcm = prefers_gcm(preferences);
        let wallet = openpgp
            .details
            .users
            .iter()
            .find_map(|user| user.id.as_str()?.parse::<WalletAddress>().ok());
        Ok(Self {
            fingerprint,
            primary,
            subkeys,
            wallet,
            supports_seipd_v2,
            prefers_gcm,
            openpgp,
        })
    }
}

/// The Ed25519 key of the primary, in either of its OpenPGP forms.
fn primary_key(openpgp: &SignedPublicKey) -> Result<ed25519_dalek::VerifyingKey, CertificateError> {
    match (openpgp.version(), openpgp.public_params()) {
        (KeyVersion::V4 | KeyVersion::V6, PublicParams::Ed25519(params)) => Ok(params.key),
        (KeyVersion::V4, PublicParams::EdDSALegacy(EddsaLegacyPublicParams::Ed25519 { key })) => {
            Ok(*key)
        }
        _ => Err(CertificateError::UnsupportedPrimary),
    }
}

/// The fingerprint of a key of version 4 or 6.
pub(crate) fn fingerprint(key: &impl KeyDetails) -> Option<Fingerprint> {
    match key.fingerprint() {
        pgp::types::Fingerprint::V4(bytes) => Some(Fingerprint::V4(bytes)),
        pgp::types::Fingerprint::V6(bytes) => Some(Fingerprint::V6(bytes)),
        _ => None,
    }
}

fn subkey(subkey: &SignedPublicSubKey) -> Result<Subkey, CertificateError> {
    let algorithm = match subkey.public_params() {
        PublicParams::X25519(_) => SubkeyAlgorithm::X25519,
        PublicParams::MlKem768X25519(_) => SubkeyAlgorithm::MlKem768X25519,
        PublicParams::ECDH(EcdhPublicParams::Curve25519Legacy { .. }) => {
            SubkeyAlgorithm::EcdhCurve25519
        }
        _ => return Err(CertificateError::UnsupportedSubkey),
    };
    for signature in &subkey.signatures {
        match signature.typ() {
            Some(SignatureType::SubkeyBinding) => check_strength(signature)?,
            Some(SignatureType::SubkeyRevocation) => return Err(CertificateError::Revoked),
            _ => return Err(CertificateError::UnacceptableSignature),
        }
        let flags = signature.key_flags();
        if !(flags.encrypt_comms() && !flags.sign() && !flags.certify()) {
            return Err(CertificateError::UnsupportedSubkey);
        }
    }
    let fingerprint = fingerprint(subkey).ok_or(CertificateError::UnsupportedSubkey)?;
    Ok(Subkey {
        key_id: fingerprint.key_id(),
        fingerprint,
        algorithm,
        created_s: subkey.created_at().as_secs().into(),
    })
}

/// Checks the kinds of all signatures over the primary key and its user IDs, not yet their validity.
fn check_primary_signatures(openpgp: &SignedPublicKey) -> Result<(), CertificateError> {
    let details = &openpgp.details;
    if !details.revocation_signatures.is_empty() {
        return Err(CertificateError::Revoked);
    }
    for signature in &details.direct_signatures {
        if signature.typ() != Some(SignatureType::Key) {
            return Err(CertificateError::UnacceptableSignature);
        }
        check_strength(signature)?;
    }
    for signature in details.users.iter().flat_map(|user| &user.signatures) {
        if signature.typ() == Some(SignatureType::CertRevocation) {
            return Err(CertificateError::Revoked);
        }
        check_strength(signature)?;
    }
    Ok(())
}

/// Accepts signatures with a time, a hash of SHA-256 or better and no expiration.
fn check_strength(signature: &Signature) -> Result<(), CertificateError> {
    let strong = matches!(
        signature.hash_alg(),
        Some(
            HashAlgorithm::Sha256
                | HashAlgorithm::Sha384
                | HashAlgorithm::Sha512
                | HashAlgorithm::Sha3_256
                | HashAlgorithm::Sha3_512
        )
    );
    if !strong || signature.created().is_none() {
        return Err(CertificateError::UnacceptableSignature);
    }
    let expires = [
        signature.key_expiration_time(),
        signature.signature_expiration_time(),
    ]
    .into_iter()
    .flatten()
    .any(|duration| duration.as_secs() != 0);
    if expires {
        return Err(CertificateError::Expires);
    }
    Ok(())
}

/// The self-signature whose preferences count: the newest direct-key signature, or the newest over a
/// user ID for version 4 without one. A version 6 key needs the former (RFC 9580, section 10.1.1).
fn newest_preferences(openpgp: &SignedPublicKey) -> Option<&Signature> {
    let details = &openpgp.details;
    let direct = details
        .direct_signatures
        .iter()
        .max_by_key(|signature| signature.created());
    if openpgp.version() == KeyVersion::V6 {
        return direct;
    }
    details
        .users
        .iter()
        .flat_map(|user| &user.signatures)
        .max_by_key(|signature| signature.created())
}

/// Whether AES-256-GCM comes before AES-256-OCB, which everybody reads, in the preferences.
fn prefers_gcm(preferences: &Signature) -> bool {
    preferences
        .preferred_aead_algs()
        .iter()
        .filter(|(cipher, _)| *cipher == SymmetricKeyAlgorithm::AES256)
        .map(|(_, mode)| *mode)
        .find(|mode| matches!(mode, AeadAlgorithm::Gcm | AeadAlgorithm::Ocb))
        == Some(AeadAlgorithm::Gcm)
}
