//! Commands: what the content of a layer tells its node to do (`docs/wire-format.md`, 4.1).
//!
//! A command names its node, its time and a nonce, so that it is obeyed once and nowhere else. What
//! concerns a mailbox account is an *owner* command: it carries the raw signature of the account's
//! certificate over all of that and the request.

mod request;

pub use request::{DeviceId, MAX_TOKENS, Request, Route, TOKEN_BYTES};

use minicbor::Decoder;
use sha2::{Digest as _, Sha256};
use wallet::{Fingerprint, KeyId, WalletAddress};

use crate::answer::AnswerKey;
pub use crate::cbor::CodecError;
use crate::cbor::{array, finish, fixed, optional, writer, written};
use crate::frame::STAMP_BYTES;
use crate::rendezvous::{MeetingToken, ServiceTag};
use crate::stream::OpenStream;
use crate::{NodeId, PROTOCOL_VERSION};

/// Bytes that a Forward or Meet command adds around its inner packet, at most; a layer of 512 bytes holds it.
pub const FORWARD_OVERHEAD_BYTES: usize = 192;

/// What ties a command to one node, one time and one answer.
#[derive(Debug, Clone)]
pub struct Ties {
    /// The node that shall obey.
    pub node: NodeId,
    /// When it was made, by the node's clock as far as the maker knows it.
    pub time_ms: u64,
    /// Random; with the time it names the command.
    pub nonce: [u8; 16],
    /// One-time key that the answer is sealed to.
    pub answer_key: AnswerKey,
}

/// A command, borrowing from the layer it was read from.
#[derive(Debug, Clone)]
pub struct Command<'b> {
    /// Node, time, nonce and answer key.
    pub ties: Ties,
    /// What to do.
    pub body: Body<'b>,
}

/// What a command asks for.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Body<'b> {
    /// Pass `inner` on, to `next` if it is named, else by its key ID.
    Forward {
        /// The next node.
        next: Option<NodeId>,
        /// A stamp for the inner packet.
        stamp: Option<[u8; STAMP_BYTES]>,
        /// The inner packet, as yet unread.
        inner: &'b [u8],
    },
    /// Give the certificate of an account kept here.
    LookUp(Subject),
    /// A request by the owner of an account, as yet unverified.
    Owner {
        /// Primary fingerprint of the account's certificate.
        fingerprint: Fingerprint,
        /// CBOR of a [`Request`].
        request: &'b [u8],
        /// Raw signature by that certificate over [`owner_message`].
        signature: [u8; 64],
    },
    /// Open a stream, or go on with one.
    OpenStream(OpenStream),
    /// Hand an offer to a publisher of a service whose mailbox this is, and join its circuit to this one.
    Meet {
        /// The service.
        tag: ServiceTag,
        /// Hand it to all of the service's publishers: one of them knows the stream that it is about.
        everyone: bool,
        /// The offer: a packet sealed to the service's wallet.
        offer: &'b [u8],
    },
    /// Join this circuit to the one that an offer came with.
    Join(MeetingToken),
}

/// Whose certificate a look-up wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    /// The account of a wallet.
    Wallet(WalletAddress),
    /// The account that holds a key ID.
    Key(KeyId),
}

/// The message that an owner command's signature covers.
#[must_use]
pub fn owner_message(ties: &Ties, request: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(128);
    out.extend_from_slice(b"conet/owner/1\0");
    out.extend_from_slice(ties.node.as_bytes());
    out.extend_from_slice(&ties.time_ms.to_be_bytes());
    out.extend_from_slice(&ties.nonce);
    out.extend_from_slice(&Sha256::digest(ties.answer_key.as_bytes()));
    out.extend_from_slice(&Sha256::digest(request));
    out
}

impl Command<'_> {
    /// Writes the command as CBOR.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let inner = match &self.body {
            Body::Forward { inner, .. } => inner.len(),
            Body::Meet { offer, .. } => offer.len(),
            _ => 4096,
        };
        let mut e = writer(inner + FORWARD_OVERHEAD_BYTES);
        written((|| {
            e.array(7)?
                .u32(PROTOCOL_VERSION)?
                .bytes(self.ties.node.as_bytes())?
                .u64(self.ties.time_ms)?;
            e.bytes(&self.ties.nonce)?
                .bytes(self.ties.answer_key.as_bytes())?;
            match &self.body {
                Body::Forward { next, stamp, inner } => {
                    e.u8(0)?.array(3)?;
                    match next {
                        Some(node) => e.bytes(node.as_bytes())?,
                        None => e.null()?,
                    };
                    match stamp {
                        Some(stamp) => e.bytes(stamp)?,
                        None => e.null()?,
                    };
                    e.bytes(inner)?;
                }
                Body::LookUp(subject) => {
                    e.u8(1)?.array(1)?;
                    match subject {
                        Subject::Wallet(wallet) => e.bytes(wallet.as_bytes())?,
                        Subject::Key(key) => e.bytes(key.as_bytes())?,
                    };
                }
                Body::Owner {
                    fingerprint,
                    request,
                    signature,
                } => {
                    e.u8(2)?.array(3)?;
                    e.bytes(fingerprint.as_bytes())?
                        .bytes(request)?
                        .bytes(signature)?;
                }
                Body::OpenStream(open) => {
                    e.u8(3)?;
                    open.encode(&mut e)?;
                }
                Body::Meet {
                    tag,
                    everyone,
                    offer,
                } => {
                    e.u8(4)?.array(3)?;
                    e.bytes(tag.as_bytes())?.bool(*everyone)?.bytes(offer)?;
                }
                Body::Join(token) => {
                    e.u8(5)?.array(1)?.bytes(token.as_bytes())?;
                }
            }
            Ok(())
        })());
        e.into_writer()
    }
}

impl<'b> Command<'b> {
    /// Reads a command; nothing is copied but what is short.
    ///
    /// # Errors
    /// [`CodecError`] for malformed bytes, wrong lengths, and versions or kinds that are unknown.
    pub fn decode(bytes: &'b [u8]) -> Result<Self, CodecError> {
        let mut d = Decoder::new(bytes);
        let more = array(&mut d, 7, "command")?;
        let version = d.u32()?;
        if version != PROTOCOL_VERSION {
            return Err(CodecError::Unsupported {
                what: "command version",
                value: version.into(),
            });
        }
        let ties = Ties {
            node: NodeId::from_bytes(fixed(&mut d, "node")?),
            time_ms: d.u64()?,
            nonce: fixed(&mut d, "nonce")?,
            answer_key: AnswerKey::from_bytes(fixed(&mut d, "answer key")?),
        };
        let kind = d.u64()?;
        let body = match kind {
            0 => {
                let rest = array(&mut d, 3, "forward")?;
                let next = optional(&mut d, |d| Ok(NodeId::from_bytes(fixed(d, "next node")?)))?;
                let stamp = optional(&mut d, |d| fixed(d, "stamp"))?;
                let inner = d.bytes()?;
                skip(&mut d, rest)?;
                Body::Forward { next, stamp, inner }
            }
            1 => {
                let rest = array(&mut d, 1, "look-up")?;
                let subject = match d.bytes()? {
                    b if b.len() == 8 => Subject::Key(KeyId::from_bytes(
                        b.try_into().map_err(|_| CodecError::Length("key ID"))?,
                    )),
                    b => Subject::Wallet(WalletAddress::from_bytes(
                        b.try_into()
                            .map_err(|_| CodecError::Length("look-up subject"))?,
                    )),
                };
                skip(&mut d, rest)?;
                Body::LookUp(subject)
            }
            2 => {
                let rest = array(&mut d, 3, "owner command")?;
                let fingerprint = request::fingerprint(&mut d)?;
                let request = d.bytes()?;
                let signature = fixed(&mut d, "signature")?;
                skip(&mut d, rest)?;
                Body::Owner {
                    fingerprint,
                    request,
                    signature,
                }
            }
            3 => Body::OpenStream(OpenStream::decode(&mut d)?),
            4 => {
                let rest = array(&mut d, 3, "meet")?;
                let tag = ServiceTag::from_bytes(fixed(&mut d, "service tag")?);
                let everyone = d.bool()?;
                let offer = d.bytes()?;
                skip(&mut d, rest)?;
                Body::Meet {
                    tag,
                    everyone,
                    offer,
                }
            }
            5 => {
                let rest = array(&mut d, 1, "join")?;
                let token = MeetingToken::from_bytes(fixed(&mut d, "meeting token")?);
                skip(&mut d, rest)?;
                Body::Join(token)
            }
            value => {
                return Err(CodecError::Unsupported {
                    what: "command kind",
                    value,
                });
            }
        };
        finish(&mut d, more, "command")?;
        Ok(Self { ties, body })
    }
}

fn skip(d: &mut Decoder<'_>, more: u64) -> Result<(), CodecError> {
    for _ in 0..more {
        wallet::skip_unknown(d)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ties() -> Ties {
        Ties {
            node: NodeId::from_bytes([1; 20]),
            time_ms: 1_800_000_000_000,
            nonce: [2; 16],
            answer_key: AnswerKey::from_bytes([3; 32]),
        }
    }

    #[test]
    fn forward_adds_less_than_its_stated_overhead() {
        let inner = vec![9; 70_000];
        let body = Body::Forward {
            next: Some(NodeId::from_bytes([4; 20])),
            stamp: Some([5; 48]),
            inner: &inner,
        };
        let bytes = Command { ties: ties(), body }.encode();
        assert!(
            bytes.len() <= inner.len() + FORWARD_OVERHEAD_BYTES,
            "{}",
            bytes.len() - inner.len()
        );
        let back = Command::decode(&bytes).unwrap();
        assert!(matches!(back.body, Body::Forward { inner: i, stamp: Some(_), .. } if i == inner));
    }

    #[test]
    fn meet_and_join_survive_their_encoding_and_no_cut() {
        let offer = vec![9; 14_000];
        let tag = ServiceTag::from_bytes([7; 16]);
        let meet = Body::Meet {
            tag,
            everyone: true,
            offer: &offer,
        };
        let bytes = Command {
            ties: ties(),
            body: meet,
        }
        .encode();
        assert!(bytes.len() <= offer.len() + FORWARD_OVERHEAD_BYTES);
        let back = Command::decode(&bytes).unwrap();
        assert!(
            matches!(back.body, Body::Meet { tag: t, everyone: true, offer: o } if t == tag && o == offer)
        );
        assert!((0..bytes.len()).all(|length| Command::decode(&bytes[..length]).is_err()));
        let token = MeetingToken::from_bytes([8; 16]);
        let join = Body::Join(token);
        let bytes = Command {
            ties: ties(),
            body: join,
        }
        .encode();
        let back = Command::decode(&bytes).unwrap();
        assert!(matches!(back.body, Body::Join(t) if t == token));
        assert!((0..bytes.len()).all(|length| Command::decode(&bytes[..length]).is_err()));
    }

    #[test]
    fn command_with_bytes_after_it_is_refused() {
        let mut bytes = Command {
            ties: ties(),
            body: Body::LookUp(Subject::Key(KeyId::from_bytes([1; 8]))),
        }
        .encode();
        assert!(Command::decode(&bytes).is_ok());
        bytes.push(0);
        assert!(Command::decode(&bytes).is_err());
    }

    /// That is how a structure grows (wire format, conventions); a longer tail is none of ours.
    #[test]
    fn command_with_fields_of_a_later_version_is_read_without_them() {
        let with = |outer: u64, inner: u64| {
            let mut e = writer(256);
            written((|| {
                e.array(7 + outer)?.u32(PROTOCOL_VERSION)?.bytes(&[1; 20])?;
                e.u64(5)?.bytes(&[2; 16])?.bytes(&[3; 32])?.u8(0)?;
                e.array(3 + inner)?.null()?.null()?.bytes(b"inner")?;
                for _ in 0..inner {
                    e.array(2)?.u8(1)?.str("later")?;
                }
                for _ in 0..outer {
                    e.bytes(b"later")?;
                }
                Ok(())
            })());
            let bytes = e.into_writer();
            Command::decode(&bytes).is_ok_and(
                |c| matches!(c.body, Body::Forward { next: None, stamp: None, inner } if inner == b"inner"),
            )
        };
        assert!(with(0, 0) && with(1, 0) && with(0, 1) && with(2, 3) && with(16, 16));
        assert!(!with(17, 0) && !with(0, 17));
    }

    #[test]
    fn command_cut_anywhere_is_refused() {
        let request = Request::CloseMailbox.encode();
        let owner = Body::Owner {
            fingerprint: Fingerprint::V6([6; 32]),
            request: &request,
            signature: [7; 64],
        };
        let forward = Body::Forward {
            next: Some(NodeId::from_bytes([4; 20])),
            stamp: Some([5; 48]),
            inner: b"inner packet",
        };
        let look_up = Body::LookUp(Subject::Wallet(WalletAddress::from_bytes([1; 20])));
        for body in [owner, forward, look_up] {
            let bytes = Command { ties: ties(), body }.encode();
            assert!(Command::decode(&bytes).is_ok());
            for length in 0..bytes.len() {
                assert!(Command::decode(&bytes[..length]).is_err(), "{length} bytes");
            }
        }
        for length in 0..request.len() {
            assert!(Request::decode(&request[..length]).is_err());
        }
    }

    #[test]
    fn command_of_another_version_says_so() {
        let mut bytes = Command {
            ties: ties(),
            body: Body::LookUp(Subject::Wallet(WalletAddress::from_bytes([1; 20]))),
        }
        .encode();
        bytes[1] = 2;
        assert!(matches!(
            Command::decode(&bytes),
            Err(CodecError::Unsupported {
                what: "command version",
                value: 2
            })
        ));
    }

    #[test]
    fn owner_message_changes_with_every_tie() {
        let base = owner_message(&ties(), b"x");
        let mut others = Vec::new();
        for i in 0..4 {
            let mut t = ties();
            match i {
                0 => t.node = NodeId::from_bytes([7; 20]),
                1 => t.time_ms += 1,
                2 => t.nonce[0] ^= 1,
                _ => t.answer_key = AnswerKey::from_bytes([8; 32]),
            }
            others.push(owner_message(&t, b"x"));
        }
        others.push(owner_message(&ties(), b"y"));
        assert!(others.iter().all(|o| *o != base));
    }

    proptest! {
        #[test]
        fn any_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = Command::decode(&bytes);
            let _ = Request::decode(&bytes);
        }
    }
}
