//! How coarse the device's clock is.

use std::collections::VecDeque;

use hwtstamp::{Monotonic, Reading};

use crate::line::to_f64;

/// From how many differences it is told.
const DIFFERENCES: usize = 64;

/// The differences of device times that were read one after the other.
///
/// A counter that is turned into nanoseconds shows multiples of its period, rounded: 8 ns on one card, 41.67 on another. No
/// driver tells which, and `clock_getres` says 1 ns of all. Differences between readings, some of which took longer than
/// others, then leave gaps of a period where otherwise every value comes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Resolution {
    differences: VecDeque<i64>,
}

impl Resolution {
    /// Takes the readings of a cycle, in the order in which they were taken.
    pub(crate) fn note(&mut self, readings: &[Reading<Monotonic>]) {
        let late = readings.windows(2).map(|pair| (pair[1].device - pair[0].device).as_ns());
        self.differences.extend(late);
        let surplus = self.differences.len().saturating_sub(DIFFERENCES);
        self.differences.drain(..surplus);
    }

    /// The period, in nanoseconds; at least the one that times are told in. Rather too long where there are few differences.
    pub(crate) fn ns(&self) -> f64 {
        let mut sorted: Vec<_> = self.differences.iter().copied().collect();
        sorted.sort_unstable();
        let gaps = || sorted.windows(2).map(|pair| pair[1].saturating_sub(pair[0])).filter(|gap| *gap > 0);
        let exact = gaps().fold(0, greatest_common_divisor);
        // Multiples of a period that is not whole are rounded up or down, and two of them lie closer by up to two.
        let rounded = gaps()
            .filter(|gap| *gap > 2)
            .min()
            .filter(|_| gaps().all(|gap| gap != 2))
            .map_or(1, |gap| gap.saturating_add(2));
        to_f64(if exact > 1 { exact } else { rounded })
    }
}

fn greatest_common_divisor(one: i64, other: i64) -> i64 {
    if other == 0 { one } else { greatest_common_divisor(other, one % other) }
}

#[cfg(test)]
mod tests {
    use hwtstamp::Time;
    use proptest::prelude::*;

    use super::*;

    /// What is found of a clock with a period, of readings so far apart.
    fn found(period: f64, apart: &[u32]) -> f64 {
        let mut at = 1e12;
        let readings: Vec<_> = apart
            .iter()
            .map(|apart| {
                at += f64::from(*apart);
                #[expect(clippy::cast_possible_truncation, reason = "a time of minutes")]
                let device = Time::from_ns(((at / period).floor() * period) as i64);
                Reading { before: Time::from_ns(0), device, after: Time::from_ns(0) }
            })
            .collect();
        let mut resolution = Resolution::default();
        readings.chunks(20).for_each(|cycle| resolution.note(cycle));
        resolution.ns()
    }

    proptest! {
        #[test]
        fn periods_are_found(period in prop::sample::select(&[6.4_f64, 8.0, 12.8, 16.0, 40.0, 41.666_666_666_7, 64.0][..]), apart in prop::collection::vec(900_u32..1_400, 80)) {
            let found = found(period, &apart);
            prop_assert!((period..=3.0 * period + 2.0).contains(&found), "{found}");
        }

        #[test]
        fn a_fine_clock_is_not_taken_for_a_coarse_one(apart in prop::collection::vec(900_u32..1_400, 80)) {
            prop_assert!(found(1.0, &apart) <= 8.0, "{}", found(1.0, &apart));
        }
    }

    #[test]
    fn without_differences_it_is_that_of_the_times() {
        assert_eq!(found(40.0, &[]), 1.0);
        assert_eq!(found(40.0, &[1_000]), 1.0);
    }
}
