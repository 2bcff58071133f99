//! OpenPGP fingerprints and key IDs.

use std::{fmt, str::FromStr};

use crate::text_codec::{cbor_as_bytes, serde_as_text};

/// The 8 bytes that an encrypted packet shows of the key it is encrypted to.
///
/// Shown as 16 upper-case hexadecimal digits. Source: RFC 9580, section 5.5.4.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyId([u8; 8]);

/// The fingerprint of an OpenPGP key: SHA-1 of a v4 key, SHA-256 of a v6 key.
///
/// Shown as lower-case hexadecimal digits; its length tells the version. Source: RFC 9580,
/// section 5.5.4.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Fingerprint {
    /// Of a version 4 key.
    V4([u8; 20]),
    /// Of a version 6 key.
    V6([u8; 32]),
}

/// Why a text or byte string is no fingerprint or key ID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FingerprintError {
    /// The fingerprint is neither of version 4 nor of version 6.
    #[error("a fingerprint has 20 or 32 bytes, this one has {bytes}")]
    WrongLength {
        /// How many bytes there are.
        bytes: usize,
    },
    /// The key ID has another length.
    #[error("a key ID has 16 hexadecimal digits")]
    WrongKeyIdLength,
    /// The text holds something other than pairs of hexadecimal digits.
    #[error("a fingerprint or key ID has only pairs of hexadecimal digits")]
    NotHexadecimal,
}

impl KeyId {
    /// Wraps the 8 bytes of a key ID.
    pub const fn from_bytes(bytes: [u8; 8]) -> Self {
        Self(bytes)
    }

    /// The 8 bytes of the key ID.
    pub const fn as_bytes(&self) -> &[u8; 8] {
        &self.0
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&hex::encode_upper(self.0))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for KeyId {
    type Err = FingerprintError;

    /// Reads 16 hexadecimal digits of either case.
    fn from_str(text: &str) -> Result<Self, FingerprintError> {
        if text.len() != 16 {
            return Err(FingerprintError::WrongKeyIdLength);
        }
        let mut bytes = [0; 8];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| FingerprintError::NotHexadecimal)?;
        Ok(Self(bytes))
    }
}

impl From<[u8; 8]> for KeyId {
    fn from(bytes: [u8; 8]) -> Self {
        Self(bytes)
    }
}

impl AsRef<[u8]> for KeyId {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

serde_as_text!(KeyId);
cbor_as_bytes!(KeyId, 8);

impl Fingerprint {
    /// Reads a fingerprint of version 4 (20 bytes) or 6 (32 bytes), told apart by length.
    ///
    /// # Errors
    /// [`FingerprintError::WrongLength`] for any other length.
    pub fn from_slice(bytes: &[u8]) -> Result<Self, FingerprintError> {
        if let Ok(v4) = bytes.try_into() {
            return Ok(Self::V4(v4));
        }
        bytes
            .try_into()
            .map(Self::V6)
            .map_err(|_| FingerprintError::WrongLength { bytes: bytes.len() })
    }

    /// The 20 or 32 bytes of the fingerprint.
    pub const fn as_bytes(&self) -> &[u8] {
        match self {
            Self::V4(bytes) => bytes,
            Self::V6(bytes) => bytes,
        }
    }

    /// The key ID: the last 8 bytes of a v4 fingerprint, the first 8 of a v6 one.
    pub const fn key_id(&self) -> KeyId {
        let bytes = match self {
            Self::V4([.., a, b, c, d, e, f, g, h]) => [*a, *b, *c, *d, *e, *f, *g, *h],
            Self::V6([a, b, c, d, e, f, g, h, ..]) => [*a, *b, *c, *d, *e, *f, *g, *h],
        };
        KeyId(bytes)
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&hex::encode(self.as_bytes()))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Fingerprint {
    type Err = FingerprintError;

    /// Reads 40 or 64 hexadecimal digits of either case.
    fn from_str(text: &str) -> Result<Self, FingerprintError> {
        let mut buffer = [0; 32];
        let length = text.len() / 2;
        let bytes = buffer
            .get_mut(..length)
            .ok_or(FingerprintError::WrongLength { bytes: length })?;
        hex::decode_to_slice(text, bytes).map_err(|_| FingerprintError::NotHexadecimal)?;
        Self::from_slice(bytes)
    }
}

impl AsRef<[u8]> for Fingerprint {
    fn as_ref(&self) -> &[u8] {
        self.as_bytes()
    }
}

serde_as_text!(Fingerprint);

impl<C> minicbor::Encode<C> for Fingerprint {
    fn encode<W: minicbor::encode::Write>(
        &self,
        encoder: &mut minicbor::Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        encoder.bytes(self.as_bytes())?.ok()
    }
}

impl<'b, C> minicbor::Decode<'b, C> for Fingerprint {
    fn decode(
        decoder: &mut minicbor::Decoder<'b>,
        _: &mut C,
    ) -> Result<Self, minicbor::decode::Error> {
        let at = decoder.position();
        Self::from_slice(decoder.bytes()?)
            .map_err(|error| minicbor::decode::Error::custom(error).at(at))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn key_id_of_v4_is_the_end_and_of_v6_the_beginning() {
        let bytes: [u8; 32] = std::array::from_fn(|index| index as u8);
        let v6 = Fingerprint::V6(bytes);
        assert_eq!(v6.key_id().to_string(), "0001020304050607");
        let v4 = Fingerprint::from_slice(&bytes[..20]).unwrap();
        assert_eq!(v4.key_id().to_string(), "0C0D0E0F10111213");
    }

    #[test]
    fn fingerprint_of_another_length_is_refused() {
        for bytes in [0_usize, 8, 19, 21, 31, 33, 1_000] {
            let error = FingerprintError::WrongLength { bytes };
            assert_eq!(Fingerprint::from_slice(&vec![0; bytes]), Err(error));
            assert_eq!("00".repeat(bytes).parse::<Fingerprint>(), Err(error));
        }
    }

    proptest! {
        #[test]
        fn fingerprint_round_trips_as_text_cbor_and_json(bytes: [u8; 32], short: bool) {
            let length = if short { 20 } else { 32 };
            let fingerprint = Fingerprint::from_slice(&bytes[..length]).unwrap();
            prop_assert_eq!(fingerprint.to_string().parse::<Fingerprint>(), Ok(fingerprint));
            let cbor = minicbor::to_vec(fingerprint).unwrap();
            prop_assert_eq!(minicbor::decode::<Fingerprint>(&cbor).unwrap(), fingerprint);
            let json = serde_json::to_string(&fingerprint).unwrap();
            prop_assert_eq!(serde_json::from_str::<Fingerprint>(&json).unwrap(), fingerprint);
            let id = fingerprint.key_id();
            prop_assert_eq!(id.to_string().parse::<KeyId>(), Ok(id));
            let cbor = minicbor::to_vec(id).unwrap();
            prop_assert_eq!(minicbor::decode::<KeyId>(&cbor).unwrap(), id);
        }

        #[test]
        fn fingerprint_parsers_survive_any_input(text in ".{0,80}", bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = text.parse::<Fingerprint>();
            let _ = text.parse::<KeyId>();
            let _ = minicbor::decode::<Fingerprint>(&bytes);
            let _ = minicbor::decode::<KeyId>(&bytes);
        }
    }
}
