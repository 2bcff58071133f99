//! The tables, held against what was seen.

use std::collections::BTreeSet;

use client::carrier::Privacy;
use client::receive::Listener;
use protocol::answer::Answer;
use protocol::frame::{HEADER_BYTES, Kind};
use protocol::session::EXCHANGE_OVERHEAD_BYTES;
use wallet::WalletAddress;

use crate::devnet::Devnet;
use crate::exchange::{Exchange, contains, exchange, node_at};
use crate::page::{Row, table};
use crate::people::Person;
use crate::record::{Needles, Recorder, Seen, first_places, marks};

/// Places of the nodes: the sender's entries, the recipients' entries, their mailbox; two more are relays.
const NODES: usize = 9;
const SENDERS: [usize; 3] = [0, 1, 2];
const RECIPIENTS: [usize; 3] = [3, 4, 5];
const MAILBOX: usize = 6;

const MARKER: &str = "what-nobody-else-may-read";

/// Columns of the first table.
const KNOWN: [&str; 5] = [
    "sender's IP",
    "sender's wallet",
    "recipient's wallet or key ID",
    "recipient's IP",
    "content",
];

struct Scene {
    devnet: Devnet,
    sender: Person,
}

/// One message and the two ends of it.
struct Case<'s> {
    scene: &'s Scene,
    recipient: &'s Person,
    exchange: Exchange,
    way: &'static str,
    listing: &'static str,
}

/// The whole story: alice, who has no mailbox, writes to bob, whose route stands nowhere, and to carol, who is on
/// the ledger, at either level of privacy.
///
/// It found that a client's own entries were among its relays: they knew its address from other exchanges, and as
/// relays whom somebody behind the other entries wrote to. And that the page was wrong of `direct`: the entry
/// sees the key ID of listed recipients only.
#[test]
fn nobody_learns_more_than_the_tables_say_alone_or_in_pairs() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(story());
}

async fn story() {
    let devnet = Devnet::up(NODES).await;
    let mailbox = node_at(&devnet, MAILBOX);
    let sender = Person::new(&devnet, 31, &SENDERS, &RECIPIENTS).await;
    let (bob, mut bob_hears) = Person::at_mailbox(&devnet, 41, &RECIPIENTS, mailbox, false).await;
    let (carol, mut carol_hears) =
        Person::at_mailbox(&devnet, 51, &RECIPIENTS, mailbox, true).await;
    let scene = Scene { devnet, sender };
    known_on_the_ledger(&scene, &carol).await;
    for (recipient, listener, listing) in [
        (&bob, &mut bob_hears, "unlisted"),
        (&carol, &mut carol_hears, "listed"),
    ] {
        for (privacy, way) in [(Privacy::Relayed, "relayed"), (Privacy::Direct, "direct")] {
            let text = |attempt| format!("{MARKER} {way} {listing} {attempt}");
            let to = (recipient, &mut *listener);
            let (exchange, _) = exchange(&scene.devnet, &scene.sender, to, privacy, text).await;
            let case = Case {
                scene: &scene,
                recipient,
                exchange,
                way,
                listing,
            };
            case.holds_alone().await;
            case.holds_in_pairs();
        }
    }
    sizes_are_classes(&scene, &bob, &mut bob_hears).await;
    logs_can_be_published(&scene, &[&bob, &carol]);
    scene.devnet.down().await;
}

/// Waits until the sender and every node have read the recipient's route.
async fn known_on_the_ledger(scene: &Scene, listed: &Person) {
    let address = listed.client.address();
    let folders = scene.devnet.nodes.iter().map(|node| node.folder.clone());
    let own = scene.sender.home.path().join("networks/test");
    let folders: Vec<_> = folders.chain([own]).collect();
    for _ in 0..300 {
        let knows = |folder: &std::path::PathBuf| {
            let files = ["index.db", "index.db-wal"].map(|name| std::fs::read(folder.join(name)));
            let mut files = files.into_iter().flatten();
            files.any(|bytes| contains(&bytes, address.as_bytes()))
        };
        if folders.iter().all(knows) {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    panic!("the route is not known")
}

impl Case<'_> {
    fn name(&self) -> String {
        format!("{}, recipient {}", self.way, self.listing)
    }

    fn rows(&self, head: &str) -> Vec<Row> {
        let rows = table(head).into_iter();
        rows.filter(|row| row.applies_to(self.way, self.listing))
            .collect()
    }

    /// Each row of the first table.
    async fn holds_alone(&self) {
        let mut held = 0;
        for row in self.rows("seen by") {
            let known = match row.who.as_str() {
                "relay" if self.exchange.relay.is_none() => continue,
                "wire at the sender" => self.of_the_wire(),
                "whoever serves the chain's RPC" => self.of_the_rpc(),
                "recipient" => {
                    self.recipient_does_not_know_where_from();
                    continue;
                }
                part => self.of_a_node(self.exchange.place(part)).await,
            };
            for (column, (name, known)) in KNOWN.iter().zip(known).enumerate() {
                let said = row.says(column).unwrap();
                let (who, case) = (&row.who, self.name());
                assert_eq!(known.is_some(), said, "{case}: {who}, {name}: {known:?}");
            }
            held += 1;
        }
        let relays = usize::from(self.exchange.relay.is_some());
        assert_eq!(held, 5 + relays, "a row is missing");
    }

    fn looked_for(&self) -> [Needles; 5] {
        let (sender, recipient) = (&self.scene.sender, self.recipient);
        [
            sender.written_ip(),
            sender.wallet.clone().or(sender.keys.clone()),
            recipient.wallet.clone().or(recipient.keys.clone()),
            recipient.written_ip(),
            Needles::text(MARKER),
        ]
    }

    /// What a node knows, ever: where each thing was found.
    async fn of_a_node(&self, place: usize) -> [Option<String>; 5] {
        let node = &self.scene.devnet.nodes[place];
        // Of a listed wallet everybody's copy of the ledger tells.
        let mut remains = node.remains(self.listing == "unlisted").await;
        let seen = node.recorder.since(0);
        for sight in &seen {
            remains.push((sight.name().to_owned(), sight.bytes().to_vec()));
        }
        let needles = self.looked_for();
        let mut known = [const { None }; 5];
        for (name, bytes) in &remains {
            let places = first_places(&needles.each_ref(), bytes);
            for (known, place) in known.iter_mut().zip(places) {
                let around =
                    place.map(|at| &bytes[at.saturating_sub(100)..(at + 50).min(bytes.len())]);
                let around = around.map(String::from_utf8_lossy);
                *known = known.take().or(around.map(|it| format!("{name}: {it}")));
            }
        }
        for (column, ip) in [(0, self.scene.sender.ip), (3, self.recipient.ip)] {
            let met = seen.iter().any(|sight| sight.address() == Some(ip));
            if met {
                known[column] = Some("a connection".to_owned());
            }
        }
        known
    }

    fn of_the_wire(&self) -> [Option<String>; 5] {
        let sender = self.scene.sender.ip;
        let fronts = self.scene.devnet.nodes.iter().map(|node| &node.front);
        let wire: Vec<u8> = fronts.flat_map(|front| front.with(sender)).collect();
        let mut known = self
            .looked_for()
            .map(|needles| needles.are_in(&wire).then(|| "the wire".to_owned()));
        if !wire.is_empty() {
            known[0] = Some("the connections".to_owned());
        }
        known
    }

    /// What both ends asked for; who asks is seen by nature.
    fn of_the_rpc(&self) -> [Option<String>; 5] {
        let asked = [self.scene.sender.rpc.asked(), self.recipient.rpc.asked()].concat();
        assert!(contains(&asked, b"eth_getLogs"), "nothing was recorded");
        self.looked_for()
            .map(|needles| needles.are_in(&asked).then(|| "a request".to_owned()))
    }

    fn recipient_does_not_know_where_from(&self) {
        let ip = self.scene.sender.written_ip();
        let fronts = self.scene.devnet.nodes.iter().map(|node| &node.front);
        let wire: Vec<u8> = fronts
            .flat_map(|front| front.with(self.recipient.ip))
            .collect();
        assert!(!wire.is_empty() && !ip.are_in(&wire));
        let mut folders = vec![self.recipient.home.path().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    assert!(!ip.are_in(&std::fs::read(&path).unwrap()), "{path:?}");
                }
            }
        }
    }

    /// Each row of the second table.
    fn holds_in_pairs(&self) {
        let public = marks(self.scene.devnet.public.iter().map(Vec::as_slice));
        let mut held = 0;
        for row in self.rows("pair") {
            let (one, other) = row.who.split_once(" + ").unwrap();
            let pair = [self.exchange.place(one), self.exchange.place(other)];
            let known = self.of_a_pair(pair, &public);
            for (column, known) in known.into_iter().enumerate() {
                let (who, case) = (&row.who, self.name());
                let said = row.says(column).unwrap();
                assert_eq!(known, said, "{case}: {who}, column {}", column + 1);
            }
            held += 1;
        }
        let pairs = if self.exchange.relay.is_some() { 6 } else { 3 };
        assert_eq!(held, pairs, "a pair is missing");
    }

    /// What can be told from things that both have seen.
    fn of_a_pair(&self, pair: [usize; 2], public: &std::collections::HashSet<&[u8]>) -> [bool; 3] {
        let exchange = &self.exchange;
        let (sender, recipient) = (self.scene.sender.ip, self.recipient.ip);
        let key = self
            .recipient
            .keys
            .clone()
            .or(self.recipient.wallet.clone());
        let names_recipient = |place| exchange.seen_by(place).any(|bytes| key.are_in(bytes));
        // What a node knows to be of an address, on its own or as the other has seen it too.
        let knows = |ip, place: usize, other: usize| {
            let own: Vec<&[u8]> = exchange.seen_with(place, ip).collect();
            if own.iter().any(|bytes| key.are_in(bytes)) {
                return true;
            }
            let theirs = marks(exchange.seen_by(other));
            let common = |mark: &&[u8]| theirs.contains(mark) && !public.contains(mark);
            marks(own).iter().any(common) && names_recipient(other)
        };
        let either = |ip| knows(ip, pair[0], pair[1]) || knows(ip, pair[1], pair[0]);
        let ends = [(0, 1), (1, 0)].iter().any(|(a, b)| {
            let theirs = marks(exchange.seen_with(pair[*b], recipient));
            let own = marks(exchange.seen_with(pair[*a], sender));
            own.iter()
                .any(|mark| theirs.contains(mark) && !public.contains(mark))
        });
        [either(sender), either(recipient), ends]
    }
}

/// A short text and one that is longer, of the same class, look the same to everyone on the way.
async fn sizes_are_classes(scene: &Scene, to: &Person, hears: &mut Listener) {
    let mut looks = Vec::new();
    for words in ["x".to_owned(), "x".repeat(300)] {
        let text = |attempt| format!("{MARKER} {attempt:03} {words}");
        let to = (to, &mut *hears);
        let (exchange, _) =
            exchange(&scene.devnet, &scene.sender, to, Privacy::Relayed, text).await;
        let entry = exchange.seen_with(exchange.entry, scene.sender.ip);
        let entry: BTreeSet<usize> = entry.map(<[u8]>::len).filter(|len| *len > 0).collect();
        let others = [exchange.relay.unwrap(), exchange.mailbox].map(|place| exchange.got(place));
        looks.push((entry, others));
    }
    assert!(!looks[0].0.is_empty());
    assert_eq!(looks[0], looks[1]);

    let frames: Vec<usize> = packet::SizeClass::ALL
        .iter()
        .map(|class| class.frame_bytes())
        .collect();
    for node in &scene.devnet.nodes {
        for seen in node.recorder.since(0) {
            let length = seen.bytes().len();
            let (Seen::Told(..) | Seen::Asked(..) | Seen::LinkOut(Kind::Item | Kind::Packet, _)) =
                &seen
            else {
                continue;
            };
            // Three layers of 512 bytes fit above a packet, two of answers. A blind packet's acknowledgement
            // is in clear, and as long as any.
            let fits = |frame: &usize| (frame - 1_536..=*frame).contains(&length);
            let acknowledged = matches!(Answer::decode(seen.bytes()), Ok(Answer::Acknowledged(_)));
            let name = seen.name();
            assert!(
                frames.iter().any(fits) || acknowledged,
                "{name} of {length} bytes"
            );
        }
    }
    let fronts = scene.devnet.nodes.iter();
    let wire: Vec<u8> = fronts
        .flat_map(|node| node.front.with(scene.sender.ip))
        .collect();
    let overhead = HEADER_BYTES + EXCHANGE_OVERHEAD_BYTES;
    let bodies: BTreeSet<usize> = String::from_utf8_lossy(&wire)
        .lines()
        .filter_map(|line| {
            line.to_lowercase()
                .strip_prefix("content-length: ")?
                .parse()
                .ok()
        })
        .filter(|length: &usize| *length > 1_024)
        .collect();
    // Requests, and answers without the session's name and counter.
    let small = frames[0] + HEADER_BYTES + 16;
    assert!(
        bodies
            .iter()
            .all(|l| [small, frames[0] + overhead].contains(l)),
        "{bodies:?}"
    );
}

/// Lines of a node's log at `info` and above name no wallet, key, node or address.
fn logs_can_be_published(scene: &Scene, recipients: &[&Person]) {
    let people = recipients.iter().copied().chain([&scene.sender]);
    let people = people.map(|it| it.wallet.clone().or(it.keys.clone()).or(it.written_ip()));
    let nodes = scene.devnet.nodes.iter();
    let nodes = nodes.map(|node| address(&node.address));
    let named = people.chain(nodes).reduce(Needles::or).unwrap();
    for node in &scene.devnet.nodes {
        let log = Recorder::log(&node.recorder);
        let log = String::from_utf8_lossy(&log);
        assert!(log.contains("TRACE"), "nothing was logged");
        for line in log.lines() {
            let loud = [" INFO ", " WARN ", " ERROR "];
            if loud.iter().any(|level| line.contains(level)) {
                assert!(!named.are_in(line.as_bytes()), "{line}");
            }
        }
    }
}

fn address(node: &WalletAddress) -> Needles {
    Needles::wallet(node)
}
