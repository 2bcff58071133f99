//! What is not the public internet: special addresses and names of local networks.
//!
//! Sources: the IANA registries of special-purpose IPv4 and IPv6 addresses (RFC 6890, as of 2025) and of special-use
//! domain names (RFC 6761). Where a registry calls a small block globally reachable inside a block that is not (anycast
//! of protocols, mostly), the larger block is refused all the same: nobody browses there.

use core::iter;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};
use protocol::target::HostName;

use super::rule::is_below;

/// IPv4 networks that are not public.
pub(super) const SPECIAL_V4: [Ipv4Net; 19] = [
    v4([0, 0, 0, 0], 8),        // "this network", RFC 791
    v4([10, 0, 0, 0], 8),       // private, RFC 1918
    v4([100, 64, 0, 0], 10),    // shared by carriers' translators, RFC 6598; Alibaba's metadata
    v4([127, 0, 0, 0], 8),      // loopback, RFC 1122
    v4([168, 63, 129, 16], 32), // Azure's virtual server for its guests
    v4([169, 254, 0, 0], 16),   // link-local, RFC 3927; metadata of most clouds
    v4([172, 16, 0, 0], 12),    // private, RFC 1918
    v4([192, 0, 0, 0], 24),     // protocol assignments, RFC 6890; Oracle's metadata
    v4([192, 0, 2, 0], 24),     // documentation, RFC 5737
    v4([192, 31, 196, 0], 24),  // AS112, RFC 7535
    v4([192, 52, 193, 0], 24),  // automatic multicast tunnels, RFC 7450
    v4([192, 88, 99, 0], 24),   // relays of 6to4, RFC 7526
    v4([192, 168, 0, 0], 16),   // private, RFC 1918
    v4([192, 175, 48, 0], 24),  // AS112, RFC 7534
    v4([198, 18, 0, 0], 15),    // benchmarks, RFC 2544
    v4([198, 51, 100, 0], 24),  // documentation, RFC 5737
    v4([203, 0, 113, 0], 24),   // documentation, RFC 5737
    v4([224, 0, 0, 0], 4),      // multicast, RFC 5771
    v4([240, 0, 0, 0], 4),      // reserved, RFC 1112, and broadcast, RFC 919
];

/// The only IPv6 addresses that are given out as public (RFC 4291 2.4 and IANA's list of IPv6 address space). Outside lie
/// loopback, unspecified, IPv4-compatible, discard, unique local, link-local, site-local, multicast and segment routing.
pub(super) const PUBLIC_V6: Ipv6Net = v6([0x2000, 0, 0], 3);

/// IPv6 networks inside the public space that are not public.
pub(super) const SPECIAL_V6: [Ipv6Net; 6] = [
    v6([0x2001, 0, 0], 23), // protocol assignments, RFC 2928: Teredo, benchmarks, ORCHID and others
    v6([0x2001, 0xdb8, 0], 32), // documentation, RFC 3849
    v6([0x2002, 0, 0], 16), // 6to4, RFC 3056: an IPv4 address is inside, and its relays are gone (RFC 7526)
    v6([0x2620, 0x4f, 0x8000], 48), // AS112, RFC 7534
    v6([0x3ffe, 0, 0], 16), // the old 6bone, RFC 3701
    v6([0x3fff, 0, 0], 20), // documentation, RFC 9637
];

/// IPv4 as seen through a translator (NAT64, RFC 6052): the last 32 bits are the address that is reached in the end.
pub(super) const NAT64: Ipv6Net = v6([0x64, 0xff9b, 0], 96);

/// Names that end so are refused without asking anybody: they belong to this machine, to its local network or to another
/// system than the domain name system, and asking for them would tell a name server what is nobody's business.
pub(super) const REFUSED_NAMES: [&str; 22] = [
    "alt",         // other systems, RFC 9476
    "arpa",        // reverse and infrastructure names, home.arpa (RFC 8375) among them
    "bit",         // Namecoin
    "conet",       // ours: services, which no bridge reaches
    "consul",      // service discovery inside clusters
    "corp",        // widespread in companies, never to be delegated
    "docker",      // containers of this machine
    "eth",         // ENS
    "exit",        // Tor's way to name exits
    "home",        // never to be delegated
    "i2p",         // I2P
    "internal",    // reserved for private use (ICANN 2024); metadata.google.internal
    "intranet",    // widespread in companies
    "invalid",     // RFC 6761
    "lan",         // routers' default
    "local",       // multicast DNS, RFC 6762; cluster.local
    "localdomain", // this machine
    "localhost",   // this machine, RFC 6761
    "mail",        // never to be delegated
    "onion",       // Tor, RFC 7686
    "private",     // widespread in companies
    "test",        // RFC 6761
];

/// The forms of an address that must each be judged: itself in its usual form, and the IPv4 address that a translator would
/// send it on to.
pub(super) fn forms(address: IpAddr) -> impl Iterator<Item = IpAddr> {
    let canonical = address.to_canonical();
    let behind = match canonical {
        IpAddr::V6(address) if NAT64.contains(&address) => Some(last_four(address).into()),
        _ => None,
    };
    iter::once(canonical).chain(behind)
}

/// Whether an address is of the public internet, so that it may be reached at all.
///
/// An IPv4-mapped address counts as the IPv4 address inside, a NAT64 one likewise.
#[must_use]
pub fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) if NAT64.contains(&address) => is_public_v4(last_four(address)),
        IpAddr::V6(address) => {
            PUBLIC_V6.contains(&address) && !SPECIAL_V6.iter().any(|net| net.contains(&address))
        }
    }
}

/// Whether a name is refused without asking anybody: it has one label only, or ends in one that is not of the public
/// domain name system.
#[must_use]
pub fn is_refused_name(name: &HostName) -> bool {
    let name = name.as_str();
    !name.contains('.') || REFUSED_NAMES.iter().any(|end| is_below(name, end))
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    !SPECIAL_V4.iter().any(|net| net.contains(&address))
}

fn last_four(address: Ipv6Addr) -> Ipv4Addr {
    let [.., a, b, c, d] = address.octets();
    Ipv4Addr::new(a, b, c, d)
}

const fn v4(octets: [u8; 4], prefix: u8) -> Ipv4Net {
    let [a, b, c, d] = octets;
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix)
}

const fn v6(segments: [u16; 3], prefix: u8) -> Ipv6Net {
    let [a, b, c] = segments;
    Ipv6Net::new_assert(Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0), prefix)
}
