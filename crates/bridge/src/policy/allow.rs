//! What the operator lets out all the same: exact hosts or networks at exact ports.

use core::fmt;
use core::net::IpAddr;
use core::num::NonZeroU16;
use core::str::FromStr;

use protocol::target::HostName;
use thiserror::Error;

use super::rule::Hosts;
use super::text::RuleError;

/// A host, or a network, at one port that is reached though the floor or the rules refuse it.
///
/// A name means every address that it resolves to: whoever allows a name trusts those who answer for it. An address
/// or network is the safer way to say it.
///
/// ```
/// use bridge::policy::AllowedTarget;
/// let target: AllowedTarget = "127.0.0.1:8080".parse()?;
/// assert_eq!(target.to_string(), "127.0.0.1:8080");
/// assert!("*:8080".parse::<AllowedTarget>().is_err());
/// # Ok::<(), bridge::policy::AllowedTargetError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct AllowedTarget {
    hosts: Hosts,
    port: NonZeroU16,
}

/// Why a text is no allowed target.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum AllowedTargetError {
    /// The port is missing or no number from 1 to 65535.
    #[error("an allowed target ends in `:` and one port")]
    Port,
    /// The host has a wildcard.
    #[error("an allowed target is exact: no `*`")]
    Wildcard,
    /// The host is none.
    #[error("the host of an allowed target is a name, an address or a network")]
    Host(#[source] RuleError),
}

impl AllowedTarget {
    pub(super) fn is_name(&self, name: &HostName, port: NonZeroU16) -> bool {
        self.port == port && self.hosts.match_name(name)
    }

    pub(super) fn is_network_at(&self, port: NonZeroU16) -> bool {
        self.port == port && matches!(self.hosts, Hosts::Network(_))
    }

    pub(super) fn has_address(&self, address: IpAddr, port: NonZeroU16) -> bool {
        match &self.hosts {
            Hosts::Network(network) => self.port == port && network.contains(&address),
            _ => false,
        }
    }
}

impl FromStr for AllowedTarget {
    type Err = AllowedTargetError;

    fn from_str(text: &str) -> Result<Self, AllowedTargetError> {
        let (hosts, port) = text.rsplit_once(':').ok_or(AllowedTargetError::Port)?;
        if !port.bytes().all(|b| b.is_ascii_digit()) {
            return Err(AllowedTargetError::Port);
        }
        let port = port.parse().map_err(|_| AllowedTargetError::Port)?;
        match hosts.parse().map_err(AllowedTargetError::Host)? {
            Hosts::Any | Hosts::Below(_) => Err(AllowedTargetError::Wildcard),
            hosts => Ok(Self { hosts, port }),
        }
    }
}

impl fmt::Display for AllowedTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.hosts, self.port)
    }
}
