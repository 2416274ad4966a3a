//! Addresses that are not for hosts on the Internet.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

/// Addresses with a purpose of their own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Special {
    /// Which ones.
    pub prefix: IpNet,
    /// What for.
    pub name: &'static str,
    /// The number of the RFC that says so.
    pub rfc: u16,
}

/// The addresses that are not globally reachable by the IANA's registries of [IPv4] and [IPv6] special-purpose addresses, which
/// RFC 6890 has founded, and multicast ones. What the registries have within these for services that are reachable is left out, so
/// that some of the prefixes are parts of what is registered.
///
/// [IPv4]: https://www.iana.org/assignments/iana-ipv4-special-registry
/// [IPv6]: https://www.iana.org/assignments/iana-ipv6-special-registry
pub fn special_purpose() -> Vec<Special> {
    let mut found: Vec<Special> =
        IPV4.iter().map(|row| row.special()).chain(IPV6.iter().map(|row| row.special())).collect();
    for reachable in REACHABLE_IPV4.iter().map(Row::prefix).chain(REACHABLE_IPV6.iter().map(Row::prefix)) {
        found = found.into_iter().flat_map(|special| special.without(reachable)).collect();
    }
    found
}

impl Special {
    /// The rest: one prefix for each bit by which `hole` is longer.
    fn without(self, hole: IpNet) -> Vec<Self> {
        if !self.prefix.contains(&hole) {
            return vec![self];
        }
        let halves = self.prefix.subnets(self.prefix.prefix_len() + 1).into_iter().flatten();
        halves.filter(|_| self.prefix != hole).flat_map(|prefix| Self { prefix, ..self }.without(hole)).collect()
    }
}

/// Address, prefix length, number of the RFC, name.
struct Row<A>(A, u8, u16, &'static str);

impl<A: Copy + Into<IpAddr>> Row<A> {
    fn prefix(&self) -> IpNet {
        IpNet::new(self.0.into(), self.1).expect("the table's prefixes are no longer than its addresses")
    }

    fn special(&self) -> Special {
        Special { prefix: self.prefix(), name: self.3, rfc: self.2 }
    }
}

const fn v4(a: u8, b: u8, c: u8, d: u8) -> Ipv4Addr {
    Ipv4Addr::new(a, b, c, d)
}

/// With the four upper groups; those below are zero.
const fn v6(a: u16, b: u16, c: u16, d: u16) -> Ipv6Addr {
    Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0)
}

const IPV4: &[Row<Ipv4Addr>] = &[
    Row(v4(0, 0, 0, 0), 8, 791, "this network"),
    Row(v4(10, 0, 0, 0), 8, 1918, "private use"),
    Row(v4(100, 64, 0, 0), 10, 6598, "shared address space"),
    Row(v4(127, 0, 0, 0), 8, 1122, "loopback"),
    Row(v4(169, 254, 0, 0), 16, 3927, "link-local"),
    Row(v4(172, 16, 0, 0), 12, 1918, "private use"),
    Row(v4(192, 0, 0, 0), 24, 6890, "IETF protocol assignments"),
    Row(v4(192, 0, 2, 0), 24, 5737, "documentation"),
    Row(v4(192, 88, 99, 0), 24, 7526, "former 6to4 relays"),
    Row(v4(192, 168, 0, 0), 16, 1918, "private use"),
    Row(v4(198, 18, 0, 0), 15, 2544, "benchmarking"),
    Row(v4(198, 51, 100, 0), 24, 5737, "documentation"),
    Row(v4(203, 0, 113, 0), 24, 5737, "documentation"),
    // Of the IPv4 multicast registry.
    Row(v4(224, 0, 0, 0), 4, 5771, "multicast"),
    // With limited broadcast, 255.255.255.255 (RFC 8190).
    Row(v4(240, 0, 0, 0), 4, 1112, "reserved"),
];

const REACHABLE_IPV4: &[Row<Ipv4Addr>] = &[
    Row(v4(192, 0, 0, 9), 32, 7723, "Port Control Protocol anycast"),
    Row(v4(192, 0, 0, 10), 32, 8155, "TURN anycast"),
];

const IPV6: &[Row<Ipv6Addr>] = &[
    Row(Ipv6Addr::UNSPECIFIED, 128, 4291, "unspecified"),
    Row(Ipv6Addr::LOCALHOST, 128, 4291, "loopback"),
    Row(Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0, 0), 96, 4291, "IPv4-mapped"),
    Row(v6(0x64, 0xff9b, 1, 0), 48, 8215, "local IPv4/IPv6 translation"),
    Row(v6(0x100, 0, 0, 0), 64, 6666, "discard only"),
    Row(v6(0x100, 0, 0, 1), 64, 9780, "dummy prefix"),
    // With Teredo (RFC 4380), benchmarking (RFC 5180) and the former ORCHID (RFC 4843).
    Row(v6(0x2001, 0, 0, 0), 23, 2928, "IETF protocol assignments"),
    Row(v6(0x2001, 0xdb8, 0, 0), 32, 3849, "documentation"),
    Row(v6(0x2002, 0, 0, 0), 16, 3056, "6to4"),
    Row(v6(0x3fff, 0, 0, 0), 20, 9637, "documentation"),
    Row(v6(0x5f00, 0, 0, 0), 16, 9602, "segment routing identifiers"),
    Row(v6(0xfc00, 0, 0, 0), 7, 4193, "unique local"),
    Row(v6(0xfe80, 0, 0, 0), 10, 4291, "link-local"),
    // Of the registry of the whole address space, as is multicast.
    Row(v6(0xfec0, 0, 0, 0), 10, 3879, "former site-local"),
    Row(v6(0xff00, 0, 0, 0), 8, 4291, "multicast"),
];

const REACHABLE_IPV6: &[Row<Ipv6Addr>] = &[
    Row(Ipv6Addr::new(0x2001, 1, 0, 0, 0, 0, 0, 1), 128, 7723, "Port Control Protocol anycast"),
    Row(Ipv6Addr::new(0x2001, 1, 0, 0, 0, 0, 0, 2), 128, 8155, "TURN anycast"),
    Row(Ipv6Addr::new(0x2001, 1, 0, 0, 0, 0, 0, 3), 128, 9665, "service registration anycast"),
    Row(v6(0x2001, 3, 0, 0), 32, 7450, "AMT"),
    Row(v6(0x2001, 4, 0x112, 0), 48, 7535, "AS112"),
    Row(v6(0x2001, 0x20, 0, 0), 28, 7343, "ORCHIDv2"),
    Row(v6(0x2001, 0x30, 0, 0), 28, 9374, "drone remote identification"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stateless::{Targets, parse_prefix};

    fn special(address: &str) -> Option<(&'static str, u16)> {
        let address: IpAddr = address.parse().expect("an address");
        let found: Vec<Special> =
            special_purpose().into_iter().filter(|special| special.prefix.contains(&address)).collect();
        assert!(found.len() <= 1, "{found:?}");
        found.first().map(|special| (special.name, special.rfc))
    }

    #[test]
    fn what_is_special_and_what_is_not() {
        for (address, expected) in [
            ("0.0.0.0", Some(("this network", 791))),
            ("9.255.255.255", None),
            ("10.99.0.2", Some(("private use", 1918))),
            ("100.63.255.255", None),
            ("100.127.255.255", Some(("shared address space", 6598))),
            ("172.31.0.1", Some(("private use", 1918))),
            ("172.32.0.1", None),
            ("192.0.0.8", Some(("IETF protocol assignments", 6890))),
            ("192.0.0.9", None),
            ("192.0.0.10", None),
            ("192.0.0.11", Some(("IETF protocol assignments", 6890))),
            ("192.0.0.255", Some(("IETF protocol assignments", 6890))),
            ("192.0.1.0", None),
            ("192.31.196.1", None),
            ("192.52.193.1", None),
            ("192.175.48.1", None),
            ("198.19.255.255", Some(("benchmarking", 2544))),
            ("198.20.0.0", None),
            ("223.255.255.255", None),
            ("224.0.0.1", Some(("multicast", 5771))),
            ("255.255.255.255", Some(("reserved", 1112))),
            ("::", Some(("unspecified", 4291))),
            ("::2", None),
            ("::ffff:192.0.2.1", Some(("IPv4-mapped", 4291))),
            ("64:ff9b::1", None),
            ("100::1", Some(("discard only", 6666))),
            ("100:0:0:1::", Some(("dummy prefix", 9780))),
            ("100:0:0:2::", None),
            ("2001::1", Some(("IETF protocol assignments", 2928))),
            ("2001:1::", Some(("IETF protocol assignments", 2928))),
            ("2001:1::1", None),
            ("2001:1::3", None),
            ("2001:1::4", Some(("IETF protocol assignments", 2928))),
            ("2001:2::1", Some(("IETF protocol assignments", 2928))),
            ("2001:3::1", None),
            ("2001:4:112::1", None),
            ("2001:4:113::1", Some(("IETF protocol assignments", 2928))),
            ("2001:10::1", Some(("IETF protocol assignments", 2928))),
            ("2001:2f::1", None),
            ("2001:30::1", None),
            ("2001:1ff:ffff::1", Some(("IETF protocol assignments", 2928))),
            ("2001:200::1", None),
            ("2001:db8::1", Some(("documentation", 3849))),
            ("2620:4f:8000::1", None),
            ("2a00:1450::1", None),
            ("3fff:fff::1", Some(("documentation", 9637))),
            ("fd00:99::2", Some(("unique local", 4193))),
            ("fe80::1", Some(("link-local", 4291))),
            ("ff02::1", Some(("multicast", 4291))),
        ] {
            assert_eq!(special(address), expected, "{address}");
        }
    }

    #[test]
    fn most_of_ipv4_is_not() {
        let excluded: Vec<IpNet> = special_purpose().iter().map(|special| special.prefix).collect();
        let targets = Targets::new(&[parse_prefix("0.0.0.0/0").expect("a prefix")], &excluded).expect("2^32 at most");
        assert_eq!(targets.len(), 3_702_258_434);
    }
}
