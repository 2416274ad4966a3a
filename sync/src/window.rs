//! The late readings, and the line through them.

use std::collections::VecDeque;

use crate::{
    line::{Line, NS_PER_S, to_f64},
    regression::{self, Weighted},
};

/// Fewer readings than this do not make a model.
pub(crate) const FEWEST: usize = 4;

/// Nineteen of twenty readings agree with a line whose error is so many times that of the typical one.
const SPREAD: f64 = 1.8;

/// So many standard deviations fewer runs than expected come by chance once in some seven hundred times.
const UNLIKELY: f64 = 3.0;

/// For fewer readings than this runs are not distributed normally.
const RUNS: usize = 20;

/// In a pause of more intervals anything may have happened.
const GAP: f64 = 3.5;

/// How far the readings of a window are off, and how fast their clocks drift.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Quality {
    /// The shortest window of a reading, in nanoseconds.
    pub(crate) shortest: f64,
    /// What every reading can be off besides its excess, in nanoseconds.
    pub(crate) floor: f64,
    /// Change of the rate, in parts per billion per second.
    pub(crate) drift: f64,
    /// How far apart readings are expected, in nanoseconds.
    pub(crate) interval: f64,
}

/// The system's frequency, in relation to the device's, was set between two readings.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Adjustment {
    /// By how much, as a fraction.
    pub(crate) relative: f64,
    /// How far the instant at which it was set, which is unknown, moves the clocks at the most: to either side of what they
    /// would be if it had been halfway, in nanoseconds.
    pub(crate) moved: f64,
}

/// A reading that was chosen.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Point {
    pub(crate) device: i64,
    /// The middle of the reading.
    pub(crate) system: i64,
    /// How long it took, in nanoseconds.
    pub(crate) window: f64,
    /// What brings it to the frequencies that are set now, in nanoseconds.
    adjustment: f64,
    /// How far that can be off. It is the same error for all that have the same.
    adjustment_error: f64,
    /// How far the frequencies were adjusted since, up and down added up, as a fraction.
    adjusted: f64,
}

impl Point {
    pub(crate) fn new(device: i64, system: i64, window: f64) -> Self {
        Self { device, system, window, adjustment: 0.0, adjustment_error: 0.0, adjusted: 0.0 }
    }

    /// How far its middle can be off, apart from what all readings have in common.
    pub(crate) fn excess(&self, quality: &Quality) -> f64 {
        (self.window - quality.shortest) / 2.0 + quality.floor
    }

    /// By how much more the system's clock advanced than the device's until another reading, in nanoseconds.
    pub(crate) fn jump_to(&self, later: &Self) -> f64 {
        to_f64(later.system.saturating_sub(self.system).saturating_sub(later.device.saturating_sub(self.device)))
    }

    fn residual(&self, line: &Line) -> f64 {
        line.residual(self.device, self.system) + self.adjustment
    }
}

/// What the readings say about a line.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Solution {
    pub(crate) line: Line,
    /// How far the line can be off at the last reading and, if it was as far off as that, until the next one, in nanoseconds,
    /// apart from what all readings have in common.
    pub(crate) error: f64,
    /// How far its rate can be off, as a fraction, if only drift changed it.
    pub(crate) rate_error: f64,
    /// How far the rate can be off, as a fraction, by what the last two readings alone say.
    pub(crate) latest_rate_error: f64,
}

/// The late readings, oldest first.
#[derive(Clone, Debug, Default)]
pub(crate) struct Window {
    points: VecDeque<Point>,
}

impl Window {
    pub(crate) fn clear(&mut self) {
        self.points.clear();
    }

    pub(crate) fn last(&self) -> Option<&Point> {
        self.points.back()
    }

    /// Adds a reading, and forgets those that are too many or further back than `length` nanoseconds, but for the newest of
    /// these: after a pause it alone tells the rate.
    pub(crate) fn push(&mut self, point: Point, length: i64, capacity: usize) {
        self.points.push_back(point);
        let begin = point.device.saturating_sub(length);
        while self.points.len() > FEWEST && (self.points.len() > capacity || self.points[1].device < begin) {
            self.points.pop_front();
        }
    }

    /// Brings the readings to the frequency that was set between the last one and the system time `next`, as if that had been
    /// `late` nanoseconds later than halfway.
    pub(crate) fn adjust(&mut self, adjustment: &Adjustment, next: i64, late: f64) {
        let Some(last) = self.last() else { return };
        let before = to_f64(next.saturating_sub(last.system)) / 2.0 - late;
        for point in &mut self.points {
            let elapsed = to_f64(next.saturating_sub(point.system)) - point.adjustment - before;
            point.adjustment -= adjustment.relative * elapsed;
            point.adjustment_error += adjustment.moved;
            point.adjusted += adjustment.relative.abs();
        }
    }

    /// The oldest device time since when the readings prove the line, if its rate can be off by `hidden` more than it says,
    /// and the frequencies were adjusted by no more than that, as fractions.
    pub(crate) fn proven_since(&self, solution: &Solution, quality: &Quality, hidden: f64) -> Option<i64> {
        let last = self.last()?.device;
        let mut since = last;
        for point in self.points.iter().rev().take_while(|point| point.adjusted <= hidden) {
            let elapsed = to_f64(since.saturating_sub(point.device));
            if elapsed > GAP * quality.interval {
                break;
            }
            // What is claimed at the reading behind it, where the error is smaller: if a clock was stepped in between, the
            // line was off by what this reading says until then, and by as much more as its rate is off.
            let claimed = solution.error + (solution.rate_error + hidden) * to_f64(last.saturating_sub(since));
            let excess = point.excess(quality);
            let off = point.residual(&solution.line).abs() + excess + point.adjustment_error;
            if off + solution.rate_error * elapsed <= claimed {
                since = point.device;
            } else if excess <= claimed {
                break;
            }
        }
        Some(since)
    }

    /// The line through as many of the late readings as one line explains; the others are forgotten. `None` where those are
    /// too few.
    pub(crate) fn solve(&mut self, quality: &Quality) -> Option<Solution> {
        while self.points.len() >= FEWEST {
            let line = self.fit(quality)?;
            if self.explains(&line, quality) && self.scatters(&line) {
                return Some(self.judge(line, quality));
            }
            self.points.drain(..self.points.len().div_ceil(4));
        }
        None
    }

    fn fit(&self, quality: &Quality) -> Option<Line> {
        let last = self.last()?;
        let level = Line { device: last.device, system: last.system, offset: 0.0, rate: 0.0 };
        let weighted: Vec<_> = self
            .points
            .iter()
            .map(|point| Weighted {
                x: to_f64(point.device.saturating_sub(last.device)) / NS_PER_S,
                y: point.residual(&level),
                uncertainty: point.excess(quality) + point.adjustment_error,
            })
            .collect();
        let fit = regression::fit(&weighted)?;
        Some(Line { offset: fit.intercept, rate: fit.slope / NS_PER_S, ..level })
    }

    /// Whether nearly all readings, and the last one, are off the line by no more than they, and those that made the line,
    /// can be off themselves.
    fn explains(&self, line: &Line, quality: &Quality) -> bool {
        let is_off = |point: &Point| point.residual(line).abs() > 2.0 * point.excess(quality) + point.adjustment_error;
        !self.last().is_some_and(is_off)
            && self.points.iter().filter(|point| is_off(point)).count() <= self.points.len() / 10
    }

    /// Whether the readings lie on either side of the line by chance: where its rate changes, too slowly for a single reading
    /// to tell, they lie on the one side for long, then on the other.
    ///
    /// The runs test of [Wald and Wolfowitz](https://doi.org/10.1214/aoms/1177731909) with a normal approximation.
    fn scatters(&self, line: &Line) -> bool {
        if self.points.len() < RUNS {
            return true;
        }
        let is_above: Vec<_> = self.points.iter().map(|point| point.residual(line) > 0.0).collect();
        let runs = 1 + is_above.windows(2).filter(|pair| pair[0] != pair[1]).count();
        let above = is_above.iter().filter(|&&is_above| is_above).count();
        let [runs, above, below] = [runs, above, is_above.len() - above].map(count);
        let (all, pairs) = (above + below, 2.0 * above * below);
        let (expected, variance) = (1.0 + pairs / all, pairs * (pairs - all) / (all * all * (all - 1.0)));
        runs >= expected - UNLIKELY * variance.sqrt()
    }

    fn judge(&self, line: Line, quality: &Quality) -> Solution {
        let off = |point: &Point| point.residual(&line).abs() + point.excess(quality);
        let seconds = |from: &Point, to: &Point| to_f64(to.device.saturating_sub(from.device)) / NS_PER_S;
        // What two readings say about the rate, in parts per billion. An error that they have in common cancels.
        let rate_error = |from: &Point, to: &Point| {
            let apart = (to.residual(&line) - from.residual(&line)).abs();
            let common = (from.adjustment_error - to.adjustment_error).abs();
            (apart + common + from.excess(quality) + to.excess(quality)) / seconds(from, to)
        };
        let (first, last) = (&self.points[0], &self.points[self.points.len() - 1]);
        let best = |points: &mut dyn Iterator<Item = &Point>| {
            points.min_by(|a, b| off(a).total_cmp(&off(b))).copied().unwrap_or(*last)
        };
        let third = self.points.len() / 3;
        let early = best(&mut self.points.iter().take(third.max(1)));
        let late = best(&mut self.points.iter().skip(self.points.len() - third.max(1)));
        let drifted = quality.drift * seconds(first, last);
        let rate = rate_error(&early, &late) + drifted;
        // Readings that follow at once, as after an adjustment, tell nothing about the rate.
        let is_apart = |point: &&Point| seconds(point, last) * NS_PER_S > quality.interval / 2.0;
        let latest = rate_error(self.points.iter().rev().find(is_apart).unwrap_or(first), last);
        let error = |point: &Point| off(point) + point.adjustment_error + rate.max(latest) * seconds(point, last);
        // The next reading shall confirm this error, and readings are not alike.
        let mut offs: Vec<_> = self.points.iter().map(off).collect();
        let middle = offs.len() / 2;
        let typical = *offs.select_nth_unstable_by(middle, f64::total_cmp).1;
        Solution {
            line,
            // It may be off by that much until the next reading confirms that it was not.
            error: self.points.iter().map(error).fold(f64::INFINITY, f64::min).max(SPREAD * typical)
                + rate * quality.interval / NS_PER_S,
            rate_error: rate / NS_PER_S,
            latest_rate_error: latest / NS_PER_S,
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "readings of a window are few")]
fn count(readings: usize) -> f64 {
    readings as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: i64 = 100_000_000;
    const QUALITY: Quality = Quality { shortest: 0.0, floor: 1.0, drift: 0.0, interval: 1e8 };

    /// Since when readings, an interval apart and so far off the line, prove it: the newest is at 0.
    fn proven_since(off: &[i64]) -> Option<i64> {
        let mut window = Window::default();
        for (off, at) in off.iter().zip(1 - i64::try_from(off.len()).expect("a few")..) {
            let device = INTERVAL * at;
            window.push(Point::new(device, device + off, 0.0), i64::MAX, FEWEST);
        }
        // The error is 10.5 ns. The rate adds 1 ns in an interval, and what may be hidden 4 ns.
        let line = Line { device: 0, system: 0, offset: 0.0, rate: 0.0 };
        let solution = Solution { line, error: 10.5, rate_error: 1e-8, latest_rate_error: 4e-8 };
        window.proven_since(&solution, &QUALITY, 4e-8)
    }

    /// Of how many readings, an interval apart, the line is that goes through so many of them.
    fn used(offs: impl Iterator<Item = i64>) -> usize {
        let mut window = Window::default();
        for (off, at) in offs.zip(1..) {
            window.push(Point::new(INTERVAL * at, INTERVAL * at + off, 0.0), i64::MAX, 80);
        }
        window.solve(&Quality { floor: 100.0, ..QUALITY }).expect("a line");
        window.points.len()
    }

    #[test]
    fn a_line_is_of_readings_that_scatter_around_it() {
        assert_eq!(used([0; 80].into_iter()), 80, "none is off");
        assert_eq!(used((0..80).map(|at| at * at % 7)), 80, "they scatter");
        // By far less than they can be off, and one after the other on one side.
        assert!(used((0..80).map(|at| at * at / 100)) < 80);
    }

    #[test]
    fn a_reading_proves_what_is_claimed_at_the_one_behind_it() {
        assert_eq!(proven_since(&[8, 0]), Some(-INTERVAL));
        assert_eq!(proven_since(&[9, 0]), Some(0), "a step between the two was off by more than the error");
        assert_eq!(proven_since(&[13, 8, 0]), Some(-2 * INTERVAL));
        assert_eq!(proven_since(&[14, 8, 0]), Some(-INTERVAL));
        assert_eq!(proven_since(&[0, 9, 0]), Some(0), "nothing beyond a reading that disagrees");
    }
}
