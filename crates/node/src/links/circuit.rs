//! Circuits: requests whose two ends both go on sending, spliced blind.
//!
//! A node copies a circuit's bytes once, from what came over one connection into the batch that waits for
//! the other one's writer. It keeps none of them: an end sends no more than the far end of the whole circuit has
//! granted, and what was granted is passed on only while the connection that it will come out of is not congested.
//!
//! A circuit has the end that asked for it and the end that it goes on to. Each is named by a request on a
//! link, or is this node itself. Two circuits that were asked for can be joined: then each goes on to the asker of the
//! other, as over a link of no length, and what holds of data and credit holds of each by itself.
//!
//! **Invariant**: a side's lock is held while another circuit is called only where that takes the lock of its asker's side and
//! ends nothing; so no two threads wait for each other.

mod side;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;
use protocol::answer::{Answer, Refusal};
use protocol::command::Ties;
use protocol::link::INITIAL_CREDIT_BYTES;
use thiserror::Error;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use self::side::Side;
use super::accept::Serving;
use super::dial;
use crate::forward::seal_one;
use crate::links::{Peer, Reply};
use crate::rendezvous::Pairing;

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
    layers: Mutex<Vec<Layer>>,
}

/// A layer that was opened on the circuit's way.
struct Layer {
    ties: Ties,
    /// Whether there was another inside.
    wraps: bool,
}

struct End {
    side: Mutex<Side>,
    /// Bytes that may still come from here.
    allowed: AtomicI64,
    /// How many of them it has not been told of. Whoever makes it more than none sees to it that it is told.
    untold: AtomicU32,
}

/// A circuit that ends at this node.
pub(crate) struct Here {
    circuit: Arc<Circuit>,
    whose: Whose,
}

/// One of two circuits was over before they were joined.
#[derive(Debug, Error)]
#[error("the circuit is over")]
pub(crate) struct NotJoined;

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
        Self::from_asker(Side::Accepted(Arc::downgrade(serving), request))
    }

    fn from_asker(side: Side) -> Arc<Self> {
        let unknown = Side::Unknown {
            data: Vec::new(),
            granted: 0,
            sought: None,
        };
        Arc::new(Self {
            asker: End::new(side),
            asked: End::new(unknown),
            layers: Mutex::default(),
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
        self.layers.lock().push(Layer { ties, wraps: true });
    }

    /// The same, of the innermost layer.
    pub(crate) fn led_here_by(&self, ties: Ties) {
        let wraps = false;
        self.layers.lock().push(Layer { ties, wraps });
    }

    /// Begins to look for the other end; what is returned is cancelled when the circuit is over, or has found it. None if
    /// it is over.
    pub(crate) fn seek(&self) -> Option<CancellationToken> {
        match &mut *self.asked.side.lock() {
            Side::Unknown { sought, .. } => {
                let over = CancellationToken::new();
                *sought = Some(over.clone().drop_guard());
                Some(over)
            }
            _ => None,
        }
    }

    /// The circuit goes on over a dialled link.
    pub(super) fn goes_on(self: &Arc<Self>, link: Arc<dial::Shared>, request: u64) {
        self.leads_to(Side::Dialled(link, request));
    }

    /// The circuit ends here: what comes over it, and what goes.
    pub(crate) fn ends_here(self: &Arc<Self>) -> streams::Circuit {
        let (to, events) = mpsc::unbounded_channel();
        self.leads_to(Side::Here(to));
        let here = Here {
            circuit: Arc::clone(self),
            whose: Whose::Asked,
        };
        streams::Circuit::new(here, events)
    }

    fn leads_to(self: &Arc<Self>, side: Side) {
        let outcome = {
            let mut asked = self.asked.side.lock();
            match std::mem::replace(&mut *asked, side) {
                Side::Unknown { data, granted, .. } => {
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

    /// Joins a caller's circuit and a publisher's, which were asked for both and go nowhere yet: what comes over one goes
    /// out over the other, and the end of one is that of the other.
    ///
    /// # Errors
    /// [`NotJoined`] if one of them is over.
    pub(crate) fn join(
        caller: &Arc<Self>,
        publisher: &Arc<Self>,
        pairing: &Pairing,
    ) -> Result<(), NotJoined> {
        let mut carried = Ok(());
        let granted = {
            // Nobody else holds two of these, and a circuit that calls never publishes.
            let (mut called, mut published) =
                (caller.asked.side.lock(), publisher.asked.side.lock());
            let (Side::Unknown { .. }, Side::Unknown { .. }) = (&*called, &*published) else {
                return Err(NotJoined);
            };
            let beyond = |circuit: &Arc<Self>| Side::Joined(Arc::clone(circuit), pairing.clone());
            let called = std::mem::replace(&mut *called, beyond(publisher));
            let published = std::mem::replace(&mut *published, beyond(caller));
            // Before the locks are open, so that nothing overtakes it.
            [(called, publisher), (published, caller)].map(|(came, circuit)| {
                let Side::Unknown { data, granted, .. } = came else {
                    return (0, circuit);
                };
                for bytes in data {
                    if carried.is_ok() {
                        carried = circuit.carry(Whose::Asked, &bytes);
                    }
                }
                (granted, circuit)
            })
        };
        for (bytes, circuit) in granted {
            if bytes > 0 {
                circuit.grant(Whose::Asked, bytes);
            }
        }
        if let Err(refusal) = carried {
            caller.break_off(*refusal);
        }
        Ok(())
    }

    /// Bytes that came from an end go on to the other one.
    pub(super) fn data(&self, from: Whose, bytes: &[u8]) {
        if let Err(refusal) = self.carry(from, bytes) {
            self.break_off(*refusal);
        }
    }

    /// The same; whoever calls breaks the circuit off where that can't be.
    fn carry(&self, from: Whose, bytes: &[u8]) -> Result<(), Box<Refusal>> {
        if bytes.len() < MIN_DATA_BYTES {
            return Err(Refusal::Malformed.into());
        }
        let source = self.end(from);
        // Frames are counted whole: the last may go below what was granted, the next may not begin there.
        let allowed = source
            .allowed
            .fetch_sub(bytes.len() as i64, Ordering::AcqRel);
        if allowed <= 0 {
            return Err(Refusal::Malformed.into());
        }
        let joined = {
            let mut side = self.end(from.other()).side.lock();
            match side.joined() {
                Some(joined) => joined,
                None => return side.take(bytes).map_err(|_| Refusal::Busy.into()),
            }
        };
        joined.carry(Whose::Asked, bytes)
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
        if bytes == 0 {
            return;
        }
        let joined = {
            let mut side = other.side.lock();
            match side.joined() {
                Some(joined) => joined,
                None => return side.grant(bytes),
            }
        };
        joined.grant(Whose::Asked, bytes);
    }

    /// An end is gone; the other one is told, with the far end's answer if there is one.
    pub(crate) fn close(&self, from: Whose, answer: Option<&[u8]>) {
        drop(self.leave(from));
        let other = self.leave(from.other());
        // Only who finds it open has a word for it to seal.
        if from == Whose::Asker || matches!(other, Side::Closed) {
            return other.tell(&[]);
        }
        let mut word = match answer {
            Some(answer) => Bytes::copy_from_slice(answer),
            None => Answer::Done.encode().into(),
        };
        for Layer { ties, wraps } in self.layers.lock().drain(..).rev() {
            if let Reply::Answer(sealed) = seal_one(&ties, &word, wraps) {
                word = sealed;
            }
        }
        other.tell(&word);
    }

    /// This node's word in the place of a far end ends it; it is sealed as that.
    pub(crate) fn refuse(&self, answer: &[u8]) {
        self.close(Whose::Asked, Some(answer));
    }

    /// This node's own word, which is sealed as far as it has to be, ends it before it has begun.
    pub(super) fn refuse_sealed(&self, answer: &[u8]) {
        drop(self.leave(Whose::Asked));
        self.leave(Whose::Asker).tell(answer);
    }

    /// This node ends it, in both directions.
    fn break_off(&self, refusal: Refusal) {
        self.leave(Whose::Asked).tell(&[]);
        self.close(Whose::Asked, Some(&Answer::Refused(refusal).encode()));
    }

    fn leave(&self, whose: Whose) -> Side {
        std::mem::replace(&mut *self.end(whose).side.lock(), Side::Closed)
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
