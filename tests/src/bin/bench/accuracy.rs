//! `net` against a packet capture on the same device: what a witness below the stack sees, per packet; and what the capture itself
//! takes.

use std::collections::HashMap;

use instamp_tests::{
    capture::{Capture, ECHOES, Echo, echoes},
    lab::Lab,
    ping::{between, net_at_capture},
};
use serde_json::{Value, json};

use crate::{
    quantiles::{median, summary},
    run::{Ping, attach, detach, of_type},
};

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
        let comparison = Comparison::of(&records, &seen);
        println!(
            "{}",
            json!({ "type": "accuracy", "ingress": ingress, "beside": "nothing", "result": comparison.json() })
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

/// A run's replies beside what a capture saw of them.
pub(crate) struct Comparison {
    replies: usize,
    corrected: usize,
    /// What the hooks next to the capture, `net` and the RTT say more than the capture, in nanoseconds.
    at_capture: Vec<i64>,
    net: Vec<i64>,
    rtt: Vec<i64>,
}

impl Comparison {
    /// Of the JSON records of a run, and the echo messages captured on the device.
    pub(crate) fn of(records: &[Value], seen: &[Echo]) -> Self {
        let mut requests = HashMap::new();
        let mut round_trips = HashMap::new();
        for echo in seen {
            if !echo.is_reply {
                requests.insert(echo.sequence, echo.time_ns);
            } else if let Some(request) = requests.get(&echo.sequence) {
                round_trips.insert(i64::from(echo.sequence), echo.time_ns.cast_signed() - request.cast_signed());
            }
        }
        let replies = of_type(records, "reply");
        let mut comparison =
            Self { replies: replies.len(), corrected: 0, at_capture: Vec::new(), net: Vec::new(), rtt: Vec::new() };
        for reply in replies {
            let Some(net) = reply["net_ns"].as_i64() else { continue };
            comparison.corrected += 1;
            let round_trip = reply["seq"].as_i64().and_then(|sequence| round_trips.get(&sequence));
            if let (Some(round_trip), Some(rtt), Some(at_capture)) =
                (round_trip, reply["rtt_ns"].as_i64(), net_at_capture(reply))
            {
                comparison.at_capture.push(at_capture - round_trip);
                comparison.net.push(net - round_trip);
                comparison.rtt.push(rtt - round_trip);
            }
        }
        comparison
    }

    /// Those of several runs.
    pub(crate) fn together(runs: Vec<Self>) -> Self {
        let mut all = Self { replies: 0, corrected: 0, at_capture: Vec::new(), net: Vec::new(), rtt: Vec::new() };
        for Self { replies, corrected, at_capture, net, rtt } in runs {
            all.replies += replies;
            all.corrected += corrected;
            all.at_capture.extend(at_capture);
            all.net.extend(net);
            all.rtt.extend(rtt);
        }
        all
    }

    /// Counts, and the quantiles of the absolute differences.
    pub(crate) fn json(&self) -> Value {
        let absolute = |differences: &[i64]| summary(&differences.iter().map(|ns| ns.abs()).collect::<Vec<_>>());
        json!({
            "replies": self.replies, "corrected": self.corrected, "matched": self.net.len(),
            "net_at_capture_difference_ns": absolute(&self.at_capture), "net_difference_ns": absolute(&self.net),
            "rtt_difference_ns": absolute(&self.rtt),
        })
    }
}
