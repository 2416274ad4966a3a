//! The crate surge-ping as it is, extended by the trailer: `cargo run -p instamp --example surge_ping -- IPV4-ADDRESS`, with `CAP_NET_RAW`.
//!
//! It sends any payload, matches replies and keeps the time for them, but gives back no payload. The kernel delivers a copy of each reply
//! to every raw ICMP socket: the stamps are in those.

use std::{
    env,
    error::Error,
    io,
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use instamp::{Correction, DEFAULT_PAYLOAD_LENGTH, Run, Uncorrected, correct, strip};
use nix::time::{ClockId, clock_gettime};
use pnet_packet::{Packet as _, icmp::echo_reply::EchoReplyPacket, ipv4::Ipv4Packet};
use socket2::{Domain, Protocol, Socket, Type};
use surge_ping::{Client, Config, PingIdentifier, PingSequence};
use tokio::{join, net::UdpSocket, time::timeout};

const PATIENCE: Duration = Duration::from_secs(1);

fn now_ns() -> io::Result<u64> {
    let time = Duration::from(clock_gettime(ClockId::CLOCK_MONOTONIC)?);
    u64::try_from(time.as_nanos()).map_err(io::Error::other)
}

/// Awaits the copy of the reply with this nonce.
async fn stamps(copies: &UdpSocket, nonce: u64, sent_ns: u64) -> io::Result<Result<Correction, Uncorrected>> {
    let mut packet = [0; 1 << 12];
    loop {
        let length = copies.recv(&mut packet).await?;
        let received_ns = now_ns()?;
        let Some(ip) = Ipv4Packet::new(&packet[..length]) else { continue };
        let Some(reply) = EchoReplyPacket::new(ip.payload()) else { continue };
        let Ok(stripped) = strip(reply.payload(), nonce) else { continue };
        return Ok(correct(stripped.records, sent_ns, received_ns));
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let target: Ipv4Addr = env::args().nth(1).ok_or("usage: surge_ping IPV4-ADDRESS")?.parse()?;
    let copies = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::ICMPV4))?;
    copies.set_nonblocking(true)?;
    let copies = UdpSocket::from_std(copies.into())?;
    let client = Client::new(&Config::default())?;
    let mut pinger = client.pinger(IpAddr::V4(target), PingIdentifier(rand::random())).await;
    pinger.timeout(PATIENCE);

    let run = Run::new(DEFAULT_PAYLOAD_LENGTH)?;
    for sequence in 1..=5 {
        let nonce = rand::random();
        let mut payload = [0; DEFAULT_PAYLOAD_LENGTH];
        run.reserve(&mut payload, sequence, nonce)?;
        let sent_ns = now_ns()?;
        let stamps = timeout(PATIENCE, stamps(&copies, nonce, sent_ns));
        let (answer, stamps) = join!(pinger.ping(PingSequence(sequence), &payload), stamps);
        match (answer, stamps) {
            (Err(error), _) => println!("{sequence}: {error}"),
            (Ok((_, rtt)), Ok(Ok(Ok(of)))) => {
                println!(
                    "{sequence}: {rtt:?} by surge-ping, rtt {} ns, net {} ns, {}",
                    of.rtt_ns, of.net_ns, of.net_source
                );
            }
            (Ok((_, rtt)), Ok(Ok(Err(reason)))) => println!("{sequence}: {rtt:?} by surge-ping, uncorrected: {reason}"),
            (Ok((_, rtt)), Ok(Err(error))) => println!("{sequence}: {rtt:?} by surge-ping, no copy: {error}"),
            (Ok((_, rtt)), Err(_)) => println!("{sequence}: {rtt:?} by surge-ping, no copy came"),
        }
    }
    Ok(())
}
