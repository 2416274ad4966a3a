//! A request as the kernel loops it back with the time at which it was sent.

use instamp_trailer::{Footer, Packet as _, Phase, Probe, locate, locate_network};
use zerocopy::network_endian::U16;

/// Where the sequence number lies in an echo message.
const SEQUENCE_OFFSET: u32 = 6;

/// Which request it was.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Looped {
    /// The sequence number on the wire.
    pub(crate) sequence: u16,
    /// The nonce in the trailer.
    pub(crate) nonce: u64,
}

impl Looped {
    /// Finds a request in a packet as its driver had it: it starts with the Ethernet header, VLAN tags included unless the card adds
    /// them, or with the IP header on devices that have no other. `None` for everything else, fragments among it.
    pub(crate) fn find(packet: &[u8]) -> Option<Self> {
        let request = |probe: &Probe| probe.phase == Phase::Request;
        let frame = locate(packet).ok().filter(request);
        let probe = frame.or_else(|| locate_network(packet, 0).ok().filter(request))?;
        let sequence = packet.view::<U16>(probe.message_offset.checked_add(SEQUENCE_OFFSET)?)?.get();
        let nonce = packet.view::<Footer>(probe.footer_offset)?.nonce();
        Some(Self { sequence, nonce })
    }
}

#[cfg(test)]
mod tests {
    use instamp_trailer::wire::trailer_length;
    use proptest::prelude::*;

    use super::*;
    use crate::{
        Run,
        prober::message::{HEADER_LENGTH, Version, request_header},
    };

    const REQUEST: Looped = Looped { sequence: 0x1234, nonce: 0x0123_4567_89ab_cdef };

    /// An IP packet with [`REQUEST`], or with a message of another type.
    fn packet(version: Version, kind: u8) -> Vec<u8> {
        let mut payload = vec![0; trailer_length(4)];
        let run = Run::new(payload.len()).expect("a payload");
        run.reserve(&mut payload, REQUEST.sequence, REQUEST.nonce).expect("its length");
        let mut header = request_header(version, 0, 7, REQUEST.sequence);
        header[0] = kind;
        let length = u16::try_from(HEADER_LENGTH + payload.len()).expect("short");
        let ip = match version {
            Version::V4 => {
                let [high, low] = (20 + length).to_be_bytes();
                [&[0x45, 0, high, low, 0, 0, 0x40, 0, 64, 1, 0, 0][..], &[192, 0, 2, 1, 192, 0, 2, 2]].concat()
            }
            Version::V6 => {
                let [high, low] = length.to_be_bytes();
                [&[0x60, 0, 0, 0, high, low, 58, 64][..], &[0x20; 32]].concat()
            }
        };
        [&ip[..], &header, &payload].concat()
    }

    fn framed(tags: &[[u8; 4]], version: Version, packet: &[u8]) -> Vec<u8> {
        let ethertype = if version == Version::V4 { [0x08, 0x00] } else { [0x86, 0xdd] };
        [&[2; 12][..], tags.as_flattened(), &ethertype, packet].concat()
    }

    #[test]
    fn a_request_is_found_wherever_the_packet_starts() {
        for version in [Version::V4, Version::V6] {
            let packet = packet(version, version.request());
            assert_eq!(Looped::find(&packet), Some(REQUEST), "{version:?} without a link layer");
            for tags in [&[][..], &[[0x81, 0, 0, 5]], &[[0x88, 0xa8, 0, 5], [0x81, 0, 0, 6]]] {
                let mut frame = framed(tags, version, &packet);
                assert_eq!(Looped::find(&frame), Some(REQUEST), "{version:?} {tags:?}");
                frame.extend([0; 18]);
                assert_eq!(Looped::find(&frame), Some(REQUEST), "padded by the driver");
            }
        }
    }

    #[test]
    fn what_is_no_request_of_a_probe_is_nothing() {
        for version in [Version::V4, Version::V6] {
            let request = packet(version, version.request());
            assert_eq!(Looped::find(&packet(version, version.reply())), None);
            for length in 0..request.len() {
                assert_eq!(Looped::find(&request[..length]), None, "cut off at {length}");
            }
            let mut other = request.clone();
            *other.last_mut().expect("a version") = 2;
            assert_eq!(Looped::find(&other), None);
        }
        // A fragment has no message that could be told from another's.
        let mut fragment = packet(Version::V4, 8);
        fragment[6] = 0x20;
        assert_eq!(Looped::find(&fragment), None);
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes: Vec<u8>, flips in prop::collection::vec((0_usize..106, any::<u8>()), 0..8)) {
            let _ = Looped::find(&bytes);
            let mut frame = framed(&[], Version::V4, &packet(Version::V4, 8));
            for (at, byte) in flips {
                frame[at] = byte;
            }
            let _ = Looped::find(&frame);
        }
    }
}
