//! The application's clock, in the host's time.

use nix::{
    sys::time::TimeSpec,
    time::{ClockId as Clock, clock_gettime},
};

use crate::{TaiOffset, time_namespace::MonotonicOffset};

const NS_PER_SECOND: u64 = 1_000_000_000;
/// `CLOCK_TAI` is read as often beside `CLOCK_MONOTONIC`, and the time counts that took the shortest: few readings are interrupted.
const TAI_READINGS: usize = 5;

/// `CLOCK_MONOTONIC` of the host's initial time namespace.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HostClock {
    offset: MonotonicOffset,
}

impl HostClock {
    pub(crate) const fn new(offset: MonotonicOffset) -> Self {
        Self { offset }
    }

    /// In nanoseconds.
    pub(crate) fn now_ns(self) -> u64 {
        self.offset.host_ns(read_ns(Clock::CLOCK_MONOTONIC)).unwrap_or(0)
    }

    /// How far `CLOCK_TAI` is ahead of it now, as near as some readings tell.
    pub(crate) fn tai_offset(self) -> Option<TaiOffset> {
        let reading = || {
            let before_ns = self.now_ns();
            let tai_ns = read_ns(Clock::CLOCK_TAI);
            TaiOffset::from_readings(before_ns, tai_ns, self.now_ns())
        };
        (0..TAI_READINGS).filter_map(|_| reading()).min_by_key(|offset| offset.bound_ns)
    }
}

/// The clocks exist everywhere and the pointer is valid, so the call cannot fail; nor can the host's time be negative.
fn read_ns(clock: Clock) -> u64 {
    let reading = clock_gettime(clock).unwrap_or(TimeSpec::new(0, 0));
    reading.tv_sec().unsigned_abs() * NS_PER_SECOND + reading.tv_nsec().unsigned_abs()
}
