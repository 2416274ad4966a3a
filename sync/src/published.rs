//! The line that was published last, and how its error grows.

use hwtstamp::Span;
use instamp_clockmap::{self as clockmap, MAX_ERROR_NS, MAX_GROWTH, MAX_RANGE_NS, MAX_RATE, Model, ONE};

use crate::{
    line::{Line, to_f64},
    window::Point,
};

/// The line that was published last, and how its error grows. Errors are nanoseconds, without what all readings have in
/// common.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Published {
    pub(crate) line: Line,
    /// The device time of the reading that it was made at.
    pub(crate) made: i64,
    /// The error at that time.
    pub(crate) error: f64,
    /// The error since [`as_of`](Self::as_of): what a reading has to keep to that confirms all of it.
    pub(crate) proven: f64,
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
    /// The device time of the last reading that agreed.
    pub(crate) as_of: i64,
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
    /// Half the shortest reading, in nanoseconds.
    pub(crate) asymmetry: f64,
}

impl Published {
    /// The error so many nanoseconds before or after it was made.
    pub(crate) fn error_after(&self, elapsed: i64) -> f64 {
        let elapsed = to_f64(elapsed).abs();
        self.error + self.growth * elapsed + self.drift * elapsed * elapsed / 2.0
    }

    /// The line after the system's frequency, in relation to the device's, was adjusted by `relative` before `point`, which
    /// moves it by `moved` at the most. `error` is what it was before.
    pub(crate) fn set(&self, relative: f64, point: &Point, moved: f64, error: f64) -> Self {
        let line = Line {
            device: point.device,
            system: self.line.system_at(point.device),
            offset: relative.signum() * moved,
            rate: (1.0 + self.line.rate) * (1.0 + relative) - 1.0,
        };
        let (made, as_of, valid_from) = (point.device, point.device, point.device);
        let error = error + moved;
        Self { line, made, error, proven: error, unheeded: 0.0, valid_from, as_of, ..*self }
    }

    /// The line goes on after a reading that can be `off` by so much, as wrong as that lets it be: `error` is at least that.
    pub(crate) fn widened(&self, point: &Point, off: f64, error: f64, elapsed: f64) -> Self {
        let growth = self.growth.max((off + self.error) / elapsed);
        Self { made: point.device, error, growth, ..*self }
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
            as_of_ns: u64::try_from(self.as_of).ok()?,
            asymmetry_ns: ceil(terms.asymmetry),
            published_ns: u64::try_from(terms.now).ok()?,
        };
        let fits = model.rate.abs() < MAX_RATE
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
