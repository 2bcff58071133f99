//! The ledger as CONET sees it: which nodes there are, and where each wallet's packets go.
//!
//! - [`NetworkFile`]: which chain, contracts and RPC servers.
//! - [`Index`]: nodes and routes, looked up in memory, kept on disk, shared by the processes of a user.
//! - [`Syncer`]: reads the contracts' events into the index, whatever RPC servers do.
//! - [`Registrar`] and [`deploy`]: transactions.
//! - [`SignedRoute`], [`NodeStatement`], [`RouteBatch`]: what wallets sign for the ledger.
//!
//! It speaks standard JSON-RPC to any EVM chain, by alloy, of which nothing shows in its interface.
//!
//! **Invariant:** look-ups never speak to an RPC server and never wait for one: the network goes on
//! delivering while all of them are dead. **Invariant:** no RPC server is asked about a single wallet,
//! except by the calls of [`Registrar`] that say so.
//!
//! ```no_run
//! use std::path::Path;
//!
//! use ledger::{Index, NetworkFile, Syncer};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let network = NetworkFile::load(Path::new("devnet.json"))?;
//! let index = Index::open(Path::new("index.sqlite"), &network)?;
//! let syncer = Syncer::new(index.clone(), &network)?;
//! tokio::spawn(syncer.run(std::future::pending()));
//!
//! let mut changes = index.subscribe();
//! changes.changed().await?;
//! for node in index.nodes().iter() {
//!     println!("{} at {}", node.address, node.endpoint);
//! }
//! # Ok(())
//! # }
//! ```

mod batch;
mod contracts;
mod event;
#[cfg(test)]
mod fake_server;
mod index;
mod name;
mod network;
mod node;
mod offer;
mod registrar;
mod route;
mod rpc;
mod sync;
#[cfg(test)]
mod test_data;

pub use batch::{
    BatchError, MAX_BATCH_BYTES, MAX_BATCH_ROUTES, RouteBatch, batch_leaf, proof_holds,
};
pub use index::{
    Claim, Claims, Index, IndexError, IndexSize, MAX_CLAIMS, Mailboxes, NAME_GRACE_S, NameRecord,
    ResolveError, SyncedTo,
};
pub use name::{
    MAX_LABEL_BYTES, MAX_NAME_LABELS, MAX_NAME_TEXT_BYTES, MIN_LABEL_CHARS, Name, NameError,
    TOP_LABEL,
};
pub use network::{
    BootstrapNode, Contracts, DEV_CHAIN_ID, DevKeys, MAX_BOOTSTRAP_NODES, MAX_CONFIRMATIONS,
    MAX_ENDPOINT_BYTES, MAX_NAME_BYTES, MAX_NETWORK_FILE_BYTES, MAX_RPC_URL_BYTES, MAX_RPC_URLS,
    NameContracts, NetworkFile, NetworkFileError,
};
pub use node::{
    MAX_NODE_CERTIFICATE_BYTES, MAX_PROFILE_BYTES, NodeError, NodeRecord, NodeStatement,
    SignedNode, node_digest,
};
pub use offer::{BridgeOffer, MAX_POLICY_BYTES, OfferError};
pub use registrar::{
    Deployed, DeploymentTerms, NameClaim, NameTerms, Receipt, Registrar, Revert, SubmitError,
    deploy, deploy_names, deploy_offers,
};
pub use route::{
    MAX_KEY_IDS, MAX_MAILBOXES, RouteError, RouteRecord, SignedClear, SignedRoute, clear_digest,
    route_digest,
};
pub use rpc::RpcFailure;
pub use sync::{ServerFailure, SyncError, SyncReport, Syncer};
