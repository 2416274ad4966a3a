//! The ioctls of network interfaces: `include/uapi/linux/{if,ethtool,net_tstamp}.h`.

#![expect(unsafe_code, reason = "nix has no interface ioctls")]

use std::{
    mem::zeroed,
    os::fd::{AsRawFd as _, BorrowedFd},
};

use nix::errno::Errno;

const ETHTOOL_GDRVINFO: u32 = 0x03;
const ETHTOOL_GET_TS_INFO: u32 = 0x41;
const SIOCETHTOOL: libc::Ioctl = 0x8946;

/// The kernel's structure of this name.
#[repr(C)]
#[derive(Default)]
pub(crate) struct EthtoolTsInfo {
    command: u32,
    pub(crate) so_timestamping: u32,
    pub(crate) phc_index: i32,
    pub(crate) tx_types: u32,
    tx_reserved: [u32; 3],
    pub(crate) rx_filters: u32,
    rx_reserved: [u32; 3],
}

/// The kernel's structure of this name.
#[repr(C)]
struct EthtoolDriverInfo {
    command: u32,
    driver: [u8; 32],
    version: [u8; 32],
    firmware_version: [u8; 32],
    bus_info: [u8; 32],
    eeprom_version: [u8; 32],
    reserved: [u8; 12],
    counts: [u32; 5],
}

/// A structure that an interface's ioctl reads and fills in.
///
/// # Safety
///
/// For `REQUEST` (and, of `SIOCETHTOOL`, the command that the structure begins with) the kernel reads and writes at most
/// `size_of::<Self>()` bytes, and any bytes are a value of the structure.
unsafe trait Argument: Sized {
    const REQUEST: libc::Ioctl;
}

// SAFETY: the kernel knows the size from the command, which the only caller sets; all fields are integers.
unsafe impl Argument for EthtoolTsInfo {
    const REQUEST: libc::Ioctl = SIOCETHTOOL;
}
// SAFETY: likewise.
unsafe impl Argument for EthtoolDriverInfo {
    const REQUEST: libc::Ioctl = SIOCETHTOOL;
}
/// The setting in force.
#[repr(transparent)]
struct Get(libc::hwtstamp_config);
// SAFETY: the kernel's structure, made of integers.
unsafe impl Argument for Get {
    const REQUEST: libc::Ioctl = libc::SIOCGHWTSTAMP as libc::Ioctl;
}
/// The setting to be made.
#[repr(transparent)]
struct Set(libc::hwtstamp_config);
// SAFETY: likewise.
unsafe impl Argument for Set {
    const REQUEST: libc::Ioctl = libc::SIOCSHWTSTAMP as libc::Ioctl;
}

fn request() -> libc::ifreq {
    // SAFETY: the structure is made of integers and pointers, for which zero is a value.
    unsafe { zeroed() }
}

fn exchange<A: Argument>(socket: BorrowedFd<'_>, interface: &str, mut argument: A) -> nix::Result<A> {
    let mut request = request();
    // The last byte stays zero: the name ends there at the latest.
    if interface.len() >= request.ifr_name.len() {
        return Err(Errno::ENODEV);
    }
    for (to, from) in request.ifr_name.iter_mut().zip(interface.bytes()) {
        *to = libc::c_char::from_ne_bytes([from]);
    }
    request.ifr_ifru.ifru_data = (&raw mut argument).cast();
    // SAFETY: the kernel reads and writes the request and what it points to, both live, within their sizes by the promise
    // of the trait; the descriptor is open.
    Errno::result(unsafe { libc::ioctl(socket.as_raw_fd(), A::REQUEST, &raw mut request) })?;
    Ok(argument)
}

/// The name that the interface has now, in the network namespace of the socket.
pub(crate) fn name(socket: BorrowedFd<'_>, index: u32) -> nix::Result<String> {
    let mut request = request();
    request.ifr_ifru.ifru_ifindex = libc::c_int::try_from(index).map_err(|_| Errno::ENODEV)?;
    // SAFETY: the kernel reads and writes the live request, within its size; the descriptor is open.
    Errno::result(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCGIFNAME as libc::Ioctl, &raw mut request) })?;
    let name: Vec<u8> =
        request.ifr_name.iter().map(|byte| byte.to_ne_bytes()[0]).take_while(|byte| *byte != 0).collect();
    String::from_utf8(name).map_err(|_| Errno::ENODEV)
}

pub(crate) fn timestamping(socket: BorrowedFd<'_>, interface: &str) -> nix::Result<EthtoolTsInfo> {
    exchange(socket, interface, EthtoolTsInfo { command: ETHTOOL_GET_TS_INFO, ..EthtoolTsInfo::default() })
}

pub(crate) fn driver(socket: BorrowedFd<'_>, interface: &str) -> nix::Result<String> {
    // SAFETY: the structure is made of integers, for which zero is a value.
    let mut info: EthtoolDriverInfo = unsafe { zeroed() };
    info.command = ETHTOOL_GDRVINFO;
    let info = exchange(socket, interface, info)?;
    let name = info.driver.split(|byte| *byte == 0).next().unwrap_or_default();
    Ok(String::from_utf8_lossy(name).into_owned())
}

pub(crate) fn setting(socket: BorrowedFd<'_>, interface: &str) -> nix::Result<libc::hwtstamp_config> {
    exchange(socket, interface, Get(config(0, 0))).map(|Get(config)| config)
}

pub(crate) fn set(
    socket: BorrowedFd<'_>,
    interface: &str,
    tx_type: i32,
    rx_filter: i32,
) -> nix::Result<libc::hwtstamp_config> {
    exchange(socket, interface, Set(config(tx_type, rx_filter))).map(|Set(config)| config)
}

fn config(tx_type: i32, rx_filter: i32) -> libc::hwtstamp_config {
    libc::hwtstamp_config { flags: 0, tx_type, rx_filter }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_structures_have_the_kernels_sizes() {
        assert_eq!(size_of::<EthtoolTsInfo>(), 44);
        assert_eq!(size_of::<EthtoolDriverInfo>(), 196);
        assert_eq!(size_of::<libc::hwtstamp_config>(), 12);
    }
}
