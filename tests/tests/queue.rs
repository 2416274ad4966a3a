//! What a probe waits for in the host's own queue is told by driver-tx, and is no part of `net`.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::{net::Ipv4Addr, thread, time::Duration};

use instamp_tests::{
    lab::Lab,
    privilege::{root, tool},
    prober::Prober,
    quantiles::median,
    wire::Wire,
};
use instamp_trailer::Hook;

const ROUNDS: u16 = 15;
/// Of the token bucket filter.
const RATE_BITS: u64 = 10_000_000;
const BURST_BYTES: u64 = 5_000;
/// What is sent right before a probe.
const BACKLOG_FRAMES: u64 = 20;
const FRAME_BYTES: usize = 1_514;
/// Ethernet, IPv4 and ICMP headers, and the payload.
const PROBE_BYTES: u64 = 14 + 20 + 8 + 64;

const fn ns_to_send(bytes: u64) -> u64 {
    bytes * 8 * 1_000_000_000 / RATE_BITS
}

/// What is of interest of one probe, in nanoseconds.
struct Times {
    queue: i64,
    net: i64,
    tx_stack: i64,
}

/// Sends one; `None` where its times are incomplete.
///
/// Who finds a place of the table of requests held does not wait for it (docs/hardware.md), so that one of many may lack driver-tx.
fn probe(prober: &Prober, sequence: u16) -> Option<Times> {
    let nonce = 0x7175_6575_6500_0000 | u64::from(sequence);
    let sent_ns = prober.send(Lab::REMOTE.parse::<Ipv4Addr>().unwrap(), sequence, nonce);
    let answer = prober.receive();
    assert_eq!(answer.sequence(), sequence);
    let [left, given] = [Hook::TC_EGRESS, Hook::DRIVER_TX].map(|hook| answer.time_ns(nonce, hook));
    let Some((left, given)) = left.zip(given) else {
        println!("probe {sequence} has {:?}", answer.records(nonce));
        return None;
    };
    let correction = answer.correction(nonce, sent_ns).unwrap();
    let queue = given.cast_signed() - left.cast_signed();
    Some(Times { queue, net: correction.net_ns, tx_stack: correction.tx_stack_ns })
}

#[test]
fn the_wait_in_the_queue_is_told_and_is_not_the_networks() {
    let (Some(()), Some(())) = (root(), tool("tc")) else { return };
    let lab = Lab::up(&[]);
    lab.attach("host", &["--dev", Lab::NIC, "--ingress", "xdp"]);
    let (rate, burst) = (format!("{RATE_BITS}bit"), format!("{BURST_BYTES}b"));
    let filter = ["qdisc", "add", "dev", Lab::NIC, "root", "tbf", "rate", &rate, "burst", &burst, "limit", "1mb"];
    lab.run("host", "tc", &filter);
    let (wire, prober) = lab.enter("host", || (Wire::open(Lab::NIC), Prober::open()));

    // Of a protocol for experiments, to nobody.
    let mut frame = [0; FRAME_BYTES];
    frame[..6].copy_from_slice(&[2, 0, 0, 0, 0, 1]);
    frame[6..12].copy_from_slice(&wire.address());
    frame[12..14].copy_from_slice(&[0x88, 0xb5]);

    // The first waits for its neighbour.
    let _ = probe(&prober, 0);
    let (mut queued, mut unqueued) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        // The bucket fills anew: this is what the computation begins with.
        let fills = Duration::from_nanos(2 * ns_to_send(BURST_BYTES));
        thread::sleep(fills);
        unqueued.extend(probe(&prober, 2 * round + 1));
        thread::sleep(fills);
        (0..BACKLOG_FRAMES).for_each(|_| wire.send(&frame));
        queued.extend(probe(&prober, 2 * round + 2));
    }

    let status = lab.instamp("host").arg("status").output().unwrap();
    let status = String::from_utf8_lossy(&status.stdout);
    let complete = queued.len() + unqueued.len();
    assert!(complete + 2 >= usize::from(2 * ROUNDS), "only {complete} have both times:\n{status}");

    let expected = ns_to_send(BACKLOG_FRAMES * FRAME_BYTES as u64 + PROBE_BYTES - BURST_BYTES).cast_signed();
    let of = |times: &[Times], which: fn(&Times) -> i64| median(&times.iter().map(which).collect::<Vec<_>>());
    let (told, net, stack) = (of(&queued, |of| of.queue), of(&queued, |of| of.net), of(&queued, |of| of.tx_stack));
    let (unqueued_told, unqueued_net) = (of(&unqueued, |of| of.queue), of(&unqueued, |of| of.net));
    println!(
        "medians in ns: computed {expected}, told {told} (without a queue {unqueued_told}), net {net} (without {unqueued_net})"
    );
    assert!((told - expected).abs() * 20 <= expected, "{told} ns in the queue, which takes {expected} ns");
    assert!((net - unqueued_net).abs() * 10 <= expected, "net is {net} ns with the queue, {unqueued_net} ns without");
    assert!(unqueued_told * 10 <= expected, "{unqueued_told} ns in an empty queue");
    assert!(stack >= told, "the queue is the host's: {stack} ns");
}
