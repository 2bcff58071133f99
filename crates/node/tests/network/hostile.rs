//! What a node of the ledger, or whoever passes on a layer, can not do to the others.

use std::time::{Duration, Instant};

use bytes::BytesMut;
use client::carrier::Collection;
use packet::SizeClass;
use protocol::answer::{Answer, AnswerKey, Item, Refusal, open_answer};
use protocol::command::{Body, Command, Subject, Ties};
use protocol::frame::{Header, Kind};
use protocol::link::{Handshake, Incoming, Opener, Sealer};
use rand::RngCore as _;
use rand::rngs::OsRng;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use wallet::{KeyId, WalletAddress};

use crate::strangers::post;
use crate::world::{World, keys, now_s};

/// A link dialled with a node's own keys, whose frames the test makes.
pub(crate) struct Link {
    socket: TcpStream,
    sealer: Sealer,
    opener: Opener,
    wire: BytesMut,
}

impl Link {
    /// Dials `to` as the `from`-th node.
    pub(crate) async fn dial(world: &World, from: u64, to: usize) -> Self {
        let (me, node) = (keys(from), &world.nodes[to]);
        let shake = Handshake::dial(
            me.wallet.address(),
            &me.transport_secret(),
            &node.address,
            &node.transport_key,
            0,
        );
        Self::shake(world, to, shake.unwrap()).await
    }

    /// Dials `to` as a client does.
    pub(crate) async fn dial_as_client(world: &World, to: usize) -> Self {
        let node = &world.nodes[to];
        let shake = Handshake::dial_as_client(&mut OsRng, &node.address, &node.transport_key, 0);
        Self::shake(world, to, shake.unwrap()).await
    }

    async fn shake(world: &World, to: usize, shake: (Handshake, Vec<u8>)) -> Self {
        let node = &world.nodes[to];
        let mut socket = TcpStream::connect(node.socket).await.unwrap();
        let upgrade = format!(
            "GET /x HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
            node.socket
        );
        socket.write_all(upgrade.as_bytes()).await.unwrap();
        let mut head = vec![0; 1024];
        let n = socket.read(&mut head).await.unwrap();
        assert!(head[..n].starts_with(b"HTTP/1.1 101"));
        let (handshake, message) = shake;
        socket.write_u16(message.len() as u16).await.unwrap();
        socket.write_all(&message).await.unwrap();
        let mut answer = vec![0; usize::from(socket.read_u16().await.unwrap())];
        socket.read_exact(&mut answer).await.unwrap();
        let (_, sealer, opener) = handshake.finish(&answer).unwrap();
        Self {
            socket,
            sealer,
            opener,
            wire: BytesMut::new(),
        }
    }

    pub(crate) fn push(&mut self, header: Header, payload: &[u8]) {
        assert!(self.sealer.push(header, payload));
    }

    /// Pushes a packet under a request number.
    pub(crate) fn ask(&mut self, request: u64, packet: &[u8]) {
        let header = Header {
            request,
            ..Header::packet(SizeClass::K4, 0)
        };
        self.push(header, packet);
    }

    pub(crate) async fn flush(&mut self) {
        let mut out = Vec::new();
        self.sealer.flush(&mut out);
        self.socket.write_all(&out).await.unwrap();
    }

    /// The next frame; none once the node has closed the link.
    pub(crate) async fn next(&mut self) -> Option<Incoming> {
        loop {
            if let Some(frame) = self.opener.next_frame().unwrap() {
                return Some(frame);
            }
            self.opener.feed(&mut self.wire).unwrap();
            if let Some(frame) = self.opener.next_frame().unwrap() {
                return Some(frame);
            }
            match self.socket.read_buf(&mut self.wire).await {
                Ok(0) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }
}

/// A layer for the `node`-th node with a command of its own, and the key of its answer.
pub(crate) fn layer(node: u64, body: impl Fn() -> Body<'static>) -> (Vec<u8>, AnswerKey) {
    let keys = keys(node);
    let answer_key = AnswerKey::generate(&mut OsRng);
    let mut nonce = [0; 16];
    OsRng.fill_bytes(&mut nonce);
    let ties = Ties {
        node: keys.wallet.address(),
        time_ms: now_s() * 1000,
        nonce,
        answer_key: answer_key.clone(),
    };
    let command = Command { ties, body: body() }.encode();
    let certificate = keys.certificate.certificate();
    let length = SizeClass::K4.packet_bytes();
    let layer = packet::seal_layer(certificate, &command, length, &mut OsRng).unwrap();
    (layer.as_bytes().to_vec(), answer_key)
}

fn forward(next: WalletAddress) -> impl Fn() -> Body<'static> {
    move || Body::Forward {
        next: Some(next),
        stamp: None,
        // The head of a version 3 PKESK: all that is read of it.
        inner: b"\xc1\x0c\x03somebody\x12\x00\x00",
    }
}

/// A socket that takes connections and says nothing, in the place of a node that was stopped.
pub(crate) async fn silent_node(world: &mut World, index: usize) -> TcpListener {
    world.stop_node(index).await;
    TcpListener::bind(world.nodes[index].socket).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn layer_sent_again_tells_whoever_sends_it_nothing_of_the_first_answer() {
    let world = World::new(1).await;
    let look_up = || Body::LookUp(Subject::Key(KeyId::from_bytes([7; 8])));
    for body in [
        &look_up as &dyn Fn() -> Body<'static>,
        &forward(WalletAddress::from_bytes([6; 20])),
    ] {
        let (layer, key) = layer(0, body);
        let mut outcomes = Vec::new();
        for _ in 0..2 {
            let (_, answer) = post(world.nodes[0].socket, "/intake", &layer).await;
            let Answer::Sealed(sealed) = Answer::decode(&answer).unwrap() else {
                panic!("an answer of an opened layer is sealed")
            };
            let clear = open_answer(&key, &sealed).unwrap();
            // Length field, text, zeros: what was sealed.
            let mut text = (clear.len() as u32).to_be_bytes().to_vec();
            text.extend_from_slice(&clear);
            text.resize(256, 0);
            let key_stream: Vec<u8> = text.iter().zip(&sealed).map(|(t, s)| t ^ s).collect();
            outcomes.push((Answer::decode(&clear).unwrap(), sealed.len(), key_stream));
        }
        let [(first, length, stream), (second, again, other)] = &outcomes[..] else {
            panic!("two were sent")
        };
        assert_ne!(*first, Answer::Refused(Refusal::Replayed));
        assert_eq!(*second, Answer::Refused(Refusal::Replayed));
        assert_eq!(length, again, "the length tells the outcome");
        assert_ne!(stream, other, "one key stream for two texts");
    }
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn link_that_gives_two_requests_one_number_is_closed() {
    let mut world = World::new(3).await;
    let _silent = silent_node(&mut world, 1).await;
    let mut link = Link::dial(&world, 2, 0).await;
    for _ in 0..2 {
        let (layer, _) = layer(0, forward(world.nodes[1].address));
        link.ask(5, &layer);
    }
    link.flush().await;
    let closed = tokio::time::timeout(Duration::from_secs(3), link.next()).await;
    assert!(closed.expect("it is still open").is_none());
    drop(link);
    world.stop().await;
}

/// Requests that wait for a node which answers nothing once held up all others on their link: its reader
/// stopped, and with it credits, cancellations and signs of life.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn link_full_of_requests_that_hang_says_busy_and_still_lives() {
    const REQUESTS: u64 = 4_100;
    let mut world = World::new(3).await;
    let _silent = silent_node(&mut world, 1).await;
    let hanging = forward(world.nodes[1].address);
    let layers: Vec<_> = (0..REQUESTS).map(|_| layer(0, &hanging).0).collect();
    // Only now: a link that says nothing for some seconds is given up.
    let mut link = Link::dial(&world, 2, 0).await;
    for (request, layer) in layers.iter().enumerate() {
        link.ask(request as u64 + 1, layer);
        if request % 64 == 0 {
            link.flush().await;
        }
    }
    link.push(Header::control(Kind::Ping, 77), &[]);
    link.flush().await;
    let mut busy = 0;
    loop {
        let frame = tokio::time::timeout(Duration::from_secs(20), link.next());
        let frame = frame.await.expect("it says nothing").expect("it closed");
        match (frame.header.kind, Answer::decode(&frame.payload)) {
            (Kind::Pong, _) => break,
            (Kind::Answer, Ok(Answer::Refused(Refusal::Busy))) => busy += 1,
            other => panic!("not while the others hang: {other:?}"),
        }
    }
    assert_eq!(busy, 4, "4,096 are taken");
    drop(link);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn node_keeps_no_more_than_a_few_links_of_one_peer() {
    let world = World::new(2).await;
    let mut links = Vec::new();
    for _ in 0..12 {
        let mut link = Link::dial(&world, 1, 0).await;
        link.push(Header::control(Kind::Ping, 1), &[]);
        link.flush().await;
        if link.next().await.is_some() {
            links.push(link);
        }
    }
    assert_eq!(links.len(), 8);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn node_with_open_streams_stops_at_once() {
    let mut world = World::new(3).await;
    let mailbox = world.nodes[2].address;
    let bob = world.person(20, &[mailbox]).await;
    bob.network
        .open_mailbox(bob.owner(), mailbox)
        .await
        .unwrap();
    let collection = Collection {
        mailbox,
        device: [1; 16],
        after: None,
        window_bytes: 1 << 20,
        stay: true,
    };
    let mut delivery = bob.network.collect(bob.owner(), collection).await.unwrap();
    let first = delivery.next().await.unwrap();
    assert!(matches!(first, Some(Item::CaughtUp { .. })), "{first:?}");
    let begun = Instant::now();
    for index in 0..3 {
        world.stop_node(index).await;
    }
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(4), "three nodes took {took:?}");
    assert!(
        delivery.next().await.is_err(),
        "it did not end as it should"
    );
    world.stop().await;
}
