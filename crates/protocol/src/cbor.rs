//! The few CBOR shapes that this crate's codecs share: arrays of a least length, fixed byte
//! strings, and an end that is really the end.

use minicbor::{Decoder, Encoder, data::Type};
use thiserror::Error;

/// Elements that a newer version may have added at the end of an array; more is refused.
const MAX_UNKNOWN_ELEMENTS: u64 = 16;

/// Why bytes are not the CBOR structure they should be.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CodecError {
    /// The bytes are not well-formed CBOR or an element has another type.
    #[error("malformed CBOR")]
    Cbor(#[from] minicbor::decode::Error),
    /// An element is missing, too long, or of a wrong length.
    #[error("{0} has a wrong length")]
    Length(&'static str),
    /// The structure names a version or kind that this code does not know.
    #[error("{what} {value} is not supported")]
    Unsupported {
        /// What the number is.
        what: &'static str,
        /// The number.
        value: u64,
    },
    /// A nested structure of another crate does not decode.
    #[error("{0} does not decode")]
    Nested(&'static str),
}

pub(crate) type Writer = Encoder<Vec<u8>>;

pub(crate) fn writer(capacity: usize) -> Writer {
    Encoder::new(Vec::with_capacity(capacity))
}

/// Writing to memory cannot fail; this keeps the one place that knows it.
pub(crate) fn written<T>(result: Result<T, minicbor::encode::Error<core::convert::Infallible>>) {
    debug_assert!(result.is_ok(), "encoding to memory cannot fail");
}

/// Opens an array with at least `least` elements and says how many more follow them.
pub(crate) fn array(
    d: &mut Decoder<'_>,
    least: u64,
    what: &'static str,
) -> Result<u64, CodecError> {
    match d.array()? {
        Some(n) if n >= least && n - least <= MAX_UNKNOWN_ELEMENTS => Ok(n - least),
        _ => Err(CodecError::Length(what)),
    }
}

/// Skips the elements that a newer version added, and refuses bytes after the structure.
pub(crate) fn finish(d: &mut Decoder<'_>, more: u64, what: &'static str) -> Result<(), CodecError> {
    for _ in 0..more {
        wallet::skip_unknown(d)?;
    }
    if d.position() == d.input().len() {
        Ok(())
    } else {
        Err(CodecError::Length(what))
    }
}

pub(crate) fn fixed<const N: usize>(
    d: &mut Decoder<'_>,
    what: &'static str,
) -> Result<[u8; N], CodecError> {
    d.bytes()?.try_into().map_err(|_| CodecError::Length(what))
}

pub(crate) fn optional<'b, T>(
    d: &mut Decoder<'b>,
    read: impl FnOnce(&mut Decoder<'b>) -> Result<T, CodecError>,
) -> Result<Option<T>, CodecError> {
    if d.datatype()? == Type::Null {
        d.null()?;
        return Ok(None);
    }
    read(d).map(Some)
}

/// Reads an array of at most `most` elements.
pub(crate) fn list<'b, T>(
    d: &mut Decoder<'b>,
    most: usize,
    what: &'static str,
    mut read: impl FnMut(&mut Decoder<'b>) -> Result<T, CodecError>,
) -> Result<Vec<T>, CodecError> {
    let n = d.array()?.ok_or(CodecError::Length(what))?;
    if n > most as u64 {
        return Err(CodecError::Length(what));
    }
    let mut items = Vec::with_capacity(n as usize);
    for _ in 0..n {
        items.push(read(d)?);
    }
    Ok(items)
}
