//! The envelope: what stands inside an end-to-end packet's literal data.
//!
//! See `docs/wire-format.md`, section 3.4: a CBOR array of nine fields, written in deterministic
//! form; fields that follow are those of a later version and are ignored.

use bytes::Bytes;
use minicbor::{Decoder, Encoder, data::Type};
use thiserror::Error;
use wallet::{CertificateBinding, Fingerprint, MAX_MAILBOXES, WalletAddress, WalletSignature};

use crate::{
    cbor,
    message::{MessageId, SessionId},
};

/// Version of the envelope that this crate writes and reads.
pub const ENVELOPE_VERSION: u8 = 1;
/// Longest content type in bytes.
pub const MAX_CONTENT_TYPE_BYTES: usize = 64;
/// Longest body of a Public-Key packet in bytes that a sender's proof may carry.
pub const MAX_PRIMARY_KEY_BYTES: usize = 256;
/// Fields of an envelope of version 1.
const FIELDS: u64 = 9;

/// The cleartext of a message, and who says they sent it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    /// Names the message; random.
    pub message_id: MessageId,
    /// When the sender sealed it, Unix milliseconds.
    pub time_ms: u64,
    /// What the body is, see [`ContentType`](crate::ContentType); at most
    /// [`MAX_CONTENT_TYPE_BYTES`].
    pub content_type: String,
    /// The sending session within which messages are in order.
    pub session: SessionId,
    /// Place in that session, from 0, per recipient.
    pub sequence: u64,
    /// Where an answer can go, if the sender gives a place.
    pub reply: Option<ReplyRoute>,
    /// What proves the sender's wallet; absent in an anonymous message.
    pub sender: Option<SenderProof>,
    /// The content.
    pub body: Bytes,
}

/// Where an answer can go: a certificate and its mailboxes, never an entry or a relay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplyRoute {
    /// Primary fingerprint of the certificate to seal to.
    pub fingerprint: Fingerprint,
    /// Mailboxes that keep packets for it, best first; at most three.
    pub mailboxes: Vec<WalletAddress>,
}

/// What proves a sender's wallet to the recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SenderProof {
    /// The wallet's word for the certificate.
    pub binding: CertificateBinding,
    /// Body of the certificate's Public-Key packet; at most [`MAX_PRIMARY_KEY_BYTES`].
    pub primary_key: Vec<u8>,
    /// The wallet's signature over the message (EIP-712).
    pub signature: WalletSignature,
}

/// Why bytes are no envelope.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum EnvelopeError {
    /// The CBOR is not that of an envelope, or a field breaks its bound.
    #[error("envelope is malformed")]
    Malformed(#[from] minicbor::decode::Error),
    /// A later version.
    #[error("envelope of version {0} is not supported")]
    UnsupportedVersion(u8),
}

impl Envelope {
    /// Writes the envelope in deterministic CBOR.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.body.len() + 1_024);
        self.as_fields().encode_into(&mut bytes);
        bytes
    }

    pub(crate) fn as_fields(&self) -> Fields<'_> {
        Fields {
            message_id: self.message_id,
            time_ms: self.time_ms,
            content_type: &self.content_type,
            session: self.session,
            sequence: self.sequence,
            reply: self.reply.as_ref(),
            sender: self.sender.as_ref(),
            body: &self.body,
        }
    }

    /// Says whether bytes begin as an envelope of any version does.
    ///
    /// No UTF-8 text begins so, which keeps a stock client's text message apart.
    pub fn looks_like(bytes: &[u8]) -> bool {
        let mut decoder = Decoder::new(bytes);
        matches!(decoder.array(), Ok(Some(items)) if items >= FIELDS)
            && matches!(decoder.datatype(), Ok(Type::U8))
    }

    /// Reads an envelope; its body shares memory with `bytes`.
    ///
    /// # Errors
    ///
    /// [`EnvelopeError`] if a field is missing or out of bounds, or bytes follow.
    pub fn decode(bytes: &Bytes) -> Result<Self, EnvelopeError> {
        let mut decoder = Decoder::new(bytes);
        let more = cbor::structure(&mut decoder, FIELDS)?;
        let version = decoder.u8()?;
        if version != ENVELOPE_VERSION {
            return Err(EnvelopeError::UnsupportedVersion(version));
        }
        let message_id = decoder.decode()?;
        let time_ms = decoder.u64()?;
        let content_type = cbor::text(&mut decoder, MAX_CONTENT_TYPE_BYTES)?.to_owned();
        let session = decoder.decode()?;
        let sequence = decoder.u64()?;
        let reply = optional(&mut decoder, ReplyRoute::decode)?;
        let sender = optional(&mut decoder, SenderProof::decode)?;
        let body = bytes.slice_ref(decoder.bytes()?);
        cbor::skip_fields(&mut decoder, more)?;
        cbor::end(&decoder)?;
        Ok(Self {
            message_id,
            time_ms,
            content_type,
            session,
            sequence,
            reply,
            sender,
            body,
        })
    }
}

/// The fields of an envelope, borrowed: a body is never copied before it is written.
pub(crate) struct Fields<'a> {
    pub(crate) message_id: MessageId,
    pub(crate) time_ms: u64,
    pub(crate) content_type: &'a str,
    pub(crate) session: SessionId,
    pub(crate) sequence: u64,
    pub(crate) reply: Option<&'a ReplyRoute>,
    pub(crate) sender: Option<&'a SenderProof>,
    pub(crate) body: &'a [u8],
}

impl Fields<'_> {
    /// Appends the CBOR of the envelope.
    pub(crate) fn encode_into(&self, bytes: &mut Vec<u8>) {
        let Ok(()) = self.write(&mut Encoder::new(bytes)) else {
            unreachable!("writing to a vector has no error");
        };
    }

    fn write(
        &self,
        encoder: &mut Encoder<&mut Vec<u8>>,
    ) -> Result<(), minicbor::encode::Error<std::convert::Infallible>> {
        encoder
            .array(FIELDS)?
            .u8(ENVELOPE_VERSION)?
            .encode(self.message_id)?
            .u64(self.time_ms)?
            .str(self.content_type)?
            .encode(self.session)?
            .u64(self.sequence)?;
        match self.reply {
            Some(reply) => {
                encoder.array(2)?.encode(reply.fingerprint)?;
                encoder.encode(&reply.mailboxes)?;
            }
            None => {
                encoder.null()?;
            }
        }
        match self.sender {
            Some(sender) => {
                encoder
                    .array(3)?
                    .encode(&sender.binding)?
                    .bytes(&sender.primary_key)?
                    .encode(sender.signature)?;
            }
            None => {
                encoder.null()?;
            }
        }
        encoder.bytes(self.body)?;
        Ok(())
    }
}

impl ReplyRoute {
    fn decode(decoder: &mut Decoder<'_>) -> Result<Self, minicbor::decode::Error> {
        let more = cbor::structure(decoder, 2)?;
        let fingerprint = decoder.decode()?;
        let count = cbor::list(decoder, MAX_MAILBOXES)?;
        let mailboxes = (0..count)
            .map(|_| decoder.decode())
            .collect::<Result<_, _>>()?;
        cbor::skip_fields(decoder, more)?;
        Ok(Self {
            fingerprint,
            mailboxes,
        })
    }
}

impl SenderProof {
    fn decode(decoder: &mut Decoder<'_>) -> Result<Self, minicbor::decode::Error> {
        let more = cbor::structure(decoder, 3)?;
        let binding = decoder.decode()?;
        let at = decoder.position();
        let primary_key = decoder.bytes()?;
        if primary_key.len() > MAX_PRIMARY_KEY_BYTES {
            return Err(minicbor::decode::Error::message("primary key is too long").at(at));
        }
        let signature = decoder.decode()?;
        cbor::skip_fields(decoder, more)?;
        Ok(Self {
            binding,
            primary_key: primary_key.to_vec(),
            signature,
        })
    }
}

/// Reads `null` or a value.
fn optional<'b, T>(
    decoder: &mut Decoder<'b>,
    read: impl FnOnce(&mut Decoder<'b>) -> Result<T, minicbor::decode::Error>,
) -> Result<Option<T>, minicbor::decode::Error> {
    if decoder.datatype()? == Type::Null {
        decoder.null()?;
        return Ok(None);
    }
    read(decoder).map(Some)
}
