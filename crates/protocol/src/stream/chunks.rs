//! A queue of bytes in pieces, few of which are small.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

/// Pieces below this are joined.
const SMALL_BYTES: usize = 4_096;
/// Small pieces are joined up to this.
const JOINED_BYTES: usize = 16_384;
/// Pieces at most, beyond which [`Chunks::is_crowded`].
const MAX_PIECES: usize = 1_024;

#[derive(Debug, Default)]
pub(super) struct Chunks {
    pieces: VecDeque<Bytes>,
    /// Small ones that came last.
    tail: BytesMut,
}

impl Chunks {
    pub(super) fn push(&mut self, bytes: Bytes) {
        if bytes.is_empty() {
            return;
        }
        if bytes.len() >= SMALL_BYTES {
            self.close_tail();
            self.pieces.push_back(bytes);
            return;
        }
        self.tail.extend_from_slice(&bytes);
        if self.tail.len() >= JOINED_BYTES {
            self.close_tail();
        }
    }

    /// So many pieces wait that those who could add more should wait too.
    pub(super) fn is_crowded(&self) -> bool {
        self.pieces.len() >= MAX_PIECES
    }

    /// Takes up to `most_bytes` from the front.
    pub(super) fn pop(&mut self, most_bytes: usize) -> Option<Bytes> {
        if self.pieces.is_empty() {
            self.close_tail();
        }
        let mut piece = self.pieces.pop_front()?;
        if piece.len() > most_bytes {
            self.pieces.push_front(piece.split_off(most_bytes));
        }
        Some(piece)
    }

    pub(super) fn drop_front(&mut self, mut bytes: usize) {
        while bytes > 0 {
            let Some(piece) = self.pop(bytes) else { return };
            bytes -= piece.len();
        }
    }

    /// Appends `bytes` bytes from `from` on.
    pub(super) fn copy(&self, mut from: usize, mut bytes: usize, out: &mut Vec<u8>) {
        for piece in self.pieces.iter().map(|p| &p[..]).chain([&self.tail[..]]) {
            if bytes == 0 {
                return;
            }
            let Some(rest) = piece.get(from..) else {
                from -= piece.len();
                continue;
            };
            let part = rest.get(..bytes.min(rest.len())).unwrap_or_default();
            out.extend_from_slice(part);
            (from, bytes) = (0, bytes - part.len());
        }
    }

    fn close_tail(&mut self) {
        if !self.tail.is_empty() {
            self.pieces.push_back(self.tail.split().freeze());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn bytes_come_out_as_they_went_in(
            pieces in proptest::collection::vec(0_usize..9_000, 1..30),
            takes in proptest::collection::vec(1_usize..9_000, 1..60),
        ) {
            let mut chunks = Chunks::default();
            let mut all = Vec::new();
            for (i, length) in pieces.iter().enumerate() {
                let piece: Vec<u8> = (0..*length).map(|b| (b * 31 + i * 7) as u8).collect();
                all.extend_from_slice(&piece);
                chunks.push(piece.into());
            }
            let mut at = 0;
            for (i, take) in takes.into_iter().enumerate() {
                let end = (at + take).min(all.len());
                let mut copied = Vec::new();
                chunks.copy(0, end - at, &mut copied);
                prop_assert_eq!(&copied, &all[at..end]);
                let middle = (end - at) / 2;
                copied.clear();
                chunks.copy(middle, end - at - middle, &mut copied);
                prop_assert_eq!(&copied, &all[at + middle..end]);
                if i % 2 == 0 {
                    chunks.drop_front(take);
                    at = end;
                } else if let Some(piece) = chunks.pop(take) {
                    prop_assert_eq!(&piece[..], &all[at..at + piece.len()]);
                    at += piece.len();
                } else {
                    prop_assert_eq!(at, all.len());
                }
            }
        }
    }

    #[test]
    fn many_small_writes_become_few_pieces() {
        let mut chunks = Chunks::default();
        for _ in 0..100_000 {
            chunks.push(Bytes::from_static(b"x"));
        }
        assert!(chunks.pieces.len() < 10);
    }
}
