//! Hashing of typed structured data (EIP-712), for what wallets sign and contracts verify.
//!
//! ```
//! use wallet::typed_data::{Domain, StructHash, digest};
//!
//! let domain = Domain::new("CONET", "1");
//! let message = StructHash::new("Note(string text,uint64 time)")
//!     .string("hello")
//!     .uint64(1_800_000_000);
//! let hash: [u8; 32] = digest(&domain, &message);
//! ```

use sha3::{Digest, Keccak256};

use crate::WalletAddress;

/// What separates one application's signatures from another's (`EIP712Domain`).
///
/// `name` and `version` are always there, the others where they are `Some`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Domain {
    /// The application or contract.
    pub name: String,
    /// Its major version.
    pub version: String,
    /// The chain that the signature is for (EIP-155).
    pub chain_id: Option<u64>,
    /// The contract that will verify it.
    pub verifying_contract: Option<WalletAddress>,
}

impl Domain {
    /// A domain of name and version only, bound to no chain.
    pub fn new(name: impl Into<String>, version: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            version: version.into(),
            chain_id: None,
            verifying_contract: None,
        }
    }

    /// The domain separator: the hash of the domain as a structure.
    pub fn separator(&self) -> [u8; 32] {
        let mut fields = vec!["string name", "string version"];
        if self.chain_id.is_some() {
            fields.push("uint256 chainId");
        }
        if self.verifying_contract.is_some() {
            fields.push("address verifyingContract");
        }
        let mut hash = StructHash::new(&format!("EIP712Domain({})", fields.join(",")))
            .string(&self.name)
            .string(&self.version);
        if let Some(chain_id) = self.chain_id {
            hash = hash.uint64(chain_id);
        }
        if let Some(contract) = &self.verifying_contract {
            hash = hash.address(contract);
        }
        hash.finish()
    }
}

/// Hashes one structure: its type first, then its members in the order of the type.
///
/// Each method appends one 32-byte word. That members and type agree is up to the caller.
#[derive(Debug, Clone)]
#[must_use = "a structure has no hash before `finish`"]
pub struct StructHash {
    hasher: Keccak256,
}

impl StructHash {
    /// Begins a structure of `type_string`, as EIP-712's `encodeType` writes it: referenced types follow, sorted.
    pub fn new(type_string: &str) -> Self {
        let type_hash = Keccak256::digest(type_string.as_bytes());
        Self {
            hasher: Keccak256::new_with_prefix(type_hash),
        }
    }

    /// Appends a word as it is: `bytes32`, or a hash made elsewhere.
    pub fn bytes32(mut self, word: &[u8; 32]) -> Self {
        self.hasher.update(word);
        self
    }

    /// Appends a `bytesN` with N up to 32: zeros follow it.
    pub fn fixed_bytes<const N: usize>(self, bytes: &[u8; N]) -> Self {
        self.bytes32(&fixed_bytes_word(bytes))
    }

    /// Appends an `address`.
    pub fn address(self, address: &WalletAddress) -> Self {
        self.bytes32(&address_word(address))
    }

    /// Appends an unsigned integer of any width up to 64 bits.
    pub fn uint64(self, number: u64) -> Self {
        self.bytes32(&uint_word(number))
    }

    /// Appends a `uint256`, big-endian.
    pub fn uint256(self, number: &[u8; 32]) -> Self {
        self.bytes32(number)
    }

    /// Appends a `bool`.
    pub fn boolean(self, value: bool) -> Self {
        self.uint64(value.into())
    }

    /// Appends dynamic `bytes`, by their hash.
    pub fn bytes(self, bytes: &[u8]) -> Self {
        self.bytes32(&Keccak256::digest(bytes).into())
    }

    /// Appends a `string`, by the hash of its UTF-8.
    pub fn string(self, text: &str) -> Self {
        self.bytes(text.as_bytes())
    }

    /// Appends a member that is itself a structure.
    pub fn structure(self, member: &Self) -> Self {
        self.bytes32(&member.finish())
    }

    /// Appends an array, by the hash of its elements' words: see [`address_word`], [`uint_word`],
    /// [`fixed_bytes_word`] and, for structures, [`StructHash::finish`].
    pub fn array(self, words: impl IntoIterator<Item = [u8; 32]>) -> Self {
        let mut hasher = Keccak256::new();
        for word in words {
            hasher.update(word);
        }
        self.bytes32(&hasher.finalize().into())
    }

    /// The hash of type and members so far (`hashStruct`).
    pub fn finish(&self) -> [u8; 32] {
        self.hasher.clone().finalize().into()
    }
}

/// An address as a word of an array.
pub fn address_word(address: &WalletAddress) -> [u8; 32] {
    let mut word = [0; 32];
    for (to, from) in word.iter_mut().skip(12).zip(address.as_bytes()) {
        *to = *from;
    }
    word
}

/// An unsigned integer as a word of an array.
pub fn uint_word(number: u64) -> [u8; 32] {
    let mut word = [0; 32];
    for (to, from) in word.iter_mut().skip(24).zip(number.to_be_bytes()) {
        *to = from;
    }
    word
}

/// A `bytesN` as a word of an array: zeros follow it.
pub fn fixed_bytes_word<const N: usize>(bytes: &[u8; N]) -> [u8; 32] {
    const { assert!(N <= 32, "a bytesN has at most 32 bytes") };
    let mut word = [0; 32];
    for (to, from) in word.iter_mut().zip(bytes) {
        *to = *from;
    }
    word
}

/// The hash that a wallet signs: `0x19 0x01 ‖ domain separator ‖ structure hash`.
pub fn digest(domain: &Domain, message: &StructHash) -> [u8; 32] {
    Keccak256::new()
        .chain_update([0x19, 0x01])
        .chain_update(domain.separator())
        .chain_update(message.finish())
        .finalize()
        .into()
}
