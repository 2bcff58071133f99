//! An in-memory Merkle Patricia trie that rehashes only what changed.
//!
//! Keys are 32-byte hashes (a "secure" trie), so no key is a prefix of another and a
//! branch never holds a value. Each node remembers how its parent refers to it; a change
//! forgets that along one path of at most 64 nodes, so that a block costs hashing in
//! proportion to what it changed and not to the size of the state.
//!
//! Source: Ethereum Yellow Paper, appendices C (hex-prefix encoding) and D (the trie).

use alloy_consensus::EMPTY_ROOT_HASH;
use alloy_primitives::{B256, keccak256};
use alloy_rlp::{Encodable, Header};

/// Children of a branch: one per nibble.
const FAN_OUT: usize = 16;
/// An encoding at least this long is referred to by its hash, a shorter one by itself.
const HASHED_FROM_BYTES: usize = 32;
/// The RLP encoding of an empty string: an absent child, and the unused value of a branch.
const RLP_EMPTY_STRING: u8 = 0x80;

type Link = Option<Box<Node>>;

/// A Merkle Patricia trie from hashed keys to RLP-encoded values.
#[derive(Debug, Default)]
pub(crate) struct Trie {
    root: Link,
}

#[derive(Debug)]
struct Node {
    shape: Shape,
    /// How the parent's encoding names this node; forgotten when it changes.
    reference: Option<Vec<u8>>,
}

#[derive(Debug)]
enum Shape {
    Leaf { path: Vec<u8>, value: Vec<u8> },
    Extension { path: Vec<u8>, child: Box<Node> },
    Branch { children: [Link; FAN_OUT] },
}

impl Trie {
    /// Sets `key` to `value`, which must not be empty.
    pub(crate) fn insert(&mut self, key: B256, value: Vec<u8>) {
        self.root = Some(inserted(self.root.take(), &nibbles(key), value));
    }

    /// Removes `key`; an absent key changes nothing.
    pub(crate) fn remove(&mut self, key: B256) {
        self.root = self
            .root
            .take()
            .and_then(|root| removed(root, &nibbles(key)));
    }

    /// Computes the root hash, reusing every node that has not changed.
    pub(crate) fn root_hash(&mut self) -> B256 {
        match &mut self.root {
            None => EMPTY_ROOT_HASH,
            Some(root) => keccak256(root.rlp()),
        }
    }
}

impl Node {
    fn new(shape: Shape) -> Box<Self> {
        Box::new(Self {
            shape,
            reference: None,
        })
    }

    fn leaf(path: &[u8], value: Vec<u8>) -> Box<Self> {
        Self::new(Shape::Leaf {
            path: path.to_vec(),
            value,
        })
    }

    /// Puts `path` before `child`, merging it into a leaf or an extension.
    fn prefixed(path: &[u8], mut child: Box<Self>) -> Box<Self> {
        if path.is_empty() {
            return child;
        }
        match &mut child.shape {
            Shape::Leaf { path: own, .. } | Shape::Extension { path: own, .. } => {
                own.splice(0..0, path.iter().copied());
                child.reference = None;
                child
            }
            Shape::Branch { .. } => Self::new(Shape::Extension {
                path: path.to_vec(),
                child,
            }),
        }
    }

    fn reference(&mut self) -> &[u8] {
        if self.reference.is_none() {
            let rlp = self.rlp();
            self.reference = Some(if rlp.len() < HASHED_FROM_BYTES {
                rlp
            } else {
                let mut out = Vec::with_capacity(B256::len_bytes() + 1);
                keccak256(rlp).encode(&mut out);
                out
            });
        }
        self.reference.as_deref().unwrap_or_default()
    }

    fn rlp(&mut self) -> Vec<u8> {
        let mut payload = Vec::new();
        match &mut self.shape {
            Shape::Leaf { path, value } => {
                hex_prefix(path, true).as_slice().encode(&mut payload);
                value.as_slice().encode(&mut payload);
            }
            Shape::Extension { path, child } => {
                hex_prefix(path, false).as_slice().encode(&mut payload);
                payload.extend_from_slice(child.reference());
            }
            Shape::Branch { children } => {
                for child in children {
                    match child {
                        Some(child) => payload.extend_from_slice(child.reference()),
                        None => payload.push(RLP_EMPTY_STRING),
                    }
                }
                payload.push(RLP_EMPTY_STRING);
            }
        }
        let header = Header {
            list: true,
            payload_length: payload.len(),
        };
        let mut out = Vec::with_capacity(header.length_with_payload());
        header.encode(&mut out);
        out.extend_from_slice(&payload);
        out
    }
}

fn inserted(link: Link, path: &[u8], value: Vec<u8>) -> Box<Node> {
    let Some(mut node) = link else {
        return Node::leaf(path, value);
    };
    match &mut node.shape {
        Shape::Branch { children } => {
            if let Some((slot, rest)) = slot_for(children, path) {
                *slot = Some(inserted(slot.take(), rest, value));
            }
            node.reference = None;
            node
        }
        Shape::Leaf {
            path: own,
            value: old,
        } => {
            if own == path {
                *old = value;
                node.reference = None;
                return node;
            }
            let (shared, own_rest) = own.split_at(shared_length(own, path));
            let mut children = [const { None }; FAN_OUT];
            if let Some((slot, rest)) = slot_for(&mut children, own_rest) {
                *slot = Some(Node::leaf(rest, std::mem::take(old)));
            }
            forked(shared, children, path, value)
        }
        Shape::Extension { path: own, child } => {
            let (shared, own_rest) = own.split_at(shared_length(own, path));
            let child = std::mem::replace(child, Node::leaf(&[], Vec::new()));
            if own_rest.is_empty() {
                let rest = path.split_at(shared.len()).1;
                return Node::new(Shape::Extension {
                    path: shared.to_vec(),
                    child: inserted(Some(child), rest, value),
                });
            }
            let mut children = [const { None }; FAN_OUT];
            if let Some((slot, rest)) = slot_for(&mut children, own_rest) {
                *slot = Some(Node::prefixed(rest, child));
            }
            forked(shared, children, path, value)
        }
    }
}

/// Builds the branch that stands where `path` leaves an older path after `shared`.
fn forked(shared: &[u8], mut children: [Link; FAN_OUT], path: &[u8], value: Vec<u8>) -> Box<Node> {
    if let Some((slot, rest)) = slot_for(&mut children, path.split_at(shared.len()).1) {
        *slot = Some(Node::leaf(rest, value));
    }
    Node::prefixed(shared, Node::new(Shape::Branch { children }))
}

fn removed(mut node: Box<Node>, path: &[u8]) -> Link {
    match &mut node.shape {
        Shape::Leaf { path: own, .. } => (own != path).then_some(node),
        Shape::Extension { path: own, child } => {
            let Some(rest) = path.strip_prefix(own.as_slice()) else {
                return Some(node);
            };
            let child = std::mem::replace(child, Node::leaf(&[], Vec::new()));
            removed(child, rest).map(|child| Node::prefixed(own, child))
        }
        Shape::Branch { children } => {
            if let Some((slot, rest)) = slot_for(children, path) {
                *slot = slot.take().and_then(|child| removed(child, rest));
            }
            let mut left = (0_u8..)
                .zip(children.iter_mut())
                .filter(|(_, c)| c.is_some());
            let first = left.next();
            if left.next().is_some() {
                node.reference = None;
                return Some(node);
            }
            // A branch with one child is not a branch: it merges into that child.
            first.and_then(|(nibble, child)| Some(Node::prefixed(&[nibble], child.take()?)))
        }
    }
}

fn slot_for<'a, 'p>(
    children: &'a mut [Link; FAN_OUT],
    path: &'p [u8],
) -> Option<(&'a mut Link, &'p [u8])> {
    let (nibble, rest) = path.split_first()?;
    Some((children.get_mut(usize::from(*nibble))?, rest))
}

fn shared_length(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(x, y)| x == y).count()
}

fn nibbles(key: B256) -> Vec<u8> {
    key.iter()
        .flat_map(|byte| [byte >> 4, byte & 0xf])
        .collect()
}

/// Packs nibbles into bytes behind a flag nibble (leaf, odd length).
fn hex_prefix(path: &[u8], leaf: bool) -> Vec<u8> {
    let flag = if leaf { 0x20 } else { 0x00 };
    let mut out = Vec::with_capacity(path.len() / 2 + 1);
    let even = if path.len() % 2 == 1 {
        let (first, rest) = path.split_at(1);
        out.push(flag | 0x10 | first.first().copied().unwrap_or_default());
        rest
    } else {
        out.push(flag);
        path
    };
    out.extend(
        even.chunks_exact(2)
            .map(|pair| pair.iter().fold(0, |byte, nibble| (byte << 4) | nibble)),
    );
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_consensus::proofs::storage_root;
    use alloy_primitives::U256;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn encoded(value: u64) -> Vec<u8> {
        alloy_rlp::encode(U256::from(value))
    }

    /// Keys that collide in long prefixes now and then, so that every shape occurs.
    fn key() -> impl Strategy<Value = B256> {
        prop_oneof![
            any::<u64>().prop_map(|n| keccak256(n.to_be_bytes())),
            (0_u8..4, 0_u8..4, 0_u8..4).prop_map(|(a, b, c)| {
                let mut key = B256::repeat_byte(0x11);
                key.0[0] = a;
                key.0[16] = b << 4;
                key.0[31] = c;
                key
            }),
        ]
    }

    proptest! {
        #[test]
        fn trie_after_any_edits_has_the_root_of_a_trie_built_at_once(
            edits in prop::collection::vec((key(), prop::option::of(1_u64..1000)), 0..120)
        ) {
            let mut trie = Trie::default();
            let mut model = BTreeMap::new();
            for (key, value) in edits {
                match value {
                    Some(value) => {
                        trie.insert(key, encoded(value));
                        model.insert(key, U256::from(value));
                    }
                    None => {
                        trie.remove(key);
                        model.remove(&key);
                    }
                }
                prop_assert_eq!(trie.root_hash(), storage_root(model.clone()));
            }
        }
    }

    #[test]
    fn trie_emptied_again_has_the_empty_root() {
        let mut trie = Trie::default();
        for n in 0..50_u64 {
            trie.insert(keccak256(n.to_be_bytes()), encoded(n + 1));
        }
        for n in 0..50_u64 {
            trie.remove(keccak256(n.to_be_bytes()));
        }
        assert_eq!(trie.root_hash(), EMPTY_ROOT_HASH);
    }
}
