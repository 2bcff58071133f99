//! The encrypted container of a packet: SEIPD versions 2 and 1 (RFC 9580 section 5.13).
//!
//! Version 2 is encrypted and decrypted in place, in one buffer whose size follows from what is
//! there, not from the chunk size that a stranger's packet claims.

use bytes::{Bytes, BytesMut};
use hkdf::Hkdf;
use pgp::{
    crypto::{aead::AeadAlgorithm, sym::SymmetricKeyAlgorithm},
    packet::{PacketHeader, SymEncryptedProtectedData},
    types::{Seipdv1ReadMode, Tag},
};
use rand::{CryptoRng, RngCore};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::{
    framing::{self, HEADER_BYTES},
    open::OpenError,
    seal::SealError,
};

/// Chunk size octet that we write: 4 MiB, so that every packet is one chunk.
const CHUNK_SIZE_OCTET: u8 = 16;
/// Version, cipher, mode, chunk size octet, salt.
const V2_HEAD_BYTES: usize = 4 + SALT_BYTES;
const SALT_BYTES: usize = 32;
const TAG_BYTES: usize = 16;
/// Version, random prefix with its two repeated bytes, modification detection code.
const V1_OVERHEAD_BYTES: usize = 1 + 18 + 22;
/// Bytes of an AES-256 session key.
pub(crate) const SESSION_KEY_BYTES: usize = 32;

/// How the cleartext is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Container {
    /// SEIPDv1 with AES-256.
    V1,
    /// SEIPDv2 with AES-256 in this mode.
    V2(AeadAlgorithm),
}

impl Container {
    /// Bytes by which the container, header included, is longer than the cleartext.
    pub(crate) const fn overhead_bytes(self) -> usize {
        HEADER_BYTES
            + match self {
                Self::V1 => V1_OVERHEAD_BYTES,
                Self::V2(_) => V2_HEAD_BYTES + 2 * TAG_BYTES,
            }
    }

    /// Encrypts `cleartext` and appends the container to `packet`.
    pub(crate) fn encrypt(
        self,
        session_key: &[u8; SESSION_KEY_BYTES],
        cleartext: BytesMut,
        packet: BytesMut,
        rng: &mut (impl CryptoRng + RngCore),
    ) -> Result<BytesMut, SealError> {
        match self {
            Self::V1 => encrypt_v1(session_key, &cleartext, packet, rng),
            Self::V2(mode) => encrypt_v2(mode, session_key, cleartext, packet, rng),
        }
    }
}

fn encrypt_v1(
    session_key: &[u8; SESSION_KEY_BYTES],
    cleartext: &[u8],
    mut packet: BytesMut,
    rng: &mut (impl CryptoRng + RngCore),
) -> Result<BytesMut, SealError> {
    let encrypted = SymmetricKeyAlgorithm::AES256
        .encrypt_protected(rng, session_key, cleartext)
        .map_err(SealError::OpenPgp)?;
    framing::put_header(&mut packet, framing::tag::SEIPD, 1 + encrypted.len());
    packet.extend_from_slice(&[1]);
    packet.extend_from_slice(&encrypted);
    Ok(packet)
}

fn encrypt_v2(
    mode: AeadAlgorithm,
    session_key: &[u8; SESSION_KEY_BYTES],
    mut cleartext: BytesMut,
    mut packet: BytesMut,
    rng: &mut (impl CryptoRng + RngCore),
) -> Result<BytesMut, SealError> {
    let mut salt = [0; SALT_BYTES];
    rng.fill_bytes(&mut salt);
    let body = V2_HEAD_BYTES + cleartext.len() + 2 * TAG_BYTES;
    framing::put_header(&mut packet, framing::tag::SEIPD, body);
    let cipher = SymmetricKeyAlgorithm::AES256;
    packet.extend_from_slice(&[2, cipher.into(), mode.into(), CHUNK_SIZE_OCTET]);
    packet.extend_from_slice(&salt);

    let mut keys = ChunkKeys::derive(cipher, mode, CHUNK_SIZE_OCTET, &salt, session_key);
    let octets = cleartext.len() as u64;
    keys.encrypt(&keys.info, &mut cleartext)?;
    keys.next_chunk();
    let mut last = BytesMut::with_capacity(TAG_BYTES);
    keys.encrypt(&keys.final_data(octets), &mut last)?;
    packet.extend_from_slice(&cleartext);
    packet.extend_from_slice(&last);
    Ok(packet)
}

/// What encrypts the chunks.
enum ChunkCipher {
    /// AES-256-GCM, what all of our packets use: by ring, several times as fast on long ones.
    Gcm(Box<LessSafeKey>),
    /// Every other cipher and mode.
    Other {
        cipher: SymmetricKeyAlgorithm,
        mode: AeadAlgorithm,
        key: Zeroizing<Vec<u8>>,
    },
}

impl ChunkCipher {
    fn new(cipher: SymmetricKeyAlgorithm, mode: AeadAlgorithm, key: &[u8]) -> Self {
        if cipher == SymmetricKeyAlgorithm::AES256
            && mode == AeadAlgorithm::Gcm
            && let Ok(key) = UnboundKey::new(&AES_256_GCM, key)
        {
            return Self::Gcm(Box::new(LessSafeKey::new(key)));
        }
        Self::Other {
            cipher,
            mode,
            key: Zeroizing::new(key.to_vec()),
        }
    }
}

/// Key and running nonce of the chunks of one SEIPDv2 container.
struct ChunkKeys {
    cipher: ChunkCipher,
    nonce: Vec<u8>,
    info: [u8; 5],
    index: u64,
}

impl ChunkKeys {
    /// Derives them from the session key (RFC 9580 section 5.13.2).
    fn derive(
        cipher: SymmetricKeyAlgorithm,
        mode: AeadAlgorithm,
        chunk_size_octet: u8,
        salt: &[u8],
        session_key: &[u8],
    ) -> Self {
        let info = [
            0xc0 | framing::tag::SEIPD,
            2,
            cipher.into(),
            mode.into(),
            chunk_size_octet,
        ];
        let key_bytes = cipher.key_size();
        let prefix_bytes = mode.nonce_size().saturating_sub(8);
        let mut derived = Zeroizing::new(vec![0; key_bytes + prefix_bytes]);
        let hkdf = Hkdf::<Sha256>::new(Some(salt), session_key);
        let Ok(()) = hkdf.expand(&info, &mut derived) else {
            unreachable!("48 bytes are within the limit of HKDF");
        };
        let (key, prefix) = derived.split_at(key_bytes);
        let mut nonce = prefix.to_vec();
        nonce.resize(mode.nonce_size(), 0);
        Self {
            cipher: ChunkCipher::new(cipher, mode, key),
            nonce,
            info,
            index: 0,
        }
    }

    /// Encrypts one chunk in place and appends its tag.
    fn encrypt(&self, data: &[u8], chunk: &mut BytesMut) -> Result<(), SealError> {
        match &self.cipher {
            ChunkCipher::Gcm(key) => Nonce::try_assume_unique_for_key(&self.nonce)
                .and_then(|nonce| key.seal_in_place_append_tag(nonce, Aad::from(data), chunk))
                .map_err(|_| SealError::Cipher),
            ChunkCipher::Other { cipher, mode, key } => mode
                .encrypt_in_place(cipher, key, &self.nonce, data, chunk)
                .map_err(|_| SealError::Cipher),
        }
    }

    /// Checks one chunk's tag, decrypts the chunk in place and takes the tag off.
    fn decrypt(&self, data: &[u8], chunk: &mut BytesMut) -> Result<(), OpenError> {
        match &self.cipher {
            ChunkCipher::Gcm(key) => {
                let length = Nonce::try_assume_unique_for_key(&self.nonce)
                    .and_then(|nonce| key.open_in_place(nonce, Aad::from(data), chunk))
                    .map_err(|_| OpenError::NotAuthentic)?
                    .len();
                chunk.truncate(length);
                Ok(())
            }
            ChunkCipher::Other { cipher, mode, key } => mode
                .decrypt_in_place(cipher, key, &self.nonce, data, chunk)
                .map_err(|_| OpenError::NotAuthentic),
        }
    }

    /// Moves the nonce to the next chunk.
    fn next_chunk(&mut self) {
        self.index += 1;
        if let Some(counter) = self.nonce.last_chunk_mut() {
            *counter = self.index.to_be_bytes();
        }
    }

    /// Associated data of the final tag: it fixes how long the cleartext is.
    fn final_data(&self, octets: u64) -> [u8; 13] {
        let mut data = [0; 13];
        let (info, count) = data.split_at_mut(5);
        info.copy_from_slice(&self.info);
        count.copy_from_slice(&octets.to_be_bytes());
        data
    }
}

/// What the head of an SEIPDv2 container says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct HeadV2<'a> {
    pub(crate) cipher: SymmetricKeyAlgorithm,
    pub(crate) mode: AeadAlgorithm,
    chunk_size_octet: u8,
    salt: &'a [u8],
    data: &'a [u8],
}

impl<'a> HeadV2<'a> {
    /// Reads the head of a container's body, and refuses what is not AES in a known mode.
    pub(crate) fn parse(body: &'a [u8]) -> Result<Self, OpenError> {
        let (head, rest) = body.split_first_chunk().ok_or(OpenError::Truncated)?;
        let [2, cipher, mode, chunk_size_octet @ 0..=16] = *head else {
            return Err(OpenError::UnsupportedContainer);
        };
        let (salt, data) = rest
            .split_at_checked(SALT_BYTES)
            .ok_or(OpenError::Truncated)?;
        let cipher = SymmetricKeyAlgorithm::from(cipher);
        let mode = AeadAlgorithm::from(mode);
        let known = is_aes(cipher)
            && matches!(
                mode,
                AeadAlgorithm::Gcm | AeadAlgorithm::Ocb | AeadAlgorithm::Eax
            );
        if !known {
            return Err(OpenError::UnsupportedContainer);
        }
        Ok(Self {
            cipher,
            mode,
            chunk_size_octet,
            salt,
            data,
        })
    }

    /// Whether it is encrypted as layers are: AES-256-GCM.
    pub(crate) fn is_of_a_layer(&self) -> bool {
        self.cipher == SymmetricKeyAlgorithm::AES256 && self.mode == AeadAlgorithm::Gcm
    }

    /// Decrypts the container and checks all of its tags.
    pub(crate) fn decrypt(&self, session_key: &[u8]) -> Result<Bytes, OpenError> {
        if session_key.len() != self.cipher.key_size() {
            return Err(OpenError::WrongSessionKey);
        }
        let mut keys = ChunkKeys::derive(
            self.cipher,
            self.mode,
            self.chunk_size_octet,
            self.salt,
            session_key,
        );
        let (data, last) = self
            .data
            .len()
            .checked_sub(TAG_BYTES)
            .and_then(|at| self.data.split_at_checked(at))
            .ok_or(OpenError::Truncated)?;
        let mut remaining = BytesMut::from(data);
        let chunk_bytes = (1 << (self.chunk_size_octet + 6)) + TAG_BYTES;
        let mut cleartext = BytesMut::new();
        while !remaining.is_empty() {
            let mut chunk = remaining.split_to(chunk_bytes.min(remaining.len()));
            keys.decrypt(&keys.info, &mut chunk)?;
            keys.next_chunk();
            if cleartext.is_empty() {
                cleartext = chunk;
            } else {
                cleartext.extend_from_slice(&chunk);
            }
        }
        let mut last = BytesMut::from(last);
        let octets = cleartext.len() as u64;
        keys.decrypt(&keys.final_data(octets), &mut last)?;
        Ok(cleartext.freeze())
    }
}

/// Decrypts an SEIPDv1 container and checks its modification detection code before anything is used.
pub(crate) fn decrypt_v1(
    body: &[u8],
    cipher: SymmetricKeyAlgorithm,
    session_key: &[u8],
) -> Result<Bytes, OpenError> {
    if body.first() != Some(&1) || !is_aes(cipher) {
        return Err(OpenError::UnsupportedContainer);
    }
    if session_key.len() != cipher.key_size() {
        return Err(OpenError::WrongSessionKey);
    }
    if body.len() < V1_OVERHEAD_BYTES {
        return Err(OpenError::Truncated);
    }
    let length = u32::try_from(body.len()).map_err(|_| OpenError::TooLarge)?;
    let header = PacketHeader::new_fixed(Tag::SymEncryptedProtectedData, length);
    let mode = Seipdv1ReadMode::CheckFirst {
        max_message_size: body.len(),
    };
    SymEncryptedProtectedData::try_from_reader(header, body)
        .and_then(|container| container.decrypt(session_key, Some(cipher), mode))
        .map(Bytes::from)
        .map_err(|_| OpenError::NotAuthentic)
}

/// Says whether a cipher is one that a modern sender uses.
fn is_aes(cipher: SymmetricKeyAlgorithm) -> bool {
    matches!(
        cipher,
        SymmetricKeyAlgorithm::AES128
            | SymmetricKeyAlgorithm::AES192
            | SymmetricKeyAlgorithm::AES256
    )
}
