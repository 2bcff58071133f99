//! The active nodes in memory: replaced as a whole when one of them changes.

use std::{collections::BTreeMap, sync::Arc};

use wallet::WalletAddress;

use super::row::NodeRow;
use crate::node::NodeRecord;

/// The nodes at one moment.
#[derive(Debug, Default)]
pub(super) struct NodeSet {
    by_address: BTreeMap<WalletAddress, Arc<NodeRecord>>,
    list: Arc<[NodeRecord]>,
}

/// A set in the making.
#[derive(Debug)]
pub(super) struct NodeSetBuilder {
    by_address: BTreeMap<WalletAddress, Arc<NodeRecord>>,
}

impl NodeSet {
    pub(super) fn list(&self) -> Arc<[NodeRecord]> {
        Arc::clone(&self.list)
    }

    pub(super) fn node(&self, address: &WalletAddress) -> Option<Arc<NodeRecord>> {
        self.by_address.get(address).cloned()
    }

    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    pub(super) fn to_builder(&self) -> NodeSetBuilder {
        NodeSetBuilder {
            by_address: self.by_address.clone(),
        }
    }
}

impl NodeSetBuilder {
    /// Puts a node's row in place of its old one; no row, or one without particulars, removes it.
    pub(super) fn put(&mut self, address: WalletAddress, row: Option<&[u8]>) {
        let record = (row.and_then(NodeRow::read)).and_then(|row| row.record(address));
        match record {
            Some(record) => self.by_address.insert(address, Arc::new(record)),
            None => self.by_address.remove(&address),
        };
    }

    pub(super) fn build(self) -> NodeSet {
        NodeSet {
            list: (self.by_address.values())
                .map(|node| NodeRecord::clone(node))
                .collect(),
            by_address: self.by_address,
        }
    }
}
