//! Which bridge a connection takes: a pure choice over what is known of each. Time and randomness are arguments.
//!
//! Connections are spread, so that no bridge sees all that somebody does: at random, or so that all connections to one
//! site take the same bridge. Connections that a client isolates share a bridge with their like. Which bridge is whose
//! follows from a secret of this process (rendezvous hashing), so that nothing is remembered of what was visited, a
//! bridge that goes moves only what went through it, and no bridge can foresee what it will get.

mod health;

use core::hash::Hasher as _;
use std::collections::BTreeMap;
use std::hash::DefaultHasher;

use protocol::target::{Host, Target};
use rand::{Rng, RngCore};
use thiserror::Error;

pub use health::{HALF_LIFE_MS, Health, MAX_LATENCY_MS};

use crate::outbound::{Blame, ConnectError, Isolation};

/// Bridges asked for one connection at most.
pub const MAX_TRIES: usize = 3;
/// Bridges known at once at most; more are left out.
pub const MAX_BRIDGES: usize = 1024;

/// How connections are spread over bridges.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Mode<B> {
    /// Each connection takes one at random, good ones more often.
    #[default]
    PerConnection,
    /// All connections to one site (a registrable domain, or an address) take the same, as long as it is healthy.
    PerSite,
    /// All take this one and no other.
    Pin(B),
}

/// What is known of the bridges, and the choice among them. `B` is whatever names a bridge.
#[derive(Debug, Clone)]
pub struct Stripes<B> {
    mode: Mode<B>,
    secret: [u8; 16],
    bridges: BTreeMap<B, Health>,
}

/// The tries of one connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tries<B> {
    tried: Vec<B>,
    affinity: Option<u64>,
}

/// Why there is no bridge to try, or no other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum NoBridge {
    /// None is known, or not the one that all shall take.
    #[error("no bridge is known")]
    Unknown,
    /// There are some, and none takes this.
    #[error("no bridge takes this")]
    Unfit,
    /// All that there are have been tried, or as many as are allowed.
    #[error("no bridge is left to try")]
    Exhausted,
}

impl<B: Copy + Ord + AsRef<[u8]>> Stripes<B> {
    /// Begins without bridges. Takes the secret of its choices from `rng`.
    #[must_use]
    pub fn new(mode: Mode<B>, rng: &mut impl RngCore) -> Self {
        let mut secret = [0; 16];
        rng.fill_bytes(&mut secret);
        Self {
            mode,
            secret,
            bridges: BTreeMap::new(),
        }
    }

    /// Sets which bridges there are. What is known of those that stay is kept. Beyond [`MAX_BRIDGES`] they are left out.
    pub fn set_bridges(&mut self, bridges: impl IntoIterator<Item = B>) {
        let before = core::mem::take(&mut self.bridges);
        for bridge in bridges {
            if self.bridges.len() == MAX_BRIDGES {
                return;
            }
            let known = before.get(&bridge).copied().unwrap_or_default();
            self.bridges.insert(bridge, known);
        }
    }

    /// What is known of each bridge.
    pub fn bridges(&self) -> impl Iterator<Item = (B, Health)> {
        self.bridges
            .iter()
            .map(|(bridge, health)| (*bridge, *health))
    }

    /// Begins the tries of a connection.
    #[must_use]
    pub fn start(&self, target: &Target, isolation: &Isolation) -> Tries<B> {
        let is_per_site = matches!(self.mode, Mode::PerSite);
        let affinity = match (is_per_site, isolation) {
            (false, Isolation::Shared) => None,
            (false, Isolation::Key(key)) => Some(self.hash(&[b"key", key.as_bytes()])),
            (true, Isolation::Shared) => Some(self.hash(&[b"site", site(target).as_bytes()])),
            (true, Isolation::Key(key)) => {
                Some(self.hash(&[b"both", key.as_bytes(), site(target).as_bytes()]))
            }
        };
        Tries {
            tried: Vec::new(),
            affinity,
        }
    }

    /// Begins the tries of what goes to many targets. Sites don't count there; a key does.
    #[must_use]
    pub fn start_for_many(&self, isolation: &Isolation) -> Tries<B> {
        let affinity = match isolation {
            Isolation::Shared => None,
            Isolation::Key(key) => Some(self.hash(&[b"key", key.as_bytes()])),
        };
        Tries {
            tried: Vec::new(),
            affinity,
        }
    }

    /// Chooses the bridge to try next among those that are `fit`, at the time `now_ms`. None is tried twice.
    ///
    /// # Errors
    ///
    /// [`NoBridge::Unknown`] or [`NoBridge::Unfit`] before the first try, [`NoBridge::Exhausted`] after [`MAX_TRIES`] or all
    /// there are.
    pub fn choose(
        &self,
        tries: &mut Tries<B>,
        fit: impl Fn(&B) -> bool,
        now_ms: u64,
        rng: &mut impl RngCore,
    ) -> Result<B, NoBridge> {
        let may = |bridge: &B| match self.mode {
            Mode::Pin(pinned) => *bridge == pinned,
            _ => true,
        };
        let none = match tries.tried.is_empty() {
            true if self.bridges.keys().any(may) => NoBridge::Unfit,
            true => NoBridge::Unknown,
            false => NoBridge::Exhausted,
        };
        if tries.tried.len() >= MAX_TRIES {
            return Err(none);
        }
        let left: Vec<(B, &Health)> = self
            .bridges
            .iter()
            .filter(|(bridge, _)| may(bridge) && !tries.tried.contains(bridge) && fit(bridge))
            .map(|(bridge, health)| (*bridge, health))
            .collect();
        let healthy: Vec<_> = left
            .iter()
            .copied()
            .filter(|(_, health)| health.is_healthy(now_ms))
            .collect();
        let chosen = match tries.affinity {
            // A sick bridge is taken only where no healthy one is left.
            Some(affinity) => match self.nearest(&healthy, affinity) {
                None => self.nearest(&left, affinity),
                nearest => nearest,
            },
            None => weighted(&left, now_ms, rng),
        };
        let chosen = chosen.ok_or(none)?;
        tries.tried.push(chosen);
        Ok(chosen)
    }

    /// Notes that a bridge has connected, and how long that took.
    pub fn succeeded(&mut self, bridge: B, latency_ms: u64, now_ms: u64) {
        if let Some(health) = self.bridges.get_mut(&bridge) {
            health.succeeded(latency_ms, now_ms);
        }
    }

    /// Notes that a bridge has not connected, and says whether another one is worth a try.
    pub fn failed(&mut self, bridge: B, error: ConnectError, now_ms: u64) -> bool {
        if let (Some(health), Blame::Bridge) = (self.bridges.get_mut(&bridge), error.blame()) {
            health.failed(now_ms);
        }
        error.blame() != Blame::Nobody
    }

    /// The bridge to which an affinity leads: stable for each, and spread evenly over all.
    fn nearest(&self, among: &[(B, &Health)], affinity: u64) -> Option<B> {
        let distance = |bridge: &B| self.hash(&[b"near", &affinity.to_be_bytes(), bridge.as_ref()]);
        let nearest = among.iter().min_by_key(|(bridge, _)| distance(bridge));
        nearest.map(|(bridge, _)| *bridge)
    }

    /// A hash that only this process can compute.
    fn hash(&self, parts: &[&[u8]]) -> u64 {
        let mut hasher = DefaultHasher::new();
        hasher.write(&self.secret);
        for part in parts {
            hasher.write_usize(part.len());
            hasher.write(part);
        }
        hasher.finish()
    }
}

/// One at random, by weight.
fn weighted<B: Copy>(among: &[(B, &Health)], now_ms: u64, rng: &mut impl RngCore) -> Option<B> {
    let total: f64 = among.iter().map(|(_, health)| health.weight(now_ms)).sum();
    if among.is_empty() {
        return None;
    }
    let mut point = rng.gen_range(0.0..total);
    for (bridge, health) in among {
        point -= health.weight(now_ms);
        if point < 0.0 {
            return Some(*bridge);
        }
    }
    among.last().map(|(bridge, _)| *bridge)
}

/// What belongs together of a host: the domain that somebody registered, by the public suffix list, or the address.
fn site(target: &Target) -> String {
    match &target.host {
        Host::Name(name) => psl::domain_str(name.as_str())
            .unwrap_or(name.as_str())
            .to_owned(),
        Host::Address(address) => address.to_canonical().to_string(),
    }
}

#[cfg(test)]
mod tests;
