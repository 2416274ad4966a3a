//! A straight line from device time to system time.

pub(crate) const NS_PER_S: f64 = 1e9;

/// No clock that can be modelled runs faster or slower than another by more.
pub(crate) const MAX_RATE: f64 = 1.0 / 1024.0;
const _: () = assert!(instamp_clockmap::MAX_RATE.unsigned_abs() * 1024 == instamp_clockmap::ONE);

/// A straight line from device time to system time. Absolute times are whole nanoseconds, so that nothing is lost where a
/// floating-point number would have to hold them; only differences are fractions.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Line {
    /// A device time.
    pub(crate) device: i64,
    /// The system time at it.
    pub(crate) system: i64,
    /// What is to be added to that, in nanoseconds.
    pub(crate) offset: f64,
    /// System nanoseconds gained per device nanosecond.
    pub(crate) rate: f64,
}

impl Line {
    /// The system time of a device time less that of the line, in nanoseconds.
    pub(crate) fn residual(&self, device: i64, system: i64) -> f64 {
        let elapsed = device.saturating_sub(self.device);
        to_f64(system.saturating_sub(self.system).saturating_sub(elapsed)) - self.offset - self.rate * to_f64(elapsed)
    }

    /// The system time of a device time, to the nearest nanosecond.
    pub(crate) fn system_at(&self, device: i64) -> i64 {
        let elapsed = device.saturating_sub(self.device);
        self.system.saturating_add(elapsed).saturating_add(to_i64(self.offset + self.rate * to_f64(elapsed)))
    }

    /// The device time of a system time, to about a nanosecond.
    pub(crate) fn device_at(&self, system: i64) -> i64 {
        let elapsed = to_f64(system.saturating_sub(self.system)) - self.offset;
        self.device.saturating_add(to_i64(elapsed / (1.0 + self.rate)))
    }
}

/// A difference of times as a fraction.
#[expect(clippy::cast_precision_loss, reason = "differences beyond 2^53 ns, 104 days, need no nanoseconds")]
pub(crate) fn to_f64(ns: i64) -> f64 {
    ns as f64
}

/// The nearest whole number.
#[expect(clippy::cast_possible_truncation, reason = "the conversion saturates, and times that far away are refused")]
pub(crate) fn to_i64(ns: f64) -> i64 {
    ns.round() as i64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn there_and_back(device in 0..i64::MAX / 4, system in 0..i64::MAX / 4, ppb in -900_000.0..900_000.0, elapsed in -(1_i64 << 36)..1 << 36) {
            let line = Line { device, system, offset: 0.25, rate: ppb * 1e-9 };
            let at = line.system_at(device + elapsed);
            prop_assert!((line.device_at(at) - device - elapsed).abs() <= 1);
            prop_assert!(line.residual(device + elapsed, at).abs() <= 0.5 + 1e-3);
        }
    }
}
