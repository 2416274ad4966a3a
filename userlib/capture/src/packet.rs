//! What a captured packet is: a probe with all that it carries, an echo message that is none, or something else.

use std::{fmt, net::IpAddr};

use instamp_trailer::{Phase, Record, Refusal, Trailer, locate_network, wire::FOOTER_LENGTH};
use pnet_packet::{
    icmp::{self, echo_request::EchoRequestPacket},
    icmpv6,
    ipv4::Ipv4Packet,
    ipv6::Ipv6Packet,
};

use crate::Frame;

/// What a packet is.
#[derive(Debug)]
pub enum Decoded<'a> {
    /// A probe.
    Probe(Probe<'a>),
    /// An echo message, or a fragment that may be of one, that the hooks leave alone.
    Refused(Refused),
    /// Something else.
    Other,
}

/// An echo message that carries a trailer.
#[derive(Clone, Copy, Debug)]
pub struct Probe<'a> {
    /// From its IP header.
    pub addresses: Addresses,
    /// Request or reply.
    pub phase: Phase,
    /// The message's identifier.
    pub identifier: u16,
    /// The message's sequence number.
    pub sequence: u16,
    /// The message's checksum.
    pub checksum: u16,
    /// Whether it is what the message's bytes add up to.
    pub checksum_valid: bool,
    /// What it carries.
    pub trailer: Trailer<'a>,
}

impl Probe<'_> {
    /// The records in the order in which they were written.
    pub fn records(&self) -> &[Record] {
        self.trailer.records
    }
}

/// An echo message that is no probe.
#[derive(Clone, Copy, Debug)]
pub struct Refused {
    /// From its IP header.
    pub addresses: Addresses,
    /// Why it is none.
    pub refusal: Refusal,
}

/// From where to where.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Addresses {
    /// Of the sender.
    pub source: IpAddr,
    /// Of the receiver.
    pub destination: IpAddr,
}

impl fmt::Display for Addresses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} > {}", self.source, self.destination)
    }
}

/// Says what the packet of `frame` is.
pub fn decode<'a>(frame: &Frame<'a>) -> Decoded<'a> {
    try_decode(frame).unwrap_or(Decoded::Other)
}

fn try_decode<'a>(frame: &Frame<'a>) -> Option<Decoded<'a>> {
    let offset = frame.link.network_offset(frame.bytes)?;
    let network = frame.bytes.get(offset..)?;
    let probe = match locate_network(network, 0) {
        Ok(probe) => probe,
        Err(Refusal::NotEcho) => return None,
        Err(refusal) => return Some(Decoded::Refused(Refused { addresses: addresses(network)?, refusal })),
    };
    let addresses = addresses(network)?;
    let end = probe.footer_offset as usize + FOOTER_LENGTH;
    let message = network.get(probe.message_offset as usize..end)?;
    let echo = EchoRequestPacket::new(message)?;
    let checksum = echo.get_checksum();
    let trailer = match Trailer::parse(message.get(EchoRequestPacket::minimum_packet_size()..)?) {
        Ok(trailer) => trailer,
        Err(refusal) => return Some(Decoded::Refused(Refused { addresses, refusal })),
    };
    Some(Decoded::Probe(Probe {
        addresses,
        phase: probe.phase,
        identifier: echo.get_identifier(),
        sequence: echo.get_sequence_number(),
        checksum,
        checksum_valid: same_sum(checksum, expected_checksum(message, addresses)?),
        trailer,
    }))
}

fn addresses(network: &[u8]) -> Option<Addresses> {
    match network.first()? >> 4 {
        4 => {
            let header = Ipv4Packet::new(network)?;
            Some(Addresses { source: header.get_source().into(), destination: header.get_destination().into() })
        }
        6 => {
            let header = Ipv6Packet::new(network)?;
            Some(Addresses { source: header.get_source().into(), destination: header.get_destination().into() })
        }
        _ => None,
    }
}

fn expected_checksum(message: &[u8], addresses: Addresses) -> Option<u16> {
    match (addresses.source, addresses.destination) {
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            Some(icmpv6::checksum(&icmpv6::Icmpv6Packet::new(message)?, &source, &destination))
        }
        _ => Some(icmp::checksum(&icmp::IcmpPacket::new(message)?)),
    }
}

/// Whether two checksums are the same number: 0 and 0xffff are.
fn same_sum(a: u16, b: u16) -> bool {
    a % 0xffff == b % 0xffff
}
