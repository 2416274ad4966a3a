//! `net` of both ways beside a capture at the far end, and what each has in the host.

use std::collections::HashMap;

use instamp_tests::{
    capture::{Capture, ECHOES, Echo, echoes},
    lab::Lab,
    quantiles::summary,
};
use serde_json::{Value, json};

use super::wire::REMOTE_DEVICE;
use crate::run::{Ping, of_type};

const ROUNDS: usize = 6;
const WAYS: [&str; 2] = ["socket", "afxdp"];

/// What was found for one way, of all probes of all rounds.
#[derive(Default)]
struct Found {
    replies: usize,
    /// `net` less the time that the far end had the probe, by the capture there: there and back on the wire.
    wire: Vec<i64>,
    tx_stack: Vec<i64>,
    rx_stack: Vec<i64>,
    rtt: Vec<i64>,
}

/// Prints a line for each way.
pub(super) fn measure() {
    let lab = Lab::up(&[]);
    lab.attach("host", &["--dev", Lab::NIC, "--ingress", "xdp"]);
    let mut found: [Found; 2] = Default::default();
    for round in 0..ROUNDS {
        for turn in 0..WAYS.len() {
            let way = (round + turn) % WAYS.len();
            let capture = Capture::start(&lab, "remote", REMOTE_DEVICE, ECHOES);
            let records = Ping::start(&lab, "host", &["--transport", WAYS[way], "-c", "500", "-i", "2ms"]).records();
            found[way].add(&records, &echoes(&capture.stop()));
        }
    }
    for (way, found) in WAYS.iter().zip(&found) {
        println!(
            "{}",
            json!({
                "type": "transport", "way": way, "rounds": ROUNDS, "replies": found.replies, "matched": found.wire.len(),
                "net_less_far_end_ns": summary(&found.wire), "tx_stack_ns": summary(&found.tx_stack),
                "rx_stack_ns": summary(&found.rx_stack), "rtt_ns": summary(&found.rtt),
            })
        );
    }
}

impl Found {
    fn add(&mut self, records: &[Value], seen: &[Echo]) {
        let times = |is_reply| -> HashMap<i64, i64> {
            let of_kind = seen.iter().filter(|echo| echo.is_reply == is_reply);
            of_kind.map(|echo| (i64::from(echo.sequence), echo.time_ns.cast_signed())).collect()
        };
        let (requests, answers) = (times(false), times(true));
        for reply in of_type(records, "reply") {
            self.replies += 1;
            let number = |name: &str| reply[name].as_i64();
            let at_far_end = number("seq").and_then(|seq| Some(answers.get(&seq)? - requests.get(&seq)?));
            let figures = (number("net_ns"), number("tx_stack_ns"), number("rx_stack_ns"), number("rtt_ns"));
            if let ((Some(net), Some(tx), Some(rx), Some(rtt)), Some(at_far_end)) = (figures, at_far_end) {
                self.wire.push(net - at_far_end);
                self.tx_stack.push(tx);
                self.rx_stack.push(rx);
                self.rtt.push(rtt);
            }
        }
    }
}
