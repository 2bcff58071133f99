//! The bounded flood that looks for an unlisted mailbox.

use std::collections::HashMap;

use bytes::Bytes;
use parking_lot::Mutex;
use protocol::NodeId;
use protocol::answer::{Answer, Refusal};
use protocol::duplicates::Recent;
use rand::seq::SliceRandom as _;
use sha2::{Digest as _, Sha256};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;

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
/// Outcomes remembered.
const REMEMBERED: usize = 65_536;

type Outcome = Option<Bytes>;

/// Floods under way and their recent outcomes.
pub(super) struct Flood {
    recent: Mutex<Recent<[u8; 32], Bytes>>,
    running: Mutex<HashMap<[u8; 32], watch::Receiver<Outcome>>>,
}

impl Default for Flood {
    fn default() -> Self {
        Self {
            recent: Mutex::new(Recent::new(REMEMBER_MS, REMEMBERED)),
            running: Mutex::default(),
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
        let hash: [u8; 32] = Sha256::digest(&arrived.packet).into();
        let part = {
            let mut running = self.flood.running.lock();
            if let Some(known) = self.flood.recent.lock().recall(&hash, now_ms()) {
                Part::Known(known.clone())
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
                let (answer, found) = self.ask_around(&arrived, hops).await;
                if found {
                    self.flood
                        .recent
                        .lock()
                        .remember(hash, answer.clone(), now_ms());
                }
                sender.send_replace(Some(answer.clone()));
                Reply::Answer(answer)
            }
        }
    }

    async fn ask_around(&self, arrived: &Arrived, hops: u8) -> (Bytes, bool) {
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
        let asking = async {
            let mut asked: JoinSet<Option<Bytes>> = JoinSet::new();
            for node in nodes {
                let links = self.links.clone();
                let request = request.clone();
                asked.spawn(async move {
                    match links.request(node, request).await {
                        Ok(Reply::Answer(answer)) => Some(answer),
                        _ => None,
                    }
                });
            }
            let mut full = None;
            while let Some(answer) = asked.join_next().await {
                let Ok(Some(bytes)) = answer else { continue };
                match Answer::decode(&bytes) {
                    Ok(Answer::Acknowledged(_)) => return (bytes, true),
                    // Found, but not taken now: worth telling, not worth remembering.
                    Ok(Answer::Refused(Refusal::QueueFull { .. } | Refusal::Superseded(_))) => {
                        full = Some(bytes)
                    }
                    _ => {}
                }
            }
            (
                full.unwrap_or_else(|| Answer::Refused(Refusal::UnknownKey).encode().into()),
                false,
            )
        };
        tokio::time::timeout(FLOOD_TIMEOUT, asking)
            .await
            .unwrap_or_else(|_| (Answer::Refused(Refusal::UnknownKey).encode().into(), false))
    }
}

/// Ends a flood's entry also where its leader was cancelled.
struct Running<'r> {
    router: &'r Router,
    hash: [u8; 32],
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.router.flood.running.lock().remove(&self.hash);
    }
}
