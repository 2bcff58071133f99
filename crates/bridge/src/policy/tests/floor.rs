//! What no rule opens.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;

use super::super::special::{PUBLIC_V6, REFUSED_NAMES, SPECIAL_V4, SPECIAL_V6};
use super::super::{Denial, Exit, is_public, is_refused_name};
use super::{check, exit, name, port};

/// First and last address of each block, written out, so that a wrong prefix length in the tables shows.
const BLOCKS: [(&str, &str); 37] = [
    ("0.0.0.0", "0.255.255.255"),
    ("10.0.0.0", "10.255.255.255"),
    ("100.64.0.0", "100.127.255.255"),
    ("127.0.0.0", "127.255.255.255"),
    ("168.63.129.16", "168.63.129.16"),
    ("169.254.0.0", "169.254.255.255"),
    ("172.16.0.0", "172.31.255.255"),
    ("192.0.0.0", "192.0.0.255"),
    ("192.0.2.0", "192.0.2.255"),
    ("192.31.196.0", "192.31.196.255"),
    ("192.52.193.0", "192.52.193.255"),
    ("192.88.99.0", "192.88.99.255"),
    ("192.168.0.0", "192.168.255.255"),
    ("192.175.48.0", "192.175.48.255"),
    ("198.18.0.0", "198.19.255.255"),
    ("198.51.100.0", "198.51.100.255"),
    ("203.0.113.0", "203.0.113.255"),
    ("224.0.0.0", "255.255.255.255"),
    ("::", "64:ff9a:ffff:ffff:ffff:ffff:ffff:ffff"),
    ("64:ff9b::", "64:ff9b::ff:ffff"),
    ("64:ff9b::a00:0", "64:ff9b::aff:ffff"),
    ("64:ff9b::7f00:0", "64:ff9b::7fff:ffff"),
    ("64:ff9b::a9fe:0", "64:ff9b::a9fe:ffff"),
    ("64:ff9b::c0a8:0", "64:ff9b::c0a8:ffff"),
    ("64:ff9b::e000:0", "64:ff9b::ffff:ffff"),
    ("64:ff9b:1::", "64:ff9b:1:ffff:ffff:ffff:ffff:ffff"),
    ("100::", "100:0:0:1:ffff:ffff:ffff:ffff"),
    ("2001::", "2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff"),
    ("2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff"),
    ("2002::", "2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
    ("2620:4f:8000::", "2620:4f:8000:ffff:ffff:ffff:ffff:ffff"),
    ("3ffe::", "3ffe:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
    ("3fff::", "3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff"),
    ("4000::", "fbff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
    ("fc00::", "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
    ("fe80::", "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
    ("ff00::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
];

/// The addresses on either side of a block that are public.
const NEIGHBOURS: [&str; 47] = [
    "1.0.0.0",
    "9.255.255.255",
    "11.0.0.0",
    "100.63.255.255",
    "100.128.0.0",
    "126.255.255.255",
    "128.0.0.0",
    "168.63.129.15",
    "168.63.129.17",
    "169.253.255.255",
    "169.255.0.0",
    "172.15.255.255",
    "172.32.0.0",
    "191.255.255.255",
    "192.0.1.0",
    "192.0.1.255",
    "192.0.3.0",
    "192.31.195.255",
    "192.31.197.0",
    "192.52.192.255",
    "192.52.194.0",
    "192.88.98.255",
    "192.88.100.0",
    "192.167.255.255",
    "192.169.0.0",
    "192.175.47.255",
    "192.175.49.0",
    "198.17.255.255",
    "198.20.0.0",
    "198.51.99.255",
    "198.51.101.0",
    "203.0.112.255",
    "203.0.114.0",
    "223.255.255.255",
    "64:ff9b::100:0",
    "64:ff9b::9ff:ffff",
    "64:ff9b::b00:0",
    "64:ff9b::808:808",
    "2000::",
    "2001:200::",
    "2001:db7:ffff:ffff:ffff:ffff:ffff:ffff",
    "2001:db9::",
    "2003::",
    "2620:4f:7fff:ffff:ffff:ffff:ffff:ffff",
    "2620:4f:8001::",
    "3ffd:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
    "3fff:1000::",
];

const METADATA: [&str; 8] = [
    "169.254.169.254",
    "169.254.170.2",
    "168.63.129.16",
    "100.100.100.200",
    "192.0.0.192",
    "fd00:ec2::254",
    "fd20:ce::254",
    "fe80::a9fe:a9fe",
];

#[test]
fn first_and_last_address_of_each_special_block_is_refused() {
    let exit = exit("accept *:*", &[]);
    for (first, last) in BLOCKS {
        for address in [first, last] {
            assert_eq!(
                check(&exit, address, 443),
                Err(Denial::Address),
                "{address}"
            );
        }
    }
}

#[test]
fn addresses_beside_special_blocks_are_reached() {
    let exit = exit("accept *:*", &[]);
    for address in NEIGHBOURS {
        assert!(check(&exit, address, 443).is_ok(), "{address}");
    }
}

#[test]
fn every_block_of_the_tables_is_named_in_these_tests() {
    let is_written = |first: IpAddr| {
        let is_inside = |from: &str, to: &str| {
            (from.parse::<IpAddr>().unwrap()..=to.parse().unwrap()).contains(&first)
        };
        BLOCKS.iter().any(|(from, to)| is_inside(from, to))
    };
    let v4 = SPECIAL_V4.iter().map(|net| IpAddr::from(net.network()));
    let v6 = SPECIAL_V6.iter().map(|net| IpAddr::from(net.network()));
    for first in v4.chain(v6) {
        assert!(is_written(first), "{first}");
    }
    assert_eq!(
        PUBLIC_V6.broadcast(),
        "3fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"
            .parse::<Ipv6Addr>()
            .unwrap()
    );
    for net in SPECIAL_V4 {
        assert_eq!(net, net.trunc());
    }
    for net in SPECIAL_V6 {
        assert_eq!(net, net.trunc());
    }
}

#[test]
fn metadata_servers_of_clouds_are_refused() {
    for address in METADATA {
        assert_eq!(
            check(&Exit::default(), address, 80),
            Err(Denial::Address),
            "{address}"
        );
    }
}

#[test]
fn private_addresses_in_ipv6_clothes_are_refused() {
    let exit = exit("accept *:*", &[]);
    for address in [
        "::ffff:127.0.0.1",                     // mapped
        "::ffff:a9fe:a9fe",                     // mapped, in hexadecimal
        "::127.0.0.1",                          // compatible
        "::8.8.8.8",                            // compatible: nothing answers there
        "2002:7f00:1::",                        // 6to4 of 127.0.0.1
        "2002:c0a8:101::1",                     // 6to4 of 192.168.1.1
        "64:ff9b::10.0.0.1",                    // NAT64
        "64:ff9b:1::10.0.0.1",                  // NAT64 of a local network
        "2001:0:4136:e378:8000:63bf:f5ff:fffe", // Teredo of 10.0.0.1
        "::ffff:0:127.0.0.1",                   // translated (RFC 2765)
    ] {
        assert_eq!(
            check(&exit, address, 443),
            Err(Denial::Address),
            "{address}"
        );
    }
}

#[test]
fn own_addresses_are_refused_in_every_form() {
    let own = vec!["8.8.4.4".parse().unwrap(), "2a00:1::1".parse().unwrap()];
    let exit = Exit::new("accept *:*".parse().unwrap(), Vec::new(), own);
    for address in ["8.8.4.4", "::ffff:8.8.4.4", "64:ff9b::8.8.4.4", "2a00:1::1"] {
        assert_eq!(check(&exit, address, 443), Err(Denial::Own), "{address}");
    }
    assert!(check(&exit, "8.8.4.5", 443).is_ok());
}

#[test]
fn mapped_address_is_connected_to_as_ipv4() {
    let checked = check(&Exit::default(), "::ffff:8.8.8.8", 443).unwrap();
    assert_eq!(checked.address(), "8.8.8.8:443".parse().unwrap());
}

#[test]
fn names_of_local_networks_and_other_systems_are_refused() {
    for end in REFUSED_NAMES {
        assert!(is_refused_name(&name(end)), "{end}");
        assert!(
            is_refused_name(&name(&format!("deep.below.{end}"))),
            "{end}"
        );
        assert!(
            !is_refused_name(&name(&format!("{end}.example.org"))),
            "{end}"
        );
        assert!(!is_refused_name(&name(&format!("not{end}.org"))), "{end}");
    }
    for text in [
        "router",
        "METADATA.google.internal.",
        "LocalHost",
        "svc.cluster.local",
    ] {
        assert!(is_refused_name(&name(text)), "{text}");
    }
}

#[test]
fn refused_name_is_refused_whatever_it_resolves_to() {
    let exit = exit("accept *:*", &[]);
    let name = name("notes.conet");
    assert_eq!(exit.check_name(&name, port(80)), Err(Denial::Name));
    let address = "8.8.8.8".parse().unwrap();
    assert_eq!(
        exit.check(Some(&name), address, port(80)),
        Err(Denial::Name)
    );
}

proptest! {
    #[test]
    fn ipv4_address_and_its_mapped_form_get_the_same_verdict(
        bits: u32, number in 1u16.., near in prop::sample::select(SPECIAL_V4.to_vec()), is_near: bool,
    ) {
        // Half of the addresses lie around special blocks, where verdicts change.
        let start = u32::from(near.network()).wrapping_sub(2);
        let bits = if is_near { start.wrapping_add(bits % 4) } else { bits };
        let address = Ipv4Addr::from(bits);
        let exit = exit("reject 8.0.0.0/7:*; reject *:25; accept *:*", &["10.0.0.0/9:8080"]);
        let plain = exit.check(None, address.into(), port(number));
        let mapped = exit.check(None, address.to_ipv6_mapped().into(), port(number));
        prop_assert_eq!(plain, mapped);
    }

    #[test]
    fn translated_address_is_reached_only_if_the_ipv4_address_is(bits: u32) {
        let [a, b, c, d] = bits.to_be_bytes();
        let address = IpAddr::from([a, b, c, d]);
        let translated = format!("64:ff9b::{a}.{b}.{c}.{d}").parse().unwrap();
        let exit = exit("reject 64.0.0.0/2:*; accept *:*", &[]);
        prop_assert_eq!(
            exit.check(None, address, port(80)).map(|_| ()),
            exit.check(None, translated, port(80)).map(|_| ())
        );
    }

    #[test]
    fn no_rule_opens_what_is_not_public(bits: u128, number in 1u16.., is_v4: bool) {
        let address = match u32::try_from(bits >> 96) {
            Ok(bits) if is_v4 => IpAddr::V4(bits.into()),
            _ => IpAddr::V6(bits.into()),
        };
        let exit = exit("accept *:*", &[]);
        prop_assert_eq!(exit.check(None, address, port(number)).is_ok(), is_public(address));
    }

    #[test]
    fn floor_agrees_with_the_standard_library_where_that_has_an_opinion(bits: u32) {
        let address = Ipv4Addr::from(bits);
        let is_special = address.is_private() || address.is_loopback() || address.is_link_local()
            || address.is_broadcast() || address.is_documentation() || address.is_unspecified()
            || address.is_multicast();
        prop_assert!(!is_special || !is_public(address.into()));
    }
}
