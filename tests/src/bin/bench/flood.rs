//! One container measures while others flood: how many replies are corrected, and how exactly.

use instamp_tests::{
    capture::{Capture, Echo, echoes},
    comparison::Comparison,
    flood::{self, Flood},
    lab::Lab,
};
use serde_json::json;

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
        let start = |n: usize| Flood::start(lab.instamp(&format!("c{}", n + 2)).args(flood::OPTIONS).arg(Lab::REMOTE));
        let mut floods: Vec<Flood> = (0..flooding).map(start).collect();
        floods.iter_mut().for_each(Flood::wait);
        let capture = Capture::start(&lab, "host", Lab::NIC, FILTER);
        let records = Ping::start(&lab, "c1", &["-c", "1000", "-i", "3ms", "-s", PAYLOAD]).records();
        let seen: Vec<Echo> = echoes(&capture.stop());
        let floods = flood::stop(floods);
        let total = |name| floods.iter().map(|flood| flood.count(name)).sum::<u64>();
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
