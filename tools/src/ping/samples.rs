//! Replies for tests: of a probe that was sent at 2146667417031 ns and took 42149 ns.

use std::{io, time::Duration};

use instamp::{
    Bound, Clock, Hook, NetSource, Phase, Record, Uncorrected,
    prober::{ErrorKind, Event, Reply, Stamps},
};

use super::{json, tally::Tally};

pub(crate) const SENT_NS: u64 = 2_146_667_417_031;

/// A stamp of node 7, `after_ns` after the probe was sent.
pub(crate) fn stamp(phase: Phase, point: u8, hook: Hook, after_ns: u64) -> Record {
    Record::new(phase, point, hook, 7, Clock::MONOTONIC, Bound::at_least(64), SENT_NS + after_ns)
}

/// A reply with these stamps, corrected by them.
pub(crate) fn stamped(seq: u64, rtt_ns: u64, stamps: &[Record]) -> Reply {
    let received_ns = SENT_NS + rtt_ns;
    let correction = instamp::correct(stamps, SENT_NS, received_ns);
    Reply {
        seq,
        from: "10.99.0.2".parse().expect("an address"),
        bytes: 72,
        ttl: Some(63),
        rtt_ns: i64::try_from(rtt_ns).expect("short"),
        sent_ns: SENT_NS,
        received_ns,
        correction,
        one_way: None,
        stamps: stamps.into(),
        full: false,
        duplicate: false,
        supersedes: false,
        late: false,
    }
}

pub(crate) fn reply(seq: u64) -> Reply {
    let stamps = [stamp(Phase::Request, 0, Hook::TC_EGRESS, 20_100), stamp(Phase::Reply, 0, Hook::XDP_INGRESS, 31_442)];
    let reply = stamped(seq, 42_149, &stamps);
    let source = NetSource { request: Hook::TC_EGRESS, request_point: 0, reply: Hook::XDP_INGRESS, reply_point: 0 };
    assert_eq!(reply.correction.map(|correction| correction.net_source), Ok(source));
    reply
}

/// A reply of a host that stamps at every place, the network card in this clock: the card of the uplink is 1,000 s ahead.
pub(crate) fn with_card(seq: u64, clock: Clock) -> Reply {
    let ahead_ns = if clock == Clock::PHC { 1_000_000_000_000 } else { 0 };
    let bound = if clock == Clock::PHC { Bound::UNKNOWN } else { Bound::at_least(128) };
    let card = |phase, hook, after_ns| Record::new(phase, 0, hook, 7, clock, bound, SENT_NS + ahead_ns + after_ns);
    let stamps = [
        stamp(Phase::Request, 1, Hook::TC_INGRESS, 9_000),
        stamp(Phase::Request, 0, Hook::TC_EGRESS, 15_000),
        stamp(Phase::Reply, 0, Hook::XDP_INGRESS, 30_000),
        stamp(Phase::Request, 0, Hook::DRIVER_TX, 17_000),
        card(Phase::Request, Hook::NIC_TX, 18_500),
        card(Phase::Reply, Hook::NIC_RX, 27_500),
    ];
    stamped(seq, 42_000, &stamps)
}

pub(crate) fn uncorrected(seq: u64, reason: Uncorrected) -> Reply {
    Reply { correction: Err(reason), stamps: Stamps::NONE, ..reply(seq) }
}

/// Probes that this host could not send.
pub(super) fn tally_of_unsent() -> Tally {
    let mut tally = Tally::new();
    for seq in 1..=3 {
        tally.count(&Event::Error { seq: Some(seq), from: None, error: ErrorKind::NetUnreachable });
    }
    tally
}

/// Three probes: one answered, one lost, one failed.
pub(super) fn tally() -> Tally {
    let mut tally = Tally::new();
    for seq in 1..=3 {
        tally.count(&Event::Sent { seq, sent_ns: SENT_NS });
    }
    tally.count(&Event::Reply(reply(1)));
    tally.count(&Event::Timeout { seq: 2 });
    tally.count(&Event::Error { seq: Some(3), from: None, error: ErrorKind::HostUnreachable });
    tally
}

/// What `--json` writes of a run to `target` in which this happens, all of it.
pub(crate) fn json_lines(target: &str, events: &[Event]) -> String {
    let mut tally = Tally::new();
    text(|out| {
        let address = "10.99.0.2".parse().expect("an address");
        json::start(out, target, address, 64, Duration::from_millis(10), 1_795_780_800_000_000_000)?;
        for event in events {
            tally.count(event);
            json::event(out, event, false)?;
        }
        json::summary(out, &tally, Duration::from_secs(3), None)
    })
}

/// What `write` writes.
pub(super) fn text(write: impl FnOnce(&mut Vec<u8>) -> io::Result<()>) -> String {
    let mut out = Vec::new();
    write(&mut out).expect("a vector");
    String::from_utf8(out).expect("text")
}
