//! Who waits for what on one link.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use protocol::link::Incoming;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::links::Reply;
use crate::links::circuit::{Circuit, Whose};
use crate::links::transit::Passing;

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
/// Circuits on one link at most.
const MAX_CIRCUITS: usize = 65_536;

/// Requests without an answer, and streams under way, by the number of their request.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    asked: HashMap<u64, Asked>,
    streams: HashMap<u64, mpsc::Sender<Bytes>>,
    circuits: HashMap<u64, Arc<Circuit>>,
    /// Until then not more than [`MAX_OVERDUE`] can be overdue: whatever comes and goes, that many of the
    /// oldest are younger.
    at_ease_until: Option<Instant>,
}

#[derive(Debug)]
struct Asked {
    since: Instant,
    until: Instant,
    by: Asker,
}

/// Who waits for an answer.
#[derive(Debug)]
enum Asker {
    Task(oneshot::Sender<Reply>),
    Link(Passing),
}

/// Who gets an answer.
#[derive(Debug)]
pub(super) enum Asking {
    Task(oneshot::Sender<Reply>),
    Link(Passing),
    /// The last of a stream may be an answer, if the far end refuses midway.
    Stream(mpsc::Sender<Bytes>),
    /// An answer is a circuit's end.
    Circuit(Arc<Circuit>),
}

/// What became of an item.
#[derive(Debug)]
pub(super) enum Kept {
    /// It has gone where it belongs, or the far end knows that nobody reads.
    Yes,
    /// Nobody reads it, or it is more than was granted: the far end has to be told.
    No,
    /// Who asked wanted no stream.
    Unasked(Passing),
}

impl Asking {
    /// Gives the answer to who waits for it; it ends a stream.
    pub(super) fn answer(self, frame: Incoming) {
        match self {
            Self::Task(asker) => {
                let _gone = asker.send(Reply::Answer(frame.detached().payload));
            }
            Self::Link(passing) => passing.answer(&frame.payload),
            Self::Stream(items) => {
                let _gone = items.try_send(frame.detached().payload);
            }
            Self::Circuit(circuit) => circuit.close(Whose::Asked, Some(&frame.payload)),
        }
    }
}

impl Waiting {
    /// Begins to wait for the answer to `request`, for `patience` at most; `None` if too many wait.
    pub(super) fn begin(
        &mut self,
        request: u64,
        now: Instant,
        patience: Duration,
    ) -> Option<oneshot::Receiver<Reply>> {
        if !self.has_room(now) {
            return None;
        }
        let (asker, answer) = oneshot::channel();
        self.insert(request, now, patience, Asker::Task(asker));
        Some(answer)
    }

    /// Begins to wait on behalf of another link; gives the request back if too many wait.
    pub(super) fn begin_for(
        &mut self,
        passing: Passing,
        request: u64,
        now: Instant,
        patience: Duration,
    ) -> Result<(), Passing> {
        if !self.has_room(now) {
            return Err(passing);
        }
        self.insert(request, now, patience, Asker::Link(passing));
        Ok(())
    }

    fn insert(&mut self, request: u64, now: Instant, patience: Duration, by: Asker) {
        let (since, until) = (now, now + patience);
        self.asked.insert(request, Asked { since, until, by });
    }

    fn has_room(&mut self, now: Instant) -> bool {
        if self.asked.len() <= MAX_OVERDUE || self.at_ease_until.is_some_and(|until| now <= until) {
            return self.asked.len() < MAX_ASKED;
        }
        let mut since: Vec<Instant> = self.asked.values().map(|asked| asked.since).collect();
        let (_, decisive, _) = since.select_nth_unstable(MAX_OVERDUE);
        let until = *decisive + OVERDUE;
        self.at_ease_until = Some(until);
        now <= until && self.asked.len() < MAX_ASKED
    }

    /// Takes out who waits for the answer to `request`.
    pub(super) fn take(&mut self, request: u64) -> Option<Asking> {
        if let Some(asked) = self.asked.remove(&request) {
            return Some(match asked.by {
                Asker::Task(asker) => Asking::Task(asker),
                Asker::Link(passing) => Asking::Link(passing),
            });
        }
        if let Some(circuit) = self.circuits.remove(&request) {
            return Some(Asking::Circuit(circuit));
        }
        self.streams.remove(&request).map(Asking::Stream)
    }

    /// Begins a circuit, which has no time to be over by; false if there are too many.
    pub(super) fn begin_circuit(&mut self, request: u64, circuit: &Arc<Circuit>) -> bool {
        let has_room = self.circuits.len() < MAX_CIRCUITS;
        if has_room {
            self.circuits.insert(request, Arc::clone(circuit));
        }
        has_room
    }

    pub(super) fn circuit(&self, request: u64) -> Option<Arc<Circuit>> {
        self.circuits.get(&request).map(Arc::clone)
    }

    /// Gives an item to the stream's reader.
    pub(super) fn item(&mut self, request: u64, item: Bytes, last: bool) -> Kept {
        match self.asked.remove(&request).map(|asked| asked.by) {
            Some(Asker::Link(passing)) => return Kept::Unasked(passing),
            Some(Asker::Task(asker)) => {
                let (items, reader) = mpsc::channel(STREAM_ITEMS);
                let _first = items.try_send(item);
                let is_read = self.streams.len() < MAX_STREAMS
                    && asker.send(Reply::Stream(reader.into())).is_ok();
                if is_read && !last {
                    self.streams.insert(request, items);
                }
                return Kept::of(is_read || last);
            }
            None => {}
        }
        let Some(items) = self.streams.get(&request) else {
            // Cancelled, and the far end has been told.
            return Kept::Yes;
        };
        let sent = items.try_send(item).is_ok();
        if !sent || last {
            self.streams.remove(&request);
        }
        Kept::of(sent || last)
    }

    /// Takes out what has waited for as long as it may: tasks learn it when what is returned is dropped.
    pub(super) fn expired(&mut self, now: Instant) -> Vec<(u64, Asking)> {
        let late: Vec<u64> = self
            .asked
            .iter()
            .filter_map(|(request, asked)| (asked.until < now).then_some(*request))
            .collect();
        late.into_iter()
            .filter_map(|request| Some((request, self.take(request)?)))
            .collect()
    }

    /// The link has ended: tasks that wait learn it, and who waits on behalf of other links is returned.
    pub(super) fn clear(&mut self) -> (Vec<Passing>, Vec<Arc<Circuit>>) {
        self.streams.clear();
        let asked = self.asked.drain();
        let passings = asked
            .filter_map(|(_, asked)| match asked.by {
                Asker::Link(passing) => Some(passing),
                Asker::Task(_) => None,
            })
            .collect();
        let circuits = self.circuits.drain().map(|(_, circuit)| circuit);
        (passings, circuits.collect())
    }
}

impl Kept {
    fn of(kept: bool) -> Self {
        if kept { Self::Yes } else { Self::No }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn request_that_waited_too_long_is_taken_out_and_its_task_learns_it() {
        let mut waiting = Waiting::default();
        let now = Instant::now();
        let mut early = waiting.begin(1, now, MINUTE).unwrap();
        let mut late = waiting.begin(2, now, 2 * MINUTE).unwrap();
        assert!(waiting.expired(now + MINUTE).is_empty());
        let expired = waiting.expired(now + MINUTE + Duration::from_millis(1));
        assert!(matches!(expired.as_slice(), [(1, Asking::Task(_))]));
        drop(expired);
        let (empty, closed) = (
            oneshot::error::TryRecvError::Empty,
            oneshot::error::TryRecvError::Closed,
        );
        assert_eq!(early.try_recv().err(), Some(closed));
        assert_eq!(late.try_recv().err(), Some(empty));
    }

    #[test]
    fn peer_that_answers_nothing_is_asked_no_more_until_it_does() {
        let mut waiting = Waiting::default();
        let mut answers = Vec::new();
        let now = Instant::now();
        for request in 0..=MAX_OVERDUE as u64 {
            answers.push(waiting.begin(request, now, MINUTE).unwrap());
        }
        assert!(waiting.begin(10_000, now + OVERDUE, MINUTE).is_some());
        let later = now + OVERDUE + Duration::from_millis(1);
        assert!(waiting.begin(10_001, later, MINUTE).is_none());
        assert!(waiting.take(0).is_some());
        assert!(waiting.begin(10_002, later, MINUTE).is_some());
    }

    #[tokio::test]
    async fn streams_that_last_are_no_overdue_answers() {
        let mut waiting = Waiting::default();
        let mut readers = Vec::new();
        for request in 0..2 * MAX_ASKED as u64 {
            let answer = waiting.begin(request, Instant::now(), MINUTE).unwrap();
            assert!(matches!(
                waiting.item(request, Bytes::new(), false),
                Kept::Yes
            ));
            readers.push(answer.await.unwrap());
        }
        assert_eq!((waiting.asked.len(), waiting.streams.len()), (0, 8192));
        drop(readers);
        let unread = waiting.item(7, Bytes::new(), false);
        assert!(matches!(unread, Kept::No), "nobody reads it");
        let again = waiting.item(7, Bytes::new(), false);
        assert!(matches!(again, Kept::Yes), "said once");
        assert!(waiting.take(8).is_some());
        assert!(waiting.take(8).is_none() && waiting.take(7).is_none());
    }

    #[test]
    fn stream_that_sends_more_than_it_was_granted_is_over() {
        let mut waiting = Waiting::default();
        let mut answer = waiting.begin(1, Instant::now(), MINUTE).unwrap();
        for _ in 0..STREAM_ITEMS {
            assert!(matches!(waiting.item(1, Bytes::new(), false), Kept::Yes));
        }
        assert!(matches!(waiting.item(1, Bytes::new(), false), Kept::No));
        assert!(waiting.streams.is_empty());
        assert!(matches!(answer.try_recv(), Ok(Reply::Stream(_))));
    }
}
