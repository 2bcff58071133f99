//! What a node that circuits go through does for them, seen from both sides of it: a client's link of which the
//! test makes the frames, and the end of a link in the place of the next node.

use std::time::Duration;

use packet::SizeClass;
use protocol::answer::{Answer, Refusal};
use protocol::command::{Body, Subject};
use protocol::frame::{Header, Kind, MAX_DATA_BYTES};
use protocol::link::Incoming;
use tokio::net::TcpListener;
use wallet::KeyId;

use crate::hostile::{Link, layer, silent_node};
use crate::transit::{Taker, answer};
use crate::world::World;

const SOON: Duration = Duration::from_secs(10);
/// What either end may send before it was granted anything.
const FIRST_CREDIT: usize = 65_536;
/// What a node lets an end have been granted and not used.
const MOST_CREDIT: u64 = 4 << 20;
/// Circuits of one client.
const MOST_CIRCUITS: u64 = 4_096;

/// A node, a client's link to it, and what stands in the place of the second node.
struct Between {
    world: World,
    client: Link,
    next: Taker,
    listener: TcpListener,
    /// A packet for the second node; the first one never reads it.
    packet: Vec<u8>,
}

impl Between {
    /// With one circuit, and the number that it has at the second node.
    async fn new() -> (Self, u64) {
        let mut world = World::new(2).await;
        let listener = silent_node(&mut world, 1).await;
        let mut client = Link::dial_as_client(&world, 0).await;
        let (packet, _) = layer(1, || Body::LookUp(Subject::Key(KeyId::from_bytes([7; 8]))));
        client.begin(1, &packet).await;
        let mut next = Taker::accept(&listener, 1).await;
        let (kind, there) = next.next().await;
        assert_eq!(kind, Kind::Packet);
        let between = Self {
            world,
            client,
            next,
            listener,
            packet,
        };
        (between, there)
    }

    /// Another circuit, and its number at the second node.
    async fn begin(&mut self, request: u64) -> u64 {
        self.client.begin(request, &self.packet).await;
        let (kind, there) = self.next.next().await;
        assert_eq!(kind, Kind::Packet);
        there
    }

    async fn sends(&mut self, request: u64, data: &[u8]) {
        self.client.push(Header::data(request, 0), data);
        self.client.flush().await;
    }

    /// Data come through in both directions.
    async fn flows(&mut self, here: u64, there: u64) {
        let ask = [b'a'; 100];
        self.sends(here, &ask).await;
        let frame = self.next.frame().await;
        assert_eq!(
            (frame.header.kind, frame.header.request),
            (Kind::Data, there)
        );
        assert_eq!(frame.payload[..], ask);
        let reply = [b'r'; 200];
        self.next.say(Header::data(there, 0), &reply).await;
        let frame = soon(&mut self.client).await;
        assert_eq!(
            (frame.header.kind, frame.header.request),
            (Kind::Data, here)
        );
        assert_eq!(frame.payload[..], reply);
    }

    async fn stop(self) {
        drop((self.client, self.next, self.listener));
        self.world.stop().await;
    }
}

impl Link {
    /// Asks for a circuit.
    pub(crate) async fn begin(&mut self, request: u64, packet: &[u8]) {
        let header = Header {
            request,
            circuit: true,
            ..Header::packet(SizeClass::K4, 0)
        };
        self.push(header, packet);
        self.flush().await;
    }
}

async fn soon(link: &mut Link) -> Incoming {
    let frame = tokio::time::timeout(SOON, link.next()).await;
    frame.expect("nothing comes").expect("the link closed")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sender_that_ignores_credit_is_cut_and_costs_nobody_else() {
    let (mut between, there) = Between::new().await;
    let other = between.begin(2).await;
    let piece = vec![7; MAX_DATA_BYTES];
    for _ in 0..FIRST_CREDIT / MAX_DATA_BYTES + 1 {
        between.sends(1, &piece).await;
    }
    let refused = answer(&mut between.client).await;
    assert_eq!(refused, (1, Answer::Refused(Refusal::Malformed)));
    let mut came = 0;
    loop {
        let frame = between.next.frame().await;
        assert_eq!(frame.header.request, there);
        match frame.header.kind {
            Kind::Data => came += frame.payload.len(),
            Kind::Cancel => break,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(came, FIRST_CREDIT);
    between.world.await_count(0, "circuits", 1).await;
    between.flows(2, other).await;
    between.stop().await;
}

/// Credit counts no headers: of empty frames there could be any number.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn data_too_short_for_any_frame_of_a_stream_cut_their_circuit() {
    let (mut between, there) = Between::new().await;
    let other = between.begin(2).await;
    between.sends(1, &[]).await;
    let refused = answer(&mut between.client).await;
    assert_eq!(refused, (1, Answer::Refused(Refusal::Malformed)));
    assert_eq!(between.next.next().await, (Kind::Cancel, there));
    between.flows(2, other).await;
    between.next.say(Header::data(other, 0), &[0; 55]).await;
    assert_eq!(between.next.next().await, (Kind::Cancel, other));
    between.world.await_count(0, "circuits", 0).await;
    between.stop().await;
}

/// A client that takes nothing could once have a node keep one entry for each credit that it sent, and spawn a
/// task for each that there was no room for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn credit_of_a_client_that_does_not_read_waits_and_is_told_in_one_piece() {
    const CIRCUITS: u64 = 12;
    let (mut between, there) = Between::new().await;
    let mut theres = vec![there];
    for request in 2..=CIRCUITS {
        theres.push(between.begin(request).await);
    }
    // Ever more is granted; no more than the most of it is passed on.
    for request in 1..=CIRCUITS {
        for _ in 0..16 {
            between.client.push(Header::credit(request, 1 << 20), &[]);
        }
        between.client.flush().await;
        let mut granted = FIRST_CREDIT as u64;
        while granted < MOST_CREDIT {
            let frame = between.next.frame().await;
            assert_eq!(frame.header.kind, Kind::Credit);
            granted += u64::from(frame.header.credit);
        }
        assert_eq!(granted, MOST_CREDIT, "more is granted than a node keeps");
    }
    // The client reads none of what comes for it now: sockets hold some of it, the node the rest.
    let piece = vec![7; MAX_DATA_BYTES];
    let pieces = MOST_CREDIT as usize / MAX_DATA_BYTES;
    for there in &theres {
        for _ in 0..pieces {
            between.next.say(Header::data(*there, 0), &piece).await;
        }
    }
    // All of that has been taken in once this has: an answer goes where the data went.
    between.next.say(Header::data(theres[0], 0), &[7; 56]).await;
    assert_eq!(between.next.next().await, (Kind::Cancel, theres[0]));
    for _ in 0..1_000 {
        between.client.push(Header::credit(2, 100), &[]);
    }
    between.client.flush().await;
    let early = tokio::time::timeout(Duration::from_millis(500), between.next.frame()).await;
    assert!(
        early.is_err(),
        "credit is passed on while the link is congested"
    );

    let mut read = 0;
    while read < (CIRCUITS as usize - 1) * MOST_CREDIT as usize {
        let frame = soon(&mut between.client).await;
        if frame.header.kind == Kind::Data && frame.header.request != 1 {
            read += frame.payload.len();
        }
    }
    let frame = between.next.frame().await;
    assert_eq!(
        (frame.header.kind, frame.header.request),
        (Kind::Credit, theres[1])
    );
    assert_eq!(frame.header.credit, 100_000);
    between.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn circuit_ended_at_one_end_is_over_at_the_other_and_its_number_is_free() {
    let (mut between, there) = Between::new().await;
    between.flows(1, there).await;
    between.client.push(Header::control(Kind::Cancel, 1), &[]);
    between.client.flush().await;
    assert_eq!(between.next.next().await, (Kind::Cancel, there));
    between.world.await_count(0, "circuits", 0).await;

    let again = between.begin(1).await;
    between.flows(1, again).await;
    let done = Answer::Done.encode();
    let header = Header::answer(again, SizeClass::K4, 0);
    between.next.say(header, &done).await;
    assert_eq!(answer(&mut between.client).await, (1, Answer::Done));
    between.world.await_count(0, "circuits", 0).await;
    // What was on its way to it means nothing.
    between.sends(1, &[7; 100]).await;
    let third = between.begin(1).await;
    between.flows(1, third).await;
    between.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn circuits_end_with_the_link_on_either_side() {
    let (mut between, there) = Between::new().await;
    let client = Link::dial_as_client(&between.world, 0).await;
    drop(std::mem::replace(&mut between.client, client));
    assert_eq!(between.next.next().await, (Kind::Cancel, there));
    between.world.await_count(0, "circuits", 0).await;

    let _second = between.begin(7).await;
    let Between {
        world,
        mut client,
        next,
        listener,
        ..
    } = between;
    drop((next, listener));
    let lost = Answer::Refused(Refusal::Unreachable);
    assert_eq!(answer(&mut client).await, (7, lost));
    world.await_count(0, "circuits", 0).await;
    drop(client);
    world.stop().await;
}

/// A link that asks for nothing new is replaced by the next request. Circuits on it were not told, and died in silence.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn circuit_goes_on_over_a_link_that_another_one_replaces() {
    let (mut between, there) = Between::new().await;
    between
        .next
        .say(Header::control(Kind::GoAway, 0), &[])
        .await;
    between.flows(1, there).await;
    between.client.begin(2, &between.packet).await;
    let mut successor = Taker::accept(&between.listener, 1).await;
    let (kind, _) = successor.next().await;
    assert_eq!(kind, Kind::Packet, "the second circuit is on the new link");
    between.flows(1, there).await;
    // When the old one has ended, so has what was on it.
    let Between {
        world,
        mut client,
        next,
        listener,
        ..
    } = between;
    drop(next);
    let lost = Answer::Refused(Refusal::Unreachable);
    assert_eq!(answer(&mut client).await, (1, lost));
    world.await_count(0, "circuits", 1).await;
    drop((client, successor, listener));
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plain_packet_on_a_clients_link_is_refused() {
    let (mut between, there) = Between::new().await;
    let packet = between.packet.clone();
    between.client.ask(2, &packet);
    between.client.flush().await;
    let refused = answer(&mut between.client).await;
    assert_eq!(refused, (2, Answer::Refused(Refusal::Unsupported)));
    between.flows(1, there).await;
    between.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn client_with_too_many_circuits_is_refused_one_more() {
    let (mut between, there) = Between::new().await;
    for request in 2..=MOST_CIRCUITS {
        between.begin(request).await;
    }
    let packet = between.packet.clone();
    between.client.begin(MOST_CIRCUITS + 1, &packet).await;
    let refused = answer(&mut between.client).await;
    let busy = Answer::Refused(Refusal::Busy);
    assert_eq!(refused, (MOST_CIRCUITS + 1, busy));
    // The place of one that is over is free again.
    between.client.push(Header::control(Kind::Cancel, 2), &[]);
    between.client.flush().await;
    assert_eq!(between.next.next().await.0, Kind::Cancel);
    let another = between.begin(MOST_CIRCUITS + 2).await;
    between.flows(MOST_CIRCUITS + 2, another).await;
    between.flows(1, there).await;
    between.stop().await;
}
