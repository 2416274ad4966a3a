//! From readings against `CLOCK_REALTIME` to readings against `CLOCK_MONOTONIC`.

use hwtstamp::{Monotonic, Reading, Realtime, Span};

/// `CLOCK_REALTIME` read between two readings of `CLOCK_MONOTONIC`.
pub type Sandwich = Reading<Monotonic, Realtime>;

/// The difference of `CLOCK_REALTIME` and `CLOCK_MONOTONIC`, between two bounds.
///
/// Both clocks run at the same rate, always: their difference is exact and constant until somebody sets the time of day (or
/// a leap second does). Every sandwich confines it to an interval, and the true one lies in all of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bridge {
    lowest: Span,
    highest: Span,
}

impl Bridge {
    /// The difference that all the sandwiches allow. `None` where none does, as the time was set in between, and where there
    /// are no sandwiches.
    pub fn new(sandwiches: impl IntoIterator<Item = Sandwich>) -> Option<Self> {
        let mut bridges = sandwiches
            .into_iter()
            .map(|sandwich| Self { lowest: difference(&sandwich, false), highest: difference(&sandwich, true) });
        let first = bridges.next()?;
        let bridge = bridges.fold(first, Self::intersect);
        (bridge.lowest <= bridge.highest).then_some(bridge)
    }

    /// Brings readings over that were taken between two sets of sandwiches. `None` where the time was set in between: the
    /// readings are lost.
    pub fn cycle<D>(
        before: &[Sandwich],
        readings: &[Reading<Realtime, D>],
        after: &[Sandwich],
    ) -> Option<Vec<Reading<Monotonic, D>>> {
        let bridge = Self::new(before.iter().chain(after).copied())?;
        Some(readings.iter().map(|reading| bridge.bring(reading)).collect())
    }

    /// How well the difference is known.
    pub fn width(&self) -> Span {
        self.highest - self.lowest
    }

    /// The reading against `CLOCK_MONOTONIC`: longer by the width, so that the device's time is still inside.
    pub fn bring<D>(&self, reading: &Reading<Realtime, D>) -> Reading<Monotonic, D> {
        let brought =
            |time: hwtstamp::Time<Realtime>, difference: Span| hwtstamp::Time::from_ns((time - difference).as_ns());
        Reading {
            before: brought(reading.before, self.highest),
            device: reading.device,
            after: brought(reading.after, self.lowest),
        }
    }

    fn intersect(self, other: Self) -> Self {
        Self { lowest: self.lowest.max(other.lowest), highest: self.highest.min(other.highest) }
    }
}

/// `CLOCK_REALTIME` less `CLOCK_MONOTONIC`: at most, or at least.
fn difference(sandwich: &Sandwich, at_most: bool) -> Span {
    let monotonic = if at_most { sandwich.before } else { sandwich.after };
    Span::from_ns(sandwich.device.as_ns().saturating_sub(monotonic.as_ns()))
}
