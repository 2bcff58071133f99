//! How records lie in a file: framed, checked, and found again behind damage.
//!
//! `docs/store-format.md` draws the layout. A frame's header check covers its place in the store
//! (salt, file, offset) as well, so that neither a stale frame of an earlier use of the disk nor
//! bytes inside a packet that look like a frame are ever taken for one.

use std::io;
use std::sync::Arc;

use crc32fast::Hasher;

use crate::disk::DiskFile;

/// Length of a frame's header.
pub(super) const FRAME_HEADER_LEN: usize = 24;

/// Frames begin at multiples of this, so that a search behind damage has few places to look at.
pub(super) const FRAME_ALIGNMENT: usize = 8;

/// Longest `meta` of any record; all of them are far below.
pub(super) const META_MAX: usize = 1024;

/// Longest payload of any frame: 32 MiB.
pub(super) const PAYLOAD_MAX: usize = 32 << 20;

/// How much is read at once while scanning.
const SCAN_WINDOW: usize = 1 << 20;

/// What every check in one file starts from.
#[derive(Clone, Copy, Debug)]
pub(super) struct FrameSeal {
    /// Random, one per store.
    pub(super) salt: [u8; 8],
    /// Number of the file.
    pub(super) file: u32,
}

impl FrameSeal {
    fn check(&self, offset: u64, head: &[u8], meta: &[u8]) -> u32 {
        let mut hasher = Hasher::new();
        hasher.update(&self.salt);
        hasher.update(&self.file.to_le_bytes());
        hasher.update(&offset.to_le_bytes());
        hasher.update(head);
        hasher.update(meta);
        hasher.finalize()
    }
}

/// The fields of a frame's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FrameHeader {
    pub(super) kind: u8,
    pub(super) meta_len: usize,
    pub(super) payload_len: usize,
    pub(super) commit: u64,
    payload_check: u32,
    header_check: u32,
}

impl FrameHeader {
    /// Reads a header; `None` unless its fields can be those of a frame.
    pub(super) fn parse(bytes: &[u8; FRAME_HEADER_LEN]) -> Option<Self> {
        let [
            kind,
            flags,
            m0,
            m1,
            p0,
            p1,
            p2,
            p3,
            c0,
            c1,
            c2,
            c3,
            c4,
            c5,
            c6,
            c7,
            q0,
            q1,
            q2,
            q3,
            h0,
            h1,
            h2,
            h3,
        ] = *bytes;
        let header = Self {
            kind,
            meta_len: usize::from(u16::from_le_bytes([m0, m1])),
            payload_len: usize::try_from(u32::from_le_bytes([p0, p1, p2, p3])).ok()?,
            commit: u64::from_le_bytes([c0, c1, c2, c3, c4, c5, c6, c7]),
            payload_check: u32::from_le_bytes([q0, q1, q2, q3]),
            header_check: u32::from_le_bytes([h0, h1, h2, h3]),
        };
        let plausible = kind != 0
            && flags == 0
            && header.meta_len <= META_MAX
            && header.payload_len <= PAYLOAD_MAX;
        plausible.then_some(header)
    }

    /// Bytes of the whole frame on disk.
    pub(super) fn frame_len(&self) -> usize {
        frame_len(self.meta_len, self.payload_len)
    }
}

/// Bytes that a frame with such a content takes on disk.
pub(super) const fn frame_len(meta_len: usize, payload_len: usize) -> usize {
    (FRAME_HEADER_LEN + meta_len + payload_len).next_multiple_of(FRAME_ALIGNMENT)
}

/// Appends a frame to `out`; `offset` is where in the file it will stand.
pub(super) fn write_frame(
    out: &mut Vec<u8>,
    seal: &FrameSeal,
    offset: u64,
    kind: u8,
    commit: u64,
    meta: &[u8],
    payload: &[u8],
) {
    debug_assert!(meta.len() <= META_MAX && payload.len() <= PAYLOAD_MAX);
    let mut head = [0u8; FRAME_HEADER_LEN - 4];
    let fields: [&[u8]; 5] = [
        &[kind, 0],
        &(meta.len() as u16).to_le_bytes(),
        &(payload.len() as u32).to_le_bytes(),
        &commit.to_le_bytes(),
        &crc32fast::hash(payload).to_le_bytes(),
    ];
    let mut rest = head.as_mut_slice();
    for field in fields {
        let (place, after) = rest.split_at_mut(field.len());
        place.copy_from_slice(field);
        rest = after;
    }
    out.extend_from_slice(&head);
    out.extend_from_slice(&seal.check(offset, &head, meta).to_le_bytes());
    out.extend_from_slice(meta);
    out.extend_from_slice(payload);
    let content = FRAME_HEADER_LEN + meta.len() + payload.len();
    out.resize(
        out.len() + (frame_len(meta.len(), payload.len()) - content),
        0,
    );
}

/// A frame taken apart, its checks passed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frame<'a> {
    pub(super) header: FrameHeader,
    pub(super) meta: &'a [u8],
    pub(super) payload: &'a [u8],
}

/// What stands at a place in a file.
#[derive(Debug)]
pub(super) enum Parsed<'a> {
    /// A whole frame.
    Whole(Frame<'a>),
    /// A frame whose header and meta are right and whose payload is not.
    DamagedPayload { header: FrameHeader, meta: &'a [u8] },
    /// No frame.
    Nothing,
}

/// Takes a frame apart. `bytes` begins at the frame and may reach beyond it.
pub(super) fn parse_frame<'a>(bytes: &'a [u8], seal: &FrameSeal, offset: u64) -> Parsed<'a> {
    let Some((head, rest)) = bytes.split_first_chunk::<FRAME_HEADER_LEN>() else {
        return Parsed::Nothing;
    };
    let Some(header) = FrameHeader::parse(head) else {
        return Parsed::Nothing;
    };
    let Some((meta, rest)) = rest.split_at_checked(header.meta_len) else {
        return Parsed::Nothing;
    };
    let checked_head = head.get(..FRAME_HEADER_LEN - 4).unwrap_or_default();
    if seal.check(offset, checked_head, meta) != header.header_check {
        return Parsed::Nothing;
    }
    match rest.get(..header.payload_len) {
        Some(payload) if crc32fast::hash(payload) == header.payload_check => Parsed::Whole(Frame {
            header,
            meta,
            payload,
        }),
        _ => Parsed::DamagedPayload { header, meta },
    }
}

/// What a scan reports, in the order of the file.
#[derive(Debug)]
pub(super) enum Scanned<'a> {
    /// A frame in order.
    Frame { offset: u64, frame: Frame<'a> },
    /// A frame with a damaged payload.
    DamagedPayload {
        offset: u64,
        header: FrameHeader,
        meta: &'a [u8],
    },
    /// Bytes, not all of them zero, that are no frame, before the next frame or the end of the file.
    Gap { offset: u64, len: u64 },
}

/// A file being read from front to back, one frame at a time.
pub(super) struct Scanner {
    file: Arc<dyn DiskFile>,
    seal: FrameSeal,
    /// Where the next frame is looked for.
    offset: u64,
    end: u64,
    window: Vec<u8>,
    window_at: u64,
}

impl Scanner {
    /// Starts at `offset`, which is a multiple of the alignment, and stops at `end`.
    pub(super) fn new(file: Arc<dyn DiskFile>, seal: FrameSeal, offset: u64, end: u64) -> Self {
        Self {
            file,
            seal,
            offset,
            end,
            window: Vec::new(),
            window_at: offset,
        }
    }

    /// Where the scan stands.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// Goes back to a place where something began, to meet it again.
    pub(super) fn rewind(&mut self, offset: u64) {
        self.offset = offset;
    }

    /// Reports the next thing in the file; `None` at its end, or when only zeros follow.
    pub(super) fn next(&mut self) -> io::Result<Option<Scanned<'_>>> {
        let start = self.offset;
        let mut only_zeros = true;
        while self.offset + (FRAME_HEADER_LEN as u64) <= self.end {
            let at = self.offset;
            if let Some(len) = self.frame_here()? {
                if at > start {
                    // The frame is met again, from the window, by the next call.
                    return Ok(Some(Scanned::Gap {
                        offset: start,
                        len: at - start,
                    }));
                }
                self.offset = at + len as u64;
                let seal = self.seal;
                return Ok(match parse_frame(self.filled(at), &seal, at) {
                    Parsed::Whole(frame) => Some(Scanned::Frame { offset: at, frame }),
                    Parsed::DamagedPayload { header, meta } => Some(Scanned::DamagedPayload {
                        offset: at,
                        header,
                        meta,
                    }),
                    Parsed::Nothing => None,
                });
            }
            only_zeros &= self
                .filled(at)
                .iter()
                .take(FRAME_ALIGNMENT)
                .all(|byte| *byte == 0);
            self.offset = at + FRAME_ALIGNMENT as u64;
        }
        let rest = self.fill(self.offset, (self.end - self.offset) as usize)?;
        only_zeros &= rest.iter().all(|byte| *byte == 0);
        self.offset = self.end;
        let gap = Scanned::Gap {
            offset: start,
            len: self.end - start,
        };
        Ok((!only_zeros && self.end > start).then_some(gap))
    }

    /// Length of the frame that begins here, if one does; the window then holds all of it that the file has.
    fn frame_here(&mut self) -> io::Result<Option<usize>> {
        let (at, seal, end) = (self.offset, self.seal, self.end);
        let bytes = self.fill(at, FRAME_HEADER_LEN)?;
        let Some(header) = bytes.first_chunk().and_then(FrameHeader::parse) else {
            return Ok(None);
        };
        let len = header.frame_len();
        if at + len as u64 > end {
            return Ok(None);
        }
        let head_and_meta = FRAME_HEADER_LEN + header.meta_len;
        let bytes = self.fill(at, head_and_meta)?;
        if matches!(
            parse_frame(bytes.get(..head_and_meta).unwrap_or_default(), &seal, at),
            Parsed::Nothing
        ) {
            return Ok(None);
        }
        self.fill(at, len)?;
        Ok(Some(len))
    }

    /// The window from `at` on, as far as it is filled.
    fn filled(&self, at: u64) -> &[u8] {
        let skip = at
            .checked_sub(self.window_at)
            .and_then(|skip| usize::try_from(skip).ok());
        skip.and_then(|skip| self.window.get(skip..))
            .unwrap_or_default()
    }

    /// Makes the window hold `len` bytes from `at`, or what the file has of them, and shows it from there on.
    fn fill(&mut self, at: u64, len: usize) -> io::Result<&[u8]> {
        let available = usize::try_from(self.end.saturating_sub(at)).unwrap_or(usize::MAX);
        if self.filled(at).len() < len.min(available) {
            let wanted = len.max(SCAN_WINDOW).min(available);
            self.window.resize(wanted, 0);
            let count = self.file.read_at(&mut self.window, at)?;
            self.window.truncate(count);
            self.window_at = at;
        }
        Ok(self.filled(at))
    }
}
