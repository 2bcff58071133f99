//! Certificates with their secrets: making, rotating, finding the key for a packet.

mod issuing;
mod storage;

use std::fmt;

use ed25519_dalek::Signer;
use pgp::composed::{
    ArmorOptions, SignedKeyDetails, SignedPublicKey, SignedSecretKey, SignedSecretSubKey,
};
use pgp::packet::SecretKey;
use rand::{CryptoRng, RngCore};
use zeroize::Zeroizing;

use crate::certificate::{Certificate, CertificateError, CertificateKind};
use crate::{Fingerprint, KeyId, WalletKey};

/// The creation time of every primary key, 2026-01-01T00:00:00Z in Unix seconds.
///
/// It is part of what the fingerprint covers; being fixed, the mnemonic restores the fingerprint.
pub const PRIMARY_CREATED_S: u32 = 1_767_225_600;

/// The most superseded subkeys that are kept, enough for a daily rotation over three weeks.
pub const MAX_SUPERSEDED_SUBKEYS: usize = 64;

/// The largest [`SecretCertificate::to_bytes`] that is read back, in bytes.
pub const MAX_SECRET_CERTIFICATE_BYTES: usize = 256 * 1024;

/// A certificate with its secret keys: the current subkeys and those superseded but not yet destroyed.
///
/// The primary key derives from the wallet key, so the mnemonic restores it; encryption subkeys are
/// random and are lost with this.
///
/// # Security
/// Secret keys are zeroised when dropped and `Debug` shows none.
#[derive(Clone)]
pub struct SecretCertificate {
    kind: CertificateKind,
    primary: SecretKey,
    signing: ed25519_dalek::SigningKey,
    details: SignedKeyDetails,
    current: Vec<SignedSecretSubKey>,
    superseded: Vec<SupersededSubkey>,
    certificate: Certificate,
}

/// A secret subkey that has been replaced but still opens packets under way.
#[derive(Clone)]
pub struct SupersededSubkey {
    since_s: u64,
    fingerprint: Fingerprint,
    /// Boxed, because a list that grows or shrinks would leave copies of secrets behind.
    secret: Box<SignedSecretSubKey>,
}

/// Why a secret certificate can't be made, rotated or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SecretCertificateError {
    /// The time does not fit the 32 bits that OpenPGP has for it.
    #[error("the clock shows {0} s since 1970, more than OpenPGP can write: set the clock")]
    TimeOutOfRange(u64),
    /// There are [`MAX_SUPERSEDED_SUBKEYS`] already.
    #[error("too many superseded subkeys are still kept: rotate again when some are destroyed")]
    TooManySuperseded,
    /// The OpenPGP library can't make a key or signature.
    #[error("the OpenPGP key can't be made")]
    OpenPgp(#[source] pgp::errors::Error),
    /// The certificate does not pass the checks that all certificates pass.
    #[error("the secret certificate holds an unacceptable certificate")]
    Certificate(#[from] CertificateError),
    /// More bytes than [`MAX_SECRET_CERTIFICATE_BYTES`].
    #[error("the secret certificate is larger than {MAX_SECRET_CERTIFICATE_BYTES} bytes")]
    TooLarge,
    /// The bytes are no stored secret certificate.
    #[error("the stored secret certificate is damaged")]
    Malformed(#[source] minicbor::decode::Error),
    /// The stored form is of a version that this program doesn't know.
    #[error("the secret certificate has format version {0}, which this program does not know")]
    UnknownVersion(u32),
    /// Its parts don't fit together.
    #[error("the parts of the stored secret certificate don't fit together")]
    Inconsistent,
}

impl SecretCertificate {
    /// Makes the certificate of a wallet: its primary key derived, its encryption subkeys random and new.
    ///
    /// The user ID is the wallet's EIP-55 address. `now_s` is the time of subkeys and signatures in
    /// Unix seconds; a time before [`PRIMARY_CREATED_S`] counts as that.
    ///
    /// # Errors
    /// [`SecretCertificateError::TimeOutOfRange`] for a clock beyond the year 2106.
    pub fn create(
        wallet: &WalletKey,
        kind: CertificateKind,
        now_s: u64,
        rng: &mut (impl CryptoRng + RngCore),
    ) -> Result<Self, SecretCertificateError> {
        let (primary, signing) = issuing::primary(wallet, kind)?;
        let details = issuing::self_signatures(&primary, wallet.address(), kind, now_s, rng)?;
        let current = issuing::subkeys(&primary, kind, now_s, rng)?;
        let certificate = public_part(&primary, &details, &current)?;
        Ok(Self {
            kind,
            primary,
            signing,
            details,
            current,
            superseded: Vec::new(),
            certificate,
        })
    }

    /// Replaces all encryption subkeys by new random ones; the old are kept as superseded since `now_s`.
    ///
    /// The primary key and its fingerprint stay; the wallet must sign a new binding.
    ///
    /// # Errors
    /// [`SecretCertificateError::TooManySuperseded`] if nothing was destroyed for long,
    /// [`SecretCertificateError::TimeOutOfRange`] as for [`SecretCertificate::create`]; nothing changes then.
    pub fn rotate(
        &mut self,
        now_s: u64,
        rng: &mut (impl CryptoRng + RngCore),
    ) -> Result<(), SecretCertificateError> {
        if self.superseded.len() + self.current.len() > MAX_SUPERSEDED_SUBKEYS {
            return Err(SecretCertificateError::TooManySuperseded);
        }
        let next = issuing::subkeys(&self.primary, self.kind, now_s, rng)?;
        let certificate = public_part(&self.primary, &self.details, &next)?;
        let old = std::mem::replace(&mut self.current, next);
        let subkeys = self.certificate.subkeys().iter();
        self.superseded
            .extend(subkeys.zip(old).map(|(subkey, secret)| SupersededSubkey {
                since_s: now_s,
                fingerprint: subkey.fingerprint,
                secret: Box::new(secret),
            }));
        self.certificate = certificate;
        Ok(())
    }

    /// The superseded subkeys, oldest rotation first.
    pub fn superseded(&self) -> &[SupersededSubkey] {
        &self.superseded
    }

    /// Destroys the secrets of subkeys superseded before `cutoff_s` (Unix seconds), returns how many.
    ///
    /// Packets encrypted to them can never be opened again: that is the forward secrecy of CONET.
    pub fn destroy_superseded_before(&mut self, cutoff_s: u64) -> usize {
        let before = self.superseded.len();
        self.superseded.retain(|subkey| subkey.since_s >= cutoff_s);
        before - self.superseded.len()
    }

    /// The public certificate, with the current subkeys only.
    pub const fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// Which keys the certificate is made of.
    pub const fn kind(&self) -> CertificateKind {
        self.kind
    }

    /// The secret subkey with this key ID, current or superseded, as the OpenPGP library's type.
    ///
    /// It is not locked: its password is empty.
    pub fn secret_subkey(&self, key_id: &KeyId) -> Option<&SignedSecretSubKey> {
        let current = self
            .certificate
            .subkeys()
            .iter()
            .zip(&self.current)
            .find_map(|(subkey, secret)| (subkey.key_id == *key_id).then_some(secret));
        current.or_else(|| {
            self.superseded
                .iter()
                .find(|subkey| subkey.fingerprint.key_id() == *key_id)
                .map(|subkey| &*subkey.secret)
        })
    }

    /// The secret primary key, for OpenPGP signatures, as the OpenPGP library's type.
    ///
    /// It is not locked: its password is empty.
    pub const fn primary(&self) -> &SecretKey {
        &self.primary
    }

    /// Signs `message` itself with the Ed25519 primary key (RFC 8032).
    ///
    /// # Security
    /// The same key signs hashes for OpenPGP. So that neither can be taken for the other, `message`
    /// must begin with a domain string that ends in NUL and be of no hash's length (32, 48 or 64 bytes).
    pub fn sign_raw(&self, message: &[u8]) -> [u8; 64] {
        debug_assert!(
            !matches!(message.len(), 32 | 48 | 64),
            "a raw message does not have the length of a hash that OpenPGP signs"
        );
        self.signing.sign(message).to_bytes()
    }

    /// The secret key for other OpenPGP programs: an armored `PGP PRIVATE KEY BLOCK`, not locked.
    ///
    /// It holds the primary key, the current and the superseded subkeys.
    pub fn to_openpgp_armored(&self) -> Zeroizing<String> {
        let options = ArmorOptions {
            headers: None,
            include_checksum: self.kind == CertificateKind::V4,
        };
        #[expect(clippy::expect_used, reason = "writing to a String does not fail")]
        let text = self
            .transferable()
            .to_armored_string(options)
            .expect("a certificate that was read or made can be written");
        Zeroizing::new(text)
    }

    /// All secret keys in one OpenPGP structure: current subkeys first, then the superseded.
    fn transferable(&self) -> SignedSecretKey {
        let superseded = self.superseded.iter().map(|subkey| &*subkey.secret);
        SignedSecretKey {
            primary_key: self.primary.clone(),
            details: self.details.clone(),
            public_subkeys: Vec::new(),
            secret_subkeys: self.current.iter().chain(superseded).cloned().collect(),
        }
    }
}

impl SupersededSubkey {
    fn new(since_s: u64, secret: SignedSecretSubKey) -> Result<Self, SecretCertificateError> {
        let fingerprint = crate::certificate::fingerprint_of(&secret.key)
            .ok_or(SecretCertificateError::Inconsistent)?;
        Ok(Self {
            since_s,
            fingerprint,
            secret: Box::new(secret),
        })
    }

    /// When the subkey was replaced, in Unix seconds.
    pub const fn since_s(&self) -> u64 {
        self.since_s
    }

    /// The subkey's fingerprint.
    pub const fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// The key ID that packets to this subkey show.
    pub const fn key_id(&self) -> KeyId {
        self.fingerprint.key_id()
    }
}

/// The checked public certificate of these parts.
fn public_part(
    primary: &SecretKey,
    details: &SignedKeyDetails,
    subkeys: &[SignedSecretSubKey],
) -> Result<Certificate, CertificateError> {
    let subkeys = subkeys
        .iter()
        .map(SignedSecretSubKey::signed_public_key)
        .collect();
    Certificate::from_openpgp(SignedPublicKey {
        primary_key: primary.public_key().clone(),
        details: details.clone(),
        public_subkeys: subkeys,
    })
}

impl fmt::Debug for SecretCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecretCertificate")
            .field("kind", &self.kind)
            .field("certificate", &self.certificate)
            .field("superseded", &self.superseded)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for SupersededSubkey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SupersededSubkey")
            .field("fingerprint", &self.fingerprint)
            .field("since_s", &self.since_s)
            .finish_non_exhaustive()
    }
}
