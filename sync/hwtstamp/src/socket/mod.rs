//! Timestamps of a socket's packets: `SO_TIMESTAMPING`, its control messages, and the error queue.
//!
//! [`enable`] says which stamps to make. Those of received packets come with the packet, from [`receive`]; those of sent
//! packets come back through the error queue, from [`receive_sent`], each with the number of the packet and the place where
//! it was taken. Any socket does: UDP, ICMP, raw, packet.
//!
//! ```
//! use std::net::UdpSocket;
//!
//! use hwtstamp::{
//!     StampFlag,
//!     socket::{self, Stage},
//! };
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let socket = UdpSocket::bind("127.0.0.1:0")?;
//! let flags = StampFlag::SOFTWARE | StampFlag::RX_SOFTWARE | StampFlag::TX_SOFTWARE;
//! socket::enable(&socket, flags | StampFlag::OPT_ID | StampFlag::OPT_TSONLY)?;
//! socket.send_to(b"to itself", socket.local_addr()?)?;
//!
//! let mut buffer = [0; 1500];
//! let received = socket::receive(&socket, &mut buffer)?.expect("the socket blocks");
//! println!("received at {:?}", received.stamps.software);
//!
//! let sent = socket::receive_sent(&socket, &mut buffer)?.expect("the loopback device has sent it before it received it");
//! let transmission = sent.transmission.expect("there was no other error");
//! assert_eq!((transmission.stage, transmission.id), (Stage::Sent, 0));
//! println!("sent at {:?}", sent.stamps.software);
//! # Ok(())
//! # }
//! ```

mod control;
pub(crate) mod flags;

use std::{
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6},
    os::fd::{AsFd, AsRawFd as _},
};

use nix::errno::Errno;

pub use self::control::{NetworkError, PacketInfo, Stage, Stamps, Transmission};
use crate::{Error, Operation, Set, StampFlag, error::Context as _, sys};

/// Room for the control messages of one packet: a few times what timestamps and their kin take.
const CONTROL: usize = 512;

/// A packet that was received, or a message from the error queue.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Received {
    /// How many bytes of the buffer it takes.
    pub length: usize,
    /// Whether it was longer than the buffer.
    pub truncated: bool,
    /// Who sent it; `None` for families other than IP. In the error queue, whom the packet that did not arrive was sent to.
    pub source: Option<SocketAddr>,
    /// When it was received, or sent.
    pub stamps: Stamps,
    /// Where the hardware stamp was made, with [`StampFlag::OPT_PKTINFO`].
    pub packet_info: Option<PacketInfo>,
    /// In the error queue: which packet was sent, and how far it had come.
    pub transmission: Option<Transmission>,
    /// In the error queue: that a packet did not arrive.
    pub error: Option<NetworkError>,
    /// Whether control messages were lost for want of room, maybe the stamps among them.
    pub control_truncated: bool,
}

/// Chooses the timestamps that `socket` makes and reports, instead of those chosen before.
///
/// Two kinds of flags are needed: those that make stamps, such as [`StampFlag::RX_SOFTWARE`], and those that report them, such
/// as [`StampFlag::SOFTWARE`] and [`StampFlag::RAW_HARDWARE`]. Hardware stamps need a card that is [set](crate::ConfigGuard) to
/// make them, besides.
///
/// The kernel switches software stamps of received packets on when the first socket of the machine wants them, and a moment
/// later than this returns: the first packets may have none.
///
/// # Errors
///
/// Where the kernel does not know a flag, or does not allow the combination for this kind of socket.
pub fn enable(socket: impl AsFd, flags: impl Into<Set<StampFlag>>) -> Result<(), Error> {
    let socket = socket.as_fd();
    sys::socket::timestamping(socket, flags.into().bits()).context(Operation::Enable, name(socket))
}

/// The next packet, with its receive timestamps; `None` where the socket does not block and there is none.
///
/// It goes on waiting after a signal: whoever wants to stop on one lets the socket not block, and waits with `poll(2)`.
///
/// # Errors
///
/// Those of `recvmsg(2)`: with `IP_RECVERR`, errors of the network among them.
pub fn receive(socket: impl AsFd, buffer: &mut [u8]) -> Result<Option<Received>, Error> {
    receive_with(socket, buffer, 0)
}

/// The next message of the error queue: a transmit timestamp, or an error of the network. `None` where there is none: this
/// never blocks, and `poll(2)` tells by `POLLERR` when there is one.
///
/// The buffer gets the packet as it was sent, headers included, or nothing with [`StampFlag::OPT_TSONLY`].
///
/// # Errors
///
/// Those of `recvmsg(2)`.
pub fn receive_sent(socket: impl AsFd, buffer: &mut [u8]) -> Result<Option<Received>, Error> {
    receive_with(socket, buffer, libc::MSG_ERRQUEUE)
}

fn receive_with(socket: impl AsFd, buffer: &mut [u8], flags: libc::c_int) -> Result<Option<Received>, Error> {
    let socket = socket.as_fd();
    let mut control = [0; CONTROL];
    let message = loop {
        match sys::socket::receive(socket, buffer, &mut control, flags) {
            Ok(message) => break message,
            Err(Errno::EAGAIN) => return Ok(None),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(Error::new(Operation::Receive, name(socket), errno)),
        }
    };
    let control = control::parse(&control[..message.control_length]);
    Ok(Some(Received {
        length: message.length.min(buffer.len()),
        truncated: message.flags & libc::MSG_TRUNC != 0,
        source: address(&message.source),
        stamps: control.stamps,
        packet_info: control.packet_info,
        transmission: control.transmission,
        error: control.error,
        control_truncated: message.flags & libc::MSG_CTRUNC != 0,
    }))
}

fn name(socket: std::os::fd::BorrowedFd<'_>) -> String {
    format!("socket {}", socket.as_raw_fd())
}

/// The address in the bytes of a `sockaddr`.
fn address(bytes: &[u8]) -> Option<SocketAddr> {
    let (family, rest) = bytes.split_first_chunk::<2>()?;
    let (port, rest) = rest.split_first_chunk::<2>()?;
    let port = u16::from_be_bytes(*port);
    match libc::c_int::from(u16::from_ne_bytes(*family)) {
        libc::AF_INET => Some((Ipv4Addr::from(*rest.first_chunk::<4>()?), port).into()),
        libc::AF_INET6 => {
            let (flow, rest) = rest.split_first_chunk::<4>()?;
            let (address, rest) = rest.split_first_chunk::<16>()?;
            let scope = u32::from_ne_bytes(*rest.first_chunk::<4>()?);
            Some(SocketAddrV6::new(Ipv6Addr::from(*address), port, u32::from_be_bytes(*flow), scope).into())
        }
        _ => None,
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests;
