//! Keeping what the ledger says of the node as a bridge in line with what its operator set.
//!
//! One task, once: it waits until the index has followed the chain to its head, compares, and sends a transaction where they
//! differ. A ledger that can't be reached, or a wallet that can't pay, is tried again; the node works meanwhile. After one
//! success it is over, so that two processes of one node with different settings don't overwrite each other for ever.

use std::sync::Arc;
use std::time::Duration;

use ledger::{BridgeOffer, Index, Registrar, SubmitError, SyncedTo};
use tokio_util::sync::CancellationToken;
use wallet::WalletAddress;

use crate::clock::now_ms;

/// How often the index is looked at until it is where it must be.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Wait after a transaction that failed; doubles up to the next bound.
const FIRST_WAIT: Duration = Duration::from_secs(5);
/// Longest wait between two tries.
const MAX_WAIT: Duration = Duration::from_secs(600);

/// Brings the ledger in line with the settings.
pub(crate) struct Announcer {
    pub(crate) me: WalletAddress,
    /// What the node offers; nothing where it is no bridge.
    pub(crate) wanted: Option<BridgeOffer>,
    pub(crate) index: Index,
    pub(crate) registrar: Arc<Registrar>,
    /// Newest blocks that the index leaves unread.
    pub(crate) confirmations: u64,
}

/// What is to be done about the ledger.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    /// Look again later: the index lags, or the node is not registered.
    Wait,
    /// The ledger says what it should.
    Done,
    /// Somebody else speaks for the node.
    NotOurs,
    Announce(BridgeOffer),
    Withdraw,
}

impl Announcer {
    /// Works until the ledger says what it should, or `stop`.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let since_s = now_ms() / 1_000;
        let mut wait = FIRST_WAIT;
        loop {
            let sent = match self.step(since_s) {
                Step::Wait => {
                    if !passed(LOOK_EVERY, &stop).await {
                        return;
                    }
                    continue;
                }
                Step::Done => return,
                Step::NotOurs => {
                    tracing::warn!(
                        target: "node::offers",
                        "what the node offers as a bridge differs from what the ledger says: only its operator can change that"
                    );
                    return;
                }
                Step::Announce(offer) => self.send(Some(&offer), &stop).await,
                Step::Withdraw => self.send(None, &stop).await,
            };
            match sent {
                None => return,
                Some(Ok(())) => {
                    tracing::info!(target: "node::offers", "the ledger says what the node offers as a bridge");
                    return;
                }
                Some(Err(error)) => {
                    // The reason may name wallets, so it is for the operator's own eyes.
                    tracing::warn!(target: "node::offers", "the ledger was not told what the node offers as a bridge");
                    tracing::debug!(target: "node::offers", %error, "why the ledger was not told");
                    if !passed(wait, &stop).await {
                        return;
                    }
                    wait = MAX_WAIT.min(2 * wait);
                }
            }
        }
    }

    fn step(&self, since_s: u64) -> Step {
        let record = self.index.node(&self.me);
        match record {
            Some(record) if has_caught_up(&self.index.synced_to(), self.confirmations, since_s) => {
                step(
                    self.wanted.as_ref(),
                    record.offer.as_ref(),
                    record.operator == self.registrar.payer(),
                )
            }
            _ => Step::Wait,
        }
    }

    /// Sends a transaction and waits for its block; none where the node stops meanwhile.
    async fn send(
        &self,
        offer: Option<&BridgeOffer>,
        stop: &CancellationToken,
    ) -> Option<Result<(), SubmitError>> {
        let sent = async {
            match offer {
                Some(offer) => self.registrar.announce_offer(self.me, offer).await,
                None => self.registrar.withdraw_offer(self.me).await,
            }
        };
        tokio::select! {
            biased;
            () = stop.cancelled() => None,
            sent = sent => Some(sent.map(|_| ())),
        }
    }
}

fn step(wanted: Option<&BridgeOffer>, announced: Option<&BridgeOffer>, is_ours: bool) -> Step {
    match wanted {
        _ if wanted == announced => Step::Done,
        _ if !is_ours => Step::NotOurs,
        Some(offer) => Step::Announce(offer.clone()),
        None => Step::Withdraw,
    }
}

/// Whether the chain was asked since then and all that it had was read.
fn has_caught_up(synced: &SyncedTo, confirmations: u64, since_s: u64) -> bool {
    let newest = synced.head.saturating_sub(confirmations);
    synced.at_s > since_s && synced.block.is_some_and(|block| block >= newest)
}

/// Waits; false where `stop` came first.
async fn passed(time: Duration, stop: &CancellationToken) -> bool {
    tokio::select! {
        biased;
        () = stop.cancelled() => false,
        () = tokio::time::sleep(time) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offer(price_wei: u128) -> BridgeOffer {
        BridgeOffer {
            price_wei,
            policy: "accept *:443".into(),
        }
    }

    #[test]
    fn offer_is_announced_only_where_the_ledger_says_otherwise() {
        let (one, two) = (offer(1), offer(2));
        assert_eq!(step(Some(&one), Some(&one), true), Step::Done);
        assert_eq!(step(None, None, false), Step::Done);
        assert_eq!(
            step(Some(&one), Some(&two), true),
            Step::Announce(one.clone())
        );
        assert_eq!(step(Some(&one), None, true), Step::Announce(one.clone()));
        assert_eq!(step(None, Some(&one), true), Step::Withdraw);
        assert_eq!(step(None, Some(&one), false), Step::NotOurs);
    }

    #[test]
    fn index_that_was_not_asked_since_or_lags_is_waited_for() {
        let synced = |block, head, at_s| SyncedTo { block, head, at_s };
        assert!(has_caught_up(&synced(Some(5), 5, 11), 0, 10));
        assert!(has_caught_up(&synced(Some(3), 5, 11), 2, 10));
        // The process before this one may have asked in the same second.
        assert!(!has_caught_up(&synced(Some(5), 5, 10), 0, 10));
        assert!(!has_caught_up(&synced(Some(5), 5, 9), 0, 10));
        assert!(!has_caught_up(&synced(Some(4), 5, 11), 0, 10));
        assert!(!has_caught_up(&synced(None, 0, 11), 0, 10));
    }
}
