//! How a quantity is distributed, in bounded memory.

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// As many samples are kept as they are: quantiles are exact.
const FEW: usize = 8192;
const FEW_OF_ROUGH: usize = 64;

/// Samples of a quantity in nanoseconds, which may be negative.
///
/// Minimum, maximum, mean and standard deviation are exact. So are quantiles of up to 8192 samples; those of more are exact
/// below 32 us and to 0.007 % above. The memory depends on the largest sample, not on their number: 3 MB for ten seconds. Coarse
/// ones are exact below 2 us and to 0.1 % above, and take a sixteenth of the memory: what is recorded often stays in the caches. Rough
/// ones, of which there can be hundreds, are exact up to 64 samples, those of more below 256 ns and to 0.8 % above: 30 kB for ten seconds.
pub(crate) struct Distribution {
    count: u64,
    min: i64,
    max: i64,
    sum: i128,
    sum_of_squares: u128,
    samples: Samples,
    digits: u8,
}

/// Significant decimal digits of quantiles.
const FINE: u8 = 4;
const COARSE: u8 = 3;
const ROUGH: u8 = 2;

enum Samples {
    Few(Vec<i64>),
    Many(Box<Histograms>),
}

/// Histograms of the magnitudes of negative samples, and of the others.
struct Histograms {
    negative: Histogram<u64>,
    positive: Histogram<u64>,
}

/// What a [`Distribution`] comes to, in nanoseconds.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Statistics {
    pub(crate) min: i64,
    pub(crate) mean: i64,
    pub(crate) p50: i64,
    pub(crate) p90: i64,
    pub(crate) p99: i64,
    pub(crate) max: i64,
    /// Of the samples, not of the population that they were taken from: ping's mdev.
    pub(crate) stddev: i64,
}

impl Distribution {
    pub(crate) fn new() -> Self {
        Self::with_digits(FINE)
    }

    pub(crate) fn coarse() -> Self {
        Self::with_digits(COARSE)
    }

    pub(crate) fn rough() -> Self {
        Self::with_digits(ROUGH)
    }

    fn with_digits(digits: u8) -> Self {
        let samples = Samples::Few(Vec::new());
        Self { count: 0, min: i64::MAX, max: i64::MIN, sum: 0, sum_of_squares: 0, samples, digits }
    }

    pub(crate) fn record(&mut self, sample: i64) {
        self.count += 1;
        self.min = self.min.min(sample);
        self.max = self.max.max(sample);
        self.sum += i128::from(sample);
        self.sum_of_squares = self.sum_of_squares.saturating_add(u128::from(sample.unsigned_abs()).pow(2));
        self.samples.record(sample, self.digits);
    }

    /// Adds all samples of another.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.count += other.count;
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
        self.sum += other.sum;
        self.sum_of_squares = self.sum_of_squares.saturating_add(other.sum_of_squares);
        self.samples.merge(&other.samples, self.digits);
    }

    /// The samples that are not negative, and how many others there are.
    pub(crate) fn histogram(&self) -> (Histogram<u64>, u64) {
        let histograms = match &self.samples {
            Samples::Few(samples) => &Histograms::of(samples, self.digits),
            Samples::Many(histograms) => &**histograms,
        };
        (histograms.positive.clone(), histograms.negative.len())
    }

    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// `None` without a sample.
    pub(crate) fn statistics(&self) -> Option<Statistics> {
        if self.count == 0 {
            return None;
        }
        let mut of_rank = self.samples.of_ranks();
        let [p50, p90, p99] = [50, 90, 99].map(|percent| of_rank(self.rank(percent)).clamp(self.min, self.max));
        Some(Statistics { min: self.min, mean: self.mean(), p50, p90, p99, max: self.max, stddev: self.stddev() })
    }

    /// The distribution function from the smallest sample to the largest: values, and how many samples do not exceed each. Up to
    /// `points` of them, at least 2, are evenly spaced between the samples.
    pub(crate) fn cumulative(&self, points: u64) -> Vec<(i64, u64)> {
        let mut of_rank = self.samples.of_ranks();
        let last = points.min(self.count).saturating_sub(1);
        let rank = |point: u64| match last {
            0 => self.count,
            _ => {
                let rank = u128::from(point) * u128::from(self.count - 1) / u128::from(last) + 1;
                u64::try_from(rank).expect("at most count")
            }
        };
        let points = if self.count == 0 { 0..0 } else { 0..last + 1 };
        points.map(rank).map(|rank| (of_rank(rank).clamp(self.min, self.max), rank)).collect()
    }

    fn mean(&self) -> i64 {
        let count = i128::from(self.count);
        let rounded = (2 * self.sum + count).div_euclid(2 * count);
        i64::try_from(rounded).expect("between minimum and maximum")
    }

    fn stddev(&self) -> i64 {
        let count = u128::from(self.count);
        let squares = count.saturating_mul(self.sum_of_squares);
        let square = self.sum.unsigned_abs().saturating_mul(self.sum.unsigned_abs());
        // The root of count^2 times the variance.
        let root = squares.saturating_sub(square).isqrt();
        i64::try_from((root + count / 2) / count).unwrap_or(i64::MAX)
    }

    /// The rank, counted from 1, of the smallest sample that at least `percent` of 100 samples do not exceed.
    fn rank(&self, percent: u64) -> u64 {
        let rank = (u128::from(self.count) * u128::from(percent)).div_ceil(100);
        u64::try_from(rank).expect("at most count")
    }
}

fn few(digits: u8) -> usize {
    if digits == ROUGH { FEW_OF_ROUGH } else { FEW }
}

impl Samples {
    fn record(&mut self, sample: i64, digits: u8) {
        match self {
            Self::Few(samples) if samples.len() < few(digits) => samples.push(sample),
            Self::Few(samples) => {
                let mut histograms = Histograms::of(samples, digits);
                histograms.record(sample);
                *self = Self::Many(Box::new(histograms));
            }
            Self::Many(histograms) => histograms.record(sample),
        }
    }

    fn merge(&mut self, other: &Self, digits: u8) {
        match other {
            Self::Few(samples) => samples.iter().for_each(|sample| self.record(*sample, digits)),
            Self::Many(others) => {
                if let Self::Few(samples) = self {
                    *self = Self::Many(Box::new(Histograms::of(samples, digits)));
                }
                if let Self::Many(histograms) = self {
                    histograms.merge(others);
                }
            }
        }
    }

    /// Finds the samples of ranks, counted from 1 for the smallest, which it is to be asked for in ascending order.
    fn of_ranks(&self) -> Box<dyn FnMut(u64) -> i64 + '_> {
        match self {
            Self::Few(samples) => {
                let mut sorted = samples.clone();
                sorted.sort_unstable();
                Box::new(move |rank| sorted[usize::try_from(rank - 1).expect("a few")])
            }
            Self::Many(histograms) => {
                let mut steps = histograms.steps();
                let (mut seen, mut value) = (0, i64::MIN);
                Box::new(move |rank| {
                    while seen < rank {
                        let (at, count) = steps.next().expect("as many samples as were recorded");
                        (seen, value) = (seen + count, at);
                    }
                    value
                })
            }
        }
    }
}

impl Histograms {
    fn new(digits: u8) -> Self {
        let histogram = || Histogram::new(digits).expect("at most 5 digits");
        Self { negative: histogram(), positive: histogram() }
    }

    fn of(samples: &[i64], digits: u8) -> Self {
        let mut histograms = Self::new(digits);
        samples.iter().for_each(|sample| histograms.record(*sample));
        histograms
    }

    fn merge(&mut self, other: &Self) {
        for (own, other) in [(&mut self.negative, &other.negative), (&mut self.positive, &other.positive)] {
            own.add(other).expect("it grows as needed");
        }
    }

    fn record(&mut self, sample: i64) {
        let histogram = if sample < 0 { &mut self.negative } else { &mut self.positive };
        histogram.record(sample.unsigned_abs()).expect("it grows as needed");
    }

    /// Values in ascending order, each with the number of its samples.
    fn steps(&self) -> impl Iterator<Item = (i64, u64)> {
        let mut negative: Vec<_> = steps(&self.negative).map(|(magnitude, count)| (-magnitude, count)).collect();
        // The smallest sample is the largest magnitude.
        negative.reverse();
        negative.into_iter().chain(steps(&self.positive))
    }
}

fn steps(histogram: &Histogram<u64>) -> impl Iterator<Item = (i64, u64)> {
    histogram
        .iter_recorded()
        .map(|step| (i64::try_from(step.value_iterated_to()).unwrap_or(i64::MAX), step.count_since_last_iteration()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn statistics(samples: &[i64]) -> Option<Statistics> {
        let mut distribution = Distribution::new();
        samples.iter().for_each(|sample| distribution.record(*sample));
        distribution.statistics()
    }

    #[test]
    fn nothing_has_no_statistics() {
        assert_eq!(statistics(&[]), None);
    }

    #[test]
    fn one_sample_is_all_of_them() {
        for sample in [0, 1, -1, 42_149, -42_149, 9_999_999_999] {
            let all =
                Statistics { min: sample, mean: sample, p50: sample, p90: sample, p99: sample, max: sample, stddev: 0 };
            assert_eq!(statistics(&[sample]), Some(all));
        }
    }

    #[test]
    fn negative_samples_keep_their_place() {
        let samples: Vec<i64> = (-50..=49).map(|sample| sample * 10).collect();
        let expected = Statistics { min: -500, mean: -5, p50: -10, p90: 390, p99: 480, max: 490, stddev: 289 };
        assert_eq!(statistics(&samples), Some(expected));
    }

    #[test]
    fn a_small_spread_of_large_values_is_exact() {
        let statistics = statistics(&[5_000_000_000, 5_000_000_002, 5_000_000_004, 5_000_000_006]).expect("samples");
        assert_eq!((statistics.mean, statistics.stddev), (5_000_000_003, 2));
    }

    #[test]
    fn the_extremes_are_no_trouble() {
        for repeated in [1, FEW] {
            let samples: Vec<i64> = [i64::MIN, i64::MAX, 0].into_iter().cycle().take(3 * repeated).collect();
            let statistics = statistics(&samples).expect("samples");
            assert_eq!((statistics.min, statistics.p50, statistics.max), (i64::MIN, 0, i64::MAX));
        }
    }

    #[test]
    fn the_distribution_function_goes_from_the_smallest_to_the_largest() {
        let mut distribution = Distribution::new();
        assert_eq!(distribution.cumulative(5), []);
        distribution.record(7);
        assert_eq!(distribution.cumulative(5), [(7, 1)]);
        (0..8).for_each(|sample| distribution.record(sample * 10 - 20));
        assert_eq!(distribution.cumulative(5), [(-20, 1), (0, 3), (10, 5), (30, 7), (50, 9)]);
        assert_eq!(distribution.cumulative(100).len(), 9);
        let mut many = Distribution::new();
        (0..20_001).for_each(|sample| many.record(sample - 10_000));
        assert_eq!(many.cumulative(3), [(-10_000, 1), (0, 10_001), (10_000, 20_001)]);
    }

    #[test]
    fn rough_ones_are_right_to_a_hundredth() {
        let mut distribution = Distribution::rough();
        (1..=1000).for_each(|sample| distribution.record(sample * 1_000));
        let p50 = distribution.statistics().expect("samples").p50;
        assert!((p50 - 500_000).abs() <= 5_000, "{p50}");
    }

    fn sorted_agrees(mut samples: Vec<i64>, statistics: Statistics, tolerance: impl Fn(i64) -> i64) {
        samples.sort_unstable();
        let count = i64::try_from(samples.len()).expect("few");
        assert_eq!((statistics.min, statistics.max), (samples[0], samples[samples.len() - 1]));
        let doubled_error = (2 * statistics.mean * count - 2 * samples.iter().sum::<i64>()).abs();
        assert!(doubled_error <= count, "the mean is rounded to the nearest");
        for (percent, value) in [(50, statistics.p50), (90, statistics.p90), (99, statistics.p99)] {
            let exact = samples[(samples.len() * percent).div_ceil(100) - 1];
            assert!((value - exact).abs() <= tolerance(exact), "p{percent} is {value}, not {exact}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn few_samples_are_exact(samples in proptest::collection::vec(-3_000_000_000_i64..20_000_000_000, 1..300)) {
            let statistics = statistics(&samples).expect("samples");
            sorted_agrees(samples, statistics, |_| 0);
        }

        #[test]
        fn merged_is_as_recorded_together(
            some in proptest::collection::vec(-300_000_i64..20_000_000, 1..50),
            others in proptest::collection::vec(-300_000_i64..20_000_000, 1..50),
            repeats in prop_oneof![Just((1, 1)), Just((1, FEW)), Just((FEW, 1)), Just((FEW, FEW))],
        ) {
            let [mut parts, mut together] = [(); 2].map(|()| Distribution::new());
            let mut part = Distribution::new();
            some.iter().cycle().take(some.len() * repeats.0).for_each(|sample| { parts.record(*sample); together.record(*sample); });
            others.iter().cycle().take(others.len() * repeats.1).for_each(|sample| { part.record(*sample); together.record(*sample); });
            parts.merge(&part);
            prop_assert_eq!(parts.statistics(), together.statistics());
        }

        #[test]
        fn many_samples_are_nearly_exact(some in proptest::collection::vec(-300_000_i64..20_000_000, 50..100)) {
            let samples: Vec<i64> = some.iter().copied().cycle().take(FEW + 1).collect();
            let statistics = statistics(&samples).expect("samples");
            sorted_agrees(samples, statistics, |exact| exact.abs() / 14_000);
        }
    }
}
