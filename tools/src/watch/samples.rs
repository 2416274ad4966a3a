//! Replies for tests.

use instamp_hooks::{Flow, Observed, Origin, WatchCounts};

use super::tally::{Group, Groups};

const SENT_NS: u64 = 2_146_667_417_031;

fn flow(source: &str, identifier: u16, sequence: u16) -> Flow {
    let address = |text: &str| text.parse().expect("an address");
    Flow { source: address(source), destination: address("10.99.0.2"), identifier, sequence }
}

/// Of a container, behind address translation.
pub(crate) fn observed(sequence: u16) -> Observed {
    Observed {
        sender_tx_ns: Some(SENT_NS),
        uplink_queue_ns: Some(SENT_NS + 20_000),
        uplink_tx_ns: Some(SENT_NS + 20_100),
        uplink_rx_ns: SENT_NS + 31_442,
        sender_rx_ns: Some(SENT_NS + 42_149),
        sender: flow("172.29.0.2", 77, sequence),
        network: flow("10.99.0.1", 4_242, sequence),
        origin: Origin::Namespace { cookie: 7, inode: 4_026_532_001, ifindex: 2 },
        uplink_rx: 3,
        process: 1_234,
        is_ambiguous: false,
    }
}

/// Of the host itself.
pub(crate) fn of_host(sequence: u16) -> Observed {
    let sender = flow("10.99.0.1", 78, sequence);
    let origin = Origin::Namespace { cookie: 1, inode: 4_026_531_840, ifindex: 0 };
    Observed { sender_tx_ns: None, sender_rx_ns: None, sender, network: sender, origin, ..observed(sequence) }
}

pub(super) fn groups() -> Groups {
    let mut groups = Groups::default();
    for sequence in 1..=3 {
        groups.count(&observed(sequence));
    }
    groups.count(&of_host(1));
    groups.set_counts(vec![
        WatchCounts { cookie: 1, inode: 4_026_531_840, sent: 2 },
        WatchCounts { cookie: 7, inode: 4_026_532_001, sent: 3 },
    ]);
    groups
}

pub(super) fn group_name(group: Group) -> String {
    match group {
        Group::Namespace { inode: 4_026_532_001, .. } => "c1".to_owned(),
        Group::Namespace { .. } => "host".to_owned(),
        Group::Forwarded => "forwarded".to_owned(),
    }
}
