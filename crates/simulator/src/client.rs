//! The two people: a sender with an outbox, a recipient with a durable inbox.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use packet::{Draft, MessageId, Packet, Sender, SessionId};
use protocol::NodeId;
use protocol::answer::{AnswerKey, NodeTime};
use protocol::command::{Body, Command, Request, Ties, owner_message};
use protocol::order::{Ready, Reorder};
use rand::RngCore as _;
use rand_chacha::ChaCha20Rng;
use wallet::{Certificate, CertificateBinding, CertificateKind, SecretCertificate, WalletKey};

/// A wallet with its certificate and what binds them.
pub(crate) struct Person {
    pub(crate) key: WalletKey,
    pub(crate) certificate: SecretCertificate,
    pub(crate) binding: CertificateBinding,
    /// What is added to the true time, and learned of each node's.
    pub(crate) clock_error_ms: i64,
    offsets: HashMap<NodeId, i64>,
}

impl Person {
    pub(crate) fn new(
        rng: &mut ChaCha20Rng,
        now_ms: u64,
        clock_error_ms: i64,
        mailboxes: Vec<NodeId>,
    ) -> Self {
        let key = WalletKey::generate(rng);
        #[expect(
            clippy::expect_used,
            reason = "a fresh key makes a certificate and a binding"
        )]
        let (certificate, binding) = {
            // Without ML-KEM: a run has thousands of packets, and their keys are not what is simulated.
            let certificate =
                SecretCertificate::create(&key, CertificateKind::V6Classic, now_ms / 1000, rng)
                    .expect("a certificate");
            let binding = CertificateBinding::sign(&key, certificate.certificate(), 1, mailboxes)
                .expect("a binding");
            (certificate, binding)
        };
        Self {
            key,
            certificate,
            binding,
            clock_error_ms,
            offsets: HashMap::new(),
        }
    }

    /// The time to put into a command for a node, by this person's clock and what was learned.
    fn time_for(&self, node: &NodeId, true_ms: u64) -> u64 {
        let offset = self.offsets.get(node).copied().unwrap_or(0);
        true_ms
            .saturating_add_signed(self.clock_error_ms)
            .saturating_add_signed(offset)
    }

    /// Learns a node's time from its signed word; false if the word is not the node's.
    pub(crate) fn learn(
        &mut self,
        time: &NodeTime,
        node: NodeId,
        nonce: &[u8; 16],
        certificate: &Certificate,
        true_ms: u64,
    ) -> bool {
        if !time.verify(&node, nonce, certificate) {
            return false;
        }
        let mine = true_ms.saturating_add_signed(self.clock_error_ms);
        self.offsets.insert(node, time.time_ms as i64 - mine as i64);
        true
    }

    pub(crate) fn ties(&self, node: NodeId, true_ms: u64, rng: &mut ChaCha20Rng) -> Ties {
        let mut nonce = [0; 16];
        rng.fill_bytes(&mut nonce);
        Ties {
            node,
            time_ms: self.time_for(&node, true_ms),
            nonce,
            answer_key: AnswerKey::generate(rng),
        }
    }

    /// A layer for `relay` that names `next`.
    pub(crate) fn forward_layer(
        ties: &Ties,
        relay: &Certificate,
        next: NodeId,
        inner: &Packet,
        rng: &mut ChaCha20Rng,
    ) -> Option<Bytes> {
        let body = Body::Forward {
            next: Some(next),
            stamp: None,
            inner: inner.as_bytes(),
        };
        let command = Command {
            ties: ties.clone(),
            body,
        }
        .encode();
        let length = inner.as_bytes().len() + packet::LAYER_BYTES;
        packet::seal_layer(relay, &command, length, rng)
            .ok()
            .map(Packet::into_bytes)
    }

    /// A layer for the mailbox with a request by its owner.
    pub(crate) fn owner_layer(
        &self,
        ties: &Ties,
        mailbox: &Certificate,
        request: &Request<'_>,
        rng: &mut ChaCha20Rng,
    ) -> Option<Bytes> {
        let request = request.encode();
        let signature = self.certificate.sign_raw(&owner_message(ties, &request));
        let fingerprint = self.certificate.certificate().fingerprint();
        let body = Body::Owner {
            fingerprint,
            request: &request,
            signature,
        };
        let command = Command {
            ties: ties.clone(),
            body,
        }
        .encode();
        packet::seal_layer(mailbox, &command, packet::SizeClass::K4.packet_bytes(), rng)
            .ok()
            .map(Packet::into_bytes)
    }

    /// Seals message number `sequence`.
    pub(crate) fn seal(
        &self,
        sequence: u64,
        to: &Certificate,
        true_ms: u64,
        rng: &mut ChaCha20Rng,
    ) -> Option<Packet> {
        let draft = Draft {
            message_id: MessageId::random(rng),
            time_ms: true_ms,
            content_type: "text/plain".into(),
            session: SessionId::from_bytes([7; 8]),
            sequence,
            reply: None,
            body: format!("message {sequence}").into_bytes().into(),
        };
        let sender = Sender {
            wallet: &self.key,
            certificate: &self.certificate,
            binding: &self.binding,
        };
        packet::seal(&draft, Some(&sender), to, rng).ok()
    }
}

/// The recipient's inbox: what is durable, and what was shown.
pub(crate) struct Inbox {
    /// Message id → how often it was taken into the inbox as new.
    pub(crate) taken: BTreeMap<[u8; 16], u32>,
    order: Reorder<u64>,
    /// Sequence numbers in the order in which they were shown.
    pub(crate) shown: Vec<u64>,
    pub(crate) gaps: u64,
}

impl Inbox {
    pub(crate) fn new() -> Self {
        Self {
            taken: BTreeMap::new(),
            order: Reorder::expecting(0),
            shown: Vec::new(),
            gaps: 0,
        }
    }

    /// Takes an opened message once.
    pub(crate) fn take(&mut self, id: [u8; 16], sequence: u64, now_ms: u64) {
        if self.taken.contains_key(&id) {
            return;
        }
        self.taken.insert(id, 1);
        let ready = self.order.push(sequence, sequence, now_ms);
        self.show(ready);
    }

    pub(crate) fn poll(&mut self, now_ms: u64) {
        let ready = self.order.poll(now_ms);
        self.show(ready);
    }

    fn show(&mut self, ready: Vec<Ready<u64>>) {
        for item in ready {
            match item {
                Ready::Message(sequence) => self.shown.push(sequence),
                Ready::Gap(missing) => self.gaps += missing,
            }
        }
    }
}
