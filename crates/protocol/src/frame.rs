//! Frames: a 64-byte header and a region padded to a size class (`docs/wire-format.md`, 6).
//!
//! Exchanges carry one frame, links carry a stream of them. The header is fixed and read without
//! allocation; the region is what an observer could measure, so its length is always a class.

use packet::SizeClass;
use thiserror::Error;

/// Length of a header in bytes.
pub const HEADER_BYTES: usize = 64;
/// Length of the stamp field in bytes.
pub const STAMP_BYTES: usize = 48;
/// How often a packet may be passed on before it is refused; also the reach of a broadcast.
pub const MAX_HOPS: u8 = 4;
/// Bytes of a [`Kind::Data`] frame at most: one sealed frame of a stream.
pub const MAX_DATA_BYTES: usize = 32_768;

const NO_REGION: u8 = 255;
const STAMPED: u8 = 1;
const STREAM: u8 = 2;
const BROADCAST: u8 = 4;
const LAST: u8 = 8;
const CIRCUIT: u8 = 16;

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A packet; asks for an answer.
    Packet,
    /// The answer that ends a request.
    Answer,
    /// One item of a stream.
    Item,
    /// Grants a stream's sender more bytes of regions.
    Credit,
    /// The asker no longer waits.
    Cancel,
    /// Asks for a [`Kind::Pong`].
    Ping,
    /// Answers a [`Kind::Ping`].
    Pong,
    /// No new requests on this link, please.
    GoAway,
    /// Bytes of a circuit, in either direction. They have no class: what streams carry shows its volume.
    Data,
}

impl Kind {
    fn to_byte(self) -> u8 {
        match self {
            Self::Packet => 1,
            Self::Answer => 2,
            Self::Item => 3,
            Self::Credit => 4,
            Self::Cancel => 5,
            Self::Ping => 6,
            Self::Pong => 7,
            Self::GoAway => 8,
            Self::Data => 9,
        }
    }

    fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            1 => Self::Packet,
            2 => Self::Answer,
            3 => Self::Item,
            4 => Self::Credit,
            5 => Self::Cancel,
            6 => Self::Ping,
            7 => Self::Pong,
            8 => Self::GoAway,
            9 => Self::Data,
            _ => return None,
        })
    }

    fn carries_payload(self) -> bool {
        matches!(self, Self::Packet | Self::Answer | Self::Item)
    }
}

/// The header of a frame, decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// What the frame is.
    pub kind: Kind,
    /// The asker wants a stream of items.
    pub stream: bool,
    /// The packet is on a bounded flood.
    pub broadcast: bool,
    /// The asker wants a circuit: both ends go on sending [`Kind::Data`] under the request's number.
    pub circuit: bool,
    /// The last item of its stream.
    pub last: bool,
    /// The class of the region; `None` where there is none.
    pub class: Option<SizeClass>,
    /// How often the packet may still be passed on.
    pub hops: u8,
    /// Bytes of the region that are payload.
    pub payload_bytes: u32,
    /// Names the request on a link; 0 in an exchange.
    pub request: u64,
    /// A stamp ([`crate::stamp`]) that travels beside the packet.
    pub stamp: Option<[u8; STAMP_BYTES]>,
    /// Bytes granted by a [`Kind::Credit`] frame; 0 otherwise.
    pub credit: u32,
}

/// Why 64 bytes are not a frame header.
#[derive(Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum HeaderError {
    /// Fewer than 64 bytes.
    #[error("a frame header needs 64 bytes")]
    Short,
    /// The kind byte is unknown.
    #[error("frame kind {0} is unknown")]
    Kind(u8),
    /// The class byte is unknown, or a region is where none belongs or missing where one does.
    #[error("frame class {0} does not fit its kind")]
    Class(u8),
    /// The payload is longer than its region.
    #[error("the payload of {payload_bytes} bytes is longer than its region")]
    Payload {
        /// The length that the header claims.
        payload_bytes: u32,
    },
}

impl Header {
    fn bare(kind: Kind) -> Self {
        Self {
            kind,
            stream: false,
            broadcast: false,
            circuit: false,
            last: false,
            class: None,
            hops: 0,
            payload_bytes: 0,
            request: 0,
            stamp: None,
            credit: 0,
        }
    }

    /// The header of a packet of `payload_bytes` in a region of `class`.
    #[must_use]
    pub fn packet(class: SizeClass, payload_bytes: u32) -> Self {
        Self {
            class: Some(class),
            hops: MAX_HOPS,
            payload_bytes,
            ..Self::bare(Kind::Packet)
        }
    }

    /// The header of an answer of `payload_bytes` in a region of `class`.
    #[must_use]
    pub fn answer(request: u64, class: SizeClass, payload_bytes: u32) -> Self {
        Self {
            class: Some(class),
            request,
            payload_bytes,
            ..Self::bare(Kind::Answer)
        }
    }

    /// The header of a stream item of `payload_bytes` in a region of `class`.
    #[must_use]
    pub fn item(request: u64, class: SizeClass, payload_bytes: u32) -> Self {
        Self {
            class: Some(class),
            request,
            payload_bytes,
            ..Self::bare(Kind::Item)
        }
    }

    /// A frame without a region.
    #[must_use]
    pub fn control(kind: Kind, request: u64) -> Self {
        debug_assert!(!kind.carries_payload());
        Self {
            request,
            ..Self::bare(kind)
        }
    }

    /// Grants the sender of stream `request` another `credit` bytes.
    #[must_use]
    pub fn credit(request: u64, credit: u32) -> Self {
        Self {
            request,
            credit,
            ..Self::bare(Kind::Credit)
        }
    }

    /// The header of `payload_bytes` of circuit `request`.
    #[must_use]
    pub fn data(request: u64, payload_bytes: u32) -> Self {
        Self {
            request,
            payload_bytes,
            ..Self::bare(Kind::Data)
        }
    }

    /// Length of the region in bytes.
    #[must_use]
    pub fn region_bytes(&self) -> usize {
        match self.kind {
            Kind::Data => self.payload_bytes as usize,
            _ => self.class.map_or(0, SizeClass::frame_bytes),
        }
    }

    /// Writes the header's 64 bytes.
    #[must_use]
    pub fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut out = [0; HEADER_BYTES];
        let flags = if self.stamp.is_some() { STAMPED } else { 0 }
            | if self.stream { STREAM } else { 0 }
            | if self.broadcast { BROADCAST } else { 0 }
            | if self.circuit { CIRCUIT } else { 0 }
            | if self.last { LAST } else { 0 };
        let class = self.class.map_or(NO_REGION, SizeClass::index);
        out[..4].copy_from_slice(&[self.kind.to_byte(), flags, class, self.hops]);
        out[4..8].copy_from_slice(&self.payload_bytes.to_be_bytes());
        out[8..16].copy_from_slice(&self.request.to_be_bytes());
        if let Some(stamp) = &self.stamp {
            out[16..].copy_from_slice(stamp);
        } else {
            out[16..20].copy_from_slice(&self.credit.to_be_bytes());
        }
        out
    }

    /// Reads a header from the first 64 bytes of `bytes`.
    ///
    /// # Errors
    /// [`HeaderError`] where the bytes are too few, a field is unknown, or the payload would not fit
    /// its region.
    pub fn decode(bytes: &[u8]) -> Result<Self, HeaderError> {
        let (head, _) = bytes
            .split_first_chunk::<HEADER_BYTES>()
            .ok_or(HeaderError::Short)?;
        let [kind, flags, class, hops, l0, l1, l2, l3, request @ ..] =
            head.first_chunk::<16>().ok_or(HeaderError::Short)?;
        let kind = Kind::from_byte(*kind).ok_or(HeaderError::Kind(*kind))?;
        let region = match *class {
            NO_REGION => None,
            index => Some(SizeClass::from_index(index).ok_or(HeaderError::Class(index))?),
        };
        if region.is_some() != kind.carries_payload() {
            return Err(HeaderError::Class(*class));
        }
        let payload_bytes = u32::from_be_bytes([*l0, *l1, *l2, *l3]);
        let most_bytes = match kind {
            Kind::Data => MAX_DATA_BYTES,
            _ => region.map_or(0, SizeClass::frame_bytes),
        };
        if payload_bytes as usize > most_bytes {
            return Err(HeaderError::Payload { payload_bytes });
        }
        let tail: &[u8; STAMP_BYTES] = head.last_chunk().ok_or(HeaderError::Short)?;
        let stamped = flags & STAMPED != 0;
        let credit = match (stamped, tail) {
            (false, [a, b, c, d, ..]) => u32::from_be_bytes([*a, *b, *c, *d]),
            _ => 0,
        };
        Ok(Self {
            kind,
            stream: flags & STREAM != 0,
            broadcast: flags & BROADCAST != 0,
            circuit: flags & CIRCUIT != 0,
            last: flags & LAST != 0,
            class: region,
            hops: *hops,
            payload_bytes,
            request: u64::from_be_bytes(*request),
            stamp: stamped.then_some(*tail),
            credit,
        })
    }
}

/// The header with class and length as the payload wants them, in no smaller class than it had; `None` if the
/// payload fits no class. Data fit as they are, up to [`MAX_DATA_BYTES`].
pub(crate) fn fitted(mut header: Header, payload: &[u8]) -> Option<Header> {
    if header.kind.carries_payload() {
        let class = SizeClass::for_packet_len(payload.len())?;
        header.class = Some(
            header
                .class
                .filter(|c| c.frame_bytes() >= class.frame_bytes())
                .unwrap_or(class),
        );
        header.payload_bytes = payload.len() as u32;
    }
    if header.kind == Kind::Data {
        if payload.len() > MAX_DATA_BYTES {
            return None;
        }
        header.payload_bytes = payload.len() as u32;
    }
    Some(header)
}

/// Appends a whole frame (header, payload, zeros up to the class) to `out`.
///
/// The header's class and payload length are taken from `payload`; `header` supplies the rest.
/// Returns false and appends nothing if the payload fits no class.
#[must_use]
pub fn append(out: &mut Vec<u8>, header: Header, payload: &[u8]) -> bool {
    let Some(header) = fitted(header, payload) else {
        return false;
    };
    out.extend_from_slice(&header.encode());
    let end = out.len() + header.region_bytes();
    out.extend_from_slice(payload);
    out.resize(end.max(out.len()), 0);
    true
}

/// Splits a frame that stands alone (an exchange's) into its header and payload.
///
/// # Errors
/// [`HeaderError`] as [`Header::decode`], and [`HeaderError::Short`] where the region is cut.
pub fn split(bytes: &[u8]) -> Result<(Header, &[u8]), HeaderError> {
    let header = Header::decode(bytes)?;
    let region = bytes.get(HEADER_BYTES..).ok_or(HeaderError::Short)?;
    if region.len() != header.region_bytes() {
        return Err(HeaderError::Short);
    }
    let payload = region
        .get(..header.payload_bytes as usize)
        .ok_or(HeaderError::Short)?;
    Ok((header, payload))
}

#[cfg(test)]
mod tests;
