//! From cycles of readings to models.

use hwtstamp::{Monotonic, Reading, Span, Time};
use instamp_clockmap::{self as clockmap, Model};

use crate::{
    Config, Cycle, Event, Reason, Sample, State, Update,
    choice::{choose, last},
    line::{MAX_RATE, to_f64, to_i64},
    published::{Comparison, Published, Terms, Verdict},
    resolution::Resolution,
    shortest::Shortest,
    window::{Adjustment, Point, Quality, Solution, Window},
};

const PPB: f64 = 1e-9;
/// A jump of at least this is no correction of a running clock.
const RESET: Span = Span::from_s(86_400);
/// Settings beyond this, in parts per billion, are not believed.
const MAX_SETTING: f64 = 5e8;
/// A line that no reading has confirmed for this many intervals is replaced, under a new epoch.
const PATIENCE: i64 = 10;

/// Follows a device: makes a model of its time from cycles of readings, and withdraws it when the readings contradict it.
#[derive(Clone, Debug)]
pub struct Tracker {
    config: Config,
    shortest: Shortest,
    resolution: Resolution,
    window: Window,
    published: Option<Published>,
    epoch: u64,
    /// The adjustment of the system's and of the device's frequency, in parts per billion.
    settings: (Option<f64>, Option<f64>),
    /// The system time of the last reading.
    read: i64,
}

impl Tracker {
    /// A tracker that has seen nothing yet.
    pub fn new(config: Config) -> Self {
        let epoch = config.first_epoch;
        Self {
            config,
            shortest: Shortest::default(),
            resolution: Resolution::default(),
            window: Window::default(),
            published: None,
            epoch,
            settings: (None, None),
            read: 0,
        }
    }

    /// Takes the readings of a cycle.
    pub fn update(&mut self, cycle: &Cycle) -> Update {
        self.resolution.note(&cycle.readings);
        let Some(reading) = choose(&cycle.readings, to_f64(self.config.reading_error.as_ns())) else {
            return self.without_choice(&cycle.readings);
        };
        let point = point(&reading);
        let became_shorter = self.note_shortest(reading.window());
        let set = self.note_settings(cycle);
        self.read = reading.after.as_ns();
        let sample = Some(self.sample(reading));
        let mut update = Update { state: State::Acquiring, model: None, epoch: self.epoch, sample, event: None };
        let end = last(&cycle.readings).map_or(point, |reading| self::point(&reading));
        match self.follow(point, end, set, became_shorter) {
            Ok(event) => update.event = event,
            Err((event, shown_by)) => {
                update.event = Some(if self.published.is_some() { event } else { Event::Inconsistent });
                self.disrupted(shown_by);
            }
        }
        update.epoch = self.epoch;
        self.publish(&mut update, clockmap::State::LOCKED, &reading);
        update
    }

    /// After a cycle of which no reading can be used. Where the last one contradicts what is published, a clock was stepped
    /// during the cycle.
    fn without_choice(&mut self, readings: &[Reading<Monotonic>]) -> Update {
        let last = last(readings);
        if let Some((published, reading)) = self.published.zip(last) {
            let point = point(&reading);
            let unset = Adjustment { relative: 0.0, moved: 0.0 };
            let comparison = published.compare(&point, point.excess(&self.quality()), &unset);
            if comparison.verdict == Verdict::Contradicts {
                let sample = Some(self.sample(reading));
                let begin = readings.first().map_or(point.system, |first| first.midpoint().as_ns());
                let event = Some(disruption(comparison.residual, point.system.saturating_sub(begin)));
                self.read = reading.after.as_ns();
                self.disrupted(point);
                return Update { state: State::Acquiring, model: None, epoch: self.epoch, sample, event };
            }
        }
        let mut update = self.missed(last.map_or(Time::from_ns(self.read), |reading| reading.after));
        update.event = update.event.or((!readings.is_empty()).then_some(Event::Inconsistent));
        update
    }

    fn sample(&self, reading: Reading<Monotonic>) -> Sample {
        let point = point(&reading);
        let residual = self.published.map(|published| published.line.residual(point.device, point.system));
        Sample {
            reading,
            residual: residual.map(|residual| Span::from_ns(to_i64(residual))),
            excess_ns: point.excess(&self.quality()),
        }
    }

    /// Says that there were no readings this time. `now` is the system's time.
    pub fn missed(&mut self, now: Time<Monotonic>) -> Update {
        let mut update = Update { state: State::Acquiring, model: None, epoch: self.epoch, sample: None, event: None };
        let Some(published) = self.published else { return update };
        if now.as_ns().saturating_sub(self.read) > self.config.holdover.as_ns() {
            self.withdraw(&mut update, Reason::HoldoverLimit);
            return update;
        }
        let device = published.line.device_at(now.as_ns());
        let reading = Reading { before: now, device: Time::from_ns(device), after: now };
        self.publish(&mut update, clockmap::State::HOLDOVER, &reading);
        update
    }

    /// Compares a reading, and the last one of its cycle, with what is known, and takes the first in. The error is a disruption,
    /// and the reading that shows it.
    fn follow(
        &mut self,
        point: Point,
        end: Point,
        set: (f64, f64),
        became_shorter: bool,
    ) -> Result<Option<Event>, (Event, Point)> {
        let quality = self.quality();
        // The system's clock tells how much time has passed: the device's may have been set.
        let elapsed = self.window.last().map_or(0, |last| point.system.saturating_sub(last.system));
        let relative = (1.0 + set.0 * PPB) / (1.0 + set.1 * PPB) - 1.0;
        let adjustment = Adjustment { relative, moved: relative.abs() * to_f64(elapsed) / 2.0 };
        let event = (relative != 0.0).then_some(Event::FrequencySet { system_ppb: set.0, device_ppb: set.1 });
        let Some(published) = self.published else {
            let jump = self.window.last().map_or(0.0, |last| last.jump_to(&point));
            if self.window.last().is_some() && jump.abs() > MAX_RATE * to_f64(elapsed) + point.window {
                return Err((disruption(jump, elapsed), point));
            }
            self.window.adjust(&adjustment, point.system, 0.0);
            self.window.push(point, self.config.window.as_ns(), self.config.capacity);
            self.published = self.solve(&quality);
            return Ok(self.published.map(|_| Event::Acquired).or(event));
        };
        let comparison = published.compare(&point, point.excess(&quality), &adjustment);
        if comparison.verdict == Verdict::Contradicts {
            return Err((disruption(comparison.residual, elapsed), point));
        }
        let at_end = published.compare(&end, end.excess(&quality), &adjustment);
        if at_end.verdict == Verdict::Contradicts {
            return Err((disruption(at_end.residual, end.system.saturating_sub(point.system)), end));
        }
        let known = comparison.known + point.excess(&quality);
        let adjustment = Adjustment { moved: adjustment.moved.min(known), ..adjustment };
        self.window.adjust(&adjustment, point.system, comparison.late);
        self.window.push(point, self.config.window.as_ns(), self.config.capacity);
        self.go_on(published, &comparison, &point, relative, became_shorter).map_err(|event| (event, point))?;
        Ok(event)
    }

    /// Renews what was published, or lets it go on, after a reading that does not contradict it.
    fn go_on(
        &mut self,
        published: Published,
        comparison: &Comparison,
        point: &Point,
        relative: f64,
        became_shorter: bool,
    ) -> Result<(), Event> {
        let published = Published { unheeded: published.unheeded + relative, ..published };
        let agrees = comparison.verdict == Verdict::Agrees && !became_shorter;
        let is_set = published.unheeded.abs() > published.hidden;
        let is_doubtful = comparison.verdict == Verdict::Doubtful;
        let waited = point.device.saturating_sub(published.made) > PATIENCE * self.config.interval.as_ns();
        let is_outdated = is_set || is_doubtful || waited || became_shorter;
        let renewed = if agrees || is_outdated { self.solve(&self.quality()) } else { None };
        let is_renewed = renewed.is_some();
        self.published = Some(match renewed {
            Some(renewed) => renewed,
            None if is_set => published.set(point, comparison),
            // No line fits the readings, and this one is off the old line.
            None if is_doubtful && comparison.residual.abs() > comparison.known => {
                return Err(disruption(comparison.residual, to_i64(comparison.elapsed)));
            }
            None if is_doubtful => published.widened(point, comparison),
            None => published,
        });
        // Conversions with the line before are not confirmed by readings that agree with this one.
        self.epoch += u64::from(!agrees && (is_renewed || is_set || is_doubtful));
        Ok(())
    }

    /// A new line of the readings.
    fn solve(&mut self, quality: &Quality) -> Option<Published> {
        let solution = self.window.solve(quality)?;
        let device = self.window.last()?.device;
        let hidden = solution.latest_rate_error.min(self.config.unannounced * PPB);
        let Solution { line, error, rate_error, .. } = solution;
        Some(Published {
            line,
            made: device,
            error,
            growth: rate_error + hidden,
            hidden,
            unheeded: 0.0,
            drift: self.config.drift * PPB * PPB,
            valid_from: self.window.proven_since(&solution, quality, hidden)?,
        })
    }

    fn publish(&mut self, update: &mut Update, state: clockmap::State, reading: &Reading<Monotonic>) {
        let Some(published) = self.published else { return };
        let terms = Terms {
            state,
            epoch: self.epoch,
            device: reading.device.as_ns(),
            now: reading.after.as_ns(),
            validity: self.config.validity.max(Span::from_ns(3 * self.config.interval.as_ns())),
            // What is converted was shown by the same clock.
            common: self.asymmetry() + self.resolution.ns() / 2.0,
            unassumed: self.shortest.window_ns() / 2.0 - self.asymmetry(),
        };
        let model: Option<Model> = published.model(&terms);
        match model {
            None => self.withdraw(update, Reason::Unmodellable),
            Some(model) if model.error_ns > self.config.max_error.unsigned_ns() => {
                self.withdraw(update, Reason::ErrorLimit);
            }
            Some(model) => {
                update.model = Some(model);
                update.state = if state == clockmap::State::LOCKED { State::Locked } else { State::Holdover };
            }
        }
    }

    fn withdraw(&mut self, update: &mut Update, reason: Reason) {
        self.published = None;
        self.window.clear();
        self.epoch += 1;
        update.event = Some(Event::Withdrawn(reason));
        update.epoch = self.epoch;
    }

    /// Starts anew with the reading that showed a disruption.
    fn disrupted(&mut self, point: Point) {
        if self.published.take().is_some() {
            self.epoch += 1;
        }
        self.window.clear();
        self.window.push(point, self.config.window.as_ns(), self.config.capacity);
    }

    /// Whether the shortest reading became shorter by more than was allowed for.
    fn note_shortest(&mut self, window: Span) -> bool {
        let allowed = self.shortest.allowance_ns();
        self.shortest.note(window) / 2.0 > allowed
    }

    /// By how much the settings of the system's and the device's frequency changed, in parts per billion.
    fn note_settings(&mut self, cycle: &Cycle) -> (f64, f64) {
        let known = |setting: Option<f64>| setting.filter(|ppb| ppb.abs() < MAX_SETTING);
        let settings = (known(cycle.system_frequency), known(cycle.device_frequency));
        let before = std::mem::replace(&mut self.settings, settings);
        let change = |before: Option<f64>, after: Option<f64>| {
            before.zip(after).map_or(0.0, |(before, after)| (after - before) / (1.0 + before * PPB))
        };
        (change(before.0, settings.0), change(before.1, settings.1))
    }

    fn quality(&self) -> Quality {
        Quality {
            shortest: self.shortest.window_ns(),
            floor: to_f64(self.config.reading_error.as_ns())
                + self.shortest.allowance_ns()
                + self.resolution.ns() / 2.0,
            drift: self.config.drift,
            interval: to_f64(self.config.interval.as_ns()),
        }
    }

    /// How far all readings can be off alike, in nanoseconds. Nothing is assumed before the shortest reading is known.
    fn asymmetry(&self) -> f64 {
        let share = if self.shortest.is_settled() { self.config.asymmetry } else { 1.0 };
        share * self.shortest.window_ns() / 2.0
    }
}

fn point(reading: &Reading<Monotonic>) -> Point {
    Point::new(reading.device.as_ns(), reading.midpoint().as_ns(), to_f64(reading.window().as_ns()))
}

/// What a reading that is `residual` off after `elapsed` shows.
fn disruption(residual: f64, elapsed: i64) -> Event {
    let by = Span::from_ns(to_i64(residual));
    if by.abs() >= RESET {
        Event::Reset { by }
    } else if elapsed <= 0 || residual.abs() > MAX_RATE * to_f64(elapsed) {
        Event::Stepped { by }
    } else {
        Event::RateChanged { by_ppb: residual / to_f64(elapsed) / PPB }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Any times at all, and often such as a device would show.
    fn times() -> impl Strategy<Value = i64> {
        prop_oneof![any::<i64>(), -2_000_000_000_i64..2_000_000_000, Just(i64::MAX), Just(i64::MIN)]
    }

    fn readings() -> impl Strategy<Value = Vec<Reading<Monotonic>>> {
        let reading = (times(), times(), times()).prop_map(|(before, device, after)| Reading {
            before: Time::from_ns(before),
            device: Time::from_ns(device),
            after: Time::from_ns(after),
        });
        prop::collection::vec(reading, 0..4)
    }

    fn frequency() -> impl Strategy<Value = Option<f64>> {
        prop::option::of(prop_oneof![-1e6..1e6, Just(f64::MAX), Just(f64::NAN)])
    }

    /// A cycle of a device that loses 1 ppm.
    fn good(second: i64) -> Cycle {
        let at = second * 100_000_000;
        let reading = Reading {
            before: Time::from_ns(at - 500),
            device: Time::from_ns(7 + at - at / 1_000_000),
            after: Time::from_ns(at + 500),
        };
        Cycle { readings: vec![reading], ..Cycle::default() }
    }

    #[test]
    fn a_model_says_what_the_readings_say() {
        let mut tracker = Tracker::new(Config::default());
        let updates: Vec<_> = (1..=100).map(|second| tracker.update(&good(second))).collect();
        assert_eq!(updates.iter().position(|update| update.model.is_some()), Some(3));
        assert_eq!(updates[3].event, Some(Event::Acquired));
        let model = updates[99].model.expect("a model");
        let converted = model.convert(7 + 9_999_990_000, 10_000_001_000).expect("a valid time");
        assert!(converted.time_ns.abs_diff(10_000_000_000) <= 1);
        assert!((model.rate - i64::try_from(clockmap::ONE / 1_000_000).expect("small")).abs() < 100);
        assert_eq!((model.unassumed_ns, model.as_of_ns), (450, 7 + 9_999_990_000));
        // 50 ns that no software can see, and roundings: without jitter nothing else.
        assert!((50..60).contains(&model.error_ns), "{}", model.error_ns);
    }

    #[test]
    fn nothing_is_assumed_before_the_shortest_reading_is_known() {
        let mut tracker = Tracker::new(Config::default());
        let models: Vec<_> = (1..=100).filter_map(|second| tracker.update(&good(second)).model).collect();
        let is_certain = |model: &&Model| model.unassumed_ns == 0 && model.error_ns >= 500;
        assert_eq!(models.iter().take_while(is_certain).count(), 28, "from the 4th cycle to the 31st");
        assert!(models[28..].iter().all(|model| model.unassumed_ns == 450 && model.error_ns < 60));
    }

    #[test]
    fn a_step_within_a_cycle_withdraws_at_once() {
        let mut tracker = Tracker::new(Config::default());
        for second in 1..=100 {
            tracker.update(&good(second));
        }
        // Neither before nor behind the step there are enough to agree.
        let mut cycle = good(101);
        let [before, mut behind] = [cycle.readings[0]; 2];
        behind.device += Span::from_us(10);
        cycle.readings = vec![before, before, before, behind];
        let update = tracker.update(&cycle);
        assert!(matches!(update.event, Some(Event::Stepped { by }) if by.as_ns() == -10_000), "{:?}", update.event);
        assert!(update.model.is_none() && update.epoch == 2 && update.sample.is_some());
    }

    #[test]
    fn the_bound_without_assumption_does_not_depend_on_the_one_that_was_made() {
        let bounds = [0.0, 0.1, 0.4, 1.0].map(|asymmetry| {
            let mut tracker = Tracker::new(Config { asymmetry, ..Config::default() });
            let model = (1..=100).filter_map(|second| tracker.update(&good(second)).model).last().expect("a model");
            assert_eq!(model.unassumed_ns == 0, asymmetry == 1.0);
            model.error_ns + model.unassumed_ns
        });
        assert_eq!(bounds, [bounds[3]; 4]);
        assert!((500..510).contains(&bounds[3]), "{bounds:?}");
    }

    #[test]
    fn without_readings_it_goes_on_for_a_while() {
        let mut tracker = Tracker::new(Config::default());
        for second in 1..=100 {
            tracker.update(&good(second));
        }
        let mut last = 0;
        for second in 101..=700 {
            let update = tracker.missed(Time::from_ns(second * 100_000_000));
            let error = update.model.expect("within the limit of a minute").error_ns;
            assert!(update.state == State::Holdover && error >= last);
            last = error;
        }
        let end = tracker.missed(Time::from_ns(70_100_000_000));
        assert!(end.model.is_none() && end.event == Some(Event::Withdrawn(Reason::HoldoverLimit)));
        assert_eq!(end.epoch, 2);
    }

    #[test]
    fn a_clock_too_fast_for_any_model_gets_none() {
        let mut tracker = Tracker::new(Config::default());
        for second in 1..100 {
            let mut cycle = good(second);
            cycle.readings[0].device = Time::from_ns(second * 250_000_000);
            let update = tracker.update(&cycle);
            assert!(update.model.is_none() && update.epoch == 1);
            assert_eq!(update.event, (second > 1).then_some(Event::Inconsistent));
        }
    }

    proptest! {
        #[test]
        fn nothing_makes_it_panic_or_publish_what_nobody_reads(
            start in 0_i64..10,
            steps in prop::collection::vec((readings(), frequency(), frequency(), times(), any::<bool>()), 1..40),
        ) {
            let mut tracker = Tracker::new(Config::default());
            for second in 1..start {
                tracker.update(&good(second));
            }
            for (readings, system_frequency, device_frequency, now, is_missed) in steps {
                let update = if is_missed {
                    tracker.missed(Time::from_ns(now))
                } else {
                    tracker.update(&Cycle { readings, system_frequency, device_frequency })
                };
                if let Some(model) = update.model {
                    prop_assert!(model.is_well_formed(), "{model:?}");
                    prop_assert!(model.valid_from_ns <= model.valid_until_ns, "{model:?}");
                }
            }
        }
    }
}
