//! Which offers a publisher has taken, and the ceiling of their times on disk: what keeps an offer from being obeyed twice,
//! also across a crash (`protocol::freshness`).
//!
//! Each process that publishes for a wallet has a slot of its own, by a lock that ends with it. A new one begins above the
//! ceilings of all that are over.

use std::path::{Path, PathBuf};
use std::time::Duration;

use parking_lot::Mutex;
use protocol::freshness::{Freshness, NotFresh, TOLERANCE_MS};

use crate::home::private_files::{self, FileError};
use crate::home::{HomeError, HomeLock};

/// Processes that publish for one wallet in one home, at most: as many as a mailbox takes.
const MAX_SLOTS: usize = 64;
/// Offers that are remembered: about 3 MB.
const NONCES: usize = 131_072;
/// How far beyond an offer's time the ceiling is put, in milliseconds: one write to disk does for the offers of that span, and
/// after a crash offers of that span are refused.
const AHEAD_MS: u64 = 5_000;
/// The longest file of a ceiling, bytes: a number and a line end.
const MAX_FILE_BYTES: u64 = 32;

/// Why a publisher can't remember the offers that it takes.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SlotError {
    /// There are too many already.
    #[error("{MAX_SLOTS} processes serve for this wallet already: end one of them first")]
    Full,
    /// A file can't be used.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// A file holds no number.
    #[error("{path} holds no number: delete it once five minutes have passed since the last publisher ended", path = .0.display())]
    Damaged(PathBuf),
}

impl From<FileError> for SlotError {
    fn from(error: FileError) -> Self {
        Self::Home(error.into())
    }
}

/// Why an offer is not taken.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotTaken {
    #[error(transparent)]
    NotFresh(#[from] NotFresh),
    #[error("that it was taken can't be written down")]
    File(#[from] FileError),
    #[error("the publisher is over")]
    Closed,
}

/// A publisher's memory of the offers that it took.
#[derive(Debug)]
pub(super) struct Slot {
    ceiling: PathBuf,
    /// None once the slot is closed.
    freshness: Mutex<Option<Freshness>>,
    _lock: HomeLock,
}

impl Slot {
    /// Takes a slot below `folder`. Blocks on the disk.
    pub(super) fn take(folder: &Path) -> Result<Self, SlotError> {
        private_files::make_folder(folder)?;
        let mut own = None;
        let mut floor_ms = 0;
        for number in 0..MAX_SLOTS {
            let (lock, ceiling) = (
                folder.join(format!("{number}.lock")),
                folder.join(format!("{number}.ceiling")),
            );
            if own.is_some() && !lock.exists() {
                // Slots are taken in order: there are no more.
                break;
            }
            let Some(lock) = HomeLock::take(&lock)? else {
                continue;
            };
            floor_ms = floor_ms.max(read(&ceiling)?);
            own.get_or_insert((lock, ceiling));
        }
        let (lock, ceiling) = own.ok_or(SlotError::Full)?;
        Ok(Self {
            ceiling,
            freshness: Mutex::new(Some(Freshness::resume(floor_ms, NONCES))),
            _lock: lock,
        })
    }

    /// How long from `now_ms` until offers that are made now are taken: not at once after a crash.
    pub(super) fn wait(&self, now_ms: u64) -> Duration {
        let freshness = self.freshness.lock();
        let floor_ms = (freshness.as_ref()).map_or(0, Freshness::closing_ceiling);
        Duration::from_millis(floor_ms.saturating_sub(now_ms).min(2 * AHEAD_MS))
    }

    /// Takes an offer of that time and nonce, once. May block on the disk.
    pub(super) fn accept(
        &self,
        time_ms: u64,
        nonce: &[u8; 16],
        now_ms: u64,
    ) -> Result<(), NotTaken> {
        let mut freshness = self.freshness.lock();
        let freshness = freshness.as_mut().ok_or(NotTaken::Closed)?;
        let is_near = time_ms <= now_ms.saturating_add(TOLERANCE_MS);
        if is_near && time_ms > freshness.ceiling_ms() {
            let ceiling_ms = time_ms.saturating_add(AHEAD_MS);
            write(&self.ceiling, ceiling_ms)?;
            freshness.raise_ceiling(ceiling_ms);
        }
        Ok(freshness.accept(time_ms, nonce, now_ms)?)
    }

    /// Takes nothing any more, and lets the next one take what is later than all that was taken.
    pub(super) fn close(&self) -> Result<(), FileError> {
        let mut freshness = self.freshness.lock();
        match freshness.take() {
            Some(last) => write(&self.ceiling, last.closing_ceiling()),
            None => Ok(()),
        }
    }
}

fn read(path: &Path) -> Result<u64, SlotError> {
    let Some(bytes) = private_files::read(path, MAX_FILE_BYTES)? else {
        return Ok(0);
    };
    let number = std::str::from_utf8(&bytes).ok();
    let number = number.and_then(|text| text.trim().parse().ok());
    number.ok_or_else(|| SlotError::Damaged(path.to_owned()))
}

fn write(path: &Path, ceiling_ms: u64) -> Result<(), FileError> {
    private_files::replace(path, format!("{ceiling_ms}\n").as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_800_000_000_000;

    #[test]
    fn offer_is_taken_once_and_not_again_after_a_crash() {
        let folder = tempfile::tempdir().unwrap();
        let slot = Slot::take(folder.path()).unwrap();
        let ahead = NOW + TOLERANCE_MS;
        slot.accept(NOW, &[1; 16], NOW).unwrap();
        slot.accept(ahead, &[2; 16], NOW).unwrap();
        assert!(slot.accept(NOW, &[1; 16], NOW).is_err());
        assert!(slot.accept(ahead + 1, &[3; 16], NOW).is_err(), "too early");
        // A crash: nothing is written any more.
        drop(slot);
        let slot = Slot::take(folder.path()).unwrap();
        assert!(slot.accept(NOW, &[1; 16], NOW).is_err());
        assert!(slot.accept(ahead, &[2; 16], NOW).is_err());
        let later = ahead + AHEAD_MS + 1;
        slot.accept(later, &[1; 16], later).unwrap();
    }

    #[test]
    fn publisher_that_ended_in_good_order_leaves_no_pause() {
        let folder = tempfile::tempdir().unwrap();
        let slot = Slot::take(folder.path()).unwrap();
        slot.accept(NOW, &[1; 16], NOW).unwrap();
        slot.close().unwrap();
        assert!(slot.accept(NOW + 1, &[2; 16], NOW).is_err(), "it is over");
        drop(slot);
        let slot = Slot::take(folder.path()).unwrap();
        assert_eq!(slot.wait(NOW), Duration::ZERO);
        assert!(slot.accept(NOW, &[1; 16], NOW).is_err());
        slot.accept(NOW + 1, &[2; 16], NOW).unwrap();
    }

    #[test]
    fn publisher_that_crashed_waits_no_longer_than_its_ceiling() {
        let folder = tempfile::tempdir().unwrap();
        let slot = Slot::take(folder.path()).unwrap();
        slot.accept(NOW, &[1; 16], NOW).unwrap();
        drop(slot);
        let slot = Slot::take(folder.path()).unwrap();
        assert_eq!(slot.wait(NOW), Duration::from_millis(AHEAD_MS));
        assert_eq!(slot.wait(NOW + AHEAD_MS), Duration::ZERO);
    }

    /// Two processes of one home serve two services: neither may wait for the other, or forget what a dead one took.
    #[test]
    fn publishers_of_one_home_have_slots_of_their_own_and_heed_the_dead() {
        let folder = tempfile::tempdir().unwrap();
        let (first, second) = (
            Slot::take(folder.path()).unwrap(),
            Slot::take(folder.path()).unwrap(),
        );
        first.accept(NOW, &[1; 16], NOW).unwrap();
        second.accept(NOW, &[2; 16], NOW).unwrap();
        second.accept(NOW + 60_000, &[3; 16], NOW).unwrap();
        drop(second);
        let third = Slot::take(folder.path()).unwrap();
        assert!(third.accept(NOW, &[2; 16], NOW).is_err());
        drop(first);
        drop(third);
        // It gets the place of the first, and heeds what the second took.
        let fourth = Slot::take(folder.path()).unwrap();
        assert!(fourth.accept(NOW + 60_000, &[3; 16], NOW).is_err());
    }

    #[test]
    fn more_publishers_than_a_mailbox_takes_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let slots: Vec<Slot> = (0..MAX_SLOTS)
            .map(|_| Slot::take(folder.path()).unwrap())
            .collect();
        assert!(matches!(Slot::take(folder.path()), Err(SlotError::Full)));
        drop(slots);
        assert!(Slot::take(folder.path()).is_ok());
    }
}
