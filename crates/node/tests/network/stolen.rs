//! Commands in the wrong hands, at the wrong node or at the wrong time: each is refused for its own reason.

use packet::SizeClass;
use protocol::answer::{Answer, AnswerKey, Refusal, open_answer};
use protocol::command::{Body, Command, Request, Subject, Ties, owner_message};
use rand::RngCore as _;
use rand::rngs::OsRng;
use wallet::{Fingerprint, KeyId, WalletAddress};

use crate::strangers::post;
use crate::world::{Person, World, keys, now_s};

const DAY_MS: u64 = 86_400_000;

fn ties(node: WalletAddress) -> Ties {
    let mut nonce = [0; 16];
    OsRng.fill_bytes(&mut nonce);
    Ties {
        node,
        time_ms: now_s() * 1000,
        nonce,
        answer_key: AnswerKey::generate(&mut OsRng),
    }
}

/// An owner's command as somebody sees it who has opened it.
#[derive(Clone)]
struct Opened {
    ties: Ties,
    fingerprint: Fingerprint,
    request: Vec<u8>,
    signature: [u8; 64],
}

impl Opened {
    fn of(owner: &Person, node: WalletAddress, request: &Request<'_>) -> Self {
        let (ties, request) = (ties(node), request.encode());
        Self {
            fingerprint: owner.certificate.certificate().fingerprint(),
            signature: owner.certificate.sign_raw(&owner_message(&ties, &request)),
            ties,
            request,
        }
    }

    /// The same with another nonce, and changed.
    fn with(&self, change: impl FnOnce(&mut Self)) -> Self {
        let mut changed = self.clone();
        // Else it would be refused as repeated.
        changed.ties.nonce = ties(self.ties.node).nonce;
        change(&mut changed);
        changed
    }

    fn command(&self) -> Command<'_> {
        let body = Body::Owner {
            fingerprint: self.fingerprint,
            request: &self.request,
            signature: self.signature,
        };
        Command {
            ties: self.ties.clone(),
            body,
        }
    }
}

/// Seals a command to the `node`-th node.
fn seal(node: u64, command: &Command<'_>) -> Vec<u8> {
    let keys = keys(node);
    let length = SizeClass::K4.packet_bytes();
    let certificate = keys.certificate.certificate();
    let layer = packet::seal_layer(certificate, &command.encode(), length, &mut OsRng).unwrap();
    layer.as_bytes().to_vec()
}

/// What the `node`-th node answers; none where it delivers.
async fn ask(world: &World, node: usize, layer: &[u8], key: &AnswerKey) -> Option<Answer> {
    let (head, body) = post(world.nodes[node].socket, "/intake", layer).await;
    if head.contains("text/event-stream") {
        return None;
    }
    let Answer::Sealed(sealed) = Answer::decode(&body).unwrap() else {
        panic!("an answer of an opened layer is sealed: {head}")
    };
    Some(Answer::decode(&open_answer(key, &sealed).unwrap()).unwrap())
}

async fn ask_with(world: &World, node: usize, command: &Command<'_>) -> Option<Answer> {
    let layer = seal(node as u64, command);
    ask(world, node, &layer, &command.ties.answer_key).await
}

/// A mailbox opens what its owners ask. It must not be able to ask their other mailboxes in their name, nor
/// whoever gets hold of a command to have the mail sealed to a key of their own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn collect_that_was_stolen_serves_no_other_node_key_time_or_request() {
    let world = World::new(3).await;
    let mailboxes = [world.nodes[1].address, world.nodes[2].address];
    let bob = world.person(30, &mailboxes).await;
    let mallory = world.person(31, &mailboxes).await;
    for mailbox in mailboxes {
        for person in [&bob, &mallory] {
            let opened = person.network.open_mailbox(person.owner(), mailbox);
            opened.await.unwrap();
        }
    }
    let collect = Request::Collect {
        device: [1; 16],
        after: None,
        window_bytes: 1 << 20,
        stay: false,
    };
    let acknowledge = Request::Acknowledge {
        device: [1; 16],
        cursor: 1,
    };
    let stolen = Opened::of(&bob, mailboxes[1], &collect);
    let denied = Some(Answer::Refused(Refusal::Denied));

    let layer = seal(2, &stolen.command());
    assert_eq!(ask(&world, 2, &layer, &stolen.ties.answer_key).await, None);
    let again = ask(&world, 2, &layer, &stolen.ties.answer_key).await;
    assert_eq!(again, Some(Answer::Refused(Refusal::Replayed)));
    // In a fresh layer it is the same command.
    let again = ask_with(&world, 2, &stolen.command()).await;
    assert_eq!(again, Some(Answer::Refused(Refusal::Replayed)));
    // At bob's other mailbox, as it is and made out to it.
    assert_eq!(ask_with(&world, 1, &stolen.command()).await, denied);
    let other = stolen.with(|it| it.ties.node = mailboxes[0]);
    assert_eq!(ask_with(&world, 1, &other.command()).await, denied);
    for changed in [
        stolen.with(|_| {}),
        stolen.with(|it| it.ties.time_ms += 1),
        stolen.with(|it| it.ties.answer_key = AnswerKey::generate(&mut OsRng)),
        stolen.with(|it| it.request = acknowledge.encode()),
        stolen.with(|it| it.fingerprint = mallory.certificate.certificate().fingerprint()),
        stolen.with(|it| it.signature[63] ^= 1),
    ] {
        assert_eq!(ask_with(&world, 2, &changed.command()).await, denied);
    }
    // Mallory's own word for bob's account, and for what only mallory's certificate may say.
    let mut forged = Opened::of(&mallory, mailboxes[1], &collect);
    forged.fingerprint = bob.certificate.certificate().fingerprint();
    assert_eq!(ask_with(&world, 2, &forged.command()).await, denied);
    let honest = Opened::of(&mallory, mailboxes[1], &collect);
    assert_eq!(ask_with(&world, 2, &honest.command()).await, None);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn command_for_another_node_is_denied_whatever_it_says() {
    let world = World::new(2).await;
    let inner = b"\xc1\x0c\x03somebody\x12\x00\x00";
    let bodies = || {
        [
            Body::LookUp(Subject::Key(KeyId::from_bytes([7; 8]))),
            Body::Forward {
                next: Some(world.nodes[0].address),
                stamp: None,
                inner,
            },
        ]
    };
    for body in bodies() {
        let ties = ties(world.nodes[1].address);
        let answer = ask_with(&world, 0, &Command { ties, body }).await;
        assert_eq!(answer, Some(Answer::Refused(Refusal::Denied)));
    }
    for body in bodies() {
        let ties = ties(world.nodes[0].address);
        let answer = ask_with(&world, 0, &Command { ties, body }).await;
        assert_ne!(answer, Some(Answer::Refused(Refusal::Denied)));
    }
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn command_of_a_clock_off_by_a_day_is_told_the_time_by_the_node_itself() {
    let world = World::new(1).await;
    let node = world.nodes[0].address;
    let body = || Body::LookUp(Subject::Key(KeyId::from_bytes([7; 8])));
    for time_ms in [now_s() * 1000 - DAY_MS, now_s() * 1000 + DAY_MS] {
        let mut ties = ties(node);
        ties.time_ms = time_ms;
        let nonce = ties.nonce;
        let (body, mut early) = (body(), ties.clone());
        let answer = ask_with(&world, 0, &Command { ties, body }).await;
        let Some(Answer::Refused(Refusal::Stale(told))) = answer else {
            panic!("a day is too much: {answer:?}")
        };
        let keys = keys(0);
        assert!(told.verify(&node, &nonce, keys.certificate.certificate()));
        assert!(!told.verify(&node, &[0; 16], keys.certificate.certificate()));
        // The very command, but for its time, is obeyed.
        early.time_ms = told.time_ms;
        let body = Body::LookUp(Subject::Key(KeyId::from_bytes([7; 8])));
        let answer = ask_with(&world, 0, &Command { ties: early, body }).await;
        assert_eq!(answer, Some(Answer::Refused(Refusal::NotFound)));
    }
    world.stop().await;
}
