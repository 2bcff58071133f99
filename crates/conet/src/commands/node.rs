//! `conet node`: a node of a network.

mod bridges;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use clap::{Args, Subcommand};
use ledger::{NetworkFile, Registrar};
use node::NodeKeys;
use node::bridge::policy::{AllowedTarget, Policy};
use serde_json::json;
use zeroize::Zeroizing;

use crate::admin_port;
use crate::context::Context;
use crate::devnet::{dev_funder, free_ports};
use crate::failure::{Context as _, Exit, Failure, Outcome};
use crate::node_folder::{
    self, BridgeSettings, MIN_QUOTA_BYTES, NodeFolder, NodePlace, Registered, Settings, StoreChoice,
};
use crate::screen::{Steps, notice, print, print_json};
use crate::stopping;

/// What a node needs besides its stake, wei: gas for registering and for its accounts' routes.
pub(crate) const GAS_ALLOWANCE_WEI: u128 = 1_000_000_000_000_000_000;
/// The least that is left for gas, wei, before it makes sense to try.
const LEAST_GAS_WEI: u128 = 10_000_000_000_000_000;

/// What `conet node` can do.
#[derive(Debug, Subcommand)]
pub(crate) enum NodeCommand {
    /// Make a node's keys and register it on the ledger; again, to register after funding it.
    Init(InitArgs),
    /// Run the node until it is stopped.
    Run(RunArgs),
    /// Show how the node is.
    Status(StatusArgs),
    /// List the network's bridges: what each lets out, and what it asks for it.
    Bridges,
}

/// Arguments of `conet node init`.
#[derive(Debug, Args)]
pub(crate) struct InitArgs {
    #[command(flatten)]
    place: Place,
    /// Where clients and nodes connect [default: a free port on 127.0.0.1].
    #[arg(long, value_name = "ADDR:PORT", value_parser = fixed_port)]
    listen: Option<SocketAddr>,
    /// Where health, status and metrics are served; keep it on loopback [default: a free port on 127.0.0.1].
    #[arg(long, value_name = "ADDR:PORT", value_parser = fixed_port)]
    admin: Option<SocketAddr>,
    /// The URL under which others reach the node [default: http:// and what it listens on].
    #[arg(long, value_name = "URL", value_parser = endpoint)]
    endpoint: Option<String>,
    /// Stake [default: the least that the ledger takes].
    #[arg(long, value_name = "WEI")]
    stake: Option<u128>,
    /// Bytes that the node keeps for one wallet [default: 268435456].
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u64).range(MIN_QUOTA_BYTES..))]
    quota: Option<u64>,
    /// Keep the mailboxes on these NATS servers, which several processes of the node may share: nats://HOST:PORT,… [default: files].
    #[arg(long, value_name = "URL,…")]
    store: Option<String>,
    /// How many of the NATS servers keep each packet: 1, 3 or 5.
    #[arg(long, value_name = "N", default_value_t = 1, requires = "store")]
    store_replicas: usize,
    #[command(flatten)]
    bridge: BridgeArgs,
}

/// What makes a node a bridge.
#[derive(Debug, Default, Args)]
struct BridgeArgs {
    /// Be a bridge: connect others' streams to hosts of the Web2, as the exit policy says.
    #[arg(long)]
    bridge: bool,
    /// Be no bridge any more.
    #[arg(long, conflicts_with_all = ["bridge", "exit_policy", "allow_target", "price"])]
    no_bridge: bool,
    /// Exit policy: rules such as `reject 198.51.100.0/24:*; accept *:80,443`, or a file of them [default: all that is
    /// public, but port 25].
    #[arg(long, value_name = "RULES|FILE", requires = "bridge", value_parser = exit_policy)]
    exit_policy: Option<String>,
    /// Host and port that the bridge reaches in any case, such as a server beside it; may be given several times.
    #[arg(long, value_name = "HOST:PORT", requires = "bridge", value_parser = allowed_target)]
    allow_target: Vec<String>,
    /// What the bridge asks for each GiB that it carries, both directions together [default: 0, nothing].
    #[arg(long, value_name = "WEI", requires = "bridge")]
    price: Option<u128>,
}

impl BridgeArgs {
    /// What is asked for, given what was before.
    fn changed(&self, before: Option<BridgeSettings>) -> Option<BridgeSettings> {
        if self.no_bridge {
            return None;
        }
        if !self.bridge {
            return before;
        }
        let mut bridge = before.unwrap_or_default();
        if let Some(policy) = &self.exit_policy {
            bridge.policy = Some(policy.clone());
        }
        if !self.allow_target.is_empty() {
            bridge.allow.clone_from(&self.allow_target);
        }
        bridge.price_wei = self.price.unwrap_or(bridge.price_wei);
        Some(bridge)
    }
}

/// An exit policy in its compact form, from its text or a file.
fn exit_policy(text: &str) -> Result<String, String> {
    let rules = match std::fs::read_to_string(text) {
        Ok(rules) => rules,
        Err(_) => text.to_owned(),
    };
    let policy: Policy = rules.parse().map_err(|error| format!("{error}"))?;
    Ok(policy.to_string())
}

/// A target that a bridge reaches in any case.
pub(crate) fn allowed_target(text: &str) -> Result<String, String> {
    let parsed = text.parse::<AllowedTarget>();
    parsed.map_err(|error| error.to_string())?;
    Ok(text.to_owned())
}

/// Arguments of `conet node run`.
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    bridge: BridgeArgs,
    /// Stop when stdin ends: for programs that start nodes.
    #[arg(long, hide = true)]
    until_stdin_ends: bool,
}

/// Arguments of `conet node status`.
#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, Args)]
struct Place {
    /// The node's folder [default: node in the home].
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

impl Place {
    fn folder(&self, context: &Context) -> NodeFolder {
        NodeFolder::new(
            self.dir
                .clone()
                .unwrap_or_else(|| context.home_path().join("node")),
        )
    }
}

/// Does one of them.
pub(crate) async fn run(context: &Context, command: NodeCommand) -> Outcome {
    match command {
        NodeCommand::Init(args) => init(context, args).await,
        NodeCommand::Run(args) => run_node(context, &args).await,
        NodeCommand::Status(args) => status(context, &args).await,
        NodeCommand::Bridges => bridges::list(context).await,
    }
}

async fn init(context: &Context, args: InitArgs) -> Outcome {
    let folder = args.place.folder(context);
    let steps = Steps::new(&context.global);
    let network = if folder.exists() {
        folder.network()?
    } else {
        context.network()?
    };
    let (settings, keys) = if folder.exists() {
        let before = folder.settings()?;
        let keys = unlock(context, &folder, &before).await?;
        let settings = changed(before.clone(), &args)?;
        if settings != before {
            folder.set_settings(&settings)?;
        }
        (settings, keys)
    } else {
        make(context, &folder, &network, &args)?
    };
    steps.begin("registering the node on the ledger");
    let registrar = Registrar::new(&network, &keys.wallet)?;
    let stake_wei = match args.stake {
        Some(stake_wei) => stake_wei,
        None => registrar
            .min_stake()
            .await
            .context("the ledger does not answer")?,
    };
    pay(&network, &registrar, stake_wei).await?;
    let registered = node_folder::register(&network, &keys, &settings, Some(stake_wei)).await?;
    node_folder::announce(&network, &keys, &settings).await?;
    steps.end();
    let dir = folder.path().display();
    if context.global.json {
        print_json(&json!({
            "id": settings.address, "url": settings.endpoint, "admin": settings.admin, "dir": folder.path(),
            "registered": true,
        }))?;
        return Ok(Exit::Done);
    }
    let word = match registered {
        Registered::New => "registered",
        Registered::Updated => "registered before, brought up to date",
    };
    print(&format!(
        "node {} at {}: {word}",
        settings.address, settings.endpoint
    ))?;
    if settings.password_is_empty {
        print("its key is under an empty password: good enough for a devnet, for nothing else")?;
    }
    print(&format!("run it: conet node run --dir {dir}"))?;
    Ok(Exit::Done)
}

fn make(
    context: &Context,
    folder: &NodeFolder,
    network: &NetworkFile,
    args: &InitArgs,
) -> Outcome<(Settings, NodeKeys)> {
    let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let mut free = free_ports(loopback, 2)?
        .into_iter()
        .map(|port| SocketAddr::new(loopback, port));
    let mut address = |given: Option<SocketAddr>| {
        given
            .or_else(|| free.next())
            .ok_or_else(|| Failure::error("no port is free"))
    };
    let (listen, admin) = (address(args.listen)?, address(args.admin)?);
    let given = context.given_password()?;
    let password = match given {
        Some(password) => password,
        None if network.dev.is_some() => Zeroizing::default(),
        None => context.new_password("the node's wallet")?,
    };
    check_reachable(listen, args.endpoint.as_deref())?;
    let place = NodePlace {
        listen,
        admin,
        endpoint: args.endpoint.clone(),
        quota_bytes: args.quota,
        store: StoreChoice {
            servers: args.store.clone(),
            replicas: args.store_replicas,
        },
        bridge: args.bridge.changed(None),
    };
    folder.create(network, place, &password)
}

/// The settings of a node that exists, with what is asked for now.
fn changed(mut settings: Settings, args: &InitArgs) -> Outcome<Settings> {
    let was_default = settings.endpoint == format!("http://{}", settings.listen);
    if let Some(listen) = args.listen {
        settings.listen = listen;
        if was_default {
            check_reachable(listen, args.endpoint.as_deref())?;
            settings.endpoint = format!("http://{listen}");
        }
    }
    settings.admin = args.admin.unwrap_or(settings.admin);
    settings.quota_bytes = args.quota.unwrap_or(settings.quota_bytes);
    settings.bridge = args.bridge.changed(settings.bridge);
    if let Some(endpoint) = &args.endpoint {
        settings.endpoint.clone_from(endpoint);
    }
    Ok(settings)
}

fn check_reachable(listen: SocketAddr, endpoint: Option<&str>) -> Outcome<()> {
    if listen.ip().is_unspecified() && endpoint.is_none() {
        let advice = "give --endpoint URL, under which others reach it";
        return Err(Failure::new(
            Exit::Usage,
            format!("{listen} is no address that others could use: {advice}"),
        ));
    }
    Ok(())
}

/// An address with a port that stays the same.
fn fixed_port(text: &str) -> Result<SocketAddr, String> {
    let address: SocketAddr = (text.parse()).map_err(|_| "it is no ADDR:PORT".to_owned())?;
    if address.port() == 0 {
        return Err("others must know the port: choose one".to_owned());
    }
    Ok(address)
}

/// A URL that clients and nodes of this version can use.
fn endpoint(text: &str) -> Result<String, &'static str> {
    if text.starts_with("https://") {
        return Err("https comes with the site profiles: use http://");
    }
    let rest = text
        .strip_prefix("http://")
        .ok_or("it must begin with http://")?;
    let host = rest.split('/').next().unwrap_or_default();
    let (host, port) = match host.rsplit_once(':') {
        // The colons of an IPv6 address stand in brackets.
        Some((host, port)) if !port.ends_with(']') => (host, port.parse().unwrap_or(0)),
        _ => (host, 80_u16),
    };
    let odd = |c: char| c.is_whitespace() || c.is_control() || "?#@".contains(c);
    if host.is_empty() || port == 0 || rest.contains(odd) {
        return Err("it is no http:// URL of a host, with a port or without");
    }
    Ok(text.to_owned())
}

/// Sees to it that the node can pay: on a devnet everybody's funder does, else the operator must have.
async fn pay(network: &NetworkFile, node: &Registrar, stake_wei: u128) -> Outcome<()> {
    let balance_wei = node.balance(node.payer()).await?;
    if balance_wei >= stake_wei.saturating_add(LEAST_GAS_WEI) {
        return Ok(());
    }
    // A node that is registered already has paid; it is only brought up to date.
    if balance_wei >= LEAST_GAS_WEI && node.node_nonce(node.payer()).await? > 0 {
        return Ok(());
    }
    let needed_wei = stake_wei.saturating_add(GAS_ALLOWANCE_WEI);
    let Some(funder) = dev_funder(network)? else {
        let message = format!(
            "the node's wallet {} has {balance_wei} wei: send it at least {needed_wei} wei and run `conet node init` again",
            node.payer(),
        );
        return Err(Failure::new(Exit::Refused, message));
    };
    Registrar::new(network, &funder)?
        .transfer(node.payer(), needed_wei)
        .await?;
    Ok(())
}

async fn unlock(context: &Context, folder: &NodeFolder, settings: &Settings) -> Outcome<NodeKeys> {
    let password = match context.given_password()? {
        _ if settings.password_is_empty => Zeroizing::default(),
        Some(password) => password,
        None => context.password("the node's wallet")?,
    };
    let path = folder.path().to_owned();
    tokio::task::spawn_blocking(move || node_folder::unlock(&path, &password)).await?
}

async fn run_node(context: &Context, args: &RunArgs) -> Outcome {
    let folder = args.place.folder(context);
    let mut settings = folder.settings()?;
    let stop = stopping::on_signal()?;
    if args.until_stdin_ends {
        stopping::with_stdin(&stop);
    }
    let keys = unlock(context, &folder, &settings).await?;
    let bridge = args.bridge.changed(settings.bridge.clone());
    if bridge != settings.bridge {
        let was = node_folder::profile(&settings);
        settings.bridge = bridge;
        folder.set_settings(&settings)?;
        if node_folder::profile(&settings) != was
            && let Err(failure) =
                node_folder::register(&folder.network()?, &keys, &settings, None).await
        {
            // What it offers is announced by the node while it runs; without that, the profile is what counts.
            let why = failure.message();
            let text = format!(
                "the node's profile is not on the ledger, `conet node init` tries again: {why}"
            );
            notice(context, &text);
        }
    }
    folder.run(settings, keys, stop).await?;
    Ok(Exit::Done)
}

async fn status(context: &Context, args: &StatusArgs) -> Outcome {
    let folder = args.place.folder(context);
    let settings = folder.settings()?;
    let running = folder.running();
    let answer = match running {
        Some(_) => admin_port::status(settings.admin).await,
        None => None,
    };
    let bridge = settings.bridge.as_ref();
    let offer = bridge.map(BridgeSettings::offer).transpose()?;
    if context.global.json {
        let bridge = offer.as_ref().map(
            |offer| json!({ "policy": offer.policy, "price_wei": offer.price_wei.to_string() }),
        );
        print_json(&json!({
            "id": settings.address, "url": settings.endpoint, "admin": settings.admin, "mailbox": settings.mailbox,
            "bridge": bridge, "pid": running, "status": answer,
        }))?;
    } else {
        let state = running.map_or_else(
            || "not running".to_owned(),
            |id| format!("running, process {id}"),
        );
        print(&format!("node      {} ({state})", settings.address))?;
        print(&format!("endpoint  {}", settings.endpoint))?;
        print(&format!(
            "admin     http://{} (/health, /status, /metrics)",
            settings.admin
        ))?;
        if let Some(offer) = &offer {
            print(&format!(
                "bridge    {}",
                offer_line(&offer.policy, &offer.price_wei.to_string())
            ))?;
        }
        for (name, value) in answer
            .as_ref()
            .and_then(|answer| answer.as_object())
            .into_iter()
            .flatten()
        {
            if name == "offer" {
                let said = announced(value).unwrap_or_else(|| "nothing".to_owned());
                print(&format!("on the ledger {said}"))?;
            } else if name != "id" {
                print(&format!("{name:<13} {value}"))?;
            }
        }
    }
    match (running, answer) {
        (Some(_), Some(_)) => Ok(Exit::Done),
        _ => Ok(Exit::Unreachable),
    }
}

/// What a bridge offers, for people.
pub(crate) fn offer_line(policy: &str, price_wei: &str) -> String {
    match price_wei {
        "0" => format!("{policy} (free)"),
        wei => format!("{policy} ({wei} wei for each GiB)"),
    }
}

/// What a node says that the ledger says that it offers.
fn announced(offer: &serde_json::Value) -> Option<String> {
    let policy = offer.get("policy")?.as_str()?;
    Some(offer_line(policy, offer.get("price_wei")?.as_str()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoint_that_nobody_could_use_is_refused_before_it_is_on_the_ledger() {
        for good in [
            "http://127.0.0.1:4001",
            "http://node.example",
            "http://[::1]",
            "http://[::1]:80/base",
        ] {
            assert_eq!(endpoint(good), Ok(good.to_owned()));
        }
        for bad in [
            "",
            "ftp://x",
            "https://x",
            "http://",
            "http://:80",
            "http://x:0",
            "http://x:99999",
            "http://a b",
            "http://x/?q",
        ] {
            assert!(endpoint(bad).is_err(), "{bad}");
        }
        assert!(fixed_port("127.0.0.1:0").is_err());
    }

    #[test]
    fn endpoint_follows_the_port_unless_it_was_chosen() {
        let folder = tempfile::tempdir().unwrap();
        let keys = NodeFolder::new(folder.path());
        let network: NetworkFile = serde_json::from_str(
            r#"{"version":1,"name":"t","chain_id":1,"rpc_urls":["http://127.0.0.1:1"],"contracts":{
            "node_registry":"0x5FbDB2315678afecb367f032d93F642f64180aa3",
            "route_registry":"0xe7f1725E7734CE288F8367e1Bb143E90bb3F0512"},"start_block":1}"#,
        )
        .unwrap();
        let (one, two) = (
            "127.0.0.1:4001".parse().unwrap(),
            "127.0.0.1:4002".parse().unwrap(),
        );
        let place = NodePlace {
            listen: one,
            admin: two,
            endpoint: None,
            quota_bytes: None,
            store: StoreChoice::default(),
            bridge: None,
        };
        let (settings, _) = keys.create(&network, place, "").unwrap();
        let asked = |listen, endpoint: Option<&str>| InitArgs {
            place: Place { dir: None },
            listen,
            admin: None,
            endpoint: endpoint.map(str::to_owned),
            stake: None,
            quota: None,
            store: None,
            store_replicas: 1,
            bridge: BridgeArgs::default(),
        };
        let moved = changed(settings.clone(), &asked(Some(two), None)).unwrap();
        assert_eq!(
            (moved.listen, moved.endpoint.as_str()),
            (two, "http://127.0.0.1:4002")
        );
        let named = changed(settings, &asked(None, Some("http://x"))).unwrap();
        let moved = changed(named, &asked(Some(two), None)).unwrap();
        assert_eq!(moved.endpoint, "http://x");
    }

    #[test]
    fn bridge_stays_what_it_was_until_something_else_is_asked() {
        let asked = |bridge, no_bridge, policy: Option<&str>, allow: &[&str]| BridgeArgs {
            bridge,
            no_bridge,
            exit_policy: policy.map(str::to_owned),
            allow_target: allow.iter().map(ToString::to_string).collect(),
            price: None,
        };
        let nothing = asked(false, false, None, &[]);
        assert_eq!(nothing.changed(None), None);
        let with = asked(true, false, Some("accept *:443"), &["127.0.0.1:1"]);
        let bridge = with.changed(None);
        assert_eq!(nothing.changed(bridge.clone()), bridge);
        assert_eq!(
            asked(true, false, None, &[]).changed(bridge.clone()),
            bridge
        );
        let other = asked(true, false, None, &["127.0.0.1:2"]).changed(bridge.clone());
        let other = other.unwrap();
        assert_eq!(other.policy.as_deref(), Some("accept *:443"));
        assert_eq!(other.allow, ["127.0.0.1:2"]);
        let dear = BridgeArgs {
            price: Some(u128::MAX),
            ..asked(true, false, None, &[])
        };
        let dear = dear.changed(bridge.clone()).unwrap();
        assert_eq!(
            asked(true, false, None, &[]).changed(Some(dear.clone())),
            Some(dear.clone())
        );
        let offer = dear.offer().unwrap();
        assert_eq!(
            (offer.price_wei, &*offer.policy),
            (u128::MAX, "accept *:443")
        );
        let kept = serde_json::to_vec(&dear).unwrap();
        assert_eq!(
            serde_json::from_slice::<BridgeSettings>(&kept).unwrap(),
            dear
        );
        assert_eq!(asked(false, true, None, &[]).changed(bridge), None);
    }

    #[test]
    fn exit_policy_and_target_that_make_no_sense_say_why() {
        assert_eq!(exit_policy("accept *:443").unwrap(), "accept *:443");
        assert!(exit_policy("accept all").is_err());
        assert!(exit_policy("").is_err());
        assert!(allowed_target("127.0.0.1:3000").is_ok());
        assert!(allowed_target("127.0.0.1").is_err());
    }
}
