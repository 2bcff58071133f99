//! Services of owners: their publishers' streams of offers, and callers who come with one.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use protocol::answer::{Answer, Item, ItemSealer, Refusal};
use protocol::command::Ties;
use protocol::rendezvous::{MAX_OFFER_BYTES, MeetingToken, ServiceTag};
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;
use wallet::WalletAddress;

use super::{Mailboxes, SUPERSEDED_GRACE_MS};
use crate::clock::now_ms;
use crate::links::{Circuit, ItemsTo, Reply, items};
use crate::rendezvous::{Offer, Publisher};

/// How often a publisher's stream shows that the mailbox is alive, and tells its time.
const BEAT_EVERY: Duration = Duration::from_secs(30);
/// How long the last word of a stream may take.
const FAREWELL: Duration = Duration::from_secs(2);
/// The status of a stream whose account is closed: NotFound.
const CLOSED: u8 = 29;

impl Mailboxes {
    /// Starts handing offers to a publisher.
    pub(super) fn serve(
        self: Arc<Self>,
        ties: &Ties,
        wallet: WalletAddress,
        tags: Vec<ServiceTag>,
    ) -> Result<Reply, Box<Refusal>> {
        if !self.config.enabled {
            return Err(Refusal::Unsupported.into());
        }
        let Publisher {
            mut offers,
            dismissed,
            place,
        } = self.rendezvous.serve(wallet, tags).map_err(Refusal::from)?;
        let (to, items) = items();
        let mut stream = Stream {
            sealer: ItemSealer::new(&ties.answer_key, false),
            to: to.clone(),
        };
        tokio::spawn(async move {
            let _until_over = place;
            let is_closed = tokio::select! {
                biased;
                () = to.closed() => false,
                () = dismissed.cancelled() => true,
                ended = stream.run(&mut offers, || self.accounts.by_wallet(&wallet).is_some()) => ended == Ended::Closed,
            };
            // Nobody is offered anything here any more.
            drop((offers, _until_over));
            if is_closed {
                let farewell = stream.send(&Item::Closed { status: CLOSED });
                let _gone = tokio::time::timeout(FAREWELL, farewell).await;
            }
        });
        Ok(Reply::Stream(items))
    }

    /// Brings a caller's circuit to a publisher of the service that its offer is for.
    ///
    /// # Errors
    /// A refusal, which is for the caller alone.
    pub(crate) async fn meet(
        &self,
        tag: ServiceTag,
        everyone: bool,
        offer: Bytes,
        circuit: &Arc<Circuit>,
    ) -> Result<(), Refusal> {
        if !self.config.enabled {
            return Err(Refusal::Unsupported);
        }
        if offer.len() > MAX_OFFER_BYTES {
            return Err(Refusal::TooLarge);
        }
        let key = packet::peek(&offer).map_err(|_| Refusal::Malformed)?;
        let now = now_ms();
        let mut refusal = Refusal::NotFound;
        // Of wallets that claim one key ID the tag tells which is meant.
        for holder in self.accounts.holders(&key) {
            if let Some(since) = holder.superseded_ms
                && now.saturating_sub(since) > SUPERSEDED_GRACE_MS
            {
                refusal = Refusal::Superseded(holder.account.record());
                continue;
            }
            let wallet = holder.account.wallet();
            if self.rendezvous.is_served(&wallet, &tag) {
                return self
                    .rendezvous
                    .meet(wallet, tag, everyone, offer, circuit)
                    .await;
            }
        }
        Err(refusal)
    }

    /// Joins a publisher's circuit to the caller's that its token stands for.
    ///
    /// # Errors
    /// A refusal, which is for the publisher alone.
    pub(crate) fn join(
        &self,
        token: &MeetingToken,
        circuit: &Arc<Circuit>,
    ) -> Result<(), Box<Refusal>> {
        if !self.config.enabled {
            return Err(Refusal::Unsupported.into());
        }
        Ok(self
            .rendezvous
            .join(token, circuit)
            .map_err(Refusal::from)?)
    }
}

struct Stream {
    sealer: ItemSealer,
    to: ItemsTo,
}

/// Why a publisher's stream ended.
#[derive(Debug, PartialEq, Eq)]
enum Ended {
    /// It has no reader any more.
    Gone,
    /// Its account is closed.
    Closed,
}

impl Stream {
    async fn run(
        &mut self,
        offers: &mut mpsc::Receiver<Offer>,
        has_account: impl Fn() -> bool,
    ) -> Ended {
        let mut beats = tokio::time::interval(BEAT_EVERY);
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let item = tokio::select! {
                biased;
                // At once, and then ever again.
                _ = beats.tick() => {
                    // Another process may have closed it.
                    if !has_account() {
                        return Ended::Closed;
                    }
                    let node_time_ms = now_ms();
                    Item::Beat { node_time_ms }
                }
                offer = offers.recv() => {
                    let Some(offer) = offer else { return Ended::Gone };
                    // Whoever made it may wait no more.
                    let Some(packet) = offer.packet() else { continue };
                    let token = offer.token;
                    Item::Offer { token, packet }
                }
            };
            if self.send(&item).await.is_err() {
                return Ended::Gone;
            }
        }
    }

    /// Seals an item once there is a place for it.
    ///
    /// # Cancel safety
    /// Dropping the future has sent and sealed nothing.
    async fn send(&mut self, item: &Item) -> Result<(), Gone> {
        let item = item.encode();
        let place = self.to.place(item.len()).await.map_err(|_| Gone)?;
        let sealed = self.sealer.seal(&item);
        place.send(Answer::Sealed(sealed.into()).encode().into());
        Ok(())
    }
}

/// The stream has no reader any more.
struct Gone;
