//! What of a devnet runs.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::home_entry::folder_of;
use super::notes::HOST;
use super::plan::{DevnetFolder, Plan};
use super::{PLAIN_INTAKE, chain};
use crate::context::Context;
use crate::failure::{Exit, Failure, Outcome};
use crate::process_lock::ProcessLock;
use crate::screen::{print, print_json};

/// Shows it.
pub(crate) async fn status(context: &Context, dir: Option<PathBuf>) -> Outcome {
    let folder = dir.map_or_else(|| folder_of(context.home_path()), DevnetFolder::new);
    let advice = "start one with `conet devnet up`";
    let Some(plan) = folder.plan()? else {
        let message = format!(
            "there is no devnet in {}: {advice}, or give --dir",
            folder.path.display()
        );
        return Err(Failure::new(Exit::NotFound, message));
    };
    if ProcessLock::holder(&folder.lock_path()).is_none() {
        let message = format!(
            "the devnet in {} does not run: {advice}",
            folder.path.display()
        );
        return Err(Failure::new(Exit::NotFound, message));
    }
    if context.global.json {
        print_json(&describe(&folder, &plan)?)?;
    } else {
        print(&table(&folder, &plan)?)?;
    }
    Ok(Exit::Done)
}

/// A devnet for programs.
pub(super) fn describe(folder: &DevnetFolder, plan: &Plan) -> Outcome<Value> {
    let network = plan.network();
    let mut nodes = Vec::new();
    for place in 0..plan.nodes.len() {
        let node = folder.node(place);
        let settings = node.settings()?;
        nodes.push(json!({
            "id": settings.address,
            "url": format!("{}{PLAIN_INTAKE}", settings.endpoint),
            "endpoint": settings.endpoint,
            "mailbox": settings.mailbox,
            "bridge": settings.bridge.is_some(),
            "pid": node.running(),
            "admin": format!("http://{}", settings.admin),
            "dir": node.path(),
        }));
    }
    let notes = folder.notes_path().is_dir();
    let services = notes.then(|| json!({ "name": HOST, "url": format!("http://{HOST}/") }));
    Ok(json!({
        "nodes": nodes,
        "services": services.into_iter().collect::<Vec<_>>(),
        "chain": {
            "rpc": plan.rpc_url(),
            "pid": ProcessLock::holder(&chain::lock_path(&folder.chain_path())),
            "chainId": network.chain_id,
            "contracts": {
                "NodeRegistry": network.contracts.node_registry,
                "RouteRegistry": network.contracts.route_registry,
                "NameRegistry": network.contracts.name_registry,
                "BridgeOffers": network.contracts.bridge_offers,
            },
        },
        "pid": ProcessLock::holder(&folder.lock_path()),
        "network": folder.network_path(),
        "dir": folder.path,
    }))
}

/// A devnet for people.
pub(super) fn table(folder: &DevnetFolder, plan: &Plan) -> Outcome<String> {
    let mut lines = vec![format!(
        "{:<8} {:<42}  {:<28} {:>8}",
        "", "wallet", "endpoint", "process"
    )];
    for place in 0..plan.nodes.len() {
        let node = folder.node(place);
        let settings = node.settings()?;
        let process = node
            .running()
            .map_or_else(|| "–".to_owned(), |id| id.to_string());
        let name = format!("node {}", place + 1);
        let bridge = if settings.bridge.is_some() {
            "  bridge"
        } else {
            ""
        };
        lines.push(format!(
            "{name:<8} {}  {:<28} {process:>8}{bridge}",
            settings.address, settings.endpoint
        ));
    }
    if folder.notes_path().is_dir() {
        lines.push(format!("{:<8} http://{HOST}/", "service"));
    }
    let contracts = plan.network().contracts;
    lines.push(format!(
        "{:<8} {}  NodeRegistry",
        "contract", contracts.node_registry
    ));
    lines.push(format!(
        "{:<8} {}  RouteRegistry",
        "contract", contracts.route_registry
    ));
    if let Some(names) = contracts.name_registry {
        lines.push(format!("{:<8} {names}  NameRegistry", "contract"));
    }
    if let Some(offers) = contracts.bridge_offers {
        lines.push(format!("{:<8} {offers}  BridgeOffers", "contract"));
    }
    lines.push(format!(
        "{:<8} {} (chain ID {})",
        "chain",
        plan.rpc_url(),
        plan.network().chain_id
    ));
    Ok(lines.join("\n"))
}
