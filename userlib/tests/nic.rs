//! What `correct` makes of the network card's times.

use instamp::{Bound, Clock, Correction, Hook, Phase, Record, Uncorrected, correct};
use proptest::prelude::*;

const SENT_NS: u64 = 1_000;
const RECEIVED_NS: u64 = 2_000;
const LOCAL: u16 = 7;
/// The bound of software's stamps.
const BOUND_NS: u64 = 64;

fn software(phase: Phase, point: u8, hook: Hook, time_ns: u64) -> Record {
    Record::new(phase, point, hook, LOCAL, Clock::MONOTONIC, Bound::at_least(BOUND_NS), time_ns)
}

fn out(hook: Hook, time_ns: u64) -> Record {
    software(Phase::Request, 0, hook, time_ns)
}

fn back(hook: Hook, time_ns: u64) -> Record {
    software(Phase::Reply, 0, hook, time_ns)
}

fn nic(point: u8, clock: Clock, hook: Hook, bound: Bound, time_ns: u64) -> Record {
    let phase = if hook == Hook::NIC_TX { Phase::Request } else { Phase::Reply };
    Record::new(phase, point, hook, LOCAL, clock, bound, time_ns)
}

/// A time of the card that was converted.
fn converted(hook: Hook, bound_ns: u64, time_ns: u64) -> Record {
    nic(0, Clock::MONOTONIC, hook, Bound::at_least(bound_ns), time_ns)
}

/// A time of the card as it reads.
fn raw(hook: Hook, time_ns: u64) -> Record {
    nic(0, Clock::PHC, hook, Bound::UNKNOWN, time_ns)
}

fn remote(phase: Phase, hook: Hook, time_ns: u64) -> Record {
    Record::new(phase, 0, hook, 9, Clock::TAI, Bound::at_least(32), time_ns)
}

fn corrected(records: &[Record]) -> Result<Correction, Uncorrected> {
    let correction = correct(records, SENT_NS, RECEIVED_NS)?;
    let Correction { rtt_ns, net_ns, remote_ns, tx_stack_ns, rx_stack_ns, .. } = correction;
    assert_eq!(rtt_ns, 1_000);
    assert_eq!(rtt_ns, tx_stack_ns + net_ns + remote_ns.unwrap_or(0) + rx_stack_ns);
    Ok(correction)
}

/// tx stack, net, rx stack, and the hooks.
type Sum<S> = (i64, i64, i64, S);

fn sum(records: &[Record]) -> Result<Sum<String>, Uncorrected> {
    corrected(records).map(|c| (c.tx_stack_ns, c.net_ns, c.rx_stack_ns, c.net_source.to_string()))
}

const TX: Hook = Hook::NIC_TX;
const RX: Hook = Hook::NIC_RX;

#[test]
fn converted_times_take_the_place_of_software_s() {
    let (egress, driver) = (out(Hook::TC_EGRESS, 1_020), out(Hook::DRIVER_TX, 1_030));
    let xdp = back(Hook::XDP_INGRESS, 1_980);
    let cases: &[(&str, &[Record], Sum<&str>)] = &[
        (
            "both directions",
            &[egress, xdp, driver, converted(TX, 8, 1_040), converted(RX, 8, 1_970)],
            (40, 930, 30, "nic-tx/nic-rx"),
        ),
        ("the request alone", &[egress, xdp, converted(TX, 8, 1_040)], (40, 940, 20, "nic-tx/xdp-ingress")),
        ("the reply alone", &[egress, xdp, driver, converted(RX, 8, 1_970)], (30, 940, 30, "driver-tx/nic-rx")),
        (
            "by their place and not by their time, which may be off",
            &[egress, xdp, driver, converted(TX, 64, 1_001), converted(RX, 64, 1_995)],
            (1, 994, 5, "nic-tx/nic-rx"),
        ),
        (
            "raw ones do not",
            &[egress, xdp, driver, raw(TX, 1_040), raw(RX, 1_970)],
            (30, 950, 20, "driver-tx/xdp-ingress"),
        ),
        (
            "each direction for itself",
            &[egress, xdp, driver, converted(TX, 8, 1_040), raw(RX, 1_970)],
            (40, 940, 20, "nic-tx/xdp-ingress"),
        ),
        (
            "not at another point than software's last and first",
            &[
                egress,
                xdp,
                nic(1, Clock::MONOTONIC, TX, Bound::at_least(8), 1_040),
                nic(1, Clock::MONOTONIC, RX, Bound::at_least(8), 1_970),
            ],
            (20, 960, 20, "tc-egress/xdp-ingress"),
        ),
        (
            "without software's they count by time",
            &[converted(RX, 8, 1_980), converted(RX, 8, 1_970), converted(TX, 8, 1_030), converted(TX, 8, 1_040)],
            (40, 930, 30, "nic-tx/nic-rx"),
        ),
        (
            "a receive time of the request and a transmit time of the reply are nowhere near the wire",
            &[egress, out(RX, 1_500), back(TX, 1_600), xdp],
            (20, 960, 20, "tc-egress/xdp-ingress"),
        ),
    ];
    for (case, records, (tx, net, rx, source)) in cases {
        assert_eq!(sum(records), Ok((*tx, *net, *rx, (*source).to_owned())), "{case}");
    }
    assert_eq!(sum(&[egress, back(TX, 1_970)]), Err(Uncorrected::NoReplyStamp));
    assert_eq!(sum(&[raw(TX, 1_040), xdp]), Err(Uncorrected::NoRequestStamp));
    assert_eq!(sum(&[egress, raw(RX, 1_970)]), Err(Uncorrected::NoReplyStamp));
}

#[test]
fn the_bound_of_the_conversion_counts() {
    let (egress, xdp) = (out(Hook::TC_EGRESS, 1_020), back(Hook::XDP_INGRESS, 1_980));
    let bound = |records: &[Record]| corrected(records).expect("corrected").bound_ns;
    assert_eq!(bound(&[egress, xdp]), Some(64 + 64));
    assert_eq!(bound(&[egress, xdp, converted(TX, 256, 1_040)]), Some(256 + 64));
    assert_eq!(bound(&[egress, xdp, converted(TX, 256, 1_040), converted(RX, 512, 1_970)]), Some(256 + 512));
    assert_eq!(bound(&[egress, xdp, nic(0, Clock::MONOTONIC, TX, Bound::UNKNOWN, 1_040)]), None);
}

#[test]
fn converted_times_may_be_outside_by_their_bound() {
    let (egress, xdp) = (out(Hook::TC_EGRESS, 1_020), back(Hook::XDP_INGRESS, 1_980));
    let of = |tx, rx| sum(&[egress, xdp, converted(TX, 64, tx), converted(RX, 32, rx)]).map(|(tx, _, rx, _)| (tx, rx));
    assert_eq!(of(936, 2_032), Ok((-64, -32)));
    assert_eq!(of(935, 2_032), Err(Uncorrected::ClockMismatch));
    assert_eq!(of(936, 2_033), Err(Uncorrected::ClockMismatch));
    assert!(corrected(&[egress, xdp, converted(TX, 64, 990)]).expect("corrected").negative);

    // A bound that is not known widens nothing, and neither do those of software.
    let vague = |time_ns| nic(0, Clock::MONOTONIC, TX, Bound::UNKNOWN, time_ns);
    assert!(sum(&[egress, xdp, vague(1_000)]).is_ok());
    assert_eq!(sum(&[egress, xdp, vague(999)]), Err(Uncorrected::ClockMismatch));
    assert_eq!(sum(&[out(Hook::TC_EGRESS, 999), xdp]), Err(Uncorrected::ClockMismatch));
    // One that is not used, of another point, is out of place all the same.
    let other = nic(1, Clock::MONOTONIC, TX, Bound::at_least(8), 5_000);
    assert_eq!(sum(&[egress, xdp, other]), Err(Uncorrected::ClockMismatch));
}

#[test]
fn what_is_left_out_is_told() {
    let (egress, xdp) = (out(Hook::TC_EGRESS, 1_020), back(Hook::XDP_INGRESS, 1_980));
    let left_out = |records: &[Record]| corrected(records).expect("corrected").nic_left_out;
    assert!(!left_out(&[egress, xdp]));
    assert!(!left_out(&[egress, xdp, converted(TX, 8, 1_040), converted(RX, 8, 1_970)]));
    assert!(left_out(&[egress, xdp, raw(TX, 5)]));
    assert!(left_out(&[egress, xdp, converted(TX, 8, 1_040), raw(RX, 5)]));
    // The far end's card is its own business.
    let far = Record::new(Phase::Request, 0, Hook::NIC_RX, 9, Clock::PHC, Bound::UNKNOWN, 5);
    assert!(!left_out(&[egress, far, xdp]));
}

/// `nic_net_ns` and its bound.
type NicNet = (Option<i64>, Option<u64>);

#[test]
fn the_card_alone_tells_the_network_s_time() {
    let (egress, xdp) = (out(Hook::TC_EGRESS, 1_020), back(Hook::XDP_INGRESS, 1_980));
    let far = [remote(Phase::Request, Hook::XDP_INGRESS, 500_000), remote(Phase::Reply, Hook::TC_EGRESS, 500_300)];
    let once = remote(Phase::Request, Hook::XDP_INGRESS, 500_000);
    let phc = |point, hook, time_ns| nic(point, Clock::PHC, hook, Bound::UNKNOWN, time_ns);
    let cases: &[(&str, &[Record], NicNet)] = &[
        ("its own clock needs no model", &[egress, xdp, raw(TX, 70_000), raw(RX, 70_930)], (Some(930), None)),
        (
            "nor does a converted pair lose by one",
            &[egress, xdp, converted(TX, 8, 1_040), converted(RX, 16, 1_970)],
            (Some(930), Some(8 + 16)),
        ),
        (
            "the far end's residence is subtracted",
            &[egress, far[0], far[1], xdp, raw(TX, 70_000), raw(RX, 70_930)],
            (Some(630), None),
        ),
        (
            "with its bound",
            &[egress, far[0], far[1], xdp, converted(TX, 8, 1_040), converted(RX, 16, 1_970)],
            (Some(630), Some(8 + 16 + 32 + 32)),
        ),
        ("one that is not known is not", &[egress, once, xdp, raw(TX, 70_000), raw(RX, 70_930)], (Some(930), None)),
        ("two clocks do not compare", &[egress, xdp, converted(TX, 8, 1_040), raw(RX, 70_930)], (None, None)),
        ("nor do two cards", &[egress, xdp, phc(0, TX, 70_000), phc(1, RX, 70_930)], (None, None)),
        (
            "of several pairs the first",
            &[egress, xdp, phc(1, TX, 10), phc(0, TX, 70_000), phc(0, RX, 70_930), phc(1, RX, 20)],
            (Some(10), None),
        ),
        ("one time is none", &[egress, xdp, raw(TX, 70_000)], (None, None)),
        ("a clock that was set back", &[egress, xdp, raw(TX, 70_000), raw(RX, 69_999)], (None, None)),
        ("more than the round trip", &[egress, xdp, raw(TX, 70_000), raw(RX, 71_001)], (None, None)),
        ("as much as the round trip", &[egress, xdp, raw(TX, 70_000), raw(RX, 71_000)], (Some(1_000), None)),
        (
            "less than nothing within its bound",
            &[egress, xdp, converted(TX, 8, 1_980), converted(RX, 8, 1_970)],
            (Some(-10), Some(16)),
        ),
        ("what overflows is none", &[egress, xdp, raw(TX, 0), raw(RX, u64::MAX)], (None, None)),
        (
            "nor is what overflows with the residence",
            &[egress, far[0], far[1], xdp, raw(TX, 1 << 63), raw(RX, 0)],
            (None, None),
        ),
    ];
    for (case, records, (net_ns, bound_ns)) in cases {
        let correction = corrected(records).expect(case);
        assert_eq!((correction.nic_net_ns, correction.nic_net_bound_ns), (*net_ns, *bound_ns), "{case}");
        assert_eq!(correction.negative, net_ns.is_some_and(i64::is_negative), "{case}");
    }
    // Hostile or not, it changes nothing of the sum.
    let plain = sum(&[egress, xdp]);
    assert_eq!(sum(&[egress, xdp, raw(TX, 0), raw(RX, u64::MAX)]), plain);
}

#[test]
fn late_and_receive_times_keep_the_order_of_hosts() {
    let (egress, xdp) = (out(Hook::TC_EGRESS, 1_020), back(Hook::XDP_INGRESS, 1_980));
    let far = [remote(Phase::Request, Hook::XDP_INGRESS, 500_000), remote(Phase::Reply, Hook::TC_EGRESS, 500_300)];
    let [tx, rx] = [converted(TX, 8, 1_040), converted(RX, 8, 1_970)];
    assert!(sum(&[egress, far[0], far[1], xdp, tx, rx]).is_ok());
    assert_eq!(sum(&[egress, far[0], rx, far[1], xdp, tx]), Err(Uncorrected::NodeConflict));
    // In both of a host's clocks, as if two hosts had stamped.
    let tai = nic(0, Clock::TAI, RX, Bound::at_least(8), 1_970);
    assert_eq!(sum(&[egress, xdp, tai]), Err(Uncorrected::NodeConflict));
}

proptest! {
    /// The parts are known beforehand, the card's errors within their bounds: they come back.
    #[test]
    fn the_parts_that_were_put_in_come_out(
        sent_ns in 1_u64 << 20..1 << 60, parts in prop::array::uniform5(0_u32..1 << 30), errors in prop::array::uniform2(-512_i64..=512),
        phc_ns in 0_u64..1 << 62,
    ) {
        let [tx, driver, net, card, rx] = parts.map(u64::from);
        let handed_ns = sent_ns + tx;
        let (left_ns, came_ns) = (handed_ns + driver, handed_ns + driver + net);
        let received_ns = came_ns + card + rx;
        let mut records = vec![
            out(Hook::DRIVER_TX, handed_ns),
            back(Hook::XDP_INGRESS, came_ns + card),
            converted(TX, 512, left_ns.saturating_add_signed(errors[0])),
            converted(RX, 512, came_ns.saturating_add_signed(errors[1])),
        ];
        let correction = correct(&records, sent_ns, received_ns).expect("corrected");
        let true_ns = i64::try_from(net).expect("short");
        prop_assert_eq!(correction.net_ns, true_ns + errors[1] - errors[0]);
        prop_assert!((correction.net_ns - true_ns).unsigned_abs() <= correction.bound_ns.expect("known"));
        let Correction { tx_stack_ns, net_ns, rx_stack_ns, rtt_ns, .. } = correction;
        prop_assert_eq!(tx_stack_ns + net_ns + rx_stack_ns, rtt_ns);
        prop_assert_eq!(correction.nic_net_ns, Some(net_ns));

        // In the card's own clock its time of the network is exact, and that of software is another.
        records.truncate(2);
        records.extend([raw(TX, phc_ns), raw(RX, phc_ns + net)]);
        let correction = correct(&records, sent_ns, received_ns).expect("corrected");
        prop_assert_eq!(correction.nic_net_ns, Some(true_ns));
        prop_assert_eq!(correction.net_ns, i64::try_from(driver + net + card).expect("short"));
        prop_assert!(correction.nic_left_out);
    }
}
