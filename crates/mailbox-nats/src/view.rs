//! What the stream says, in memory: every process applies the same messages in the same order.
//!
//! Only the follower changes the view, so that a reader never sees a packet before an older one.
//! A packet costs about 80 bytes here; the packet itself stays at the servers.

use std::collections::{BTreeMap, HashMap};

use mailbox::{Arrivals, Cursor, PacketHash, QueueId};
use tokio::sync::watch;

use crate::message::Event;
use crate::state::QueueState;

/// A packet that is kept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kept {
    pub(crate) hash: PacketHash,
    pub(crate) stored_at_ms: u64,
    pub(crate) len: u32,
}

/// Room of a queue that appends under way have taken.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Reserved {
    pub(crate) count: u64,
    pub(crate) bytes: u64,
}

/// One queue.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    pub(crate) packets: BTreeMap<u64, Kept>,
    pub(crate) bytes: u64,
    pub(crate) reserved: Reserved,
    pub(crate) state: QueueState,
    /// Sequence of the message with that state; 0 for none.
    pub(crate) state_at: u64,
    /// The last cursor met.
    last: u64,
}

impl Queue {
    pub(crate) fn count(&self) -> u64 {
        self.packets.len() as u64
    }

    /// The last cursor given out, as far as it is remembered.
    pub(crate) fn last(&self) -> u64 {
        let marks = self.state.devices.iter().map(|device| device.acknowledged);
        marks.fold(
            self.last.max(self.state.live_from.saturating_sub(1)),
            u64::max,
        )
    }

    pub(crate) fn device_is_known(&self, device: mailbox::DeviceId) -> bool {
        self.state.devices.iter().any(|known| known.id == device)
    }

    /// Whether nothing is kept and nobody reads.
    pub(crate) fn is_idle(&self) -> bool {
        self.packets.is_empty() && self.state.devices.is_empty() && self.reserved.count == 0
    }

    /// Where the packets begin that are younger than a time.
    pub(crate) fn first_younger(&self, limit_ms: Option<u64>) -> Option<u64> {
        let old = |kept: &Kept| limit_ms.is_some_and(|limit_ms| kept.stored_at_ms <= limit_ms);
        let old = self.packets.iter().take_while(|(_, kept)| old(kept));
        old.last().map(|(cursor, _)| cursor + 1)
    }

    fn keep_from(&mut self, cursor: u64) {
        let kept = self.packets.split_off(&cursor);
        let dropped = std::mem::replace(&mut self.packets, kept);
        self.bytes -= dropped
            .values()
            .map(|kept| u64::from(kept.len))
            .sum::<u64>();
    }
}

/// All queues.
#[derive(Debug, Default)]
pub(crate) struct View {
    pub(crate) queues: HashMap<QueueId, Queue>,
    listeners: HashMap<QueueId, watch::Sender<Cursor>>,
    pub(crate) closed: bool,
}

impl View {
    /// Applies the message of a sequence.
    pub(crate) fn apply(&mut self, sequence: u64, event: Event) {
        match event {
            Event::Packet {
                queue: id,
                hash,
                stored_at_ms,
                len,
            } => {
                let queue = self.queues.entry(id).or_default();
                queue.last = queue.last.max(sequence);
                let kept = Kept {
                    hash,
                    stored_at_ms,
                    len,
                };
                // The follower may begin anew and meet some messages twice.
                if sequence >= queue.state.live_from
                    && queue.packets.insert(sequence, kept).is_none()
                {
                    queue.bytes += u64::from(len);
                    self.announce(&id, sequence);
                }
            }
            Event::Mark => {}
            Event::Gone { queue, cursor } => {
                let queue = self.queues.entry(queue).or_default();
                queue.last = queue.last.max(cursor);
            }
            Event::State { queue: id, state } => {
                let queue = self.queues.entry(id).or_default();
                if sequence < queue.state_at {
                    return;
                }
                queue.state_at = sequence;
                queue.state = state;
                if queue.state.removed {
                    queue.state.origin = sequence;
                    queue.state.live_from = sequence;
                    self.listeners.remove(&id);
                }
                let live_from = queue.state.live_from;
                queue.keep_from(live_from);
            }
        }
    }

    /// Takes what a queue's state really is, where the server keeps another than was followed.
    pub(crate) fn forget_state(&mut self, id: &QueueId, seen_at: u64) {
        if let Some(queue) = self.queues.get_mut(id)
            && queue.state_at == seen_at
        {
            queue.state_at = 0;
        }
    }

    fn announce(&mut self, id: &QueueId, cursor: u64) {
        if let Some(listeners) = self.listeners.get(id)
            && listeners.send(Cursor::new(cursor)).is_err()
        {
            self.listeners.remove(id);
        }
    }

    /// Wakes whoever waits for a queue's packets.
    pub(crate) fn subscribe(&mut self, id: QueueId) -> Arrivals {
        let last = Cursor::new(self.queues.get(&id).map_or(0, Queue::last));
        if self.closed {
            return Arrivals::new(watch::channel(last).1);
        }
        let listeners = self.listeners.entry(id);
        Arrivals::new(
            listeners
                .or_insert_with(|| watch::channel(last).0)
                .subscribe(),
        )
    }

    /// Lets go of queues without packets and devices whose last state the servers have forgotten.
    pub(crate) fn forget_idle(&mut self, written_before_ms: u64) {
        self.queues
            .retain(|_, queue| !queue.is_idle() || queue.state.written_ms > written_before_ms);
        self.listeners
            .retain(|_, listeners| listeners.receiver_count() > 0);
    }

    /// Ends everything that waits.
    pub(crate) fn close(&mut self) {
        self.closed = true;
        self.listeners.clear();
    }
}
