//! Reading a card's clock next to the system's: one cycle of readings at a time.

use std::fmt;

use anyhow::{Context as _, ensure};
use hwtstamp::{
    Access, Method, Monotonic, MonotonicRaw, PhcDevice, Reading, Realtime, Span, SystemClock as _, Time, system,
};
use instamp_clockmap::Device;
use instamp_sync::{Bridge, Config, CrossTimestamp, Cycle, PRECISE_ERROR, Sandwich};

use super::options;

/// The two ends of a [`Bridge`] each take so many readings: enough for one that nothing has interrupted.
const SANDWICHES: usize = 5;

/// After so many cycles in a row that fail, another way may do: precise readings fail for good where the clock source changes.
const DOUBTFUL: u32 = 5;

/// A clock that can be read next to the system's.
pub(super) struct Source {
    clock: Clock,
    readings: u32,
    method: options::Method,
    /// Cycles that have failed in a row.
    failed: u32,
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
                let device = PhcDevice::open_index(index, Access::Read)?;
                let way = Way::choose(options.method, |way| probe(&device, way))?;
                Clock::Phc { device, way }
            }
        };
        Ok(Self { clock, readings: options.readings, method: options.method, failed: 0, difference: None })
    }

    /// Chooses again how the clock is read, where it was not for the user to choose and cycles keep failing. Returns the word
    /// for what it was where it is something else now: what was known of the readings is no longer so.
    pub(super) fn reconsider(&mut self) -> Option<&'static str> {
        let Clock::Phc { device, way } = &mut self.clock else { return None };
        if self.method != options::Method::Auto || !self.failed.is_multiple_of(DOUBTFUL) {
            return None;
        }
        let other = Way::choose(self.method, |way| probe(device, way)).ok().filter(|chosen| chosen != way)?;
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
        self.failed = if cycle.is_ok() { 0 } else { self.failed.saturating_add(1) };
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
        let mut source =
            Source { clock: Clock::StandIn, readings: 7, method: options::Method::Auto, failed: 0, difference: None };
        let cycle = source.cross_timestamp().expect("clocks of the kernel");
        assert_eq!(cycle.readings.len(), 7);
        assert_eq!(cycle.device_frequency, Some(0.0));
        assert!(cycle.system_frequency.is_some());
        let ends: Vec<_> = cycle.readings.iter().flat_map(|reading| [reading.before, reading.after]).collect();
        assert!(ends.is_sorted(), "{ends:?}");
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
