//! Callers and publishers of a service, of which the test makes every frame, and the mailbox where they meet.

use std::time::Duration;

use bytes::Bytes;
use packet::{ContentType, Draft, MessageId, SessionId, SizeClass};
use protocol::answer::{Answer, AnswerKey, Item, ItemOpener};
use protocol::command::{Body, Command, Request, Ties, owner_message};
use protocol::frame::{Header, Kind};
use protocol::link::Incoming;
use protocol::rendezvous::{MeetingToken, ServiceTag};
use rand::rngs::OsRng;

use crate::hostile::Link;
use crate::streams::{seal, soon, unseal};
use crate::world::{Person, World, keys, now_s};

/// The node that is the mailbox; the others are relays and entries.
pub(crate) const MAILBOX: u64 = 0;
pub(crate) const RELAY: u64 = 1;
pub(crate) const ENTRY: usize = 2;
pub(crate) const SERVICE: &str = "shop.conet:80";

/// A world, and somebody in it who has services.
pub(crate) struct Place {
    pub(crate) world: World,
    pub(crate) owner: Person,
    pub(crate) tag: ServiceTag,
}

/// A publisher's stream of offers.
pub(crate) struct Publisher {
    link: Link,
    items: ItemOpener,
}

/// A circuit of a client's link, and the key of the mailbox's answer.
pub(crate) struct Circuit {
    pub(crate) request: u64,
    pub(crate) key: AnswerKey,
    /// The key of the relay's answer, where there is one on the way.
    relay_key: Option<AnswerKey>,
}

impl Place {
    pub(crate) async fn new() -> Self {
        let world = World::new(3).await;
        let mailbox = world.nodes[MAILBOX as usize].address;
        let owner = world.person(70, &[mailbox]).await;
        let opened = owner.network.open_mailbox(owner.owner(), mailbox).await;
        opened.unwrap();
        let tag = ServiceTag::new(&owner.key.address(), &SERVICE.parse().unwrap());
        Self { world, owner, tag }
    }

    pub(crate) async fn client(&self) -> Link {
        Link::dial_as_client(&self.world, MAILBOX as usize).await
    }

    /// A publisher, to whom the mailbox has said its first word.
    pub(crate) async fn publisher(&self) -> Publisher {
        self.publisher_of(vec![self.tag]).await
    }

    pub(crate) async fn publisher_of(&self, tags: Vec<ServiceTag>) -> Publisher {
        let (mut publisher, _) = self.serve(tags).await;
        let first = publisher.item().await;
        assert!(matches!(first, Item::Beat { .. }), "{first:?}");
        publisher
    }

    /// What comes for a Serve command, and that command.
    pub(crate) async fn serve(&self, tags: Vec<ServiceTag>) -> (Publisher, Vec<u8>) {
        let (packet, key) = self.request(&Request::Serve { tags });
        let mut link = Link::dial(&self.world, RELAY, MAILBOX as usize).await;
        let header = Header {
            request: 1,
            stream: true,
            ..Header::packet(SizeClass::K4, 0)
        };
        link.push(header, &packet);
        link.flush().await;
        let items = ItemOpener::new(&key);
        (Publisher { link, items }, packet)
    }

    /// A command of the owner's.
    fn request(&self, request: &Request<'_>) -> (Vec<u8>, AnswerKey) {
        let node = keys(MAILBOX);
        let key = AnswerKey::generate(&mut OsRng);
        let ties = Ties {
            node: node.wallet.address(),
            time_ms: now_s() * 1000,
            nonce: rand::random(),
            answer_key: key.clone(),
        };
        let request = request.encode();
        let signature = self
            .owner
            .certificate
            .sign_raw(&owner_message(&ties, &request));
        let body = Body::Owner {
            fingerprint: self.owner.certificate.certificate().fingerprint(),
            request: &request,
            signature,
        };
        let command = Command { ties, body }.encode();
        let length = SizeClass::K16.packet_bytes();
        let certificate = node.certificate.certificate();
        let layer = packet::seal_layer(certificate, &command, length, &mut OsRng).unwrap();
        (layer.as_bytes().to_vec(), key)
    }

    /// Asks the mailbox for something that has one answer.
    pub(crate) async fn ask(&self, request: &Request<'_>) -> Answer {
        let (packet, key) = self.request(request);
        let mut link = Link::dial(&self.world, RELAY, MAILBOX as usize).await;
        link.ask(1, &packet);
        link.flush().await;
        unseal(&said(&mut link, 1).await, &key)
    }

    /// An offer of that text: whether it is one, the mailbox can't see.
    pub(crate) fn offer(&self, body: &[u8]) -> Bytes {
        offer_to(&self.owner, body)
    }

    /// Calls the service.
    pub(crate) async fn calls(&self, link: &mut Link, request: u64, body: &[u8]) -> Circuit {
        let offer = self.offer(body);
        self.meets(link, request, false, &offer).await
    }

    pub(crate) async fn meets(
        &self,
        link: &mut Link,
        request: u64,
        everyone: bool,
        offer: &[u8],
    ) -> Circuit {
        let (packet, key) = meet(self.tag, everyone, offer);
        link.begin(request, &packet).await;
        Circuit::direct(request, key)
    }

    /// Calls the service over an entry, to which the link leads, and a relay.
    pub(crate) async fn calls_by_relay(
        &self,
        link: &mut Link,
        request: u64,
        body: &[u8],
    ) -> Circuit {
        let offer = self.offer(body);
        let (inner, key) = meet(self.tag, false, &offer);
        let forward = Body::Forward {
            next: Some(keys(MAILBOX).wallet.address()),
            stamp: None,
            inner: &inner,
        };
        let (outer, relay_key) = seal(RELAY, forward, now_s() * 1000, inner.len() + 512);
        link.begin(request, &outer).await;
        Circuit {
            relay_key: Some(relay_key),
            ..Circuit::direct(request, key)
        }
    }
}

/// An offer of that text to somebody.
pub(crate) fn offer_to(owner: &Person, body: &[u8]) -> Bytes {
    let draft = Draft {
        message_id: MessageId::random(&mut OsRng),
        time_ms: now_s() * 1000,
        content_type: ContentType::OFFER.into(),
        session: SessionId::from_bytes([1; 8]),
        sequence: 0,
        reply: None,
        body: body.to_vec().into(),
    };
    let certificate = owner.certificate.certificate();
    let sealed = packet::seal(&draft, None, certificate, &mut OsRng).unwrap();
    sealed.into_bytes()
}

/// A layer that holds an offer.
pub(crate) fn meet(tag: ServiceTag, everyone: bool, offer: &[u8]) -> (Vec<u8>, AnswerKey) {
    let body = Body::Meet {
        tag,
        everyone,
        offer,
    };
    seal(MAILBOX, body, now_s() * 1000, offer.len() + 512)
}

/// A layer that joins.
pub(crate) fn join(token: MeetingToken) -> (Vec<u8>, AnswerKey) {
    let length = SizeClass::K4.packet_bytes();
    seal(MAILBOX, Body::Join(token), now_s() * 1000, length)
}

pub(crate) async fn joins(link: &mut Link, request: u64, token: MeetingToken) -> Circuit {
    let (packet, key) = join(token);
    link.begin(request, &packet).await;
    Circuit::direct(request, key)
}

impl Publisher {
    pub(crate) async fn item(&mut self) -> Item {
        loop {
            let frame = soon(self.link.next()).await.expect("the link closed");
            match frame.header.kind {
                Kind::Item => {}
                Kind::Answer => panic!("{:?}", Answer::decode(&frame.payload)),
                _ => continue,
            }
            let granted = Header::credit(frame.header.request, 64 << 10);
            self.link.push(granted, &[]);
            self.link.flush().await;
            let Ok(Answer::Sealed(sealed)) = Answer::decode(&frame.payload) else {
                panic!("items are sealed")
            };
            return Item::decode(&self.items.open(&sealed).unwrap()).unwrap();
        }
    }

    /// The next offer.
    pub(crate) async fn offer(&mut self) -> (MeetingToken, Bytes) {
        loop {
            match self.item().await {
                Item::Offer { token, packet } => return (token, packet),
                Item::Beat { .. } => {}
                other => panic!("{other:?}"),
            }
        }
    }

    pub(crate) async fn token(&mut self) -> MeetingToken {
        self.offer().await.0
    }

    /// Nothing comes for as long as another one has not been asked.
    pub(crate) async fn is_left_alone(&mut self) {
        let early = tokio::time::timeout(Duration::from_millis(500), self.offer()).await;
        assert!(early.is_err(), "it has got an offer");
    }
}

impl Circuit {
    fn direct(request: u64, key: AnswerKey) -> Self {
        let relay_key = None;
        Self {
            request,
            key,
            relay_key,
        }
    }

    pub(crate) async fn sends(&self, link: &mut Link, data: &[u8]) {
        link.push(Header::data(self.request, 0), data);
        link.flush().await;
    }

    pub(crate) async fn grants(&self, link: &mut Link, bytes: u32) {
        link.push(Header::credit(self.request, bytes), &[]);
        link.flush().await;
    }

    pub(crate) async fn ends(&self, link: &mut Link) {
        link.push(Header::control(Kind::Cancel, self.request), &[]);
        link.flush().await;
    }

    /// The next frame that is one of this circuit.
    pub(crate) async fn next(&self, link: &mut Link) -> Incoming {
        loop {
            let frame = soon(link.next()).await.expect("the link closed");
            if frame.header.request == self.request {
                return frame;
            }
        }
    }

    pub(crate) async fn hears(&self, link: &mut Link, data: &[u8]) {
        let frame = self.next(link).await;
        assert_eq!(frame.header.kind, Kind::Data);
        assert!(frame.payload[..] == *data, "other data");
    }

    pub(crate) async fn is_granted(&self, link: &mut Link, bytes: u32) {
        let frame = self.next(link).await;
        let said = (frame.header.kind, frame.header.credit);
        assert_eq!(said, (Kind::Credit, bytes));
    }

    /// The mailbox's last word, which is sealed as the innermost, and for the relay if there is one.
    pub(crate) async fn end(&self, link: &mut Link) -> Answer {
        let mut answer = said(link, self.request).await;
        if let Some(relay_key) = &self.relay_key {
            answer = unseal(&answer, relay_key);
        }
        unseal(&answer, &self.key)
    }
}

/// The answer to a request, as it comes.
pub(crate) async fn said(link: &mut Link, request: u64) -> Answer {
    loop {
        let frame = soon(link.next()).await.expect("the link closed");
        if frame.header.request == request && frame.header.kind == Kind::Answer {
            return Answer::decode(&frame.payload).unwrap();
        }
    }
}
