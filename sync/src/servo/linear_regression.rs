//! The adaptive servo that regresses over the last offsets.

use std::collections::VecDeque;

use hwtstamp::{Span, Time};

use super::{Action, Limits, Servo};
use crate::{
    line::{NS_PER_S, to_f64, to_i64},
    regression::Fit,
};

/// Regressions go over 4, 8, 16, 32 and 64 samples: the powers of two that have these exponents.
const SMALLEST: usize = 2;
const LARGEST: usize = 6;
/// How much the latest error of a prediction counts in the mean.
const SMOOTHING: f64 = 0.02;
/// Of so many first errors the plain mean is taken.
const FIRST_ERRORS: u32 = 10;
/// A longer regression is taken if its mean error is not worse by more than this.
const EQUAL: f64 = 1.05;

/// The linear-regression servo of phc2sys: it fits lines through the last 4 to 64 samples and follows the one that has
/// predicted best.
#[derive(Clone, Debug)]
pub struct LinearRegression {
    limits: Limits,
    /// Between samples, in seconds.
    interval: f64,
    /// Newest last. Times are those of the steered clock if it had never been adjusted (`free`), and of its reference.
    samples: VecDeque<Point>,
    /// The steered clock now, as it is and as it would be without adjustments. Only differences count.
    now: Point,
    /// What of the free-running time is less than a nanosecond.
    remainder: f64,
    last: Option<i64>,
    regressions: [Regression; LARGEST - SMALLEST + 1],
    /// By how much the frequency is adjusted, in parts per billion.
    frequency: f64,
    is_first: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Point {
    free: i64,
    reference: i64,
}

/// The regression over one number of samples.
#[derive(Clone, Copy, Debug, Default)]
struct Regression {
    /// Reference time, less the steered clock's time now, against free-running time less that now; in excess of the latter.
    fit: Option<Fit>,
    mean_error: f64,
    errors: u32,
}

impl Regression {
    fn judge(&mut self, error: f64) {
        if self.errors < FIRST_ERRORS {
            self.mean_error = (self.mean_error * f64::from(self.errors) + error) / f64::from(self.errors + 1);
            self.errors += 1;
        } else {
            self.mean_error += SMOOTHING * (error - self.mean_error);
        }
    }
}

impl LinearRegression {
    /// A servo for samples every `interval`, of a clock whose frequency is adjusted by `frequency` parts per billion now.
    pub fn new(limits: Limits, interval: Span, frequency: f64) -> Self {
        Self {
            limits,
            interval: to_f64(interval.as_ns()) / NS_PER_S,
            samples: VecDeque::new(),
            now: Point::default(),
            remainder: 0.0,
            last: None,
            regressions: [Regression::default(); LARGEST - SMALLEST + 1],
            frequency,
            is_first: true,
        }
    }

    /// Moves to a new time of the steered clock, and all lines with it.
    fn advance(&mut self, at: i64) {
        if let Some(last) = self.last {
            let elapsed = at.saturating_sub(last);
            let exact = to_f64(elapsed) * (1.0 - self.frequency / (NS_PER_S + self.frequency)) + self.remainder;
            let free = to_i64(exact);
            self.remainder = exact - to_f64(free);
            self.shift(free, elapsed);
        }
        self.last = Some(at);
    }

    fn shift(&mut self, free: i64, steered: i64) {
        self.now.free = self.now.free.saturating_add(free);
        self.now.reference = self.now.reference.saturating_add(steered);
        for regression in &mut self.regressions {
            if let Some(fit) = &mut regression.fit {
                fit.intercept += to_f64(free) * fit.slope + to_f64(free.saturating_sub(steered));
            }
        }
    }

    fn regress(&mut self) {
        let Some(newest) = self.samples.back().map(|point| point.reference.saturating_sub(self.now.reference)) else {
            return;
        };
        for (regression, exponent) in self.regressions.iter_mut().zip(SMALLEST..) {
            let count = 1 << exponent;
            if self.samples.len() < count {
                break;
            }
            if let Some(fit) = regression.fit {
                regression.judge((fit.intercept - to_f64(newest)).abs());
            }
            let late = self.samples.range(self.samples.len() - count..);
            regression.fit = least_squares(late, self.now, to_f64(1 << exponent));
        }
    }

    /// The longest of the regressions that predict best, and its exponent.
    fn best(&self) -> Option<(Fit, usize)> {
        let mut best: Option<(Fit, usize, f64)> = None;
        for (regression, exponent) in self.regressions.iter().zip(SMALLEST..) {
            let Some(fit) = regression.fit else { continue };
            let is_better = best
                .is_none_or(|(.., error)| regression.errors >= FIRST_ERRORS && regression.mean_error < error * EQUAL);
            if is_better {
                best = Some((fit, exponent, regression.mean_error));
            }
        }
        best.map(|(fit, exponent, _)| (fit, exponent))
    }
}

fn least_squares<'a>(points: impl Iterator<Item = &'a Point> + Clone, now: Point, count: f64) -> Option<Fit> {
    let relative = points.map(|point| {
        let (x, y) = (point.free.saturating_sub(now.free), point.reference.saturating_sub(now.reference));
        (to_f64(x), to_f64(y.saturating_sub(x)))
    });
    let (x_sum, y_sum) = relative.clone().fold((0.0, 0.0), |(x_sum, y_sum), (x, y)| (x_sum + x, y_sum + y));
    let (x_mean, y_mean) = (x_sum / count, y_sum / count);
    let (xx, xy) = relative
        .fold((0.0, 0.0), |(xx, xy), (x, y)| (xx + (x - x_mean) * (x - x_mean), xy + (x - x_mean) * (y - y_mean)));
    let slope = xy / xx;
    slope.is_finite().then_some(Fit { intercept: y_mean - slope * x_mean, slope })
}

impl<C> Servo<C> for LinearRegression {
    fn sample(&mut self, offset: Span, at: Time<C>) -> Action {
        self.advance(at.as_ns());
        if self.samples.len() == 1 << LARGEST {
            self.samples.pop_front();
        }
        self.samples
            .push_back(Point { free: self.now.free, reference: self.now.reference.saturating_sub(offset.as_ns()) });
        self.regress();
        let Some((fit, exponent)) = self.best() else { return Action::Wait };
        let behind = Span::from_ns(to_i64(fit.intercept));
        let steps = self.limits.steps(behind, std::mem::take(&mut self.is_first));
        let mut behind = fit.intercept;
        if steps {
            behind += to_f64(offset.as_ns());
            self.shift(0, (-offset).as_ns());
            self.last = self.last.map(|last| last.saturating_sub(offset.as_ns()));
        }
        // Longer regressions correct the offset more slowly: their frequency is worth keeping.
        let intervals = if exponent <= 4 { 1.0 } else { f64::from(u8::from(exponent == LARGEST)) + 2.0 };
        self.frequency = self.limits.clamp(fit.slope * NS_PER_S + behind / self.interval / intervals);
        let frequency = self.frequency;
        if steps { Action::Step { by: -offset, frequency } } else { Action::Adjust { frequency } }
    }

    fn reset(&mut self) {
        self.samples.clear();
        self.last = None;
        self.regressions = [Regression::default(); LARGEST - SMALLEST + 1];
    }
}

#[cfg(test)]
mod tests {
    use hwtstamp::Phc;

    use super::*;

    const SECOND: i64 = 1_000_000_000;

    /// Samples every second of a clock that is `behind` at first and loses `lost` more every second.
    fn offset(second: i64, behind: i64, lost: i64) -> Span {
        Span::from_ns(-behind - lost * second)
    }

    #[test]
    fn four_samples_make_a_line() {
        let mut servo = LinearRegression::new(Limits::new(1e6), Span::from_s(1), 0.0);
        let mut sample = |second| {
            Servo::<Phc>::sample(&mut servo, offset(second, 0, 1_000), Time::from_ns(second * SECOND - 1_000 * second))
        };
        assert_eq!([0, 1, 2].map(&mut sample), [Action::Wait; 3]);
        // It loses 1000 ppb, and 3000 ns are to be made up within a second.
        let Action::Adjust { frequency } = sample(3) else { panic!("the fourth sample adjusts") };
        assert!((frequency - 4_000.0).abs() < 0.1, "{frequency}");
    }

    #[test]
    fn a_large_first_offset_is_stepped() {
        let mut servo = LinearRegression::new(Limits::new(1e6), Span::from_s(1), 0.0);
        let mut sample =
            |second| Servo::<Phc>::sample(&mut servo, offset(second, 50_000, 0), Time::from_ns(second * SECOND));
        assert_eq!([0, 1, 2].map(&mut sample), [Action::Wait; 3]);
        let Action::Step { by, frequency } = sample(3) else { panic!("50 us are more than the threshold") };
        assert_eq!(by, Span::from_us(50));
        assert!(frequency.abs() < 0.1, "{frequency}");
        Servo::<Phc>::reset(&mut servo);
        assert_eq!(Servo::<Phc>::sample(&mut servo, Span::ZERO, Time::from_ns(9 * SECOND)), Action::Wait);
    }
}
