//! Seeds of `command`, `link`, `session` and `reassembly`: what nodes and clients say to each other.

use std::error::Error;

use packet::SizeClass;
use protocol::NodeId;
use protocol::answer::{Acknowledgement, Answer, AnswerKey, Item, NodeTime, Record, Refusal};
use protocol::command::{Body, Command, Request, Route, Subject, Ties, owner_message};
use protocol::frame::{self, Header, Kind};
use protocol::link::{Handshake, public_key};
use protocol::rendezvous::{MeetingToken, ServiceTag};
use protocol::session::ClientHandshake;
use wallet::{CertificateKind, WalletSignature};

use crate::people::{NOW_S, Person, SIGNER, rng};
use crate::{Outcome, Seeds, streams};

/// The nodes of the targets `link` and `session`, and their transport secrets.
const DIALER: ([u8; 20], [u8; 32]) = ([1; 20], [3; 32]);
const ACCEPTOR: ([u8; 20], [u8; 32]) = ([2; 20], [4; 32]);

const TAG: ServiceTag = ServiceTag::from_bytes([7; 16]);

/// A session key of version 3, as much of a packet as a command needs inside.
const PACKET: [u8; 14] = [0xc1, 12, 3, 1, 2, 3, 4, 5, 6, 7, 8, 18, 0, 0];

pub(crate) fn command(seeds: &mut Seeds) -> Outcome {
    let person = Person::new(SIGNER, CertificateKind::V6Classic)?;
    let node = NodeId::from_bytes([2; 20]);
    let bytes = person.secret.certificate().to_bytes();
    for (name, request) in requests(&person, &bytes) {
        seeds.put(&format!("request-{name}"), request.encode())?;
    }
    for (name, command) in commands(node, &person, &PACKET)? {
        seeds.put(&format!("command-{name}"), command)?;
    }
    let record = || Record {
        certificate: bytes.clone().into(),
        binding: person.binding.clone(),
    };
    let sign = |message: &[u8]| person.secret.sign_raw(message);
    let acknowledgement = Acknowledgement::sign(node, [9; 32], NOW_S * 1_000, sign);
    let time = NodeTime::sign(node, NOW_S * 1_000, &[3; 16], sign);
    for (name, answer) in [
        ("acknowledged", Answer::Acknowledged(acknowledgement)),
        ("sealed", Answer::Sealed(PACKET.to_vec().into())),
        ("record", Answer::Record(record())),
        ("done", Answer::Done),
        (
            "challenge",
            Answer::Challenge(vec![PACKET.to_vec().into(); 2]),
        ),
        ("busy", Answer::Refused(Refusal::Busy)),
        (
            "stamp-required",
            Answer::Refused(Refusal::StampRequired { effort: 1_000 }),
        ),
        ("stale", Answer::Refused(Refusal::Stale(time))),
        (
            "queue-full",
            Answer::Refused(Refusal::QueueFull {
                quota_bytes: 1 << 30,
            }),
        ),
        ("superseded", Answer::Refused(Refusal::Superseded(record()))),
    ] {
        seeds.put(&format!("answer-{name}"), answer.encode())?;
    }
    let packet = PACKET.to_vec().into();
    for (name, item) in [
        (
            "packet",
            Item::Packet {
                cursor: 70_000,
                stored_at_ms: NOW_S * 1_000,
                packet,
            },
        ),
        (
            "caught-up",
            Item::CaughtUp {
                cursor: 99,
                node_time_ms: NOW_S * 1_000,
            },
        ),
        (
            "beat",
            Item::Beat {
                node_time_ms: NOW_S * 1_000,
            },
        ),
        ("closed", Item::Closed { status: 16 }),
        (
            "offer",
            Item::Offer {
                token: MeetingToken::from_bytes([6; 16]),
                packet: PACKET.to_vec().into(),
            },
        ),
    ] {
        seeds.put(&format!("item-{name}"), item.encode())?;
    }
    Ok(())
}

/// One of each request by an owner.
fn requests<'b>(person: &Person, certificate: &'b [u8]) -> [(&'static str, Request<'b>); 8] {
    let open = |tokens| Request::OpenMailbox {
        certificate,
        binding: person.binding.clone(),
        tokens,
    };
    let collect = |after, stay| Request::Collect {
        device: [7; 16],
        after,
        window_bytes: 4 << 20,
        stay,
    };
    [
        ("open-mailbox", open(Vec::new())),
        ("open-mailbox-with-tokens", open(vec![[5; 32], [6; 32]])),
        ("collect", collect(None, true)),
        ("collect-after", collect(Some(1 << 40), false)),
        (
            "acknowledge",
            Request::Acknowledge {
                device: [7; 16],
                cursor: 99,
            },
        ),
        ("submit-route", submit_route(person)),
        ("close-mailbox", Request::CloseMailbox),
        (
            "serve",
            Request::Serve {
                tags: vec![TAG, ServiceTag::from_bytes([8; 16])],
            },
        ),
    ]
}

/// One of each command to a node.
pub(crate) fn commands(
    node: NodeId,
    person: &Person,
    inner: &[u8],
) -> Result<Vec<Named>, Box<dyn Error>> {
    let certificate = person.secret.certificate();
    let (bytes, fingerprint) = (certificate.to_bytes(), certificate.fingerprint());
    let mut commands = Vec::new();
    for (name, request) in requests(person, &bytes) {
        let (ties, request) = (ties(node), &request.encode());
        let signature = person.secret.sign_raw(&owner_message(&ties, request));
        let body = Body::Owner {
            fingerprint,
            request,
            signature,
        };
        commands.push((name, Command { ties, body }.encode()));
    }
    let next = Some(NodeId::from_bytes([3; 20]));
    for (name, body) in [
        (
            "forward",
            Body::Forward {
                next,
                stamp: None,
                inner,
            },
        ),
        (
            "forward-stamped",
            Body::Forward {
                next: None,
                stamp: Some([8; 48]),
                inner,
            },
        ),
        (
            "look-up-wallet",
            Body::LookUp(Subject::Wallet(person.wallet.address())),
        ),
        (
            "look-up-key",
            Body::LookUp(Subject::Key([1, 2, 3, 4, 5, 6, 7, 8].into())),
        ),
        (
            "meet",
            Body::Meet {
                tag: TAG,
                everyone: true,
                offer: inner,
            },
        ),
        ("join", Body::Join(MeetingToken::from_bytes([6; 16]))),
    ] {
        let ties = ties(node);
        commands.push((name, Command { ties, body }.encode()));
    }
    for (name, open) in streams::commands()? {
        let (ties, body) = (ties(node), Body::OpenStream(open));
        commands.push((name, Command { ties, body }.encode()));
    }
    Ok(commands)
}

fn ties(node: NodeId) -> Ties {
    Ties {
        node,
        time_ms: NOW_S * 1_000,
        nonce: [3; 16],
        answer_key: AnswerKey::from_bytes([4; 32]),
    }
}

fn submit_route(person: &Person) -> Request<'static> {
    let certificate = person.secret.certificate();
    let route = Route {
        wallet: person.wallet.address(),
        fingerprint: certificate.fingerprint(),
        key_ids: certificate.key_ids(),
        mailboxes: person.binding.mailboxes.clone(),
        sequence: 1,
        expiry_s: NOW_S + 86_400,
    };
    let signature = WalletSignature::from_bytes([27; 65]);
    Request::SubmitRoute { route, signature }
}

/// A command or frame, and its name.
type Named = (&'static str, Vec<u8>);

/// One of each frame; those with a payload in the smallest class.
pub(crate) fn frames() -> Result<Vec<Named>, Box<dyn Error>> {
    let class = SizeClass::K4;
    let mut frames = Vec::new();
    let packet = Header {
        request: 5,
        ..Header::packet(class, 0)
    };
    for (name, header) in [
        ("packet", packet),
        (
            "packet-stamped",
            Header {
                stamp: Some([8; 48]),
                broadcast: true,
                hops: 2,
                ..packet
            },
        ),
        (
            "packet-wants-a-stream",
            Header {
                stream: true,
                ..packet
            },
        ),
        (
            "packet-wants-a-circuit",
            Header {
                circuit: true,
                ..packet
            },
        ),
        ("data", Header::data(5, 0)),
        ("answer", Header::answer(5, class, 0)),
        ("item", Header::item(5, class, 0)),
        (
            "last-item",
            Header {
                last: true,
                ..Header::item(5, class, 0)
            },
        ),
    ] {
        let mut bytes = Vec::new();
        if !frame::append(&mut bytes, header, &PACKET) {
            return Err("the payload fits no class".into());
        }
        frames.push((name, bytes));
    }
    for (name, kind) in [
        ("cancel", Kind::Cancel),
        ("ping", Kind::Ping),
        ("pong", Kind::Pong),
        ("go-away", Kind::GoAway),
    ] {
        frames.push((name, Header::control(kind, 5).encode().to_vec()));
    }
    frames.push(("credit", Header::credit(5, 65_536).encode().to_vec()));
    Ok(frames)
}

/// What the target seals begins with the length of its records, in units of sixteen bytes.
pub(crate) fn link(seeds: &mut Seeds) -> Outcome {
    let (me, to) = (NodeId::from_bytes(DIALER.0), NodeId::from_bytes(ACCEPTOR.0));
    let key = public_key(&ACCEPTOR.1);
    let (_, message) = Handshake::dial(me, &DIALER.1, &to, &key, 0)?;
    seeds.put("handshake", &message)?;
    let (_, message) = Handshake::dial(me, &DIALER.1, &to, &key, u64::MAX)?;
    seeds.put("handshake-with-features", &message)?;
    let frames = frames()?;
    for (name, bytes) in &frames {
        seeds.put(&format!("frame-{name}"), [&[255][..], bytes].concat())?;
    }
    let all = |names: &[&str]| {
        let chosen = frames.iter().filter(|(name, _)| names.contains(name));
        chosen
            .flat_map(|(_, bytes)| bytes.iter().copied())
            .collect::<Vec<u8>>()
    };
    let control = all(&["ping", "pong", "credit", "cancel", "go-away"]);
    seeds.put(
        "control-frames-across-records",
        [&[1][..], &control].concat(),
    )?;
    let mixed = all(&["ping", "item", "credit"]);
    seeds.put("frames-across-records", [&[40][..], &mixed].concat())?;
    let circuit = all(&["packet-wants-a-circuit", "data", "credit", "answer"]);
    seeds.put("circuit", [&[255][..], &circuit].concat())
}

pub(crate) fn session(seeds: &mut Seeds) -> Outcome {
    let node = NodeId::from_bytes(ACCEPTOR.0);
    let key = public_key(&ACCEPTOR.1);
    for (name, features, seed) in [
        ("handshake", 0, 20),
        ("handshake-with-features", u64::MAX, 21),
    ] {
        let (_, body) = ClientHandshake::start(&node, &key, features, &mut rng(seed))?;
        seeds.put(name, body)?;
    }
    let other = NodeId::from_bytes(DIALER.0);
    let (_, body) = ClientHandshake::start(&other, &key, 0, &mut rng(22))?;
    seeds.put("handshake-for-another-node", body)?;
    // An exchange of no session: id, counter, a frame's header and a tag.
    let (id, counter) = ([6; 16], 7_u64.to_be_bytes());
    let rest = [0; frame::HEADER_BYTES + 16];
    seeds.put("exchange", [&id[..], &counter, &rest].concat())?;
    seeds.put(
        "exchange-beyond-the-last",
        [&id[..], &[255; 8], &rest].concat(),
    )
}

/// Four bytes of a transfer (total, count, hash), then four a chunk: index, length, what is wrong, by how much.
pub(crate) fn reassembly(seeds: &mut Seeds) -> Outcome {
    const RIGHT: u8 = 7;
    for (name, head, chunks) in [
        ("one", [10, 0, 1, 0], &[[0, 10, RIGHT, 0]][..]),
        (
            "in-order",
            [30, 0, 3, 1],
            &[[0, 10, RIGHT, 0], [1, 10, RIGHT, 0], [2, 10, RIGHT, 0]],
        ),
        (
            "backwards",
            [30, 0, 3, 1],
            &[[2, 10, RIGHT, 0], [1, 10, RIGHT, 0], [0, 10, RIGHT, 0]],
        ),
        (
            "twice",
            [20, 0, 2, 1],
            &[[0, 10, RIGHT, 0], [0, 10, RIGHT, 0], [1, 10, RIGHT, 0]],
        ),
        (
            "many",
            [255, 255, 255, 1],
            &[
                [0, 255, RIGHT, 0],
                [200, 255, RIGHT, 0],
                [254, 255, RIGHT, 0],
            ],
        ),
        ("empty", [0, 0, 1, 1], &[[0, 0, RIGHT, 0]]),
        (
            "offset-at-the-end-of-numbers",
            [30, 0, 3, 1],
            &[[0, 10, RIGHT, 0], [1, 10, 0, 5]],
        ),
        (
            "other-total",
            [30, 0, 3, 1],
            &[[0, 10, RIGHT, 0], [1, 10, 1, 0]],
        ),
        (
            "other-count",
            [30, 0, 3, 1],
            &[[0, 10, RIGHT, 0], [1, 10, 2, 0]],
        ),
        (
            "index-beyond-the-count",
            [30, 0, 3, 1],
            &[[0, 10, RIGHT, 0], [1, 10, 3, 0]],
        ),
        (
            "overlapping",
            [30, 0, 3, 1],
            &[[0, 10, RIGHT, 0], [1, 10, 4, 5]],
        ),
    ] {
        let bytes: Vec<u8> = [head].iter().chain(chunks).flatten().copied().collect();
        seeds.put(name, bytes)?;
    }
    Ok(())
}
