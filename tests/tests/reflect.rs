//! A far end that answers by XDP: its share of a round trip is told apart, and only those whom it allows get an answer by it.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    process::{Child, ChildStdout, Stdio},
};

use instamp_tests::{
    lab::Lab,
    ping::{Run, number},
    privilege::root,
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;

/// The device of the remote.
const DEVICE: &str = "eth0";
const FOR_ALL: [&str; 4] = ["--allow", "10.99.0.0/24", "--allow", "fd10:99::/64"];

/// A reflector at the remote.
struct Reflector {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Reflector {
    fn start(lab: &Lab, options: &[&str]) -> Self {
        let mut command = lab.instamp("remote");
        command.args(["reflect", "--json", "--dev", DEVICE, "--node", "9"]).args(options);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("instamp reflect");
        let lines = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut reflector = Self { child, lines };
        assert_eq!(reflector.line()["type"], "start");
        reflector
    }

    fn line(&mut self) -> Value {
        let mut line = String::new();
        self.lines.read_line(&mut line).expect("a line");
        serde_json::from_str(&line).unwrap_or_else(|_| panic!("no JSON: {line:?}"))
    }

    /// Ends it, and returns its counts.
    fn end(mut self) -> Value {
        kill(Pid::from_raw(self.child.id().cast_signed()), Signal::SIGTERM).expect("its own process");
        let summary = self.line();
        assert!(self.child.wait().expect("its end").success());
        summary
    }
}

/// What the kernel answers by itself is not answered.
fn silence_the_stack(lab: &Lab) {
    lab.enter("remote", || {
        for version in ["ipv4/icmp_echo_ignore_all", "ipv6/icmp/echo_ignore_all"] {
            fs::write(format!("/proc/sys/net/{version}"), "1").expect("a setting");
        }
    });
}

#[test]
fn the_remote_s_share_is_told_apart_and_both_ways_too() {
    let Some(()) = root() else { return };
    let lab = Lab::up(&[]);
    silence_the_stack(&lab);
    lab.attach("host", &["--dev", Lab::NIC, "--ingress", "xdp", "--node", "7"]);
    let reflector = Reflector::start(&lab, &FOR_ALL);
    for target in [Lab::REMOTE, Lab::REMOTE6] {
        for options in [&["--transport", "socket", "-s", "88", "--cap", "6"][..], &["--transport", "afxdp"]] {
            let run = Run::new(&lab, "host", &[options, &["--clock", "tai", "-c", "20", "-i", "2ms", target]].concat());
            run.all_corrected(20);
            for reply in run.replies() {
                let [net, remote, forward, backward] =
                    ["net_ns", "remote_ns", "forward_ns", "backward_ns"].map(|name| number(reply, name));
                assert!(remote > 0, "{reply}");
                // Both hosts are this one: the ways are positive and add up, but for how wrong the clocks' readings are.
                let bound = number(reply, "one_way_bound_ns");
                assert!(forward > -bound && backward > -bound, "{reply}");
                assert!((forward + backward - net).abs() <= 2 * bound, "{reply}");
                let hooks: Vec<&str> = reply["stamps"]
                    .as_array()
                    .expect("stamps")
                    .iter()
                    .filter(|stamp| stamp["node"] == 9)
                    .map(|stamp| stamp["hook"].as_str().expect("text"))
                    .collect();
                assert_eq!(hooks, ["xdp-ingress", "xdp-tx"], "{reply}");
            }
        }
    }
    let summary = reflector.end();
    assert_eq!([&summary["stamped"], &summary["full"]], [80, 0], "{summary}");
}

#[test]
fn who_is_not_allowed_or_asks_too_often_is_answered_by_the_stack() {
    let Some(()) = root() else { return };
    let lab = Lab::up(&[]);
    lab.attach("host", &["--dev", Lab::NIC, "--ingress", "xdp", "--node", "7"]);
    let others = Reflector::start(&lab, &["--allow", "192.0.2.0/24"]);
    let run = Run::new(&lab, "host", &["-c", "20", "-i", "1ms", Lab::REMOTE]);
    run.all_corrected(20);
    assert!(run.replies().iter().all(|reply| number(reply, "remote_ns") == 0), "{run:?}");
    let summary = others.end();
    assert_eq!([&summary["stamped"], &summary["not_allowed"]], [0, 20], "{summary}");

    let limited = Reflector::start(&lab, &["--allow", "10.99.0.0/24", "--rate", "1", "--burst", "5"]);
    let run = Run::new(&lab, "host", &["-c", "20", "-i", "1ms", Lab::REMOTE]);
    run.all_corrected(20);
    let reflected = run.replies().iter().filter(|reply| number(reply, "remote_ns") != 0).count();
    let summary = limited.end();
    // Another second may have begun.
    assert!((5..20).contains(&reflected), "{summary}");
    assert_eq!(summary["stamped"], reflected, "{summary}");
    assert_eq!(summary["limited"], 20 - reflected, "{summary}");
}

#[test]
fn a_flood_from_outside_of_the_allowed_leaves_the_stack_at_work() {
    let Some(()) = root() else { return };
    let lab = Lab::up(&["--containers", "2"]);
    lab.run("host", "ip", &["address", "add", "10.99.0.9/24", "dev", Lab::NIC]);
    // Replies by XDP come through a veth to an end that has an XDP program.
    lab.attach("host", &["--dev", Lab::NIC, "--ingress", "xdp", "--node", "7"]);
    let reflector = Reflector::start(&lab, &["--allow", "10.99.0.9"]);
    // Probes of an address that is not allowed, at full speed; and one prober whose address is.
    let mut flood = lab.instamp("host");
    flood.args(["probe", "-q", "--json", "--special", "--dev", Lab::NIC, "--rate", "0", "-c", "200000", Lab::REMOTE]);
    let flood = flood.stdout(Stdio::piped()).spawn().expect("instamp probe");
    let allowed = Run::new(&lab, "host", &["-I", "10.99.0.9", "-c", "100", "-i", "5ms", Lab::REMOTE]);
    let unallowed = Run::new(&lab, "c1", &["-c", "100", "-i", "5ms", Lab::REMOTE]);
    // A full queue loses packets of all alike.
    let received = [allowed.count("received"), unallowed.count("received")];
    assert!(received.iter().all(|received| *received >= 90), "{received:?}");
    let flood = Run::from(flood.wait_with_output().expect("its end"));
    assert_eq!((flood.count("sent"), flood.count("forged")), (200_000, 0), "{flood:?}");
    let summary = reflector.end();
    let [stamped, not_allowed] = ["stamped", "not_allowed"].map(|name| summary[name].as_u64().expect("a count"));
    assert!((received[0]..=100).contains(&stamped), "{summary}");
    assert!(not_allowed >= flood.count("received"), "{summary}");
}

#[test]
fn a_device_reflects_and_probes_at_the_same_time() {
    let Some(()) = root() else { return };
    let lab = Lab::up(&[]);
    lab.attach("host", &["--dev", Lab::NIC, "--ingress", "xdp", "--node", "7"]);
    lab.attach("remote", &["--dev", DEVICE, "--ingress", "xdp", "--node", "9"]);
    let reflector = Reflector::start(&lab, &FOR_ALL);
    let status = lab.instamp("remote").args(["status"]).output().expect("instamp status");
    let status = String::from_utf8(status.stdout).expect("text");
    assert!(status.contains(&format!("process {} (instamp)", reflector.child.id())), "{status}");

    // From the remote, whose own replies the same program stamps, by sockets and past the stack.
    let host = "10.99.0.1";
    Run::new(&lab, "remote", &["-c", "20", "-i", "1ms", host]).all_corrected(20);
    let options = ["probe", "--json", "--special", "--dev", DEVICE, "-c", "100", "-r", "1000", host];
    Run::of(lab.instamp("remote").args(options)).all_probed(100);
    // And to it.
    Run::probe(&lab, &["-c", "100", "-r", "1000", Lab::REMOTE]).all_probed(100);
    assert_eq!(reflector.end()["stamped"], 100);
    Run::new(&lab, "remote", &["-c", "20", "-i", "1ms", host]).all_corrected(20);
}

#[test]
fn the_status_tells_of_a_reflector_on_a_device_that_is_not_attached() {
    let Some(()) = root() else { return };
    let lab = Lab::up(&[]);
    let status = |options: &[&str]| {
        let output = lab.instamp("remote").arg("status").args(options).output().expect("instamp status");
        String::from_utf8(output.stdout).expect("text")
    };
    let reflector = Reflector::start(&lab, &["--allow", "10.99.0.0/24"]);
    let process = reflector.child.id();
    let text = status(&[]);
    assert!(text.starts_with(&format!("{DEVICE}: not attached\n")), "{text}");
    assert!(text.contains(&format!("process {process} (instamp), in tai: ")), "{text}");
    assert!(text.ends_with("10.99.0.0/24\n"), "{text}");
    let json: Value = serde_json::from_str(&status(&["--json"])).expect("one line of JSON");
    assert_eq!((&json["device"], &json["hooks"]), (&DEVICE.into(), &Value::Array(Vec::new())), "{json}");
    let told = &json["reflector"];
    assert_eq!((&told["process"], &told["stamped"]), (&process.into(), &0.into()), "{json}");
    reflector.end();
    assert_eq!(status(&[]), "nothing is attached in this network namespace\n");
}

#[test]
fn nobody_is_answered_without_being_allowed() {
    let Some(()) = root() else { return };
    let lab = Lab::up(&[]);
    let output = lab.instamp("remote").args(["reflect", "--dev", DEVICE]).output().expect("instamp reflect");
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("--allow"), "{output:?}");
}
