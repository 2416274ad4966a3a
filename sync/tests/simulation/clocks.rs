//! Oscillators, and the clocks that run on them.

use rand::{Rng as _, rngs::SmallRng};

pub(crate) const S: f64 = 1e9;
pub(crate) const PPB: f64 = 1e-9;

/// How an oscillator behaves. Frequencies are parts per billion.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Oscillator {
    /// How much too fast it is.
    pub(crate) error: f64,
    /// Standard deviation of the random walk of its frequency after one second.
    pub(crate) wander: f64,
}

/// A clock on an oscillator.
#[derive(Clone, Debug)]
pub(crate) struct Clock {
    oscillator: Oscillator,
    /// Adjustment of the frequency by whoever steers the clock.
    pub(crate) adjustment: f64,
    /// Change of the frequency by temperature, per second.
    pub(crate) ramp: f64,
    /// What it showed at the beginning, with all steps since.
    base: i64,
    /// What it gained on true time since.
    gained: f64,
    /// Steps of its counter.
    granularity: i64,
}

impl Clock {
    pub(crate) fn new(oscillator: Oscillator, base: i64, granularity: i64) -> Self {
        Self { oscillator, adjustment: 0.0, ramp: 0.0, base, gained: 0.0, granularity }
    }

    /// How much faster than true time it runs now, as a fraction.
    pub(crate) fn rate(&self) -> f64 {
        (1.0 + self.oscillator.error * PPB) * (1.0 + self.adjustment * PPB) - 1.0
    }

    fn advance(&mut self, elapsed: f64, normal: f64) {
        self.gained += self.rate() * elapsed;
        let seconds = elapsed / S;
        self.oscillator.error += self.oscillator.wander * seconds.sqrt() * normal + self.ramp * seconds;
    }

    pub(crate) fn step(&mut self, by: i64) {
        self.base += by;
    }

    /// What it shows: whole steps of its counter.
    pub(crate) fn show(&self, now: f64) -> i64 {
        let shown = self.base + (now + self.gained).floor() as i64;
        shown - shown.rem_euclid(self.granularity)
    }

    /// What it would show with an endlessly fine counter, less a time that it shows.
    pub(crate) fn less(&self, now: f64, shown: i64) -> f64 {
        (self.base - shown) as f64 + now + self.gained
    }
}

/// All clocks of the machine, and true time.
#[derive(Clone, Debug)]
pub(crate) struct World {
    /// True time in nanoseconds since the beginning.
    pub(crate) now: f64,
    pub(crate) monotonic: Clock,
    pub(crate) phc: Clock,
    /// `CLOCK_REALTIME` less `CLOCK_MONOTONIC`.
    pub(crate) realtime: i64,
    /// `CLOCK_TAI` less `CLOCK_REALTIME`, in seconds: nothing may depend on it.
    pub(crate) tai_offset: i64,
}

impl World {
    pub(crate) fn advance(&mut self, elapsed: f64, rng: &mut SmallRng) {
        self.now += elapsed;
        // Within a reading the frequencies do not move.
        let normal = |rng: &mut SmallRng| if elapsed < 1e4 { 0.0 } else { normal(rng) };
        self.monotonic.advance(elapsed, normal(rng));
        self.phc.advance(elapsed, normal(rng));
    }

    /// The machine sleeps: `CLOCK_MONOTONIC` stands still, the others go on.
    pub(crate) fn sleep(&mut self, elapsed: f64, rng: &mut SmallRng) {
        self.advance(elapsed, rng);
        self.monotonic.step(-(elapsed as i64));
        self.realtime += elapsed as i64;
    }

    /// System seconds per device second, less one.
    pub(crate) fn rate(&self) -> f64 {
        (1.0 + self.monotonic.rate()) / (1.0 + self.phc.rate()) - 1.0
    }
}

/// Normally distributed, with standard deviation 1.
pub(crate) fn normal(rng: &mut SmallRng) -> f64 {
    let radius = (-2.0 * (1.0 - rng.random::<f64>()).ln()).sqrt();
    radius * (std::f64::consts::TAU * rng.random::<f64>()).cos()
}
