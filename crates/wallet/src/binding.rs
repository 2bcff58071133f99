//! The wallet's signature over a certificate.

use std::fmt::Write;

use minicbor::{Decoder, Encoder};

use crate::unknown::skip_unknown;
use crate::{
    Certificate, Fingerprint, MAX_SUBKEYS, SignatureError, WalletAddress, WalletKey,
    WalletSignature,
};

/// The most mailboxes that a wallet may name.
pub const MAX_MAILBOXES: usize = 3;

/// The largest binding in CBOR that is read, in bytes: twice what all its parts at their most take.
pub const MAX_BINDING_BYTES: usize = 1024;

/// A wallet's statement of which certificate is its own, with which subkeys, and where its mailboxes are.
///
/// A holder must call [`CertificateBinding::verify`] before believing it, and must not accept a lower
/// `sequence` than it has seen from the wallet. Source: `docs/wire-format.md`, section 2.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct CertificateBinding {
    /// The wallet that makes the statement.
    pub wallet: WalletAddress,
    /// The fingerprint of the certificate's primary key.
    pub fingerprint: Fingerprint,
    /// Rises with every statement of the wallet.
    pub sequence: u64,
    /// The fingerprints of the encryption subkeys, in the certificate's order, at most [`MAX_SUBKEYS`].
    pub subkeys: Vec<Fingerprint>,
    /// The wallets of the nodes that keep packets for this one, at most [`MAX_MAILBOXES`].
    pub mailboxes: Vec<WalletAddress>,
    /// The wallet's EIP-191 signature over all of the above.
    pub signature: WalletSignature,
}

/// Why a binding can't be made or believed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BindingError {
    /// More than [`MAX_MAILBOXES`] mailboxes.
    #[error("a wallet names at most {MAX_MAILBOXES} mailboxes, not {0}")]
    TooManyMailboxes(usize),
    /// The same mailbox twice.
    #[error("the mailbox {0} is named twice")]
    DuplicateMailbox(WalletAddress),
    /// No subkey, or more than [`MAX_SUBKEYS`].
    #[error("a binding names 1 to {MAX_SUBKEYS} subkeys, not {0}")]
    SubkeyCount(usize),
    /// The signature is none.
    #[error("the binding's signature is invalid")]
    Signature(#[from] SignatureError),
    /// The signature is another wallet's.
    #[error("the binding is signed by {signer}, not by its wallet {wallet}")]
    WrongSigner {
        /// The wallet that the binding is for.
        wallet: WalletAddress,
        /// The wallet that signed.
        signer: WalletAddress,
    },
    /// The certificate has another primary key.
    #[error("the wallet's signature is over the certificate {signed}, not over {presented}")]
    WrongCertificate {
        /// The fingerprint in the binding.
        signed: Fingerprint,
        /// The fingerprint of the certificate.
        presented: Fingerprint,
    },
    /// The certificate has other subkeys or another order of them.
    #[error("the certificate's subkeys are not those that the wallet signed")]
    WrongSubkeys,
    /// The CBOR is too large, damaged or followed by other bytes.
    #[error("the binding is malformed")]
    Malformed(#[source] minicbor::decode::Error),
}

impl CertificateBinding {
    /// Makes the statement that `certificate` and `mailboxes` are the wallet's.
    ///
    /// # Errors
    /// [`BindingError::TooManyMailboxes`] or [`BindingError::DuplicateMailbox`].
    pub fn sign(
        wallet: &WalletKey,
        certificate: &Certificate,
        sequence: u64,
        mailboxes: Vec<WalletAddress>,
    ) -> Result<Self, BindingError> {
        let subkeys = certificate.subkeys();
        let mut binding = Self {
            wallet: wallet.address(),
            fingerprint: certificate.fingerprint(),
            sequence,
            subkeys: subkeys.iter().map(|subkey| subkey.fingerprint).collect(),
            mailboxes,
            signature: WalletSignature::from_bytes([0; 65]),
        };
        binding.check_bounds()?;
        binding.signature = wallet.sign_message(binding.signed_text().as_bytes());
        Ok(binding)
    }

    /// Checks that the wallet signed this, and its bounds.
    ///
    /// # Errors
    /// [`BindingError`] says what is wrong.
    pub fn verify(&self) -> Result<(), BindingError> {
        self.check_bounds()?;
        let signer = self
            .signature
            .recover_message(self.signed_text().as_bytes())?;
        if signer != self.wallet {
            return Err(BindingError::WrongSigner {
                wallet: self.wallet,
                signer,
            });
        }
        Ok(())
    }

    /// Checks that `certificate` is the one bound: same primary key, same subkeys in the same order.
    ///
    /// The signature is not checked here: see [`CertificateBinding::verify`].
    ///
    /// # Errors
    /// [`BindingError::WrongCertificate`] or [`BindingError::WrongSubkeys`].
    pub fn verify_certificate(&self, certificate: &Certificate) -> Result<(), BindingError> {
        if certificate.fingerprint() != self.fingerprint {
            return Err(BindingError::WrongCertificate {
                signed: self.fingerprint,
                presented: certificate.fingerprint(),
            });
        }
        let presented = certificate
            .subkeys()
            .iter()
            .map(|subkey| subkey.fingerprint);
        if !presented.eq(self.subkeys.iter().copied()) {
            return Err(BindingError::WrongSubkeys);
        }
        Ok(())
    }

    /// The text that the wallet signs.
    pub fn signed_text(&self) -> String {
        let mut text = String::from("CONET certificate v1");
        // Writing to a String does not fail.
        let _ = write!(
            text,
            "\nwallet: {}\nfingerprint: {}\nsequence: {}\nsubkeys: {}\nmailboxes: {}",
            self.wallet,
            self.fingerprint,
            self.sequence,
            joined(&self.subkeys),
            joined(&self.mailboxes),
        );
        text
    }

    fn check_bounds(&self) -> Result<(), BindingError> {
        if self.subkeys.is_empty() || self.subkeys.len() > MAX_SUBKEYS {
            return Err(BindingError::SubkeyCount(self.subkeys.len()));
        }
        if self.mailboxes.len() > MAX_MAILBOXES {
            return Err(BindingError::TooManyMailboxes(self.mailboxes.len()));
        }
        let mut earlier = self.mailboxes.as_slice();
        while let [rest @ .., last] = earlier {
            if rest.contains(last) {
                return Err(BindingError::DuplicateMailbox(*last));
            }
            earlier = rest;
        }
        Ok(())
    }

    /// The binding in CBOR, at most [`MAX_BINDING_BYTES`].
    pub fn to_bytes(&self) -> Vec<u8> {
        #[expect(clippy::expect_used, reason = "writing to a Vec does not fail")]
        minicbor::to_vec(self).expect("writing to memory")
    }

    /// Reads a binding from CBOR; its signature is not checked yet.
    ///
    /// # Errors
    /// [`BindingError::Malformed`] for anything else, for more than [`MAX_BINDING_BYTES`] and for trailing bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, BindingError> {
        if bytes.len() > MAX_BINDING_BYTES {
            let error = minicbor::decode::Error::message("too large");
            return Err(BindingError::Malformed(error));
        }
        let mut decoder = Decoder::new(bytes);
        let binding = decoder.decode().map_err(BindingError::Malformed)?;
        if decoder.position() != bytes.len() {
            let error = minicbor::decode::Error::message("trailing bytes");
            return Err(BindingError::Malformed(error));
        }
        Ok(binding)
    }
}

fn joined<T: ToString>(items: &[T]) -> String {
    let items: Vec<String> = items.iter().map(ToString::to_string).collect();
    items.join(",")
}

impl<C> minicbor::Encode<C> for CertificateBinding {
    fn encode<W: minicbor::encode::Write>(
        &self,
        encoder: &mut Encoder<W>,
        context: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        encoder
            .array(FIELDS)?
            .encode_with(self.wallet, context)?
            .encode_with(self.fingerprint, context)?
            .u64(self.sequence)?;
        encoder.encode_with(&self.subkeys, context)?;
        encoder.encode_with(&self.mailboxes, context)?;
        encoder.encode_with(self.signature, context)?.ok()
    }
}

/// How many elements the array has; a reader skips further ones.
const FIELDS: u64 = 6;

impl<'b, C> minicbor::Decode<'b, C> for CertificateBinding {
    fn decode(decoder: &mut Decoder<'b>, context: &mut C) -> Result<Self, minicbor::decode::Error> {
        let start = decoder.position();
        let fields = decoder
            .array()?
            .filter(|fields| *fields >= FIELDS)
            .ok_or_else(|| minicbor::decode::Error::message("too few fields").at(start))?;
        let binding = Self {
            wallet: decoder.decode_with(context)?,
            fingerprint: decoder.decode_with(context)?,
            sequence: decoder.u64()?,
            subkeys: decode_at_most(decoder, context, MAX_SUBKEYS)?,
            mailboxes: decode_at_most(decoder, context, MAX_MAILBOXES)?,
            signature: decoder.decode_with(context)?,
        };
        for _ in FIELDS..fields {
            skip_unknown(decoder)?;
            if decoder.position() - start > MAX_BINDING_BYTES {
                break;
            }
        }
        if decoder.position() - start > MAX_BINDING_BYTES {
            return Err(minicbor::decode::Error::message("too large").at(start));
        }
        Ok(binding)
    }
}

/// Reads an array of at most `limit` items.
fn decode_at_most<'b, C, T: minicbor::Decode<'b, C>>(
    decoder: &mut Decoder<'b>,
    context: &mut C,
    limit: usize,
) -> Result<Vec<T>, minicbor::decode::Error> {
    let at = decoder.position();
    let count = decoder
        .array()?
        .and_then(|count| usize::try_from(count).ok())
        .filter(|count| *count <= limit)
        .ok_or_else(|| minicbor::decode::Error::message("too many items").at(at))?;
    (0..count).map(|_| decoder.decode_with(context)).collect()
}
