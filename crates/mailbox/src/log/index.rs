//! All queues in memory, the files they lie in, and what is remembered of removed queues.

use std::collections::HashMap;
use std::hash::RandomState;

use super::queue::Queue;
use super::record::RemovedRecord;
use super::segments::{Place, Segments};
use crate::queue::QueueId;

/// A removed queue, of which old files may still hold packets.
#[derive(Clone, Copy, Debug)]
pub(super) struct Removed {
    pub(super) floor: u64,
    pub(super) removed_in: u32,
    /// The file that says so; `None` until it is written.
    pub(super) recorded_in: Option<u32>,
}

impl Removed {
    pub(super) fn record(&self, queue: QueueId) -> RemovedRecord {
        RemovedRecord {
            queue,
            floor: self.floor,
            removed_in: self.removed_in,
        }
    }
}

/// Everything the store knows without reading its files.
pub(super) struct Index {
    pub(super) queues: HashMap<QueueId, Queue>,
    pub(super) removed: HashMap<QueueId, Removed>,
    pub(super) segments: Segments,
    pub(super) hasher: RandomState,
    /// New queues start here: above every cursor of every queue removed so far.
    pub(super) floor: u64,
}

impl Index {
    pub(super) fn new() -> Self {
        Self {
            queues: HashMap::new(),
            removed: HashMap::new(),
            segments: Segments::default(),
            hasher: RandomState::new(),
            floor: 1,
        }
    }

    /// The queue, opened if need be; `None` when there are too many. Also tells whether it is new.
    pub(super) fn open_queue(&mut self, id: QueueId, most: usize) -> Option<bool> {
        if self.queues.contains_key(&id) {
            return Some(false);
        }
        if self.queues.len() >= most {
            return None;
        }
        self.queues.insert(id, Queue::new(self.floor));
        Some(true)
    }

    /// A queue together with what its methods need.
    pub(super) fn parts(
        &mut self,
        id: &QueueId,
    ) -> Option<(&mut Queue, &RandomState, &mut Segments)> {
        let queue = self.queues.get_mut(id)?;
        Some((queue, &self.hasher, &mut self.segments))
    }

    /// Removes a queue while file `active` is being written; tells whether there was one.
    pub(super) fn remove_queue(&mut self, id: QueueId, active: u32) -> bool {
        let Some(queue) = self.queues.remove(&id) else {
            return false;
        };
        // Above its origin too: by that, the records of a queue are told from those of its successor.
        self.floor = self.floor.max(queue.next_cursor()).max(queue.origin() + 1);
        queue.dissolve(&mut self.segments);
        self.set_removed(
            id,
            Removed {
                floor: self.floor,
                removed_in: active,
                recorded_in: None,
            },
        );
        true
    }

    /// Notes a removed queue, in place of what was noted before.
    pub(super) fn set_removed(&mut self, id: QueueId, removed: Removed) {
        self.drop_removed(&id);
        self.removed.insert(id, removed);
    }

    /// Forgets that a queue was removed.
    pub(super) fn drop_removed(&mut self, id: &QueueId) {
        if let Some(Removed {
            recorded_in: Some(segment),
            ..
        }) = self.removed.remove(id)
        {
            self.segments
                .debit(segment, super::record::REMOVED_FRAME_LEN as u64);
        }
    }

    /// Whether some other file than `except` is as old as the removal, so that it must be remembered still.
    pub(super) fn removal_matters(&self, removed: &Removed, except: u32) -> bool {
        self.segments
            .numbers()
            .any(|number| number != except && number <= removed.removed_in)
    }

    /// Gives up a packet that can't be read; tells whether it was kept in just this place.
    pub(super) fn lose(&mut self, id: &QueueId, cursor: u64, place: Place) -> bool {
        self.parts(id)
            .is_some_and(|(queue, _, segments)| queue.lose(cursor, place, segments))
    }

    /// Gives up what still points into a file; returns how many packets went, and the queues to record anew.
    pub(super) fn lose_segment(&mut self, number: u32) -> (u64, Vec<QueueId>) {
        let mut lost = 0;
        let mut unrecorded = Vec::new();
        for (id, queue) in &mut self.queues {
            lost += queue.lose_segment(number, &mut self.segments);
            if let Some(recorded) = queue
                .recorded
                .take_if(|recorded| recorded.segment == number)
            {
                self.segments.debit(number, u64::from(recorded.frame_len));
                unrecorded.push(*id);
            }
        }
        for (id, removed) in &mut self.removed {
            if removed
                .recorded_in
                .take_if(|recorded_in| *recorded_in == number)
                .is_some()
            {
                self.segments
                    .debit(number, super::record::REMOVED_FRAME_LEN as u64);
                unrecorded.push(*id);
            }
        }
        (lost, unrecorded)
    }
}
