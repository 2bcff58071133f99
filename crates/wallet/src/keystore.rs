//! Keystores: a wallet key under a password, as Web3 Secret Storage version 3.
//!
//! The JSON is that of geth, MetaMask and ethers, which read each other's. A keystore from
//! elsewhere is untrusted: what its key derivation may cost is bounded before it begins.
//!
//! Key derivation takes about a second at [`ScryptCost::Standard`]; an asynchronous caller runs it on
//! a blocking thread.

mod json;
mod key_derivation;

use aes::Aes128;
use ctr::Ctr128BE;
use ctr::cipher::{KeyIvInit, StreamCipher};
use rand::{CryptoRng, RngCore};
use sha3::{Digest, Keccak256};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::{WalletAddress, WalletKey};
use json::{CipherParams, Crypto, HexBytes, Keystore};
use key_derivation::{DerivedKey, Kdf};

/// The largest keystore that is read, in bytes; one has about 500.
pub const MAX_KEYSTORE_BYTES: usize = 16 * 1024;

/// The most memory that deriving a key may take, in bytes: four times that of geth's default.
pub const MAX_SCRYPT_BYTES: u64 = 512 * 1024 * 1024;

/// The most scrypt work that is done, n·r·p: eight times that of geth's default.
pub const MAX_SCRYPT_WORK: u64 = 1 << 24;

/// The most PBKDF2 rounds that are done; the usual number is 262,144.
pub const MAX_PBKDF2_ROUNDS: u32 = 10_000_000;

/// How much work it is to try a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum ScryptCost {
    /// n = 262,144, r = 8, p = 1, as geth: 256 MiB, about a second.
    #[default]
    Standard,
    /// n = 4,096, r = 8, p = 6, as geth's light: 4 MiB, a tenth of a second. For tests and small devices.
    Light,
}

/// Why a keystore can't be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeystoreError {
    /// The password is wrong, or the keystore was changed.
    #[error("wrong password")]
    WrongPassword,
    /// More bytes than [`MAX_KEYSTORE_BYTES`].
    #[error("the keystore is larger than {MAX_KEYSTORE_BYTES} bytes")]
    TooLarge,
    /// The JSON is not that of a version 3 keystore.
    #[error("this is not a Web3 keystore of version 3")]
    Malformed(#[source] serde_json::Error),
    /// The keystore is of another version.
    #[error("the keystore has version {0}, only version 3 is known")]
    UnknownVersion(u32),
    /// The cipher or key derivation is one that this crate doesn't know.
    #[error("the keystore uses {0}, which is not supported")]
    Unsupported(String),
    /// A length or parameter is not what the algorithm takes.
    #[error("the keystore's {0} is invalid")]
    InvalidParameter(&'static str),
    /// Deriving the key would take more memory or time than the limits of this module.
    #[error("the keystore asks for more memory or time than is allowed")]
    TooCostly,
    /// The decrypted number is no wallet key.
    #[error("the keystore holds an impossible key")]
    InvalidKey,
    /// The key is not that of the address beside it.
    #[error("the keystore says {stated}, but its key is that of {actual}")]
    WrongAddress {
        /// The address in the JSON.
        stated: WalletAddress,
        /// The address of the key.
        actual: WalletAddress,
    },
}

/// Puts a wallet key under a password: AES-128-CTR by a scrypt key, Keccak-256 MAC.
///
/// The JSON names the wallet's address. An empty password is accepted: it protects nothing.
///
/// # Errors
/// None in practice; the type is shared with [`decrypt`].
pub fn encrypt(
    key: &WalletKey,
    password: &str,
    cost: ScryptCost,
    rng: &mut (impl CryptoRng + RngCore),
) -> Result<String, KeystoreError> {
    let mut salt = [0; 32];
    let mut iv = [0; 16];
    let mut id = [0; 16];
    rng.fill_bytes(&mut salt);
    rng.fill_bytes(&mut iv);
    rng.fill_bytes(&mut id);

    let kdf = Kdf::scrypt(cost, salt);
    let derived = kdf.derive(password)?;
    let mut secret = key.to_bytes();
    apply_cipher(&derived, &iv, secret.as_mut_slice());
    let mac = mac(&derived, secret.as_slice());
    let keystore = Keystore {
        version: 3,
        id: Some(uuid::Builder::from_random_bytes(id).into_uuid().to_string()),
        address: Some(hex::encode(key.address().as_bytes())),
        crypto: Crypto {
            cipher: String::from(json::AES_128_CTR),
            cipherparams: CipherParams {
                iv: HexBytes(iv.to_vec()),
            },
            ciphertext: HexBytes(secret.to_vec()),
            kdf,
            mac: HexBytes(mac.to_vec()),
        },
    };
    serde_json::to_string(&keystore).map_err(KeystoreError::Malformed)
}

/// Opens a keystore with its password.
///
/// # Errors
/// [`KeystoreError::WrongPassword`] if the MAC differs; [`KeystoreError::TooCostly`] beyond
/// [`MAX_SCRYPT_BYTES`], [`MAX_SCRYPT_WORK`] or [`MAX_PBKDF2_ROUNDS`]; the others for what is no such keystore.
pub fn decrypt(json: &str, password: &str) -> Result<WalletKey, KeystoreError> {
    if json.len() > MAX_KEYSTORE_BYTES {
        return Err(KeystoreError::TooLarge);
    }
    let keystore = json::parse(json)?;
    let crypto = &keystore.crypto;
    if crypto.cipher != json::AES_128_CTR {
        return Err(KeystoreError::Unsupported(crypto.cipher.clone()));
    }
    let iv: &[u8; 16] = crypto
        .cipherparams
        .iv
        .0
        .as_slice()
        .try_into()
        .map_err(|_| KeystoreError::InvalidParameter("iv"))?;
    // Some programs drop leading zeros of the key, so it may be shorter than 32 bytes.
    let ciphertext = crypto.ciphertext.0.as_slice();
    let padding = 32_usize
        .checked_sub(ciphertext.len())
        .filter(|padding| *padding < 32)
        .ok_or(KeystoreError::InvalidParameter("ciphertext"))?;

    let derived = crypto.kdf.derive(password)?;
    let expected = mac(&derived, ciphertext);
    if !bool::from(expected.ct_eq(&crypto.mac.0)) {
        return Err(KeystoreError::WrongPassword);
    }
    let mut secret = Zeroizing::new([0; 32]);
    let (_, tail) = secret.split_at_mut(padding);
    tail.copy_from_slice(ciphertext);
    apply_cipher(&derived, iv, tail);
    let key = WalletKey::from_bytes(*secret).map_err(|_| KeystoreError::InvalidKey)?;
    check_address(&keystore, &key)?;
    Ok(key)
}

fn check_address(keystore: &Keystore, key: &WalletKey) -> Result<(), KeystoreError> {
    let Some(text) = keystore.address.as_deref().filter(|text| !text.is_empty()) else {
        return Ok(());
    };
    let digits = text.strip_prefix("0x").unwrap_or(text);
    let stated: WalletAddress = format!("0x{}", digits.to_lowercase())
        .parse()
        .map_err(|_| KeystoreError::InvalidParameter("address"))?;
    let actual = key.address();
    if stated != actual {
        return Err(KeystoreError::WrongAddress { stated, actual });
    }
    Ok(())
}

/// AES-128-CTR with the first half of the derived key.
fn apply_cipher(derived: &DerivedKey, iv: &[u8; 16], data: &mut [u8]) {
    let mut cipher = Ctr128BE::<Aes128>::new(derived.cipher_key().into(), iv.into());
    cipher.apply_keystream(data);
}

/// Keccak-256 of the second half of the derived key and the ciphertext.
fn mac(derived: &DerivedKey, ciphertext: &[u8]) -> [u8; 32] {
    Keccak256::new()
        .chain_update(derived.mac_key())
        .chain_update(ciphertext)
        .finalize()
        .into()
}
