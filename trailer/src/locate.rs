//! From the first byte of a frame to its trailer.

use crate::{
    Footer, Packet, Phase, Refusal,
    headers::{
        ECHO_HEADER_LENGTH, ETHERTYPE_IPV4, ETHERTYPE_IPV6, Ethernet, Extension, HEADER_FRAGMENT, Icmp, Ipv4, Ipv6,
        PROTOCOL_ICMP, PROTOCOL_ICMPV6, Vlan, is_extension, is_vlan,
    },
    wire::FOOTER_LENGTH,
};

/// At most this many VLAN tags are skipped.
const MAX_VLAN_TAGS: u32 = 2;
/// At most this many IPv6 extension headers are skipped. RFC 8200 section 4.1 recommends at most one of each kind, two
/// of destination options.
const MAX_EXTENSIONS: u32 = 6;

#[expect(clippy::cast_possible_truncation, reason = "16")]
const FOOTER: u32 = FOOTER_LENGTH as u32;

/// An IPv6 address, or an IPv4 address mapped into one ([RFC 4291 section 2.5.5.2]), in network byte order.
///
/// [RFC 4291 section 2.5.5.2]: https://www.rfc-editor.org/rfc/rfc4291#section-2.5.5.2
pub type Address = [u8; 16];

/// A probe, and where its trailer lies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Probe {
    /// Request or reply.
    pub phase: Phase,
    /// The source address of the packet.
    pub source: Address,
    /// The destination address of the packet.
    pub destination: Address,
    /// The offset of the ICMP message in the packet.
    pub message_offset: u32,
    /// The offset of the footer in the packet.
    pub footer_offset: u32,
    /// The footer, checked.
    pub footer: Footer,
}

/// Finds the probe in an Ethernet frame with up to two VLAN tags.
///
/// # Errors
///
/// Why the frame is no probe, or one that must not be stamped.
#[inline(always)]
pub fn locate<P: Packet + ?Sized>(packet: &P) -> Result<Probe, Refusal> {
    let ethernet: Ethernet = packet.read(0).ok_or(Refusal::NotEcho)?;
    let mut ethertype = ethernet.ethertype.get();
    let mut offset = size_of_u32::<Ethernet>();
    let mut tags = 0;
    while is_vlan(ethertype) && tags < MAX_VLAN_TAGS {
        let vlan: Vlan = packet.read(offset).ok_or(Refusal::NotEcho)?;
        ethertype = vlan.ethertype.get();
        offset += size_of_u32::<Vlan>();
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
    match packet.read::<u8>(offset).ok_or(Refusal::NotEcho)? >> 4 {
        4 => locate_ipv4(packet, offset),
        6 => locate_ipv6(packet, offset),
        _ => Err(Refusal::NotEcho),
    }
}

#[inline(always)]
fn locate_ipv4<P: Packet + ?Sized>(packet: &P, offset: u32) -> Result<Probe, Refusal> {
    let header: Ipv4 = packet.read(offset).ok_or(Refusal::NotEcho)?;
    let length = header.header_length().ok_or(Refusal::NotEcho)?;
    if header.protocol != PROTOCOL_ICMP {
        return Err(Refusal::NotEcho);
    }
    if header.is_fragment() {
        return Err(Refusal::Fragment);
    }
    let length_of_message = u32::from(header.total_length.get()).checked_sub(length).ok_or(Refusal::Truncated)?;
    let message = Message { offset: offset + length, length: length_of_message };
    let (phase, footer) = message.footer(packet, 8, 0)?;
    Ok(message.probe(phase, footer, mapped(header.source), mapped(header.destination)))
}

#[inline(always)]
fn locate_ipv6<P: Packet + ?Sized>(packet: &P, offset: u32) -> Result<Probe, Refusal> {
    let header: Ipv6 = packet.read(offset).ok_or(Refusal::NotEcho)?;
    if !header.is_ipv6() {
        return Err(Refusal::NotEcho);
    }
    let mut next = header.next_header;
    let mut skipped = 0;
    let mut headers = 0;
    while is_extension(next) && headers < MAX_EXTENSIONS {
        let extension: Extension = packet.read(offset + Ipv6::LENGTH + skipped).ok_or(Refusal::NotEcho)?;
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
    let message = Message { offset: offset + Ipv6::LENGTH + skipped, length };
    let (phase, footer) = message.footer(packet, 128, 129)?;
    Ok(message.probe(phase, footer, header.source, header.destination))
}

/// An ICMP message: where it starts in the packet, and how long it is by the IP header.
struct Message {
    offset: u32,
    length: u32,
}

impl Message {
    /// The phase and the footer, if this is an echo message of the given types that ends in a trailer.
    #[inline(always)]
    fn footer<P: Packet + ?Sized>(&self, packet: &P, request: u8, reply: u8) -> Result<(Phase, Footer), Refusal> {
        let icmp: Icmp = packet.read(self.offset).ok_or(Refusal::Truncated)?;
        let phase = match icmp.kind {
            kind if kind == request => Phase::Request,
            kind if kind == reply => Phase::Reply,
            _ => return Err(Refusal::NotEcho),
        };
        if icmp.code != 0 {
            return Err(Refusal::NotEcho);
        }
        let payload = self.length.checked_sub(ECHO_HEADER_LENGTH).ok_or(Refusal::Truncated)?;
        if payload < FOOTER {
            return Err(Refusal::NoTrailer);
        }
        let footer: Footer = packet.read(self.footer_offset()).ok_or(Refusal::Truncated)?;
        footer.check(payload)?;
        Ok((phase, footer))
    }

    /// Of a message that is at least as long as a footer.
    #[inline(always)]
    fn footer_offset(&self) -> u32 {
        self.offset + self.length - FOOTER
    }

    #[inline(always)]
    fn probe(&self, phase: Phase, footer: Footer, source: Address, destination: Address) -> Probe {
        let footer_offset = self.footer_offset();
        Probe { phase, source, destination, message_offset: self.offset, footer_offset, footer }
    }
}

#[inline(always)]
fn mapped(address: [u8; 4]) -> Address {
    let [a, b, c, d] = address;
    [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d]
}

#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "headers are a few bytes long")]
const fn size_of_u32<T>() -> u32 {
    size_of::<T>() as u32
}
