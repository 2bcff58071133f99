//! Services: callers and publishers who meet at a mailbox, which knows neither.

use std::time::{Duration, Instant};

use bytes::BytesMut;
use packet::SizeClass;
use protocol::answer::{Answer, Item, Refusal};
use protocol::command::{Body, Request};
use protocol::frame::{Header, Kind, MAX_DATA_BYTES};
use protocol::rendezvous::{MAX_OFFER_BYTES, MeetingToken, ServiceTag};
use protocol::stream::OpenStream;
use streams::{Accepted, Accepter, Cipher, CircuitEvent, Purpose, Stream};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::mpsc;

use crate::hostile::Link;
use crate::meetings::{
    Circuit, ENTRY, MAILBOX, Place, Publisher, SERVICE, join, joins, meet, offer_to, said,
};
use crate::streams::{seal, soon, unseal};
use crate::world::now_s;

/// Circuits that wait at one account.
const MOST_WAITING: u64 = 256;
/// What a node lets an end have been granted and not used.
const MOST_CREDIT: usize = 4 << 20;
const FIRST_CREDIT: usize = 65_536;
/// Far more than anything on the way may hold for a publisher that reads nothing.
const HELD_BYTES: usize = 24 << 20;
/// What a stream carries each way.
const BULK_BYTES: usize = 32 << 20;
const DAY_MS: u64 = 86_400_000;

const NOT_FOUND: Answer = Answer::Refused(Refusal::NotFound);

/// One caller and one publisher, joined, each on a link of its own to the mailbox.
struct Joined {
    place: Place,
    offers: Publisher,
    caller: Link,
    publisher: Link,
    calls: Circuit,
    serves: Circuit,
}

impl Joined {
    async fn new() -> Self {
        let place = Place::new().await;
        let (mut caller, mut publisher) = (place.client().await, place.client().await);
        let mut offers = place.publisher().await;
        let calls = place.calls(&mut caller, 1, b"hello").await;
        let serves = joins(&mut publisher, 1, offers.token().await).await;
        Self {
            place,
            offers,
            caller,
            publisher,
            calls,
            serves,
        }
    }

    async fn flows(&mut self) {
        let (ask, reply) = ([b'a'; 100], [b'r'; 200]);
        self.calls.sends(&mut self.caller, &ask).await;
        self.serves.hears(&mut self.publisher, &ask).await;
        self.serves.sends(&mut self.publisher, &reply).await;
        self.calls.hears(&mut self.caller, &reply).await;
    }

    async fn nothing_is_left(self) {
        let place = self.place;
        place.nothing_is_left().await;
        drop((self.caller, self.publisher, self.offers));
        place.world.stop().await;
    }
}

impl Place {
    async fn nothing_is_left(&self) {
        for count in ["circuits", "waiting_circuits", "joined_circuits"] {
            self.world.await_count(MAILBOX as usize, count, 0).await;
        }
    }
}

/// A circuit of a link that carries nothing else, as streams take it.
struct Carried {
    request: u64,
    out: mpsc::UnboundedSender<(Header, Vec<u8>)>,
}

impl streams::CircuitSender for Carried {
    fn send(&self, frame: &[u8]) {
        let _gone = self
            .out
            .send((Header::data(self.request, 0), frame.to_vec()));
    }

    fn grant(&self, bytes: u32) {
        let _gone = self
            .out
            .send((Header::credit(self.request, bytes), Vec::new()));
    }
}

impl Drop for Carried {
    fn drop(&mut self) {
        let cancel = Header::control(Kind::Cancel, self.request);
        let _gone = self.out.send((cancel, Vec::new()));
    }
}

fn carry(mut link: Link, request: u64) -> streams::Circuit {
    let (out, mut outgoing) = mpsc::unbounded_channel::<(Header, Vec<u8>)>();
    let (events, coming) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        loop {
            let frame = tokio::select! {
                said = outgoing.recv() => {
                    let Some((header, payload)) = said else { return };
                    link.push(header, &payload);
                    link.flush().await;
                    continue;
                }
                frame = link.next() => frame,
            };
            let event = match frame {
                Some(frame) if frame.header.kind == Kind::Data => {
                    CircuitEvent::Frame(BytesMut::from(&frame.payload[..]))
                }
                Some(frame) if frame.header.kind == Kind::Credit => {
                    CircuitEvent::Credit(frame.header.credit)
                }
                _ => return,
            };
            let _gone = events.send(event);
        }
    });
    streams::Circuit::new(Carried { request, out }, coming)
}

impl Place {
    /// A stream to the service, and its other end; the caller comes by an entry and a relay.
    async fn stream(&self, offers: &mut Publisher) -> (Stream, Stream) {
        let purpose = Purpose::Service(SERVICE.parse().unwrap());
        let opening = streams::open(purpose.clone(), Cipher::Aes256Gcm);
        let mut link = Link::dial_as_client(&self.world, ENTRY).await;
        let offer = opening.command().to_offer();
        let circuit = self.calls_by_relay(&mut link, 1, &offer).await;
        let caller = opening.over(carry(link, circuit.request), None);

        let (token, offer) = offers.offer().await;
        let opened = packet::open(&offer, &self.owner.certificate).unwrap();
        let open = OpenStream::from_offer(&opened.envelope.unwrap().body).unwrap();
        let mut link = self.client().await;
        let circuit = joins(&mut link, 1, token).await;
        let accepter = Accepter::new(Cipher::Aes256Gcm);
        let accepted = accepter.accept(&open, || carry(link, circuit.request));
        let Accepted::New(publisher, asked) = accepted else {
            panic!("{accepted:?}")
        };
        assert_eq!(asked, purpose);
        publisher.set_opened();
        (caller, publisher)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stream_between_caller_and_publisher_carries_bulk_both_ways_and_ends_in_halves() {
    let place = Place::new().await;
    let mut offers = place.publisher().await;
    let (caller, publisher) = place.stream(&mut offers).await;
    place
        .world
        .await_count(MAILBOX as usize, "joined_circuits", 1)
        .await;
    let bulk = |seed: u32| -> Vec<u8> {
        let words = 0..(BULK_BYTES / 4) as u32;
        words.flat_map(|n| (n ^ seed).to_le_bytes()).collect()
    };
    let (asked, replied) = (bulk(0x5eed), bulk(0xfeed_0000));
    let (mut from_publisher, mut to_publisher) = tokio::io::split(caller);
    let (mut from_caller, mut to_caller) = tokio::io::split(publisher);
    let mut heard = [Vec::new(), Vec::new()];
    let [by_caller, by_publisher] = &mut heard;
    let calling = async {
        to_publisher.write_all(&asked).await.unwrap();
        to_publisher.shutdown().await.unwrap();
    };
    let replying = async {
        // Only when the caller has said all: its direction is shut, this one is not.
        from_caller.read_to_end(by_publisher).await.unwrap();
        to_caller.write_all(&replied).await.unwrap();
        to_caller.shutdown().await.unwrap();
    };
    let listening = async { from_publisher.read_to_end(by_caller).await.unwrap() };
    let _all = tokio::time::timeout(Duration::from_secs(60), async {
        tokio::join!(calling, replying, listening)
    });
    _all.await.expect("it stopped");
    assert!(heard[1] == asked && heard[0] == replied, "other bytes");
    place.nothing_is_left().await;
    drop(offers);
    place.world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn publisher_that_reads_nothing_stops_its_caller_and_nobody_else() {
    let place = Place::new().await;
    let mut offers = place.publisher().await;
    let (mut caller, deaf) = place.stream(&mut offers).await;
    let piece = vec![7; 64 << 10];
    let mut written = 0;
    while let Ok(wrote) =
        tokio::time::timeout(Duration::from_secs(1), caller.write_all(&piece)).await
    {
        wrote.unwrap();
        written += piece.len();
        assert!(written < HELD_BYTES, "it is written to nobody");
    }
    let (mut other, mut hearing) = place.stream(&mut offers).await;
    let sent = vec![9; 4 << 20];
    let mut heard = vec![0; sent.len()];
    let both = async { tokio::join!(other.write_all(&sent), hearing.read_exact(&mut heard)) };
    let (wrote, read) = soon(both).await;
    wrote.unwrap();
    read.unwrap();
    // The caller's end is told of the deaf one's.
    drop((other, hearing, deaf));
    assert!(soon(caller.read_u8()).await.is_err());
    drop(caller);
    place.nothing_is_left().await;
    drop(offers);
    place.world.stop().await;
}

/// As for any circuit: what was granted is told once the link that it is for has room.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn credit_of_a_publisher_whose_link_is_congested_is_withheld_from_callers() {
    const PAIRS: u64 = 12;
    let place = Place::new().await;
    let mut offers = place.publisher().await;
    let (mut caller, mut publisher) = (place.client().await, place.client().await);
    let mut pairs = Vec::new();
    for request in 1..=PAIRS {
        let calls = place.calls(&mut caller, request, b"x").await;
        let serves = joins(&mut publisher, request, offers.token().await).await;
        for _ in 0..8 {
            serves.grants(&mut publisher, 1 << 20).await;
        }
        let mut granted = FIRST_CREDIT;
        while granted < MOST_CREDIT {
            let frame = calls.next(&mut caller).await;
            assert_eq!(frame.header.kind, Kind::Credit);
            granted += frame.header.credit as usize;
        }
        assert_eq!(granted, MOST_CREDIT, "more is granted than a node keeps");
        pairs.push((calls, serves));
    }
    let piece = vec![7; MAX_DATA_BYTES];
    for (calls, _) in &pairs {
        for _ in 0..MOST_CREDIT / MAX_DATA_BYTES {
            calls.sends(&mut caller, &piece).await;
        }
    }
    // All of that has been taken once the mailbox has said what comes after it: more than was granted.
    let (first, _) = &pairs[0];
    first.sends(&mut caller, &[7; 56]).await;
    assert_eq!(
        first.end(&mut caller).await,
        Answer::Refused(Refusal::Malformed)
    );
    let (calls, serves) = &pairs[1];
    serves.grants(&mut publisher, 100_000).await;
    let early = tokio::time::timeout(Duration::from_millis(500), calls.next(&mut caller)).await;
    assert!(
        early.is_err(),
        "credit is passed on while the link is congested"
    );
    let mut read = 0;
    while read < (PAIRS as usize - 1) * MOST_CREDIT {
        let frame = soon(publisher.next()).await.unwrap();
        if frame.header.kind == Kind::Data && frame.header.request != 1 {
            read += frame.payload.len();
        }
    }
    calls.is_granted(&mut caller, 100_000).await;
    drop((caller, publisher, offers));
    place.nothing_is_left().await;
    place.world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_callers_say_before_they_are_joined_reaches_the_publisher_first_and_credit_too() {
    let place = Place::new().await;
    let mut offers = place.publisher().await;
    let (mut caller, mut publisher) = (place.client().await, place.client().await);
    let calls = place.calls(&mut caller, 5, b"x").await;
    for byte in 0..3 {
        calls.sends(&mut caller, &[byte; 60]).await;
    }
    calls.grants(&mut caller, 1_000).await;
    let token = offers.token().await;
    // Until it has come, for sure.
    tokio::time::sleep(Duration::from_millis(100)).await;
    let serves = joins(&mut publisher, 6, token).await;
    for byte in 0..3 {
        serves.hears(&mut publisher, &[byte; 60]).await;
    }
    serves.is_granted(&mut publisher, 1_000).await;
    calls.sends(&mut caller, &[3; 60]).await;
    serves.hears(&mut publisher, &[3; 60]).await;
    drop((caller, publisher, offers));
    place.nothing_is_left().await;
    place.world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn circuit_ended_by_one_of_two_is_over_for_the_other_by_a_word_sealed_to_it_alone() {
    let place = Place::new().await;
    let mut offers = place.publisher().await;
    let mut caller = Link::dial_as_client(&place.world, ENTRY).await;
    let mut publisher = place.client().await;
    for by_caller in [true, false] {
        let calls = place.calls_by_relay(&mut caller, 1, b"x").await;
        let serves = joins(&mut publisher, 1, offers.token().await).await;
        calls.sends(&mut caller, &[7; 100]).await;
        serves.hears(&mut publisher, &[7; 100]).await;
        if by_caller {
            calls.ends(&mut caller).await;
            assert_eq!(serves.end(&mut publisher).await, Answer::Done);
        } else {
            serves.ends(&mut publisher).await;
            assert_eq!(calls.end(&mut caller).await, Answer::Done);
        }
        place.nothing_is_left().await;
    }
    let calls = place.calls_by_relay(&mut caller, 2, b"x").await;
    let serves = joins(&mut publisher, 2, offers.token().await).await;
    serves.sends(&mut publisher, &[7; 100]).await;
    calls.hears(&mut caller, &[7; 100]).await;
    drop(publisher);
    assert_eq!(calls.end(&mut caller).await, Answer::Done);
    drop((caller, offers));
    place.nothing_is_left().await;
    place.world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn publishers_that_do_not_join_or_go_are_followed_by_others() {
    let place = Place::new().await;
    let (mut silent, mut other) = (place.publisher().await, place.publisher().await);
    let (mut caller, mut publisher) = (place.client().await, place.client().await);
    let calls = place.calls(&mut caller, 1, b"x").await;
    let begun = Instant::now();
    silent.token().await;
    let token = other.token().await;
    let took = begun.elapsed();
    assert!(took > Duration::from_secs(2), "it had no time: {took:?}");
    let serves = joins(&mut publisher, 1, token).await;
    calls.sends(&mut caller, &[7; 100]).await;
    serves.hears(&mut publisher, &[7; 100]).await;

    // Who was silent comes last now, and the other one goes with the offer.
    let calls = place.calls(&mut caller, 2, b"x").await;
    other.token().await;
    drop(other);
    let serves = joins(&mut publisher, 2, silent.token().await).await;
    calls.sends(&mut caller, &[8; 100]).await;
    serves.hears(&mut publisher, &[8; 100]).await;

    let calls = place.calls(&mut caller, 3, b"x").await;
    silent.token().await;
    drop(silent);
    let unreachable = Answer::Refused(Refusal::Unreachable);
    assert_eq!(calls.end(&mut caller).await, unreachable);
    place
        .world
        .await_count(MAILBOX as usize, "publishers", 0)
        .await;
    drop((caller, publisher));
    place.world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn offers_go_to_publishers_in_turn_and_those_for_everyone_to_all_who_serve_it() {
    let place = Place::new().await;
    let another = ServiceTag::from_bytes([9; 16]);
    let mut publishers = [
        place.publisher().await,
        place.publisher_of(vec![another, place.tag]).await,
    ];
    let mut stranger = place.publisher_of(vec![another]).await;
    let (mut caller, mut link) = (place.client().await, place.client().await);
    for request in 1..=4 {
        place.calls(&mut caller, request, b"x").await;
        let token = publishers[(request as usize + 1) % 2].token().await;
        joins(&mut link, request, token).await;
        let joined = request as usize;
        place
            .world
            .await_count(MAILBOX as usize, "joined_circuits", joined)
            .await;
    }
    let offer = place.offer(b"for one of you");
    let calls = place.meets(&mut caller, 5, true, &offer).await;
    let [one, other] = &mut publishers;
    let (tokens, came) = tokio::join!(one.offer(), other.offer());
    assert!(tokens.1 == offer && came.1 == offer, "another offer");
    stranger.is_left_alone().await;
    let serves = joins(&mut link, 5, came.0).await;
    calls.sends(&mut caller, &[7; 100]).await;
    serves.hears(&mut link, &[7; 100]).await;
    let late = joins(&mut link, 6, tokens.0).await;
    assert_eq!(late.end(&mut link).await, NOT_FOUND);
    drop((caller, link, publishers, stranger));
    place.nothing_is_left().await;
    place.world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn token_is_good_for_one_join_as_long_as_somebody_waits() {
    let mut joined = Joined::new().await;
    joined.flows().await;
    let Joined { place, offers, .. } = &mut joined;
    let mut link = place.client().await;
    let unknown = MeetingToken::from_bytes([7; 16]);
    let refused = joins(&mut link, 1, unknown).await;
    assert_eq!(refused.end(&mut link).await, NOT_FOUND);

    let calls = place.calls(&mut link, 2, b"x").await;
    let token = offers.token().await;
    let first = joins(&mut link, 3, token).await;
    calls.sends(&mut link, &[7; 100]).await;
    first.hears(&mut link, &[7; 100]).await;
    let second = joins(&mut link, 4, token).await;
    assert_eq!(second.end(&mut link).await, NOT_FOUND);
    calls.ends(&mut link).await;

    let gone = place.calls(&mut link, 5, b"x").await;
    let token = offers.token().await;
    place
        .world
        .await_count(MAILBOX as usize, "waiting_circuits", 1)
        .await;
    gone.ends(&mut link).await;
    // Its place is free at once.
    place
        .world
        .await_count(MAILBOX as usize, "waiting_circuits", 0)
        .await;
    let late = joins(&mut link, 6, token).await;
    assert_eq!(late.end(&mut link).await, NOT_FOUND);
    joined.flows().await;
    let calls = &joined.calls;
    calls.ends(&mut joined.caller).await;
    drop(link);
    joined.nothing_is_left().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_that_lead_nowhere_are_refused_by_a_sealed_word() {
    let place = Place::new().await;
    let mut link = place.client().await;
    let offer = place.offer(b"x");
    let nobody = place.meets(&mut link, 1, false, &offer).await;
    assert_eq!(nobody.end(&mut link).await, NOT_FOUND);

    let mut offers = place.publisher().await;
    let stranger = place.world.person(71, &[]).await;
    let unknown = offer_to(&stranger, b"x");
    let unknown = place.meets(&mut link, 2, false, &unknown).await;
    assert_eq!(unknown.end(&mut link).await, NOT_FOUND);
    let huge = place.offer(&vec![7; MAX_OFFER_BYTES]);
    assert!(huge.len() > MAX_OFFER_BYTES);
    let huge = place.meets(&mut link, 3, false, &huge).await;
    assert_eq!(
        huge.end(&mut link).await,
        Answer::Refused(Refusal::TooLarge)
    );
    let garbage = place.meets(&mut link, 4, false, &[7; 2_560]).await;
    assert_eq!(
        garbage.end(&mut link).await,
        Answer::Refused(Refusal::Malformed)
    );
    let other = ServiceTag::from_bytes([9; 16]);
    let (packet, key) = meet(other, false, &offer);
    link.begin(5, &packet).await;
    assert_eq!(unseal(&said(&mut link, 5).await, &key), NOT_FOUND);
    offers.is_left_alone().await;

    // What came for the publisher is there all the same.
    place.meets(&mut link, 6, false, &offer).await;
    assert_eq!(offers.offer().await.1, offer);
    drop((link, offers));
    place.nothing_is_left().await;
    place.world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn meet_and_join_without_a_circuit_are_unsupported() {
    let place = Place::new().await;
    let _offers = place.publisher().await;
    let (meet, key) = meet(place.tag, false, &place.offer(b"x"));
    let (join, join_key) = join(MeetingToken::from_bytes([7; 16]));
    let mut link = Link::dial(&place.world, 1, MAILBOX as usize).await;
    for (request, packet, key) in [(1, meet, key), (2, join, join_key)] {
        link.ask(request, &packet);
        link.flush().await;
        let answer = unseal(&said(&mut link, request).await, &key);
        assert_eq!(answer, Answer::Refused(Refusal::Unsupported));
    }
    drop((link, _offers));
    place.world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_of_services_are_obeyed_once_and_in_their_time() {
    let place = Place::new().await;
    let (mut offers, serve) = place.serve(vec![place.tag]).await;
    let mut link = place.client().await;
    let replayed = Answer::Refused(Refusal::Replayed);

    let (packet, key) = meet(place.tag, false, &place.offer(b"x"));
    link.begin(1, &packet).await;
    let offered = offers.token().await;
    link.begin(2, &packet).await;
    assert_eq!(unseal(&said(&mut link, 2).await, &key), replayed);
    let (packet, key) = join(offered);
    link.begin(3, &packet).await;
    link.begin(4, &packet).await;
    assert_eq!(unseal(&said(&mut link, 4).await, &key), replayed);
    offers.is_left_alone().await;

    let old = now_s() * 1000 - DAY_MS;
    let length = SizeClass::K4.packet_bytes();
    let (packet, key) = seal(MAILBOX, Body::Join(offered), old, length);
    link.begin(5, &packet).await;
    let stale = unseal(&said(&mut link, 5).await, &key);
    assert!(
        matches!(stale, Answer::Refused(Refusal::Stale(_))),
        "{stale:?}"
    );

    let mut again = Link::dial(&place.world, 1, MAILBOX as usize).await;
    let header = Header {
        request: 1,
        stream: true,
        ..Header::packet(SizeClass::K4, 0)
    };
    again.push(header, &serve);
    again.flush().await;
    // Whose key it is, the test has given away; that it is no item says enough.
    assert!(matches!(said(&mut again, 1).await, Answer::Sealed(_)));
    place
        .world
        .await_count(MAILBOX as usize, "publishers", 1)
        .await;
    drop((link, again, offers));
    place.world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn account_has_so_many_callers_who_wait_and_a_place_comes_free_with_each_that_goes() {
    let place = Place::new().await;
    let mut idle = place.publisher().await;
    let idle = tokio::spawn(async move {
        loop {
            idle.token().await;
        }
    });
    let mut link = place.client().await;
    let offer = place.offer(b"x");
    let layers: Vec<_> = (0..=MOST_WAITING)
        .map(|_| meet(place.tag, true, &offer))
        .collect();
    for (request, (packet, _)) in (1..).zip(&layers) {
        link.begin(request, packet).await;
        // The publisher's queue holds fewer offers than callers may wait.
        if request % 32 == 0 {
            let waiting = request as usize;
            place
                .world
                .await_count(MAILBOX as usize, "waiting_circuits", waiting)
                .await;
        }
    }
    let last = MOST_WAITING + 1;
    let key = &layers[MOST_WAITING as usize].1;
    let busy = Answer::Refused(Refusal::Busy);
    assert_eq!(unseal(&said(&mut link, last).await, key), busy);
    link.push(Header::control(Kind::Cancel, 7), &[]);
    link.flush().await;
    let waiting = MOST_WAITING as usize - 1;
    place
        .world
        .await_count(MAILBOX as usize, "waiting_circuits", waiting)
        .await;
    place.meets(&mut link, last + 1, true, &offer).await;
    place
        .world
        .await_count(MAILBOX as usize, "waiting_circuits", waiting + 1)
        .await;
    drop(link);
    place.nothing_is_left().await;
    idle.abort();
    place.world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn publishers_of_an_account_that_is_closed_are_told_and_offered_nothing_more() {
    let place = Place::new().await;
    let (mut one, mut other) = (place.publisher().await, place.publisher().await);
    assert_eq!(place.ask(&Request::CloseMailbox).await, Answer::Done);
    for publisher in [&mut one, &mut other] {
        assert_eq!(publisher.item().await, Item::Closed { status: 29 });
    }
    let mut link = place.client().await;
    let calls = place.calls(&mut link, 1, b"x").await;
    assert_eq!(calls.end(&mut link).await, NOT_FOUND);
    place
        .world
        .await_count(MAILBOX as usize, "publishers", 0)
        .await;
    drop((one, other, link));
    place.world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mailbox_that_stops_ends_publishers_and_circuits_soon() {
    let mut joined = Joined::new().await;
    let begun = Instant::now();
    joined.place.world.stop_node(MAILBOX as usize).await;
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(6), "it took {took:?}");
    while soon(joined.caller.next()).await.is_some() {}
    drop((joined.caller, joined.publisher, joined.offers));
    joined.place.world.stop().await;
}
