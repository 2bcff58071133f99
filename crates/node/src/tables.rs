//! What the node knows, as the forwarding decision asks for it: all of it in memory.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use ledger::{Index, NodeRecord};
use protocol::NodeId;
use protocol::forward::Tables;
use tokio_util::sync::CancellationToken;
use wallet::{Certificate, KeyId};

use crate::clock::now_s;
use crate::mailbox::Accounts;

/// The node's view of the ledger: the index, and which node has which key ID.
pub(crate) struct Ledger {
    index: Index,
    keys: ArcSwap<KeyHolders>,
}

impl Ledger {
    /// Reads every node's certificate: call it where blocking is allowed.
    pub(crate) fn new(index: Index) -> Self {
        let keys = KeyHolders::default().follow(&index.nodes());
        Self {
            index,
            keys: ArcSwap::from_pointee(keys),
        }
    }

    pub(crate) fn index(&self) -> &Index {
        &self.index
    }

    pub(crate) fn node(&self, id: &NodeId) -> Option<Arc<NodeRecord>> {
        self.index.node(id)
    }

    /// Follows the index until `shutdown`.
    pub(crate) async fn follow(self: Arc<Self>, shutdown: CancellationToken) {
        let mut changes = self.index.subscribe();
        loop {
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return,
                changed = changes.changed() => if changed.is_err() { return },
            }
            let (before, nodes) = (self.keys.load_full(), self.index.nodes());
            // Certificates cost a tenth of a millisecond each, and many may be new.
            let read = tokio::task::spawn_blocking(move || before.follow(&nodes));
            if let Ok(keys) = read.await {
                self.keys.store(Arc::new(keys));
            }
        }
    }
}

/// Which node has which key ID.
#[derive(Debug, Default)]
struct KeyHolders {
    by_key: HashMap<KeyId, NodeId>,
    read: HashMap<NodeId, (Arc<[u8]>, Vec<KeyId>)>,
}

impl KeyHolders {
    /// The key IDs of `nodes`; reads only certificates that were not there before.
    ///
    /// A node may put another's public key into its own certificate. It then gets none of the other's
    /// packets: a key ID stays with who has had it, as long as that one keeps it.
    fn follow(&self, nodes: &[NodeRecord]) -> Self {
        let mut next = Self::default();
        for node in nodes {
            let known = self.read.get(&node.address);
            let keys = match known.filter(|(bytes, _)| **bytes == *node.certificate) {
                Some((_, keys)) => keys.clone(),
                // One that can't be read makes its node reachable by name only.
                None => Certificate::parse(&node.certificate)
                    .map(|c| c.key_ids())
                    .unwrap_or_default(),
            };
            for key in &keys {
                let had_it = self.by_key.get(key) == Some(&node.address);
                let holder = next.by_key.entry(*key).or_insert(node.address);
                if had_it {
                    *holder = node.address;
                }
            }
            next.read
                .insert(node.address, (Arc::clone(&node.certificate), keys));
        }
        next
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
        self.ledger.keys.load().by_key.get(key).copied()
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

#[cfg(test)]
mod tests {
    use super::*;
    use wallet::{CertificateKind, SecretCertificate, WalletAddress, WalletKey};

    fn certificate(seed: u8) -> Arc<[u8]> {
        let mut rng = rand::thread_rng();
        let wallet = WalletKey::from_bytes([seed; 32]).unwrap();
        SecretCertificate::create(&wallet, CertificateKind::NODE, 1_770_000_000, &mut rng)
            .unwrap()
            .certificate()
            .to_bytes()
            .into()
    }

    fn node(address: u8, certificate: &Arc<[u8]>) -> NodeRecord {
        NodeRecord {
            address: WalletAddress::from_bytes([address; 20]),
            operator: WalletAddress::from_bytes([9; 20]),
            transport_key: [1; 32],
            certificate: Arc::clone(certificate),
            endpoint: "http://127.0.0.1:1".into(),
            profile: String::new(),
            offer: None,
        }
    }

    /// Nodes come in the order of their addresses, which anybody can make small.
    #[test]
    fn node_that_adopts_anothers_key_gets_none_of_its_packets() {
        let victims = certificate(1);
        let key = Certificate::parse(&victims).unwrap().key_ids()[0];
        let alone = KeyHolders::default().follow(&[node(5, &victims)]);
        let both = alone.follow(&[node(1, &victims), node(5, &victims)]);
        assert_eq!(both.by_key[&key], WalletAddress::from_bytes([5; 20]));
        let again = both.follow(&[node(1, &victims), node(5, &victims)]);
        assert_eq!(again.by_key[&key], WalletAddress::from_bytes([5; 20]));
        let left = again.follow(&[node(1, &victims)]);
        assert_eq!(left.by_key[&key], WalletAddress::from_bytes([1; 20]));
    }

    #[test]
    fn changed_certificate_is_read_anew_and_a_broken_one_has_no_keys() {
        let (old, new) = (certificate(1), certificate(2));
        let ids = |c: &Arc<[u8]>| Certificate::parse(c).unwrap().key_ids();
        let before = KeyHolders::default().follow(&[node(5, &old)]);
        let after = before.follow(&[node(5, &new), node(6, &vec![1, 2, 3].into())]);
        assert!(ids(&new).iter().all(|k| after.by_key.contains_key(k)));
        assert!(ids(&old).iter().all(|k| !after.by_key.contains_key(k)));
    }
}
