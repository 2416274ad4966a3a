//! One clock read between two readings of another.

use std::fmt;

use crate::{Phc, Span, SystemClock, Time, Timescale};

/// A reading of the clock `D`, and what the clock `S` showed before and after it.
///
/// The instant at which the device was read lies between `before` and `after`; where exactly, no software can tell. With
/// [`PTP_SYS_OFFSET_PRECISE`](crate::Method::Precise) hardware has read both clocks at once, and the two are equal.
///
/// Readings against two clocks do not mix:
///
/// ```compile_fail,E0308
/// use hwtstamp::{Monotonic, Reading, Realtime, Time};
///
/// let readings: Vec<Reading<Monotonic>> = vec![Reading {
///     before: Time::<Realtime>::from_ns(0),
///     device: Time::from_ns(0),
///     after: Time::<Realtime>::from_ns(1),
/// }];
/// ```
///
/// ```compile_fail,E0308
/// use hwtstamp::{Monotonic, Reading, Realtime, Time};
///
/// let reading: Reading<Monotonic> =
///     Reading { before: Time::from_ns(0), device: Time::from_ns(0), after: Time::<Realtime>::from_ns(1) };
/// ```
pub struct Reading<S, D = Phc> {
    /// What the system's clock showed before.
    pub before: Time<S>,
    /// What the device's clock showed.
    pub device: Time<D>,
    /// What the system's clock showed after.
    pub after: Time<S>,
}

impl<S, D> Reading<S, D> {
    /// How long the reading took: negative where the system's clock was stepped back meanwhile.
    #[must_use]
    pub fn window(&self) -> Span {
        self.after - self.before
    }

    /// The system's time in the middle of the window: the best guess without further knowledge.
    #[must_use]
    pub fn midpoint(&self) -> Time<S> {
        self.before.midpoint(self.after)
    }
}

impl<S: SystemClock, D: SystemClock> Reading<S, D> {
    /// Reads one clock of the system between two readings of another.
    ///
    /// ```
    /// use hwtstamp::{Monotonic, Reading, Realtime};
    ///
    /// let reading = Reading::<Monotonic, Realtime>::sandwich();
    /// assert!(reading.before <= reading.after);
    /// ```
    #[must_use]
    pub fn sandwich() -> Self {
        // Named in the order of reading, whatever that of the fields is.
        let before = S::now();
        let device = D::now();
        let after = S::now();
        Self { before, device, after }
    }
}

impl<S, D> Copy for Reading<S, D> {}
impl<S, D> Clone for Reading<S, D> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<S, D> PartialEq for Reading<S, D> {
    fn eq(&self, other: &Self) -> bool {
        (self.before, self.device, self.after) == (other.before, other.device, other.after)
    }
}
impl<S, D> Eq for Reading<S, D> {}
impl<S: Timescale, D: Timescale> fmt::Debug for Reading<S, D> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { before, device, after } = self;
        formatter.debug_struct("Reading").field("before", before).field("device", device).field("after", after).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Monotonic, MonotonicRaw};

    #[test]
    fn a_window_has_a_middle() {
        let reading =
            Reading::<Monotonic> { before: Time::from_ns(100), device: Time::from_ns(7), after: Time::from_ns(201) };
        assert_eq!(reading.window(), Span::from_ns(101));
        assert_eq!(reading.midpoint(), Time::from_ns(150));
    }

    #[test]
    fn clocks_of_the_system_are_read_in_order() {
        let (first, second) =
            (Reading::<Monotonic, MonotonicRaw>::sandwich(), Reading::<Monotonic, MonotonicRaw>::sandwich());
        for reading in [first, second] {
            assert!(reading.window() >= Span::ZERO, "{reading:?}");
        }
        assert!(first.after <= second.before && first.device <= second.device);
    }
}
