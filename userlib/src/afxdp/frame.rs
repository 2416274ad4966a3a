//! Ethernet frames of echo requests, written, and of echo replies, read: what the kernel's stack does for sockets.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use instamp_trailer::{
    Phase, Record,
    checksum::{add, sum, sum_bytes},
    locate,
    wire::FOOTER_LENGTH,
};
use pnet_packet::{
    ethernet::{EtherTypes, EthernetPacket, MutableEthernetPacket},
    icmp::{
        IcmpTypes,
        echo_reply::EchoReplyPacket,
        echo_request::{EchoRequestPacket, MutableEchoRequestPacket},
    },
    icmpv6::Icmpv6Types,
    ip::IpNextHeaderProtocols,
    ipv4::{Ipv4Flags, Ipv4Packet, MutableIpv4Packet},
    ipv6::{Ipv6Packet, MutableIpv6Packet},
};
use thiserror::Error;

use super::network::Hop;
use crate::{MIN_PAYLOAD_LENGTH, ReserveError, Run, stateless::Wire};

/// The length of an Ethernet header in bytes.
const ETHERNET: usize = EthernetPacket::minimum_packet_size();
/// The length of an IPv4 header without options in bytes.
const IPV4: usize = Ipv4Packet::minimum_packet_size();
/// The length of an IPv6 header in bytes.
const IPV6: usize = Ipv6Packet::minimum_packet_size();
/// The length of an echo message's header in bytes.
const ECHO: usize = EchoReplyPacket::minimum_packet_size();

/// The version of IP of a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Version {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Version {
    /// That of an address.
    pub const fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }

    /// The length of its header in bytes.
    const fn header(self) -> usize {
        match self {
            Self::V4 => IPV4,
            Self::V6 => IPV6,
        }
    }

    /// Type, and code 0, of its echo requests.
    const fn echo_request(self) -> u8 {
        match self {
            Self::V4 => IcmpTypes::EchoRequest.0,
            Self::V6 => Icmpv6Types::EchoRequest.0,
        }
    }
}

/// Why a frame cannot be written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum FrameError {
    /// The payloads of the run have no trailer.
    #[error("a payload of {0} bytes has no room for a trailer: use {MIN_PAYLOAD_LENGTH} or more")]
    NoTrailer(usize),
    /// A packet is at most 65,535 bytes long.
    #[error("a payload of {0} bytes makes a packet too long for IP")]
    TooLong(usize),
    /// The buffer is shorter than the frame.
    #[error("the buffer has {found} bytes, the frame {needed}")]
    Room {
        /// The length of the frame in bytes.
        needed: usize,
        /// The length of the buffer in bytes.
        found: usize,
    },
    /// The template, the source and the target are not of one version of IP.
    #[error("source and target are not of the template's version of IP")]
    Version,
    /// The payload cannot be written.
    #[error(transparent)]
    Reserve(#[from] ReserveError),
}

/// What one frame says that others do not.
#[derive(Clone, Copy, Debug)]
pub struct Probe<'a> {
    /// Where the frame goes, and as whose.
    pub hop: &'a Hop,
    /// The target.
    pub target: IpAddr,
    /// The packet's time to live, or hop limit.
    pub ttl: u8,
    /// The message's identifier.
    pub identifier: u16,
    /// The message's sequence number.
    pub sequence: u16,
    /// The trailer's nonce.
    pub nonce: u64,
    /// The application's stamp: the trailer's first record.
    pub record: &'a Record,
}

/// The frames of a run.
///
/// All have one length and, with the same identifier (and, for IPv6, addresses), one ICMP checksum. IPv4 packets may not be
/// fragmented, so that their identification need not tell them apart, and is 0; flow labels are 0, too.
#[derive(Clone, Debug)]
pub struct Template {
    version: Version,
    run: Run,
    /// A whole frame; what differs is zeros.
    frame: Vec<u8>,
    /// Of the IPv4 header, or of the pseudo header of IPv6, without what differs.
    sum: u16,
}

impl Template {
    /// Frames with payloads of `run`, which are zeros before the trailer.
    ///
    /// # Errors
    ///
    /// [`FrameError::NoTrailer`] or [`FrameError::TooLong`].
    pub fn new(version: Version, run: Run) -> Result<Self, FrameError> {
        let payload = run.length();
        if run.cap().is_none() {
            return Err(FrameError::NoTrailer(payload));
        }
        let too_long = FrameError::TooLong(payload);
        let message = u16::try_from(ECHO + payload).map_err(|_| too_long)?;
        let packet = u16::try_from(IPV4 + ECHO + payload).map_err(|_| too_long)?;
        let mut frame = vec![0; ETHERNET + version.header() + ECHO + payload];
        let sum = match version {
            Version::V4 => fill_v4(&mut frame, packet),
            Version::V6 => fill_v6(&mut frame, message),
        };
        let sum = sum.ok_or(too_long)?;
        if let Some(kind) = frame.get_mut(ETHERNET + version.header()) {
            *kind = version.echo_request();
        }
        Ok(Self { version, run, frame, sum })
    }

    /// The length of its frames in bytes, without the check sequence that the card adds.
    pub fn length(&self) -> usize {
        self.frame.len()
    }

    /// Writes the frame of a probe to the start of `buffer`, and returns its length in bytes.
    ///
    /// # Errors
    ///
    /// [`FrameError::Room`] or [`FrameError::Version`].
    pub fn write(&self, buffer: &mut [u8], probe: &Probe<'_>) -> Result<usize, FrameError> {
        let needed = self.frame.len();
        let room = FrameError::Room { needed, found: buffer.len() };
        let frame = buffer.get_mut(..needed).ok_or(room)?;
        frame.copy_from_slice(&self.frame);
        let checksum = match (self.version, probe.hop.source, probe.target) {
            (Version::V4, IpAddr::V4(source), IpAddr::V4(target)) => self.write_v4(frame, probe, source, target),
            (Version::V6, IpAddr::V6(source), IpAddr::V6(target)) => self.write_v6(frame, probe, source, target),
            _ => return Err(FrameError::Version),
        };
        let checksum = checksum.ok_or(room)?;

        let (_, message) = frame.split_at_mut(ETHERNET + self.version.header());
        let (header, payload) = message.split_at_mut(ECHO);
        self.run.reserve_sent(payload, probe.sequence, probe.nonce, probe.record)?;
        let mut message = MutableEchoRequestPacket::new(header).ok_or(room)?;
        message.set_checksum(checksum);
        message.set_identifier(probe.identifier);
        message.set_sequence_number(probe.sequence);

        let mut ethernet = MutableEthernetPacket::new(frame).ok_or(room)?;
        ethernet.set_source(probe.hop.source_mac.into());
        ethernet.set_destination(probe.hop.destination_mac.into());
        Ok(needed)
    }

    /// Writes what differs into the IPv4 header, and returns the message's checksum.
    fn write_v4(&self, frame: &mut [u8], probe: &Probe<'_>, source: Ipv4Addr, target: Ipv4Addr) -> Option<u16> {
        let mut packet = MutableIpv4Packet::new(frame.get_mut(ETHERNET..)?)?;
        packet.set_source(source);
        packet.set_destination(target);
        packet.set_ttl(probe.ttl);
        let addresses = add(sum_bytes(&source.octets()), sum_bytes(&target.octets()));
        packet.set_checksum(!add(add(self.sum, addresses), u16::from_be_bytes([probe.ttl, 0])));
        self.run.checksum(self.version.echo_request(), 0, probe.identifier)
    }

    /// Writes what differs into the IPv6 header, and returns the message's checksum.
    fn write_v6(&self, frame: &mut [u8], probe: &Probe<'_>, source: Ipv6Addr, target: Ipv6Addr) -> Option<u16> {
        let mut packet = MutableIpv6Packet::new(frame.get_mut(ETHERNET..)?)?;
        packet.set_source(source);
        packet.set_destination(target);
        packet.set_hop_limit(probe.ttl);
        let addresses = add(sum_bytes(&source.octets()), sum_bytes(&target.octets()));
        let message = self.run.checksum(self.version.echo_request(), 0, probe.identifier)?;
        Some(!add(!message, add(self.sum, addresses)))
    }
}

/// Writes the headers for packets of `length` bytes, and returns the sum of the IPv4 header.
fn fill_v4(frame: &mut [u8], length: u16) -> Option<u16> {
    MutableEthernetPacket::new(frame)?.set_ethertype(EtherTypes::Ipv4);
    let mut packet = MutableIpv4Packet::new(frame.get_mut(ETHERNET..)?)?;
    packet.set_version(4);
    packet.set_header_length(5);
    packet.set_total_length(length);
    packet.set_flags(Ipv4Flags::DontFragment);
    packet.set_next_level_protocol(IpNextHeaderProtocols::Icmp);
    Some(sum_bytes(frame.get(ETHERNET..ETHERNET + IPV4)?))
}

/// Writes the headers for messages of `length` bytes, and returns the sum of the pseudo header.
fn fill_v6(frame: &mut [u8], length: u16) -> Option<u16> {
    MutableEthernetPacket::new(frame)?.set_ethertype(EtherTypes::Ipv6);
    let mut packet = MutableIpv6Packet::new(frame.get_mut(ETHERNET..)?)?;
    packet.set_version(6);
    packet.set_payload_length(length);
    packet.set_next_header(IpNextHeaderProtocols::Icmpv6);
    Some(sum([length, IpNextHeaderProtocols::Icmpv6.0.into()]))
}

/// An echo reply as it came in a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EchoReply<'a> {
    /// Who sent it.
    pub source: IpAddr,
    /// Whom it was sent to.
    pub destination: IpAddr,
    /// The packet's time to live, or hop limit.
    pub ttl: u8,
    /// The message's identifier.
    pub identifier: u16,
    /// The message's sequence number.
    pub sequence: u16,
    /// What follows the sequence number, without what pads short frames.
    pub payload: &'a [u8],
}

/// The number of the probe in a frame that a [`Template`] wrote.
pub(crate) fn wire_of(frame: &[u8]) -> Option<Wire> {
    let header = match EthernetPacket::new(frame)?.get_ethertype() {
        EtherTypes::Ipv4 => IPV4,
        EtherTypes::Ipv6 => IPV6,
        _ => return None,
    };
    let message = EchoRequestPacket::new(frame.get(ETHERNET + header..)?)?;
    Some(Wire { identifier: message.get_identifier(), sequence: message.get_sequence_number() })
}

/// The echo reply with a trailer in a frame; `None` for other frames, fragments, what is cut off, and messages whose checksum is
/// wrong. It is found where hooks find it, behind VLAN tags and extension headers too. The checksum of IPv4's header is left to the
/// routers on the way.
pub fn parse(frame: &[u8]) -> Option<EchoReply<'_>> {
    let probe = locate(frame).ok().filter(|probe| probe.phase == Phase::Reply)?;
    let [ip, message, footer] =
        [probe.ip_offset, probe.message_offset, probe.footer_offset].map(|offset| usize::try_from(offset).ok());
    let packet = frame.get(ip?..)?;
    let message = frame.get(message?..footer? + FOOTER_LENGTH)?;
    let (source, destination, ttl, pseudo) = match probe.ip_version {
        4 => {
            let packet = Ipv4Packet::new(packet)?;
            (packet.get_source().into(), packet.get_destination().into(), packet.get_ttl(), 0)
        }
        _ => {
            let packet = Ipv6Packet::new(packet)?;
            let (source, destination) = (packet.get_source(), packet.get_destination());
            let addresses = add(sum_bytes(&source.octets()), sum_bytes(&destination.octets()));
            let length = u16::try_from(message.len()).ok()?;
            let pseudo = add(addresses, sum([length, IpNextHeaderProtocols::Icmpv6.0.into()]));
            (source.into(), destination.into(), packet.get_hop_limit(), pseudo)
        }
    };
    let (header, payload) = message.split_at_checked(ECHO)?;
    let header = EchoReplyPacket::new(header)?;
    let is_valid = add(pseudo, sum_bytes(message)) == 0xffff;
    let (identifier, sequence) = (header.get_identifier(), header.get_sequence_number());
    is_valid.then_some(EchoReply { source, destination, ttl, identifier, sequence, payload })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Bound, Clock, DEFAULT_PAYLOAD_LENGTH, Hook, Phase, strip};
    use proptest::{collection::vec, prelude::*};

    /// By RFC 1071, in the plainest way: the sum of a message with its checksum is all ones.
    fn is_valid(parts: &[&[u8]]) -> bool {
        let bytes = parts.concat();
        let words = bytes.chunks(2).map(|word| u64::from(word[0]) << 8 | u64::from(word.get(1).copied().unwrap_or(0)));
        let mut total: u64 = words.sum();
        while total > 0xffff {
            total = (total & 0xffff) + (total >> 16);
        }
        total == 0xffff
    }

    /// The parts that the checksum of the message covers.
    fn covered(frame: &[u8]) -> Vec<Vec<u8>> {
        let packet = &frame[ETHERNET..];
        if packet[0] >> 4 == 4 {
            return vec![packet[IPV4..].to_vec()];
        }
        let length = u32::try_from(packet.len() - IPV6).expect("short").to_be_bytes();
        vec![packet[8..40].to_vec(), length.to_vec(), vec![0, 0, 0, 58], packet[IPV6..].to_vec()]
    }

    fn message_is_valid(frame: &[u8]) -> bool {
        let parts = covered(frame);
        is_valid(&parts.iter().map(Vec::as_slice).collect::<Vec<_>>())
    }

    /// What the target makes of a request.
    fn answered(request: &[u8]) -> Vec<u8> {
        let mut reply = request.to_vec();
        let (kind, at) = if reply[ETHERNET] >> 4 == 4 { (0, ETHERNET + IPV4) } else { (129, ETHERNET + IPV6) };
        reply[at] = kind;
        reply[at + 2..at + 4].fill(0);
        let sum = covered(&reply).iter().fold(0, |total, part| add(total, sum_bytes(part)));
        reply[at + 2..at + 4].copy_from_slice(&(!sum).to_be_bytes());
        reply
    }

    #[derive(Clone, Debug)]
    struct Case {
        hop: Hop,
        target: IpAddr,
        run: Run,
        ttl: u8,
        identifier: u16,
        sequence: u16,
        nonce: u64,
        record: Record,
    }

    impl Case {
        fn template(&self) -> Template {
            Template::new(Version::of(self.target), self.run).expect("a template")
        }

        fn probe(&self) -> Probe<'_> {
            Probe {
                hop: &self.hop,
                target: self.target,
                ttl: self.ttl,
                identifier: self.identifier,
                sequence: self.sequence,
                nonce: self.nonce,
                record: &self.record,
            }
        }

        fn frame(&self) -> Vec<u8> {
            let template = self.template();
            // What was in the buffer before does not show.
            let mut buffer = vec![0xa5; template.length() + 7];
            let length = template.write(&mut buffer, &self.probe()).expect("a frame");
            buffer.truncate(length);
            buffer
        }
    }

    fn cases() -> impl Strategy<Value = Case> {
        let addresses = prop_oneof![
            any::<[Ipv4Addr; 2]>().prop_map(|pair| pair.map(IpAddr::V4)),
            any::<[Ipv6Addr; 2]>().prop_map(|pair| pair.map(IpAddr::V6)),
        ];
        let probe = (any::<u8>(), any::<u16>(), any::<u16>(), any::<u64>(), any::<u64>());
        (addresses, any::<[[u8; 6]; 2]>(), 20_usize..200, probe).prop_map(
            |([source, target], [source_mac, destination_mac], words, (ttl, identifier, sequence, nonce, time_ns))| {
                let record = Record::new(Phase::Request, 0, Hook::APP_TX, 7, Clock::MONOTONIC, Bound::UNKNOWN, time_ns);
                let hop = Hop { source, source_mac, destination_mac };
                let run = Run::new(2 * words).expect("even");
                Case { hop, target, run, ttl, identifier, sequence, nonce, record }
            },
        )
    }

    proptest! {
        #[test]
        fn what_is_written_is_valid_and_reads_back(case in cases()) {
            let frame = case.frame();
            prop_assert!(message_is_valid(&frame));
            if frame[ETHERNET] >> 4 == 4 {
                prop_assert!(is_valid(&[&frame[ETHERNET..ETHERNET + IPV4]]));
            }
            prop_assert_eq!(&frame[..12], [case.hop.destination_mac, case.hop.source_mac].concat());
            prop_assert_eq!(parse(&frame), None, "a request");

            let mut reply = answered(&frame);
            let length = reply.len();
            // Short frames are padded.
            reply.resize(length + 9, 0x77);
            let read = parse(&reply).expect("a reply");
            prop_assert_eq!((read.source, read.destination), (case.hop.source, case.target), "not exchanged here");
            prop_assert_eq!((read.ttl, read.identifier, read.sequence), (case.ttl, case.identifier, case.sequence));
            prop_assert_eq!(read.payload.len(), case.run.length());
            prop_assert_eq!(strip(read.payload, case.nonce).expect("a trailer").records, [case.record]);
            for length in 0..length {
                prop_assert_eq!(parse(&reply[..length]), None);
            }
        }

        #[test]
        fn a_run_has_one_checksum(case in cases(), sequence: u16, nonce: u64) {
            let other = Case { sequence, nonce, ..case.clone() };
            let at = ETHERNET + Version::of(case.target).header();
            prop_assert_eq!(&case.frame()[at..at + 4], &other.frame()[at..at + 4]);
        }

        #[test]
        fn a_flipped_bit_of_the_message_is_refused(case in cases()) {
            let reply = answered(&case.frame());
            let at = ETHERNET + Version::of(case.target).header();
            for bit in at * 8..reply.len() * 8 {
                let mut flipped = reply.clone();
                flipped[bit / 8] ^= 0x80 >> (bit % 8);
                prop_assert_eq!(parse(&flipped), None, "bit {}", bit);
            }
        }

        #[test]
        fn whatever_comes_does_not_panic(mut frame in vec(any::<u8>(), 0..200), ip in prop_oneof![Just([8, 0]), Just([0x86, 0xdd])]) {
            let _ = parse(&frame);
            if let Some(kind) = frame.get_mut(12..14) {
                kind.copy_from_slice(&ip);
            }
            let _ = parse(&frame);
        }

        #[test]
        fn whatever_becomes_of_a_reply_does_not_panic(case in cases(), changes in vec((0_usize..60, any::<u8>()), 1..5)) {
            let mut reply = answered(&case.frame());
            for (at, byte) in changes {
                reply[at] = byte;
                let _ = parse(&reply);
            }
        }
    }

    #[test]
    fn fragments_are_refused() {
        let hop = Hop { source: Ipv4Addr::LOCALHOST.into(), source_mac: [0; 6], destination_mac: [0; 6] };
        let case = Case {
            hop,
            target: Ipv4Addr::LOCALHOST.into(),
            run: Run::new(DEFAULT_PAYLOAD_LENGTH).expect("even"),
            ttl: 64,
            identifier: 1,
            sequence: 1,
            nonce: 1,
            record: Record::EMPTY,
        };
        let reply = answered(&case.frame());
        assert!(parse(&reply).is_some());
        for (at, byte) in [(6, 0x20), (7, 1)] {
            let mut fragment = reply.clone();
            fragment[ETHERNET + at] = byte;
            assert_eq!(parse(&fragment), None);
        }
    }

    #[test]
    fn refusals_name_the_remedy() {
        let run = |length| Run::new(length).expect("even");
        assert_eq!(Template::new(Version::V4, run(38)).expect_err("short"), FrameError::NoTrailer(38));
        assert_eq!(
            FrameError::NoTrailer(38).to_string(),
            "a payload of 38 bytes has no room for a trailer: use 40 or more"
        );
        assert_eq!(Template::new(Version::V4, run(65_508)).expect_err("long"), FrameError::TooLong(65_508));
        assert_eq!(Template::new(Version::V4, run(65_506)).map(|template| template.length()), Ok(65_548));
        let template = Template::new(Version::V6, run(64)).expect("a template");
        let hop = Hop { source: Ipv6Addr::LOCALHOST.into(), source_mac: [0; 6], destination_mac: [0; 6] };
        let probe =
            |target| Probe { hop: &hop, target, ttl: 64, identifier: 1, sequence: 1, nonce: 1, record: &Record::EMPTY };
        let needed = template.length();
        let room = FrameError::Room { needed, found: needed - 1 };
        assert_eq!(template.write(&mut vec![0; needed - 1], &probe(Ipv6Addr::LOCALHOST.into())), Err(room));
        assert_eq!(template.write(&mut vec![0; needed], &probe(Ipv4Addr::LOCALHOST.into())), Err(FrameError::Version));
    }
}
