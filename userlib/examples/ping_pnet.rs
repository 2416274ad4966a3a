//! A prober on pnet's raw socket: `cargo run -p instamp --example ping_pnet -- IPV4-ADDRESS`, with `CAP_NET_RAW`.

use std::{env, error::Error, io, net::Ipv4Addr, time::Duration};

use instamp::{DEFAULT_PAYLOAD_LENGTH, Run, correct, strip};
use nix::time::{ClockId, clock_gettime};
use pnet_packet::{
    Packet as _,
    icmp::{
        IcmpTypes,
        echo_reply::EchoReplyPacket,
        echo_request::{EchoRequestPacket, MutableEchoRequestPacket},
    },
    ip::IpNextHeaderProtocols,
};
use pnet_transport::{TransportChannelType::Layer4, TransportProtocol::Ipv4, icmp_packet_iter, transport_channel};

const HEADER: usize = EchoRequestPacket::minimum_packet_size();

fn now_ns() -> io::Result<u64> {
    let time = Duration::from(clock_gettime(ClockId::CLOCK_MONOTONIC)?);
    u64::try_from(time.as_nanos()).map_err(io::Error::other)
}

fn main() -> Result<(), Box<dyn Error>> {
    let target: Ipv4Addr = env::args().nth(1).ok_or("usage: ping_pnet IPV4-ADDRESS")?.parse()?;
    let (mut sender, mut receiver) = transport_channel(1 << 12, Layer4(Ipv4(IpNextHeaderProtocols::Icmp)))?;
    let mut replies = icmp_packet_iter(&mut receiver);

    let identifier = rand::random();
    // Who writes the checksum chooses it, once: that of all requests of the run.
    let checksum = rand::random_range(0x0001..=0xfffe);
    let run = Run::new(DEFAULT_PAYLOAD_LENGTH)?.with_checksum(IcmpTypes::EchoRequest.0, 0, identifier, checksum)?;
    for sequence in 1..=5 {
        let nonce = rand::random();
        let mut payload = [0; DEFAULT_PAYLOAD_LENGTH];
        run.reserve(&mut payload, sequence, nonce)?;
        let mut request =
            MutableEchoRequestPacket::owned(vec![0; HEADER + payload.len()]).ok_or("a packet of no size")?;
        request.set_icmp_type(IcmpTypes::EchoRequest);
        request.set_identifier(identifier);
        request.set_sequence_number(sequence);
        request.set_payload(&payload);
        request.set_checksum(checksum);

        let sent_ns = now_ns()?;
        sender.send_to(request, target.into())?;
        // A raw socket delivers every ICMP message that comes in. Only one of them has the nonce.
        loop {
            let Some((packet, _)) = replies.next_with_timeout(Duration::from_secs(1))? else {
                println!("{sequence}: no reply");
                break;
            };
            let received_ns = now_ns()?;
            let reply = (packet.get_icmp_type() == IcmpTypes::EchoReply).then(|| EchoReplyPacket::new(packet.packet()));
            let Some(reply) = reply.flatten() else { continue };
            let Ok(stripped) = strip(reply.payload(), nonce) else { continue };
            match correct(stripped.records, sent_ns, received_ns) {
                Ok(of) => println!("{sequence}: rtt {} ns, net {} ns, {}", of.rtt_ns, of.net_ns, of.net_source),
                Err(reason) => println!("{sequence}: rtt {} ns, uncorrected: {reason}", received_ns - sent_ns),
            }
            break;
        }
    }
    Ok(())
}
