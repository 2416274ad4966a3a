//! Reading a card's clock next to the system's: one cycle of readings at a time.

use std::{
    fmt,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use hwtstamp::{
    Access, Method, Monotonic, MonotonicRaw, PhcDevice, Reading, Realtime, Span, SystemClock as _, Time, system,
};
use instamp_clockmap::Device;
use instamp_sync::{Bridge, Config, CrossTimestamp, Cycle, PRECISE_ERROR, Sandwich};

use super::options::{self, Steer};

/// The two ends of a [`Bridge`] each take so many readings: enough for one that nothing has interrupted.
const SANDWICHES: usize = 5;

/// After so long without readings another way may do: precise readings fail for good where the clock source changes.
const DOUBTFUL: Duration = Duration::from_secs(2);

/// After so long with another way the first one may do again.
const RECOVERED: Duration = Duration::from_secs(60);

/// A clock that can be read next to the system's.
pub(super) struct Source {
    clock: Clock,
    readings: u32,
    /// Where it was not for the user to choose.
    choice: Option<Choice>,
    /// `CLOCK_REALTIME` less `CLOCK_MONOTONIC` in the last cycle that gave readings. `None` where the time of day was set meanwhile.
    difference: Option<Span>,
}

enum Clock {
    Phc {
        device: PhcDevice,
        way: Way,
    },
    /// `CLOCK_MONOTONIC_RAW`.
    StandIn,
}

/// The ways to read a card's clock, the best first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Way {
    Precise,
    Extended,
    ExtendedRealtime,
    Basic,
}

/// When another way to read a clock is to be looked for.
struct Choice {
    /// The best at the beginning.
    first: Way,
    /// When a cycle gave readings, or another way was looked for.
    settled: Instant,
    /// When another way was looked for.
    looked: Instant,
}

impl Choice {
    fn new(first: Way, now: Instant) -> Self {
        Self { first, settled: now, looked: now }
    }

    fn note(&mut self, is_read: bool, now: Instant) {
        if is_read {
            self.settled = now;
        }
    }

    /// Whether one is to be looked for instead of `way`: if so, not again at once.
    fn is_due(&mut self, way: Way, now: Instant) -> bool {
        let fails = now.duration_since(self.settled) >= DOUBTFUL;
        let may_recover = way != self.first && now.duration_since(self.looked) >= RECOVERED;
        if fails || may_recover {
            (self.settled, self.looked) = (now, now);
        }
        fails || may_recover
    }
}

/// Why a cycle gave no readings.
#[derive(Debug)]
pub(super) enum Error {
    /// The clock or the kernel.
    Clock(hwtstamp::Error),
    /// The readings are against `CLOCK_REALTIME`, which was set between the first and the last of them.
    TimeSet,
}

impl Source {
    /// Opens a clock, and finds how it can be read: as asked, or the best way.
    pub(super) fn open(device: Device, options: &options::Options) -> anyhow::Result<Self> {
        let clock = match device {
            Device::MonotonicRaw => {
                ensure!(
                    options.method == options::Method::Auto,
                    "CLOCK_MONOTONIC_RAW is read between two readings of CLOCK_MONOTONIC and in no other way: leave out --method"
                );
                Clock::StandIn
            }
            Device::Phc(index) => {
                // On kernels that lack a change of Linux 6.15 only who may adjust a clock learns its frequency, and the tracker has
                // to know of what is set here.
                let access = if options.steer == Some(Steer::Phc) { Access::Write } else { Access::Read };
                let device = PhcDevice::open_index(index, access)?;
                let way = Way::choose(options.method, |way| probe(&device, way))?;
                Clock::Phc { device, way }
            }
        };
        let choice = match clock {
            Clock::Phc { way, .. } if options.method == options::Method::Auto => Some(Choice::new(way, Instant::now())),
            Clock::Phc { .. } | Clock::StandIn => None,
        };
        Ok(Self { clock, readings: options.readings, choice, difference: None })
    }

    /// The clock that stands in for a card's.
    pub(super) fn stand_in(readings: u32) -> Self {
        Self { clock: Clock::StandIn, readings, choice: None, difference: None }
    }

    /// Chooses again how the clock is read, where it was not for the user to choose: where readings keep failing, and where they
    /// once did. Returns the word for what it was where it is something else now: what was known of the readings is no longer
    /// so.
    pub(super) fn reconsider(&mut self) -> Option<&'static str> {
        let (Clock::Phc { device, way }, Some(choice)) = (&mut self.clock, &mut self.choice) else { return None };
        if !choice.is_due(*way, Instant::now()) {
            return None;
        }
        let auto = options::Method::Auto;
        let other = Way::choose(auto, |way| probe(device, way)).ok().filter(|chosen| chosen != way)?;
        Some(std::mem::replace(way, other).name())
    }

    /// What the tracker needs to know of the readings.
    pub(super) fn config(&self, config: Config) -> Config {
        match self.clock {
            Clock::Phc { way: Way::Precise, .. } => Config { reading_error: PRECISE_ERROR, ..config },
            Clock::Phc { way: Way::Extended | Way::ExtendedRealtime | Way::Basic, .. } | Clock::StandIn => config,
        }
    }

    /// The output's word for how it is read.
    pub(super) fn method(&self) -> &'static str {
        match &self.clock {
            Clock::Phc { way, .. } => way.name(),
            Clock::StandIn => "sandwich",
        }
    }

    /// The card's clock; `None` where another stands in for it.
    pub(super) fn phc(&self) -> Option<&PhcDevice> {
        match &self.clock {
            Clock::Phc { device, .. } => Some(device),
            Clock::StandIn => None,
        }
    }

    /// Whether the device is gone for good. Failing readings alone do not say so.
    pub(super) fn is_gone(&self) -> bool {
        const ENODEV: i32 = 19;
        let capabilities = self.phc().map(PhcDevice::capabilities);
        capabilities.is_some_and(|answer| answer.is_err_and(|error| error.raw_os_error() == Some(ENODEV)))
    }

    /// What `CLOCK_REALTIME` showed at a time of the last cycle.
    pub(super) fn realtime(&self, at: Time<Monotonic>) -> Option<Time<Realtime>> {
        Some(Time::from_ns((at + self.difference?).as_ns()))
    }

    fn cycle(&mut self) -> Result<Cycle, Error> {
        let (readings, difference) = match &self.clock {
            Clock::Phc { device, way } => bridged(|| take(device, *way, self.readings))?,
            Clock::StandIn => bridged(|| Ok(Taken::Monotonic((0..self.readings).map(|_| raw()).collect())))?,
        };
        self.difference = difference;
        // The setting was this during the readings, or was changed so shortly after them that it makes no difference.
        let device_frequency = match &self.clock {
            Clock::Phc { device, .. } => device.frequency().ok().map(|frequency| frequency.ppb()),
            Clock::StandIn => Some(0.0),
        };
        Ok(Cycle { readings, system_frequency: Some(system::discipline()?.frequency.ppb()), device_frequency })
    }
}

impl CrossTimestamp for Source {
    type Error = Error;

    fn cross_timestamp(&mut self) -> Result<Cycle, Error> {
        let cycle = self.cycle();
        if let Some(choice) = &mut self.choice {
            choice.note(cycle.is_ok(), Instant::now());
        }
        cycle
    }
}

/// What is taken, against `CLOCK_MONOTONIC`; and `CLOCK_REALTIME` less that one, `None` where the time of day was set meanwhile.
fn bridged(
    take: impl FnOnce() -> Result<Taken, hwtstamp::Error>,
) -> Result<(Vec<Reading<Monotonic>>, Option<Span>), Error> {
    let before = sandwiches();
    let taken = take()?;
    let after = sandwiches();
    let bridge = Bridge::new(before.into_iter().chain(after));
    let difference = bridge.as_ref().map(difference);
    let readings = match (taken, bridge) {
        (Taken::Monotonic(readings), _) => readings,
        (Taken::Realtime(readings), Some(bridge)) => readings.iter().map(|reading| bridge.bring(reading)).collect(),
        (Taken::Realtime(_), None) => return Err(Error::TimeSet),
    };
    Ok((readings, difference))
}

enum Taken {
    Monotonic(Vec<Reading<Monotonic>>),
    Realtime(Vec<Reading<Realtime>>),
}

fn take(device: &PhcDevice, way: Way, readings: u32) -> Result<Taken, hwtstamp::Error> {
    Ok(match way {
        Way::Extended => Taken::Monotonic(device.cross_read(Method::Extended, readings)?),
        Way::Precise => Taken::Realtime(
            (0..readings).map(|_| device.cross_read(Method::Precise, 1)).collect::<Result<Vec<_>, _>>()?.concat(),
        ),
        Way::ExtendedRealtime => Taken::Realtime(device.cross_read(Method::Extended, readings)?),
        Way::Basic => Taken::Realtime(device.cross_read(Method::Basic, readings)?),
    })
}

/// Whether a way works.
fn probe(device: &PhcDevice, way: Way) -> Result<(), Error> {
    bridged(|| take(device, way, 1)).map(drop)
}

/// The middle of what is known of `CLOCK_REALTIME` less `CLOCK_MONOTONIC`.
fn difference(bridge: &Bridge) -> Span {
    let zero = Time::<Realtime>::from_ns(0);
    let brought = bridge.bring(&Reading::<_> { before: zero, device: Time::<hwtstamp::Phc>::from_ns(0), after: zero });
    Span::from_ns(-brought.midpoint().as_ns())
}

/// A reading of the clock that stands in for a card's.
fn raw() -> Reading<Monotonic> {
    let before = Monotonic::now();
    let raw = MonotonicRaw::now();
    let after = Monotonic::now();
    Reading { before, device: Time::from_ns(raw.as_ns()), after }
}

fn sandwiches() -> [Sandwich; SANDWICHES] {
    std::array::from_fn(|_| {
        let before = Monotonic::now();
        let device = Realtime::now();
        let after = Monotonic::now();
        Reading { before, device, after }
    })
}

impl Way {
    const ALL: [Self; 4] = [Self::Precise, Self::Extended, Self::ExtendedRealtime, Self::Basic];

    fn choose(method: options::Method, probe: impl Fn(Self) -> Result<(), Error>) -> anyhow::Result<Self> {
        let asked = match method {
            options::Method::Precise => Self::Precise,
            options::Method::Extended => Self::Extended,
            options::Method::ExtendedRealtime => Self::ExtendedRealtime,
            options::Method::Basic => Self::Basic,
            options::Method::Auto => {
                // Any failure will do to go on: a card that has the precise way may lack what it takes (`ENODEV`).
                // Busy hardware is asked again.
                let works = |way: &Self| (0..3).any(|_| probe(*way).is_ok());
                return match Self::ALL.into_iter().find(works) {
                    Some(way) => Ok(way),
                    None => probe(Self::Basic).map(|()| Self::Basic).context("no way to read it works"),
                };
            }
        };
        probe(asked).with_context(|| format!("cannot read by the method {}", asked.name()))?;
        Ok(asked)
    }

    /// The word for it, on the command line too.
    const fn name(self) -> &'static str {
        match self {
            Self::Precise => "precise",
            Self::Extended => "extended",
            Self::ExtendedRealtime => "extended-realtime",
            Self::Basic => "basic",
        }
    }
}

impl From<hwtstamp::Error> for Error {
    fn from(error: hwtstamp::Error) -> Self {
        Self::Clock(error)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Clock(error) => error.fmt(f),
            Self::TimeSet => f.write_str("the time of day was set during the readings, which were against it"),
        }
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stand_in_is_read_as_often_as_asked_and_in_order() {
        let mut source = Source::stand_in(7);
        let cycle = source.cross_timestamp().expect("clocks of the kernel");
        assert_eq!(cycle.readings.len(), 7);
        assert_eq!(cycle.device_frequency, Some(0.0));
        assert!(cycle.system_frequency.is_some());
        let ends: Vec<_> = cycle.readings.iter().flat_map(|reading| [reading.before, reading.after]).collect();
        assert!(ends.is_sorted(), "{ends:?}");
    }

    #[test]
    fn another_way_is_looked_for_after_a_while_and_the_first_one_again() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut choice = Choice::new(Way::Precise, start);
        choice.note(true, at(10));
        choice.note(false, at(11));
        assert!(!choice.is_due(Way::Precise, at(11)), "failing for a second");
        assert!(choice.is_due(Way::Precise, at(12)));
        assert!(!choice.is_due(Way::Precise, at(13)), "just looked for");
        assert!(choice.is_due(Way::Precise, at(14)), "and still failing");

        choice.note(true, at(73));
        assert!(!choice.is_due(Way::Extended, at(73)));
        choice.note(true, at(74));
        assert!(choice.is_due(Way::Extended, at(74)), "a minute later the first may do again");
        choice.note(true, at(200));
        assert!(!choice.is_due(Way::Precise, at(200)), "the first is the best");
    }

    #[test]
    fn the_first_way_that_works_is_taken_and_one_that_was_asked_for_or_none() {
        let choose = |method, working: &[Way]| {
            Way::choose(method, |way| if working.contains(&way) { Ok(()) } else { Err(Error::TimeSet) }).ok()
        };
        assert_eq!(choose(options::Method::Auto, &Way::ALL), Some(Way::Precise));
        assert_eq!(choose(options::Method::Auto, &[Way::Basic, Way::ExtendedRealtime]), Some(Way::ExtendedRealtime));
        assert_eq!(choose(options::Method::Auto, &[]), None);
        assert_eq!(choose(options::Method::Basic, &Way::ALL), Some(Way::Basic));
        assert_eq!(choose(options::Method::Precise, &[Way::Extended]), None);
    }
}
