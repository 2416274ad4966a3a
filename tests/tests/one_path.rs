//! What load balancers look at stays the same for a whole run, and checksums are right before and behind each hook.

use std::collections::{BTreeMap, BTreeSet};

use instamp_tests::{
    capture::{Capture, ECHOES, Echo, echoes},
    lab::Lab,
    ping::Run,
    privilege::{root, tool},
};

const PROBES: u64 = 50;

/// How many records of the default trailer's four are used.
fn used(echo: &Echo) -> u8 {
    let [.., counts, _, b'I', b'S', b'T', 1] = *echo.payload else { panic!("no trailer: {echo:?}") };
    assert_eq!(counts & 0xf, 4);
    counts >> 4
}

/// What a place saw of a run: of requests, and of replies.
#[derive(Debug)]
struct Seen {
    checksums: BTreeSet<u16>,
    identifiers: BTreeSet<u16>,
    used: BTreeSet<u8>,
    count: u64,
}

fn summarize<'a>(echoes: impl Iterator<Item = &'a Echo> + Clone) -> Seen {
    for echo in echoes.clone() {
        assert!(echo.is_valid, "a wrong checksum: {echo:?}");
    }
    Seen {
        checksums: echoes.clone().map(|echo| echo.checksum).collect(),
        identifiers: echoes.clone().map(|echo| echo.identifier).collect(),
        used: echoes.clone().map(used).collect(),
        count: echoes.count() as u64,
    }
}

/// One run, seen from inside the container, on the network card, and at the far end. `ingress` is told apart by where
/// the stamps of the reply are seen first: captures see packets behind XDP and before TC.
fn a_run(lab: &Lab, ingress: &str, destination: &str, socket: &str) {
    let places = [("c1", "eth0"), ("host", Lab::NIC), ("remote", "eth0")];
    let captures = places.map(|(role, device)| Capture::start(lab, role, device, ECHOES));
    Run::new(lab, "c1", &["-c", &PROBES.to_string(), "-i", "1ms", "--socket", socket, destination])
        .all_corrected(PROBES);
    let seen: BTreeMap<_, _> = places
        .iter()
        .zip(captures)
        .map(|((role, _), capture)| {
            let echoes = echoes(&capture.stop());
            let [requests, replies] =
                [false, true].map(|is_reply| summarize(echoes.iter().filter(|echo| echo.is_reply == is_reply)));
            (*role, [requests, replies])
        })
        .collect();

    let context = format!("{ingress}, {socket} to {destination}: {seen:#?}");
    for direction in seen.values().flatten() {
        assert_eq!(direction.count, PROBES, "{context}");
        assert_eq!(direction.checksums.len(), 1, "{context}");
        assert_eq!(direction.identifiers.len(), 1, "{context}");
    }
    // The hook on the way in writes its own stamp, and that of the driver.
    let behind_ingress = if ingress == "xdp" { 3 } else { 1 };
    let expected = [("c1", [0, 3]), ("host", [1, behind_ingress]), ("remote", [1, 1])];
    for (role, used) in expected {
        for (direction, used) in seen[role].iter().zip(used) {
            assert_eq!(direction.used, BTreeSet::from([used]), "{role}: {context}");
        }
    }
}

fn runs(ingress: &str) {
    let (Some(()), Some(())) = (root(), tool("tcpdump")) else { return };
    let lab = Lab::up(&[]);
    lab.attach("host", &["--dev", Lab::NIC, "--ingress", ingress]);
    for destination in [Lab::REMOTE, Lab::REMOTE6] {
        for socket in ["raw", "dgram"] {
            a_run(&lab, ingress, destination, socket);
        }
    }
}

#[test]
fn a_run_has_one_checksum_and_every_packet_a_right_one_with_xdp() {
    runs("xdp");
}

#[test]
fn a_run_has_one_checksum_and_every_packet_a_right_one_with_tc() {
    runs("tc");
}
