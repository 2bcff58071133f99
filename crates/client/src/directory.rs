//! The nodes and routes that a client knows: the ledger's index, and the network file's bootstrap nodes
//! until the index has been read.
//!
//! **Invariant**: looking up a node or a route speaks to nobody.

use std::collections::HashMap;
use std::sync::Arc;

use http::Uri;
use http::uri::Scheme;
use ledger::{BootstrapNode, Index, NodeRecord, RouteRecord};
use parking_lot::RwLock;
use protocol::NodeId;
use tokio::sync::watch;
use wallet::{Certificate, KeyId, WalletAddress};

use crate::clock::unix_ms;

/// An index this close to the chain's end is complete: unread blocks are new ones, held back at most
/// by the network file's confirmations.
const COMPLETE_WITHIN_BLOCKS: u64 = ledger::MAX_CONFIRMATIONS + 64;

/// What the client reads of the ledger; the synced index, or a fixed list in tests.
pub(crate) trait LedgerView: Send + Sync + 'static {
    /// The active nodes; the same allocation as long as nothing changes.
    fn nodes(&self) -> Arc<[NodeRecord]>;
    /// The live route of a wallet.
    fn route(&self, wallet: &WalletAddress) -> Option<RouteRecord>;
    /// Says whether a route names this node for this key ID.
    fn is_listed(&self, key: &KeyId, node: &NodeId) -> bool;
    /// Says whether the index has followed the chain to its end at least once, so that its nodes are all
    /// nodes and not the first few.
    fn is_complete(&self) -> bool;
    /// Changes whenever the index does.
    fn changes(&self) -> watch::Receiver<u64>;
    /// The index itself, for names; none where there are none.
    fn index(&self) -> Option<&Index> {
        None
    }
}

impl LedgerView for Index {
    fn index(&self) -> Option<&Index> {
        Some(self)
    }

    fn nodes(&self) -> Arc<[NodeRecord]> {
        Self::nodes(self)
    }

    fn route(&self, wallet: &WalletAddress) -> Option<RouteRecord> {
        Self::route(self, wallet, unix_ms() / 1_000)
    }

    fn is_listed(&self, key: &KeyId, node: &NodeId) -> bool {
        let claims = self.mailboxes_for_key(key, unix_ms() / 1_000);
        claims.iter().any(|claim| claim.mailboxes.contains(node))
    }

    fn is_complete(&self) -> bool {
        let synced = self.synced_to();
        synced
            .block
            .is_some_and(|block| block.saturating_add(COMPLETE_WITHIN_BLOCKS) >= synced.head)
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.subscribe()
    }
}

/// A node as the client needs it: parsed once.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) id: NodeId,
    /// Unknown for bootstrap nodes that are not on the ledger.
    pub(crate) operator: Option<WalletAddress>,
    pub(crate) transport_key: [u8; 32],
    /// What layers are sealed to; bootstrap nodes have none and so are entries only.
    pub(crate) certificate: Option<Certificate>,
    pub(crate) endpoint: Result<Uri, EndpointError>,
}

/// Why a node's endpoint can't be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EndpointError {
    /// The endpoint is `https`.
    #[error("the node's endpoint is https, which this version does not speak")]
    Https,
    /// The endpoint is no URL of a host.
    #[error("the node's endpoint is no http URL")]
    Malformed,
}

impl Node {
    fn listed(record: &NodeRecord) -> Self {
        let certificate = Certificate::parse(&record.certificate)
            .ok()
            // The node's wallet signed the certificate's bytes for the ledger; here it only has to be usable.
            .filter(|c| c.wallet() == Some(record.address) && c.supports_seipd_v2());
        Self {
            id: record.address,
            operator: Some(record.operator),
            transport_key: record.transport_key,
            certificate,
            endpoint: parse_endpoint(&record.endpoint),
        }
    }

    fn bootstrap(node: &BootstrapNode) -> Self {
        Self {
            id: node.address,
            operator: None,
            transport_key: node.transport_key,
            certificate: None,
            endpoint: parse_endpoint(&node.endpoint),
        }
    }

    /// Says whether a client can speak to the node itself.
    pub(crate) fn can_be_entry(&self) -> bool {
        self.endpoint.is_ok()
    }

    /// Says whether layers can be sealed to the node.
    pub(crate) fn can_open_layers(&self) -> bool {
        self.certificate.is_some()
    }
}

fn parse_endpoint(text: &str) -> Result<Uri, EndpointError> {
    let uri: Uri = text
        .trim_end_matches('/')
        .parse()
        .map_err(|_| EndpointError::Malformed)?;
    if uri.scheme() == Some(&Scheme::HTTPS) {
        return Err(EndpointError::Https);
    }
    let plain =
        uri.scheme() == Some(&Scheme::HTTP) && uri.host().is_some_and(|host| !host.is_empty());
    if plain && uri.query().is_none() {
        Ok(uri)
    } else {
        Err(EndpointError::Malformed)
    }
}

/// A snapshot of the known nodes.
#[derive(Debug)]
pub(crate) struct Nodes {
    records: Arc<[NodeRecord]>,
    all: Vec<Arc<Node>>,
    places: HashMap<NodeId, usize>,
}

impl Nodes {
    fn build(records: Arc<[NodeRecord]>, bootstrap: &[BootstrapNode], old: Option<&Self>) -> Self {
        let mut all = Vec::with_capacity(records.len());
        let mut places = HashMap::with_capacity(records.len());
        for record in records.iter() {
            // Reading a certificate costs signature checks: what has not changed is kept.
            let kept = old.and_then(|old| {
                let place = old
                    .records
                    .binary_search_by_key(&record.address, |r| r.address)
                    .ok()?;
                (old.records.get(place) == Some(record)).then(|| old.node(&record.address))?
            });
            places.insert(record.address, all.len());
            all.push(kept.unwrap_or_else(|| Arc::new(Node::listed(record))));
        }
        for node in bootstrap {
            if let std::collections::hash_map::Entry::Vacant(place) = places.entry(node.address) {
                place.insert(all.len());
                all.push(Arc::new(Node::bootstrap(node)));
            }
        }
        Self {
            records,
            all,
            places,
        }
    }

    pub(crate) fn node(&self, id: &NodeId) -> Option<Arc<Node>> {
        self.places
            .get(id)
            .and_then(|place| self.all.get(*place))
            .cloned()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Node>> {
        self.all.iter()
    }

    /// Nodes that can be relay or mailbox.
    pub(crate) fn openers(&self) -> usize {
        self.all
            .iter()
            .filter(|node| node.can_open_layers())
            .count()
    }
}

/// The known nodes and routes.
pub(crate) struct Directory {
    ledger: Arc<dyn LedgerView>,
    bootstrap: Vec<BootstrapNode>,
    nodes: RwLock<Arc<Nodes>>,
}

impl std::fmt::Debug for Directory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Directory").finish_non_exhaustive()
    }
}

impl Directory {
    pub(crate) fn new(ledger: Arc<dyn LedgerView>, bootstrap: Vec<BootstrapNode>) -> Self {
        let nodes = Nodes::build(ledger.nodes(), &bootstrap, None);
        Self {
            ledger,
            bootstrap,
            nodes: RwLock::new(Arc::new(nodes)),
        }
    }

    /// The nodes as of now.
    pub(crate) fn nodes(&self) -> Arc<Nodes> {
        let listed = self.ledger.nodes();
        let known = Arc::clone(&self.nodes.read());
        if Arc::ptr_eq(&listed, &known.records) {
            return known;
        }
        let fresh = Arc::new(Nodes::build(listed, &self.bootstrap, Some(&known)));
        *self.nodes.write() = Arc::clone(&fresh);
        fresh
    }

    /// The nodes as the ledger lists them.
    pub(crate) fn records(&self) -> Arc<[NodeRecord]> {
        self.ledger.nodes()
    }

    pub(crate) fn route(&self, wallet: &WalletAddress) -> Option<RouteRecord> {
        self.ledger.route(wallet)
    }

    pub(crate) fn is_listed(&self, key: &KeyId, node: &NodeId) -> bool {
        self.ledger.is_listed(key, node)
    }

    pub(crate) fn index(&self) -> Option<&Index> {
        self.ledger.index()
    }

    pub(crate) fn is_complete(&self) -> bool {
        self.ledger.is_complete()
    }

    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.ledger.changes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoint_of_plain_http_is_read_and_others_say_why_not() {
        assert_eq!(
            parse_endpoint("http://127.0.0.1:4001").unwrap().port_u16(),
            Some(4001)
        );
        assert!(parse_endpoint("http://[::1]:4001/base/").is_ok());
        assert_eq!(
            parse_endpoint("https://example.org").unwrap_err(),
            EndpointError::Https
        );
        for wrong in [
            "",
            "127.0.0.1",
            "ftp://x",
            "http://",
            "http://x/?a=b",
            "/only/a/path",
        ] {
            assert_eq!(
                parse_endpoint(wrong).unwrap_err(),
                EndpointError::Malformed,
                "{wrong}"
            );
        }
    }
}
