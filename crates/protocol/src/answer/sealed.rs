//! Sealing answers to the one-time key of a layer, padded so that their length says nothing.

use bytes::Bytes;
use packet::SizeClass;
use rand::{CryptoRng, RngCore};
use thiserror::Error;
use zeroize::{Zeroize as _, ZeroizeOnDrop};

use crate::secrets::{Aead, TAG_BYTES, derive, mac};

/// What the innermost sealed answer leaves free in its frame.
const INNERMOST_ROOM_BYTES: usize = 1024;
/// What an answer that wraps another node's leaves free.
const WRAPPING_ROOM_BYTES: usize = 512;
const LENGTH_BYTES: usize = 4;
/// What makes the key of one refusal: 16 bytes that follow its sealed part.
const SALT_BYTES: usize = 16;

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
        Aead::new(&derive(&self.0, &[b"answer"]))
    }

    fn refusal_aead(&self, salt: &[u8; SALT_BYTES]) -> Aead {
        Aead::new(&derive(&self.0, &[b"refusal/key", salt]))
    }

    /// A salt that is the same only for the same refusal.
    fn refusal_salt(&self, padded: &[u8]) -> [u8; SALT_BYTES] {
        let mac = mac(&derive(&self.0, &[b"refusal/salt"]), padded);
        let mut salt = [0; SALT_BYTES];
        salt.iter_mut().zip(mac).for_each(|(s, m)| *s = m);
        salt
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

/// Seals the single answer to a command that was accepted ([`crate::freshness`]).
///
/// **Invariant**: a command is accepted once, so its answer key seals one answer or one stream. What
/// refuses a command unaccepted goes by [`seal_refusal`].
///
/// `wraps` says that the answer already contains another node's sealed answer: it then may use 512
/// bytes more of its class, so that each wrapping fits the same class.
#[must_use]
pub fn seal_answer(key: &AnswerKey, answer: &[u8], wraps: bool) -> Vec<u8> {
    seal(&key.aead(), 0, answer, wraps)
}

/// Seals the refusal of a command that was not accepted: stale, replayed, or for another node.
///
/// Such a command may come any number of times, also after it was accepted once, and whoever passed
/// it on can send it again. Were its refusals sealed like answers, two texts would share key and nonce,
/// and that one would learn both. So each text has a key of its own, named by a salt; the same text
/// seals to the same bytes. `wraps` is that of the answer in whose place the refusal stands, so that
/// both are equally long.
#[must_use]
pub fn seal_refusal(key: &AnswerKey, refusal: &[u8], wraps: bool) -> Vec<u8> {
    let mut out = padded(refusal, wraps, SALT_BYTES);
    let salt = key.refusal_salt(&out);
    let nonce = crate::secrets::counter_nonce(0);
    key.refusal_aead(&salt).seal_tail(nonce, &[], &mut out, 0);
    out.extend_from_slice(&salt);
    out
}

/// Opens the single answer to a command, or its refusal.
///
/// # Errors
/// [`OpenAnswerError`] where the bytes were not sealed to `key`.
pub fn open_answer(key: &AnswerKey, sealed: &[u8]) -> Result<Bytes, OpenAnswerError> {
    match open(&key.aead(), 0, sealed) {
        Err(OpenAnswerError::Forged) => open_refusal(key, sealed),
        opened => opened,
    }
}

fn open_refusal(key: &AnswerKey, sealed: &[u8]) -> Result<Bytes, OpenAnswerError> {
    let (sealed, salt) = sealed
        .split_last_chunk::<SALT_BYTES>()
        .ok_or(OpenAnswerError::Forged)?;
    open(&key.refusal_aead(salt), 0, sealed)
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
    let mut out = padded(clear, wraps, 0);
    aead.seal_tail(crate::secrets::counter_nonce(counter), &[], &mut out, 0);
    out
}

/// Length, text and zeros, such that with the tag and `trailer` bytes more the class is filled.
fn padded(clear: &[u8], wraps: bool, trailer: usize) -> Vec<u8> {
    let room = if wraps {
        WRAPPING_ROOM_BYTES
    } else {
        INNERMOST_ROOM_BYTES
    };
    let least = clear.len() + LENGTH_BYTES + TAG_BYTES + trailer;
    // An answer beyond the largest class goes unpadded; none of ours is.
    let whole =
        SizeClass::for_packet_len(least + room).map_or(least, |class| class.frame_bytes() - room);
    let mut out = Vec::with_capacity(whole);
    out.extend_from_slice(&(clear.len() as u32).to_be_bytes());
    out.extend_from_slice(clear);
    out.resize(whole - TAG_BYTES - trailer, 0);
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

    /// An entry keeps the layer that it passes on and sends it again: the refusal it gets then must tell
    /// nothing of the first answer. Its text is known, so one key stream for both would tell all.
    #[test]
    fn refusal_of_a_replayed_command_shares_no_key_stream_with_its_answer() {
        let key = AnswerKey::from_bytes([1; 32]);
        let key_stream = |text: &[u8], sealed: &[u8]| -> Vec<u8> {
            let length = (text.len() as u32).to_be_bytes();
            let clear = length.iter().chain(text).chain(std::iter::repeat(&0));
            sealed
                .iter()
                .zip(clear)
                .map(|(s, c)| s ^ c)
                .take(1024)
                .collect()
        };
        for wraps in [false, true] {
            let answered = seal_answer(&key, b"stored at", wraps);
            let refused = seal_refusal(&key, b"replayed", wraps);
            let stale = seal_refusal(&key, b"stale", wraps);
            assert_eq!(
                (answered.len(), stale.len()),
                (refused.len(), refused.len())
            );
            let streams = [
                key_stream(b"stored at", &answered),
                key_stream(b"replayed", &refused),
                key_stream(b"stale", &stale),
            ];
            assert!(
                streams[0] != streams[1] && streams[1] != streams[2] && streams[0] != streams[2]
            );
            assert_eq!(seal_refusal(&key, b"replayed", wraps), refused);
            for (sealed, text) in [(answered, &b"stored at"[..]), (refused, b"replayed")] {
                assert_eq!(open_answer(&key, &sealed).unwrap(), text);
                let mut altered = sealed.clone();
                altered[40] ^= 1;
                assert!(open_answer(&key, &altered).is_err());
                let mut altered = sealed;
                *altered.last_mut().unwrap() ^= 1;
                assert!(open_answer(&key, &altered).is_err());
            }
        }
    }

    #[test]
    fn text_that_fills_its_class_to_the_last_byte_opens_whole() {
        let key = AnswerKey::from_bytes([1; 32]);
        for (length, class) in [(3052, 4096), (3053, 16_384)] {
            let text = vec![7; length];
            let sealed = seal_answer(&key, &text, false);
            assert_eq!(sealed.len(), class - 1024);
            assert_eq!(open_answer(&key, &sealed).unwrap(), text);
            // The salt takes 16 bytes of a refusal's room.
            let text = vec![7; length - 16];
            let sealed = seal_refusal(&key, &text, false);
            assert_eq!(sealed.len(), class - 1024);
            assert_eq!(open_answer(&key, &sealed).unwrap(), text);
        }
    }

    /// Who seals an answer holds its key and can write any length into it.
    #[test]
    fn answer_that_claims_more_than_it_holds_is_refused() {
        let key = AnswerKey::from_bytes([1; 32]);
        let claims = |length: u32| {
            let mut text = length.to_be_bytes().to_vec();
            text.extend_from_slice(b"0123456789");
            let nonce = crate::secrets::counter_nonce(0);
            key.aead().seal_tail(nonce, &[], &mut text, 0);
            open_answer(&key, &text)
        };
        assert_eq!(claims(10).unwrap(), &b"0123456789"[..]);
        assert_eq!(claims(9).unwrap(), &b"012345678"[..]);
        for length in [11, u32::MAX] {
            assert_eq!(claims(length), Err(OpenAnswerError::Length));
        }
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
