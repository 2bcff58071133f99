//! Where callers and publishers of services meet: offers are handed to publishers, and their circuits joined.
//!
//! [`board`] decides who gets which offer. Here are what it can't know of: queues, clocks and circuits. Each circuit that
//! waits is looked after by the task that brought it, each publisher by the task of its stream
//! (`mailbox/serve.rs`); both end with those.

mod board;

use std::sync::{Arc, Weak};

use bytes::Bytes;
use parking_lot::Mutex;
use protocol::answer::{Answer, Refusal};
use protocol::rendezvous::{MeetingToken, ServiceTag};
use thiserror::Error;
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use wallet::WalletAddress;

use crate::links::Circuit;
use crate::metrics::Metrics;
pub(crate) use board::NotTaken;
use board::{Board, MeetingId, Met, PublisherId, Step};

/// Offers that wait for one publisher; one more goes to another.
const MAX_OFFERS: usize = 64;

/// The publishers of a node's accounts, and the circuits that wait for them.
pub(crate) struct Rendezvous {
    board: Mutex<Board<Addressee, Waiter>>,
    metrics: Arc<Metrics>,
}

/// Where a publisher's offers go.
#[derive(Debug, Clone)]
struct Addressee {
    offers: mpsc::Sender<Offer>,
    dismissed: CancellationToken,
}

/// A circuit that waits, and whoever looks after it.
#[derive(Debug, Clone)]
struct Waiter {
    circuit: Arc<Circuit>,
    changed: Arc<Notify>,
}

/// An offer on its way to a publisher.
#[derive(Debug)]
pub(crate) struct Offer {
    pub(crate) token: MeetingToken,
    /// Only as long as somebody waits for its outcome: of offers that nobody takes, queues keep no more than that.
    packet: Weak<Bytes>,
}

/// A publisher; it is one until this is dropped.
pub(crate) struct Publisher {
    pub(crate) offers: mpsc::Receiver<Offer>,
    /// Cancelled when the account is closed.
    pub(crate) dismissed: CancellationToken,
    pub(crate) place: Place,
}

/// A publisher's place.
pub(crate) struct Place {
    rendezvous: Arc<Rendezvous>,
    id: PublisherId,
}

/// Two joined circuits, counted until the last of these is dropped.
#[derive(Clone)]
pub(crate) struct Pairing(#[expect(dead_code, reason = "counts until it is dropped")] Arc<Counted>);

struct Counted {
    rendezvous: Arc<Rendezvous>,
    publisher: PublisherId,
}

/// Nobody waits for the publisher that has come.
#[derive(Debug, Error)]
#[error("nobody waits for that")]
pub(crate) struct NotMet;

/// A circuit's place among those that wait.
struct Waiting<'r> {
    rendezvous: &'r Rendezvous,
    id: MeetingId,
}

impl Offer {
    /// The offer, if anybody still waits for its outcome.
    pub(crate) fn packet(&self) -> Option<Bytes> {
        Some(Bytes::clone(&*self.packet.upgrade()?))
    }
}

impl Rendezvous {
    pub(crate) fn new(metrics: Arc<Metrics>) -> Arc<Self> {
        let board = Mutex::default();
        Arc::new(Self { board, metrics })
    }

    /// Takes a publisher of an account's services.
    ///
    /// # Errors
    /// [`NotTaken`] where there are too many.
    pub(crate) fn serve(
        self: &Arc<Self>,
        wallet: WalletAddress,
        tags: Vec<ServiceTag>,
    ) -> Result<Publisher, NotTaken> {
        let (to, offers) = mpsc::channel(MAX_OFFERS);
        let dismissed = CancellationToken::new();
        let addressee = Addressee {
            offers: to,
            dismissed: dismissed.clone(),
        };
        let id = self.board.lock().serve(wallet, tags, addressee)?;
        self.metrics.publishers.inc();
        let rendezvous = Arc::clone(self);
        Ok(Publisher {
            offers,
            dismissed,
            place: Place { rendezvous, id },
        })
    }

    /// Ends the streams of an account's publishers: it is closed.
    pub(crate) fn dismiss(&self, wallet: &WalletAddress) {
        let publishers = self.board.lock().publishers_of(wallet);
        for publisher in publishers {
            publisher.dismissed.cancel();
        }
    }

    /// Says whether an account has a publisher of that service.
    pub(crate) fn is_served(&self, wallet: &WalletAddress, tag: &ServiceTag) -> bool {
        self.board.lock().is_served(wallet, tag)
    }

    /// Hands an offer to publishers until one of them joins the circuit that it came with, or the circuit is over.
    ///
    /// # Errors
    /// A refusal: NotFound, Unreachable or Busy.
    pub(crate) async fn meet(
        &self,
        wallet: WalletAddress,
        tag: ServiceTag,
        everyone: bool,
        offer: Bytes,
        circuit: &Arc<Circuit>,
    ) -> Result<(), Refusal> {
        let Some(over) = circuit.seek() else {
            return Ok(());
        };
        let changed = Arc::<Notify>::default();
        let waiter = Waiter {
            circuit: Arc::clone(circuit),
            changed: Arc::clone(&changed),
        };
        let now = Instant::now();
        let id = self
            .board
            .lock()
            .begin(wallet, tag, everyone, now, waiter)?;
        let waiting = Waiting::new(self, id);
        let offer = Arc::new(offer);
        loop {
            let token = || MeetingToken::from_bytes(rand::random());
            let step = self.board.lock().next(waiting.id, Instant::now(), token);
            match step {
                Step::Ask(publishers) => {
                    for (_, token, publisher) in publishers {
                        let packet = Arc::downgrade(&offer);
                        match publisher.offers.try_send(Offer { token, packet }) {
                            Ok(()) => {
                                self.metrics.offers.inc();
                            }
                            Err(_) => self.board.lock().pass_over(&token),
                        }
                    }
                }
                Step::Wait(until) => tokio::select! {
                    biased;
                    () = over.cancelled() => return Ok(()),
                    () = changed.notified() => {}
                    () = tokio::time::sleep_until(until) => {}
                },
                Step::GiveUp => {
                    self.metrics.meetings_failed.inc();
                    return Err(Refusal::Unreachable);
                }
                Step::Over => return Ok(()),
            }
        }
    }

    /// Joins a publisher's circuit to the one that its offer came with.
    ///
    /// # Errors
    /// [`NotMet`]: nobody waits for that any more.
    pub(crate) fn join(
        self: &Arc<Self>,
        token: &MeetingToken,
        circuit: &Arc<Circuit>,
    ) -> Result<(), NotMet> {
        let met = self.board.lock().join(token);
        let Some(Met { publisher, it }) = met else {
            return Err(NotMet);
        };
        self.metrics.meetings_joined.inc();
        self.metrics.joined.inc();
        let pairing = Pairing(Arc::new(Counted {
            rendezvous: Arc::clone(self),
            publisher,
        }));
        let joined = Circuit::join(&it.circuit, circuit, &pairing);
        it.changed.notify_one();
        joined.map_err(|_| {
            let lost = Answer::Refused(Refusal::Unreachable).encode();
            it.circuit.refuse(&lost);
            NotMet
        })
    }
}

impl From<NotMet> for Refusal {
    fn from(NotMet: NotMet) -> Self {
        Self::NotFound
    }
}

impl From<NotTaken> for Refusal {
    fn from(error: NotTaken) -> Self {
        match error {
            NotTaken::Full => Self::Busy,
            NotTaken::Unserved => Self::NotFound,
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let waiters = self.rendezvous.board.lock().leave(self.id);
        for waiter in waiters {
            waiter.changed.notify_one();
        }
        self.rendezvous.metrics.publishers.dec();
    }
}

#[cfg(test)]
impl Pairing {
    /// For circuits of no publisher's.
    pub(crate) fn of_nobody() -> Self {
        let rendezvous = Rendezvous::new(Arc::default());
        let publisher = PublisherId::default();
        Self(Arc::new(Counted {
            rendezvous,
            publisher,
        }))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.rendezvous.board.lock().part(self.publisher);
        self.rendezvous.metrics.joined.dec();
    }
}

impl<'r> Waiting<'r> {
    fn new(rendezvous: &'r Rendezvous, id: MeetingId) -> Self {
        rendezvous.metrics.waiting.inc();
        Self { rendezvous, id }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let now = Instant::now();
        self.rendezvous.board.lock().withdraw(self.id, now);
        self.rendezvous.metrics.waiting.dec();
    }
}
