//! From the first byte of a frame to its trailer.

use core::mem::offset_of;

use zerocopy::native_endian::U32;

use crate::{
    Address, Footer, Packet, Phase, Refusal,
    headers::{
        ECHO_HEADER_LENGTH, ETHERTYPE_IPV4, ETHERTYPE_IPV6, Ethernet, Extension, HEADER_FRAGMENT, Icmp, Ipv4, Ipv6,
        PROTOCOL_ICMP, PROTOCOL_ICMPV6, Vlan, is_extension, is_vlan,
    },
    wire::FOOTER_LENGTH,
};

/// At most this many VLAN tags are skipped.
const MAX_VLAN_TAGS: u32 = 2;
/// At most this many IPv6 extension headers are skipped: RFC 8200 section 4.1 allows four of the kinds that are, the
/// rest is room for senders that repeat one.
const MAX_EXTENSIONS: u32 = 6;

#[expect(clippy::cast_possible_truncation, reason = "16")]
const FOOTER: u32 = FOOTER_LENGTH as u32;

/// Where the parts of a probe lie in its packet: all were found there, and the trailer is whole.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Probe {
    /// Request or reply.
    pub phase: Phase,
    /// The version of IP: 4 or 6.
    pub ip_version: u8,
    /// The offset of the IP header.
    pub ip_offset: u32,
    /// The offset of the ICMP message.
    pub message_offset: u32,
    /// The offset of the footer, which ends the message.
    pub footer_offset: u32,
}

/// One end of a packet's way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// Where it comes from.
    Source,
    /// Where it goes to.
    Destination,
}

impl Probe {
    /// The address of one end, or `None` where it is one that no packet may have: an IPv4 address mapped into an IPv6 one.
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "headers are a few bytes long")]
    pub fn address<P: Packet + ?Sized>(&self, packet: &P, end: End) -> Option<Address> {
        if self.ip_version == 4 {
            let header = match end {
                End::Source => offset_of!(Ipv4, source),
                End::Destination => offset_of!(Ipv4, destination),
            };
            let word = packet.view::<U32>(self.ip_offset + header as u32)?;
            Some(Address::mapped(word.get()))
        } else {
            let header = match end {
                End::Source => offset_of!(Ipv6, source),
                End::Destination => offset_of!(Ipv6, destination),
            };
            let [a, b, c, d] = *packet.view::<[U32; 4]>(self.ip_offset + header as u32)?;
            Address::of_ipv6([a.get(), b.get(), c.get(), d.get()])
        }
    }

    /// The end that sent the request and gets the reply.
    #[inline(always)]
    pub const fn prober(&self) -> End {
        match self.phase {
            Phase::Request => End::Source,
            Phase::Reply => End::Destination,
        }
    }

    /// The end that gets the request and sends the reply.
    #[inline(always)]
    pub const fn target(&self) -> End {
        match self.phase {
            Phase::Request => End::Destination,
            Phase::Reply => End::Source,
        }
    }
}

/// Finds the probe in an Ethernet frame with up to two VLAN tags.
///
/// # Errors
///
/// Why the frame is no probe, or one that must not be stamped.
#[inline(always)]
pub fn locate<P: Packet + ?Sized>(packet: &P) -> Result<Probe, Refusal> {
    let mut ethertype = packet.view::<Ethernet>(0).ok_or(Refusal::Truncated)?.ethertype.get();
    let mut offset = length_of::<Ethernet>();
    let mut tags = 0;
    while is_vlan(ethertype) && tags < MAX_VLAN_TAGS {
        ethertype = packet.view::<Vlan>(offset).ok_or(Refusal::Truncated)?.ethertype.get();
        offset += length_of::<Vlan>();
        tags += 1;
    }
    match ethertype {
        ETHERTYPE_IPV4 => locate_ipv4(packet, offset),
        ETHERTYPE_IPV6 => locate_ipv6(packet, offset),
        _ => Err(Refusal::NotEcho),
    }
}

/// Finds the probe in a packet whose IP header, of either version, lies at `offset`.
///
/// # Errors
///
/// Why the packet is no probe, or one that must not be stamped.
pub fn locate_network<P: Packet + ?Sized>(packet: &P, offset: u32) -> Result<Probe, Refusal> {
    let first = *packet.view::<u8>(offset).ok_or(Refusal::Truncated)?;
    match first >> 4 {
        4 => locate_ipv4(packet, offset),
        6 => locate_ipv6(packet, offset),
        _ => Err(Refusal::NotEcho),
    }
}

#[inline(always)]
fn locate_ipv4<P: Packet + ?Sized>(packet: &P, ip_offset: u32) -> Result<Probe, Refusal> {
    let header = packet.view::<Ipv4>(ip_offset).ok_or(Refusal::Truncated)?;
    let header_length = header.header_length().ok_or(Refusal::NotEcho)?;
    if header.protocol != PROTOCOL_ICMP {
        return Err(Refusal::NotEcho);
    }
    if header.is_fragment() {
        return Err(Refusal::Fragment);
    }
    let length = u32::from(header.total_length.get()).checked_sub(header_length).ok_or(Refusal::Truncated)?;
    let message = Message { offset: ip_offset + header_length, length };
    let (phase, footer_offset) = message.check(packet, 8, 0)?;
    Ok(Probe { phase, ip_version: 4, ip_offset, message_offset: message.offset, footer_offset })
}

#[inline(always)]
fn locate_ipv6<P: Packet + ?Sized>(packet: &P, ip_offset: u32) -> Result<Probe, Refusal> {
    let header = packet.view::<Ipv6>(ip_offset).ok_or(Refusal::Truncated)?;
    if !header.is_ipv6() {
        return Err(Refusal::NotEcho);
    }
    let first_extension = ip_offset + length_of::<Ipv6>();
    let mut next = header.next_header;
    let mut skipped = 0;
    let mut headers = 0;
    while is_extension(next) && headers < MAX_EXTENSIONS {
        let extension = packet.view::<Extension>(first_extension + skipped).ok_or(Refusal::Truncated)?;
        next = extension.next_header;
        skipped += extension.length();
        headers += 1;
    }
    match next {
        PROTOCOL_ICMPV6 => {}
        HEADER_FRAGMENT => return Err(Refusal::Fragment),
        _ => return Err(Refusal::NotEcho),
    }
    let length = u32::from(header.payload_length.get()).checked_sub(skipped).ok_or(Refusal::Truncated)?;
    let message = Message { offset: first_extension + skipped, length };
    let (phase, footer_offset) = message.check(packet, 128, 129)?;
    Ok(Probe { phase, ip_version: 6, ip_offset, message_offset: message.offset, footer_offset })
}

/// An ICMP message: where it starts in the packet, and how long it is by the IP header.
struct Message {
    offset: u32,
    length: u32,
}

impl Message {
    /// The phase and the offset of the footer, if this is an echo message of the given types that ends in a trailer.
    #[inline(always)]
    fn check<P: Packet + ?Sized>(&self, packet: &P, request: u8, reply: u8) -> Result<(Phase, u32), Refusal> {
        let icmp = packet.view::<Icmp>(self.offset).ok_or(Refusal::Truncated)?;
        let phase = match icmp.kind {
            kind if kind == request => Phase::Request,
            kind if kind == reply => Phase::Reply,
            _ => return Err(Refusal::NotEcho),
        };
        if icmp.code != 0 {
            return Err(Refusal::NotEcho);
        }
        let payload = self.length.checked_sub(ECHO_HEADER_LENGTH).ok_or(Refusal::Truncated)?;
        let before = payload.checked_sub(FOOTER).ok_or(Refusal::NoTrailer)?;
        let footer_offset = self.offset + ECHO_HEADER_LENGTH + before;
        packet.view::<Footer>(footer_offset).ok_or(Refusal::Truncated)?.check(payload)?;
        Ok((phase, footer_offset))
    }
}

#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "headers are a few bytes long")]
const fn length_of<T>() -> u32 {
    size_of::<T>() as u32
}
