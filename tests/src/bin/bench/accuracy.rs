//! `net` against a packet capture on the same device: what a witness below the stack sees, per packet; and what the capture itself
//! takes.

use instamp_tests::{
    capture::{Capture, ECHOES, echoes},
    comparison::Comparison,
    lab::Lab,
    ping::between,
    quantiles::{median, summary},
};
use serde_json::{Value, json};

use crate::run::{Ping, attach, detach, of_type};

/// With a capture, and without.
const ROUNDS: usize = 8;

/// Prints a line for each way in, and one for the capture.
pub(crate) fn measure() {
    let lab = Lab::up(&[]);
    for ingress in ["xdp", "tc"] {
        attach(&lab, ingress);
        let capture = Capture::start(&lab, "host", Lab::NIC, ECHOES);
        let records = Ping::start(&lab, "c1", &["-c", "2000", "-i", "2ms"]).records();
        let seen = echoes(&capture.stop());
        detach(&lab);
        let comparison = Comparison::of(&of_type(&records, "reply"), &seen);
        println!(
            "{}",
            json!({ "type": "accuracy", "ingress": ingress, "beside": "nothing", "result": differences(&comparison) })
        );
    }
    attach(&lab, "xdp");
    capture_takes(&lab);
}

/// Prints the time from tc-egress to driver-tx, with a capture between them and without: medians of runs that take turns.
fn capture_takes(lab: &Lab) {
    let (mut without, mut with) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        without.push(to_driver_ns(lab));
        let capture = Capture::start(lab, "host", Lab::NIC, ECHOES);
        with.push(to_driver_ns(lab));
        drop(capture.stop());
    }
    let (without, with) = (median(&without), median(&with));
    println!(
        "{}",
        json!({
            "type": "capture", "from": "tc-egress", "to": "driver-tx", "rounds": ROUNDS,
            "without_ns": without, "with_ns": with, "added_ns": with - without,
        })
    );
}

fn to_driver_ns(lab: &Lab) -> i64 {
    let records = Ping::start(lab, "c1", &["-c", "300", "-i", "2ms"]).records();
    let replies = of_type(&records, "reply");
    let times: Vec<_> = replies.iter().filter_map(|reply| between(reply, "tc-egress", "driver-tx")).collect();
    median(&times)
}

/// Counts, and the quantiles of the absolute differences.
pub(crate) fn differences(Comparison { replies, corrected, captured, at_capture, net, rtt }: &Comparison) -> Value {
    let absolute = |differences: &[i64]| summary(&differences.iter().map(|ns| ns.abs()).collect::<Vec<_>>());
    json!({
        "replies": replies, "corrected": corrected, "matched": net.len(), "captured_ns": summary(captured),
        "net_at_capture_difference_ns": absolute(at_capture), "net_difference_ns": absolute(net),
        "rtt_difference_ns": absolute(rtt),
    })
}
