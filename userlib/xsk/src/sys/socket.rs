//! The socket: `include/uapi/linux/if_xdp.h`.

#![expect(unsafe_code, reason = "nix has no AF_XDP")]

use std::{
    mem::zeroed,
    os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd},
    ptr,
};

use nix::errno::Errno;

/// Of newer kernels: how many frames a call may send in copy mode, 32 to the size of the ring.
pub(crate) const XDP_MAX_TX_SKB_BUDGET: libc::c_int = 9;

/// A structure of the kernel's that is read or written whole.
///
/// # Safety
///
/// It has no padding, and any bytes are a value.
pub(crate) unsafe trait Plain: Sized {}
// SAFETY: integers, and structures of integers without gaps; likewise those below.
unsafe impl Plain for i32 {}
// SAFETY: as above.
unsafe impl Plain for u32 {}
// SAFETY: as above.
unsafe impl Plain for libc::xdp_umem_reg {}
// SAFETY: as above.
unsafe impl Plain for libc::xdp_mmap_offsets {}
// SAFETY: as above.
unsafe impl Plain for libc::xdp_options {}
// SAFETY: as above.
unsafe impl Plain for libc::xdp_statistics {}

pub(crate) fn open() -> nix::Result<OwnedFd> {
    // SAFETY: no memory is involved.
    let descriptor = Errno::result(unsafe { libc::socket(libc::AF_XDP, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) })?;
    // SAFETY: the descriptor was just opened, and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

pub(crate) fn set<T: Plain>(
    socket: BorrowedFd<'_>,
    level: libc::c_int,
    option: libc::c_int,
    value: &T,
) -> nix::Result<()> {
    let length = length_of::<T>()?;
    // SAFETY: the kernel reads `length` bytes of the live value, none of which is padding.
    Errno::result(unsafe { libc::setsockopt(socket.as_raw_fd(), level, option, ptr::from_ref(value).cast(), length) })?;
    Ok(())
}

/// An option of `SOL_XDP`; what the kernel does not fill in is zero.
pub(crate) fn get<T: Plain>(socket: BorrowedFd<'_>, option: libc::c_int) -> nix::Result<T> {
    // SAFETY: any bytes are a value.
    let mut value: T = unsafe { zeroed() };
    let mut length = length_of::<T>()?;
    // SAFETY: the kernel writes at most `length` bytes into the live value, of which any are a value.
    Errno::result(unsafe {
        libc::getsockopt(socket.as_raw_fd(), libc::SOL_XDP, option, (&raw mut value).cast(), &raw mut length)
    })?;
    Ok(value)
}

fn length_of<T>() -> nix::Result<libc::socklen_t> {
    libc::socklen_t::try_from(size_of::<T>()).map_err(|_| Errno::EINVAL)
}

pub(crate) fn bind(socket: BorrowedFd<'_>, ifindex: u32, queue: u32, flags: u16) -> nix::Result<()> {
    let address = libc::sockaddr_xdp {
        sxdp_family: u16::try_from(libc::AF_XDP).map_err(|_| Errno::EINVAL)?,
        sxdp_flags: flags,
        sxdp_ifindex: ifindex,
        sxdp_queue_id: queue,
        sxdp_shared_umem_fd: 0,
    };
    let length = length_of::<libc::sockaddr_xdp>()?;
    // SAFETY: the kernel reads the live address, of this length.
    Errno::result(unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), length) })?;
    Ok(())
}

/// Has the kernel look for frames to be sent.
pub(crate) fn wake_transmit(socket: BorrowedFd<'_>) -> nix::Result<()> {
    // SAFETY: an empty message, to no address: no memory is involved.
    Errno::result(unsafe { libc::sendto(socket.as_raw_fd(), ptr::null(), 0, libc::MSG_DONTWAIT, ptr::null(), 0) })?;
    Ok(())
}

/// Has the kernel look for free frames, and for received ones.
pub(crate) fn wake_receive(socket: BorrowedFd<'_>) -> nix::Result<()> {
    // SAFETY: an empty buffer, and no room for an address: no memory is involved.
    Errno::result(unsafe {
        libc::recvfrom(socket.as_raw_fd(), ptr::null_mut(), 0, libc::MSG_DONTWAIT, ptr::null_mut(), ptr::null_mut())
    })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_structures_have_no_gaps() {
        assert_eq!(size_of::<libc::xdp_umem_reg>(), 32);
        assert_eq!(size_of::<libc::xdp_mmap_offsets>(), 4 * 4 * 8);
        assert_eq!(size_of::<libc::xdp_options>(), 4);
        assert_eq!(size_of::<libc::xdp_statistics>(), 6 * 8);
        assert_eq!(size_of::<libc::xdp_desc>(), 16);
        assert_eq!(size_of::<libc::sockaddr_xdp>(), 16);
    }
}
