//! Layers for this node: opening them, checking their command, obeying it, sealing the answer.

use std::sync::Arc;

use protocol::answer::{Answer, ItemSealer, NodeTime, Refusal, seal_answer, seal_refusal};
use protocol::command::{Body, CodecError, Command, Ties};
use protocol::forward::Origin;
use protocol::freshness::NotFresh;

use super::{Arrived, Router, refuse};
use crate::clock::now_ms;
use crate::links::Reply;
use crate::observer::Sight;

impl Router {
    /// Opens a layer and does what it says. Whatever happens after it was opened is answered under the
    /// answer key, so that nobody on the way back learns the outcome.
    pub(super) async fn open(&self, arrived: Arrived) -> Reply {
        let content = match packet::open_layer(&arrived.packet, &self.certificate) {
            Ok(content) => content,
            Err(_) => return refuse(Refusal::Malformed),
        };
        self.local.eyes.see(Sight::Command { content: &content });
        let command = match Command::decode(&content) {
            Ok(command) => command,
            Err(CodecError::Unsupported { .. }) => return refuse(Refusal::Unsupported),
            Err(_) => return refuse(Refusal::Malformed),
        };
        if let Some(refusal) = self.refusal_of(&command.ties).await {
            // As long as the answer would have been, under a key that no answer has.
            let wraps = matches!(command.body, Body::Forward { .. });
            let refusal = Answer::Refused(refusal).encode();
            let sealed = seal_refusal(&command.ties.answer_key, &refusal, wraps);
            return Reply::Answer(Answer::Sealed(sealed.into()).encode().into());
        }
        match command.body {
            Body::Forward { next, stamp, inner } => {
                let depth = match arrived.origin {
                    Origin::Layer { depth, .. } => depth.saturating_add(1),
                    _ => 1,
                };
                let (packet, ties) = (content.slice_ref(inner), command.ties.clone());
                if let Some(circuit) = &arrived.circuit {
                    circuit.wrapped_by(ties.clone());
                }
                // What has been opened is not held while the inside is on its way.
                drop((content, arrived.packet));
                let inner = Arrived {
                    packet,
                    origin: Origin::Layer { depth, next },
                    stamp,
                    broadcast: false,
                    stream: arrived.stream,
                    // Hops are not renewed: layers within layers can't make a packet travel for ever.
                    hops: arrived.hops,
                    from: None,
                    circuit: arrived.circuit,
                };
                seal_reply(&ties, Box::pin(self.route(inner)).await)
            }
            Body::LookUp(subject) => {
                let answer = self.mailboxes.look_up(&subject).encode();
                self.local.eyes.see(Sight::Answer { answer: &answer });
                seal_one(&command.ties, &answer, false)
            }
            Body::OpenStream(open) => {
                let opened = match &arrived.circuit {
                    Some(circuit) => self.streams.open(&open, circuit).map_err(|it| *it),
                    None => Err(Refusal::Unsupported),
                };
                self.led_to(opened, &command.ties)
            }
            Body::Meet {
                tag,
                everyone,
                offer,
            } => {
                let (offer, ties) = (content.slice_ref(offer), command.ties.clone());
                // What has been opened is not held while the circuit waits.
                drop((content, arrived.packet));
                let met = match &arrived.circuit {
                    Some(circuit) => {
                        circuit.led_here_by(ties.clone());
                        self.mailboxes.meet(tag, everyone, offer, circuit).await
                    }
                    None => Err(Refusal::Unsupported),
                };
                self.led_to(met, &ties)
            }
            Body::Join(token) => {
                let joined = match &arrived.circuit {
                    Some(circuit) => {
                        circuit.led_here_by(command.ties.clone());
                        self.mailboxes.join(&token, circuit).map_err(|it| *it)
                    }
                    None => Err(Refusal::Unsupported),
                };
                self.led_to(joined, &command.ties)
            }
            Body::Owner {
                fingerprint,
                request,
                signature,
            } => {
                let mailboxes = Arc::clone(&self.mailboxes);
                let stamp = super::Postmark {
                    packet: &arrived.packet,
                    stamp: arrived.stamp,
                };
                mailboxes
                    .owner(&command.ties, fingerprint, request, &signature, &stamp)
                    .await
            }
            _ => seal_one(
                &command.ties,
                &Answer::Refused(Refusal::Unsupported).encode(),
                false,
            ),
        }
    }

    /// What came of a circuit that a command led to this node.
    fn led_to(&self, outcome: Result<(), Refusal>, ties: &Ties) -> Reply {
        let Err(refusal) = outcome else {
            return Reply::Circuit;
        };
        let answer = Answer::Refused(refusal).encode();
        self.local.eyes.see(Sight::Answer { answer: &answer });
        seal_one(ties, &answer, false)
    }

    /// Why a command is not accepted; after `None` it counts as obeyed.
    async fn refusal_of(&self, ties: &Ties) -> Option<Refusal> {
        if ties.node != self.local.me {
            return Some(Refusal::Denied);
        }
        let fresh = self
            .freshness
            .lock()
            .accept(ties.time_ms, &ties.nonce, now_ms());
        let reason = match fresh {
            Ok(()) => return self.refusal_of_others(&ties.nonce).await,
            Err(reason) => reason,
        };
        self.metrics.replayed.inc();
        Some(match reason {
            NotFresh::Stale { use_ms } => {
                Refusal::Stale(NodeTime::sign(ties.node, use_ms, &ties.nonce, |m| {
                    self.certificate.sign_raw(m)
                }))
            }
            _ => Refusal::Replayed,
        })
    }

    /// Whether another process of this node has obeyed the command, or may have.
    async fn refusal_of_others(&self, nonce: &[u8; 16]) -> Option<Refusal> {
        match self.claims.as_ref()?.claim(*nonce).await {
            Ok(true) => None,
            Ok(false) => {
                self.metrics.replayed.inc();
                Some(Refusal::Replayed)
            }
            Err(error) => {
                tracing::warn!(target: "node::forward", %error, "a command could not be claimed among the processes of this node");
                Some(Refusal::Busy)
            }
        }
    }
}

/// Seals the one answer to a command.
pub(crate) fn seal_one(ties: &Ties, answer: &[u8], wraps: bool) -> Reply {
    let sealed = seal_answer(&ties.answer_key, answer, wraps);
    Reply::Answer(Answer::Sealed(sealed.into()).encode().into())
}

/// Seals what the next node replied.
fn seal_reply(ties: &Ties, reply: Reply) -> Reply {
    match reply {
        Reply::Answer(answer) => seal_one(ties, &answer, true),
        Reply::Circuit => Reply::Circuit,
        Reply::Stream(items) => {
            Reply::Stream(items.sealed(ItemSealer::new(&ties.answer_key, true)))
        }
    }
}
