//! `conet proxy`: SOCKS5 and HTTP proxies on this machine whose connections leave at bridges.

mod bridges;
mod datagrams;
mod offers;
mod services;
mod signing_in;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use client::Network;
use client::streams::StreamPrivacy;
use gateway::stripes::Mode;
use gateway::{Bypass, Config, DEFAULT_TRY_TIMEOUT, Gateway, Split, Striped};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use protocol::NodeId;
use serde_json::json;

use crate::context::Context;
use crate::failure::{Context as _, Exit, Failure, Outcome};
use crate::screen::{Steps, print, print_json};
use crate::stopping;
use bridges::NodeBridges;
use offers::{Offers, Terms};
use services::NetworkServices;
use signing_in::{SignInArgs, signer};

pub(super) use services::whom;

/// How long to wait for the first nodes of the network.
const READY_PATIENCE: Duration = Duration::from_secs(30);
/// How often the bridges are read from the index anew, besides whenever it changes.
const REFRESH_EVERY: Duration = Duration::from_secs(60);

/// Arguments of `conet proxy`.
#[derive(Debug, Args)]
pub(crate) struct ProxyArgs {
    /// Where SOCKS5 is served.
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:1080")]
    socks: SocketAddr,
    /// Where the HTTP proxy, the PAC file (/proxy.pac) and the status page (/) are served.
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:8080")]
    http: SocketAddr,
    /// Use this bridge for everything.
    #[arg(long, value_name = "NODE", conflicts_with = "per_site")]
    pin: Option<NodeId>,
    /// Use one bridge for all connections to a site, as long as it works [default: another for each connection].
    #[arg(long)]
    per_site: bool,
    /// Use also bridges that ask up to so much for each GiB. There is no way to pay yet: what such a bridge does with those who
    /// don't is its own affair.
    #[arg(long, value_name = "WEI", default_value_t = 0)]
    max_price: u128,
    /// What is reached directly and not through the network: names, `*.example`, addresses, networks, `<local>`;
    /// separated by commas.
    #[arg(long, value_name = "RULE,…", default_value = "")]
    bypass: Bypass,
    /// Leave out the relay: faster, but the entry knows which bridge you use.
    #[arg(long)]
    direct: bool,
    /// Connect to the bridge itself: the fastest, but that one node knows your IP address and where you go, as with a VPN.
    #[arg(long, conflicts_with = "direct")]
    one_hop: bool,
    /// Let other machines use the proxies: whoever reaches them leaves through your account.
    #[arg(long)]
    allow_remote: bool,
    #[command(flatten)]
    sign_in: SignInArgs,
}

/// Runs the proxies until a signal.
pub(crate) async fn run(context: &Context, args: ProxyArgs) -> Outcome {
    let stop = stopping::on_signal()?;
    raise_descriptors();
    let steps = Steps::new(&context.global);
    steps.begin("joining the network");
    let home = context.home()?;
    let file = context.network()?;
    let signer = signer(context, &home, file.chain_id, args.sign_in).await?;
    let terms = Terms {
        are_announced: file.contracts.bridge_offers.is_some(),
        max_price_wei: args.max_price,
    };
    let network = Network::open(context.home_path(), file).await?;
    network.exclude_as_entries(home.mailboxes()?);
    network.ready(READY_PATIENCE).await?;
    // Policies and prices of yesterday may be others today.
    network.ledger_read().await;
    let mode = match args.pin {
        Some(node) => Mode::Pin(node),
        None if args.per_site => Mode::PerSite,
        None => Mode::PerConnection,
    };
    let privacy = match (args.one_hop, args.direct) {
        (true, _) => StreamPrivacy::OneHop,
        (false, true) => StreamPrivacy::Direct,
        (false, false) => StreamPrivacy::Relayed,
    };
    let offers = Offers::default();
    let carrier = NodeBridges::new(network.clone(), privacy, offers.clone());
    let striped = Arc::new(Striped::new(carrier, mode, DEFAULT_TRY_TIMEOUT));
    let follow = || {
        let bridges = offers.follow(&network.nodes(), terms);
        striped.set_bridges(bridges.iter().copied());
        bridges
    };
    let bridges = follow();
    if let Some(pinned) = args.pin
        && !bridges.contains(&pinned)
    {
        return Err(unusable(&network, pinned, terms));
    }
    let signs = signer.is_some();
    let config = Config {
        socks: Some(args.socks),
        http: Some(args.http),
        allow_remote: args.allow_remote,
        bypass: args.bypass,
        signer,
        ..Config::default()
    };
    let services = NetworkServices::new(network.clone(), home, privacy);
    let outbound = Arc::new(Split::new(services, Arc::clone(&striped) as _));
    let gateway = Gateway::bind(config, outbound).await.context("the proxy")?;
    steps.end();
    announce(context, &gateway, bridges.len(), signs, &offers.note())?;
    let refreshing = async {
        let mut changes = network.changes();
        loop {
            let _changed_or_late = tokio::time::timeout(REFRESH_EVERY, changes.changed()).await;
            // Many blocks at once are one change.
            tokio::time::sleep(Duration::from_millis(200)).await;
            follow();
        }
    };
    tokio::select! {
        () = gateway.run(stop) => {}
        () = refreshing => {}
    }
    Ok(Exit::Done)
}

/// Asks for as many descriptors as the system allows: each connection of a program takes one.
fn raise_descriptors() {
    if let Ok((_, most)) = getrlimit(Resource::RLIMIT_NOFILE) {
        // With fewer it works for fewer.
        let _refused = setrlimit(Resource::RLIMIT_NOFILE, most, most);
    }
}

/// Why a bridge that was named can't be used.
fn unusable(network: &Network, bridge: NodeId, terms: Terms) -> Failure {
    let nodes = network.nodes();
    let node = nodes.iter().find(|node| node.address == bridge);
    match node.and_then(|node| node.offer.as_ref()) {
        Some(offer) if offer.price_wei > terms.max_price_wei => {
            let price_wei = offer.price_wei;
            let message = format!("{bridge} asks {price_wei} wei for each GiB: see --max-price");
            Failure::new(Exit::Refused, message)
        }
        Some(_) => {
            let message = format!("the policy that {bridge} has announced can't be read");
            Failure::new(Exit::NotFound, message)
        }
        None => {
            let message = format!("{bridge} is no bridge that the ledger lists");
            Failure::new(Exit::NotFound, message)
        }
    }
}

fn announce(
    context: &Context,
    gateway: &Gateway,
    bridges: usize,
    signs: bool,
    note: &str,
) -> Outcome<()> {
    let (socks, http) = (gateway.socks_address(), gateway.http_address());
    if context.global.json {
        return print_json(
            &json!({ "socks": socks, "http": http, "bridges": bridges, "signs": signs }),
        );
    }
    let shown = |address: Option<SocketAddr>| address.map_or_else(String::new, |a| a.to_string());
    let (socks, http) = (shown(socks), shown(http));
    let leaving = match bridges {
        0 => "no bridge is known yet: connections wait for one".to_owned(),
        1 => "1 bridge".to_owned(),
        count => format!("{count} bridges"),
    };
    print(&format!("SOCKS5  {socks}  ({leaving})"))?;
    if !note.is_empty() {
        print(&format!("        {note}"))?;
    }
    print(&format!("HTTP    {http}"))?;
    print(&format!("PAC     http://{http}/proxy.pac"))?;
    print(&format!("status  http://{http}/"))?;
    if signs {
        print("signs   requests to services; each sees a wallet of its own")?;
    }
    print("")?;
    print(&format!(
        "services by their names: http://NAME.conet/ through {http}"
    ))?;
    print(&format!(
        "try: curl -x socks5h://{socks} https://example.org/"
    ))?;
    print("Ctrl-C stops it.")
}
