//! Control messages, from the bytes that the kernel wrote.
//!
//! Lengths are checked before use: what is cut off or makes no sense is passed over, as if it had not been there.

use crate::{Phc, Realtime, Time};

/// The length of `struct cmsghdr`, and what its parts are aligned to.
const HEADER: usize = size_of::<libc::cmsghdr>();
const ALIGNMENT: usize = size_of::<usize>();

/// `SOL_PACKET`'s message with the transmit stamps of packet sockets.
const PACKET_TX_TIMESTAMP: i32 = 16;

/// When a packet was received, or sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stamps {
    /// By the kernel.
    pub software: Option<Time<Realtime>>,
    /// By the card, in the time of its PHC.
    pub hardware: Option<Time<Phc>>,
}

/// Where a hardware stamp was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PacketInfo {
    /// The number of the interface; 0 where it is not known.
    pub interface: u32,
    /// The length of the packet at its layer 2.
    pub length: u32,
}

/// That a packet was sent, so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Transmission {
    /// Where the stamp was taken.
    pub stage: Stage,
    /// The number of the packet with [`StampFlag::OPT_ID`](crate::StampFlag::OPT_ID), else 0: from 0 on, wrapping, for
    /// datagrams; that of its last byte for streams.
    pub id: u32,
}

/// Where a transmit stamp was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stage {
    /// In the driver, or in the card.
    Sent,
    /// Before the queueing discipline.
    Scheduled,
    /// When the receiver acknowledged it.
    Acknowledged,
    /// When the card reported it as sent.
    Completed,
    /// Somewhere else, by the kernel's number.
    Other(u32),
}

/// An error of the network, as with `IP_RECVERR`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NetworkError {
    /// The error number.
    pub errno: i32,
    /// Where it comes from: 1 this host, 2 ICMP, 3 ICMPv6.
    pub origin: u8,
    /// The type of the ICMP message.
    pub kind: u8,
    /// The code of the ICMP message.
    pub code: u8,
    /// What the message says besides, such as the path's MTU.
    pub info: u32,
}

/// What the control messages of one packet tell.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Control {
    pub(super) stamps: Stamps,
    pub(super) packet_info: Option<PacketInfo>,
    pub(super) transmission: Option<Transmission>,
    pub(super) error: Option<NetworkError>,
}

pub(super) fn parse(bytes: &[u8]) -> Control {
    let mut control = Control::default();
    for (level, kind, data) in messages(bytes) {
        match (level, kind) {
            (libc::SOL_SOCKET, libc::SO_TIMESTAMPING_NEW | libc::SCM_TIMESTAMPING) => {
                control.stamps = stamps(data).unwrap_or(control.stamps);
            }
            (libc::SOL_SOCKET, libc::SCM_TIMESTAMPING_PKTINFO) => {
                control.packet_info = packet_info(data).or(control.packet_info);
            }
            (libc::SOL_IP, libc::IP_RECVERR)
            | (libc::SOL_IPV6, libc::IPV6_RECVERR)
            | (libc::SOL_PACKET, PACKET_TX_TIMESTAMP) => control.extended_error(data),
            _ => {}
        }
    }
    control
}

/// The level, type and data of each message; none after one that makes no sense.
fn messages(bytes: &[u8]) -> impl Iterator<Item = (i32, i32, &[u8])> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let mut header = Fields(rest);
        let length = usize::from_ne_bytes(header.take()?);
        let (level, kind) = (header.i32()?, header.i32()?);
        let data = rest.get(HEADER..length)?;
        // The last one may end before its padding.
        rest = rest.get(length.checked_next_multiple_of(ALIGNMENT)?..).unwrap_or_default();
        Some((level, kind, data))
    })
}

/// `struct scm_timestamping64`: the kernel's time, an obsolete one, and the card's; zero where there is none.
fn stamps(data: &[u8]) -> Option<Stamps> {
    let mut fields = Fields(data);
    let software = fields.time()?;
    let _obsolete = fields.time::<Phc>()?;
    Some(Stamps { software, hardware: fields.time()? })
}

/// `struct scm_ts_pktinfo`.
fn packet_info(data: &[u8]) -> Option<PacketInfo> {
    let mut fields = Fields(data);
    Some(PacketInfo { interface: fields.u32()?, length: fields.u32()? })
}

impl Control {
    /// `struct sock_extended_err`: a transmit stamp comes as an "error", too.
    fn extended_error(&mut self, data: &[u8]) {
        let mut fields = Fields(data);
        let (Some(errno), Some([origin, kind, code, _]), Some(info), Some(id)) =
            (fields.i32(), fields.take(), fields.u32(), fields.u32())
        else {
            return;
        };
        if origin == libc::SO_EE_ORIGIN_TIMESTAMPING && errno == libc::ENOMSG {
            self.transmission = Some(Transmission { stage: Stage::of(info), id });
        } else if origin != libc::SO_EE_ORIGIN_NONE {
            self.error = Some(NetworkError { errno, origin, kind, code, info });
        }
    }
}

impl Stage {
    /// `SCM_TSTAMP_*` of `include/uapi/linux/errqueue.h`.
    fn of(number: u32) -> Self {
        match number {
            0 => Self::Sent,
            1 => Self::Scheduled,
            2 => Self::Acknowledged,
            3 => Self::Completed,
            other => Self::Other(other),
        }
    }
}

/// The fields of a structure of the kernel, one after the other.
struct Fields<'bytes>(&'bytes [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (field, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*field)
    }

    fn i32(&mut self) -> Option<i32> {
        self.take().map(i32::from_ne_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_ne_bytes)
    }

    fn i64(&mut self) -> Option<i64> {
        self.take().map(i64::from_ne_bytes)
    }

    /// The outer `None` where it is cut off, the inner one where there is no time: zero, or none that makes sense.
    fn time<C>(&mut self) -> Option<Option<Time<C>>> {
        let (seconds, nanoseconds) = (self.i64()?, self.i64()?);
        Some(Time::from_parts(seconds, nanoseconds).filter(|time| time.as_ns() != 0))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A control message as the kernel writes it, padding included.
    fn message(level: i32, kind: i32, data: &[u8]) -> Vec<u8> {
        let mut bytes = (HEADER + data.len()).to_ne_bytes().to_vec();
        bytes.extend(level.to_ne_bytes());
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(data);
        bytes.resize(bytes.len().next_multiple_of(ALIGNMENT), 0);
        bytes
    }

    fn times(software: (i64, i64), hardware: (i64, i64)) -> Vec<u8> {
        let fields = [software.0, software.1, 0, 0, hardware.0, hardware.1];
        message(libc::SOL_SOCKET, libc::SO_TIMESTAMPING_NEW, &fields.map(i64::to_ne_bytes).concat())
    }

    fn extended_error(errno: i32, origin: u8, info: u32, data: u32) -> Vec<u8> {
        let fields = [&errno.to_ne_bytes()[..], &[origin, 3, 1, 0], &info.to_ne_bytes(), &data.to_ne_bytes()].concat();
        message(libc::SOL_IP, libc::IP_RECVERR, &fields)
    }

    #[test]
    fn stamps_of_either_kind() {
        let control = parse(&times((1, 2), (3, 4)));
        assert_eq!(control.stamps.software, Some(Time::from_ns(1_000_000_002)));
        assert_eq!(control.stamps.hardware, Some(Time::from_ns(3_000_000_004)));
        assert_eq!(parse(&times((0, 0), (3, 4))).stamps.software, None);
        assert_eq!(parse(&times((1, 2), (0, 0))).stamps.hardware, None);
        assert_eq!(parse(&times((1, 1_000_000_000), (i64::MAX, 0))).stamps, Stamps::default());
    }

    #[test]
    fn a_transmit_stamp_is_no_error() {
        let bytes = [times((1, 2), (0, 0)), extended_error(libc::ENOMSG, 4, 1, 7)].concat();
        let control = parse(&bytes);
        assert_eq!(control.transmission, Some(Transmission { stage: Stage::Scheduled, id: 7 }));
        assert_eq!((control.error, control.stamps.software), (None, Some(Time::from_ns(1_000_000_002))));
    }

    #[test]
    fn errors_of_the_network_are_told_apart() {
        let control = parse(&extended_error(libc::EHOSTUNREACH, libc::SO_EE_ORIGIN_ICMP, 1500, 0));
        let error = NetworkError { errno: libc::EHOSTUNREACH, origin: 2, kind: 3, code: 1, info: 1500 };
        assert_eq!((control.transmission, control.error), (None, Some(error)));
    }

    #[test]
    fn the_interface_of_a_stamp() {
        let fields = [3_u32, 98, 0, 0].map(u32::to_ne_bytes).concat();
        let control = parse(&message(libc::SOL_SOCKET, libc::SCM_TIMESTAMPING_PKTINFO, &fields));
        assert_eq!(control.packet_info, Some(PacketInfo { interface: 3, length: 98 }));
    }

    #[test]
    fn what_is_not_asked_for_is_passed_over() {
        let bytes = [message(libc::SOL_IP, libc::IP_TTL, &[64, 0, 0, 0]), times((1, 2), (3, 4))].concat();
        assert!(parse(&bytes).stamps.hardware.is_some());
    }

    #[test]
    fn messages_that_are_cut_off_tell_nothing() {
        let whole = [times((1, 2), (3, 4)), extended_error(libc::ENOMSG, 4, 0, 7)].concat();
        let first = times((1, 2), (3, 4)).len();
        for length in 0..whole.len() {
            let control = parse(&whole[..length]);
            assert_eq!(control.transmission, None, "{length}");
            assert_eq!(control.stamps != Stamps::default(), length >= first, "{length}");
        }
    }

    #[test]
    fn lengths_that_lie_end_the_messages() {
        for length in [0, 1, HEADER - 1, usize::MAX, usize::MAX - ALIGNMENT + 1, 65] {
            let mut bytes = times((1, 2), (3, 4));
            bytes[..size_of::<usize>()].copy_from_slice(&length.to_ne_bytes());
            assert_eq!(parse(&bytes), Control::default(), "{length}");
        }
        // An empty message is none of ours, but what follows it is.
        let bytes = [message(libc::SOL_SOCKET, libc::SCM_TIMESTAMPING, &[]), times((1, 2), (3, 4))].concat();
        assert!(parse(&bytes).stamps.hardware.is_some());
    }

    proptest! {
        #[test]
        fn no_bytes_do_harm(bytes in prop::collection::vec(any::<u8>(), 0..512)) {
            parse(&bytes);
        }

        #[test]
        fn nor_do_messages_with_any_data(
            level in prop::sample::select(&[libc::SOL_SOCKET, libc::SOL_IP, libc::SOL_IPV6, libc::SOL_PACKET]),
            kind in prop::sample::select(&[libc::SO_TIMESTAMPING_NEW, libc::SCM_TIMESTAMPING_PKTINFO, libc::IP_RECVERR, 16]),
            data in prop::collection::vec(any::<u8>(), 0..80),
        ) {
            let whole = [message(level, kind, &data), times((1, 2), (3, 4))].concat();
            prop_assert_eq!(parse(&whole).stamps.hardware, Some(Time::from_ns(3_000_000_004)));
        }
    }
}
