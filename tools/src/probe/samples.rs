//! Replies for tests: of a probe that was sent at 2146667417031 ns and took 9131 ns.

use std::time::Duration;

use instamp::{
    Bound, Clock, Hook, Phase, Record, Uncorrected,
    afxdp::{Counts, Reply, Verdict},
    prober::Stamps,
};

use super::{groups::Groups, summary::Summary, tally::Tally};

const SENT_NS: u64 = 2_146_667_417_031;

pub(super) fn reply() -> Reply {
    let stamp = |phase, hook, after_ns| {
        Record::new(phase, 0, hook, 7, Clock::MONOTONIC, Bound::at_least(64), SENT_NS + after_ns)
    };
    let records = [stamp(Phase::Request, Hook::APP_TX, 0), stamp(Phase::Reply, Hook::XDP_INGRESS, 7_000)];
    let address = "10.99.0.2".parse().expect("an address");
    Reply {
        index: 70_001,
        round: 2,
        target: address,
        from: address,
        verdict: Verdict::Answer,
        bytes: 72,
        ttl: 63,
        sent_ns: SENT_NS,
        received_ns: SENT_NS + 9_131,
        rtt_ns: 9_131,
        correction: instamp::correct(&records, SENT_NS, SENT_NS + 9_131),
        one_way: None,
        stamps: Stamps::from(&records[..]),
        full: false,
    }
}

pub(super) fn summary() -> Summary {
    let mut tally = Tally::new();
    let mut groups = Groups::new("24".parse().expect("a length"));
    for _ in 0..2 {
        tally.count(&reply());
        groups.sent(reply().target);
        groups.count(&reply());
    }
    tally.count(&Reply { correction: Err(Uncorrected::NoReplyStamp), ..reply() });
    let counts = Counts {
        sent: 4,
        received: 3,
        corrected: 2,
        duplicates: 1,
        late: 1,
        from_others: 0,
        forged: 5,
        unroutable: 2,
        unresolved: 0,
        left_out: 0,
        tx_dropped: 0,
    };
    Summary { counts, tally, groups: Some(groups), dropped: 7, unwritten: 0, elapsed: Duration::from_millis(1_500) }
}
