//! Records and the frames inside them.

use bytes::{Buf as _, Bytes, BytesMut};
use thiserror::Error;

use crate::frame::{self, HEADER_BYTES, Header, HeaderError};
use crate::secrets::{Aead, TAG_BYTES, counter_nonce};

/// Bytes of frames in one record at most.
const MAX_RECORD_BYTES: usize = 65_536;
const LENGTH_BYTES: usize = 4;
/// Payloads up to this, and those that fill less than half of their region, are copied out of their
/// record: a few bytes that wait somewhere must not keep 64 KiB or a mebibyte alive.
const COPIED_BYTES: usize = 32_768;

/// Seals frames into records.
#[derive(Debug)]
pub struct Sealer {
    aead: Aead,
    next: u64,
    pending: Vec<u8>,
}

impl Sealer {
    pub(super) fn new(aead: Aead) -> Self {
        Self {
            aead,
            next: 0,
            pending: Vec::with_capacity(MAX_RECORD_BYTES),
        }
    }

    /// Adds a frame to what the next [`Self::flush`] seals; false if the payload fits no class.
    #[must_use]
    pub fn push(&mut self, header: Header, payload: &[u8]) -> bool {
        frame::append(&mut self.pending, header, payload)
    }

    /// Bytes of frames that wait for [`Self::flush`].
    #[must_use]
    pub fn pending_bytes(&self) -> usize {
        self.pending.len()
    }

    /// Seals all pending frames and appends the records to `out`.
    pub fn flush(&mut self, out: &mut Vec<u8>) {
        for piece in self.pending.chunks(MAX_RECORD_BYTES) {
            let length = ((piece.len() + TAG_BYTES) as u32).to_be_bytes();
            out.extend_from_slice(&length);
            let from = out.len();
            out.extend_from_slice(piece);
            self.aead
                .seal_tail(counter_nonce(self.next), &length, out, from);
            self.next += 1;
        }
        self.pending.clear();
        // A large frame must not hold its memory for the life of the link.
        if self.pending.capacity() > 2 * MAX_RECORD_BYTES {
            self.pending = Vec::with_capacity(MAX_RECORD_BYTES);
        }
    }
}

/// A frame that came over a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Incoming {
    /// Its header.
    pub header: Header,
    /// Its payload, without the padding; holds at most a few times its length in memory.
    pub payload: Bytes,
}

/// Why a link must be closed.
#[derive(Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum OpenError {
    /// A record's length field is out of bounds.
    #[error("a record of {0} bytes is out of bounds")]
    Length(u32),
    /// A record was altered, lost, repeated or reordered.
    #[error("a record does not verify")]
    Forged,
    /// A frame's header is malformed.
    #[error(transparent)]
    Header(#[from] HeaderError),
}

/// Opens records and gives their frames back.
#[derive(Debug)]
pub struct Opener {
    aead: Aead,
    next: u64,
    /// Opened bytes of frames.
    clear: BytesMut,
}

impl Opener {
    pub(super) fn new(aead: Aead) -> Self {
        Self {
            aead,
            next: 0,
            clear: BytesMut::new(),
        }
    }

    /// Takes whole records off the front of `wire`; what is left there is an unfinished record.
    ///
    /// # Errors
    /// [`OpenError::Length`] or [`OpenError::Forged`]; the link is then unusable.
    pub fn feed(&mut self, wire: &mut BytesMut) -> Result<(), OpenError> {
        while let Some(length) = wire.first_chunk::<LENGTH_BYTES>().copied() {
            let sealed = u32::from_be_bytes(length);
            let bytes = sealed as usize;
            if bytes <= TAG_BYTES || bytes > MAX_RECORD_BYTES + TAG_BYTES {
                return Err(OpenError::Length(sealed));
            }
            let Some(record) = wire.get_mut(LENGTH_BYTES..LENGTH_BYTES + bytes) else {
                break;
            };
            self.aead
                .open(counter_nonce(self.next), &length, record)
                .map_err(|_| OpenError::Forged)?;
            self.next += 1;
            let mut record = wire.split_to(LENGTH_BYTES + bytes);
            record.advance(LENGTH_BYTES);
            record.truncate(bytes - TAG_BYTES);
            if self.clear.is_empty() {
                self.clear = record;
            } else {
                self.clear.extend_from_slice(&record);
            }
        }
        Ok(())
    }

    /// The next whole frame among what was fed.
    ///
    /// # Errors
    /// [`OpenError::Header`]; the link is then unusable.
    pub fn next_frame(&mut self) -> Result<Option<Incoming>, OpenError> {
        if self.clear.len() < HEADER_BYTES {
            return Ok(None);
        }
        let header = Header::decode(&self.clear)?;
        let whole = HEADER_BYTES + header.region_bytes();
        if self.clear.len() < whole {
            // Room for the rest at once: at most one frame of the largest class.
            self.clear.reserve(whole - self.clear.len());
            return Ok(None);
        }
        let mut frame = self.clear.split_to(whole);
        frame.advance(HEADER_BYTES);
        let length = header.payload_bytes as usize;
        frame.truncate(length);
        let payload = if length <= COPIED_BYTES || length < whole / 2 {
            Bytes::copy_from_slice(&frame)
        } else {
            frame.freeze()
        };
        Ok(Some(Incoming { header, payload }))
    }
}
