//! How the device is read: which delays lie before and after its clock is latched.

use hwtstamp::{Monotonic, Reading, Realtime, Time};
use instamp_sync::{Bridge, Sandwich};
use rand::{Rng as _, rngs::SmallRng};

use crate::clocks::World;

/// Which clock of the system the device is read against, and how.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Method {
    /// `PTP_SYS_OFFSET_EXTENDED` with `CLOCK_MONOTONIC`.
    Extended,
    /// `PTP_SYS_OFFSET_EXTENDED` with `CLOCK_REALTIME`, and the bridge.
    Bridged,
    /// `PTP_SYS_OFFSET_PRECISE`, and the bridge: off by up to so many nanoseconds, to either side.
    Precise(f64),
}

/// Who steps a clock between two readings of a cycle, and by how much.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct StepsWithin {
    pub(crate) realtime: Option<i64>,
    pub(crate) phc: Option<i64>,
}

/// How long a reading takes, in nanoseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Delay {
    /// Without jitter.
    pub(crate) base: f64,
    /// Part of the base that lies before the device's time: 0.5 is the middle.
    pub(crate) before: f64,
    /// Mean of the jitter.
    pub(crate) jitter: f64,
    /// How unevenly the jitter is split: of each sample, 0.5 plus this before and 0.5 less this after.
    pub(crate) asymmetry: f64,
    /// How many of a thousand readings are interrupted.
    pub(crate) interrupted: f64,
    /// Whether they are so before the device's time only.
    pub(crate) one_sided: bool,
}

impl Delay {
    /// Those of chrony's simulation tests.
    pub(crate) const CHRONY: Self =
        Self { base: 1_000.0, before: 0.5, jitter: 100.0, asymmetry: 0.4, interrupted: 0.0, one_sided: false };

    /// The delay of one leg: half the base, and jitter, distributed as clknetsim does it (a Poisson distribution with mean 5,
    /// smoothed).
    fn leg(&self, share: f64, asymmetry: f64, rng: &mut SmallRng) -> f64 {
        let limit = (-5.0_f64).exp();
        let (mut product, mut count) = (1.0, 0.0);
        while product > limit {
            product *= rng.random::<f64>();
            count += 1.0;
        }
        // The count is one more than the distribution's, there as here.
        let sample = (count + rng.random::<f64>()) / 5.5;
        self.base * share + sample * self.jitter * (0.5 + asymmetry)
    }

    fn legs(&self, rng: &mut SmallRng) -> (f64, f64) {
        let mut before = self.leg(self.before, self.asymmetry, rng);
        let mut after = self.leg(1.0 - self.before, -self.asymmetry, rng);
        if rng.random::<f64>() * 1_000.0 < self.interrupted {
            let interruption = -20_000.0 * rng.random::<f64>().max(1e-9).ln();
            if self.one_sided || rng.random() { before += interruption } else { after += interruption }
        }
        (before, after)
    }
}

/// The readings of one cycle against `CLOCK_MONOTONIC`. `None` where they were lost with a step of `CLOCK_REALTIME`.
pub(crate) fn read(
    world: &mut World,
    method: Method,
    delay: &Delay,
    count: usize,
    steps: StepsWithin,
    rng: &mut SmallRng,
) -> Option<Vec<Reading<Monotonic>>> {
    let bridges = |world: &mut World, rng: &mut SmallRng| (0..5).map(|_| sandwich(world, rng)).collect::<Vec<_>>();
    let before = bridges(world, rng);
    let (mut readings, mut differences) = (Vec::with_capacity(count), Vec::with_capacity(count));
    let phc_steps_at = if steps.phc.is_some() { rng.random_range(0..count) } else { 0 };
    for i in 0..count {
        if i == count / 2 {
            world.realtime += steps.realtime.unwrap_or(0);
        }
        if i == phc_steps_at {
            world.phc.step(steps.phc.unwrap_or(0));
        }
        readings.push(one(world, method, delay, rng));
        differences.push(world.realtime);
        world.advance(200.0, rng);
    }
    let after = bridges(world, rng);
    if method == Method::Extended {
        return Some(readings);
    }
    let bridge = Bridge::new(before.into_iter().chain(after))?;
    let against_realtime = readings.iter().zip(&differences).map(|(reading, difference)| Reading {
        before: Time::<Realtime>::from_ns(reading.before.as_ns() + difference),
        device: reading.device,
        after: Time::from_ns(reading.after.as_ns() + difference),
    });
    Some(against_realtime.map(|reading| bridge.bring(&reading)).collect())
}

fn one(world: &mut World, method: Method, delay: &Delay, rng: &mut SmallRng) -> Reading<Monotonic> {
    let monotonic = |world: &World| Time::from_ns(world.monotonic.show(world.now));
    if let Method::Precise(error) = method {
        world.advance(500.0, rng);
        let error = (rng.random_range(-1.0..1.0) * error) as i64;
        let at = Time::from_ns(world.monotonic.show(world.now) + error);
        return Reading { before: at, device: Time::from_ns(world.phc.show(world.now)), after: at };
    }
    let (early, late) = delay.legs(rng);
    let before = monotonic(world);
    world.advance(early, rng);
    let device = Time::from_ns(world.phc.show(world.now));
    world.advance(late, rng);
    Reading { before, device, after: monotonic(world) }
}

/// Both system clocks read one after the other, which takes some 20 ns each.
fn sandwich(world: &mut World, rng: &mut SmallRng) -> Sandwich {
    let read = |world: &mut World, rng: &mut SmallRng| {
        world.advance(15.0 + 20.0 * rng.random::<f64>(), rng);
        world.monotonic.show(world.now)
    };
    let before = Time::from_ns(read(world, rng));
    let device = Time::from_ns(read(world, rng) + world.realtime);
    Reading { before, device, after: Time::from_ns(read(world, rng)) }
}
