//! Readings of a PHC next to clocks of the system, from what the kernel wrote.

use std::fmt;

use crate::{Monotonic, MonotonicRaw, Phc, Reading, Realtime, SystemClock, Time, Timescale};

/// The ways of reading a PHC next to a clock of the system, from the best to the one that always works.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Method {
    /// `PTP_SYS_OFFSET_PRECISE`: hardware latches both at one instant, so the window is empty. Few cards can.
    Precise,
    /// `PTP_SYS_OFFSET_EXTENDED`: the driver reads the system's clock right before and after it reads the card.
    Extended,
    /// `PTP_SYS_OFFSET`: the kernel reads the system's clock before and after it calls the driver.
    Basic,
}

/// What [`Method::Precise`] reads: all three at one instant.
pub struct PreciseReading<D = Phc> {
    /// The card's time.
    pub device: Time<D>,
    /// The system's time.
    pub realtime: Time<Realtime>,
    /// The time of the processor's oscillator.
    pub monotonic_raw: Time<MonotonicRaw>,
}

/// A system clock that the kernel can read next to a PHC: see [`PhcDevice::cross_read`](crate::PhcDevice::cross_read).
pub trait CrossClock: SystemClock {
    /// What [`Method::Precise`] read of this clock; `None` where it does not read it.
    #[doc(hidden)]
    fn of_precise<D>(reading: &PreciseReading<D>) -> Option<Time<Self>>;
}

impl CrossClock for Monotonic {
    fn of_precise<D>(_: &PreciseReading<D>) -> Option<Time<Self>> {
        None
    }
}
impl CrossClock for MonotonicRaw {
    fn of_precise<D>(reading: &PreciseReading<D>) -> Option<Time<Self>> {
        Some(reading.monotonic_raw)
    }
}
impl CrossClock for Realtime {
    fn of_precise<D>(reading: &PreciseReading<D>) -> Option<Time<Self>> {
        Some(reading.realtime)
    }
}

impl<D> PreciseReading<D> {
    /// `None` where one of the times makes no sense.
    pub(crate) fn parse(found: &libc::ptp_sys_offset_precise) -> Option<Self> {
        Some(Self {
            device: time(found.device)?,
            realtime: time(found.sys_realtime)?,
            monotonic_raw: time(found.sys_monoraw)?,
        })
    }
}

impl<D: Timescale> fmt::Debug for PreciseReading<D> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { device, realtime, monotonic_raw } = self;
        formatter
            .debug_struct("PreciseReading")
            .field("device", device)
            .field("realtime", realtime)
            .field("monotonic_raw", monotonic_raw)
            .finish()
    }
}

/// One reading of the device between two of the system's clock; `None` where one of them makes no sense.
pub(crate) fn reading<S, D>([before, device, after]: [libc::ptp_clock_time; 3]) -> Option<Reading<S, D>> {
    Some(Reading { before: time(before)?, device: time(device)?, after: time(after)? })
}

/// From system, device, system, device, ..., system: each reading shares its ends with its neighbours.
pub(crate) fn triples(times: &[libc::ptp_clock_time]) -> impl Iterator<Item = [libc::ptp_clock_time; 3]> {
    times.array_windows().step_by(2).copied()
}

fn time<C>(time: libc::ptp_clock_time) -> Option<Time<C>> {
    Time::from_parts(time.sec, time.nsec.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(sec: i64, nsec: u32) -> libc::ptp_clock_time {
        libc::ptp_clock_time { sec, nsec, reserved: 0 }
    }

    #[test]
    fn basic_readings_share_their_ends() {
        let times = [at(1, 0), at(70, 1), at(1, 2), at(70, 3), at(1, 4)];
        let readings: Option<Vec<Reading<Realtime>>> = triples(&times).map(reading).collect();
        let readings = readings.expect("all make sense");
        let expected = |before: i64, device: i64, after: i64| Reading::<Realtime> {
            before: Time::from_ns(1_000_000_000 + before),
            device: Time::from_ns(70_000_000_000 + device),
            after: Time::from_ns(1_000_000_000 + after),
        };
        assert_eq!(readings, [expected(0, 1, 2), expected(2, 3, 4)]);
    }

    #[test]
    fn a_time_that_makes_no_sense_is_no_reading() {
        assert!(reading::<Realtime, Phc>([at(1, 0), at(-1, 999_999_999), at(1, 1)]).is_some());
        assert_eq!(reading::<Realtime, Phc>([at(1, 0), at(0, 1_000_000_000), at(1, 1)]), None);
        assert_eq!(reading::<Realtime, Phc>([at(1, 0), at(i64::MAX, 0), at(1, 1)]), None);
    }

    #[test]
    fn the_precise_method_reads_two_clocks_of_the_system() {
        let found = libc::ptp_sys_offset_precise {
            device: at(1, 1),
            sys_realtime: at(2, 2),
            sys_monoraw: at(3, 3),
            rsv: [0; 4],
        };
        let reading = PreciseReading::<Phc>::parse(&found).expect("all make sense");
        assert_eq!(reading.device.as_ns(), 1_000_000_001);
        assert_eq!(Realtime::of_precise(&reading), Some(Time::from_ns(2_000_000_002)));
        assert_eq!(MonotonicRaw::of_precise(&reading), Some(Time::from_ns(3_000_000_003)));
        assert_eq!(Monotonic::of_precise(&reading), None);
        let found = libc::ptp_sys_offset_precise { sys_monoraw: at(3, u32::MAX), ..found };
        assert!(PreciseReading::<Phc>::parse(&found).is_none());
    }
}
