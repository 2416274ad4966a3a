//! The headers between the first byte of a frame and an echo message, as far as they are needed to find the message.

use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned, network_endian::U16};

pub(crate) const ETHERTYPE_IPV4: u16 = 0x0800;
pub(crate) const ETHERTYPE_IPV6: u16 = 0x86dd;
/// 802.1Q tag.
const ETHERTYPE_VLAN: u16 = 0x8100;
/// 802.1ad service tag.
const ETHERTYPE_SERVICE_VLAN: u16 = 0x88a8;

pub(crate) const PROTOCOL_ICMP: u8 = 1;
pub(crate) const PROTOCOL_ICMPV6: u8 = 58;

const HEADER_HOP_BY_HOP: u8 = 0;
const HEADER_ROUTING: u8 = 43;
pub(crate) const HEADER_FRAGMENT: u8 = 44;
const HEADER_DESTINATION: u8 = 60;

/// Ethernet II.
#[derive(FromBytes, Immutable, KnownLayout, Unaligned, Clone, Copy)]
#[repr(C)]
pub(crate) struct Ethernet {
    _addresses: [u8; 12],
    pub(crate) ethertype: U16,
}

/// The tag that follows an EtherType of 802.1Q or 802.1ad.
#[derive(FromBytes, Immutable, KnownLayout, Unaligned, Clone, Copy)]
#[repr(C)]
pub(crate) struct Vlan {
    _control: U16,
    pub(crate) ethertype: U16,
}

#[inline(always)]
pub(crate) fn is_vlan(ethertype: u16) -> bool {
    ethertype == ETHERTYPE_VLAN || ethertype == ETHERTYPE_SERVICE_VLAN
}

/// [RFC 791 section 3.1](https://www.rfc-editor.org/rfc/rfc791#section-3.1).
#[derive(FromBytes, Immutable, KnownLayout, Unaligned, Clone, Copy)]
#[repr(C)]
pub(crate) struct Ipv4 {
    version_and_words: u8,
    _service: u8,
    pub(crate) total_length: U16,
    _identification: U16,
    fragment: U16,
    _time_to_live: u8,
    pub(crate) protocol: u8,
    _checksum: U16,
    pub(crate) source: [u8; 4],
    pub(crate) destination: [u8; 4],
}

impl Ipv4 {
    /// The length of the header with its options, or `None` where this is no IPv4 header.
    #[inline(always)]
    pub(crate) fn header_length(&self) -> Option<u32> {
        let words = self.version_and_words & 0xf;
        (self.version_and_words >> 4 == 4 && words >= 5).then_some(u32::from(words) * 4)
    }

    /// More fragments follow, or this is not the first.
    #[inline(always)]
    pub(crate) fn is_fragment(&self) -> bool {
        self.fragment.get() & 0x3fff != 0
    }
}

/// [RFC 8200 section 3](https://www.rfc-editor.org/rfc/rfc8200#section-3).
#[derive(FromBytes, Immutable, KnownLayout, Unaligned, Clone, Copy)]
#[repr(C)]
pub(crate) struct Ipv6 {
    version_and_class: u8,
    _flow: [u8; 3],
    pub(crate) payload_length: U16,
    pub(crate) next_header: u8,
    _hop_limit: u8,
    pub(crate) source: [u8; 16],
    pub(crate) destination: [u8; 16],
}

impl Ipv6 {
    #[inline(always)]
    pub(crate) fn is_ipv6(&self) -> bool {
        self.version_and_class >> 4 == 6
    }
}

/// The part that the extension headers which may precede an echo message have in common
/// ([RFC 6564 section 4](https://www.rfc-editor.org/rfc/rfc6564#section-4)).
#[derive(FromBytes, Immutable, KnownLayout, Unaligned, Clone, Copy)]
#[repr(C)]
pub(crate) struct Extension {
    pub(crate) next_header: u8,
    /// In units of 8 bytes, the first not counted.
    units: u8,
}

impl Extension {
    #[inline(always)]
    pub(crate) fn length(self) -> u32 {
        (u32::from(self.units) + 1) * 8
    }
}

/// Whether `header` is one that is skipped on the way to the message. An authentication header is not: its sender asked
/// that nothing be changed.
#[inline(always)]
pub(crate) fn is_extension(header: u8) -> bool {
    matches!(header, HEADER_HOP_BY_HOP | HEADER_ROUTING | HEADER_DESTINATION)
}

/// The first four bytes of an ICMP ([RFC 792](https://www.rfc-editor.org/rfc/rfc792)) or ICMPv6
/// ([RFC 4443 section 4.1](https://www.rfc-editor.org/rfc/rfc4443#section-4.1)) message.
#[derive(FromBytes, Immutable, KnownLayout, Unaligned, Clone, Copy)]
#[repr(C)]
pub(crate) struct Icmp {
    pub(crate) kind: u8,
    pub(crate) code: u8,
    _checksum: U16,
}

/// The length of an echo message's header: type, code, checksum, identifier and sequence number.
pub(crate) const ECHO_HEADER_LENGTH: u32 = 8;
