//! Two witnesses that know nothing of trailers: a capture on the network card, and another program's ping.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::collections::HashMap;

use instamp_tests::{
    capture::{Capture, ECHOES, echoes},
    lab::Lab,
    ping::{Run, net_at_capture, number},
    privilege::{root, tool},
    quantiles::median,
};

/// What the capture saw of each probe, in nanoseconds by sequence number: the reply's time less the request's.
fn net_by_capture(capture: Capture) -> HashMap<u16, i64> {
    let mut requests = HashMap::new();
    let mut net = HashMap::new();
    for echo in echoes(&capture.stop()) {
        let time_ns = i64::try_from(echo.time_ns).unwrap();
        if echo.is_reply {
            let request = requests.remove(&(echo.identifier, echo.sequence)).expect("the request before the reply");
            assert_eq!(net.insert(echo.sequence, time_ns - request), None, "two replies to {}", echo.sequence);
        } else {
            requests.insert((echo.identifier, echo.sequence), time_ns);
        }
    }
    assert!(requests.is_empty(), "requests without reply: {requests:?}");
    net
}

/// The network's share is the capture's between the hooks that are next to it, and less behind them, where the capture itself
/// works; the RTT is not. How near it is, is for benchmarks to measure.
fn agrees_with_the_capture(ingress: &str, destination: &str, count: u64) {
    let lab = Lab::up(&[]);
    lab.attach("host", &["--dev", Lab::NIC, "--ingress", ingress]);
    let capture = Capture::start(&lab, "host", Lab::NIC, ECHOES);
    let run = Run::new(&lab, "c1", &["-c", &count.to_string(), "-i", "1ms", destination]);
    run.all_corrected(count);
    let seen = net_by_capture(capture);
    assert_eq!(seen.len() as u64, count, "the capture saw every probe");

    let (mut net, mut rtt, mut captures) = (Vec::new(), Vec::new(), Vec::new());
    for reply in run.replies() {
        assert_eq!(reply["net_source"], format!("driver-tx/{ingress}-ingress"), "{reply}");
        let seen = seen[&u16::try_from(number(reply, "seq")).unwrap()];
        let at_capture = net_at_capture(reply).unwrap();
        captures.push(at_capture - number(reply, "net_ns"));
        net.push((at_capture - seen).abs());
        rtt.push((number(reply, "rtt_ns") - seen).abs());
    }
    assert!(captures.iter().all(|ns| *ns >= 0), "driver-tx is behind tc-egress: {captures:?}");
    let (net, rtt, captures) = (median(&net), median(&rtt), median(&captures));
    println!(
        "{ingress} {destination}: medians of the differences from the capture: net at its place {net} ns, RTT {rtt} ns; \
         from there to the driver {captures} ns"
    );
    assert!(net * 5 <= rtt, "net differs from the capture by {net} ns, the RTT by {rtt} ns");
}

#[test]
fn net_is_what_a_capture_sees_with_xdp() {
    let (Some(()), Some(())) = (root(), tool("tcpdump")) else { return };
    agrees_with_the_capture("xdp", Lab::REMOTE, 2000);
}

#[test]
fn net_is_what_a_capture_sees_with_tc() {
    let (Some(()), Some(())) = (root(), tool("tcpdump")) else { return };
    agrees_with_the_capture("tc", Lab::REMOTE, 500);
}

#[test]
fn net_is_what_a_capture_sees_of_ipv6() {
    let (Some(()), Some(())) = (root(), tool("tcpdump")) else { return };
    agrees_with_the_capture("xdp", Lab::REMOTE6, 500);
}

/// It checks the payload of each reply, and would say where one differs.
#[test]
fn the_pings_of_others_are_what_they_were() {
    let (Some(()), Some(())) = (root(), tool("ping")) else { return };
    let lab = Lab::up(&[]);
    lab.attach("host", &["--dev", Lab::NIC, "--ingress", "xdp"]);
    for destination in [Lab::REMOTE, Lab::REMOTE6] {
        let mut ping = lab.command("c1", "ping");
        // Its end is a trailer's, but for the counts: five records used of four.
        let output = ping.args(["-n", "-c", "100", "-i", "0.002", "-s", "64", "-p", "4953540149535401", destination]);
        let output = output.output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{text}");
        assert!(text.contains("100 received, 0% packet loss"), "{text}");
        assert!(!text.contains("wrong data"), "{text}");
    }
    for hook in lab.counters("host", Lab::NIC) {
        assert_eq!(hook.stamped, 0, "{hook:?}");
        assert_eq!(hook.refused["counts"], 200, "{hook:?}");
    }
}
