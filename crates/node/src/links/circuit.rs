//! Circuits: requests whose two ends both go on sending, spliced blind.
//!
//! A node copies a circuit's bytes once, from what came over one connection into the batch that waits for
//! the other one's writer. It keeps none of them: an end sends no more than the far end of the whole circuit has
//! granted, and what was granted is passed on only while the connection that it will come out of is not congested.
//!
//! A circuit has the end that asked for it and the end that it goes on to. Each is named by a request on a
//! link, or is this node itself.

use std::fmt;
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};
use std::sync::{Arc, Weak};

use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use protocol::answer::{Answer, Refusal};
use protocol::command::Ties;
use protocol::frame::Header;
use protocol::link::INITIAL_CREDIT_BYTES;
use streams::CircuitEvent;
use tokio::sync::mpsc;

use super::accept::Serving;
use super::dial;
use super::queue::{NotQueued, Queue};
use crate::forward::seal_one;
use crate::links::{Peer, Reply};

/// What one end may have been granted in all and not used: what a far end that reads nothing can make wait on the way.
const MAX_GRANTED_BYTES: i64 = 4 << 20;
/// Bytes of a circuit that come at once at least: counter, note and tag, below which no frame of a stream is. Credit counts
/// no headers, so that with less in each the headers would be what fills queues.
const MIN_DATA_BYTES: usize = 56;

/// One of the two ends of a circuit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Whose {
    /// The end that asked for it.
    Asker,
    /// The end that it goes on to.
    Asked,
}

/// A circuit through this node; shared by the links it crosses.
pub(crate) struct Circuit {
    asker: End,
    asked: End,
    /// What seals the word with which the far end ends it, innermost last.
    ties: Mutex<Vec<Ties>>,
}

struct End {
    side: Mutex<Side>,
    /// Bytes that may still come from here.
    allowed: AtomicI64,
    /// How many of them it has not been told of. Whoever makes it more than none sees to it that it is told.
    untold: AtomicU32,
}

/// Where an end lies.
enum Side {
    /// Nobody knows yet; what is for it waits, no more than the first credit.
    Unknown {
        data: Vec<Bytes>,
        granted: u32,
    },
    /// Beyond a link that another node or a client dialled.
    Accepted(Weak<Serving>, u64),
    /// Beyond a link that this node dialled.
    /// Circuits keep the link up, though it be asked for nothing new.
    Dialled(Arc<dial::Shared>, u64),
    /// This node.
    Here(mpsc::UnboundedSender<CircuitEvent>),
    Closed,
}

/// A circuit that ends at this node.
pub(crate) struct Here {
    circuit: Arc<Circuit>,
    whose: Whose,
}

impl fmt::Debug for Circuit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Circuit(…)")
    }
}

impl End {
    fn new(side: Side) -> Self {
        Self {
            side: Mutex::new(side),
            allowed: AtomicI64::new(i64::from(INITIAL_CREDIT_BYTES)),
            untold: AtomicU32::new(0),
        }
    }
}

impl Circuit {
    /// A circuit that is asked for under the number `request` of an accepted link.
    pub(super) fn asked_for(serving: &Arc<Serving>, request: u64) -> Arc<Self> {
        let unknown = Side::Unknown {
            data: Vec::new(),
            granted: 0,
        };
        Arc::new(Self {
            asker: End::new(Side::Accepted(Arc::downgrade(serving), request)),
            asked: End::new(unknown),
            ties: Mutex::default(),
        })
    }

    fn end(&self, whose: Whose) -> &End {
        match whose {
            Whose::Asker => &self.asker,
            Whose::Asked => &self.asked,
        }
    }

    /// Who asked for the circuit, as far as this node can see.
    pub(crate) fn neighbour(&self) -> Option<Peer> {
        match &*self.asker.side.lock() {
            Side::Accepted(serving, _) => Some(serving.upgrade()?.peer()),
            _ => None,
        }
    }

    /// A layer with these ties was opened on the circuit's way: what the far end says goes back sealed to it.
    pub(crate) fn wrapped_by(&self, ties: Ties) {
        self.ties.lock().push(ties);
    }

    /// The circuit goes on over a dialled link.
    pub(super) fn goes_on(self: &Arc<Self>, link: Arc<dial::Shared>, request: u64) {
        self.join(Side::Dialled(link, request));
    }

    /// The circuit ends here: what comes over it, and what goes.
    pub(crate) fn ends_here(self: &Arc<Self>) -> streams::Circuit {
        let (to, events) = mpsc::unbounded_channel();
        self.join(Side::Here(to));
        let here = Here {
            circuit: Arc::clone(self),
            whose: Whose::Asked,
        };
        streams::Circuit::new(here, events)
    }

    fn join(self: &Arc<Self>, side: Side) {
        let outcome = {
            let mut asked = self.asked.side.lock();
            match std::mem::replace(&mut *asked, side) {
                Side::Unknown { data, granted } => {
                    let mut outcome = Ok(());
                    for bytes in data {
                        outcome = outcome.and(asked.take(&bytes));
                    }
                    if granted > 0 {
                        asked.grant(granted);
                    }
                    outcome
                }
                closed => {
                    let joined = std::mem::replace(&mut *asked, closed);
                    joined.tell(&Answer::Done.encode());
                    Ok(())
                }
            }
        };
        if outcome.is_err() {
            self.break_off(Refusal::Busy);
        }
    }

    /// Bytes that came from an end go on to the other one.
    pub(super) fn data(&self, from: Whose, bytes: &[u8]) {
        if bytes.len() < MIN_DATA_BYTES {
            return self.break_off(Refusal::Malformed);
        }
        let source = self.end(from);
        // Frames are counted whole: the last may go below what was granted, the next may not begin there.
        let allowed = source
            .allowed
            .fetch_sub(bytes.len() as i64, Ordering::AcqRel);
        if allowed <= 0 {
            return self.break_off(Refusal::Malformed);
        }
        let taken = self.end(from.other()).side.lock().take(bytes);
        if taken.is_err() {
            self.break_off(Refusal::Busy);
        }
    }

    /// An end takes that many bytes more.
    pub(super) fn grant(self: &Arc<Self>, from: Whose, bytes: u32) {
        let other = self.end(from.other());
        let raised = |left: i64| (left + i64::from(bytes)).min(MAX_GRANTED_BYTES).max(left);
        let before = other
            .allowed
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |left| {
                Some(raised(left))
            });
        let more = before.map_or(0, |left| (raised(left) - left) as u32);
        // What is to be told already will be told together: of thousands of small credits no more than one waits.
        if more == 0 || other.untold.fetch_add(more, Ordering::AcqRel) > 0 {
            return;
        }
        // What comes for it will leave by its connection. While that is congested, nobody is asked for more.
        let queue = self.end(from).side.lock().queue();
        if queue.is_some_and(|queue| queue.withhold(self, from)) {
            return;
        }
        self.pass_on(from);
    }

    /// Tells the other end what `from` has granted, as soon as there is room for that.
    pub(super) fn pass_on(self: &Arc<Self>, from: Whose) {
        let other = self.end(from.other());
        let queue = other.side.lock().queue();
        if queue.is_some_and(|queue| queue.postpone(self, from)) {
            return;
        }
        let bytes = other.untold.swap(0, Ordering::AcqRel);
        if bytes > 0 {
            other.side.lock().grant(bytes);
        }
    }

    /// An end is gone; the other one is told, with the far end's answer if there is one.
    pub(crate) fn close(&self, from: Whose, answer: Option<&[u8]>) {
        *self.end(from).side.lock() = Side::Closed;
        let other = {
            let mut side = self.end(from.other()).side.lock();
            std::mem::replace(&mut *side, Side::Closed)
        };
        if from == Whose::Asker {
            return other.tell(&[]);
        }
        let mut word = match answer {
            Some(answer) => Bytes::copy_from_slice(answer),
            None => Answer::Done.encode().into(),
        };
        for ties in self.ties.lock().drain(..).rev() {
            if let Reply::Answer(sealed) = seal_one(&ties, &word, true) {
                word = sealed;
            }
        }
        other.tell(&word);
    }

    /// This node's own word, which is sealed as far as it has to be, ends it before it has begun.
    pub(super) fn refuse_sealed(&self, answer: &[u8]) {
        self.ties.lock().clear();
        self.close(Whose::Asked, Some(answer));
    }

    /// This node ends it, in both directions.
    fn break_off(&self, refusal: Refusal) {
        let asked = {
            let mut side = self.asked.side.lock();
            std::mem::replace(&mut *side, Side::Closed)
        };
        asked.tell(&[]);
        self.close(Whose::Asked, Some(&Answer::Refused(refusal).encode()));
    }
}

impl Whose {
    fn other(self) -> Self {
        match self {
            Self::Asker => Self::Asked,
            Self::Asked => Self::Asker,
        }
    }
}

impl Side {
    fn take(&mut self, bytes: &[u8]) -> Result<(), NotQueued> {
        match self {
            Self::Unknown { data, .. } => {
                data.push(Bytes::copy_from_slice(bytes));
                Ok(())
            }
            Self::Accepted(serving, request) => match serving.upgrade() {
                Some(serving) => serving.queue().data(Header::data(*request, 0), bytes),
                None => Err(NotQueued::Ended),
            },
            Self::Dialled(link, request) => link.queue().data(Header::data(*request, 0), bytes),
            Self::Here(to) => {
                let frame = CircuitEvent::Frame(BytesMut::from(bytes));
                to.send(frame).map_err(|_| NotQueued::Ended)
            }
            // Whoever closed it was told, or told us.
            Self::Closed => Ok(()),
        }
    }

    fn grant(&mut self, bytes: u32) {
        match self {
            Self::Unknown { granted, .. } => *granted = granted.saturating_add(bytes),
            Self::Accepted(serving, request) => {
                if let Some(serving) = serving.upgrade() {
                    serving.queue().insist(Header::credit(*request, bytes));
                }
            }
            Self::Dialled(link, request) => {
                link.queue().insist(Header::credit(*request, bytes));
            }
            Self::Here(to) => {
                let _gone = to.send(CircuitEvent::Credit(bytes));
            }
            Self::Closed => {}
        }
    }

    fn queue(&self) -> Option<Queue> {
        match self {
            Self::Accepted(serving, _) => Some(serving.upgrade()?.queue().clone()),
            Self::Dialled(link, _) => Some(link.queue().clone()),
            _ => None,
        }
    }

    /// Tells whoever is there that the circuit is over.
    fn tell(self, answer: &[u8]) {
        match self {
            Self::Accepted(serving, request) => {
                if let Some(serving) = serving.upgrade() {
                    serving.end_circuit(request, answer);
                }
            }
            Self::Dialled(link, request) => link.cancel(request),
            // Dropped: that closes it.
            Self::Here(_) | Self::Unknown { .. } | Self::Closed => {}
        }
    }
}

impl streams::CircuitSender for Here {
    fn send(&self, frame: &[u8]) {
        self.circuit.data(self.whose, frame);
    }

    fn grant(&self, bytes: u32) {
        self.circuit.grant(self.whose, bytes);
    }
}

impl Drop for Here {
    fn drop(&mut self) {
        self.circuit.close(self.whose, None);
    }
}
