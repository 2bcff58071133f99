//! What a bridge lets out: the operator's rules over a floor that no rule opens.
//!
//! Pure: names and addresses come in, verdicts go out. A [`Checked`] address is the only thing that the rest of the crate
//! connects to, and only [`Exit::check`] makes one, so that nothing can be connected to that was not judged in the very
//! form in which it is connected to.
//!
//! The order of judgement: what the operator allowed exactly ([`AllowedTarget`]); then the floor, which refuses names of
//! local networks, addresses that are not public and the bridge's own; then the rules in their order; what no rule names
//! is refused.

mod allow;
mod rule;
mod special;
mod text;

use core::net::{IpAddr, SocketAddr};
use core::num::NonZeroU16;

use protocol::target::{Host, HostName, Target};
use thiserror::Error;

pub use allow::{AllowedTarget, AllowedTargetError};
pub use rule::{Action, Hosts, Ports, Rule};
pub use special::{is_public, is_refused_name};
pub use text::{MAX_POLICY_BYTES, MAX_POLICY_INPUT_BYTES, MAX_RULES, PolicyError, RuleError};

/// The rules of a bridge, in their order. The first that matches decides; what none matches is refused.
///
/// ```
/// use bridge::policy::Policy;
/// let policy: Policy = "reject 198.51.100.0/24:*; accept *:80,443".parse()?;
/// assert_eq!(policy.to_string(), "reject 198.51.100.0/24:*;accept *:80,443");
/// assert_eq!(Policy::default().to_string(), "reject *:25;accept *:*");
/// # Ok::<(), bridge::policy::PolicyError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    rules: Vec<Rule>,
}

/// What can be said of a target before its name is resolved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outlook {
    /// Some address may be reached.
    Open,
    /// Nothing that the name may resolve to would be reached.
    Closed,
}

/// Why a target is not reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Error)]
#[non_exhaustive]
pub enum Denial {
    /// The name belongs to a local network or to another system.
    #[error("names of local networks and of other systems are not reached from here")]
    Name,
    /// The address is private, local, reserved or otherwise not of the public internet.
    #[error("only public addresses are reached from here")]
    Address,
    /// The address is the bridge's own.
    #[error("the bridge does not connect to itself")]
    Own,
    /// The operator's rules refuse it.
    #[error("the exit policy of this bridge refuses this host or port")]
    Rule,
}

/// An address and port that the policy accepted, in the form in which it is connected to.
///
/// An IPv4-mapped IPv6 address has become the IPv4 address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Checked {
    address: SocketAddr,
    is_allowed_exactly: bool,
}

/// The whole of what decides: rules, what is allowed all the same, and the bridge's own addresses.
#[derive(Debug, Clone, Default)]
pub struct Exit {
    policy: Policy,
    allow: Vec<AllowedTarget>,
    own: Vec<IpAddr>,
}

impl Default for Policy {
    /// Everything that is public, but no mail submission between servers (port 25), which is what spam needs.
    fn default() -> Self {
        Self {
            rules: vec![
                Rule::new(Action::Reject, Hosts::Any, Ports::one(25)),
                Rule::new(Action::Accept, Hosts::Any, Ports::all()),
            ],
        }
    }
}

impl Policy {
    /// The rules, in their order.
    #[must_use]
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// Judges one form of an address by the rules alone.
    #[must_use]
    pub fn accepts(&self, name: Option<&HostName>, address: IpAddr, port: NonZeroU16) -> bool {
        let decides = |rule: &&Rule| rule.matches(name, address, port.get());
        let first = self.rules.iter().find(decides);
        first.is_some_and(|rule| rule.action() == Action::Accept)
    }

    /// Says whether any address could be accepted for a name, or the given address for an address.
    ///
    /// A client chooses its bridges by this.
    #[must_use]
    pub fn outlook(&self, target: &Target) -> Outlook {
        let name = match &target.host {
            Host::Address(address) => {
                return outlook(self.accepts_all_forms(*address, target.port));
            }
            Host::Name(name) => name,
        };
        for rule in &self.rules {
            if !rule.ports().contain(target.port.get()) {
                continue;
            }
            match (rule.hosts(), rule.action()) {
                // Which addresses there are is not known yet: some may be accepted here.
                (Hosts::Network(_), Action::Accept) => return Outlook::Open,
                (Hosts::Network(_), Action::Reject) => {}
                (hosts, action) if hosts.match_name(name) => {
                    return outlook(action == Action::Accept);
                }
                _ => {}
            }
        }
        Outlook::Closed
    }

    fn accepts_all_forms(&self, address: IpAddr, port: NonZeroU16) -> bool {
        let mut forms = special::forms(address);
        forms.all(|form| self.accepts(None, form, port))
    }
}

impl Exit {
    /// Joins the operator's rules, what is allowed all the same, and addresses that are the bridge's own.
    #[must_use]
    pub fn new(policy: Policy, allow: Vec<AllowedTarget>, own: Vec<IpAddr>) -> Self {
        let own = own.into_iter().map(|address| address.to_canonical());
        let own = own.collect();
        Self { policy, allow, own }
    }

    /// The operator's rules.
    #[must_use]
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Judges what is asked for before anything is resolved, so that no name server hears of names that would be refused.
    ///
    /// # Errors
    /// The reason why no address of that name would be reached.
    pub fn check_name(&self, name: &HostName, port: NonZeroU16) -> Result<(), Denial> {
        if self.allow.iter().any(|one| one.is_name(name, port)) {
            return Ok(());
        }
        if is_refused_name(name) {
            return Err(Denial::Name);
        }
        if self.allow.iter().any(|one| one.is_network_at(port)) {
            return Ok(());
        }
        let target = Target {
            host: Host::Name(name.clone()),
            port,
        };
        match self.policy.outlook(&target) {
            Outlook::Open => Ok(()),
            Outlook::Closed => Err(Denial::Rule),
        }
    }

    /// Judges one address, of a name or by itself.
    ///
    /// # Errors
    /// The reason why it is not reached.
    pub fn check(
        &self,
        name: Option<&HostName>,
        address: IpAddr,
        port: NonZeroU16,
    ) -> Result<Checked, Denial> {
        let canonical = address.to_canonical();
        let checked = |is_allowed_exactly| Checked {
            address: SocketAddr::new(canonical, port.get()),
            is_allowed_exactly,
        };
        let by_name = |one: &AllowedTarget| name.is_some_and(|name| one.is_name(name, port));
        let is_allowed = |one: &AllowedTarget| by_name(one) || one.has_address(canonical, port);
        if self.allow.iter().any(is_allowed) {
            return Ok(checked(true));
        }
        if name.is_some_and(is_refused_name) {
            return Err(Denial::Name);
        }
        for form in special::forms(canonical) {
            if self.own.contains(&form) {
                return Err(Denial::Own);
            }
            if !is_public(form) {
                return Err(Denial::Address);
            }
            if !self.policy.accepts(name, form, port) {
                return Err(Denial::Rule);
            }
        }
        Ok(checked(false))
    }
}

impl Checked {
    /// The address to connect to.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether the operator allowed it exactly, so that it may even be this machine.
    #[must_use]
    pub fn is_allowed_exactly(&self) -> bool {
        self.is_allowed_exactly
    }
}

fn outlook(is_open: bool) -> Outlook {
    if is_open {
        Outlook::Open
    } else {
        Outlook::Closed
    }
}

#[cfg(test)]
mod tests;
