//! The proportional-integral servo.

use hwtstamp::{Span, Time};

use super::{Action, Limits, Servo};

/// How strongly the servo answers.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Gains {
    /// Of the offset, per second.
    pub proportional: f64,
    /// Of the sum of offsets, per second.
    pub integral: f64,
}

impl Default for Gains {
    /// phc2sys's constants.
    fn default() -> Self {
        Self { proportional: 0.7, integral: 0.3 }
    }
}

/// The proportional-integral servo of phc2sys.
#[derive(Clone, Debug)]
pub struct Pi {
    gains: Gains,
    limits: Limits,
    /// The frequency without the proportional part.
    drift: f64,
}

impl Pi {
    /// A servo for samples every `interval`, of a clock whose frequency is adjusted by `frequency` now.
    pub fn new(gains: Gains, limits: Limits, interval: Span, frequency: f64) -> Self {
        let _ = interval;
        Self { gains, limits, drift: frequency }
    }
}

impl<C> Servo<C> for Pi {
    fn sample(&mut self, _offset: Span, _at: Time<C>) -> Action {
        Action::Wait
    }

    fn reset(&mut self) {
        let _ = (self.gains, self.limits, self.drift);
    }
}
