//! A prober on tokio with many probes under way: `cargo run -p instamp --example ping_tokio -- ADDRESS`. It needs no privilege.

use std::{collections::HashMap, env, error::Error, io, net::IpAddr, time::Duration};

use instamp::{DEFAULT_PAYLOAD_LENGTH, Run, correct, strip};
use nix::time::{ClockId, clock_gettime};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::{net::UdpSocket, select, time};

/// Type, code, checksum, identifier, sequence number.
const HEADER: usize = 8;

const PROBES: u16 = 20;

fn now_ns() -> io::Result<u64> {
    let time = Duration::from(clock_gettime(ClockId::CLOCK_MONOTONIC)?);
    u64::try_from(time.as_nanos()).map_err(io::Error::other)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let target: IpAddr = env::args().nth(1).ok_or("usage: ping_tokio ADDRESS")?.parse()?;
    let (domain, protocol, echo_request) = match target {
        IpAddr::V4(_) => (Domain::IPV4, Protocol::ICMPV4, 8),
        IpAddr::V6(_) => (Domain::IPV6, Protocol::ICMPV6, 128),
    };
    let socket = Socket::new(domain, Type::DGRAM, Some(protocol))?;
    socket.set_nonblocking(true)?;
    let socket = UdpSocket::from_std(socket.into())?;
    socket.connect((target, 0)).await?;

    let run = Run::new(DEFAULT_PAYLOAD_LENGTH)?;
    let mut probes = HashMap::new();
    let mut sequence = 0;
    let mut ticks = time::interval(Duration::from_millis(10));
    // A buffer for replies alone: requests have their own.
    let mut reply = [0; HEADER + DEFAULT_PAYLOAD_LENGTH];
    while sequence < PROBES || !probes.is_empty() {
        select! {
            _ = ticks.tick(), if sequence < PROBES => {
                sequence += 1;
                let nonce = rand::random();
                let mut request = [0; HEADER + DEFAULT_PAYLOAD_LENGTH];
                request[0] = echo_request;
                request[6..HEADER].copy_from_slice(&sequence.to_be_bytes());
                run.reserve(&mut request[HEADER..], sequence, nonce)?;
                probes.insert(sequence, (nonce, now_ns()?));
                socket.send(&request).await?;
            }
            received = socket.recv(&mut reply) => {
                let (length, received_ns) = (received?, now_ns()?);
                let Some((header, payload)) = reply[..length].split_first_chunk::<HEADER>() else { continue };
                let sequence = u16::from_be_bytes([header[6], header[7]]);
                let Some(&(nonce, sent_ns)) = probes.get(&sequence) else { continue };
                // A forged reply must not keep the true one from being used.
                let Ok(stripped) = strip(payload, nonce) else { continue };
                probes.remove(&sequence);
                match correct(stripped.records, sent_ns, received_ns) {
                    Ok(of) => println!("{sequence}: rtt {} ns, net {} ns, {}", of.rtt_ns, of.net_ns, of.net_source),
                    Err(reason) => println!("{sequence}: rtt {} ns, uncorrected: {reason}", received_ns - sent_ns),
                }
            }
            () = time::sleep(Duration::from_secs(1)) => break,
        }
    }
    println!("{} without a reply", probes.len());
    Ok(())
}
