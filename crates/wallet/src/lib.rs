//! Wallets: the keys that name a participant of CONET, and what proves that other keys are theirs.
//!
//! A *wallet* is a secp256k1 key and its EVM address ([`WalletKey`], [`WalletAddress`]); it comes from
//! a [`Mnemonic`] and rests in a [`keystore`]. Each wallet has an OpenPGP *certificate*
//! ([`Certificate`], with its secrets [`SecretCertificate`]) whose primary key derives from the wallet
//! key. A [`CertificateBinding`] is the wallet's signature over a certificate and its mailboxes; a
//! [`ContactUri`] carries the same by hand.
//!
//! The crate is sans-IO: it opens no file and no socket and has no clock and no source of
//! randomness of its own. Times are Unix seconds, random numbers come from the caller's generator.
//! Secrets are zeroised when dropped and never shown by `Debug`.
//!
//! ```
//! use rand::rngs::OsRng;
//! use wallet::{CertificateBinding, CertificateKind, Mnemonic, SecretCertificate};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let now_s = 1_800_000_000;
//! let mnemonic = Mnemonic::generate(wallet::WordCount::Twelve, &mut OsRng)?;
//! let alice = mnemonic.wallet(0)?;
//!
//! let secret = SecretCertificate::create(&alice, CertificateKind::V6, now_s, &mut OsRng)?;
//! let binding = CertificateBinding::sign(&alice, secret.certificate(), 1, Vec::new())?;
//!
//! binding.verify()?;
//! binding.verify_certificate(secret.certificate())?;
//! assert_eq!(secret.certificate().wallet(), Some(alice.address()));
//! # Ok(())
//! # }
//! ```

mod address;
mod binding;
mod certificate;
mod contact;
mod fingerprint;
mod key;
pub mod keystore;
mod mnemonic;
mod secret_certificate;
mod signature;
mod text_codec;
pub mod typed_data;
mod unknown;

pub use address::{AddressError, WalletAddress};
pub use binding::{BindingError, CertificateBinding, MAX_BINDING_BYTES, MAX_MAILBOXES};
pub use certificate::{
    Certificate, CertificateError, CertificateKind, MAX_CERTIFICATE_BYTES, MAX_SUBKEYS, Subkey,
    SubkeyAlgorithm,
};
pub use contact::{ContactError, ContactUri, MAX_CONTACT_BYTES};
pub use fingerprint::{Fingerprint, FingerprintError, KeyId};
pub use key::{KeyError, WalletKey};
pub use mnemonic::{Mnemonic, MnemonicError, WordCount};
pub use secret_certificate::{
    MAX_SECRET_CERTIFICATE_BYTES, MAX_SUPERSEDED_SUBKEYS, PRIMARY_CREATED_S, SecretCertificate,
    SecretCertificateError, SupersededSubkey,
};
pub use signature::{SignatureError, WalletSignature};
pub use unknown::skip_unknown;
