//! Echo messages of both versions of ICMP.

use std::net::IpAddr;

/// The length of an echo message's header in bytes.
pub(crate) const HEADER_LENGTH: usize = 8;

const PROTOCOL_ICMP: u8 = 1;

/// The version of ICMP ([RFC 792](https://www.rfc-editor.org/rfc/rfc792), [RFC 4443](https://www.rfc-editor.org/rfc/rfc4443)).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Version {
    V4,
    V6,
}

impl Version {
    pub(crate) const fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }

    /// The type of an echo request.
    pub(crate) const fn request(self) -> u8 {
        match self {
            Self::V4 => 8,
            Self::V6 => 128,
        }
    }

    /// The type of an echo reply.
    pub(crate) const fn reply(self) -> u8 {
        match self {
            Self::V4 => 0,
            Self::V6 => 129,
        }
    }

    /// The largest payload of a packet without options or extension headers, in bytes.
    pub(crate) const fn max_payload(self) -> usize {
        match self {
            Self::V4 => 65_535 - 20 - HEADER_LENGTH,
            Self::V6 => 65_535 - HEADER_LENGTH,
        }
    }
}

/// An echo message taken apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Echo<'a> {
    pub(crate) identifier: u16,
    pub(crate) sequence: u16,
    pub(crate) payload: &'a [u8],
}

impl<'a> Echo<'a> {
    /// Reads a message of this type, or `None` where `message` is something else.
    pub(crate) fn parse(message: &'a [u8], kind: u8) -> Option<Self> {
        let ([found, 0, _, _, i0, i1, s0, s1], payload) = message.split_first_chunk::<HEADER_LENGTH>()? else {
            return None;
        };
        let (identifier, sequence) = (u16::from_be_bytes([*i0, *i1]), u16::from_be_bytes([*s0, *s1]));
        (*found == kind).then_some(Self { identifier, sequence, payload })
    }
}

/// The header of an echo request. The kernel overwrites checksum and identifier where they are its own business.
pub(crate) const fn request_header(
    version: Version,
    checksum: u16,
    identifier: u16,
    sequence: u16,
) -> [u8; HEADER_LENGTH] {
    let [c0, c1] = checksum.to_be_bytes();
    let [i0, i1] = identifier.to_be_bytes();
    let [s0, s1] = sequence.to_be_bytes();
    [version.request(), 0, c0, c1, i0, i1, s0, s1]
}

/// The time to live and the message of an IPv4 packet, as raw sockets deliver it.
pub(crate) fn parse_ipv4(packet: &[u8]) -> Option<(u8, &[u8])> {
    let header: &[u8; 20] = packet.first_chunk()?;
    let length = usize::from(header[0] & 0xf) * 4;
    let (ttl, protocol) = (header[8], header[9]);
    if header[0] >> 4 != 4 || length < header.len() || protocol != PROTOCOL_ICMP {
        return None;
    }
    Some((ttl, packet.get(length..)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_what_it_writes() {
        for version in [Version::V4, Version::V6] {
            let header = request_header(version, 0xbeef, 0x1234, 0xfffe);
            let message = [&header[..], b"payload"].concat();
            let echo = Echo::parse(&message, version.request()).expect("an echo request");
            assert_eq!(echo, Echo { identifier: 0x1234, sequence: 0xfffe, payload: b"payload" });
            assert_eq!(Echo::parse(&message, version.reply()), None);
            assert_eq!(Echo::parse(&message[..7], version.request()), None);
        }
    }

    #[test]
    fn other_codes_are_no_echo() {
        assert_eq!(Echo::parse(&[0, 1, 0, 0, 0, 0, 0, 0], 0), None);
    }

    #[test]
    fn skips_the_ip_header_and_its_options() {
        let mut packet = [0; 28];
        packet[0] = 0x46;
        packet[8] = 63;
        packet[9] = PROTOCOL_ICMP;
        assert_eq!(parse_ipv4(&packet), Some((63, &[0; 4][..])));
        assert_eq!(parse_ipv4(&packet[..23]), None);
        packet[0] = 0x44;
        assert_eq!(parse_ipv4(&packet), None);
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes: Vec<u8>) {
            if let Some((_, message)) = parse_ipv4(&bytes) {
                let _ = Echo::parse(message, 0);
            }
            let _ = Echo::parse(&bytes, 129);
        }
    }
}
