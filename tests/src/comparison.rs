//! A prober's figures beside those of a packet capture on the card: what a witness below the stack sees, per packet.

use std::{collections::HashMap, process::Command};

use serde_json::Value;

use crate::{
    capture::{Capture, Echo, echoes},
    lab::Lab,
    ping::{Run, net_at_capture, number},
    quantiles::median,
};

/// A run's replies beside what a capture saw of them.
#[derive(Clone, Default, Debug)]
pub struct Comparison {
    /// How many there were.
    pub replies: usize,
    /// Those with `net`.
    pub corrected: usize,
    /// What the hooks next to the capture say more than the capture, in nanoseconds, of each corrected reply that is in the capture.
    pub at_capture: Vec<i64>,
    /// What the capture says, in nanoseconds, of the same.
    pub captured: Vec<i64>,
    /// What `net` is more than the capture.
    pub net: Vec<i64>,
    /// What the RTT is more than the capture.
    pub rtt: Vec<i64>,
}

impl Comparison {
    /// Of the replies of `instamp ping --json`, and the echo messages captured on the device.
    pub fn of(replies: &[&Value], seen: &[Echo]) -> Self {
        let mut requests = HashMap::new();
        let mut round_trips = HashMap::new();
        for echo in seen {
            if !echo.is_reply {
                requests.insert(echo.sequence, echo.time_ns);
            } else if let Some(request) = requests.get(&echo.sequence) {
                round_trips.insert(i64::from(echo.sequence), echo.time_ns.cast_signed() - request.cast_signed());
            }
        }
        let mut comparison = Self { replies: replies.len(), ..Self::default() };
        for reply in replies {
            let Some(net) = reply["net_ns"].as_i64() else { continue };
            comparison.corrected += 1;
            let round_trip = reply["seq"].as_i64().and_then(|sequence| round_trips.get(&sequence));
            if let (Some(round_trip), Some(rtt), Some(at_capture)) =
                (round_trip, reply["rtt_ns"].as_i64(), net_at_capture(reply))
            {
                comparison.captured.push(*round_trip);
                comparison.at_capture.push(at_capture - round_trip);
                comparison.net.push(net - round_trip);
                comparison.rtt.push(rtt - round_trip);
            }
        }
        comparison
    }

    /// Adds another run's.
    pub fn add(&mut self, Self { replies, corrected, captured, at_capture, net, rtt }: Self) {
        self.replies += replies;
        self.corrected += corrected;
        self.captured.extend(captured);
        self.at_capture.extend(at_capture);
        self.net.extend(net);
        self.rtt.extend(rtt);
    }
}

/// Medians of a run, in nanoseconds.
#[derive(Clone, Copy, Debug)]
pub struct Medians {
    /// Of `net`.
    pub net: i64,
    /// Of the RTT.
    pub rtt: i64,
    /// Of the time between request and reply that a capture on the card saw.
    pub captured: i64,
    /// How far the hooks next to the capture are from it.
    pub at_capture: i64,
    /// How far the RTT is from it.
    pub rtt_from_capture: i64,
}

impl Medians {
    /// Runs `instamp ping --json` beside a capture on the card of the lab's host, of what the filter lets through.
    ///
    /// # Panics
    ///
    /// There is none, or a reply is not corrected, or not in the capture.
    #[track_caller]
    pub fn beside_a_capture(lab: &Lab, pinger: &mut Command, filter: &str) -> (Run, Self) {
        let capture = Capture::start(lab, "host", Lab::NIC, filter);
        let run = Run::of(pinger);
        let seen = echoes(&capture.stop());
        let replies = run.replies();
        let comparison = Comparison::of(&replies, &seen);
        assert_eq!(comparison.corrected, replies.len(), "{} {}", run.summary(), run.messages);
        assert_eq!(comparison.at_capture.len(), replies.len(), "not all are in the capture");
        let of = |name| median(&replies.iter().map(|reply| number(reply, name)).collect::<Vec<_>>());
        let from = |differences: &[i64]| median(&differences.iter().map(|ns| ns.abs()).collect::<Vec<_>>());
        let medians = Self {
            net: of("net_ns"),
            rtt: of("rtt_ns"),
            captured: median(&comparison.captured),
            at_capture: from(&comparison.at_capture),
            rtt_from_capture: from(&comparison.rtt),
        };
        (run, medians)
    }

    /// Asserts that the hooks next to the capture are much nearer to it than the RTT is.
    ///
    /// # Panics
    ///
    /// They are not.
    #[track_caller]
    pub fn are_near(&self) {
        assert!(self.at_capture * 5 <= self.rtt_from_capture, "{self:?}");
    }
}
