//! A check of the steered clock against another one.

use hwtstamp::{Monotonic, Span, Time};

use crate::line::{NS_PER_S, to_f64};

/// Shorter intervals are not checked: their ends would count too much.
const INTERVAL: Span = Span::from_s(1);

/// Checks that a steered clock runs about as fast as `CLOCK_MONOTONIC`, apart from the adjustments that were made: where it
/// does not, somebody else steers it too, or it was stepped.
///
/// Where the steered clock is the system's own, `CLOCK_MONOTONIC` is adjusted along with it, and what is compared with the
/// limit is the adjustment itself, as in phc2sys of linuxptp 3.1.1 to 4.4. (Its development
/// version compares with `CLOCK_MONOTONIC_RAW` instead.)
#[derive(Clone, Debug)]
pub struct SanityCheck {
    limit: f64,
    /// The adjustment in force, in parts per billion, once one was made.
    frequency: Option<f64>,
    /// The lowest and the highest adjustment since the last check.
    range: (f64, f64),
    /// Both clocks at the last check, in nanoseconds.
    last: Option<(i64, i64)>,
}

impl SanityCheck {
    /// phc2sys's limit in parts per billion: 20 %.
    pub const LIMIT: f64 = 200_000_000.0;

    /// A check with a limit in parts per billion.
    pub fn new(limit: f64) -> Self {
        Self { limit, frequency: None, range: (0.0, 0.0), last: None }
    }

    /// Whether the steered clock ran as it should since the last check. If not, its servo is to be reset.
    #[must_use]
    pub fn check<C>(&mut self, at: Time<C>, now: Time<Monotonic>) -> bool {
        let Some(frequency) = self.frequency else { return true };
        let (at, now) = (at.as_ns(), now.as_ns());
        let Some((last_at, last_now)) = self.last else {
            self.last = Some((at, now));
            self.range = (frequency, frequency);
            return true;
        };
        let (steered, elapsed) = (at.saturating_sub(last_at), now.saturating_sub(last_now));
        if elapsed < INTERVAL.as_ns() || (0..INTERVAL.as_ns()).contains(&steered) {
            return true;
        }
        let too_fast =
            |frequency: f64| NS_PER_S * (to_f64(steered) / (1.0 + frequency / NS_PER_S) / to_f64(elapsed) - 1.0);
        let is_sane = too_fast(self.range.1) <= self.limit && too_fast(self.range.0) >= -self.limit;
        self.last = Some((at, now));
        self.range = (frequency, frequency);
        is_sane
    }

    /// The frequency of the steered clock was adjusted to this, in parts per billion.
    pub fn adjusted(&mut self, frequency: f64) {
        self.range = match self.frequency {
            None => (frequency, frequency),
            Some(_) => (self.range.0.min(frequency), self.range.1.max(frequency)),
        };
        self.frequency = Some(frequency);
    }

    /// Time was added to the steered clock.
    pub fn stepped(&mut self, by: Span) {
        if let Some((at, _)) = &mut self.last {
            *at = at.saturating_add(by.as_ns());
        }
    }
}
