//! What moves through the network: a packet that is known to be routable, and the identifiers of
//! messages and sending sessions inside it.

use std::fmt;

use bytes::Bytes;
use rand::{CryptoRng, RngCore};
use sha2::{Digest, Sha256};
use thiserror::Error;
use wallet::KeyId;

use crate::{
    armor,
    peek::{PeekError, peek},
    size::{MAX_PACKET_BYTES, SizeClass},
};

/// One binary OpenPGP message that shows a key ID and is at most [`MAX_PACKET_BYTES`] long.
///
/// Parsed once, at the edge; cloning shares the bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct Packet {
    bytes: Bytes,
    key_id: KeyId,
}

/// Why bytes are no packet.
#[derive(Debug, Error, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum PacketError {
    /// Longer than [`MAX_PACKET_BYTES`].
    #[error("packet of {length} bytes is longer than {MAX_PACKET_BYTES}")]
    TooLarge {
        /// Length in bytes.
        length: usize,
    },
    /// The bytes are armored; only binary packets move.
    #[error("packet is armored")]
    Armored,
    /// The packet shows no key ID.
    #[error("packet shows no key to route by")]
    NotRoutable(#[source] PeekError),
}

impl Packet {
    /// Takes bytes as a packet, after looking at its first PKESK only.
    ///
    /// # Errors
    ///
    /// [`PacketError`] if the bytes are too long, armored or show no key ID.
    pub fn new(bytes: impl Into<Bytes>) -> Result<Self, PacketError> {
        let bytes = bytes.into();
        if bytes.len() > MAX_PACKET_BYTES {
            return Err(PacketError::TooLarge {
                length: bytes.len(),
            });
        }
        if armor::is_armored(&bytes) {
            return Err(PacketError::Armored);
        }
        let key_id = peek(&bytes).map_err(PacketError::NotRoutable)?;
        Ok(Self { bytes, key_id })
    }

    /// The key that the packet is encrypted to, and so where it goes.
    pub const fn key_id(&self) -> KeyId {
        self.key_id
    }

    /// The bytes of the packet.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The bytes of the packet, shared.
    pub fn into_bytes(self) -> Bytes {
        self.bytes
    }

    /// Length in bytes.
    #[expect(clippy::len_without_is_empty, reason = "a packet is never empty")]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// The smallest class whose frame holds the packet.
    pub fn size_class(&self) -> SizeClass {
        SizeClass::for_packet_len(self.bytes.len()).unwrap_or(SizeClass::M1)
    }

    /// SHA-256 of the packet: its name in acknowledgements and duplicate filters.
    pub fn hash(&self) -> [u8; 32] {
        Sha256::digest(&self.bytes).into()
    }
}

impl fmt::Debug for Packet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Packet")
            .field("length", &self.bytes.len())
            .finish_non_exhaustive()
    }
}

impl AsRef<[u8]> for Packet {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl TryFrom<Bytes> for Packet {
    type Error = PacketError;

    fn try_from(bytes: Bytes) -> Result<Self, PacketError> {
        Self::new(bytes)
    }
}

/// Defines an identifier of random bytes that CBOR writes as a byte string.
macro_rules! random_identifier {
    ($(#[$documentation:meta])* $name:ident, $length:literal) => {
        $(#[$documentation])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name([u8; $length]);

        impl $name {
            /// Draws a new identifier.
            pub fn random(rng: &mut (impl CryptoRng + RngCore)) -> Self {
                let mut bytes = [0; $length];
                rng.fill_bytes(&mut bytes);
                Self(bytes)
            }

            /// Wraps the bytes of an identifier.
            pub const fn from_bytes(bytes: [u8; $length]) -> Self {
                Self(bytes)
            }

            /// The bytes of the identifier.
            pub const fn as_bytes(&self) -> &[u8; $length] {
                &self.0
            }
        }

        impl From<[u8; $length]> for $name {
            fn from(bytes: [u8; $length]) -> Self {
                Self(bytes)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl<C> minicbor::Encode<C> for $name {
            fn encode<W: minicbor::encode::Write>(
                &self,
                encoder: &mut minicbor::Encoder<W>,
                _: &mut C,
            ) -> Result<(), minicbor::encode::Error<W::Error>> {
                encoder.bytes(&self.0)?.ok()
            }
        }

        impl<'b, C> minicbor::Decode<'b, C> for $name {
            fn decode(
                decoder: &mut minicbor::Decoder<'b>,
                _: &mut C,
            ) -> Result<Self, minicbor::decode::Error> {
                crate::cbor::array(decoder).map(Self)
            }
        }
    };
}

random_identifier!(
    /// Names one message, for ever: inboxes hold each message id once.
    MessageId,
    16
);
random_identifier!(
    /// Names one sending session: messages are in order within it.
    SessionId,
    8
);
random_identifier!(
    /// Names one transfer of data that was cut into chunks.
    TransferId,
    16
);

#[cfg(test)]
mod tests {
    use super::*;

    /// A version 3 PKESK to key 0102030405060708, cut off after the key ID.
    const SHOWN: [u8; 11] = [0xc1, 0x09, 3, 1, 2, 3, 4, 5, 6, 7, 8];

    #[test]
    fn packet_knows_its_key_and_hash() {
        let packet = Packet::new(SHOWN.to_vec()).unwrap();
        assert_eq!(packet.key_id(), KeyId::from([1, 2, 3, 4, 5, 6, 7, 8]));
        assert_eq!(packet.hash()[..], Sha256::digest(SHOWN)[..]);
        assert_eq!(packet.size_class(), SizeClass::K4);
        assert_eq!(packet.as_ref(), packet.as_bytes());
    }

    #[test]
    fn packet_beyond_the_limit_is_refused() {
        let mut bytes = SHOWN.to_vec();
        bytes.resize(MAX_PACKET_BYTES, 0);
        assert!(Packet::new(bytes.clone()).is_ok());
        bytes.push(0);
        let length = MAX_PACKET_BYTES + 1;
        assert_eq!(Packet::new(bytes), Err(PacketError::TooLarge { length }));
    }

    #[test]
    fn packet_that_is_armored_is_refused() {
        let refused = Packet::new(&b"-----BEGIN PGP MESSAGE-----"[..]);
        assert_eq!(refused, Err(PacketError::Armored));
    }

    #[test]
    fn packet_debug_shows_no_key() {
        let packet = Packet::new(SHOWN.to_vec()).unwrap();
        assert_eq!(format!("{packet:?}"), "Packet { length: 11, .. }");
    }
}
