//! Collects what a mailbox keeps: a stream that lives for days, through an entry that is not the mailbox.

use protocol::NodeId;
use protocol::answer::{Answer, Item, ItemOpener, Refusal, open_answer};
use protocol::command::Request;
use protocol::rendezvous::ServiceTag;

use crate::carrier::{Collection, OwnerKeys};
use crate::carry::{Brought, CarryError, Errand, Load, Way};
use crate::network::Network;
use crate::submit::DEFAULT_MAX_EFFORT;
use crate::transport::{Stream, StreamError};

/// Why a delivery did not begin or ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CollectFailure {
    /// The mailbox could not be asked.
    #[error("the mailbox could not be asked")]
    Carry(#[from] CarryError),
    /// The mailbox refused.
    #[error("the mailbox refused to deliver: {0}")]
    Refused(Box<Refusal>),
    /// The connection broke, fell silent or was tampered with.
    #[error("the delivery was interrupted")]
    Stream(#[from] StreamError),
    /// An item is not what the mailbox sealed at that place.
    #[error("the delivery was altered, or lost or reordered an item on its way")]
    Forged,
    /// The connection ended though the mailbox had not said so.
    #[error("the delivery ended too early")]
    Cut,
    /// The mailbox ended the delivery.
    #[error("the mailbox ended the delivery (status {status})")]
    Closed {
        /// Why: a status of the wire format's section 4.2.
        status: u8,
    },
}

/// A delivery under way.
#[derive(Debug)]
pub struct Delivery {
    stream: Stream,
    items: ItemOpener,
    /// The same key, for an answer in the place of items.
    key: protocol::answer::AnswerKey,
    stay: bool,
    begun: bool,
    finished: bool,
}

impl Network {
    /// Starts to collect what a mailbox keeps for the account of `keys`, through an entry that is not the
    /// mailbox.
    ///
    /// # Errors
    /// [`CollectFailure`] where the mailbox can't be asked or refuses.
    pub async fn collect(
        &self,
        keys: OwnerKeys<'_>,
        collection: Collection,
    ) -> Result<Delivery, CollectFailure> {
        let Collection {
            mailbox,
            device,
            after,
            window_bytes,
            stay,
        } = collection;
        let request = Request::Collect {
            device,
            after,
            window_bytes,
            stay,
        }
        .encode();
        self.deliver(keys, mailbox, &request, stay).await
    }

    /// Asks a mailbox for offers of streams to these services, at most 64, for as long as the delivery stays.
    ///
    /// # Errors
    /// As [`Network::collect`].
    pub(crate) async fn serve(
        &self,
        keys: OwnerKeys<'_>,
        mailbox: NodeId,
        tags: Vec<ServiceTag>,
    ) -> Result<Delivery, CollectFailure> {
        let request = Request::Serve { tags }.encode();
        self.deliver(keys, mailbox, &request, true).await
    }

    async fn deliver(
        &self,
        keys: OwnerKeys<'_>,
        mailbox: NodeId,
        request: &[u8],
        stay: bool,
    ) -> Result<Delivery, CollectFailure> {
        let target = self.known(&mailbox).await.map_err(CarryError::from)?;
        let errand = Errand {
            load: Load::Owner(keys, request),
            target: Some(&target),
            way: Way::Entry,
            stream: true,
            effort: None,
            max_effort: DEFAULT_MAX_EFFORT,
        };
        match self.courier().carry(&errand, |_| false).await? {
            Brought::Stream(stream, key) => {
                let items = ItemOpener::new(&key);
                Ok(Delivery {
                    stream,
                    items,
                    key,
                    stay,
                    begun: false,
                    finished: false,
                })
            }
            Brought::Answer(Answer::Refused(refusal)) => {
                Err(CollectFailure::Refused(refusal.into()))
            }
            Brought::Answer(_) => Err(CarryError::Forged.into()),
        }
    }
}

impl Delivery {
    /// The next item; `None` after the last of a delivery that was not to stay.
    ///
    /// # Errors
    /// [`CollectFailure`]; the delivery is over then, collect anew.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn next(&mut self) -> Result<Option<Item>, CollectFailure> {
        if self.finished {
            return Ok(None);
        }
        let answer = match self.stream.next().await {
            Ok(Some(answer)) => answer,
            Ok(None) => return Err(CollectFailure::Cut),
            Err(error) => return Err(error.into()),
        };
        let sealed = match answer {
            Answer::Sealed(sealed) => sealed,
            Answer::Refused(refusal) => return Err(CollectFailure::Refused(refusal.into())),
            _ => return Err(CollectFailure::Forged),
        };
        let clear = self
            .items
            .open(&sealed)
            .map_err(|_| CollectFailure::Forged)?;
        let item = match Item::decode(&clear) {
            Ok(item) => item,
            Err(_) => return Err(self.refusal(&sealed)),
        };
        self.begun = true;
        match item {
            Item::Closed { status } => Err(CollectFailure::Closed { status }),
            item => {
                self.finished = !self.stay && matches!(item, Item::CaughtUp { .. });
                Ok(Some(item))
            }
        }
    }

    /// A mailbox that refuses answers once, in the place of the first item.
    fn refusal(&self, sealed: &[u8]) -> CollectFailure {
        let answer = open_answer(&self.key, sealed)
            .ok()
            .and_then(|clear| Answer::decode(&clear).ok());
        match answer {
            Some(Answer::Refused(refusal)) if !self.begun => {
                CollectFailure::Refused(refusal.into())
            }
            _ => CollectFailure::Forged,
        }
    }
}

#[cfg(test)]
mod tests;
