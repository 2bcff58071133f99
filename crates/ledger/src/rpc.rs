//! Speaking to JSON-RPC servers: one bounded HTTP transport, one health record for each.
//!
//! Everything that a server answers is untrusted. Its sizes and times are bounded in
//! [`transport`], its chain is checked in [`endpoint`]; what it says of blocks and logs is checked by
//! whoever asks.

mod endpoint;
mod transport;

pub(crate) use endpoint::{BlockRef, Endpoint, EndpointPool};

/// Why an RPC server's answer could not be had or used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RpcFailure {
    /// The URL is none, or HTTP can't be spoken at all.
    #[error("the RPC URL can't be used")]
    Unusable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The server can't be reached or broke off.
    #[error("the RPC server can't be reached")]
    Unreachable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The server did not answer in time.
    #[error("the RPC server did not answer in time")]
    TimedOut,
    /// The server answered with an HTTP error.
    #[error("the RPC server answered with HTTP status {status}")]
    Http {
        /// The HTTP status.
        status: u16,
    },
    /// The answer is longer than this crate reads.
    #[error("the RPC server's answer is too long")]
    TooLong,
    /// The answer is no JSON-RPC, or says what can't be.
    #[error("the RPC server's answer is malformed: {what}")]
    Malformed {
        /// What is wrong with it.
        what: &'static str,
    },
    /// The server answered with a JSON-RPC error.
    #[error("the RPC server answered with error {code}: {message}")]
    Refused {
        /// The JSON-RPC error code.
        code: i64,
        /// The message, at most 256 characters, without control characters.
        message: String,
        /// The data of a reverted call, at most 4 KiB; empty where there is none.
        revert_data: Vec<u8>,
    },
    /// The server serves another chain.
    #[error("the RPC server is of chain {found}, not of chain {expected}: check the network file")]
    WrongChain {
        /// The chain ID of the network file.
        expected: u64,
        /// The chain ID the server states.
        found: u64,
    },
}
