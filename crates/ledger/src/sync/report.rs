//! What a pass did, or why it failed.

use std::fmt;

use crate::{index::IndexError, rpc::RpcFailure};

/// What a call of [`Syncer::sync_once`](crate::Syncer::sync_once) did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SyncReport {
    /// The last block read; none where the start block doesn't exist yet.
    pub block: Option<u64>,
    /// The newest block of the server that was read from.
    pub head: u64,
    /// Blocks read now.
    pub blocks: u64,
    /// Changes of nodes and routes read now.
    pub events: u64,
    /// The block that was rolled back to, where the chain was reorganised.
    pub rolled_back_to: Option<u64>,
    /// The index was emptied because the chain is another one.
    pub rebuilt: bool,
    /// Nothing is left to read; else call again.
    pub caught_up: bool,
    /// Every server that answered is behind what the index holds.
    pub lagging: bool,
    /// Another process is syncing the same file: it was left to it.
    pub overtaken: bool,
}

/// A server and why it could not be used.
#[derive(Debug)]
pub struct ServerFailure {
    /// Host and port of the server.
    pub server: String,
    /// Why.
    pub failure: RpcFailure,
}

/// Why a pass failed. The index stays usable as it is.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SyncError {
    /// None of the RPC servers could be used.
    #[error("no RPC server could be used: {}", Listed(.0))]
    NoServer(Vec<ServerFailure>),
    /// The servers are on another chain than the index; if that lasts, the index is rebuilt.
    #[error(
        "the RPC servers serve another chain than the index was read from: waiting to see whether it lasts"
    )]
    OtherChain,
    /// An RPC URL of the network file can't be used.
    #[error("an RPC URL of the network file can't be used")]
    UnusableUrl(#[source] RpcFailure),
    /// The index can't be read or written.
    #[error(transparent)]
    Index(#[from] IndexError),
}

/// Failures in one line.
pub(crate) struct Listed<'a>(pub(crate) &'a [ServerFailure]);

impl fmt::Display for Listed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, it) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            write!(f, "{comma}{}: {}", it.server, it.failure)?;
        }
        Ok(())
    }
}
