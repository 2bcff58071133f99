//! Answers: what comes back for a packet, and how it is kept from the nodes it passes
//! (`docs/wire-format.md`, 4.2–4.5).

mod delivery;
mod sealed;

pub use delivery::Item;
pub use sealed::{
    AnswerKey, ItemOpener, ItemSealer, OpenAnswerError, open_answer, seal_answer, seal_refusal,
};

use bytes::Bytes;
use minicbor::Decoder;
use wallet::{Certificate, CertificateBinding};

use crate::NodeId;
pub use crate::cbor::CodecError;
use crate::cbor::{array, finish, fixed, list, writer, written};

/// Challenges in one answer at most: one for each claimed subkey.
const MAX_CHALLENGES: usize = 8;

/// What a node answers to a packet.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Answer {
    /// The packet is on stable storage.
    Acknowledged(Acknowledgement),
    /// An answer that only the holder of the layer's answer key can read.
    Sealed(Bytes),
    /// The certificate that was looked up.
    Record(Record),
    /// The request was carried out.
    Done,
    /// Decrypt these to prove that the claimed subkeys are yours.
    Challenge(Vec<Bytes>),
    /// Not done; the reason says what to do.
    Refused(Refusal),
}

/// A certificate and what binds it to its wallet, both as yet unverified.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// The certificate, binary OpenPGP.
    pub certificate: Bytes,
    /// The wallet's statement.
    pub binding: CertificateBinding,
}

/// Why a node did not do what was asked.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Refusal {
    /// A queue or link is full; try again later.
    Busy,
    /// No mailbox here and no route.
    UnknownKey,
    /// Try again with a stamp of this effort.
    StampRequired {
        /// Expected number of Equi-X runs.
        effort: u32,
    },
    /// The command's time lies outside of what the node accepts; use this one.
    Stale(NodeTime),
    /// The command has been obeyed before.
    Replayed,
    /// The next node can't be reached.
    Unreachable,
    /// The recipient's queue is full.
    QueueFull {
        /// Its quota in bytes.
        quota_bytes: u64,
    },
    /// The key has been superseded; seal to this certificate.
    Superseded(Record),
    /// The bytes are not what they should be.
    Malformed,
    /// A version or kind that the node does not know.
    Unsupported,
    /// A proof is wrong, or the command is for another node.
    Denied,
    /// Larger than the node accepts.
    TooLarge,
    /// The node's own trouble: disk or ledger.
    Failed,
    /// No such account here.
    NotFound,
}

impl Refusal {
    fn status(&self) -> u8 {
        match self {
            Self::Busy => 16,
            Self::UnknownKey => 17,
            Self::StampRequired { .. } => 18,
            Self::Stale(_) => 19,
            Self::Replayed => 20,
            Self::Unreachable => 21,
            Self::QueueFull { .. } => 22,
            Self::Superseded(_) => 23,
            Self::Malformed => 24,
            Self::Unsupported => 25,
            Self::Denied => 26,
            Self::TooLarge => 27,
            Self::Failed => 28,
            Self::NotFound => 29,
        }
    }

    /// Says whether the same packet may succeed later or elsewhere.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::Busy
                | Self::Stale(_)
                | Self::Replayed
                | Self::Unreachable
                | Self::QueueFull { .. }
                | Self::Failed
        )
    }
}

impl core::fmt::Display for Refusal {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Busy => f.write_str("the node is busy"),
            Self::UnknownKey => f.write_str("no mailbox keeps packets for this key"),
            Self::StampRequired { effort } => {
                write!(f, "the node asks for a stamp of effort {effort}")
            }
            Self::Stale(_) => f.write_str("the command's time is outside the node's window"),
            Self::Replayed => f.write_str("the node has obeyed this command before"),
            Self::Unreachable => f.write_str("the next node can't be reached"),
            Self::QueueFull { quota_bytes } => {
                write!(f, "the recipient's mailbox is full ({quota_bytes} bytes)")
            }
            Self::Superseded(_) => f.write_str("the recipient's key has been superseded"),
            Self::Malformed => f.write_str("the node could not read the packet"),
            Self::Unsupported => f.write_str("the node does not know this version or kind"),
            Self::Denied => f.write_str("the node did not accept the proof"),
            Self::TooLarge => f.write_str("the packet is too large for the node"),
            Self::Failed => f.write_str("the node has trouble of its own"),
            Self::NotFound => f.write_str("the node keeps no such account"),
        }
    }
}

/// A mailbox's signed word that a packet is on stable storage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Acknowledgement {
    /// SHA-256 of the packet.
    pub packet_hash: [u8; 32],
    /// When it was stored, by the mailbox's clock.
    pub time_ms: u64,
    /// The mailbox.
    pub node: NodeId,
    /// Raw signature by the mailbox's certificate.
    pub signature: [u8; 64],
}

impl Acknowledgement {
    /// Makes an acknowledgement; `sign` is the raw signature of the node's certificate.
    pub fn sign(
        node: NodeId,
        packet_hash: [u8; 32],
        time_ms: u64,
        sign: impl FnOnce(&[u8]) -> [u8; 64],
    ) -> Self {
        let signature = sign(&Self::message(&node, &packet_hash, time_ms));
        Self {
            packet_hash,
            time_ms,
            node,
            signature,
        }
    }

    /// Says whether this acknowledges the packet of that hash, by the node of that certificate.
    #[must_use]
    pub fn verify(&self, packet_hash: &[u8; 32], node: &NodeId, certificate: &Certificate) -> bool {
        self.packet_hash == *packet_hash
            && self.node == *node
            && certificate.verify_raw(
                &Self::message(node, packet_hash, self.time_ms),
                &self.signature,
            )
    }

    fn message(node: &NodeId, packet_hash: &[u8; 32], time_ms: u64) -> Vec<u8> {
        let mut out = Vec::with_capacity(80);
        out.extend_from_slice(b"conet/ack/1\0");
        out.extend_from_slice(node.as_bytes());
        out.extend_from_slice(packet_hash);
        out.extend_from_slice(&time_ms.to_be_bytes());
        out
    }
}

/// A node's signed clock, tied to the command that it answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NodeTime {
    /// The node.
    pub node: NodeId,
    /// The time to use in commands now.
    pub time_ms: u64,
    /// Raw signature by the node's certificate.
    pub signature: [u8; 64],
}

impl NodeTime {
    /// Makes a signed time for the command with that nonce.
    pub fn sign(
        node: NodeId,
        time_ms: u64,
        nonce: &[u8; 16],
        sign: impl FnOnce(&[u8]) -> [u8; 64],
    ) -> Self {
        let signature = sign(&Self::message(&node, time_ms, nonce));
        Self {
            node,
            time_ms,
            signature,
        }
    }

    /// Says whether the node of that certificate said so in answer to that nonce.
    #[must_use]
    pub fn verify(&self, node: &NodeId, nonce: &[u8; 16], certificate: &Certificate) -> bool {
        self.node == *node
            && certificate.verify_raw(&Self::message(node, self.time_ms, nonce), &self.signature)
    }

    fn message(node: &NodeId, time_ms: u64, nonce: &[u8; 16]) -> Vec<u8> {
        let mut out = Vec::with_capacity(64);
        out.extend_from_slice(b"conet/time/1\0");
        out.extend_from_slice(node.as_bytes());
        out.extend_from_slice(&time_ms.to_be_bytes());
        out.extend_from_slice(nonce);
        out
    }
}

impl Answer {
    /// Writes the answer as CBOR.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let (status, payload) = match self {
            Self::Acknowledged(a) => {
                let mut e = writer(160);
                written((|| {
                    e.array(4)?
                        .bytes(&a.packet_hash)?
                        .u64(a.time_ms)?
                        .bytes(a.node.as_bytes())?
                        .bytes(&a.signature)?;
                    Ok(())
                })());
                (0, e.into_writer())
            }
            Self::Sealed(bytes) => (1, bytes.to_vec()),
            Self::Record(record) => (2, record.encode()),
            Self::Done => (3, Vec::new()),
            Self::Challenge(packets) => {
                let mut e = writer(packets.iter().map(|p| p.len() + 8).sum::<usize>() + 8);
                written((|| {
                    e.array(1)?.array(packets.len() as u64)?;
                    for packet in packets {
                        e.bytes(packet)?;
                    }
                    Ok(())
                })());
                (4, e.into_writer())
            }
            Self::Refused(refusal) => (refusal.status(), refusal.payload()),
        };
        let mut e = writer(payload.len() + 8);
        written((|| {
            e.array(2)?.u8(status)?.bytes(&payload)?;
            Ok(())
        })());
        e.into_writer()
    }

    /// Reads an answer.
    ///
    /// # Errors
    /// [`CodecError`] for malformed bytes, wrong lengths and an unknown status.
    pub fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        let mut d = Decoder::new(bytes);
        let more = array(&mut d, 2, "answer")?;
        let status = d.u64()?;
        let payload = d.bytes()?;
        finish(&mut d, more, "answer")?;
        let mut p = Decoder::new(payload);
        Ok(match status {
            0 => {
                let rest = array(&mut p, 4, "acknowledgement")?;
                let packet_hash = fixed(&mut p, "packet hash")?;
                let time_ms = p.u64()?;
                let node = NodeId::from_bytes(fixed(&mut p, "node")?);
                let signature = fixed(&mut p, "signature")?;
                finish(&mut p, rest, "acknowledgement")?;
                Self::Acknowledged(Acknowledgement {
                    packet_hash,
                    time_ms,
                    node,
                    signature,
                })
            }
            1 => Self::Sealed(Bytes::copy_from_slice(payload)),
            2 => Self::Record(Record::decode(payload)?),
            3 => Self::Done,
            4 => {
                let rest = array(&mut p, 1, "challenge")?;
                let packets = list(&mut p, MAX_CHALLENGES, "challenges", |d| {
                    Ok(Bytes::copy_from_slice(d.bytes()?))
                })?;
                finish(&mut p, rest, "challenge")?;
                Self::Challenge(packets)
            }
            16 => Self::Refused(Refusal::Busy),
            17 => Self::Refused(Refusal::UnknownKey),
            18 => {
                let rest = array(&mut p, 1, "stamp price")?;
                let effort = p.u32()?;
                finish(&mut p, rest, "stamp price")?;
                Self::Refused(Refusal::StampRequired { effort })
            }
            19 => {
                let rest = array(&mut p, 3, "node time")?;
                let node = NodeId::from_bytes(fixed(&mut p, "node")?);
                let time_ms = p.u64()?;
                let signature = fixed(&mut p, "signature")?;
                finish(&mut p, rest, "node time")?;
                Self::Refused(Refusal::Stale(NodeTime {
                    node,
                    time_ms,
                    signature,
                }))
            }
            20 => Self::Refused(Refusal::Replayed),
            21 => Self::Refused(Refusal::Unreachable),
            22 => {
                let rest = array(&mut p, 1, "quota")?;
                let quota_bytes = p.u64()?;
                finish(&mut p, rest, "quota")?;
                Self::Refused(Refusal::QueueFull { quota_bytes })
            }
            23 => Self::Refused(Refusal::Superseded(Record::decode(payload)?)),
            24 => Self::Refused(Refusal::Malformed),
            25 => Self::Refused(Refusal::Unsupported),
            26 => Self::Refused(Refusal::Denied),
            27 => Self::Refused(Refusal::TooLarge),
            28 => Self::Refused(Refusal::Failed),
            29 => Self::Refused(Refusal::NotFound),
            value => {
                return Err(CodecError::Unsupported {
                    what: "answer status",
                    value,
                });
            }
        })
    }
}

impl Refusal {
    fn payload(&self) -> Vec<u8> {
        let mut e = writer(128);
        match self {
            Self::Superseded(record) => return record.encode(),
            Self::StampRequired { effort } => written((|| {
                e.array(1)?.u32(*effort)?;
                Ok(())
            })()),
            Self::QueueFull { quota_bytes } => written((|| {
                e.array(1)?.u64(*quota_bytes)?;
                Ok(())
            })()),
            Self::Stale(t) => written((|| {
                e.array(3)?
                    .bytes(t.node.as_bytes())?
                    .u64(t.time_ms)?
                    .bytes(&t.signature)?;
                Ok(())
            })()),
            _ => {}
        }
        e.into_writer()
    }
}

impl Record {
    /// Writes the record as CBOR.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut e = writer(self.certificate.len() + 512);
        written((|| {
            e.array(2)?
                .bytes(&self.certificate)?
                .encode(&self.binding)?;
            Ok(())
        })());
        e.into_writer()
    }

    /// Reads a record.
    ///
    /// # Errors
    /// [`CodecError`] for malformed bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        let mut d = Decoder::new(bytes);
        let more = array(&mut d, 2, "record")?;
        let certificate = Bytes::copy_from_slice(d.bytes()?);
        let binding = d.decode()?;
        finish(&mut d, more, "record")?;
        Ok(Self {
            certificate,
            binding,
        })
    }
}

#[cfg(test)]
mod tests;
