//! What a gateway is told at its start.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use crate::bypass::Bypass;
use crate::signing::Signer;

/// Clients served at once by default; each costs a descriptor or two, and memory only while bytes move.
pub const DEFAULT_MAX_CLIENTS: usize = 4096;
/// Places for datagrams at once by default; each costs up to four sockets and 200 KiB.
pub const DEFAULT_MAX_ASSOCIATIONS: usize = 256;
/// How long a client of SOCKS may take for its handshake by default.
pub const DEFAULT_HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(15);
/// How long a client of the HTTP proxy may take for the head of its next request by default, idle time included.
/// Browsers keep their connections for about as long.
pub const DEFAULT_HEAD_TIMEOUT: Duration = Duration::from_secs(60);
/// How long opening a connection may take by default, with all tries.
pub const DEFAULT_CONNECT_TIMEOUT: Duration = Duration::from_secs(60);

/// The listeners and limits of a gateway.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where SOCKS5 is served, if at all.
    pub socks: Option<SocketAddr>,
    /// Where the HTTP proxy, the PAC file and the status page are served, if at all.
    pub http: Option<SocketAddr>,
    /// Whether other machines may use the listeners. Whoever reaches them leaves through this machine's account.
    pub allow_remote: bool,
    /// What does not go through the network.
    pub bypass: Bypass,
    /// Who signs requests to services of the network, if anybody.
    pub signer: Option<Arc<Signer>>,
    /// Clients at once, of all listeners.
    pub max_clients: usize,
    /// Places for datagrams at once.
    pub max_associations: usize,
    /// How long a handshake of SOCKS may take.
    pub handshake_timeout: Duration,
    /// How long it may take from one request to the end of the next one's head.
    pub head_timeout: Duration,
    /// How long opening a connection may take, with all tries.
    pub connect_timeout: Duration,
}

impl Default for Config {
    /// SOCKS5 on 127.0.0.1:1080, HTTP on 127.0.0.1:8080, no bypass.
    fn default() -> Self {
        let on = |port| Some(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
        Self {
            socks: on(1080),
            http: on(8080),
            allow_remote: false,
            bypass: Bypass::default(),
            signer: None,
            max_clients: DEFAULT_MAX_CLIENTS,
            max_associations: DEFAULT_MAX_ASSOCIATIONS,
            handshake_timeout: DEFAULT_HANDSHAKE_TIMEOUT,
            head_timeout: DEFAULT_HEAD_TIMEOUT,
            connect_timeout: DEFAULT_CONNECT_TIMEOUT,
        }
    }
}
