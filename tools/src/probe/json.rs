//! One JSON object a line, as users' programs read it.

use std::{collections::BTreeMap, io, net::IpAddr};

use instamp::{
    afxdp::{Counts, Facts, Reply, Verdict},
    stateless::{IpNet, Plan},
};
use serde::Serialize;

use super::{Options, groups::Group, summary::Summary};
use crate::{
    distribution::{Distribution, Statistics},
    json_lines,
    one_way::OneWayMembers,
    stamp::Stamp,
    units::whole_nanoseconds,
};

/// The members are the output's schema, and so is their order. A member that goes or changes its meaning means a new number.
const SCHEMA: u32 = 1;

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[expect(clippy::large_enum_variant, reason = "made for one line, and written at once")]
enum Line<'a> {
    Start {
        schema: u32,
        version: &'static str,
        targets: u64,
        rounds: u64,
        /// `null` is as fast as the device takes them.
        rate: Option<u64>,
        timeout_ns: u64,
        device: &'a str,
        queues: usize,
        zero_copy: bool,
        /// Whether the device is stamped by an attachment; else a program of the run's own is there.
        attached: bool,
        /// Since 1970-01-01 UTC.
        time_ns: u64,
    },
    Reply {
        index: u64,
        round: u64,
        address: IpAddr,
        /// `null` where the target itself has answered.
        from: Option<IpAddr>,
        ttl: u8,
        rtt_ns: i64,
        net_ns: Option<i64>,
        remote_ns: Option<i64>,
        tx_stack_ns: Option<i64>,
        rx_stack_ns: Option<i64>,
        bound_ns: Option<u64>,
        net_source: Option<String>,
        duplicate: bool,
        late: bool,
        uncorrected: Option<&'static str>,
        /// With `--clock` only.
        #[serde(flatten)]
        one_way: Option<OneWayMembers>,
        /// With `--stamps` only.
        #[serde(skip_serializing_if = "Option::is_none")]
        stamps: Option<Vec<Stamp>>,
    },
    Group {
        /// `null` is all prefixes that are too many for a group of their own.
        prefix: Option<String>,
        sent: u64,
        received: u64,
        corrected: u64,
        rtt_ns: Option<Quantiles>,
        net_ns: Option<Quantiles>,
    },
    Summary {
        sent: u64,
        received: u64,
        corrected: u64,
        /// By the reason.
        uncorrected: &'a BTreeMap<&'static str, u64>,
        duplicates: u64,
        forged: u64,
        late: u64,
        from_others: u64,
        unroutable: u64,
        unresolved: u64,
        left_out: u64,
        /// On sending, by the device, as far as the kernel tells.
        tx_dropped: u64,
        dropped: u64,
        /// Replies without a line, as their reader was too slow.
        unwritten: u64,
        loss: Option<f64>,
        elapsed_ns: u64,
        rtt_ns: Option<Statistics>,
        net_ns: Option<Statistics>,
        remote_ns: Option<Statistics>,
        rx_stack_ns: Option<Statistics>,
        #[serde(skip_serializing_if = "Option::is_none")]
        forward_ns: Option<Statistics>,
        #[serde(skip_serializing_if = "Option::is_none")]
        backward_ns: Option<Statistics>,
    },
}

/// Of a group, to 1 %.
#[derive(Serialize)]
struct Quantiles {
    p50: u64,
    p90: u64,
    p99: u64,
    max: u64,
}

impl Quantiles {
    fn of(histogram: &hdrhistogram::Histogram<u32>) -> Option<Self> {
        let at = |quantile| histogram.value_at_quantile(quantile);
        (!histogram.is_empty()).then(|| Self { p50: at(0.5), p90: at(0.9), p99: at(0.99), max: histogram.max() })
    }
}

pub(super) fn start(
    out: &mut impl io::Write,
    options: &Options,
    plan: &Plan,
    device: &str,
    facts: Facts,
) -> io::Result<()> {
    json_lines::write(
        out,
        &Line::Start {
            schema: SCHEMA,
            version: env!("CARGO_PKG_VERSION"),
            targets: plan.targets().len(),
            rounds: plan.rounds(),
            rate: Some(options.rate).filter(|rate| *rate != 0),
            timeout_ns: whole_nanoseconds(options.timeout),
            device,
            queues: facts.queues,
            zero_copy: facts.zero_copy,
            attached: facts.joins,
            time_ns: json_lines::now_ns(),
        },
    )
}

/// `stamps` and `one_way` say what was asked for.
pub(super) fn reply(out: &mut impl io::Write, reply: &Reply, stamps: bool, one_way: bool) -> io::Result<()> {
    let correction = reply.correction.as_ref().ok();
    json_lines::write(
        out,
        &Line::Reply {
            index: reply.index,
            round: reply.round,
            address: reply.target,
            from: reply.is_from_another().then_some(reply.from),
            ttl: reply.ttl,
            rtt_ns: reply.rtt_ns,
            net_ns: correction.map(|c| c.net_ns),
            remote_ns: correction.and_then(|c| c.remote_ns),
            tx_stack_ns: correction.map(|c| c.tx_stack_ns),
            rx_stack_ns: correction.map(|c| c.rx_stack_ns),
            bound_ns: correction.and_then(|c| c.bound_ns),
            net_source: correction.map(|c| c.net_source.to_string()),
            duplicate: reply.verdict == Verdict::Duplicate,
            late: reply.verdict == Verdict::Late,
            uncorrected: reply.correction.err().map(|reason| reason.name()),
            one_way: one_way.then(|| reply.one_way.into()),
            stamps: stamps.then(|| reply.stamps.iter().map(Stamp::from).collect()),
        },
    )
}

pub(super) fn group(out: &mut impl io::Write, prefix: Option<IpNet>, group: &Group) -> io::Result<()> {
    let Group { sent, received, corrected, rtt, net } = group;
    json_lines::write(
        out,
        &Line::Group {
            prefix: prefix.map(|prefix| prefix.to_string()),
            sent: *sent,
            received: *received,
            corrected: *corrected,
            rtt_ns: Quantiles::of(rtt),
            net_ns: Quantiles::of(net),
        },
    )
}

pub(super) fn summary(out: &mut impl io::Write, summary: &Summary) -> io::Result<()> {
    let of = Distribution::statistics;
    let Summary { counts, tally, .. } = summary;
    let Counts { sent, tx_dropped, received, corrected, duplicates, forged, late, from_others, .. } = *counts;
    let Counts { unroutable, unresolved, left_out, .. } = *counts;
    json_lines::write(
        out,
        &Line::Summary {
            sent,
            received,
            corrected,
            uncorrected: &tally.uncorrected,
            duplicates,
            forged,
            late,
            from_others,
            unroutable,
            unresolved,
            left_out,
            tx_dropped,
            dropped: summary.dropped,
            unwritten: summary.unwritten,
            loss: summary.loss().map(|loss| (loss * 1000.0).round() / 1000.0),
            elapsed_ns: whole_nanoseconds(summary.elapsed),
            rtt_ns: of(&tally.rtt),
            net_ns: of(&tally.net),
            remote_ns: of(&tally.remote),
            rx_stack_ns: of(&tally.rx_stack),
            forward_ns: of(&tally.forward),
            backward_ns: of(&tally.backward),
        },
    )
}

#[cfg(test)]
mod tests {
    use instamp::Uncorrected;

    use super::*;
    use crate::probe::samples;

    fn line(write: impl FnOnce(&mut Vec<u8>) -> io::Result<()>) -> String {
        let mut bytes = Vec::new();
        write(&mut bytes).expect("memory");
        String::from_utf8(bytes).expect("text")
    }

    #[test]
    fn reply_line() {
        let expected = concat!(
            r#"{"type":"reply","index":70001,"round":2,"address":"10.99.0.2","from":null,"ttl":63,"rtt_ns":9131,"net_ns":7000,"#,
            r#""remote_ns":0,"tx_stack_ns":0,"rx_stack_ns":2131,"bound_ns":128,"net_source":"app-tx/xdp-ingress","duplicate":false,"#,
            r#""late":false,"uncorrected":null}"#,
            "\n"
        );
        assert_eq!(line(|out| reply(out, &samples::reply(), false, false)), expected);
    }

    #[test]
    fn what_is_odd_about_a_reply_is_told() {
        let odd = Reply {
            from: "10.99.0.9".parse().expect("an address"),
            verdict: Verdict::Late,
            correction: Err(Uncorrected::NoReplyStamp),
            ..samples::reply()
        };
        let line = line(|out| reply(out, &odd, true, true));
        for part in [
            r#""from":"10.99.0.9""#,
            r#""late":true"#,
            r#""net_ns":null"#,
            r#""uncorrected":"no-reply-stamp""#,
            r#""forward_ns":null"#,
            r#""stamps":[{"phase":"request","point":0,"hook":"app-tx""#,
        ] {
            assert!(line.contains(part), "{part} in {line}");
        }
    }

    #[test]
    fn summary_line() {
        let line = line(|out| summary(out, &samples::summary()));
        let expected = concat!(
            r#"{"type":"summary","sent":4,"received":3,"corrected":2,"uncorrected":{"no-reply-stamp":1},"duplicates":1,"forged":5,"late":1,"from_others":0,"#,
            r#""unroutable":2,"unresolved":0,"left_out":0,"tx_dropped":0,"dropped":7,"unwritten":0,"loss":0.25,"elapsed_ns":1500000000,"#,
        );
        assert!(line.starts_with(expected), "{line}");
    }
}
