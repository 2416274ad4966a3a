//! Payloads from those that have no room for a trailer to those of jumbo frames.
#![expect(clippy::unwrap_used, reason = "tests")]

use instamp_tests::{lab::Lab, ping::Run, privilege::root};

const PROBES: u64 = 10;

/// A lab that stamps in one of the ways.
fn stamping(mtu: &str, ingress: &str) -> Lab {
    let lab = Lab::up(&["--mtu", mtu]);
    lab.attach("host", &["--dev", Lab::NIC, "--ingress", ingress]);
    lab
}

fn run(lab: &Lab, destination: &str, socket: &str, size: usize, options: &[&str]) -> Run {
    let (count, size) = (PROBES.to_string(), size.to_string());
    let all = ["-c", &count, "-i", "2ms", "-s", &size, "--socket", socket, destination];
    Run::new(lab, "c1", &[&all[..], options].concat())
}

/// Runs on both versions of IP and both kinds of sockets. `most` are the longest payloads that fit into a packet.
fn all_corrected(lab: &Lab, sizes: &[usize], most: [usize; 2]) {
    for (destination, most) in [Lab::REMOTE, Lab::REMOTE6].into_iter().zip(most) {
        for socket in ["raw", "dgram"] {
            for &size in sizes.iter().chain(&[most]) {
                let run = run(lab, destination, socket, size, &[]);
                run.all_corrected(PROBES);
                assert_eq!(run.of_type("start")[0]["payload_bytes"], size);
            }
        }
    }
}

#[test]
fn every_size_that_holds_a_trailer_and_fits_is_corrected() {
    let Some(()) = root() else { return };
    for ingress in ["xdp", "tc"] {
        all_corrected(&stamping("1500", ingress), &[40, 50, 52, 62, 64, 66, 500], [1472, 1452]);
    }
}

/// Such packets may lie in several pieces of memory, and programs see the first without asking.
#[test]
fn jumbo_frames_are_corrected() {
    let Some(()) = root() else { return };
    for ingress in ["xdp", "tc"] {
        all_corrected(&stamping("9000", ingress), &[64, 4000, 4096], [8972, 8952]);
    }
}

#[test]
fn a_payload_without_room_is_an_ordinary_ping() {
    let Some(()) = root() else { return };
    let lab = stamping("1500", "xdp");
    for destination in [Lab::REMOTE, Lab::REMOTE6] {
        for size in [0, 2, 38] {
            let run = run(&lab, destination, "auto", size, &[]);
            assert_eq!([run.count("received"), run.count("corrected")], [PROBES, 0], "{run:?}");
            assert!(run.replies().iter().all(|reply| reply["uncorrected"] == "no-stamps"), "{run:?}");
            assert_eq!(run.code, 0);
        }
    }
}

#[test]
fn odd_sizes_are_refused_with_the_reason() {
    let Some(()) = root() else { return };
    let lab = Lab::up(&[]);
    for size in ["39", "65", "1471"] {
        let output = lab.instamp("c1").args(["ping", "-c", "1", "-s", size, Lab::REMOTE]).output().unwrap();
        let message = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{message}");
        assert!(message.contains("even"), "{message}");
    }
}

#[test]
fn the_cap_is_what_fits_or_what_was_asked_for() {
    let Some(()) = root() else { return };
    let lab = stamping("1500", "xdp");
    lab.attach("host", &["--dev", Lab::NIC, "--update", "--node", "1"]);
    lab.attach("remote", &["--dev", "eth0", "--node", "2", "--respond", "10.99.0.0/24", "--respond", "fd10:99::/64"]);
    // With room for four there are all, with three the request's at the far end, with two none of it.
    for (size, options, stamps) in
        [(64, &[][..], 4), (62, &[], 3), (52, &[], 3), (50, &[], 2), (40, &[], 2), (64, &["--cap", "2"], 2)]
    {
        for destination in [Lab::REMOTE, Lab::REMOTE6] {
            let run = run(&lab, destination, "auto", size, options);
            for reply in run.replies() {
                assert_eq!(reply["stamps"].as_array().unwrap().len(), stamps, "{size} {options:?}: {reply}");
                assert!(reply["uncorrected"].is_null(), "{reply}");
            }
            assert_eq!(run.count("corrected"), PROBES);
        }
    }
}
