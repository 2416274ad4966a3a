//! What `correct` makes of stamps: each case of the definitions, then anything at all.

use instamp::{Bound, Clock, Correction, Hook, NetSource, Phase, Record, Uncorrected, correct};
use proptest::prelude::*;

const SENT_NS: u64 = 1_000;
const RECEIVED_NS: u64 = 2_000;
/// The bound of every stamp that is written without one.
const BOUND_NS: u64 = 64;

const HOOKS: [Hook; 8] = [
    Hook::TC_EGRESS,
    Hook::TC_INGRESS,
    Hook::XDP_INGRESS,
    Hook::DRIVER_TX,
    Hook::NIC_TX,
    Hook::NIC_RX,
    Hook::XDP_TX,
    Hook::APP_TX,
];

/// Reads `request 7 tc-egress monotonic 1020`: phase, node, hook, clock and time.
fn record(text: &str) -> Record {
    let words: Vec<_> = text.split(' ').collect();
    let [phase, node, hook, clock, time_ns] = words[..] else { panic!("five words, not {text:?}") };
    let phase = if phase == "request" { Phase::Request } else { Phase::Reply };
    let hook = HOOKS.into_iter().find(|known| known.name() == Some(hook)).expect("a hook");
    let clock = (0..8).map(Clock::from_number).find(|known| known.to_string() == clock).expect("a clock");
    let (node, time_ns) = (node.parse().expect("a node"), time_ns.parse().expect("a time"));
    Record::new(phase, 0, hook, node, clock, Bound::at_least(BOUND_NS), time_ns)
}

/// tx stack, net, remote, rx stack.
type Parts = (i64, i64, Option<i64>, i64);

/// The parts of an RTT of 1,000 ns from 1,000 to 2,000 ns.
fn parts(records: &[Record]) -> Result<Parts, Uncorrected> {
    let correction = correct(records, SENT_NS, RECEIVED_NS)?;
    let Correction { rtt_ns, net_ns, remote_ns, tx_stack_ns, rx_stack_ns, negative, .. } = correction;
    assert_eq!(rtt_ns, 1_000);
    assert_eq!(rtt_ns, tx_stack_ns + net_ns + remote_ns.unwrap_or(0) + rx_stack_ns);
    assert_eq!(negative, [tx_stack_ns, net_ns, remote_ns.unwrap_or(0), rx_stack_ns].into_iter().any(i64::is_negative));
    Ok((tx_stack_ns, net_ns, remote_ns, rx_stack_ns))
}

#[test]
fn each_case_of_the_definitions() {
    const OUT: &str = "request 7 tc-egress monotonic 1020";
    const BACK: &str = "reply 7 xdp-ingress monotonic 1990";
    let cases: &[(&str, &[&str], Result<Parts, Uncorrected>)] = &[
        ("the plain case", &[OUT, BACK], Ok((20, 970, Some(0), 10))),
        (
            "last and first are by time: a container's stamp is earlier, an inner one later",
            &["request 7 tc-ingress monotonic 1010", OUT, BACK, "reply 7 tc-egress monotonic 1995"],
            Ok((20, 970, Some(0), 10)),
        ),
        (
            "a late stamp of the request counts though it was written last",
            &[OUT, BACK, "request 7 driver-tx monotonic 1030"],
            Ok((30, 960, Some(0), 10)),
        ),
        (
            "late stamps alone, before which the far end stamped: they tell who is local",
            &[
                "request 9 xdp-ingress tai 500000",
                "reply 9 tc-egress tai 500300",
                BACK,
                "request 7 driver-tx monotonic 1030",
            ],
            Ok((30, 660, Some(300), 10)),
        ),
        (
            "a late stamp of another node",
            &[OUT, BACK, "request 7 driver-tx monotonic 1030", "request 9 nic-tx monotonic 1040"],
            Err(Uncorrected::NodeConflict),
        ),
        (
            "a late stamp that the far end claims",
            &[OUT, "request 9 driver-tx monotonic 1500", "reply 9 tc-egress monotonic 1600", BACK],
            Err(Uncorrected::NodeConflict),
        ),
        (
            "a stamp that the far end forges in this host's name cannot be told apart",
            &[OUT, "reply 7 xdp-ingress monotonic 1500", BACK],
            Ok((20, 480, Some(0), 500)),
        ),
        ("late stamps alone", &[BACK, "request 7 nic-tx monotonic 1040"], Ok((40, 950, Some(0), 10))),
        (
            "the residence on the far end, whatever its clock says",
            &[OUT, "request 9 xdp-ingress tai 500000", "reply 9 tc-egress tai 500300", BACK],
            Ok((20, 670, Some(300), 10)),
        ),
        (
            "the far end's first and last stamps",
            &[
                OUT,
                "request 9 xdp-ingress tai 500000",
                "request 9 tc-ingress tai 500100",
                "reply 9 tc-ingress tai 500200",
                "reply 9 tc-egress tai 500300",
                BACK,
            ],
            Ok((20, 670, Some(300), 10)),
        ),
        (
            "of several far ends the outer one",
            &[
                OUT,
                "request 9 xdp-ingress tai 500000",
                "request 8 xdp-ingress tai 100",
                "reply 8 tc-egress tai 150",
                "reply 9 tc-egress tai 500300",
                BACK,
            ],
            Ok((20, 670, Some(300), 10)),
        ),
        (
            "a far end that stamped the request only",
            &[OUT, "request 9 xdp-ingress tai 5", BACK],
            Ok((20, 970, None, 10)),
        ),
        ("a far end that stamped the reply only", &[OUT, "reply 9 tc-egress tai 5", BACK], Ok((20, 970, None, 10))),
        (
            "a far end in two clocks",
            &[OUT, "request 9 xdp-ingress tai 5", "reply 9 tc-egress monotonic 9", BACK],
            Ok((20, 970, None, 10)),
        ),
        (
            "a far end in the clock of its card",
            &[OUT, "request 9 nic-rx phc 5", "reply 9 tc-egress phc 9", BACK],
            Ok((20, 970, None, 10)),
        ),
        (
            "the card's stamps beside the host's",
            &[OUT, "request 9 nic-rx phc 5", "request 9 tc-ingress tai 100", "reply 9 tc-egress tai 400", BACK],
            Ok((20, 670, Some(300), 10)),
        ),
        (
            "a far end whose residence overflows",
            &[OUT, "request 9 xdp-ingress tai 0", "reply 9 tc-egress tai 18446744073709551615", BACK],
            Ok((20, 970, None, 10)),
        ),
        (
            "a far end that lies is reported, not clamped",
            &[OUT, "request 9 xdp-ingress tai 0", "reply 9 tc-egress tai 1500", BACK],
            Ok((20, -530, Some(1_500), 10)),
        ),
        (
            "a far end whose clock was set back",
            &[OUT, "request 9 xdp-ingress tai 100", "reply 9 tc-egress tai 40", BACK],
            Ok((20, 1_030, Some(-60), 10)),
        ),
        (
            "a reply before its request",
            &["request 7 tc-egress monotonic 1900", "reply 7 tc-ingress monotonic 1100"],
            Ok((900, -800, Some(0), 900)),
        ),
        (
            "stamps at the very moments of sending and receiving",
            &["request 7 app-tx monotonic 1000", "reply 7 tc-ingress monotonic 2000"],
            Ok((0, 1_000, Some(0), 0)),
        ),
        (
            "the card's own clock takes no part",
            &["request 7 nic-tx phc 77", OUT, "reply 7 nic-rx phc 5099", BACK],
            Ok((20, 970, Some(0), 10)),
        ),
        ("nothing", &[], Err(Uncorrected::NoStamps)),
        ("the reply only", &[BACK], Err(Uncorrected::NoRequestStamp)),
        ("the request in the card's clock only", &["request 7 nic-tx phc 77", BACK], Err(Uncorrected::NoRequestStamp)),
        (
            "the request in an unknown clock only",
            &["request 7 tc-egress unknown 1020", BACK],
            Err(Uncorrected::NoRequestStamp),
        ),
        ("the request only", &[OUT], Err(Uncorrected::NoReplyStamp)),
        (
            "the far end's reply only",
            &[OUT, "request 9 xdp-ingress tai 5", "reply 9 tc-egress tai 6"],
            Err(Uncorrected::NoReplyStamp),
        ),
        ("the reply in the card's clock only", &[OUT, "reply 7 nic-rx phc 99"], Err(Uncorrected::NoReplyStamp)),
        ("sent before sending", &["request 7 tc-egress monotonic 999", BACK], Err(Uncorrected::ClockMismatch)),
        ("received after receiving", &[OUT, "reply 7 xdp-ingress monotonic 2001"], Err(Uncorrected::ClockMismatch)),
        (
            "one stamp outside, though not one that is used",
            &["request 7 tc-ingress monotonic 999", OUT, BACK],
            Err(Uncorrected::ClockMismatch),
        ),
        (
            "stamps in a clock that the application does not have",
            &["request 7 tc-egress tai 1020", "reply 7 xdp-ingress tai 1990"],
            Err(Uncorrected::ClockMismatch),
        ),
        (
            "stamps of the far end only",
            &["request 9 xdp-ingress tai 5", "reply 9 tc-egress tai 6"],
            Err(Uncorrected::ClockMismatch),
        ),
        (
            "a far end of the same number, by its clock",
            &[OUT, "request 7 xdp-ingress tai 5", "reply 7 tc-egress tai 6", BACK],
            Err(Uncorrected::NodeConflict),
        ),
        (
            "the local number beyond a remote one on the request",
            &[OUT, "request 9 xdp-ingress tai 5", "request 7 tc-egress monotonic 1030", BACK],
            Err(Uncorrected::NodeConflict),
        ),
        (
            "the local number before a remote one on the reply",
            &[OUT, BACK, "reply 9 tc-egress tai 5"],
            Err(Uncorrected::NodeConflict),
        ),
        ("a request after the reply", &[BACK, OUT], Err(Uncorrected::NodeConflict)),
    ];
    for (case, records, expected) in cases {
        let records: Vec<_> = records.iter().map(|text| record(text)).collect();
        assert_eq!(parts(&records), *expected, "{case}");
    }
}

#[test]
fn unknown_hooks_are_ignored() {
    let [out, back] = [record("request 7 tc-egress monotonic 1020"), record("reply 7 xdp-ingress monotonic 1990")];
    // Hook 15 and the empty hook, in places and at times where a known one would be refused.
    let strange = [[0x0f_u8; 12], [0x00; 12]].map(|bytes| -> Record { zerocopy::transmute!(bytes) });
    assert_eq!(parts(&[out, strange[0], back, strange[1]]), parts(&[out, back]));
    assert_eq!(parts(&strange), Err(Uncorrected::NoStamps));
}

#[test]
fn the_bound_is_that_of_the_stamps_used() {
    let stamp = |phase, hook, node, clock, bound, time_ns| Record::new(phase, 0, hook, node, clock, bound, time_ns);
    let bound = Bound::from_exponent;
    let early = stamp(Phase::Request, Hook::TC_INGRESS, 7, Clock::MONOTONIC, Bound::UNKNOWN, 1_010);
    let out = stamp(Phase::Request, Hook::TC_EGRESS, 7, Clock::MONOTONIC, bound(3), 1_020);
    let back = stamp(Phase::Reply, Hook::XDP_INGRESS, 7, Clock::MONOTONIC, bound(4), 1_990);
    let far_in = stamp(Phase::Request, Hook::XDP_INGRESS, 9, Clock::TAI, bound(5), 100);
    let far_out = stamp(Phase::Reply, Hook::TC_EGRESS, 9, Clock::TAI, bound(6), 200);
    let vague = stamp(Phase::Reply, Hook::TC_EGRESS, 9, Clock::TAI, Bound::UNKNOWN, 200);
    let of = |records: &[Record]| correct(records, SENT_NS, RECEIVED_NS).expect("corrected").bound_ns;

    assert_eq!(of(&[out, back]), Some(8 + 16));
    assert_eq!(of(&[early, out, back]), Some(8 + 16));
    assert_eq!(of(&[early, back]), None);
    assert_eq!(of(&[out, far_in, far_out, back]), Some(8 + 16 + 32 + 64));
    assert_eq!(of(&[out, far_in, vague, back]), None);
    // Not subtracted, not counted.
    assert_eq!(of(&[out, vague, back]), Some(8 + 16));
}

#[test]
fn the_source_names_the_hooks_used() {
    let texts = [
        "request 7 tc-egress monotonic 1020",
        "reply 7 tc-ingress monotonic 1990",
        "request 7 driver-tx monotonic 1030",
    ];
    let correction = correct(&texts.map(record), SENT_NS, RECEIVED_NS).expect("corrected");
    let source = NetSource { request: Hook::DRIVER_TX, request_point: 0, reply: Hook::TC_INGRESS, reply_point: 0 };
    assert_eq!(correction.net_source, source);
    assert_eq!(correction.net_source.to_string(), "driver-tx/tc-ingress");
}

#[test]
fn a_node_conflict_names_both_causes() {
    let text = Uncorrected::NodeConflict.to_string();
    assert!(text.contains("--node") && text.contains("--respond"), "{text}");
}

#[test]
fn reasons_have_names_of_their_own() {
    let names: std::collections::BTreeSet<_> = Uncorrected::ALL.map(Uncorrected::name).into();
    assert_eq!(names.len(), Uncorrected::ALL.len());
}

fn any_record() -> impl Strategy<Value = Record> {
    any::<[u8; 12]>().prop_map(|bytes| zerocopy::transmute!(bytes))
}

/// Records that come far: few nodes, and times and clocks that are likely right.
fn likely_record() -> impl Strategy<Value = Record> {
    let time_ns = prop_oneof![4 => SENT_NS..=RECEIVED_NS, 1 => any::<u64>(), 1 => Just(u64::MAX), 1 => Just(0)];
    let clock = prop_oneof![4 => Just(Clock::MONOTONIC), 1 => (0_u8..8).prop_map(Clock::from_number)];
    let hook = proptest::sample::select(&HOOKS[..]);
    let phase = proptest::sample::select(&[Phase::Request, Phase::Reply][..]);
    (phase, 0_u8..2, hook, 7_u16..9, clock, 0_u8..32, time_ns).prop_map(
        |(phase, point, hook, node, clock, bound, time_ns)| {
            Record::new(phase, point, hook, node, clock, Bound::from_exponent(bound), time_ns)
        },
    )
}

fn check_identity(records: &[Record], sent_ns: u64, received_ns: u64) {
    let Ok(correction) = correct(records, sent_ns, received_ns) else { return };
    let Correction { rtt_ns, net_ns, remote_ns, tx_stack_ns, rx_stack_ns, net_source, .. } = correction;
    let parts = [tx_stack_ns, net_ns, remote_ns.unwrap_or(0), rx_stack_ns];
    assert_eq!(parts.map(i128::from).iter().sum::<i128>(), i128::from(rtt_ns));
    assert_eq!(i128::from(rtt_ns), i128::from(received_ns) - i128::from(sent_ns));
    // Converted times of the network card may lie outside of send and receive, but not by more than the largest bound.
    let least = |hook: Hook| if matches!(hook, Hook::NIC_TX | Hook::NIC_RX) { -(1 << 30) } else { 0 };
    assert!(tx_stack_ns >= least(net_source.request) && rx_stack_ns >= least(net_source.reply));
    let negative = parts.into_iter().chain(correction.nic_net_ns).any(i64::is_negative);
    assert_eq!(correction.negative, negative);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn hostile_records_neither_panic_nor_break_the_identity(
        records in prop::collection::vec(any_record(), 0..=15), sent_ns: u64, received_ns: u64,
    ) {
        check_identity(&records, sent_ns, received_ns);
    }

    #[test]
    fn likely_records_neither_panic_nor_break_the_identity(
        mut records in prop::collection::vec(likely_record(), 0..=6),
        sorted: bool,
        window in prop_oneof![8 => Just((SENT_NS, RECEIVED_NS)), 1 => Just((0, u64::MAX)), 1 => any::<(u64, u64)>()],
    ) {
        if sorted {
            records.sort_by_key(|record| match (record.phase(), record.node()) {
                (Phase::Request, 7) => 0,
                (Phase::Request, _) => 1,
                (Phase::Reply, 7) => 3,
                (Phase::Reply, _) => 2,
            });
        }
        check_identity(&records, window.0, window.1);
    }

    /// The parts are known beforehand: they come back, wherever the far end's clock stands.
    #[test]
    fn the_parts_that_were_put_in_come_out(
        sent_ns in 0_u64..1 << 60, far_ns in 0_u64..1 << 60, parts in prop::array::uniform5(0_u32..1 << 30),
    ) {
        let [tx, there, residence, back, rx] = parts.map(u64::from);
        let stamp = |phase, hook, node, clock, time_ns| Record::new(phase, 0, hook, node, clock, Bound::at_least(1), time_ns);
        let received_ns = sent_ns + tx + there + residence + back + rx;
        let records = [
            stamp(Phase::Request, Hook::TC_EGRESS, 7, Clock::MONOTONIC, sent_ns + tx),
            stamp(Phase::Request, Hook::XDP_INGRESS, 9, Clock::TAI, far_ns),
            stamp(Phase::Reply, Hook::TC_EGRESS, 9, Clock::TAI, far_ns + residence),
            stamp(Phase::Reply, Hook::XDP_INGRESS, 7, Clock::MONOTONIC, received_ns - rx),
        ];
        let correction = correct(&records, sent_ns, received_ns).expect("corrected");
        let [tx, there, residence, back, rx] = parts.map(i64::from);
        prop_assert_eq!(correction.tx_stack_ns, tx);
        prop_assert_eq!(correction.net_ns, there + back);
        prop_assert_eq!(correction.remote_ns, Some(residence));
        prop_assert_eq!(correction.rx_stack_ns, rx);
        prop_assert!(!correction.negative);
    }
}
