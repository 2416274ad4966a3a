//! Lines for people.

use std::{
    fmt,
    io::{self, Write},
    time::Duration,
};

use instamp_hooks::{Flow, Observed, WatchFailures};

use super::{
    histogram,
    tally::{Group, Groups, Tally, loss},
};
use crate::units::{Nanoseconds, Percent};

/// One reply.
pub(super) struct ReplyLine<'a> {
    pub(super) name: &'a str,
    pub(super) observed: &'a Observed,
}

impl fmt::Display for ReplyLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, observed } = *self;
        let Flow { source, destination, identifier, sequence } = observed.sender;
        write!(f, "{name} {source} > {destination} id={identifier} seq={sequence}")?;
        let network = observed.network;
        if (network.source, network.identifier) != (source, identifier) {
            write!(f, " as {} id={}", network.source, network.identifier)?;
        }
        if network.destination != destination {
            write!(f, " to {}", network.destination)?;
        }
        write!(f, "{}", Times(observed))
    }
}

/// Where the time went.
pub(crate) struct Times<'a>(pub(crate) &'a Observed);

impl fmt::Display for Times<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let observed = self.0;
        match observed.net_ns() {
            Some(net) => write!(f, " net={}", Nanoseconds(net))?,
            None => f.write_str(" net=?")?,
        }
        for (name, time) in [("tx", observed.tx_host_ns()), ("rx", observed.rx_host_ns())] {
            if let Some(time) = time {
                write!(f, " {name}={}", Nanoseconds(time))?;
            }
        }
        if observed.is_ambiguous { f.write_str(" (ambiguous)") } else { Ok(()) }
    }
}

/// What came of it, by groups.
pub(super) fn summary(
    out: &mut impl Write,
    groups: &Groups,
    names: &mut impl FnMut(Group) -> String,
    failures: WatchFailures,
    elapsed: Duration,
) -> io::Result<()> {
    for (group, sent, tally) in groups.iter() {
        writeln!(out, "\n--- {} ---", names(group))?;
        part(out, sent, tally)?;
    }
    let (sent, tally) = groups.total();
    if groups.len() != 1 {
        writeln!(out, "\n--- all, in {:.1} s ---", elapsed.as_secs_f64())?;
        part(out, sent, Some(&tally))?;
    }
    for (name, distribution) in [("net", &tally.net), ("tx", &tally.tx_host), ("rx", &tally.rx_host)] {
        histogram::draw(out, name, distribution)?;
    }
    writeln!(out, "{}", Failures(failures))
}

fn part(out: &mut impl Write, sent: u64, tally: Option<&Tally>) -> io::Result<()> {
    let answered = tally.map_or(0, |tally| tally.answered);
    write!(out, "{sent} requests, {answered} answered")?;
    if let Some(loss) = loss(sent, answered) {
        write!(out, ", {} not", Percent(loss))?;
    }
    writeln!(out)?;
    tally.map_or(Ok(()), |tally| times(out, tally))
}

/// The quantiles of each part of the time that is known.
pub(crate) fn times(out: &mut impl Write, tally: &Tally) -> io::Result<()> {
    let parts = [
        ("net", &tally.net),
        ("tx", &tally.tx_host),
        ("rx", &tally.rx_host),
        ("queue", &tally.queue),
        ("all", &tally.total),
    ];
    for (name, part) in parts {
        if let Some(statistics) = part.statistics() {
            let [p50, p90, p99] = [statistics.p50, statistics.p90, statistics.p99].map(Nanoseconds);
            writeln!(out, "{name} p50/p90/p99 = {p50}/{p90}/{p99}")?;
        }
    }
    if tally.ambiguous > 0 {
        writeln!(out, "{} ambiguous replies, in none of these", tally.ambiguous)?;
    }
    Ok(())
}

/// What could not be told; nothing where all was.
pub(crate) struct Failures(pub(crate) WatchFailures);

impl fmt::Display for Failures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let WatchFailures { evicted, refused, untold, .. } = self.0;
        let mut separator = "";
        for (count, name) in [(evicted, "evicted"), (refused, "refused"), (untold, "untold")] {
            if count > 0 {
                write!(f, "{separator}{count} {name}")?;
                separator = ", ";
            }
        }
        if separator.is_empty() { f.write_str("nothing was missed") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watch::samples::{self, group_name, observed};

    #[test]
    fn lines_tell_the_translation_and_the_parts() {
        let line = |observed: &Observed| ReplyLine { name: "c1", observed }.to_string();
        let mut of_container = observed(1);
        insta::assert_snapshot!(line(&of_container), @"c1 172.29.0.2 > 10.99.0.2 id=77 seq=1 as 10.99.0.1 id=4242 net=11.342us tx=20.100us rx=10.707us");
        of_container.network = of_container.sender;
        insta::assert_snapshot!(line(&of_container), @"c1 172.29.0.2 > 10.99.0.2 id=77 seq=1 net=11.342us tx=20.100us rx=10.707us");
        of_container.is_ambiguous = true;
        insta::assert_snapshot!(line(&of_container), @"c1 172.29.0.2 > 10.99.0.2 id=77 seq=1 net=? (ambiguous)");
        insta::assert_snapshot!(line(&samples::of_host(2)), @"c1 10.99.0.1 > 10.99.0.2 id=78 seq=2 net=11.342us");
    }

    #[test]
    fn the_summary_is_by_senders_and_of_all() {
        let mut out = Vec::new();
        let failures = WatchFailures::default();
        summary(&mut out, &samples::groups(), &mut group_name, failures, Duration::from_millis(1_500)).expect("memory");
        insta::assert_snapshot!(String::from_utf8(out).expect("text"), @"

        --- host ---
        2 requests, 1 answered, 50% not
        net p50/p90/p99 = 11.342us/11.342us/11.342us
        queue p50/p90/p99 = 0.100us/0.100us/0.100us

        --- c1 ---
        3 requests, 3 answered, 0% not
        net p50/p90/p99 = 11.342us/11.342us/11.342us
        tx p50/p90/p99 = 20.100us/20.100us/20.100us
        rx p50/p90/p99 = 10.707us/10.707us/10.707us
        queue p50/p90/p99 = 0.100us/0.100us/0.100us
        all p50/p90/p99 = 42.149us/42.149us/42.149us

        --- all, in 1.5 s ---
        5 requests, 4 answered, 20% not
        net p50/p90/p99 = 11.342us/11.342us/11.342us
        tx p50/p90/p99 = 20.100us/20.100us/20.100us
        rx p50/p90/p99 = 10.707us/10.707us/10.707us
        queue p50/p90/p99 = 0.100us/0.100us/0.100us
        all p50/p90/p99 = 42.149us/42.149us/42.149us
        net of 4 replies
           10.240us -  12.288us ████████████████████████████████████████ 4
        tx of 3 replies
           16.384us -  20.480us ████████████████████████████████████████ 3
        rx of 3 replies
           10.240us -  12.288us ████████████████████████████████████████ 3
        nothing was missed
        ");
        let mut failures = WatchFailures::default();
        (failures.evicted, failures.untold) = (3, 7);
        assert_eq!(Failures(failures).to_string(), "3 evicted, 7 untold");
    }
}
