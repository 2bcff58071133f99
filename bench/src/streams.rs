//! Streams, as programs see them that use `conet proxy`, beside other proxies in front of the same web server.
//!
//! The network is `conet devnet up`, every node a process of its own. Tor is a network of its own on the same machine.
//! All of them, the web server and whoever fetches share both cores, and take turns.

mod browser;
mod bulk;
mod crowd;
mod ours;
mod proxies;
mod small;
mod sockets;
mod socks;
mod tor;
mod web;

use std::ops::RangeInclusive;

use crate::http_sink;
use crate::process::Unpinned;
use crate::report::{LEAST_ROUNDS, Report};
use bulk::Ways;
use ours::{Hops, Ours};
use small::Pair;
use socks::{Target, Way};
use tor::Tor;
use web::Web;

/// How much a run does.
struct Amounts {
    lengths: Lengths,
    /// Small requests of a round, each kind.
    requests: usize,
    /// The same to services that hide.
    hidden_requests: usize,
    at_once: usize,
    short: usize,
    loads: usize,
}

/// Bytes of what is moved.
#[derive(Debug, Clone, Copy)]
struct Lengths {
    /// One large file.
    whole: usize,
    /// Each of those that are moved at once.
    part: usize,
    /// One from a service that hides.
    hidden: usize,
}

const WHOLE: Amounts = Amounts {
    lengths: Lengths {
        whole: 100 << 20,
        part: 25 << 20,
        hidden: 32 << 20,
    },
    requests: 60,
    hidden_requests: 15,
    at_once: 1_000,
    short: 10_000,
    loads: 200,
};

const QUICK: Amounts = Amounts {
    lengths: Lengths {
        whole: 16 << 20,
        part: 4 << 20,
        hidden: 4 << 20,
    },
    requests: 10,
    hidden_requests: 3,
    at_once: 200,
    short: 500,
    loads: 10,
};

/// The rounds, of which 0 only warms up.
fn rounds() -> RangeInclusive<usize> {
    0..=LEAST_ROUNDS
}

/// Measures everything.
pub(crate) async fn measure(report: &mut Report, quick: bool) -> anyhow::Result<()> {
    let amounts = if quick { QUICK } else { WHOLE };
    let lengths = amounts.lengths;
    let _both = Unpinned::begin()?;
    let web = Web::start(&[lengths.whole, lengths.part, lengths.hidden]).await?;
    let sink = http_sink::start(64).await?;
    let ours = Ours::start(&[web.socket, sink]).await?;
    let (site, sink) = (Target::from(web.socket), Target::from(sink));
    let relayed = ours.proxy(Hops::Relayed, true, &site).await?;
    {
        let direct = ours.proxy(Hops::Direct, true, &site).await?;
        let one_hop = ours.proxy(Hops::One, true, &site).await?;
        let tor = Tor::start(web.socket).await?;
        let (shadowsocks, microsocks) =
            (proxies::shadowsocks().await?, proxies::microsocks().await?);
        let ways = Ways {
            relayed: relayed.way,
            direct: direct.way,
            one_hop: one_hop.way,
            tor: tor.way,
            shadowsocks: shadowsocks.way,
            microsocks: microsocks.way,
            none: Way::NONE,
        };
        bulk::measure(report, &ways, &site, &sink, lengths).await?;
        let pair = |name, ours, peer, theirs, first| Pair {
            name,
            ours: Some((ours, &site)),
            peer,
            theirs: (theirs, &site),
            first,
        };
        let pairs = [
            pair("relayed", ways.relayed, "tor", ways.tor, true),
            pair(
                "one hop",
                ways.one_hop,
                "shadowsocks",
                ways.shadowsocks,
                false,
            ),
            pair(
                "one hop",
                ways.one_hop,
                "microsocks",
                ways.microsocks,
                false,
            ),
        ];
        small::measure(report, &pairs, amounts.requests).await?;

        let served = ours.service(web.socket, ways.relayed).await?;
        let onion = (ways.tor, &tor.onion);
        match &served {
            Ok((_, target)) => {
                bulk::service(report, (ways.relayed, target), onion, lengths.hidden).await?;
            }
            Err(why) => {
                report.say(&format!("service: {why}"));
                bulk::onion(report, onion.0, onion.1, lengths.hidden).await?;
            }
        }
        let hidden = Pair {
            name: "service",
            ours: served
                .as_ref()
                .ok()
                .map(|(_, target)| (ways.relayed, target)),
            peer: "tor onion service",
            theirs: onion,
            first: true,
        };
        small::measure(report, &[hidden], amounts.hidden_requests).await?;
    }
    // From here on nothing else runs that would take a core now and then.
    drop(relayed);
    crowd::cpu_of_each(report, &ours, &site, lengths).await?;
    {
        // Nodes that have carried much keep memory, into which streams would fit unseen.
        let fresh = Ours::start(&[web.socket]).await?;
        crowd::at_once(report, &fresh, &site, amounts.at_once).await?;
    }
    let microsocks = proxies::microsocks().await?;
    crowd::short(report, &ours, &site, microsocks.way, amounts.short).await?;
    browser::measure(report, &ours, &web, amounts.loads).await
}
