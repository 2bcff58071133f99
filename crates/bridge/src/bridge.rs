//! The bridge: limits, policy, resolver and dialling in their order.

use core::net::IpAddr;
use core::pin::pin;
use core::time::Duration;
use std::sync::Arc;

use futures_util::future::{Either, select};
use protocol::target::Target;

use crate::connect::{ConnectError, Connection};
use crate::dial::dial;
use crate::limits::{Gate, Limits};
use crate::outside::{Machine, Outside};
use crate::policy::{AllowedTarget, Checked, Exit, Policy};
use crate::resolve::{
    LookUpError, NameServers, Resolve, ResolveError, SetupError, WebResolver, look_up,
};
use crate::udp::{AssociateError, Association};

/// What a bridge is made of.
#[derive(Debug, Clone, Default)]
pub struct Config {
    /// What it lets out.
    pub policy: Policy,
    /// What it lets out all the same.
    pub allow: Vec<AllowedTarget>,
    /// Addresses of its own that its machine does not know, such as the public one in front of a translator. Those that the
    /// machine knows are found by themselves.
    pub own: Vec<IpAddr>,
    /// How much it lets out.
    pub limits: Limits,
    /// Whom it asks for names.
    pub name_servers: NameServers,
    /// How long it waits.
    pub timeouts: Timeouts,
}

/// How long a bridge waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// For the addresses of a name.
    pub resolve: Duration,
    /// For a connection, over all addresses.
    pub connect: Duration,
    /// For bytes of a connection, in either direction. The bridge only says it; whoever moves the bytes applies it.
    pub idle: Duration,
    /// For datagrams of an association, in either direction.
    pub datagram_idle: Duration,
}

/// A way to the web for others.
pub struct Bridge<O: Outside = Machine> {
    core: Arc<Core<O>>,
}

/// What the bridge and its associations share.
pub(crate) struct Core<O> {
    pub(crate) exit: Exit,
    pub(crate) resolver: Arc<dyn Resolve>,
    pub(crate) outside: O,
    pub(crate) gate: Gate,
    pub(crate) timeouts: Timeouts,
}

impl Default for Timeouts {
    /// Idle connections live for days: that is what the network promises of its streams, and limits keep them few.
    fn default() -> Self {
        Self {
            resolve: Duration::from_secs(5),
            connect: Duration::from_secs(10),
            idle: Duration::from_secs(3 * 24 * 3600),
            datagram_idle: Duration::from_secs(120),
        }
    }
}

impl Bridge {
    /// Makes a bridge on this machine. Runs in a tokio runtime.
    ///
    /// # Errors
    /// When no name server is known.
    pub fn new(config: Config) -> Result<Self, SetupError> {
        let resolver = WebResolver::new(&config.name_servers)?;
        Ok(Self::with(config, Arc::new(resolver), Machine))
    }
}

impl<O: Outside> Bridge<O> {
    /// Makes a bridge of the given parts; the configured name servers are not used.
    #[must_use]
    pub fn with(config: Config, resolver: Arc<dyn Resolve>, outside: O) -> Self {
        let core = Core {
            gate: Gate::new(config.limits, outside.now()),
            exit: Exit::new(config.policy, config.allow, config.own),
            resolver,
            outside,
            timeouts: config.timeouts,
        };
        Self {
            core: Arc::new(core),
        }
    }

    /// Connects a client to a target.
    ///
    /// Each call is judged by itself: a redirect that a web site answers with comes back as another target.
    ///
    /// # Errors
    /// A limit, the policy, the resolver or the host; [`ConnectError::blame`] says whose fault it is.
    ///
    /// # Cancel safety
    /// Nothing stays behind when the future is dropped.
    pub async fn connect(
        &self,
        client: u64,
        target: &Target,
    ) -> Result<Connection<O::Stream>, ConnectError> {
        let core = &*self.core;
        let pending = core.gate.admit(client, core.outside.now())?;
        let addresses = core.look_up(target).await?;
        let stream = dial(&core.outside, &addresses, core.timeouts.connect).await?;
        Ok(Connection {
            stream,
            permit: pending.open(),
        })
    }

    /// Opens an association for datagrams of a client.
    ///
    /// # Errors
    /// When a limit is reached or the machine gives no socket.
    pub async fn associate(&self, client: u64) -> Result<Association<O>, AssociateError> {
        Association::open(Arc::clone(&self.core), client).await
    }

    /// The operator's rules; their text is what the bridge announces.
    #[must_use]
    pub fn policy(&self) -> &Policy {
        self.core.exit.policy()
    }

    /// How long a connection may carry nothing before whoever moves its bytes closes it.
    #[must_use]
    pub fn idle_timeout(&self) -> Duration {
        self.core.timeouts.idle
    }
}

impl<O: Outside> Clone for Bridge<O> {
    fn clone(&self) -> Self {
        Self {
            core: Arc::clone(&self.core),
        }
    }
}

impl<O: Outside> core::fmt::Debug for Bridge<O> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Bridge").finish_non_exhaustive()
    }
}

impl<O: Outside> Core<O> {
    /// Finds what a target may be reached at, in bounded time.
    pub(crate) async fn look_up(&self, target: &Target) -> Result<Vec<Checked>, LookUpError> {
        let found = pin!(look_up(&self.exit, &*self.resolver, target));
        let deadline = pin!(self.outside.sleep(self.timeouts.resolve));
        match select(found, deadline).await {
            Either::Left((found, _)) => found,
            Either::Right(_) => Err(LookUpError::Resolve(ResolveError::Failed)),
        }
    }
}
