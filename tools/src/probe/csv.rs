//! Replies as comma-separated values (RFC 4180).

use std::{io, net::IpAddr};

use csv::{Writer, WriterBuilder};
use instamp::afxdp::{Reply, Verdict};
use serde::Serialize;

/// The columns, in their order; what was not measured is empty.
#[derive(Serialize)]
struct Row {
    index: u64,
    round: u64,
    address: IpAddr,
    from: IpAddr,
    ttl: u8,
    sent_ns: u64,
    rtt_ns: i64,
    net_ns: Option<i64>,
    remote_ns: Option<i64>,
    rx_stack_ns: Option<i64>,
    bound_ns: Option<u64>,
    forward_ns: Option<i64>,
    backward_ns: Option<i64>,
    one_way_bound_ns: Option<u64>,
    verdict: &'static str,
    uncorrected: Option<&'static str>,
}

impl From<&Reply> for Row {
    fn from(reply: &Reply) -> Self {
        let correction = reply.correction.as_ref().ok();
        Self {
            index: reply.index,
            round: reply.round,
            address: reply.target,
            from: reply.from,
            ttl: reply.ttl,
            sent_ns: reply.sent_ns,
            rtt_ns: reply.rtt_ns,
            net_ns: correction.map(|c| c.net_ns),
            remote_ns: correction.and_then(|c| c.remote_ns),
            rx_stack_ns: correction.map(|c| c.rx_stack_ns),
            bound_ns: correction.and_then(|c| c.bound_ns),
            forward_ns: reply.one_way.map(|ways| ways.forward_ns),
            backward_ns: reply.one_way.map(|ways| ways.backward_ns),
            one_way_bound_ns: reply.one_way.and_then(|ways| ways.bound_ns),
            verdict: match reply.verdict {
                Verdict::Answer => "answer",
                Verdict::Duplicate => "duplicate",
                Verdict::Late => "late",
            },
            uncorrected: reply.correction.err().map(|reason| reason.name()),
        }
    }
}

const HEADER: [&str; 16] = [
    "index",
    "round",
    "address",
    "from",
    "ttl",
    "sent_ns",
    "rtt_ns",
    "net_ns",
    "remote_ns",
    "rx_stack_ns",
    "bound_ns",
    "forward_ns",
    "backward_ns",
    "one_way_bound_ns",
    "verdict",
    "uncorrected",
];

pub(super) fn header(out: &mut impl io::Write) -> io::Result<()> {
    let mut writer = writer(out);
    writer.write_record(HEADER)?;
    writer.flush()
}

pub(super) fn reply(out: &mut impl io::Write, reply: &Reply) -> io::Result<()> {
    let mut writer = writer(out);
    writer.serialize(Row::from(reply))?;
    writer.flush()
}

fn writer<W: io::Write>(out: W) -> Writer<W> {
    WriterBuilder::new().has_headers(false).buffer_capacity(256).from_writer(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::samples;

    #[test]
    fn header_and_row_have_the_same_columns() {
        let mut automatic = Writer::from_writer(Vec::new());
        automatic.serialize(Row::from(&samples::reply())).expect("memory");
        let mut ours = Vec::new();
        header(&mut ours).expect("memory");
        reply(&mut ours, &samples::reply()).expect("memory");
        let text = String::from_utf8(ours.clone()).expect("text");
        assert_eq!(automatic.into_inner().expect("memory"), ours, "{text}");
        assert!(
            text.ends_with("70001,2,10.99.0.2,10.99.0.2,63,2146667417031,9131,7000,0,2131,128,,,,answer,\n"),
            "{text}"
        );
    }
}
