//! The run itself: who asks whom, what the network does to it, and what must hold in the end.

use std::collections::HashMap;

use bytes::Bytes;
use packet::{Packet, Verified};
use protocol::NodeId;
use protocol::answer::{Answer, AnswerKey, Item, ItemOpener, Refusal, open_answer, seal_answer};
use protocol::command::{Request, Ties};
use protocol::forward::Origin;
use protocol::frame::MAX_HOPS;
use rand::seq::SliceRandom as _;
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha20Rng;
use wallet::Certificate;

use crate::client::{Inbox, Person};
use crate::clock::Clock;
use crate::node::{Effect, Ledger, Node, sync_delay_ms};

const START_MS: u64 = 1_800_000_000_000;
const ENTRIES: usize = 3;
const RELAYS: usize = 3;
const MAILBOXES: usize = 2;
const NODES: usize = ENTRIES + RELAYS + MAILBOXES;
const DEVICE: [u8; 16] = [9; 16];
/// A client waits this long for an answer, then tries another way.
const PATIENCE_MS: u64 = 3_000;
const BACKOFF_MOST_MS: u64 = 12_000;
/// A run that has not settled by then never will.
const GIVE_UP_MS: u64 = 1_800_000;
/// Events of one run at most.
const MAX_EVENTS: usize = 300_000;

/// What the network and the machines do to a run.
#[derive(Debug, Clone)]
pub struct Weather {
    /// Messages sent.
    pub messages: u64,
    /// Chance that a transmission is lost.
    pub loss: f64,
    /// Chance that it arrives twice.
    pub repeat: f64,
    /// One-way delay in milliseconds, and how far it varies.
    pub delay_ms: (u64, u64),
    /// Crashes of random nodes, and of the recipient's program, spread over the bad time.
    pub crashes: u32,
    /// Partitions: spans in which a random node is cut off.
    pub partitions: u32,
    /// How wrong the clients' clocks may be, in milliseconds.
    pub clock_error_ms: i64,
    /// How long the bad time lasts; after it the network is merely slow.
    pub bad_ms: u64,
}

impl Weather {
    /// Nothing goes wrong.
    #[must_use]
    pub fn fair() -> Self {
        Self {
            messages: 6,
            loss: 0.0,
            repeat: 0.0,
            delay_ms: (80, 25),
            crashes: 0,
            partitions: 0,
            clock_error_ms: 0,
            bad_ms: 0,
        }
    }

    /// Everything goes wrong at once.
    #[must_use]
    pub fn storm() -> Self {
        Self {
            messages: 8,
            loss: 0.15,
            repeat: 0.1,
            delay_ms: (80, 60),
            crashes: 8,
            partitions: 3,
            clock_error_ms: 86_400_000,
            bad_ms: 40_000,
        }
    }
}

/// What came of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The seed that replays it.
    pub seed: u64,
    /// Sequence numbers that the sender believes to be stored.
    pub acknowledged: Vec<u64>,
    /// Sequence numbers in the order in which the recipient was shown them.
    pub shown: Vec<u64>,
    /// Messages that the recipient was told are missing (they may still have come later).
    pub gaps: u64,
    /// Virtual milliseconds until everything was settled.
    pub took_ms: u64,
    /// Events played.
    pub events: usize,
    violations: Vec<String>,
}

impl Outcome {
    /// The promises that were broken, in words; empty if none.
    #[must_use]
    pub fn violations(&self) -> Vec<String> {
        self.violations.clone()
    }
}

/// Where an answer goes back to, innermost last.
#[derive(Clone)]
enum Hop {
    Client(u64),
    Node {
        index: usize,
        life: u32,
        seal_to: Option<AnswerKey>,
    },
}

enum Event {
    Arrive {
        at: usize,
        packet: Bytes,
        origin: Origin,
        hops: u8,
        back: Vec<Hop>,
    },
    Reply {
        answer: Answer,
        back: Vec<Hop>,
    },
    Synced {
        at: usize,
        life: u32,
        answer: Answer,
        back: Vec<Hop>,
    },
    Crash(usize),
    RecipientRestarts,
    Cut(usize),
    Heal(usize),
    Ceilings,
    Attempt {
        message: usize,
    },
    Collect {
        mailbox: usize,
    },
    TimedOut {
        request: u64,
    },
    Look,
}

enum Asked {
    Submit {
        message: usize,
        relay: usize,
        mailbox: usize,
        ties: Ties,
    },
    Collect {
        mailbox: usize,
        ties: Ties,
    },
    Acknowledge {
        mailbox: usize,
        ties: Ties,
    },
}

struct Message {
    packet: Packet,
    attempts: u32,
    acknowledged_by: Option<usize>,
}

struct World {
    rng: ChaCha20Rng,
    clock: Clock<Event>,
    weather: Weather,
    nodes: Vec<Node>,
    lives: Vec<u32>,
    cut: Vec<bool>,
    ledger: Ledger,
    alice: Person,
    bob: Person,
    bob_certificate: Certificate,
    messages: Vec<Message>,
    inbox: Inbox,
    /// The recipient's place in each mailbox, in memory only.
    places: Vec<Option<u64>>,
    asked: HashMap<u64, Asked>,
    next_request: u64,
    violations: Vec<String>,
}

/// Plays one run.
#[must_use]
pub fn run(seed: u64, weather: &Weather) -> Outcome {
    let mut world = World::new(seed, weather.clone());
    let mut events = 0;
    while events < MAX_EVENTS && world.clock.now_ms() < START_MS + GIVE_UP_MS && !world.is_settled()
    {
        let Some(event) = world.clock.step() else {
            break;
        };
        events += 1;
        world.play(event);
    }
    world.finish(seed, events)
}

impl World {
    fn new(seed: u64, weather: Weather) -> Self {
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        let nodes: Vec<Node> = (0..NODES).map(|_| Node::new(&mut rng, START_MS)).collect();
        let mailboxes: Vec<NodeId> = nodes.iter().skip(ENTRIES + RELAYS).map(|n| n.id).collect();
        let mut wrong = || match weather.clock_error_ms {
            0 => 0,
            most => rng.gen_range(-most..=most),
        };
        let errors = (wrong(), wrong());
        let alice = Person::new(&mut rng, START_MS, errors.0, vec![]);
        let bob = Person::new(&mut rng, START_MS, errors.1, mailboxes.clone());
        let bob_certificate = bob.certificate.certificate().clone();
        let mut ledger = Ledger::default();
        for node in &nodes {
            ledger.keys.extend(
                node.certificate()
                    .key_ids()
                    .into_iter()
                    .map(|key| (key, node.id)),
            );
            ledger
                .certificates
                .insert(node.id, node.certificate().clone());
        }
        ledger.routes.extend(
            bob_certificate
                .key_ids()
                .into_iter()
                .map(|key| (key, mailboxes.clone())),
        );
        let messages = (0..weather.messages)
            .filter_map(|n| alice.seal(n, &bob_certificate, START_MS, &mut rng))
            .map(|packet| Message {
                packet,
                attempts: 0,
                acknowledged_by: None,
            })
            .collect();
        let mut world = Self {
            lives: vec![0; NODES],
            cut: vec![false; NODES],
            places: vec![None; MAILBOXES],
            clock: Clock::starting_at(START_MS),
            inbox: Inbox::new(),
            asked: HashMap::new(),
            next_request: 0,
            violations: Vec::new(),
            rng,
            weather,
            nodes,
            ledger,
            alice,
            bob,
            bob_certificate,
            messages,
        };
        world.schedule();
        world
    }

    fn schedule(&mut self) {
        let certificate = self.bob_certificate.clone();
        self.nodes
            .iter_mut()
            .skip(ENTRIES + RELAYS)
            .for_each(|n| n.open_account(&certificate));
        for message in 0..self.messages.len() {
            let at = self.rng.gen_range(0..5_000);
            self.clock.after(at, Event::Attempt { message });
        }
        for mailbox in 0..MAILBOXES {
            self.clock.after(10, Event::Collect { mailbox });
        }
        let bad = self.weather.bad_ms.max(1);
        for _ in 0..self.weather.crashes {
            let (at, node) = (self.rng.gen_range(0..bad), self.rng.gen_range(0..NODES + 1));
            let event = if node == NODES {
                Event::RecipientRestarts
            } else {
                Event::Crash(node)
            };
            self.clock.after(at, event);
        }
        for _ in 0..self.weather.partitions {
            let (at, node, span) = (
                self.rng.gen_range(0..bad),
                self.rng.gen_range(0..NODES),
                self.rng.gen_range(1_000..20_000),
            );
            self.clock.after(at, Event::Cut(node));
            self.clock.after(at + span, Event::Heal(node));
        }
        self.clock.after(10_000, Event::Ceilings);
        self.clock.after(1_000, Event::Look);
    }

    fn is_settled(&self) -> bool {
        self.messages.iter().all(|m| m.acknowledged_by.is_some())
            && self.inbox.shown.len() >= self.messages.len()
    }

    fn play(&mut self, event: Event) {
        let now = self.clock.now_ms();
        match event {
            Event::Arrive {
                at,
                packet,
                origin,
                hops,
                back,
            } => self.arrive(at, packet, origin, hops, back),
            Event::Reply { answer, back } => self.reply(answer, back),
            Event::Synced {
                at,
                life,
                answer,
                back,
            } => {
                if self.lives.get(at) == Some(&life) {
                    if let Some(node) = self.nodes.get_mut(at) {
                        node.sync();
                    }
                    self.send_back(answer, back);
                }
            }
            Event::Crash(at) => {
                if let (Some(node), Some(life)) = (self.nodes.get_mut(at), self.lives.get_mut(at)) {
                    node.crash(now);
                    *life += 1;
                }
            }
            Event::RecipientRestarts => self.places.fill(None),
            Event::Cut(at) => self.set_cut(at, true),
            Event::Heal(at) => self.set_cut(at, false),
            Event::Ceilings => {
                self.nodes.iter_mut().for_each(|n| n.raise_ceiling(now));
                self.clock.after(10_000, Event::Ceilings);
            }
            Event::Attempt { message } => self.attempt(message),
            Event::Collect { mailbox } => self.collect(mailbox),
            Event::TimedOut { request } => self.timed_out(request),
            Event::Look => {
                self.inbox.poll(now);
                self.clock.after(1_000, Event::Look);
            }
        }
    }

    fn set_cut(&mut self, at: usize, cut: bool) {
        if let Some(flag) = self.cut.get_mut(at) {
            *flag = cut;
        }
    }

    /// The delays after which a transmission arrives: none if it is lost, two if it is repeated.
    fn transmit(&mut self, to: Option<usize>) -> Vec<u64> {
        let bad = self.clock.now_ms() < START_MS + self.weather.bad_ms;
        let is_cut = to.and_then(|at| self.cut.get(at)).copied().unwrap_or(false);
        let (loss, repeat) = if bad {
            (self.weather.loss, self.weather.repeat)
        } else {
            (0.0, 0.0)
        };
        if is_cut || self.rng.gen_bool(loss) {
            return Vec::new();
        }
        let copies = if self.rng.gen_bool(repeat) { 2 } else { 1 };
        let (delay, varies) = self.weather.delay_ms;
        (0..copies)
            .map(|_| {
                self.rng
                    .gen_range(delay.saturating_sub(varies)..=delay + varies)
            })
            .collect()
    }

    fn ask(&mut self, at: usize, packet: &Bytes, origin: Origin, hops: u8, back: &[Hop]) {
        for delay in self.transmit(Some(at)) {
            self.clock.after(
                delay,
                Event::Arrive {
                    at,
                    packet: packet.clone(),
                    origin,
                    hops,
                    back: back.to_vec(),
                },
            );
        }
    }

    fn send_back(&mut self, answer: Answer, back: Vec<Hop>) {
        let to = match back.last() {
            Some(Hop::Node { index, .. }) => Some(*index),
            _ => None,
        };
        for delay in self.transmit(to) {
            self.clock.after(
                delay,
                Event::Reply {
                    answer: answer.clone(),
                    back: back.clone(),
                },
            );
        }
    }

    fn arrive(&mut self, at: usize, packet: Bytes, origin: Origin, hops: u8, mut back: Vec<Hop>) {
        let now = self.clock.now_ms();
        let Some(node) = self.nodes.get_mut(at) else {
            return;
        };
        let life = self.lives.get(at).copied().unwrap_or(0);
        match node.handle(packet, origin, hops, &self.ledger, now) {
            Effect::Answer(answer) => self.send_back(answer, back),
            Effect::Stored { answer } => {
                let wait = sync_delay_ms(&mut self.rng);
                self.clock.after(
                    wait,
                    Event::Synced {
                        at,
                        life,
                        answer,
                        back,
                    },
                );
            }
            Effect::Ask {
                to,
                packet,
                origin_hops,
                seal_to,
            } => {
                let Some(next) = self.nodes.iter().position(|n| n.id == to) else {
                    return;
                };
                back.push(Hop::Node {
                    index: at,
                    life,
                    seal_to,
                });
                self.ask(next, &packet, Origin::Link, origin_hops, &back);
            }
        }
    }

    fn reply(&mut self, answer: Answer, mut back: Vec<Hop>) {
        match back.pop() {
            Some(Hop::Node {
                index,
                life,
                seal_to,
            }) => {
                // A node that has died since has forgotten who asked.
                if self.lives.get(index) != Some(&life) {
                    return;
                }
                let answer = match seal_to {
                    Some(key) => Answer::Sealed(seal_answer(&key, &answer.encode(), true).into()),
                    None => answer,
                };
                self.send_back(answer, back);
            }
            Some(Hop::Client(request)) => self.answered(request, answer),
            None => {}
        }
    }

    fn start(&mut self, at: usize, packet: &Bytes, asked: Asked) {
        let request = self.next_request;
        self.next_request += 1;
        self.asked.insert(request, asked);
        self.clock.after(PATIENCE_MS, Event::TimedOut { request });
        self.ask(
            at,
            packet,
            Origin::Client,
            MAX_HOPS,
            &[Hop::Client(request)],
        );
    }

    fn attempt(&mut self, message: usize) {
        let now = self.clock.now_ms();
        let Some(m) = self.messages.get_mut(message) else {
            return;
        };
        if m.acknowledged_by.is_some() {
            return;
        }
        let mailbox = ENTRIES + RELAYS + m.attempts as usize % MAILBOXES;
        m.attempts += 1;
        let inner = m.packet.clone();
        let entry = self.rng.gen_range(0..ENTRIES);
        let relay = self.rng.gen_range(ENTRIES..ENTRIES + RELAYS);
        let (Some(relay_node), Some(mailbox_node)) =
            (self.nodes.get(relay), self.nodes.get(mailbox))
        else {
            return;
        };
        let (relay_id, mailbox_id) = (relay_node.id, mailbox_node.id);
        let relay_certificate = relay_node.certificate().clone();
        let ties = self.alice.ties(relay_id, now, &mut self.rng);
        let layer =
            Person::forward_layer(&ties, &relay_certificate, mailbox_id, &inner, &mut self.rng);
        if let Some(layer) = layer {
            self.start(
                entry,
                &layer,
                Asked::Submit {
                    message,
                    relay,
                    mailbox,
                    ties,
                },
            );
        }
    }

    fn collect(&mut self, mailbox: usize) {
        let after = self.places.get(mailbox).copied().flatten();
        let request = Request::Collect {
            device: DEVICE,
            after,
            window_bytes: 1 << 20,
            stay: false,
        };
        self.ask_as_owner(mailbox, &request, |mailbox, ties| Asked::Collect {
            mailbox,
            ties,
        });
    }

    fn ask_as_owner(
        &mut self,
        mailbox: usize,
        request: &Request<'_>,
        asked: impl FnOnce(usize, Ties) -> Asked,
    ) {
        let now = self.clock.now_ms();
        let Some(node) = self.nodes.get(ENTRIES + RELAYS + mailbox) else {
            return;
        };
        let (id, certificate) = (node.id, node.certificate().clone());
        let ties = self.bob.ties(id, now, &mut self.rng);
        let layer = self
            .bob
            .owner_layer(&ties, &certificate, request, &mut self.rng);
        let entries: Vec<usize> = (0..ENTRIES).collect();
        if let (Some(layer), Some(entry)) = (layer, entries.choose(&mut self.rng)) {
            self.start(*entry, &layer, asked(mailbox, ties));
        }
    }

    fn timed_out(&mut self, request: u64) {
        match self.asked.remove(&request) {
            Some(Asked::Submit { message, .. }) => {
                let attempts = self.messages.get(message).map_or(0, |m| m.attempts);
                let wait = (200u64 << attempts.min(8)).min(BACKOFF_MOST_MS);
                let wait = self.rng.gen_range(wait / 2..=wait);
                self.clock.after(wait, Event::Attempt { message });
            }
            Some(Asked::Collect { mailbox, .. }) => {
                self.clock.after(500, Event::Collect { mailbox })
            }
            Some(Asked::Acknowledge { .. }) | None => {}
        }
    }

    fn answered(&mut self, request: u64, answer: Answer) {
        let now = self.clock.now_ms();
        let Some(asked) = self.asked.remove(&request) else {
            return;
        };
        let retry = |world: &mut Self, asked: Asked| {
            // Unusable: wait for the time-out, like someone who got nothing.
            world.asked.insert(request, asked);
        };
        let Answer::Sealed(sealed) = answer else {
            return retry(self, asked);
        };
        match &asked {
            Asked::Submit {
                message,
                relay,
                mailbox,
                ties,
            } => {
                let (message, mailbox, ties) = (*message, *mailbox, ties.clone());
                let inner = open_answer(&ties.answer_key, &sealed)
                    .ok()
                    .and_then(|b| Answer::decode(&b).ok());
                match inner {
                    Some(Answer::Acknowledged(ack)) => {
                        let Some(node) = self.nodes.get(mailbox) else {
                            return;
                        };
                        let Some(m) = self.messages.get_mut(message) else {
                            return;
                        };
                        if ack.verify(&m.packet.hash(), &node.id, node.certificate()) {
                            m.acknowledged_by.get_or_insert(mailbox);
                        } else {
                            self.violations.push(format!(
                                "the acknowledgement of message {message} does not verify"
                            ));
                        }
                    }
                    Some(Answer::Refused(Refusal::Stale(time))) => {
                        let Some(node) = self.nodes.get(*relay) else {
                            return;
                        };
                        let (id, certificate) = (node.id, node.certificate().clone());
                        if self.alice.learn(&time, id, &ties.nonce, &certificate, now) {
                            self.clock.after(1, Event::Attempt { message });
                        }
                    }
                    _ => retry(self, asked),
                }
            }
            Asked::Collect { mailbox, ties } => {
                let (mailbox, ties) = (*mailbox, ties.clone());
                let item = ItemOpener::new(&ties.answer_key).open(&sealed).ok();
                match item.as_ref().and_then(|b| Item::decode(b).ok()) {
                    Some(Item::Packet { cursor, packet, .. }) => {
                        self.delivered(mailbox, cursor, &packet)
                    }
                    Some(Item::CaughtUp { .. }) => {
                        let wait = self.rng.gen_range(500..2_000);
                        self.clock.after(wait, Event::Collect { mailbox });
                    }
                    _ => self.learn_from(mailbox, &ties, &sealed),
                }
            }
            Asked::Acknowledge { mailbox, ties } => {
                let (mailbox, ties) = (*mailbox, ties.clone());
                self.learn_time(mailbox, &ties, &sealed);
            }
        }
    }

    fn delivered(&mut self, mailbox: usize, cursor: u64, packet: &Bytes) {
        let now = self.clock.now_ms();
        match packet::open(packet, &self.bob.certificate) {
            Ok(opened) => match (opened.envelope, opened.verified) {
                (Some(envelope), Verified::Wallet { wallet, .. })
                    if wallet == self.alice.key.address() =>
                {
                    self.inbox
                        .take(*envelope.message_id.as_bytes(), envelope.sequence, now);
                }
                _ => self
                    .violations
                    .push("a message lost its sender on the way".into()),
            },
            Err(error) => self
                .violations
                .push(format!("a delivered packet does not open: {error}")),
        }
        if let Some(place) = self.places.get_mut(mailbox) {
            *place = Some(cursor);
        }
        let request = Request::Acknowledge {
            device: DEVICE,
            cursor,
        };
        self.ask_as_owner(mailbox, &request, |mailbox, ties| Asked::Acknowledge {
            mailbox,
            ties,
        });
        self.clock.after(1, Event::Collect { mailbox });
    }

    fn learn_from(&mut self, mailbox: usize, ties: &Ties, sealed: &[u8]) {
        self.learn_time(mailbox, ties, sealed);
        self.clock.after(500, Event::Collect { mailbox });
    }

    fn learn_time(&mut self, mailbox: usize, ties: &Ties, sealed: &[u8]) {
        let now = self.clock.now_ms();
        let answer = open_answer(&ties.answer_key, sealed)
            .ok()
            .and_then(|b| Answer::decode(&b).ok());
        let Some(node) = self.nodes.get(ENTRIES + RELAYS + mailbox) else {
            return;
        };
        let (id, certificate) = (node.id, node.certificate().clone());
        if let Some(Answer::Refused(Refusal::Stale(time))) = answer {
            self.bob.learn(&time, id, &ties.nonce, &certificate, now);
        }
    }

    fn finish(mut self, seed: u64, events: usize) -> Outcome {
        let mut acknowledged = Vec::new();
        for (n, message) in self.messages.iter().enumerate() {
            match message.acknowledged_by {
                Some(mailbox) => {
                    acknowledged.push(n as u64);
                    let kept = self
                        .nodes
                        .get(mailbox)
                        .is_some_and(|node| node.is_on_disk(&message.packet.hash()));
                    if !kept {
                        self.violations.push(format!(
                            "message {n} was acknowledged and is not on its mailbox's disk"
                        ));
                    }
                    let shown = self.inbox.shown.iter().filter(|s| **s == n as u64).count();
                    if shown != 1 {
                        self.violations.push(format!(
                            "message {n} was acknowledged and shown {shown} times"
                        ));
                    }
                }
                None => self
                    .violations
                    .push(format!("message {n} was never acknowledged")),
            }
        }
        if self.inbox.gaps == 0 && !self.inbox.shown.is_sorted() {
            self.violations.push(format!(
                "shown out of order without a gap: {:?}",
                self.inbox.shown
            ));
        }
        for node in &self.nodes {
            if let Some(times) = node.obeyed.values().find(|times| **times > 1) {
                self.violations
                    .push(format!("a node obeyed one command {times} times"));
            }
        }
        Outcome {
            seed,
            acknowledged,
            shown: self.inbox.shown,
            gaps: self.inbox.gaps,
            took_ms: self.clock.now_ms() - START_MS,
            events,
            violations: self.violations,
        }
    }
}
