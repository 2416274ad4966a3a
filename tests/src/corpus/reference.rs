//! The answers of the crate `instamp`, with which all others are compared.

use std::fmt::Display;

use instamp::{Correction, NetSource, Phase, Record, correct, strip};

use super::Reply;

/// The line that a driver has to print for a reply.
pub fn answer(reply: &Reply) -> String {
    let stripped = match strip(&reply.payload, reply.nonce) {
        Ok(stripped) => stripped,
        Err(error) => return error.name().to_owned(),
    };
    let outcome = match correct(stripped.records, reply.sent_ns, reply.received_ns) {
        Ok(correction) => fields(&correction).join(" "),
        Err(reason) => reason.name().to_owned(),
    };
    let (length, full) = (stripped.application.len(), u8::from(stripped.full));
    format!("{length} {full} {} {outcome}", records(stripped.records))
}

fn records(records: &[Record]) -> String {
    if records.is_empty() {
        return "-".into();
    }
    let texts: Vec<String> = records.iter().map(record).collect();
    texts.join(",")
}

fn record(record: &Record) -> String {
    let phase = match record.phase() {
        Phase::Request => 0,
        Phase::Reply => 1,
    };
    let (hook, clock, bound) = (record.hook().number(), record.clock().number(), record.bound().exponent());
    format!("{phase}:{}:{hook}:{}:{clock}:{bound}:{}", record.point(), record.node(), record.time_ns())
}

fn fields(correction: &Correction) -> [String; 14] {
    fn or_none(value: Option<impl Display>) -> String {
        value.map_or_else(|| "-".into(), |value| value.to_string())
    }
    let flag = |flag| u8::from(flag).to_string();
    let NetSource { request, request_point, reply, reply_point } = correction.net_source;
    [
        correction.rtt_ns.to_string(),
        correction.net_ns.to_string(),
        or_none(correction.remote_ns),
        correction.tx_stack_ns.to_string(),
        correction.rx_stack_ns.to_string(),
        or_none(correction.bound_ns),
        request.number().to_string(),
        request_point.to_string(),
        reply.number().to_string(),
        reply_point.to_string(),
        or_none(correction.nic_net_ns),
        or_none(correction.nic_net_bound_ns),
        flag(correction.nic_left_out),
        flag(correction.negative),
    ]
}
