//! Nodes as the NodeRegistry lists them.

use std::sync::Arc;

use alloy::{
    primitives::{Address, B256, U256},
    sol_types::SolStruct,
};
use wallet::{WalletAddress, WalletKey, WalletSignature};

use crate::{contracts, network::MAX_ENDPOINT_BYTES, offer::BridgeOffer, route::domain};

/// Longest certificate of a node, bytes (as in the NodeRegistry).
pub const MAX_NODE_CERTIFICATE_BYTES: usize = 4_096;
/// Longest name of a site profile, bytes (as in the NodeRegistry).
pub const MAX_PROFILE_BYTES: usize = 64;

const DOMAIN_NAME: &str = "CONET NodeRegistry";
const DOMAIN_VERSION: &str = "1";

/// An active node.
///
/// # Security
/// `certificate`, `endpoint` and `profile` are what the node's operator wrote: bounded and free of
/// control characters, nothing more. The certificate must be checked against the node's wallet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeRecord {
    /// The node's wallet.
    pub address: WalletAddress,
    /// Who registered it and gets the stake back.
    pub operator: WalletAddress,
    /// X25519 static public key of its sessions and links.
    pub transport_key: [u8; 32],
    /// Its OpenPGP certificate, binary, 1–4,096 bytes.
    pub certificate: Arc<[u8]>,
    /// Where it is reached, 1–256 bytes.
    pub endpoint: String,
    /// Name of its site profile, and after it each service that the node offers, `+` before each; at most 64 bytes.
    pub profile: String,
    /// What it offers as a bridge; none where it has announced nothing that can be read, or the network has no contract for
    /// it.
    pub offer: Option<BridgeOffer>,
}

impl NodeRecord {
    /// Says whether the node's profile has it that it connects streams to hosts of the Web2.
    ///
    /// On a network where bridges announce offers, [`NodeRecord::offer`] is what counts.
    #[must_use]
    pub fn is_bridge(&self) -> bool {
        self.profile
            .split('+')
            .skip(1)
            .any(|service| service == BRIDGE)
    }
}

/// What a bridge has in its profile.
const BRIDGE: &str = "bridge";

/// What a node's wallet agrees to when it is registered or updated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeStatement {
    /// Who registers the node and pays its stake.
    pub operator: WalletAddress,
    /// X25519 static public key of its sessions and links, not zero.
    pub transport_key: [u8; 32],
    /// Its OpenPGP certificate, binary, 1–4,096 bytes.
    pub certificate: Vec<u8>,
    /// Where it is reached, 1–256 bytes.
    pub endpoint: String,
    /// Name of its site profile, at most 64 bytes.
    pub profile: String,
    /// The node's next nonce in the NodeRegistry.
    pub nonce: u64,
    /// Last Unix second at which the ledger takes it.
    pub deadline_s: u64,
}

/// A node's statement with the signature of its wallet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedNode {
    /// The node's wallet.
    pub node: WalletAddress,
    /// What it agrees to.
    pub statement: NodeStatement,
    /// Its signature over [`node_digest`].
    pub signature: WalletSignature,
}

/// Why a node's particulars are none that the ledger would take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NodeError {
    /// The transport key is zero.
    #[error("the node's transport key is zero")]
    ZeroTransportKey,
    /// The certificate is empty or too long.
    #[error("a node's certificate has 1 to {MAX_NODE_CERTIFICATE_BYTES} bytes, not {0}")]
    CertificateLength(usize),
    /// The endpoint is empty or too long.
    #[error("a node's endpoint has 1 to {MAX_ENDPOINT_BYTES} bytes, not {0}")]
    EndpointLength(usize),
    /// The profile's name is too long.
    #[error("the name of a node's profile has at most {MAX_PROFILE_BYTES} bytes, not {0}")]
    ProfileLength(usize),
    /// The endpoint or the profile holds control characters.
    #[error("a node's endpoint and profile hold no control characters")]
    ControlCharacter,
}

impl NodeStatement {
    /// Checks the bounds that the NodeRegistry and the index enforce.
    ///
    /// # Errors
    /// [`NodeError`] naming the bound that is crossed.
    pub fn check(&self) -> Result<(), NodeError> {
        check_particulars(
            &self.transport_key,
            &self.certificate,
            &self.endpoint,
            &self.profile,
        )
    }

    /// Signs the statement with the node's wallet for the NodeRegistry at `registry` on `chain_id`.
    ///
    /// # Errors
    /// [`NodeError`] where the statement is out of bounds.
    pub fn sign(
        self,
        node: &WalletKey,
        chain_id: u64,
        registry: WalletAddress,
    ) -> Result<SignedNode, NodeError> {
        self.check()?;
        Ok(SignedNode {
            node: node.address(),
            signature: node.sign_hash(&node_digest(&self, chain_id, registry)),
            statement: self,
        })
    }
}

/// The EIP-712 digest that a node's wallet signs to be registered or updated.
pub fn node_digest(statement: &NodeStatement, chain_id: u64, registry: WalletAddress) -> [u8; 32] {
    let node = contracts::Node {
        operator: Address::from(*statement.operator.as_bytes()),
        transportKey: B256::from(statement.transport_key),
        certificate: statement.certificate.clone().into(),
        endpoint: statement.endpoint.clone(),
        profile: statement.profile.clone(),
        nonce: U256::from(statement.nonce),
        deadline: U256::from(statement.deadline_s),
    };
    node.eip712_signing_hash(&domain(DOMAIN_NAME, DOMAIN_VERSION, chain_id, registry))
        .0
}

pub(crate) fn check_particulars(
    transport_key: &[u8; 32],
    certificate: &[u8],
    endpoint: &str,
    profile: &str,
) -> Result<(), NodeError> {
    if transport_key == &[0; 32] {
        return Err(NodeError::ZeroTransportKey);
    }
    if !(1..=MAX_NODE_CERTIFICATE_BYTES).contains(&certificate.len()) {
        return Err(NodeError::CertificateLength(certificate.len()));
    }
    if !(1..=MAX_ENDPOINT_BYTES).contains(&endpoint.len()) {
        return Err(NodeError::EndpointLength(endpoint.len()));
    }
    if profile.len() > MAX_PROFILE_BYTES {
        return Err(NodeError::ProfileLength(profile.len()));
    }
    // They are shown in terminals and logs.
    if endpoint
        .chars()
        .chain(profile.chars())
        .any(char::is_control)
    {
        return Err(NodeError::ControlCharacter);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_data::{key, statement};

    #[test]
    fn node_statement_out_of_bounds_is_refused() {
        type Change = fn(&mut NodeStatement);
        let cases: [(Change, NodeError); 6] = [
            (
                |node| node.transport_key = [0; 32],
                NodeError::ZeroTransportKey,
            ),
            (
                |node| node.certificate.clear(),
                NodeError::CertificateLength(0),
            ),
            (
                |node| node.certificate = vec![1; 4_097],
                NodeError::CertificateLength(4_097),
            ),
            (
                |node| node.endpoint = "x".repeat(257),
                NodeError::EndpointLength(257),
            ),
            (
                |node| node.profile = "x".repeat(65),
                NodeError::ProfileLength(65),
            ),
            (
                |node| node.endpoint = "http://x\u{1b}[2J".into(),
                NodeError::ControlCharacter,
            ),
        ];
        for (change, expected) in cases {
            let mut statement = statement(key(1).address(), 0);
            change(&mut statement);
            assert_eq!(statement.check(), Err(expected));
        }
    }

    #[test]
    fn node_digest_differs_by_chain_registry_and_nonce() {
        let registry = key(9).address();
        let first = node_digest(&statement(key(1).address(), 0), 31_337, registry);
        let second = node_digest(&statement(key(1).address(), 1), 31_337, registry);
        let third = node_digest(&statement(key(1).address(), 0), 1, registry);
        let fourth = node_digest(&statement(key(1).address(), 0), 31_337, key(8).address());
        assert!(first != second && first != third && first != fourth);
    }
}
