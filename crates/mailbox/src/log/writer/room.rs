//! Files for the writer: the next one, spare ones, and those that are freed.
//!
//! On a full disk there is still room for what makes room. Packets never take the
//! [`SPARES_RESERVED`] last spare files; acknowledgements and the like take all but one; that one
//! is for rewriting a file of which part is dead, which frees the file and so gives the spare one
//! back. If no file is dead enough, the one that holds most of the changes since the disk ran full
//! is: each of them takes the place of an older one.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{FULL_PAUSE, Wanted, Writer};
use crate::disk::is_out_of_room;
use crate::log::files::{SPARES_RESERVED, Spare, segment_name};
use crate::log::header::FILE_HEADER_LEN;
use crate::log::index::Index;
use crate::log::shared::{Counters, TARGET};

/// How often the writer looks whether readers are done with a file that it needs, and how long it waits each time.
const READERS_LOOKS: u32 = 100;
const READERS_PAUSE: Duration = Duration::from_millis(1);

impl Wanted {
    /// How many spare files it takes.
    fn spares(self) -> usize {
        match self {
            Self::Spare => SPARES_RESERVED,
            Self::PacketFile => SPARES_RESERVED + 1,
            Self::ControlFile => 2,
            Self::FileForRewriting => 1,
        }
    }
}

impl Writer {
    /// Whether room was looked for in vain a moment ago.
    fn is_full(&self) -> bool {
        self.full_since
            .is_some_and(|since| since.elapsed() < FULL_PAUSE)
    }

    /// Whether waiting for this is in vain; for changes that are no packets only when no file can be freed.
    pub(in crate::log) fn is_hopeless(&mut self, wanted: Wanted, index: &Index) -> bool {
        if !self.is_full() || self.spares.len() >= wanted.spares() {
            return false;
        }
        if matches!(wanted, Wanted::Spare | Wanted::PacketFile) || self.blocked {
            return true;
        }
        if self.compaction.is_some() {
            return false;
        }
        let most = self.rewritable_bytes();
        self.forced = index.segments.least_live(most, false).is_some();
        // The active file may be the one that is mostly dead: it is sealed and rewritten then.
        if !self.forced && self.spares.len() == 1 && index.segments.live(self.active.number) <= most
        {
            self.forced = true;
            self.want(Wanted::FileForRewriting);
        }
        !self.forced
    }

    /// Packets are written up to this offset of the active file.
    pub(in crate::log) fn packet_limit(&self) -> u64 {
        self.active
            .capacity
            .saturating_sub(self.shared.config.control_reserve())
    }

    /// Changes that are no packets are written up to this offset: on the last file, what is carried over comes first.
    pub(in crate::log) fn control_limit(&self, index: &Index) -> u64 {
        match &self.compaction {
            None if self.spares.is_empty() && self.forced => 0,
            Some(compaction) if self.spares.is_empty() => {
                let due = index.segments.live(compaction.segment());
                let reserve = 2 * self.shared.config.control_reserve();
                self.active.capacity.saturating_sub(due + reserve)
            }
            _ => self.active.capacity,
        }
    }

    /// Bytes that a file may hold which count, so that it can be rewritten for certain.
    pub(in crate::log) fn rewritable_bytes(&self) -> u64 {
        let room = match self.spares.next_len() {
            _ if self.spares.len() >= SPARES_RESERVED => return u64::MAX,
            Some(len) => len - FILE_HEADER_LEN as u64,
            None => self.active.capacity.saturating_sub(self.active.used),
        };
        // One reserve for the states that go with the packets, one that stays.
        room.saturating_sub(2 * self.shared.config.control_reserve())
    }

    /// Makes room unless that was in vain a moment ago.
    pub(super) fn try_to_make_room(&mut self, wanted: Wanted) -> io::Result<()> {
        let made = if self.spares.len() >= wanted.spares() {
            Ok(())
        } else if self.is_full() {
            Err(io::ErrorKind::StorageFull.into())
        } else {
            self.make_spares(wanted.spares())
        };
        match made {
            Err(error) if is_out_of_room(&error) => {
                self.stuck = true;
                self.blocked |= wanted == Wanted::FileForRewriting;
                return Ok(());
            }
            Err(error) => return Err(error),
            Ok(()) if wanted == Wanted::Spare => return Ok(()),
            Ok(()) => {}
        }
        self.blocked = false;
        let Some(spare) = self.spares.take() else {
            return Ok(());
        };
        match self.rotate(spare) {
            Err(error) if is_out_of_room(&error) => {
                self.full_since = Some(Instant::now());
                self.stuck = true;
                Ok(())
            }
            outcome => outcome,
        }
    }

    fn make_spares(&mut self, count: usize) -> io::Result<()> {
        self.full_since = None;
        while self.spares.len() < count {
            if let Err(error) = self.spares.make(&self.shared) {
                if is_out_of_room(&error) {
                    tracing::warn!(target: TARGET, "no room for another file of the packet log");
                    self.full_since = Some(Instant::now());
                }
                return Err(error);
            }
        }
        Ok(())
    }

    /// Seals the active file and begins another.
    ///
    /// The end is cut off first and durably: in a file that was used before, what stands there would
    /// look like damage once the file is not the last one any more.
    fn rotate(&mut self, spare: Spare) -> io::Result<()> {
        let floor = self.shared.index.lock().floor;
        let number = self
            .active
            .number
            .checked_add(1)
            .ok_or_else(|| io::Error::other("file numbers used up"))?;
        self.active.file.set_length(self.active.used)?;
        self.active.file.sync()?;
        match spare.begin(&self.shared, number, floor) {
            Ok(begun) => {
                let sealed = std::mem::replace(&mut self.active, begun);
                let mut index = self.shared.index.lock();
                index
                    .segments
                    .insert(number, Arc::clone(&self.active.file), self.active.capacity);
                index.segments.seal(sealed.number, sealed.used);
                Ok(())
            }
            Err(error) => {
                // Out of room though it was set aside: the file goes on, as long as it can.
                drop(self.active.file.reserve(self.active.capacity));
                self.active.capacity = self.active.file.length()?;
                Err(error)
            }
        }
    }

    /// Frees a file that holds nothing of use.
    pub(super) fn free_segment(&mut self, number: u32) {
        let file = {
            let mut index = self.shared.index.lock();
            if index.segments.live(number) > 0 {
                // Frames that were there when the store was opened can't be found any more.
                let (lost, unrecorded) = index.lose_segment(number);
                self.backlog.extend(unrecorded);
                Counters::add(&self.shared.counters.lost, lost);
                tracing::error!(target: TARGET, file = number, packets = lost, "stored packets are damaged on disk and were given up");
            }
            index.segments.remove(number)
        };
        // A file that readers hold can't become a spare one; where it is needed, they are waited for.
        if let Some(file) = &file
            && self.spares.len() < SPARES_RESERVED
        {
            for _ in 0..READERS_LOOKS {
                if Arc::strong_count(file) == 1 {
                    break;
                }
                std::thread::sleep(READERS_PAUSE);
            }
        }
        let recycled = file.is_some_and(|file| self.spares.recycle(&self.shared, number, file));
        if !recycled && let Err(error) = self.shared.disk.remove(&segment_name(number)) {
            tracing::warn!(target: TARGET, %error, file = number, "a file that is of no more use could not be deleted");
        }
        self.full_since = None;
        self.blocked = false;
        // The memory of removed queues is dropped once older files are gone: gone for certain.
        if let Err(error) = self.shared.disk.sync_directory() {
            self.give_up(error);
        }
        self.shared.index.lock().segments.end_rewriting();
    }
}
