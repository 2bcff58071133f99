//! The local chain of CONET: a single-process EVM chain behind standard JSON-RPC.
//!
//! It runs transactions on `revm` under the rules of Ethereum's mainnet (Osaka), keeps
//! blocks and state in a directory of its own, and serves JSON-RPC 2.0 over HTTP to viem,
//! ethers, alloy, `cast` and MetaMask alike. Nothing else is offered: what works here
//! works on any EVM chain by its RPC URL.
//!
//! It is for one machine: there is one block producer, no peers, no proof of anything,
//! and no authentication. It never holds a key, signs nothing (`eth_accounts` is empty),
//! and lets no web page in.
//!
//! # What is as on mainnet
//!
//! Headers, hashes, state root, transactions root, receipts root, logs bloom, the base
//! fee (EIP-1559), gas, precompiles, legacy, EIP-2930 and EIP-1559 transactions, and the
//! words of the errors, which follow geth.
//!
//! # What is not
//!
//! - Blob and set-code transactions are refused.
//! - Two blocks of one second share their timestamp; `PREVRANDAO` is no randomness.
//! - There are no withdrawals, requests, beacon roots or system contracts. Fees go to the
//!   zero address.
//! - `safe` and `finalized` are the newest block, as nothing can undo it; with
//!   [`ChainConfig::test_controls`] they are [`MAX_REORG_BLOCKS`] behind it.
//! - The pending block lists transactions but is not executed, and state "at pending" is
//!   that of the newest block.
//! - State is readable for the newest block and the [`HISTORY_BLOCKS`] before it. Blocks,
//!   transactions and logs are readable for ever.
//! - With `test_controls`, `evm_mine [timestamp]` makes a block and `conet_reorg depth`
//!   drops some.
//!
//! # Example
//!
//! ```no_run
//! use chain::{Chain, ChainConfig};
//! use tokio_util::sync::CancellationToken;
//!
//! # async fn run() -> Result<(), chain::ChainError> {
//! let config = ChainConfig {
//!     data_dir: Some("chain-data".into()),
//!     ..ChainConfig::default()
//! };
//! let running = Chain::start(config, CancellationToken::new()).await?;
//! println!("point your wallet at {}", running.rpc_url());
//! running.stop().await;
//! # Ok(())
//! # }
//! ```

mod chain;
mod config;
mod engine;
mod error;
mod rpc;
mod server;
mod state;
mod store;

pub use chain::{Chain, RunningChain};
pub use config::{
    BlockTime, ChainConfig, ConfigError, DEFAULT_CHAIN_ID, DEFAULT_GAS_LIMIT, MAX_CHAIN_ID,
    MAX_GAS_LIMIT, MIN_BLOCK_INTERVAL, MIN_GAS_LIMIT,
};
pub use engine::{EngineError, HISTORY_BLOCKS, MAX_REORG_BLOCKS, MachineError};
pub use error::ChainError;
pub use store::StoreError;
