//! OpenPGP packet framing (RFC 9580 section 4.2): splits a sequence of packets into bodies without
//! copying, and writes headers with five-byte lengths.
//!
//! Five-byte lengths keep the size of a sealed packet a plain sum, so that every exact length can be
//! reached with a Padding packet.

use std::borrow::Cow;

use bytes::{BufMut, BytesMut};
use thiserror::Error;

/// Packet types (RFC 9580 section 5) that messages are made of.
pub(crate) mod tag {
    pub(crate) const PKESK: u8 = 1;
    pub(crate) const SIGNATURE: u8 = 2;
    pub(crate) const SKESK: u8 = 3;
    pub(crate) const ONE_PASS_SIGNATURE: u8 = 4;
    pub(crate) const COMPRESSED: u8 = 8;
    pub(crate) const SYM_ENCRYPTED: u8 = 9;
    pub(crate) const MARKER: u8 = 10;
    pub(crate) const LITERAL: u8 = 11;
    pub(crate) const SEIPD: u8 = 18;
    pub(crate) const GNUPG_AEAD: u8 = 20;
    pub(crate) const PADDING: u8 = 21;
    /// From here on an unknown packet may be ignored (RFC 9580 section 4.3).
    pub(crate) const FIRST_NON_CRITICAL: u8 = 40;
}

/// Bytes of a header with a five-byte length.
pub(crate) const HEADER_BYTES: usize = 6;

/// Why bytes are no sequence of packets.
#[derive(Debug, Error, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum FramingError {
    /// A packet is longer than the bytes that are there.
    #[error("packet is cut short")]
    Truncated,
    /// A byte that should begin a packet does not.
    #[error("not an OpenPGP packet")]
    NotOpenPgp,
    /// A partial or indeterminate length where RFC 9580 section 4.2.1.4 forbids it.
    #[error("packet type {0} has no definite length")]
    IndefiniteLength(u8),
}

/// One packet and what follows it.
#[derive(Debug)]
pub(crate) struct Framed<'a> {
    pub(crate) tag: u8,
    /// Borrowed unless the body came in parts.
    pub(crate) body: Cow<'a, [u8]>,
    pub(crate) rest: &'a [u8],
}

/// How long a body says it is.
enum Length {
    Definite(usize),
    Partial(usize),
    /// Up to the end of the input (legacy format only).
    Indeterminate,
}

/// Splits the first packet off.
pub(crate) fn next_packet(bytes: &[u8]) -> Result<Framed<'_>, FramingError> {
    let (first, rest) = bytes.split_first().ok_or(FramingError::Truncated)?;
    let (tag, (length, rest)) = match first {
        0xc0.. => (first & 0x3f, new_length(rest)?),
        0x80.. => ((first >> 2) & 0x0f, old_length(first & 0x03, rest)?),
        _ => return Err(FramingError::NotOpenPgp),
    };
    let may_be_indefinite = matches!(
        tag,
        tag::COMPRESSED | tag::SYM_ENCRYPTED | tag::LITERAL | tag::SEIPD | tag::GNUPG_AEAD
    );
    if !may_be_indefinite && !matches!(length, Length::Definite(_)) {
        return Err(FramingError::IndefiniteLength(tag));
    }
    let (body, rest) = match length {
        Length::Definite(length) => {
            let (body, rest) = split(rest, length)?;
            (Cow::Borrowed(body), rest)
        }
        Length::Indeterminate => (Cow::Borrowed(rest), [].as_slice()),
        Length::Partial(length) => join(rest, length)?,
    };
    Ok(Framed { tag, body, rest })
}

/// Joins a body that came in parts; never longer than the input.
fn join(rest: &[u8], first: usize) -> Result<(Cow<'_, [u8]>, &[u8]), FramingError> {
    let (part, mut rest) = split(rest, first)?;
    let mut body = part.to_vec();
    loop {
        let (length, after) = new_length(rest)?;
        let (length, last) = match length {
            Length::Definite(length) => (length, true),
            Length::Partial(length) => (length, false),
            Length::Indeterminate => return Err(FramingError::NotOpenPgp),
        };
        let (part, after) = split(after, length)?;
        body.extend_from_slice(part);
        rest = after;
        if last {
            return Ok((Cow::Owned(body), rest));
        }
    }
}

fn split(bytes: &[u8], at: usize) -> Result<(&[u8], &[u8]), FramingError> {
    bytes.split_at_checked(at).ok_or(FramingError::Truncated)
}

/// Reads a length of the OpenPGP format (RFC 9580 section 4.2.1).
fn new_length(bytes: &[u8]) -> Result<(Length, &[u8]), FramingError> {
    Ok(match *bytes {
        [length @ 0..=191, ref rest @ ..] => (Length::Definite(usize::from(length)), rest),
        [high @ 192..=223, low, ref rest @ ..] => {
            let length = ((usize::from(high) - 192) << 8) + usize::from(low) + 192;
            (Length::Definite(length), rest)
        }
        [power @ 224..=254, ref rest @ ..] => (Length::Partial(1 << (power & 0x1f)), rest),
        [255, a, b, c, d, ref rest @ ..] => (four(a, b, c, d), rest),
        _ => return Err(FramingError::Truncated),
    })
}

/// Reads a length of the legacy format (RFC 9580 section 4.2.2).
fn old_length(kind: u8, bytes: &[u8]) -> Result<(Length, &[u8]), FramingError> {
    Ok(match (kind, bytes) {
        (0, [length, rest @ ..]) => (Length::Definite(usize::from(*length)), rest),
        (1, [a, b, rest @ ..]) => {
            let length = u16::from_be_bytes([*a, *b]);
            (Length::Definite(usize::from(length)), rest)
        }
        (2, [a, b, c, d, rest @ ..]) => (four(*a, *b, *c, *d), rest),
        (3, rest) => (Length::Indeterminate, rest),
        _ => return Err(FramingError::Truncated),
    })
}

fn four(a: u8, b: u8, c: u8, d: u8) -> Length {
    Length::Definite(u32::from_be_bytes([a, b, c, d]) as usize)
}

/// Writes the header of a packet with a five-byte length.
pub(crate) fn put_header(bytes: &mut BytesMut, tag: u8, body_length: usize) {
    bytes.put_u8(0xc0 | tag);
    bytes.put_u8(255);
    // Callers bound bodies to a packet's megabyte, long before 32 bits end.
    bytes.put_u32(u32::try_from(body_length).unwrap_or(u32::MAX));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn framing_joins_partial_bodies() {
        let mut bytes = vec![0xcb, 0xe1, 1, 2, 0xe0, 3, 2, 4, 5, 0xd5, 0];
        let framed = next_packet(&bytes).unwrap();
        assert_eq!((framed.tag, &framed.body[..]), (11, &[1, 2, 3, 4, 5][..]));
        assert_eq!(framed.rest, [0xd5, 0]);
        bytes[0] = 0xc2;
        assert_eq!(
            next_packet(&bytes).unwrap_err(),
            FramingError::IndefiniteLength(2)
        );
    }

    #[test]
    fn framing_reads_all_legacy_lengths() {
        for header in [&[0xac, 2][..], &[0xad, 0, 2], &[0xae, 0, 0, 0, 2], &[0xaf]] {
            let bytes = [header, &[8, 9]].concat();
            let framed = next_packet(&bytes).unwrap();
            assert_eq!((framed.tag, &framed.body[..]), (11, &[8, 9][..]));
            assert!(framed.rest.is_empty());
        }
    }

    #[test]
    fn framing_tells_types_by_the_first_byte_and_lets_data_only_be_of_indefinite_length() {
        for first in 0..=255u8 {
            let tag = match first {
                0..0x80 => None,
                0x80..0xc0 => Some((first - 0x80) / 4),
                0xc0.. => Some(first - 0xc0),
            };
            // Of one byte; partial, then of one byte; up to the end.
            let (lengths, indeterminate): (&[&[u8]], _) = match first {
                0xc0.. => (&[&[1, 7], &[0xe0, 7, 1, 7]], false),
                _ => match first % 4 {
                    0 => (&[&[1, 7]], false),
                    1 => (&[&[0, 1, 7]], false),
                    2 => (&[&[0, 0, 0, 1, 7]], false),
                    _ => (&[&[7]], true),
                },
            };
            for length in lengths {
                let bytes = [&[first], *length].concat();
                let Some(tag) = tag else {
                    assert_eq!(next_packet(&bytes).unwrap_err(), FramingError::NotOpenPgp);
                    continue;
                };
                let is_data = [8, 9, 11, 18, 20].contains(&tag);
                match next_packet(&bytes) {
                    Ok(framed) => {
                        assert_eq!(framed.tag, tag);
                        assert!(framed.body.iter().all(|byte| *byte == 7));
                        assert!(is_data || (length[0] != 0xe0 && !indeterminate));
                    }
                    Err(error) => {
                        assert!(!is_data);
                        assert_eq!(error, FramingError::IndefiniteLength(tag));
                    }
                }
            }
        }
    }

    #[test]
    fn framing_reads_lengths_of_two_bytes() {
        for (high, low, length) in [
            (192, 0, 192),
            (192, 255, 447),
            (193, 3, 451),
            (223, 255, 8383),
        ] {
            let bytes = [&[0xc2, high, low][..], &vec![7; length + 1]].concat();
            let framed = next_packet(&bytes).unwrap();
            assert_eq!((framed.body.len(), framed.rest), (length, &[7][..]));
        }
    }

    #[test]
    fn framing_of_a_claim_beyond_the_input_is_truncated() {
        for bytes in [
            &[0xcb, 0xff, 0xff, 0xff, 0xff, 0xff, 1][..],
            &[0xcb, 0xfe, 1],
            &[0xcb],
        ] {
            assert_eq!(next_packet(bytes).unwrap_err(), FramingError::Truncated);
        }
    }

    proptest! {
        #[test]
        fn framing_of_any_bytes_never_panics(bytes: Vec<u8>) {
            if let Ok(framed) = next_packet(&bytes) {
                prop_assert!(framed.body.len() + framed.rest.len() < bytes.len());
            }
        }

        #[test]
        fn framing_reads_what_it_writes(tag in 0u8..64, body: Vec<u8>, rest: Vec<u8>) {
            let mut bytes = BytesMut::new();
            put_header(&mut bytes, tag, body.len());
            prop_assert_eq!(bytes.len(), HEADER_BYTES);
            bytes.put_slice(&body);
            bytes.put_slice(&rest);
            let framed = next_packet(&bytes).unwrap();
            prop_assert_eq!(framed.tag, tag);
            prop_assert_eq!(&framed.body[..], &body[..]);
            prop_assert_eq!(framed.rest, &rest[..]);
        }
    }
}
