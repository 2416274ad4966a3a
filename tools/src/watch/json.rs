//! One JSON object a line, as users' programs read it.

use std::{io, net::IpAddr, time::Duration};

use instamp_hooks::{Observed, Origin, WatchFailures};
use serde::Serialize;

use super::{
    histogram::{self, Class},
    tally::{Group, Groups, Tally, loss},
};
use crate::{distribution::Statistics, json_lines, units::whole_nanoseconds};

/// The members are the output's schema, and so is their order. A member that goes or changes its meaning means a new number.
const SCHEMA: u32 = 1;

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Line<'a> {
    Start {
        schema: u32,
        version: &'static str,
        devices: Vec<&'a str>,
        /// `null` for all.
        namespaces: Option<Vec<&'a str>>,
        /// Since 1970-01-01 UTC.
        time_ns: u64,
    },
    Reply {
        sender: &'a str,
        namespace: Option<u32>,
        process: Option<u32>,
        source: IpAddr,
        destination: IpAddr,
        identifier: u16,
        seq: u16,
        network_source: IpAddr,
        network_destination: IpAddr,
        network_identifier: u16,
        device: Option<&'a str>,
        net_ns: Option<i64>,
        tx_host_ns: Option<i64>,
        rx_host_ns: Option<i64>,
        queue_ns: Option<i64>,
        total_ns: Option<i64>,
        ambiguous: bool,
        sender_tx_ns: Option<u64>,
        uplink_queue_ns: Option<u64>,
        uplink_tx_ns: Option<u64>,
        uplink_rx_ns: u64,
        sender_rx_ns: Option<u64>,
    },
    Sender {
        sender: &'a str,
        namespace: Option<u32>,
        #[serde(flatten)]
        part: Part,
    },
    Summary {
        #[serde(flatten)]
        part: Part,
        net_histogram: Vec<Class>,
        evicted: u64,
        refused: u64,
        untold: u64,
        elapsed_ns: u64,
    },
}

#[derive(Serialize)]
struct Part {
    sent: u64,
    answered: u64,
    ambiguous: u64,
    loss: Option<f64>,
    net_ns: Option<Statistics>,
    tx_host_ns: Option<Statistics>,
    rx_host_ns: Option<Statistics>,
    queue_ns: Option<Statistics>,
    total_ns: Option<Statistics>,
}

impl Part {
    fn of(sent: u64, tally: Option<&Tally>) -> Self {
        let none = Tally::new();
        let tally = tally.unwrap_or(&none);
        Self {
            sent,
            answered: tally.answered,
            ambiguous: tally.ambiguous,
            loss: loss(sent, tally.answered).map(|loss| (loss * 1000.0).round() / 1000.0),
            net_ns: tally.net.statistics(),
            tx_host_ns: tally.tx_host.statistics(),
            rx_host_ns: tally.rx_host.statistics(),
            queue_ns: tally.queue.statistics(),
            total_ns: tally.total.statistics(),
        }
    }
}

pub(super) fn start(
    out: &mut impl io::Write,
    devices: Vec<&str>,
    namespaces: Option<Vec<&str>>,
    time_ns: u64,
) -> io::Result<()> {
    let version = env!("CARGO_PKG_VERSION");
    json_lines::write(out, &Line::Start { schema: SCHEMA, version, devices, namespaces, time_ns })
}

pub(super) fn reply(
    out: &mut impl io::Write,
    sender: &str,
    device: Option<&str>,
    observed: &Observed,
) -> io::Result<()> {
    let namespace = match observed.origin {
        Origin::Namespace { inode, .. } => Some(inode),
        Origin::Forwarded { .. } => None,
    };
    json_lines::write(
        out,
        &Line::Reply {
            sender,
            namespace,
            process: namespace.and(Some(observed.process)),
            source: observed.sender.source,
            destination: observed.sender.destination,
            identifier: observed.sender.identifier,
            seq: observed.sender.sequence,
            network_source: observed.network.source,
            network_destination: observed.network.destination,
            network_identifier: observed.network.identifier,
            device,
            net_ns: observed.net_ns(),
            tx_host_ns: observed.tx_host_ns(),
            rx_host_ns: observed.rx_host_ns(),
            queue_ns: observed.queue_ns(),
            total_ns: observed.total_ns(),
            ambiguous: observed.is_ambiguous,
            sender_tx_ns: observed.sender_tx_ns,
            uplink_queue_ns: observed.uplink_queue_ns,
            uplink_tx_ns: observed.uplink_tx_ns,
            uplink_rx_ns: observed.uplink_rx_ns,
            sender_rx_ns: observed.sender_rx_ns,
        },
    )
}

pub(super) fn summary(
    out: &mut impl io::Write,
    groups: &Groups,
    names: &mut impl FnMut(Group) -> String,
    failures: WatchFailures,
    elapsed: Duration,
) -> io::Result<()> {
    for (group, sent, tally) in groups.iter() {
        let namespace = if let Group::Namespace { inode, .. } = group { Some(inode) } else { None };
        json_lines::write(out, &Line::Sender { sender: &names(group), namespace, part: Part::of(sent, tally) })?;
    }
    let (sent, tally) = groups.total();
    let WatchFailures { evicted, refused, untold, .. } = failures;
    json_lines::write(
        out,
        &Line::Summary {
            part: Part::of(sent, Some(&tally)),
            net_histogram: histogram::classes(&tally.net),
            evicted,
            refused,
            untold,
            elapsed_ns: whole_nanoseconds(elapsed),
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watch::samples::{self, group_name, observed};

    fn text(write: impl FnOnce(&mut Vec<u8>) -> io::Result<()>) -> String {
        let mut out = Vec::new();
        write(&mut out).expect("memory");
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn lines_of_replies() {
        insta::assert_snapshot!(text(|out| reply(out, "c1", Some("nic0"), &observed(1))), @r#"{"type":"reply","sender":"c1","namespace":4026532001,"process":1234,"source":"172.29.0.2","destination":"10.99.0.2","identifier":77,"seq":1,"network_source":"10.99.0.1","network_destination":"10.99.0.2","network_identifier":4242,"device":"nic0","net_ns":11342,"tx_host_ns":20100,"rx_host_ns":10707,"queue_ns":100,"total_ns":42149,"ambiguous":false,"sender_tx_ns":2146667417031,"uplink_queue_ns":2146667437031,"uplink_tx_ns":2146667437131,"uplink_rx_ns":2146667448473,"sender_rx_ns":2146667459180}"#);
        insta::assert_snapshot!(text(|out| reply(out, "host", Some("nic0"), &samples::of_host(1))), @r#"{"type":"reply","sender":"host","namespace":4026531840,"process":1234,"source":"10.99.0.1","destination":"10.99.0.2","identifier":78,"seq":1,"network_source":"10.99.0.1","network_destination":"10.99.0.2","network_identifier":78,"device":"nic0","net_ns":11342,"tx_host_ns":null,"rx_host_ns":null,"queue_ns":100,"total_ns":null,"ambiguous":false,"sender_tx_ns":null,"uplink_queue_ns":2146667437031,"uplink_tx_ns":2146667437131,"uplink_rx_ns":2146667448473,"sender_rx_ns":null}"#);
        let ambiguous = Observed { is_ambiguous: true, ..observed(1) };
        let line = text(|out| reply(out, "c1", None, &ambiguous));
        assert!(line.contains(
            r#""net_ns":null,"tx_host_ns":null,"rx_host_ns":null,"queue_ns":null,"total_ns":null,"ambiguous":true"#
        ));
    }

    #[test]
    fn lines_of_the_summary() {
        let failures = WatchFailures::default();
        let lines = text(|out| summary(out, &samples::groups(), &mut group_name, failures, Duration::from_secs(2)));
        insta::assert_snapshot!(lines, @r#"
        {"type":"sender","sender":"host","namespace":4026531840,"sent":2,"answered":1,"ambiguous":0,"loss":0.5,"net_ns":{"min":11342,"mean":11342,"p50":11342,"p90":11342,"p99":11342,"max":11342,"stddev":0},"tx_host_ns":null,"rx_host_ns":null,"queue_ns":{"min":100,"mean":100,"p50":100,"p90":100,"p99":100,"max":100,"stddev":0},"total_ns":null}
        {"type":"sender","sender":"c1","namespace":4026532001,"sent":3,"answered":3,"ambiguous":0,"loss":0.0,"net_ns":{"min":11342,"mean":11342,"p50":11342,"p90":11342,"p99":11342,"max":11342,"stddev":0},"tx_host_ns":{"min":20100,"mean":20100,"p50":20100,"p90":20100,"p99":20100,"max":20100,"stddev":0},"rx_host_ns":{"min":10707,"mean":10707,"p50":10707,"p90":10707,"p99":10707,"max":10707,"stddev":0},"queue_ns":{"min":100,"mean":100,"p50":100,"p90":100,"p99":100,"max":100,"stddev":0},"total_ns":{"min":42149,"mean":42149,"p50":42149,"p90":42149,"p99":42149,"max":42149,"stddev":0}}
        {"type":"summary","sent":5,"answered":4,"ambiguous":0,"loss":0.2,"net_ns":{"min":11342,"mean":11342,"p50":11342,"p90":11342,"p99":11342,"max":11342,"stddev":0},"tx_host_ns":{"min":20100,"mean":20100,"p50":20100,"p90":20100,"p99":20100,"max":20100,"stddev":0},"rx_host_ns":{"min":10707,"mean":10707,"p50":10707,"p90":10707,"p99":10707,"max":10707,"stddev":0},"queue_ns":{"min":100,"mean":100,"p50":100,"p90":100,"p99":100,"max":100,"stddev":0},"total_ns":{"min":42149,"mean":42149,"p50":42149,"p90":42149,"p99":42149,"max":42149,"stddev":0},"net_histogram":[{"from_ns":10240,"below_ns":12288,"count":4}],"evicted":0,"refused":0,"untold":0,"elapsed_ns":2000000000}
        "#);
    }

    #[test]
    fn the_line_of_the_start() {
        let line = text(|out| start(out, vec!["nic0"], None, 7));
        let version = env!("CARGO_PKG_VERSION");
        assert_eq!(
            line,
            format!(
                "{{\"type\":\"start\",\"schema\":1,\"version\":\"{version}\",\"devices\":[\"nic0\"],\"namespaces\":null,\"time_ns\":7}}\n"
            )
        );
    }
}
