//! Frequency adjustments in the kernel's unit.

use std::{fmt, ops::Neg};

/// How much faster than its own oscillator a clock is made to run.
///
/// Held in the kernel's unit, 2⁻¹⁶ parts per million (about 0.015 ppb), so that what was read can be written back exactly.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Frequency {
    scaled_ppm: i64,
}

/// How many of the kernel's units make one part per billion.
const SCALED_PER_PPB: f64 = 65.536;

impl Frequency {
    /// The oscillator's own.
    pub const ZERO: Self = Self::from_scaled_ppm(0);

    /// From the kernel's unit, 2⁻¹⁶ ppm.
    #[must_use]
    pub const fn from_scaled_ppm(scaled_ppm: i64) -> Self {
        Self { scaled_ppm }
    }

    /// In the kernel's unit, 2⁻¹⁶ ppm.
    #[must_use]
    pub const fn scaled_ppm(self) -> i64 {
        self.scaled_ppm
    }

    /// The nearest to a number of parts per billion. What is out of range becomes the nearest end, and NaN becomes zero.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "the conversion saturates, as documented")]
    pub fn from_ppb(ppb: f64) -> Self {
        Self::from_scaled_ppm((ppb * SCALED_PER_PPB).round() as i64)
    }

    /// In parts per billion: exact to a double's 53 bits.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "adjustments beyond 53 bits would be faster than any clock")]
    pub fn ppb(self) -> f64 {
        self.scaled_ppm as f64 / SCALED_PER_PPB
    }

    /// Without its sign.
    #[must_use]
    pub const fn abs(self) -> Self {
        Self::from_scaled_ppm(self.scaled_ppm.saturating_abs())
    }
}

impl Neg for Frequency {
    type Output = Self;

    fn neg(self) -> Self {
        Self::from_scaled_ppm(self.scaled_ppm.saturating_neg())
    }
}

impl fmt::Display for Frequency {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:+.3} ppb", self.ppb())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn known_values() {
        for (ppb, scaled_ppm) in [(0.0, 0), (1_000.0, 65_536), (-1_000.0, -65_536), (1.0, 66), (-0.008, -1), (0.007, 0)]
        {
            assert_eq!(Frequency::from_ppb(ppb).scaled_ppm(), scaled_ppm, "{ppb} ppb");
        }
        assert!((Frequency::from_scaled_ppm(32_768).ppb() - 500.0).abs() < 1e-9);
        assert_eq!(Frequency::from_ppb(f64::INFINITY).scaled_ppm(), i64::MAX);
        assert_eq!(Frequency::from_ppb(f64::NAN), Frequency::ZERO);
        assert_eq!(Frequency::from_ppb(-12.345).to_string(), "-12.344 ppb");
    }

    proptest! {
        #[test]
        fn what_was_read_is_written_back_exactly(scaled_ppm in -(1_i64 << 46)..=1 << 46) {
            let frequency = Frequency::from_scaled_ppm(scaled_ppm);
            prop_assert_eq!(Frequency::from_ppb(frequency.ppb()), frequency);
        }
    }
}
