//! Transactions about what bridges offer.

use alloy::{primitives::U256, sol_types::SolCall};
use wallet::WalletAddress;

use super::{Receipt, Registrar, SubmitError, evm_address};
use crate::{contracts::BridgeOffers, offer::BridgeOffer};

impl Registrar {
    /// Announces what a node offers as a bridge, in place of what it offered before; the paying wallet operates the node.
    ///
    /// # Errors
    /// [`SubmitError`]; [`Revert::NodeNotActive`](super::Revert::NodeNotActive) where the node isn't registered.
    pub async fn announce_offer(
        &self,
        node: WalletAddress,
        offer: &BridgeOffer,
    ) -> Result<Receipt, SubmitError> {
        offer.check()?;
        self.offer_call(BridgeOffers::announceCall {
            node: evm_address(node),
            price: offer.price_wei,
            policy: offer.policy.as_ref().to_owned(),
        })
        .await
    }

    /// Takes back what a node offers; the paying wallet operates the node.
    ///
    /// # Errors
    /// [`SubmitError`].
    pub async fn withdraw_offer(&self, node: WalletAddress) -> Result<Receipt, SubmitError> {
        let node = evm_address(node);
        self.offer_call(BridgeOffers::withdrawCall { node }).await
    }

    async fn offer_call(&self, call: impl SolCall) -> Result<Receipt, SubmitError> {
        let to = self.contracts.bridge_offers.ok_or(SubmitError::NoOffers)?;
        (self.submitter)
            .submit(Some(to), U256::ZERO, call.abi_encode().into())
            .await
    }
}
