//! Public OpenPGP certificates of wallets and nodes.

mod reading;

pub(crate) use reading::fingerprint as fingerprint_of;

use std::fmt;

use pgp::composed::{ArmorOptions, SignedPublicKey, SignedPublicSubKey};
use pgp::ser::Serialize;

use crate::{Fingerprint, KeyId, WalletAddress};

/// The largest certificate that is read or made, in bytes of its binary form.
///
/// A v6 certificate with the post-quantum subkey has about 2 KiB.
pub const MAX_CERTIFICATE_BYTES: usize = 16 * 1024;

/// The most encryption subkeys that a certificate may have.
pub const MAX_SUBKEYS: usize = 8;

/// Which keys a certificate is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CertificateKind {
    /// Version 6: Ed25519, with X25519 and ML-KEM-768+X25519 for encryption (RFC 9580, RFC 9980).
    V6,
    /// Version 6 without the post-quantum subkey, for OpenPGP programs that don't know it, and for nodes.
    V6Classic,
    /// Version 4: EdDSA legacy and ECDH over Curve25519, for stock `gpg`.
    V4,
}

impl CertificateKind {
    /// The kind that every node has: layers are small and shed at once, so they need no ML-KEM.
    pub const NODE: Self = Self::V6Classic;
}

/// The algorithm of an encryption subkey.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SubkeyAlgorithm {
    /// X25519 (RFC 9580, section 5.5.5.7).
    X25519,
    /// ML-KEM-768 with X25519, secure against quantum computers (RFC 9980).
    MlKem768X25519,
    /// ECDH over Curve25519 in the legacy form of version 4 keys.
    EcdhCurve25519,
}

/// An encryption subkey of a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subkey {
    /// The key ID that packets to this subkey show.
    pub key_id: KeyId,
    /// The subkey's fingerprint.
    pub fingerprint: Fingerprint,
    /// What it encrypts with.
    pub algorithm: SubkeyAlgorithm,
    /// When it was made, in Unix seconds.
    pub created_s: u64,
}

/// A checked OpenPGP certificate: primary key, user IDs and encryption subkeys, each signed by the primary.
///
/// Whoever holds one knows that all self-signatures were verified. It doesn't tell that the primary
/// key belongs to the wallet that the user ID names: that takes a [`crate::CertificateBinding`].
#[derive(Clone)]
pub struct Certificate {
    openpgp: SignedPublicKey,
    fingerprint: Fingerprint,
    primary: ed25519_dalek::VerifyingKey,
    subkeys: Vec<Subkey>,
    wallet: Option<WalletAddress>,
    supports_seipd_v2: bool,
    prefers_gcm: bool,
}

/// Why bytes are not a certificate that CONET accepts.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CertificateError {
    /// More bytes than [`MAX_CERTIFICATE_BYTES`].
    #[error("the certificate is larger than {MAX_CERTIFICATE_BYTES} bytes")]
    TooLarge,
    /// The bytes are no OpenPGP packets, or end too early.
    #[error("this is not an OpenPGP certificate")]
    Malformed(#[source] pgp::errors::Error),
    /// The armor holds something else, for example a secret key.
    #[error("the armored text is not a public key block")]
    NotPublicKeyBlock,
    /// A packet that a certificate doesn't have, or more of them than one certificate needs.
    #[error("the certificate holds packets that don't belong there")]
    UnexpectedPacket,
    /// Bytes that would be lost when written again: a second certificate, unsigned parts, odd encodings.
    #[error("the certificate holds more than signed parts of one key")]
    NotCanonical,
    /// The primary key is not Ed25519, of version 4 or 6.
    #[error("the certificate's primary key is not an Ed25519 key of version 4 or 6")]
    UnsupportedPrimary,
    /// A subkey is not for encryption with X25519, ML-KEM-768+X25519 or ECDH Curve25519.
    #[error("a subkey is not an encryption key of a supported kind")]
    UnsupportedSubkey,
    /// There is no encryption subkey, or there are more than [`MAX_SUBKEYS`].
    #[error("the certificate has {0} encryption subkeys, it needs 1 to {MAX_SUBKEYS}")]
    SubkeyCount(usize),
    /// No direct-key signature (version 6) or no self-signed user ID (version 4).
    #[error("the certificate lacks the self-signature of its primary key")]
    MissingSelfSignature,
    /// A signature of a wrong type, with a hash weaker than SHA-256 or without a time.
    #[error("the certificate has a signature of a kind that is not accepted")]
    UnacceptableSignature,
    /// A signature does not verify.
    #[error("a signature in the certificate is wrong")]
    BadSignature(#[source] pgp::errors::Error),
    /// The certificate or a subkey is revoked.
    #[error("the certificate or one of its subkeys is revoked")]
    Revoked,
    /// A key or signature has an expiration time; those of CONET are superseded instead.
    #[error("the certificate has an expiration time, which CONET does not use")]
    Expires,
}

impl Certificate {
    /// Reads a certificate, binary or armored, and verifies every signature in it.
    ///
    /// Whatever is accepted is written by [`Certificate::to_bytes`] as it came (armor aside).
    ///
    /// # Errors
    /// [`CertificateError`] says what is wrong with it.
    pub fn parse(bytes: &[u8]) -> Result<Self, CertificateError> {
        reading::parse(bytes)
    }

    /// The fingerprint of the primary key.
    pub const fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// The encryption subkeys, in the certificate's order.
    pub fn subkeys(&self) -> &[Subkey] {
        &self.subkeys
    }

    /// The key IDs of the encryption subkeys, in the certificate's order.
    pub fn key_ids(&self) -> Vec<KeyId> {
        self.subkeys.iter().map(|subkey| subkey.key_id).collect()
    }

    /// The first subkey of `algorithm`, as the OpenPGP library's type.
    pub fn subkey_of(&self, algorithm: SubkeyAlgorithm) -> Option<&SignedPublicSubKey> {
        self.subkeys
            .iter()
            .zip(&self.openpgp.public_subkeys)
            .find_map(|(subkey, openpgp)| (subkey.algorithm == algorithm).then_some(openpgp))
    }

    /// The subkey that packets with this key ID are encrypted to, as the OpenPGP library's type.
    pub fn subkey(&self, key_id: &KeyId) -> Option<&SignedPublicSubKey> {
        self.subkeys
            .iter()
            .zip(&self.openpgp.public_subkeys)
            .find_map(|(subkey, openpgp)| (subkey.key_id == *key_id).then_some(openpgp))
    }

    /// The subkey for end-to-end packets: ML-KEM-768+X25519 where there is one, else the first.
    pub fn end_to_end_subkey(&self) -> &SignedPublicSubKey {
        let [first, ..] = self.openpgp.public_subkeys.as_slice() else {
            unreachable!("a certificate has at least one subkey, checked when it was read")
        };
        self.subkey_of(SubkeyAlgorithm::MlKem768X25519)
            .unwrap_or(first)
    }

    /// The subkey for layers: the first classic one, else the first.
    pub fn layer_subkey(&self) -> &SignedPublicSubKey {
        self.subkey_of(SubkeyAlgorithm::X25519)
            .or_else(|| self.subkey_of(SubkeyAlgorithm::EcdhCurve25519))
            .unwrap_or_else(|| self.end_to_end_subkey())
    }

    /// Whether the owner reads SEIPDv2 (RFC 9580, section 5.13.2).
    pub const fn supports_seipd_v2(&self) -> bool {
        self.supports_seipd_v2
    }

    /// Whether the owner prefers AES-256-GCM to AES-256-OCB.
    pub const fn prefers_gcm(&self) -> bool {
        self.prefers_gcm
    }

    /// The Ed25519 public key of the primary.
    pub fn primary_ed25519(&self) -> [u8; 32] {
        self.primary.to_bytes()
    }

    /// Whether `signature` is the primary key's Ed25519 signature over `message` itself.
    ///
    /// # Security
    /// See [`crate::SecretCertificate::sign_raw`] for what such a message must begin with.
    pub fn verify_raw(&self, message: &[u8], signature: &[u8; 64]) -> bool {
        let signature = ed25519_dalek::Signature::from_bytes(signature);
        self.primary.verify_strict(message, &signature).is_ok()
    }

    /// The wallet that the user ID names: a claim, until a [`crate::CertificateBinding`] proves it.
    pub const fn wallet(&self) -> Option<WalletAddress> {
        self.wallet
    }

    /// The certificate as the OpenPGP library's type.
    pub const fn as_openpgp(&self) -> &SignedPublicKey {
        &self.openpgp
    }

    /// The certificate in binary form, at most [`MAX_CERTIFICATE_BYTES`].
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.openpgp.write_len());
        #[expect(clippy::expect_used, reason = "writing to a Vec does not fail")]
        self.openpgp
            .to_writer(&mut bytes)
            .expect("a certificate that was read or made can be written");
        bytes
    }

    /// The certificate as an armored `PGP PUBLIC KEY BLOCK`.
    pub fn armored(&self) -> String {
        #[expect(clippy::expect_used, reason = "writing to a String does not fail")]
        self.openpgp
            .to_armored_string(self.armor_options())
            .expect("a certificate that was read or made can be written")
    }

    /// A v6 block must not carry the CRC-24 that v4 programs may still want (RFC 9580, section 6.1).
    fn armor_options(&self) -> ArmorOptions<'static> {
        ArmorOptions {
            headers: None,
            include_checksum: matches!(self.fingerprint, Fingerprint::V4(_)),
        }
    }
}

impl PartialEq for Certificate {
    fn eq(&self, other: &Self) -> bool {
        self.openpgp == other.openpgp
    }
}

impl Eq for Certificate {}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate")
            .field("fingerprint", &self.fingerprint)
            .field("wallet", &self.wallet)
            .field("subkeys", &self.subkeys)
            .finish_non_exhaustive()
    }
}
