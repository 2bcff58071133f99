//! stub docs

mod batch;
mod contracts;
mod event;
mod index;
mod network;
mod node;
mod route;
mod rpc;
#[cfg(test)]
mod test_data;

pub use batch::{BatchError, MAX_BATCH_BYTES, MAX_BATCH_ROUTES, RouteBatch, batch_leaf, proof_holds};
pub use index::{Claim, Claims, Index, IndexError, IndexSize, MAX_CLAIMS, Mailboxes, SyncedTo};
pub use network::{
    BootstrapNode, Contracts, DEV_CHAIN_ID, DevKeys, MAX_BOOTSTRAP_NODES, MAX_CONFIRMATIONS,
    MAX_ENDPOINT_BYTES, MAX_NAME_BYTES, MAX_NETWORK_FILE_BYTES, MAX_RPC_URL_BYTES, MAX_RPC_URLS,
    NetworkFile, NetworkFileError,
};
pub use node::{
    MAX_NODE_CERTIFICATE_BYTES, MAX_PROFILE_BYTES, NodeError, NodeRecord, NodeStatement,
    SignedNode, node_digest,
};
pub use route::{
    MAX_KEY_IDS, MAX_MAILBOXES, RouteError, RouteRecord, SignedClear, SignedRoute, clear_digest,
    route_digest,
};
pub use rpc::RpcFailure;
