//! What stands for a body in a signature: its SHA-256 (RFC 9530).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sfv::{Dictionary, ListEntry, Parser};
use sha2::{Digest as _, Sha256};
use thiserror::Error;

/// The field's one algorithm that is known here; others may stand beside it.
const ALGORITHM: &str = "sha-256";

/// The SHA-256 of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BodyDigest([u8; 32]);

/// Makes the digest of a body that comes in parts.
#[derive(Debug, Clone, Default)]
pub struct BodyHasher(Sha256);

/// Why a `Content-Digest` says nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DigestError {
    /// The field is no dictionary of structured fields.
    #[error("the Content-Digest can't be read")]
    Malformed,
    /// There is no digest by SHA-256 among them.
    #[error("the Content-Digest has no sha-256")]
    NoSha256,
}

impl BodyDigest {
    /// Hashes a whole body.
    #[must_use]
    pub fn of(body: &[u8]) -> Self {
        Self(Sha256::digest(body).into())
    }

    /// The 32 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The value of the field `Content-Digest`.
    #[must_use]
    pub fn to_field(&self) -> String {
        format!("{ALGORITHM}=:{}:", STANDARD.encode(self.0))
    }

    /// Reads the value of the field `Content-Digest`.
    ///
    /// # Errors
    /// [`DigestError`] for what is no such value, or has no `sha-256` of 32 bytes.
    pub fn from_field(value: &str) -> Result<Self, DigestError> {
        let digests: Dictionary = Parser::new(value)
            .parse()
            .map_err(|_| DigestError::Malformed)?;
        let Some(ListEntry::Item(digest)) = digests.get(ALGORITHM) else {
            return Err(DigestError::NoSha256);
        };
        let bytes = digest.bare_item.as_byte_sequence();
        let bytes = bytes.and_then(|bytes| bytes.try_into().ok());
        bytes.map(Self).ok_or(DigestError::Malformed)
    }
}

impl BodyHasher {
    /// Takes the next part of the body.
    pub fn update(&mut self, part: &[u8]) {
        self.0.update(part);
    }

    /// The digest of all parts.
    #[must_use]
    pub fn finish(self) -> BodyDigest {
        BodyDigest(self.0.finalize().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 9530 appendix B.1.
    const JSON: &[u8] = b"{\"hello\": \"world\"}\n";
    const FIELD: &str = "sha-256=:RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg=:";

    #[test]
    fn digest_of_the_standards_example_is_as_printed() {
        assert_eq!(BodyDigest::of(JSON).to_field(), FIELD);
        let mut hasher = BodyHasher::default();
        JSON.chunks(5).for_each(|part| hasher.update(part));
        assert_eq!(hasher.finish(), BodyDigest::of(JSON));
    }

    #[test]
    fn digest_is_found_among_others() {
        let digest = Ok(BodyDigest::of(JSON));
        assert_eq!(BodyDigest::from_field(FIELD), digest);
        let several = format!("sha-512=:AAAA:, {FIELD};x=1, md5=:AA==:");
        assert_eq!(BodyDigest::from_field(&several), digest);
    }

    #[test]
    fn field_without_a_digest_is_refused() {
        for (value, error) in [
            ("", DigestError::NoSha256),
            ("sha-512=:AAAA:", DigestError::NoSha256),
            ("sha-256=:AAAA:", DigestError::Malformed),
            ("sha-256=\"x\"", DigestError::Malformed),
            ("sha-256=(:AAAA:)", DigestError::NoSha256),
            ("sha-256=:?:", DigestError::Malformed),
            ("=", DigestError::Malformed),
        ] {
            assert_eq!(BodyDigest::from_field(value), Err(error), "{value}");
        }
    }
}
