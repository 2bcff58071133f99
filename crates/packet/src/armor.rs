//! ASCII armor (RFC 9580 section 6): reads the head of an armored message for [`peek`](crate::peek)
//! without allocating, and removes the armor of a whole message within a bound.
//!
//! The checksum line is skipped, as RFC 9580 section 6.1 asks of readers: the encrypted data carries
//! an integrity check of its own.

use std::borrow::Cow;

use thiserror::Error;

/// The line an armored message begins with.
const BEGIN: &[u8] = b"-----BEGIN PGP MESSAGE-----";
/// The line an armored message ends with.
const END: &[u8] = b"-----END PGP MESSAGE-----";
/// Most bytes that the first line and the armor headers may take together.
///
/// Generous for `Version`, `Comment` and `Hash` lines, small enough that a flood of header lines
/// costs a reader nothing.
pub const MAX_ARMOR_HEAD_BYTES: usize = 1_024;

/// Why armor could not be removed.
#[derive(Debug, Error, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ArmorError {
    /// The text does not begin with the line of an armored message.
    #[error("not an armored OpenPGP message")]
    NotAMessage,
    /// No blank line ends the armor headers within [`MAX_ARMOR_HEAD_BYTES`].
    #[error("armor headers have no end within {MAX_ARMOR_HEAD_BYTES} bytes")]
    EndlessHeaders,
    /// A character that is neither base64, white space nor the end of the armor.
    #[error("armor contains a character that is not base64")]
    NotBase64,
    /// The base64 text stops in the middle of a byte, or its end line is missing.
    #[error("armor is cut short")]
    Truncated,
    /// The decoded message is longer than the caller allows.
    #[error("armored message is longer than {limit} bytes")]
    TooLarge {
        /// Most bytes the caller allows.
        limit: usize,
    },
}

/// Marks a byte that is no character of the base64 alphabet.
const INVALID: u8 = 0xff;

/// Value of each base64 character (RFC 4648 section 4), [`INVALID`] elsewhere.
const VALUES: [u8; 256] = values();

#[expect(
    clippy::indexing_slicing,
    reason = "evaluated by the compiler, which refuses an index out of range"
)]
const fn values() -> [u8; 256] {
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut table = [INVALID; 256];
    let mut value = 0;
    while value < alphabet.len() {
        table[alphabet[value] as usize] = value as u8;
        value += 1;
    }
    table
}

/// Value of one base64 character.
#[expect(
    clippy::indexing_slicing,
    reason = "a byte always indexes a table of 256"
)]
fn value(character: u8) -> u8 {
    VALUES[character as usize]
}

/// Says whether bytes begin like armor rather than like a binary packet.
///
/// A binary OpenPGP packet has its top bit set, so a single byte tells them apart.
pub fn is_armored(bytes: &[u8]) -> bool {
    bytes.first() == Some(&b'-')
}

/// Returns what follows the blank line after the armor headers.
fn skip_head(text: &[u8]) -> Result<&[u8], ArmorError> {
    let after_begin = text.strip_prefix(BEGIN).ok_or(ArmorError::NotAMessage)?;
    let mut rest = after_begin;
    let mut first_line = true;
    loop {
        let consumed = text.len() - rest.len();
        let room = MAX_ARMOR_HEAD_BYTES.saturating_sub(consumed);
        let window = rest.get(..room).unwrap_or(rest);
        let Some(end) = window.iter().position(|byte| *byte == b'\n') else {
            return Err(if window.len() < room {
                ArmorError::Truncated
            } else {
                ArmorError::EndlessHeaders
            });
        };
        let (line, after) = rest.split_at(end);
        rest = after.get(1..).unwrap_or_default();
        let blank = line.iter().all(u8::is_ascii_whitespace);
        match (first_line, blank) {
            // Trailing white space is allowed after the dashes, text is not.
            (true, false) => return Err(ArmorError::NotAMessage),
            (true, true) => first_line = false,
            (false, true) => return Ok(rest),
            (false, false) => {}
        }
    }
}

/// Decodes the first bytes of an armored message into `head` and returns how many it got.
pub(crate) fn dearmor_head(text: &[u8], head: &mut [u8]) -> Result<usize, ArmorError> {
    let mut accumulated: u32 = 0;
    let mut bits = 0;
    let mut length = 0;
    for character in skip_head(text)? {
        let Some(slot) = head.get_mut(length) else {
            break;
        };
        match value(*character) {
            INVALID if character.is_ascii_whitespace() => {}
            INVALID if matches!(character, b'=' | b'-') => break,
            INVALID => return Err(ArmorError::NotBase64),
            six => {
                accumulated = (accumulated << 6) | u32::from(six);
                bits += 6;
                if bits >= 8 {
                    bits -= 8;
                    *slot = (accumulated >> bits) as u8;
                    length += 1;
                }
            }
        }
    }
    Ok(length)
}

/// Removes the armor of a message; binary input passes through without a copy.
///
/// `max` bounds the binary message in bytes.
///
/// # Errors
///
/// [`ArmorError`] says what is wrong with the armor; [`ArmorError::TooLarge`] also for binary input.
pub fn dearmor(bytes: &[u8], max: usize) -> Result<Cow<'_, [u8]>, ArmorError> {
    if !is_armored(bytes) {
        return if bytes.len() > max {
            Err(ArmorError::TooLarge { limit: max })
        } else {
            Ok(Cow::Borrowed(bytes))
        };
    }
    let body = skip_head(bytes)?;
    let mut message = Vec::with_capacity((body.len() / 4 * 3 + 3).min(max));
    let mut accumulated: u32 = 0;
    let mut bits = 0;
    let mut end = None;
    for (position, character) in body.iter().enumerate() {
        match value(*character) {
            INVALID if character.is_ascii_whitespace() => {}
            INVALID if matches!(character, b'=' | b'-') => {
                end = Some(position);
                break;
            }
            INVALID => return Err(ArmorError::NotBase64),
            six => {
                accumulated = (accumulated << 6) | u32::from(six);
                bits += 6;
                if bits >= 8 {
                    bits -= 8;
                    if message.len() == max {
                        return Err(ArmorError::TooLarge { limit: max });
                    }
                    message.push((accumulated >> bits) as u8);
                }
            }
        }
    }
    let tail = end
        .and_then(|position| body.get(position..))
        .ok_or(ArmorError::Truncated)?;
    // A lone sextet can't hold a byte: the text was cut.
    if bits == 6 || message.is_empty() {
        return Err(ArmorError::Truncated);
    }
    check_tail(tail)?;
    Ok(Cow::Owned(message))
}

/// Checks what follows the base64 text: padding, an optional checksum line, the end line.
fn check_tail(tail: &[u8]) -> Result<(), ArmorError> {
    /// `==`, line ends, `=` and four characters, line ends.
    const MAX_TAIL_BYTES: usize = 64;
    let window = tail.get(..MAX_TAIL_BYTES).unwrap_or(tail);
    let dash = window
        .iter()
        .position(|byte| *byte == b'-')
        .ok_or(ArmorError::Truncated)?;
    let (checksum, end) = tail.split_at(dash);
    if checksum
        .iter()
        .any(|byte| value(*byte) == INVALID && *byte != b'=' && !byte.is_ascii_whitespace())
    {
        return Err(ArmorError::NotBase64);
    }
    let after = end.strip_prefix(END).ok_or(ArmorError::Truncated)?;
    if after.iter().all(u8::is_ascii_whitespace) {
        Ok(())
    } else {
        Err(ArmorError::NotBase64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn armor(base64: &str) -> String {
        format!(
            "-----BEGIN PGP MESSAGE-----\nVersion: x\n\n{base64}\n=abcd\n-----END PGP MESSAGE-----\n"
        )
    }

    #[test]
    fn dearmor_of_binary_input_borrows_it() {
        assert!(matches!(dearmor(&[0xc1, 1, 2], 3), Ok(Cow::Borrowed(_))));
        assert_eq!(
            dearmor(&[0xc1, 1, 2], 2),
            Err(ArmorError::TooLarge { limit: 2 })
        );
    }

    #[test]
    fn dearmor_decodes_all_three_paddings() {
        for (base64, expected) in [("AQID", &[1, 2, 3][..]), ("AQI=", &[1, 2]), ("AQ==", &[1])] {
            let text = armor(base64);
            assert_eq!(dearmor(text.as_bytes(), 3).as_deref(), Ok(expected));
        }
    }

    #[test]
    fn dearmor_accepts_carriage_returns_and_broken_lines() {
        let text = armor("AQ\nID").replace('\n', "\r\n");
        assert_eq!(dearmor(text.as_bytes(), 3).as_deref(), Ok(&[1, 2, 3][..]));
    }

    #[test]
    fn dearmor_stops_at_its_bound() {
        let text = armor("AQIDBAUG");
        assert_eq!(
            dearmor(text.as_bytes(), 5),
            Err(ArmorError::TooLarge { limit: 5 })
        );
        assert_eq!(
            dearmor(text.as_bytes(), 6).as_deref(),
            Ok(&[1, 2, 3, 4, 5, 6][..])
        );
    }

    #[test]
    fn dearmor_cut_anywhere_is_an_error() {
        let text = armor("AQIDBAUG");
        let whole = text.trim_end().len();
        for length in 1..whole {
            assert!(
                dearmor(&text.as_bytes()[..length], 100).is_err(),
                "cut at {length}"
            );
        }
    }

    #[test]
    fn dearmor_refuses_endless_headers_and_foreign_characters() {
        let endless = format!(
            "-----BEGIN PGP MESSAGE-----\n{}",
            "Comment: x\n".repeat(200)
        );
        assert_eq!(
            dearmor(endless.as_bytes(), 9),
            Err(ArmorError::EndlessHeaders)
        );
        assert_eq!(
            dearmor(armor("AQ!D").as_bytes(), 9),
            Err(ArmorError::NotBase64)
        );
        let other = armor("AQID").replace("MESSAGE", "SIGNATURE");
        assert_eq!(dearmor(other.as_bytes(), 9), Err(ArmorError::NotAMessage));
        let trailing = format!("{}x", armor("AQID"));
        assert_eq!(dearmor(trailing.as_bytes(), 9), Err(ArmorError::NotBase64));
    }
}
