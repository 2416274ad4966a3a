//! Whose clock a stamp was read from, and whose it is compared with.
#![expect(clippy::unwrap_used, reason = "tests")]

use instamp_tests::{
    lab::{Lab, instamp},
    ping::{Run, number},
    privilege::{root, tool},
};

const PROBES: u64 = 20;
const OPTIONS: [&str; 6] = ["-c", "20", "-i", "2ms", "-W", "5"];

fn ping(lab: &Lab, destination: &str) -> Run {
    Run::new(lab, "c1", &[&OPTIONS[..], &[destination]].concat())
}

/// Every probe was answered, and none corrected, for this reason.
#[track_caller]
fn uncorrected(run: &Run, reason: &str) {
    assert_eq!([run.count("received"), run.count("corrected")], [PROBES, 0], "{run:?}");
    for reply in run.replies() {
        assert_eq!(reply["uncorrected"], reason, "{reply}");
        for name in ["net_ns", "remote_ns", "tx_stack_ns", "rx_stack_ns", "bound_ns", "net_source"] {
            assert!(reply[name].is_null(), "{name}: {reply}");
        }
    }
}

#[test]
fn a_prober_in_a_time_namespace_is_corrected() {
    let (Some(()), Some(())) = (root(), tool("unshare")) else { return };
    let lab = Lab::up(&[]);
    lab.attach("host", &["--dev", Lab::NIC, "--ingress", "xdp"]);
    for seconds in ["1000", "-2"] {
        for destination in [Lab::REMOTE, Lab::REMOTE6] {
            let mut command = lab.command("c1", "unshare");
            command.args(["--time", "--monotonic", seconds, "--fork"]).arg(instamp().get_program());
            Run::of(command.args(["ping", "--json"]).args(OPTIONS).arg(destination)).all_corrected(PROBES);
        }
    }
}

#[test]
fn a_far_end_may_stamp_in_any_clock() {
    let Some(()) = root() else { return };
    let lab = Lab::up(&[]);
    lab.attach("host", &["--dev", Lab::NIC, "--ingress", "xdp", "--node", "1"]);
    let remote = ["--dev", "eth0", "--node", "2", "--respond", "10.99.0.0/24"];
    lab.attach("remote", &remote);
    for clock in ["tai", "monotonic"] {
        lab.attach("remote", &[&remote[..], &["--update", "--clock", clock]].concat());
        let run = ping(&lab, Lab::REMOTE);
        run.all_corrected(PROBES);
        for reply in run.replies() {
            let clocks: Vec<_> = reply["stamps"].as_array().unwrap().iter().map(|stamp| &stamp["clock"]).collect();
            assert_eq!(clocks, ["monotonic", clock, clock, "monotonic"], "{reply}");
            assert!(number(reply, "remote_ns") > 0, "{reply}");
        }
    }
}

#[test]
fn two_hosts_of_one_number_are_found_out() {
    let Some(()) = root() else { return };
    let lab = Lab::up(&[]);
    lab.attach("host", &["--dev", Lab::NIC, "--ingress", "xdp", "--node", "1"]);
    lab.attach("remote", &["--dev", "eth0", "--node", "1", "--respond", "10.99.0.0/24"]);
    uncorrected(&ping(&lab, Lab::REMOTE), "node-conflict");
}

/// The far end is then the first to stamp the request, as this host would be.
#[test]
fn stamps_of_the_far_end_alone_are_not_taken_for_this_hosts() {
    let Some(()) = root() else { return };
    let lab = Lab::up(&[]);
    lab.attach("remote", &["--dev", "eth0", "--respond", "10.99.0.0/24", "--respond", "fd10:99::/64"]);
    for destination in [Lab::REMOTE, Lab::REMOTE6] {
        uncorrected(&ping(&lab, destination), "clock-mismatch");
    }
}
