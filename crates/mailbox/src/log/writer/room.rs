//! Files for the writer: the next one, a spare one, and those that are freed.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use super::{Active, Wanted, Writer};
use crate::disk::is_out_of_room;
use crate::log::files::{Spare, segment_name};
use crate::log::header::FILE_HEADER_LEN;
use crate::log::shared::{Counters, TARGET};

impl Writer {
    /// Makes room unless that was in vain a moment ago.
    pub(super) fn try_to_make_room(&mut self, wanted: Wanted) -> io::Result<()> {
        self.stuck = self.is_full() && (wanted != Wanted::AnyFile || self.spares.is_empty());
        if self.stuck {
            return Ok(());
        }
        self.full_since = None;
        match self.make_room(wanted) {
            Err(error) if is_out_of_room(&error) => {
                tracing::warn!(target: TARGET, "no room for another file of the packet log");
                self.full_since = Some(Instant::now());
                Ok(())
            }
            outcome => outcome,
        }
    }

    /// Sees to what kept the last commit from taking more.
    fn make_room(&mut self, wanted: Wanted) -> io::Result<()> {
        let spares_first = match wanted {
            Wanted::Spare | Wanted::AnyFile => 1,
            // Packets may take a spare file only when another stays.
            Wanted::PacketFile => 2,
        };
        while self.spares.len() < spares_first {
            self.spares.make(&self.shared)?;
        }
        if wanted == Wanted::Spare {
            return Ok(());
        }
        let Some(spare) = self.spares.take() else {
            return Ok(());
        };
        self.rotate(spare)?;
        if self.spares.is_empty() {
            self.spares.make(&self.shared)
        } else {
            Ok(())
        }
    }

    /// Seals the active file and begins another.
    fn rotate(&mut self, spare: Spare) -> io::Result<()> {
        let floor = self.shared.index.lock().floor;
        let number = self
            .active
            .number
            .checked_add(1)
            .ok_or_else(|| io::Error::other("file numbers used up"))?;
        let file = spare.begin(&self.shared, number, floor)?;
        let sealed = std::mem::replace(
            &mut self.active,
            Active {
                number,
                file,
                used: FILE_HEADER_LEN as u64,
            },
        );
        let segment_bytes = self.shared.config.segment_bytes;
        let cut = sealed.file.set_length(sealed.used);
        let mut index = self.shared.index.lock();
        index
            .segments
            .insert(number, Arc::clone(&self.active.file), segment_bytes);
        index.segments.seal(
            sealed.number,
            if cut.is_ok() {
                sealed.used
            } else {
                segment_bytes
            },
        );
        Ok(())
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
        let recycled = file.is_some_and(|file| self.spares.recycle(&self.shared, number, file));
        if !recycled && let Err(error) = self.shared.disk.remove(&segment_name(number)) {
            tracing::warn!(target: TARGET, %error, file = number, "a file that is of no more use could not be deleted");
        }
        // The memory of removed queues is dropped once older files are gone: gone for certain.
        if let Err(error) = self.shared.disk.sync_directory() {
            self.give_up(error);
        }
        self.shared.index.lock().segments.end_rewriting();
    }
}
