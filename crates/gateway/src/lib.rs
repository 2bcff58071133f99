//! The local proxy: SOCKS5 and HTTP listeners over an abstract way out.
//!
//! Programs that know nothing of CONET connect to these listeners; what they ask for goes through an [`Outbound`], or by a
//! [`Bypass`] rule directly. This crate never resolves a name that goes through the network, never writes down where a
//! connection goes, and knows no packets: whoever starts a [`Gateway`] brings the way out along, and the wallet of whoever
//! signs requests to services, if anybody does ([`Signer`]).
//!
//! The main types, in the order a connection meets them:
//!
//! * [`Gateway`]: the listeners, by a [`Config`];
//! * [`socks::message`]: what SOCKS clients say;
//! * [`Bypass`]: what does not go through the network;
//! * [`Outbound`], [`Split`], [`Striped`], [`Direct`]: the ways out, and [`ConnectError`]: why there was none;
//! * [`Signer`], [`SiteIdentity`]: who a person is to the services of the network;
//! * [`stripes::Stripes`]: which bridge a connection takes;
//! * [`Counters`]: what the status page shows.
//!
//! ```no_run
//! use std::sync::Arc;
//! use gateway::{Config, Direct, Gateway};
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let gateway = Gateway::bind(Config::default(), Arc::new(Direct)).await?;
//! let stop = tokio_util::sync::CancellationToken::new();
//! gateway.run(stop).await;
//! # Ok(())
//! # }
//! ```

mod accept;
mod bypass;
mod config;
mod counters;
mod http;
mod lifeline;
mod outbound;
mod pac;
mod signing;
pub mod socks;
mod splice;
pub mod stripes;
mod ways;

pub use bypass::{Bypass, MAX_RULES, Rule, RuleError};
pub use config::{
    Config, DEFAULT_CONNECT_TIMEOUT, DEFAULT_HANDSHAKE_TIMEOUT, DEFAULT_HEAD_TIMEOUT,
    DEFAULT_MAX_ASSOCIATIONS, DEFAULT_MAX_CLIENTS,
};
pub use counters::{Counted, Counters, Flow, MAX_COUNTED_BRIDGES};
pub use outbound::{
    Ask, Associated, Blame, BridgeStatus, Bridges, ConnectError, Connected, DEFAULT_TRY_TIMEOUT,
    DatagramError, Datagrams, Direct, Duplex, Isolation, IsolationKey, MAX_DATAGRAM_BYTES,
    MAX_DIRECT_ADDRESSES, MAX_ISOLATION_BYTES, Outbound, OutboundStatus, Services, Split, Striped,
    is_service,
};

pub use signing::{
    DEFAULT_MAX_SPOOLED_BYTES, MAX_BODIES_KEPT, MAX_BODY_IN_MEMORY_BYTES, Signer, SigningError,
    SiteIdentity,
};

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use thiserror::Error;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::http::Http;
use accept::{Doorman, MAX_FAREWELLS};
use socks::Socks;
use ways::Ways;

/// The listeners, bound and not yet serving.
pub struct Gateway {
    config: Config,
    ways: Arc<Ways>,
    socks: Option<TcpListener>,
    http: Option<TcpListener>,
}

/// Why a gateway does not start.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BindError {
    /// The address is not a loopback one, and other machines were not let in on purpose.
    #[error("{0} is open to other machines: bind 127.0.0.1 or [::1], or allow remote clients")]
    NotLoopback(SocketAddr),
    /// The address can't be had.
    #[error("{address} can't be listened on: choose another port, or end who has it")]
    Unavailable {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
}

impl Gateway {
    /// Binds the listeners. From then on clients can connect, and are served once it runs.
    ///
    /// # Errors
    ///
    /// An address that other machines reach, unless [`Config::allow_remote`] is set, and what the system refuses.
    pub async fn bind(config: Config, outbound: Arc<dyn Outbound>) -> Result<Self, BindError> {
        let socks = listen(config.socks, config.allow_remote).await?;
        let http = listen(config.http, config.allow_remote).await?;
        let ways = Arc::new(Ways {
            outbound,
            bypass: config.bypass.clone(),
            counters: Arc::default(),
            connect_timeout: config.connect_timeout,
        });
        Ok(Self {
            config,
            ways,
            socks,
            http,
        })
    }

    /// Where SOCKS5 is served; the port is the real one where 0 was asked for.
    #[must_use]
    pub fn socks_address(&self) -> Option<SocketAddr> {
        self.socks.as_ref()?.local_addr().ok()
    }

    /// Where the HTTP proxy is served.
    #[must_use]
    pub fn http_address(&self) -> Option<SocketAddr> {
        self.http.as_ref()?.local_addr().ok()
    }

    /// What went through it.
    #[must_use]
    pub fn counters(&self) -> Arc<Counters> {
        Arc::clone(&self.ways.counters)
    }

    /// Serves until it is stopped; then resets what is open and returns when all of it is gone.
    pub async fn run(self, stop: CancellationToken) {
        let doorman = Doorman {
            stop,
            tasks: TaskTracker::new(),
            places: Arc::new(Semaphore::new(self.config.max_clients)),
            farewells: Arc::new(Semaphore::new(MAX_FAREWELLS)),
            counters: self.counters(),
        };
        tokio::join!(self.serve_socks(&doorman), self.serve_http(&doorman));
        doorman.tasks.close();
        doorman.tasks.wait().await;
    }

    async fn serve_socks(&self, doorman: &Doorman) {
        let Some(listener) = &self.socks else { return };
        let socks = Arc::new(Socks {
            ways: Arc::clone(&self.ways),
            handshake_timeout: self.config.handshake_timeout,
            associations: Arc::new(Semaphore::new(self.config.max_associations)),
        });
        let serve = |socket, from, place| {
            let socks = Arc::clone(&socks);
            async move {
                socks.serve(socket, from).await;
                drop(place);
            }
        };
        doorman.accept(listener, socks::FULL, serve).await;
    }

    async fn serve_http(&self, doorman: &Doorman) {
        let (Some(listener), Some(address)) = (&self.http, self.http_address()) else {
            return;
        };
        let http = Arc::new(Http {
            ways: Arc::clone(&self.ways),
            doorman: doorman.clone(),
            head_timeout: self.config.head_timeout,
            socks: self.socks_address(),
            http: address,
            allow_remote: self.config.allow_remote,
            signer: self.config.signer.clone(),
        });
        let serve = |socket, from, place| Arc::clone(&http).serve(socket, from, place);
        doorman.accept(listener, self::http::FULL, serve).await;
    }
}

async fn listen(
    address: Option<SocketAddr>,
    allow_remote: bool,
) -> Result<Option<TcpListener>, BindError> {
    let Some(address) = address else {
        return Ok(None);
    };
    if !allow_remote && !address.ip().to_canonical().is_loopback() {
        return Err(BindError::NotLoopback(address));
    }
    match TcpListener::bind(address).await {
        Ok(listener) => Ok(Some(listener)),
        Err(source) => Err(BindError::Unavailable { address, source }),
    }
}
