//! Sessions: what a client and a node share after one handshake, and the exchanges sealed under it
//! (`docs/wire-format.md`, 5).
//!
//! Noise NK: the client knows the node's transport key and stays anonymous; both ephemeral keys go
//! into the session's keys. After that each HTTP exchange is one AEAD up and one or more down, in any
//! order, so that exchanges may overlap on several connections.

use minicbor::Decoder;
use rand::{CryptoRng, Rng as _, RngCore};
use snow::params::NoiseParams;
use thiserror::Error;

use crate::cbor::{CodecError, array, finish, fixed, writer, written};
use crate::secrets::{Aead, TAG_BYTES};
use crate::{NodeId, PROTOCOL_VERSION};

pub use window::CounterWindow;

mod window;

/// Length of a session id in bytes.
pub const SESSION_ID_BYTES: usize = 16;
/// What an exchange's body adds to its frame.
pub const EXCHANGE_OVERHEAD_BYTES: usize = SESSION_ID_BYTES + 8 + TAG_BYTES;
/// A session's life at most: a day.
pub const MAX_LIFETIME_S: u32 = 86_400;
/// Exchanges of one session at most, far below what AES-GCM's key allows.
pub const MAX_EXCHANGES: u64 = 1 << 28;
/// Items of one stream at most: six bytes of the nonce count them.
const MAX_ITEMS: u64 = (1 << 48) - 1;
/// Random bytes that blur the handshake's length, at most.
const MAX_BLUR_BYTES: usize = 400;
const MAX_HANDSHAKE_BYTES: usize = 1024;

pub(crate) const PATTERN_NK: &str = "Noise_NK_25519_AESGCM_SHA256";

/// Names a session: random, chosen by the node.
pub type SessionId = [u8; SESSION_ID_BYTES];

/// What a handshake or an exchange can fail with.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SessionError {
    /// The other side did not prove to hold the key, or the bytes were altered.
    #[error("the handshake does not verify")]
    Handshake,
    /// What the handshake carried does not decode.
    #[error("the handshake's payload is malformed")]
    Payload(#[from] CodecError),
    /// What the handshake carried is not CBOR.
    #[error("the handshake's payload is malformed")]
    Cbor(#[from] minicbor::decode::Error),
    /// The bytes are too short or too long.
    #[error("the body has a wrong length")]
    Length,
    /// The exchange was altered or is for another session.
    #[error("the exchange does not verify")]
    Forged,
    /// The exchange's counter was used before.
    #[error("the exchange was seen before")]
    Replayed,
    /// The session has carried as much as it may; shake hands again.
    #[error("the session is used up")]
    UsedUp,
}

pub(crate) fn params(pattern: &str) -> Result<NoiseParams, SessionError> {
    pattern.parse().map_err(|_| SessionError::Handshake)
}

fn prologue(node: &NodeId) -> Vec<u8> {
    [&b"conet/session/1"[..], node.as_bytes()].concat()
}

/// A client's half of a handshake under way.
pub struct ClientHandshake {
    noise: snow::HandshakeState,
}

impl core::fmt::Debug for ClientHandshake {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("ClientHandshake(…)")
    }
}

impl ClientHandshake {
    /// Starts a handshake with a node and returns the body to send.
    ///
    /// # Errors
    /// [`SessionError::Handshake`] if the transport key is no usable X25519 key.
    pub fn start(
        node: &NodeId,
        transport_key: &[u8; 32],
        features: u64,
        rng: &mut (impl CryptoRng + RngCore),
    ) -> Result<(Self, Vec<u8>), SessionError> {
        let prologue = prologue(node);
        let mut noise = snow::Builder::new(params(PATTERN_NK)?)
            .prologue(&prologue)
            .and_then(|b| b.remote_public_key(transport_key))
            .and_then(snow::Builder::build_initiator)
            .map_err(|_| SessionError::Handshake)?;
        let mut e = writer(MAX_BLUR_BYTES + 32);
        written((|| {
            e.array(3)?
                .u32(PROTOCOL_VERSION)?
                .u64(features)?
                .bytes(&blur(rng))?;
            Ok(())
        })());
        let mut body = vec![0; SESSION_ID_BYTES + MAX_HANDSHAKE_BYTES];
        let (id, message) = body.split_at_mut(SESSION_ID_BYTES);
        rng.fill_bytes(id);
        let written = noise
            .write_message(&e.into_writer(), message)
            .map_err(|_| SessionError::Handshake)?;
        body.truncate(SESSION_ID_BYTES + written);
        Ok((Self { noise }, body))
    }

    /// Reads the node's response; `now_ms` starts the session's life.
    ///
    /// # Errors
    /// [`SessionError`] where the node did not prove its key or its payload is malformed.
    pub fn finish(mut self, response: &[u8], now_ms: u64) -> Result<ClientSession, SessionError> {
        let mut payload = vec![0; response.len()];
        let n = self
            .noise
            .read_message(response, &mut payload)
            .map_err(|_| SessionError::Handshake)?;
        let mut d = Decoder::new(payload.get(..n).unwrap_or_default());
        let more = array(&mut d, 6, "handshake")?;
        let version = d.u32()?;
        if version != PROTOCOL_VERSION {
            return Err(CodecError::Unsupported {
                what: "protocol version",
                value: version.into(),
            }
            .into());
        }
        let features = d.u64()?;
        let id = fixed(&mut d, "session id")?;
        let lifetime_s = d.u32()?.min(MAX_LIFETIME_S);
        let node_time_ms = d.u64()?;
        let _blur = d.bytes()?;
        finish(&mut d, more, "handshake")?;
        let (up, down) = self.noise.dangerously_get_raw_split();
        Ok(ClientSession {
            id,
            up: Aead::new(&up),
            down: Aead::new(&down),
            next: 0,
            features,
            node_time_ms,
            expires_ms: now_ms.saturating_add(u64::from(lifetime_s) * 1000),
        })
    }
}

fn blur(rng: &mut (impl CryptoRng + RngCore)) -> Vec<u8> {
    let mut bytes = vec![0; rng.gen_range(0..=MAX_BLUR_BYTES)];
    rng.fill_bytes(&mut bytes);
    bytes
}

/// A client's half of a session.
#[derive(Debug)]
pub struct ClientSession {
    id: SessionId,
    up: Aead,
    down: Aead,
    next: u64,
    /// Feature bits of the node.
    pub features: u64,
    /// The node's clock at the handshake.
    pub node_time_ms: u64,
    /// When to shake hands anew, by the caller's clock.
    pub expires_ms: u64,
}

/// What names one exchange, and opens what comes back for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExchangeId(u64);

impl ClientSession {
    /// Seals a frame into the body of the next exchange.
    ///
    /// # Errors
    /// [`SessionError::UsedUp`] after [`MAX_EXCHANGES`].
    pub fn seal(&mut self, frame: &[u8]) -> Result<(ExchangeId, Vec<u8>), SessionError> {
        if self.next >= MAX_EXCHANGES {
            return Err(SessionError::UsedUp);
        }
        let exchange = ExchangeId(self.next);
        self.next += 1;
        let mut body = Vec::with_capacity(frame.len() + EXCHANGE_OVERHEAD_BYTES);
        body.extend_from_slice(&self.id);
        body.extend_from_slice(&exchange.0.to_be_bytes());
        body.extend_from_slice(frame);
        let aad = aad(&self.id, exchange.0);
        self.up.seal_tail(
            crate::secrets::counter_nonce(exchange.0),
            &aad,
            &mut body,
            SESSION_ID_BYTES + 8,
        );
        Ok((exchange, body))
    }

    /// Opens the `item`-th response (0 for a single answer) of an exchange, where it lies.
    ///
    /// # Errors
    /// [`SessionError::Forged`] for anything else than what the node sealed at that place.
    pub fn open<'b>(
        &self,
        exchange: ExchangeId,
        item: u64,
        sealed: &'b mut [u8],
    ) -> Result<&'b mut [u8], SessionError> {
        self.down
            .open(
                item_nonce(exchange.0, item),
                &aad(&self.id, exchange.0),
                sealed,
            )
            .map_err(|_| SessionError::Forged)
    }
}

/// A node's half of a session.
#[derive(Debug)]
pub struct NodeSession {
    id: SessionId,
    up: Aead,
    down: Aead,
    /// Feature bits of the client.
    pub features: u64,
    /// When the session ends, by the node's clock.
    pub expires_ms: u64,
}

impl NodeSession {
    /// Answers a client's handshake: returns the session and the response's body.
    ///
    /// # Errors
    /// [`SessionError::Handshake`] where the body is none: its sender is no client of ours.
    pub fn accept(
        node: &NodeId,
        transport_secret: &[u8; 32],
        features: u64,
        body: &[u8],
        now_ms: u64,
        rng: &mut (impl CryptoRng + RngCore),
    ) -> Result<(Self, Vec<u8>), SessionError> {
        if body.len() > SESSION_ID_BYTES + MAX_HANDSHAKE_BYTES {
            return Err(SessionError::Length);
        }
        let message = body.get(SESSION_ID_BYTES..).ok_or(SessionError::Length)?;
        let prologue = prologue(node);
        let mut noise = snow::Builder::new(params(PATTERN_NK)?)
            .prologue(&prologue)
            .and_then(|b| b.local_private_key(transport_secret))
            .and_then(snow::Builder::build_responder)
            .map_err(|_| SessionError::Handshake)?;
        let mut payload = vec![0; message.len()];
        let n = noise
            .read_message(message, &mut payload)
            .map_err(|_| SessionError::Handshake)?;
        let mut d = Decoder::new(payload.get(..n).unwrap_or_default());
        let more = array(&mut d, 3, "handshake")?;
        let version = d.u32()?;
        if version != PROTOCOL_VERSION {
            return Err(CodecError::Unsupported {
                what: "protocol version",
                value: version.into(),
            }
            .into());
        }
        let theirs = d.u64()?;
        let _blur = d.bytes()?;
        finish(&mut d, more, "handshake")?;

        let mut id = [0; SESSION_ID_BYTES];
        rng.fill_bytes(&mut id);
        let mut e = writer(MAX_BLUR_BYTES + 64);
        written((|| {
            e.array(6)?
                .u32(PROTOCOL_VERSION)?
                .u64(features)?
                .bytes(&id)?
                .u32(MAX_LIFETIME_S)?;
            e.u64(now_ms)?.bytes(&blur(rng))?;
            Ok(())
        })());
        let mut response = vec![0; MAX_HANDSHAKE_BYTES];
        let n = noise
            .write_message(&e.into_writer(), &mut response)
            .map_err(|_| SessionError::Handshake)?;
        response.truncate(n);
        let (up, down) = noise.dangerously_get_raw_split();
        let session = Self {
            id,
            up: Aead::new(&up),
            down: Aead::new(&down),
            features: theirs,
            expires_ms: now_ms.saturating_add(u64::from(MAX_LIFETIME_S) * 1000),
        };
        Ok((session, response))
    }

    /// The session's id.
    #[must_use]
    pub fn id(&self) -> &SessionId {
        &self.id
    }

    /// Opens an exchange's body where it lies and returns its frame.
    ///
    /// Whether the counter is new is for the session's [`CounterWindow`], asked **after** this
    /// succeeded, so that a forger can't move the window.
    ///
    /// # Errors
    /// [`SessionError::Length`], [`SessionError::Forged`] or [`SessionError::UsedUp`].
    pub fn open<'b>(&self, body: &'b mut [u8]) -> Result<(ExchangeId, &'b mut [u8]), SessionError> {
        let (id, rest) = body
            .split_first_chunk_mut::<SESSION_ID_BYTES>()
            .ok_or(SessionError::Length)?;
        let (counter, sealed) = rest
            .split_first_chunk_mut::<8>()
            .ok_or(SessionError::Length)?;
        let counter = u64::from_be_bytes(*counter);
        if counter >= MAX_EXCHANGES {
            return Err(SessionError::UsedUp);
        }
        if *id != self.id {
            return Err(SessionError::Forged);
        }
        let frame = self
            .up
            .open(
                crate::secrets::counter_nonce(counter),
                &aad(&self.id, counter),
                sealed,
            )
            .map_err(|_| SessionError::Forged)?;
        Ok((ExchangeId(counter), frame))
    }

    /// Seals `out[from..]`, the `item`-th response to an exchange, where it lies.
    ///
    /// **Invariant**: each item of an exchange is sealed once, with rising numbers.
    pub fn seal(&self, exchange: ExchangeId, item: u64, out: &mut Vec<u8>, from: usize) {
        debug_assert!(item <= MAX_ITEMS);
        self.down.seal_tail(
            item_nonce(exchange.0, item),
            &aad(&self.id, exchange.0),
            out,
            from,
        );
    }
}

impl ExchangeId {
    /// The exchange's counter, for the session's [`CounterWindow`].
    #[must_use]
    pub fn counter(self) -> u64 {
        self.0
    }
}

/// The session id at the head of an exchange's body.
#[must_use]
pub fn session_id(body: &[u8]) -> Option<&SessionId> {
    body.first_chunk()
}

fn aad(id: &SessionId, counter: u64) -> [u8; SESSION_ID_BYTES + 8] {
    let mut out = [0; SESSION_ID_BYTES + 8];
    let (a, b) = out.split_at_mut(SESSION_ID_BYTES);
    a.copy_from_slice(id);
    b.copy_from_slice(&counter.to_be_bytes());
    out
}

fn item_nonce(counter: u64, item: u64) -> [u8; 12] {
    let mut nonce = [0; 12];
    let (a, b) = nonce.split_at_mut(6);
    a.copy_from_slice(&counter.to_be_bytes()[2..]);
    b.copy_from_slice(&item.min(MAX_ITEMS).to_be_bytes()[2..]);
    nonce
}

#[cfg(test)]
mod tests;
