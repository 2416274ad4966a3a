//! From the first byte of a captured packet to its IP header.

const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
const VLAN: u16 = 0x8100;
const SERVICE_VLAN: u16 = 0x88a8;
/// As many as the hooks skip.
const MAX_VLAN_TAGS: usize = 2;

/// What the packets of a capture begin with, by the [numbers] that capture files use.
///
/// [numbers]: https://www.tcpdump.org/linktypes.html
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Link {
    /// Ethernet, with up to two VLAN tags.
    Ethernet,
    /// The first version of Linux' "cooked" header, which stands for that of any device.
    Cooked,
    /// The second.
    CookedV2,
    /// No link-layer header.
    Ip,
    /// Another, by its number.
    Other(i32),
}

impl Link {
    /// By the number that a capture file gives.
    pub fn from_number(number: i32) -> Self {
        match number {
            1 => Self::Ethernet,
            101 | 228 | 229 => Self::Ip,
            113 => Self::Cooked,
            276 => Self::CookedV2,
            other => Self::Other(other),
        }
    }

    /// The offset of the IP header in `packet`, or `None` where there is none.
    pub fn network_offset(self, packet: &[u8]) -> Option<usize> {
        let (protocol_offset, mut offset) = match self {
            Self::Ethernet => (12, 14),
            Self::Cooked => (14, 16),
            Self::CookedV2 => (0, 20),
            Self::Ip => return Some(0),
            Self::Other(_) => return None,
        };
        let mut protocol = word(packet, protocol_offset)?;
        for _ in 0..MAX_VLAN_TAGS {
            if protocol != VLAN && protocol != SERVICE_VLAN {
                break;
            }
            protocol = word(packet, offset + 2)?;
            offset += 4;
        }
        (protocol == IPV4 || protocol == IPV6).then_some(offset)
    }
}

/// The 16 bits at `offset`, in network byte order.
fn word(packet: &[u8], offset: usize) -> Option<u16> {
    packet.get(offset..)?.first_chunk().map(|bytes| u16::from_be_bytes(*bytes))
}
