//! Peek: reads the key ID that a packet shows, without keys, without allocation.
//!
//! That key ID is all a node needs in order to forward a packet (`docs/wire-format.md`, section 3.1).
//! Only the first PKESK is looked at, and at most [`HEAD_BYTES`] bytes of it.

use thiserror::Error;
use wallet::KeyId;

use crate::armor::{self, ArmorError};

/// Most bytes of a binary message that are looked at.
pub const HEAD_BYTES: usize = 64;

/// Packet type of a Public-Key Encrypted Session Key packet (RFC 9580 section 5.1).
const TAG_PKESK: u8 = 1;

/// What a packet shows to everybody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peeked {
    /// The key the packet is encrypted to.
    pub key_id: KeyId,
    /// Whether the packet is ASCII-armored.
    pub armored: bool,
}

/// Why bytes show no key ID.
#[derive(Debug, Error, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum PeekError {
    /// The bytes end before the key ID.
    #[error("packet is cut short")]
    Truncated,
    /// The first byte is no packet header.
    #[error("not an OpenPGP packet")]
    NotOpenPgp,
    /// The first packet is not a public-key encrypted session key.
    #[error("message begins with packet type {0}, not with an encrypted session key")]
    NotEncrypted(u8),
    /// The first packet has a partial or indeterminate length.
    #[error("encrypted session key has no definite length")]
    IndefiniteLength,
    /// The first packet is too short for what it says it holds.
    #[error("encrypted session key is too short")]
    TooShort,
    /// A version of the encrypted session key or of the key that is not known.
    #[error("encrypted session key of version {0} is not supported")]
    UnsupportedVersion(u8),
    /// The recipient is hidden, so the packet can't be routed.
    #[error("recipient is anonymous")]
    Anonymous,
    /// The armor can't be read.
    #[error("armor can't be read")]
    Armor(#[source] ArmorError),
}

/// Reads the key ID of the first PKESK of a binary or armored message.
///
/// # Errors
///
/// [`PeekError`] for everything that can't be routed, anonymous recipients included.
pub fn peek(bytes: &[u8]) -> Result<KeyId, PeekError> {
    if armor::is_armored(bytes) {
        let mut head = [0; HEAD_BYTES];
        let length = armor::dearmor_head(bytes, &mut head).map_err(PeekError::Armor)?;
        return peek_binary(head.get(..length).unwrap_or_default());
    }
    peek_binary(bytes)
}

/// Reads what a binary or armored message shows: its key ID and whether it is armored.
///
/// # Errors
///
/// As [`peek`].
pub fn inspect(bytes: &[u8]) -> Result<Peeked, PeekError> {
    Ok(Peeked {
        key_id: peek(bytes)?,
        armored: armor::is_armored(bytes),
    })
}

/// Reads the key ID of the first PKESK of a binary message.
fn peek_binary(bytes: &[u8]) -> Result<KeyId, PeekError> {
    let (length, body) = pkesk_header(bytes)?;
    let (version, rest) = body.split_first().ok_or(PeekError::Truncated)?;
    let (shown, needed) = match version {
        // Version, key ID.
        3 => (first_eight(rest)?, 1 + 8),
        6 => {
            let (size, rest) = rest.split_first().ok_or(PeekError::Truncated)?;
            if *size == 0 {
                return Err(PeekError::Anonymous);
            }
            let (key_version, fingerprint) = rest.split_first().ok_or(PeekError::Truncated)?;
            // Version, size, key version, fingerprint.
            match (key_version, size) {
                (6, 33) => (first_eight(fingerprint)?, 3 + 32),
                (4, 21) => {
                    let last = fingerprint.get(12..).ok_or(PeekError::Truncated)?;
                    (first_eight(last)?, 3 + 20)
                }
                _ => return Err(PeekError::UnsupportedVersion(*key_version)),
            }
        }
        other => return Err(PeekError::UnsupportedVersion(*other)),
    };
    if length < needed {
        return Err(PeekError::TooShort);
    }
    if shown == [0; 8] {
        return Err(PeekError::Anonymous);
    }
    Ok(KeyId::from(shown))
}

/// Splits the header of a PKESK off: the length of its body, and the bytes from its body on.
fn pkesk_header(bytes: &[u8]) -> Result<(usize, &[u8]), PeekError> {
    let (first, rest) = bytes.split_first().ok_or(PeekError::Truncated)?;
    if first & 0x80 == 0 {
        return Err(PeekError::NotOpenPgp);
    }
    let new_format = first & 0x40 != 0;
    let tag = if new_format {
        first & 0x3f
    } else {
        (first >> 2) & 0x0f
    };
    if tag != TAG_PKESK {
        return Err(PeekError::NotEncrypted(tag));
    }
    if new_format {
        new_length(rest)
    } else {
        old_length(first & 0x03, rest)
    }
}

/// Reads a length of the OpenPGP format (RFC 9580 section 4.2.1).
fn new_length(rest: &[u8]) -> Result<(usize, &[u8]), PeekError> {
    match *rest {
        [length @ 0..=191, ref body @ ..] => Ok((usize::from(length), body)),
        [high @ 192..=223, low, ref body @ ..] => Ok((
            ((usize::from(high) - 192) << 8) + usize::from(low) + 192,
            body,
        )),
        [224..=254, ..] => Err(PeekError::IndefiniteLength),
        [255, a, b, c, d, ref body @ ..] => Ok((u32::from_be_bytes([a, b, c, d]) as usize, body)),
        _ => Err(PeekError::Truncated),
    }
}

/// Reads a length of the legacy format (RFC 9580 section 4.2.2).
fn old_length(kind: u8, rest: &[u8]) -> Result<(usize, &[u8]), PeekError> {
    match (kind, rest) {
        (0, [length, body @ ..]) => Ok((usize::from(*length), body)),
        (1, [a, b, body @ ..]) => Ok((usize::from(u16::from_be_bytes([*a, *b])), body)),
        (2, [a, b, c, d, body @ ..]) => Ok((u32::from_be_bytes([*a, *b, *c, *d]) as usize, body)),
        (3, _) => Err(PeekError::IndefiniteLength),
        _ => Err(PeekError::Truncated),
    }
}

/// Returns the first eight bytes.
fn first_eight(bytes: &[u8]) -> Result<[u8; 8], PeekError> {
    bytes.first_chunk().copied().ok_or(PeekError::Truncated)
}
