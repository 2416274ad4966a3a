//! The proportional-integral servo.

use hwtstamp::{Span, Time};

use super::{Action, Limits, Servo};
use crate::line::{NS_PER_S, to_f64};

/// With these gains and an interval of a second the servo just does not oscillate; others are bounded accordingly.
const MAX_PROPORTIONAL: f64 = 1.0;
const MAX_INTEGRAL: f64 = 2.0;
/// Over which time the frequency is estimated before the first adjustment, in seconds times the integral gain.
const ESTIMATION: f64 = 0.016;
/// That time is never longer than this, in seconds.
const MAX_ESTIMATION: f64 = 1_000.0;

/// How strongly the servo answers.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Gains {
    /// Of the offset: parts per billion for a nanosecond.
    pub proportional: f64,
    /// Of the sum of offsets: parts per billion for a nanosecond, at each sample.
    pub integral: f64,
}

impl Default for Gains {
    /// Those for one sample a second, of phc2sys and ptp4l alike. phc2sys has them at any rate.
    fn default() -> Self {
        Self { proportional: 0.7, integral: 0.3 }
    }
}

impl Gains {
    /// ptp4l's, for samples every `interval`: with the default gains and many samples a second the clock would swing for long.
    #[must_use]
    pub fn for_interval(interval: Span) -> Self {
        let seconds = to_f64(interval.as_ns()) / NS_PER_S;
        let scaled = |gain: f64, exponent: f64| (gain * seconds.powf(exponent)).min(gain / seconds);
        let Self { proportional, integral } = Self::default();
        Self { proportional: scaled(proportional, -0.3), integral: scaled(integral, 0.4) }
    }

    /// The gains, as far as they are stable when samples come every `interval` seconds.
    fn stable(self, interval: f64) -> Self {
        Self {
            proportional: self.proportional.min(MAX_PROPORTIONAL / interval),
            integral: self.integral.min(MAX_INTEGRAL / interval),
        }
    }
}

/// The proportional-integral servo of phc2sys: it estimates the frequency from two samples, steps or not, and then adds to
/// the frequency in proportion to the offset and to the sum of the offsets.
#[derive(Clone, Debug)]
pub struct Pi {
    gains: Gains,
    limits: Limits,
    stage: Stage,
    /// The frequency without the proportional part, in parts per billion.
    integrated: f64,
    is_first: bool,
}

#[derive(Clone, Copy, Debug)]
enum Stage {
    Start,
    /// The first sample: its offset, and the clock's time, in nanoseconds.
    Estimating {
        offset: Span,
        at: i64,
    },
    Steering,
}

impl Pi {
    /// A servo for samples every `interval`, of a clock whose frequency is adjusted by `frequency` parts per billion now.
    pub fn new(gains: Gains, limits: Limits, interval: Span, frequency: f64) -> Self {
        let gains = gains.stable(to_f64(interval.as_ns()) / NS_PER_S);
        Self { gains, limits, stage: Stage::Start, integrated: frequency, is_first: true }
    }

    fn estimate(&mut self, first: Span, first_at: i64, offset: Span, at: i64) -> Action {
        let elapsed = to_f64(at.saturating_sub(first_at));
        if elapsed <= 0.0 {
            self.stage = Stage::Start;
            return Action::Wait;
        }
        // A thousandth less is enough: samples are never quite on time.
        if elapsed / NS_PER_S * 1.001 < (ESTIMATION / self.gains.integral).min(MAX_ESTIMATION) {
            return Action::Wait;
        }
        // What the clock gained, seen from a clock without its present adjustment.
        let gained = to_f64((offset - first).as_ns()) / elapsed;
        self.integrated = self.limits.clamp(self.integrated - (NS_PER_S + self.integrated) * gained);
        self.stage = Stage::Steering;
        let frequency = self.integrated;
        if self.limits.steps(offset, std::mem::take(&mut self.is_first)) {
            Action::Step { by: -offset, frequency }
        } else {
            Action::Adjust { frequency }
        }
    }

    fn steer(&mut self, offset: Span) -> Action {
        if self.limits.steps(offset, false) {
            // The step itself follows with a new estimate of the frequency.
            self.stage = Stage::Start;
            return Action::Wait;
        }
        let offset = to_f64(offset.as_ns());
        let integrated = self.integrated - self.gains.integral * offset;
        let wanted = integrated - self.gains.proportional * offset;
        let frequency = self.limits.clamp(wanted);
        // At the limit the sum would run away.
        if wanted.abs() <= self.limits.max_frequency {
            self.integrated = integrated;
        }
        Action::Adjust { frequency }
    }
}

impl<C> Servo<C> for Pi {
    fn sample(&mut self, offset: Span, at: Time<C>) -> Action {
        match self.stage {
            Stage::Start => {
                self.stage = Stage::Estimating { offset, at: at.as_ns() };
                Action::Wait
            }
            Stage::Estimating { offset: first, at: first_at } => self.estimate(first, first_at, offset, at.as_ns()),
            Stage::Steering => self.steer(offset),
        }
    }

    fn reset(&mut self) {
        self.stage = Stage::Start;
    }
}

#[cfg(test)]
mod tests {
    use hwtstamp::Phc;

    use super::*;

    const SECOND: i64 = 1_000_000_000;

    fn sample(servo: &mut Pi, offset: i64, second: i64) -> Action {
        Servo::<Phc>::sample(servo, Span::from_ns(offset), Time::from_ns(second * SECOND))
    }

    fn frequency(action: Action) -> f64 {
        let Action::Adjust { frequency } = action else { panic!("{action:?} is no adjustment") };
        frequency
    }

    fn servo(limits: Limits) -> Pi {
        Pi::new(Gains::default(), limits, Span::from_s(1), 0.0)
    }

    #[test]
    fn the_frequency_is_estimated_then_both_parts_act() {
        let mut servo = servo(Limits::new(1e6));
        assert_eq!(sample(&mut servo, 0, 10), Action::Wait);
        assert!((frequency(sample(&mut servo, 1_000, 11)) + 1_000.0).abs() < 1e-6);
        // 0.7 and 0.3 of the offset, and 0.3 of it stay.
        assert!((frequency(sample(&mut servo, 100, 12)) + 1_100.0).abs() < 1e-6);
        assert!((frequency(sample(&mut servo, 0, 13)) + 1_030.0).abs() < 1e-6);
    }

    #[test]
    fn too_short_a_time_or_one_that_went_backwards_estimates_nothing() {
        let mut slow = Pi::new(Gains { proportional: 0.1, integral: 0.001 }, Limits::new(1e6), Span::from_s(1), 0.0);
        assert_eq!(sample(&mut slow, 0, 0), Action::Wait);
        assert_eq!(sample(&mut slow, 0, 15), Action::Wait);
        assert_eq!(frequency(sample(&mut slow, 0, 16)), 0.0);
        let mut servo = servo(Limits::new(1e6));
        assert_eq!(sample(&mut servo, 0, 10), Action::Wait);
        assert_eq!(sample(&mut servo, 0, 9), Action::Wait);
        assert_eq!(sample(&mut servo, 0, 20), Action::Wait, "it has started anew");
    }

    #[test]
    fn at_the_limit_the_sum_does_not_run_away() {
        let mut servo = servo(Limits { first_step_threshold: Span::ZERO, ..Limits::new(1_000.0) });
        sample(&mut servo, 1_000_000, 0);
        sample(&mut servo, 1_000_000, 1);
        for second in 2..100 {
            assert!((frequency(sample(&mut servo, 1_000_000, second)) + 1_000.0).abs() < 1e-9);
        }
        assert_eq!(frequency(sample(&mut servo, 0, 100)), 0.0);
    }

    #[test]
    fn gains_are_those_of_phc2sys_at_its_rate_and_of_ptp4l_at_others() {
        let of = |interval| {
            let Gains { proportional, integral } = Gains::for_interval(interval);
            [proportional, integral].map(|gain| (gain * 1000.0).round() / 1000.0)
        };
        assert_eq!(of(Span::from_s(1)), [0.7, 0.3]);
        assert_eq!(of(Span::from_ms(100)), [1.397, 0.119]);
        assert_eq!(of(Span::from_s(10)), [0.07, 0.03]);
    }

    #[test]
    fn without_a_limit_that_is_one_the_frequency_stays() {
        for max_frequency in [-1.0, f64::NAN] {
            let mut servo = servo(Limits::new(max_frequency));
            sample(&mut servo, 0, 10);
            assert_eq!(frequency(sample(&mut servo, 1_000, 11)), 0.0);
        }
    }

    #[test]
    fn gains_are_bounded_for_long_intervals() {
        let gains = Gains { proportional: 5.0, integral: 5.0 };
        assert_eq!(gains.stable(4.0), Gains { proportional: 0.25, integral: 0.5 });
        assert_eq!(Gains::default().stable(0.1), Gains::default());
    }
}
