//! A node's folder: its settings, keys and state.
//!
//! ```text
//! node.json       settings
//! network.json    the network that it belongs to
//! wallet.json     the key of its wallet, under a password
//! certificate     its certificate with its secrets, encrypted under the wallet's key
//! node.lock       locked by the process that runs it
//! data/           its state
//! ```

mod keys;
mod registration;
mod wei;

pub(crate) use keys::{cost_of, unlock};
pub(crate) use registration::{Registered, announce, profile, register};

use std::fs::{self, DirBuilder};
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use ledger::{BridgeOffer, NetworkFile};
use node::bridge::Config;
use node::bridge::policy::{AllowedTarget, Policy};
use node::{MailboxConfig, MailboxStore, NodeConfig, NodeKeys};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;
use wallet::WalletAddress;

use crate::failure::{Context as _, Exit, Failure, Outcome};
use crate::process_lock::{ProcessLock, Taken};
use crate::sealed_file::write_private;

const FORMAT: u32 = 1;
/// The least that a node may keep for one wallet, bytes: with less the largest packets never get in.
pub(crate) const MIN_QUOTA_BYTES: u64 = packet::MAX_PACKET_BYTES as u64;

/// What an operator may set: `node.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Settings {
    /// Version of the file's format, 1.
    pub(crate) version: u32,
    /// The node's wallet.
    pub(crate) address: WalletAddress,
    /// Whether the password of its wallet is empty, so that nobody need be asked.
    pub(crate) password_is_empty: bool,
    /// Where clients and other nodes connect.
    pub(crate) listen: SocketAddr,
    /// Where health, status and metrics are served.
    pub(crate) admin: SocketAddr,
    /// The URL under which others reach it.
    pub(crate) endpoint: String,
    /// Whether it keeps mailboxes.
    pub(crate) mailbox: bool,
    /// Bytes kept for one wallet.
    pub(crate) quota_bytes: u64,
    /// How long a packet is kept, milliseconds.
    pub(crate) ttl_ms: u64,
    /// Whether it puts its accounts' routes on the ledger, and pays for it.
    pub(crate) submit_routes: bool,
    /// NATS servers that keep the mailboxes, `nats://host:port` separated by commas; files in the folder if there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) store: Option<String>,
    /// How many of those servers keep each packet.
    #[serde(default = "one_replica")]
    pub(crate) store_replicas: usize,
    /// What it lets out to the Web2, if it is a bridge.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) bridge: Option<BridgeSettings>,
}

/// What a bridge lets out to the Web2.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct BridgeSettings {
    /// Its exit policy; the default one if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) policy: Option<String>,
    /// `host:port` that it reaches though the policy or its caution is against it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) allow: Vec<String>,
    /// What it asks for each GiB that it carries, both directions together, wei.
    #[serde(default, skip_serializing_if = "wei::is_nothing", with = "wei")]
    pub(crate) price_wei: u128,
}

impl BridgeSettings {
    /// What it says of itself on the ledger: the rules and the price, not what it reaches besides.
    pub(crate) fn offer(&self) -> Outcome<BridgeOffer> {
        let policy = self.config()?.policy;
        Ok(BridgeOffer {
            price_wei: self.price_wei,
            policy: policy.to_string().into(),
        })
    }

    /// The same as the bridge takes it.
    pub(crate) fn config(&self) -> Outcome<Config> {
        let policy = match &self.policy {
            Some(text) => text.parse().context("the exit policy")?,
            None => Policy::default(),
        };
        let mut allow = Vec::new();
        for target in &self.allow {
            let parsed = target.parse::<AllowedTarget>();
            allow.push(parsed.context(format!("the allowed target {target}"))?);
        }
        Ok(Config {
            policy,
            allow,
            ..Config::default()
        })
    }
}

fn one_replica() -> usize {
    1
}

impl Settings {
    fn mailbox_store(&self) -> MailboxStore {
        match &self.store {
            None => MailboxStore::Files,
            Some(servers) => MailboxStore::Nats {
                servers: servers.clone(),
                replicas: self.store_replicas,
            },
        }
    }
}

/// Where a new node keeps its mailboxes.
#[derive(Debug, Clone, Default)]
pub(crate) struct StoreChoice {
    pub(crate) servers: Option<String>,
    pub(crate) replicas: usize,
}

/// What the maker of a node may choose.
#[derive(Debug)]
pub(crate) struct NodePlace {
    pub(crate) listen: SocketAddr,
    pub(crate) admin: SocketAddr,
    /// The URL under which others reach it; `http://` and what it listens on where none is said.
    pub(crate) endpoint: Option<String>,
    /// Bytes kept for one wallet; the usual where nothing is said.
    pub(crate) quota_bytes: Option<u64>,
    /// Where its mailboxes are kept.
    pub(crate) store: StoreChoice,
    /// What it lets out, if it is a bridge.
    pub(crate) bridge: Option<BridgeSettings>,
}

/// A node's folder.
#[derive(Debug, Clone)]
pub(crate) struct NodeFolder {
    path: PathBuf,
}

impl NodeFolder {
    pub(crate) fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Makes a node: keys, settings, network. Nothing is registered yet.
    pub(crate) fn create(
        &self,
        network: &NetworkFile,
        place: NodePlace,
        password: &str,
    ) -> Outcome<(Settings, NodeKeys)> {
        if self.exists() {
            return Err(Failure::error(format!(
                "there is a node in {} already",
                self.path.display()
            )));
        }
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.path)
            .context(self.path.display())?;
        let keys = keys::create(&self.path, password).context(self.path.display())?;
        self.set_network(network)?;
        let mailbox = MailboxConfig::default();
        let settings = Settings {
            version: FORMAT,
            address: keys.wallet.address(),
            password_is_empty: password.is_empty(),
            listen: place.listen,
            admin: place.admin,
            endpoint: (place.endpoint).unwrap_or_else(|| format!("http://{}", place.listen)),
            mailbox: mailbox.enabled,
            quota_bytes: place.quota_bytes.unwrap_or(mailbox.quota_bytes),
            ttl_ms: mailbox.ttl_ms,
            submit_routes: true,
            store: place.store.servers,
            store_replicas: place.store.replicas.max(one_replica()),
            bridge: place.bridge,
        };
        // Last: a folder with settings is a whole one.
        self.set_settings(&settings)?;
        Ok((settings, keys))
    }

    /// Writes the settings; a node that runs goes by them when it is started again.
    pub(crate) fn set_settings(&self, settings: &Settings) -> Outcome<()> {
        let path = self.settings_path();
        write_private(&path, &serde_json::to_vec_pretty(settings)?).context(path.display())
    }

    pub(crate) fn exists(&self) -> bool {
        self.settings_path().exists()
    }

    pub(crate) fn settings(&self) -> Outcome<Settings> {
        let path = self.settings_path();
        if !path.exists() {
            let advice = "make one with `conet node init`";
            return Err(Failure::new(
                Exit::NotFound,
                format!("there is no node in {}: {advice}", self.path.display()),
            ));
        }
        let settings: Settings = serde_json::from_slice(&fs::read(&path).context(path.display())?)
            .context(path.display())?;
        if settings.version != FORMAT {
            let version = settings.version;
            return Err(Failure::error(format!(
                "{} has format {version}: update this program",
                path.display()
            )));
        }
        Ok(settings)
    }

    pub(crate) fn network(&self) -> Outcome<NetworkFile> {
        let path = self.network_path();
        NetworkFile::load(&path).context(path.display())
    }

    pub(crate) fn set_network(&self, network: &NetworkFile) -> Outcome<()> {
        let path = self.network_path();
        network.save(&path).context(path.display())
    }

    /// The process that runs the node now, if any does.
    pub(crate) fn running(&self) -> Option<u32> {
        ProcessLock::holder(&self.lock_path())
    }

    /// Runs the node until `stop`.
    pub(crate) async fn run(
        &self,
        settings: Settings,
        keys: NodeKeys,
        stop: CancellationToken,
    ) -> Outcome<()> {
        let _lock = match ProcessLock::take(&self.lock_path()).context(self.path.display())? {
            Taken::Ours(lock) => lock,
            Taken::Held(id) => {
                let id = id.map_or_else(String::new, |id| format!(" (process {id})"));
                return Err(Failure::error(format!(
                    "the node in {} runs already{id}",
                    self.path.display()
                )));
            }
        };
        let network = self.network()?;
        let store = settings.mailbox_store();
        let bridge = settings.bridge.as_ref();
        let price_wei = bridge.map_or(0, |bridge| bridge.price_wei);
        let bridge = bridge.map(BridgeSettings::config).transpose()?;
        let config = NodeConfig {
            listen: settings.listen,
            admin_listen: settings.admin,
            data_dir: self.path.join("data"),
            endpoint: settings.endpoint,
            mailbox: MailboxConfig {
                enabled: settings.mailbox,
                quota_bytes: settings.quota_bytes,
                ttl_ms: settings.ttl_ms,
                stamp_effort: network.stamp_effort.max(1),
                store,
            },
            plain_intake: network.plain_intake_path.clone(),
            submit_routes: settings.submit_routes,
            bridge,
            price_wei,
            network,
        };
        Ok(node::run(config, keys, stop).await?)
    }

    fn settings_path(&self) -> PathBuf {
        self.path.join("node.json")
    }

    fn network_path(&self) -> PathBuf {
        self.path.join("network.json")
    }

    fn lock_path(&self) -> PathBuf {
        self.path.join("node.lock")
    }
}
