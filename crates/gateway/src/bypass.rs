//! Which targets do not go through the network but directly from this machine.
//!
//! Names are compared as they are written and never resolved: a network rule says nothing of names, so that no look-up
//! tells a resolver what is visited.

use core::fmt;
use core::str::FromStr;
use std::net::IpAddr;

use ipnet::IpNet;
use protocol::target::{Host, HostName, TargetError};
use thiserror::Error;

/// Rules at most: each is looked at for each connection.
pub const MAX_RULES: usize = 1024;

/// A list of rules; a target bypasses the network if one of them matches.
///
/// ```
/// use gateway::Bypass;
/// let bypass: Bypass = "<local>, .lan, *.example, 10.0.0.0/8".parse()?;
/// assert!(bypass.matches(&"printer.lan".parse()?));
/// assert!(bypass.matches(&"10.1.2.3".parse()?));
/// assert!(!bypass.matches(&"example.org".parse()?));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Bypass(Vec<Rule>);

/// One rule.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Rule {
    /// `<local>`: names without a dot, `localhost`, what is below it, and loopback addresses.
    Local,
    /// `example.org`: this name.
    Name(HostName),
    /// `.example.org`: this name and all below it.
    Tree(HostName),
    /// `*.example.org`: all names below it.
    Below(HostName),
    /// `10.0.0.0/8` or a single address: addresses, where a target is given by its address.
    Network(IpNet),
}

/// Why a text is no rule.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RuleError {
    /// The part after the `/` fits no network.
    #[error("`{0}` is no network: write it as 10.0.0.0/8 or fd00::/8")]
    Network(String),
    /// There are bits beyond the prefix: which network was meant is not clear.
    #[error("`{text}` has bits beyond its prefix: write {meant}")]
    HostBits {
        /// What was written.
        text: String,
        /// What it would be.
        meant: IpNet,
    },
    /// A `*` stands elsewhere than in `*.` at the beginning.
    #[error("`{0}`: a `*` may only stand in front, as in *.example.org")]
    Star(String),
    /// Something in angle brackets that is not `<local>`.
    #[error("`{0}` is unknown: <local> is the only one of its kind")]
    Keyword(String),
    /// A port is named. Rules are about hosts.
    #[error("`{0}` names a port: rules are about hosts only")]
    Port(String),
    /// It is no host name.
    #[error("`{text}` is no host: {source}")]
    Name {
        /// What was written.
        text: String,
        /// What is wrong with it.
        source: TargetError,
    },
    /// There are more than [`MAX_RULES`].
    #[error("more than {MAX_RULES} rules")]
    TooMany,
}

impl Bypass {
    /// Makes a list of rules.
    ///
    /// # Errors
    ///
    /// [`RuleError::TooMany`] beyond [`MAX_RULES`].
    pub fn new(rules: Vec<Rule>) -> Result<Self, RuleError> {
        match rules.len() <= MAX_RULES {
            true => Ok(Self(rules)),
            false => Err(RuleError::TooMany),
        }
    }

    /// The rules, in their order.
    #[must_use]
    pub fn rules(&self) -> &[Rule] {
        &self.0
    }

    /// Whether connections to this host leave directly.
    #[must_use]
    pub fn matches(&self, host: &Host) -> bool {
        self.0.iter().any(|rule| rule.matches(host))
    }
}

impl Rule {
    /// Whether the rule is about this host.
    #[must_use]
    pub fn matches(&self, host: &Host) -> bool {
        match (self, host) {
            (Self::Local, Host::Name(name)) => {
                !name.as_str().contains('.') || is_below(name.as_str(), "localhost")
            }
            (Self::Local, Host::Address(address)) => address.to_canonical().is_loopback(),
            (Self::Name(rule), Host::Name(name)) => rule == name,
            (Self::Tree(rule), Host::Name(name)) => {
                rule == name || is_below(name.as_str(), rule.as_str())
            }
            (Self::Below(rule), Host::Name(name)) => is_below(name.as_str(), rule.as_str()),
            (Self::Network(network), Host::Address(address)) => {
                network.contains(&address.to_canonical())
            }
            (Self::Network(_), Host::Name(_)) | (_, Host::Address(_)) => false,
        }
    }
}

fn is_below(name: &str, root: &str) -> bool {
    name.strip_suffix(root)
        .is_some_and(|rest| rest.len() > 1 && rest.ends_with('.'))
}

impl FromStr for Bypass {
    type Err = RuleError;

    /// Reads rules with commas or white space between them.
    fn from_str(text: &str) -> Result<Self, RuleError> {
        let texts = text.split(|c: char| c == ',' || c.is_whitespace());
        let mut rules = Vec::new();
        for text in texts.filter(|text| !text.is_empty()) {
            if rules.len() == MAX_RULES {
                return Err(RuleError::TooMany);
            }
            rules.push(text.parse()?);
        }
        Ok(Self(rules))
    }
}

impl FromStr for Rule {
    type Err = RuleError;

    fn from_str(text: &str) -> Result<Self, RuleError> {
        if text.starts_with('<') {
            return match text.eq_ignore_ascii_case("<local>") {
                true => Ok(Self::Local),
                false => Err(RuleError::Keyword(text.into())),
            };
        }
        if text.contains('/') {
            let network: IpNet = text.parse().map_err(|_| RuleError::Network(text.into()))?;
            return match network.trunc() == network {
                true => Ok(Self::Network(canonical(network))),
                false => Err(RuleError::HostBits {
                    text: text.into(),
                    meant: network.trunc(),
                }),
            };
        }
        let name_of = |rest: &str| {
            let source = match rest.parse::<Host>() {
                Ok(Host::Name(name)) => return Ok(name),
                Ok(Host::Address(_)) => TargetError::Number,
                Err(source) => source,
            };
            Err(RuleError::Name {
                text: text.into(),
                source,
            })
        };
        if let Some(rest) = text.strip_prefix("*.") {
            return match rest.contains('*') {
                true => Err(RuleError::Star(text.into())),
                false => name_of(rest).map(Self::Below),
            };
        }
        if text.contains('*') {
            return Err(RuleError::Star(text.into()));
        }
        if let Some(rest) = text.strip_prefix('.') {
            return name_of(rest).map(Self::Tree);
        }
        match text.parse::<Host>() {
            Ok(Host::Address(address)) => Ok(Self::Network(address.to_canonical().into())),
            Ok(Host::Name(name)) => Ok(Self::Name(name)),
            Err(_) if text.contains(':') => Err(RuleError::Port(text.into())),
            Err(source) => Err(RuleError::Name {
                text: text.into(),
                source,
            }),
        }
    }
}

/// A network of IPv4 addresses that was written in IPv6 is the IPv4 network.
fn canonical(network: IpNet) -> IpNet {
    const MAPPED_BITS: u8 = 96;
    let IpNet::V6(v6) = network else {
        return network;
    };
    match (
        v6.addr().to_ipv4_mapped(),
        v6.prefix_len().checked_sub(MAPPED_BITS),
    ) {
        (Some(v4), Some(bits)) => IpNet::new(IpAddr::V4(v4), bits).unwrap_or(network),
        _ => network,
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local => f.write_str("<local>"),
            Self::Name(name) => name.fmt(f),
            Self::Tree(name) => write!(f, ".{name}"),
            Self::Below(name) => write!(f, "*.{name}"),
            Self::Network(network) => network.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn matches(rules: &str, host: &str) -> bool {
        rules
            .parse::<Bypass>()
            .unwrap()
            .matches(&host.parse().unwrap())
    }

    #[test]
    fn rules_match_what_they_say_and_nothing_else() {
        for (rule, inside, outside) in [
            (
                "example.org",
                vec!["example.org", "EXAMPLE.org."],
                vec!["a.example.org", "badexample.org"],
            ),
            (
                ".lan",
                vec!["lan", "a.lan", "a.b.lan"],
                vec!["plan", "a.plan", "lan.example"],
            ),
            ("*.lan", vec!["a.lan", "a.b.lan"], vec!["lan", "a.plan"]),
            (
                "10.0.0.0/8",
                vec!["10.1.2.3", "[::ffff:10.1.2.3]"],
                vec!["11.0.0.1", "[::10.0.0.1]"],
            ),
            (
                "::ffff:10.0.0.0/104",
                vec!["10.1.2.3"],
                vec!["11.0.0.1", "[fe80::1]"],
            ),
            ("fd00::/8", vec!["fd12::1"], vec!["fe80::1", "10.0.0.1"]),
            ("192.0.2.7", vec!["192.0.2.7"], vec!["192.0.2.8"]),
            (
                "<local>",
                vec!["printer", "localhost", "a.localhost", "127.8.9.1", "::1"],
                vec!["a.lan", "10.0.0.1", "xlocalhost.example"],
            ),
        ] {
            for host in inside {
                assert!(matches(rule, host), "{rule} is about {host}");
            }
            for host in outside {
                assert!(!matches(rule, host), "{rule} is not about {host}");
            }
        }
    }

    #[test]
    fn rules_that_are_none_say_what_to_write() {
        for (text, says) in [
            ("10.0.0.0/33", "no network"),
            ("10.0.0.1/8", "write 10.0.0.0/8"),
            ("exa*mple", "in front"),
            ("*.a*.b", "in front"),
            ("<lokal>", "<local>"),
            ("example.org:80", "port"),
            ("a..b", "empty"),
            ("*.1", "number"),
            (".", "missing"),
            ("b\u{fc}cher.example", "character"),
        ] {
            let error = text.parse::<Bypass>().unwrap_err().to_string();
            assert!(error.contains(says), "{text}: {error}");
        }
        let many = "a,".repeat(MAX_RULES + 1);
        assert_eq!(many.parse::<Bypass>(), Err(RuleError::TooMany));
        assert!("a,".repeat(MAX_RULES).parse::<Bypass>().is_ok());
    }

    proptest! {
        #[test]
        fn rules_are_read_again_from_what_they_are_written_as(text in "[a-z0-9.*<>/:-]{1,20}") {
            if let Ok(rule) = text.parse::<Rule>() {
                prop_assert_eq!(rule.to_string().parse::<Rule>(), Ok(rule));
            }
        }
    }
}
