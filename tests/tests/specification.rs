//! The examples of docs/trailer.md are what the stamping routine makes.

use std::{fmt::Write as _, net::IpAddr, path::Path};

use instamp_tests::packets::{Frame, PROBER4, PROBER6, TARGET4, TARGET6};
use instamp_tests::programs::site;
use instamp_trailer::{Address, Clock, Hook, Host, Site, Standing, checksum, locate, stamp};

/// The stamping host of the examples, at one moment.
struct Example {
    own: IpAddr,
    time_ns: u64,
}

impl Host for Example {
    fn site(&self) -> Option<Site> {
        Some(Site { point: 0, ..site() })
    }

    fn standing(&self, address: Address) -> Standing {
        if address == self.own.into() { Standing::OWN } else { Standing::STRANGER }
    }

    fn now_ns(&self, _: Clock) -> Option<u64> {
        Some(self.time_ns)
    }
}

/// The frame as the document has it: sixteen bytes a line behind their offset.
fn dump(frame: &[u8]) -> String {
    let mut text = String::new();
    for (number, line) in frame.chunks(16).enumerate() {
        let bytes: Vec<String> = line.iter().map(|byte| format!("{byte:02x}")).collect();
        writeln!(text, "{:04x}  {}", number * 16, bytes.join(" ")).expect("a string grows");
    }
    text
}

/// A probe on its way: as its sender made it, behind the host's egress hook, as the reply arrives, behind its ingress hook.
fn way(own: IpAddr, target: IpAddr) -> [(&'static str, Vec<u8>); 4] {
    let sent = Frame::request(own, target).bytes();
    let mut left = sent.clone();
    let stamping = |frame: &mut Vec<u8>, hook, time_ns| {
        stamp(frame.as_mut_slice(), &Example { own, time_ns }, hook).expect("stamped");
    };
    stamping(&mut left, Hook::TC_EGRESS, 2_146_667_437_131);
    let mut arrived = echo(&left);
    let reply = arrived.clone();
    stamping(&mut arrived, Hook::XDP_INGRESS, 2_146_667_448_473);
    [("sent", sent), ("left", left), ("reply", reply), ("arrived", arrived)]
}

/// What an ordinary host makes of an echo request.
fn echo(request: &[u8]) -> Vec<u8> {
    let probe = locate(request).expect("a probe");
    let mut reply = request.to_vec();
    let message = usize::try_from(probe.message_offset).expect("an offset");
    let ip = usize::try_from(probe.ip_offset).expect("an offset");
    let (addresses, length) = if probe.ip_version == 4 { (12, 4) } else { (8, 16) };
    for byte in 0..length {
        reply.swap(ip + addresses + byte, ip + addresses + length + byte);
    }
    for byte in 0..6 {
        reply.swap(byte, byte + 6);
    }
    let old = u16::from_be_bytes([reply[message], reply[message + 1]]);
    reply[message] = if probe.ip_version == 4 { 0 } else { 129 };
    let new = u16::from_be_bytes([reply[message], reply[message + 1]]);
    // RFC 1624, equation 3.
    let sum = !u16::from_be_bytes([reply[message + 2], reply[message + 3]]);
    let sum = !checksum::add(checksum::add(sum, !old), new);
    reply[message + 2..message + 4].copy_from_slice(&sum.to_be_bytes());
    reply
}

#[test]
fn the_examples_are_what_the_routine_makes() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/trailer.md");
    let document = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    for (own, target) in [(PROBER4, TARGET4), (PROBER6, TARGET6)] {
        for (name, frame) in way(own, target) {
            let dump = dump(&frame);
            assert!(document.contains(&dump), "docs/trailer.md has not this frame, {name} by {own}:\n{dump}");
        }
    }
}
