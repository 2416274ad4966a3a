//! Clocks: reading, adjusting, and the number that stands for the clock of an open device.

#![expect(unsafe_code, reason = "nix has no clock_adjtime(2)")]

use std::{
    marker::PhantomData,
    mem::zeroed,
    os::fd::{AsFd, AsRawFd as _, BorrowedFd},
};

use nix::{
    errno::Errno,
    sys::time::TimeSpec,
    time::{ClockId, clock_gettime, clock_settime},
};

use crate::{Frequency, Span, Time};

/// A clock that stays what it is for as long as this exists.
#[derive(Clone, Copy)]
pub(crate) struct Clock<'fd> {
    id: ClockId,
    device: PhantomData<BorrowedFd<'fd>>,
}

impl Clock<'static> {
    pub(crate) const REALTIME: Self = Self { id: ClockId::CLOCK_REALTIME, device: PhantomData };
}

impl<'fd> Clock<'fd> {
    /// The clock of an open character device: `FD_TO_CLOCKID` of `clock_gettime(2)`, as libc has no macros.
    pub(crate) fn of_device(device: &'fd impl AsFd) -> Self {
        const CLOCK_OF_DEVICE: i32 = 3;
        let id = (!device.as_fd().as_raw_fd() << 3) | CLOCK_OF_DEVICE;
        Self { id: ClockId::from_raw(id), device: PhantomData }
    }

    pub(crate) fn read(self) -> nix::Result<TimeSpec> {
        clock_gettime(self.id)
    }

    pub(crate) fn set(self, seconds: libc::time_t, nanoseconds: libc::c_long) -> nix::Result<()> {
        clock_settime(self.id, TimeSpec::new(seconds, nanoseconds))
    }

    /// Applies `change`, and returns what is then in force.
    pub(crate) fn adjust(self, change: libc::timex) -> nix::Result<libc::timex> {
        let mut timex = change;
        // SAFETY: `timex` is a live structure of the type that the call reads and writes.
        Errno::result(unsafe { libc::clock_adjtime(self.id.as_raw(), &raw mut timex) })?;
        Ok(timex)
    }
}

/// A change that changes nothing.
pub(crate) fn no_change() -> libc::timex {
    // SAFETY: the structure is made of integers, for which zero is a value.
    unsafe { zeroed() }
}

/// The change that sets the frequency.
pub(crate) fn frequency(frequency: Frequency) -> libc::timex {
    libc::timex { modes: libc::ADJ_FREQUENCY, freq: frequency.scaled_ppm(), ..no_change() }
}

/// The change that moves the clock. The kernel wants the nanoseconds to count forward, whatever the sign of the seconds.
pub(crate) fn step(span: Span) -> libc::timex {
    let (tv_sec, tv_usec) = span.parts();
    let time = libc::timeval { tv_sec, tv_usec };
    libc::timex { modes: libc::ADJ_SETOFFSET | libc::ADJ_NANO, time, ..no_change() }
}

/// What a clock of the kernel shows.
///
/// # Panics
///
/// On clocks that the kernel does not have, which those of [`SystemClock`](crate::SystemClock) are not.
pub(crate) fn now<C>(id: ClockId) -> Time<C> {
    let time = clock_gettime(id).expect("every kernel that this crate builds for has this clock");
    Time::from_parts(time.tv_sec(), time.tv_nsec()).expect("the kernel's own clocks end in the year 2262")
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    #[test]
    fn steps_back_count_their_nanoseconds_forward() {
        for (ns, seconds, nanoseconds) in
            [(0, 0, 0), (1, 0, 1), (-1, -1, 999_999_999), (-1_000_000_000, -1, 0), (-1_500_000_000, -2, 500_000_000)]
        {
            let change = step(Span::from_ns(ns));
            assert_eq!((change.time.tv_sec, change.time.tv_usec), (seconds, nanoseconds), "{ns}");
            assert_eq!(change.modes, libc::ADJ_SETOFFSET | libc::ADJ_NANO);
        }
    }

    #[test]
    fn frequencies_are_written_as_they_are() {
        let change = frequency(Frequency::from_ppb(-1_000.0));
        assert_eq!((change.modes, change.freq), (libc::ADJ_FREQUENCY, -65_536));
        assert_eq!(no_change().modes, 0);
    }

    #[test]
    fn the_clock_of_a_file_that_has_none_is_refused() {
        let file = File::open("/dev/null").expect("every machine has it");
        let clock = Clock::of_device(&file);
        assert_eq!(clock.id.as_raw(), -8 * (file.as_raw_fd() + 1) + 3);
        assert_eq!(clock.read().err(), Some(Errno::EINVAL));
    }
}
