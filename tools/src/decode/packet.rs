//! What a captured packet is: a probe with all that it carries, an echo message that is none, or something else.

use std::net::IpAddr;

use instamp_trailer::{Phase, Record, Refusal, Trailer, locate_network, wire::FOOTER_LENGTH};
use pnet_packet::{
    icmp::{self, echo_request::EchoRequestPacket},
    icmpv6,
    ipv4::Ipv4Packet,
    ipv6::Ipv6Packet,
};

use super::capture::Frame;

/// What a packet is.
pub(super) enum Decoded<'a> {
    Probe(Probe<'a>),
    /// An echo message, or a fragment that may be of one, that the hooks leave alone.
    Refused(Refused),
    Other,
}

pub(super) struct Probe<'a> {
    pub(super) addresses: Addresses,
    pub(super) phase: Phase,
    pub(super) identifier: u16,
    pub(super) sequence: u16,
    pub(super) checksum: u16,
    pub(super) checksum_valid: bool,
    pub(super) trailer: Trailer<'a>,
}

impl Probe<'_> {
    /// The records in the order in which they were written.
    pub(super) fn records(&self) -> &[Record] {
        self.trailer.records
    }
}

pub(super) struct Refused {
    pub(super) addresses: Addresses,
    pub(super) refusal: Refusal,
}

#[derive(Clone, Copy)]
pub(super) struct Addresses {
    pub(super) source: IpAddr,
    pub(super) destination: IpAddr,
}

/// Says what the packet of `frame` is.
pub(super) fn decode<'a>(frame: &Frame<'a>) -> Decoded<'a> {
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
