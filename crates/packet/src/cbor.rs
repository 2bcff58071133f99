//! Small readers on top of `minicbor`: exact byte arrays, bounded arrays, the end of the input.

use minicbor::{Decoder, decode::Error};

/// Reads a byte string of exactly `N` bytes.
pub(crate) fn array<const N: usize>(decoder: &mut Decoder<'_>) -> Result<[u8; N], Error> {
    let at = decoder.position();
    decoder
        .bytes()?
        .try_into()
        .map_err(|_| Error::message("byte string of another length").at(at))
}

/// Reads the head of an array of at least `least` items and returns how many follow beyond them.
pub(crate) fn structure(decoder: &mut Decoder<'_>, least: u64) -> Result<u64, Error> {
    let at = decoder.position();
    let items = definite_array(decoder)?;
    items
        .checked_sub(least)
        .ok_or_else(|| Error::message("structure has too few fields").at(at))
}

/// Skips fields that a later version added at the end of a structure.
///
/// A claim of more fields than there are ends with the input.
pub(crate) fn skip_fields(decoder: &mut Decoder<'_>, fields: u64) -> Result<(), Error> {
    for _ in 0..fields {
        wallet::skip_unknown(decoder)?;
    }
    Ok(())
}

/// Reads the head of a list of at most `most` items.
pub(crate) fn list(decoder: &mut Decoder<'_>, most: usize) -> Result<usize, Error> {
    let at = decoder.position();
    let items = definite_array(decoder)?;
    usize::try_from(items)
        .ok()
        .filter(|items| *items <= most)
        .ok_or_else(|| Error::message("list is too long").at(at))
}

/// Reads a text of at most `most` bytes.
pub(crate) fn text<'b>(decoder: &mut Decoder<'b>, most: usize) -> Result<&'b str, Error> {
    let at = decoder.position();
    let text = decoder.str()?;
    if text.len() > most {
        return Err(Error::message("text is too long").at(at));
    }
    Ok(text)
}

/// Checks that nothing follows the outermost item.
pub(crate) fn end(decoder: &Decoder<'_>) -> Result<(), Error> {
    if decoder.position() == decoder.input().len() {
        Ok(())
    } else {
        Err(Error::message("bytes follow the outermost item").at(decoder.position()))
    }
}

fn definite_array(decoder: &mut Decoder<'_>) -> Result<u64, Error> {
    let at = decoder.position();
    decoder
        .array()?
        .ok_or_else(|| Error::message("array of indefinite length").at(at))
}
