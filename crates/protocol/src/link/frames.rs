//! Records and the frames inside them.

use bytes::{Buf as _, Bytes, BytesMut};
use thiserror::Error;

use crate::frame::{self, HEADER_BYTES, Header, HeaderError};
use crate::secrets::{Aead, TAG_BYTES, counter_nonce};

/// Bytes of frames in one record at most.
const MAX_RECORD_BYTES: usize = 65_536;
const LENGTH_BYTES: usize = 4;
/// Memory that an empty [`Batch`] keeps.
const KEPT_BYTES: usize = 4 * MAX_RECORD_BYTES;
/// Payloads up to this, and those that fill less than half of their region, are copied out of their
/// record: a few bytes that wait somewhere must not keep 64 KiB or a mebibyte alive.
const COPIED_BYTES: usize = 32_768;

/// Frames laid out as the records that they will be, with room for the seals: what waits for a [`Sealer`].
///
/// A frame is written here once and sealed where it lies. One that fits a record is not cut, so that who
/// opens it need not join it.
#[derive(Debug, Default)]
pub struct Batch {
    bytes: Vec<u8>,
    /// Where the record begins that takes further frames.
    open: Option<usize>,
    /// Where the first record begins that is not sealed.
    sealed: usize,
}

impl Batch {
    /// Adds a frame; false, and nothing is added, if the payload fits no class.
    #[must_use]
    pub fn push(&mut self, header: Header, payload: &[u8]) -> bool {
        let Some(header) = frame::fitted(header, payload) else {
            return false;
        };
        let length = HEADER_BYTES + header.region_bytes();
        if length <= MAX_RECORD_BYTES {
            if self.room() < length {
                self.close();
                self.open();
            }
            return frame::append(&mut self.bytes, header, payload);
        }
        self.put(&header.encode());
        self.put(payload);
        self.put_zeros(header.region_bytes() - payload.len());
        true
    }

    /// Says whether nothing waits here.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Bytes that it takes on the wire so far.
    #[must_use]
    pub fn wire_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Empties it, and keeps memory for the next frames, but not for the life of the link what one large
    /// frame took.
    pub fn clear(&mut self) {
        self.bytes.clear();
        if self.bytes.capacity() > KEPT_BYTES {
            self.bytes = Vec::new();
        }
        (self.open, self.sealed) = (None, 0);
    }

    /// Bytes of frames that the open record still takes.
    fn room(&self) -> usize {
        self.open.map_or(0, |at| {
            (LENGTH_BYTES + MAX_RECORD_BYTES).saturating_sub(self.bytes.len() - at)
        })
    }

    fn open(&mut self) {
        self.open = Some(self.bytes.len());
        self.bytes.extend_from_slice(&[0; LENGTH_BYTES]);
    }

    /// Writes the open record's length and leaves room for its tag.
    fn close(&mut self) {
        let Some(at) = self.open.take() else { return };
        let sealed = self.bytes.len() - at - LENGTH_BYTES + TAG_BYTES;
        if let Some(field) = self.bytes.get_mut(at..at + LENGTH_BYTES) {
            field.copy_from_slice(&(sealed as u32).to_be_bytes());
        }
        self.bytes.extend_from_slice(&[0; TAG_BYTES]);
    }

    fn put(&mut self, mut part: &[u8]) {
        while !part.is_empty() {
            let (now, later) = part.split_at(self.piece(part.len()));
            self.bytes.extend_from_slice(now);
            part = later;
        }
    }

    fn put_zeros(&mut self, mut count: usize) {
        while count > 0 {
            let now = self.piece(count);
            self.bytes.resize(self.bytes.len() + now, 0);
            count -= now;
        }
    }

    /// How much of `length` goes into the open record; begins another if it is full.
    fn piece(&mut self, length: usize) -> usize {
        if self.room() == 0 {
            self.close();
            self.open();
        }
        length.min(self.room())
    }
}

/// Seals frames into records.
#[derive(Debug)]
pub struct Sealer {
    aead: Aead,
    next: u64,
    pending: Batch,
}

impl Sealer {
    pub(super) fn new(aead: Aead) -> Self {
        Self {
            aead,
            next: 0,
            pending: Batch::default(),
        }
    }

    /// Adds a frame to what the next [`Self::flush`] seals; false if the payload fits no class.
    #[must_use]
    pub fn push(&mut self, header: Header, payload: &[u8]) -> bool {
        self.pending.push(header, payload)
    }

    /// Bytes that wait for [`Self::flush`].
    #[must_use]
    pub fn pending_bytes(&self) -> usize {
        self.pending.wire_bytes()
    }

    /// Seals all pending frames and appends the records to `out`.
    pub fn flush(&mut self, out: &mut Vec<u8>) {
        let mut batch = core::mem::take(&mut self.pending);
        while let Some(records) = self.seal_next(&mut batch, usize::MAX) {
            out.extend_from_slice(records);
        }
        batch.clear();
        self.pending = batch;
    }

    /// Seals the next records of a batch where they lie, at least one and others up to `enough_bytes`, and
    /// returns them; `None` once all were. The batch takes no further frames before [`Batch::clear`].
    pub fn seal_next<'b>(&mut self, batch: &'b mut Batch, enough_bytes: usize) -> Option<&'b [u8]> {
        batch.close();
        let from = batch.sealed;
        while batch.sealed - from < enough_bytes
            && let Some(rest) = batch.bytes.get_mut(batch.sealed..)
            && let Some((length, record)) = rest.split_first_chunk_mut::<LENGTH_BYTES>()
        {
            let sealed = u32::from_be_bytes(*length) as usize;
            let (clear, tag) = record
                .get_mut(..sealed)?
                .split_last_chunk_mut::<TAG_BYTES>()?;
            *tag = self.aead.seal(counter_nonce(self.next), length, clear);
            self.next += 1;
            batch.sealed += LENGTH_BYTES + sealed;
        }
        batch
            .bytes
            .get(from..batch.sealed)
            .filter(|b| !b.is_empty())
    }
}

/// A frame that came over a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Incoming {
    /// Its header.
    pub header: Header,
    /// Its payload, without the padding.
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
        while self.feed_one(wire)? {}
        Ok(())
    }

    /// Takes one record off the front of `wire`, if it is there as a whole.
    fn feed_one(&mut self, wire: &mut BytesMut) -> Result<bool, OpenError> {
        let Some(length) = wire.first_chunk::<LENGTH_BYTES>().copied() else {
            return Ok(false);
        };
        let sealed = u32::from_be_bytes(length);
        let bytes = sealed as usize;
        if bytes <= TAG_BYTES || bytes > MAX_RECORD_BYTES + TAG_BYTES {
            return Err(OpenError::Length(sealed));
        }
        let Some(record) = wire.get_mut(LENGTH_BYTES..LENGTH_BYTES + bytes) else {
            return Ok(false);
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
        Ok(true)
    }

    /// The next whole frame among what was fed.
    ///
    /// # Errors
    /// [`OpenError::Header`]; the link is then unusable.
    pub fn next_frame(&mut self) -> Result<Option<Incoming>, OpenError> {
        Ok(self.next_shared()?.map(Incoming::detached))
    }

    /// The next whole frame of `wire`, whose payload shares the memory of `wire`: look at it and drop it, or
    /// keep it [`Incoming::detached`].
    ///
    /// # Errors
    /// As [`Self::feed`] and [`Self::next_frame`].
    pub fn next_of(&mut self, wire: &mut BytesMut) -> Result<Option<Incoming>, OpenError> {
        loop {
            if let Some(frame) = self.next_shared()? {
                return Ok(Some(frame));
            }
            if !self.feed_one(wire)? {
                return Ok(None);
            }
        }
    }

    fn next_shared(&mut self) -> Result<Option<Incoming>, OpenError> {
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
        let mut frame = if self.clear.len() == whole {
            // Nothing is left to hold the memory that the wire is read into.
            core::mem::take(&mut self.clear)
        } else {
            self.clear.split_to(whole)
        };
        frame.advance(HEADER_BYTES);
        frame.truncate(header.payload_bytes as usize);
        Ok(Some(Incoming {
            header,
            payload: frame.freeze(),
        }))
    }
}

impl Incoming {
    /// The frame with a payload that holds at most a few times its length in memory.
    #[must_use]
    pub fn detached(mut self) -> Self {
        let length = self.payload.len();
        if length <= COPIED_BYTES || length < self.header.region_bytes() / 2 {
            self.payload = Bytes::copy_from_slice(&self.payload);
        }
        self
    }
}
