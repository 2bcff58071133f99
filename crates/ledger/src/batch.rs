//! Batches: many signed routes announced by one transaction, under one Merkle root.
//!
//! The tree is drawn in `contracts/src/interfaces/IRouteRegistry.sol`: a leaf is the double Keccak-256
//! of a route's EIP-712 `hashStruct`, a parent the hash of its children, smaller first, and the last
//! of an odd number moves up unchanged.

use alloy::{
    primitives::{B256, keccak256},
    sol_types::{SolStruct, SolValue},
};
use wallet::WalletSignature;

use crate::{
    contracts,
    route::{RouteRecord, SignedRoute},
};

/// Most routes in a batch (as in the RouteRegistry).
pub const MAX_BATCH_ROUTES: usize = 256;
/// Longest encoding of a batch, bytes (as in the RouteRegistry); about a hundred routes fit.
pub const MAX_BATCH_BYTES: usize = 65_536;

/// Signed routes as they are announced: encoded, with the root of the tree over them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteBatch {
    routes: Vec<SignedRoute>,
    encoded: Vec<u8>,
    levels: Vec<Vec<B256>>,
}

/// Why routes make no batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BatchError {
    /// There are no routes or too many.
    #[error("a batch has 1 to {MAX_BATCH_ROUTES} routes, not {0}")]
    Count(usize),
    /// The encoding is too long.
    #[error("a batch has at most {MAX_BATCH_BYTES} bytes, not {0}: send fewer routes")]
    Length(usize),
    /// The bytes are not exactly what the ABI makes of the routes.
    #[error("the batch is no canonical ABI encoding of routes")]
    Malformed,
}

impl RouteBatch {
    /// Builds the tree over `routes`, in this order; signatures are not checked.
    ///
    /// # Errors
    /// [`BatchError`] where there are none, more than [`MAX_BATCH_ROUTES`] or their encoding is longer
    /// than [`MAX_BATCH_BYTES`].
    pub fn new(routes: Vec<SignedRoute>) -> Result<Self, BatchError> {
        if !(1..=MAX_BATCH_ROUTES).contains(&routes.len()) {
            return Err(BatchError::Count(routes.len()));
        }
        let contract: Vec<_> = routes.iter().map(to_contract).collect();
        let encoded = contract.abi_encode();
        if encoded.len() > MAX_BATCH_BYTES {
            return Err(BatchError::Length(encoded.len()));
        }
        let leaves = contract.iter().map(|signed| leaf(&signed.route)).collect();
        Ok(Self {
            routes,
            encoded,
            levels: tree(leaves),
        })
    }

    /// The routes, in order.
    pub fn routes(&self) -> &[SignedRoute] {
        &self.routes
    }

    /// The root of the tree.
    pub fn root(&self) -> [u8; 32] {
        let top = self.levels.last().and_then(|level| level.first());
        top.copied().unwrap_or_default().0
    }

    /// The ABI encoding of the routes, as `submitBatch` takes it.
    pub fn encoded(&self) -> &[u8] {
        &self.encoded
    }

    /// The siblings from the leaf of route `index` up to the root; none if there is no such route.
    pub fn proof(&self, index: usize) -> Option<Vec<[u8; 32]>> {
        self.routes.get(index)?;
        let mut position = index;
        let mut proof = Vec::new();
        for level in &self.levels {
            if let Some(sibling) = level.get(position ^ 1) {
                proof.push(sibling.0);
            }
            position /= 2;
        }
        Some(proof)
    }
}

/// The leaf of a route in a batch's tree.
pub fn batch_leaf(route: &RouteRecord) -> [u8; 32] {
    leaf(&route.to_contract()).0
}

/// Tells whether `proof` leads from `leaf` to `root`.
pub fn proof_holds(root: &[u8; 32], leaf: &[u8; 32], proof: &[[u8; 32]]) -> bool {
    let top = proof.iter().fold(B256::from(*leaf), |node, sibling| {
        parent(node, B256::from(*sibling))
    });
    top.0 == *root
}

/// Reads an announced batch and checks encoding, count and root; returns the routes that are within
/// bounds. Signatures are the caller's to check.
///
/// `count` and `root` are what the event states; the contract has checked both, so a difference
/// means that the bytes are not the contract's.
pub(crate) fn decode_announced(
    encoded: &[u8],
    count: u32,
    root: B256,
) -> Result<Vec<SignedRoute>, BatchError> {
    if encoded.len() > MAX_BATCH_BYTES {
        return Err(BatchError::Length(encoded.len()));
    }
    // Offset and length of the array, read before anything is allocated by what it claims.
    let claimed = (encoded.get(32..64))
        .map(alloy::primitives::U256::from_be_slice)
        .ok_or(BatchError::Malformed)?;
    let claimed = usize::try_from(claimed).map_err(|_| BatchError::Malformed)?;
    if claimed != count as usize || !(1..=MAX_BATCH_ROUTES).contains(&claimed) {
        return Err(BatchError::Count(claimed));
    }
    let routes = Vec::<contracts::SignedRoute>::abi_decode_validate(encoded)
        .map_err(|_| BatchError::Malformed)?;
    if routes.abi_encode() != encoded {
        return Err(BatchError::Malformed);
    }
    let leaves = routes.iter().map(|signed| leaf(&signed.route)).collect();
    let top = tree(leaves).last().and_then(|level| level.first().copied());
    if top != Some(root) {
        return Err(BatchError::Malformed);
    }
    Ok(routes.iter().filter_map(from_contract).collect())
}

fn leaf(route: &contracts::Route) -> B256 {
    keccak256(keccak256(route.eip712_hash_struct()))
}

fn parent(left: B256, right: B256) -> B256 {
    let (small, large) = if left <= right {
        (left, right)
    } else {
        (right, left)
    };
    keccak256([small.0, large.0].concat())
}

/// All levels of the tree, leaves first.
fn tree(leaves: Vec<B256>) -> Vec<Vec<B256>> {
    let mut levels = vec![leaves];
    while let Some(level) = levels.last().filter(|level| level.len() > 1) {
        let above = level
            .chunks(2)
            .map(|pair| match pair {
                [left, right] => parent(*left, *right),
                alone => alone.first().copied().unwrap_or_default(),
            })
            .collect();
        levels.push(above);
    }
    levels
}

fn to_contract(signed: &SignedRoute) -> contracts::SignedRoute {
    contracts::SignedRoute {
        route: signed.route.to_contract(),
        signature: signed.signature.as_bytes().to_vec().into(),
    }
}

fn from_contract(signed: &contracts::SignedRoute) -> Option<SignedRoute> {
    let signature: [u8; 65] = signed.signature.as_ref().try_into().ok()?;
    Some(SignedRoute {
        route: RouteRecord::from_contract(&signed.route).ok()?,
        signature: WalletSignature::from_bytes(signature),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::test_data::{key, signed_route};

    fn batch(size: u8) -> RouteBatch {
        let routes = (1..=size)
            .map(|index| signed_route(&key(index), 1, 1_000))
            .collect();
        RouteBatch::new(routes).unwrap()
    }

    #[test]
    fn batch_of_any_size_proves_each_route_and_no_other() {
        for size in 1..=17 {
            let batch = batch(size);
            for (index, signed) in batch.routes().iter().enumerate() {
                let leaf = batch_leaf(&signed.route);
                let proof = batch.proof(index).unwrap();
                assert!(
                    proof_holds(&batch.root(), &leaf, &proof),
                    "{index} of {size}"
                );
                let foreign = batch_leaf(&signed_route(&key(99), 1, 1_000).route);
                assert!(!proof_holds(&batch.root(), &foreign, &proof));
            }
            assert_eq!(batch.proof(usize::from(size)), None);
        }
    }

    #[test]
    fn batch_announced_reads_back_as_it_was() {
        let batch = batch(5);
        let routes = decode_announced(batch.encoded(), 5, B256::from(batch.root())).unwrap();
        assert_eq!(routes, batch.routes());
    }

    #[test]
    fn batch_with_another_count_or_root_is_refused() {
        let batch = batch(3);
        let root = B256::from(batch.root());
        assert_eq!(
            decode_announced(batch.encoded(), 4, root),
            Err(BatchError::Count(3))
        );
        assert_eq!(
            decode_announced(batch.encoded(), 3, B256::ZERO),
            Err(BatchError::Malformed)
        );
        let mut longer = batch.encoded().to_vec();
        longer.extend([0; 32]);
        assert_eq!(
            decode_announced(&longer, 3, root),
            Err(BatchError::Malformed)
        );
    }

    #[test]
    fn batch_that_is_empty_or_too_long_is_refused() {
        assert_eq!(RouteBatch::new(Vec::new()), Err(BatchError::Count(0)));
        let one = signed_route(&key(1), 1, 1_000);
        assert_eq!(
            RouteBatch::new(vec![one.clone(); 257]),
            Err(BatchError::Count(257))
        );
        assert!(matches!(
            RouteBatch::new(vec![one; 256]),
            Err(BatchError::Length(_))
        ));
    }

    #[test]
    fn batch_claiming_many_routes_is_refused_before_it_is_read() {
        let mut claim = vec![0; 64];
        claim[31] = 32;
        claim[60] = 0xff;
        assert!(matches!(
            decode_announced(&claim, 0xff00_0000, B256::ZERO),
            Err(BatchError::Count(_))
        ));
    }

    proptest! {
        #[test]
        fn batch_reader_survives_any_change(position in 0_usize..3_000, value: u8, cut in 0_usize..3_000) {
            let batch = batch(3);
            let root = B256::from(batch.root());
            let mut bytes = batch.encoded().to_vec();
            if let Some(byte) = bytes.get_mut(position) {
                *byte = value;
            }
            bytes.truncate(bytes.len().saturating_sub(cut));
            // A change that is taken touches signatures only: the root covers the rest.
            if let Ok(routes) = decode_announced(&bytes, 3, root) {
                prop_assert!(routes.iter().zip(batch.routes()).all(|(a, b)| a.route == b.route) || routes.len() < 3);
            }
        }
    }
}
