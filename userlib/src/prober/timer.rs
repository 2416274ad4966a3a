//! What wakes a prober.

use std::{
    io,
    os::fd::{AsFd, AsRawFd, RawFd},
};

use nix::sys::{
    time::TimeSpec,
    timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags},
};

const NS_PER_SECOND: u64 = 1_000_000_000;

/// A timer of the kernel's resolution: those of event loops count milliseconds.
#[derive(Debug)]
pub(crate) struct Timer(TimerFd);

impl Timer {
    pub(crate) fn new() -> io::Result<Self> {
        let flags = TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC;
        Ok(Self(TimerFd::new(ClockId::CLOCK_MONOTONIC, flags)?))
    }

    /// Makes the timer readable after `delay_ns` nanoseconds, and not before.
    pub(crate) fn set(&self, delay_ns: u64) -> io::Result<()> {
        let seconds = i64::try_from(delay_ns / NS_PER_SECOND).unwrap_or(i64::MAX);
        // A delay of 0 would stop the timer.
        let nanoseconds = i64::try_from((delay_ns % NS_PER_SECOND).max(u64::from(delay_ns == 0))).unwrap_or(0);
        let expiration = Expiration::OneShot(TimeSpec::new(seconds, nanoseconds));
        Ok(self.0.set(expiration, TimerSetTimeFlags::empty())?)
    }
}

impl AsRawFd for Timer {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}
