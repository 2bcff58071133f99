//! The key schedule of streams (`docs/wire-format.md`, 11.2).

use core::fmt;

use rand::{CryptoRng, RngCore};
use subtle::ConstantTimeEq as _;
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::{Zeroize as _, Zeroizing};

use super::open::{Resume, StreamId};
use super::{REKEY_FRAMES, Role};
use crate::secrets::{Aead, derive, mac};

/// What seals the frames of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cipher {
    /// AES-256-GCM, for machines that have it in hardware.
    Aes256Gcm,
    /// ChaCha20-Poly1305 (RFC 8439), for all others.
    ChaCha20Poly1305,
}

impl Cipher {
    pub(super) fn to_byte(self) -> u8 {
        match self {
            Self::Aes256Gcm => 0,
            Self::ChaCha20Poly1305 => 1,
        }
    }

    pub(super) fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            0 => Some(Self::Aes256Gcm),
            1 => Some(Self::ChaCha20Poly1305),
            _ => None,
        }
    }

    /// The cipher of two machines: AES only where both have it in hardware.
    pub(super) fn common(self, other: Self) -> Self {
        match (self, other) {
            (Self::Aes256Gcm, Self::Aes256Gcm) => Self::Aes256Gcm,
            _ => Self::ChaCha20Poly1305,
        }
    }

    fn key(self, key: &[u8; 32]) -> Aead {
        match self {
            Self::Aes256Gcm => Aead::new(key),
            Self::ChaCha20Poly1305 => Aead::chacha(key),
        }
    }
}

/// The secret that a command carries to the far end.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct StreamSecret([u8; 32]);

/// What only the two ends of a stream know once its shares are mixed in.
#[derive(Clone)]
pub(super) struct ResumeSecret(Zeroizing<[u8; 32]>);

/// An ephemeral X25519 share (RFC 7748).
pub(super) struct Share(StaticSecret);

/// The far end's share has no secret in common with ours.
#[derive(Debug)]
pub(super) struct Degenerate;

/// The keys of one direction, one after the other.
pub(super) struct Keys {
    cipher: Cipher,
    key: Zeroizing<[u8; 32]>,
    generation: u64,
    aead: Aead,
}

/// What the keys of a circuit's first round trip derive from.
pub(super) struct Early(Zeroizing<[u8; 32]>);

/// What all later keys of a circuit derive from.
pub(super) struct Mixed(Zeroizing<[u8; 32]>);

impl StreamSecret {
    pub(super) fn random(rng: &mut (impl RngCore + CryptoRng)) -> Self {
        let mut secret = [0; 32];
        rng.fill_bytes(&mut secret);
        Self(secret)
    }

    pub(super) fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    pub(super) fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    pub(super) fn id(&self) -> StreamId {
        let [id @ .., _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _] =
            *derive(&self.0, &[b"stream/id"]);
        StreamId::from_bytes(id)
    }
}

impl Drop for StreamSecret {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for StreamSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StreamSecret(…)")
    }
}

impl fmt::Debug for ResumeSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ResumeSecret(…)")
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keys({})", self.generation)
    }
}

impl fmt::Debug for Early {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Early(…)")
    }
}

impl fmt::Debug for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Share(…)")
    }
}

impl Share {
    pub(super) fn random(rng: &mut (impl RngCore + CryptoRng)) -> Self {
        Self(StaticSecret::random_from_rng(rng))
    }

    pub(super) fn public(&self) -> [u8; 32] {
        PublicKey::from(&self.0).to_bytes()
    }

    fn agree(&self, theirs: &[u8; 32]) -> Result<Zeroizing<[u8; 32]>, Degenerate> {
        let shared = self.0.diffie_hellman(&PublicKey::from(*theirs));
        if !shared.was_contributory() {
            return Err(Degenerate);
        }
        Ok(Zeroizing::new(shared.to_bytes()))
    }
}

impl ResumeSecret {
    fn proof(&self, secret: &StreamSecret, id: &StreamId, received: u64) -> [u8; 16] {
        let text = [
            &b"stream/resume"[..],
            &secret.0,
            id.as_bytes(),
            &received.to_be_bytes(),
        ];
        let [proof @ .., _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _] =
            mac(&self.0, &text.concat());
        proof
    }

    /// Asks for the stream under a new secret.
    pub(super) fn ask(&self, id: StreamId, secret: &StreamSecret, received: u64) -> Resume {
        Resume {
            id,
            received,
            proof: self.proof(secret, &id, received),
        }
    }

    pub(super) fn proves(&self, secret: &StreamSecret, resume: &Resume) -> bool {
        let proof = self.proof(secret, &resume.id, resume.received);
        proof.ct_eq(&resume.proof).into()
    }
}

impl Early {
    /// `former` is what a resumed stream proves itself by.
    pub(super) fn new(secret: &StreamSecret, former: Option<&ResumeSecret>) -> Self {
        let former = former.map_or(&[][..], |f| &f.0[..]);
        Self(derive(&secret.0, &[b"stream/secret", former]))
    }

    /// The keys of what the opener sends before it has the accepter's share. There are none for the accepter: it
    /// seals by nothing that its own share is not in, so that a command that comes twice never leads to one key twice.
    pub(super) fn keys(&self, cipher: Cipher) -> Keys {
        Keys::new(cipher, derive(&self.0[..], &[b"stream/early/opener"]))
    }

    pub(super) fn mix(&self, mine: &Share, theirs: &[u8; 32]) -> Result<Mixed, Degenerate> {
        let shared = mine.agree(theirs)?;
        let both = Zeroizing::new([&self.0[..], &shared[..]].concat());
        Ok(Mixed(derive(&both, &[b"stream/mixed"])))
    }
}

impl Mixed {
    /// The keys of what `sender` sends.
    pub(super) fn keys(&self, sender: Role, cipher: Cipher) -> Keys {
        let info: &[u8] = match sender {
            Role::Opener => b"stream/opener",
            Role::Accepter => b"stream/accepter",
        };
        Keys::new(cipher, derive(&self.0[..], &[info]))
    }

    pub(super) fn resume_secret(&self) -> ResumeSecret {
        ResumeSecret(derive(&self.0[..], &[b"stream/resume"]))
    }
}

impl Keys {
    fn new(cipher: Cipher, key: Zeroizing<[u8; 32]>) -> Self {
        Self {
            aead: cipher.key(&key),
            cipher,
            key,
            generation: 0,
        }
    }

    pub(super) fn cipher(&self) -> Cipher {
        self.cipher
    }

    #[cfg(test)]
    pub(super) fn bytes(&self) -> [u8; 32] {
        *self.key
    }

    /// The key of the frame with that counter. Counters only rise.
    pub(super) fn at(&mut self, counter: u64) -> &Aead {
        // One step at most: counters rise by one.
        if counter / REKEY_FRAMES > self.generation {
            self.key = derive(&self.key[..], &[b"stream/rekey"]);
            self.aead = self.cipher.key(&self.key);
            self.generation += 1;
        }
        &self.aead
    }
}
