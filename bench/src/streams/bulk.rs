//! Large bodies: one, four at once, and the other way.

use std::time::Instant;

use anyhow::ensure;

use super::socks::{Target, Way};
use super::{Lengths, rounds};
use crate::report::{Figure, Report};

const AT_ONCE: usize = 4;

/// A way that is measured, and what it did.
struct Lane {
    way: Way,
    site: Target,
    down: Vec<f64>,
    parallel: Vec<f64>,
    up: Vec<f64>,
}

/// One kind of what a lane did.
type Pick = fn(&Lane) -> &Vec<f64>;

/// The ways of a run that large bodies go.
pub(super) struct Ways {
    pub(super) relayed: Way,
    pub(super) direct: Way,
    pub(super) one_hop: Way,
    pub(super) tor: Way,
    pub(super) shadowsocks: Way,
    pub(super) microsocks: Way,
    pub(super) none: Way,
}

/// Measures MB/s from the connection's beginning to the last byte.
pub(super) async fn measure(
    report: &mut Report,
    ways: &Ways,
    site: &Target,
    sink: &Target,
    lengths: Lengths,
) -> anyhow::Result<()> {
    let lane = |way| Lane {
        way,
        site: site.clone(),
        down: Vec::new(),
        parallel: Vec::new(),
        up: Vec::new(),
    };
    let [
        mut relayed,
        mut direct,
        mut one,
        mut tor,
        mut shadow,
        mut micro,
        mut none,
    ] = [
        ways.relayed,
        ways.direct,
        ways.one_hop,
        ways.tor,
        ways.shadowsocks,
        ways.microsocks,
        ways.none,
    ]
    .map(lane);
    for round in rounds() {
        for lane in [
            &mut relayed,
            &mut tor,
            &mut direct,
            &mut one,
            &mut shadow,
            &mut micro,
            &mut none,
        ] {
            // The first round only warms up, with a part of it.
            let length = if round == 0 {
                lengths.part
            } else {
                lengths.whole
            };
            let down = lane.download(1, length).await?;
            let parallel = lane.download(AT_ONCE, lengths.part).await?;
            let up = lane.upload(sink, length).await?;
            if round > 0 {
                lane.down.push(down);
                lane.parallel.push(parallel);
                lane.up.push(up);
            }
        }
    }
    let mib = lengths.whole >> 20;
    let each: [(&str, Pick); 3] = [
        ("download", |lane| &lane.down),
        ("download ×4", |lane| &lane.parallel),
        ("upload", |lane| &lane.up),
    ];
    for (what, of) in each {
        for (name, lane, peer, beside) in [
            ("relayed", &relayed, "tor", &tor),
            ("relayed", &relayed, "no proxy", &none),
            ("direct", &direct, "shadowsocks", &shadow),
            ("one hop", &one, "shadowsocks", &shadow),
            ("one hop", &one, "microsocks", &micro),
        ] {
            let figure = Figure::beside(
                format!("streams: {what}, {name}"),
                "MB/s",
                of(lane).clone(),
                peer,
                of(beside),
            );
            report.add(figure.note(format!("{mib} MiB")));
        }
    }
    Ok(())
}

/// Measures MB/s of a service that hides both ends, beside Tor's.
pub(super) async fn service(
    report: &mut Report,
    ours: (Way, &Target),
    onion: (Way, &Target),
    length: usize,
) -> anyhow::Result<()> {
    let (mut served, mut onions) = (Vec::new(), Vec::new());
    for round in rounds() {
        for ((way, site), rates) in [(ours, &mut served), (onion, &mut onions)] {
            let rate = download(way, site, length).await?;
            if round > 0 {
                rates.push(rate);
            }
        }
    }
    let figure = Figure::beside(
        "streams: download, service",
        "MB/s",
        served,
        "tor onion service",
        &onions,
    );
    report.add(figure.note(format!("{} MiB", length >> 20)));
    Ok(())
}

/// Measures the onion service alone, while there is none of ours.
pub(super) async fn onion(
    report: &mut Report,
    way: Way,
    site: &Target,
    length: usize,
) -> anyhow::Result<()> {
    let mut rates = Vec::new();
    for round in rounds() {
        let rate = download(way, site, length).await?;
        if round > 0 {
            rates.push(rate);
        }
    }
    let figure = Figure::alone("streams: download, tor onion service", "MB/s", rates);
    report.add(figure.note(format!("{} MiB", length >> 20)));
    Ok(())
}

async fn download(way: Way, site: &Target, length: usize) -> anyhow::Result<f64> {
    let begun = Instant::now();
    let got = way
        .connect(site, None)
        .await?
        .get(&length.to_string())
        .await?;
    ensure!(got == length, "another file came");
    Ok(length as f64 / 1e6 / begun.elapsed().as_secs_f64())
}

impl Lane {
    /// Several at once, each of that length; as users of their own, so that none has to share a circuit.
    async fn download(&self, count: usize, length: usize) -> anyhow::Result<f64> {
        let begun = Instant::now();
        let mut fetching = tokio::task::JoinSet::new();
        for place in 0..count {
            let (way, site) = (self.way, self.site.clone());
            let user = self.user(count, place);
            fetching.spawn(async move {
                let mut connection = way.connect(&site, user.as_deref()).await?;
                connection.get(&length.to_string()).await
            });
        }
        while let Some(got) = fetching.join_next().await {
            ensure!(got?? == length, "another file came");
        }
        Ok((count * length) as f64 / 1e6 / begun.elapsed().as_secs_f64())
    }

    fn user(&self, count: usize, place: usize) -> Option<String> {
        (count > 1 && self.way.knows_users).then(|| format!("user{place}"))
    }

    async fn upload(&self, sink: &Target, length: usize) -> anyhow::Result<f64> {
        let begun = Instant::now();
        self.way.connect(sink, None).await?.put(length).await?;
        Ok(length as f64 / 1e6 / begun.elapsed().as_secs_f64())
    }
}
