//! The JSON of a keystore.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::KeystoreError;
use super::key_derivation::Kdf;

/// The only cipher of version 3.
pub(super) const AES_128_CTR: &str = "aes-128-ctr";

#[derive(Serialize, Deserialize)]
pub(super) struct Keystore {
    pub(super) version: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) address: Option<String>,
    #[serde(alias = "Crypto")]
    pub(super) crypto: Crypto,
}

#[derive(Serialize, Deserialize)]
pub(super) struct Crypto {
    pub(super) cipher: String,
    pub(super) cipherparams: CipherParams,
    pub(super) ciphertext: HexBytes,
    #[serde(flatten)]
    pub(super) kdf: Kdf,
    pub(super) mac: HexBytes,
}

#[derive(Serialize, Deserialize)]
pub(super) struct CipherParams {
    pub(super) iv: HexBytes,
}

/// Reads the version first, so that an older keystore is called that and not malformed.
pub(super) fn parse(json: &str) -> Result<Keystore, KeystoreError> {
    #[derive(Deserialize)]
    struct Version {
        version: u32,
    }

    let Version { version } = serde_json::from_str(json).map_err(KeystoreError::Malformed)?;
    if version != 3 {
        return Err(KeystoreError::UnknownVersion(version));
    }
    serde_json::from_str(json).map_err(KeystoreError::Malformed)
}

/// Bytes as hexadecimal digits, with or without `0x`.
pub(super) struct HexBytes(pub(super) Vec<u8>);

impl Serialize for HexBytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex::encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for HexBytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let digits = text.strip_prefix("0x").unwrap_or(&text);
        hex::decode(digits)
            .map(Self)
            .map_err(serde::de::Error::custom)
    }
}
