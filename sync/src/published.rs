//! The line that was published last, and how its error grows.

use hwtstamp::Span;
use instamp_clockmap::{self as clockmap, MAX_ERROR_NS, MAX_GROWTH, MAX_RANGE_NS, MAX_RATE, Model, ONE};

use crate::{
    line::{Line, to_f64},
    window::{Adjustment, Point},
};

/// The line that was published last, and how its error grows. Errors are nanoseconds, without what all readings have in
/// common.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Published {
    pub(crate) line: Line,
    /// The device time of the reading that it was made at, the last one that agreed.
    pub(crate) made: i64,
    /// The error at that time.
    pub(crate) error: f64,
    /// By how much the error grows at first, as a fraction.
    pub(crate) growth: f64,
    /// As how large a change of the rate the last reading could have hidden, as a fraction. It is a part of the growth.
    pub(crate) hidden: f64,
    /// What was set of the frequencies since, as a fraction, and the line does not know of: less than is hidden.
    pub(crate) unheeded: f64,
    /// By how much the growth grows, per nanosecond.
    pub(crate) drift: f64,
    /// The first device time that it holds for.
    pub(crate) valid_from: i64,
}

/// What a reading says of the line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Verdict {
    /// It was never off by more than it said.
    Agrees,
    /// Nothing: the reading took too long.
    Silent,
    /// It may be off by more than it says.
    Doubtful,
    /// It is off by more than it says.
    Contradicts,
}

/// A reading compared with the line. All in nanoseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Comparison {
    pub(crate) verdict: Verdict,
    /// The middle of the reading less the line.
    pub(crate) residual: f64,
    /// How far the line can be off, by the reading alone.
    pub(crate) off: f64,
    /// How far it can be off, by what was known before.
    pub(crate) known: f64,
    /// How much later than halfway between the readings the frequency was set.
    pub(crate) late: f64,
    /// Since the line was made.
    pub(crate) elapsed: f64,
}

/// What else a model says.
pub(crate) struct Terms {
    pub(crate) state: clockmap::State,
    pub(crate) epoch: u64,
    /// The device time to publish it for.
    pub(crate) device: i64,
    /// The system time then.
    pub(crate) now: i64,
    pub(crate) validity: Span,
    /// What all readings have in common, in nanoseconds.
    pub(crate) common: f64,
    /// What `common` lacks to assume nothing, in nanoseconds.
    pub(crate) unassumed: f64,
}

impl Published {
    /// The error so many nanoseconds before or after it was made.
    pub(crate) fn error_after(&self, elapsed: i64) -> f64 {
        let elapsed = to_f64(elapsed).abs();
        self.error + self.growth * elapsed + self.drift * elapsed * elapsed / 2.0
    }

    /// Compares it with a reading whose middle can be off by `excess`.
    pub(crate) fn compare(&self, point: &Point, excess: f64, adjustment: &Adjustment) -> Comparison {
        let elapsed = point.system.saturating_sub(self.line.system_at(self.made));
        let known = self.error_after(elapsed);
        let residual = self.line.residual(point.device, point.system);
        let off = residual.abs() + excess;
        // What remains if the frequency was set halfway. Where the reading lies tells when it was.
        let unexpected = residual - adjustment.relative.signum() * adjustment.moved;
        let shift = unexpected.clamp(-adjustment.moved, adjustment.moved);
        // A clock that was stepped right after the line was made was off at once, and by what its rate is off since may have
        // come back. The error had not grown yet.
        let rate_error = self.growth - self.hidden;
        let verdict = if unexpected.abs() - excess > known + adjustment.moved {
            Verdict::Contradicts
        } else if off + rate_error * to_f64(elapsed).abs() <= self.error {
            Verdict::Agrees
        } else if excess > known {
            Verdict::Silent
        } else {
            Verdict::Doubtful
        };
        let late = if adjustment.relative == 0.0 { 0.0 } else { -shift / adjustment.relative };
        Comparison { verdict, residual, off, known, late, elapsed: to_f64(elapsed) }
    }

    /// The line with the frequencies as they are set now, at an unknown instant since it was made.
    pub(crate) fn set(&self, point: &Point, comparison: &Comparison) -> Self {
        let moved = self.unheeded.abs() * comparison.elapsed / 2.0;
        let line = Line {
            device: point.device,
            system: self.line.system_at(point.device),
            offset: self.unheeded.signum() * moved,
            rate: (1.0 + self.line.rate) * (1.0 + self.unheeded) - 1.0,
        };
        let (made, valid_from) = (point.device, point.device);
        Self { line, made, error: comparison.known + moved, unheeded: 0.0, valid_from, ..*self }
    }

    /// The line after a reading that leaves a doubt, where no other fits: until the next one it is as wrong as this one lets
    /// it be.
    pub(crate) fn widened(&self, point: &Point, comparison: &Comparison) -> Self {
        let growth = self.growth.max((comparison.off + self.error) / comparison.elapsed);
        Self { made: point.device, error: comparison.off.max(comparison.known), growth, ..*self }
    }

    /// The model to publish. `None` where numbers do not fit one.
    pub(crate) fn model(&self, terms: &Terms) -> Option<Model> {
        let valid_until = terms.device.saturating_add(terms.validity.as_ns());
        // The drift at the end of the validity, all the way: a straight growth has to cover a curved one.
        let growth = self.growth + self.drift * to_f64(valid_until.saturating_sub(self.made));
        let one = to_f64(i64::try_from(ONE).ok()?);
        let model = Model {
            state: terms.state,
            epoch: terms.epoch,
            device_ref_ns: u64::try_from(terms.device).ok()?,
            system_ref_ns: u64::try_from(self.line.system_at(terms.device)).ok()?,
            rate: crate::line::to_i64(self.line.rate * one),
            // Half a nanosecond for the middle of the reading, half for the rounding of the reference.
            error_ns: ceil(self.error_after(terms.device.saturating_sub(self.made)) + terms.common + 1.0),
            growth: ceil(growth * one),
            valid_from_ns: u64::try_from(self.valid_from).ok()?,
            valid_until_ns: u64::try_from(valid_until).ok()?,
            void_after_ns: u64::try_from(self.line.system_at(valid_until)).ok()?,
            as_of_ns: u64::try_from(self.made).ok()?,
            unassumed_ns: ceil(terms.unassumed),
            published_ns: u64::try_from(terms.now).ok()?,
        };
        let fits = model.rate.unsigned_abs() < MAX_RATE.unsigned_abs()
            && model.growth < MAX_GROWTH
            && model.error_ns < MAX_ERROR_NS
            && terms.validity.unsigned_ns() <= MAX_RANGE_NS;
        (fits && model.is_well_formed()).then_some(model)
    }
}

/// The next whole number, of what is never negative.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the conversion saturates at what is refused"
)]
fn ceil(number: f64) -> u64 {
    number.ceil() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readings_say_as_much_as_they_can_be_off() {
        const INTERVAL: i64 = 100_000_000;
        // The error is 10.5 ns, and 15.5 ns after an interval: 1 ns for the rate, and 4 ns for what may be hidden.
        let line = Line { device: 0, system: 0, offset: 0.0, rate: 0.0 };
        let (growth, hidden) = (5e-8, 4e-8);
        let published =
            Published { line, made: 0, error: 10.5, growth, hidden, unheeded: 0.0, drift: 0.0, valid_from: 0 };
        let unset = Adjustment { relative: 0.0, moved: 0.0 };
        for (residual, excess, verdict) in [
            (8, 1.0, Verdict::Agrees),
            (-8, 1.0, Verdict::Agrees),
            (9, 1.0, Verdict::Doubtful),
            (0, 15.0, Verdict::Doubtful),
            (0, 16.0, Verdict::Silent),
            (30, 16.0, Verdict::Silent),
            (32, 16.0, Verdict::Contradicts),
            (16, 1.0, Verdict::Doubtful),
            (17, 1.0, Verdict::Contradicts),
            (-17, 1.0, Verdict::Contradicts),
        ] {
            let point = Point::new(INTERVAL, INTERVAL + residual, 0.0);
            let comparison = published.compare(&point, excess, &unset);
            assert_eq!(comparison.verdict, verdict, "{residual} off, by up to {excess}");
        }
    }
}
