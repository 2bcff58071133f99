//! Why a contract refused, in words.

use alloy::{
    primitives::U256,
    sol_types::{Panic, Revert as Words, SolError, SolInterface},
};
use wallet::WalletAddress;

use crate::contracts::{
    BridgeOffers::BridgeOffersErrors as Offers, NameRegistrar::NameRegistrarErrors as Registrar,
    NameRegistry::NameRegistryErrors as Names, NodeRegistry::NodeRegistryErrors as Node,
    RouteRegistry::RouteRegistryErrors as Route,
};

/// Why a contract refused a transaction.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Revert {
    /// The node is listed already, active or unbonding.
    #[error("node {node} is registered already")]
    NodeAlreadyRegistered {
        /// The node.
        node: WalletAddress,
    },
    /// The node is not in the active set.
    #[error("node {node} is not active")]
    NodeNotActive {
        /// The node.
        node: WalletAddress,
    },
    /// There is nothing to withdraw.
    #[error("node {node} is not unbonding")]
    NodeNotUnbonding {
        /// The node.
        node: WalletAddress,
    },
    /// The paying wallet does not operate the node.
    #[error("wallet {caller} is not the operator of node {node}")]
    NotOperator {
        /// The node.
        node: WalletAddress,
        /// The paying wallet.
        caller: WalletAddress,
    },
    /// The stake is below the least.
    #[error("a stake of {sent_wei} wei is below the least, {required_wei} wei")]
    InsufficientStake {
        /// The stake sent, wei.
        sent_wei: u128,
        /// The least stake, wei.
        required_wei: u128,
    },
    /// The unbonding period is not over.
    #[error("the stake is locked until {release_s} (Unix seconds)")]
    StakeLocked {
        /// Unix second from which it can be withdrawn.
        release_s: u64,
    },
    /// The signature's deadline has passed: the block's time is later.
    #[error("the signature was good until {deadline_s} (Unix seconds): sign anew, check the clock")]
    SignatureExpired {
        /// Its last Unix second.
        deadline_s: u64,
    },
    /// The signature is not by this wallet over these values, nonce included.
    #[error("the signature is not by {wallet} over these values")]
    InvalidSignature {
        /// The wallet that should have signed.
        wallet: WalletAddress,
    },
    /// The route's sequence is not above the wallet's last one.
    #[error("sequence {sequence} is not above the wallet's last one, {current}")]
    StaleSequence {
        /// The sequence sent.
        sequence: u64,
        /// The wallet's last one.
        current: u64,
    },
    /// The route is void already.
    #[error("the route is void since {expiry_s} (Unix seconds)")]
    RouteExpired {
        /// Its expiry, Unix seconds.
        expiry_s: u64,
    },
    /// Only active nodes announce batches.
    #[error("{caller} is not an active node")]
    NotActiveNode {
        /// The paying wallet.
        caller: WalletAddress,
    },
    /// No batch with this root was announced.
    #[error("no batch with this root was announced")]
    UnknownBatchRoot,
    /// The name is somebody's, if only in its days of grace.
    #[error("the name is somebody's already")]
    NameUnavailable,
    /// The name is nobody's, so there is nothing to prolong.
    #[error("nobody has the name: register it")]
    NameNotRegistered,
    /// The registration is over, and in the days of grace only its holder may prolong it.
    #[error("the registration is over: only its former owner can prolong it now")]
    NotHolder,
    /// The wallet does not own the name, or its registration is over.
    #[error("wallet {caller} does not own the name, or its registration is over")]
    NotNameOwner {
        /// The paying wallet.
        caller: WalletAddress,
    },
    /// The registration would be shorter than 28 days or last for more than 10 years from now.
    #[error("a registration lasts 28 days at least and ends within 10 years from now")]
    InvalidDuration,
    /// The claim was not committed to.
    #[error("the claim to the name was not committed to")]
    UnknownCommitment,
    /// The same claim was committed to already.
    #[error("the claim to the name is committed to already")]
    CommitmentPending,
    /// The commitment must age.
    #[error("the commitment can be used from {usable_s} (Unix seconds) on")]
    CommitmentTooNew {
        /// Unix second from which it can be used.
        usable_s: u64,
    },
    /// The commitment was left for too long.
    #[error("the commitment is too old: begin again")]
    CommitmentTooOld,
    /// Too little was paid for the name.
    #[error("{sent_wei} wei are below the name's price, {price_wei} wei")]
    InsufficientPayment {
        /// Wei sent.
        sent_wei: u128,
        /// The price, wei.
        price_wei: u128,
    },
    /// A bridge's policy is empty or too long.
    #[error(
        "an announced policy has 1 to {} bytes, not {bytes}",
        crate::MAX_POLICY_BYTES
    )]
    InvalidPolicyLength {
        /// Its length, bytes.
        bytes: u64,
    },
    /// Another error of the contracts.
    #[error("{name}")]
    Other {
        /// The error with its arguments.
        name: String,
    },
    /// The contract's words, by `revert("…")`.
    #[error("{0}")]
    Said(String),
    /// The chain gave no reason, or one that is unknown here.
    #[error("no reason was given")]
    Unexplained,
}

/// Longest reason that is kept, characters.
const MAX_REASON_CHARS: usize = 256;

impl Revert {
    /// Reads the data of a revert.
    pub(super) fn decode(data: &[u8]) -> Self {
        if let Ok(error) = Node::abi_decode_validate(data) {
            return Self::of_node_registry(error);
        }
        if let Ok(error) = Route::abi_decode_validate(data) {
            return Self::of_route_registry(error);
        }
        if let Ok(error) = Registrar::abi_decode_validate(data) {
            return Self::of_name_registrar(error);
        }
        if let Ok(error) = Names::abi_decode_validate(data) {
            return match error {
                Names::NotNodeOwner(it) => Self::NotNameOwner {
                    caller: wallet(it.caller),
                },
                other => Self::Other {
                    name: bounded(&format!("{other:?}")),
                },
            };
        }
        // Its other errors are the NodeRegistry's and the RouteRegistry's too.
        if let Ok(Offers::InvalidPolicyLength(it)) = Offers::abi_decode_validate(data) {
            return Self::InvalidPolicyLength {
                bytes: it.length.saturating_to(),
            };
        }
        if let Ok(words) = Words::abi_decode_validate(data) {
            return Self::Said(bounded(&words.reason));
        }
        match Panic::abi_decode_validate(data) {
            Ok(panic) => Self::Said(bounded(&panic.to_string())),
            Err(_) => Self::Unexplained,
        }
    }

    fn of_node_registry(error: Node) -> Self {
        match error {
            Node::NodeAlreadyRegistered(it) => Self::NodeAlreadyRegistered {
                node: wallet(it.node),
            },
            Node::NodeNotActive(it) => Self::NodeNotActive {
                node: wallet(it.node),
            },
            Node::NodeNotUnbonding(it) => Self::NodeNotUnbonding {
                node: wallet(it.node),
            },
            Node::NotOperator(it) => Self::NotOperator {
                node: wallet(it.node),
                caller: wallet(it.caller),
            },
            Node::InsufficientStake(it) => Self::InsufficientStake {
                sent_wei: it.sent.saturating_to(),
                required_wei: it.required.saturating_to(),
            },
            Node::StakeLocked(it) => Self::StakeLocked {
                release_s: it.releaseTime,
            },
            Node::SignatureExpired(it) => Self::SignatureExpired {
                deadline_s: U256::saturating_to(&it.deadline),
            },
            Node::InvalidNodeSignature(it) => Self::InvalidSignature {
                wallet: wallet(it.node),
            },
            other => Self::Other {
                name: bounded(&format!("{other:?}")),
            },
        }
    }

    fn of_name_registrar(error: Registrar) -> Self {
        match error {
            Registrar::NameUnavailable(_) => Self::NameUnavailable,
            Registrar::NameNotRegistered(_) => Self::NameNotRegistered,
            Registrar::NotHolder(_) => Self::NotHolder,
            Registrar::InvalidDuration(_) => Self::InvalidDuration,
            Registrar::UnknownCommitment(_) => Self::UnknownCommitment,
            Registrar::CommitmentPending(_) => Self::CommitmentPending,
            Registrar::CommitmentTooNew(it) => Self::CommitmentTooNew {
                usable_s: it.usableFrom.saturating_to(),
            },
            Registrar::CommitmentTooOld(_) => Self::CommitmentTooOld,
            Registrar::InsufficientPayment(it) => Self::InsufficientPayment {
                sent_wei: it.sent.saturating_to(),
                price_wei: it.price.saturating_to(),
            },
            other => Self::Other {
                name: bounded(&format!("{other:?}")),
            },
        }
    }

    fn of_route_registry(error: Route) -> Self {
        match error {
            Route::StaleSequence(it) => Self::StaleSequence {
                sequence: it.sequence,
                current: it.current,
            },
            Route::RouteExpired(it) => Self::RouteExpired {
                expiry_s: it.expiry,
            },
            Route::SignatureExpired(it) => Self::SignatureExpired {
                deadline_s: it.deadline,
            },
            Route::InvalidSignature(it) => Self::InvalidSignature {
                wallet: wallet(it.wallet),
            },
            Route::NotActiveNode(it) => Self::NotActiveNode {
                caller: wallet(it.caller),
            },
            Route::UnknownBatchRoot(_) => Self::UnknownBatchRoot,
            other => Self::Other {
                name: bounded(&format!("{other:?}")),
            },
        }
    }
}

fn wallet(address: alloy::primitives::Address) -> WalletAddress {
    WalletAddress::from_bytes(address.into())
}

fn bounded(reason: &str) -> String {
    (reason.chars())
        .filter(|char| !char.is_control())
        .take(MAX_REASON_CHARS)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contracts::RouteRegistry;

    #[test]
    fn revert_of_a_contract_is_named() {
        let data = RouteRegistry::StaleSequence {
            sequence: 3,
            current: 5,
        };
        let revert = Revert::decode(&data.abi_encode());
        assert_eq!(
            revert,
            Revert::StaleSequence {
                sequence: 3,
                current: 5
            }
        );
        let other = Revert::decode(&RouteRegistry::ZeroKeyId {}.abi_encode());
        assert!(other.to_string().contains("ZeroKeyId"), "{other}");
    }

    #[test]
    fn revert_in_words_is_kept_without_control_characters() {
        let data = Words::from("no\u{1b}pe").abi_encode();
        let said = Revert::decode(&data).to_string();
        assert!(said.contains("nope"), "{said}");
    }

    #[test]
    fn revert_of_unknown_bytes_is_unexplained() {
        assert_eq!(Revert::decode(&[]), Revert::Unexplained);
        assert_eq!(Revert::decode(&[0xff; 3]), Revert::Unexplained);
    }
}
