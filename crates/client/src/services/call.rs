//! Calling a service: offers to its mailboxes, one after the other, until somebody joins.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use packet::{ContentType, Draft, MessageId, Packet, SealError, Sender, SessionId};
use parking_lot::Mutex;
use protocol::NodeId;
use protocol::answer::{Record, Refusal};
use protocol::rendezvous::ServiceTag;
use protocol::stream::{OpenStream, Purpose, Reset};
use protocol::target::Target as ServiceTarget;
use rand::rngs::OsRng;
use streams::{Circuit, Redial, RedialError, Stream};
use tokio::io::AsyncWriteExt as _;
use tokio::time::timeout;

use super::turns::Turns;
use crate::carrier::{Resolved, Target};
use crate::carry::{Load, Offer, Way};
use crate::home::{Account, HomeError};
use crate::look_up::LookUpFailure;
use crate::network::Network;
use crate::path::PathError;
use crate::streams::{Dialler, OpenError, StreamPrivacy, Verdict};

/// Circuits tried before a stream is given up, over all mailboxes.
const MAX_TRIES: usize = 12;
/// New certificates taken for one stream.
const MAX_RENEWALS: usize = 4;
/// How long the publisher may take to do what was asked: the mailbox's ten seconds, and those of a target behind it.
const OPEN_TIMEOUT: Duration = Duration::from_secs(30);
/// Wait between two circuits, times how many there were.
const PAUSE: Duration = Duration::from_millis(50);
/// How long a stream is tried to be resumed while its mailboxes say that nobody serves it who knows it. A mailbox that was
/// restarted has its publishers back by then.
const NOBODY_PATIENCE: Duration = Duration::from_secs(30);

/// Which service is called, and how.
#[derive(Debug, Clone)]
pub struct ServiceCall {
    /// The wallet, with what is known of it.
    pub wallet: Target,
    /// The name and port that the service is called by.
    pub target: ServiceTarget,
    /// Who may know what.
    pub privacy: StreamPrivacy,
    /// The wallet that the publisher is to know the caller as; nobody where there is none.
    pub caller: Option<Arc<Account>>,
    /// What goes with the first packet, so that the answer to it comes a round trip earlier.
    pub first: Bytes,
}

/// Why a stream to a service could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServiceError {
    /// The wallet has no mailbox, so it serves nothing.
    #[error("no mailbox of this wallet is known, so it serves nothing")]
    NoMailbox,
    /// Its certificate could not be had, or is not to be trusted.
    #[error("the wallet's certificate can't be had")]
    LookUp(#[source] LookUpFailure),
    /// No publisher of the service is online.
    #[error("nobody serves it now")]
    NotServed,
    /// Publishers are online, and none took the offer in time.
    #[error("those who serve it do not answer")]
    NoAnswer,
    /// The publisher lets this caller not in.
    #[error("the service does not let this caller in")]
    Denied,
    /// The publisher, or what is behind it, would not.
    #[error("{0}")]
    Reset(Reset),
    /// A mailbox refused.
    #[error("the service's mailbox refused: {0}")]
    Refused(Box<Refusal>),
    /// There are too few nodes.
    #[error(transparent)]
    Path(#[from] PathError),
    /// No path to a mailbox of the service worked.
    #[error("no path to a mailbox of the service worked")]
    Lost,
    /// The publisher took too long.
    #[error("the service did not answer in time")]
    TimedOut,
    /// The offer can't be sealed.
    #[error("the offer can't be sealed")]
    Seal(#[from] SealError),
    /// The caller's wallet can't be used.
    #[error(transparent)]
    Home(#[from] HomeError),
}

impl Network {
    /// Opens a stream to a service of a wallet, through one of its mailboxes.
    ///
    /// # Errors
    /// [`ServiceError`], after several paths and all mailboxes where that could help.
    ///
    /// # Cancel safety
    /// Dropping the future gives the stream up.
    pub async fn open_service(&self, call: ServiceCall) -> Result<Stream, ServiceError> {
        let (target, first) = (call.target.clone(), call.first.clone());
        let caller = Arc::new(Caller::new(self.clone(), call).await?);
        let mut last = ServiceError::Lost;
        for tries in 0..MAX_TRIES {
            let purpose = Purpose::Service(target.clone());
            let opening = streams::open(purpose, streams::best_cipher());
            let circuit = match caller.dial(opening.command(), false).await {
                Ok(circuit) => circuit,
                Err(error @ (ServiceError::Lost | ServiceError::Path(_))) => {
                    caller.another_path();
                    last = error;
                    continue;
                }
                Err(error) => return Err(error),
            };
            let again = Arc::clone(&caller) as Arc<dyn Redial>;
            let mut stream = opening.over(circuit, Some(again));
            let written = first.is_empty() || stream.write_all(&first).await.is_ok();
            match timeout(OPEN_TIMEOUT, stream.opened()).await {
                Ok(Ok(())) if written => {
                    caller.worked();
                    return Ok(stream);
                }
                Ok(Ok(()) | Err(Reset::Lost | Reset::Unknown)) => {}
                Ok(Err(Reset::Denied)) => return Err(ServiceError::Denied),
                Ok(Err(reset)) => return Err(ServiceError::Reset(reset)),
                Err(_) => return Err(ServiceError::TimedOut),
            }
            match caller.learn().await {
                Learnt::Again(error) => last = error,
                Learnt::Nobody(error) => {
                    // It may have other mailboxes by now.
                    if !caller.look_up_anew().await? {
                        return Err(error);
                    }
                    last = error;
                }
                Learnt::Over(error) => return Err(error),
            }
            tokio::time::sleep(PAUSE * u32::try_from(tries).unwrap_or(0)).await;
        }
        Err(last)
    }
}

/// What the end of a circuit means.
enum Learnt {
    /// Another one may do better.
    Again(ServiceError),
    /// All mailboxes have said that nobody joins.
    Nobody(ServiceError),
    /// No other will.
    Over(ServiceError),
}

/// Makes circuits to whoever serves a service.
#[derive(Debug)]
struct Caller {
    network: Network,
    call: ServiceCall,
    tag: ServiceTag,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    to: Arc<Resolved>,
    turns: Turns,
    /// The dialler of the mailbox whose turn it is; one mailbox's paths say nothing of another's.
    dialler: Option<(NodeId, Arc<Dialler>)>,
    /// Since when all mailboxes say that nobody joins.
    nobody_since: Option<Instant>,
    renewals: usize,
    is_looked_up_anew: bool,
    /// Whether the time that a mailbox asked for is taken for its clock.
    trusts_hint: bool,
}

impl State {
    fn of(to: Resolved) -> Self {
        Self {
            turns: Turns::new(&to.mailboxes),
            to: Arc::new(to),
            dialler: None,
            nobody_since: None,
            renewals: 0,
            is_looked_up_anew: false,
            trusts_hint: false,
        }
    }

    fn take(&mut self, to: Resolved) {
        self.turns = Turns::new(&to.mailboxes);
        self.to = Arc::new(to);
        self.dialler = None;
    }
}

impl Caller {
    async fn new(network: Network, call: ServiceCall) -> Result<Self, ServiceError> {
        let to = look_up(&network, &call.wallet).await?;
        let tag = ServiceTag::new(&call.wallet.wallet, &call.target);
        Ok(Self {
            network,
            call,
            tag,
            state: Mutex::new(State::of(to)),
        })
    }

    /// Makes a circuit to the mailbox whose turn it is, with an offer for one publisher or for all.
    async fn dial(&self, open: &OpenStream, everyone: bool) -> Result<Circuit, ServiceError> {
        let (to, mailbox) = {
            let state = self.state.lock();
            (Arc::clone(&state.to), state.turns.mailbox())
        };
        let mailbox = mailbox.ok_or(ServiceError::NoMailbox)?;
        let dialler = self.dialler(mailbox).await?;
        let offer = Offer {
            tag: self.tag,
            everyone,
            packet: self.seal(open, to, mailbox).await?,
        };
        let dialled = dialler.dial(Load::Meet(&offer)).await;
        dialled.map_err(|error| match error {
            OpenError::Path(error) => ServiceError::Path(error),
            _ => ServiceError::Lost,
        })
    }

    async fn dialler(&self, mailbox: NodeId) -> Result<Arc<Dialler>, PathError> {
        if let Some((_, dialler)) =
            (self.state.lock().dialler.as_ref()).filter(|(node, _)| *node == mailbox)
        {
            return Ok(Arc::clone(dialler));
        }
        let node = self.network.known(&mailbox).await?;
        let way = match self.call.privacy {
            StreamPrivacy::Direct => Way::Direct,
            // A mailbox that is the entry would know who calls whom; one hop is for bridges.
            _ => Way::Relayed,
        };
        let dialler = Arc::new(Dialler::new(self.network.clone(), node, way));
        self.state.lock().dialler = Some((mailbox, Arc::clone(&dialler)));
        Ok(dialler)
    }

    /// Seals an offer to the service's wallet, by the mailbox's clock as far as it is known.
    async fn seal(
        &self,
        open: &OpenStream,
        to: Arc<Resolved>,
        mailbox: NodeId,
    ) -> Result<Packet, ServiceError> {
        let draft = Draft {
            message_id: MessageId::random(&mut OsRng),
            time_ms: (self.network.courier().clocks)
                .clock_ms(&mailbox, self.state.lock().trusts_hint),
            content_type: ContentType::OFFER.to_owned(),
            session: SessionId::random(&mut OsRng),
            sequence: 0,
            reply: None,
            body: open.to_offer().into(),
        };
        let caller = self.call.caller.clone();
        let sealing = tokio::task::spawn_blocking(move || {
            let identity = caller.as_ref().map(|account| account.identity());
            let identity = identity.transpose()?;
            let sender = caller.as_ref().zip(identity.as_deref());
            let sender = sender.map(|(account, identity)| Sender {
                wallet: account.key(),
                certificate: &identity.secret,
                binding: &identity.binding,
            });
            let sealed = packet::seal(&draft, sender.as_ref(), &to.certificate, &mut OsRng);
            Ok::<_, ServiceError>(sealed?)
        });
        match sealing.await {
            Ok(sealed) => sealed,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => Err(ServiceError::Lost),
            },
        }
    }

    /// A path could not be had at all.
    fn another_path(&self) {
        let mut state = self.state.lock();
        if state.turns.path_failed() {
            state.dialler = None;
        }
    }

    fn worked(&self) {
        let mut state = self.state.lock();
        state.turns.worked();
        (state.nobody_since, state.renewals) = (None, 0);
        if let Some((_, dialler)) = &state.dialler {
            dialler.worked();
        }
    }

    /// Takes what was said of the last circuit.
    async fn learn(&self) -> Learnt {
        let verdict = {
            let state = self.state.lock();
            let dialler = state.dialler.as_ref();
            dialler.map(|(node, dialler)| (*node, dialler.verdict()))
        };
        let (mailbox, verdict) = match verdict {
            Some((mailbox, verdict)) => (mailbox, verdict),
            None => return Learnt::Again(ServiceError::Lost),
        };
        let refusal = match verdict {
            Verdict::Said(refusal) => refusal,
            Verdict::Again(refusal) => {
                self.another_path();
                if refusal.is_none() {
                    // It may have led to somebody for a while.
                    self.state.lock().nobody_since = None;
                }
                let error = refusal.map_or(ServiceError::Lost, |refusal| {
                    ServiceError::Refused(refusal.into())
                });
                return Learnt::Again(error);
            }
        };
        if let Refusal::Superseded(record) = refusal {
            return self.renew(record).await;
        }
        let mut state = self.state.lock();
        state.dialler = None;
        if matches!(refusal, Refusal::Busy | Refusal::Failed) {
            state.turns.next();
            return Learnt::Again(ServiceError::Refused(refusal.into()));
        }
        let is_unsure = self.network.courier().clocks.is_ambiguous(&mailbox);
        if refusal == Refusal::Unreachable && is_unsure && !state.trusts_hint {
            // Publishers may have found the offer stale: this machine's clock may be wrong after all.
            state.trusts_hint = true;
            return Learnt::Again(ServiceError::NoAnswer);
        }
        match state.turns.nobody_at(mailbox, refusal) {
            Some(error) => Learnt::Nobody(error),
            None => Learnt::Again(ServiceError::NotServed),
        }
    }

    /// Takes the certificate that replaces the one that was sealed to.
    async fn renew(&self, record: Record) -> Learnt {
        {
            let mut state = self.state.lock();
            state.renewals += 1;
            if state.renewals > MAX_RENEWALS {
                return Learnt::Over(ServiceError::NoAnswer);
            }
        }
        match self.network.accept(&self.call.wallet, record).await {
            Ok(newer) => {
                let mut state = self.state.lock();
                if newer.binding.sequence <= state.to.binding.sequence {
                    // The mailbox lags behind what others say.
                    state.turns.next();
                    state.dialler = None;
                    return Learnt::Again(ServiceError::NoAnswer);
                }
                state.take(newer);
                Learnt::Again(ServiceError::Lost)
            }
            Err(error) => Learnt::Over(ServiceError::LookUp(error)),
        }
    }

    /// Asks once for the wallet's certificate and mailboxes as they are now; false if they are what they were.
    async fn look_up_anew(&self) -> Result<bool, ServiceError> {
        let before = {
            let mut state = self.state.lock();
            if std::mem::replace(&mut state.is_looked_up_anew, true) {
                return Ok(false);
            }
            Arc::clone(&state.to)
        };
        self.network.forget_certificate(&self.call.wallet.wallet);
        let now = look_up(&self.network, &self.call.wallet).await?;
        let is_other = now.binding.sequence > before.binding.sequence
            || now
                .mailboxes
                .iter()
                .any(|it| !before.mailboxes.contains(it));
        if is_other {
            self.state.lock().take(now);
        }
        Ok(is_other)
    }

    /// Makes a circuit for a stream that lost its own. Only one publisher knows the stream, so all are asked.
    async fn dial_again(&self, open: &OpenStream) -> Result<Circuit, RedialError> {
        match self.learn().await {
            Learnt::Over(_) => return Err(RedialError::Refused),
            Learnt::Nobody(_) => {
                let mut state = self.state.lock();
                let since = *state.nobody_since.get_or_insert_with(Instant::now);
                if since.elapsed() >= NOBODY_PATIENCE {
                    return Err(RedialError::Refused);
                }
            }
            Learnt::Again(_) => {}
        }
        self.dial(open, true).await.map_err(|_| {
            self.another_path();
            RedialError::NotNow
        })
    }
}

impl Redial for Caller {
    fn redial(
        &self,
        open: OpenStream,
    ) -> Pin<Box<dyn Future<Output = Result<Circuit, RedialError>> + Send + '_>> {
        Box::pin(async move { self.dial_again(&open).await })
    }
}

async fn look_up(network: &Network, wallet: &Target) -> Result<Resolved, ServiceError> {
    let found = network.look_up(wallet).await.map_err(|error| match error {
        LookUpFailure::NoRoute(_) | LookUpFailure::NotFound(_) => ServiceError::NoMailbox,
        error => ServiceError::LookUp(error),
    })?;
    match found.mailboxes.is_empty() {
        true => Err(ServiceError::NoMailbox),
        false => Ok(found),
    }
}
