//! Mnemonics: twelve or twenty-four words that all wallets of a person derive from.

use std::fmt;

use bip32::{ChildNumber, XPrv};
use bip39::Language;
use rand::{CryptoRng, RngCore};
use zeroize::{Zeroize, Zeroizing};

use crate::WalletKey;

/// The longest phrase or passphrase that is read, in bytes; 24 words have at most 215.
const MAX_PHRASE_BYTES: usize = 1024;

/// The path above the wallets' index, `m/44'/60'/0'/0` (BIP-44, coin type 60 of SLIP-44).
const ETHEREUM_ACCOUNT: [(u32, bool); 4] = [(44, true), (60, true), (0, true), (0, false)];

/// How many words a new mnemonic has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WordCount {
    /// Twelve words, 128 bits: as strong as the wallets themselves.
    Twelve,
    /// Twenty-four words, 256 bits.
    TwentyFour,
}

/// An English BIP-39 mnemonic with its optional passphrase, the source of a person's wallets.
///
/// # Security
/// Words, passphrase and seed are zeroised when dropped and `Debug` shows none.
#[derive(Clone)]
pub struct Mnemonic {
    words: bip39::Mnemonic,
    seed: Zeroizing<[u8; 64]>,
}

/// Why words are no mnemonic, or a wallet can't be derived.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MnemonicError {
    /// The phrase or passphrase is longer than any real one.
    #[error("the phrase is too long")]
    TooLong,
    /// The number of words is not 12, 15, 18, 21 or 24.
    #[error("a mnemonic has 12, 15, 18, 21 or 24 words, this one has {0}")]
    WordCount(usize),
    /// A word is not in the English list; the first word has number 1.
    #[error("word {0} is not in the list: check its spelling")]
    UnknownWord(usize),
    /// The words are all known, but the last one does not fit the others.
    #[error("the mnemonic's checksum is wrong: a word is mistaken or out of place")]
    WrongChecksum,
    /// The index has no wallet: it is 2³¹ or greater, or one of the 2⁻¹²⁷ that BIP-32 skips.
    #[error("there is no wallet with index {0}")]
    NoSuchWallet(u32),
}

impl Mnemonic {
    /// Makes a new random mnemonic without a passphrase.
    ///
    /// # Errors
    /// None in practice; the type is shared with [`Mnemonic::parse`].
    pub fn generate(
        count: WordCount,
        rng: &mut (impl CryptoRng + RngCore),
    ) -> Result<Self, MnemonicError> {
        let mut entropy = Zeroizing::new([0; 32]);
        rng.fill_bytes(entropy.as_mut_slice());
        let length = match count {
            WordCount::Twelve => 16,
            WordCount::TwentyFour => 32,
        };
        let entropy = entropy.get(..length).unwrap_or_default();
        let words =
            bip39::Mnemonic::from_entropy_in(Language::English, entropy).map_err(error_of)?;
        Ok(Self::new(words, ""))
    }

    /// Reads the words of a mnemonic, in any letter case and with any white space between them.
    ///
    /// # Errors
    /// [`MnemonicError`] says which word is wrong, or that the checksum is.
    pub fn parse(phrase: &str) -> Result<Self, MnemonicError> {
        Self::parse_with_passphrase(phrase, "")
    }

    /// Reads the words of a mnemonic that is used with a passphrase (BIP-39's 25th word).
    ///
    /// Every passphrase is right: another one gives other wallets.
    ///
    /// # Errors
    /// As [`Mnemonic::parse`].
    pub fn parse_with_passphrase(phrase: &str, passphrase: &str) -> Result<Self, MnemonicError> {
        if phrase.len() > MAX_PHRASE_BYTES || passphrase.len() > MAX_PHRASE_BYTES {
            return Err(MnemonicError::TooLong);
        }
        let lower = Zeroizing::new(phrase.to_lowercase());
        let words =
            bip39::Mnemonic::parse_in_normalized(Language::English, &lower).map_err(error_of)?;
        Ok(Self::new(words, passphrase))
    }

    fn new(words: bip39::Mnemonic, passphrase: &str) -> Self {
        let seed = Zeroizing::new(words.to_seed(passphrase));
        Self { words, seed }
    }

    /// The words, separated by single spaces. The passphrase is not part of it.
    pub fn phrase(&self) -> Zeroizing<String> {
        let mut phrase = Zeroizing::new(String::with_capacity(MAX_PHRASE_BYTES));
        for (index, word) in self.words.words().enumerate() {
            if index > 0 {
                phrase.push(' ');
            }
            phrase.push_str(word);
        }
        phrase
    }

    /// The BIP-39 seed of words and passphrase.
    pub fn seed(&self) -> &[u8; 64] {
        &self.seed
    }

    /// The wallet at `m/44'/60'/0'/0/index`.
    ///
    /// # Errors
    /// [`MnemonicError::NoSuchWallet`] for an index of 2³¹ or greater.
    pub fn wallet(&self, index: u32) -> Result<WalletKey, MnemonicError> {
        let path = ETHEREUM_ACCOUNT.into_iter().chain([(index, false)]);
        let key =
            derive(self.seed.as_slice(), path).map_err(|_| MnemonicError::NoSuchWallet(index))?;
        Ok(WalletKey::from_secret(key.private_key().clone()))
    }
}

/// Follows a path of child numbers, each hardened or not, from the master key of `seed` (BIP-32).
fn derive(seed: &[u8], path: impl IntoIterator<Item = (u32, bool)>) -> bip32::Result<XPrv> {
    path.into_iter()
        .try_fold(XPrv::new(seed)?, |key, (number, hardened)| {
            key.derive_child(ChildNumber::new(number, hardened)?)
        })
}

fn error_of(error: bip39::Error) -> MnemonicError {
    match error {
        bip39::Error::BadWordCount(count) => MnemonicError::WordCount(count),
        bip39::Error::UnknownWord(index) => MnemonicError::UnknownWord(index + 1),
        _ => MnemonicError::WrongChecksum,
    }
}

impl Drop for Mnemonic {
    fn drop(&mut self) {
        self.words.zeroize();
    }
}

impl fmt::Debug for Mnemonic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mnemonic").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
