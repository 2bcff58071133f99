//! Names of the public internet, asked for with hickory.
//!
//! hickory says at `debug` which names it is asked for. A bridge keeps no record of destinations at any level, so everything
//! that hickory does, its background tasks included, runs without a subscriber: no setting of the node's log can bring
//! those lines back.

use core::fmt;
use core::future::Future;
use core::net::{IpAddr, SocketAddr};
use core::pin::Pin;
use core::time::Duration;
use std::io;

use futures_util::future::{Either, select};
use hickory_resolver::config::{
    ConnectionConfig, NameServerConfig, ProtocolConfig, ResolveHosts, ResolverConfig,
};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::{RuntimeProvider, Spawn, TokioHandle, TokioRuntimeProvider};
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use hickory_resolver::system_conf::read_system_conf;
use hickory_resolver::{Resolver, ResolverBuilder};
use protocol::target::HostName;
use thiserror::Error;
use tracing::Dispatch;
use tracing::instrument::WithSubscriber;

use super::{Resolution, Resolve, ResolveError};

/// One question to one name server takes this long at most.
const QUESTION_TIMEOUT: Duration = Duration::from_secs(2);
/// A question is asked again this often.
const QUESTION_RETRIES: usize = 1;
/// Answers kept at most.
const MAX_CACHED_ANSWERS: u64 = 4096;
/// An answer is kept this long at most, whatever its time to live: what is kept is also what somebody visited.
const MAX_CACHED: Duration = Duration::from_secs(300);
/// That a name does not exist is kept this long at most.
const MAX_CACHED_NEGATIVE: Duration = Duration::from_secs(30);
/// How long IPv6 addresses are waited for once IPv4 addresses are there (RFC 8305 section 3).
const RESOLUTION_DELAY: Duration = Duration::from_millis(50);
/// Questions under way over one connection to a name server.
const MAX_ACTIVE_QUESTIONS: usize = 1024;

/// Whom to ask.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum NameServers {
    /// Those of the system's configuration, without its search list and hosts file.
    #[default]
    System,
    /// These.
    Given(Vec<SocketAddr>),
}

/// Why there is no resolver.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SetupError {
    /// The list of name servers is empty, or the system's names none.
    #[error("no name server is configured; name one")]
    NoNameServer,
    /// The system's configuration can't be read.
    #[error("the system's configuration of name servers can't be read; name servers yourself")]
    System(#[source] NetError),
    /// The resolver refused its configuration.
    #[error("the resolver can't be started with these name servers")]
    Resolver(#[source] NetError),
}

/// Resolves names of the public internet.
pub struct WebResolver {
    resolver: Resolver<QuietRuntime>,
}

/// Tokio, for tasks that nobody hears.
#[derive(Clone, Default)]
struct QuietRuntime(TokioRuntimeProvider);

#[derive(Clone)]
struct QuietHandle(TokioHandle);

impl WebResolver {
    /// Makes a resolver.
    ///
    /// # Errors
    /// When no name server is known.
    pub fn new(servers: &NameServers) -> Result<Self, SetupError> {
        let servers = match servers {
            NameServers::Given(servers) => servers.iter().copied().map(name_server).collect(),
            NameServers::System => {
                let (config, _) = read_system_conf().map_err(SetupError::System)?;
                config.into_parts().2
            }
        };
        if servers.is_empty() {
            return Err(SetupError::NoNameServer);
        }
        // The search list stays away: a name means the same at every bridge.
        let config = ResolverConfig::from_name_servers(servers);
        let mut builder = Resolver::builder_with_config(config, QuietRuntime::default());
        set_options(&mut builder);
        let resolver = builder.build().map_err(SetupError::Resolver)?;
        Ok(Self { resolver })
    }

    async fn ask(&self, name: Name, family: RecordType) -> Result<Vec<IpAddr>, ResolveError> {
        let answer = self
            .resolver
            .lookup(name, family)
            .await
            .map_err(|error| why(&error))?;
        let addresses = answer
            .answers()
            .iter()
            .filter_map(|record| match &record.data {
                RData::A(address) => Some(IpAddr::V4(address.0)),
                RData::AAAA(address) => Some(IpAddr::V6(address.0)),
                _ => None,
            });
        Ok(addresses.collect())
    }

    async fn ask_both(&self, name: &HostName) -> Result<Vec<IpAddr>, ResolveError> {
        let mut full = Name::from_ascii(name.as_str()).map_err(|_| ResolveError::NoSuchHost)?;
        full.set_fqdn(true);
        let v4 = Box::pin(self.ask(full.clone(), RecordType::A));
        let v6 = Box::pin(self.ask(full, RecordType::AAAA));
        match select(v4, v6).await {
            Either::Left((Ok(v4), rest)) if !v4.is_empty() => {
                let v6 = tokio::time::timeout(RESOLUTION_DELAY, rest).await;
                join(Ok(v4), v6.unwrap_or_else(|_| Ok(Vec::new())))
            }
            // IPv4 is always waited for: many machines have IPv6 addresses of others only.
            Either::Left((v4, rest)) => join(v4, rest.await),
            Either::Right((v6, rest)) => join(rest.await, v6),
        }
    }
}

impl Resolve for WebResolver {
    fn resolve<'a>(&'a self, name: &'a HostName) -> Resolution<'a> {
        Box::pin(self.ask_both(name).with_subscriber(Dispatch::none()))
    }
}

impl fmt::Debug for WebResolver {
    /// Shows nothing: the cache knows names.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebResolver").finish_non_exhaustive()
    }
}

impl RuntimeProvider for QuietRuntime {
    type Handle = QuietHandle;
    type Timer = <TokioRuntimeProvider as RuntimeProvider>::Timer;
    type Udp = <TokioRuntimeProvider as RuntimeProvider>::Udp;
    type Tcp = <TokioRuntimeProvider as RuntimeProvider>::Tcp;

    fn create_handle(&self) -> QuietHandle {
        QuietHandle(self.0.create_handle())
    }

    fn connect_tcp(
        &self,
        server: SocketAddr,
        local: Option<SocketAddr>,
        timeout: Option<Duration>,
    ) -> Pin<Box<dyn Future<Output = io::Result<Self::Tcp>> + Send>> {
        self.0.connect_tcp(server, local, timeout)
    }

    fn bind_udp(
        &self,
        local: SocketAddr,
        server: SocketAddr,
    ) -> Pin<Box<dyn Future<Output = io::Result<Self::Udp>> + Send>> {
        self.0.bind_udp(local, server)
    }
}

impl Spawn for QuietHandle {
    fn spawn_bg(&mut self, task: impl Future<Output = ()> + Send + 'static) {
        self.0.spawn_bg(task.with_subscriber(Dispatch::none()));
    }
}

fn name_server(address: SocketAddr) -> NameServerConfig {
    let connections = [ProtocolConfig::Udp, ProtocolConfig::Tcp].map(|protocol| {
        let mut connection = ConnectionConfig::new(protocol);
        connection.port = address.port();
        connection
    });
    NameServerConfig::new(address.ip(), true, connections.into())
}

fn set_options(builder: &mut ResolverBuilder<QuietRuntime>) {
    let options = builder.options_mut();
    options.timeout = QUESTION_TIMEOUT;
    options.attempts = QUESTION_RETRIES;
    options.cache_size = MAX_CACHED_ANSWERS;
    options.positive_max_ttl = Some(MAX_CACHED);
    options.negative_max_ttl = Some(MAX_CACHED_NEGATIVE);
    options.max_active_requests = MAX_ACTIVE_QUESTIONS;
    options.preserve_intermediates = false;
    // What an operator calls his machines is his own business.
    options.use_hosts_file = ResolveHosts::Never;
    // Makes forged answers harder (draft-vixie-dnsext-dns0x20).
    options.case_randomization = true;
}

fn why(error: &NetError) -> ResolveError {
    if error.is_no_records_found() {
        ResolveError::NoSuchHost
    } else {
        ResolveError::Failed
    }
}

/// Joins what both families came to: addresses if there are any, else the failure that leaves more hope.
fn join(
    v4: Result<Vec<IpAddr>, ResolveError>,
    v6: Result<Vec<IpAddr>, ResolveError>,
) -> Result<Vec<IpAddr>, ResolveError> {
    match (v4, v6) {
        (Ok(v4), Ok(v6)) => Ok(v6.into_iter().chain(v4).collect()),
        (Ok(addresses), Err(error)) | (Err(error), Ok(addresses)) => {
            if addresses.is_empty() {
                Err(error)
            } else {
                Ok(addresses)
            }
        }
        (Err(ResolveError::NoSuchHost), Err(error)) | (Err(error), Err(_)) => Err(error),
    }
}
