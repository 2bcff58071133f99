//! Streams through a network: client, entry, relay, bridge, and a host that the bridge connects to.

use std::collections::HashMap;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;

use bridge::NameServers;
use bytes::Bytes;
use client::streams::{OpenError, Purpose, Reset, Stream, StreamPrivacy};
use packet::SizeClass;
use protocol::answer::{Answer, AnswerKey, Refusal, open_answer};
use protocol::command::{Body, Command, Ties};
use protocol::frame::{Header, Kind};
use rand::RngCore as _;
use rand::rngs::OsRng;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use wallet::WalletAddress;

use crate::hostile::Link;
use crate::transit::answer;
use crate::world::{Person, World, free_socket, keys, now_s};

const SOON: Duration = Duration::from_secs(20);
const DAY_MS: u64 = 86_400_000;
/// Far more than anything on the way may hold for a host that reads nothing: a window here, as much for sending
/// again, a window there, and what sockets hold.
const HELD_BYTES: usize = 24 << 20;

/// A bridge that lets out to these.
fn bridge_to(allowed: &[SocketAddr]) -> bridge::Config {
    bridge::Config {
        allow: allowed
            .iter()
            .map(|to| to.to_string().parse().unwrap())
            .collect(),
        name_servers: NameServers::Given(vec![free_socket()]),
        ..bridge::Config::default()
    }
}

/// A host that sends back what it gets, until it gets no more.
async fn echo() -> SocketAddr {
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

pub(crate) async fn soon<T>(future: impl Future<Output = T>) -> T {
    let waited = tokio::time::timeout(SOON, future).await;
    waited.expect("nothing happens")
}

impl Person {
    async fn open(
        &self,
        bridge: WalletAddress,
        to: SocketAddr,
        privacy: StreamPrivacy,
        first: &'static [u8],
    ) -> Result<Stream, OpenError> {
        let purpose = Purpose::Connect(to.to_string().parse().unwrap());
        let first = Bytes::from_static(first);
        soon(self.network.open_stream(bridge, purpose, privacy, first)).await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stream_over_entry_relay_and_bridge_carries_bytes_both_ways_and_ends_in_halves() {
    let host = echo().await;
    let world = World::with_bridges(6, HashMap::from([(5, bridge_to(&[host]))])).await;
    let bridge = world.nodes[5].address;
    let alice = world.person(1, &[]).await;
    for privacy in [StreamPrivacy::Relayed, StreamPrivacy::Direct] {
        let stream = alice.open(bridge, host, privacy, b"first ").await.unwrap();
        world.await_count(5, "bridge_streams", 1).await;
        let sent: Vec<u8> = (0..3_u32 << 18).flat_map(u32::to_le_bytes).collect();
        let (mut read, mut write) = tokio::io::split(stream);
        let mut heard = Vec::new();
        let writing = async {
            write.write_all(&sent).await.unwrap();
            write.shutdown().await.unwrap();
        };
        let (_, length) = soon(async { tokio::join!(writing, read.read_to_end(&mut heard)) }).await;
        length.unwrap();
        assert_eq!(&heard[..6], b"first ");
        assert!(heard[6..] == sent, "it came otherwise");
        drop((read, write));
        for node in 0..6 {
            world.await_count(node, "circuits", 0).await;
        }
        world.await_count(5, "bridge_streams", 0).await;
    }
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stream_of_one_hop_crosses_no_node_but_the_bridge() {
    let host = echo().await;
    let world = World::with_bridges(6, HashMap::from([(5, bridge_to(&[host]))])).await;
    let bridge = world.nodes[5].address;
    let alice = world.person(5, &[]).await;
    let privacy = StreamPrivacy::OneHop;
    let mut stream = alice.open(bridge, host, privacy, b"first").await.unwrap();
    let mut heard = [0; 5];
    soon(stream.read_exact(&mut heard)).await.unwrap();
    assert_eq!(&heard, b"first");
    world.await_count(5, "circuits", 1).await;
    for node in 0..5 {
        world.await_count(node, "circuits", 0).await;
    }
    drop(stream);
    world.await_count(5, "circuits", 0).await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn host_that_breaks_off_and_client_that_does_are_reset_at_the_other_end() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let host = listener.local_addr().unwrap();
    let world = World::with_bridges(6, HashMap::from([(5, bridge_to(&[host]))])).await;
    let bridge = world.nodes[5].address;
    let alice = world.person(2, &[]).await;
    let open = || alice.open(bridge, host, StreamPrivacy::Relayed, b"");
    let accept = || async { soon(listener.accept()).await.unwrap().0 };

    let (stream, socket) = tokio::join!(open(), accept());
    let (mut stream, socket): (_, TcpStream) = (stream.unwrap(), socket);
    socket.set_zero_linger().unwrap();
    drop(socket);
    let error = soon(stream.read_u8()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);

    let (stream, mut socket) = tokio::join!(open(), accept());
    drop(stream.unwrap());
    let error = soon(socket.read_u8()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    world.await_count(5, "bridge_streams", 0).await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stream_that_the_far_end_will_not_open_says_why() {
    let (nobody, denied) = (free_socket(), free_socket());
    let world = World::with_bridges(6, HashMap::from([(5, bridge_to(&[nobody]))])).await;
    let [no_bridge, bridge] = [4, 5].map(|node| world.nodes[node].address);
    let alice = world.person(3, &[]).await;
    for privacy in [StreamPrivacy::Relayed, StreamPrivacy::Direct] {
        let refused = alice.open(no_bridge, nobody, privacy, b"").await;
        let Err(OpenError::Refused(refusal)) = refused else {
            panic!("{refused:?}")
        };
        assert_eq!(*refusal, Refusal::Unsupported);
    }
    for (to, reset) in [(nobody, Reset::Refused), (denied, Reset::Denied)] {
        let refused = alice.open(bridge, to, StreamPrivacy::Relayed, b"").await;
        let Err(OpenError::Reset(why)) = refused else {
            panic!("{refused:?}")
        };
        assert_eq!(why, reset);
    }
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn host_that_reads_nothing_stops_its_writer_and_no_other_stream() {
    let small = TcpSocket::new_v4().unwrap();
    small.set_recv_buffer_size(64 << 10).unwrap();
    small.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = small.listen(8).unwrap();
    let (deaf, host) = (listener.local_addr().unwrap(), echo().await);
    let world = World::with_bridges(6, HashMap::from([(5, bridge_to(&[deaf, host]))])).await;
    let bridge = world.nodes[5].address;
    let alice = world.person(4, &[]).await;
    let privacy = StreamPrivacy::Direct;
    let (stream, socket) = tokio::join!(alice.open(bridge, deaf, privacy, b""), async {
        soon(listener.accept()).await.unwrap().0
    });
    let mut stream = stream.unwrap();
    let piece = vec![7; 64 << 10];
    let mut written = 0;
    while let Ok(wrote) =
        tokio::time::timeout(Duration::from_secs(2), stream.write_all(&piece)).await
    {
        wrote.unwrap();
        written += piece.len();
        assert!(written < HELD_BYTES, "it is written to nobody");
    }
    let mut other = alice.open(bridge, host, privacy, b"").await.unwrap();
    let sent = vec![9; 4 << 20];
    let (mut read, mut write) = tokio::io::split(&mut other);
    let mut heard = vec![0; sent.len()];
    let (wrote, heard_all) =
        soon(async { tokio::join!(write.write_all(&sent), read.read_exact(&mut heard)) }).await;
    wrote.unwrap();
    heard_all.unwrap();
    drop((stream, other, socket));
    for node in 0..6 {
        world.await_count(node, "circuits", 0).await;
    }
    world.stop().await;
}

/// A layer for the `node`-th node, made at `time_ms`, which is `depth` layers inside of those that wrap it.
pub(crate) fn seal(node: u64, body: Body<'_>, time_ms: u64, length: usize) -> (Vec<u8>, AnswerKey) {
    let keys = keys(node);
    let answer_key = AnswerKey::generate(&mut OsRng);
    let mut nonce = [0; 16];
    OsRng.fill_bytes(&mut nonce);
    let ties = Ties {
        node: keys.wallet.address(),
        time_ms,
        nonce,
        answer_key: answer_key.clone(),
    };
    let command = Command { ties, body }.encode();
    let certificate = keys.certificate.certificate();
    let layer = packet::seal_layer(certificate, &command, length, &mut OsRng).unwrap();
    (layer.as_bytes().to_vec(), answer_key)
}

/// What was said to the client, which is sealed; and what is inside.
pub(crate) fn unseal(said: &Answer, key: &AnswerKey) -> Answer {
    let Answer::Sealed(sealed) = said else {
        panic!("{said:?} is not sealed")
    };
    Answer::decode(&open_answer(key, sealed).unwrap()).unwrap()
}

/// A stream's layers: for the far end, and for the relay that passes it on `next`.
struct Layers {
    outer: Vec<u8>,
    relay_key: AnswerKey,
    far_key: AnswerKey,
}

impl Layers {
    fn new(relay: u64, far: u64, next: WalletAddress, [relay_ms, far_ms]: [u64; 2]) -> Self {
        let target = "host.example:80".parse().unwrap();
        let opening = streams::open(Purpose::Connect(target), streams::Cipher::Aes256Gcm);
        let length = SizeClass::K4.packet_bytes();
        let body = Body::OpenStream(opening.command().clone());
        let (inner, far_key) = seal(far, body, far_ms, length);
        let forward = Body::Forward {
            next: Some(next),
            stamp: None,
            inner: &inner,
        };
        let (outer, relay_key) = seal(relay, forward, relay_ms, length + 512);
        Self {
            outer,
            relay_key,
            far_key,
        }
    }

    async fn answer(&self, link: &mut Link, request: u64) -> Answer {
        let header = Header {
            request,
            circuit: true,
            ..Header::packet(SizeClass::K4, 0)
        };
        link.push(header, &self.outer);
        link.flush().await;
        let (answered, said) = answer(link).await;
        assert_eq!(answered, request);
        said
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusals_of_a_stream_are_sealed_so_that_the_client_alone_reads_them() {
    const RELAY: u64 = 1;
    const BRIDGE: u64 = 2;
    const NO_BRIDGE: u64 = 3;
    let world = World::with_bridges(4, HashMap::from([(BRIDGE, bridge_to(&[]))])).await;
    let mut link = Link::dial_as_client(&world, 0).await;
    let address = |node: u64| world.nodes[node as usize].address;
    let now = now_s() * 1000;

    // The far end's word is sealed by it and by the relay.
    let layers = Layers::new(RELAY, NO_BRIDGE, address(NO_BRIDGE), [now, now]);
    let said = layers.answer(&mut link, 1).await;
    let from_relay = unseal(&said, &layers.relay_key);
    assert!(matches!(from_relay, Answer::Sealed(_)), "{from_relay:?}");
    let from_far = unseal(&from_relay, &layers.far_key);
    assert_eq!(from_far, Answer::Refused(Refusal::Unsupported));

    let layers = Layers::new(RELAY, BRIDGE, address(BRIDGE), [now, now - DAY_MS]);
    let said = layers.answer(&mut link, 2).await;
    let from_far = unseal(&unseal(&said, &layers.relay_key), &layers.far_key);
    assert!(matches!(from_far, Answer::Refused(Refusal::Stale(_))));

    // The relay's own word is sealed by the relay.
    let stranger = WalletAddress::from_bytes([6; 20]);
    let layers = Layers::new(RELAY, BRIDGE, stranger, [now, now]);
    let said = layers.answer(&mut link, 3).await;
    assert_eq!(
        unseal(&said, &layers.relay_key),
        Answer::Refused(Refusal::Unreachable)
    );
    let layers = Layers::new(RELAY, BRIDGE, address(BRIDGE), [now - DAY_MS, now]);
    let said = layers.answer(&mut link, 4).await;
    let from_relay = unseal(&said, &layers.relay_key);
    assert!(matches!(from_relay, Answer::Refused(Refusal::Stale(_))));
    world.await_count(0, "circuits", 0).await;
    drop(link);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn command_that_opened_a_stream_opens_no_second_one() {
    const RELAY: u64 = 1;
    const BRIDGE: u64 = 2;
    let world = World::with_bridges(3, HashMap::from([(BRIDGE, bridge_to(&[]))])).await;
    let mut link = Link::dial_as_client(&world, 0).await;
    let now = now_s() * 1000;
    // The relay's layer is made anew for the same inner one, as somebody would who has seen that.
    let target = "host.example:80".parse().unwrap();
    let opening = streams::open(Purpose::Connect(target), streams::Cipher::Aes256Gcm);
    let length = SizeClass::K4.packet_bytes();
    let body = Body::OpenStream(opening.command().clone());
    let (inner, far_key) = seal(BRIDGE, body, now, length);
    let next = Some(world.nodes[BRIDGE as usize].address);
    for request in 1..=2 {
        let forward = Body::Forward {
            next,
            stamp: None,
            inner: &inner,
        };
        let (outer, relay_key) = seal(RELAY, forward, now, length + 512);
        let header = Header {
            request,
            circuit: true,
            ..Header::packet(SizeClass::K4, 0)
        };
        link.push(header, &outer);
        link.flush().await;
        if request == 1 {
            // It was obeyed: the far end speaks.
            let frame = soon(link.next()).await.unwrap();
            assert!(matches!(frame.header.kind, Kind::Data | Kind::Credit));
            continue;
        }
        let said = loop {
            let frame = soon(link.next()).await.unwrap();
            if frame.header.request == request && frame.header.kind == Kind::Answer {
                break Answer::decode(&frame.payload).unwrap();
            }
        };
        let from_far = unseal(&unseal(&said, &relay_key), &far_key);
        assert_eq!(from_far, Answer::Refused(Refusal::Replayed));
    }
    drop(link);
    world.stop().await;
}
