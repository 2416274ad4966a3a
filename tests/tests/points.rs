//! Several devices of one host, each with its point: the way of a probe, stage by stage.
#![expect(clippy::unwrap_used, reason = "tests")]

use instamp_tests::{
    capture::{Capture, ECHOES, echoes},
    lab::Lab,
    ping::{Run, between, number},
    privilege::{root, tool},
};
use serde_json::Value;

const PROBES: u64 = 20;
const VETH: &str = "veth-c1";

/// Phase, point and hook of a stamp.
type Place<'a> = (&'a str, i64, &'a str);

/// Those with XDP at the uplink, and TC at the container's veth.
const ALL: [Place<'_>; 5] = [
    ("request", 1, "tc-ingress"),
    ("request", 0, "tc-egress"),
    ("reply", 0, "xdp-ingress"),
    ("request", 0, "driver-tx"),
    ("reply", 1, "tc-egress"),
];

/// Where a probe was stamped, by the order of the stamps.
fn places(reply: &Value) -> Vec<Place<'_>> {
    let place = |stamp| (text(stamp, "phase"), number(stamp, "point"), text(stamp, "hook"));
    reply["stamps"].as_array().unwrap().iter().map(place).collect()
}

fn text<'a>(stamp: &'a Value, name: &str) -> &'a str {
    stamp[name].as_str().unwrap()
}

/// Room for the stamps of all stages.
const ROOM: [&str; 4] = ["--cap", "6", "-s", "88"];

/// Probes from a container of which all are corrected, and have been stamped in these places, one after another.
fn stamped(lab: &Lab, options: &[&str], expected: &[Place<'_>], net_source: &str) {
    for destination in [Lab::REMOTE, Lab::REMOTE6] {
        let count = PROBES.to_string();
        let run = Run::new(lab, "c1", &[&["-c", &count, "-i", "2ms", destination], options].concat());
        run.all_corrected(PROBES);
        for reply in run.replies() {
            assert_eq!(places(reply), expected, "{reply}");
            assert_eq!(reply["net_source"], net_source, "{reply}");
            let stamps = reply["stamps"].as_array().unwrap();
            let by_hooks = stamps.iter().filter(|stamp| stamp["hook"] != "driver-tx");
            assert!(by_hooks.map(|stamp| number(stamp, "time_ns")).is_sorted(), "{reply}");
            assert!(between(reply, "tc-egress", "driver-tx").is_none_or(|ns| ns >= 0), "{reply}");
            assert!(stamps.iter().all(|stamp| stamp["node"] == stamps[0]["node"]), "one host: {reply}");
        }
    }
}

fn hooked(options: &[&str], uplink: &str, container: &str) -> Lab {
    let lab = Lab::up(options);
    lab.attach("host", &["--dev", Lab::NIC, "--ingress", uplink]);
    // Its container's addresses are the host's own, without a word.
    lab.attach("host", &["--dev", VETH, "--point", "1", "--ingress", container]);
    lab
}

#[test]
fn every_stage_is_in_its_place() {
    let (Some(()), Some(())) = (root(), tool("ip")) else { return };
    for (uplink, container) in [("xdp", "tc"), ("tc", "xdp")] {
        let lab = hooked(&[], uplink, container);
        let (uplink, container) = (format!("{uplink}-ingress"), format!("{container}-ingress"));
        let net_source = format!("driver-tx/{uplink}");
        // That of the driver is written behind the one of the hook on the way in.
        let at_uplink = [("request", 0, "tc-egress"), ("reply", 0, &uplink), ("request", 0, "driver-tx")];
        let all = [&[("request", 1, &*container)][..], &at_uplink, &[("reply", 1, "tc-egress")]].concat();
        stamped(&lab, &ROOM, &all, &net_source);
        stamped(&lab, &[&ROOM[..], &["--socket", "raw"]].concat(), &all, &net_source);
        // Without room the last one is left out.
        stamped(&lab, &[], &all[..4], &net_source);

        lab.detach("host", VETH);
        stamped(&lab, &[], &at_uplink, &net_source);
        lab.detach("host", Lab::NIC);
        let run = Run::new(&lab, "c1", &["-c", "2", "-i", "2ms", Lab::REMOTE]);
        assert_eq!([run.count("received"), run.count("corrected")], [2, 0]);
        assert_eq!(lab.run("host", "ip", &["-d", "link", "show", Lab::NIC]).matches("xdp").count(), 0);
    }
}

/// A reply that native XDP took in several buffers stays so on its way to the container: there TC egress copies what it
/// reads.
#[test]
fn every_stage_of_a_jumbo_frame_is_in_its_place() {
    let Some(()) = root() else { return };
    let lab = hooked(&["--mtu", "9000"], "xdp", "tc");
    stamped(&lab, &["--cap", "6", "-s", "8000"], &ALL, "driver-tx/xdp-ingress");
}

/// Hooks in the container's own namespace are the host's as well: what lies between them is no remote's.
#[test]
fn hooks_in_the_container_are_this_hosts() {
    let Some(()) = root() else { return };
    let lab = Lab::up(&[]);
    lab.attach("host", &["--dev", Lab::NIC, "--ingress", "xdp"]);
    lab.attach("c1", &["--dev", "eth0", "--point", "2"]);
    let all = [
        ("request", 2, "tc-egress"),
        ("request", 0, "tc-egress"),
        ("reply", 0, "xdp-ingress"),
        ("request", 0, "driver-tx"),
        ("reply", 2, "tc-ingress"),
        ("request", 2, "driver-tx"),
    ];
    stamped(&lab, &ROOM, &all, "driver-tx/xdp-ingress");
}

/// A container that no point was made for is a stranger to the container's veth of another.
#[test]
fn a_point_is_for_its_own_container() {
    let Some(()) = root() else { return };
    let lab = Lab::up(&["--containers", "2"]);
    lab.attach("host", &["--dev", VETH, "--point", "1"]);
    let probes = |role| Run::new(&lab, role, &["-c", "5", "-i", "2ms", Lab::REMOTE]);
    assert_eq!(probes("c2").count("received"), 5);
    for hook in lab.counters("host", VETH) {
        assert_eq!(hook.stamped, 0, "{hook:?}");
    }
    probes("c1").all_corrected(5);
}

#[test]
fn a_trailer_that_is_too_small_says_so_and_what_would_do() {
    let (Some(()), Some(())) = (root(), tool("tcpdump")) else { return };
    let lab = hooked(&[], "xdp", "tc");
    // One stamp on the way out, one on the way back: the first hook of each finds room.
    let first = [("request", 1, "tc-ingress"), ("reply", 0, "xdp-ingress")];
    let capture = Capture::start(&lab, "c1", "eth0", ECHOES);
    stamped(&lab, &["-s", "40"], &first, "tc-ingress/xdp-ingress");
    let echoes = echoes(&capture.stop());
    assert_eq!(echoes.len() as u64, 4 * PROBES);
    for echo in echoes {
        let [.., flags, b'I', b'S', b'T', 1] = *echo.payload else { panic!("no trailer: {echo:?}") };
        assert_eq!((flags, echo.is_valid), (u8::from(echo.is_reply), true), "{echo:?}");
    }

    let output = lab.instamp("c1").args(["ping", "-c", "2", "-i", "2ms", "-s", "40", Lab::REMOTE]).output().unwrap();
    let message = String::from_utf8(output.stderr).unwrap();
    let (_, remedy) = message.trim().rsplit_once("use ").unwrap_or_else(|| panic!("no remedy: {message}"));
    stamped(&lab, &remedy.split(' ').collect::<Vec<_>>(), &ALL, "driver-tx/xdp-ingress");
}
