//! Small requests, each over a connection of its own: what a click costs.

use std::time::Instant;

use anyhow::ensure;

use super::rounds;
use super::socks::{Target, Way};
use super::web::SMALL;
use crate::report::{Figure, Report, quantile};

/// A way that is measured, and its rounds.
struct Lane {
    way: Way,
    site: Target,
    /// Milliseconds, by round.
    again: Rounds,
    first: Rounds,
}

/// What requests took, by round.
type Rounds = Vec<Vec<f64>>;

/// One kind of what a lane did.
type Pick = fn(&Lane) -> &Rounds;

/// What is measured beside what.
pub(super) struct Pair<'p> {
    pub(super) name: &'static str,
    pub(super) ours: Option<(Way, &'p Target)>,
    pub(super) peer: &'static str,
    pub(super) theirs: (Way, &'p Target),
    /// Whether each request is measured as one of a new user, too.
    pub(super) first: bool,
}

/// Measures from the connection to the proxy to the whole answer, of one KiB.
pub(super) async fn measure(
    report: &mut Report,
    pairs: &[Pair<'_>],
    requests: usize,
) -> anyhow::Result<()> {
    let mut user = 0_u64;
    for pair in pairs {
        let mut lanes: Vec<Lane> = pair
            .ours
            .iter()
            .chain([&pair.theirs])
            .map(|(way, site)| Lane {
                way: *way,
                site: (*site).clone(),
                again: Vec::new(),
                first: Vec::new(),
            })
            .collect();
        for round in rounds() {
            for lane in &mut lanes {
                lane.again.push(Vec::new());
                lane.first.push(Vec::new());
            }
            for _ in 0..requests {
                for lane in &mut lanes {
                    let ms = lane.once(None).await?;
                    if let Some(all) = lane.again.last_mut() {
                        all.push(ms);
                    }
                    if pair.first {
                        user += 1;
                        let ms = lane.once(Some(format!("first{user}"))).await?;
                        if let Some(all) = lane.first.last_mut() {
                            all.push(ms);
                        }
                    }
                }
            }
            if round == 0 {
                for lane in &mut lanes {
                    lane.again.clear();
                    lane.first.clear();
                }
            }
        }
        show(report, pair, &lanes, requests);
    }
    Ok(())
}

fn show(report: &mut Report, pair: &Pair<'_>, lanes: &[Lane], requests: usize) {
    let kinds: [(&str, Pick); 2] = [
        ("1 KiB", |lane| &lane.again),
        ("1 KiB, new user", |lane| &lane.first),
    ];
    for (what, of) in kinds.into_iter().take(if pair.first { 2 } else { 1 }) {
        for (name, part) in [("p50", 0.5), ("p99", 0.99)] {
            let mut values = lanes.iter().map(|lane| {
                let rounds = of(lane);
                if part > 0.5 {
                    // Of one round alone it would be the greatest.
                    return vec![quantile(&rounds.concat(), part)];
                }
                rounds.iter().map(|round| quantile(round, part)).collect()
            });
            let (Some(first), second) = (values.next(), values.next()) else {
                continue;
            };
            let name = format!("streams: {what}, {}, {name}", pair.name);
            let figure = match second {
                Some(peer) => Figure::beside(name, "ms", first, pair.peer, &peer),
                None => Figure::alone(format!("{name}, {}", pair.peer), "ms", first),
            };
            let count = requests * rounds().end();
            report.add(figure.note(format!("of {count} new connections")));
        }
    }
}

impl Lane {
    async fn once(&self, user: Option<String>) -> anyhow::Result<f64> {
        let begun = Instant::now();
        let mut connection = self.way.connect(&self.site, user.as_deref()).await?;
        ensure!(connection.get(SMALL).await? == 1_024, "another file came");
        Ok(begun.elapsed().as_secs_f64() * 1e3)
    }
}
