//! Signing.

use core::fmt;
use core::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::header::{HeaderMap, HeaderName, HeaderValue};
use rand::{CryptoRng, RngCore};
use thiserror::Error;
use wallet::WalletKey;

use crate::digest::BodyDigest;
use crate::request::{ComponentError, RequestParts};

pub(crate) const CONTENT_DIGEST: HeaderName = HeaderName::from_static("content-digest");
pub(crate) const SIGNATURE_INPUT: HeaderName = HeaderName::from_static("signature-input");
pub(crate) const SIGNATURE: HeaderName = HeaderName::from_static("signature");
/// The name under which ERC-8128 puts its signatures unless it is told another.
const LABEL: &str = "eth";
/// How long a signature is good, in seconds: a request is on its way for less, a copy of it is of no use for longer.
pub const DEFAULT_VALIDITY_S: u64 = 60;
/// Characters of a nonce at most.
pub(crate) const MAX_NONCE_CHARS: usize = 64;

/// A text that no other request of a wallet has: 1 to 64 letters, digits, `-` and `_`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nonce(String);

/// Why a text is no nonce.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a nonce has 1 to 64 letters, digits, - and _")]
pub struct NonceError;

/// The fields that make a request a signed one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedFields {
    /// `Content-Digest`, for a request with a body.
    pub content_digest: Option<HeaderValue>,
    /// `Signature-Input`.
    pub signature_input: HeaderValue,
    /// `Signature`.
    pub signature: HeaderValue,
}

/// Why a request was not signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SignError {
    /// The request has a body, and no digest of it was given.
    #[error("a request with a body is signed with the digest of the body only")]
    NoDigest,
    /// A part of the request can't be signed.
    #[error(transparent)]
    Component(#[from] ComponentError),
}

impl Nonce {
    /// Draws one of 128 bits.
    pub fn generate(rng: &mut (impl CryptoRng + RngCore)) -> Self {
        let mut bytes = [0; 16];
        rng.fill_bytes(&mut bytes);
        Self(URL_SAFE_NO_PAD.encode(bytes))
    }
}

impl FromStr for Nonce {
    type Err = NonceError;

    fn from_str(text: &str) -> Result<Self, NonceError> {
        let is_known = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        match (1..=MAX_NONCE_CHARS).contains(&text.len()) && text.bytes().all(is_known) {
            true => Ok(Self(text.to_owned())),
            false => Err(NonceError),
        }
    }
}

impl fmt::Display for Nonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl SignedFields {
    /// Puts the fields into a head, in place of what it had under their names.
    pub fn put_into(self, fields: &mut HeaderMap) {
        if let Some(digest) = self.content_digest {
            fields.insert(CONTENT_DIGEST, digest);
        }
        fields.insert(SIGNATURE_INPUT, self.signature_input);
        fields.insert(SIGNATURE, self.signature);
    }
}

/// Signs a request for [`DEFAULT_VALIDITY_S`] from `now_s` (Unix seconds) on.
///
/// Covered are authority, method and path, the query if there is one and the digest of the body if there is one.
/// Source: ERC-8128, "request-bound" and "non-replayable"; `docs/wire-format.md`, section 13.
///
/// # Errors
/// [`SignError`] where a body has no digest, or what is covered is not visible ASCII.
pub fn sign(
    request: &RequestParts<'_>,
    digest: Option<&BodyDigest>,
    wallet: &WalletKey,
    chain_id: u64,
    now_s: u64,
    nonce: &Nonce,
) -> Result<SignedFields, SignError> {
    let digest = match (request.has_body, digest) {
        (true, None) => return Err(SignError::NoDigest),
        (true, Some(digest)) => Some(value(digest.to_field())?),
        (false, _) => None,
    };
    let mut fields = HeaderMap::new();
    if let Some(digest) = &digest {
        fields.insert(CONTENT_DIGEST, digest.clone());
    }
    // Of the fields nothing is covered but the digest.
    let request = RequestParts {
        fields: &fields,
        ..request.clone()
    };
    let covered: Vec<String> = request
        .required()
        .map(|name| format!("\"{name}\""))
        .collect();
    let params = format!(
        "({});created={now_s};expires={};nonce=\"{nonce}\";keyid=\"erc8128:{chain_id}:{}\"",
        covered.join(" "),
        now_s.saturating_add(DEFAULT_VALIDITY_S),
        wallet.address().to_string().to_ascii_lowercase(),
    );
    let base = request.base(request.required(), &params)?;
    let signature = wallet.sign_message(base.as_bytes());
    let encoded = STANDARD.encode(signature.as_bytes());
    Ok(SignedFields {
        content_digest: digest,
        signature_input: value(format!("{LABEL}={params}"))?,
        signature: value(format!("{LABEL}=:{encoded}:"))?,
    })
}

fn value(text: String) -> Result<HeaderValue, ComponentError> {
    HeaderValue::try_from(text).map_err(|_| ComponentError::NotAscii)
}
