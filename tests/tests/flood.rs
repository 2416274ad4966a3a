//! Under load every reply that arrives is corrected.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::{
    io::{BufRead as _, BufReader, Read as _},
    process::{Child, ChildStdout, Output, Stdio},
};

use instamp_tests::{lab::Lab, ping::Run, privilege::root};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

const FLOODING: usize = 25;
const PROBES: u64 = 300;

/// A flood of probes from one container.
struct Flood {
    ping: Child,
    output: BufReader<ChildStdout>,
}

impl Flood {
    fn start(lab: &Lab, container: &str, destination: &str) -> Self {
        let mut command = lab.instamp(container);
        // The end is for tests that fail: they interrupt nothing.
        command.args(["ping", "--json", "-q", "-i", "0", "-w", "60", destination]).stdout(Stdio::piped());
        let mut ping = command.spawn().unwrap();
        let output = BufReader::new(ping.stdout.take().unwrap());
        Self { ping, output }
    }

    /// Returns when it has begun.
    fn wait(&mut self) {
        let mut first = String::new();
        self.output.read_line(&mut first).unwrap();
        assert!(first.contains("start"), "{first}");
    }

    fn stop(mut self) -> Run {
        kill(Pid::from_raw(self.ping.id().try_into().unwrap()), Signal::SIGINT).unwrap();
        let mut stdout = Vec::new();
        self.output.read_to_end(&mut stdout).unwrap();
        Run::from(Output { status: self.ping.wait().unwrap(), stdout, stderr: Vec::new() })
    }
}

/// One container measures, and the others flood.
fn all_corrected(ingress: &str, destination: &str) {
    let Some(()) = root() else { return };
    let lab = Lab::up(&["--containers", &(FLOODING + 1).to_string()]);
    lab.attach("host", &["--dev", Lab::NIC, "--ingress", ingress]);
    let mut floods: Vec<_> =
        (2..).take(FLOODING).map(|number| Flood::start(&lab, &format!("c{number}"), destination)).collect();
    floods.iter_mut().for_each(Flood::wait);

    let run = Run::new(&lab, "c1", &["-c", &PROBES.to_string(), "-i", "2ms", destination]);
    let [sent, received, corrected] = ["sent", "received", "corrected"].map(|name| run.count(name));
    assert_eq!((sent, corrected), (PROBES, received), "{} {}", run.summary(), run.messages);
    // Those that the load leaves: without it, the test says nothing.
    assert!(received > PROBES / 2, "{}", run.summary());

    let floods: Vec<_> = floods.into_iter().map(Flood::stop).collect();
    let total: u64 = floods.iter().map(|flood| flood.count("received")).sum();
    println!("{ingress}: {received} of {sent} measured, {total} replies to the flood");
    for (number, flood) in (2..).zip(floods) {
        assert!(flood.count("received") > 0, "c{number} did not flood");
        assert_eq!(flood.count("corrected"), flood.count("received"), "c{number}");
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
