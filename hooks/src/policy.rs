//! Whom a host stamps: prefixes and their standing, as the programs' longest-prefix map holds them.

use std::{
    collections::BTreeMap,
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

use instamp_trailer::Standing;

/// An IP network: the addresses that begin with the same bits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub struct Prefix {
    /// All bits behind the prefix are zero.
    network: IpAddr,
    length: u8,
}

/// Why a text is no prefix.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PrefixError {
    /// Not an address.
    #[error("`{0}` is not an IPv4 or IPv6 address, nor a prefix such as 192.0.2.0/24")]
    Address(String),
    /// Longer than the address, or not a number.
    #[error("the prefix length of `{0}` is not a number from 0 to {1}")]
    Length(String, u8),
}

impl Prefix {
    /// The network of the first `length` bits of `address`; `None` where the address has fewer.
    pub fn new(address: IpAddr, length: u8) -> Option<Self> {
        let network = match address {
            IpAddr::V4(address) => {
                let mask = u32::MAX.checked_shl(32_u32.checked_sub(length.into())?).unwrap_or(0);
                IpAddr::V4(Ipv4Addr::from_bits(address.to_bits() & mask))
            }
            IpAddr::V6(address) => {
                let mask = u128::MAX.checked_shl(128_u32.checked_sub(length.into())?).unwrap_or(0);
                IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & mask))
            }
        };
        Some(Self { network, length })
    }

    /// How many leading bits the addresses of the network share.
    pub const fn length(self) -> u8 {
        self.length
    }

    /// The first address of the network.
    pub const fn network(self) -> IpAddr {
        self.network
    }

    const fn width(address: IpAddr) -> u8 {
        match address {
            IpAddr::V4(_) => 32,
            IpAddr::V6(_) => 128,
        }
    }

    /// Whether every address of `other` is also one of this network. IPv4 and IPv6 do not cover each other.
    fn covers(self, other: Self) -> bool {
        self.length <= other.length && Self::new(other.network, self.length) == Some(self)
    }

    /// All of IPv4.
    const IPV4: Self = Self { network: IpAddr::V4(Ipv4Addr::UNSPECIFIED), length: 0 };
    /// Where the map keeps all of IPv4: `::ffff:0:0/96`.
    const MAPPED: Self = Self { network: IpAddr::V6(Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0, 0)), length: 96 };
}

impl From<IpAddr> for Prefix {
    fn from(address: IpAddr) -> Self {
        Self { network: address, length: Self::width(address) }
    }
}

impl FromStr for Prefix {
    type Err = PrefixError;

    fn from_str(text: &str) -> Result<Self, PrefixError> {
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| PrefixError::Address(text.to_owned()))?;
        let Some(length) = length else { return Ok(address.into()) };
        length
            .parse()
            .ok()
            .and_then(|length| Self::new(address, length))
            .ok_or_else(|| PrefixError::Length(text.to_owned(), Self::width(address)))
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network, self.length)
    }
}

/// A key of the programs' policy map: an IPv6 network, or an IPv4 network mapped into IPv6.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Key {
    pub(crate) length: u32,
    pub(crate) address: [u8; 16],
}

impl From<Prefix> for Key {
    fn from(prefix: Prefix) -> Self {
        match prefix.network {
            IpAddr::V4(address) => {
                Self { length: 96 + u32::from(prefix.length), address: address.to_ipv6_mapped().octets() }
            }
            IpAddr::V6(address) => Self { length: prefix.length.into(), address: address.octets() },
        }
    }
}

impl From<Key> for Prefix {
    fn from(key: Key) -> Self {
        let address = Ipv6Addr::from(key.address);
        let mapped = key.length.checked_sub(96).zip(address.to_ipv4_mapped());
        let (network, length) = match mapped {
            Some((length, address)) => (IpAddr::V4(address), length),
            None => (IpAddr::V6(address), key.length),
        };
        Self { network, length: u8::try_from(length).unwrap_or(u8::MAX) }
    }
}

/// Why a network is in a policy. The map keeps this too, in bits of their own: by standing alone, an update could not tell what was named from the host's addresses, nor from what a network has of another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Named {
    /// An address of the host.
    Own,
    /// An address of a container of the host.
    Container,
    /// The user has named it as a source.
    Source,
    /// The user has it responded to.
    Respond,
}

impl Named {
    const ALL: [Self; 4] = [Self::Own, Self::Container, Self::Source, Self::Respond];

    const fn bit(self) -> u32 {
        match self {
            Self::Respond => 1 << 9,
            Self::Own => 1 << 10,
            Self::Container => 1 << 11,
            Self::Source => 1 << 12,
        }
    }

    /// What the map holds of a network that is named so.
    const fn bits(self) -> u32 {
        self.bit()
            | match self {
                Self::Own => Standing::OWN.bits(),
                Self::Container | Self::Source => Standing::OWN.bits() | Standing::MEASURED_FOR,
                Self::Respond => Standing::RESPOND.bits(),
            }
    }

    /// Whether this value of the map says so.
    pub(crate) const fn is_in(self, value: u32) -> bool {
        value & self.bit() != 0
    }
}

/// The standing of networks. An address has that of all the networks that it lies in.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Policy {
    /// Without what networks have of others.
    values: BTreeMap<Prefix, u32>,
}

impl Policy {
    /// The most networks that the programs' map holds.
    pub const CAPACITY: usize = 1024;

    /// Gives all addresses of `prefix` a standing, on top of what they have.
    pub fn add(&mut self, prefix: Prefix, standing: Standing) {
        *self.values.entry(prefix).or_default() |= standing.bits();
    }

    /// Gives all addresses of `prefix` the standing that goes with its name. For its own addresses the host answers, whatever else
    /// they are: nobody takes them from it by having them, too.
    pub(crate) fn name(&mut self, prefix: Prefix, named: Named) {
        let value = self.values.entry(prefix).or_default();
        *value |= named.bits();
        if Named::Own.is_in(*value) {
            *value &= !Standing::MEASURED_FOR;
        }
    }

    /// The policy that has become these values of the map.
    pub(crate) fn of_map(values: &BTreeMap<Prefix, u32>) -> Self {
        let mut policy = Self::default();
        for (&prefix, &value) in values {
            Named::ALL.into_iter().filter(|named| named.is_in(value)).for_each(|named| policy.name(prefix, named));
        }
        policy
    }

    /// The networks that are named so.
    pub(crate) fn named(&self, named: Named) -> impl Iterator<Item = Prefix> + '_ {
        self.values.iter().filter(move |(_, value)| named.is_in(**value)).map(|(&prefix, _)| prefix)
    }

    /// Without the networks as far as they are named so.
    #[must_use]
    pub(crate) fn without(&self, unnamed: Named) -> Self {
        let mut policy = Self::default();
        for named in Named::ALL.into_iter().filter(|named| *named != unnamed) {
            self.named(named).for_each(|prefix| policy.name(prefix, named));
        }
        policy
    }

    /// The networks with the standing of their addresses: that of the network itself and of all that cover it.
    pub fn networks(&self) -> impl Iterator<Item = (Prefix, Standing)> + '_ {
        self.values.keys().map(|&prefix| (prefix, self.standing(prefix)))
    }

    fn standing(&self, prefix: Prefix) -> Standing {
        let covering = self.values.iter().filter(|(network, _)| network.covers(prefix));
        Standing::from_bits(covering.fold(0, |bits, (_, &more)| bits | more))
    }

    /// The entries of the map, in which the longest match alone counts.
    ///
    /// IPv4 lies inside the IPv6 of the map. Where an IPv6 network reaches around it, an entry for all of IPv4 keeps it
    /// from counting there.
    pub(crate) fn entries(&self) -> BTreeMap<Key, u32> {
        let mut entries: BTreeMap<Key, u32> =
            self.values.iter().map(|(&prefix, value)| (prefix.into(), self.standing(prefix).bits() | value)).collect();
        if self.values.keys().any(|network| network.covers(Prefix::MAPPED)) {
            entries.entry(Prefix::IPV4.into()).or_insert_with(|| self.standing(Prefix::IPV4).bits());
        }
        entries
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn prefix(text: &str) -> Prefix {
        text.parse().unwrap()
    }

    fn policy(own: &[&str], respond: &[&str]) -> Policy {
        let mut policy = Policy::default();
        own.iter().for_each(|text| policy.add(prefix(text), Standing::OWN));
        respond.iter().for_each(|text| policy.add(prefix(text), Standing::RESPOND));
        policy
    }

    /// What the kernel finds: the value of the longest entry that matches.
    fn lookup(entries: &BTreeMap<Key, u32>, address: IpAddr) -> u32 {
        let key = Key::from(Prefix::from(address));
        entries
            .iter()
            .filter(|(entry, _)| {
                let mask = u128::MAX.checked_shl(128 - entry.length).unwrap_or(0);
                u128::from_be_bytes(key.address) & mask == u128::from_be_bytes(entry.address)
            })
            .max_by_key(|(entry, _)| entry.length)
            .map_or(0, |(_, &bits)| bits)
    }

    #[test]
    fn parses_prefixes_and_clears_host_bits() {
        assert_eq!(prefix("192.0.2.77/24").to_string(), "192.0.2.0/24");
        assert_eq!(prefix("192.0.2.77").to_string(), "192.0.2.77/32");
        assert_eq!(prefix("2001:db8::1/32").to_string(), "2001:db8::/32");
        assert_eq!(prefix("::/0").to_string(), "::/0");
        assert_eq!(prefix("10.1.2.3/0").to_string(), "0.0.0.0/0");
    }

    #[test]
    fn refuses_what_is_no_prefix() {
        assert!(matches!("example".parse::<Prefix>(), Err(PrefixError::Address(_))));
        assert!(matches!("10.0.0.0/33".parse::<Prefix>(), Err(PrefixError::Length(_, 32))));
        assert!(matches!("::/129".parse::<Prefix>(), Err(PrefixError::Length(_, 128))));
        assert!(matches!("10.0.0.0/".parse::<Prefix>(), Err(PrefixError::Length(_, 32))));
        assert!(matches!("10.0.0.0/-1".parse::<Prefix>(), Err(PrefixError::Length(_, 32))));
    }

    #[test]
    fn a_longer_prefix_inherits_from_those_that_cover_it() {
        let entries = policy(&["10.1.2.3", "fd00::1"], &["10.0.0.0/8", "fd00::/8"]).entries();
        let both = Standing::OWN.and(Standing::RESPOND).bits();
        assert_eq!(lookup(&entries, "10.1.2.3".parse().unwrap()), both);
        assert_eq!(lookup(&entries, "10.1.2.4".parse().unwrap()), Standing::RESPOND.bits());
        assert_eq!(lookup(&entries, "fd00::1".parse().unwrap()), both);
        assert_eq!(lookup(&entries, "11.0.0.1".parse().unwrap()), 0);
    }

    #[test]
    fn a_wide_ipv6_prefix_says_nothing_about_ipv4() {
        let entries = policy(&[], &["::/0"]).entries();
        assert_eq!(lookup(&entries, "192.0.2.1".parse().unwrap()), 0);
        assert_eq!(lookup(&entries, "2001:db8::1".parse().unwrap()), Standing::RESPOND.bits());

        let entries = policy(&["0.0.0.0/0"], &["::/0"]).entries();
        assert_eq!(lookup(&entries, "192.0.2.1".parse().unwrap()), Standing::OWN.bits());
    }

    #[test]
    fn what_was_named_is_told_from_what_has_the_same_standing() {
        let mut policy = policy(&["10.1.2.3"], &[]);
        policy.name(prefix("10.0.0.0/8"), Named::Source);
        policy.name(prefix("0.0.0.0/0"), Named::Respond);
        policy.name(prefix("::/0"), Named::Respond);
        let named = |named: Named| {
            let entries = policy.entries();
            entries
                .into_iter()
                .filter(move |&(_, value)| named.is_in(value))
                .map(|(key, _)| Prefix::from(key).to_string())
        };
        assert_eq!(named(Named::Source).collect::<Vec<_>>(), ["10.0.0.0/8"]);
        assert_eq!(named(Named::Respond).collect::<Vec<_>>(), ["::/0", "0.0.0.0/0"]);
        let value = lookup(&policy.entries(), "10.1.2.3".parse().unwrap());
        assert_eq!(Standing::from_bits(value), Standing::OWN.and(Standing::RESPOND));
    }

    #[test]
    fn a_policy_is_read_back_and_loses_what_is_named_so_and_no_more() {
        let mut policy = Policy::default();
        policy.name(prefix("10.1.2.3"), Named::Own);
        policy.name(prefix("10.1.2.4"), Named::Source);
        policy.name(prefix("0.0.0.0/0"), Named::Respond);
        policy.name(prefix("::/0"), Named::Respond);
        let without = policy.clone();
        for text in ["10.1.2.3", "10.1.2.4", "10.88.0.2", "fd00::2"] {
            policy.name(prefix(text), Named::Container);
        }
        let read = |policy: &Policy| {
            let values = policy.entries().into_iter().map(|(key, value)| (Prefix::from(key), value)).collect();
            Policy::of_map(&values)
        };
        assert_eq!(read(&policy), policy);
        assert_eq!(policy.without(Named::Container), without);
        assert_eq!(read(&without), without);
        let standing = |policy: &Policy, text: &str| lookup(&policy.entries(), text.parse().unwrap()) & 3;
        assert_eq!(standing(&policy, "10.88.0.2"), Standing::OWN.and(Standing::RESPOND).bits());
        assert_eq!(standing(&without, "10.88.0.2"), Standing::RESPOND.bits());
        assert_eq!(standing(&without, "10.1.2.3"), Standing::OWN.and(Standing::RESPOND).bits());
    }

    #[test]
    fn the_hosts_own_addresses_stay_its_own() {
        for names in [[Named::Own, Named::Container], [Named::Container, Named::Own], [Named::Source, Named::Own]] {
            let mut policy = Policy::default();
            policy.name(prefix("10.0.0.0/8"), Named::Source);
            names.into_iter().for_each(|named| policy.name(prefix("10.1.2.3"), named));
            let value = |policy: &Policy, text: &str| lookup(&policy.entries(), text.parse().unwrap());
            assert_eq!(value(&policy, "10.1.2.3") & Standing::MEASURED_FOR, 0, "{names:?}");
            assert_ne!(value(&policy, "10.1.2.4") & Standing::MEASURED_FOR, 0);
        }
    }

    #[test]
    fn keys_name_the_network_that_they_came_from() {
        for text in ["0.0.0.0/0", "10.0.0.0/8", "192.0.2.1/32", "::/0", "2001:db8::/32", "fe80::1/128"] {
            assert_eq!(Prefix::from(Key::from(prefix(text))), prefix(text));
        }
    }

    proptest! {
        #[test]
        fn the_longest_match_has_the_standing_of_all_matches(
            networks in prop::collection::vec((any::<bool>(), any::<[u8; 2]>(), 0_u8..=16, 1_u32..=3), 0..12),
            address in (any::<bool>(), any::<[u8; 2]>()),
        ) {
            let ip = |four: bool, [a, b]: [u8; 2]| -> IpAddr {
                if four { Ipv4Addr::new(a, b, 0, 0).into() } else { Ipv6Addr::new(u16::from_be_bytes([a, b]), 0, 0, 0, 0, 0, 0, 0).into() }
            };
            let address = ip(address.0, address.1);
            let mut policy = Policy::default();
            let mut expected = 0;
            for (four, bytes, length, bits) in networks {
                let prefix = Prefix::new(ip(four, bytes), length).unwrap();
                policy.add(prefix, Standing::from_bits(bits));
                if prefix.covers(address.into()) {
                    expected |= bits;
                }
            }
            prop_assert_eq!(lookup(&policy.entries(), address), expected);
        }
    }
}
