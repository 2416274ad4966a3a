//! Servos: from offsets of a clock to adjustments of its frequency and steps of its time.
//!
//! They behave as those of phc2sys do, which sets its gains to 0.7 and 0.3 at any rate; [`Gains::for_interval`] has them depend on
//! the rate as ptp4l does. Frequencies are what is to be *set* on the steered
//! clock, in parts per billion (phc2sys prints them with the opposite sign).

mod linear_regression;
mod pi;
mod sanity;

use hwtstamp::{Span, Time};

pub use linear_regression::LinearRegression;
pub use pi::{Gains, Pi};
pub use sanity::SanityCheck;

/// What to do with the steered clock, whose times are marked with `C`.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Action {
    /// Nothing yet: the servo is learning (`s0`).
    Wait,
    /// Add to its time, then set its frequency in parts per billion (`s1`).
    Step {
        /// What to add to its time.
        by: Span,
        /// The adjustment of its frequency.
        frequency: f64,
    },
    /// Set its frequency in parts per billion (`s2`).
    Adjust {
        /// The adjustment of its frequency.
        frequency: f64,
    },
}

/// When a clock is stepped, and how fast it may be made to run.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Limits {
    /// Offsets above this are stepped, always. Zero: never.
    pub step_threshold: Span,
    /// Offsets above this are stepped at the first adjustment. Zero: never.
    pub first_step_threshold: Span,
    /// The largest adjustment of the frequency, in parts per billion: the steered clock's own limit. Negative
    /// ones, and what is not a number, count as zero.
    pub max_frequency: f64,
}

impl Limits {
    /// Those of phc2sys: a first step above 20 us, no step later.
    pub fn new(max_frequency: f64) -> Self {
        Self { step_threshold: Span::ZERO, first_step_threshold: Span::from_us(20), max_frequency }
    }

    fn clamp(&self, frequency: f64) -> f64 {
        let most = self.max_frequency.max(0.0);
        frequency.clamp(-most, most)
    }

    /// Whether an offset is to be stepped. `is_first`: no adjustment has been made yet.
    fn steps(&self, offset: Span, is_first: bool) -> bool {
        let exceeds = |threshold: Span| threshold > Span::ZERO && offset.abs() > threshold;
        exceeds(self.step_threshold) || is_first && exceeds(self.first_step_threshold)
    }
}

/// A servo of a clock whose times are marked with `C`.
pub trait Servo<C> {
    /// Takes an offset (steered clock less its reference), measured when the steered clock showed `at`.
    fn sample(&mut self, offset: Span, at: Time<C>) -> Action;

    /// Forgets what it has seen, as after an adjustment that failed. The frequency that was learnt stays.
    fn reset(&mut self);
}
