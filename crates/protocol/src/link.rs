//! Links: one encrypted, mutually authenticated pipe of frames between two nodes
//! (`docs/wire-format.md`, 7).
//!
//! [`Handshake`] makes a [`Sealer`] and an [`Opener`]; the shell moves bytes between them and a
//! socket. The sealer packs as many frames into a record as the shell has at hand, the opener gives
//! them back one by one, each bounded by its class.

mod frames;

pub use frames::{Batch, Incoming, OpenError, Opener, Sealer};

use minicbor::Decoder;
use snow::HandshakeState;

use crate::cbor::{CodecError, array, finish, fixed, writer, written};
use crate::secrets::Aead;
use crate::session::{SessionError, params};
use crate::{NodeId, PROTOCOL_VERSION};

/// A handshake message at most, in bytes.
pub const MAX_HANDSHAKE_BYTES: usize = 512;
/// A link's life at most: a day, then its dialer makes a new one.
pub const MAX_LIFETIME_MS: u64 = 86_400_000;
/// Bytes of regions that a stream's sender may send before the first credit.
pub const INITIAL_CREDIT_BYTES: u32 = 65_536;

const PATTERN_IK: &str = "Noise_IK_25519_AESGCM_SHA256";

/// The X25519 public key of a transport secret.
#[must_use]
pub fn public_key(secret: &[u8; 32]) -> [u8; 32] {
    let resolver = snow::resolvers::DefaultResolver;
    let dh =
        snow::resolvers::CryptoResolver::resolve_dh(&resolver, &snow::params::DHChoice::Curve25519);
    let mut out = [0; 32];
    if let Some(mut dh) = dh {
        dh.set(secret);
        out.copy_from_slice(dh.pubkey());
    }
    out
}

/// Who is at the other end, proven.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// The node that it says to be; check that the ledger gives it [`Self::transport_key`].
    pub node: NodeId,
    /// The static key that it proved to hold.
    pub transport_key: [u8; 32],
    /// Its feature bits.
    pub features: u64,
}

/// One side of a handshake under way.
pub struct Handshake {
    noise: HandshakeState,
    me: NodeId,
    features: u64,
}

impl core::fmt::Debug for Handshake {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Handshake(…)")
    }
}

fn prologue(responder: &NodeId) -> Vec<u8> {
    [&b"conet/link/1"[..], responder.as_bytes()].concat()
}

fn payload(me: &NodeId, features: u64) -> Vec<u8> {
    let mut e = writer(64);
    written((|| {
        e.array(3)?
            .u32(PROTOCOL_VERSION)?
            .u64(features)?
            .bytes(me.as_bytes())?;
        Ok(())
    })());
    e.into_writer()
}

impl Peer {
    /// Says whether it is a client: whoever names no node.
    #[must_use]
    pub fn is_client(&self) -> bool {
        self.node == CLIENT
    }
}

/// What a client says to be.
const CLIENT: NodeId = NodeId::from_bytes([0; 20]);

impl Handshake {
    /// Starts a client's link to a node, under a key that is used for nothing else.
    ///
    /// # Errors
    /// As [`Self::dial`].
    pub fn dial_as_client(
        rng: &mut (impl rand::RngCore + rand::CryptoRng),
        to: &NodeId,
        transport_key: &[u8; 32],
        features: u64,
    ) -> Result<(Self, Vec<u8>), SessionError> {
        let mut secret = zeroize::Zeroizing::new([0; 32]);
        rng.fill_bytes(&mut *secret);
        Self::dial(CLIENT, &secret, to, transport_key, features)
    }

    /// Starts a link to `to`, whose transport key the ledger names; returns the message to send.
    ///
    /// # Errors
    /// [`SessionError::Handshake`] if a key is unusable.
    pub fn dial(
        me: NodeId,
        secret: &[u8; 32],
        to: &NodeId,
        transport_key: &[u8; 32],
        features: u64,
    ) -> Result<(Self, Vec<u8>), SessionError> {
        let prologue = prologue(to);
        let noise = snow::Builder::new(params(PATTERN_IK)?)
            .prologue(&prologue)
            .and_then(|b| b.local_private_key(secret))
            .and_then(|b| b.remote_public_key(transport_key))
            .and_then(snow::Builder::build_initiator)
            .map_err(|_| SessionError::Handshake)?;
        let mut handshake = Self {
            noise,
            me,
            features,
        };
        let message = handshake.write()?;
        Ok((handshake, message))
    }

    /// Reads the acceptor's answer and finishes the dialer's side.
    ///
    /// # Errors
    /// [`SessionError`] where the acceptor did not prove its key.
    pub fn finish(mut self, answer: &[u8]) -> Result<(Peer, Sealer, Opener), SessionError> {
        let peer = self.read(answer)?;
        let (mine, theirs) = self.noise.dangerously_get_raw_split();
        Ok((
            peer,
            Sealer::new(Aead::new(&mine)),
            Opener::new(Aead::new(&theirs)),
        ))
    }

    /// Answers a dialer's message; the caller must check [`Peer`] against the ledger before it uses
    /// the link.
    ///
    /// # Errors
    /// [`SessionError`] where the dialer did not prove its key.
    pub fn accept(
        me: NodeId,
        secret: &[u8; 32],
        features: u64,
        message: &[u8],
    ) -> Result<(Peer, Vec<u8>, Sealer, Opener), SessionError> {
        let prologue = prologue(&me);
        let noise = snow::Builder::new(params(PATTERN_IK)?)
            .prologue(&prologue)
            .and_then(|b| b.local_private_key(secret))
            .and_then(snow::Builder::build_responder)
            .map_err(|_| SessionError::Handshake)?;
        let mut handshake = Self {
            noise,
            me,
            features,
        };
        let peer = handshake.read(message)?;
        let answer = handshake.write()?;
        let (theirs, mine) = handshake.noise.dangerously_get_raw_split();
        Ok((
            peer,
            answer,
            Sealer::new(Aead::new(&mine)),
            Opener::new(Aead::new(&theirs)),
        ))
    }

    fn write(&mut self) -> Result<Vec<u8>, SessionError> {
        let mut out = vec![0; MAX_HANDSHAKE_BYTES];
        let payload = payload(&self.me, self.features);
        let n = self
            .noise
            .write_message(&payload, &mut out)
            .map_err(|_| SessionError::Handshake)?;
        out.truncate(n);
        Ok(out)
    }

    fn read(&mut self, message: &[u8]) -> Result<Peer, SessionError> {
        if message.len() > MAX_HANDSHAKE_BYTES {
            return Err(SessionError::Length);
        }
        let mut payload = vec![0; message.len()];
        let n = self
            .noise
            .read_message(message, &mut payload)
            .map_err(|_| SessionError::Handshake)?;
        let mut d = Decoder::new(payload.get(..n).unwrap_or_default());
        let more = array(&mut d, 3, "link handshake")?;
        let version = d.u32()?;
        if version != PROTOCOL_VERSION {
            return Err(CodecError::Unsupported {
                what: "protocol version",
                value: version.into(),
            }
            .into());
        }
        let features = d.u64()?;
        let node = NodeId::from_bytes(fixed(&mut d, "node")?);
        finish(&mut d, more, "link handshake")?;
        let transport_key = self
            .noise
            .get_remote_static()
            .and_then(|key| key.try_into().ok())
            .ok_or(SessionError::Handshake)?;
        Ok(Peer {
            node,
            transport_key,
            features,
        })
    }
}

#[cfg(test)]
mod tests;
