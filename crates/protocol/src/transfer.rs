//! Files as numbered chunks: how one is cut, and what is still missing at the other end.

use packet::Chunk;
use thiserror::Error;

/// Chunks of one transfer at most: with the largest class about 64 GiB.
pub const MAX_CHUNKS: u32 = 1 << 16;

/// How a file of `total` bytes is cut into chunks of `chunk_bytes` (the last may be shorter).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    /// Length of the file in bytes.
    pub total: u64,
    /// Length of each chunk but the last.
    pub chunk_bytes: u32,
}

/// The file is too large for chunks of this size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a file of {0} bytes is more than {MAX_CHUNKS} chunks")]
pub struct TooManyChunks(u64);

impl Plan {
    /// Cuts a file.
    ///
    /// # Errors
    /// [`TooManyChunks`] beyond [`MAX_CHUNKS`].
    pub fn new(total: u64, chunk_bytes: u32) -> Result<Self, TooManyChunks> {
        let plan = Self {
            total,
            chunk_bytes: chunk_bytes.max(1),
        };
        if plan.total.div_ceil(u64::from(plan.chunk_bytes)) > u64::from(MAX_CHUNKS) {
            return Err(TooManyChunks(total));
        }
        Ok(plan)
    }

    /// Number of chunks; an empty file has one.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.total
            .div_ceil(u64::from(self.chunk_bytes))
            .clamp(1, u64::from(MAX_CHUNKS)) as u32
    }

    /// Where chunk `index` lies: offset and length in bytes.
    #[must_use]
    pub fn place(&self, index: u32) -> (u64, usize) {
        let offset = (u64::from(index) * u64::from(self.chunk_bytes)).min(self.total);
        (
            offset,
            (self.total - offset).min(u64::from(self.chunk_bytes)) as usize,
        )
    }
}

/// Why a chunk does not belong to the transfer it names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ChunkError {
    /// Its numbers contradict each other or the bounds.
    #[error("the chunk's numbers contradict each other")]
    Numbers,
    /// Its total, count, hash or name is not that of the chunks before it.
    #[error("the chunk is of another file than those before it")]
    Other,
}

/// What one transfer has received so far.
///
/// The bytes themselves lie with the shell; this says where they go and when they are complete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assembly {
    /// Length of the whole in bytes.
    pub total: u64,
    /// Number of chunks.
    pub count: u32,
    /// SHA-256 of the whole.
    pub sha256: [u8; 32],
    have: Vec<u64>,
    received: u32,
}

impl Assembly {
    /// Starts with any chunk of a transfer; the chunk itself is yet to be [`Self::take`]n.
    ///
    /// # Errors
    /// [`ChunkError::Numbers`].
    pub fn start(chunk: &Chunk) -> Result<Self, ChunkError> {
        let count = chunk.count;
        if count == 0
            || count > MAX_CHUNKS
            || (chunk.total == 0 && count != 1)
            || u64::from(count) > chunk.total.max(1)
        {
            return Err(ChunkError::Numbers);
        }
        Ok(Self {
            total: chunk.total,
            count,
            sha256: chunk.sha256,
            have: vec![0; (count as usize).div_ceil(64)],
            received: 0,
        })
    }

    /// Takes a chunk; says whether its data is new and has to be written at its offset.
    ///
    /// # Errors
    /// [`ChunkError`]; nothing has changed then.
    pub fn take(&mut self, chunk: &Chunk) -> Result<bool, ChunkError> {
        if (chunk.total, chunk.count, chunk.sha256) != (self.total, self.count, self.sha256) {
            return Err(ChunkError::Other);
        }
        let end = chunk
            .offset
            .checked_add(chunk.data.len() as u64)
            .ok_or(ChunkError::Numbers)?;
        if chunk.index >= self.count {
            return Err(ChunkError::Numbers);
        }
        let last = chunk.index + 1 == self.count;
        if end > self.total || last != (end == self.total) {
            return Err(ChunkError::Numbers);
        }
        let word = self
            .have
            .get_mut(chunk.index as usize / 64)
            .ok_or(ChunkError::Numbers)?;
        let bit = 1u64 << (chunk.index % 64);
        if *word & bit != 0 {
            return Ok(false);
        }
        *word |= bit;
        self.received += 1;
        Ok(true)
    }

    /// Chunks received.
    #[must_use]
    pub fn received(&self) -> u32 {
        self.received
    }

    /// Says whether all chunks are there; whether they are the file, its SHA-256 says.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.received == self.count
    }

    /// The received chunks as little-endian bits, for a durable state.
    #[must_use]
    pub fn bits(&self) -> Vec<u8> {
        self.have.iter().flat_map(|w| w.to_le_bytes()).collect()
    }

    /// Restores what [`Self::bits`] gave; ignores bits that don't fit.
    pub fn restore(&mut self, bits: &[u8]) {
        self.received = 0;
        for (i, word) in self.have.iter_mut().enumerate() {
            let mut bytes = [0; 8];
            if let Some(chunk) = bits.get(i * 8..i * 8 + 8) {
                bytes.copy_from_slice(chunk);
            }
            *word = u64::from_le_bytes(bytes);
            let first = (i as u64) * 64;
            let used = (u64::from(self.count).saturating_sub(first)).min(64);
            if used < 64 {
                *word &= (1 << used) - 1;
            }
            self.received += word.count_ones();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use proptest::prelude::*;

    fn chunk(plan: Plan, index: u32) -> Chunk {
        let (offset, length) = plan.place(index);
        Chunk {
            transfer: [1; 16].into(),
            index,
            count: plan.count(),
            total: plan.total,
            sha256: [2; 32],
            offset,
            name: "a".into(),
            data: Bytes::from(vec![0; length]),
        }
    }

    #[test]
    fn chunk_beyond_the_end_or_of_another_file_is_refused() {
        let plan = Plan::new(1000, 300).unwrap();
        let mut assembly = Assembly::start(&chunk(plan, 0)).unwrap();
        assert_eq!(
            assembly.take(&Chunk {
                offset: 900,
                ..chunk(plan, 1)
            }),
            Err(ChunkError::Numbers)
        );
        assert_eq!(
            assembly.take(&Chunk {
                offset: u64::MAX,
                ..chunk(plan, 1)
            }),
            Err(ChunkError::Numbers)
        );
        assert_eq!(
            assembly.take(&Chunk {
                index: 4,
                ..chunk(plan, 1)
            }),
            Err(ChunkError::Numbers)
        );
        assert_eq!(
            assembly.take(&Chunk {
                index: u32::MAX,
                ..chunk(plan, 1)
            }),
            Err(ChunkError::Numbers)
        );
        assert_eq!(
            assembly.take(&Chunk {
                sha256: [3; 32],
                ..chunk(plan, 1)
            }),
            Err(ChunkError::Other)
        );
        assert_eq!(
            Assembly::start(&Chunk {
                count: u32::MAX,
                ..chunk(plan, 1)
            }),
            Err(ChunkError::Numbers)
        );
        assert_eq!(
            Assembly::start(&Chunk {
                count: 0,
                ..chunk(plan, 1)
            }),
            Err(ChunkError::Numbers)
        );
    }

    #[test]
    fn transfer_of_as_many_chunks_as_there_may_be_begins_and_one_more_does_not() {
        let of = |count, total| {
            let plan = Plan::new(1000, 300).unwrap();
            Assembly::start(&Chunk {
                count,
                total,
                ..chunk(plan, 0)
            })
        };
        assert!(of(MAX_CHUNKS, 1 << 40).is_ok());
        assert_eq!(of(MAX_CHUNKS + 1, 1 << 40), Err(ChunkError::Numbers));
        // A chunk holds a byte at least.
        assert!(of(300, 300).is_ok());
        assert_eq!(of(301, 300), Err(ChunkError::Numbers));
        assert_eq!(of(2, 0), Err(ChunkError::Numbers));
        assert!(Plan::new(u64::from(MAX_CHUNKS) * 10, 10).is_ok());
        assert!(Plan::new(u64::from(MAX_CHUNKS) * 10 + 1, 10).is_err());
    }

    /// The bits come from a file of the client's own, which can be of another time or broken.
    #[test]
    fn restored_bits_count_only_where_there_is_a_chunk() {
        let plan = Plan::new(700, 10).unwrap();
        let mut assembly = Assembly::start(&chunk(plan, 0)).unwrap();
        assembly.restore(&[0xff; 64]);
        assert_eq!((assembly.received(), assembly.is_complete()), (70, true));
        assembly.restore(&[0xff; 8]);
        assert_eq!((assembly.received(), assembly.is_complete()), (64, false));
        assert_eq!(assembly.take(&chunk(plan, 63)), Ok(false));
        assert_eq!(assembly.take(&chunk(plan, 64)), Ok(true));
        assert_eq!(assembly.received(), 65);
    }

    #[test]
    fn empty_file_is_one_empty_chunk() {
        let plan = Plan::new(0, 100).unwrap();
        let mut assembly = Assembly::start(&chunk(plan, 0)).unwrap();
        assert_eq!(
            (
                plan.count(),
                assembly.take(&chunk(plan, 0)),
                assembly.is_complete()
            ),
            (1, Ok(true), true)
        );
    }

    proptest! {
        #[test]
        fn chunks_in_any_order_with_repeats_and_a_restart_complete_the_file(
            total in 1u64..5_000, size in 1u32..700, seed in any::<u64>(), repeats in 0usize..4,
        ) {
            let plan = Plan::new(total, size).unwrap();
            let mut indices: Vec<u32> = (0..plan.count()).collect();
            indices.extend(indices.clone().into_iter().take(repeats));
            indices.sort_by_key(|i| (u64::from(*i) + 1).wrapping_mul(seed | 1).rotate_left(17));
            let mut assembly = Assembly::start(&chunk(plan, indices[0])).unwrap();
            let (mut covered, half) = (0, indices.len() / 2);
            for (n, index) in indices.into_iter().enumerate() {
                if n == half {
                    let bits = assembly.bits();
                    assembly = Assembly::start(&chunk(plan, index)).unwrap();
                    assembly.restore(&bits);
                }
                let c = chunk(plan, index);
                if assembly.take(&c).unwrap() {
                    covered += c.data.len() as u64;
                }
            }
            prop_assert!(assembly.is_complete());
            prop_assert_eq!(covered, total);
        }
    }
}
