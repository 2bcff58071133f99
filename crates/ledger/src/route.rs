//! Routes: where a wallet's packets go, and the signatures that say so.

use alloy::{
    primitives::{Address, B64, U256},
    sol_types::{Eip712Domain, SolStruct},
};
use wallet::{Fingerprint, KeyId, SignatureError, WalletAddress, WalletKey, WalletSignature};

use crate::contracts;

/// Most key IDs in a route: two live subkeys, each with its predecessor, for two devices.
pub const MAX_KEY_IDS: usize = 8;
/// Most mailboxes in a route.
pub const MAX_MAILBOXES: usize = 3;

const DOMAIN_NAME: &str = "CONET RouteRegistry";
const DOMAIN_VERSION: &str = "1";

/// Where a wallet's packets go, as its wallet said on the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteRecord {
    /// The wallet.
    pub wallet: WalletAddress,
    /// Primary fingerprint of its OpenPGP certificate.
    pub fingerprint: Fingerprint,
    /// Key IDs of its encryption subkeys, 1–8, none zero.
    pub key_ids: Vec<KeyId>,
    /// Wallets of the nodes that keep its packets, 1–3, best first.
    pub mailboxes: Vec<WalletAddress>,
    /// Rises with every change of the wallet's route.
    pub sequence: u64,
    /// Unix second from which the route is void.
    pub expiry_s: u64,
}

/// A route with its wallet's EIP-712 signature: anybody may bring it to the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedRoute {
    /// The route.
    pub route: RouteRecord,
    /// The wallet's signature over [`route_digest`].
    pub signature: WalletSignature,
}

/// A wallet's signed wish to have no route any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SignedClear {
    /// The wallet.
    pub wallet: WalletAddress,
    /// Above the wallet's last sequence.
    pub sequence: u64,
    /// Last Unix second at which the ledger takes it.
    pub deadline_s: u64,
    /// The wallet's signature over [`clear_digest`].
    pub signature: WalletSignature,
}

/// Why a route is none that the ledger would take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RouteError {
    /// There are no key IDs or too many.
    #[error("a route has 1 to {MAX_KEY_IDS} key IDs, not {0}")]
    KeyIdCount(usize),
    /// A key ID is zero, which marks anonymous recipients.
    #[error("a key ID of the route is zero")]
    ZeroKeyId,
    /// There are no mailboxes or too many.
    #[error("a route has 1 to {MAX_MAILBOXES} mailboxes, not {0}")]
    MailboxCount(usize),
    /// A mailbox is the zero address.
    #[error("a mailbox of the route is the zero address")]
    ZeroMailbox,
    /// The fingerprint is neither of version 4 nor of version 6.
    #[error("a route's fingerprint has 20 or 32 bytes, not {0}")]
    FingerprintLength(usize),
    /// The sequence is zero, which stands for no route yet.
    #[error("a route's sequence begins with 1")]
    ZeroSequence,
    /// The signature is malformed.
    #[error("the route's signature is malformed")]
    Signature(#[from] SignatureError),
    /// Another wallet has signed.
    #[error("the route is signed by {signer}, not by its wallet")]
    ForeignSignature {
        /// Who has signed.
        signer: WalletAddress,
    },
}

impl RouteRecord {
    /// Checks the bounds that the RouteRegistry enforces.
    ///
    /// # Errors
    /// [`RouteError`] naming the bound that is crossed.
    pub fn check(&self) -> Result<(), RouteError> {
        if !(1..=MAX_KEY_IDS).contains(&self.key_ids.len()) {
            return Err(RouteError::KeyIdCount(self.key_ids.len()));
        }
        if self.key_ids.iter().any(|id| id.as_bytes() == &[0; 8]) {
            return Err(RouteError::ZeroKeyId);
        }
        if !(1..=MAX_MAILBOXES).contains(&self.mailboxes.len()) {
            return Err(RouteError::MailboxCount(self.mailboxes.len()));
        }
        if self
            .mailboxes
            .iter()
            .any(|node| node.as_bytes() == &[0; 20])
        {
            return Err(RouteError::ZeroMailbox);
        }
        if self.sequence == 0 {
            return Err(RouteError::ZeroSequence);
        }
        Ok(())
    }

    /// Tells whether the route is still good at `now_s`, Unix seconds.
    pub const fn is_live(&self, now_s: u64) -> bool {
        now_s < self.expiry_s
    }

    pub(crate) fn to_contract(&self) -> contracts::Route {
        contracts::Route {
            wallet: Address::from(*self.wallet.as_bytes()),
            fingerprint: self.fingerprint.as_bytes().to_vec().into(),
            keyIds: (self.key_ids.iter())
                .map(|id| B64::from(*id.as_bytes()))
                .collect(),
            mailboxes: (self.mailboxes.iter())
                .map(|node| Address::from(*node.as_bytes()))
                .collect(),
            sequence: self.sequence,
            expiry: self.expiry_s,
        }
    }

    /// Takes a route as the contract's ABI carries it and checks its bounds.
    pub(crate) fn from_contract(route: &contracts::Route) -> Result<Self, RouteError> {
        let record = Self {
            wallet: WalletAddress::from_bytes(route.wallet.into()),
            fingerprint: Fingerprint::from_slice(&route.fingerprint)
                .map_err(|_| RouteError::FingerprintLength(route.fingerprint.len()))?,
            key_ids: (route.keyIds.iter())
                .map(|id| KeyId::from_bytes(id.0))
                .collect(),
            mailboxes: (route.mailboxes.iter())
                .map(|node| WalletAddress::from_bytes(node.0.0))
                .collect(),
            sequence: route.sequence,
            expiry_s: route.expiry,
        };
        record.check()?;
        Ok(record)
    }
}

impl SignedRoute {
    /// Signs a route with its wallet's key for the RouteRegistry at `registry` on chain `chain_id`.
    ///
    /// # Errors
    /// [`RouteError`] where the route is out of bounds or not of `key`'s wallet.
    pub fn sign(
        route: RouteRecord,
        key: &WalletKey,
        chain_id: u64,
        registry: WalletAddress,
    ) -> Result<Self, RouteError> {
        route.check()?;
        require_signer(key.address(), route.wallet)?;
        let signature = key.sign_hash(&route_digest(&route, chain_id, registry));
        Ok(Self { route, signature })
    }

    /// Checks the bounds and that the route's own wallet has signed it.
    ///
    /// # Errors
    /// [`RouteError`] naming what is wrong.
    pub fn verify(&self, chain_id: u64, registry: WalletAddress) -> Result<(), RouteError> {
        self.route.check()?;
        let digest = route_digest(&self.route, chain_id, registry);
        require_signer(self.signature.recover_hash(&digest)?, self.route.wallet)
    }
}

impl SignedClear {
    /// Signs that the wallet of `key` wants no route from `sequence` on; good until `deadline_s`.
    pub fn sign(
        key: &WalletKey,
        sequence: u64,
        deadline_s: u64,
        chain_id: u64,
        registry: WalletAddress,
    ) -> Self {
        let wallet = key.address();
        let digest = clear_digest(wallet, sequence, deadline_s, chain_id, registry);
        Self {
            wallet,
            sequence,
            deadline_s,
            signature: key.sign_hash(&digest),
        }
    }

    /// Checks that the wallet itself has signed.
    ///
    /// # Errors
    /// [`RouteError`] naming what is wrong.
    pub fn verify(&self, chain_id: u64, registry: WalletAddress) -> Result<(), RouteError> {
        let digest = clear_digest(
            self.wallet,
            self.sequence,
            self.deadline_s,
            chain_id,
            registry,
        );
        require_signer(self.signature.recover_hash(&digest)?, self.wallet)
    }
}

/// The EIP-712 digest that a wallet signs to set its route (`docs/wire-format.md`, section 8).
pub fn route_digest(route: &RouteRecord, chain_id: u64, registry: WalletAddress) -> [u8; 32] {
    (route.to_contract())
        .eip712_signing_hash(&domain(DOMAIN_NAME, DOMAIN_VERSION, chain_id, registry))
        .0
}

/// The EIP-712 digest that a wallet signs to clear its route.
pub fn clear_digest(
    wallet: WalletAddress,
    sequence: u64,
    deadline_s: u64,
    chain_id: u64,
    registry: WalletAddress,
) -> [u8; 32] {
    let clear = contracts::ClearRoute {
        wallet: Address::from(*wallet.as_bytes()),
        sequence,
        deadline: deadline_s,
    };
    clear
        .eip712_signing_hash(&domain(DOMAIN_NAME, DOMAIN_VERSION, chain_id, registry))
        .0
}

/// The EIP-712 domain of a contract.
pub(crate) fn domain(
    name: &'static str,
    version: &'static str,
    chain_id: u64,
    contract: WalletAddress,
) -> Eip712Domain {
    Eip712Domain::new(
        Some(name.into()),
        Some(version.into()),
        Some(U256::from(chain_id)),
        Some(Address::from(*contract.as_bytes())),
        None,
    )
}

fn require_signer(signer: WalletAddress, wallet: WalletAddress) -> Result<(), RouteError> {
    if signer == wallet {
        Ok(())
    } else {
        Err(RouteError::ForeignSignature { signer })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_data::{key, route};

    const CHAIN: u64 = 31_337;
    const REGISTRY: WalletAddress = WalletAddress::from_bytes([9; 20]);

    #[test]
    fn eip_712_types_are_those_of_the_contracts() {
        let route = route(&key(1), 1, 100).to_contract();
        assert_eq!(
            alloy::primitives::keccak256(
                "Route(address wallet,bytes fingerprint,bytes8[] keyIds,address[] mailboxes,uint64 sequence,uint64 expiry)"
            ),
            route.eip712_type_hash()
        );
        assert_eq!(
            contracts::ClearRoute::eip712_root_type(),
            "ClearRoute(address wallet,uint64 sequence,uint64 deadline)"
        );
        assert_eq!(
            contracts::Node::eip712_root_type(),
            "Node(address operator,bytes32 transportKey,bytes certificate,string endpoint,string profile,uint256 nonce,uint256 deadline)"
        );
    }

    #[test]
    fn signed_route_changed_in_any_field_is_refused() {
        let signed = SignedRoute::sign(route(&key(1), 3, 100), &key(1), CHAIN, REGISTRY).unwrap();
        signed.verify(CHAIN, REGISTRY).unwrap();

        let changes: [fn(&mut SignedRoute); 7] = [
            |signed| signed.route.wallet = key(2).address(),
            |signed| signed.route.fingerprint = Fingerprint::V4([1; 20]),
            |signed| signed.route.key_ids.push(KeyId::from_bytes([9; 8])),
            |signed| signed.route.mailboxes.reverse(),
            |signed| signed.route.sequence += 1,
            |signed| signed.route.expiry_s += 1,
            |signed| signed.signature = key(2).sign_hash(&[0; 32]),
        ];
        for (index, change) in changes.into_iter().enumerate() {
            let mut other = signed.clone();
            change(&mut other);
            assert!(other.verify(CHAIN, REGISTRY).is_err(), "change {index}");
        }
        assert!(signed.verify(1, REGISTRY).is_err());
        assert!(signed.verify(CHAIN, key(5).address()).is_err());
    }

    #[test]
    fn route_out_of_bounds_is_refused() {
        type Change = fn(&mut RouteRecord);
        let cases: [(Change, RouteError); 6] = [
            (|route| route.key_ids.clear(), RouteError::KeyIdCount(0)),
            (
                |route| route.key_ids = vec![KeyId::from_bytes([1; 8]); 9],
                RouteError::KeyIdCount(9),
            ),
            (
                |route| route.key_ids.push(KeyId::from_bytes([0; 8])),
                RouteError::ZeroKeyId,
            ),
            (|route| route.mailboxes.clear(), RouteError::MailboxCount(0)),
            (
                |route| route.mailboxes = vec![WalletAddress::from_bytes([0; 20])],
                RouteError::ZeroMailbox,
            ),
            (|route| route.sequence = 0, RouteError::ZeroSequence),
        ];
        for (change, expected) in cases {
            let mut route = route(&key(1), 1, 100);
            change(&mut route);
            assert_eq!(route.check(), Err(expected));
            assert_eq!(
                SignedRoute::sign(route, &key(1), CHAIN, REGISTRY),
                Err(expected)
            );
        }
    }

    #[test]
    fn signed_clear_by_another_wallet_is_refused() {
        let mut clear = SignedClear::sign(&key(1), 7, 1_000, CHAIN, REGISTRY);
        clear.verify(CHAIN, REGISTRY).unwrap();
        clear.wallet = key(2).address();
        assert!(matches!(
            clear.verify(CHAIN, REGISTRY),
            Err(RouteError::ForeignSignature { .. })
        ));
    }

    #[test]
    fn route_with_an_expiry_is_void_from_that_second_on() {
        let route = route(&key(1), 1, 100);
        assert!(route.is_live(99));
        assert!(!route.is_live(100));
    }
}
