//! Which reading of a cycle is used.

use hwtstamp::{Monotonic, Reading};

use crate::line::{MAX_RATE, to_f64};

/// The reading to use: the shortest of the low quantile that most of the readings agree with.
///
/// Two readings agree where some difference of the clocks fits both. `None` where no short reading has the majority, or where
/// the last one disagrees: then a clock was stepped during the cycle. `tolerance` is how far a reading without a window can
/// be off, in nanoseconds.
pub(crate) fn choose(readings: &[Reading<Monotonic>], tolerance: f64) -> Option<Reading<Monotonic>> {
    let mut candidates: Vec<_> = possible(readings).collect();
    let last = candidates.last().copied()?;
    let (majority, quantile) = (candidates.len() / 2 + 1, candidates.len().div_ceil(4));
    candidates.sort_by_key(|reading| reading.window());
    candidates[..quantile]
        .iter()
        .find(|chosen| {
            agree(chosen, last, tolerance)
                && candidates.iter().filter(|other| agree(chosen, other, tolerance)).count() >= majority
        })
        .map(|chosen| **chosen)
}

/// The last reading of a cycle: it tells how the clocks stand, where they were stepped before it.
pub(crate) fn last(readings: &[Reading<Monotonic>]) -> Option<Reading<Monotonic>> {
    possible(readings).last().copied()
}

/// Readings do not end before they begin, unless a clock was set that should not be.
fn possible(readings: &[Reading<Monotonic>]) -> impl Iterator<Item = &Reading<Monotonic>> {
    readings.iter().filter(|reading| reading.before <= reading.after)
}

fn agree(one: &Reading<Monotonic>, other: &Reading<Monotonic>, tolerance: f64) -> bool {
    let middles = one.midpoint() - other.midpoint();
    let elapsed = one.device - other.device;
    // The clocks' rates may differ by so much while one reading follows the other.
    let reach = to_f64((one.window() + other.window()).as_ns()) / 2.0 + 2.0 * tolerance + 2.0;
    to_f64((middles - elapsed).as_ns()).abs() <= reach + MAX_RATE * to_f64(middles.abs().as_ns())
}

#[cfg(test)]
mod tests {
    use hwtstamp::Time;
    use proptest::prelude::*;

    use super::*;

    /// A reading of a device that is 1000 ns behind, taken at `at`, `early` after the beginning and `late` before the end.
    fn reading(at: i64, early: i64, late: i64) -> Reading<Monotonic> {
        Reading {
            before: Time::from_ns(at - early),
            device: Time::from_ns(at - 1_000),
            after: Time::from_ns(at + late),
        }
    }

    #[test]
    fn the_shortest_is_used() {
        let readings = [reading(10_000, 500, 600), reading(20_000, 500, 510), reading(30_000, 2_000, 500)];
        assert_eq!(choose(&readings, 0.0), Some(readings[1]));
        assert_eq!(choose(&[], 0.0), None);
    }

    #[test]
    fn a_false_one_is_not_used_however_short() {
        let mut readings = [
            reading(10_000, 50, 50),
            reading(20_000, 500, 510),
            reading(30_000, 700, 500),
            reading(40_000, 700, 600),
            reading(50_000, 500, 600),
        ];
        readings[0].device = Time::from_ns(7);
        assert_eq!(choose(&readings, 0.0), Some(readings[1]));
    }

    #[test]
    fn a_step_within_the_cycle_leaves_none() {
        let mut readings: Vec<_> = (1..=10).map(|at| reading(at * 10_000, 500, 500)).collect();
        for reading in &mut readings[7..] {
            reading.device += hwtstamp::Span::from_us(100);
        }
        assert_eq!(choose(&readings, 0.0), None);
    }

    #[test]
    fn a_reading_that_ends_before_it_begins_is_none() {
        assert_eq!(choose(&[reading(10_000, -500, -500)], 0.0), None);
    }

    proptest! {
        #[test]
        fn true_readings_always_yield_their_shortest(legs in prop::collection::vec((0_i64..100_000, 0_i64..100_000), 1..30)) {
            let readings: Vec<_> =
                legs.iter().zip(1..).map(|((early, late), i)| reading(i * 250_000, *early, *late)).collect();
            let shortest = readings.iter().map(Reading::window).min();
            prop_assert_eq!(choose(&readings, 0.0).map(|chosen| chosen.window()), shortest);
        }
    }
}
