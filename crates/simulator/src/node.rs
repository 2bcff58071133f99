//! A node: the real decision, freshness, layers and signatures over a store that is two lists.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;
use protocol::NodeId;
use protocol::answer::{Acknowledgement, Answer, Item, ItemSealer, NodeTime, Refusal, seal_answer};
use protocol::command::{Body, Command, Request, Ties, owner_message};
use protocol::forward::{Arrival, Decision, Origin, Postage, Tables, decide};
use protocol::freshness::{Freshness, NotFresh};
use rand::Rng as _;
use rand_chacha::ChaCha20Rng;
use wallet::{Certificate, CertificateKind, KeyId, SecretCertificate, WalletKey};

/// What everyone knows of everyone: the ledger.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    pub(crate) keys: HashMap<KeyId, NodeId>,
    pub(crate) certificates: HashMap<NodeId, Certificate>,
    pub(crate) routes: HashMap<KeyId, Vec<NodeId>>,
}

/// What a node does with an arrival.
pub(crate) enum Effect {
    /// Answers at once.
    Answer(Answer),
    /// Asks the next node, whose answer goes back under this key, if any.
    Ask {
        to: NodeId,
        packet: Bytes,
        origin_hops: u8,
        seal_to: Option<protocol::answer::AnswerKey>,
    },
    /// Answers once the append is on disk.
    Stored { answer: Answer },
}

pub(crate) struct Node {
    pub(crate) id: NodeId,
    certificate: SecretCertificate,
    keeps: HashSet<KeyId>,
    owner: Option<Certificate>,
    freshness: Freshness,
    /// On disk: the ceiling, packets with their cursors, each device's mark.
    ceiling_on_disk: u64,
    on_disk: Vec<(u64, [u8; 32], u64, Bytes)>,
    marks: HashMap<[u8; 16], u64>,
    /// Appended, not yet synced: lost in a crash.
    buffered: Vec<(u64, [u8; 32], u64, Bytes)>,
    next_cursor: u64,
    /// Every command obeyed, over all lives of the process.
    pub(crate) obeyed: HashMap<(u64, [u8; 16]), u32>,
}

struct View<'a> {
    node: &'a Node,
    mine: Vec<KeyId>,
    ledger: &'a Ledger,
}

impl Tables for View<'_> {
    fn me(&self) -> NodeId {
        self.node.id
    }
    fn is_mine(&self, key: &KeyId) -> bool {
        self.mine.contains(key)
    }
    fn is_kept(&self, key: &KeyId) -> bool {
        self.node.keeps.contains(key)
    }
    fn node_with_key(&self, key: &KeyId) -> Option<NodeId> {
        self.ledger.keys.get(key).copied()
    }
    fn is_node(&self, node: &NodeId) -> bool {
        self.ledger.certificates.contains_key(node)
    }
    fn mailboxes_of(&self, key: &KeyId, each: &mut dyn FnMut(NodeId)) {
        self.ledger
            .routes
            .get(key)
            .into_iter()
            .flatten()
            .copied()
            .for_each(each);
    }
}

/// Nonces that a simulated node remembers: few, so that the bound is met in every run.
const NONCES: usize = 64;

impl Node {
    pub(crate) fn new(rng: &mut ChaCha20Rng, now_ms: u64) -> Self {
        let wallet = WalletKey::generate(rng);
        #[expect(clippy::expect_used, reason = "a fresh key makes a certificate")]
        let certificate =
            SecretCertificate::create(&wallet, CertificateKind::NODE, now_ms / 1000, rng)
                .expect("a certificate");
        let mut node = Self {
            id: wallet.address(),
            certificate,
            keeps: HashSet::new(),
            owner: None,
            freshness: Freshness::resume(0, NONCES),
            ceiling_on_disk: 0,
            on_disk: Vec::new(),
            marks: HashMap::new(),
            buffered: Vec::new(),
            next_cursor: 1,
            obeyed: HashMap::new(),
        };
        node.raise_ceiling(now_ms);
        node
    }

    pub(crate) fn certificate(&self) -> &Certificate {
        self.certificate.certificate()
    }

    pub(crate) fn open_account(&mut self, owner: &Certificate) {
        self.keeps = owner.key_ids().into_iter().collect();
        self.owner = Some(owner.clone());
    }

    /// The process dies and comes back: memory and what was not synced are gone.
    pub(crate) fn crash(&mut self, now_ms: u64) {
        self.buffered.clear();
        self.next_cursor = self.on_disk.last().map_or(1, |(cursor, ..)| cursor + 1);
        self.freshness = Freshness::resume(self.ceiling_on_disk, NONCES);
        self.raise_ceiling(now_ms);
    }

    pub(crate) fn raise_ceiling(&mut self, now_ms: u64) {
        if let Some(due) = self.freshness.ceiling_due(now_ms) {
            self.ceiling_on_disk = due;
            self.freshness.raise_ceiling(due);
        }
    }

    /// Everything appended so far is on disk.
    pub(crate) fn sync(&mut self) {
        self.on_disk.append(&mut self.buffered);
    }

    pub(crate) fn is_on_disk(&self, hash: &[u8; 32]) -> bool {
        self.on_disk.iter().any(|(_, h, ..)| h == hash)
    }

    /// Handles a packet as the daemon does.
    pub(crate) fn handle(
        &mut self,
        packet: Bytes,
        origin: Origin,
        hops: u8,
        ledger: &Ledger,
        now_ms: u64,
    ) -> Effect {
        let peeked = packet::peek(&packet);
        let arrival = Arrival {
            origin,
            postage: Postage::Unpaid,
            broadcast: false,
            hops,
        };
        let view = View {
            mine: self.certificate().key_ids(),
            node: self,
            ledger,
        };
        match decide(peeked, &arrival, &view) {
            Decision::Open => self.open(packet, hops, ledger, now_ms),
            Decision::Store => self.store(packet, now_ms),
            Decision::Send { to, hops } => match to.as_slice().first() {
                Some(to) => Effect::Ask {
                    to: *to,
                    packet,
                    origin_hops: hops,
                    seal_to: None,
                },
                None => Effect::Answer(Answer::Refused(Refusal::Unreachable)),
            },
            _ => Effect::Answer(Answer::Refused(Refusal::UnknownKey)),
        }
    }

    fn store(&mut self, packet: Bytes, now_ms: u64) -> Effect {
        let hash = packet::Packet::new(packet.clone())
            .map(|p| p.hash())
            .unwrap_or_default();
        let known = self
            .on_disk
            .iter()
            .chain(&self.buffered)
            .find(|(_, h, ..)| *h == hash)
            .map(|(_, _, at, _)| *at);
        let at = known.unwrap_or_else(|| {
            self.buffered.push((self.next_cursor, hash, now_ms, packet));
            self.next_cursor += 1;
            now_ms
        });
        let answer = Answer::Acknowledged(Acknowledgement::sign(self.id, hash, at, |m| {
            self.certificate.sign_raw(m)
        }));
        Effect::Stored { answer }
    }

    fn open(&mut self, packet: Bytes, hops: u8, ledger: &Ledger, now_ms: u64) -> Effect {
        let Ok(content) = packet::open_layer(&packet, &self.certificate) else {
            return Effect::Answer(Answer::Refused(Refusal::Malformed));
        };
        let Ok(command) = Command::decode(&content) else {
            return Effect::Answer(Answer::Refused(Refusal::Malformed));
        };
        let Ties {
            node,
            time_ms,
            nonce,
            answer_key,
        } = command.ties.clone();
        let sealed = |answer: &Answer| {
            Effect::Answer(Answer::Sealed(
                seal_answer(&answer_key, &answer.encode(), false).into(),
            ))
        };
        if node != self.id {
            return sealed(&Answer::Refused(Refusal::Denied));
        }
        match self.freshness.accept(time_ms, &nonce, now_ms) {
            Ok(()) => *self.obeyed.entry((time_ms, nonce)).or_default() += 1,
            Err(NotFresh::Stale { use_ms }) => {
                let time =
                    NodeTime::sign(self.id, use_ms, &nonce, |m| self.certificate.sign_raw(m));
                return sealed(&Answer::Refused(Refusal::Stale(time)));
            }
            Err(_) => return sealed(&Answer::Refused(Refusal::Replayed)),
        }
        match command.body {
            Body::Forward { next, inner, .. } => {
                let inner = content.slice_ref(inner);
                match self.handle(
                    inner,
                    Origin::Layer { depth: 1, next },
                    hops,
                    ledger,
                    now_ms,
                ) {
                    Effect::Ask {
                        to,
                        packet,
                        origin_hops,
                        ..
                    } => Effect::Ask {
                        to,
                        packet,
                        origin_hops,
                        seal_to: Some(answer_key),
                    },
                    other => other,
                }
            }
            Body::Owner {
                request, signature, ..
            } => {
                let proven = self.owner.as_ref().is_some_and(|o| {
                    o.verify_raw(&owner_message(&command.ties, request), &signature)
                });
                if !proven {
                    return sealed(&Answer::Refused(Refusal::Denied));
                }
                match Request::decode(request) {
                    Ok(Request::Collect { device, after, .. }) => {
                        let after =
                            after.unwrap_or_else(|| self.marks.get(&device).copied().unwrap_or(0));
                        let mut sealer = ItemSealer::new(&answer_key, false);
                        let next = self.on_disk.iter().find(|(cursor, ..)| *cursor > after);
                        let item = match next {
                            Some((cursor, _, at, packet)) => Item::Packet {
                                cursor: *cursor,
                                stored_at_ms: *at,
                                packet: packet.clone(),
                            },
                            None => Item::CaughtUp {
                                cursor: after,
                                node_time_ms: now_ms,
                            },
                        };
                        Effect::Answer(Answer::Sealed(sealer.seal(&item.encode()).into()))
                    }
                    Ok(Request::Acknowledge { device, cursor }) => {
                        let mark = self.marks.entry(device).or_default();
                        *mark = cursor.max(*mark);
                        sealed(&Answer::Done)
                    }
                    _ => sealed(&Answer::Refused(Refusal::Unsupported)),
                }
            }
            _ => sealed(&Answer::Refused(Refusal::Unsupported)),
        }
    }
}

/// The time until an append is on disk, in milliseconds.
pub(crate) fn sync_delay_ms(rng: &mut ChaCha20Rng) -> u64 {
    rng.gen_range(1..20)
}
