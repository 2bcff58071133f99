//! Encrypts a cleartext to one subkey of a certificate, at an exact length.

use bytes::{BufMut, BytesMut};
use pgp::{
    composed::SignedPublicSubKey,
    crypto::{aead::AeadAlgorithm, sym::SymmetricKeyAlgorithm},
    packet::PublicKeyEncryptedSessionKey,
    ser::Serialize,
    types::{KeyDetails, KeyVersion, PublicParams},
};
use rand::{CryptoRng, RngCore};
use wallet::{Certificate, KeyId};
use zeroize::Zeroizing;

use crate::{
    container::{Container, SESSION_KEY_BYTES},
    framing::{self, HEADER_BYTES, tag},
    message::Packet,
    seal::SealError,
    size::{MAX_PACKET_BYTES, SizeClass},
};

/// How long a sealed packet is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Length {
    /// Exactly that many bytes.
    Exactly(usize),
    /// The packet length of the smallest size class that holds it.
    SmallestClass,
    /// As long as it comes, without padding.
    Unpadded,
}

/// One subkey and how its owner wants to be written to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Recipient<'a> {
    subkey: &'a SignedPublicSubKey,
    container: Container,
}

impl<'a> Recipient<'a> {
    /// The recipient of an end-to-end packet: the post-quantum subkey where there is one.
    pub(crate) fn end_to_end(certificate: &'a Certificate) -> Self {
        Self::new(certificate, certificate.end_to_end_subkey())
    }

    /// The recipient of a layer: the node's X25519 subkey, always SEIPDv2 with AES-256-GCM.
    pub(crate) fn layer(node: &'a Certificate) -> Result<Self, SealError> {
        if !node.supports_seipd_v2() {
            return Err(SealError::NotANode);
        }
        Ok(Self {
            subkey: node.layer_subkey(),
            container: Container::V2(AeadAlgorithm::Gcm),
        })
    }

    /// The subkey with this key ID.
    pub(crate) fn subkey(certificate: &'a Certificate, key_id: &KeyId) -> Result<Self, SealError> {
        let subkey = certificate
            .subkey(key_id)
            .ok_or(SealError::UnknownSubkey(*key_id))?;
        Ok(Self::new(certificate, subkey))
    }

    fn new(certificate: &Certificate, subkey: &'a SignedPublicSubKey) -> Self {
        let container = match (certificate.supports_seipd_v2(), certificate.prefers_gcm()) {
            (false, _) => Container::V1,
            (true, true) => Container::V2(AeadAlgorithm::Gcm),
            (true, false) => Container::V2(AeadAlgorithm::Ocb),
        };
        Self { subkey, container }
    }

    /// Bytes by which a packet is longer than its cleartext before padding.
    pub(crate) fn overhead_bytes(&self) -> usize {
        // Version, recipient, algorithm.
        let recipient = match (self.container, self.subkey.version()) {
            (Container::V1, _) => 1 + 8 + 1,
            (Container::V2(_), KeyVersion::V4) => 1 + 2 + 20 + 1,
            (Container::V2(_), _) => 1 + 2 + 32 + 1,
        };
        // A version 3 PKESK names the cipher; for the newer algorithms it does so in the clear.
        let cipher = usize::from(self.container == Container::V1);
        let values = match self.subkey.public_params() {
            PublicParams::MlKem768X25519(_) => 32 + 1_088 + 1 + cipher + 40,
            PublicParams::X25519(_) => 32 + 1 + cipher + 40,
            // A point of 263 bits, the session key padded to 40 bytes and wrapped.
            _ => 2 + 33 + 1 + 48,
        };
        HEADER_BYTES + recipient + values + self.container.overhead_bytes()
    }

    /// Encrypts `cleartext`, which gets a Padding packet for the length that is wanted.
    pub(crate) fn encrypt(
        &self,
        mut cleartext: BytesMut,
        length: Length,
        rng: &mut (impl CryptoRng + RngCore),
    ) -> Result<Packet, SealError> {
        let mut session_key = Zeroizing::new([0; SESSION_KEY_BYTES]);
        rng.fill_bytes(session_key.as_mut_slice());
        let mut packet = BytesMut::new();
        self.put_session_key(&mut packet, &session_key, rng)?;

        let least = packet.len() + self.container.overhead_bytes() + cleartext.len();
        let padded = least + HEADER_BYTES;
        let exact = match length {
            Length::Exactly(exact) => Some(exact),
            Length::SmallestClass => Some(smallest_class(padded)?),
            Length::Unpadded => None,
        };
        if let Some(exact) = exact {
            let padding = exact.checked_sub(padded).ok_or(SealError::TooLong {
                needed: padded,
                length: exact,
            })?;
            put_padding(&mut cleartext, padding, rng);
        }
        let total = exact.unwrap_or(least);
        if total > MAX_PACKET_BYTES {
            return Err(SealError::TooLong {
                needed: total,
                length: MAX_PACKET_BYTES,
            });
        }
        packet.reserve(total - packet.len());
        let packet = self
            .container
            .encrypt(&session_key, cleartext, packet, rng)?;
        debug_assert_eq!(packet.len(), total, "overheads are exact");
        Packet::new(packet.freeze()).map_err(SealError::Packet)
    }

    /// Appends the session key, encrypted to the subkey.
    fn put_session_key(
        &self,
        packet: &mut BytesMut,
        session_key: &[u8; SESSION_KEY_BYTES],
        rng: &mut (impl CryptoRng + RngCore),
    ) -> Result<(), SealError> {
        let session_key = session_key.as_slice().into();
        let encrypted = match self.container {
            Container::V1 => PublicKeyEncryptedSessionKey::from_session_key_v3(
                rng,
                &session_key,
                SymmetricKeyAlgorithm::AES256,
                self.subkey,
            ),
            Container::V2(_) => {
                PublicKeyEncryptedSessionKey::from_session_key_v6(rng, &session_key, self.subkey)
            }
        }
        .map_err(SealError::OpenPgp)?;
        framing::put_header(packet, tag::PKESK, encrypted.write_len());
        encrypted
            .to_writer(&mut packet.writer())
            .map_err(SealError::OpenPgp)
    }
}

/// Packet length of the smallest class that holds `needed` bytes.
fn smallest_class(needed: usize) -> Result<usize, SealError> {
    SizeClass::ALL
        .into_iter()
        .map(SizeClass::packet_bytes)
        .find(|length| *length >= needed)
        .ok_or(SealError::TooLong {
            needed,
            length: SizeClass::M1.packet_bytes(),
        })
}

/// Appends a Padding packet of random bytes (RFC 9580 section 5.14).
fn put_padding(cleartext: &mut BytesMut, length: usize, rng: &mut impl RngCore) {
    framing::put_header(cleartext, tag::PADDING, length);
    let start = cleartext.len();
    cleartext.resize(start + length, 0);
    if let Some(padding) = cleartext.get_mut(start..) {
        rng.fill_bytes(padding);
    }
}
