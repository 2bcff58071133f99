//! What a connection through the bridge is, and why there is none.

use std::io;

use thiserror::Error;

use crate::limits::{Busy, Permit};
use crate::policy::Denial;
use crate::resolve::{LookUpError, ResolveError};

/// A connection, and the permit that counts it until it is dropped.
#[derive(Debug)]
pub struct Connection<S> {
    /// The connection.
    pub stream: S,
    /// Keeps the connection counted among its client's; to be dropped with the connection.
    pub permit: Permit,
}

/// Whose fault it is that there is no connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Blame {
    /// Whoever asked: asking for it again, here, is of no use.
    Client,
    /// The host that was asked for, or the way to it.
    Host,
    /// The bridge: another may do better.
    Bridge,
}

/// Why there is no connection. Says nothing of the target, so that it can be logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The bridge does not reach this target.
    #[error("denied: {0}")]
    Denied(Denial),
    /// The name does not exist or has no addresses.
    #[error("there is no such host")]
    NoSuchHost,
    /// The host refused the connection.
    #[error("the host refused the connection")]
    Refused,
    /// There is no way to the host.
    #[error("there is no way to the host")]
    Unreachable,
    /// The host did not answer in time.
    #[error("the host did not answer in time")]
    TimedOut,
    /// No name server gave an answer in time.
    #[error("no name server gave an answer")]
    ResolverFailed,
    /// A limit is reached.
    #[error("busy: {0}")]
    Busy(#[from] Busy),
    /// The bridge's machine gave no socket.
    #[error("the bridge's machine gave no socket: {0}")]
    Socket(io::ErrorKind),
}

impl ConnectError {
    /// Whose fault it is.
    #[must_use]
    pub fn blame(&self) -> Blame {
        match self {
            Self::Denied(Denial::Rule | Denial::Own) => Blame::Bridge,
            Self::Denied(_) => Blame::Client,
            Self::NoSuchHost | Self::Refused | Self::Unreachable | Self::TimedOut => Blame::Host,
            Self::Busy(busy) if busy.is_of_client() => Blame::Client,
            Self::ResolverFailed | Self::Busy(_) | Self::Socket(_) => Blame::Bridge,
        }
    }
}

impl From<LookUpError> for ConnectError {
    fn from(error: LookUpError) -> Self {
        match error {
            LookUpError::Denied(denial) => Self::Denied(denial),
            LookUpError::Resolve(ResolveError::NoSuchHost) => Self::NoSuchHost,
            LookUpError::Resolve(ResolveError::Failed) => Self::ResolverFailed,
        }
    }
}
