//! Putting a node on the ledger.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ledger::{NetworkFile, NodeStatement, Registrar, Revert, SubmitError};
use node::NodeKeys;

use super::Settings;
use crate::failure::Outcome;

/// How long the node's signature may be used.
const SIGNATURE_LIFE: Duration = Duration::from_secs(3_600);
/// The site profile of nodes that pretend nothing.
const BARE_PROFILE: &str = "bare";
/// The same of one that is a bridge.
const BARE_BRIDGE_PROFILE: &str = "bare+bridge";

/// What [`register`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Registered {
    /// The node is on the ledger now.
    New,
    /// It was there already; its particulars were written again.
    Updated,
}

/// What the ledger says of a node with these settings.
pub(crate) fn profile(settings: &Settings) -> &'static str {
    match settings.bridge {
        Some(_) => BARE_BRIDGE_PROFILE,
        None => BARE_PROFILE,
    }
}

/// Registers a node that pays for itself and is its own operator.
pub(crate) async fn register(
    network: &NetworkFile,
    keys: &NodeKeys,
    settings: &Settings,
    stake_wei: Option<u128>,
) -> Outcome<Registered> {
    let registrar = Registrar::new(network, &keys.wallet)?;
    let stake_wei = match stake_wei {
        Some(stake_wei) => stake_wei,
        None => registrar.min_stake().await?,
    };
    let address = keys.wallet.address();
    let now_s = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let nonce = registrar.node_nonce(address).await?;
    let statement = NodeStatement {
        operator: address,
        transport_key: keys.transport_key(),
        certificate: keys.certificate.certificate().to_bytes(),
        endpoint: settings.endpoint.clone(),
        profile: profile(settings).to_owned(),
        nonce,
        deadline_s: (now_s + SIGNATURE_LIFE).as_secs(),
    };
    let signed = statement.sign(
        &keys.wallet,
        network.chain_id,
        network.contracts.node_registry,
    )?;
    // Who has signed before is there already, or was: the stake is paid, and the wallet need not have it twice.
    if nonce > 0 {
        match registrar.update_node(&signed).await {
            Err(SubmitError::Reverted(Revert::NodeNotActive { .. })) => {}
            updated => {
                updated?;
                return Ok(Registered::Updated);
            }
        }
    }
    match registrar.register_node(&signed, stake_wei).await {
        Ok(_) => Ok(Registered::New),
        Err(SubmitError::Reverted(Revert::NodeAlreadyRegistered { .. })) => {
            registrar.update_node(&signed).await?;
            Ok(Registered::Updated)
        }
        Err(error) => Err(error.into()),
    }
}

/// Says on the ledger what a node offers that is a bridge; does nothing for another, or where the network has no place for it.
/// What a node offers that is none any more, it withdraws when it runs.
pub(crate) async fn announce(
    network: &NetworkFile,
    keys: &NodeKeys,
    settings: &Settings,
) -> Outcome<()> {
    let (Some(bridge), Some(_)) = (&settings.bridge, network.contracts.bridge_offers) else {
        return Ok(());
    };
    let registrar = Registrar::new(network, &keys.wallet)?;
    let node = keys.wallet.address();
    registrar.announce_offer(node, &bridge.offer()?).await?;
    Ok(())
}
