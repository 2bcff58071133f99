//! Packets that come over one link and go on over another.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::BytesMut;
use packet::SizeClass;
use protocol::answer::{Answer, Refusal, open_answer};
use protocol::command::{Body, Subject};
use protocol::frame::{Header, Kind};
use protocol::link::{Handshake, Incoming, Opener, Sealer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use wallet::KeyId;

use crate::hostile::{Link, layer};
use crate::world::{World, keys};

const SOON: Duration = Duration::from_secs(10);

fn look_up() -> Body<'static> {
    Body::LookUp(Subject::Key(KeyId::from_bytes([7; 8])))
}

/// The accepting end of a link, in the place of a node: it takes frames and answers nothing by itself.
pub(crate) struct Taker {
    socket: TcpStream,
    sealer: Sealer,
    opener: Opener,
    wire: BytesMut,
}

impl Taker {
    pub(crate) async fn accept(listener: &TcpListener, node: u64) -> Self {
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            assert!(socket.read_buf(&mut head).await.unwrap() > 0);
        }
        let head = String::from_utf8(head).unwrap();
        let key = head
            .lines()
            .filter_map(|line| line.split_once(": "))
            .find(|(name, _)| name.eq_ignore_ascii_case("sec-websocket-key"));
        let joined = format!("{}258EAFA5-E914-47DA-95CA-C5AB0DC85B11", key.unwrap().1);
        let sha1 = &ring::digest::SHA1_FOR_LEGACY_USE_ONLY;
        let accept = STANDARD.encode(ring::digest::digest(sha1, joined.as_bytes()));
        let granted = format!(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Accept: {accept}\r\n\r\n"
        );
        socket.write_all(granted.as_bytes()).await.unwrap();
        let mut message = vec![0; usize::from(socket.read_u16().await.unwrap())];
        socket.read_exact(&mut message).await.unwrap();
        let me = keys(node);
        let (_, answer, sealer, opener) =
            Handshake::accept(me.wallet.address(), &me.transport_secret(), 0, &message).unwrap();
        socket.write_u16(answer.len() as u16).await.unwrap();
        socket.write_all(&answer).await.unwrap();
        Self {
            socket,
            sealer,
            opener,
            wire: BytesMut::new(),
        }
    }

    /// The number of the next request, or of what is said of one.
    pub(crate) async fn next(&mut self) -> (Kind, u64) {
        let frame = self.frame().await;
        (frame.header.kind, frame.header.request)
    }

    /// The next frame; signs of life are answered.
    pub(crate) async fn frame(&mut self) -> Incoming {
        loop {
            while let Some(frame) = self.opener.next_of(&mut self.wire).unwrap() {
                if frame.header.kind != Kind::Ping {
                    return frame.detached();
                }
                self.say(Header::control(Kind::Pong, 0), &[]).await;
            }
            let read = self.socket.read_buf(&mut self.wire);
            let read = tokio::time::timeout(SOON, read).await;
            assert!(read.expect("nothing comes").unwrap() > 0, "it hung up");
        }
    }

    pub(crate) async fn say(&mut self, header: Header, payload: &[u8]) {
        assert!(self.sealer.push(header, payload));
        let mut out = Vec::new();
        self.sealer.flush(&mut out);
        self.socket.write_all(&out).await.unwrap();
    }
}

pub(crate) async fn answer(link: &mut Link) -> (u64, Answer) {
    let frame = tokio::time::timeout(SOON, link.next()).await;
    let frame = frame.expect("no answer").expect("the link closed");
    assert_eq!(frame.header.kind, Kind::Answer);
    (
        frame.header.request,
        Answer::decode(&frame.payload).unwrap(),
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn packets_in_transit_get_their_answers_and_free_their_numbers() {
    let world = World::new(3).await;
    let mut link = Link::dial(&world, 1, 0).await;
    // The first one has the node dial, the others go straight on.
    for _ in 0..2 {
        for request in 1..=20 {
            let (layer, key) = layer(2, look_up);
            link.ask(request, &layer);
            link.flush().await;
            let (answered, Answer::Sealed(sealed)) = answer(&mut link).await else {
                panic!("an answer of an opened layer is sealed")
            };
            let clear = open_answer(&key, &sealed).unwrap();
            assert_eq!(
                (answered, Answer::decode(&clear).unwrap()),
                (request, Answer::Refused(Refusal::NotFound))
            );
        }
    }
    drop(link);
    world.stop().await;
}

/// What goes straight on has no task whose end would tell its asker, its name or its far end anything.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn packets_in_transit_end_with_either_link_and_when_they_are_cancelled() {
    let mut world = World::new(3).await;
    world.stop_node(2).await;
    let listener = TcpListener::bind(world.nodes[2].socket).await.unwrap();
    let mut link = Link::dial(&world, 1, 0).await;
    let packets: Vec<_> = (0..5).map(|_| layer(2, look_up).0).collect();
    link.ask(1, &packets[0]);
    link.flush().await;
    let mut taker = Taker::accept(&listener, 2).await;
    let mut names = vec![taker.next().await.1];
    for request in 2..=4 {
        link.ask(request, &packets[request as usize - 1]);
        link.flush().await;
        let (kind, name) = taker.next().await;
        assert_eq!(kind, Kind::Packet);
        names.push(name);
    }

    // An answer to the third reaches its asker and nobody else.
    let busy = Answer::Refused(Refusal::Busy);
    let header = Header::answer(names[2], SizeClass::K4, 0);
    taker.say(header, &busy.encode()).await;
    assert_eq!(answer(&mut link).await, (3, busy.clone()));

    // Whoever cancels is heard at the far end, and its name is free.
    link.push(Header::control(Kind::Cancel, 2), &[]);
    link.flush().await;
    assert_eq!(taker.next().await, (Kind::Cancel, names[1]));
    link.ask(2, &packets[4]);
    link.flush().await;
    let (kind, fifth) = taker.next().await;
    assert_eq!(kind, Kind::Packet);

    // An item is no answer to who wants no stream.
    let item = Header::item(fifth, SizeClass::K4, 0);
    taker.say(item, &busy.encode()).await;
    assert_eq!(
        answer(&mut link).await,
        (2, Answer::Refused(Refusal::Failed))
    );
    assert_eq!(taker.next().await, (Kind::Cancel, fifth));

    // When the asker hangs up, so does the node for it.
    let mut other = Link::dial(&world, 1, 0).await;
    let (packet, _) = layer(2, look_up);
    other.ask(9, &packet);
    other.flush().await;
    let (_, name) = taker.next().await;
    drop(other);
    assert_eq!(taker.next().await, (Kind::Cancel, name));

    // When the far end does, those that wait are refused.
    drop((taker, listener));
    let unreachable = Answer::Refused(Refusal::Unreachable);
    let mut refused = vec![answer(&mut link).await, answer(&mut link).await];
    refused.sort_by_key(|(request, _)| *request);
    assert_eq!(refused, [(1, unreachable.clone()), (4, unreachable)]);
    drop(link);
    world.stop().await;
}
