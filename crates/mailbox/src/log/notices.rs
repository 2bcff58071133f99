//! Who wants to know of packets in which queue.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use tokio::sync::watch;

use crate::queue::{Cursor, QueueId};
use crate::store::Arrivals;

/// How many subscriptions are made before those of nobody are swept out again.
const SWEEP_EVERY: usize = 1024;

/// The subscriptions of a store.
#[derive(Default)]
pub(super) struct Notices {
    channels: Mutex<HashMap<QueueId, watch::Sender<Cursor>>>,
    /// Length of the map, so that nobody's packets cost no lock.
    count: AtomicUsize,
    subscribed: AtomicUsize,
}

impl Notices {
    pub(super) fn subscribe(&self, queue: QueueId, last: Cursor) -> Arrivals {
        let mut channels = self.channels.lock();
        if self.subscribed.fetch_add(1, Ordering::Relaxed) % SWEEP_EVERY == SWEEP_EVERY - 1 {
            channels.retain(|_, sender| sender.receiver_count() > 0);
        }
        let arrivals = Arrivals::new(
            channels
                .entry(queue)
                .or_insert_with(|| watch::Sender::new(last))
                .subscribe(),
        );
        self.count.store(channels.len(), Ordering::Release);
        arrivals
    }

    /// Wakes the readers of queues, except those who have subscribed since a packet became readable.
    pub(super) fn announce(&self, news: &[(QueueId, Cursor)]) {
        if self.count.load(Ordering::Acquire) == 0 {
            return;
        }
        let mut channels = self.channels.lock();
        for (queue, cursor) in news {
            let Some(sender) = channels.get(queue) else {
                continue;
            };
            if sender.receiver_count() == 0 {
                channels.remove(queue);
                continue;
            }
            sender.send_if_modified(|last| {
                let rises = cursor > last;
                if rises {
                    *last = *cursor;
                }
                rises
            });
        }
        self.count.store(channels.len(), Ordering::Release);
    }

    /// Ends the subscriptions of a queue.
    pub(super) fn end(&self, queue: &QueueId) {
        self.channels.lock().remove(queue);
    }

    /// Ends all subscriptions.
    pub(super) fn end_all(&self) {
        self.channels.lock().clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Senders are answered first: a reader may come, and see their packet, before it is announced.
    #[test]
    fn reader_who_subscribed_knowing_a_packet_is_not_woken_for_it() {
        let (notices, queue) = (Notices::default(), QueueId::new([1; 20]));
        let knows = |cursor| {
            let mut channels = notices.channels.lock();
            let channel = channels.get_mut(&queue).map(|sender| sender.subscribe());
            channel.is_some_and(|channel| *channel.borrow() == Cursor::new(cursor))
        };
        let _reader = notices.subscribe(queue, Cursor::new(5));
        let woken = notices.channels.lock().get(&queue).map(|s| s.subscribe());
        let woken = woken.unwrap();
        notices.announce(&[(queue, Cursor::new(5))]);
        assert!(!woken.has_changed().unwrap() && knows(5));
        notices.announce(&[(queue, Cursor::new(6))]);
        assert!(woken.has_changed().unwrap() && knows(6));
    }
}
