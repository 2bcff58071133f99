//! Key derivation and the one AEAD that sessions, links and sealed answers share.

use ring::aead::{AES_256_GCM, Aad, Algorithm, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use ring::hkdf::{HKDF_SHA256, KeyType, Salt};
use zeroize::Zeroizing;

/// Bytes that sealing adds: the GCM tag.
pub(crate) const TAG_BYTES: usize = 16;

const SALT: &[u8] = b"conet/1";

struct Length32;

impl KeyType for Length32 {
    fn len(&self) -> usize {
        32
    }
}

/// HKDF-SHA-256 (RFC 5869) with the salt of this protocol.
///
/// `info` is the concatenation of its parts.
pub(crate) fn derive(secret: &[u8], info: &[&[u8]]) -> Zeroizing<[u8; 32]> {
    let mut out = Zeroizing::new([0; 32]);
    let prk = Salt::new(HKDF_SHA256, SALT).extract(secret);
    let filled = prk
        .expand(info, Length32)
        .and_then(|okm| okm.fill(out.as_mut()));
    debug_assert!(filled.is_ok(), "32 bytes are far below HKDF's limit");
    out
}

/// HMAC-SHA-256 (RFC 2104).
pub(crate) fn mac(key: &[u8; 32], text: &[u8]) -> [u8; 32] {
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, key);
    let mut out = [0; 32];
    out.iter_mut()
        .zip(ring::hmac::sign(&key, text).as_ref())
        .for_each(|(to, from)| *to = *from);
    out
}

/// A key, of AES-256-GCM unless said otherwise, whose nonces the caller never repeats.
pub(crate) struct Aead(LessSafeKey);

impl core::fmt::Debug for Aead {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Aead(…)")
    }
}

/// The ciphertext is not what this key sealed under that nonce and associated data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Forged;

impl Aead {
    pub(crate) fn new(key: &[u8; 32]) -> Self {
        Self::of(&AES_256_GCM, key)
    }

    /// A ChaCha20-Poly1305 key (RFC 8439).
    pub(crate) fn chacha(key: &[u8; 32]) -> Self {
        Self::of(&CHACHA20_POLY1305, key)
    }

    #[expect(clippy::expect_used, reason = "both take keys of 32 bytes")]
    fn of(algorithm: &'static Algorithm, key: &[u8; 32]) -> Self {
        Self(LessSafeKey::new(
            UnboundKey::new(algorithm, key).expect("32 bytes"),
        ))
    }

    /// Seals `text` where it lies and returns its tag.
    pub(crate) fn seal(&self, nonce: [u8; 12], aad: &[u8], text: &mut [u8]) -> [u8; TAG_BYTES] {
        let tag = self.0.seal_in_place_separate_tag(
            Nonce::assume_unique_for_key(nonce),
            Aad::from(aad),
            text,
        );
        // The only failure is a text beyond 64 GiB.
        let tag = tag.ok();
        tag.and_then(|tag| tag.as_ref().try_into().ok())
            .unwrap_or_default()
    }

    /// Seals `buffer[from..]` where it lies and appends the tag.
    pub(crate) fn seal_tail(&self, nonce: [u8; 12], aad: &[u8], buffer: &mut Vec<u8>, from: usize) {
        let Some(tail) = buffer.get_mut(from..) else {
            return;
        };
        let tag = self.seal(nonce, aad, tail);
        buffer.extend_from_slice(&tag);
    }

    /// Opens `sealed` where it lies and returns the clear part.
    pub(crate) fn open<'b>(
        &self,
        nonce: [u8; 12],
        aad: &[u8],
        sealed: &'b mut [u8],
    ) -> Result<&'b mut [u8], Forged> {
        self.0
            .open_in_place(Nonce::assume_unique_for_key(nonce), Aad::from(aad), sealed)
            .map_err(|_| Forged)
    }
}

/// A nonce of four zero bytes and a counter.
pub(crate) fn counter_nonce(counter: u64) -> [u8; 12] {
    let mut nonce = [0; 12];
    nonce[4..].copy_from_slice(&counter.to_be_bytes());
    nonce
}
