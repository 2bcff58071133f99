//! Skips what a later version added to a structure.

use minicbor::Decoder;
use minicbor::data::Type;
use minicbor::decode::Error;

/// How deeply an unknown field may be nested: what a stranger writes must not decide how much memory or stack it
/// takes to leave it out.
const MAX_DEPTH: u8 = 16;

/// Skips one CBOR data item (RFC 8949, section 3) in constant memory.
///
/// # Errors
/// Where the item is malformed, cut short, or nested more than 16 deep.
pub fn skip_unknown(decoder: &mut Decoder<'_>) -> Result<(), Error> {
    skip(decoder, MAX_DEPTH)
}

fn skip(decoder: &mut Decoder<'_>, depth: u8) -> Result<(), Error> {
    let at = decoder.position();
    let inside = depth
        .checked_sub(1)
        .ok_or_else(|| Error::message("nested too deeply").at(at))?;
    // A claim of more items than there are ends with the input.
    match decoder.datatype()? {
        Type::Array | Type::ArrayIndef => match decoder.array()? {
            Some(items) => (0..items).try_for_each(|_| skip(decoder, inside)),
            None => skip_to_break(decoder, inside),
        },
        Type::Map | Type::MapIndef => match decoder.map()? {
            Some(pairs) => (0..pairs).try_for_each(|_| {
                skip(decoder, inside)?;
                skip(decoder, inside)
            }),
            None => skip_to_break(decoder, inside),
        },
        Type::Tag => {
            decoder.tag()?;
            skip(decoder, inside)
        }
        Type::BytesIndef => decoder
            .bytes_iter()?
            .try_for_each(|piece| piece.map(|_| ())),
        Type::StringIndef => decoder.str_iter()?.try_for_each(|piece| piece.map(|_| ())),
        Type::Break => Err(Error::message("unexpected break").at(at)),
        _ => decoder.skip(),
    }
}

fn skip_to_break(decoder: &mut Decoder<'_>, depth: u8) -> Result<(), Error> {
    while decoder.datatype()? != Type::Break {
        skip(decoder, depth)?;
    }
    decoder.set_position(decoder.position() + 1);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A node that left out a field of a million nested arrays took 16 MB for it: one byte each, and 16 to remember
    /// where it was.
    #[test]
    fn field_that_is_nested_without_end_is_refused() {
        for head in [0x81, 0x9f, 0xa1, 0xbf, 0xc1, 0x5f, 0x7f] {
            let nested = vec![head; 1 << 20];
            assert!(
                skip_unknown(&mut Decoder::new(&nested)).is_err(),
                "{head:x}"
            );
        }
    }

    #[test]
    fn field_of_each_kind_is_skipped_whole() {
        for field in [
            "00",
            "3903e7",
            "4401020304",
            "6449455446",
            "83010203",
            "8301820203820405",
            "a201020304",
            "c11a514b67b0",
            "f4",
            "f6",
            "f93e00",
            "fb3ff199999999999a",
            "5f42010243030405ff",
            "7f657374726561646d696e67ff",
            "9fff",
            "9f018202039f0405ffff",
            "bf61610161629f0203ffff",
            "f0",
            "f8ff",
        ] {
            let mut bytes = hex::decode(field).unwrap();
            let length = bytes.len();
            bytes.push(0);
            let mut decoder = Decoder::new(&bytes);
            skip_unknown(&mut decoder).unwrap();
            assert_eq!(decoder.position(), length, "{field}");
        }
    }

    proptest! {
        /// Whatever it is: where it is taken, as much is skipped as the decoder itself skips.
        #[test]
        fn skipping_agrees_with_the_decoder(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let (mut ours, mut theirs) = (Decoder::new(&bytes), Decoder::new(&bytes));
            if skip_unknown(&mut ours).is_ok() {
                prop_assert!(theirs.skip().is_ok());
                prop_assert_eq!(ours.position(), theirs.position());
            }
        }
    }
}
