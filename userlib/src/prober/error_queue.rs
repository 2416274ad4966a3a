//! The socket's error queue: ICMP errors about requests, and the times at which the network card sent them.

use std::{
    io::IoSliceMut,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    os::fd::AsRawFd as _,
};

use nix::{
    errno::Errno,
    sys::{
        socket::{ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg},
        time::TimeSpec,
    },
};

use super::{
    ErrorKind,
    looped::Looped,
    message::{Echo, Version},
    socket::{Buffer, EchoSocket},
};

/// A message of the error queue.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Queued {
    /// An ICMP error about a request.
    Error(ReceivedError),
    /// A request has left the network card.
    Sent {
        /// Which one.
        request: Looped,
        /// By the card's clock, in nanoseconds.
        phc_ns: u64,
    },
    /// Nothing about this socket's requests.
    Other,
}

/// An ICMP error about a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct ReceivedError {
    pub(crate) sequence: Option<u16>,
    pub(crate) from: Option<IpAddr>,
    pub(crate) error: ErrorKind,
}

impl EchoSocket {
    /// Takes a message from the socket's error queue. [`Errno::EAGAIN`] says that there is none.
    pub(crate) fn receive_queued(&self, buffer: &mut Buffer) -> Result<Queued, Errno> {
        let mut parts = [IoSliceMut::new(&mut buffer.message)];
        let received = recvmsg::<SockaddrStorage>(
            self.as_raw_fd(),
            &mut parts,
            Some(&mut buffer.control),
            MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_ERRQUEUE,
        )?;
        let (mut meaning, mut phc_ns) = (Meaning::Other, None);
        for message in received.cmsgs().into_iter().flatten() {
            if let ControlMessageOwned::ScmTimestampsns(times) = message {
                phc_ns = nanoseconds(times.hw_raw);
            } else if let Some(found) = Meaning::of(message) {
                meaning = found;
            }
        }
        let length = received.bytes;
        let bytes = buffer.message.get(..length).unwrap_or_default();
        Ok(match meaning {
            Meaning::IcmpError(from, error) => self.icmp_error(bytes, from, error),
            // A time is of the packet that is looped back, an error's would be of its arrival.
            Meaning::Sent => match Looped::find(bytes).zip(phc_ns) {
                Some((request, phc_ns)) => Queued::Sent { request, phc_ns },
                None => Queued::Other,
            },
            Meaning::Other => Queued::Other,
        })
    }

    /// The error quotes the request: some routers no more than its first eight bytes.
    fn icmp_error(&self, quoted: &[u8], from: Option<IpAddr>, error: ErrorKind) -> Queued {
        match Echo::parse(quoted, self.version.request()) {
            Some(echo) if echo.identifier != self.identifier() => Queued::Other,
            echo => Queued::Error(ReceivedError { sequence: echo.map(|echo| echo.sequence), from, error }),
        }
    }
}

/// What a message is about.
enum Meaning {
    /// An ICMP error, and its sender.
    IcmpError(Option<IpAddr>, ErrorKind),
    /// The packet has been sent.
    Sent,
    /// Errors that the own kernel noticed while sending are left out: the send call has returned them.
    Other,
}

impl Meaning {
    /// By the control message of an extended error; `None` for other ones.
    fn of(message: ControlMessageOwned) -> Option<Self> {
        const ORIGIN_ICMP: u8 = 2;
        const ORIGIN_ICMPV6: u8 = 3;
        const ORIGIN_TIMESTAMPING: u8 = 4;
        let (version, from, error) = if let ControlMessageOwned::Ipv4RecvErr(error, from) = message {
            let from = from.map(|from| Ipv4Addr::from(from.sin_addr.s_addr.to_ne_bytes()).into());
            (Version::V4, from, error)
        } else if let ControlMessageOwned::Ipv6RecvErr(error, from) = message {
            let from = from.map(|from| Ipv6Addr::from(from.sin6_addr.s6_addr).into());
            (Version::V6, from, error)
        } else {
            return None;
        };
        Some(match error.ee_origin {
            ORIGIN_ICMP | ORIGIN_ICMPV6 => {
                Self::IcmpError(from, ErrorKind::from_icmp(version, error.ee_type, error.ee_code))
            }
            ORIGIN_TIMESTAMPING => Self::Sent,
            _ => Self::Other,
        })
    }
}

/// Of a time that the kernel reports: 0 where there is none.
fn nanoseconds(time: TimeSpec) -> Option<u64> {
    let seconds = u64::try_from(time.tv_sec()).ok()?.checked_mul(1_000_000_000)?;
    seconds.checked_add(u64::try_from(time.tv_nsec()).ok()?).filter(|ns| *ns != 0)
}

#[cfg(test)]
mod tests {
    use nix::sys::socket::{TimestampingFlag, setsockopt, sockopt};

    use super::*;
    use crate::{
        DEFAULT_PAYLOAD_LENGTH, Run,
        prober::{Config, ProberError, common::skip, message::request_header},
    };

    const REQUEST: Looped = Looped { sequence: 3, nonce: 0x0123_4567_89ab_cdef };

    /// The loopback device stamps in software only, and so shows in which form requests come back, but with no time of a card.
    #[test]
    fn requests_that_the_kernel_loops_back_are_recognized() {
        for target in [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)] {
            let socket = match EchoSocket::open(&Config::new(target), 7) {
                Ok(socket) => socket,
                Err(error @ (ProberError::Permission(_) | ProberError::Source { .. } | ProberError::Route { .. })) => {
                    skip(&error.to_string());
                    continue;
                }
                Err(error) => panic!("{error}"),
            };
            let flags = TimestampingFlag::SOF_TIMESTAMPING_TX_SOFTWARE | TimestampingFlag::SOF_TIMESTAMPING_SOFTWARE;
            setsockopt(&socket, sockopt::Timestamping, &flags).expect("software stamps");

            let mut payload = [0; DEFAULT_PAYLOAD_LENGTH];
            let run = Run::new(payload.len()).expect("a payload");
            run.reserve(&mut payload, REQUEST.sequence, REQUEST.nonce).expect("its length");
            let header = request_header(socket.version, 0, socket.identifier(), REQUEST.sequence);
            socket.send(&[&header[..], &payload].concat()).expect("sent to itself");

            let mut buffer = Buffer::new(payload.len());
            assert_eq!(socket.receive_queued(&mut buffer), Ok(Queued::Other), "{target}");
            assert_eq!(Looped::find(&buffer.message), Some(REQUEST), "{target}");
            assert_eq!(socket.receive_queued(&mut buffer), Err(Errno::EAGAIN), "{target}");
        }
    }

    #[test]
    fn a_time_of_zero_is_none() {
        assert_eq!(nanoseconds(TimeSpec::new(0, 0)), None);
        assert_eq!(nanoseconds(TimeSpec::new(2, 5)), Some(2_000_000_005));
        assert_eq!(nanoseconds(TimeSpec::new(-1, 5)), None);
        assert_eq!(nanoseconds(TimeSpec::new(i64::MAX, 5)), None);
    }
}
