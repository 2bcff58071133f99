//! OpenPGP signatures over a literal: made out to one recipient, checked against one key.

use pgp::{
    crypto::hash::HashAlgorithm,
    packet::{
        OnePassSignature, PublicKey, Signature, SignatureConfig, SignatureType,
        SignatureVersionSpecific, Subpacket, SubpacketData,
    },
    types::{EddsaLegacyPublicParams, KeyDetails, KeyVersion, Password, PublicParams, Timestamp},
};
use rand::{CryptoRng, RngCore};
use wallet::{Fingerprint, SecretCertificate};

/// Bytes of the one-pass signature and signature packets of a version 6 signer, headers included.
pub(crate) const MAX_SIGNATURE_PACKETS_BYTES: usize = 6 + 54 + 6 + 171;

/// A signature and the packet that announces it.
pub(crate) struct Signed {
    pub(crate) announcement: OnePassSignature,
    pub(crate) signature: Signature,
}

/// Signs a literal's body by the certificate's primary key, made out to `recipient`.
pub(crate) fn sign(
    body: &[u8],
    signer: &SecretCertificate,
    recipient: Fingerprint,
    created_s: u32,
    rng: &mut (impl CryptoRng + RngCore),
) -> Result<Signed, pgp::errors::Error> {
    let key = signer.primary();
    // SHA-256 has hardware behind it on the machines that seal much; Ed25519 needs no more.
    let hash = HashAlgorithm::Sha256;
    let kind = SignatureType::Binary;
    let mut config = match key.version() {
        KeyVersion::V6 => SignatureConfig::v6(rng, kind, key.algorithm(), hash)?,
        _ => SignatureConfig::v4(kind, key.algorithm(), hash),
    };
    config.hashed_subpackets = [
        SubpacketData::SignatureCreationTime(Timestamp::from_secs(created_s)),
        SubpacketData::IssuerFingerprint(key.fingerprint()),
        SubpacketData::IntendedRecipientFingerprint(to_openpgp(recipient)),
    ]
    .into_iter()
    .map(Subpacket::regular)
    .collect::<Result<_, _>>()?;

    let announcement = match (&config.version_specific, key.fingerprint()) {
        (SignatureVersionSpecific::V6 { salt }, pgp::types::Fingerprint::V6(fingerprint)) => {
            OnePassSignature::v6(kind, hash, key.algorithm(), salt.clone(), fingerprint)
        }
        _ => OnePassSignature::v3(kind, hash, key.algorithm(), key.legacy_key_id()),
    };
    Ok(Signed {
        announcement,
        signature: config.sign(key, &Password::empty(), body)?,
    })
}

/// What a signature says of itself, before it is checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Claims {
    /// Fingerprint of the signing key, if it names one.
    pub(crate) issuer: Option<Fingerprint>,
    /// Whether it is over the bytes themselves, not over a text with any line ends.
    pub(crate) is_binary: bool,
    /// Primary fingerprints that it is made out to.
    recipients: Vec<Option<Fingerprint>>,
}

impl Claims {
    /// Reads the hashed subpackets of a signature over data.
    ///
    /// `None` for a signature of another type or with a weak hash: it says nothing of the data.
    pub(crate) fn of(signature: &Signature) -> Option<Self> {
        let config = signature.config()?;
        let strong = matches!(
            config.hash_alg,
            HashAlgorithm::Sha256
                | HashAlgorithm::Sha384
                | HashAlgorithm::Sha512
                | HashAlgorithm::Sha3_256
                | HashAlgorithm::Sha3_512
        );
        if !strong || !matches!(config.typ, SignatureType::Binary | SignatureType::Text) {
            return None;
        }
        let mut claims = Self {
            issuer: None,
            is_binary: config.typ == SignatureType::Binary,
            recipients: Vec::new(),
        };
        for subpacket in &config.hashed_subpackets {
            match &subpacket.data {
                SubpacketData::IssuerFingerprint(fingerprint) => {
                    claims.issuer = from_openpgp(fingerprint);
                }
                SubpacketData::IntendedRecipientFingerprint(fingerprint) => {
                    claims.recipients.push(from_openpgp(fingerprint));
                }
                _ => {}
            }
        }
        Some(claims)
    }

    /// Whether it is made out to this certificate.
    pub(crate) fn names(&self, recipient: Fingerprint) -> bool {
        self.recipients.contains(&Some(recipient))
    }

    /// Whether it is made out to nobody in particular.
    pub(crate) fn names_nobody(&self) -> bool {
        self.recipients.is_empty()
    }
}

/// Reads the body of a Public-Key packet of an Ed25519 primary key, with nothing after it.
pub(crate) fn primary_key(mut body: &[u8]) -> Option<PublicKey> {
    let header = pgp::packet::PacketHeader::new_fixed(
        pgp::types::Tag::PublicKey,
        body.len().try_into().ok()?,
    );
    let key = PublicKey::try_from_reader(header, &mut body).ok()?;
    let is_ed25519 = matches!(
        (key.version(), key.public_params()),
        (KeyVersion::V4 | KeyVersion::V6, PublicParams::Ed25519(_))
            | (
                KeyVersion::V4,
                PublicParams::EdDSALegacy(EddsaLegacyPublicParams::Ed25519 { .. })
            )
    );
    (body.is_empty() && is_ed25519).then_some(key)
}

/// Reads a fingerprint of a version 4 or 6 key.
pub(crate) fn from_openpgp(fingerprint: &pgp::types::Fingerprint) -> Option<Fingerprint> {
    match fingerprint {
        pgp::types::Fingerprint::V4(bytes) => Some(Fingerprint::V4(*bytes)),
        pgp::types::Fingerprint::V6(bytes) => Some(Fingerprint::V6(*bytes)),
        _ => None,
    }
}

fn to_openpgp(fingerprint: Fingerprint) -> pgp::types::Fingerprint {
    match fingerprint {
        Fingerprint::V4(bytes) => pgp::types::Fingerprint::V4(bytes),
        Fingerprint::V6(bytes) => pgp::types::Fingerprint::V6(bytes),
    }
}
