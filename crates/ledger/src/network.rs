//! The network file: which chain, which contracts, which RPC servers, where to begin.

use std::{
    fmt, fs, io,
    io::{Read, Write},
    path::{Path, PathBuf},
};

use alloy::primitives::Address;
use serde::{Deserialize, Serialize};
use wallet::WalletAddress;

/// The only chain ID on which well-known development keys are accepted.
pub const DEV_CHAIN_ID: u64 = 31_337;
/// Longest network file, bytes: 16 RPC URLs and 1,024 bootstrap nodes take less.
pub const MAX_NETWORK_FILE_BYTES: u64 = 1 << 20;
/// Most RPC URLs in a network file.
pub const MAX_RPC_URLS: usize = 16;
/// Longest RPC URL, bytes.
pub const MAX_RPC_URL_BYTES: usize = 2_048;
/// Most bootstrap nodes in a network file.
pub const MAX_BOOTSTRAP_NODES: usize = 1_024;
/// Longest endpoint of a node, bytes (as in the NodeRegistry).
pub const MAX_ENDPOINT_BYTES: usize = 256;
/// Longest network name, bytes.
pub const MAX_NAME_BYTES: usize = 64;
/// Most blocks that `confirmations` may hold back.
pub const MAX_CONFIRMATIONS: u64 = 1_000;

const FORMAT_VERSION: u32 = 1;

/// What a client or node must know of a network before it can sync: JSON, checked when read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetworkFile {
    /// Version of the file's format, 1.
    #[serde(default = "format_version")]
    pub version: u32,
    /// Short name, 1–64 letters, digits, `-`, `_` or `.`.
    pub name: String,
    /// EIP-155 chain ID; each RPC server must answer with it.
    pub chain_id: u64,
    /// JSON-RPC servers, `http://` or `https://`, in order of preference, 1–16.
    pub rpc_urls: Vec<String>,
    /// Where the contracts are.
    pub contracts: Contracts,
    /// First block that can hold an event of the contracts.
    #[serde(default)]
    pub start_block: u64,
    /// Newest blocks left unread, so that a short reorganisation is never seen; at most 1,000.
    #[serde(default)]
    pub confirmations: u64,
    /// Nodes to speak to before the first sync, at most 1,024.
    #[serde(default)]
    pub bootstrap: Vec<BootstrapNode>,
    /// Path of the nodes' plain intake, beginning with `/`; none where it is off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plain_intake_path: Option<String>,
    /// Effort that nodes ask of a stamp: expected number of Equi-X runs, 0 is read as 1.
    #[serde(default)]
    pub stamp_effort: u32,
    /// Funded keys that everybody knows; refused unless the chain ID is 31337.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dev: Option<DevKeys>,
}

/// Addresses of the network's contracts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Contracts {
    /// The NodeRegistry.
    pub node_registry: WalletAddress,
    /// The RouteRegistry.
    pub route_registry: WalletAddress,
    /// The NameRegistry; none on a network without names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name_registry: Option<WalletAddress>,
    /// The BridgeOffers; none on a network where bridges announce neither policy nor price.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bridge_offers: Option<WalletAddress>,
}

/// The contracts that a NameRegistry has made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NameContracts {
    /// The NameRegistry itself.
    pub registry: WalletAddress,
    /// The NameResolver, its first creation.
    pub resolver: WalletAddress,
    /// The NameRegistrar, its second.
    pub registrar: WalletAddress,
    /// The ReverseRegistrar, its third.
    pub reverse: WalletAddress,
}

impl Contracts {
    /// Where the contracts of names are; none on a network without names.
    pub fn names(&self) -> Option<NameContracts> {
        let registry = self.name_registry?;
        // A contract's address follows from its maker's and how many that has made (EIP-161).
        let maker = Address::from(*registry.as_bytes());
        let creation = |nonce| WalletAddress::from_bytes(maker.create(nonce).into());
        Some(NameContracts {
            registry,
            resolver: creation(1),
            registrar: creation(2),
            reverse: creation(3),
        })
    }
}

/// A node that is known without the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BootstrapNode {
    /// The node's wallet.
    pub address: WalletAddress,
    /// Where it is reached, 1–256 bytes.
    pub endpoint: String,
    /// Its X25519 static public key, 64 hexadecimal digits.
    #[serde(with = "hex_key")]
    pub transport_key: [u8; 32],
}

/// The mnemonic of a development chain's funded accounts.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DevKeys {
    /// BIP-39 words; known to everybody, so worth nothing elsewhere.
    pub mnemonic: String,
}

impl fmt::Debug for DevKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DevKeys").finish_non_exhaustive()
    }
}

/// Why a network file can't be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NetworkFileError {
    /// The file can't be read or written.
    #[error("can't access the network file {path}", path = .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is longer than 1 MiB.
    #[error("the network file is longer than {MAX_NETWORK_FILE_BYTES} bytes")]
    TooLong,
    /// The file is not JSON of the expected shape.
    #[error("the network file is malformed: {0}")]
    Malformed(#[source] serde_json::Error),
    /// The file is of a version that this program doesn't know.
    #[error("the network file has version {found}, this program knows {FORMAT_VERSION}: update it")]
    UnknownVersion {
        /// The version found.
        found: u32,
    },
    /// A field's value is out of bounds.
    #[error("the network file's {field} {expected}")]
    InvalidField {
        /// Which field.
        field: &'static str,
        /// What it should be.
        expected: &'static str,
    },
    /// Well-known keys are given for a chain where they would be stolen from.
    #[error(
        "the network file has development keys, which are refused on chain {chain_id}: they belong to chain {DEV_CHAIN_ID} only"
    )]
    DevKeysOnForeignChain {
        /// The file's chain ID.
        chain_id: u64,
    },
}

impl NetworkFile {
    /// Reads and checks the file at `path`.
    ///
    /// # Errors
    /// [`NetworkFileError`] where it can't be read, is longer than [`MAX_NETWORK_FILE_BYTES`], is
    /// malformed or out of bounds.
    pub fn load(path: &Path) -> Result<Self, NetworkFileError> {
        let io_error = |source| NetworkFileError::Io {
            path: path.to_owned(),
            source,
        };
        let file = fs::File::open(path).map_err(io_error)?;
        let mut text = Vec::new();
        file.take(MAX_NETWORK_FILE_BYTES + 1)
            .read_to_end(&mut text)
            .map_err(io_error)?;
        Self::parse(&text)
    }

    /// Reads and checks the JSON of a network file.
    ///
    /// # Errors
    /// As [`NetworkFile::load`].
    pub fn parse(json: &[u8]) -> Result<Self, NetworkFileError> {
        if json.len() as u64 > MAX_NETWORK_FILE_BYTES {
            return Err(NetworkFileError::TooLong);
        }
        let file: Self = serde_json::from_slice(json).map_err(NetworkFileError::Malformed)?;
        file.check()?;
        Ok(file)
    }

    /// Writes the file as indented JSON, whole or not at all.
    ///
    /// # Errors
    /// [`NetworkFileError`] where a field is out of bounds or the file can't be written.
    pub fn save(&self, path: &Path) -> Result<(), NetworkFileError> {
        self.check()?;
        let io_error = |source| NetworkFileError::Io {
            path: path.to_owned(),
            source,
        };
        let mut json = serde_json::to_vec_pretty(self).map_err(NetworkFileError::Malformed)?;
        json.push(b'\n');
        let mut temporary = path.as_os_str().to_owned();
        temporary.push(format!(".{}.new", std::process::id()));
        let temporary = PathBuf::from(temporary);
        let mut file = fs::File::create(&temporary).map_err(io_error)?;
        file.write_all(&json)
            .and_then(|()| file.sync_all())
            .and_then(|()| fs::rename(&temporary, path))
            .map_err(|source| {
                let _ = fs::remove_file(&temporary);
                io_error(source)
            })
    }

    /// Checks every bound that [`NetworkFile::parse`] enforces, for files that are built in memory.
    ///
    /// # Errors
    /// [`NetworkFileError`] naming the first field that is out of bounds.
    pub fn check(&self) -> Result<(), NetworkFileError> {
        if self.version != FORMAT_VERSION {
            return Err(NetworkFileError::UnknownVersion {
                found: self.version,
            });
        }
        let name_fits = (1..=MAX_NAME_BYTES).contains(&self.name.len())
            && (self.name.bytes())
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
        require(
            name_fits,
            "name",
            "must be 1 to 64 letters, digits, '-', '_' or '.'",
        )?;
        // EIP-2294 bounds it likewise.
        require(
            (1..=i64::MAX as u64).contains(&self.chain_id),
            "chain_id",
            "must be between 1 and 2^63 - 1",
        )?;
        require(
            i64::try_from(self.start_block).is_ok(),
            "start_block",
            "must be below 2^63",
        )?;
        require(
            (1..=MAX_RPC_URLS).contains(&self.rpc_urls.len()),
            "rpc_urls",
            "must list 1 to 16 URLs",
        )?;
        require(
            self.rpc_urls.iter().all(|url| is_rpc_url(url)),
            "rpc_urls",
            "must be http:// or https:// URLs of at most 2,048 bytes",
        )?;
        require(
            self.confirmations <= MAX_CONFIRMATIONS,
            "confirmations",
            "must be at most 1,000",
        )?;
        require(
            self.bootstrap.len() <= MAX_BOOTSTRAP_NODES,
            "bootstrap",
            "must list at most 1,024 nodes",
        )?;
        require(
            (self.bootstrap.iter())
                .all(|node| (1..=MAX_ENDPOINT_BYTES).contains(&node.endpoint.len())),
            "bootstrap.endpoint",
            "must have 1 to 256 bytes",
        )?;
        let path_fits = self.plain_intake_path.as_ref().is_none_or(|path| {
            path.starts_with('/')
                && path.len() <= MAX_ENDPOINT_BYTES
                && path.bytes().all(|byte| byte.is_ascii_graphic())
        });
        require(
            path_fits,
            "plain_intake_path",
            "must begin with '/' and have at most 256 visible ASCII characters",
        )?;
        if self.dev.is_some() && self.chain_id != DEV_CHAIN_ID {
            return Err(NetworkFileError::DevKeysOnForeignChain {
                chain_id: self.chain_id,
            });
        }
        Ok(())
    }
}

fn require(
    holds: bool,
    field: &'static str,
    expected: &'static str,
) -> Result<(), NetworkFileError> {
    if holds {
        Ok(())
    } else {
        Err(NetworkFileError::InvalidField { field, expected })
    }
}

fn is_rpc_url(text: &str) -> bool {
    text.len() <= MAX_RPC_URL_BYTES
        && alloy::transports::http::reqwest::Url::parse(text)
            .is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
}

/// 32 bytes as 64 hexadecimal digits.
mod hex_key {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(key: &[u8; 32], to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&hex::encode(key))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<[u8; 32], D::Error> {
        let text = String::deserialize(from)?;
        let mut key = [0; 32];
        hex::decode_to_slice(text.trim_start_matches("0x"), &mut key)
            .map_err(|_| D::Error::custom("a key has 64 hexadecimal digits"))?;
        Ok(key)
    }
}

fn format_version() -> u32 {
    FORMAT_VERSION
}

#[cfg(test)]
mod tests {
    use super::*;

    fn devnet() -> NetworkFile {
        NetworkFile {
            version: 1,
            name: "devnet".into(),
            chain_id: DEV_CHAIN_ID,
            rpc_urls: vec!["http://127.0.0.1:8545".into()],
            contracts: Contracts {
                node_registry: WalletAddress::from_bytes([1; 20]),
                route_registry: WalletAddress::from_bytes([2; 20]),
                name_registry: None,
                bridge_offers: None,
            },
            start_block: 0,
            confirmations: 0,
            bootstrap: vec![BootstrapNode {
                address: WalletAddress::from_bytes([3; 20]),
                endpoint: "http://127.0.0.1:4001".into(),
                transport_key: [4; 32],
            }],
            plain_intake_path: Some("/packet".into()),
            stamp_effort: 0,
            dev: Some(DevKeys {
                mnemonic: "test test".into(),
            }),
        }
    }

    #[test]
    fn network_file_saved_and_loaded_is_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("devnet.json");
        devnet().save(&path).unwrap();
        assert_eq!(NetworkFile::load(&path).unwrap(), devnet());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn network_file_with_dev_keys_on_another_chain_is_refused() {
        let mut file = devnet();
        file.chain_id = 1;
        let json = serde_json::to_vec(&file).unwrap();
        assert!(matches!(
            NetworkFile::parse(&json),
            Err(NetworkFileError::DevKeysOnForeignChain { chain_id: 1 })
        ));
        assert!(file.save(Path::new("/nowhere/at/all")).is_err());
    }

    #[test]
    fn network_file_with_a_mistyped_field_names_it() {
        let json = serde_json::to_string(&devnet())
            .unwrap()
            .replace("rpc_urls", "rpc_url");
        let error = NetworkFile::parse(json.as_bytes()).unwrap_err();
        assert!(error.to_string().contains("rpc_url"), "{error}");
    }

    #[test]
    fn network_file_out_of_bounds_is_refused_by_field() {
        type Change = fn(&mut NetworkFile);
        let cases: [(&str, Change); 9] = [
            ("name", |file| file.name = "a b".into()),
            ("chain_id", |file| {
                file.chain_id = 0;
                file.dev = None;
            }),
            ("start_block", |file| file.start_block = u64::MAX),
            ("rpc_urls", |file| file.rpc_urls.clear()),
            ("rpc_urls", |file| file.rpc_urls = vec!["ftp://x".into()]),
            ("confirmations", |file| file.confirmations = 1_001),
            ("bootstrap.endpoint", |file| {
                file.bootstrap[0].endpoint.clear();
            }),
            ("plain_intake_path", |file| {
                file.plain_intake_path = Some("packet".into());
            }),
            ("rpc_urls", |file| {
                file.rpc_urls = vec!["http://x".into(); 17];
            }),
        ];
        for (expected, change) in cases {
            let mut file = devnet();
            change(&mut file);
            match file.check() {
                Err(NetworkFileError::InvalidField { field, .. }) => assert_eq!(field, expected),
                other => panic!("{expected}: {other:?}"),
            }
        }
    }

    #[test]
    fn network_file_of_another_version_or_length_is_refused() {
        let mut file = devnet();
        file.version = 2;
        let json = serde_json::to_vec(&file).unwrap();
        assert!(matches!(
            NetworkFile::parse(&json),
            Err(NetworkFileError::UnknownVersion { found: 2 })
        ));
        let long = vec![b' '; MAX_NETWORK_FILE_BYTES as usize + 1];
        assert!(matches!(
            NetworkFile::parse(&long),
            Err(NetworkFileError::TooLong)
        ));
    }

    #[test]
    fn dev_keys_debug_hides_the_mnemonic() {
        assert!(!format!("{:?}", devnet()).contains("test test"));
    }
}
