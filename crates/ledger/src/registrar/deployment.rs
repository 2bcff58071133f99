//! Putting the contracts on a chain.

use alloy::{
    primitives::{Address, Bytes, U256},
    sol_types::SolConstructor,
};
use serde::Deserialize;
use wallet::{WalletAddress, WalletKey};

use super::{SubmitError, submitter::Submitter};
use crate::{
    contracts::{BridgeOffers, NameRegistry, NodeRegistry, RouteRegistry},
    network::{Contracts, NetworkFile},
};

const NODE_REGISTRY: &str = include_str!("../../../../contracts/artifacts/NodeRegistry.json");
const ROUTE_REGISTRY: &str = include_str!("../../../../contracts/artifacts/RouteRegistry.json");
const BRIDGE_OFFERS: &str = include_str!("../../../../contracts/artifacts/BridgeOffers.json");
const NAME_REGISTRY: &str = include_str!("../../../../contracts/artifacts/NameRegistry.json");

/// What a network's contracts are made with; can't be changed later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeploymentTerms {
    /// Least stake of a node, wei, above zero.
    pub min_stake_wei: u128,
    /// Seconds between a node's leaving and the return of its stake, at most 365 days.
    pub unbonding_period_s: u64,
}

/// Contracts that were put on a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deployed {
    /// Where they are.
    pub contracts: Contracts,
    /// The block of the first of them: the network file's start block.
    pub block: u64,
}

/// Puts the contracts on the chain of `network`, whose own contract addresses are not read; `payer`
/// pays. Takes two transactions, one after the other.
///
/// # Errors
/// [`SubmitError`].
pub async fn deploy(
    network: &NetworkFile,
    payer: &WalletKey,
    terms: &DeploymentTerms,
) -> Result<Deployed, SubmitError> {
    let submitter = Submitter::new(network, payer)?;
    let arguments = NodeRegistry::constructorCall {
        minStake: U256::from(terms.min_stake_wei),
        unbondingPeriod: terms.unbonding_period_s,
    };
    let (node_registry, block) = create(&submitter, NODE_REGISTRY, arguments).await?;
    let arguments = RouteRegistry::constructorCall {
        registry: Address::from(*node_registry.as_bytes()),
    };
    let (route_registry, _) = create(&submitter, ROUTE_REGISTRY, arguments).await?;
    Ok(Deployed {
        contracts: Contracts {
            node_registry,
            route_registry,
            name_registry: None,
            bridge_offers: None,
        },
        block,
    })
}

/// What a network's names cost and how fast they are had; can't be changed later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NameTerms {
    /// Price of a year of a name of 5 characters or more, wei, above zero; with 4 characters 8 times, with 3 64 times.
    pub price_per_year_wei: u128,
    /// Seconds that a commitment must have aged, above zero: as long as it takes to be sure that it is in a block.
    pub min_commitment_age_s: u64,
    /// Seconds after which a commitment can't be used any more, at most 7 days.
    pub max_commitment_age_s: u64,
}

/// Puts the contracts of names on the chain of `network`, in one transaction that `payer` pays, and returns where the
/// NameRegistry is; its file's start block must not be later.
///
/// # Errors
/// [`SubmitError`].
pub async fn deploy_names(
    network: &NetworkFile,
    payer: &WalletKey,
    terms: &NameTerms,
) -> Result<WalletAddress, SubmitError> {
    let submitter = Submitter::new(network, payer)?;
    let arguments = NameRegistry::constructorCall {
        pricePerYear: U256::from(terms.price_per_year_wei),
        minCommitmentAge: terms.min_commitment_age_s,
        maxCommitmentAge: terms.max_commitment_age_s,
    };
    let (registry, _) = create(&submitter, NAME_REGISTRY, arguments).await?;
    Ok(registry)
}

/// Puts the contract in which bridges announce their offers on the chain of `network`, in one transaction that `payer` pays,
/// and returns where it is; the network's NodeRegistry says who may announce.
///
/// # Errors
/// [`SubmitError`].
pub async fn deploy_offers(
    network: &NetworkFile,
    payer: &WalletKey,
) -> Result<WalletAddress, SubmitError> {
    let submitter = Submitter::new(network, payer)?;
    let arguments = BridgeOffers::constructorCall {
        registry: Address::from(*network.contracts.node_registry.as_bytes()),
    };
    let (offers, _) = create(&submitter, BRIDGE_OFFERS, arguments).await?;
    Ok(offers)
}

async fn create(
    submitter: &Submitter,
    artifact: &str,
    arguments: impl SolConstructor,
) -> Result<(WalletAddress, u64), SubmitError> {
    let artifact: Artifact =
        serde_json::from_str(artifact).map_err(|error| SubmitError::Unusable(Box::new(error)))?;
    let mut input = artifact.bytecode.to_vec();
    input.extend(arguments.abi_encode());
    let sent = submitter.submit_with_nonce(None, U256::ZERO, input.into());
    let (receipt, nonce) = sent.await?;
    let payer = Address::from(*submitter.payer().as_bytes());
    let contract = WalletAddress::from_bytes(payer.create(nonce).into());
    Ok((contract, receipt.block))
}

#[derive(Deserialize)]
struct Artifact {
    bytecode: Bytes,
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use alloy::{
        json_abi::JsonAbi,
        primitives::B256,
        sol_types::{SolEvent, SolInterface},
    };

    use super::*;
    use crate::contracts::{
        BridgeOffers as Offers, NameRegistrar as Registrar, NameRegistry as Name,
        NameResolver as Resolver, NodeRegistry as Node, ReverseRegistrar as Reverse,
        RouteRegistry as Route,
    };

    const NAME_REGISTRAR: &str = include_str!("../../../../contracts/artifacts/NameRegistrar.json");
    const NAME_RESOLVER: &str = include_str!("../../../../contracts/artifacts/NameResolver.json");
    const REVERSE_REGISTRAR: &str =
        include_str!("../../../../contracts/artifacts/ReverseRegistrar.json");

    fn committed(artifact: &str) -> JsonAbi {
        #[derive(Deserialize)]
        struct Abi {
            abi: JsonAbi,
        }
        serde_json::from_str::<Abi>(artifact).unwrap().abi
    }

    fn assert_same<C: SolInterface, E: SolInterface>(abi: &JsonAbi, topics: &[B256]) {
        let functions: BTreeSet<_> = abi.functions().map(|it| it.selector().0).collect();
        for selector in C::selectors() {
            assert!(functions.contains(&selector), "{}", hex::encode(selector));
        }
        let errors: BTreeSet<_> = abi.errors().map(|it| it.selector().0).collect();
        for selector in E::selectors() {
            // Errors of a library that the optimiser has dropped are not in the ABI.
            let known = errors.contains(&selector);
            assert!(known, "error {}", hex::encode(selector));
        }
        let events: BTreeSet<_> = abi.events().map(|it| it.selector()).collect();
        for topic in topics {
            assert!(events.contains(topic), "event {topic}");
        }
    }

    #[test]
    fn bindings_are_those_of_the_committed_contracts() {
        assert_same::<Node::NodeRegistryCalls, Node::NodeRegistryErrors>(
            &committed(NODE_REGISTRY),
            &[
                Node::NodeRegistered::SIGNATURE_HASH,
                Node::NodeUpdated::SIGNATURE_HASH,
                Node::NodeUnbonding::SIGNATURE_HASH,
            ],
        );
        assert_same::<Route::RouteRegistryCalls, Route::RouteRegistryErrors>(
            &committed(ROUTE_REGISTRY),
            &[
                Route::RouteSet::SIGNATURE_HASH,
                Route::RouteCleared::SIGNATURE_HASH,
                Route::RouteBatchSubmitted::SIGNATURE_HASH,
            ],
        );
        assert_same::<Name::NameRegistryCalls, Name::NameRegistryErrors>(
            &committed(NAME_REGISTRY),
            &[
                Name::NewOwner::SIGNATURE_HASH,
                Name::Transfer::SIGNATURE_HASH,
                Name::NewResolver::SIGNATURE_HASH,
                Name::NewExpiry::SIGNATURE_HASH,
            ],
        );
        assert_same::<Registrar::NameRegistrarCalls, Registrar::NameRegistrarErrors>(
            &committed(NAME_REGISTRAR),
            &[Registrar::NameRegistered::SIGNATURE_HASH],
        );
        assert_same::<Resolver::NameResolverCalls, Resolver::NameResolverErrors>(
            &committed(NAME_RESOLVER),
            &[
                Resolver::AddrChanged::SIGNATURE_HASH,
                Resolver::NameChanged::SIGNATURE_HASH,
            ],
        );
        assert_same::<Reverse::ReverseRegistrarCalls, Reverse::ReverseRegistrarErrors>(
            &committed(REVERSE_REGISTRAR),
            &[],
        );
        assert_same::<Offers::BridgeOffersCalls, Offers::BridgeOffersErrors>(
            &committed(BRIDGE_OFFERS),
            &[
                Offers::OfferAnnounced::SIGNATURE_HASH,
                Offers::OfferWithdrawn::SIGNATURE_HASH,
            ],
        );
    }

    #[test]
    fn artifacts_hold_bytecode() {
        for artifact in [NODE_REGISTRY, ROUTE_REGISTRY, NAME_REGISTRY, BRIDGE_OFFERS] {
            let artifact: Artifact = serde_json::from_str(artifact).unwrap();
            assert!(artifact.bytecode.len() > 1_000);
        }
    }
}
