//! The text of a policy: for the operator's file and, in its compact form, for the ledger.
//!
//! ```text
//! policy = rule *( (";" / newline) rule )        ; empty rules and comments from "#" to the end of the line are skipped
//! rule   = ("accept" / "reject") 1*space hosts ":" ports
//! hosts  = "*" / name / "*." name / IPv4 [ "/" bits ] / "[" IPv6 "]" [ "/" bits ]
//! ports  = "*" / range *( "," range )
//! range  = port [ "-" port ]
//! ```

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::ops::RangeInclusive;
use core::str::FromStr;

use ipnet::IpNet;
use protocol::target::{Host, HostName, TargetError};
use thiserror::Error;

use super::Policy;
use super::rule::{Action, Hosts, Ports, Rule};

/// The compact text of a policy at most, in bytes: it is announced on the ledger, where each byte is paid for.
pub const MAX_POLICY_BYTES: usize = 1024;
/// The text that is read at most, in bytes, comments and all.
pub const MAX_POLICY_INPUT_BYTES: usize = 16 * 1024;
/// The rules of a policy at most: each address is held against all of them.
pub const MAX_RULES: usize = 64;

/// Why a text is no policy.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PolicyError {
    /// The text holds no rule.
    #[error("the policy has no rule; to refuse everything write `reject *:*`")]
    Empty,
    /// The text is longer than what is read.
    #[error("the policy's text is longer than {MAX_POLICY_INPUT_BYTES} bytes")]
    InputTooLong,
    /// The compact text would be too long to announce.
    #[error("the policy is longer than {MAX_POLICY_BYTES} bytes without its comments")]
    TooLong,
    /// There are too many rules.
    #[error("the policy has more than {MAX_RULES} rules")]
    TooManyRules,
    /// A rule is wrong.
    #[error("rule {position} of the policy is wrong")]
    Rule {
        /// Which rule, counted from 1.
        position: usize,
        /// What is wrong with it.
        source: RuleError,
    },
}

/// Why a text is no rule.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RuleError {
    /// It does not begin with what to do.
    #[error("a rule begins with `accept ` or `reject `")]
    Action,
    /// The ports are missing.
    #[error("a rule ends in `:` and ports: `*`, or numbers and ranges like `80,443,8000-8999`")]
    NoPorts,
    /// A port is no number from 1 to 65535, or a range runs backwards.
    #[error("a port is a number from 1 to 65535, a range has its smaller port first")]
    Port,
    /// An IPv6 address has no brackets.
    #[error("an IPv6 address stands in brackets, its prefix length behind them")]
    Brackets,
    /// The prefix length is no number or too large.
    #[error("a prefix length is a number up to 32 (IPv4) or 128 (IPv6)")]
    PrefixLength,
    /// The address has bits beyond its prefix.
    #[error("the network's address has bits beyond its prefix; it may be {network}")]
    HostBits {
        /// The network that was probably meant.
        network: IpNet,
    },
    /// An IPv4-mapped network that is larger than all of IPv4.
    #[error("IPv4-mapped addresses count as IPv4: write the IPv4 network")]
    Mapped,
    /// The host is no name either.
    #[error("the host is `*`, an address, a network, a name or `*.` and a name")]
    Host(#[source] TargetError),
}

impl FromStr for Policy {
    type Err = PolicyError;

    fn from_str(text: &str) -> Result<Self, PolicyError> {
        if text.len() > MAX_POLICY_INPUT_BYTES {
            return Err(PolicyError::InputTooLong);
        }
        let mut rules = Vec::new();
        for line in text.lines() {
            let line = line.split_once('#').map_or(line, |(before, _)| before);
            for rule in line
                .split(';')
                .map(str::trim)
                .filter(|rule| !rule.is_empty())
            {
                let position = rules.len() + 1;
                if position > MAX_RULES {
                    return Err(PolicyError::TooManyRules);
                }
                let rule = rule
                    .parse()
                    .map_err(|source| PolicyError::Rule { position, source })?;
                rules.push(rule);
            }
        }
        if rules.is_empty() {
            return Err(PolicyError::Empty);
        }
        let policy = Self { rules };
        if policy.to_string().len() > MAX_POLICY_BYTES {
            return Err(PolicyError::TooLong);
        }
        Ok(policy)
    }
}

impl FromStr for Rule {
    type Err = RuleError;

    fn from_str(text: &str) -> Result<Self, RuleError> {
        let (action, rest) = text
            .split_once(char::is_whitespace)
            .ok_or(RuleError::Action)?;
        let action = match action {
            "accept" => Action::Accept,
            "reject" => Action::Reject,
            _ => return Err(RuleError::Action),
        };
        let (hosts, ports) = rest.trim().rsplit_once(':').ok_or(RuleError::NoPorts)?;
        Ok(Self::new(action, hosts.parse()?, ports.parse()?))
    }
}

impl FromStr for Hosts {
    type Err = RuleError;

    fn from_str(text: &str) -> Result<Self, RuleError> {
        if text == "*" {
            return Ok(Self::Any);
        }
        if let Some(parent) = text.strip_prefix("*.") {
            return Ok(Self::Below(read_name(parent)?));
        }
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        if address.contains(':') && !address.starts_with('[') {
            return Err(RuleError::Brackets);
        }
        match (address.parse().map_err(RuleError::Host)?, bits) {
            (Host::Address(address), bits) => read_network(address, bits).map(Self::Network),
            (Host::Name(name), None) => Ok(Self::Name(name)),
            (Host::Name(_), Some(_)) => Err(RuleError::Host(TargetError::Character)),
        }
    }
}

impl FromStr for Ports {
    type Err = RuleError;

    fn from_str(text: &str) -> Result<Self, RuleError> {
        if text == "*" {
            return Ok(Self::all());
        }
        if text.is_empty() {
            return Err(RuleError::NoPorts);
        }
        let ranges: Result<_, _> = text.split(',').map(read_range).collect();
        Ok(Self::from_ranges(ranges?))
    }
}

impl fmt::Display for Policy {
    /// The compact form: rules joined by `;`, ports joined and in order.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, rule) in self.rules.iter().enumerate() {
            let separator = if index == 0 { "" } else { ";" };
            write!(f, "{separator}{rule}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}:{}", self.action(), self.hosts(), self.ports())
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Accept => "accept",
            Self::Reject => "reject",
        })
    }
}

impl fmt::Display for Hosts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("*"),
            Self::Name(name) => name.fmt(f),
            Self::Below(parent) => write!(f, "*.{parent}"),
            Self::Network(network) => {
                Host::Address(network.addr()).fmt(f)?;
                if network.prefix_len() < network.max_prefix_len() {
                    write!(f, "/{}", network.prefix_len())?;
                }
                Ok(())
            }
        }
    }
}

impl fmt::Display for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::all() {
            return f.write_str("*");
        }
        for (index, range) in self.ranges().iter().enumerate() {
            let separator = if index == 0 { "" } else { "," };
            write!(f, "{separator}{}", range.start())?;
            if range.start() < range.end() {
                write!(f, "-{}", range.end())?;
            }
        }
        Ok(())
    }
}

fn read_name(text: &str) -> Result<HostName, RuleError> {
    text.parse().map_err(RuleError::Host)
}

fn read_network(address: IpAddr, bits: Option<&str>) -> Result<IpNet, RuleError> {
    let max = if address.is_ipv4() {
        Ipv4Addr::BITS
    } else {
        Ipv6Addr::BITS
    };
    let bits: u32 = match bits {
        None => max,
        Some(bits) if bits.bytes().all(|b| b.is_ascii_digit()) => {
            bits.parse().map_err(|_| RuleError::PrefixLength)?
        }
        Some(_) => return Err(RuleError::PrefixLength),
    };
    let canonical = address.to_canonical();
    let beyond = max
        - if canonical.is_ipv4() {
            Ipv4Addr::BITS
        } else {
            max
        };
    if bits > max {
        return Err(RuleError::PrefixLength);
    }
    let bits = bits.checked_sub(beyond).ok_or(RuleError::Mapped)?;
    let bits = u8::try_from(bits).map_err(|_| RuleError::PrefixLength)?;
    let network = IpNet::new(canonical, bits).map_err(|_| RuleError::PrefixLength)?;
    if network != network.trunc() {
        return Err(RuleError::HostBits {
            network: network.trunc(),
        });
    }
    Ok(network)
}

fn read_range(text: &str) -> Result<RangeInclusive<u16>, RuleError> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (read_port(first)?, read_port(last)?);
    if first > last {
        return Err(RuleError::Port);
    }
    Ok(first..=last)
}

fn read_port(text: &str) -> Result<u16, RuleError> {
    if !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(RuleError::Port);
    }
    match text.parse() {
        Ok(0) | Err(_) => Err(RuleError::Port),
        Ok(port) => Ok(port),
    }
}
