//! What came of the probes, by the prefix that their targets have in common.

use std::{collections::BTreeMap, net::IpAddr, str::FromStr};

use hdrhistogram::Histogram;
use instamp::{
    afxdp::{Reply, Verdict},
    stateless::IpNet,
};

/// The lengths of the prefixes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Lengths {
    ipv4: u8,
    ipv6: u8,
}

/// That of IPv6 prefixes, where it is not given: a site's.
const SITE: u8 = 48;

impl FromStr for Lengths {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let length = |text: &str, most: u8| match text.parse() {
            Ok(length) if length <= most => Ok(length),
            _ => Err(format!("`{text}` is no length of a prefix: 0 to {most}")),
        };
        let (ipv4, ipv6) = match text.split_once(',') {
            Some((ipv4, ipv6)) => (ipv4, length(ipv6, 128)?),
            None => (text, SITE),
        };
        Ok(Self { ipv4: length(ipv4, 32)?, ipv6 })
    }
}

impl Lengths {
    fn prefix_of(self, address: IpAddr) -> Option<IpNet> {
        let length = if address.is_ipv4() { self.ipv4 } else { self.ipv6 };
        IpNet::new(address, length).ok().map(|prefix| prefix.trunc())
    }
}

/// The most groups: with some 15 KB for each, all of them take 60 MB, once for each queue.
const MOST: usize = 4096;

/// All groups, and one more for what has no group of its own since there are too many: those are of the highest prefixes, whoever comes
/// first. So a group that one worker has left is complete, whatever the others have seen.
pub(super) struct Groups {
    lengths: Lengths,
    groups: BTreeMap<IpNet, Group>,
    others: Option<Group>,
}

/// What came of the probes to a prefix.
#[derive(Clone)]
pub(super) struct Group {
    pub(super) sent: u64,
    /// First answers in time.
    pub(super) received: u64,
    pub(super) corrected: u64,
    /// Of these, in nanoseconds, to 1 %. Negative ones count as 0 here: the distribution of all tells them.
    pub(super) rtt: Histogram<u32>,
    pub(super) net: Histogram<u32>,
}

impl Group {
    fn new() -> Self {
        let histogram = || Histogram::new(2).expect("at most 5 digits");
        Self { sent: 0, received: 0, corrected: 0, rtt: histogram(), net: histogram() }
    }

    fn merge(&mut self, other: &Self) {
        self.sent += other.sent;
        self.received += other.received;
        self.corrected += other.corrected;
        self.rtt.add(&other.rtt).expect("it grows as needed");
        self.net.add(&other.net).expect("it grows as needed");
    }
}

impl Groups {
    pub(super) const fn new(lengths: Lengths) -> Self {
        Self { lengths, groups: BTreeMap::new(), others: None }
    }

    pub(super) fn sent(&mut self, target: IpAddr) {
        self.of(target).sent += 1;
    }

    pub(super) fn count(&mut self, reply: &Reply) {
        if reply.verdict != Verdict::Answer {
            return;
        }
        let group = self.of(reply.target);
        group.received += 1;
        record(&mut group.rtt, reply.rtt_ns);
        if let Ok(correction) = &reply.correction {
            group.corrected += 1;
            record(&mut group.net, correction.net_ns);
        }
    }

    fn of(&mut self, target: IpAddr) -> &mut Group {
        let Some(prefix) = self.lengths.prefix_of(target) else { return self.others() };
        if !self.groups.contains_key(&prefix) && self.groups.len() >= MOST {
            match self.groups.last_entry() {
                Some(highest) if *highest.key() > prefix => {
                    let left_out = highest.remove();
                    self.others().merge(&left_out);
                }
                _ => return self.others(),
            }
        }
        self.groups.entry(prefix).or_insert_with(Group::new)
    }

    fn others(&mut self) -> &mut Group {
        self.others.get_or_insert_with(Group::new)
    }

    pub(super) fn merge(&mut self, other: &Self) {
        for (prefix, group) in &other.groups {
            self.of(prefix.addr()).merge(group);
        }
        if let Some(others) = &other.others {
            self.others().merge(others);
        }
    }

    /// All of them; `None` is the one of all prefixes that have none.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Option<IpNet>, &Group)> {
        let groups = self.groups.iter().map(|(prefix, group)| (Some(*prefix), group));
        groups.chain(self.others.iter().map(|group| (None, group)))
    }
}

fn record(histogram: &mut Histogram<u32>, ns: i64) {
    histogram.record(u64::try_from(ns).unwrap_or(0)).expect("it grows as needed");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn groups(lengths: &str) -> Groups {
        Groups::new(lengths.parse().expect("lengths"))
    }

    fn sent(groups: &Groups) -> Vec<(String, u64)> {
        let name = |prefix: Option<IpNet>| prefix.map_or_else(|| "others".to_owned(), |prefix| prefix.to_string());
        groups.iter().map(|(prefix, group)| (name(prefix), group.sent)).collect()
    }

    #[test]
    fn lengths_are_checked() {
        assert_eq!("24".parse(), Ok(Lengths { ipv4: 24, ipv6: 48 }));
        assert_eq!("0,128".parse(), Ok(Lengths { ipv4: 0, ipv6: 128 }));
        for wrong in ["", "33", "24,129", "24,", "x", "24,48,1", "-1"] {
            assert!(wrong.parse::<Lengths>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn addresses_are_grouped_by_prefix() {
        let mut first = groups("24,48");
        for address in ["192.0.2.1", "192.0.2.9", "198.51.100.1", "2001:db8::1"] {
            first.sent(address.parse().expect("an address"));
        }
        let mut second = groups("24,48");
        second.sent("192.0.2.77".parse().expect("an address"));
        first.merge(&second);
        let expected = [("192.0.2.0/24", 3), ("198.51.100.0/24", 1), ("2001:db8::/48", 1)];
        assert_eq!(sent(&first), expected.map(|(prefix, sent)| (prefix.to_owned(), sent)));
    }

    #[test]
    fn there_are_not_more_than_the_most() {
        let mut groups = groups("32");
        let most = u32::try_from(MOST).expect("few");
        for number in (0..most + 3).rev() {
            groups.sent(IpAddr::V4(number.into()));
        }
        groups.sent(IpAddr::V4(0.into()));
        let sent = sent(&groups);
        assert_eq!((sent.len(), sent[0].1), (MOST + 1, 2));
        assert_eq!(sent[MOST - 1], (format!("{}/32", std::net::Ipv4Addr::from(most - 1)), 1));
        assert_eq!(sent[MOST], ("others".to_owned(), 3));
    }

    #[test]
    fn however_workers_share_the_probes_groups_are_complete() {
        let all = u32::try_from(2 * MOST).expect("few");
        // Each address twice, once by each of two workers that begin at different ends.
        let [mut one, mut other] = [(); 2].map(|()| groups("32"));
        (0..all).for_each(|number| one.sent(IpAddr::V4(number.into())));
        (0..all).rev().for_each(|number| other.sent(IpAddr::V4(number.into())));
        one.merge(&other);
        let sent = sent(&one);
        assert!(sent[..MOST].iter().all(|(_, sent)| *sent == 2));
        assert_eq!(sent[MOST], ("others".to_owned(), u64::from(all)));
    }
}
