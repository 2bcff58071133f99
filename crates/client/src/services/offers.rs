//! What becomes of offers: opened, judged, and joined.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use packet::{ContentType, Verified};
use protocol::stream::{OpenStream, Purpose};
use protocol::target::Target as ServiceTarget;
use streams::{Accepted, Accepter, Circuit, Reset};
use tokio::sync::{Mutex, mpsc};
use tokio::time::timeout;
use wallet::WalletAddress;

use super::publish::Incoming;
use super::serving::Handed;
use super::slot::Slot;
use crate::carry::{Load, Way};
use crate::home::Account;
use crate::network::Network;
use crate::streams::{Dialler, Verdict};

/// Paths tried to one mailbox for one offer: it waits for ten seconds at most.
const MAX_TRIES: usize = 3;
/// How long a circuit may say nothing until it is given up for another: joined ones say at once how much the caller takes.
const JOIN_TIMEOUT: Duration = Duration::from_millis(2_500);

/// Takes offers from the queue, one at a time; several of these work side by side.
#[derive(Debug, Clone)]
pub(super) struct Worker {
    pub(super) account: Arc<Account>,
    pub(super) network: Network,
    pub(super) services: Arc<BTreeSet<ServiceTarget>>,
    pub(super) slot: Arc<Slot>,
    pub(super) accepter: Arc<Accepter>,
    pub(super) offers: Arc<Mutex<mpsc::Receiver<Handed>>>,
    pub(super) incoming: mpsc::Sender<Incoming>,
}

/// Why an offer leads to nothing. What is refused so, the caller hears of from the mailbox.
#[derive(Debug, thiserror::Error)]
enum Useless {
    #[error(transparent)]
    Open(#[from] packet::OpenError),
    #[error(transparent)]
    Fields(#[from] protocol::command::CodecError),
    #[error(transparent)]
    NotTaken(#[from] super::slot::NotTaken),
    #[error(transparent)]
    Home(#[from] crate::home::HomeError),
    #[error("it is no offer")]
    NoOffer,
    #[error("it is for what is not served here")]
    Foreign,
    #[error("no path to the mailbox worked, or somebody else has joined")]
    NotJoined,
}

impl Worker {
    pub(super) async fn run(self) {
        loop {
            let offer = self.offers.lock().await.recv().await;
            let Some(offer) = offer else { return };
            if let Err(error) = self.take(offer).await {
                tracing::debug!(target: "client::services", %error, "an offer leads to nothing");
            }
        }
    }

    async fn take(&self, offer: Handed) -> Result<(), Useless> {
        let this = self.clone();
        let judging = tokio::task::spawn_blocking(move || {
            let judged = this.judge(&offer);
            (offer, judged)
        });
        let (offer, judged) = match judging.await {
            Ok(judged) => judged,
            Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
        };
        let (open, caller) = judged?;
        // Joining may take seconds; others' offers don't wait for it.
        let this = self.clone();
        tokio::spawn(async move {
            if let Err(error) = this.join(&offer, &open, caller).await {
                tracing::debug!(target: "client::services", %error, "an offer leads to nothing");
            }
        });
        Ok(())
    }

    /// Opens an offer, and takes it if it is fresh and for this publisher. Blocks on the processor, and maybe on the disk.
    fn judge(&self, offer: &Handed) -> Result<(OpenStream, Option<WalletAddress>), Useless> {
        let identity = self.account.identity()?;
        let opened = packet::open(&offer.packet, &identity.secret)?;
        let envelope = opened.envelope.ok_or(Useless::NoOffer)?;
        if envelope.content_type != ContentType::OFFER {
            return Err(Useless::NoOffer);
        }
        let open = OpenStream::from_offer(&envelope.body)?;
        let is_ours = match open.purpose() {
            Purpose::Service(target) => self.services.contains(target),
            Purpose::Resume(_) => self.accepter.wants(&open),
            _ => false,
        };
        if !is_ours {
            return Err(Useless::Foreign);
        }
        let nonce = envelope.message_id.as_bytes();
        self.slot.accept(envelope.time_ms, nonce, offer.now_ms)?;
        let caller = match opened.verified {
            Verified::Wallet { wallet, .. } => Some(wallet),
            _ => None,
        };
        Ok((open, caller))
    }

    async fn join(
        &self,
        offer: &Handed,
        open: &OpenStream,
        caller: Option<WalletAddress>,
    ) -> Result<(), Useless> {
        let circuit = self.circuit(offer).await.ok_or(Useless::NotJoined)?;
        match self.accepter.accept(open, || circuit) {
            Accepted::New(stream, Purpose::Service(target)) => {
                let incoming = Incoming {
                    stream,
                    target,
                    caller,
                };
                if let Err(mpsc::error::TrySendError::Full(incoming)) =
                    self.incoming.try_send(incoming)
                {
                    incoming.stream.reset(Reset::Busy);
                }
                Ok(())
            }
            Accepted::New(stream, _) => {
                stream.reset(Reset::Unsupported);
                Ok(())
            }
            Accepted::Resumed => Ok(()),
            Accepted::Unknown | Accepted::Full => Err(Useless::Foreign),
        }
    }

    /// A circuit that the mailbox has joined to the caller's.
    async fn circuit(&self, offer: &Handed) -> Option<Circuit> {
        let node = self.network.known(&offer.mailbox).await.ok()?;
        // As with what is collected: the entry sees the mailbox's key and not whose it is.
        let dialler = Dialler::new(self.network.clone(), node, Way::Entry);
        for _ in 0..MAX_TRIES {
            let Ok(mut circuit) = dialler.dial(Load::Join(offer.token)).await else {
                continue;
            };
            if let Ok(true) = timeout(JOIN_TIMEOUT, circuit.begun()).await {
                return Some(circuit);
            }
            drop(circuit);
            if let Verdict::Said(refusal) = dialler.verdict() {
                tracing::debug!(target: "client::services", %refusal, "not joined");
                return None;
            }
        }
        None
    }
}
