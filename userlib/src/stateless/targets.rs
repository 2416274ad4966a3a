//! Whom to probe.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net};
use thiserror::Error;

use super::ranges::{Range, Ranges};

/// Addresses by position. They are kept as ranges, with at most 40 bytes for each, however many addresses are in it.
///
/// ```
/// use instamp::stateless::{Targets, parse_prefix};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let included = [parse_prefix("192.0.2.0/29")?, parse_prefix("2001:db8::7")?];
/// let targets = Targets::new(&included, &[parse_prefix("192.0.2.0/31")?])?;
/// assert_eq!(targets.len(), 7);
/// assert_eq!(targets.get(0), Some("192.0.2.2".parse()?));
/// assert_eq!(targets.get(6), Some("2001:db8::7".parse()?));
/// assert_eq!(targets.get(7), None);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Targets {
    ipv4: Positions<u32>,
    ipv6: Positions<u128>,
}

/// More addresses than a run can have.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[error(
    "with {prefix} there are more than {} addresses, which is the most: name a smaller prefix, or exclude a part of it",
    Targets::MOST
)]
pub struct TooMany {
    /// The first of the prefixes, in their order, with which there are too many.
    pub prefix: IpNet,
}

impl Targets {
    /// The most addresses: 2^48.
    pub const MOST: u64 = 1 << 48;

    /// The addresses that are in any prefix of `included` and in none of `excluded`, each once, in the order of the addresses, IPv4
    /// before IPv6. The two do not cover each other.
    ///
    /// # Errors
    ///
    /// [`TooMany`] where there are more than [`MOST`](Self::MOST).
    pub fn new(included: &[IpNet], excluded: &[IpNet]) -> Result<Self, TooMany> {
        let excluded = Split::of(excluded);
        let of_first = |count: usize| {
            let included = Split::of(&included[..count]);
            Split { ipv4: included.ipv4.without(&excluded.ipv4), ipv6: included.ipv6.without(&excluded.ipv6) }
        };
        let is_too_many = |split: &Split| split.ipv4.count().saturating_add(split.ipv6.count()) > Self::MOST.into();
        let all = of_first(included.len());
        if is_too_many(&all) {
            // More prefixes never make for fewer addresses.
            let (mut fits, mut exceeds) = (0, included.len());
            while exceeds - fits > 1 {
                let middle = fits + (exceeds - fits) / 2;
                if is_too_many(&of_first(middle)) { exceeds = middle } else { fits = middle }
            }
            return Err(TooMany { prefix: included[fits] });
        }
        Ok(Self { ipv4: Positions::of(&all.ipv4), ipv6: Positions::of(&all.ipv6) })
    }

    /// How many addresses there are.
    pub fn len(&self) -> u64 {
        self.ipv4.len() + self.ipv6.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many of them are of IPv4: those of the first positions.
    pub fn ipv4_len(&self) -> u64 {
        self.ipv4.len()
    }

    /// The address at a position, or `None` where there are not that many.
    pub fn get(&self, position: u64) -> Option<IpAddr> {
        match position.checked_sub(self.ipv4.len()) {
            None => {
                let (first, behind) = self.ipv4.get(position)?;
                Some(IpAddr::V4(Ipv4Addr::from_bits(first + u32::try_from(behind).ok()?)))
            }
            Some(position) => {
                let (first, behind) = self.ipv6.get(position)?;
                Some(IpAddr::V6(Ipv6Addr::from_bits(first + u128::from(behind))))
            }
        }
    }
}

/// Prefixes as ranges, by IP version.
struct Split {
    ipv4: Ranges,
    ipv6: Ranges,
}

impl Split {
    fn of(prefixes: &[IpNet]) -> Self {
        let (mut ipv4, mut ipv6) = (Vec::new(), Vec::new());
        for prefix in prefixes {
            match prefix {
                IpNet::V4(net) => {
                    ipv4.push(Range { first: net.network().to_bits().into(), last: net.broadcast().to_bits().into() });
                }
                IpNet::V6(net) => {
                    ipv6.push(Range { first: net.network().to_bits(), last: net.broadcast().to_bits() });
                }
            }
        }
        Self { ipv4: Ranges::merge(ipv4), ipv6: Ranges::merge(ipv6) }
    }
}

/// Ranges whose numbers can be found by their position.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Positions<A> {
    ranges: Box<[Placed<A>]>,
    /// For every 2^`shift` positions, where the search for their ranges begins: so it is short, and touches few places in memory.
    hints: Box<[usize]>,
    shift: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Placed<A> {
    first: A,
    /// The position behind the range's last number.
    end: u64,
}

impl<A: TryFrom<u128> + Copy> Positions<A> {
    /// Of at most 2^64 - 1 numbers, each of which is an `A`.
    fn of(ranges: &Ranges) -> Self {
        let mut end = 0;
        let placed = ranges.iter().map(|range| {
            end += u64::try_from(range.last - range.first).expect("the caller has counted them") + 1;
            let Ok(first) = A::try_from(range.first) else { unreachable!("the caller has made them of such") };
            Placed { first, end }
        });
        let ranges: Box<[Placed<A>]> = placed.collect();
        let shift = (end / (ranges.len() as u64).max(1)).max(1).ilog2() + 1;
        let mut hints = Vec::with_capacity(ranges.len());
        for (range, placed) in ranges.iter().enumerate() {
            // Up to the last of the parts that begin in this range.
            let begun = (placed.end - 1) >> shift;
            while hints.len() as u64 <= begun {
                hints.push(range);
            }
        }
        Self { ranges, hints: hints.into(), shift }
    }

    fn len(&self) -> u64 {
        self.ranges.last().map_or(0, |range| range.end)
    }

    /// The first number of a position's range, and how far behind that its own is.
    fn get(&self, position: u64) -> Option<(A, u64)> {
        let hint = usize::try_from(position >> self.shift).ok()?;
        let from = *self.hints.get(hint)?;
        let to = self.hints.get(hint + 1).map_or(self.ranges.len(), |range| range + 1);
        let range = from + self.ranges.get(from..to)?.partition_point(|range| range.end <= position);
        let begin = range.checked_sub(1).map_or(0, |before| self.ranges[before].end);
        Some((self.ranges.get(range)?.first, position - begin))
    }
}

/// Why a text is no prefix.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[non_exhaustive]
pub enum PrefixError {
    /// Not an address.
    #[error("`{0}` is not an IPv4 or IPv6 address, nor a prefix such as 192.0.2.0/24")]
    Address(String),
    /// Longer than the address, or not a number.
    #[error("the prefix length of `{0}` is not a number from 0 to {1}")]
    Length(String, u8),
}

/// Reads an address, or a prefix such as `192.0.2.0/24`, whose bits behind its length do not matter. What is mapped from IPv4
/// (`::ffff:192.0.2.1`) is taken for that, since no packet has such an address.
///
/// # Errors
///
/// [`PrefixError`] where it is neither.
pub fn parse_prefix(text: &str) -> Result<IpNet, PrefixError> {
    let (address, length) = match text.split_once('/') {
        Some((address, length)) => (address, Some(length)),
        None => (text, None),
    };
    let address: IpAddr = address.parse().map_err(|_| PrefixError::Address(text.to_owned()))?;
    let prefix = match length {
        None => IpNet::from(address),
        Some(length) => {
            let most = IpNet::from(address).max_prefix_len();
            // Digits alone: `parse` takes a sign as well.
            let length = Some(length).filter(|length| length.bytes().all(|byte| byte.is_ascii_digit()));
            length
                .and_then(|length| IpNet::new(address, length.parse().ok()?).ok())
                .ok_or_else(|| PrefixError::Length(text.to_owned(), most))?
                .trunc()
        }
    };
    Ok(unmapped(prefix).unwrap_or(prefix))
}

/// Of a prefix that is mapped from IPv4, that one.
fn unmapped(prefix: IpNet) -> Option<IpNet> {
    let IpNet::V6(net) = prefix else { return None };
    let length = net.prefix_len().checked_sub(96)?;
    Some(IpNet::V4(Ipv4Net::new(net.network().to_ipv4_mapped()?, length).ok()?))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn net(text: &str) -> IpNet {
        parse_prefix(text).expect("a prefix")
    }

    fn nets(texts: &[&str]) -> Vec<IpNet> {
        texts.iter().map(|text| net(text)).collect()
    }

    fn listed(included: &[&str], excluded: &[&str]) -> Vec<String> {
        let targets = Targets::new(&nets(included), &nets(excluded)).expect("not too many");
        assert_eq!(targets.get(targets.len()), None);
        assert_eq!(targets.get(u64::MAX), None);
        (0..targets.len()).map(|position| targets.get(position).expect("below the length").to_string()).collect()
    }

    #[test]
    fn each_address_is_there_once() {
        let targets = ["192.0.2.9", "2001:db8::/127", "192.0.2.8/31", "192.0.2.9/32", "192.0.2.1", "2001:db8::1"];
        assert_eq!(listed(&targets, &[]), ["192.0.2.1", "192.0.2.8", "192.0.2.9", "2001:db8::", "2001:db8::1"]);
        assert_eq!(listed(&[], &[]), [""; 0]);
    }

    #[test]
    fn what_is_excluded_is_not_there() {
        let kept = listed(&["192.0.2.0/29", "2001:db8::/126"], &["192.0.2.2/31", "192.0.2.7", "2001:db8::/127"]);
        let expected = ["192.0.2.0", "192.0.2.1", "192.0.2.4", "192.0.2.5", "192.0.2.6", "2001:db8::2", "2001:db8::3"];
        assert_eq!(kept, expected);
        assert_eq!(listed(&["192.0.2.0/24"], &["0.0.0.0/0"]), [""; 0]);
        assert_eq!(listed(&["192.0.2.1"], &["::/0"]), ["192.0.2.1"], "one is not the other");
    }

    #[test]
    fn too_many_are_told_with_the_prefix_that_is_one_too_much() {
        let too_many = |included: &[&str], excluded: &[&str]| {
            Targets::new(&nets(included), &nets(excluded)).map(|targets| targets.len()).map_err(|error| error.prefix)
        };
        assert_eq!(too_many(&["2001:db8::/80"], &[]), Ok(1 << 48));
        assert_eq!(too_many(&["0.0.0.0/0"], &[]), Ok(1 << 32));
        assert_eq!(too_many(&["2001:db8::/79"], &[]), Err(net("2001:db8::/79")));
        assert_eq!(too_many(&["2001:db8::/79"], &["2001:db8::/80"]), Ok(1 << 48));
        assert_eq!(too_many(&["::/0", "::/0"], &[]), Err(net("::/0")));
        let several = ["192.0.2.1", "2001:db8::/80", "2001:db8::7", "192.0.2.2", "2001:db8:1::/64", "::1"];
        assert_eq!(too_many(&several, &["192.0.2.0/31"]), Err(net("192.0.2.2")));
        assert_eq!(too_many(&several, &["192.0.2.0/30"]), Err(net("2001:db8:1::/64")));
    }

    #[test]
    fn prefixes_are_read() {
        for (text, prefix) in [
            ("192.0.2.1", "192.0.2.1/32"),
            ("192.0.2.77/24", "192.0.2.0/24"),
            ("0.0.0.0/0", "0.0.0.0/0"),
            ("2001:db8::1/127", "2001:db8::/127"),
            ("::ffff:192.0.2.1", "192.0.2.1/32"),
            ("::ffff:192.0.2.1/120", "192.0.2.0/24"),
            ("::/0", "::/0"),
        ] {
            assert_eq!(parse_prefix(text).map(|prefix| prefix.to_string()), Ok(prefix.to_owned()));
        }
        for text in ["", "example.net", "192.0.2", "192.0.2.1.1/8", "fe80::1%eth0", "/24"] {
            assert_eq!(parse_prefix(text), Err(PrefixError::Address(text.to_owned())));
        }
        for (text, most) in [("192.0.2.0/33", 32), ("192.0.2.0/", 32), ("::/129", 128), ("::/-1", 128), ("::/+1", 128)]
        {
            assert_eq!(parse_prefix(text), Err(PrefixError::Length(text.to_owned(), most)));
        }
    }

    /// Ranges of all sizes, the small ones in heaps.
    #[test]
    fn every_position_is_found() {
        let ipv6 =
            (0..500_u128).map(|number| IpNet::from(IpAddr::V6((number * 3).into()))).chain([net("2001:db8::/81")]);
        let singles = (0..3_000_u32).map(|number| 0x0900_0000 + number * 2);
        let ipv4 =
            singles.map(|bits| IpNet::from(IpAddr::V4(bits.into()))).chain([net("8.0.0.0/20"), net("9.1.0.0/16")]);
        let targets = Targets::new(&ipv4.chain(ipv6).collect::<Vec<_>>(), &[]).expect("not too many");
        assert_eq!(targets.ipv4_len(), (1 << 12) + 3_000 + (1 << 16));
        for (ranges, hints) in [
            (targets.ipv4.ranges.len(), targets.ipv4.hints.len()),
            (targets.ipv6.ranges.len(), targets.ipv6.hints.len()),
        ] {
            assert!(hints <= ranges, "{hints} hints for {ranges} ranges");
        }
        let mut last = None;
        for position in (0..targets.ipv4_len() + 1_000).chain(targets.len() - 1_000..targets.len()) {
            let address = targets.get(position);
            assert!(address > last, "{position}: {address:?} behind {last:?}");
            last = address;
        }
        assert_eq!(targets.get((1 << 12) + 2_999), Some("9.0.23.110".parse().expect("an address")));
        assert_eq!(last, Some("2001:db8::7fff:ffff:ffff".parse().expect("an address")));
        assert_eq!(targets.get(targets.len()), None);
    }

    fn near() -> impl Strategy<Value = Vec<IpNet>> {
        let ipv4 = (0_u32..256, 24_u8..=32).prop_map(|(low, length)| (IpAddr::V4((0xc000_0200 + low).into()), length));
        let ipv6 = (0_u128..256, 120_u8..=128).prop_map(|(low, length)| (IpAddr::V6(low.into()), length));
        let net = prop_oneof![ipv4, ipv6].prop_map(|(address, length)| IpNet::new(address, length).expect("short"));
        proptest::collection::vec(net, 0..12)
    }

    proptest! {
        #[test]
        fn they_are_what_the_prefixes_say(included in near(), excluded in near()) {
            let targets = Targets::new(&included, &excluded).expect("few");
            let found: Vec<IpAddr> = (0..targets.len()).map_while(|position| targets.get(position)).collect();
            let candidates = (0..=255_u8).flat_map(|low| {
                [IpAddr::V4(Ipv4Addr::new(192, 0, 2, low)), IpAddr::V6(Ipv6Addr::from_bits(low.into()))]
            });
            let is_in = |nets: &[IpNet], address| nets.iter().any(|net| net.contains(&address));
            let expected: BTreeSet<IpAddr> =
                candidates.filter(|address| is_in(&included, *address) && !is_in(&excluded, *address)).collect();
            prop_assert_eq!(found, expected.into_iter().collect::<Vec<_>>());
        }
    }
}
