//! Labels: what the owner of a home calls wallets and contacts.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The longest label, in bytes.
pub const MAX_LABEL_BYTES: usize = 64;

/// The name of a wallet or contact: 1–64 ASCII letters, digits, `-`, `_` or `.`.
///
/// It begins with a letter or digit and is no address, so that it is a file name everywhere and
/// never mistaken for a wallet, a URI or an option.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Label(String);

/// Why a text is no label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LabelError {
    /// Empty or longer than [`MAX_LABEL_BYTES`].
    #[error("a label has 1 to {MAX_LABEL_BYTES} characters")]
    Length,
    /// It holds or begins with something that labels don't.
    #[error("a label has letters, digits, '-', '_' or '.', and begins with a letter or digit")]
    Character,
    /// It begins as addresses do.
    #[error("a label can't begin with 0x: that is an address")]
    Address,
    /// It ends as names of the ledger do.
    #[error("a label can't end in .conet: that is a name of the network")]
    NetworkName,
}

impl Label {
    /// The text of the label.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Label {
    type Err = LabelError;

    fn from_str(text: &str) -> Result<Self, LabelError> {
        if text.is_empty() || text.len() > MAX_LABEL_BYTES {
            return Err(LabelError::Length);
        }
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        let begins = text
            .bytes()
            .next()
            .is_some_and(|b| b.is_ascii_alphanumeric());
        if !begins || !text.bytes().all(fits) {
            return Err(LabelError::Character);
        }
        let lower = text.to_ascii_lowercase();
        if lower.starts_with("0x") {
            return Err(LabelError::Address);
        }
        if lower.ends_with(".conet") {
            return Err(LabelError::NetworkName);
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl Serialize for Label {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Label {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn label_is_a_plain_name_and_nothing_that_could_be_something_else() {
        for good in ["alice", "Bob-2", "a.b_c", "7"] {
            assert_eq!(good.parse::<Label>().unwrap().as_str(), good);
        }
        for (bad, why) in [
            ("", LabelError::Length),
            (&*"a".repeat(65), LabelError::Length),
            ("-x", LabelError::Character),
            (".x", LabelError::Character),
            ("a/b", LabelError::Character),
            ("a b", LabelError::Character),
            ("..", LabelError::Character),
            ("ä", LabelError::Character),
            ("conet:0x", LabelError::Character),
            ("0xabc", LabelError::Address),
            ("shop.conet", LabelError::NetworkName),
        ] {
            assert_eq!(bad.parse::<Label>(), Err(why), "{bad}");
        }
    }
}
