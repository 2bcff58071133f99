//! Why a chain could not be started.

use crate::{config::ConfigError, engine::EngineError};
use std::{io, net::SocketAddr};

/// Why [`Chain::start`](crate::Chain::start) failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ChainError {
    /// The configuration can't be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The chain could not be opened or made.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The address could not be listened on.
    #[error("can't listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the operating system said.
        source: io::Error,
    },
    /// The thread that opens the chain came to harm.
    #[error("the chain's thread stopped")]
    Thread(#[from] tokio::task::JoinError),
}
