//! Lines for people: the summary in the shape of ping's, and a table of groups.

use std::{
    fmt,
    io::{self, Write},
};

use instamp::{afxdp::Counts, stateless::Plan};

use super::{
    groups::{Group, Groups},
    summary::Summary,
};
use crate::units::{Milliseconds, Nanoseconds, Percent};

pub(super) fn header(out: &mut impl Write, plan: &Plan, device: &str) -> io::Result<()> {
    let (targets, rounds) = (plan.targets().len(), plan.rounds());
    writeln!(out, "PROBE {targets} addresses, {rounds} times each, through {device}")
}

pub(super) fn summary(out: &mut impl Write, summary: &Summary) -> io::Result<()> {
    let Summary { counts, tally, .. } = summary;
    if let Some(groups) = &summary.groups {
        table(out, groups)?;
    }
    let Counts { sent, received, corrected, .. } = *counts;
    writeln!(out, "\n--- probe statistics ---")?;
    write!(out, "{sent} packets transmitted, {received} received")?;
    for (count, name) in odd(summary) {
        if count > 0 {
            write!(out, ", +{count} {name}")?;
        }
    }
    if let Some(loss) = summary.loss() {
        write!(out, ", {} packet loss", Percent(loss))?;
    }
    writeln!(out, ", time {}ms", summary.elapsed.as_millis())?;
    let Some(rtt) = tally.rtt.statistics() else { return Ok(()) };
    let [min, mean, max, stddev] = [rtt.min, rtt.mean, rtt.max, rtt.stddev].map(Milliseconds);
    writeln!(out, "rtt min/avg/max/mdev = {min}/{mean}/{max}/{stddev} ms")?;
    let components = [
        ("net", &tally.net),
        ("rx", &tally.rx_stack),
        ("remote", &tally.remote),
        ("there", &tally.forward),
        ("back", &tally.backward),
    ];
    for (name, component) in components {
        if let Some(statistics) = component.statistics() {
            let [p50, p90, p99] = [statistics.p50, statistics.p90, statistics.p99].map(Nanoseconds);
            writeln!(out, "{name} p50/p90/p99 = {p50}/{p90}/{p99}")?;
        }
    }
    write!(out, "corrected {corrected} of {received}")?;
    for (reason, count) in &tally.uncorrected {
        write!(out, ", {reason} {count}")?;
    }
    writeln!(out)
}

/// What is counted apart.
fn odd(summary: &Summary) -> [(u64, &'static str); 10] {
    let Summary { counts, dropped, unwritten, .. } = summary;
    [
        (counts.duplicates, "duplicates"),
        (counts.late, "late"),
        (counts.forged, "forged"),
        (counts.from_others, "from others"),
        (counts.unroutable, "unroutable"),
        (counts.unresolved, "unresolved"),
        (counts.left_out, "left out of the schedule"),
        (counts.tx_dropped, "dropped by the device"),
        (*dropped, "dropped by the sockets"),
        (*unwritten, "unwritten"),
    ]
}

fn table(out: &mut impl Write, groups: &Groups) -> io::Result<()> {
    writeln!(out, "\n{:<43} {:>9} {:>9} {:>12} {:>12}", "prefix", "sent", "received", "net p50", "net p99")?;
    for (prefix, group) in groups.iter() {
        let name = prefix.map_or_else(|| "(others)".to_owned(), |prefix| prefix.to_string());
        let Group { sent, received, net, .. } = group;
        let at = |quantile| Figure((!net.is_empty()).then(|| net.value_at_quantile(quantile)));
        writeln!(out, "{name:<43} {sent:>9} {received:>9} {:>12} {:>12}", at(0.5).to_string(), at(0.99).to_string())?;
    }
    Ok(())
}

/// A time, or that there is none.
struct Figure(Option<u64>);

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.and_then(|ns| i64::try_from(ns).ok()) {
            Some(ns) => Nanoseconds(ns).fmt(f),
            None => f.write_str("-"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::samples;

    #[test]
    fn the_summary_tells_what_is_odd() {
        let mut bytes = Vec::new();
        summary(&mut bytes, &samples::summary()).expect("memory");
        let text = String::from_utf8(bytes).expect("text");
        insta::assert_snapshot!(text);
    }
}
