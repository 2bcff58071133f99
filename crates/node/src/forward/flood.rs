//! The bounded flood that looks for an unlisted mailbox.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use protocol::NodeId;
use protocol::answer::{Acknowledgement, Answer, Refusal};
use protocol::duplicates::Recent;
use protocol::frame::STAMP_BYTES;
use rand::seq::SliceRandom as _;
use sha2::{Digest as _, Sha256};
use tokio::sync::watch;
use tokio::task::JoinSet;
use wallet::Certificate;

use super::{Arrived, Router, refuse};
use crate::clock::now_ms;
use crate::links::{Reply, Request};

/// Nodes that one node passes a flood on to at most. With four hops this reaches 65,536 nodes, each
/// once; smaller networks are reached whole.
const FAN_OUT: usize = 16;
/// How long a node waits for the nodes behind it.
const FLOOD_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the outcome of a flood is shared with who comes later.
const REMEMBER_MS: u64 = 600_000;
/// Outcomes remembered, of either kind.
const REMEMBERED: usize = 65_536;

type Hash = [u8; 32];
type Outcome = Option<Bytes>;

/// Floods under way and their recent outcomes.
pub(super) struct Flood {
    found: Mutex<Recent<Hash, Bytes>>,
    /// By packet and stamp, so that whoever pays again may look again; with the hops that were left, so
    /// that a flood which was made short on purpose stops none that reaches further.
    failed: Mutex<Recent<Hash, (u8, Bytes)>>,
    running: Mutex<HashMap<Hash, watch::Receiver<Outcome>>>,
}

impl Default for Flood {
    fn default() -> Self {
        Self {
            found: Mutex::new(Recent::new(REMEMBER_MS, REMEMBERED)),
            failed: Mutex::new(Recent::new(REMEMBER_MS, REMEMBERED)),
            running: Mutex::default(),
        }
    }
}

impl Flood {
    /// What a flood of this packet came to, if another would come to the same.
    fn known(&self, packet: &Hash, payment: &Hash, hops: u8, now_ms: u64) -> Option<Bytes> {
        if let Some(answer) = self.found.lock().recall(packet, now_ms) {
            return Some(answer.clone());
        }
        let mut failed = self.failed.lock();
        let (reach, answer) = failed.recall(payment, now_ms)?;
        (hops <= *reach).then(|| answer.clone())
    }

    fn remember(&self, packet: Hash, payment: Hash, hops: u8, ended: &Ended, now_ms: u64) {
        match ended {
            Ended::Found(answer) => self.found.lock().remember(packet, answer.clone(), now_ms),
            Ended::Failed(answer) => {
                let mut failed = self.failed.lock();
                let reach = failed
                    .recall(&payment, now_ms)
                    .map_or(0, |(reach, _)| *reach);
                failed.remember(payment, (reach.max(hops), answer.clone()), now_ms);
            }
        }
    }
}

/// What a flood came to.
enum Ended {
    Found(Bytes),
    Failed(Bytes),
}

impl Ended {
    fn answer(self) -> Bytes {
        match self {
            Self::Found(answer) | Self::Failed(answer) => answer,
        }
    }
}

enum Part {
    Known(Bytes),
    Wait(watch::Receiver<Outcome>),
    Lead(watch::Sender<Outcome>),
}

impl Router {
    /// Passes a stamped packet on to nodes that may keep its key, and answers with the first
    /// acknowledgement. Whoever asks for the same packet meanwhile or soon after shares the outcome.
    pub(super) async fn spread(&self, arrived: Arrived, hops: u8) -> Reply {
        let hash: Hash = Sha256::digest(&arrived.packet).into();
        let payment: Hash = Sha256::new()
            .chain_update(hash)
            .chain_update(arrived.stamp.unwrap_or([0; STAMP_BYTES]))
            .finalize()
            .into();
        let part = {
            let mut running = self.flood.running.lock();
            if let Some(known) = self.flood.known(&hash, &payment, hops, now_ms()) {
                Part::Known(known)
            } else if let Some(outcome) = running.get(&hash) {
                Part::Wait(outcome.clone())
            } else {
                let (sender, receiver) = watch::channel(None);
                running.insert(hash, receiver);
                Part::Lead(sender)
            }
        };
        match part {
            Part::Known(answer) => Reply::Answer(answer),
            // A node that already passed it on has nothing to add to what the first asker learns; to
            // wait here would let floods wait for each other in a circle.
            Part::Wait(_) if arrived.broadcast => refuse(Refusal::UnknownKey),
            Part::Wait(mut outcome) => {
                let waited =
                    tokio::time::timeout(FLOOD_TIMEOUT, outcome.wait_for(Option::is_some)).await;
                match waited {
                    Ok(Ok(answer)) => answer
                        .clone()
                        .map_or_else(|| refuse(Refusal::UnknownKey), Reply::Answer),
                    _ => refuse(Refusal::Busy),
                }
            }
            Part::Lead(sender) => {
                let _end = Running { router: self, hash };
                let ended = self.ask_around(&arrived, &hash, hops).await;
                self.flood.remember(hash, payment, hops, &ended, now_ms());
                let answer = ended.answer();
                sender.send_replace(Some(answer.clone()));
                Reply::Answer(answer)
            }
        }
    }

    async fn ask_around(&self, arrived: &Arrived, hash: &Hash, hops: u8) -> Ended {
        let me = self.local.me;
        let mut nodes: Vec<NodeId> = self
            .ledger
            .index()
            .nodes()
            .iter()
            .map(|n| n.address)
            .filter(|n| *n != me && Some(*n) != arrived.from)
            .collect();
        nodes.shuffle(&mut rand::thread_rng());
        nodes.truncate(FAN_OUT);
        let request = Request {
            packet: arrived.packet.clone(),
            stamp: arrived.stamp,
            broadcast: true,
            stream: false,
            hops,
        };
        let mut asked: JoinSet<Option<Bytes>> = JoinSet::new();
        for node in nodes {
            let (links, request) = (Arc::clone(&self.links), request.clone());
            asked.spawn(async move {
                match links.request(node, request, FLOOD_TIMEOUT).await {
                    Ok(Reply::Answer(answer)) => Some(answer),
                    _ => None,
                }
            });
        }
        drop(request);
        let mut refused: Bytes = Answer::Refused(Refusal::UnknownKey).encode().into();
        let listening = async {
            while let Some(answer) = asked.join_next().await {
                let Ok(Some(bytes)) = answer else { continue };
                match Answer::decode(&bytes) {
                    Ok(Answer::Acknowledged(a)) if self.is_signed(&a, hash) => return Some(bytes),
                    // Found, but not taken now.
                    Ok(Answer::Refused(Refusal::QueueFull { .. } | Refusal::Superseded(_))) => {
                        refused = bytes
                    }
                    _ => {}
                }
            }
            None
        };
        match tokio::time::timeout(FLOOD_TIMEOUT, listening).await {
            Ok(Some(answer)) => Ended::Found(answer),
            _ => Ended::Failed(refused),
        }
    }

    /// Says whether a node of the ledger signed this; what is shared for minutes must not be made up by
    /// whoever answers first.
    fn is_signed(&self, a: &Acknowledgement, hash: &Hash) -> bool {
        self.ledger.node(&a.node).is_some_and(|node| {
            Certificate::parse(&node.certificate).is_ok_and(|c| a.verify(hash, &a.node, &c))
        })
    }
}

/// Ends a flood's entry also where its leader was cancelled.
struct Running<'r> {
    router: &'r Router,
    hash: Hash,
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.router.flood.running.lock().remove(&self.hash);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACKET: Hash = [1; 32];

    fn failed() -> Ended {
        Ended::Failed(Bytes::from_static(b"unknown"))
    }

    /// One stamp pays for one flood, not for as many as fit its hour.
    #[test]
    fn flood_that_failed_is_not_repeated_for_the_same_stamp() {
        let flood = Flood::default();
        flood.remember(PACKET, [2; 32], 2, &failed(), 5);
        assert!(flood.known(&PACKET, &[2; 32], 2, 6).is_some());
        assert!(flood.known(&PACKET, &[2; 32], 1, 6).is_some());
        assert!(flood.known(&PACKET, &[3; 32], 2, 6).is_none(), "paid anew");
        assert!(
            flood
                .known(&PACKET, &[2; 32], 2, 6 + 2 * REMEMBER_MS)
                .is_none()
        );
    }

    #[test]
    fn flood_made_short_on_purpose_stops_none_that_reaches_further() {
        let flood = Flood::default();
        flood.remember(PACKET, [2; 32], 0, &failed(), 5);
        assert!(flood.known(&PACKET, &[2; 32], 3, 6).is_none());
        flood.remember(PACKET, [2; 32], 3, &failed(), 6);
        flood.remember(PACKET, [2; 32], 1, &failed(), 7);
        assert!(flood.known(&PACKET, &[2; 32], 3, 8).is_some());
    }

    #[test]
    fn flood_that_found_is_shared_whoever_pays() {
        let flood = Flood::default();
        let found = Ended::Found(Bytes::from_static(b"stored"));
        flood.remember(PACKET, [2; 32], 1, &found, 5);
        assert_eq!(
            flood.known(&PACKET, &[9; 32], 3, 6),
            Some(Bytes::from_static(b"stored"))
        );
    }
}
