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
    ///
    /// A time that is set by less than a sandwich takes, tens of nanoseconds, can remain unseen. Readings that lie between the
    /// sandwiches are then off by as much at most.
    pub fn new(sandwiches: impl IntoIterator<Item = Sandwich>) -> Option<Self> {
        let mut bridges = sandwiches
            .into_iter()
            .map(|sandwich| Self { lowest: difference(&sandwich, false), highest: difference(&sandwich, true) });
        let first = bridges.next()?;
        let bridge = bridges.fold(first, Self::intersect);
        (bridge.lowest <= bridge.highest).then_some(bridge)
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

#[cfg(test)]
mod tests {
    use hwtstamp::{Phc, Time};
    use proptest::prelude::*;

    use super::*;

    const DIFFERENCE: i64 = 1_790_000_000_000_000_000;

    /// A sandwich that was begun at `at`, where `CLOCK_REALTIME` is ahead by `difference`.
    fn sandwich((at, first, second): (i64, i64, i64), difference: i64) -> Sandwich {
        Reading {
            before: Time::from_ns(at),
            device: Time::from_ns(at + first + difference),
            after: Time::from_ns(at + first + second),
        }
    }

    fn gaps() -> impl Strategy<Value = Vec<(i64, i64, i64)>> {
        prop::collection::vec((0_i64..1 << 50, 0_i64..1_000, 0_i64..1_000), 1..8)
    }

    fn reading(before: i64, after: i64) -> Reading<Realtime, Phc> {
        Reading { before: Time::from_ns(before), device: Time::from_ns(7), after: Time::from_ns(after) }
    }

    #[test]
    fn without_sandwiches_there_is_no_bridge() {
        assert_eq!(Bridge::new([]), None);
    }

    #[test]
    fn sandwiches_on_either_side_of_a_step_make_no_bridge() {
        let before = sandwich((0, 20, 20), DIFFERENCE);
        let after = sandwich((100, 20, 20), DIFFERENCE - 1_000_000_000);
        assert_eq!(Bridge::new([before, after]), None);
        assert!(Bridge::new([before, before]).is_some());
    }

    proptest! {
        #[test]
        fn the_difference_lies_inside_and_is_never_wider_than_a_sandwich(gaps in gaps()) {
            let sandwiches: Vec<_> = gaps.iter().map(|gaps| sandwich(*gaps, DIFFERENCE)).collect();
            let bridge = Bridge::new(sandwiches.iter().copied()).expect("no step");
            prop_assert!((bridge.lowest.as_ns()..=bridge.highest.as_ns()).contains(&DIFFERENCE));
            let narrowest = sandwiches.iter().map(Reading::window).min().expect("at least one");
            prop_assert!(bridge.width() <= narrowest);
        }

        #[test]
        fn more_sandwiches_never_widen_it(gaps in gaps(), more in gaps()) {
            let sandwiches = |gaps: &[_]| gaps.iter().map(|gaps| sandwich(*gaps, DIFFERENCE)).collect::<Vec<_>>();
            let few = Bridge::new(sandwiches(&gaps)).expect("no step");
            let many = Bridge::new(sandwiches(&gaps).into_iter().chain(sandwiches(&more))).expect("no step");
            prop_assert!(few.lowest <= many.lowest && many.highest <= few.highest);
        }

        #[test]
        fn a_reading_still_holds_its_instant(gaps in gaps(), at in 0_i64..1 << 50, early in 0_i64..10_000, late in 0_i64..10_000) {
            let bridge = Bridge::new(gaps.iter().map(|gaps| sandwich(*gaps, DIFFERENCE))).expect("no step");
            let brought = bridge.bring(&reading(at - early + DIFFERENCE, at + late + DIFFERENCE));
            prop_assert!(brought.before.as_ns() <= at && at <= brought.after.as_ns());
            prop_assert_eq!(brought.window().as_ns(), early + late + bridge.width().as_ns());
        }

        #[test]
        fn steps_beyond_the_widths_are_seen(before in gaps(), after in gaps(), by in 2_000_i64..1 << 60, forward: bool) {
            let by = if forward { by } else { -by };
            let before = before.iter().map(|gaps| sandwich(*gaps, DIFFERENCE));
            let after = after.iter().map(|gaps| sandwich(*gaps, DIFFERENCE + by));
            prop_assert_eq!(Bridge::new(before.chain(after)), None);
        }
    }
}
