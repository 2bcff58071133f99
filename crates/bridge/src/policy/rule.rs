//! One rule: accept or reject, of which hosts, at which ports.

use core::net::IpAddr;
use core::ops::RangeInclusive;

use ipnet::IpNet;
use protocol::target::HostName;

/// What a rule does with what it matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// Lets it out.
    Accept,
    /// Refuses it.
    Reject,
}

/// The hosts that a rule is for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Hosts {
    /// Every host.
    Any,
    /// The addresses of a network, whether asked for or resolved.
    Network(IpNet),
    /// A name, as it was asked for.
    Name(HostName),
    /// All names below a name, as they were asked for.
    Below(HostName),
}

/// A set of ports: ascending ranges with a gap between each two.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Ports(Vec<RangeInclusive<u16>>);

/// One rule of a [`Policy`](super::Policy).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Rule {
    action: Action,
    hosts: Hosts,
    ports: Ports,
}

impl Hosts {
    /// Whether the pattern is for a name, whatever its addresses are.
    #[must_use]
    pub fn match_name(&self, name: &HostName) -> bool {
        match self {
            Self::Any => true,
            Self::Network(_) => false,
            Self::Name(this) => this == name,
            Self::Below(parent) => is_below(name.as_str(), parent.as_str()),
        }
    }

    fn match_address(&self, name: Option<&HostName>, address: IpAddr) -> bool {
        match self {
            Self::Network(network) => network.contains(&address),
            Self::Any => true,
            Self::Name(_) | Self::Below(_) => name.is_some_and(|name| self.match_name(name)),
        }
    }
}

impl Ports {
    /// Every port.
    #[must_use]
    pub fn all() -> Self {
        Self(vec![1..=u16::MAX])
    }

    /// One port.
    #[must_use]
    pub fn one(port: u16) -> Self {
        Self(vec![port..=port])
    }

    /// Joins ranges in any order, which may overlap.
    #[must_use]
    pub fn from_ranges(mut ranges: Vec<RangeInclusive<u16>>) -> Self {
        ranges.retain(|range| !range.is_empty());
        ranges.sort_unstable_by_key(|range| *range.start());
        let mut joined: Vec<RangeInclusive<u16>> = Vec::with_capacity(ranges.len());
        for range in ranges {
            match joined.last_mut() {
                Some(last) if *range.start() <= last.end().saturating_add(1) => {
                    *last = *last.start()..=*last.end().max(range.end());
                }
                _ => joined.push(range),
            }
        }
        Self(joined)
    }

    /// Whether a port is among them.
    #[must_use]
    pub fn contain(&self, port: u16) -> bool {
        self.0.iter().any(|range| range.contains(&port))
    }

    /// The ranges, ascending.
    #[must_use]
    pub fn ranges(&self) -> &[RangeInclusive<u16>] {
        &self.0
    }
}

impl Rule {
    /// Makes a rule.
    #[must_use]
    pub fn new(action: Action, hosts: Hosts, ports: Ports) -> Self {
        Self {
            action,
            hosts,
            ports,
        }
    }

    /// What it does.
    #[must_use]
    pub fn action(&self) -> Action {
        self.action
    }

    /// The hosts it is for.
    #[must_use]
    pub fn hosts(&self) -> &Hosts {
        &self.hosts
    }

    /// The ports it is for.
    #[must_use]
    pub fn ports(&self) -> &Ports {
        &self.ports
    }

    /// Whether it decides about an address and port, of a name or by itself.
    #[must_use]
    pub fn matches(&self, name: Option<&HostName>, address: IpAddr, port: u16) -> bool {
        self.ports.contain(port) && self.hosts.match_address(name, address)
    }
}

/// Whether a name ends in a dot and a parent's name.
pub(super) fn is_below(name: &str, parent: &str) -> bool {
    let rest = name.strip_suffix(parent);
    rest.is_some_and(|rest| rest.len() > 1 && rest.ends_with('.'))
}
