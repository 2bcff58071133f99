//! Carrying out the forwarding decision: every packet, wherever it came from, passes [`Router::route`].

mod flood;
mod open;

pub(crate) use open::seal_one;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use packet::SizeClass;
use parking_lot::Mutex;
use protocol::NodeId;
use protocol::answer::{Answer, Refusal};
use protocol::forward::{Arrival, Decision, Origin, Postage, Reason, Tables as _, decide};
use protocol::frame::{Header, MAX_HOPS, STAMP_BYTES};
use protocol::freshness::Freshness;
use protocol::stamp::Stamp;
use sha2::{Digest as _, Sha256};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use wallet::SecretCertificate;

use crate::clock::now_ms;
use crate::config::{FAIL_OVER_AFTER, REQUEST_TIMEOUT_PER_HOP};
use crate::links::{Asker, Circuit, LinkError, Links, Local, Reply, Request};
use crate::mailbox::Mailboxes;
use crate::metrics::Metrics;
use crate::observer::Sight;
use crate::store::Claims;
use crate::streams::Streams;
use crate::tables::{Ledger, NodeTables};

/// A packet that reached this node, and how.
#[derive(Debug, Clone)]
pub(crate) struct Arrived {
    pub(crate) packet: Bytes,
    pub(crate) origin: Origin,
    pub(crate) stamp: Option<[u8; STAMP_BYTES]>,
    pub(crate) broadcast: bool,
    pub(crate) stream: bool,
    pub(crate) hops: u8,
    /// The node that sent it, on a flood.
    pub(crate) from: Option<NodeId>,
    /// The circuit that it asks for.
    pub(crate) circuit: Option<Arc<Circuit>>,
}

impl Arrived {
    /// A packet from a client's exchange.
    pub(crate) fn from_client(header: &Header, packet: Bytes) -> Self {
        Self {
            packet,
            origin: Origin::Client,
            stamp: header.stamp,
            // Only a node starts a flood.
            broadcast: false,
            stream: header.stream,
            hops: MAX_HOPS,
            from: None,
            circuit: None,
        }
    }

    /// A packet from another node's link.
    pub(crate) fn from_link(peer: NodeId, header: Header, packet: Bytes) -> Self {
        Self {
            packet,
            origin: Origin::Link,
            stamp: header.stamp,
            broadcast: header.broadcast,
            stream: header.stream,
            hops: header.hops.min(MAX_HOPS),
            from: Some(peer),
            circuit: None,
        }
    }
}

/// The heart of the node: owns what a packet's way through it needs.
pub(crate) struct Router {
    local: Arc<Local>,
    tables: NodeTables,
    ledger: Arc<Ledger>,
    links: Arc<Links>,
    mailboxes: Arc<Mailboxes>,
    certificate: Arc<SecretCertificate>,
    freshness: Mutex<Freshness>,
    /// Where other processes run under the same key: what they have obeyed.
    claims: Option<Arc<dyn Claims>>,
    flood: flood::Flood,
    streams: Arc<Streams>,
    stamp_effort: u32,
    metrics: Arc<Metrics>,
    shutdown: CancellationToken,
}

/// The parts of a [`Router`].
pub(crate) struct RouterParts {
    pub(crate) local: Arc<Local>,
    pub(crate) tables: NodeTables,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) links: Arc<Links>,
    pub(crate) mailboxes: Arc<Mailboxes>,
    pub(crate) certificate: Arc<SecretCertificate>,
    pub(crate) freshness: Freshness,
    pub(crate) claims: Option<Arc<dyn Claims>>,
    pub(crate) streams: Arc<Streams>,
    pub(crate) stamp_effort: u32,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) shutdown: CancellationToken,
}

/// A packet and the stamp beside it, for who asks for one.
pub(crate) struct Postmark<'a> {
    pub(crate) packet: &'a [u8],
    pub(crate) stamp: Option<[u8; STAMP_BYTES]>,
}

impl Postmark<'_> {
    /// Says whether the stamp pays `effort` for the packet now.
    pub(crate) fn pays(&self, effort: u32) -> bool {
        self.stamp.is_some_and(|stamp| {
            let hash: [u8; 32] = Sha256::digest(self.packet).into();
            Stamp::from_bytes(&stamp).is_ok_and(|s| s.verify(&hash, effort, now_ms()).is_ok())
        })
    }
}

pub(crate) fn refuse(refusal: Refusal) -> Reply {
    Reply::Answer(Answer::Refused(refusal).encode().into())
}

impl Router {
    pub(crate) fn new(parts: RouterParts) -> Self {
        let RouterParts {
            local,
            tables,
            ledger,
            links,
            mailboxes,
            certificate,
            freshness,
            claims,
            streams,
            stamp_effort,
            metrics,
            shutdown,
        } = parts;
        let (freshness, flood) = (Mutex::new(freshness), flood::Flood::default());
        Self {
            local,
            tables,
            ledger,
            links,
            mailboxes,
            certificate,
            freshness,
            claims,
            flood,
            streams,
            stamp_effort,
            metrics,
            shutdown,
        }
    }

    pub(crate) fn streams(&self) -> &Streams {
        &self.streams
    }

    pub(crate) fn local(&self) -> &Local {
        &self.local
    }

    pub(crate) fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    pub(crate) fn links(&self) -> &Arc<Links> {
        &self.links
    }

    pub(crate) fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    pub(crate) fn shutdown(&self) -> &CancellationToken {
        &self.shutdown
    }

    pub(crate) fn freshness(&self) -> &Mutex<Freshness> {
        &self.freshness
    }

    /// The link on which a packet from another goes straight on, and the hops left to it: if nothing is to be
    /// done with it but that, and only one node can be its next.
    pub(crate) fn passes_on(&self, header: &Header, packet: &[u8]) -> Option<(Asker, u8)> {
        if header.stream || header.broadcast || header.circuit {
            return None;
        }
        let arrival = Arrival {
            origin: Origin::Link,
            postage: Postage::Unpaid,
            broadcast: false,
            hops: header.hops.min(MAX_HOPS),
        };
        let decision = decide(packet::peek(packet), &arrival, &self.tables);
        let Decision::Send { to, hops } = decision else {
            return None;
        };
        let [only] = to.as_slice() else { return None };
        let asker = self.links.at_hand(only)?;
        self.metrics.count(name(&decision), packet.len());
        Some((asker, hops))
    }

    /// Decides where a packet goes, takes it there and brings back what was answered.
    pub(crate) async fn route(&self, arrived: Arrived) -> Reply {
        let peeked = packet::peek(&arrived.packet);
        let mut arrival = Arrival {
            origin: arrived.origin,
            postage: Postage::Unpaid,
            broadcast: arrived.broadcast,
            hops: arrived.hops,
        };
        let mut decision = decide(peeked, &arrival, &self.tables);
        // A stamp is checked only where the decision hangs on it.
        if decision == Decision::Refuse(Reason::Unpaid) && self.is_paid(&arrived) {
            arrival.postage = Postage::Paid;
            decision = decide(peeked, &arrival, &self.tables);
        }
        self.metrics.count(name(&decision), arrived.packet.len());
        match decision {
            Decision::Open => Box::pin(self.open(arrived)).await,
            // What is to be stored or flooded is nobody's to talk to.
            Decision::Store | Decision::Broadcast { .. } if arrived.circuit.is_some() => {
                refuse(Refusal::Unsupported)
            }
            Decision::Store => match peeked {
                Ok(key) => self.keep(key, arrived).await,
                Err(_) => refuse(Refusal::Malformed),
            },
            Decision::Send { to, hops } => self.send(to.as_slice(), hops, arrived).await,
            Decision::Broadcast { hops } => self.spread(arrived, hops).await,
            Decision::Refuse(reason) => refuse(match reason {
                Reason::Malformed(_) => Refusal::Malformed,
                Reason::Unpaid => Refusal::StampRequired {
                    effort: self.stamp_effort,
                },
                Reason::Unknown | Reason::OutOfHops => Refusal::UnknownKey,
                Reason::NoSuchNode => Refusal::Unreachable,
                _ => Refusal::Denied,
            }),
            _ => refuse(Refusal::Unsupported),
        }
    }

    fn is_paid(&self, arrived: &Arrived) -> bool {
        Postmark {
            packet: &arrived.packet,
            stamp: arrived.stamp,
        }
        .pays(self.stamp_effort)
    }

    async fn keep(&self, key: wallet::KeyId, arrived: Arrived) -> Reply {
        let node = self.tables.me();
        let kept = self
            .mailboxes
            .keep(node, key, arrived.packet, arrived.stamp)
            .await;
        let answer = kept.encode();
        self.local.eyes.see(Sight::Answer { answer: &answer });
        Reply::Answer(answer.into())
    }

    /// Lets a circuit go on to the first node that there is a link to.
    async fn extend(&self, to: &[NodeId], request: &Request, circuit: &Arc<Circuit>) -> Reply {
        let mut refusal = Refusal::Unreachable;
        for node in to {
            match self.links.extend(*node, request, circuit).await {
                Ok(()) => return Reply::Circuit,
                Err(LinkError::Busy) => refusal = Refusal::Busy,
                Err(LinkError::NoSuchNode | LinkError::Unreachable | LinkError::Lost) => {}
            }
        }
        refuse(refusal)
    }

    /// Sends to the first node that can be reached. Only a failure to reach it moves on: what a node
    /// answers is for the sender to judge.
    async fn send(&self, to: &[NodeId], hops: u8, arrived: Arrived) -> Reply {
        if SizeClass::for_packet_len(arrived.packet.len()).is_none() {
            return refuse(Refusal::TooLarge);
        }
        let request = Request {
            packet: arrived.packet,
            stamp: arrived.stamp,
            broadcast: false,
            stream: arrived.stream,
            hops,
        };
        if let Some(circuit) = arrived.circuit {
            return self.extend(to, &request, &circuit).await;
        }
        let mut refusal = Refusal::Unreachable;
        let end = Instant::now() + patience(hops);
        let (mut next, mut request) = (to.iter(), Some(request));
        while let (Some(node), Some(asked)) = (next.next(), request.take()) {
            let mut patience = end.saturating_duration_since(Instant::now());
            // The last one is waited for, and the packet is not held meanwhile.
            if !next.as_slice().is_empty() {
                patience = patience.min(FAIL_OVER_AFTER);
                request = Some(asked.clone());
            }
            match self.links.request(*node, asked, patience).await {
                Ok(reply) => return reply,
                Err(LinkError::Busy) => refusal = Refusal::Busy,
                Err(LinkError::NoSuchNode | LinkError::Unreachable | LinkError::Lost) => {}
            }
        }
        refuse(refusal)
    }
}

/// How long a request may take that has so many hops left.
pub(crate) fn patience(hops: u8) -> Duration {
    REQUEST_TIMEOUT_PER_HOP * (u32::from(hops) + 1)
}

fn name(decision: &Decision) -> &'static str {
    match decision {
        Decision::Open => "open",
        Decision::Store => "store",
        Decision::Send { .. } => "send",
        Decision::Broadcast { .. } => "broadcast",
        _ => "refuse",
    }
}
