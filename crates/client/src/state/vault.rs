//! Encryption of what is kept on disk, under a key that derives from the wallet.
//!
//! Values are AES-256-GCM with a random nonce; what table and row a value belongs to is associated data, so
//! that nobody can move values about. What rows are looked up by is an HMAC: the file tells how many
//! messages there are and when they came, not of whom or what they speak.

use rand::RngCore as _;
use rand::rngs::OsRng;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::hmac;
use wallet::WalletKey;
use zeroize::Zeroizing;

/// The derivation that gives the key; see `docs/wire-format.md`, section 1.
const DERIVATION: &str = "local/state";
/// Separates the key of look-up tags from the one that encrypts.
const INDEX_LABEL: &[u8] = b"conet/local/index";
const NONCE_BYTES: usize = 12;

/// The keys of one wallet's local state.
pub(crate) struct Vault {
    values: LessSafeKey,
    index: hmac::Key,
}

/// A value can't be decrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a stored value is damaged, or was written by another wallet")]
pub(crate) struct Damaged;

/// What a row is looked up by.
pub(crate) type Tag = [u8; 16];

impl Vault {
    pub(crate) fn of(wallet: &WalletKey) -> Self {
        let secret = wallet.derive(DERIVATION);
        let extract = hmac::Key::new(hmac::HMAC_SHA256, secret.as_slice());
        let index = hmac::sign(&extract, INDEX_LABEL);
        #[expect(clippy::expect_used, reason = "a 32-byte key always fits AES-256")]
        let values = UnboundKey::new(&AES_256_GCM, secret.as_slice()).expect("32 bytes");
        Self {
            values: LessSafeKey::new(values),
            index: hmac::Key::new(hmac::HMAC_SHA256, index.as_ref()),
        }
    }

    /// Encrypts the value of a row.
    pub(crate) fn seal(&self, table: &str, row: &[u8], value: &[u8]) -> Vec<u8> {
        let mut nonce = [0; NONCE_BYTES];
        OsRng.fill_bytes(&mut nonce);
        let mut sealed = Vec::with_capacity(NONCE_BYTES + value.len() + AES_256_GCM.tag_len());
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(value);
        let aad = associated(table, row);
        let body = sealed.get_mut(NONCE_BYTES..).unwrap_or_default();
        let nonce = Nonce::assume_unique_for_key(nonce);
        #[expect(clippy::expect_used, reason = "fails only beyond 64 GiB")]
        let tag = (self.values)
            .seal_in_place_separate_tag(nonce, Aad::from(aad), body)
            .expect("a value is far below the limit of AES-GCM");
        sealed.extend_from_slice(tag.as_ref());
        sealed
    }

    /// Decrypts the value of a row.
    pub(crate) fn open(
        &self,
        table: &str,
        row: &[u8],
        sealed: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, Damaged> {
        let (nonce, body) = sealed.split_first_chunk::<NONCE_BYTES>().ok_or(Damaged)?;
        let mut value = Zeroizing::new(body.to_vec());
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let length = (self.values)
            .open_in_place(nonce, Aad::from(associated(table, row)), &mut value)
            .map_err(|_| Damaged)?
            .len();
        value.truncate(length);
        Ok(value)
    }

    /// The tag that stands for these parts in an index, different for each purpose.
    pub(crate) fn tag(&self, purpose: &str, parts: &[&[u8]]) -> Tag {
        let mut context = hmac::Context::with_key(&self.index);
        context.update(purpose.as_bytes());
        for part in parts {
            // Lengths keep ("ab", "c") apart from ("a", "bc").
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
        let whole = context.sign();
        let mut tag = Tag::default();
        for (to, from) in tag.iter_mut().zip(whole.as_ref()) {
            *to = *from;
        }
        tag
    }
}

fn associated(table: &str, row: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(table.len() + 1 + row.len());
    out.extend_from_slice(table.as_bytes());
    out.push(0);
    out.extend_from_slice(row);
    out
}

impl std::fmt::Debug for Vault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Vault").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vault(number: u8) -> Vault {
        Vault::of(&WalletKey::from_bytes([number; 32]).unwrap())
    }

    #[test]
    fn sealed_value_opens_only_in_its_row_and_for_its_wallet() {
        let sealed = vault(1).seal("messages", b"row", b"hello");
        assert_eq!(
            &**vault(1).open("messages", b"row", &sealed).unwrap(),
            b"hello"
        );
        assert!(vault(1).open("messages", b"other", &sealed).is_err());
        assert!(vault(1).open("outbox", b"row", &sealed).is_err());
        assert!(vault(2).open("messages", b"row", &sealed).is_err());
        assert!(vault(1).open("messages", b"row", b"short").is_err());
    }

    #[test]
    fn sealed_value_never_looks_the_same_twice_and_does_not_show_its_text() {
        let one = vault(1).seal("t", b"r", b"hello hello");
        let two = vault(1).seal("t", b"r", b"hello hello");
        assert_ne!(one, two);
        assert!(!one.windows(5).any(|window| window == b"hello"));
    }

    #[test]
    fn tag_depends_on_purpose_parts_and_wallet() {
        let tag = vault(1).tag("peer", &[b"ab", b"c"]);
        assert_eq!(tag, vault(1).tag("peer", &[b"ab", b"c"]));
        assert_ne!(tag, vault(1).tag("peer", &[b"a", b"bc"]));
        assert_ne!(tag, vault(1).tag("seen", &[b"ab", b"c"]));
        assert_ne!(tag, vault(2).tag("peer", &[b"ab", b"c"]));
    }
}
