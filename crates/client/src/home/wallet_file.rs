//! One wallet on disk: what may be known of it, and its key under a password.

use serde::{Deserialize, Serialize};
use wallet::{CertificateKind, WalletAddress};

use super::Label;

/// The longest wallet file, bytes: a keystore, a mnemonic and a few words take 2 KiB.
pub(super) const MAX_WALLET_FILE_BYTES: u64 = 64 * 1024;

/// The format that this program writes.
pub(super) const FORMAT: u32 = 1;

/// A wallet file.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct WalletFile {
    pub(super) version: u32,
    #[serde(flatten)]
    pub(super) head: WalletHead,
    /// The key: Web3 Secret Storage version 3.
    pub(super) keystore: serde_json::Value,
    /// The words that the key comes from, encrypted under the key, in base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) mnemonic: Option<String>,
}

/// What a home shows of a wallet without its password.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct WalletHead {
    /// What its owner calls it.
    pub label: Label,
    /// Its address.
    pub address: WalletAddress,
    /// What its certificate is made of: `v6`, `v6-classic` or `v4`.
    #[serde(with = "kind_text")]
    pub certificate: CertificateKind,
    /// When it came into this home, Unix milliseconds.
    pub created_ms: u64,
    /// Its place among the wallets of its mnemonic, if it came from one that is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<u32>,
    /// Whether the password is empty, so that programs need not ask.
    #[serde(default)]
    pub password_is_empty: bool,
}

/// Certificate kinds as the command line writes them.
pub(super) mod kind_text {
    use serde::de::Error as _;
    use serde::{Deserialize as _, Deserializer, Serializer};
    use wallet::CertificateKind;

    pub(crate) fn name(kind: CertificateKind) -> &'static str {
        match kind {
            CertificateKind::V6Classic => "v6-classic",
            CertificateKind::V4 => "v4",
            _ => "v6",
        }
    }

    pub(super) fn serialize<S: Serializer>(
        kind: &CertificateKind,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(name(*kind))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<CertificateKind, D::Error> {
        let text = String::deserialize(deserializer)?;
        match text.as_str() {
            "v6" => Ok(CertificateKind::V6),
            "v6-classic" => Ok(CertificateKind::V6Classic),
            "v4" => Ok(CertificateKind::V4),
            _ => Err(D::Error::custom("a certificate is v6, v6-classic or v4")),
        }
    }
}
