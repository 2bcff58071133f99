//! Verdicts of the floor, of rules and of both; the text of policies.

mod floor;
mod rules;
mod text;

use core::num::NonZeroU16;

use protocol::target::HostName;

use super::{AllowedTarget, Checked, Denial, Exit, Policy};

fn port(number: u16) -> NonZeroU16 {
    NonZeroU16::new(number).unwrap()
}

fn name(text: &str) -> HostName {
    text.parse().unwrap()
}

fn policy(text: &str) -> Policy {
    text.parse().unwrap()
}

fn exit(rules: &str, allow: &[&str]) -> Exit {
    let allow = allow
        .iter()
        .map(|text| text.parse::<AllowedTarget>().unwrap());
    Exit::new(policy(rules), allow.collect(), Vec::new())
}

fn check(exit: &Exit, address: &str, number: u16) -> Result<Checked, Denial> {
    exit.check(None, address.parse().unwrap(), port(number))
}
