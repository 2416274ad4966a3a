//! `instamp clock`.

use std::{
    fmt,
    io::{self, Write as _},
    path::PathBuf,
    process::ExitCode,
};

use anyhow::Context as _;
use hwtstamp::{Monotonic, Realtime, SystemClock as _, Tai};
use instamp::time_namespace::MonotonicOffset;
use instamp_clockmap::{Device, Directory, Error, Model, ONE, Reader, Refusal, State};
use serde::Serialize;

use crate::{
    clock_names::{self, name},
    json_lines,
    units::Nanoseconds,
};

/// Shows the published models of network cards' clocks: how far each is ahead of the system's, and how sure that is.
///
/// `instamp sync` publishes them. Needs no privilege.
#[derive(clap::Args)]
#[command(after_help = HELP)]
pub(crate) struct Options {
    /// The clock of this network interface [default: all that are published]
    #[arg(long, value_name = "IF")]
    dev: Vec<String>,

    /// This clock: /dev/ptpN, or `CLOCK_MONOTONIC_RAW`
    #[arg(long, value_name = "CLOCK", value_parser = clock_names::parse)]
    phc: Vec<Device>,

    /// Where models are published
    #[arg(long, value_name = "DIR", env = Directory::VARIABLE, default_value = Directory::DEFAULT)]
    publish: PathBuf,

    /// Print JSON Lines: one object for each clock; times are integers in ns, and null where there is none
    #[arg(long)]
    json: bool,
}

const HELP: &str = "\
States:
  valid        readings come, and none contradicts the model
  holdover     readings fail or are late; the model goes on alone and its bound grows
  stale        nobody has renewed the model in time: its publisher has stopped, or was stopped
  withdrawn    there is no valid model: not yet, or a clock was stepped, or the publisher has ended
  unfinished   a publisher ended while it was writing; the next one mends it
  foreign      no model, or one of another version of the format
  malformed    numbers that no publisher writes
  unpublished  there is no file of this clock

The bound is that of a conversion to CLOCK_MONOTONIC now. It assumes that readings are about
symmetric (`instamp sync --asymmetry`); the second figure assumes nothing. The offsets to
CLOCK_REALTIME and CLOCK_TAI are shown where the clock keeps the time of day, the latter where the
kernel knows TAI.

Exit status: 0 where at least one model is valid or in holdover, 1 where none is, 2 on an error.";

pub(crate) fn run(options: Options) -> anyhow::Result<ExitCode> {
    let directory = Directory::new(&options.publish);
    let devices = if options.dev.is_empty() && options.phc.is_empty() {
        directory.devices()?
    } else {
        clock_names::choose(&options.dev, &options.phc)?.into_iter().map(|chosen| chosen.device).collect()
    };
    let offset = MonotonicOffset::of_this_process().context("cannot tell the host's time")?;
    let mut out = io::stdout().lock();
    let mut found_valid = false;
    for &device in &devices {
        let view = view(&directory, device, offset)?;
        found_valid |= view.model.is_some();
        if options.json {
            json_lines::write(&mut out, &view)?;
        } else {
            write!(out, "{view}")?;
        }
    }
    if devices.is_empty() && !options.json {
        writeln!(out, "no clock is published at {}: `instamp sync` does", options.publish.display())?;
    }
    Ok(ExitCode::from(u8::from(!found_valid)))
}

pub(crate) fn view(directory: &Directory, device: Device, offset: MonotonicOffset) -> anyhow::Result<View> {
    let mut view = View { clock: name(device), file: directory.file(device), state: "unpublished", model: None };
    if !view.file.try_exists().with_context(|| view.file.display().to_string())? {
        return Ok(view);
    }
    let model = match Reader::open(directory, device) {
        Ok(mut reader) => reader.model(),
        Err(Error::Foreign { .. }) => Err(Refusal::Foreign),
        Err(error) => return Err(error.into()),
    };
    let now = Now::read(offset)?;
    match model.and_then(|model| Values::of(&model, now).map(|values| (model.state, values))) {
        Ok((state, values)) => {
            view.state = if state == State::HOLDOVER { "holdover" } else { "valid" };
            view.model = Some(values);
        }
        Err(refusal) => view.state = refusal.name(),
    }
    Ok(view)
}

/// How a clock stands.
#[derive(Serialize, Debug)]
pub(crate) struct View {
    pub(crate) clock: String,
    file: PathBuf,
    pub(crate) state: &'static str,
    pub(crate) model: Option<Values>,
}

/// What a valid model says.
#[derive(Serialize, Clone, PartialEq, Debug)]
pub(crate) struct Values {
    pub(crate) epoch: u64,
    /// The clock's time less `CLOCK_MONOTONIC`.
    pub(crate) offset_ns: i64,
    pub(crate) offset_realtime_ns: Option<i64>,
    pub(crate) offset_tai_ns: Option<i64>,
    /// How much faster it runs than `CLOCK_MONOTONIC`.
    pub(crate) rate_ppb: f64,
    pub(crate) bound_ns: u64,
    pub(crate) bound_without_assumption_ns: u64,
    /// Since the last reading that agreed.
    pub(crate) age_ns: u64,
    pub(crate) void_in_ns: u64,
}

/// The system's clocks at one moment.
#[derive(Clone, Copy)]
struct Now {
    /// Of the initial time namespace.
    monotonic_ns: u64,
    realtime_ns: i64,
    /// How far TAI is ahead of UTC; 0 where the kernel does not know it.
    tai_ns: i64,
}

impl Now {
    fn read(offset: MonotonicOffset) -> anyhow::Result<Self> {
        let before = Monotonic::now();
        let (realtime, tai) = (Realtime::now().as_ns(), Tai::now().as_ns());
        let monotonic = before.midpoint(Monotonic::now()).as_ns();
        let monotonic_ns = u64::try_from(monotonic).ok().and_then(|ns| offset.host_ns(ns));
        // The offset is in whole seconds, and the two readings are less than half a second apart.
        let tai_ns = (tai - realtime + NS_PER_S / 2).div_euclid(NS_PER_S) * NS_PER_S;
        Ok(Self {
            monotonic_ns: monotonic_ns.context("CLOCK_MONOTONIC is out of range")?,
            realtime_ns: realtime,
            tai_ns,
        })
    }
}

const NS_PER_S: i64 = 1_000_000_000;

/// A clock that keeps the time of day is not further from it than this; one that began at 0, or counts from the boot, is.
const SAME_DAY_NS: i64 = 86_400 * NS_PER_S;

impl Values {
    fn of(model: &Model, now: Now) -> Result<Self, Refusal> {
        let device_ns = device_time(model, now.monotonic_ns);
        let bound_ns = model.convert(device_ns, now.monotonic_ns)?.bound_ns;
        let ahead_of = |ns: i64| device_ns.cast_signed().saturating_sub(ns);
        let realtime = Some(ahead_of(now.realtime_ns)).filter(|offset| offset.abs() < SAME_DAY_NS);
        Ok(Self {
            epoch: model.epoch,
            offset_ns: ahead_of(now.monotonic_ns.cast_signed()),
            offset_realtime_ns: realtime,
            offset_tai_ns: realtime.filter(|_| now.tai_ns != 0).map(|offset| offset - now.tai_ns),
            rate_ppb: rate_ppb(model.rate),
            bound_ns,
            bound_without_assumption_ns: bound_ns + model.unassumed_ns,
            age_ns: device_ns.saturating_sub(model.as_of_ns),
            void_in_ns: model.void_after_ns - now.monotonic_ns,
        })
    }
}

/// What the device's clock shows at a system time: the model the other way round.
pub(crate) fn device_time(model: &Model, system_ns: u64) -> u64 {
    let elapsed = i128::from(system_ns) - i128::from(model.system_ref_ns);
    let one = i128::from(ONE);
    let device = i128::from(model.device_ref_ns) + (elapsed * one).div_euclid(one + i128::from(model.rate));
    u64::try_from(device.max(0)).unwrap_or(u64::MAX)
}

/// How much faster the device's clock runs, from the model's rate, which tells how much faster the system's does.
pub(crate) fn rate_ppb(rate: i64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "rates are far below 2^53")]
    let (rate, one) = (rate as f64, ONE as f64);
    let ppb = -rate / (one + rate) * 1e9;
    // To a thousandth; adding 0 makes a negative one positive.
    (ppb * 1000.0).round() / 1000.0 + 0.0
}

impl fmt::Display for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {}", self.clock, self.state)?;
        let Some(values) = &self.model else { return Ok(()) };
        let mut line = |label: &str, value: fmt::Arguments<'_>| writeln!(f, "  {label:<16} {value}");
        line("CLOCK_MONOTONIC", format_args!("{}", Ahead(values.offset_ns)))?;
        for (label, offset) in [("CLOCK_REALTIME", values.offset_realtime_ns), ("CLOCK_TAI", values.offset_tai_ns)] {
            if let Some(offset) = offset {
                line(label, format_args!("{}", Ahead(offset)))?;
            }
        }
        line("rate", format_args!("{:+.3} ppb", values.rate_ppb))?;
        let (bound, unassuming) = (values.bound_ns, values.bound_without_assumption_ns);
        line("bound", format_args!("{bound} ns; {unassuming} ns without assumption on asymmetry"))?;
        let age = Nanoseconds(values.age_ns.cast_signed());
        line("age", format_args!("{age}, void in {}", Nanoseconds(values.void_in_ns.cast_signed())))?;
        line("epoch", format_args!("{}", values.epoch))
    }
}

/// An offset in seconds, to the nanosecond.
struct Ahead(i64);

impl fmt::Display for Ahead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (sign, ns) = (if self.0 < 0 { '-' } else { '+' }, self.0.unsigned_abs());
        write!(f, "{sign}{}.{:09} s", ns / NS_PER_S.unsigned_abs(), ns % NS_PER_S.unsigned_abs())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A clock in TAI that runs 1/1024 of 1/64 fast (15259 ppb), modelled half a second ago.
    fn model() -> Model {
        Model {
            state: State::LOCKED,
            epoch: 3,
            device_ref_ns: 1_800_000_037_000_000_000,
            system_ref_ns: 5_000_000_000,
            rate: -(ONE.cast_signed() >> 16),
            error_ns: 100,
            growth: ONE >> 22,
            valid_from_ns: 1_800_000_000_000_000_000,
            valid_until_ns: 1_800_000_047_000_000_000,
            void_after_ns: 8_000_000_000,
            as_of_ns: 1_800_000_037_400_000_000,
            unassumed_ns: 550,
            published_ns: 5_400_000_000,
        }
    }

    fn now() -> Now {
        Now { monotonic_ns: 5_500_000_000, realtime_ns: 1_800_000_000_500_000_000, tai_ns: 37 * NS_PER_S }
    }

    fn view(state: &'static str, model: Option<Values>) -> View {
        View { clock: "/dev/ptp0".into(), file: "/run/instamp/clock/ptp0".into(), state, model }
    }

    #[test]
    fn text_of_a_valid_model() {
        let view = view("valid", Some(Values::of(&model(), now()).expect("valid")));
        insta::assert_snapshot!(view, @"
        /dev/ptp0: valid
          CLOCK_MONOTONIC  +1800000032.000007629 s
          CLOCK_REALTIME   +37.000007629 s
          CLOCK_TAI        +0.000007629 s
          rate             +15259.022 ppb
          bound            221 ns; 771 ns without assumption on asymmetry
          age              100.008ms, void in 2.500s
          epoch            3
        ");
    }

    #[test]
    fn json_of_a_valid_model() {
        let view = view("valid", Some(Values::of(&model(), now()).expect("valid")));
        assert_eq!(
            serde_json::to_string(&view).expect("JSON"),
            concat!(
                r#"{"clock":"/dev/ptp0","file":"/run/instamp/clock/ptp0","state":"valid","model":{"epoch":3,"#,
                r#""offset_ns":1800000032000007629,"offset_realtime_ns":37000007629,"offset_tai_ns":7629,"rate_ppb":15259.022,"#,
                r#""bound_ns":221,"bound_without_assumption_ns":771,"age_ns":100007629,"void_in_ns":2500000000}}"#
            )
        );
    }

    #[test]
    fn a_model_that_is_not_valid_has_no_values() {
        let stale = Now { monotonic_ns: 8_000_000_001, ..now() };
        assert_eq!(Values::of(&model(), stale), Err(Refusal::Stale));
        assert_eq!(Values::of(&Model::NONE, now()), Err(Refusal::Withdrawn));
        let view = view("withdrawn", None);
        assert_eq!(view.to_string(), "/dev/ptp0: withdrawn\n");
        assert_eq!(
            serde_json::to_string(&view).expect("JSON"),
            r#"{"clock":"/dev/ptp0","file":"/run/instamp/clock/ptp0","state":"withdrawn","model":null}"#
        );
    }

    #[test]
    fn the_time_of_day_is_shown_where_the_clock_keeps_it() {
        let of = |now| {
            let values = Values::of(&model(), now).expect("valid");
            (values.offset_realtime_ns.is_some(), values.offset_tai_ns.is_some())
        };
        assert_eq!(of(now()), (true, true));
        assert_eq!(of(Now { tai_ns: 0, ..now() }), (true, false));
        assert_eq!(of(Now { realtime_ns: 0, ..now() }), (false, false));
    }

    #[test]
    fn the_inverse_of_the_model_agrees_with_it() {
        let model = model();
        for elapsed in [-4_999_999_999, -1, 0, 1, 499_999_999, 2_999_999_999] {
            let system_ns = model.system_ref_ns.checked_add_signed(elapsed).expect("in range");
            let device_ns = device_time(&model, system_ns);
            let time_ns = model.convert(device_ns, 8_000_000_000).expect("valid").time_ns;
            assert!(time_ns.abs_diff(system_ns) <= 1, "{elapsed}: {time_ns} {system_ns}");
        }
    }
}
