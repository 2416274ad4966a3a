//! How evenly probes leave, by the stamps that they carry.

use instamp_tests::{lab::Lab, quantiles::quantile};
use serde_json::{Value, json};

use super::{throughput::probe, wire::Reflector};
use crate::run::of_type;

const RATES: [u64; 3] = [1_000, 10_000, 50_000];
const SECONDS: u64 = 4;

/// Prints a line for each rate.
pub(super) fn measure() {
    let lab = Lab::up(&[]);
    let _reflector = Reflector::start(&lab);
    for rate in RATES {
        let (rate_option, count) = (rate.to_string(), (rate * SECONDS).to_string());
        let records = probe(&lab, &["--rate", &rate_option, "-c", &count, "--special", "--json", "--stamps"]);
        let mut sent: Vec<u64> = of_type(&records, "reply").into_iter().filter_map(app_tx_ns).collect();
        sent.sort_unstable();
        let gaps: Vec<u64> = sent.windows(2).map(|pair| pair[1] - pair[0]).collect();
        let interval = 1_000_000_000 / rate;
        let lasted = sent.last().expect("probes") - sent[0];
        println!(
            "{}",
            json!({
                "type": "pacing", "rate": rate, "probes": sent.len(), "interval_ns": interval,
                "rate_measured": (sent.len() as u64 - 1) * 1_000_000_000 / lasted,
                "gap_ns": {
                    "min": quantile(&gaps, 0, 1), "p1": quantile(&gaps, 1, 100), "p50": quantile(&gaps, 1, 2),
                    "p99": quantile(&gaps, 99, 100), "p999": quantile(&gaps, 999, 1000), "max": quantile(&gaps, 1, 1),
                },
                "shorter_than_half": gaps.iter().filter(|gap| **gap < interval / 2).count(),
            })
        );
    }
}

fn app_tx_ns(reply: &Value) -> Option<u64> {
    let stamps = reply["stamps"].as_array()?;
    stamps.iter().find(|stamp| stamp["hook"] == "app-tx")?["time_ns"].as_u64()
}
