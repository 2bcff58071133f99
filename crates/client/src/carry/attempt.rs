//! One attempt: fresh layers with fresh answer keys, and the opening of what comes back through them.

use std::sync::Arc;

use packet::{LAYER_BYTES, LAYER_OVERHEAD_BYTES, Packet, SealError, SizeClass};
use protocol::NodeId;
use protocol::answer::{Answer, AnswerKey, NodeTime, open_answer};
use protocol::command::{Body, Command, Ties, owner_message};
use protocol::frame::{Header, STAMP_BYTES};
use rand::RngCore as _;
use rand::rngs::OsRng;

use super::stamping::{StampingError, mint};
use super::{Errand, Load, Way};
use crate::clock::Clocks;
use crate::directory::Node;

/// Efforts above this take longer than a command stays fresh, so they are not paid for commands:
/// about 20 s of one core.
const MAX_COMMAND_EFFORT: u32 = 4_000;

/// Why a command can't be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CommandError {
    /// The layer can't be sealed: the content is too long, or the node's certificate does not serve.
    #[error("the command can't be sealed to its node")]
    Seal(#[from] SealError),
    /// The node has no certificate on the ledger.
    #[error("the node {0} has no usable certificate on the ledger")]
    NoCertificate(NodeId),
    /// A command needs a node that it is for.
    #[error("a command needs a node to obey it")]
    NoTarget,
}

/// Who may have said something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Speaker {
    /// The entry, or anybody behind it who could not seal.
    Entry,
    /// The relay, or somebody behind it who could not seal.
    Relay,
    /// The target itself.
    Target,
}

/// A stamp that was minted for the load.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Paid {
    effort: u32,
    stamp: [u8; STAMP_BYTES],
}

/// An answer and who surely had a hand in it; `None` where it did not open.
#[derive(Debug)]
pub(crate) struct Heard {
    pub(crate) answer: Option<Answer>,
    pub(crate) speaker: Speaker,
}

/// A layer that was made: who opens it, and what shows that they answered this one.
#[derive(Debug)]
struct Layer {
    node: Arc<Node>,
    nonce: [u8; 16],
    answer_key: AnswerKey,
    speaker: Speaker,
}

/// What goes to the entry, and the keys to what comes back.
#[derive(Debug)]
pub(crate) struct Attempt {
    outer: Packet,
    /// Travels beside the outer packet.
    stamp: Option<[u8; STAMP_BYTES]>,
    /// Outermost first.
    layers: Vec<Layer>,
}

impl Attempt {
    /// Makes the layers that an errand needs, with a stamp of `effort` for its innermost packet.
    pub(crate) async fn make(
        errand: &Errand<'_>,
        relay: Option<&Arc<Node>>,
        effort: Option<u32>,
        paid: &mut Option<Paid>,
        clocks: &Clocks,
    ) -> Result<Self, MakeError> {
        let mut layers = Vec::with_capacity(2);
        let inner = match errand.load {
            Load::Packet(packet) => packet.clone(),
            Load::Stream(open) => {
                let target = errand.target.ok_or(CommandError::NoTarget)?;
                terminal(target, clocks, &mut layers, |_| {
                    Ok(Body::OpenStream(open.clone()))
                })?
            }
            Load::Meet(offer) => {
                let target = errand.target.ok_or(CommandError::NoTarget)?;
                let (ties, layer) = tie(target, clocks, Speaker::Target);
                let body = Body::Meet {
                    tag: offer.tag,
                    everyone: offer.everyone,
                    offer: offer.packet.as_bytes(),
                };
                let command = Command { ties, body }.encode();
                layers.push(layer);
                // As the layer around any packet.
                seal(target, &command, offer.packet.len() + LAYER_BYTES)?
            }
            Load::Join(token) => {
                let target = errand.target.ok_or(CommandError::NoTarget)?;
                terminal(target, clocks, &mut layers, |_| Ok(Body::Join(token)))?
            }
            Load::LookUp(subject) => {
                let target = errand.target.ok_or(CommandError::NoTarget)?;
                terminal(target, clocks, &mut layers, |_| Ok(Body::LookUp(subject)))?
            }
            Load::Owner(keys, request) => {
                let target = errand.target.ok_or(CommandError::NoTarget)?;
                terminal(target, clocks, &mut layers, |ties| {
                    Ok(Body::Owner {
                        fingerprint: keys.certificate.certificate().fingerprint(),
                        request,
                        signature: keys.certificate.sign_raw(&owner_message(ties, request)),
                    })
                })?
            }
        };
        let is_packet = matches!(errand.load, Load::Packet(_));
        let stamp = match (effort, &*paid) {
            (None, _) => None,
            (Some(effort), Some(paid)) if is_packet && paid.effort >= effort => Some(paid.stamp),
            (Some(effort), _) => {
                if !is_packet {
                    super::stamping::check(effort, MAX_COMMAND_EFFORT)?;
                }
                let stamp = mint(inner.hash(), effort, clocks.stamp_ms()).await?;
                *paid = Some(Paid { effort, stamp });
                Some(stamp)
            }
        };
        let forwarder = match (errand.way, relay) {
            (Way::Relayed, Some(relay)) => {
                Some((relay, errand.target.map(|target| target.id), Speaker::Relay))
            }
            // The mailbox itself peels the layer and keeps what is in it.
            (Way::Entry | Way::Direct, _) if is_packet => Some((
                errand.target.ok_or(CommandError::NoTarget)?,
                None,
                Speaker::Target,
            )),
            _ => None,
        };
        let Some((node, next, speaker)) = forwarder else {
            return Ok(Self {
                outer: inner,
                stamp,
                layers,
            });
        };
        let (ties, layer) = tie(node, clocks, speaker);
        let body = Body::Forward {
            next,
            stamp,
            inner: inner.as_bytes(),
        };
        let length = inner.len() + LAYER_BYTES;
        let outer = seal(node, &Command { ties, body }.encode(), length)?;
        layers.insert(0, layer);
        Ok(Self {
            outer,
            stamp: None,
            layers,
        })
    }

    /// The bytes for the entry.
    pub(crate) fn outer(&self) -> &[u8] {
        self.outer.as_bytes()
    }

    /// The header of their frame.
    pub(crate) fn header(&self, stream: bool) -> Header {
        let length = u32::try_from(self.outer.len()).unwrap_or(u32::MAX);
        Header {
            stream,
            stamp: self.stamp,
            ..Header::packet(self.outer.size_class(), length)
        }
    }

    /// The answer key of the innermost command.
    pub(super) fn innermost_key(&self) -> AnswerKey {
        self.layers.last().map_or_else(
            || AnswerKey::from_bytes([0; 32]),
            |layer| layer.answer_key.clone(),
        )
    }

    /// Opens an answer with the keys of the layers, as far as it was sealed to them.
    pub(crate) fn open(&self, answer: Answer) -> Heard {
        let mut heard = Heard {
            answer: Some(answer),
            speaker: Speaker::Entry,
        };
        for layer in &self.layers {
            let Some(Answer::Sealed(sealed)) = &heard.answer else {
                break;
            };
            let Ok(clear) = open_answer(&layer.answer_key, sealed) else {
                heard.answer = None;
                break;
            };
            heard.answer = Answer::decode(&clear).ok();
            heard.speaker = layer.speaker;
        }
        if matches!(heard.answer, Some(Answer::Sealed(_))) {
            heard.answer = None;
        }
        heard
    }

    /// Says whether a node signed this time for one of these layers.
    pub(crate) fn verify_time(&self, time: &NodeTime) -> bool {
        self.layers.iter().any(|layer| {
            let certificate = layer.node.certificate.as_ref();
            certificate
                .is_some_and(|certificate| time.verify(&layer.node.id, &layer.nonce, certificate))
        })
    }
}

/// Why an attempt can't be made.
#[derive(Debug)]
pub(crate) enum MakeError {
    Command(CommandError),
    Stamp(StampingError),
}

impl From<CommandError> for MakeError {
    fn from(error: CommandError) -> Self {
        Self::Command(error)
    }
}

impl From<StampingError> for MakeError {
    fn from(error: StampingError) -> Self {
        Self::Stamp(error)
    }
}

impl From<MakeError> for super::CarryError {
    fn from(error: MakeError) -> Self {
        match error {
            MakeError::Command(error) => Self::Command(error),
            MakeError::Stamp(error) => Self::Stamp(error),
        }
    }
}

/// Ties a command to a node and now.
fn tie(node: &Arc<Node>, clocks: &Clocks, speaker: Speaker) -> (Ties, Layer) {
    let mut nonce = [0; 16];
    OsRng.fill_bytes(&mut nonce);
    let answer_key = AnswerKey::generate(&mut OsRng);
    let ties = Ties {
        node: node.id,
        time_ms: clocks.command_ms(&node.id),
        nonce,
        answer_key: answer_key.clone(),
    };
    (
        ties,
        Layer {
            node: Arc::clone(node),
            nonce,
            answer_key,
            speaker,
        },
    )
}

/// Seals a command with nothing inside, as long as an end-to-end packet.
fn terminal<'b>(
    target: &Arc<Node>,
    clocks: &Clocks,
    layers: &mut Vec<Layer>,
    body: impl FnOnce(&Ties) -> Result<Body<'b>, CommandError>,
) -> Result<Packet, CommandError> {
    let (ties, layer) = tie(target, clocks, Speaker::Target);
    let body = body(&ties)?;
    let command = Command { ties, body }.encode();
    let needed = command.len() + LAYER_OVERHEAD_BYTES;
    let class = SizeClass::ALL
        .into_iter()
        .find(|class| class.packet_bytes() >= needed);
    let packet = seal(
        target,
        &command,
        class.unwrap_or(SizeClass::M1).packet_bytes(),
    )?;
    layers.push(layer);
    Ok(packet)
}

fn seal(node: &Node, command: &[u8], length: usize) -> Result<Packet, CommandError> {
    let certificate = node
        .certificate
        .as_ref()
        .ok_or(CommandError::NoCertificate(node.id))?;
    Ok(packet::seal_layer(
        certificate,
        command,
        length,
        &mut OsRng,
    )?)
}
