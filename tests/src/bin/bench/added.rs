//! What hooks add to the RTT: runs with hooks off and on take turns, so that the machine's moods fall on all alike.

use instamp_tests::lab::Lab;
use serde_json::json;

use crate::run::{Ping, attach, detach, of_type};

const ROUNDS: usize = 24;
/// The first of a run wait for neighbours and cold caches.
const WARM_UP: usize = 100;
const PROBES: &str = "3100";

/// Prints a line for each way of stamping.
pub(crate) fn measure() {
    let lab = Lab::up(&[]);
    let ways = [None, Some("tc"), Some("xdp")];
    let mut means: [Vec<f64>; 3] = Default::default();
    for round in 0..ROUNDS {
        for turn in 0..ways.len() {
            // Each way is first, second and last equally often.
            let way = (round + turn) % ways.len();
            if let Some(ingress) = ways[way] {
                attach(&lab, ingress);
            }
            means[way].push(mean_rtt_ns(&lab));
            if ways[way].is_some() {
                detach(&lab);
            }
        }
    }
    let off = &means[0];
    for (ingress, on) in ways.iter().zip(&means).filter_map(|(way, means)| Some((way.as_ref()?, means))) {
        let differences: Vec<f64> = on.iter().zip(off).map(|(on, off)| on - off).collect();
        let (added, deviation) = mean_and_deviation(&differences);
        println!(
            "{}",
            json!({
                "type": "added-rtt", "ingress": ingress, "rounds": ROUNDS,
                "off_ns": mean_and_deviation(off).0.round(), "on_ns": mean_and_deviation(on).0.round(),
                "added_ns": added.round(),
                "standard_error_ns": (deviation / f64::from(u32::try_from(ROUNDS).expect("few")).sqrt()).round(),
            })
        );
    }
}

/// The mean RTT of one run, the slowest tenth left out: another process had the processor then. One probe follows the
/// other, since waking an idle processor takes longer, and less regularly, than all that is compared here.
fn mean_rtt_ns(lab: &Lab) -> f64 {
    let records = Ping::start(lab, "c1", &["-c", PROBES, "-i", "0"]).records();
    let mut rtts: Vec<f64> =
        of_type(&records, "reply").iter().skip(WARM_UP).filter_map(|reply| reply["rtt_ns"].as_f64()).collect();
    rtts.sort_by(f64::total_cmp);
    rtts.truncate(rtts.len() * 9 / 10);
    mean_and_deviation(&rtts).0
}

#[expect(clippy::cast_precision_loss, reason = "a few hundred samples")]
fn mean_and_deviation(samples: &[f64]) -> (f64, f64) {
    let mean = samples.iter().sum::<f64>() / samples.len() as f64;
    let squares: f64 = samples.iter().map(|sample| (sample - mean).powi(2)).sum();
    (mean, (squares / (samples.len() as f64 - 1.0)).sqrt())
}
