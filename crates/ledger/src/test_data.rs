//! What the tests of several modules build on.

use wallet::{Fingerprint, KeyId, WalletAddress, WalletKey};

use crate::{Contracts, NetworkFile, NodeStatement, RouteRecord, SignedRoute};

pub(crate) const CHAIN: u64 = 31_337;
pub(crate) const NODE_REGISTRY: WalletAddress = WalletAddress::from_bytes([0xa1; 20]);
pub(crate) const ROUTE_REGISTRY: WalletAddress = WalletAddress::from_bytes([0xa2; 20]);

pub(crate) fn key(number: u8) -> WalletKey {
    let mut secret = [0; 32];
    secret[30] = 1;
    secret[31] = number;
    WalletKey::from_bytes(secret).unwrap()
}

pub(crate) fn route(key: &WalletKey, sequence: u64, expiry_s: u64) -> RouteRecord {
    // No key ID is zero.
    let first = key.address().as_bytes()[0].max(1);
    RouteRecord {
        wallet: key.address(),
        fingerprint: Fingerprint::V6([first; 32]),
        key_ids: vec![
            KeyId::from_bytes([first; 8]),
            KeyId::from_bytes([first, 1, 1, 1, 1, 1, 1, 1]),
        ],
        mailboxes: vec![
            WalletAddress::from_bytes([7; 20]),
            WalletAddress::from_bytes([8; 20]),
        ],
        sequence,
        expiry_s,
    }
}

pub(crate) fn signed_route(key: &WalletKey, sequence: u64, expiry_s: u64) -> SignedRoute {
    SignedRoute::sign(route(key, sequence, expiry_s), key, CHAIN, ROUTE_REGISTRY).unwrap()
}

pub(crate) fn statement(operator: WalletAddress, nonce: u64) -> NodeStatement {
    NodeStatement {
        operator,
        transport_key: [3; 32],
        certificate: vec![0xc6; 100],
        endpoint: "http://127.0.0.1:4001".into(),
        profile: "plain".into(),
        nonce,
        deadline_s: 2_000_000_000,
    }
}

pub(crate) fn network() -> NetworkFile {
    NetworkFile {
        version: 1,
        name: "test".into(),
        chain_id: CHAIN,
        rpc_urls: vec!["http://127.0.0.1:1".into()],
        contracts: Contracts {
            node_registry: NODE_REGISTRY,
            route_registry: ROUTE_REGISTRY,
            name_registry: None,
            bridge_offers: None,
        },
        start_block: 0,
        confirmations: 0,
        bootstrap: Vec::new(),
        plain_intake_path: None,
        stamp_effort: 0,
        dev: None,
    }
}
