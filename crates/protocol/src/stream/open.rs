//! The command that opens a stream, or resumes one (`docs/wire-format.md`, 11.1).

use core::fmt;

use minicbor::Decoder;

use super::keys::{Cipher, StreamSecret};
use crate::cbor::{CodecError, Writer, array, finish, fixed, writer, written};
use crate::target::Target;

/// What both ends call a stream: 16 bytes that follow from its first secret, so that nobody else knows them.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamId([u8; 16]);

/// The fields of an OpenStream command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenStream {
    /// What the opener likes to seal with.
    pub(super) cipher: Cipher,
    pub(super) secret: StreamSecret,
    /// The opener's ephemeral X25519 share.
    pub(super) share: [u8; 32],
    /// What the stream is for.
    pub(super) purpose: Purpose,
}

/// What a stream is for.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Purpose {
    /// A TCP connection to a host of the Web2, by a bridge.
    Connect(Target),
    /// Datagrams to and from hosts of the Web2, by a bridge.
    Datagrams,
    /// A service of a wallet, by the name that the opener calls it: what [`ServiceTag`](crate::rendezvous::ServiceTag) is made of.
    Service(Target),
    /// To go on with a stream whose circuit was lost.
    Resume(Resume),
}

/// Which stream is resumed, from where, and by what right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resume {
    /// The stream.
    pub id: StreamId,
    /// Bytes that the opener has received in order.
    pub(super) received: u64,
    pub(super) proof: [u8; 16],
}

impl StreamId {
    pub(super) fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Debug for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Whoever knows the whole could be taken for an end of the stream.
        f.write_str("StreamId(…)")
    }
}

impl OpenStream {
    /// What the stream is for.
    #[must_use]
    pub fn purpose(&self) -> &Purpose {
        &self.purpose
    }

    /// The command's fields as the body of an offer to a service's wallet (`docs/wire-format.md`, 12.2).
    #[must_use]
    pub fn to_offer(&self) -> Vec<u8> {
        let mut e = writer(512);
        written(self.encode(&mut e));
        e.into_writer()
    }

    /// Reads the body of an offer.
    ///
    /// # Errors
    /// [`CodecError`] for malformed bytes, wrong lengths, and kinds that are unknown.
    pub fn from_offer(bytes: &[u8]) -> Result<Self, CodecError> {
        let mut d = Decoder::new(bytes);
        let open = Self::decode(&mut d)?;
        finish(&mut d, 0, "offer")?;
        Ok(open)
    }

    pub(crate) fn encode(
        &self,
        e: &mut Writer,
    ) -> Result<(), minicbor::encode::Error<core::convert::Infallible>> {
        e.array(4)?.u8(self.cipher.to_byte())?;
        e.bytes(self.secret.as_bytes())?.bytes(&self.share)?;
        match &self.purpose {
            Purpose::Connect(target) => {
                e.array(2)?.u8(0)?.str(&target.to_string())?;
            }
            Purpose::Datagrams => {
                e.array(1)?.u8(1)?;
            }
            Purpose::Service(target) => {
                e.array(2)?.u8(3)?.str(&target.to_string())?;
            }
            Purpose::Resume(resume) => {
                e.array(4)?.u8(2)?.bytes(resume.id.as_bytes())?;
                e.u64(resume.received)?.bytes(&resume.proof)?;
            }
        }
        Ok(())
    }

    pub(crate) fn decode(d: &mut Decoder<'_>) -> Result<Self, CodecError> {
        let more = array(d, 4, "open stream")?;
        let cipher = d.u8()?;
        let cipher = Cipher::from_byte(cipher).ok_or(CodecError::Unsupported {
            what: "stream cipher",
            value: cipher.into(),
        })?;
        let secret = StreamSecret::from_bytes(fixed(d, "stream secret")?);
        let share = fixed(d, "stream share")?;
        let purpose = Purpose::decode(d)?;
        for _ in 0..more {
            wallet::skip_unknown(d)?;
        }
        Ok(Self {
            cipher,
            secret,
            share,
            purpose,
        })
    }
}

impl Purpose {
    fn decode(d: &mut Decoder<'_>) -> Result<Self, CodecError> {
        let elements = array(d, 1, "stream purpose")?;
        let kind = d.u64()?;
        let (purpose, known) = match kind {
            0 if elements >= 1 => {
                let target = d.str()?.parse();
                let target = target.map_err(|_| CodecError::Nested("stream target"))?;
                (Self::Connect(target), 1)
            }
            1 => (Self::Datagrams, 0),
            3 if elements >= 1 => {
                let target = d.str()?.parse();
                let target = target.map_err(|_| CodecError::Nested("stream target"))?;
                (Self::Service(target), 1)
            }
            2 if elements >= 3 => {
                let resume = Resume {
                    id: StreamId(fixed(d, "stream id")?),
                    received: d.u64()?,
                    proof: fixed(d, "stream proof")?,
                };
                (Self::Resume(resume), 3)
            }
            0 | 2 | 3 => return Err(CodecError::Length("stream purpose")),
            value => {
                return Err(CodecError::Unsupported {
                    what: "stream purpose",
                    value,
                });
            }
        };
        for _ in known..elements {
            wallet::skip_unknown(d)?;
        }
        Ok(purpose)
    }
}
