//! Wallet keys.

use std::fmt;

use hkdf::Hkdf;
use k256::ecdsa::SigningKey;
use rand::{CryptoRng, RngCore};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::{
    WalletAddress, WalletSignature,
    signature::{address_of, message_hash},
};

/// The HKDF salt of everything that derives from a wallet key.
const DERIVATION_SALT: &[u8] = b"conet/1";

/// The secp256k1 key of a wallet.
///
/// # Security
/// The secret is zeroised when dropped and `Debug` shows the address only.
#[derive(Clone)]
pub struct WalletKey {
    secret: SigningKey,
    address: WalletAddress,
}

/// Why bytes are no wallet key, or signing failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The secret is zero or not below the group order.
    #[error("the wallet's secret is not a number between 1 and the order of secp256k1")]
    OutOfRange,
}

impl WalletKey {
    /// Makes a new random wallet.
    pub fn generate(rng: &mut (impl CryptoRng + RngCore)) -> Self {
        Self::from_secret(SigningKey::random(rng))
    }

    /// Takes the big-endian secret of an existing wallet.
    ///
    /// # Errors
    /// [`KeyError::OutOfRange`] if it is zero or not below the group order.
    pub fn from_bytes(secret: [u8; 32]) -> Result<Self, KeyError> {
        let secret = Zeroizing::new(secret);
        SigningKey::from_slice(secret.as_slice())
            .map(Self::from_secret)
            .map_err(|_| KeyError::OutOfRange)
    }

    pub(crate) fn from_secret(secret: SigningKey) -> Self {
        let address = address_of(secret.verifying_key());
        Self { secret, address }
    }

    /// The big-endian secret.
    pub fn to_bytes(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.secret.to_bytes().into())
    }

    /// The wallet's address.
    pub const fn address(&self) -> WalletAddress {
        self.address
    }

    /// Signs a 32-byte hash, deterministically (RFC 6979), with low s (EIP-2).
    ///
    /// # Security
    /// Whoever chooses the hash chooses what is signed: sign only hashes made here, of a
    /// message ([`WalletKey::sign_message`]) or of typed data ([`crate::typed_data::digest`]).
    pub fn sign_hash(&self, hash: &[u8; 32]) -> WalletSignature {
        #[expect(
            clippy::expect_used,
            reason = "fails only for a hash shorter than 16 bytes or, with probability 2^-256, r or s of zero"
        )]
        let (signature, recovery) = self
            .secret
            .sign_prehash_recoverable(hash)
            .expect("a 32-byte hash can be signed");
        WalletSignature::from_parts(&signature, recovery)
    }

    /// Signs a message by EIP-191, version 0x45 (`personal_sign`).
    pub fn sign_message(&self, message: &[u8]) -> WalletSignature {
        self.sign_hash(&message_hash(message))
    }

    /// Derives a further secret: HKDF-SHA-256 of the wallet secret with salt `conet/1` and this `info`.
    ///
    /// Different infos give independent secrets, none of which tells the wallet's.
    /// Source: RFC 5869; `docs/wire-format.md`, section 1.
    pub fn derive(&self, info: &str) -> Zeroizing<[u8; 32]> {
        let mut derived = Zeroizing::new([0; 32]);
        let hkdf = Hkdf::<Sha256>::new(Some(DERIVATION_SALT), self.to_bytes().as_slice());
        #[expect(clippy::expect_used, reason = "fails only beyond 255 blocks of output")]
        hkdf.expand(info.as_bytes(), derived.as_mut_slice())
            .expect("one block is within the limit of HKDF");
        derived
    }
}

impl fmt::Debug for WalletKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WalletKey")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;
    use crate::SignatureError;

    /// Order of secp256k1 (SEC 2, section 2.4.1).
    const ORDER: &str = "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141";

    /// The first account of the well-known test mnemonic of Hardhat and Anvil.
    fn hardhat() -> WalletKey {
        let secret = "ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80";
        WalletKey::from_bytes(hex::decode(secret).unwrap().try_into().unwrap()).unwrap()
    }

    #[test]
    fn key_of_a_known_account_has_its_address() {
        assert_eq!(
            hardhat().address().to_string(),
            "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"
        );
    }

    #[test]
    fn key_out_of_range_is_refused() {
        let order = hex::decode(ORDER).unwrap().try_into().unwrap();
        for secret in [[0; 32], order, [0xff; 32]] {
            assert_eq!(
                WalletKey::from_bytes(secret).unwrap_err(),
                KeyError::OutOfRange
            );
        }
    }

    #[test]
    fn key_debug_output_hides_the_secret() {
        let shown = format!("{:?}", hardhat());
        assert_eq!(
            shown,
            "WalletKey { address: 0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266, .. }"
        );
    }

    #[test]
    fn key_derivation_separates_infos_and_wallets() {
        let other = WalletKey::generate(&mut StdRng::seed_from_u64(1));
        let derived = hardhat().derive("openpgp/primary/v6");
        assert_ne!(derived, hardhat().derive("openpgp/primary/v4"));
        assert_ne!(derived, other.derive("openpgp/primary/v6"));
        assert_eq!(derived, hardhat().derive("openpgp/primary/v6"));
    }

    #[test]
    fn message_signature_equals_that_of_web3() {
        // The example of `web3.eth.accounts.sign` in the documentation of web3.js.
        let secret = "4c0883a69102937d6231471b5dbb6204fe5129617082792ae468d01a3f362318";
        let key = WalletKey::from_bytes(hex::decode(secret).unwrap().try_into().unwrap()).unwrap();
        let signature = key.sign_message(b"Some data");
        assert_eq!(
            signature.to_string(),
            "0xb91467e570a6466aa9e9876cbcd013baba02900b8979d43fe208a4a4f339f5fd\
             6007e74cd82e037b800186422fc2da167c747ef045e5d18a5f5d4300f8e1a0291c"
        );
        assert_eq!(signature.recover_message(b"Some data"), Ok(key.address()));
        assert_ne!(signature.recover_message(b"Some date"), Ok(key.address()));
    }

    #[test]
    fn signature_with_high_s_is_refused() {
        let signature = hardhat().sign_hash(&[3; 32]);
        let mut twin = *signature.as_bytes();
        let s = k256::NonZeroScalar::try_from(&twin[32..64]).unwrap();
        twin[32..64].copy_from_slice(&(-s).to_bytes());
        twin[64] = 27 + 28 - twin[64];
        let twin = WalletSignature::from_bytes(twin);
        assert_eq!(twin.recover_hash(&[3; 32]), Err(SignatureError::HighS));
    }

    #[test]
    fn signature_with_another_recovery_byte_is_refused() {
        let signature = hardhat().sign_hash(&[3; 32]);
        for v in [0, 1, 26, 29, 35, 255] {
            let mut bytes = *signature.as_bytes();
            bytes[64] = v;
            assert_eq!(
                WalletSignature::from_bytes(bytes).recover_hash(&[3; 32]),
                Err(SignatureError::WrongRecoveryByte(v))
            );
        }
    }

    proptest! {
        #[test]
        fn signature_recovers_to_its_signer_and_round_trips(seed: u64, hash: [u8; 32]) {
            let key = WalletKey::generate(&mut StdRng::seed_from_u64(seed));
            let signature = key.sign_hash(&hash);
            prop_assert_eq!(signature.recover_hash(&hash), Ok(key.address()));
            prop_assert_eq!(signature.to_string().parse::<WalletSignature>(), Ok(signature));
            let cbor = minicbor::to_vec(signature).unwrap();
            prop_assert_eq!(minicbor::decode::<WalletSignature>(&cbor).unwrap(), signature);
        }

        #[test]
        fn recovery_survives_any_bytes(head: [u8; 32], tail: [u8; 32], v: u8, hash: [u8; 32]) {
            let mut bytes = [v; 65];
            bytes[..32].copy_from_slice(&head);
            bytes[32..64].copy_from_slice(&tail);
            let _ = WalletSignature::from_bytes(bytes).recover_hash(&hash);
            bytes[64] = 27 + (v & 1);
            let _ = WalletSignature::from_bytes(bytes).recover_hash(&hash);
        }
    }
}
