//! Amounts of wei in JSON: decimal text, since numbers there are too short.

use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

pub(super) fn serialize<S: Serializer>(wei: &u128, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(wei)
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<u128, D::Error> {
    let text = String::deserialize(from)?;
    (text.parse()).map_err(|_| D::Error::custom("an amount of wei is a whole number in quotes"))
}

pub(super) fn is_nothing(wei: &u128) -> bool {
    *wei == 0
}
