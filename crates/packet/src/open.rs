//! Open: decrypts an end-to-end packet, or a stock OpenPGP client's message, and finds out who sent
//! it.
//!
//! What is called what is `docs/wire-format.md`, section 3.4. A signature that is present and wrong
//! is never downgraded to none.

use bytes::Bytes;
use pgp::{
    composed::{PlainSessionKey, RawSessionKey},
    crypto::sym::SymmetricKeyAlgorithm,
    packet::{PacketHeader, PublicKeyEncryptedSessionKey, Signature},
    types::{DecryptionKey, EskType, KeyDetails, Password, Tag},
};
use thiserror::Error;
use wallet::{
    BindingError, Certificate, CertificateBinding, Fingerprint, KeyId, SecretCertificate,
    SignatureError, WalletAddress,
};

use crate::{
    armor::{self, ArmorError},
    cleartext::{self, Cleartext, Literal, MAX_INFLATED_BYTES, MAX_SIGNATURES},
    container::{self, HeadV2},
    envelope::{Envelope, EnvelopeError, SenderProof},
    framing::{self, FramingError, tag},
    seal::message_hash,
    signing::{self, Claims},
    size::MAX_PACKET_BYTES,
};

/// Most session keys that a packet from elsewhere may carry: one for each of its recipients.
pub const MAX_SESSION_KEYS: usize = 16;

/// A message after decryption.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    /// The envelope; absent in a stock OpenPGP client's message.
    pub envelope: Option<Envelope>,
    /// Content of a message without envelope; empty otherwise.
    pub body: Bytes,
    /// File name that a stock client gave a message without envelope; never a path to be trusted.
    pub name: Option<String>,
    /// Who sent it, as far as that is proved.
    pub verified: Verified,
    /// Fingerprint of the key that claims to have signed, whether that could be checked or not.
    pub issuer: Option<Fingerprint>,
}

/// Who sent a message, as far as that is proved.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verified {
    /// By a wallet: certificate and wallet signed it for this recipient.
    Wallet {
        /// The sender.
        wallet: WalletAddress,
        /// The wallet's word for its certificate; the caller compares its sequence with what it has
        /// seen.
        binding: CertificateBinding,
    },
    /// By the holder of a certificate that the caller knows.
    OpenPgp {
        /// Its primary fingerprint.
        fingerprint: Fingerprint,
    },
    /// By nobody who could be named.
    Unsigned,
}

/// Why a packet could not be opened.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Longer than any packet.
    #[error("packet is longer than {MAX_PACKET_BYTES} bytes")]
    TooLarge,
    /// The armor can't be read.
    #[error("armor can't be read")]
    Armor(#[from] ArmorError),
    /// The bytes are no sequence of OpenPGP packets.
    #[error("message can't be read")]
    Framing(#[from] FramingError),
    /// A packet ends before it should.
    #[error("message is cut short")]
    Truncated,
    /// A packet that has no place there.
    #[error("packet type {0} has no place there")]
    UnexpectedPacket(u8),
    /// More than [`MAX_SESSION_KEYS`] session keys.
    #[error("message has more than {MAX_SESSION_KEYS} recipients")]
    TooManyRecipients,
    /// No session key is encrypted to a key that is still held.
    #[error("message is not encrypted to a key that is held here")]
    NotForMe,
    /// The session key can't be decrypted.
    #[error("session key can't be decrypted")]
    SessionKey(#[source] pgp::errors::Error),
    /// Session key and container don't go together.
    #[error("session key does not fit the message")]
    WrongSessionKey,
    /// An encryption that is not supported.
    #[error("message is encrypted in a way that is not supported")]
    UnsupportedContainer,
    /// The content was changed on its way, or the key is wrong.
    #[error("message is not authentic")]
    NotAuthentic,
    /// A compression that is not supported.
    #[error("message is compressed in a way that is not supported")]
    UnsupportedCompression,
    /// The compressed data can't be read.
    #[error("compressed message is broken")]
    CompressionBroken,
    /// The content grows beyond [`MAX_INFLATED_BYTES`].
    #[error("compressed message is longer than {MAX_INFLATED_BYTES} bytes")]
    InflatesTooMuch,
    /// Compression within compression within compression.
    #[error("message is compressed too often")]
    TooDeep,
    /// More packets than a message has.
    #[error("message has too many parts")]
    TooManyPackets,
    /// More than [`MAX_SIGNATURES`] signatures.
    #[error("message has more than {MAX_SIGNATURES} signatures")]
    TooManySignatures,
    /// Nothing but padding.
    #[error("message has no content")]
    NoContent,
    /// The content looks like an envelope but is none.
    #[error("envelope can't be read")]
    Envelope(#[from] EnvelopeError),
    /// The sender names a wallet but the signature of the certificate is missing.
    #[error("sender is named but nothing is signed")]
    SignatureMissing,
    /// An envelope carries more than one signature.
    #[error("envelope has more than one signature")]
    AmbiguousSignature,
    /// The signature can't be read, is of a kind that says nothing, or is weak.
    #[error("signature is of a kind that proves nothing")]
    SignatureUnusable,
    /// The signature is not that of the key it names.
    #[error("signature is wrong")]
    SignatureWrong(#[source] pgp::errors::Error),
    /// The signature was made for somebody else.
    #[error("signature is made out to another recipient")]
    OtherRecipient,
    /// The sender's key is not the one that their wallet is bound to.
    #[error("sender's key is not the one that their wallet vouches for")]
    SenderKey,
    /// The binding of the sender's wallet is wrong.
    #[error("sender's wallet does not vouch for their certificate")]
    Binding(#[source] BindingError),
    /// The wallet's signature over the message can't be read.
    #[error("wallet signature can't be read")]
    WalletSignature(#[source] SignatureError),
    /// The wallet's signature over the message is another wallet's, or over another message.
    #[error("wallet signature is wrong")]
    WalletSignatureWrong,
}

/// Opens a packet, binary or armored, by a current or superseded subkey.
///
/// Senders who are not named by an envelope stay [`Verified::Unsigned`]; [`open_with`] knows them.
///
/// # Errors
///
/// [`OpenError`] for what is not for this certificate, not authentic, or carries a wrong signature.
pub fn open(packet: &[u8], me: &SecretCertificate) -> Result<Opened, OpenError> {
    open_with(packet, me, |_| None)
}

/// Opens a packet as [`open`] does; `known` finds certificates of senders by primary fingerprint.
///
/// # Errors
///
/// As [`open`].
pub fn open_with(
    packet: &[u8],
    me: &SecretCertificate,
    known: impl Fn(&Fingerprint) -> Option<Certificate>,
) -> Result<Opened, OpenError> {
    let binary = armor::dearmor(packet, MAX_PACKET_BYTES).map_err(|error| match error {
        ArmorError::TooLarge { .. } => OpenError::TooLarge,
        other => OpenError::Armor(other),
    })?;
    let Cleartext {
        literal,
        signatures,
    } = cleartext::parse(decrypt(&binary, me)?)?;
    let recipient = me.certificate().fingerprint();
    if literal.is_plain() && Envelope::looks_like(&literal.body) {
        open_envelope(&literal, &signatures, recipient, known)
    } else {
        open_foreign(literal, &signatures, recipient, known)
    }
}

/// Decrypts the container with the first session key that is ours.
fn decrypt(bytes: &[u8], me: &SecretCertificate) -> Result<Bytes, OpenError> {
    let mut rest = bytes;
    let mut session: Option<UnlockedSession> = None;
    let mut failure = OpenError::NotForMe;
    // Markers and passwords (SKESK) may stand between session keys.
    for _ in 0..=MAX_SESSION_KEYS {
        let packet = framing::next_packet(rest)?;
        rest = packet.rest;
        match packet.tag {
            // One that fails need not be the last that is ours.
            tag::PKESK if session.is_none() => match unlock(&packet.body, me) {
                Ok(unlocked) => session = unlocked,
                Err(error) => failure = error,
            },
            tag::PKESK | tag::SKESK | tag::MARKER => {}
            tag::SEIPD if rest.is_empty() => {
                return match session.ok_or(failure)? {
                    UnlockedSession::V3(cipher, key) => {
                        container::decrypt_v1(&packet.body, cipher, key.as_ref())
                    }
                    UnlockedSession::V6(key) => HeadV2::parse(&packet.body)?.decrypt(key.as_ref()),
                };
            }
            tag::SEIPD => return Err(OpenError::UnexpectedPacket(tag::SEIPD)),
            tag::SYM_ENCRYPTED | tag::GNUPG_AEAD => return Err(OpenError::UnsupportedContainer),
            other => return Err(OpenError::UnexpectedPacket(other)),
        }
    }
    Err(OpenError::TooManyRecipients)
}

/// A session key, decrypted.
pub(crate) enum UnlockedSession {
    /// For SEIPDv1.
    V3(SymmetricKeyAlgorithm, RawSessionKey),
    /// For SEIPDv2.
    V6(RawSessionKey),
}

/// Decrypts the session key of a PKESK's body; `None` if it is not encrypted to a key of ours.
pub(crate) fn unlock(
    mut body: &[u8],
    me: &SecretCertificate,
) -> Result<Option<UnlockedSession>, OpenError> {
    // Compared by ID first, so that strangers' session keys are never parsed.
    let (key_id, kind) = match body {
        [3, id @ ..] => (id.first_chunk(), EskType::V3_4),
        [6, 33, 6, fingerprint @ ..] => (fingerprint.first_chunk(), EskType::V6),
        [6, 21, 4, fingerprint @ ..] => (
            fingerprint.get(12..).and_then(<[u8]>::first_chunk),
            EskType::V6,
        ),
        _ => return Ok(None),
    };
    let key_id = KeyId::from(*key_id.ok_or(OpenError::Truncated)?);
    let Some(subkey) = me.secret_subkey(&key_id) else {
        return Ok(None);
    };
    let length = u32::try_from(body.len()).map_err(|_| OpenError::TooLarge)?;
    let header = PacketHeader::new_fixed(Tag::PublicKeyEncryptedSessionKey, length);
    let encrypted = PublicKeyEncryptedSessionKey::try_from_reader(header, &mut body)
        .map_err(OpenError::SessionKey)?;
    if !body.is_empty()
        || !encrypted.match_identity(&subkey.key)
        || encrypted.algorithm().ok() != Some(subkey.key.algorithm())
    {
        return Ok(None);
    }
    let values = encrypted.values().map_err(OpenError::SessionKey)?;
    let session = subkey
        .key
        .decrypt(&Password::empty(), values, kind)
        .and_then(|result| result)
        .map_err(OpenError::SessionKey)?;
    match session {
        PlainSessionKey::V3_4 {
            sym_alg, ref key, ..
        } => Ok(Some(UnlockedSession::V3(sym_alg, key.clone()))),
        PlainSessionKey::V6 { ref key } => Ok(Some(UnlockedSession::V6(key.clone()))),
        PlainSessionKey::V5 { .. } => Err(OpenError::UnsupportedContainer),
    }
}

/// Reads an envelope and checks every signature it carries.
fn open_envelope(
    literal: &Literal,
    signatures: &[Option<Signature>],
    recipient: Fingerprint,
    known: impl Fn(&Fingerprint) -> Option<Certificate>,
) -> Result<Opened, OpenError> {
    let envelope = Envelope::decode(&literal.body)?;
    let signature = match signatures {
        [] if envelope.sender.is_some() => return Err(OpenError::SignatureMissing),
        [] => return Ok(opened_envelope(envelope, Verified::Unsigned, None)),
        [signature] => signature.as_ref().ok_or(OpenError::SignatureUnusable)?,
        _ => return Err(OpenError::AmbiguousSignature),
    };
    let claims = Claims::of(signature)
        .filter(|claims| claims.is_binary)
        .ok_or(OpenError::SignatureUnusable)?;
    if !claims.names(recipient) {
        return Err(OpenError::OtherRecipient);
    }
    let verified = match &envelope.sender {
        Some(sender) => {
            verify_sender(&envelope, sender, &literal.body, signature, recipient)?;
            Verified::Wallet {
                wallet: sender.binding.wallet,
                binding: sender.binding.clone(),
            }
        }
        None => verify_known(&claims, signature, &literal.body, known)?,
    };
    Ok(opened_envelope(envelope, verified, claims.issuer))
}

fn opened_envelope(envelope: Envelope, verified: Verified, issuer: Option<Fingerprint>) -> Opened {
    Opened {
        envelope: Some(envelope),
        body: Bytes::new(),
        name: None,
        verified,
        issuer,
    }
}

/// Checks that certificate, binding and wallet of the sender all stand behind the message.
fn verify_sender(
    envelope: &Envelope,
    sender: &SenderProof,
    signed: &[u8],
    signature: &Signature,
    recipient: Fingerprint,
) -> Result<(), OpenError> {
    let key = signing::primary_key(&sender.primary_key).ok_or(OpenError::SenderKey)?;
    let fingerprint = sender.binding.fingerprint;
    if signing::from_openpgp(&key.fingerprint()) != Some(fingerprint) {
        return Err(OpenError::SenderKey);
    }
    signature
        .verify(&key, signed)
        .map_err(OpenError::SignatureWrong)?;
    sender.binding.verify().map_err(OpenError::Binding)?;
    let hash = message_hash(fingerprint, recipient, &envelope.as_fields());
    let signer = sender
        .signature
        .recover_hash(&hash)
        .map_err(OpenError::WalletSignature)?;
    if signer != sender.binding.wallet {
        return Err(OpenError::WalletSignatureWrong);
    }
    Ok(())
}

/// Checks a signature by a certificate that the caller knows.
fn verify_known(
    claims: &Claims,
    signature: &Signature,
    signed: &[u8],
    known: impl Fn(&Fingerprint) -> Option<Certificate>,
) -> Result<Verified, OpenError> {
    let Some(fingerprint) = claims.issuer else {
        return Ok(Verified::Unsigned);
    };
    let Some(certificate) = known(&fingerprint).filter(|found| found.fingerprint() == fingerprint)
    else {
        return Ok(Verified::Unsigned);
    };
    signature
        .verify(&certificate.as_openpgp().primary_key, signed)
        .map_err(OpenError::SignatureWrong)?;
    Ok(Verified::OpenPgp { fingerprint })
}

/// Takes a stock client's message, signed by whom it may be.
fn open_foreign(
    literal: Literal,
    signatures: &[Option<Signature>],
    recipient: Fingerprint,
    known: impl Fn(&Fingerprint) -> Option<Certificate>,
) -> Result<Opened, OpenError> {
    let mut verified = Verified::Unsigned;
    let mut issuer = None;
    for signature in signatures.iter().flatten() {
        let Some(claims) = Claims::of(signature) else {
            continue;
        };
        if !claims.names_nobody() && !claims.names(recipient) {
            return Err(OpenError::OtherRecipient);
        }
        let by = verify_known(&claims, signature, &literal.body, &known)?;
        if verified == Verified::Unsigned {
            issuer = claims.issuer;
            verified = by;
        }
    }
    let name = std::str::from_utf8(&literal.name)
        .ok()
        .filter(|name| !name.is_empty())
        .map(str::to_owned);
    Ok(Opened {
        envelope: None,
        body: literal.body,
        name,
        verified,
        issuer,
    })
}
