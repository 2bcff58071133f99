//! From the password to the key, at a bounded cost.

use serde::{Deserialize, Serialize};
use sha2::Sha256;
use zeroize::Zeroizing;

use super::json::HexBytes;
use super::{KeystoreError, MAX_PBKDF2_ROUNDS, MAX_SCRYPT_BYTES, MAX_SCRYPT_WORK, ScryptCost};

/// How many derived bytes are used; a longer key is accepted, only its beginning counts.
const KEY_BYTES: usize = 32;

/// The longest derived key that a keystore may ask for, in bytes.
const MAX_DERIVED_BYTES: usize = 64;

/// The algorithm and its parameters.
#[derive(Serialize, Deserialize)]
#[serde(tag = "kdf", content = "kdfparams", rename_all = "lowercase")]
pub(super) enum Kdf {
    Scrypt(ScryptParams),
    Pbkdf2(Pbkdf2Params),
}

#[derive(Serialize, Deserialize)]
pub(super) struct ScryptParams {
    dklen: usize,
    n: u64,
    r: u32,
    p: u32,
    salt: HexBytes,
}

#[derive(Serialize, Deserialize)]
pub(super) struct Pbkdf2Params {
    dklen: usize,
    c: u32,
    prf: String,
    salt: HexBytes,
}

/// The derived key: 16 bytes for the cipher, 16 for the MAC.
pub(super) struct DerivedKey(Zeroizing<[u8; KEY_BYTES]>);

impl DerivedKey {
    pub(super) fn cipher_key(&self) -> &[u8; 16] {
        self.halves().0
    }

    pub(super) fn mac_key(&self) -> &[u8; 16] {
        self.halves().1
    }

    fn halves(&self) -> (&[u8; 16], &[u8; 16]) {
        let halves = self.0.first_chunk().zip(self.0.last_chunk());
        #[expect(clippy::expect_used, reason = "32 bytes have two halves of 16")]
        halves.expect("the derived key has 32 bytes")
    }
}

impl Kdf {
    /// The parameters that a new keystore gets.
    pub(super) fn scrypt(cost: ScryptCost, salt: [u8; 32]) -> Self {
        let (n, p) = match cost {
            ScryptCost::Standard => (1 << 18, 1),
            ScryptCost::Light => (1 << 12, 6),
        };
        Self::Scrypt(ScryptParams {
            dklen: KEY_BYTES,
            n,
            r: 8,
            p,
            salt: HexBytes(salt.to_vec()),
        })
    }

    /// Derives the key, or refuses if that would cost too much.
    pub(super) fn derive(&self, password: &str) -> Result<DerivedKey, KeystoreError> {
        match self {
            Self::Scrypt(params) => params.derive(password),
            Self::Pbkdf2(params) => params.derive(password),
        }
    }
}

impl ScryptParams {
    fn derive(&self, password: &str) -> Result<DerivedKey, KeystoreError> {
        let invalid = || KeystoreError::InvalidParameter("scrypt parameters");
        let length = derived_length(self.dklen)?;
        if !self.n.is_power_of_two() || self.n < 2 || self.r == 0 || self.p == 0 {
            return Err(invalid());
        }
        let blocks = self.n.checked_mul(self.r.into());
        let bytes = blocks.and_then(|blocks| blocks.checked_mul(128));
        let work = blocks.and_then(|blocks| blocks.checked_mul(self.p.into()));
        if bytes.is_none_or(|bytes| bytes > MAX_SCRYPT_BYTES)
            || work.is_none_or(|work| work > MAX_SCRYPT_WORK)
        {
            return Err(KeystoreError::TooCostly);
        }
        let log_n = u8::try_from(self.n.trailing_zeros()).map_err(|_| invalid())?;
        let params = scrypt::Params::new(log_n, self.r, self.p).map_err(|_| invalid())?;
        let mut derived = Zeroizing::new(vec![0; length]);
        scrypt::scrypt(password.as_bytes(), &self.salt.0, &params, &mut derived)
            .map_err(|_| invalid())?;
        key_of(&derived)
    }
}

impl Pbkdf2Params {
    fn derive(&self, password: &str) -> Result<DerivedKey, KeystoreError> {
        if self.prf != "hmac-sha256" {
            return Err(KeystoreError::Unsupported(self.prf.clone()));
        }
        let length = derived_length(self.dklen)?;
        if self.c == 0 {
            return Err(KeystoreError::InvalidParameter("number of rounds"));
        }
        if self.c > MAX_PBKDF2_ROUNDS {
            return Err(KeystoreError::TooCostly);
        }
        let mut derived = Zeroizing::new(vec![0; length]);
        pbkdf2::pbkdf2_hmac::<Sha256>(password.as_bytes(), &self.salt.0, self.c, &mut derived);
        key_of(&derived)
    }
}

fn derived_length(dklen: usize) -> Result<usize, KeystoreError> {
    if (KEY_BYTES..=MAX_DERIVED_BYTES).contains(&dklen) {
        Ok(dklen)
    } else {
        Err(KeystoreError::InvalidParameter("dklen"))
    }
}

fn key_of(derived: &[u8]) -> Result<DerivedKey, KeystoreError> {
    derived
        .first_chunk()
        .map(|key| DerivedKey(Zeroizing::new(*key)))
        .ok_or(KeystoreError::InvalidParameter("dklen"))
}
