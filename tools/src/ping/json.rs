//! One JSON object a line, as users' programs read it.

use std::{io, net::IpAddr, time::Duration};

use instamp::prober::{Event, NicTxCounts, Reply};
use serde::Serialize;

use super::tally::Tally;
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
        target: &'a str,
        address: IpAddr,
        payload_bytes: usize,
        interval_ns: u64,
        /// Since 1970-01-01 UTC.
        time_ns: u64,
    },
    Reply {
        seq: u64,
        ttl: Option<u8>,
        rtt_ns: i64,
        net_ns: Option<i64>,
        remote_ns: Option<i64>,
        tx_stack_ns: Option<i64>,
        rx_stack_ns: Option<i64>,
        bound_ns: Option<u64>,
        nic_net_ns: Option<i64>,
        net_source: Option<String>,
        duplicate: bool,
        late: bool,
        uncorrected: Option<&'static str>,
        /// With `--clock` only.
        #[serde(flatten)]
        one_way: Option<OneWayMembers>,
        stamps: Vec<Stamp>,
    },
    Timeout {
        seq: u64,
    },
    Error {
        seq: Option<u64>,
        from: Option<IpAddr>,
        error: &'static str,
    },
    Summary {
        sent: u64,
        received: u64,
        corrected: u64,
        duplicates: u64,
        late: u64,
        errors: u64,
        loss: Option<f64>,
        elapsed_ns: u64,
        rtt_ns: Option<Statistics>,
        net_ns: Option<Statistics>,
        tx_stack_ns: Option<Statistics>,
        rx_stack_ns: Option<Statistics>,
        #[serde(skip_serializing_if = "Option::is_none")]
        forward_ns: Option<Statistics>,
        #[serde(skip_serializing_if = "Option::is_none")]
        backward_ns: Option<Statistics>,
        /// With `--hw` only.
        #[serde(skip_serializing_if = "Option::is_none")]
        nic_tx: Option<NicTx>,
    },
}

/// What became of the card's transmit times.
#[derive(Serialize)]
struct NicTx {
    asked: u64,
    received: u64,
    late: u64,
    missing: u64,
}

impl From<NicTxCounts> for NicTx {
    fn from(NicTxCounts { asked, received, late, missing }: NicTxCounts) -> Self {
        Self { asked, received, late, missing }
    }
}

pub(super) fn start(
    out: &mut impl io::Write,
    target: &str,
    address: IpAddr,
    payload_bytes: usize,
    interval: Duration,
    time_ns: u64,
) -> io::Result<()> {
    let version = env!("CARGO_PKG_VERSION");
    json_lines::write(
        out,
        &Line::Start {
            schema: SCHEMA,
            version,
            target,
            address,
            payload_bytes,
            interval_ns: whole_nanoseconds(interval),
            time_ns,
        },
    )
}

/// `one_way` says whether the ways of probes were asked for.
pub(super) fn event(out: &mut impl io::Write, event: &Event, one_way: bool) -> io::Result<()> {
    match event {
        Event::Sent { .. } => Ok(()),
        Event::Reply(reply) => json_lines::write(out, &of_reply(reply, one_way)),
        Event::Timeout { seq } => json_lines::write(out, &Line::Timeout { seq: *seq }),
        Event::Error { seq, from, error } => {
            json_lines::write(out, &Line::Error { seq: *seq, from: *from, error: error.name() })
        }
    }
}

fn of_reply(reply: &Reply, one_way: bool) -> Line<'static> {
    let correction = reply.correction.as_ref().ok();
    Line::Reply {
        seq: reply.seq,
        ttl: reply.ttl,
        rtt_ns: reply.rtt_ns,
        net_ns: correction.map(|c| c.net_ns),
        remote_ns: correction.and_then(|c| c.remote_ns),
        tx_stack_ns: correction.map(|c| c.tx_stack_ns),
        rx_stack_ns: correction.map(|c| c.rx_stack_ns),
        bound_ns: correction.and_then(|c| c.bound_ns),
        nic_net_ns: correction.and_then(|c| c.nic_net_ns),
        net_source: correction.map(|c| c.net_source.to_string()),
        duplicate: reply.duplicate,
        late: reply.late,
        uncorrected: reply.correction.err().map(|reason| reason.name()),
        one_way: one_way.then(|| reply.one_way.into()),
        stamps: reply.stamps.iter().map(Stamp::from).collect(),
    }
}

pub(super) fn summary(
    out: &mut impl io::Write,
    tally: &Tally,
    elapsed: Duration,
    nic_tx: Option<NicTxCounts>,
) -> io::Result<()> {
    let of = Distribution::statistics;
    json_lines::write(
        out,
        &Line::Summary {
            sent: tally.sent,
            received: tally.received,
            corrected: tally.corrected,
            duplicates: tally.duplicates,
            late: tally.late,
            errors: tally.errors,
            loss: tally.loss().map(|loss| (loss * 1000.0).round() / 1000.0),
            elapsed_ns: whole_nanoseconds(elapsed),
            rtt_ns: of(&tally.rtt),
            net_ns: of(&tally.net),
            tx_stack_ns: of(&tally.tx_stack),
            rx_stack_ns: of(&tally.rx_stack),
            forward_ns: of(&tally.forward),
            backward_ns: of(&tally.backward),
            nic_tx: nic_tx.map(NicTx::from),
        },
    )
}

#[cfg(test)]
mod tests {
    use instamp::{Clock, OneWay, Uncorrected, prober::ErrorKind};

    use super::*;
    use crate::ping::samples::{self, text};

    #[test]
    fn start_line() {
        let address = "10.99.0.2".parse().expect("an address");
        assert_eq!(
            text(|out| start(out, "10.99.0.2", address, 64, Duration::from_secs(1), 7)),
            concat!(
                r#"{"type":"start","schema":1,"version":""#,
                env!("CARGO_PKG_VERSION"),
                r#"","target":"10.99.0.2","address":"10.99.0.2","payload_bytes":64,"interval_ns":1000000000,"time_ns":7}"#,
                "\n"
            )
        );
    }

    #[test]
    fn reply_line() {
        let line = concat!(
            r#"{"type":"reply","seq":1,"ttl":63,"rtt_ns":42149,"net_ns":11342,"remote_ns":0,"tx_stack_ns":20100,"#,
            r#""rx_stack_ns":10707,"bound_ns":128,"nic_net_ns":null,"net_source":"tc-egress/xdp-ingress","duplicate":false,"late":false,"#,
            r#""uncorrected":null,"stamps":[{"phase":"request","point":0,"hook":"tc-egress","node":7,"clock":"monotonic","#,
            r#""time_ns":2146667437131,"bound_ns":64},{"phase":"reply","point":0,"hook":"xdp-ingress","node":7,"#,
            r#""clock":"monotonic","time_ns":2146667448473,"bound_ns":64}]}"#,
            "\n"
        );
        assert_eq!(text(|out| event(out, &Event::Reply(samples::reply(1)), false)), line);
    }

    #[test]
    fn ways_are_told_where_they_were_asked_for() {
        let ways = OneWay { forward_ns: 5_400, backward_ns: -17, bound_ns: Some(160) };
        let told = Reply { one_way: Some(ways), ..samples::reply(1) };
        let line = text(|out| event(out, &Event::Reply(told), true));
        assert!(line.contains(r#""forward_ns":5400,"backward_ns":-17,"one_way_bound_ns":160,"stamps":["#), "{line}");
        let line = text(|out| event(out, &Event::Reply(samples::reply(1)), true));
        assert!(line.contains(r#""forward_ns":null,"backward_ns":null,"one_way_bound_ns":null,"#), "{line}");
    }

    #[test]
    fn what_was_not_measured_is_null() {
        let reply = Reply { ttl: None, late: true, ..samples::uncorrected(2, Uncorrected::NoStamps) };
        let line = concat!(
            r#"{"type":"reply","seq":2,"ttl":null,"rtt_ns":42149,"net_ns":null,"remote_ns":null,"tx_stack_ns":null,"#,
            r#""rx_stack_ns":null,"bound_ns":null,"nic_net_ns":null,"net_source":null,"duplicate":false,"late":true,"#,
            r#""uncorrected":"no-stamps","stamps":[]}"#,
            "\n"
        );
        assert_eq!(text(|out| event(out, &Event::Reply(reply), false)), line);
    }

    #[test]
    fn timeout_and_error_lines() {
        assert_eq!(text(|out| event(out, &Event::Timeout { seq: 2 }, false)), "{\"type\":\"timeout\",\"seq\":2}\n");
        let from = Some("10.99.0.9".parse().expect("an address"));
        let error = Event::Error { seq: Some(3), from, error: ErrorKind::HostUnreachable };
        assert_eq!(
            text(|out| event(out, &error, false)),
            "{\"type\":\"error\",\"seq\":3,\"from\":\"10.99.0.9\",\"error\":\"host-unreachable\"}\n"
        );
    }

    #[test]
    fn summary_line() {
        let line = concat!(
            r#"{"type":"summary","sent":3,"received":1,"corrected":1,"duplicates":0,"late":0,"errors":1,"loss":0.667,"#,
            r#""elapsed_ns":2000000000,"#,
            r#""rtt_ns":{"min":42149,"mean":42149,"p50":42149,"p90":42149,"p99":42149,"max":42149,"stddev":0},"#,
            r#""net_ns":{"min":11342,"mean":11342,"p50":11342,"p90":11342,"p99":11342,"max":11342,"stddev":0},"#,
            r#""tx_stack_ns":{"min":20100,"mean":20100,"p50":20100,"p90":20100,"p99":20100,"max":20100,"stddev":0},"#,
            r#""rx_stack_ns":{"min":10707,"mean":10707,"p50":10707,"p90":10707,"p99":10707,"max":10707,"stddev":0}}"#,
            "\n"
        );
        assert_eq!(text(|out| summary(out, &samples::tally(), Duration::from_secs(2), None)), line);
        let counts = NicTxCounts { asked: 3, received: 1, late: 0, missing: 2 };
        let with_nic_tx = text(|out| summary(out, &samples::tally(), Duration::from_secs(2), Some(counts)));
        let end = r#","nic_tx":{"asked":3,"received":1,"late":0,"missing":2}}"#;
        assert_eq!(with_nic_tx, format!("{}{end}\n", line.trim_end().trim_end_matches('}').to_owned() + "}"));
    }

    #[test]
    fn the_card_s_own_time_of_the_network() {
        let line = text(|out| event(out, &Event::Reply(samples::with_card(1, Clock::PHC)), false));
        assert!(line.contains(r#","bound_ns":128,"nic_net_ns":9000,"net_source":"driver-tx/xdp-ingress","#), "{line}");
        let line = text(|out| event(out, &Event::Reply(samples::with_card(1, Clock::MONOTONIC)), false));
        assert!(
            line.contains(r#","net_ns":9000,"#) && line.contains(r#","nic_net_ns":9000,"net_source":"nic-tx/nic-rx","#),
            "{line}"
        );
    }

    #[test]
    fn what_could_not_be_sent_is_no_loss() {
        let line = text(|out| summary(out, &samples::tally_of_unsent(), Duration::ZERO, None));
        let expected =
            r#"{"type":"summary","sent":0,"received":0,"corrected":0,"duplicates":0,"late":0,"errors":3,"loss":null,"#;
        assert!(line.starts_with(expected), "{line}");
    }

    #[test]
    fn a_summary_of_nothing_is_null() {
        let line = concat!(
            r#"{"type":"summary","sent":0,"received":0,"corrected":0,"duplicates":0,"late":0,"errors":0,"loss":null,"#,
            r#""elapsed_ns":0,"rtt_ns":null,"net_ns":null,"tx_stack_ns":null,"rx_stack_ns":null}"#,
            "\n"
        );
        assert_eq!(text(|out| summary(out, &Tally::new(), Duration::ZERO, None)), line);
    }
}
