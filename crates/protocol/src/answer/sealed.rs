//! Sealing answers to the one-time key of a layer, padded so that their length says nothing.

use bytes::Bytes;
use packet::SizeClass;
use rand::{CryptoRng, RngCore};
use thiserror::Error;
use zeroize::{Zeroize as _, ZeroizeOnDrop};

use crate::secrets::{Aead, TAG_BYTES, derive};

/// What the innermost sealed answer leaves free in its frame.
const INNERMOST_ROOM_BYTES: usize = 1024;
/// What an answer that wraps another node's leaves free.
const WRAPPING_ROOM_BYTES: usize = 512;
const LENGTH_BYTES: usize = 4;

/// The one-time key that the answer to a command is sealed to.
#[derive(Clone, PartialEq, Eq, ZeroizeOnDrop)]
pub struct AnswerKey([u8; 32]);

impl core::fmt::Debug for AnswerKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("AnswerKey(…)")
    }
}

impl AnswerKey {
    /// Makes a fresh key.
    pub fn generate(rng: &mut (impl CryptoRng + RngCore)) -> Self {
        let mut bytes = [0; 32];
        rng.fill_bytes(&mut bytes);
        Self::take(&mut bytes)
    }

    /// Wraps the 32 bytes of a key.
    #[must_use]
    pub fn from_bytes(mut bytes: [u8; 32]) -> Self {
        Self::take(&mut bytes)
    }

    fn take(bytes: &mut [u8; 32]) -> Self {
        let key = Self(*bytes);
        bytes.zeroize();
        key
    }

    /// The key's bytes, as a command carries them.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    fn aead(&self) -> Aead {
        Aead::new(&derive(&self.0, b"answer"))
    }
}

/// Why a sealed answer can't be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum OpenAnswerError {
    /// Not sealed to this key, altered, or out of order.
    #[error("the sealed answer is not for this key, or was altered or reordered on its way")]
    Forged,
    /// The length inside does not fit.
    #[error("the sealed answer's length field does not fit")]
    Length,
}

/// Seals the single answer to a command.
///
/// `wraps` says that the answer already contains another node's sealed answer: it then may use 512
/// bytes more of its class, so that each wrapping fits the same class.
#[must_use]
pub fn seal_answer(key: &AnswerKey, answer: &[u8], wraps: bool) -> Vec<u8> {
    seal(&key.aead(), 0, answer, wraps)
}

/// Opens the single answer to a command.
///
/// # Errors
/// [`OpenAnswerError`] where the bytes were not sealed to `key`.
pub fn open_answer(key: &AnswerKey, sealed: &[u8]) -> Result<Bytes, OpenAnswerError> {
    open(&key.aead(), 0, sealed)
}

/// Seals the items of one stream, in order.
#[derive(Debug)]
pub struct ItemSealer {
    aead: Aead,
    next: u64,
    wraps: bool,
}

impl ItemSealer {
    /// Starts the stream of the command that carried `key`; `wraps` as in [`seal_answer`].
    #[must_use]
    pub fn new(key: &AnswerKey, wraps: bool) -> Self {
        Self {
            aead: key.aead(),
            next: 0,
            wraps,
        }
    }

    /// Seals the next item.
    #[must_use]
    pub fn seal(&mut self, item: &[u8]) -> Vec<u8> {
        let sealed = seal(&self.aead, self.next, item, self.wraps);
        self.next += 1;
        sealed
    }
}

/// Opens the items of one stream; a lost, repeated or reordered item does not open.
#[derive(Debug)]
pub struct ItemOpener {
    aead: Aead,
    next: u64,
}

impl ItemOpener {
    /// Starts the stream of the command that carried `key`.
    #[must_use]
    pub fn new(key: &AnswerKey) -> Self {
        Self {
            aead: key.aead(),
            next: 0,
        }
    }

    /// Opens the next item.
    ///
    /// # Errors
    /// [`OpenAnswerError`]; the stream can't be continued after one.
    pub fn open(&mut self, sealed: &[u8]) -> Result<Bytes, OpenAnswerError> {
        let item = open(&self.aead, self.next, sealed)?;
        self.next += 1;
        Ok(item)
    }
}

fn seal(aead: &Aead, counter: u64, clear: &[u8], wraps: bool) -> Vec<u8> {
    let room = if wraps {
        WRAPPING_ROOM_BYTES
    } else {
        INNERMOST_ROOM_BYTES
    };
    let least = clear.len() + LENGTH_BYTES + TAG_BYTES;
    // An answer beyond the largest class goes unpadded; none of ours is.
    let padded =
        SizeClass::for_packet_len(least + room).map_or(least, |class| class.frame_bytes() - room);
    let mut out = Vec::with_capacity(padded);
    out.extend_from_slice(&(clear.len() as u32).to_be_bytes());
    out.extend_from_slice(clear);
    out.resize(padded - TAG_BYTES, 0);
    aead.seal_tail(crate::secrets::counter_nonce(counter), &[], &mut out, 0);
    out
}

fn open(aead: &Aead, counter: u64, sealed: &[u8]) -> Result<Bytes, OpenAnswerError> {
    let mut buffer = sealed.to_vec();
    let clear = aead
        .open(crate::secrets::counter_nonce(counter), &[], &mut buffer)
        .map_err(|_| OpenAnswerError::Forged)?;
    let (length, rest) = clear
        .split_first_chunk::<LENGTH_BYTES>()
        .ok_or(OpenAnswerError::Length)?;
    let length = u32::from_be_bytes(*length) as usize;
    if length > rest.len() {
        return Err(OpenAnswerError::Length);
    }
    Ok(Bytes::from(buffer).slice(LENGTH_BYTES..LENGTH_BYTES + length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sealed_answers_of_any_length_below_a_class_look_alike() {
        let key = AnswerKey::from_bytes([1; 32]);
        let lengths: Vec<usize> = [0, 1, 150, 3000, 3052]
            .iter()
            .map(|n| seal_answer(&key, &vec![7; *n], false).len())
            .collect();
        assert_eq!(lengths, vec![4096 - 1024; 5]);
        assert_eq!(seal_answer(&key, &[7; 3053], false).len(), 16_384 - 1024);
        assert_eq!(seal_answer(&key, &[7; 3100], true).len(), 4096 - 512);
    }

    #[test]
    fn answer_sealed_by_mailbox_and_wrapped_by_relay_opens_in_turn() {
        let (a, b) = (
            AnswerKey::from_bytes([1; 32]),
            AnswerKey::from_bytes([2; 32]),
        );
        let inner = seal_answer(&a, b"certificate", false);
        let outer = seal_answer(&b, &inner, true);
        assert_eq!(outer.len(), 4096 - 512);
        assert_eq!(
            open_answer(&a, &open_answer(&b, &outer).unwrap()).unwrap(),
            &b"certificate"[..]
        );
        assert_eq!(open_answer(&a, &outer), Err(OpenAnswerError::Forged));
    }

    #[test]
    fn stream_items_that_are_reordered_or_repeated_do_not_open() {
        let key = AnswerKey::from_bytes([1; 32]);
        let mut sealer = ItemSealer::new(&key, false);
        let (first, second) = (sealer.seal(b"1"), sealer.seal(b"2"));
        let mut opener = ItemOpener::new(&key);
        assert_eq!(opener.open(&second), Err(OpenAnswerError::Forged));
        assert_eq!(opener.open(&first).unwrap(), &b"1"[..]);
        assert_eq!(opener.open(&first), Err(OpenAnswerError::Forged));
        assert_eq!(opener.open(&second).unwrap(), &b"2"[..]);
    }
}
