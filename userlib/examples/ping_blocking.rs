//! A prober on a blocking socket: `cargo run -p instamp --example ping_blocking -- ADDRESS`. It needs no privilege.

use std::{
    env,
    error::Error,
    io,
    net::{IpAddr, UdpSocket},
    time::Duration,
};

use instamp::{DEFAULT_PAYLOAD_LENGTH, Run, correct, strip};
use nix::time::{ClockId, clock_gettime};
use socket2::{Domain, Protocol, Socket, Type};

/// Type, code, checksum, identifier, sequence number.
const HEADER: usize = 8;

fn now_ns() -> io::Result<u64> {
    let time = Duration::from(clock_gettime(ClockId::CLOCK_MONOTONIC)?);
    u64::try_from(time.as_nanos()).map_err(io::Error::other)
}

fn main() -> Result<(), Box<dyn Error>> {
    let target: IpAddr = env::args().nth(1).ok_or("usage: ping_blocking ADDRESS")?.parse()?;
    let (domain, protocol, echo_request) = match target {
        IpAddr::V4(_) => (Domain::IPV4, Protocol::ICMPV4, 8),
        IpAddr::V6(_) => (Domain::IPV6, Protocol::ICMPV6, 128),
    };
    // A datagram socket: the kernel writes identifier and checksum, and delivers the replies to this socket's requests alone.
    let socket = UdpSocket::from(Socket::new(domain, Type::DGRAM, Some(protocol))?);
    socket.connect((target, 0))?;
    socket.set_read_timeout(Some(Duration::from_secs(1)))?;

    let run = Run::new(DEFAULT_PAYLOAD_LENGTH)?;
    for sequence in 1..=5_u16 {
        let nonce = rand::random();
        let mut message = [0; HEADER + DEFAULT_PAYLOAD_LENGTH];
        message[0] = echo_request;
        message[6..HEADER].copy_from_slice(&sequence.to_be_bytes());
        run.reserve(&mut message[HEADER..], sequence, nonce)?;

        let sent_ns = now_ns()?;
        socket.send(&message)?;
        loop {
            let Ok(length) = socket.recv(&mut message) else {
                println!("{sequence}: no reply");
                break;
            };
            let received_ns = now_ns()?;
            // Another nonce is that of an earlier probe, whose reply comes late.
            let Ok(stripped) = strip(message.get(HEADER..length).unwrap_or(&[]), nonce) else { continue };
            match correct(stripped.records, sent_ns, received_ns) {
                Ok(of) => println!("{sequence}: rtt {} ns, net {} ns, {}", of.rtt_ns, of.net_ns, of.net_source),
                Err(reason) => println!("{sequence}: rtt {} ns, uncorrected: {reason}", received_ns - sent_ns),
            }
            break;
        }
    }
    Ok(())
}
