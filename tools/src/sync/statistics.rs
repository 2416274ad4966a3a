//! Statistics of a stream of values, as phc2sys makes them.

/// Of the values so far; none of them is kept.
#[derive(Clone, Copy, Default)]
pub(super) struct Statistics {
    count: u64,
    mean: f64,
    /// Of the squares' differences from the mean, after Welford: sums of squares alone lose the spread of large values.
    squared_difference: f64,
    square: f64,
    largest: f64,
}

impl Statistics {
    pub(super) fn add(&mut self, value: f64) {
        self.count += 1;
        let from_old = value - self.mean;
        #[expect(clippy::cast_precision_loss, reason = "2^53 updates take longer than any run")]
        let count = self.count as f64;
        self.mean += from_old / count;
        self.squared_difference += from_old * (value - self.mean);
        self.square += (value * value - self.square) / count;
        self.largest = self.largest.max(value.abs());
    }

    /// These, if they are of any values: those of none mean nothing.
    pub(super) fn any(self) -> Option<Self> {
        (self.count > 0).then_some(self)
    }

    /// 0 without values, as all of these.
    pub(super) fn mean(&self) -> f64 {
        self.mean
    }

    /// The root of the mean of the squares.
    pub(super) fn rms(&self) -> f64 {
        self.square.sqrt()
    }

    /// The largest value without its sign.
    pub(super) fn largest(&self) -> f64 {
        self.largest
    }

    /// Of these values themselves, not of what they are a sample of.
    pub(super) fn standard_deviation(&self) -> f64 {
        if self.count == 0 {
            return 0.0;
        }
        #[expect(clippy::cast_precision_loss, reason = "as above")]
        let count = self.count as f64;
        (self.squared_difference / count).sqrt()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_some_values() {
        let mut statistics = Statistics::default();
        [3.0, -5.0, 4.0, -2.0].into_iter().for_each(|value| statistics.add(value));
        assert_eq!((statistics.mean(), statistics.largest()), (0.0, 5.0));
        assert!(statistics.any().is_some());
        assert!((statistics.rms() - 13.5_f64.sqrt()).abs() < 1e-12);
        assert!((statistics.standard_deviation() - 13.5_f64.sqrt()).abs() < 1e-12);
    }

    #[test]
    fn of_none() {
        let none = Statistics::default();
        assert_eq!([none.mean(), none.rms(), none.largest(), none.standard_deviation()], [0.0; 4]);
        assert!(none.any().is_none());
    }

    #[test]
    fn large_values_keep_their_spread() {
        let mut statistics = Statistics::default();
        [1e12 + 1.0, 1e12 - 1.0].into_iter().for_each(|value| statistics.add(value));
        assert!((statistics.standard_deviation() - 1.0).abs() < 1e-3, "{}", statistics.standard_deviation());
    }
}
