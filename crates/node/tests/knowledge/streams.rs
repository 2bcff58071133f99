//! Streams to a bridge: the tables of `docs/security.md` about them, held against what was seen.

use std::collections::HashSet;

use bridge::NameServers;
use bytes::Bytes;
use client::streams::{Purpose, StreamPrivacy};
use protocol::frame::Kind;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::devnet::{Devnet, RecordedNode};
use crate::front::Front;
use crate::page::table;
use crate::people::Person;
use crate::record::{Needles, Seen, marks};

/// Places of the nodes: the client's entries, two that may be its relay, and the bridge.
const NODES: usize = 6;
const ENTRIES: [usize; 3] = [0, 1, 2];
const BRIDGE: usize = 5;

const MARKER: &str = "what-only-the-bridge-may-read";
/// What goes each way.
const VOLUME: usize = 40_000;
const COLUMNS: [&str; 6] = [
    "client's IP",
    "client's wallet",
    "which bridge",
    "target",
    "bytes",
    "volume",
];

struct Scene {
    devnet: Devnet,
    client: Person,
    /// Before the host that the bridge connects to.
    host: Front,
}

/// One stream: who had which part in it, and what each node saw meanwhile.
struct Case<'s> {
    scene: &'s Scene,
    way: &'static str,
    entry: usize,
    relay: Option<usize>,
    seen: Vec<Vec<Seen>>,
}

#[test]
fn nobody_learns_more_of_a_stream_than_the_tables_say_alone_or_in_pairs() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(story());
}

async fn story() {
    let host = Front::before(echo().await).await;
    let config = bridge::Config {
        allow: vec![host.address.to_string().parse().unwrap()],
        name_servers: NameServers::Given(vec![host.address]),
        ..bridge::Config::default()
    };
    let devnet = Devnet::with_bridge(NODES, Some(config)).await;
    // The bridge is avoided as a mailbox would be: it is no relay of the client's other exchanges.
    let client = Person::new(&devnet, 61, &ENTRIES, &[BRIDGE]).await;
    let scene = Scene {
        devnet,
        client,
        host,
    };
    for (privacy, way) in [
        (StreamPrivacy::Relayed, "relayed"),
        (StreamPrivacy::Direct, "direct"),
    ] {
        let case = scene.stream(privacy, way).await;
        case.holds_alone().await;
        case.holds_in_pairs();
    }
    scene.devnet.down().await;
}

async fn echo() -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut read, mut write) = socket.into_split();
                let _over = tokio::io::copy(&mut read, &mut write).await;
            });
        }
    });
    address
}

impl Scene {
    fn nodes(&self) -> &[RecordedNode] {
        &self.devnet.nodes
    }

    /// A stream from its first byte to its last.
    async fn stream(&self, privacy: StreamPrivacy, way: &'static str) -> Case<'_> {
        let begun: Vec<usize> = self.nodes().iter().map(|n| n.recorder.mark()).collect();
        let network = self.client.network.as_ref().unwrap();
        let purpose = Purpose::Connect(self.host.address.to_string().parse().unwrap());
        let bridge = self.nodes()[BRIDGE].address;
        let stream = network.open_stream(bridge, purpose, privacy, Bytes::new());
        let stream = stream.await.unwrap();
        let (mut read, mut write) = tokio::io::split(stream);
        let sent = MARKER.repeat(VOLUME / MARKER.len() + 1);
        let mut heard = String::new();
        let writing = async {
            write.write_all(sent.as_bytes()).await.unwrap();
            write.shutdown().await.unwrap();
        };
        let (_, length) = tokio::join!(writing, read.read_to_string(&mut heard));
        length.unwrap();
        assert!(heard == sent);
        let seen = self.nodes().iter().zip(begun);
        let seen = seen.map(|(node, mark)| node.recorder.since(mark)).collect();
        Case::of(self, way, seen)
    }
}

impl<'s> Case<'s> {
    fn of(scene: &'s Scene, way: &'static str, seen: Vec<Vec<Seen>>) -> Self {
        let which = |saw: &dyn Fn(&Seen) -> bool| -> Vec<usize> {
            let places = seen.iter().enumerate();
            let places = places.filter(|(_, seen)| seen.iter().any(saw));
            places.map(|(place, _)| place).collect()
        };
        let entries = which(&|seen| matches!(seen, Seen::ClientIn(_, Kind::Packet, _)));
        let [entry] = entries[..] else {
            panic!("{entries:?} are entries")
        };
        assert!(ENTRIES.contains(&entry));
        let mut opened = which(&|seen| matches!(seen, Seen::Command(_)));
        opened.retain(|place| *place != BRIDGE);
        assert_eq!(opened.len(), usize::from(way == "relayed"), "{opened:?}");
        let relay = opened.first().copied();
        assert!(relay.is_none_or(|relay| relay != entry));
        Self {
            scene,
            way,
            entry,
            relay,
            seen,
        }
    }

    fn place(&self, part: &str) -> usize {
        match part {
            "entry" => self.entry,
            "relay" => self.relay.unwrap(),
            "bridge" => BRIDGE,
            other => panic!("the page names {other}"),
        }
    }

    async fn holds_alone(&self) {
        let rows = table("part in a stream").into_iter();
        let mut held = 0;
        for row in rows.filter(|row| row.applies_to(self.way, "")) {
            let known = match row.who.as_str() {
                "wire at the client" => self.of_the_wire(),
                part => self.of_a_node(self.place(part)).await,
            };
            for (column, (name, known)) in COLUMNS.iter().zip(known).enumerate() {
                let (who, way) = (&row.who, self.way);
                assert_eq!(known, row.says(column).unwrap(), "{way}: {who}, {name}");
            }
            held += 1;
        }
        let relays = usize::from(self.relay.is_some());
        assert_eq!(held, 3 + relays, "a row is missing");
    }

    fn target(&self) -> Needles {
        Needles::text(&self.scene.host.address.to_string())
    }

    fn names_bridge(&self, place: usize) -> bool {
        let names = &self.scene.nodes()[BRIDGE].names;
        self.bytes_of(place).any(|bytes| names.are_in(bytes))
    }

    fn knows_target(&self, place: usize) -> bool {
        let target = self.target();
        self.bytes_of(place).any(|bytes| target.are_in(bytes))
    }

    /// What a node saw in clear while there was the stream.
    fn bytes_of(&self, place: usize) -> impl Iterator<Item = &[u8]> {
        self.seen[place].iter().map(Seen::bytes)
    }

    /// The same of an address alone.
    fn bytes_with_client(&self, place: usize) -> impl Iterator<Item = &[u8]> {
        let ip = self.scene.client.ip;
        let with = self.seen[place].iter();
        with.filter(move |seen| seen.address() == Some(ip))
            .map(Seen::bytes)
    }

    /// What a node knows: of the bridge, which all know of, in this stream; of the rest ever.
    async fn of_a_node(&self, place: usize) -> [bool; 6] {
        let (node, client) = (&self.scene.nodes()[place], &self.scene.client);
        let mut remains = node.remains(false).await;
        let ever = node.recorder.since(0);
        remains.extend(ever.iter().map(|it| (String::new(), it.bytes().to_vec())));
        if place == BRIDGE {
            // What it writes to the host, and reads.
            remains.push((String::new(), self.scene.host.all()));
        }
        let is_known = |needles: &Needles| remains.iter().any(|(_, it)| needles.are_in(it));
        let met = ever.iter().any(|seen| seen.address() == Some(client.ip));
        let of_streams = |seen: &&Seen| {
            matches!(
                seen,
                Seen::ClientIn(_, Kind::Data, _) | Seen::LinkIn(_, Kind::Data, _)
            )
        };
        let came = self.seen[place].iter().filter(of_streams);
        let volume: usize = came.map(|seen| seen.bytes().len()).sum();
        [
            met || is_known(&client.written_ip()),
            is_known(&client.wallet.clone().or(client.keys.clone())),
            place == BRIDGE || self.names_bridge(place),
            is_known(&self.target()),
            is_known(&Needles::text(MARKER)),
            volume >= VOLUME,
        ]
    }

    fn of_the_wire(&self) -> [bool; 6] {
        let client = &self.scene.client;
        let fronts = self.scene.nodes().iter().map(|node| &node.front);
        let wire: Vec<u8> = fronts.flat_map(|front| front.with(client.ip)).collect();
        let is_known = |needles: &Needles| needles.are_in(&wire);
        [
            !wire.is_empty(),
            is_known(&client.wallet.clone().or(client.keys.clone())),
            is_known(&self.scene.nodes()[BRIDGE].names),
            is_known(&self.target()),
            is_known(&Needles::text(MARKER)),
            wire.len() >= 2 * VOLUME,
        ]
    }

    fn holds_in_pairs(&self) {
        let public = marks(self.scene.devnet.public.iter().map(Vec::as_slice));
        let rows = table("pair in a stream").into_iter();
        let mut held = 0;
        for row in rows.filter(|row| row.applies_to(self.way, "")) {
            let (one, other) = row.who.split_once(" + ").unwrap();
            let pair = [self.place(one), self.place(other)];
            let known = self.of_a_pair(pair, &public);
            for (column, known) in known.into_iter().enumerate() {
                let (who, way, column_at) = (&row.who, self.way, column + 1);
                let said = row.says(column).unwrap();
                assert_eq!(known, said, "{way}: {who}, column {column_at}");
            }
            held += 1;
        }
        let pairs = if self.relay.is_some() { 3 } else { 1 };
        assert_eq!(held, pairs, "a pair is missing");
    }

    /// What can be told from things that both have seen, one of them with the client's address.
    fn of_a_pair(&self, [one, other]: [usize; 2], public: &HashSet<&[u8]>) -> [bool; 2] {
        let links = |with: usize, other: usize| {
            let theirs = marks(self.bytes_of(other));
            let own = marks(self.bytes_with_client(with));
            own.iter()
                .any(|mark| theirs.contains(mark) && !public.contains(mark))
        };
        let linked = links(one, other) || links(other, one);
        let bridge = [one, other].map(|place| place == BRIDGE || self.names_bridge(place));
        let target = [one, other].map(|place| self.knows_target(place));
        [
            linked && bridge.contains(&true),
            linked && target.contains(&true),
        ]
    }
}
