//! Who waits for what on one link.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::links::Reply;

/// Requests that wait for their answer at most.
const MAX_ASKED: usize = 4_096;
/// An answer that takes longer is overdue. Most take milliseconds; a dial behind it takes five seconds.
const OVERDUE: Duration = Duration::from_secs(6);
/// A peer that owes more overdue answers than this is asked no more until it answers: otherwise one node
/// that answers nothing would fill the queues of all who pass on to it, and with them the links between
/// those. A mailbox may owe 320, one for each route that waits for the ledger.
const MAX_OVERDUE: usize = 512;
/// Items of one stream that wait for their reader; credit keeps it below this.
const STREAM_ITEMS: usize = 64;
/// Streams on one link at most.
const MAX_STREAMS: usize = 65_536;

/// Requests without an answer, and streams under way, by the number of their request.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    asked: BTreeMap<u64, (Instant, oneshot::Sender<Reply>)>,
    streams: HashMap<u64, mpsc::Sender<Bytes>>,
}

impl Waiting {
    /// Begins to wait for the answer to `request`, a number above all before; `None` if too many wait.
    pub(super) fn begin(&mut self, request: u64, now: Instant) -> Option<oneshot::Receiver<Reply>> {
        // Numbers rise with time, so the first are the oldest.
        let owes_much = self
            .asked
            .values()
            .nth(MAX_OVERDUE)
            .is_some_and(|(since, _)| now.saturating_duration_since(*since) > OVERDUE);
        if owes_much || self.asked.len() >= MAX_ASKED {
            return None;
        }
        let (asker, answer) = oneshot::channel();
        self.asked.insert(request, (now, asker));
        Some(answer)
    }

    /// Gives an answer to who waits for it; it ends a stream.
    pub(super) fn answer(&mut self, request: u64, answer: Bytes) {
        if let Some((_, asker)) = self.asked.remove(&request) {
            let _gone = asker.send(Reply::Answer(answer));
        } else if let Some(items) = self.streams.remove(&request) {
            // The last of a stream may be an answer, if the far end refuses midway.
            let _gone = items.try_send(answer);
        }
    }

    /// Gives an item to the stream's reader; false if the far end has to be told that there is none.
    pub(super) fn item(&mut self, request: u64, item: Bytes, last: bool) -> bool {
        if let Some((_, asker)) = self.asked.remove(&request) {
            let (items, reader) = mpsc::channel(STREAM_ITEMS);
            let _first = items.try_send(item);
            let is_read =
                self.streams.len() < MAX_STREAMS && asker.send(Reply::Stream(reader)).is_ok();
            if is_read && !last {
                self.streams.insert(request, items);
            }
            return is_read || last;
        }
        let Some(items) = self.streams.get(&request) else {
            // Cancelled, and the far end has been told.
            return true;
        };
        let sent = items.try_send(item).is_ok();
        if !sent || last {
            self.streams.remove(&request);
        }
        sent || last
    }

    /// Stops waiting; says whether there was something to wait for.
    pub(super) fn remove(&mut self, request: u64) -> bool {
        self.asked.remove(&request).is_some() || self.streams.remove(&request).is_some()
    }

    /// The link has ended: whoever waits learns it.
    pub(super) fn clear(&mut self) {
        self.asked.clear();
        self.streams.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peer_that_answers_nothing_is_asked_no_more_until_it_does() {
        let mut waiting = Waiting::default();
        let mut answers = Vec::new();
        let now = Instant::now();
        for request in 0..=MAX_OVERDUE as u64 {
            answers.push(waiting.begin(request, now).unwrap());
        }
        assert!(waiting.begin(10_000, now + OVERDUE).is_some());
        let later = now + OVERDUE + Duration::from_millis(1);
        assert!(waiting.begin(10_001, later).is_none());
        waiting.answer(0, Bytes::new());
        assert!(waiting.begin(10_002, later).is_some());
    }

    #[tokio::test]
    async fn streams_that_last_are_no_overdue_answers() {
        let mut waiting = Waiting::default();
        let mut readers = Vec::new();
        for request in 0..2 * MAX_ASKED as u64 {
            let answer = waiting.begin(request, Instant::now()).unwrap();
            assert!(waiting.item(request, Bytes::new(), false));
            readers.push(answer.await.unwrap());
        }
        assert_eq!((waiting.asked.len(), waiting.streams.len()), (0, 8192));
        drop(readers);
        assert!(!waiting.item(7, Bytes::new(), false), "nobody reads it");
        assert!(waiting.item(7, Bytes::new(), false), "said once");
        assert!(waiting.remove(8) && !waiting.remove(8) && !waiting.remove(7));
    }

    #[test]
    fn stream_that_sends_more_than_it_was_granted_is_over() {
        let mut waiting = Waiting::default();
        let mut answer = waiting.begin(1, Instant::now()).unwrap();
        for _ in 0..STREAM_ITEMS {
            assert!(waiting.item(1, Bytes::new(), false));
        }
        assert!(!waiting.item(1, Bytes::new(), false));
        assert!(waiting.streams.is_empty());
        assert!(matches!(answer.try_recv(), Ok(Reply::Stream(_))));
    }
}
