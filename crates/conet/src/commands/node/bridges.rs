//! `conet node bridges`: the network's bridges, and what each offers.

use std::time::Duration;

use client::Network;
use ledger::NodeRecord;
use node::bridge::policy::Policy;
use serde_json::json;

use super::offer_line;
use crate::context::Context;
use crate::failure::{Exit, Outcome};
use crate::screen::{print, print_json};

/// How long to wait for the first nodes of the network.
const READY_PATIENCE: Duration = Duration::from_secs(30);

/// Lists them.
pub(super) async fn list(context: &Context) -> Outcome {
    let file = context.network()?;
    let are_announced = file.contracts.bridge_offers.is_some();
    let network = Network::open(context.home_path(), file).await?;
    network.ready(READY_PATIENCE).await?;
    network.ledger_read().await;
    let nodes = network.nodes();
    let bridges = nodes.iter().filter(|node| match are_announced {
        true => node.offer.is_some(),
        false => node.is_bridge(),
    });
    if context.global.json {
        let bridges: Vec<_> = bridges.map(described).collect();
        print_json(&json!({ "bridges": bridges }))?;
        return Ok(Exit::Done);
    }
    let lines: Vec<String> = bridges.map(line).collect();
    if lines.is_empty() {
        print("the ledger lists no bridge")?;
    }
    for line in lines {
        print(&line)?;
    }
    Ok(Exit::Done)
}

fn described(node: &NodeRecord) -> serde_json::Value {
    let offer = node.offer.as_ref();
    json!({
        "id": node.address,
        "url": node.endpoint,
        "policy": offer.map(|offer| &*offer.policy),
        "price_wei": offer.map(|offer| offer.price_wei.to_string()),
        "readable": offer.map(|offer| offer.policy.parse::<Policy>().is_ok()),
    })
}

fn line(node: &NodeRecord) -> String {
    let offer = match &node.offer {
        None => "says nothing of what it lets out".to_owned(),
        Some(offer) => match offer.policy.parse::<Policy>() {
            Ok(policy) => offer_line(&policy.to_string(), &offer.price_wei.to_string()),
            // Its text could look like anything in a terminal.
            Err(_) => "a policy that can't be read: it is not used".to_owned(),
        },
    };
    format!("{}  {offer}", node.address)
}
