//! One container measures while others flood: how many replies are corrected, and how exactly.

use instamp_tests::{
    capture::{Capture, Echo, echoes},
    comparison::Comparison,
    lab::Lab,
};
use serde_json::{Value, json};

use crate::{
    accuracy::differences,
    run::{Ping, attach, of_type},
};

const FLOODING: [usize; 5] = [0, 5, 10, 20, 25];
/// The one that measures sends longer probes, so that the capture can leave out the flood.
const PAYLOAD: &str = "512";
const FILTER: &str = "icmp and greater 500";

/// Prints a line for each number of flooding containers.
pub(crate) fn measure() {
    let most = FLOODING.into_iter().max().unwrap_or_default();
    let lab = Lab::up(&["--containers", &(most + 1).to_string()]);
    attach(&lab, "xdp");
    for flooding in FLOODING {
        let capture = Capture::start(&lab, "host", Lab::NIC, FILTER);
        let floods: Vec<Ping> =
            (0..flooding).map(|n| Ping::start(&lab, &format!("c{}", n + 2), &["-i", "0", "-w", "6", "-q"])).collect();
        let records = Ping::start(&lab, "c1", &["-c", "1000", "-i", "3ms", "-s", PAYLOAD]).records();
        let seen: Vec<Echo> = echoes(&capture.stop());
        let floods: Vec<Vec<Value>> = floods.into_iter().map(Ping::records).collect();
        let total = |field: &str| -> u64 {
            floods
                .iter()
                .flat_map(|records| of_type(records, "summary"))
                .filter_map(|summary| summary[field].as_u64())
                .sum()
        };
        println!(
            "{}",
            json!({
                "type": "flood", "flooding": flooding,
                "flood_sent": total("sent"), "flood_received": total("received"), "flood_corrected": total("corrected"),
                "result": differences(&Comparison::of(&of_type(&records, "reply"), &seen)),
            })
        );
    }
}
