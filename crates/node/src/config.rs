//! What an operator sets, and the bounds that nobody sets.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use wallet::{SecretCertificate, WalletKey};

/// How long a request over a link may take for each hop that is left to it: the first of four waits
/// a minute, each later one less, so that who comes before can still answer that it was in vain.
pub(crate) const REQUEST_TIMEOUT_PER_HOP: Duration = Duration::from_secs(15);
/// How long a mailbox is waited for while there is another that may take the packet.
pub(crate) const FAIL_OVER_AFTER: Duration = Duration::from_secs(10);
/// How long a client may take to send a request's head.
pub(crate) const HEAD_TIMEOUT: Duration = Duration::from_secs(15);
/// The same while less than a quarter of all places is left.
pub(crate) const CROWDED_TIMEOUT: Duration = Duration::from_secs(3);
/// How long a client may take to send a body of at most a mebibyte.
pub(crate) const BODY_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a client may take nothing of what is written to it.
pub(crate) const WRITE_TIMEOUT: Duration = Duration::from_secs(60);
/// How often a silent event stream says that it is alive (an SSE comment).
pub(crate) const STREAM_COMMENT_EVERY: Duration = Duration::from_secs(25);
/// How long requests under way may take once the node stops.
pub(crate) const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);
/// A packet that is to be stored at most: the largest end-to-end packet.
pub(crate) const MAX_STORED_BYTES: usize = packet::SizeClass::M1.packet_bytes();
/// Connections at once; more wait in the kernel's queue.
pub(crate) const MAX_CONNECTIONS: usize = 16_384;
/// Sessions at once; the longest idle goes first.
pub(crate) const MAX_SESSIONS: usize = 100_000;
/// Nonces of commands remembered: about 24 MB.
pub(crate) const MAX_NONCES: usize = 1_000_000;
/// Delivery streams at once.
pub(crate) const MAX_STREAMS: usize = 50_000;

/// A node's settings.
#[derive(Debug, Clone)]
pub struct NodeConfig {
    /// Where clients and other nodes connect.
    pub listen: SocketAddr,
    /// Where health and metrics are served; keep it on loopback.
    pub admin_listen: SocketAddr,
    /// Where the node keeps its state.
    pub data_dir: PathBuf,
    /// The network that it belongs to.
    pub network: ledger::NetworkFile,
    /// The URL under which others reach it, as on the ledger.
    pub endpoint: String,
    /// Its mailboxes.
    pub mailbox: MailboxConfig,
    /// Path of the plain intake; `None` switches it off.
    pub plain_intake: Option<String>,
    /// Says whether it puts its accounts' routes on the ledger, and pays for it.
    pub submit_routes: bool,
    /// How it connects streams to hosts of the Web2; `None` if it is no bridge.
    ///
    /// What it announces on the ledger is the rules of its policy, not what it lets out besides.
    pub bridge: Option<bridge::Config>,
    /// What it asks as a bridge for each GiB that it carries, both directions together, wei; 0 for nothing.
    pub price_wei: u128,
}

/// Settings of a node's mailboxes.
#[derive(Debug, Clone)]
pub struct MailboxConfig {
    /// Says whether the node keeps mailboxes at all.
    pub enabled: bool,
    /// Bytes kept for one wallet.
    pub quota_bytes: u64,
    /// How long a packet is kept, in milliseconds.
    pub ttl_ms: u64,
    /// Effort of the stamp asked for opening an account and for queues past half their quota.
    pub stamp_effort: u32,
    /// Where packets and accounts are kept.
    pub store: MailboxStore,
}

/// Where a node keeps packets and accounts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum MailboxStore {
    /// In files below the node's data directory.
    #[default]
    Files,
    /// On NATS JetStream, shared by all processes that run under the node's key.
    Nats {
        /// The servers, as `nats://host:port`, separated by commas.
        servers: String,
        /// Servers that keep each packet: 1, 3 or 5.
        replicas: usize,
    },
}

impl Default for MailboxConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            quota_bytes: 256 << 20,
            ttl_ms: 14 * 86_400_000,
            stamp_effort: protocol::stamp::DEFAULT_EFFORT,
            store: MailboxStore::Files,
        }
    }
}

/// The secrets of a node.
#[derive(Debug)]
pub struct NodeKeys {
    /// The wallet that is the node's identity.
    pub wallet: WalletKey,
    /// Its certificate, bound on the ledger.
    pub certificate: SecretCertificate,
}

impl NodeKeys {
    /// The X25519 secret of sessions and links.
    #[must_use]
    pub fn transport_secret(&self) -> zeroize::Zeroizing<[u8; 32]> {
        self.wallet.derive("node/transport")
    }

    /// The public half of it, as the ledger names it.
    #[must_use]
    pub fn transport_key(&self) -> [u8; 32] {
        protocol::link::public_key(&self.transport_secret())
    }
}
