//! Layers: packets sealed to a node, whose content is a command and nothing else.
//!
//! See `docs/wire-format.md`, section 4. The bytes of a command are made and read by the crate that
//! knows commands.

use bytes::Bytes;
use rand::{CryptoRng, RngCore};
use wallet::{Certificate, SecretCertificate};

use crate::{
    cleartext::{self, LITERAL_OVERHEAD_BYTES},
    container::HeadV2,
    framing::{self, HEADER_BYTES, tag},
    message::Packet,
    open::{self, OpenError, UnlockedSession},
    recipient::{Length, Recipient},
    seal::{SealError, seal_literal},
    size::MAX_PACKET_BYTES,
};

/// Bytes by which a layer is longer than its command, before padding.
///
/// X25519 session key, AES-256-GCM container, literal, padding header.
pub const LAYER_OVERHEAD_BYTES: usize =
    (HEADER_BYTES + 36 + 73) + (HEADER_BYTES + 36 + 32) + LITERAL_OVERHEAD_BYTES + HEADER_BYTES;

/// Seals a command to a node; the layer is exactly `exact_length` bytes long.
///
/// # Errors
///
/// [`SealError::TooLong`] if the command needs more than `exact_length` less
/// [`LAYER_OVERHEAD_BYTES`], [`SealError::NotANode`] for a certificate without SEIPDv2.
pub fn seal_layer(
    node: &Certificate,
    command: &[u8],
    exact_length: usize,
    rng: &mut (impl CryptoRng + RngCore),
) -> Result<Packet, SealError> {
    let recipient = Recipient::layer(node)?;
    seal_literal(&recipient, command, Length::Exactly(exact_length), rng)
}

/// Opens a layer and returns the bytes of its command, which share one allocation: an inner packet
/// can be sliced from them without a copy.
///
/// Takes exactly what [`seal_layer`] makes: one version 6 session key to a current or superseded
/// X25519 subkey, one AES-256-GCM container, a literal, padding.
///
/// # Errors
///
/// [`OpenError::NotForMe`] if the session key is not one of ours, other kinds of [`OpenError`] for
/// everything that is not a layer.
pub fn open_layer(packet: &[u8], me: &SecretCertificate) -> Result<Bytes, OpenError> {
    if packet.len() > MAX_PACKET_BYTES {
        return Err(OpenError::TooLarge);
    }
    let session = framing::next_packet(packet)?;
    if session.tag != tag::PKESK {
        return Err(OpenError::UnexpectedPacket(session.tag));
    }
    let container = framing::next_packet(session.rest)?;
    if container.tag != tag::SEIPD || !container.rest.is_empty() {
        return Err(OpenError::UnexpectedPacket(container.tag));
    }
    let head = HeadV2::parse(&container.body)?;
    if !head.is_of_a_layer() {
        return Err(OpenError::UnsupportedContainer);
    }
    let Some(UnlockedSession::V6(key)) = open::unlock(&session.body, me)? else {
        return Err(OpenError::NotForMe);
    };
    cleartext::parse_plain(&head.decrypt(key.as_ref())?)
}
