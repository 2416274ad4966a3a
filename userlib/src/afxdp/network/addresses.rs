//! The device's own addresses, and which of them a packet has as its source.

use std::net::{IpAddr, Ipv6Addr};

/// How far an address is good for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Scope {
    /// Everywhere, or within a site.
    Global,
    /// On the link alone.
    Link,
    /// On this host alone.
    Host,
}

/// An address of the device.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Address {
    pub(super) address: IpAddr,
    pub(super) prefix_length: u8,
    pub(super) scope: Scope,
    /// A further IPv4 address of a subnet, or an IPv6 one for a while only.
    pub(super) secondary: bool,
    pub(super) deprecated: bool,
    /// Not known to be unique, or known not to be: nobody may use it.
    pub(super) unusable: bool,
}

impl Address {
    fn is_in_subnet_of(&self, other: IpAddr) -> bool {
        match (self.address, other) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                (own.to_bits() ^ other.to_bits()).leading_zeros() >= self.prefix_length.into()
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                (own.to_bits() ^ other.to_bits()).leading_zeros() >= self.prefix_length.into()
            }
            _ => false,
        }
    }
}

/// What of a target its source depends on, where all else is equal.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Class {
    V4,
    V6Link,
    /// Unique local addresses.
    V6Local,
    V6Global,
}

impl Class {
    pub(super) fn of(target: IpAddr) -> Self {
        match target {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(target) if target.is_unicast_link_local() => Self::V6Link,
            IpAddr::V6(target) if target.is_unique_local() => Self::V6Local,
            IpAddr::V6(_) => Self::V6Global,
        }
    }
}

/// The device's addresses in the kernel's order.
#[derive(Default, Debug)]
pub(super) struct Addresses {
    own: Vec<Address>,
    /// By the user's choice.
    fixed_v4: Option<IpAddr>,
    fixed_v6: Option<IpAddr>,
}

impl Addresses {
    pub(super) fn fix(&mut self, source: IpAddr) {
        match source {
            IpAddr::V4(_) => self.fixed_v4 = Some(source),
            IpAddr::V6(_) => self.fixed_v6 = Some(source),
        }
    }

    pub(super) fn clear(&mut self) {
        self.own.clear();
    }

    /// An address that is new or has changed.
    pub(super) fn put(&mut self, address: Address) {
        let same = |other: &&mut Address| is_same(other, &address);
        match self.own.iter_mut().find(same) {
            Some(known) => *known = address,
            None => self.own.push(address),
        }
    }

    pub(super) fn remove(&mut self, address: &Address) {
        self.own.retain(|other| !is_same(other, address));
    }

    /// The source of packets to targets of `class` by way of `next_hop`. `preferred` is the route's word.
    pub(super) fn source(&self, class: Class, next_hop: IpAddr, preferred: Option<IpAddr>) -> Option<IpAddr> {
        let fixed = if class == Class::V4 { self.fixed_v4 } else { self.fixed_v6 };
        fixed.or(preferred).or_else(|| match class {
            Class::V4 => self.source_v4(next_hop),
            Class::V6Link | Class::V6Local | Class::V6Global => self.source_v6(class, next_hop),
        })
    }

    fn source_v4(&self, next_hop: IpAddr) -> Option<IpAddr> {
        let primary =
            || self.own.iter().filter(|own| own.address.is_ipv4() && !own.secondary && own.scope < Scope::Host);
        let neighbour = primary().find(|own| own.is_in_subnet_of(next_hop));
        neighbour.or_else(|| primary().find(|own| own.scope == Scope::Global)).map(|own| own.address)
    }

    /// RFC 6724, simplified: of this device's addresses alone, and the subnet of the next hop instead of the longest
    /// common prefix. The labels are those of unique local and of all other addresses.
    fn source_v6(&self, class: Class, next_hop: IpAddr) -> Option<IpAddr> {
        let scope = if class == Class::V6Link { Scope::Link } else { Scope::Global };
        let candidates = self.own.iter().filter(|own| own.address.is_ipv6() && own.scope == scope && !own.unusable);
        let best = candidates.min_by_key(|own| {
            let other_label = Class::of(own.address) != class;
            (own.deprecated, other_label, own.secondary, !own.is_in_subnet_of(next_hop))
        });
        best.map(|own| own.address)
    }
}

/// IPv4 has the same address in several subnets, if told to.
fn is_same(a: &Address, b: &Address) -> bool {
    a.address == b.address && a.prefix_length == b.prefix_length
}

/// The scope of an IPv6 address, which the kernel does not store for it but derives.
pub(super) fn scope_v6(address: Ipv6Addr) -> Scope {
    if address.is_loopback() {
        Scope::Host
    } else if address.is_unicast_link_local() {
        Scope::Link
    } else {
        Scope::Global
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    fn own(text: &str) -> Address {
        let (address, length) = text.split_once('/').expect("a prefix");
        let address = ip(address);
        let scope = match address {
            IpAddr::V4(_) => Scope::Global,
            IpAddr::V6(address) => scope_v6(address),
        };
        let prefix_length = length.parse().expect("a length");
        Address { address, prefix_length, scope, secondary: false, deprecated: false, unusable: false }
    }

    fn all(own: &[Address]) -> Addresses {
        Addresses { own: own.to_vec(), ..Addresses::default() }
    }

    fn source(addresses: &Addresses, target: &str, next_hop: &str) -> Option<IpAddr> {
        addresses.source(Class::of(ip(target)), ip(next_hop), None)
    }

    #[test]
    fn ipv4_takes_the_subnet_of_the_next_hop_then_the_first_global() {
        let link = Address { scope: Scope::Link, ..own("169.254.7.1/16") };
        let addresses = all(&[link, own("10.0.0.1/24"), own("192.0.2.5/28")]);
        assert_eq!(source(&addresses, "8.8.8.8", "192.0.2.1"), Some(ip("192.0.2.5")));
        assert_eq!(source(&addresses, "8.8.8.8", "172.16.0.1"), Some(ip("10.0.0.1")));
        assert_eq!(source(&addresses, "8.8.8.8", "fe80::1"), Some(ip("10.0.0.1")));
        assert_eq!(source(&addresses, "169.254.9.9", "169.254.9.9"), Some(ip("169.254.7.1")));
    }

    #[test]
    fn ipv4_leaves_secondary_and_host_addresses_alone() {
        let secondary = Address { secondary: true, ..own("10.0.0.2/24") };
        let host = Address { scope: Scope::Host, ..own("10.9.9.9/32") };
        assert_eq!(source(&all(&[secondary, host]), "8.8.8.8", "10.0.0.9"), None);
    }

    #[test]
    fn ipv6_takes_scope_then_what_is_not_deprecated_then_label_then_what_lasts() {
        let deprecated = Address { deprecated: true, ..own("2001:db8::1/64") };
        let temporary = Address { secondary: true, ..own("2001:db8::2/64") };
        let addresses = all(&[own("fe80::1/64"), deprecated, own("fd00::1/64"), temporary]);
        assert_eq!(source(&addresses, "2001:db8:9::9", "fe80::99"), Some(ip("2001:db8::2")));
        assert_eq!(source(&addresses, "fd00:9::9", "fe80::99"), Some(ip("fd00::1")));
        assert_eq!(source(&addresses, "fe80::99", "fe80::99"), Some(ip("fe80::1")));
        let lasting = all(&[temporary, own("2001:db8::3/64")]);
        assert_eq!(source(&lasting, "2001:db8:9::9", "fe80::99"), Some(ip("2001:db8::3")));
        let unusable = Address { unusable: true, ..own("2001:db8::4/64") };
        assert_eq!(source(&all(&[unusable, own("fe80::1/64")]), "2001:db8:9::9", "fe80::99"), None);
    }

    #[test]
    fn ipv6_takes_the_subnet_of_the_next_hop_among_equals() {
        let addresses = all(&[own("2001:db8:1::1/64"), own("2001:db8:2::1/64")]);
        assert_eq!(source(&addresses, "2001:db8:2::9", "2001:db8:2::9"), Some(ip("2001:db8:2::1")));
    }

    #[test]
    fn the_user_overrides_the_route_and_the_route_the_choice() {
        let mut addresses = all(&[own("10.0.0.1/24")]);
        let choose = |addresses: &Addresses| addresses.source(Class::V4, ip("10.0.0.9"), Some(ip("10.5.5.5")));
        assert_eq!(choose(&addresses), Some(ip("10.5.5.5")));
        addresses.fix(ip("10.6.6.6"));
        addresses.fix(ip("fd00::6"));
        assert_eq!(choose(&addresses), Some(ip("10.6.6.6")));
    }
}
