//! Being told of steps of `CLOCK_REALTIME`.

use std::os::fd::{AsFd, BorrowedFd};

use nix::{
    errno::Errno,
    sys::{
        time::TimeSpec,
        timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags},
    },
    unistd::read,
};

use crate::{Error, Operation, Realtime, Time, Timescale as _, error::Context as _};

/// Tells of discontinuous changes of `CLOCK_REALTIME`: of every time that somebody sets or steps it, of leap seconds, and of
/// the machine waking up from sleep.
///
/// Its descriptor becomes readable when there was one, and stays so until it is [asked](StepWatch::stepped). Slewing and
/// changes of frequency are no steps. No privilege is needed.
///
/// ```
/// use hwtstamp::StepWatch;
///
/// # fn main() -> Result<(), hwtstamp::Error> {
/// let watch = StepWatch::new()?;
/// // ... read clocks ...
/// if watch.stepped()? {
///     println!("what was read before the step says nothing about the time after it");
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct StepWatch {
    timer: TimerFd,
}

impl StepWatch {
    /// A watch that begins now.
    ///
    /// # Errors
    ///
    /// Where the process may not have more open files.
    pub fn new() -> Result<Self, Error> {
        let watch = || -> nix::Result<TimerFd> {
            let timer = TimerFd::new(ClockId::CLOCK_REALTIME, TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC)?;
            // It is to expire never: at the last second that the kernel's nanoseconds reach.
            let (never, _) = Time::<Realtime>::from_ns(i64::MAX).parts();
            timer.set(
                Expiration::OneShot(TimeSpec::new(never, 0)),
                TimerSetTimeFlags::TFD_TIMER_ABSTIME | TimerSetTimeFlags::TFD_TIMER_CANCEL_ON_SET,
            )?;
            Ok(timer)
        };
        watch().context(Operation::Watch, Realtime::NAME).map(|timer| Self { timer })
    }

    /// Whether there was a step since the beginning, or since this last said so.
    ///
    /// # Errors
    ///
    /// Where the kernel refuses, which it has no reason to.
    pub fn stepped(&self) -> Result<bool, Error> {
        // `TimerFd::wait` takes a step for an expiry.
        match read(&self.timer, &mut [0; size_of::<u64>()]) {
            Err(Errno::ECANCELED) => Ok(true),
            Ok(_) | Err(Errno::EAGAIN) => Ok(false),
            Err(errno) => Err(Error::new(Operation::Watch, Realtime::NAME, errno)),
        }
    }
}

impl AsFd for StepWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.timer.as_fd()
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn without_a_step_there_is_nothing_to_tell() {
        let watch = StepWatch::new().unwrap();
        assert!(!watch.stepped().unwrap());
    }
}
