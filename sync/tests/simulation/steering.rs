//! Both servos, in both directions: how soon they lock, how still they stand, and what they never do.

use hwtstamp::{Monotonic, Phc, Realtime, Span, Time};
use instamp_sync::{
    Config, Cycle, Model, Tracker,
    servo::{Action, Gains, Limits, LinearRegression, Pi, SanityCheck, Servo},
};
use rand::{SeedableRng as _, rngs::SmallRng};

use crate::{
    clocks::{Clock, Oscillator, S, World},
    device::{self, Delay, Method, StepsWithin},
};

const REALTIME: i64 = 1_790_000_000_000_000_000;
const MONOTONIC: i64 = 5_000_000_000_000;
const SECONDS: f64 = 120.0;
/// A clock is locked from when on it stays within this.
const LOCKED: f64 = 100.0;

#[derive(Clone, Copy, PartialEq, Debug)]
enum Steered {
    Phc,
    System,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Pi,
    LinearRegression,
}

struct Case {
    steered: Steered,
    kind: Kind,
    limits: Limits,
    /// The steered clock less the other, at the beginning.
    offset: i64,
    /// The same is added once more at half of the time.
    again: i64,
    seed: u64,
}

#[derive(Debug, Default)]
struct Outcome {
    lock: f64,
    rms: f64,
    steps: usize,
    /// The largest offset after the first adjustment, before the disturbance.
    overshoot: f64,
    max_frequency: f64,
    /// Seconds from the disturbance until locked again.
    relock: f64,
    /// Conversions with the published model, just before the next reading: all, those refused, and those that were wrong.
    conversions: usize,
    refused: usize,
    wrong: usize,
    bounds: Vec<u64>,
}

fn servo<C>(case: &Case, interval: Span) -> Box<dyn Servo<C>> {
    match case.kind {
        Kind::Pi => Box::new(Pi::new(Gains::for_interval(interval), case.limits, interval, 0.0)),
        Kind::LinearRegression => Box::new(LinearRegression::new(case.limits, interval, 0.0)),
    }
}

/// The PHC less `CLOCK_REALTIME`, exactly.
fn apart(world: &World) -> f64 {
    let (phc, monotonic) = (world.phc.show(world.now), world.monotonic.show(world.now));
    world.phc.less(world.now, phc) - world.monotonic.less(world.now, monotonic)
        + (phc - monotonic - world.realtime) as f64
}

fn cycle_of(world: &mut World, rng: &mut SmallRng) -> Cycle {
    let readings = device::read(world, Method::Extended, &Delay::CHRONY, 20, StepsWithin::default(), rng);
    Cycle {
        readings: readings.expect("nobody sets the time of day"),
        system_frequency: Some(world.monotonic.adjustment),
        device_frequency: Some(world.phc.adjustment),
    }
}

impl Outcome {
    fn convert(&mut self, world: &World, model: &Model) {
        self.conversions += 1;
        let now = world.monotonic.show(world.now) as u64;
        match model.convert(world.phc.show(world.now) as u64, now) {
            Err(_) => self.refused += 1,
            Ok(converted) => {
                let error = world.monotonic.less(world.now, converted.time_ns as i64).abs();
                self.wrong += usize::from(error > converted.bound_ns as f64);
                self.bounds.push(converted.bound_ns);
            }
        }
    }
}

fn run(case: &Case) -> Outcome {
    let mut rng = SmallRng::seed_from_u64(case.seed);
    let config = Config::default();
    let interval = config.interval.as_ns() as f64;
    let sign = if case.steered == Steered::Phc { 1 } else { -1 };
    let mut world = World {
        now: 0.0,
        monotonic: Clock::new(Oscillator { error: 12_345.0, wander: 1.0 }, MONOTONIC, 1),
        phc: Clock::new(Oscillator { error: -4_321.0, wander: 1.0 }, REALTIME + MONOTONIC + sign * case.offset, 1),
        realtime: REALTIME,
        tai_offset: 0,
    };
    let (mut phc, mut system) = (servo::<Phc>(case, config.interval), servo::<Realtime>(case, config.interval));
    let (mut tracker, mut model) = (Tracker::new(config), Model::NONE);
    let mut outcome = Outcome::default();
    let (mut squares, mut count, mut is_adjusted) = (0.0, 0, false);
    let cycles = (SECONDS * S / interval) as usize;
    for cycle in 1..=cycles {
        world.advance(cycle as f64 * interval - world.now, &mut rng);
        outcome.convert(&world, &model);
        if cycle == cycles / 2 {
            world.phc.step(sign * case.again);
        }
        let update = tracker.update(&cycle_of(&mut world, &mut rng));
        model = update.model.unwrap_or(Model::NONE);
        let reading = update.sample.expect("there is a reading").reading;
        let realtime = Time::<Realtime>::from_ns(reading.midpoint().as_ns() + world.realtime);
        let offset = Span::from_ns(reading.device.as_ns() - realtime.as_ns());
        let action = match case.steered {
            Steered::Phc => phc.sample(offset, reading.device),
            Steered::System => system.sample(-offset, realtime),
        };
        let frequency = match action {
            Action::Wait => None,
            Action::Step { by, frequency } => {
                outcome.steps += 1;
                match case.steered {
                    Steered::Phc => world.phc.step(by.as_ns()),
                    Steered::System => world.realtime += by.as_ns(),
                }
                Some(frequency)
            }
            Action::Adjust { frequency } => Some(frequency),
        };
        if let Some(frequency) = frequency {
            is_adjusted = true;
            outcome.max_frequency = outcome.max_frequency.max(frequency.abs());
            match case.steered {
                Steered::Phc => world.phc.adjustment = frequency,
                Steered::System => world.monotonic.adjustment = frequency,
            }
            // Read again at once, as the daemon does: what is published knows of the adjustment.
            model = tracker.update(&cycle_of(&mut world, &mut rng)).model.unwrap_or(Model::NONE);
        }
        let (error, seconds) = (apart(&world).abs(), world.now / S);
        let is_first_half = cycle < cycles / 2;
        if is_first_half && is_adjusted {
            outcome.overshoot = outcome.overshoot.max(error);
        }
        if error > LOCKED {
            *(if is_first_half { &mut outcome.lock } else { &mut outcome.relock }) = seconds;
        }
        if seconds > SECONDS / 4.0 && is_first_half {
            squares += error * error;
            count += 1;
        }
    }
    outcome.relock = (outcome.relock - SECONDS / 2.0).max(0.0);
    outcome.rms = (squares / f64::from(count)).sqrt();
    outcome
}

fn cases() -> impl Iterator<Item = (Steered, Kind)> {
    [Steered::Phc, Steered::System]
        .into_iter()
        .flat_map(|steered| [Kind::Pi, Kind::LinearRegression].map(|kind| (steered, kind)))
}

#[test]
fn servos_lock_and_stand_still() {
    println!(
        "{:8} {:18} {:>9} {:>8} {:>8} {:>6} {:>10} {:>10} {:>8} {:>8}",
        "steered", "servo", "offset", "lock s", "rms ns", "steps", "overshoot", "bound p50", "checked", "refused"
    );
    for (steered, kind) in cases() {
        // From the step that the first measurement asks for, and from an offset that is below its threshold.
        for (offset, steps) in [(500_000_000, 1), (-10_000, 0)] {
            let limits = Limits::new(500_000.0);
            let mut worst = Outcome::default();
            for seed in 0..10 {
                let seen = run(&Case { steered, kind, limits, offset, again: 0, seed });
                assert_eq!(seen.steps, steps, "{steered:?} {kind:?} {offset}");
                worst.lock = worst.lock.max(seen.lock);
                worst.rms = worst.rms.max(seen.rms);
                worst.overshoot = worst.overshoot.max(seen.overshoot);
                worst.conversions += seen.conversions;
                worst.refused += seen.refused;
                worst.wrong += seen.wrong;
                worst.bounds.extend(seen.bounds);
            }
            worst.bounds.sort_unstable();
            println!(
                "{:8} {:18} {offset:9} {:8.2} {:8.1} {steps:6} {:10.0} {:10} {:8} {:8}",
                format!("{steered:?}"),
                format!("{kind:?}"),
                worst.lock,
                worst.rms,
                worst.overshoot,
                worst.bounds[worst.bounds.len() / 2],
                worst.conversions,
                worst.refused
            );
            assert_eq!(worst.wrong, 0, "{steered:?} {kind:?} {offset}: conversions outside of their bounds");
            let refused = worst.refused as f64 / worst.conversions as f64;
            assert!(refused < 0.02, "{steered:?} {kind:?} {offset}: no model for {refused} of the time");
            assert!(worst.lock < 12.0, "{steered:?} {kind:?} {offset}: locked after {} s", worst.lock);
            assert!(worst.rms < 50.0, "{steered:?} {kind:?} {offset}: rms {} ns", worst.rms);
            // What remains after the step is what the clocks gained meanwhile; what was not stepped is never doubled.
            let limit = if steps == 1 { 5_000.0 } else { 2.0 * 10_000.0 };
            assert!(worst.overshoot < limit, "{steered:?} {kind:?} {offset}: {} ns", worst.overshoot);
        }
    }
}

#[test]
fn later_steps_have_a_threshold_of_their_own() {
    for (steered, kind) in cases() {
        let again = 1_000_000;
        let case = |threshold| Case {
            steered,
            kind,
            limits: Limits { step_threshold: threshold, ..Limits::new(500_000.0) },
            offset: 0,
            again,
            seed: 1,
        };
        let never = run(&case(Span::ZERO));
        assert_eq!(never.steps, 0, "{steered:?} {kind:?}");
        // A millisecond at 500 ppm, and the 17 ppm that the clocks are apart, takes nearly two seconds.
        assert!(never.relock > 1.8 && never.relock < 60.0, "{steered:?} {kind:?}: {never:?}");
        assert!(never.max_frequency <= 500_000.0, "{steered:?} {kind:?}: {never:?}");
        let above = run(&case(Span::from_us(2_000)));
        assert_eq!(above.steps, 0, "{steered:?} {kind:?}");
        let below = run(&case(Span::from_us(100)));
        assert!(below.steps > 0 && below.relock < never.relock, "{steered:?} {kind:?}: {below:?}");
    }
}

#[test]
fn no_first_step_below_its_threshold_nor_without_one() {
    for (steered, kind) in cases() {
        let case = |first_step_threshold, offset| Case {
            steered,
            kind,
            limits: Limits { first_step_threshold, ..Limits::new(500_000.0) },
            offset,
            again: 0,
            seed: 2,
        };
        assert_eq!(run(&case(Span::from_us(20), 10_000)).steps, 0, "{steered:?} {kind:?}");
        assert_eq!(run(&case(Span::from_us(20), 100_000)).steps, 1, "{steered:?} {kind:?}");
        assert_eq!(run(&case(Span::ZERO, 100_000)).steps, 0, "{steered:?} {kind:?}");
    }
}

#[test]
fn frequencies_stay_within_the_clocks_limit() {
    for (steered, kind) in cases() {
        let limits = Limits { first_step_threshold: Span::ZERO, ..Limits::new(20_000.0) };
        let seen = run(&Case { steered, kind, limits, offset: 10_000_000, again: 0, seed: 3 });
        assert!((seen.max_frequency - 20_000.0).abs() < 1e-6, "{steered:?} {kind:?}: {seen:?}");
    }
}

#[test]
fn a_clock_that_others_move_is_noticed() {
    let at = Time::<Phc>::from_ns;
    let now = Time::<Monotonic>::from_ns;
    let ms = |ms: i64| 1_000_000 * ms;
    let mut check = SanityCheck::new(SanityCheck::LIMIT);
    // Nothing is known before the first adjustment.
    assert!(check.check(at(0), now(0)));
    assert!(check.check(at(ms(9_000)), now(ms(2_000))));
    check.adjusted(1_000.0);
    assert!(check.check(at(ms(10_000)), now(ms(3_000))));
    // 15 % too fast is within the limit of phc2sys, 25 % is not; the same for too slow.
    assert!(check.check(at(ms(12_300)), now(ms(5_000))));
    assert!(!check.check(at(ms(14_800)), now(ms(7_000))));
    assert!(check.check(at(ms(16_500)), now(ms(9_000))));
    assert!(!check.check(at(ms(18_000)), now(ms(11_000))));
    // What the servo did itself is known.
    check.stepped(Span::from_s(100));
    assert!(check.check(at(ms(120_000)), now(ms(13_000))));
    assert!(!check.check(at(ms(0)), now(ms(15_000))), "set back by somebody else");
    check.adjusted(300_000_000.0);
    assert!(check.check(at(ms(2_600)), now(ms(17_000))), "as fast as it was told to be");
    // Too short to tell.
    assert!(check.check(at(ms(2_700)), now(ms(17_500))));
}
