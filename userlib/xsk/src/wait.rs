//! Waiting for frames.

use std::{io, os::fd::AsFd as _, time::Duration};

use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, ppoll},
    sys::{prctl::set_timerslack, time::TimeSpec},
};

use crate::Channel;

/// Waits until one of the channels has received something, at most for `timeout`, to the nanosecond as far as the
/// [timer](raise_timer_precision) goes. Returns whether one has: a signal ends the wait early. Frames that were submitted and not sent yet
/// are sent meanwhile.
///
/// # Errors
///
/// Where a device is down or gone.
pub fn wait_any(channels: &[&Channel], timeout: Duration) -> io::Result<bool> {
    for channel in channels {
        channel.poll_driver()?;
    }
    let mut descriptors: Vec<_> =
        channels.iter().map(|channel| PollFd::new(channel.as_fd(), PollFlags::POLLIN)).collect();
    // What does not fit is longer than any machine runs.
    let timeout = i32::try_from(timeout.as_secs()).is_ok().then(|| TimeSpec::from(timeout));
    match ppoll(&mut descriptors, timeout, None) {
        // Waiting alone does not tell that a device is gone.
        Ok(0) => channels.iter().try_for_each(|channel| channel.wake_receive()).map(|()| false),
        Ok(_) => Ok(true),
        Err(Errno::EINTR) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}

/// Has the timers of this thread end as soon as the hardware can, instead of up to 50 microseconds late (`PR_SET_TIMERSLACK`): for
/// threads that [wait](Channel::wait) for short times.
///
/// # Errors
///
/// None on kernels that this crate is for.
pub fn raise_timer_precision() -> io::Result<()> {
    set_timerslack(1).map_err(io::Error::from)
}
