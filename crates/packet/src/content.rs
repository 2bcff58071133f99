//! What a message's body can be (`docs/wire-format.md`, section 3.6).

use bytes::Bytes;
use minicbor::{Decoder, Encoder};
use thiserror::Error;

use crate::{
    cbor,
    message::{MessageId, TransferId},
};

/// Longest name in bytes that a chunk may carry.
pub const MAX_NAME_BYTES: usize = 255;
/// Most message ids that one receipt may carry.
pub const MAX_RECEIPT_IDS: usize = 64;

/// The content types that the network itself gives a meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ContentType<'a> {
    /// UTF-8 text.
    Text,
    /// A [`Chunk`] of larger data.
    Chunk,
    /// A [`Receipt`]: messages that have arrived.
    Receipt,
    /// Anything else: shown as a file of that type.
    Other(&'a str),
}

impl<'a> ContentType<'a> {
    /// Content type of UTF-8 text.
    pub const TEXT: &'static str = "text/plain";
    /// Content type of a [`Chunk`].
    pub const CHUNK: &'static str = "application/vnd.conet.chunk";
    /// Content type of an offer of a stream to a service (`docs/wire-format.md`, 12.2); no mailbox stores one.
    pub const OFFER: &'static str = "application/vnd.conet.offer";
    /// Content type of a [`Receipt`].
    pub const RECEIPT: &'static str = "application/vnd.conet.receipt";

    /// Reads the content type of an envelope.
    pub fn parse(text: &'a str) -> Self {
        match text {
            Self::TEXT => Self::Text,
            Self::CHUNK => Self::Chunk,
            Self::RECEIPT => Self::Receipt,
            other => Self::Other(other),
        }
    }

    /// The text that stands in an envelope.
    pub const fn as_str(self) -> &'a str {
        match self {
            Self::Text => Self::TEXT,
            Self::Chunk => Self::CHUNK,
            Self::Receipt => Self::RECEIPT,
            Self::Other(text) => text,
        }
    }
}

impl<'a> From<&'a str> for ContentType<'a> {
    fn from(text: &'a str) -> Self {
        Self::parse(text)
    }
}

/// Why a body is not what its content type says.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ContentError {
    /// The CBOR is not that of the content type, or a field breaks its bound.
    #[error("content is malformed")]
    Malformed(#[from] minicbor::decode::Error),
    /// A chunk that contradicts itself: beyond its count or its total.
    #[error("chunk contradicts itself")]
    Inconsistent,
}

/// One numbered piece of data that is too large for one packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    /// Names the transfer; the same in all of its chunks.
    pub transfer: TransferId,
    /// Number of this chunk, from 0.
    pub index: u32,
    /// How many chunks the transfer has; at least 1.
    pub count: u32,
    /// Length of the whole in bytes.
    pub total: u64,
    /// SHA-256 of the whole.
    pub sha256: [u8; 32],
    /// Where this chunk's data begins in the whole.
    pub offset: u64,
    /// Name of the file, or empty; at most [`MAX_NAME_BYTES`]. Comes from the sender: never a path
    /// to be trusted.
    pub name: String,
    /// The piece.
    pub data: Bytes,
}

impl Chunk {
    /// Fields of a chunk.
    const FIELDS: u64 = 8;

    /// Bytes that a chunk with a name of this length adds to its data, at most.
    pub const fn overhead_bytes(name_length: usize) -> usize {
        // Array head, id, two u32, u64, hash, u64, name's and data's heads.
        1 + 17 + 5 + 5 + 9 + 34 + 9 + 3 + name_length + 5
    }

    /// Writes the chunk in deterministic CBOR.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(Self::overhead_bytes(self.name.len()) + self.data.len());
        let Ok(()) = self.write(&mut Encoder::new(&mut bytes)) else {
            unreachable!("writing to a vector has no error");
        };
        bytes
    }

    fn write(
        &self,
        encoder: &mut Encoder<&mut Vec<u8>>,
    ) -> Result<(), minicbor::encode::Error<std::convert::Infallible>> {
        encoder
            .array(Self::FIELDS)?
            .encode(self.transfer)?
            .u32(self.index)?
            .u32(self.count)?
            .u64(self.total)?
            .bytes(&self.sha256)?
            .u64(self.offset)?
            .str(&self.name)?
            .bytes(&self.data)?;
        Ok(())
    }

    /// Reads a chunk; its data share memory with `bytes`.
    ///
    /// # Errors
    ///
    /// [`ContentError::Malformed`] for what is no chunk, [`ContentError::Inconsistent`] for a chunk
    /// whose index is not below its count or whose data reach beyond the total.
    pub fn decode(bytes: &Bytes) -> Result<Self, ContentError> {
        let mut decoder = Decoder::new(bytes);
        let more = cbor::structure(&mut decoder, Self::FIELDS)?;
        let chunk = Self {
            transfer: decoder.decode()?,
            index: decoder.u32()?,
            count: decoder.u32()?,
            total: decoder.u64()?,
            sha256: cbor::array(&mut decoder)?,
            offset: decoder.u64()?,
            name: cbor::text(&mut decoder, MAX_NAME_BYTES)?.to_owned(),
            data: bytes.slice_ref(decoder.bytes()?),
        };
        cbor::skip_fields(&mut decoder, more)?;
        cbor::end(&decoder)?;
        let end = chunk.offset.checked_add(chunk.data.len() as u64);
        if chunk.index >= chunk.count || end.is_none_or(|end| end > chunk.total) {
            return Err(ContentError::Inconsistent);
        }
        Ok(chunk)
    }
}

/// Says that messages have arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// The messages; at most [`MAX_RECEIPT_IDS`].
    pub ids: Vec<MessageId>,
}

impl Receipt {
    /// Writes the receipt in deterministic CBOR.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(4 + 17 * self.ids.len());
        let written = Encoder::new(&mut bytes)
            .array(1)
            .and_then(|encoder| encoder.encode(&self.ids))
            .map(|_| ());
        let Ok(()) = written else {
            unreachable!("writing to a vector has no error");
        };
        bytes
    }

    /// Reads a receipt.
    ///
    /// # Errors
    ///
    /// [`ContentError::Malformed`] for what is no receipt or names too many messages.
    pub fn decode(bytes: &[u8]) -> Result<Self, ContentError> {
        let mut decoder = Decoder::new(bytes);
        let more = cbor::structure(&mut decoder, 1)?;
        let count = cbor::list(&mut decoder, MAX_RECEIPT_IDS)?;
        let ids = (0..count)
            .map(|_| decoder.decode())
            .collect::<Result<_, _>>()?;
        cbor::skip_fields(&mut decoder, more)?;
        cbor::end(&decoder)?;
        Ok(Self { ids })
    }
}
