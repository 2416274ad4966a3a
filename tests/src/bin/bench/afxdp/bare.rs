//! The limit: a loop over an AF_XDP socket that sends one and the same probe, and counts what comes back.

use std::{
    net::IpAddr,
    os::fd::AsFd as _,
    time::{Duration, Instant},
};

use aya::{
    EbpfLoader,
    maps::XskMap,
    programs::{Xdp, XdpMode},
};
use instamp_tests::{built::REDIRECT, lab::Lab, packets::Frame};
use instamp_xsk::{Channel, Config};
use nix::net::if_::if_nametoindex;

use super::wire::Wire;

/// As many as `instamp probe` without a rate writes before it tells the kernel.
const BATCH: usize = 32;
/// As many as it takes at once.
const RECEIVED_AT_ONCE: usize = 64;

/// Sends for `duration`, and returns how many came back.
pub(super) fn round_trips(lab: &Lab, wire: &Wire, duration: Duration) -> u64 {
    let frame = frame(wire);
    lab.enter("host", || {
        let mut ebpf = EbpfLoader::new().load(&REDIRECT.newest()).expect("the program that redirects");
        let ifindex = if_nametoindex(Lab::NIC).expect("the card");
        let mut channel = Channel::open(ifindex, 0, &Config::default()).expect("a channel");
        let mut sockets: XskMap<_> = ebpf.map_mut("SOCKETS").expect("a map").try_into().expect("an XSKMAP");
        sockets.set(0, channel.as_fd(), 0).expect("a socket");
        let program: &mut Xdp = ebpf.program_mut("redirect").expect("a program").try_into().expect("an XDP program");
        program.load().expect("the verifier takes it");
        program.attach(Lab::NIC, XdpMode::Driver).expect("attached");
        turn(&mut channel, &frame, duration)
    })
}

fn turn(channel: &mut Channel, frame: &[u8], duration: Duration) -> u64 {
    let mut received = 0;
    let started = Instant::now();
    while started.elapsed() < duration {
        for _ in 0..BATCH {
            if !channel.write(frame.len(), |bytes| bytes.copy_from_slice(frame)) {
                break;
            }
        }
        channel.submit().expect("the device is up");
        received += channel.receive(RECEIVED_AT_ONCE, |_| {}) as u64;
    }
    received
}

/// A request as `instamp probe` sends it, of the same length.
fn frame(wire: &Wire) -> Vec<u8> {
    let address = |text: &str| -> IpAddr { text.parse().expect("an address") };
    let mut frame = Frame::request(address(&wire.host_address), address(Lab::REMOTE)).bytes();
    frame[..6].copy_from_slice(&wire.remote_mac);
    frame[6..12].copy_from_slice(&wire.host_mac);
    frame
}
