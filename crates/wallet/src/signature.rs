//! Signatures by wallets.

use std::{fmt, str::FromStr};

use k256::ecdsa::{RecoveryId, Signature, VerifyingKey};
use sha3::{Digest, Keccak256};

use crate::{
    WalletAddress,
    text_codec::{cbor_as_bytes, serde_as_text},
};

/// A recoverable secp256k1 signature, r ‖ s ‖ v: 65 bytes, v is 27 or 28.
///
/// Any 65 bytes can be held; whether they are a signature shows when a wallet is recovered.
/// Shown as `0x` and 130 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct WalletSignature([u8; 65]);

/// Why no wallet can be recovered from a signature, or a text is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignatureError {
    /// The text is not `0x` and 130 hexadecimal digits.
    #[error("a wallet signature is 0x and 130 hexadecimal digits")]
    NotHexadecimal,
    /// The last byte is neither 27 nor 28.
    #[error("the recovery byte of a wallet signature is 27 or 28, not {0}")]
    WrongRecoveryByte(u8),
    /// `s` lies in the upper half of the group order, which EIP-2 forbids.
    #[error("the wallet signature has a high s")]
    HighS,
    /// No public key fits this signature.
    #[error("the wallet signature is invalid")]
    Invalid,
}

impl WalletSignature {
    /// Wraps r ‖ s ‖ v.
    pub const fn from_bytes(bytes: [u8; 65]) -> Self {
        Self(bytes)
    }

    /// The 65 bytes r ‖ s ‖ v.
    pub const fn as_bytes(&self) -> &[u8; 65] {
        &self.0
    }

    pub(crate) fn from_parts(signature: &Signature, recovery: RecoveryId) -> Self {
        let mut bytes = [0; 65];
        let (scalars, v) = bytes.split_at_mut(64);
        scalars.copy_from_slice(&signature.to_bytes());
        v.fill(27 + recovery.to_byte());
        Self(bytes)
    }

    /// Recovers the wallet that signed a 32-byte hash.
    ///
    /// # Errors
    /// [`SignatureError`] where v is not 27 or 28, s is high (EIP-2) or the numbers are no signature.
    pub fn recover_hash(&self, hash: &[u8; 32]) -> Result<WalletAddress, SignatureError> {
        let [scalars @ .., v] = &self.0;
        let recovery = v
            .checked_sub(27)
            .filter(|bit| *bit < 2)
            .and_then(RecoveryId::from_byte)
            .ok_or(SignatureError::WrongRecoveryByte(*v))?;
        let signature = Signature::from_slice(scalars).map_err(|_| SignatureError::Invalid)?;
        if signature.normalize_s().is_some() {
            return Err(SignatureError::HighS);
        }
        let key = VerifyingKey::recover_from_prehash(hash, &signature, recovery)
            .map_err(|_| SignatureError::Invalid)?;
        Ok(address_of(&key))
    }

    /// Recovers the wallet that signed a message by EIP-191, version 0x45.
    ///
    /// # Errors
    /// As [`WalletSignature::recover_hash`].
    pub fn recover_message(&self, message: &[u8]) -> Result<WalletAddress, SignatureError> {
        self.recover_hash(&message_hash(message))
    }
}

/// The hash that EIP-191 version 0x45 (`personal_sign`) signs for `message`.
pub(crate) fn message_hash(message: &[u8]) -> [u8; 32] {
    Keccak256::new()
        .chain_update(b"\x19Ethereum Signed Message:\n")
        .chain_update(message.len().to_string())
        .chain_update(message)
        .finalize()
        .into()
}

/// The address of a public key: the last 20 bytes of the Keccak-256 of its coordinates.
pub(crate) fn address_of(key: &VerifyingKey) -> WalletAddress {
    let point = key.to_encoded_point(false);
    let coordinates = point.as_bytes().get(1..).unwrap_or_default();
    let hash: [u8; 32] = Keccak256::digest(coordinates).into();
    let mut address = [0; 20];
    for (to, from) in address.iter_mut().zip(hash.iter().skip(12)) {
        *to = *from;
    }
    WalletAddress::from_bytes(address)
}

impl fmt::Display for WalletSignature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{}", hex::encode(self.0))
    }
}

impl fmt::Debug for WalletSignature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for WalletSignature {
    type Err = SignatureError;

    fn from_str(text: &str) -> Result<Self, SignatureError> {
        let mut bytes = [0; 65];
        let digits = text
            .strip_prefix("0x")
            .ok_or(SignatureError::NotHexadecimal)?;
        hex::decode_to_slice(digits, &mut bytes).map_err(|_| SignatureError::NotHexadecimal)?;
        Ok(Self(bytes))
    }
}

serde_as_text!(WalletSignature);
cbor_as_bytes!(WalletSignature, 65);
