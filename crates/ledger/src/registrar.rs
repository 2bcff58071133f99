//! Writing to the ledger: a [`Registrar`] signs transactions with one wallet and sees them into a block.

use alloy::{
    primitives::{Address, B256, Bytes, U256},
    sol_types::SolCall,
};
use wallet::{WalletAddress, WalletKey};

use crate::{
    batch::{BatchError, RouteBatch},
    contracts::{NodeRegistry, RouteRegistry},
    name::NameError,
    network::{Contracts, NetworkFile},
    node::{NodeError, SignedNode},
    offer::OfferError,
    route::{RouteError, RouteRecord, SignedClear, SignedRoute},
    sync::ServerFailure,
};

mod deployment;
mod names;
mod offers;
mod revert;
mod submitter;

pub use deployment::{Deployed, DeploymentTerms, NameTerms, deploy, deploy_names, deploy_offers};
pub use names::NameClaim;
pub use revert::Revert;
pub use submitter::Receipt;

use submitter::Submitter;

/// Submits transactions of one wallet, which pays for them. May be shared between tasks.
///
/// # Security
/// RPC servers see the transactions, of course; apart from those, [`Registrar::balance`],
/// [`Registrar::node_nonce`] and [`Registrar::route_sequence`] tell them which wallet is asked about.
/// Clients hand routes to their mailbox instead ([`SignedRoute`]) and read the index.
#[derive(Debug)]
pub struct Registrar {
    submitter: Submitter,
    chain_id: u64,
    contracts: Contracts,
}

/// Why a transaction was not made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SubmitError {
    /// The contract refused.
    #[error("the ledger refused: {0}")]
    Reverted(Revert),
    /// The paying wallet can't pay.
    #[error("wallet {payer} has not enough funds for the transaction: send it some")]
    InsufficientFunds {
        /// The paying wallet.
        payer: WalletAddress,
    },
    /// None of the RPC servers could be used.
    #[error("no RPC server could be used: {}", crate::sync::Listed(.0))]
    NoServer(Vec<ServerFailure>),
    /// The transaction was sent, but is in no block yet.
    #[error("the transaction 0x{} is in no block after {waited_s} s: it may still come", hex::encode(.hash))]
    NoReceipt {
        /// The transaction's hash.
        hash: [u8; 32],
        /// How long was waited, seconds.
        waited_s: u64,
    },
    /// The transaction can't be signed or an RPC URL can't be used.
    #[error("the transaction can't be made")]
    Unusable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The route is none that the ledger would take.
    #[error(transparent)]
    Route(#[from] RouteError),
    /// The node's particulars are none that the ledger would take.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// The routes make no batch.
    #[error(transparent)]
    Batch(#[from] BatchError),
    /// The route is of another wallet than the one that pays.
    #[error("the route is of wallet {wallet}: let it sign the route instead")]
    ForeignRoute {
        /// The route's wallet.
        wallet: WalletAddress,
    },
    /// Nobody can register the name.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The network file names no NameRegistry.
    #[error("this network has no names")]
    NoNames,
    /// The offer is none that the ledger would take.
    #[error(transparent)]
    Offer(#[from] OfferError),
    /// The network file names no BridgeOffers.
    #[error("bridges announce nothing on this network")]
    NoOffers,
    /// The batch has no route of this number.
    #[error("the batch has no route {0}")]
    NoSuchRoute(usize),
}

impl Registrar {
    /// Makes a registrar that pays with `payer`'s wallet.
    ///
    /// # Errors
    /// [`SubmitError::Unusable`] where an RPC URL can't be used.
    pub fn new(network: &NetworkFile, payer: &WalletKey) -> Result<Self, SubmitError> {
        Ok(Self {
            submitter: Submitter::new(network, payer)?,
            chain_id: network.chain_id,
            contracts: network.contracts,
        })
    }

    /// Changes how long a transaction may take to get into a block: 120 s, if not set.
    #[must_use]
    pub fn with_receipt_timeout(mut self, timeout: std::time::Duration) -> Self {
        self.submitter.receipt_timeout = timeout;
        self
    }

    /// The paying wallet.
    pub fn payer(&self) -> WalletAddress {
        self.submitter.payer()
    }

    /// What a wallet owns, wei; `u128::MAX` if it is more.
    ///
    /// # Errors
    /// [`SubmitError::NoServer`].
    pub async fn balance(&self, wallet: WalletAddress) -> Result<u128, SubmitError> {
        self.submitter.balance(wallet).await
    }

    /// Sends wei to a wallet.
    ///
    /// # Errors
    /// [`SubmitError`].
    pub async fn transfer(&self, to: WalletAddress, wei: u128) -> Result<Receipt, SubmitError> {
        (self.submitter)
            .submit(Some(to), U256::from(wei), Bytes::new())
            .await
    }

    /// The nonce that a node's next statement must carry.
    ///
    /// # Errors
    /// [`SubmitError::NoServer`].
    pub async fn node_nonce(&self, node: WalletAddress) -> Result<u64, SubmitError> {
        let call = NodeRegistry::noncesCall {
            node: evm_address(node),
        };
        let nonce = (self.submitter)
            .view(self.contracts.node_registry, call)
            .await?;
        Ok(nonce.saturating_to())
    }

    /// The least stake of a new node, wei.
    ///
    /// # Errors
    /// [`SubmitError::NoServer`].
    pub async fn min_stake(&self) -> Result<u128, SubmitError> {
        let call = NodeRegistry::MIN_STAKECall {};
        let stake = (self.submitter)
            .view(self.contracts.node_registry, call)
            .await?;
        Ok(stake.saturating_to())
    }

    /// Registers a node with its stake; the statement names the paying wallet as operator.
    ///
    /// # Errors
    /// [`SubmitError`]; [`Revert::NodeAlreadyRegistered`] where it is listed already.
    pub async fn register_node(
        &self,
        node: &SignedNode,
        stake_wei: u128,
    ) -> Result<Receipt, SubmitError> {
        node.statement.check()?;
        let statement = &node.statement;
        let call = NodeRegistry::registerCall {
            node: evm_address(node.node),
            transportKey: B256::from(statement.transport_key),
            certificate: statement.certificate.clone().into(),
            endpoint: statement.endpoint.clone(),
            profile: statement.profile.clone(),
            deadline: U256::from(statement.deadline_s),
            nodeSignature: node.signature.as_bytes().to_vec().into(),
        };
        self.node_call(call, stake_wei).await
    }

    /// Replaces the keys, endpoint and profile of a node that the paying wallet operates.
    ///
    /// # Errors
    /// [`SubmitError`].
    pub async fn update_node(&self, node: &SignedNode) -> Result<Receipt, SubmitError> {
        node.statement.check()?;
        let statement = &node.statement;
        let call = NodeRegistry::updateCall {
            node: evm_address(node.node),
            transportKey: B256::from(statement.transport_key),
            certificate: statement.certificate.clone().into(),
            endpoint: statement.endpoint.clone(),
            profile: statement.profile.clone(),
            deadline: U256::from(statement.deadline_s),
            nodeSignature: node.signature.as_bytes().to_vec().into(),
        };
        self.node_call(call, 0).await
    }

    /// Adds to the stake of a node that the paying wallet operates.
    ///
    /// # Errors
    /// [`SubmitError`].
    pub async fn add_stake(&self, node: WalletAddress, wei: u128) -> Result<Receipt, SubmitError> {
        let node = evm_address(node);
        self.node_call(NodeRegistry::addStakeCall { node }, wei)
            .await
    }

    /// Takes a node that the paying wallet operates out of the active set.
    ///
    /// # Errors
    /// [`SubmitError`].
    pub async fn unbond(&self, node: WalletAddress) -> Result<Receipt, SubmitError> {
        let node = evm_address(node);
        self.node_call(NodeRegistry::unbondCall { node }, 0).await
    }

    /// Takes back the stake of a node whose unbonding period is over.
    ///
    /// # Errors
    /// [`SubmitError`]; [`Revert::StakeLocked`] where the period is not over.
    pub async fn withdraw(&self, node: WalletAddress) -> Result<Receipt, SubmitError> {
        let node = evm_address(node);
        self.node_call(NodeRegistry::withdrawCall { node }, 0).await
    }

    /// The last sequence that a wallet's route has had on the ledger, 0 for none; announced batches
    /// don't count.
    ///
    /// # Errors
    /// [`SubmitError::NoServer`].
    pub async fn route_sequence(&self, wallet: WalletAddress) -> Result<u64, SubmitError> {
        let call = RouteRegistry::sequenceOfCall {
            wallet: evm_address(wallet),
        };
        (self.submitter)
            .view(self.contracts.route_registry, call)
            .await
    }

    /// Sets the paying wallet's own route.
    ///
    /// # Errors
    /// [`SubmitError`]; [`Revert::StaleSequence`] where the sequence is not above the last one.
    pub async fn set_route(&self, route: &RouteRecord) -> Result<Receipt, SubmitError> {
        route.check()?;
        if route.wallet != self.payer() {
            return Err(SubmitError::ForeignRoute {
                wallet: route.wallet,
            });
        }
        let route = route.to_contract();
        self.route_call(RouteRegistry::setRouteCall { route }).await
    }

    /// Sets the route that another wallet has signed.
    ///
    /// # Errors
    /// [`SubmitError`]; the signature is checked before anything is sent.
    pub async fn set_route_by_sig(&self, signed: &SignedRoute) -> Result<Receipt, SubmitError> {
        signed.verify(self.chain_id, self.contracts.route_registry)?;
        self.route_call(RouteRegistry::setRouteBySigCall {
            route: signed.route.to_contract(),
            signature: signed.signature.as_bytes().to_vec().into(),
        })
        .await
    }

    /// Clears the paying wallet's own route.
    ///
    /// # Errors
    /// [`SubmitError`].
    pub async fn clear_route(&self, sequence: u64) -> Result<Receipt, SubmitError> {
        self.route_call(RouteRegistry::clearRouteCall { sequence })
            .await
    }

    /// Clears the route of a wallet that has signed so.
    ///
    /// # Errors
    /// [`SubmitError`]; the signature is checked before anything is sent.
    pub async fn clear_route_by_sig(&self, clear: &SignedClear) -> Result<Receipt, SubmitError> {
        clear.verify(self.chain_id, self.contracts.route_registry)?;
        self.route_call(RouteRegistry::clearRouteBySigCall {
            wallet: evm_address(clear.wallet),
            sequence: clear.sequence,
            deadline: clear.deadline_s,
            signature: clear.signature.as_bytes().to_vec().into(),
        })
        .await
    }

    /// Announces a batch of signed routes; the paying wallet must be an active node.
    ///
    /// # Errors
    /// [`SubmitError`]; [`Revert::NotActiveNode`] where the payer is none. The signatures are checked
    /// before anything is sent.
    pub async fn submit_batch(&self, batch: &RouteBatch) -> Result<Receipt, SubmitError> {
        for signed in batch.routes() {
            signed.verify(self.chain_id, self.contracts.route_registry)?;
        }
        self.route_call(RouteRegistry::submitBatchCall {
            root: B256::from(batch.root()),
            count: u32::try_from(batch.routes().len())
                .map_err(|_| BatchError::Count(batch.routes().len()))?,
            routes: batch.encoded().to_vec().into(),
        })
        .await
    }

    /// Stores a route of an announced batch as its wallet's route.
    ///
    /// # Errors
    /// [`SubmitError`].
    pub async fn apply_from_batch(
        &self,
        batch: &RouteBatch,
        index: usize,
    ) -> Result<Receipt, SubmitError> {
        let signed = batch.routes().get(index);
        let (signed, proof) = signed
            .zip(batch.proof(index))
            .ok_or(SubmitError::NoSuchRoute(index))?;
        self.route_call(RouteRegistry::applyFromBatchCall {
            root: B256::from(batch.root()),
            route: signed.route.to_contract(),
            signature: signed.signature.as_bytes().to_vec().into(),
            proof: proof.into_iter().map(B256::from).collect(),
        })
        .await
    }

    async fn node_call(&self, call: impl SolCall, wei: u128) -> Result<Receipt, SubmitError> {
        let to = Some(self.contracts.node_registry);
        (self.submitter)
            .submit(to, U256::from(wei), call.abi_encode().into())
            .await
    }

    async fn route_call(&self, call: impl SolCall) -> Result<Receipt, SubmitError> {
        let to = Some(self.contracts.route_registry);
        (self.submitter)
            .submit(to, U256::ZERO, call.abi_encode().into())
            .await
    }
}

fn evm_address(wallet: WalletAddress) -> Address {
    Address::from(*wallet.as_bytes())
}
