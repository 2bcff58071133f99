//! What lies inside the encrypted container: one literal, perhaps signed, perhaps compressed by a
//! stock OpenPGP client, perhaps padded.
//!
//! Reading is a loop, never a recursion, and everything that a stranger may repeat has a bound.

use std::io::Read;

use bytes::{BufMut, Bytes, BytesMut};
use pgp::{
    packet::{Decompressor, OnePassSignature, PacketHeader, Signature},
    ser::Serialize,
    types::Tag,
};

use crate::{
    framing::{self, Framed, HEADER_BYTES, tag},
    open::OpenError,
};

/// Longest cleartext in bytes that a compressed message may grow to.
pub const MAX_INFLATED_BYTES: usize = 4 * 1_048_576;
/// Most compressed packets that may lie one in the other.
pub const MAX_COMPRESSION_DEPTH: usize = 2;
/// Most signatures that a message may carry.
pub const MAX_SIGNATURES: usize = 4;
/// Most packets, ignored ones included, on one level of a message.
const MAX_INNER_PACKETS: usize = 16;

/// Format, length of the name, date.
const LITERAL_HEAD: [u8; 6] = [b'b', 0, 0, 0, 0, 0];
/// Bytes by which a literal packet of ours is longer than its body.
pub(crate) const LITERAL_OVERHEAD_BYTES: usize = HEADER_BYTES + LITERAL_HEAD.len();

/// A Literal Data packet (RFC 9580 section 5.9).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Literal {
    format: u8,
    pub(crate) name: Bytes,
    date: u32,
    pub(crate) body: Bytes,
}

impl Literal {
    /// Says whether it is written as this crate writes them: binary, without name and date.
    pub(crate) fn is_plain(&self) -> bool {
        self.format == b'b' && self.name.is_empty() && self.date == 0
    }

    fn parse(body: Bytes) -> Result<Self, OpenError> {
        let (format, rest) = body.split_first().ok_or(OpenError::Truncated)?;
        let (name_length, rest) = rest.split_first().ok_or(OpenError::Truncated)?;
        let (name, rest) = rest
            .split_at_checked(usize::from(*name_length))
            .ok_or(OpenError::Truncated)?;
        let (date, content) = rest.split_first_chunk().ok_or(OpenError::Truncated)?;
        Ok(Self {
            format: *format,
            name: body.slice_ref(name),
            date: u32::from_be_bytes(*date),
            body: body.slice_ref(content),
        })
    }
}

/// A message after decryption and inflation.
#[derive(Debug)]
pub(crate) struct Cleartext {
    pub(crate) literal: Literal,
    /// Signatures over the literal; `None` stands for one that can't be read.
    pub(crate) signatures: Vec<Option<Signature>>,
}

/// Reads the packets of a decrypted message.
pub(crate) fn parse(decrypted: Bytes) -> Result<Cleartext, OpenError> {
    let mut input = decrypted;
    for _ in 0..=MAX_COMPRESSION_DEPTH {
        match parse_level(&input)? {
            Level::Message(cleartext) => return Ok(cleartext),
            Level::Compressed(body) => input = inflate(&body)?,
        }
    }
    Err(OpenError::TooDeep)
}

/// What one level of compression holds.
enum Level {
    Message(Cleartext),
    Compressed(Bytes),
}

/// Reads the packets of one level.
fn parse_level(input: &Bytes) -> Result<Level, OpenError> {
    let mut rest: &[u8] = input;
    let mut literal = None;
    let mut announced: Vec<Option<OnePassSignature>> = Vec::new();
    let mut signatures = Vec::new();
    let mut compressed = None;
    for _ in 0..MAX_INNER_PACKETS {
        if rest.is_empty() {
            break;
        }
        let Framed {
            tag,
            body,
            rest: after,
        } = framing::next_packet(rest)?;
        rest = after;
        let body = match body {
            std::borrow::Cow::Borrowed(body) => input.slice_ref(body),
            std::borrow::Cow::Owned(body) => Bytes::from(body),
        };
        match tag {
            tag::LITERAL if literal.is_none() && compressed.is_none() => {
                literal = Some(Literal::parse(body)?);
            }
            tag::COMPRESSED if literal.is_none() && compressed.is_none() => {
                compressed = Some(body);
            }
            tag::ONE_PASS_SIGNATURE if literal.is_none() => {
                announced.push(one_pass_signature(&body));
            }
            tag::SIGNATURE if literal.is_some() && !announced.is_empty() => {
                // One-pass signatures nest: the last announced comes first.
                let announced = announced.pop().flatten();
                let signature = signature(&body).filter(|signature| {
                    announced.is_some_and(|announced| announced.matches(signature))
                });
                signatures.push(signature);
            }
            // The old order, without announcement, before the literal.
            tag::SIGNATURE if literal.is_none() => signatures.push(signature(&body)),
            tag::MARKER | tag::PADDING => {}
            unknown if unknown >= tag::FIRST_NON_CRITICAL => {}
            other => return Err(OpenError::UnexpectedPacket(other)),
        }
        if announced.len() + signatures.len() > MAX_SIGNATURES {
            return Err(OpenError::TooManySignatures);
        }
    }
    if !rest.is_empty() {
        return Err(OpenError::TooManyPackets);
    }
    match (literal, compressed) {
        (Some(literal), _) => {
            // An announced signature that never came is one that can't be read.
            signatures.extend(announced.iter().map(|_| None));
            Ok(Level::Message(Cleartext {
                literal,
                signatures,
            }))
        }
        (None, Some(body)) if announced.is_empty() && signatures.is_empty() => {
            Ok(Level::Compressed(body))
        }
        (None, Some(_)) => Err(OpenError::UnexpectedPacket(tag::COMPRESSED)),
        (None, None) => Err(OpenError::NoContent),
    }
}

/// Inflates a Compressed Data packet's body within [`MAX_INFLATED_BYTES`].
fn inflate(body: &[u8]) -> Result<Bytes, OpenError> {
    let decompressor =
        Decompressor::from_reader(body).map_err(|_| OpenError::UnsupportedCompression)?;
    let mut inflated = Vec::new();
    decompressor
        .take(MAX_INFLATED_BYTES as u64 + 1)
        .read_to_end(&mut inflated)
        .map_err(|_| OpenError::CompressionBroken)?;
    if inflated.len() > MAX_INFLATED_BYTES {
        return Err(OpenError::InflatesTooMuch);
    }
    Ok(Bytes::from(inflated))
}

fn one_pass_signature(mut body: &[u8]) -> Option<OnePassSignature> {
    let header = PacketHeader::new_fixed(Tag::OnePassSignature, body.len().try_into().ok()?);
    OnePassSignature::try_from_reader(header, &mut body).ok()
}

fn signature(mut body: &[u8]) -> Option<Signature> {
    let header = PacketHeader::new_fixed(Tag::Signature, body.len().try_into().ok()?);
    Signature::try_from_reader(header, &mut body).ok()
}

/// Appends a Literal Data packet: binary, without name and date.
pub(crate) fn put_literal(cleartext: &mut BytesMut, body: &[u8]) {
    framing::put_header(cleartext, tag::LITERAL, LITERAL_HEAD.len() + body.len());
    cleartext.put_slice(&LITERAL_HEAD);
    cleartext.put_slice(body);
}

/// Appends a packet of rPGP's, with a header of ours.
pub(crate) fn put_packet(
    cleartext: &mut BytesMut,
    tag: u8,
    packet: &impl Serialize,
) -> Result<(), pgp::errors::Error> {
    framing::put_header(cleartext, tag, packet.write_len());
    packet.to_writer(&mut cleartext.writer())
}

/// Reads what a layer holds, and nothing else: a literal as this crate writes it, then padding.
pub(crate) fn parse_plain(decrypted: &Bytes) -> Result<Bytes, OpenError> {
    let literal = framing::next_packet(decrypted)?;
    let std::borrow::Cow::Borrowed(body) = literal.body else {
        return Err(OpenError::UnexpectedPacket(literal.tag));
    };
    if literal.tag != tag::LITERAL {
        return Err(OpenError::UnexpectedPacket(literal.tag));
    }
    let content = body
        .strip_prefix(&LITERAL_HEAD)
        .ok_or(OpenError::UnexpectedPacket(tag::LITERAL))?;
    if !literal.rest.is_empty() {
        let padding = framing::next_packet(literal.rest)?;
        if padding.tag != tag::PADDING || !padding.rest.is_empty() {
            return Err(OpenError::UnexpectedPacket(padding.tag));
        }
    }
    Ok(decrypted.slice_ref(content))
}
