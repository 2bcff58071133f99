//! Hashcash stamps on Equi-X: the price of what nobody asked for (`docs/wire-format.md`, 9).

use equix::EquiX;
use sha2::{Digest as _, Sha256};
use thiserror::Error;

use crate::frame::STAMP_BYTES;

const SOLUTION_BYTES: usize = 16;
const HOUR_MS: u64 = 3_600_000;

/// The effort that nodes ask for by default: about a second of one core.
pub const DEFAULT_EFFORT: u32 = 100;
/// No node may ask for more: about ten minutes of one core.
pub const MAX_EFFORT: u32 = 60_000;

/// A stamp, bound to one packet and one hour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// Expected number of Equi-X runs.
    pub effort: u32,
    /// Unix time in hours.
    pub hour: u32,
    nonce: u64,
    solution: [u8; SOLUTION_BYTES],
}

/// Why a stamp does not pay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum StampError {
    /// Another hour than this one or its neighbours.
    #[error("the stamp is for another hour")]
    Hour,
    /// Less effort than asked.
    #[error("the stamp shows too little effort")]
    Effort,
    /// Not as stamps are written.
    #[error("the stamp is not written as a stamp is")]
    Form,
    /// Made for another packet, or no solution at all.
    #[error("the stamp does not fit the packet")]
    Wrong,
}

/// Why no stamp was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum MintError {
    /// More than [`MAX_EFFORT`] was asked.
    #[error("an effort of {0} is beyond what anyone may ask")]
    Effort(u32),
    /// The caller asked to stop.
    #[error("stopped before a stamp was found")]
    Stopped,
}

impl Stamp {
    /// Finds a stamp for the packet of that hash; takes about `effort` × 5 ms of one core.
    ///
    /// Tries nonces from `first_nonce` (pick it at random) and asks `go_on` before each.
    ///
    /// # Errors
    /// [`MintError::Effort`] beyond [`MAX_EFFORT`], [`MintError::Stopped`] when `go_on` says no.
    pub fn mint(
        packet_hash: &[u8; 32],
        effort: u32,
        now_ms: u64,
        first_nonce: u64,
        mut go_on: impl FnMut() -> bool,
    ) -> Result<Self, MintError> {
        if effort > MAX_EFFORT {
            return Err(MintError::Effort(effort));
        }
        let hour = (now_ms / HOUR_MS) as u32;
        let mut memory = equix::SolverMemory::new();
        let mut nonce = first_nonce;
        while go_on() {
            let challenge = challenge(packet_hash, effort, hour, nonce);
            // Some challenges make no program (HashX); the next nonce does.
            if let Ok(puzzle) = EquiX::new(&challenge) {
                for found in puzzle.solve_with_memory(&mut memory) {
                    let solution = found.to_bytes();
                    if pays(&challenge, &solution, effort) {
                        return Ok(Self {
                            effort,
                            hour,
                            nonce,
                            solution,
                        });
                    }
                }
            }
            nonce = nonce.wrapping_add(1);
        }
        Err(MintError::Stopped)
    }

    /// Checks that the stamp pays at least `effort` for the packet of that hash now; about 40 µs.
    ///
    /// # Errors
    /// [`StampError`] says what is wrong with it.
    pub fn verify(
        &self,
        packet_hash: &[u8; 32],
        effort: u32,
        now_ms: u64,
    ) -> Result<(), StampError> {
        let now = now_ms / HOUR_MS;
        if u64::from(self.hour).abs_diff(now) > 1 {
            return Err(StampError::Hour);
        }
        if self.effort < effort {
            return Err(StampError::Effort);
        }
        let challenge = challenge(packet_hash, self.effort, self.hour, self.nonce);
        // The cheap half first: a flood of wrong stamps costs one hash each.
        if !pays(&challenge, &self.solution, self.effort) {
            return Err(StampError::Wrong);
        }
        equix::verify_bytes(&challenge, &self.solution).map_err(|_| StampError::Wrong)
    }

    /// Writes the stamp's 48 bytes.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; STAMP_BYTES] {
        let mut out = [0; STAMP_BYTES];
        out[..4].copy_from_slice(&self.effort.to_be_bytes());
        out[4..8].copy_from_slice(&self.hour.to_be_bytes());
        out[8..16].copy_from_slice(&self.nonce.to_be_bytes());
        out[16..32].copy_from_slice(&self.solution);
        out
    }

    /// Reads a stamp; whether it pays is for [`Self::verify`].
    ///
    /// # Errors
    /// [`StampError::Form`] where the 16 bytes that a stamp does not use are not zero. One stamp has one
    /// form: who has passed on a flood knows by its bytes that they have paid.
    pub fn from_bytes(bytes: &[u8; STAMP_BYTES]) -> Result<Self, StampError> {
        let word = |at: usize| {
            let mut w = [0; 8];
            w.copy_from_slice(bytes.get(at..at + 8).unwrap_or(&[0; 8]));
            u64::from_be_bytes(w)
        };
        if (word(32), word(40)) != (0, 0) {
            return Err(StampError::Form);
        }
        let head = word(0);
        let mut solution = [0; SOLUTION_BYTES];
        solution.copy_from_slice(&bytes[16..32]);
        Ok(Self {
            effort: (head >> 32) as u32,
            hour: head as u32,
            nonce: word(8),
            solution,
        })
    }
}

fn challenge(packet_hash: &[u8; 32], effort: u32, hour: u32, nonce: u64) -> [u8; 32] {
    let mut h = Sha256::new();
    h.update(b"conet/stamp/1\0");
    h.update(packet_hash);
    h.update(effort.to_be_bytes());
    h.update(hour.to_be_bytes());
    h.update(nonce.to_be_bytes());
    h.finalize().into()
}

fn pays(challenge: &[u8; 32], solution: &[u8; SOLUTION_BYTES], effort: u32) -> bool {
    let digest = Sha256::new()
        .chain_update(challenge)
        .chain_update(solution)
        .finalize();
    let [a, b, c, d, ..] = digest.as_slice() else {
        return false;
    };
    u64::from(u32::from_be_bytes([*a, *b, *c, *d])) * u64::from(effort.max(1)) < 1 << 32
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_800_000_000_000;

    #[test]
    fn minted_stamp_pays_for_its_packet_hour_and_effort_only() {
        let mut tries = 0..200;
        let stamp = Stamp::mint(&[1; 32], 3, NOW, 7, || tries.next().is_some()).unwrap();
        assert_eq!(Stamp::from_bytes(&stamp.to_bytes()), Ok(stamp));
        assert_eq!(stamp.verify(&[1; 32], 3, NOW), Ok(()));
        assert_eq!(stamp.verify(&[1; 32], 3, NOW + HOUR_MS), Ok(()));
        assert_eq!(stamp.verify(&[2; 32], 3, NOW), Err(StampError::Wrong));
        assert_eq!(stamp.verify(&[1; 32], 4, NOW), Err(StampError::Effort));
        assert_eq!(
            stamp.verify(&[1; 32], 3, NOW + 3 * HOUR_MS),
            Err(StampError::Hour)
        );
        let mut lied = stamp;
        lied.effort = 4_000_000;
        assert_eq!(
            lied.verify(&[1; 32], 4_000_000, NOW),
            Err(StampError::Wrong)
        );
    }

    /// A flood that a stamp has paid for is known by the stamp's bytes. Bytes that nobody looked at made one
    /// stamp into as many as anyone liked, each good for another flood of the same packet.
    #[test]
    fn stamp_with_bytes_where_there_are_none_is_refused() {
        let mut tries = 0..200;
        let bytes = Stamp::mint(&[1; 32], 1, NOW, 7, || tries.next().is_some())
            .unwrap()
            .to_bytes();
        assert!(Stamp::from_bytes(&bytes).is_ok());
        for at in 32..STAMP_BYTES {
            let mut other = bytes;
            other[at] = 1;
            assert_eq!(Stamp::from_bytes(&other), Err(StampError::Form));
        }
        // And no other byte can be changed.
        for at in 0..32 {
            let mut other = bytes;
            other[at] ^= 1;
            let other = Stamp::from_bytes(&other).unwrap();
            assert!(other.verify(&[1; 32], 1, NOW).is_err(), "byte {at}");
        }
    }

    /// A solution of the puzzle for `packet_hash`, however little work it shows.
    fn solved(packet_hash: &[u8; 32], effort: u32) -> Stamp {
        let hour = (NOW / HOUR_MS) as u32;
        let solve = |nonce| {
            let puzzle = EquiX::new(&challenge(packet_hash, effort, hour, nonce)).ok()?;
            let solution = puzzle.solve().first()?.to_bytes();
            Some(Stamp {
                effort,
                hour,
                nonce,
                solution,
            })
        };
        (0..100).find_map(solve).unwrap()
    }

    /// Solving the puzzle once is cheap. What makes a stamp dear is how rarely a solution's hash is low.
    #[test]
    fn stamp_that_solves_the_puzzle_but_claims_more_work_than_it_shows_is_refused() {
        let little = solved(&[1; 32], 1);
        assert_eq!(little.verify(&[1; 32], 1, NOW), Ok(()));
        let much = solved(&[1; 32], MAX_EFFORT);
        let challenge = challenge(&[1; 32], MAX_EFFORT, much.hour, much.nonce);
        assert!(equix::verify_bytes(&challenge, &much.solution).is_ok());
        assert_eq!(
            much.verify(&[1; 32], MAX_EFFORT, NOW),
            Err(StampError::Wrong)
        );
    }

    #[test]
    fn solution_pays_exactly_as_far_as_its_hash_is_low() {
        for n in 0..50 {
            let (challenge, solution) = ([n; 32], [7; SOLUTION_BYTES]);
            let digest = Sha256::digest([&challenge[..], &solution].concat());
            let r = u64::from(u32::from_be_bytes(digest[..4].try_into().unwrap()));
            let most = (u64::from(u32::MAX) / r) as u32;
            assert!(pays(&challenge, &solution, most) && pays(&challenge, &solution, 0));
            assert!(!pays(&challenge, &solution, most + 1));
        }
    }

    #[test]
    fn mint_beyond_the_largest_effort_is_refused_at_once() {
        assert_eq!(
            Stamp::mint(&[1; 32], MAX_EFFORT + 1, NOW, 0, || false),
            Err(MintError::Effort(MAX_EFFORT + 1))
        );
        assert_eq!(
            Stamp::mint(&[1; 32], MAX_EFFORT, NOW, 0, || false),
            Err(MintError::Stopped)
        );
    }
}
