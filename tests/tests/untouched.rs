//! What passes the hooks as it came: the probes of strangers, and everything that is no probe.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream, UdpSocket},
    thread,
    time::Duration,
};

use instamp_tests::{
    lab::Lab,
    packets::{Frame, TARGET4},
    ping::{Run, number},
    privilege::{root, tool},
};
use rand::{RngCore as _, SeedableRng as _, rngs::SmallRng};

const CONTAINER: &str = "172.29.0.2";
const CONTAINER6: &str = "fd17:29::2";
const PROBES: u64 = 20;

/// Probes, as these tests send them.
fn probes(lab: &Lab, role: &str, destination: &str, options: &[&str]) -> Run {
    let count = PROBES.to_string();
    Run::new(lab, role, &[&["-c", &count, "-i", "2ms", destination], options].concat())
}

/// Every probe was answered, and no hook has written into it.
#[track_caller]
fn unstamped(run: &Run) {
    assert_eq!([run.count("received"), run.count("corrected")], [PROBES, 0], "{run:?}");
    for reply in run.replies() {
        assert_eq!(reply["uncorrected"], "no-stamps", "{reply}");
        assert_eq!(reply["stamps"].as_array().unwrap().len(), 0, "{reply}");
    }
}

/// Makes a router of the host: it translates no addresses, and lets everybody through.
fn route(lab: &Lab) {
    lab.run("host", "nft", &["delete", "table", "inet", "lab"]);
    lab.run("remote", "ip", &["route", "add", "172.29.0.0/24", "via", "10.99.0.1"]);
    lab.run("remote", "ip", &["-6", "route", "add", "fd17:29::/64", "via", "fd10:99::1"]);
}

#[test]
fn the_probes_of_strangers_in_transit() {
    let (Some(()), Some(())) = (root(), tool("ip")) else { return };
    for ingress in ["xdp", "tc"] {
        let lab = Lab::up(&[]);
        route(&lab);
        // To respond to somebody is no leave to stamp what he sends to others.
        let respond = ["--respond", "0.0.0.0/0", "--respond", "::/0"];
        lab.attach("host", &[&["--dev", Lab::NIC, "--ingress", ingress], &respond[..]].concat());
        for (role, destination) in
            [("remote", CONTAINER), ("remote", CONTAINER6), ("c1", Lab::REMOTE), ("c1", Lab::REMOTE6)]
        {
            unstamped(&probes(&lab, role, destination, &[]));
        }
        for hook in lab.counters("host", Lab::NIC) {
            assert_eq!((hook.stamped, hook.refused["policy"]), (0, 4 * PROBES), "{hook:?}");
        }
        // What routed containers send is the host's own where it is told so.
        let sources = ["--source", "172.29.0.0/24", "--source", "fd17:29::/64"];
        lab.attach("host", &[&["--dev", Lab::NIC, "--update"], &sources[..]].concat());
        // What was not given has stayed; and is told as it was given, though the host's own addresses lie in it too.
        let status = lab.instamp("host").arg("status").output().unwrap();
        let status = String::from_utf8(status.stdout).unwrap();
        let told = |label: &str| {
            let line = status.lines().find_map(|line| line.trim_start().strip_prefix(label));
            line.unwrap_or_else(|| panic!("{label}: {status}")).trim().to_owned()
        };
        assert_eq!(told("source "), "172.29.0.0/24, fd17:29::/64");
        assert_eq!(told("respond "), "0.0.0.0/0, ::/0");
        assert!(told("own ").contains("10.99.0.1/32"), "{status}");
        for destination in [Lab::REMOTE, Lab::REMOTE6] {
            probes(&lab, "c1", destination, &[]).all_corrected(PROBES);
        }
        // Requests to them are then requests to the host.
        lab.attach("host", &["--dev", Lab::NIC, "--update", "--respond", "192.0.2.0/24"]);
        unstamped(&probes(&lab, "remote", CONTAINER, &[]));
    }
}

/// The far end has hooks too. Whom it does not respond to, it tells nothing.
#[test]
fn foreign_requests_without_respond() {
    let Some(()) = root() else { return };
    let lab = Lab::up(&[]);
    lab.attach("host", &["--dev", Lab::NIC, "--ingress", "xdp", "--node", "1"]);
    for ingress in ["xdp", "tc"] {
        lab.attach("remote", &["--dev", "eth0", "--ingress", ingress, "--node", "2"]);
        for destination in [Lab::REMOTE, Lab::REMOTE6] {
            let run = probes(&lab, "c1", destination, &[]);
            run.all_corrected(PROBES);
            for reply in run.replies() {
                assert_eq!((nodes(reply), number(reply, "remote_ns")), (vec![1, 1, 1], 0), "{reply}");
            }
        }
        for hook in lab.counters("remote", "eth0") {
            assert_eq!((hook.stamped, hook.refused["policy"]), (0, 2 * PROBES), "{hook:?}");
        }

        lab.attach("remote", &["--dev", "eth0", "--update", "--node", "2", "--respond", "10.99.0.1/32"]);
        let run = probes(&lab, "c1", Lab::REMOTE, &[]);
        run.all_corrected(PROBES);
        for reply in run.replies() {
            assert_eq!(nodes(reply), [1, 2, 2, 1], "{reply}");
            assert_eq!([clock(reply, 1), clock(reply, 2)], ["tai", "tai"], "{reply}");
            assert!(number(reply, "remote_ns") > 0, "{reply}");
        }
        // Only those that it was told to.
        let run = probes(&lab, "c1", Lab::REMOTE6, &[]);
        run.all_corrected(PROBES);
        assert!(run.replies().iter().all(|reply| nodes(reply) == [1, 1, 1]), "{run:?}");
        lab.detach("remote", "eth0");
    }
}

fn nodes(reply: &serde_json::Value) -> Vec<i64> {
    reply["stamps"].as_array().unwrap().iter().map(|stamp| number(stamp, "node")).collect()
}

fn clock(reply: &serde_json::Value, stamp: usize) -> &str {
    reply["stamps"][stamp]["clock"].as_str().unwrap()
}

/// A lab with hooks on both devices of the host that a container's packets pass.
fn hooked(mtu: &str, uplink: &str, container: &str) -> Lab {
    let lab = Lab::up(&["--mtu", mtu]);
    lab.attach("host", &["--dev", Lab::NIC, "--ingress", uplink]);
    let sources = ["--source", CONTAINER, "--source", CONTAINER6];
    lab.attach("host", &[&["--dev", "veth-c1", "--point", "1", "--ingress", container], &sources[..]].concat());
    lab
}

/// They have seen packets, and stamped none, for a reason of these.
#[track_caller]
fn nothing_stamped(lab: &Lab, reasons: &[&str]) {
    for hook in [Lab::NIC, "veth-c1"].iter().flat_map(|device| lab.all_counters("host", device)) {
        assert_eq!(hook.stamped, 0, "{hook:?}");
        for (reason, count) in &hook.refused {
            let is_expected = !hook.is_of_late_stamps() && reasons.contains(&&**reason);
            assert_eq!(*count > 0, is_expected, "{reason} {count}: {hook:?}");
        }
    }
}

/// Its ping compares what comes back with what it sent.
fn pings(lab: &Lab, sizes: &[&str]) {
    for destination in [Lab::REMOTE, Lab::REMOTE6] {
        for size in sizes {
            let text = lab.run("c1", "ping", &["-n", "-c", "5", "-i", "0.002", "-s", size, destination]);
            assert!(text.contains("5 received, 0% packet loss"), "{text}");
            assert!(!text.contains("wrong data"), "{text}");
        }
    }
}

#[test]
fn ordinary_pings_of_all_sizes_and_fragments() {
    let (Some(()), Some(())) = (root(), tool("ping")) else { return };
    for (uplink, container) in [("xdp", "tc"), ("tc", "xdp")] {
        let lab = hooked("1500", uplink, container);
        pings(&lab, &["0", "1", "15", "16", "40", "55", "56", "63", "64", "65", "1451", "1452", "1472", "4000"]);
        for destination in [Lab::REMOTE, Lab::REMOTE6] {
            unstamped(&probes(&lab, "c1", destination, &["-s", "4000"]));
        }
        nothing_stamped(&lab, &["not-echo", "no-trailer", "fragment"]);
    }
}

#[test]
fn ordinary_pings_in_jumbo_frames() {
    let (Some(()), Some(())) = (root(), tool("ping")) else { return };
    for (uplink, container) in [("xdp", "tc"), ("tc", "xdp")] {
        let lab = hooked("9000", uplink, container);
        pings(&lab, &["56", "3501", "8951", "8952"]);
        nothing_stamped(&lab, &["not-echo", "no-trailer"]);
    }
}

/// Random bytes with trailers of probes among them and at their end.
fn payload(random: &mut SmallRng, length: usize) -> Vec<u8> {
    let probe = Frame::request(TARGET4, TARGET4).bytes();
    let mut bytes = vec![0; length];
    random.fill_bytes(&mut bytes);
    for chunk in bytes.rchunks_mut(700) {
        let length = probe.len().min(chunk.len());
        let start = chunk.len() - length;
        chunk[start..].copy_from_slice(&probe[probe.len() - length..]);
    }
    bytes
}

/// Sends through TCP, gets it back, and compares.
fn by_tcp(lab: &Lab, address: &str, bytes: &[u8]) {
    let listener = lab.enter("remote", || TcpListener::bind((address, 0)).unwrap());
    let server = listener.local_addr().unwrap();
    let mut client = lab.enter("c1", || TcpStream::connect(server).unwrap());
    let mut peer = listener.accept().unwrap().0;
    let returned = thread::scope(|scope| {
        scope.spawn(|| {
            let mut arrived = vec![0; bytes.len()];
            peer.read_exact(&mut arrived).unwrap();
            assert!(arrived == bytes, "changed on the way out");
            peer.write_all(&arrived).unwrap();
        });
        client.write_all(bytes).unwrap();
        let mut returned = vec![0; bytes.len()];
        client.read_exact(&mut returned).unwrap();
        returned
    });
    assert!(returned == bytes, "changed on the way back");
}

/// The same through UDP; long datagrams are fragmented.
fn by_udp(lab: &Lab, address: &str, datagrams: &[Vec<u8>]) {
    let socket = |role, address: &str| {
        let socket = lab.enter(role, || UdpSocket::bind((address, 0)).unwrap());
        socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        socket
    };
    let server = socket("remote", address);
    let client = socket("c1", if address.contains(':') { CONTAINER6 } else { CONTAINER });
    client.connect(server.local_addr().unwrap()).unwrap();
    let mut buffer = vec![0; 1 << 16];
    for datagram in datagrams {
        client.send(datagram).unwrap();
        let (length, peer) = server.recv_from(&mut buffer).unwrap();
        assert_eq!(buffer[..length], datagram[..], "changed on the way out");
        server.send_to(datagram, peer).unwrap();
        let length = client.recv(&mut buffer).unwrap();
        assert_eq!(buffer[..length], datagram[..], "changed on the way back");
    }
}

#[test]
fn tcp_and_udp() {
    let Some(()) = root() else { return };
    let mut random = SmallRng::seed_from_u64(1);
    let stream = payload(&mut random, 4 << 20);
    let datagrams: Vec<_> = (0..4000).step_by(19).map(|length| payload(&mut random, length)).collect();
    for (uplink, container) in [("xdp", "tc"), ("tc", "xdp")] {
        let lab = hooked("1500", uplink, container);
        for address in [Lab::REMOTE, Lab::REMOTE6] {
            by_tcp(&lab, address, &stream);
            by_udp(&lab, address, &datagrams);
        }
        nothing_stamped(&lab, &["not-echo", "fragment"]);
    }
}
