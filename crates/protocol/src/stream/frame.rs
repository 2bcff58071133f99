//! What a frame of a stream says beside its data (`docs/wire-format.md`, 11.3).

use super::Reset;
use super::keys::Cipher;

/// The counter before the sealed part.
pub(super) const COUNTER_BYTES: usize = 8;
/// What stands before the data.
pub(super) const NOTE_BYTES: usize = 32;
/// What an accepter's first frame has in the clear after its counter: its share, the cipher, seven zeros.
pub(super) const HELLO_BYTES: usize = 40;

const LAST: u8 = 1;
const RESET: u8 = 2;
const ASKS: u8 = 8;
const OPENED: u8 = 16;

/// What an accepter says in the clear, once: its share and the cipher that it chose.
#[derive(Debug, Clone, Copy)]
pub(super) struct Hello([u8; HELLO_BYTES]);

/// What a frame begins with in the clear, which its seal covers.
#[derive(Debug)]
pub(super) struct Head {
    bytes: [u8; COUNTER_BYTES + HELLO_BYTES],
    length: usize,
}

impl Hello {
    pub(super) fn new(share: &[u8; 32], cipher: Cipher) -> Self {
        let mut bytes = [0; HELLO_BYTES];
        let (front, rest) = bytes.split_at_mut(share.len());
        front.copy_from_slice(share);
        if let Some(byte) = rest.first_mut() {
            *byte = cipher.to_byte();
        }
        Self(bytes)
    }

    /// Reads the hello of a whole frame.
    pub(super) fn decode(frame: &[u8]) -> Option<Self> {
        frame.get(COUNTER_BYTES..)?.first_chunk().copied().map(Self)
    }

    pub(super) fn share(&self) -> &[u8; 32] {
        let [share @ .., _, _, _, _, _, _, _, _] = &self.0;
        share
    }

    /// `None` for one that is unknown.
    pub(super) fn cipher(&self) -> Option<Cipher> {
        let [_share @ .., cipher, _, _, _, _, _, _, _] = self.0;
        Cipher::from_byte(cipher)
    }
}

impl Head {
    pub(super) fn new(counter: [u8; COUNTER_BYTES], hello: Option<&Hello>) -> Self {
        let mut bytes = [0; COUNTER_BYTES + HELLO_BYTES];
        let (front, rest) = bytes.split_at_mut(COUNTER_BYTES);
        front.copy_from_slice(&counter);
        if let Some(hello) = hello {
            rest.copy_from_slice(&hello.0);
        }
        let length = COUNTER_BYTES + hello.map_or(0, |_| HELLO_BYTES);
        Self { bytes, length }
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}

/// What a frame says, data apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Note {
    /// The sender gives the stream up.
    pub(super) reset: Option<Reset>,
    /// The accepter has done what was asked.
    pub(super) opened: bool,
    /// Nothing comes after this frame's data.
    pub(super) last: bool,
    /// Where in the stream the data begin.
    pub(super) offset: u64,
    /// Bytes that the sender has received in order; one more once it has the end.
    pub(super) received: u64,
    /// Up to where the other end may send.
    pub(super) granted: u64,
}

/// A note as it stands in a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Envelope {
    pub(super) note: Note,
    /// The sender wants a sign of life.
    pub(super) asks: bool,
    /// Bytes at the end of the frame that mean nothing.
    pub(super) padding_bytes: u16,
}

impl Envelope {
    pub(super) fn encode(&self) -> [u8; NOTE_BYTES] {
        let bit = |is_set: bool, bit: u8| if is_set { bit } else { 0 };
        let note = &self.note;
        let flags = bit(note.last, LAST)
            | bit(note.reset.is_some(), RESET)
            | bit(self.asks, ASKS)
            | bit(note.opened, OPENED);
        let mut out = [0; NOTE_BYTES];
        out[0] = flags;
        out[1] = note.reset.map_or(0, Reset::to_byte);
        out[2..4].copy_from_slice(&self.padding_bytes.to_be_bytes());
        out[8..16].copy_from_slice(&note.offset.to_be_bytes());
        out[16..24].copy_from_slice(&note.received.to_be_bytes());
        out[24..].copy_from_slice(&note.granted.to_be_bytes());
        out
    }

    /// Flags that are unknown, and the four bytes that are not used, mean nothing yet.
    pub(super) fn decode(bytes: &[u8; NOTE_BYTES]) -> Self {
        let [flags, reset, p0, p1, _, _, _, _, rest @ ..] = bytes;
        let mut numbers = [0_u64; 3];
        for (number, field) in numbers.iter_mut().zip(rest.as_chunks::<8>().0) {
            *number = u64::from_be_bytes(*field);
        }
        let [offset, received, granted] = numbers;
        Self {
            note: Note {
                reset: (flags & RESET != 0).then(|| Reset::from_byte(*reset)),
                opened: flags & OPENED != 0,
                last: flags & LAST != 0,
                offset,
                received,
                granted,
            },
            asks: flags & ASKS != 0,
            padding_bytes: u16::from_be_bytes([*p0, *p1]),
        }
    }
}
