//! Carries a packet or a command to a node and brings back what that node says.
//!
//! This is the one place that knows how often to try again and why: another entry when the entry
//! fails, another relay when the relay does, a fresh layer when a clock was wrong, a stamp when one is
//! asked for. Nothing is ever sent twice in the same layer.
//!
//! What comes back is only as good as who said it. An answer sealed by the target itself is final. A
//! refusal that a node on the way could have made up has to come through two of them.

mod attempt;
mod stamping;

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use packet::Packet;
use protocol::NodeId;
use protocol::answer::{Answer, Refusal};
use protocol::command::Subject;
use protocol::rendezvous::{MeetingToken, ServiceTag};
use protocol::stream::OpenStream;
use rand::Rng as _;

use crate::carrier::OwnerKeys;
use crate::clock::Clocks;
use crate::directory::{Directory, Node};
use crate::path::{self, Entries, PathError, Tried};
use crate::transport::{ExchangeError, Reply, Stream, Transport};
use attempt::Paid;
pub(crate) use attempt::{Attempt, Heard, Speaker};

pub use attempt::CommandError;
pub use stamping::StampingError;

/// Paths tried for one load and target.
const MAX_ATTEMPTS: usize = 6;
/// Fresh layers made because of one node's clock for one load and target: its floor may rise meanwhile.
const MAX_CORRECTIONS_PER_NODE: usize = 2;
/// Fresh layers made because of clocks in all. When a whole network was restarted, each relay that is
/// tried may need one.
const MAX_CLOCK_CORRECTIONS: usize = 2 * MAX_ATTEMPTS;
/// Stamps minted for one load and target: what is asked may have risen meanwhile.
const MAX_STAMPS: usize = 2;
/// Nodes on the way that have to agree on a refusal before it is believed.
const WITNESSES: usize = 2;
/// Paths on which an answer is waited for in vain: each takes a minute.
const MAX_SILENCES: usize = 2;
/// First wait after a node was busy; doubles with each further one, with jitter.
const BUSY_WAIT: Duration = Duration::from_millis(150);
/// Longest wait.
const MAX_BUSY_WAIT: Duration = Duration::from_secs(4);

/// What is to be carried.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Load<'a> {
    /// An end-to-end packet, to be stored.
    Packet(&'a Packet),
    /// A question for somebody's certificate.
    LookUp(Subject),
    /// What opens a stream, or resumes one.
    Stream(&'a OpenStream),
    /// An offer of a stream to a service.
    Meet(&'a Offer),
    /// A publisher's answer to an offer.
    Join(MeetingToken),
    /// A request by the owner of an account: CBOR of a `Request`.
    Owner(OwnerKeys<'a>, &'a [u8]),
}

/// An offer that a mailbox is to hand on.
#[derive(Debug)]
pub(crate) struct Offer {
    pub(crate) tag: ServiceTag,
    /// To everybody who serves it.
    pub(crate) everyone: bool,
    pub(crate) packet: Packet,
}

/// How to get there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// Entry, relay, target.
    Relayed,
    /// Entry, then the target, in a layer for the target. The entry is never the target.
    Entry,
    /// The same for exchanges that promise no privacy: the entry may be the target.
    Direct,
    /// The packet as it is, routed by its key ID; promises no privacy either.
    Blind,
}

/// A load, where it goes and what it may cost.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Errand<'a> {
    pub(crate) load: Load<'a>,
    /// None: routed by key ID, or broadcast.
    pub(crate) target: Option<&'a Arc<Node>>,
    pub(crate) way: Way,
    /// Ask for a stream.
    pub(crate) stream: bool,
    /// Stamp that is sent from the start.
    pub(crate) effort: Option<u32>,
    /// Largest effort that is paid for a stamp.
    pub(crate) max_effort: u32,
}

/// Why nothing was brought back.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CarryError {
    /// There are too few nodes.
    #[error(transparent)]
    Path(#[from] PathError),
    /// The command can't be made.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// The stamp that was asked for is too dear or failed.
    #[error(transparent)]
    Stamp(#[from] StampingError),
    /// No exchange with an entry worked.
    #[error("none of the entry nodes could be used")]
    Entry(#[source] ExchangeError),
    /// Every path ended in a refusal.
    #[error("not delivered: {0}")]
    Refused(Box<Refusal>),
    /// Nodes on the way answered what can't be.
    #[error("a node on the way forged an answer")]
    Forged,
}

/// Brings answers; borrowed from the network for one errand.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Courier<'n> {
    pub(crate) transport: &'n Transport,
    pub(crate) directory: &'n Directory,
    pub(crate) entries: &'n Entries,
    pub(crate) clocks: &'n Clocks,
}

/// What the target gave.
#[derive(Debug)]
pub(crate) enum Brought {
    /// An answer that is not a passing refusal.
    Answer(Answer),
    /// A stream and the key that opens its items.
    Stream(Stream, protocol::answer::AnswerKey),
}

/// The entry of an attempt, and its relay.
type WayTaken = (Arc<Node>, Option<Arc<Node>>);

/// The first attempt of an errand, made before its time: a path was chosen and its layers are sealed.
#[derive(Debug)]
pub(crate) struct Prepared {
    attempt: Attempt,
    way: WayTaken,
}

/// What has happened so far on an errand.
#[derive(Debug, Default)]
struct Course {
    prepared: Option<Prepared>,
    tried: Tried,
    /// Nodes whose clocks were corrected, as often as they were.
    corrected: Vec<NodeId>,
    /// The entry and relay to try once more, since nothing but a clock was wrong.
    same_way: Option<WayTaken>,
    stamps: usize,
    busy: u32,
    silences: usize,
    effort: Option<u32>,
    /// The stamp of an end-to-end packet, which stays the same in each layer.
    paid: Option<Paid>,
    /// Refusals that nodes on the way may have made up.
    unproven: Vec<Refusal>,
    last: Option<CarryError>,
}

impl Courier<'_> {
    /// Makes an errand's first attempt, which [`Self::carry_prepared`] will send. `None` where it needs a stamp, or nodes are
    /// missing.
    pub(crate) fn prepare(&self, errand: &Errand<'_>) -> Option<Prepared> {
        if errand.effort.is_some() {
            return None;
        }
        let way = self.choose_way(errand, &Tried::default()).ok()?;
        // Without a stamp to mint it waits for nothing.
        let mut unpaid = None;
        let made = Attempt::make(errand, way.1.as_ref(), None, &mut unpaid, self.clocks);
        let attempt = made.now_or_never()?.ok()?;
        Some(Prepared { attempt, way })
    }

    /// As [`Self::carry_prepared`], with nothing prepared.
    ///
    /// # Errors
    /// [`CarryError`]: the last and most telling reason.
    pub(crate) async fn carry(
        &self,
        errand: &Errand<'_>,
        accept: impl Fn(&Answer) -> bool,
    ) -> Result<Brought, CarryError> {
        self.carry_prepared(errand, None, accept).await
    }

    /// Carries out an errand, trying several paths, the prepared one first. `accept` looks at what is not a refusal, and at
    /// [`Refusal::Superseded`], and says no to what is forged.
    ///
    /// # Errors
    /// [`CarryError`]: the last and most telling reason.
    pub(crate) async fn carry_prepared(
        &self,
        errand: &Errand<'_>,
        prepared: Option<Prepared>,
        accept: impl Fn(&Answer) -> bool,
    ) -> Result<Brought, CarryError> {
        let mut course = Course {
            prepared,
            effort: errand.effort,
            ..Course::default()
        };
        let limit = MAX_ATTEMPTS + MAX_CLOCK_CORRECTIONS + MAX_STAMPS;
        for _ in 0..limit {
            if course.tried.entries.len() + course.tried.relays.len() >= MAX_ATTEMPTS {
                break;
            }
            if let Some(brought) = self.once(errand, &mut course, &accept).await? {
                return Ok(brought);
            }
        }
        Err(course.last.unwrap_or(CarryError::Forged))
    }

    async fn once(
        &self,
        errand: &Errand<'_>,
        course: &mut Course,
        accept: &impl Fn(&Answer) -> bool,
    ) -> Result<Option<Brought>, CarryError> {
        let (attempt, (entry, relay)) = match course.prepared.take() {
            Some(Prepared { attempt, way }) => (attempt, way),
            None => {
                let way = match course.same_way.take() {
                    Some(way) => way,
                    None => self.choose_way(errand, &course.tried)?,
                };
                let paid = &mut course.paid;
                let made =
                    Attempt::make(errand, way.1.as_ref(), course.effort, paid, self.clocks).await?;
                (made, way)
            }
        };
        let asked = self
            .transport
            .ask(&entry, attempt.header(errand.stream), attempt.outer())
            .await;
        let answer = match asked {
            Ok(Reply::Answer(answer)) => answer,
            Ok(Reply::Stream(stream)) => {
                self.entries.worked(&entry.id);
                return Ok(Some(Brought::Stream(stream, attempt.innermost_key())));
            }
            Err(ExchangeError::TooLarge) => {
                return Err(CarryError::Refused(Refusal::TooLarge.into()));
            }
            Err(ExchangeError::NoAnswer) => {
                // Whether entry, relay or target is silent can't be seen from here.
                course.tried.entries.push(entry.id);
                course.tried.relays.extend(relay.as_ref().map(|it| it.id));
                course.silences += 1;
                let error = CarryError::Entry(ExchangeError::NoAnswer);
                if course.silences >= MAX_SILENCES {
                    return Err(error);
                }
                course.last = Some(error);
                return Ok(None);
            }
            Err(error) => {
                tracing::debug!(target: "client::carry", %error, "entry failed");
                self.entries.failed(entry.id);
                course.tried.entries.push(entry.id);
                course.last = Some(CarryError::Entry(error));
                return Ok(None);
            }
        };
        self.entries.worked(&entry.id);
        let heard = attempt.open(answer);
        self.consider(heard, &attempt, (entry, relay), errand, course, accept)
            .await
    }

    /// An entry and, where the errand needs one, a relay.
    fn choose_way(&self, errand: &Errand<'_>, tried: &Tried) -> Result<WayTaken, PathError> {
        let nodes = self.directory.nodes();
        let target = errand.target.map(|target| &**target);
        let may_be_target = matches!(errand.way, Way::Direct | Way::Blind);
        let entry = self.entries.choose(&nodes, target, may_be_target, tried)?;
        let relay = match errand.way {
            Way::Relayed => {
                let rng = &mut rand::thread_rng();
                Some(path::choose_relay(
                    &nodes,
                    &entry,
                    target,
                    &tried.relays,
                    &self.entries.acquainted(),
                    rng,
                )?)
            }
            _ => None,
        };
        Ok((entry, relay))
    }

    /// Decides what an answer means for the errand; `None` is to try again.
    async fn consider(
        &self,
        heard: Heard,
        attempt: &Attempt,
        way: WayTaken,
        errand: &Errand<'_>,
        course: &mut Course,
        accept: &impl Fn(&Answer) -> bool,
    ) -> Result<Option<Brought>, CarryError> {
        let via = way.1.as_ref().unwrap_or(&way.0).id;
        let Heard { answer, speaker } = heard;
        // An acknowledgement proves itself; what a command is answered must come from its node.
        let authentic = speaker == Speaker::Target || matches!(errand.load, Load::Packet(_));
        let refusal = match answer {
            Some(Answer::Refused(refusal)) => refusal,
            Some(answer) if authentic && accept(&answer) => {
                return Ok(Some(Brought::Answer(answer)));
            }
            _ => {
                course.another_way(errand, via, CarryError::Forged);
                return Ok(None);
            }
        };
        // Before the relay's word there is only the entry's about the relay.
        let of_the_way = errand.way == Way::Relayed && speaker == Speaker::Entry;
        match &refusal {
            Refusal::Stale(time) if course.may_correct(&time.node) && attempt.verify_time(time) => {
                self.clocks.learn(time.node, time.time_ms);
                course.corrected.push(time.node);
                course.same_way = Some(way);
                course.last = Some(CarryError::Refused(refusal.into()));
                return Ok(None);
            }
            Refusal::StampRequired { effort } if course.stamps < MAX_STAMPS && !of_the_way => {
                stamping::check(*effort, errand.max_effort)?;
                course.stamps += 1;
                course.effort = Some(*effort);
                course.last = Some(CarryError::Refused(refusal.into()));
                return Ok(None);
            }
            Refusal::Busy | Refusal::Failed => {
                tokio::time::sleep(busy_wait(course.busy)).await;
                course.busy += 1;
            }
            Refusal::Superseded(_) => {
                // The record in it proves itself, or not.
                let answer = Answer::Refused(refusal);
                if accept(&answer) {
                    return Ok(Some(Brought::Answer(answer)));
                }
                course.another_way(errand, via, CarryError::Forged);
                return Ok(None);
            }
            Refusal::Stale(_) | Refusal::Replayed | Refusal::StampRequired { .. } => {}
            _ if of_the_way => {}
            _ => {
                let agreed = course
                    .unproven
                    .iter()
                    .filter(|said| same_kind(said, &refusal))
                    .count()
                    + 1;
                if speaker == Speaker::Target || agreed >= WITNESSES {
                    return Ok(Some(Brought::Answer(Answer::Refused(refusal))));
                }
                course.unproven.push(refusal.clone());
            }
        }
        course.another_way(errand, via, CarryError::Refused(refusal.into()));
        Ok(None)
    }
}

impl Course {
    fn may_correct(&self, node: &NodeId) -> bool {
        let before = self.corrected.iter().filter(|it| *it == node).count();
        before < MAX_CORRECTIONS_PER_NODE && self.corrected.len() < MAX_CLOCK_CORRECTIONS
    }

    /// Counts an attempt against the node that it went through and remembers why it failed.
    fn another_way(&mut self, errand: &Errand<'_>, via: NodeId, error: CarryError) {
        match errand.way {
            Way::Relayed => self.tried.relays.push(via),
            _ => self.tried.entries.push(via),
        }
        self.last = Some(error);
    }
}

fn same_kind(a: &Refusal, b: &Refusal) -> bool {
    std::mem::discriminant(a) == std::mem::discriminant(b)
}

fn busy_wait(before: u32) -> Duration {
    let wait = BUSY_WAIT
        .saturating_mul(1 << before.min(8))
        .min(MAX_BUSY_WAIT);
    wait.mul_f64(rand::thread_rng().gen_range(0.5..1.5))
}

#[cfg(test)]
impl Prepared {
    /// Entry and relay.
    pub(crate) fn nodes(&self) -> (NodeId, Option<NodeId>) {
        (self.way.0.id, self.way.1.as_ref().map(|relay| relay.id))
    }
}
