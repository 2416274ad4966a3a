//! Replies that the kernel has carried and hooks have stamped: what `tests/corpus/recorded.tsv` is made of.

use std::net::{IpAddr, SocketAddr, UdpSocket};

use instamp::Run;
use socket2::{Domain, Protocol, Socket, Type};

use super::Reply;
use crate::{lab::Lab, prober::now_ns};

/// From a container: one stamp each way, the usual four, and room for all.
const RECORDS: [u8; 3] = [2, 4, 6];
const PROBES: u16 = 8;
const HEADER: usize = 8;

/// Which devices of the lab are attached to, and how.
const SCENES: [&[(&str, &[&str])]; 7] = [
    &[],
    &[("host", &["--dev", Lab::NIC, "--ingress", "xdp"])],
    &[("host", &["--dev", Lab::NIC, "--ingress", "tc"])],
    &[("host", &["--dev", Lab::NIC, "--ingress", "xdp"]), ("host", CONTAINER)],
    &[("host", &["--dev", Lab::NIC, "--ingress", "tc"]), ("remote", RESPONDER)],
    &[("host", &["--dev", Lab::NIC, "--ingress", "xdp"]), ("host", CONTAINER), ("remote", RESPONDER)],
    &[("remote", RESPONDER)],
];
const CONTAINER: &[&str] = &["--dev", "veth-c1", "--point", "1", "--ingress", "tc"];
const RESPONDER: &[&str] = &["--dev", "eth0", "--node", "9", "--respond", "10.99.0.0/24", "--respond", "fd10:99::/64"];

/// Probes the remote from a container, in labs of its own: without hooks, with those of the uplink by XDP and by TC, with those of
/// the container's device, with a remote that stamps, and with that alone.
///
/// # Panics
///
/// The lab cannot be made, or a reply does not come.
pub fn record() -> Vec<Reply> {
    let mut replies = Vec::new();
    for scene in SCENES {
        let lab = Lab::up(&[]);
        for (role, options) in scene {
            lab.attach(role, options);
        }
        for target in [Lab::REMOTE, Lab::REMOTE6] {
            for records in RECORDS {
                let target = target.parse().expect("an address");
                replies.extend(lab.enter("c1", || probe(target, records)));
            }
        }
    }
    replies
}

fn probe(target: IpAddr, records: u8) -> Vec<Reply> {
    let (domain, protocol, request) = match target {
        IpAddr::V4(_) => (Domain::IPV4, Protocol::ICMPV4, 8),
        IpAddr::V6(_) => (Domain::IPV6, Protocol::ICMPV6, 128),
    };
    let socket = UdpSocket::from(Socket::new(domain, Type::DGRAM, Some(protocol)).expect("an ICMP socket"));
    let length = usize::from(records) * 12 + 16;
    let run = Run::new(length).and_then(|run| run.with_cap(records)).expect("room for a trailer");
    let exchange = |sequence: u16| {
        let nonce = rand::random();
        let mut message = vec![0; HEADER + length];
        message[0] = request;
        message[6..HEADER].copy_from_slice(&sequence.to_be_bytes());
        run.reserve(&mut message[HEADER..], sequence, nonce).expect("a payload of the run");
        let sent_ns = now_ns();
        socket.send_to(&message, SocketAddr::new(target, 0)).expect("send a request");
        let length = socket.recv(&mut message).expect("a reply");
        let received_ns = now_ns();
        Reply { nonce, sent_ns, received_ns, payload: message[HEADER..length].to_vec() }
    };
    (0..PROBES).map(exchange).collect()
}
