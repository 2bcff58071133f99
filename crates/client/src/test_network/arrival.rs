//! What a test node does with a packet: open, store, pass on, answer.

use std::sync::Arc;

use bytes::Bytes;
use packet::{OpenError, Packet};
use protocol::NodeId;
use protocol::answer::{
    Acknowledgement, Answer, Item, ItemSealer, NodeTime, Record, Refusal, seal_answer,
};
use protocol::command::{Body, Command, Request, Subject, Ties, owner_message};
use protocol::frame::STAMP_BYTES;
use protocol::freshness::TOLERANCE_MS;
use protocol::stamp::Stamp;
use rand::rngs::OsRng;
use sha2::{Digest as _, Sha256};
use wallet::{Certificate, KeyId, SecretCertificate};

use super::{Account, FakeNode, Person, StreamFault, World};
use crate::clock::unix_ms;

/// A packet came to a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Visit {
    pub(crate) node: NodeId,
    /// None: from a client.
    pub(crate) from: Option<NodeId>,
    /// What the node saw.
    pub(crate) key: KeyId,
    pub(crate) stamped: bool,
}

/// What a node gives back.
#[derive(Debug)]
pub(super) enum Outcome {
    Answer(Answer),
    /// Answers of a stream, and what happens to it.
    Stream(Vec<Answer>, StreamFault),
}

impl From<Refusal> for Outcome {
    fn from(refusal: Refusal) -> Self {
        Self::Answer(Answer::Refused(refusal))
    }
}

impl World {
    pub(super) fn arrive(
        &self,
        at: &FakeNode,
        from: Option<NodeId>,
        bytes: Bytes,
        stamp: Option<[u8; STAMP_BYTES]>,
    ) -> Outcome {
        let Ok(packet) = Packet::new(bytes) else {
            return Refusal::Malformed.into();
        };
        let key = packet.key_id();
        self.visits.lock().push(Visit {
            node: at.id,
            from,
            key,
            stamped: stamp.is_some(),
        });
        if at.faults.lock().down {
            return Refusal::Unreachable.into();
        }
        if at.keys.certificate().key_ids().contains(&key) {
            return self.open(at, &packet, stamp);
        }
        if at.keeps(&key) {
            return Outcome::Answer(at.store(&key, packet, stamp));
        }
        let listed = |node: &&Arc<FakeNode>| {
            node.keys.certificate().key_ids().contains(&key)
                || crate::directory::LedgerView::is_listed(&*self.ledger, &key, &node.id)
        };
        if let Some(next) = self.nodes.iter().find(listed) {
            return self.arrive(next, Some(at.id), packet.into_bytes(), stamp);
        }
        let paid = stamp.is_some_and(|stamp| {
            Stamp::from_bytes(&stamp).is_ok_and(|s| s.verify(&packet.hash(), 2, unix_ms()).is_ok())
        });
        if !paid {
            return Refusal::StampRequired { effort: 2 }.into();
        }
        match self.nodes.iter().find(|node| node.keeps(&key)) {
            Some(next) => self.arrive(next, Some(at.id), packet.into_bytes(), stamp),
            None => Refusal::UnknownKey.into(),
        }
    }

    fn open(&self, at: &FakeNode, packet: &Packet, beside: Option<[u8; STAMP_BYTES]>) -> Outcome {
        let command = match packet::open_layer(packet.as_bytes(), &at.keys) {
            Ok(command) => command,
            Err(OpenError::NotForMe) => return Refusal::Denied.into(),
            Err(_) => return Refusal::Malformed.into(),
        };
        let Ok(command) = Command::decode(&command) else {
            return Refusal::Malformed.into();
        };
        let ties = &command.ties;
        let sealed = |answer: Answer| {
            let wraps = matches!(answer, Answer::Sealed(_));
            Outcome::Answer(Answer::Sealed(
                seal_answer(&ties.answer_key, &answer.encode(), wraps).into(),
            ))
        };
        if let Some(refusal) = at.check(ties) {
            return sealed(Answer::Refused(refusal));
        }
        match command.body {
            Body::Forward { next, stamp, inner } => {
                if let Some(answer) = at.faults.lock().relays_nothing_but.clone() {
                    return sealed(answer);
                }
                let inner = Bytes::copy_from_slice(inner);
                let outcome = match next {
                    Some(next) => self.arrive(self.node(&next), Some(at.id), inner, stamp),
                    None => self.arrive(at, Some(at.id), inner, stamp),
                };
                match outcome {
                    Outcome::Answer(answer) => sealed(answer),
                    Outcome::Stream(..) => sealed(Answer::Refused(Refusal::Unsupported)),
                }
            }
            Body::LookUp(Subject::Wallet(wallet)) => {
                let accounts = at.accounts.lock();
                sealed(
                    accounts
                        .get(&wallet)
                        .map_or(Answer::Refused(Refusal::NotFound), |account| {
                            Answer::Record(account.record())
                        }),
                )
            }
            Body::Owner {
                fingerprint,
                request,
                signature,
            } => {
                let message = owner_message(ties, request);
                let Ok(decoded) = Request::decode(request) else {
                    return sealed(Answer::Refused(Refusal::Malformed));
                };
                let certificate = at.certificate_for(&decoded, &fingerprint);
                let Some(certificate) = certificate else {
                    return sealed(Answer::Refused(Refusal::NotFound));
                };
                if certificate.fingerprint() != fingerprint
                    || !certificate.verify_raw(&message, &signature)
                {
                    return sealed(Answer::Refused(Refusal::Denied));
                }
                let pays = |effort: u32| {
                    beside.is_some_and(|stamp| {
                        Stamp::from_bytes(&stamp)
                            .is_ok_and(|s| s.verify(&packet.hash(), effort, unix_ms()).is_ok())
                    })
                };
                match at.obey(decoded, &certificate, pays) {
                    Obeyed::Answer(answer) => sealed(answer),
                    Obeyed::Items(items) => {
                        let mut sealer = ItemSealer::new(&ties.answer_key, false);
                        let mut sealed: Vec<Answer> = items
                            .iter()
                            .map(|item| Answer::Sealed(sealer.seal(&item.encode()).into()))
                            .collect();
                        let fault = at.faults.lock().stream;
                        if fault == StreamFault::Reordered {
                            sealed.swap(0, 1);
                        }
                        Outcome::Stream(sealed, fault)
                    }
                }
            }
            _ => sealed(Answer::Refused(Refusal::Unsupported)),
        }
    }
}

enum Obeyed {
    Answer(Answer),
    Items(Vec<Item>),
}

impl Account {
    fn record(&self) -> Record {
        Record {
            certificate: self.certificate.to_bytes().into(),
            binding: self.binding.clone(),
        }
    }
}

impl FakeNode {
    fn now_ms(&self) -> u64 {
        unix_ms().saturating_add_signed(self.faults.lock().clock_ahead_ms)
    }

    fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.keys.sign_raw(message)
    }

    fn check(&self, ties: &Ties) -> Option<Refusal> {
        if ties.node != self.id {
            return Some(Refusal::Denied);
        }
        let now_ms = self.now_ms();
        if ties.time_ms.abs_diff(now_ms) > TOLERANCE_MS {
            let time = NodeTime::sign(self.id, now_ms, &ties.nonce, |message| self.sign(message));
            return Some(Refusal::Stale(time));
        }
        (!self.nonces.lock().insert(ties.nonce)).then_some(Refusal::Replayed)
    }

    fn keeps(&self, key: &KeyId) -> bool {
        self.accounts
            .lock()
            .values()
            .any(|account| account.knows(key))
    }

    fn store(&self, key: &KeyId, packet: Packet, stamp: Option<[u8; STAMP_BYTES]>) -> Answer {
        let faults = self.faults.lock().clone();
        if let Some(refusal) = faults.refuses_to_store {
            return Answer::Refused(refusal);
        }
        if let Some(effort) = faults.effort {
            let pays = stamp.is_some_and(|stamp| {
                Stamp::from_bytes(&stamp)
                    .is_ok_and(|s| s.verify(&packet.hash(), effort, unix_ms()).is_ok())
            });
            if !pays {
                return Answer::Refused(Refusal::StampRequired { effort });
            }
        }
        let hash = packet.hash();
        let mut accounts = self.accounts.lock();
        let account = accounts
            .values_mut()
            .find(|account| account.knows(key))
            .unwrap();
        if account.certificate.subkey(key).is_none() {
            return Answer::Refused(Refusal::Superseded(account.record()));
        }
        if !account.queue.contains(&packet) {
            account.queue.push(packet);
        }
        let forger = faults.forges_acknowledgements.then(|| Person::new(&[]));
        let keys: &SecretCertificate = forger.as_ref().map_or(&self.keys, |forger| &forger.keys);
        let time_ms = unix_ms().saturating_add_signed(faults.clock_ahead_ms);
        Answer::Acknowledged(Acknowledgement::sign(self.id, hash, time_ms, |message| {
            keys.sign_raw(message)
        }))
    }

    fn certificate_for(
        &self,
        request: &Request<'_>,
        fingerprint: &wallet::Fingerprint,
    ) -> Option<Certificate> {
        match request {
            Request::OpenMailbox { certificate, .. } => Certificate::parse(certificate).ok(),
            _ => {
                let accounts = self.accounts.lock();
                accounts
                    .values()
                    .map(|account| &account.certificate)
                    .find(|c| c.fingerprint() == *fingerprint)
                    .cloned()
            }
        }
    }

    fn obey(
        &self,
        request: Request<'_>,
        certificate: &Certificate,
        pays: impl Fn(u32) -> bool,
    ) -> Obeyed {
        let wallet = certificate.wallet().unwrap();
        let mut accounts = self.accounts.lock();
        Obeyed::Answer(match request {
            Request::OpenMailbox {
                binding, tokens, ..
            } => {
                if let Some(effort) = self.faults.lock().effort.filter(|effort| !pays(*effort)) {
                    return Obeyed::Answer(Answer::Refused(Refusal::StampRequired { effort }));
                }
                let expected: Vec<[u8; 32]> = certificate
                    .key_ids()
                    .iter()
                    .map(|key| self.token(key))
                    .collect();
                if tokens.is_empty() {
                    Answer::Challenge(self.challenges(certificate))
                } else if tokens == expected
                    && binding.verify().is_ok()
                    && binding.verify_certificate(certificate).is_ok()
                {
                    let queue = accounts
                        .remove(&wallet)
                        .map_or_else(Vec::new, |account| account.queue);
                    let certificate = certificate.clone();
                    let acknowledged = std::collections::HashMap::new();
                    accounts.insert(
                        wallet,
                        Account {
                            certificate,
                            binding,
                            queue,
                            acknowledged,
                        },
                    );
                    Answer::Done
                } else {
                    Answer::Refused(Refusal::Denied)
                }
            }
            Request::Collect { after, .. } => {
                let Some(account) = accounts.get(&wallet) else {
                    return Obeyed::Answer(Answer::Refused(Refusal::NotFound));
                };
                let from = usize::try_from(after.unwrap_or(0)).unwrap();
                let mut items: Vec<Item> = (1_u64..)
                    .zip(&account.queue)
                    .skip(from)
                    .map(|(cursor, packet)| Item::Packet {
                        cursor,
                        stored_at_ms: 1,
                        packet: packet.clone().into_bytes(),
                    })
                    .collect();
                items.push(Item::CaughtUp {
                    cursor: account.queue.len() as u64,
                    node_time_ms: unix_ms(),
                });
                return Obeyed::Items(items);
            }
            Request::Acknowledge { device, cursor } => {
                if let Some(account) = accounts.get_mut(&wallet) {
                    account.acknowledged.insert(device, cursor);
                }
                Answer::Done
            }
            Request::CloseMailbox => {
                accounts.remove(&wallet);
                Answer::Done
            }
            _ => Answer::Done,
        })
    }

    /// As long as a real one, and made so that it never looks like an envelope.
    fn token(&self, key: &KeyId) -> [u8; 32] {
        let mut token: [u8; 32] = Sha256::new()
            .chain_update(self.id)
            .chain_update(key.as_bytes())
            .finalize()
            .into();
        token[0] = 0;
        token
    }

    fn challenges(&self, certificate: &Certificate) -> Vec<Bytes> {
        let seal = |key: &KeyId| {
            packet::seal_bytes_to(certificate, Some(*key), &self.token(key), None, &mut OsRng)
                .unwrap()
                .into_bytes()
        };
        certificate.key_ids().iter().map(seal).collect()
    }
}

impl Account {
    /// A test account knows the keys of its certificate, and those that the binding's wallet had before if
    /// a packet to them is in its queue.
    fn knows(&self, key: &KeyId) -> bool {
        self.certificate.subkey(key).is_some()
            || self.queue.iter().any(|packet| packet.key_id() == *key)
    }
}
