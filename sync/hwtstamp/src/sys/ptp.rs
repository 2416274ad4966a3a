//! The ioctls of PTP hardware clocks: `include/uapi/linux/ptp_clock.h`.

#![expect(unsafe_code, reason = "nix has no PTP ioctls")]

use std::{
    mem::zeroed,
    os::fd::{AsRawFd as _, BorrowedFd},
};

use nix::errno::Errno;

/// How many readings a call can return.
pub(crate) const MOST: usize = libc::PTP_MAX_SAMPLES as usize;

/// A structure of the kernel, and the request that fills it in.
///
/// # Safety
///
/// The kernel reads and writes `size_of::<Self>()` bytes for `REQUEST`, and any bytes are a value of the structure.
unsafe trait Exchange: Sized {
    const REQUEST: libc::Ioctl;

    fn zero() -> Self {
        // SAFETY: any bytes are a value, by the promise of the trait.
        unsafe { zeroed() }
    }

    fn exchange(mut self, device: BorrowedFd<'_>) -> nix::Result<Self> {
        // SAFETY: the kernel reads and writes no more than the structure, by the promise of the trait; it is live, and the
        // descriptor is open.
        Errno::result(unsafe { libc::ioctl(device.as_raw_fd(), Self::REQUEST, &raw mut self) })?;
        Ok(self)
    }
}

// SAFETY: the request carries the size of its structure, which is made of integers; likewise those below.
unsafe impl Exchange for libc::ptp_clock_caps {
    const REQUEST: libc::Ioctl = libc::PTP_CLOCK_GETCAPS;
}
// SAFETY: as above. (The request says "write" alone, but the kernel answers in the same memory.)
unsafe impl Exchange for libc::ptp_sys_offset {
    const REQUEST: libc::Ioctl = libc::PTP_SYS_OFFSET;
}
// SAFETY: as above.
unsafe impl Exchange for libc::ptp_sys_offset_extended {
    const REQUEST: libc::Ioctl = libc::PTP_SYS_OFFSET_EXTENDED;
}
// SAFETY: as above.
unsafe impl Exchange for libc::ptp_sys_offset_precise {
    const REQUEST: libc::Ioctl = libc::PTP_SYS_OFFSET_PRECISE;
}

pub(crate) fn capabilities(device: BorrowedFd<'_>) -> nix::Result<libc::ptp_clock_caps> {
    libc::ptp_clock_caps::zero().exchange(device)
}

/// `samples` readings of the system's clock, each followed by one of the device, and a last one of the system's.
pub(crate) fn basic(device: BorrowedFd<'_>, samples: u32) -> nix::Result<[libc::ptp_clock_time; 2 * MOST + 1]> {
    let mut request = libc::ptp_sys_offset::zero();
    request.n_samples = samples;
    request.exchange(device).map(|answer| answer.ts)
}

/// `samples` triples of readings: of the system's clock `id`, the device, the system's clock.
pub(crate) fn extended(
    device: BorrowedFd<'_>,
    id: libc::clockid_t,
    samples: u32,
) -> nix::Result<[[libc::ptp_clock_time; 3]; MOST]> {
    let mut request = libc::ptp_sys_offset_extended::zero();
    request.n_samples = samples;
    request.clockid = id;
    request.exchange(device).map(|answer| answer.ts)
}

pub(crate) fn precise(device: BorrowedFd<'_>) -> nix::Result<libc::ptp_sys_offset_precise> {
    libc::ptp_sys_offset_precise::zero().exchange(device)
}
