//! Requests without login: a wallet signs each HTTP request, whoever serves it learns the wallet and nobody types a password.
//!
//! The signatures are ERC-8128: HTTP message signatures (RFC 9421) by an Ethereum account over method, authority, path,
//! query and the digest of the body (RFC 9530), with a nonce and an end. The crate is sans-IO: it opens nothing, keeps no
//! body, and has no clock and no randomness of its own.
//!
//! * [`sign`]: makes the fields of a signed request; [`site_wallet`]: the wallet that is shown to one site only;
//! * [`may_sign`]: whether a request is one that a person wanted, and not one that a foreign web page caused;
//! * [`Verifier`]: checks signatures, and remembers nonces so that none counts twice;
//! * [`BodyDigest`], [`BodyHasher`]: what stands for a body that comes in parts;
//! * [`hop`]: fields that are for one connection only, which neither a signer nor a verifier passes on.
//!
//! ```
//! use http::Request;
//! use rand::rngs::OsRng;
//! use signin::{BodyDigest, Nonce, RequestParts, Verifier, VerifierConfig, sign};
//! use wallet::WalletKey;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let (wallet, chain_id, now_s) = (WalletKey::generate(&mut OsRng), 31_337, 1_800_000_000);
//! let mut request = Request::post("/notes?new").header("host", "notes.conet").body(())?;
//! let parts = RequestParts::of(&request, true)?;
//! let digest = BodyDigest::of(b"buy milk");
//! let fields = sign(&parts, Some(&digest), &wallet, chain_id, now_s, &Nonce::generate(&mut OsRng))?;
//! fields.put_into(request.headers_mut());
//!
//! let verifier = Verifier::new(VerifierConfig::new(chain_id, ["notes.conet".parse()?]));
//! let parts = RequestParts::of(&request, true)?;
//! let verified = verifier.verify(&parts, now_s)?.ok_or("not signed")?;
//! assert_eq!(verified.wallet, wallet.address());
//! assert_eq!(verified.digest, Some(digest));
//! assert!(verifier.verify(&parts, now_s).is_err(), "a second time");
//! # Ok(())
//! # }
//! ```

mod authority;
mod digest;
pub mod hop;
mod nonces;
mod policy;
mod request;
mod sign;
mod site;
mod verify;

pub use authority::{Authority, AuthorityError};
pub use digest::{BodyDigest, BodyHasher, DigestError};
pub use nonces::DEFAULT_MAX_NONCES;
pub use policy::may_sign;
pub use request::{ComponentError, PartsError, RequestParts};
pub use sign::{DEFAULT_VALIDITY_S, Nonce, SignError, SignedFields, sign};
pub use site::site_wallet;
pub use verify::{
    CLOCK_SKEW_S, MAX_SIGNATURE_BYTES, MAX_VALIDITY_S, Verified, Verifier, VerifierConfig,
    VerifyError,
};
