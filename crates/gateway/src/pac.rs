//! The PAC file: how a browser finds the proxy, and what it reaches without.
//!
//! It resolves no name and never falls back to a direct connection: what can't go through the network does not go.

use std::net::{IpAddr, SocketAddr};

use serde_json::{Value, json};

use crate::bypass::{Bypass, Rule};

/// The part that is the same for everybody, in the JavaScript of 1999: some engines know no other.
const SCRIPT: &str = include_str!("pac/proxy.js");

/// Writes the file for listeners at these addresses.
pub(crate) fn script(bypass: &Bypass, socks: Option<SocketAddr>, http: SocketAddr) -> String {
    let http = format!("PROXY {http}");
    let (usual, sites) = match socks {
        Some(socks) => (
            format!("SOCKS5 {socks}; {http}"),
            format!("{http}; SOCKS5 {socks}"),
        ),
        None => (http.clone(), http),
    };
    let rules: Vec<Value> = bypass.rules().iter().map(rule).collect();
    let rules = Value::from(rules);
    let (usual, sites) = (Value::from(usual), Value::from(sites));
    format!("var usual = {usual};\nvar sites = {sites};\nvar rules = {rules};\n\n{SCRIPT}")
}

fn rule(rule: &Rule) -> Value {
    match rule {
        Rule::Local => json!(["local"]),
        Rule::Name(name) => json!(["name", name.as_str()]),
        Rule::Tree(name) => json!(["tree", name.as_str()]),
        Rule::Below(name) => json!(["below", name.as_str()]),
        Rule::Network(network) => {
            let bytes = match network.network() {
                IpAddr::V4(v4) => v4.octets().to_vec(),
                IpAddr::V6(v6) => v6.octets().to_vec(),
            };
            json!(["network", bytes, network.prefix_len()])
        }
    }
}
