//! The test vectors in `tests/vectors/`, which another implementation can use.
//!
//! `cargo test -p conet-packet --test suite -- --ignored write_vectors` writes them anew; they change
//! only with the wire format.

use std::path::PathBuf;

use packet::{
    ContentType, Draft, MessageId, ReplyRoute, Sender, SessionId, Verified, open, open_layer, peek,
    seal, seal_layer,
};
use serde::{Deserialize, Serialize};
use wallet::{CertificateBinding, CertificateKind, SecretCertificate};

use crate::people::{KINDS, NOW_S, Person, rng};

#[derive(Serialize, Deserialize)]
struct EndToEnd {
    about: String,
    /// CBOR of a secret certificate as this implementation stores it.
    recipient_secret: String,
    /// The same secret keys as an armored OpenPGP private key block.
    recipient_openpgp: String,
    recipient_fingerprint: String,
    packet: String,
    key_id: String,
    message_id: String,
    time_ms: u64,
    content_type: String,
    session: String,
    sequence: u64,
    reply_fingerprint: Option<String>,
    reply_mailboxes: Vec<String>,
    body: String,
    /// Absent for an unsigned message.
    sender_wallet: Option<String>,
    sender_fingerprint: Option<String>,
    /// CBOR of the sender's binding.
    sender_binding: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct Layer {
    about: String,
    node_secret: String,
    node_openpgp: String,
    packet: String,
    key_id: String,
    command: String,
}

#[derive(Serialize, Deserialize)]
struct Peek {
    about: String,
    /// Hexadecimal of a binary message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    bytes: Option<String>,
    /// Text of an armored message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    /// Absent where the message is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key_id: Option<String>,
}

fn path(name: &str) -> PathBuf {
    // Asked at run time: a build directory may serve several checkouts.
    PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").unwrap())
        .join("tests/vectors")
        .join(name)
}

fn read<T: for<'a> Deserialize<'a>>(name: &str) -> T {
    let text = std::fs::read_to_string(path(name)).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn write(name: &str, vectors: &impl Serialize) {
    let text = serde_json::to_string_pretty(vectors).unwrap() + "\n";
    std::fs::write(path(name), text).unwrap();
}

fn secret(hexadecimal: &str) -> SecretCertificate {
    SecretCertificate::from_bytes(&hex::decode(hexadecimal).unwrap()).unwrap()
}

#[test]
fn end_to_end_vectors_open_as_they_say() {
    let vectors: Vec<EndToEnd> = read("end-to-end.json");
    assert!(vectors.len() >= 4);
    for vector in vectors {
        let bytes = hex::decode(&vector.packet).unwrap();
        let me = secret(&vector.recipient_secret);
        let fingerprint = me.certificate().fingerprint().to_string();
        assert_eq!(fingerprint, vector.recipient_fingerprint);
        assert_eq!(peek(&bytes).unwrap().to_string(), vector.key_id);
        let opened = open(&bytes, &me).unwrap();
        let envelope = opened.envelope.unwrap();
        assert_eq!(envelope.message_id.to_string(), vector.message_id);
        assert_eq!(envelope.time_ms, vector.time_ms);
        assert_eq!(envelope.content_type, vector.content_type);
        assert_eq!(envelope.session.to_string(), vector.session);
        assert_eq!(envelope.sequence, vector.sequence);
        assert_eq!(hex::encode(&envelope.body), vector.body);
        let reply = envelope.reply.as_ref();
        assert_eq!(
            reply.map(|reply| reply.fingerprint.to_string()),
            vector.reply_fingerprint
        );
        let mailboxes: Vec<String> = reply
            .map(|reply| reply.mailboxes.iter().map(ToString::to_string).collect())
            .unwrap_or_default();
        assert_eq!(mailboxes, vector.reply_mailboxes);
        match opened.verified {
            Verified::Wallet { wallet, binding } => {
                assert_eq!(Some(wallet.to_string()), vector.sender_wallet);
                let fingerprint = binding.fingerprint.to_string();
                assert_eq!(Some(fingerprint), vector.sender_fingerprint);
                let binding = hex::encode(binding.to_bytes());
                assert_eq!(Some(binding), vector.sender_binding);
            }
            other => {
                assert_eq!(other, Verified::Unsigned);
                assert_eq!(vector.sender_wallet, None);
            }
        }
    }
}

#[test]
fn layer_vectors_open_as_they_say() {
    let vectors: Vec<Layer> = read("layer.json");
    assert!(!vectors.is_empty());
    for vector in vectors {
        let bytes = hex::decode(&vector.packet).unwrap();
        assert_eq!(peek(&bytes).unwrap().to_string(), vector.key_id);
        let command = open_layer(&bytes, &secret(&vector.node_secret)).unwrap();
        assert_eq!(hex::encode(command), vector.command);
    }
}

#[test]
fn peek_vectors_show_what_they_say() {
    let vectors: Vec<Peek> = read("peek.json");
    assert!(vectors.len() >= 20);
    for vector in vectors {
        let bytes = match (&vector.bytes, &vector.text) {
            (Some(bytes), None) => hex::decode(bytes).unwrap(),
            (None, Some(text)) => text.clone().into_bytes(),
            _ => panic!("{}: either bytes or text", vector.about),
        };
        let shown = peek(&bytes).ok().map(|key_id| key_id.to_string());
        assert_eq!(shown, vector.key_id, "{}", vector.about);
    }
}

/// A secret certificate without superseded subkeys, and a binding.
fn person(seed: u64, kind: CertificateKind) -> Person {
    Person::new(seed, kind)
}

#[test]
#[ignore = "writes files"]
fn write_vectors() {
    let mut vectors = Vec::new();
    for (number, (sender, recipient)) in KINDS
        .into_iter()
        .flat_map(|sender| KINDS.map(|recipient| (Some(sender), recipient)))
        .chain(KINDS.map(|recipient| (None, recipient)))
        .filter(|(sender, recipient)| sender.is_none_or(|sender| sender == *recipient))
        .enumerate()
    {
        vectors.push(end_to_end(number as u64, sender, recipient));
    }
    write("end-to-end.json", &vectors);

    let node = person(30, CertificateKind::NODE);
    let command = b"the bytes of a command".to_vec();
    let packet = seal_layer(node.certificate(), &command, 1_024, &mut rng(31)).unwrap();
    write(
        "layer.json",
        &[Layer {
            about: "a command of 22 bytes in a layer of 1,024".to_owned(),
            node_secret: hex::encode(&*node.secret.to_bytes()),
            node_openpgp: node.secret.to_openpgp_armored().to_string(),
            key_id: packet.key_id().to_string(),
            packet: hex::encode(packet.as_bytes()),
            command: hex::encode(command),
        }],
    );
}

fn end_to_end(
    number: u64,
    sender: Option<CertificateKind>,
    recipient: CertificateKind,
) -> EndToEnd {
    let alice = sender.map(|kind| person(2 * number, kind));
    let bob = person(2 * number + 1, recipient);
    let reply = alice.as_ref().map(|alice| ReplyRoute {
        fingerprint: alice.certificate().fingerprint(),
        mailboxes: alice.binding.mailboxes.clone(),
    });
    let draft = Draft {
        message_id: MessageId::random(&mut rng(number)),
        time_ms: NOW_S * 1_000 + number,
        content_type: ContentType::TEXT.to_owned(),
        session: SessionId::random(&mut rng(number)),
        sequence: number,
        reply,
        body: format!("Grüße, message {number}").into(),
    };
    let by: Option<Sender<'_>> = alice.as_ref().map(Person::sender);
    let packet = seal(&draft, by.as_ref(), bob.certificate(), &mut rng(number)).unwrap();
    let binding: Option<&CertificateBinding> = alice.as_ref().map(|alice| &alice.binding);
    EndToEnd {
        about: format!("{recipient:?}, sent by {sender:?}"),
        recipient_secret: hex::encode(&*bob.secret.to_bytes()),
        recipient_openpgp: bob.secret.to_openpgp_armored().to_string(),
        recipient_fingerprint: bob.certificate().fingerprint().to_string(),
        key_id: packet.key_id().to_string(),
        packet: hex::encode(packet.as_bytes()),
        message_id: draft.message_id.to_string(),
        time_ms: draft.time_ms,
        content_type: draft.content_type,
        session: draft.session.to_string(),
        sequence: draft.sequence,
        reply_fingerprint: draft
            .reply
            .as_ref()
            .map(|reply| reply.fingerprint.to_string()),
        reply_mailboxes: draft
            .reply
            .iter()
            .flat_map(|reply| reply.mailboxes.iter().map(ToString::to_string))
            .collect(),
        body: hex::encode(&draft.body),
        sender_wallet: binding.map(|binding| binding.wallet.to_string()),
        sender_fingerprint: binding.map(|binding| binding.fingerprint.to_string()),
        sender_binding: binding.map(|binding| hex::encode(binding.to_bytes())),
    }
}
