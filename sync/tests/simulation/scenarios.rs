//! The table of scenarios, each with its own limits.

use hwtstamp::Span;
use instamp_sync::{Config, PRECISE_ERROR};
use rand::{Rng as _, rngs::SmallRng};

use crate::{
    clocks::Oscillator,
    device::{Delay, Method},
};

/// What happens to the clocks, or to who reads them.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Disturbance {
    /// Somebody adds so many nanoseconds to the device's time.
    StepPhc(i64),
    /// The same between two readings of the next cycle.
    StepPhcWithin(i64),
    /// The device's time becomes this: the driver was reset.
    ResetPhc(i64),
    /// Somebody sets the time of day, between two cycles.
    StepRealtime(i64),
    /// The same in the middle of the next cycle.
    StepRealtimeWithin(i64),
    /// The offset of TAI changes, in seconds.
    SetTai(i64),
    /// The system's frequency is adjusted, by so many parts per billion, with `adjtimex`.
    SetSystem(f64),
    /// The device's frequency is adjusted.
    SetPhc(f64),
    /// The system's clock is slewed by so many parts per billion for so many seconds, and no setting tells of it.
    Slew(f64, f64),
    /// The device's oscillator becomes warmer: parts per billion per second, and seconds.
    Ramp(f64, f64),
    /// Readings fail for so many seconds.
    Lose(f64),
    /// The process stands still for so many seconds, from its next reading on: what it has read is published late.
    Interrupt(f64),
    /// The process stands still for so many seconds.
    SuspendProcess(f64),
    /// Four of five readings are interrupted before the device's time, and the others take twice as long, for so many seconds.
    Load(f64),
    /// The machine sleeps.
    Sleep(f64),
}

impl Disturbance {
    /// Whether no reading before it could have told.
    pub(crate) fn disrupts(self) -> bool {
        match self {
            Self::StepPhc(_)
            | Self::StepPhcWithin(_)
            | Self::ResetPhc(_)
            | Self::SetSystem(_)
            | Self::SetPhc(_)
            | Self::Slew(..)
            | Self::Sleep(_) => true,
            // The bridge takes steps of the time of day away; the tracker never sees them.
            Self::StepRealtime(_)
            | Self::StepRealtimeWithin(_)
            | Self::SetTai(_)
            | Self::Ramp(..)
            | Self::Lose(_)
            | Self::Interrupt(_)
            | Self::SuspendProcess(_)
            | Self::Load(_) => false,
        }
    }

    /// Whether it leaves the clocks' times as they are, and changes the rate of one.
    pub(crate) fn changes_rate(self) -> bool {
        matches!(self, Self::SetSystem(_) | Self::SetPhc(_) | Self::Slew(..))
    }

    /// Whether the next reading has to lead to a withdrawal, where the model is wrong by then.
    pub(crate) fn steps(self) -> bool {
        matches!(self, Self::StepPhc(_) | Self::StepPhcWithin(_) | Self::ResetPhc(_) | Self::Sleep(_))
    }

    /// Any of them, of any size.
    pub(crate) fn random(rng: &mut SmallRng) -> Self {
        let sign = if rng.random() { 1.0 } else { -1.0 };
        // Every order of magnitude as likely as the next.
        let mut sized = |least: f64, most: f64| (least.ln() + (most / least).ln() * rng.random::<f64>()).exp();
        let (time, size) = (sized(0.05, 5.0), sized(10.0, 1e9));
        let (rate, ramp) = (sign * sized(10.0, 500_000.0), sign * sized(1.0, 30.0));
        match rng.random_range(0..12) {
            0 | 1 => Self::StepPhc((sign * size) as i64),
            10 => Self::StepPhcWithin((sign * size) as i64),
            11 => Self::Interrupt(time),
            2 => Self::StepRealtime((sign * size) as i64),
            3 => Self::StepRealtimeWithin((sign * size) as i64),
            4 => Self::SetSystem(rate / 10.0),
            5 => Self::SetPhc(rate / 10.0),
            6 => Self::Slew(rate, time),
            7 => Self::Ramp(ramp, time),
            8 => Self::Lose(time),
            9 if rng.random() => Self::SuspendProcess(time),
            _ => Self::Load(time),
        }
    }
}

/// What a scenario must keep to. Times are nanoseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) rms: f64,
    /// Of the rate, once the model has been there for four seconds.
    pub(crate) rate_error: f64,
    pub(crate) median_bound: u64,
    /// Whether the median bound must be at most four times the largest error.
    pub(crate) is_quiet: bool,
    /// Withdrawals in a run: at least, and at most.
    pub(crate) withdrawals: (usize, usize),
    /// Until the first model.
    pub(crate) lock: f64,
    /// Part of the time with a model, at least.
    pub(crate) available: f64,
    /// Part of the conversions that a later reading has to confirm, at least.
    pub(crate) confirmed: f64,
    /// For how many intervals a disruption may go unseen while readings are taken.
    pub(crate) exposed: f64,
}

const LIMITS: Limits = Limits {
    rms: 50.0,
    rate_error: 3e-8,
    median_bound: 200,
    is_quiet: false,
    withdrawals: (0, 0),
    lock: 2e9,
    available: 0.99,
    confirmed: 0.7,
    exposed: 1.02,
};
/// Of runs of ten seconds: the model comes after four tenths of one.
const AT_START: Limits = Limits { available: 0.95, ..LIMITS };
const QUIET: Limits = Limits { is_quiet: true, confirmed: 0.92, ..LIMITS };
/// So many runs show the largest error nearly as large as any number does.
const QUIET_SEEDS: u64 = 60;

pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) seconds: f64,
    pub(crate) seeds: u64,
    pub(crate) config: Config,
    pub(crate) readings: usize,
    pub(crate) method: Method,
    pub(crate) delay: Delay,
    pub(crate) system: Oscillator,
    pub(crate) device: Oscillator,
    pub(crate) phc_begins: i64,
    pub(crate) granularity: i64,
    pub(crate) settings_known: bool,
    /// Seconds, and what happens then.
    pub(crate) events: Vec<(f64, Disturbance)>,
    /// How many more disturbances happen, of which kind and when differs from run to run.
    pub(crate) random: usize,
    pub(crate) limits: Limits,
}

impl Scenario {
    /// chrony's parameters, and nothing that happens.
    fn new(name: &'static str, limits: Limits) -> Self {
        Self {
            name,
            seconds: 60.0,
            seeds: if limits.is_quiet { QUIET_SEEDS } else { 20 },
            config: Config::default(),
            readings: 20,
            method: Method::Extended,
            delay: Delay::CHRONY,
            system: Oscillator { error: 12_345.0, wander: 1.0 },
            device: Oscillator { error: -4_321.0, wander: 1.0 },
            phc_begins: 1_790_000_037_000_000_000,
            granularity: 1,
            settings_known: true,
            events: Vec::new(),
            random: 0,
            limits,
        }
    }

    /// How far a reading may be off for its length and still show every disruption that matters, in nanoseconds: a typical one.
    pub(crate) fn telling(&self) -> f64 {
        match self.method {
            Method::Extended | Method::Bridged => self.delay.jitter,
            // The bridge is some nanoseconds wide.
            Method::Precise(_) => self.config.reading_error.as_ns() as f64 + 10.0,
        }
    }
}

/// The table.
#[expect(clippy::too_many_lines, reason = "it is a table")]
pub(crate) fn scenarios() -> Vec<Scenario> {
    use Disturbance::*;
    let config = Config::default;
    let at_rate = |hz: i64| Config::for_interval(Span::from_ms(1_000 / hz));
    let precise = || Config { reading_error: PRECISE_ERROR, ..config() };
    let latched_early = Delay { before: 0.1, ..Delay::CHRONY };
    let small_steps: Vec<_> = (1..=25)
        .map(|i| (f64::from(i) * 2.2, StepPhc(if i % 3 == 0 { -i64::from(i) * 8 } else { i64::from(i) * 8 })))
        .collect();
    // As far from the middle as the default asymmetry allows, and hardly any jitter that would hide it.
    let latched_at_the_edge = Delay { before: 0.45, jitter: 20.0, asymmetry: 0.0, ..Delay::CHRONY };
    // As far to the other side as it allows for the shortest possible reading, and the jitter adds to it.
    let latched_late = Delay { before: 0.543, ..Delay::CHRONY };
    // Just over an interval apart: between two readings there is never more than one.
    let there_and_back = |by: i64| -> Vec<_> {
        (1..=45)
            .flat_map(|i| {
                [0.0, 0.102].map(|later| (f64::from(i) * 1.27 + later, StepPhc(if later > 0.0 { -by } else { by })))
            })
            .collect()
    };
    vec![
        Scenario::new("chrony's parameters", QUIET),
        Scenario {
            config: at_rate(1),
            seconds: 600.0,
            ..Scenario::new("once a second", Limits { lock: 8e9, median_bound: 250, ..QUIET })
        },
        Scenario { config: at_rate(100), seconds: 20.0, ..Scenario::new("a hundred times a second", QUIET) },
        Scenario { readings: 10, ..Scenario::new("10 readings", QUIET) },
        Scenario { readings: 5, ..Scenario::new("5 readings", QUIET) },
        Scenario { method: Method::Bridged, ..Scenario::new("against REALTIME, bridged", QUIET) },
        Scenario { granularity: 8, ..Scenario::new("PHC with 8 ns steps", QUIET) },
        Scenario { granularity: 40, ..Scenario::new("PHC with 40 ns steps", Limits { median_bound: 250, ..QUIET }) },
        Scenario {
            config: precise(),
            method: Method::Precise(50.0),
            ..Scenario::new("precise", Limits { median_bound: 250, ..QUIET })
        },
        Scenario {
            delay: Delay { base: 3_000.0, jitter: 500.0, asymmetry: 0.2, ..Delay::CHRONY },
            ..Scenario::new(
                "basic: slow readings",
                Limits { rms: 60.0, rate_error: 6e-8, median_bound: 1_000, ..QUIET },
            )
        },
        Scenario {
            seeds: 200,
            seconds: 10.0,
            delay: latched_at_the_edge,
            granularity: 40,
            ..Scenario::new("latched at 45 of 55, 40 ns steps", Limits { rms: 80.0, median_bound: 600, ..AT_START })
        },
        Scenario {
            seeds: 1_000,
            seconds: 10.0,
            delay: latched_late,
            readings: 5,
            ..Scenario::new("latched at 54 of 46, 5 readings", Limits { rms: 80.0, median_bound: 250, ..AT_START })
        },
        Scenario {
            seeds: 1_000,
            seconds: 10.0,
            delay: Delay { asymmetry: 0.5, ..latched_late },
            ..Scenario::new("the same, all jitter before", Limits { rms: 80.0, ..AT_START })
        },
        Scenario {
            delay: latched_early,
            config: Config { asymmetry: 0.8, ..config() },
            ..Scenario::new("latched at 10 of 90", Limits { rms: 450.0, median_bound: 600, ..QUIET })
        },
        Scenario {
            delay: Delay { before: 0.0, asymmetry: -0.5, ..Delay::CHRONY },
            config: Config { asymmetry: 1.0, ..config() },
            ..Scenario::new("latched at once, no assumption", Limits { rms: 600.0, median_bound: 700, ..QUIET })
        },
        Scenario {
            delay: Delay { interrupted: 50.0, ..Delay::CHRONY },
            ..Scenario::new("one reading of 20 interrupted", QUIET)
        },
        Scenario {
            delay: Delay { interrupted: 800.0, one_sided: true, ..Delay::CHRONY },
            readings: 5,
            ..Scenario::new(
                "4 of 5 interrupted on one side",
                Limits { rms: 100.0, median_bound: 700, available: 0.95, ..LIMITS },
            )
        },
        Scenario { events: vec![(20.0, Load(15.0))], ..Scenario::new("15 s of load", LIMITS) },
        Scenario {
            system: Oscillator { error: 90_000.0, wander: 1.0 },
            device: Oscillator { error: -90_000.0, wander: 1.0 },
            ..Scenario::new("180 ppm apart", QUIET)
        },
        Scenario {
            system: Oscillator { error: 0.0, wander: 5.0 },
            device: Oscillator { error: 0.0, wander: 5.0 },
            ..Scenario::new("five times the wander", Limits { rate_error: 5e-8, ..LIMITS })
        },
        Scenario {
            events: vec![(15.0, Ramp(5.0, 30.0))],
            ..Scenario::new("temperature, 5 ppb/s", Limits { rate_error: 6e-8, ..LIMITS })
        },
        Scenario {
            events: vec![(15.0, Ramp(100.0, 30.0))],
            ..Scenario::new("temperature, 100 ppb/s", Limits { rate_error: 3e-7, ..LIMITS })
        },
        Scenario {
            events: vec![(20.0, StepPhc(10_000)), (40.0, StepPhc(-10_000))],
            ..Scenario::new("PHC stepped by 10 us", Limits { withdrawals: (2, 2), available: 0.97, ..LIMITS })
        },
        Scenario {
            events: vec![(20.0, StepPhc(500)), (40.0, StepPhc(-500))],
            ..Scenario::new("PHC stepped by 500 ns", Limits { withdrawals: (2, 2), available: 0.97, ..LIMITS })
        },
        Scenario {
            events: (1..=11)
                .map(|i| (f64::from(i) * 5.0, StepPhcWithin(if i % 2 == 0 { 10_000 } else { -500 })))
                .collect(),
            ..Scenario::new("PHC stepped between readings", Limits { withdrawals: (11, 11), available: 0.9, ..LIMITS })
        },
        Scenario {
            events: (1..=18)
                .flat_map(|i| {
                    let begin = f64::from(i) * 3.0;
                    [(begin, Interrupt(0.45)), (begin + 0.2, StepPhc(if i % 3 == 0 { 2_000 } else { 0 }))]
                })
                .collect(),
            ..Scenario::new("interrupted before publishing", Limits { withdrawals: (6, 6), available: 0.9, ..LIMITS })
        },
        Scenario {
            events: vec![(20.0, ResetPhc(0)), (40.0, ResetPhc(1_790_000_100_000_000_000))],
            ..Scenario::new("PHC reset", Limits { withdrawals: (2, 2), available: 0.97, ..LIMITS })
        },
        Scenario {
            phc_begins: 0,
            events: vec![(20.0, StepPhc(1_790_000_100_000_000_000))],
            ..Scenario::new("PHC set for the first time", Limits { withdrawals: (1, 1), available: 0.97, ..LIMITS })
        },
        Scenario {
            method: Method::Bridged,
            events: vec![
                (20.0, StepRealtime(-1_000_000_000)),
                (20.5, SetTai(37)),
                (40.0, StepRealtimeWithin(-1_000_000_000)),
                (50.0, StepRealtimeWithin(100)),
            ],
            ..Scenario::new("leap second, TAI offset", LIMITS)
        },
        Scenario {
            method: Method::Bridged,
            events: vec![(20.0, StepRealtime(3_600_000_000_000)), (21.0, SetTai(37))],
            ..Scenario::new("time of day set", QUIET)
        },
        Scenario {
            events: (1..=11)
                .map(|i| (f64::from(i) * 5.0, SetSystem(if i % 2 == 0 { 150.0 } else { -130.0 })))
                .collect(),
            ..Scenario::new("NTP steers gently, known", Limits { rate_error: 1.5e-7, ..LIMITS })
        },
        Scenario {
            events: vec![(20.0, SetSystem(10_000.0)), (40.0, SetSystem(-25_000.0))],
            ..Scenario::new("NTP sets 10 ppm, known", Limits { rate_error: 3e-7, ..LIMITS })
        },
        Scenario {
            events: vec![(20.0, SetPhc(10_000.0)), (40.0, SetPhc(-25_000.0))],
            ..Scenario::new("ptp4l sets 10 ppm, known", Limits { rate_error: 3e-7, ..LIMITS })
        },
        Scenario {
            settings_known: false,
            events: vec![(20.0, SetPhc(10_000.0)), (40.0, SetPhc(-25_000.0))],
            ..Scenario::new(
                "ptp4l sets 10 ppm, unknown",
                Limits { withdrawals: (2, 2), rate_error: 3e-7, available: 0.97, ..LIMITS },
            )
        },
        Scenario {
            settings_known: false,
            events: (1..=11).map(|i| (f64::from(i) * 5.0, SetPhc(if i % 2 == 0 { 50.0 } else { -50.0 }))).collect(),
            ..Scenario::new("50 ppb up and down, unknown", Limits { rate_error: 1.5e-7, ..LIMITS })
        },
        Scenario {
            settings_known: false,
            events: (1..=11).map(|i| (f64::from(i) * 5.0, SetPhc(if i % 2 == 0 { 250.0 } else { -250.0 }))).collect(),
            ..Scenario::new(
                "250 ppb up and down, unknown",
                Limits { rate_error: 3e-7, withdrawals: (0, 11), available: 0.9, ..LIMITS },
            )
        },
        Scenario {
            events: vec![(20.0, Slew(500_000.0, 2.0)), (40.0, Slew(-500_000.0, 1.0))],
            ..Scenario::new(
                "adjtime slews 500 ppm",
                Limits { withdrawals: (4, 4), available: 0.95, rate_error: 3e-7, ..LIMITS },
            )
        },
        Scenario {
            events: vec![(20.0, Slew(3_000.0, 5.0)), (40.0, Slew(-1_000.0, 5.0))],
            ..Scenario::new(
                "slews of 3 and 1 ppm",
                Limits { withdrawals: (1, 4), available: 0.95, rate_error: 3e-7, ..LIMITS },
            )
        },
        Scenario {
            events: vec![(20.0, Lose(0.5)), (30.0, Lose(20.0))],
            ..Scenario::new("lost readings", Limits { median_bound: 300, confirmed: 0.6, ..LIMITS })
        },
        Scenario {
            seconds: 120.0,
            events: vec![(20.0, Lose(80.0))],
            ..Scenario::new(
                "lost for longer than allowed",
                Limits {
                    rms: 300.0,
                    median_bound: 10_000,
                    withdrawals: (1, 1),
                    available: 0.8,
                    confirmed: 0.35,
                    ..LIMITS
                },
            )
        },
        Scenario {
            events: vec![(20.0, SuspendProcess(0.5)), (30.0, SuspendProcess(10.0))],
            ..Scenario::new("process suspended", Limits { available: 0.82, ..LIMITS })
        },
        Scenario {
            events: vec![(20.0, SuspendProcess(4.0)), (23.3, Slew(-11_000.0, 0.08))],
            ..Scenario::new("slewed while suspended", Limits { available: 0.9, withdrawals: (0, 1), ..LIMITS })
        },
        Scenario {
            events: small_steps.clone(),
            ..Scenario::new("PHC stepped by 20 to 200 ns", Limits { withdrawals: (0, 20), available: 0.9, ..LIMITS })
        },
        Scenario {
            readings: 1,
            method: Method::Precise(0.0),
            config: Config { reading_error: Span::from_ns(90), ..config() },
            events: there_and_back(180),
            ..Scenario::new(
                "PHC stepped there and back",
                Limits { rms: 100.0, median_bound: 400, withdrawals: (0, 0), available: 0.9, ..LIMITS },
            )
        },
        Scenario {
            delay: latched_at_the_edge,
            events: there_and_back(25),
            ..Scenario::new(
                "the same, latched at 45 of 55",
                Limits { rms: 100.0, withdrawals: (0, 8), available: 0.9, confirmed: 0.65, ..LIMITS },
            )
        },
        Scenario {
            delay: latched_early,
            config: Config { asymmetry: 0.8, ..config() },
            events: small_steps,
            ..Scenario::new(
                "the same, latched at 10 of 90",
                Limits { rms: 450.0, median_bound: 600, withdrawals: (0, 20), available: 0.9, ..LIMITS },
            )
        },
        Scenario {
            config: Config { unannounced: 50.0, ..config() },
            events: vec![(20.0, Lose(30.0))],
            ..Scenario::new("lost, nobody steers", Limits { rms: 110.0, median_bound: 500, confirmed: 0.45, ..LIMITS })
        },
        Scenario { config: Config { unannounced: 50.0, ..config() }, ..Scenario::new("quiet, nobody steers", QUIET) },
        Scenario {
            events: vec![(0.0, Load(10.0))],
            ..Scenario::new("10 s of load at the start", Limits { median_bound: 300, ..LIMITS })
        },
        Scenario {
            method: Method::Bridged,
            seeds: 60,
            random: 12,
            ..Scenario::new(
                "anything at any time",
                Limits { rate_error: 1e-7, median_bound: 300, withdrawals: (0, 6), available: 0.9, ..LIMITS },
            )
        },
        Scenario {
            events: vec![(20.0, Sleep(300.0))],
            ..Scenario::new("machine sleeps", Limits { withdrawals: (1, 1), available: 0.97, ..LIMITS })
        },
    ]
}
