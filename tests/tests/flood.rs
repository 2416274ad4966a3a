//! Under load every reply that arrives is corrected.

use std::process::Command;

use instamp_tests::{
    comparison::Medians,
    flood::{self, Flood},
    lab::Lab,
    neighbours::Neighbours,
    ping::Run,
    podman::{Backend, Content, Podman, podman},
    privilege::{root, tool},
};

const FLOODING: usize = 25;
const PROBES: u64 = 300;

/// One container measures, and the others flood.
fn all_corrected(ingress: &str, destination: &str) {
    let Some(()) = root() else { return };
    let lab = Lab::up(&["--containers", &(FLOODING + 1).to_string()]);
    lab.attach("host", &["--dev", Lab::NIC, "--ingress", ingress]);
    let start = |number| {
        let mut command = lab.instamp(&format!("c{number}"));
        Flood::start(command.args(flood::OPTIONS).arg(destination))
    };
    let mut floods: Vec<_> = (2..).take(FLOODING).map(start).collect();
    floods.iter_mut().for_each(Flood::wait);

    let run = Run::new(&lab, "c1", &["-c", &PROBES.to_string(), "-i", "2ms", destination]);
    let [sent, received, corrected] = ["sent", "received", "corrected"].map(|name| run.count(name));
    assert_eq!((sent, corrected), (PROBES, received), "{} {}", run.summary(), run.messages);
    // Those that the load leaves: without it, the test says nothing.
    assert!(received > PROBES / 2, "{}", run.summary());

    let floods = flood::stop(floods);
    println!("{ingress}: {received} of {sent} measured");
    have_flooded(&floods);
}

/// Each of them has, and all replies that came are corrected.
fn have_flooded(floods: &[Run]) {
    let total: u64 = floods.iter().map(|flood| flood.count("received")).sum();
    println!("{total} replies to the floods");
    for (number, flood) in floods.iter().enumerate() {
        assert!(flood.count("received") > 0, "the flood {number} has had no reply");
        assert_eq!(flood.count("corrected"), flood.count("received"), "the flood {number}");
    }
    // A load, and not just a few packets.
    assert!(total > 20 * PROBES, "{total}");
}

#[test]
fn all_replies_under_a_flood_are_corrected_with_xdp() {
    all_corrected("xdp", Lab::REMOTE);
}

#[test]
fn all_replies_under_a_flood_are_corrected_with_tc() {
    all_corrected("tc", Lab::REMOTE6);
}

/// A run that is corrected throughout, and nearer to a capture by `net` than by the RTT.
fn corrected_beside_a_capture(lab: &Lab, prober: &mut Command, flooding: usize) {
    // Longer than those of the floods.
    let (run, medians) = Medians::beside_a_capture(lab, prober, "icmp and greater 500");
    let [sent, received, corrected] = ["sent", "received", "corrected"].map(|name| run.count(name));
    assert_eq!((sent, corrected), (PROBES, received), "{} {}", run.summary(), run.messages);
    assert!(received > PROBES / 2, "{}", run.summary());
    println!("{flooding} flooding: {medians:?}");
    medians.are_near();
}

/// The figures 3 and 4 of the paper in small: containers of podman, one of which measures, and the host as the reference.
#[test]
fn a_container_measures_beside_flooding_ones() {
    let (Some(()), Some(())) = (podman(), tool("tcpdump")) else { return };
    let lab = Lab::up(&[]);
    let podman = Podman::new(&lab, Backend::Netavark, Content::Instamp);
    let mut neighbours = Neighbours::start(&podman, FLOODING);
    let count = PROBES.to_string();
    let options = ["ping", "--json", "-c", &count, "-i", "2ms", "--cap", "6", "-s", "512", Lab::REMOTE];
    for flooding in [0, 5, 10, 20, FLOODING] {
        neighbours.flood(flooding);
        corrected_beside_a_capture(&lab, &mut neighbours.prober(&options), flooding);
        corrected_beside_a_capture(&lab, lab.instamp("host").args(options), flooding);
    }
    have_flooded(&neighbours.stop());
}
