//! The number of queues: `include/uapi/linux/ethtool.h`.

#![expect(unsafe_code, reason = "nix has no interface ioctls")]

use std::{
    mem::zeroed,
    os::fd::{AsRawFd as _, OwnedFd},
};

use nix::{
    errno::Errno,
    sys::socket::{AddressFamily, SockFlag, SockType, socket},
};

const ETHTOOL_GCHANNELS: u32 = 0x3c;
const SIOCETHTOOL: libc::Ioctl = 0x8946;

/// The kernel's `struct ethtool_channels`.
#[repr(C)]
#[derive(Default)]
pub(crate) struct Channels {
    command: u32,
    most: [u32; 4],
    /// Queues that only receive.
    pub(crate) receive: u32,
    transmit: u32,
    other: u32,
    /// Queues that do both.
    pub(crate) combined: u32,
}

/// The queues that an interface of this network namespace has in use.
pub(crate) fn channels(interface: &str) -> nix::Result<Channels> {
    let socket: OwnedFd = socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
    let mut channels = Channels { command: ETHTOOL_GCHANNELS, ..Channels::default() };
    // SAFETY: the structure is made of integers and pointers, for which zero is a value.
    let mut request: libc::ifreq = unsafe { zeroed() };
    // The last byte stays zero: the name ends there at the latest.
    if interface.len() >= request.ifr_name.len() {
        return Err(Errno::ENODEV);
    }
    for (to, from) in request.ifr_name.iter_mut().zip(interface.bytes()) {
        *to = libc::c_char::from_ne_bytes([from]);
    }
    request.ifr_ifru.ifru_data = (&raw mut channels).cast();
    // SAFETY: the kernel reads and writes the request and, for this command, the structure of integers that it points to: both
    // live, and of the kernel's size.
    Errno::result(unsafe { libc::ioctl(socket.as_raw_fd(), SIOCETHTOOL, &raw mut request) })?;
    Ok(channels)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_structure_has_the_kernels_size() {
        assert_eq!(size_of::<Channels>(), 36);
    }
}
