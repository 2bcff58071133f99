//! Derives serde by text and CBOR by bytes for the small value types of this crate.

/// Implements serde as a string, by the type's `Display` and `FromStr`.
macro_rules! serde_as_text {
    ($type:ty) => {
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

/// Implements minicbor as one definite byte string, by the type's `as_bytes` and a fixed-size constructor.
macro_rules! cbor_as_bytes {
    ($type:ty, $length:literal) => {
        impl<C> minicbor::Encode<C> for $type {
            fn encode<W: minicbor::encode::Write>(
                &self,
                encoder: &mut minicbor::Encoder<W>,
                _: &mut C,
            ) -> Result<(), minicbor::encode::Error<W::Error>> {
                encoder.bytes(self.as_bytes())?.ok()
            }
        }

        impl<'b, C> minicbor::Decode<'b, C> for $type {
            fn decode(
                decoder: &mut minicbor::Decoder<'b>,
                _: &mut C,
            ) -> Result<Self, minicbor::decode::Error> {
                let at = decoder.position();
                let bytes: [u8; $length] = decoder.bytes()?.try_into().map_err(|_| {
                    minicbor::decode::Error::message(concat!(
                        "expected a byte string of ",
                        stringify!($length)
                    ))
                    .at(at)
                })?;
                Ok(Self::from_bytes(bytes))
            }
        }
    };
}

pub(crate) use {cbor_as_bytes, serde_as_text};
