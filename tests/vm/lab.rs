//! A lab on this kernel: every way to attach, and a ping across.

use std::{env, fs};

use instamp_tests::{lab::Lab, ping::Run, watching::Watching};
use serde_json::Value;

const PROBES: u64 = 20;

/// Probes that a container sends through the lab's host are all corrected while its network card is attached, in every
/// way that this kernel has, and detaching leaves nothing.
pub(crate) fn check() {
    let newest = env::var(super::TC).expect("how TC programs attach on this kernel");
    let lab = Lab::up(&[]);
    attached(&lab, "auto", &newest);
    if newest != "clsact" {
        attached(&lab, "clsact", "clsact");
    }
    watched(&lab);
    run(&lab);
    attached_for_a_container(&lab);
}

/// Both devices that a container's probes pass are found and hooked by its network namespace, and let go.
fn attached_for_a_container(lab: &Lab) {
    let namespace = format!("/run/netns/{}", lab.namespace("c1"));
    lab.run("host", "ip", &["route", "add", "default", "via", Lab::REMOTE]);
    lab.attach("host", &["--netns", &namespace, "--ingress", "xdp"]);
    let options = ["-c", &PROBES.to_string(), "-i", "10ms", "--cap", "6", "-s", "88", Lab::REMOTE];
    Run::new(lab, "c1", &options).all_corrected(PROBES);
    for device in [Lab::NIC, "veth-c1"] {
        let counters = lab.counters("host", device);
        assert!(counters.len() == 2 && counters.iter().all(|hook| hook.stamped == PROBES), "{device}: {counters:?}");
    }
    lab.run("host", "instamp", &["detach", "--netns", &namespace]);
    assert_eq!(lab.run("host", "instamp", &["status", "--json"]), "");
    assert_eq!(fs::read_dir(instamp_hooks::BPFFS).expect("a folder").count(), 0, "pins are left");
    println!("guest: both devices of a container are attached to by its network namespace, and let go");
}

/// Whoever pings from a container is seen at both ends of the host, through the translation of its address.
fn watched(lab: &Lab) {
    let watching = Watching::start(lab, &[]);
    for destination in [Lab::REMOTE, Lab::REMOTE6] {
        Run::new(lab, "c1", &["-c", &PROBES.to_string(), "-i", "10ms", destination]);
    }
    let watched = watching.stop();
    let replies = watched.replies();
    assert_eq!(replies.len() as u64, 2 * PROBES, "{replies:?}");
    for reply in replies {
        assert!(reply["tx_host_ns"].is_u64() && reply["net_ns"].is_u64() && reply["rx_host_ns"].is_u64(), "{reply}");
    }
    println!("guest: watched the pings of a container");
}

/// A tool's pings are known by its processes. Those before have found the next hop.
fn run(lab: &Lab) {
    let namespace = format!("/run/netns/{}", lab.namespace("c1"));
    // The tool starts another one, as it is such a command itself.
    let ping = ["instamp", "ping", "-c", &PROBES.to_string(), "-i", "10ms", Lab::REMOTE];
    let tool = [&["instamp", "run", "--dev", "eth0", "--"], &ping[..]].concat();
    let said =
        lab.run("host", "instamp", &[&["run", "--dev", Lab::NIC, "--netns", &namespace, "--"], &tool[..]].concat());
    let summary = format!("--- where the time of {PROBES} replies went ---\nnet p50");
    assert_eq!(said.matches(&summary).count(), 2, "{said}");
    println!("guest: ran a tool, and told where the time of its replies went");
}

/// Attaches TC programs by `choice`, which has to mean `mechanism`.
fn attached(lab: &Lab, choice: &str, mechanism: &str) {
    for (ingress, ingress_mechanism) in [("xdp", "native"), ("tc", mechanism)] {
        lab.attach("host", &["--dev", Lab::NIC, "--ingress", ingress, "--tc", choice]);
        let status = lab.run("host", "instamp", &["status", "--json"]);
        let status: Value = serde_json::from_str(&status).expect("one device");
        let mechanisms = [0, 1].map(|hook: usize| status["hooks"][hook]["mechanism"].as_str());
        assert_eq!(mechanisms, [Some(mechanism), Some(ingress_mechanism)], "{status}");
        assert_eq!(traces(lab), [mechanism == "clsact", ingress == "xdp"]);

        for destination in [Lab::REMOTE, Lab::REMOTE6] {
            Run::new(lab, "c1", &["-c", &PROBES.to_string(), "-i", "10ms", destination]).all_corrected(PROBES);
        }
        let counters = lab.counters("host", Lab::NIC);
        assert!(counters.iter().all(|hook| hook.stamped == 2 * PROBES), "{counters:?}");

        lab.detach("host", Lab::NIC);
        assert_eq!(traces(lab), [false, false]);
        assert_eq!(lab.run("host", "instamp", &["status", "--json"]), "");
        assert_eq!(fs::read_dir(instamp_hooks::BPFFS).expect("a folder").count(), 0, "pins are left");
        println!("guest: all corrected by tc-egress ({mechanism}) and {ingress}-ingress ({ingress_mechanism})");
    }
}

/// Whether other tools see a clsact queueing discipline and an XDP program at the card.
fn traces(lab: &Lab) -> [bool; 2] {
    [("tc", ["qdisc", "show", "dev", Lab::NIC], "clsact"), ("ip", ["-d", "link", "show", Lab::NIC], "prog/xdp")]
        .map(|(tool, arguments, trace)| lab.run("host", tool, &arguments).contains(trace))
}
