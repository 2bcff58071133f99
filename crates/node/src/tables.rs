//! What the node knows, as the forwarding decision asks for it: all of it in memory.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use ledger::{Index, NodeRecord};
use protocol::NodeId;
use protocol::forward::Tables;
use wallet::{Certificate, KeyId};

use crate::clock::now_s;
use crate::mailbox::Accounts;

/// The node's view of the ledger: the index, and which node has which key ID.
pub(crate) struct Ledger {
    index: Index,
    nodes: ArcSwap<Nodes>,
}

#[derive(Default)]
struct Nodes {
    by_key: HashMap<KeyId, NodeId>,
}

impl Ledger {
    pub(crate) fn new(index: Index) -> Self {
        let ledger = Self {
            index,
            nodes: ArcSwap::default(),
        };
        ledger.rebuild();
        ledger
    }

    pub(crate) fn index(&self) -> &Index {
        &self.index
    }

    pub(crate) fn node(&self, id: &NodeId) -> Option<Arc<NodeRecord>> {
        self.index.node(id)
    }

    /// Reads the nodes' key IDs anew; called after each change of the index.
    pub(crate) fn rebuild(&self) {
        let mut by_key = HashMap::new();
        for node in self.index.nodes().iter() {
            // A certificate that does not parse makes its node reachable by name only.
            let Ok(certificate) = Certificate::parse(&node.certificate) else {
                continue;
            };
            for key in certificate.key_ids() {
                by_key.entry(key).or_insert(node.address);
            }
        }
        self.nodes.store(Arc::new(Nodes { by_key }));
    }

    /// Follows the index until `shutdown`.
    pub(crate) async fn follow(&self, shutdown: tokio_util::sync::CancellationToken) {
        let mut changes = self.index.subscribe();
        loop {
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return,
                changed = changes.changed() => if changed.is_err() { return },
            }
            self.rebuild();
        }
    }
}

/// The tables of one node.
pub(crate) struct NodeTables {
    pub(crate) me: NodeId,
    pub(crate) my_keys: Vec<KeyId>,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) accounts: Arc<Accounts>,
}

impl Tables for NodeTables {
    fn me(&self) -> NodeId {
        self.me
    }

    fn is_mine(&self, key: &KeyId) -> bool {
        self.my_keys.contains(key)
    }

    fn is_kept(&self, key: &KeyId) -> bool {
        self.accounts.keeps(key)
    }

    fn node_with_key(&self, key: &KeyId) -> Option<NodeId> {
        self.ledger.nodes.load().by_key.get(key).copied()
    }

    fn is_node(&self, node: &NodeId) -> bool {
        *node == self.me || self.ledger.node(node).is_some()
    }

    fn mailboxes_of(&self, key: &KeyId, each: &mut dyn FnMut(NodeId)) {
        for claim in self.ledger.index.mailboxes_for_key(key, now_s()).iter() {
            claim.mailboxes.iter().copied().for_each(&mut *each);
        }
    }
}
