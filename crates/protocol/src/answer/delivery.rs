//! Items of the stream that answers a Collect request.

use bytes::Bytes;
use minicbor::Decoder;

use crate::cbor::{CodecError, array, finish, fixed, writer, written};
use crate::rendezvous::MeetingToken;

/// One item of a delivery stream.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Item {
    /// A packet that the mailbox keeps.
    Packet {
        /// Its place in the queue; what an Acknowledge names.
        cursor: u64,
        /// When the mailbox stored it.
        stored_at_ms: u64,
        /// The packet.
        packet: Bytes,
    },
    /// Nothing later than this cursor is kept now.
    CaughtUp {
        /// The last cursor delivered.
        cursor: u64,
        /// The mailbox's clock.
        node_time_ms: u64,
    },
    /// The stream is alive.
    Beat {
        /// The mailbox's clock.
        node_time_ms: u64,
    },
    /// Somebody wants a stream to a service that is served here.
    Offer {
        /// What a Join names.
        token: MeetingToken,
        /// The offer, sealed to the service's wallet.
        packet: Bytes,
    },
    /// The mailbox ends the stream; the reason is a status of 4.2.
    Closed {
        /// Why.
        status: u8,
    },
}

impl Item {
    /// Writes the item as CBOR.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut e = writer(match self {
            Self::Packet { packet, .. } | Self::Offer { packet, .. } => packet.len() + 32,
            _ => 32,
        });
        written((|| {
            match self {
                Self::Packet {
                    cursor,
                    stored_at_ms,
                    packet,
                } => e
                    .array(4)?
                    .u8(0)?
                    .u64(*cursor)?
                    .u64(*stored_at_ms)?
                    .bytes(packet)?,
                Self::CaughtUp {
                    cursor,
                    node_time_ms,
                } => e.array(3)?.u8(1)?.u64(*cursor)?.u64(*node_time_ms)?,
                Self::Beat { node_time_ms } => e.array(2)?.u8(2)?.u64(*node_time_ms)?,
                Self::Closed { status } => e.array(2)?.u8(3)?.u8(*status)?,
                Self::Offer { token, packet } => {
                    e.array(3)?.u8(4)?.bytes(token.as_bytes())?.bytes(packet)?
                }
            };
            Ok(())
        })());
        e.into_writer()
    }

    /// Reads an item.
    ///
    /// # Errors
    /// [`CodecError`] for malformed bytes and unknown kinds.
    pub fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        let mut d = Decoder::new(bytes);
        let elements = array(&mut d, 2, "item")? + 2;
        let (item, used) = match d.u64()? {
            0 => {
                let (cursor, stored_at_ms) = (d.u64()?, d.u64()?);
                (
                    Self::Packet {
                        cursor,
                        stored_at_ms,
                        packet: Bytes::copy_from_slice(d.bytes()?),
                    },
                    4,
                )
            }
            1 => (
                Self::CaughtUp {
                    cursor: d.u64()?,
                    node_time_ms: d.u64()?,
                },
                3,
            ),
            2 => (
                Self::Beat {
                    node_time_ms: d.u64()?,
                },
                2,
            ),
            3 => (Self::Closed { status: d.u8()? }, 2),
            4 => {
                let token = MeetingToken::from_bytes(fixed(&mut d, "meeting token")?);
                let packet = Bytes::copy_from_slice(d.bytes()?);
                (Self::Offer { token, packet }, 3)
            }
            value => {
                return Err(CodecError::Unsupported {
                    what: "item kind",
                    value,
                });
            }
        };
        finish(
            &mut d,
            elements
                .checked_sub(used)
                .ok_or(CodecError::Length("item"))?,
            "item",
        )?;
        Ok(item)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_item_survives_its_encoding() {
        for item in [
            Item::Packet {
                cursor: 1,
                stored_at_ms: 2,
                packet: Bytes::from_static(b"p"),
            },
            Item::CaughtUp {
                cursor: 3,
                node_time_ms: 4,
            },
            Item::Beat { node_time_ms: 5 },
            Item::Closed { status: 16 },
            Item::Offer {
                token: MeetingToken::from_bytes([6; 16]),
                packet: Bytes::from_static(b"offer"),
            },
        ] {
            assert_eq!(Item::decode(&item.encode()).unwrap(), item);
        }
    }
}
