//! One run of a scenario: the world goes on, the tracker follows, and every conversion is checked.

use std::collections::VecDeque;

use hwtstamp::{Monotonic, Reading, Span, Time};
use instamp_sync::{Cycle, Model, Tracker, Update};
use rand::{Rng as _, SeedableRng as _, rngs::SmallRng};

use crate::{
    clocks::{Clock, PPB, S, World},
    device::{self, StepsWithin},
    scenarios::{Disturbance, Scenario},
};

/// Conversions that are checked between two cycles.
const INSTANTS: usize = 10;
/// The rate is judged when the model has been there for this long, and nothing happened to the clocks.
const SETTLED: f64 = 4.0 * S;

/// What was seen in the runs of a scenario. Times are nanoseconds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    /// Instants at which a conversion was tried.
    pub(crate) instants: usize,
    /// Those at which it was refused.
    pub(crate) refused: usize,
    /// Conversions of the live model that were checked with a bound.
    pub(crate) live: usize,
    /// Those that were wrong, after a disruption that no reading could have shown yet.
    pub(crate) exposed: usize,
    /// The longest time for which that was so though readings were taken.
    pub(crate) exposed_for: f64,
    /// Conversions of times up to a second ago.
    pub(crate) late: usize,
    /// Conversions that a later reading confirmed.
    pub(crate) confirmed: usize,
    /// What must not be.
    pub(crate) violations: Vec<String>,
    pub(crate) withdrawals: usize,
    pub(crate) squares: f64,
    pub(crate) max_error: f64,
    pub(crate) bounds: Vec<u64>,
    pub(crate) rate_error: f64,
    /// Until the first model.
    pub(crate) lock: f64,
}

impl Seen {
    pub(crate) fn add(&mut self, other: Self) {
        self.instants += other.instants;
        self.refused += other.refused;
        self.live += other.live;
        self.exposed += other.exposed;
        self.exposed_for = self.exposed_for.max(other.exposed_for);
        self.late += other.late;
        self.confirmed += other.confirmed;
        self.violations.extend(other.violations);
        self.withdrawals += other.withdrawals;
        self.squares += other.squares;
        self.max_error = self.max_error.max(other.max_error);
        self.bounds.extend(other.bounds);
        self.rate_error = self.rate_error.max(other.rate_error);
        self.lock = self.lock.max(other.lock);
    }

    pub(crate) fn rms(&self) -> f64 {
        (self.squares / (self.live - self.exposed).max(1) as f64).sqrt()
    }

    pub(crate) fn median_bound(&mut self) -> u64 {
        let middle = self.bounds.len() / 2;
        if self.bounds.is_empty() { 0 } else { *self.bounds.select_nth_unstable(middle).1 }
    }

    /// Part of the live conversions that a later reading confirmed.
    pub(crate) fn confirmed_share(&self) -> f64 {
        self.confirmed as f64 / self.live as f64
    }

    /// Part of the instants at which there was a model.
    pub(crate) fn available(&self) -> f64 {
        1.0 - self.refused as f64 / self.instants as f64
    }
}

/// A conversion that no reading has confirmed yet.
struct Pending {
    epoch: u64,
    device: u64,
    /// The system's time at the conversion.
    converted: u64,
    is_inside: bool,
    error: f64,
    bound: u64,
    at: f64,
}

struct Run<'a> {
    scenario: &'a Scenario,
    seed: u64,
    rng: SmallRng,
    world: World,
    tracker: Tracker,
    model: Model,
    /// When it was published.
    published: f64,
    /// Since when there has been a model without interruption, and nothing happened to the clocks.
    since: f64,
    /// When the last disruption was, if no reading has been taken since.
    disrupted: Option<f64>,
    /// Whether the disruption goes on: it changed a rate.
    drifting: Option<()>,
    /// Whether a clock was stepped since the last reading that shows disruptions.
    stepped: bool,
    pending: Vec<Pending>,
    /// Device times and true times of the last second.
    past: VecDeque<(f64, u64, f64)>,
    /// Until when readings fail, the process is suspended, and readings are slow.
    lost_until: f64,
    suspended_until: f64,
    loaded_until: f64,
    /// How long the machine slept.
    slept: f64,
    steps_within: StepsWithin,
    /// For how long the process stands still after its next reading, before it publishes.
    interruption: Option<f64>,
    /// What is to be published, when, and since when a disruption shows in it.
    unpublished: Option<(f64, Update, Option<f64>)>,
    known: (f64, f64),
    seen: Seen,
}

pub(crate) fn run(scenario: &Scenario, seed: u64) -> Seen {
    let mut rng = SmallRng::seed_from_u64(seed);
    let world = World {
        now: 0.0,
        monotonic: Clock::new(scenario.system, 5_000_000_000_000, 1),
        phc: Clock::new(scenario.device, scenario.phc_begins, scenario.granularity),
        realtime: 1_790_000_000_000_000_000,
        tai_offset: 0,
    };
    let first = rng.random::<f64>();
    let mut run = Run {
        scenario,
        seed,
        world,
        tracker: Tracker::new(scenario.config.clone()),
        model: Model::NONE,
        published: 0.0,
        since: f64::INFINITY,
        disrupted: None,
        drifting: None,
        stepped: false,
        pending: Vec::new(),
        past: VecDeque::new(),
        lost_until: 0.0,
        suspended_until: 0.0,
        loaded_until: 0.0,
        slept: 0.0,
        steps_within: StepsWithin::default(),
        interruption: None,
        unpublished: None,
        known: (0.0, 0.0),
        seen: Seen { lock: f64::INFINITY, ..Seen::default() },
        rng,
    };
    let interval = scenario.config.interval.as_ns() as f64;
    // Where in the interval a disturbance falls differs from run to run.
    let mut events: VecDeque<_> = scenario.events.iter().map(|(at, what)| (at * S + first * interval, *what)).collect();
    for _ in 0..scenario.random {
        events.push_back(((1.0 + run.rng.random::<f64>() * scenario.seconds) * S, Disturbance::random(&mut run.rng)));
    }
    events.make_contiguous().sort_by(|a, b| a.0.total_cmp(&b.0));
    let cycles = (scenario.seconds * S / interval) as usize;
    for cycle in 1..=cycles {
        let next = run.slept + cycle as f64 * interval + 0.01 * interval * run.rng.random::<f64>();
        let mut instants: Vec<_> =
            (0..INSTANTS).map(|_| run.world.now + (next - run.world.now) * run.rng.random::<f64>()).collect();
        instants.sort_by(f64::total_cmp);
        instants.push(next);
        for instant in instants {
            while events.front().is_some_and(|(at, _)| *at <= instant) {
                let Some((at, what)) = events.pop_front() else { break };
                run.advance_to(at);
                run.disturb(what, &mut events);
            }
            if let Some((at, update, _)) = run.unpublished.take_if(|(at, ..)| *at <= instant) {
                run.advance_to(at);
                run.publish(&update);
            }
            run.advance_to(instant);
            run.check();
        }
        run.cycle();
        run.check();
    }
    run.seen
}

impl Run<'_> {
    fn advance_to(&mut self, instant: f64) {
        if instant > self.world.now {
            self.world.advance(instant - self.world.now, &mut self.rng);
        }
    }

    fn violation(&mut self, what: &str) {
        let Self { scenario, seed, world, .. } = self;
        self.seen.violations.push(format!("{}, seed {seed}, {:.6} s: {what}", scenario.name, world.now / S));
    }

    /// Converts the present, and a time of the last second, with the published model.
    fn check(&mut self) {
        self.seen.instants += 1;
        let system = self.world.monotonic.show(self.world.now);
        let device = self.world.phc.show(self.world.now) as u64;
        // Not refused as a time that is yet to come: that would hide half of the errors.
        let later = self.model.void_after_ns.max(system as u64);
        match self.model.convert(device, later) {
            Err(_) => self.seen.refused += 1,
            Ok(converted) => {
                let error = self.world.monotonic.less(self.world.now, converted.time_ns as i64).abs();
                let is_inside = error <= converted.bound_ns as f64;
                let at = self.world.now;
                self.seen.live += 1;
                let validity =
                    self.scenario.config.validity.max(Span::from_ns(3 * self.scenario.config.interval.as_ns()));
                if at - self.published > validity.as_ns() as f64 * 1.001 {
                    self.violation("a model that nobody renewed in time is used");
                }
                self.pending.push(Pending {
                    epoch: self.model.epoch,
                    device,
                    converted: system as u64,
                    is_inside,
                    error,
                    bound: converted.bound_ns,
                    at,
                });
                let unpublished = self.unpublished.as_ref().and_then(|(.., since)| *since);
                match self.disrupted.or(unpublished) {
                    Some(since) if !is_inside => {
                        self.seen.exposed += 1;
                        self.seen.exposed_for = self.seen.exposed_for.max(at - since.max(self.blind_until()));
                    }
                    _ => {
                        self.seen.squares += error * error;
                        self.seen.max_error = self.seen.max_error.max(error);
                        self.seen.bounds.push(converted.bound_ns);
                    }
                }
                if !is_inside && self.disrupted.or(unpublished).is_none() {
                    self.violation(&format!("live {error:.1} ns off, bound {} ns", converted.bound_ns));
                }
            }
        }
        let truth = self.world.monotonic.less(self.world.now, system) + system as f64;
        self.past.push_back((self.world.now, device, truth));
        while self.past.front().is_some_and(|(at, ..)| *at < self.world.now - S) {
            self.past.pop_front();
        }
        let (at, device, truth) = self.past[self.rng.random_range(0..self.past.len())];
        // What no reading has confirmed is judged above, at its own time.
        if self.model.confirms(self.model.epoch, device, truth as u64)
            && let Ok(converted) = self.model.convert(device, later)
        {
            self.seen.late += 1;
            let error = (truth - converted.time_ns as f64).abs();
            if error > converted.bound_ns as f64 + 1e-2 {
                let ago = (self.world.now - at) / S;
                self.violation(&format!("late by {ago:.3} s, {error:.1} ns off, bound {} ns", converted.bound_ns));
            }
        }
    }

    /// Whether what is published is wrong now, by so much more than it says.
    fn is_wrong_by(&self, more: f64) -> bool {
        let device = self.world.phc.show(self.world.now) as u64;
        self.model.convert(device, self.model.void_after_ns).is_ok_and(|converted| {
            let error = self.world.monotonic.less(self.world.now, converted.time_ns as i64).abs();
            error > converted.bound_ns as f64 + more
        })
    }

    /// Until when readings fail or say little.
    fn blind_until(&self) -> f64 {
        self.lost_until.max(self.suspended_until).max(self.loaded_until)
    }

    fn cycle(&mut self) {
        if self.world.now < self.suspended_until {
            return;
        }
        let now = Time::from_ns(self.world.monotonic.show(self.world.now));
        if self.world.now < self.lost_until {
            let update = self.tracker.missed(now);
            self.publish(&update);
            return;
        }
        let mut delay = self.scenario.delay;
        if self.world.now < self.loaded_until {
            (delay.interrupted, delay.base, delay.one_sided) = (800.0, 2.0 * delay.base, true);
        }
        let method = self.scenario.method;
        let steps_within = std::mem::take(&mut self.steps_within);
        let disrupted = self.disrupted;
        let readings =
            device::read(&mut self.world, method, &delay, self.scenario.readings, steps_within, &mut self.rng);
        if steps_within.phc.is_some() {
            self.forget_what_comes_again();
        }
        let update = match readings {
            None => self.tracker.missed(now),
            Some(readings) => {
                let known = |setting| self.scenario.settings_known.then_some(setting);
                let excess = |end: &Reading<Monotonic>| {
                    let shortest = readings.iter().map(Reading::window).min().unwrap_or(end.window());
                    (end.window() - shortest).as_ns() as f64 / 2.0
                };
                let end_excess = readings.last().map_or(0.0, excess);
                let cycle =
                    Cycle { readings, system_frequency: known(self.known.0), device_frequency: known(self.known.1) };
                // Twice: the reading may be off to one side by that much, and allows for it to the other.
                let telling = self.scenario.telling();
                let was_wrong = self.is_wrong_by(2.0 * telling);
                let update = self.tracker.update(&cycle);
                // A reading that took long itself shows little. What happens within the cycle only its end shows.
                let ends_long = steps_within.phc.is_some() && end_excess > telling;
                if !ends_long && update.sample.is_some_and(|sample| sample.excess_ns <= telling) {
                    // A rate that just changed shows only in the time that passes: to the second reading, not to the first.
                    self.disrupted = self.drifting.take().map(|_| self.world.now);
                    if std::mem::take(&mut self.stepped)
                        && was_wrong
                        && update.model.is_some_and(|model| model.epoch == self.model.epoch)
                    {
                        self.violation("the first reading after a step left the model");
                    }
                }
                update
            }
        };
        match self.interruption.take() {
            None => self.publish(&update),
            Some(seconds) => {
                let until = self.world.now + seconds * S;
                self.suspended_until = self.suspended_until.max(until);
                self.unpublished = Some((until, update, disrupted));
            }
        }
    }

    fn publish(&mut self, update: &Update) {
        if update.event.is_some_and(|event| event.withdraws()) {
            self.seen.withdrawals += 1;
            if update.model.is_some() {
                self.violation("a withdrawn model goes on");
            }
        }
        self.published = self.world.now;
        let before = std::mem::replace(&mut self.model, update.model.unwrap_or(Model::NONE));
        let Some(model) = update.model else {
            if before.epoch != 0 && update.epoch == before.epoch {
                self.violation("withdrawn, but of the same epoch");
            }
            self.pending.clear();
            self.since = f64::INFINITY;
            return;
        };
        if self.since == f64::INFINITY {
            self.since = self.world.now;
        }
        self.seen.lock = self.seen.lock.min(self.world.now);
        if model.epoch != before.epoch {
            self.pending.clear();
        }
        let mut violations = Vec::new();
        self.pending.retain(|pending| {
            let is_confirmed = model.confirms(pending.epoch, pending.device, pending.converted);
            self.seen.confirmed += usize::from(is_confirmed);
            if is_confirmed && !pending.is_inside {
                violations.push(format!(
                    "confirmed, {:.1} ns off at {:.6} s, bound {} ns",
                    pending.error,
                    pending.at / S,
                    pending.bound
                ));
            }
            !is_confirmed
        });
        violations.iter().for_each(|what| self.violation(what));
        if self.world.now - self.since >= SETTLED && self.disrupted.is_none() && update.sample.is_some() {
            let rate = model.rate as f64 / instamp_clockmap::ONE as f64;
            self.seen.rate_error = self.seen.rate_error.max((rate - self.world.rate()).abs());
        }
    }

    /// A device that was set back shows the same times once more: which one is meant nobody can know.
    fn forget_what_comes_again(&mut self) {
        let shown = self.world.phc.show(self.world.now) as u64;
        self.past.retain(|(_, device, _)| *device < shown);
    }

    fn disturb(&mut self, what: Disturbance, events: &mut VecDeque<(f64, Disturbance)>) {
        let now = self.world.now;
        let mut later = |seconds: f64, what| {
            let at = now + seconds * S;
            let place = events.partition_point(|(other, _)| *other <= at);
            events.insert(place, (at, what));
        };
        match what {
            Disturbance::StepPhc(by) => {
                self.world.phc.step(by);
                self.forget_what_comes_again();
            }
            Disturbance::ResetPhc(to) => {
                let by = to - self.world.phc.show(now);
                self.world.phc.step(by);
                self.forget_what_comes_again();
            }
            Disturbance::StepRealtime(by) => self.world.realtime += by,
            Disturbance::StepRealtimeWithin(by) => self.steps_within.realtime = Some(by),
            Disturbance::StepPhcWithin(by) => self.steps_within.phc = Some(by),
            Disturbance::SetTai(offset) => self.world.tai_offset = offset,
            Disturbance::SetSystem(ppb) => {
                self.known.0 += ppb;
                self.world.monotonic.adjustment += ppb;
            }
            Disturbance::SetPhc(ppb) => {
                self.known.1 += ppb;
                self.world.phc.adjustment += ppb;
            }
            Disturbance::Slew(ppb, seconds) => {
                self.world.monotonic.adjustment += ppb;
                if seconds > 0.0 {
                    later(seconds, Disturbance::Slew(-ppb, 0.0));
                }
            }
            Disturbance::Ramp(ppb_per_s, seconds) => {
                self.world.phc.ramp += ppb_per_s;
                if seconds > 0.0 {
                    later(seconds, Disturbance::Ramp(-ppb_per_s, 0.0));
                }
            }
            Disturbance::Lose(seconds) => self.lost_until = now + seconds * S,
            Disturbance::Interrupt(seconds) => self.interruption = Some(seconds),
            Disturbance::SuspendProcess(seconds) => self.suspended_until = now + seconds * S,
            Disturbance::Load(seconds) => self.loaded_until = now + seconds * S,
            Disturbance::Sleep(seconds) => {
                self.world.sleep(seconds * S, &mut self.rng);
                self.slept += seconds * S;
            }
        }
        if what.disrupts() {
            self.disrupted = self.disrupted.or(Some(now));
            self.drifting = what.changes_rate().then_some(());
            self.since = self.since.max(now);
        }
        self.stepped |= what.steps();
    }
}

/// The system's clock must be able to be off by what a model says: a check of the simulator itself.
#[test]
fn the_world_keeps_true_time_where_nothing_is_wrong() {
    use crate::clocks::Oscillator;
    let mut rng = SmallRng::seed_from_u64(1);
    let perfect = Oscillator { error: 0.0, wander: 0.0 };
    let fast = Oscillator { error: 1_000.0, wander: 0.0 };
    let mut world = World {
        now: 0.0,
        monotonic: Clock::new(perfect, 100, 1),
        phc: Clock::new(fast, 7, 1),
        realtime: 0,
        tai_offset: 0,
    };
    world.advance(10.0 * S, &mut rng);
    assert_eq!(world.monotonic.show(world.now), 100 + 10_000_000_000);
    assert_eq!(world.phc.show(world.now), 7 + 10_000_000_000 + 10_000);
    assert!((world.rate() + 1_000.0 * PPB).abs() < 1e-11);
}
