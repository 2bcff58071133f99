//! Streams to services: the table of `docs/security.md` about them, held against what was seen.

use std::time::Duration;

use bytes::Bytes;
use client::carrier::Target;
use client::services::{Incoming, ServiceCall, ServiceError};
use client::streams::StreamPrivacy;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy, split};

use crate::devnet::{Devnet, RecordedNode};
use crate::page::table;
use crate::people::{PATIENCE, Person};
use crate::record::{Needles, Seen};

/// Places of the nodes: each end's entries, two that may be the caller's relay, and the service's mailbox.
const NODES: usize = 9;
const CALLERS_ENTRIES: [usize; 3] = [0, 1, 2];
const PUBLISHERS_ENTRIES: [usize; 3] = [3, 4, 5];
const RELAYS: [usize; 2] = [6, 7];
const MAILBOX: usize = 8;

const MARKER: &str = "what-only-the-service-may-read";
/// What goes each way.
const VOLUME: usize = 40_000;
const COLUMNS: [&str; 6] = [
    "caller's IP",
    "caller's wallet",
    "publisher's IP",
    "service's wallet",
    "bytes",
    "volume",
];

struct Scene {
    devnet: Devnet,
    caller: Person,
    publisher: Person,
}

#[test]
fn nobody_learns_more_of_a_service_and_its_callers_than_the_table_says() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(story());
}

async fn story() {
    let devnet = Devnet::up(NODES).await;
    let avoided = [&PUBLISHERS_ENTRIES[..], &[MAILBOX]].concat();
    let caller = Person::new(&devnet, 71, &CALLERS_ENTRIES, &avoided).await;
    let publisher = Person::new(&devnet, 72, &PUBLISHERS_ENTRIES, &[]).await;
    let mailbox = devnet.nodes[MAILBOX].address;
    let route = publisher.client.set_route(vec![mailbox], true);
    route.await.unwrap();
    let scene = Scene {
        devnet,
        caller,
        publisher,
    };
    let seen = scene.call().await;
    scene.holds(&seen).await;
    scene.devnet.down().await;
}

impl Scene {
    fn nodes(&self) -> &[RecordedNode] {
        &self.devnet.nodes
    }

    /// A stream from its first byte to its last; returns what each node saw meanwhile.
    async fn call(&self) -> Vec<Vec<Seen>> {
        let wallet = self.publisher.client.address();
        let host = format!("{wallet}.conet:80").to_lowercase();
        let target: protocol::target::Target = host.parse().unwrap();
        let mut publisher = self
            .publisher
            .client
            .publish(vec![target.clone()])
            .await
            .unwrap();
        let mut standing = publisher.standing();
        let online = standing.wait_for(|standing| !standing.online.is_empty());
        tokio::time::timeout(PATIENCE, online)
            .await
            .unwrap()
            .unwrap();
        let begun: Vec<usize> = self.nodes().iter().map(|n| n.recorder.mark()).collect();
        let serving = tokio::spawn(async move {
            let Incoming { stream, caller, .. } = publisher.next().await.unwrap();
            assert_eq!(caller, None);
            stream.set_opened();
            let (mut read, mut write) = split(stream);
            copy(&mut read, &mut write).await.unwrap();
            write.shutdown().await.unwrap();
            publisher
        });
        let network = self.caller.network.as_ref().unwrap();
        let call = ServiceCall {
            wallet: Target {
                wallet,
                fingerprint: None,
                mailboxes: Vec::new(),
            },
            target,
            privacy: StreamPrivacy::Relayed,
            caller: None,
            first: Bytes::new(),
        };
        // The caller's copy of the ledger has the route in a moment.
        let calling = async {
            loop {
                match network.open_service(call.clone()).await {
                    Err(ServiceError::NoMailbox | ServiceError::LookUp(_)) => {
                        tokio::time::sleep(Duration::from_millis(200)).await;
                    }
                    called => break called.unwrap(),
                }
            }
        };
        let stream = tokio::time::timeout(PATIENCE, calling).await.unwrap();
        let (mut read, mut write) = split(stream);
        let sent = MARKER.repeat(VOLUME / MARKER.len() + 1);
        let mut heard = String::new();
        let writing = async {
            write.write_all(sent.as_bytes()).await.unwrap();
            write.shutdown().await.unwrap();
        };
        let (_, length) = tokio::join!(writing, read.read_to_string(&mut heard));
        length.unwrap();
        assert!(heard == sent);
        serving.await.unwrap().close().await;
        let seen = self.nodes().iter().zip(begun);
        seen.map(|(node, mark)| node.recorder.since(mark)).collect()
    }

    async fn holds(&self, seen: &[Vec<Seen>]) {
        let carried = |place: &usize| {
            let data = seen[*place].iter().filter(|seen| is_data(seen));
            data.map(|seen| seen.bytes().len()).sum::<usize>() >= VOLUME
        };
        let the_one = |places: &[usize]| -> usize {
            let carriers: Vec<usize> = places.iter().copied().filter(carried).collect();
            let [one] = carriers[..] else {
                panic!("{carriers:?} of {places:?} carried it")
            };
            one
        };
        let rows = table("part in a call");
        for row in &rows {
            let place = match row.who.as_str() {
                "caller's entry" => the_one(&CALLERS_ENTRIES),
                "relay" => the_one(&RELAYS),
                "mailbox" => the_one(&[MAILBOX]),
                "publisher's entry" => the_one(&PUBLISHERS_ENTRIES),
                other => panic!("the page names {other}"),
            };
            let known = self.of_a_node(place, carried(&place)).await;
            for (column, (name, known)) in COLUMNS.iter().zip(known).enumerate() {
                assert_eq!(known, row.says(column).unwrap(), "{}: {name}", row.who);
            }
        }
        assert_eq!(rows.len(), 4, "a row is missing");
    }

    /// What a node has ever seen, and keeps.
    async fn of_a_node(&self, place: usize, volume: bool) -> [bool; 6] {
        let (node, caller, publisher) = (&self.nodes()[place], &self.caller, &self.publisher);
        let mut remains = node.remains(false).await;
        let ever = node.recorder.since(0);
        remains.extend(ever.iter().map(|it| (String::new(), it.bytes().to_vec())));
        let is_known = |needles: &Needles| remains.iter().any(|(_, it)| needles.are_in(it));
        let met = |ip| ever.iter().any(|seen| seen.address() == Some(ip));
        [
            met(caller.ip) || is_known(&caller.written_ip()),
            is_known(&caller.wallet.clone().or(caller.keys.clone())),
            met(publisher.ip) || is_known(&publisher.written_ip()),
            is_known(&publisher.wallet.clone().or(publisher.keys.clone())),
            is_known(&Needles::text(MARKER)),
            volume,
        ]
    }
}

fn is_data(seen: &Seen) -> bool {
    use protocol::frame::Kind;
    matches!(
        seen,
        Seen::ClientIn(_, Kind::Data, _) | Seen::LinkIn(_, Kind::Data, _)
    )
}
