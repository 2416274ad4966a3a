//! One JSON object a line, as users' programs read it.

use std::{io, path::Path, time::Duration};

use instamp_sync::Event;
use serde::Serialize;

use super::{
    events::event_name,
    statistics::Statistics,
    told::{self, Servo, Tally},
};
use crate::{json_lines, units::whole_nanoseconds};

/// The members are the output's schema, and so is their order. A member that goes or changes its meaning means a new number.
const SCHEMA: u32 = 1;

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Line<'a> {
    Start {
        schema: u32,
        version: &'static str,
        interval_ns: u64,
        readings: u32,
        steer: Option<&'static str>,
        clocks: Vec<Clock<'a>>,
    },
    Update {
        clock: &'a str,
        time_ns: i64,
        state: &'static str,
        epoch: u64,
        event: Option<&'static str>,
        offset_ns: Option<i64>,
        delay_ns: i64,
        rate_ppb: Option<f64>,
        bound_ns: Option<u64>,
        unassumed_ns: Option<u64>,
        steered: Option<Steered<'a>>,
    },
    Missed {
        clock: &'a str,
        time_ns: i64,
        error: &'a str,
    },
    Withdrawn {
        clock: &'a str,
        time_ns: i64,
        epoch: u64,
        reason: &'static str,
        by_ns: Option<i64>,
        by_ppb: Option<f64>,
    },
    Dropped {
        time_ns: i64,
        lines: u64,
    },
    Interval {
        clock: &'a str,
        updates: u64,
        #[serde(flatten)]
        spread: Spread,
    },
    Summary {
        clock: &'a str,
        updates: u64,
        missed: u64,
        withdrawn: u64,
        elapsed_ns: u64,
        #[serde(flatten)]
        spread: Spread,
    },
}

#[derive(Serialize)]
struct Clock<'a> {
    clock: &'a str,
    devices: &'a [String],
    method: &'static str,
    file: &'a Path,
    map: Option<&'a Path>,
}

#[derive(Serialize)]
struct Steered<'a> {
    sink: &'a str,
    servo: &'static str,
    offset_ns: i64,
    frequency_ppb: f64,
}

/// Each `null` where there was none of it.
#[derive(Serialize)]
struct Spread {
    offset_ns: Option<OfOffset>,
    rate_ppb: Option<OfRate>,
    delay_ns: Option<OfDelay>,
    bound_ns: Option<OfBound>,
    steered: Option<OfSteered>,
}

#[derive(Serialize)]
struct OfSteered {
    offset_ns: OfOffset,
    frequency_ppb: OfRate,
}

#[derive(Serialize)]
struct OfOffset {
    rms: i64,
    max: i64,
}

#[derive(Serialize)]
struct OfRate {
    mean: f64,
    stddev: f64,
}

#[derive(Serialize)]
struct OfDelay {
    mean: i64,
    stddev: i64,
}

#[derive(Serialize)]
struct OfBound {
    mean: i64,
    max: i64,
}

pub(super) fn start(
    out: &mut impl io::Write,
    clocks: &[told::Clock],
    interval: Duration,
    readings: u32,
    steer: Option<&'static str>,
) -> io::Result<()> {
    let clocks = clocks.iter().map(|clock| Clock {
        clock: &clock.name,
        devices: &clock.devices,
        method: clock.method,
        file: &clock.file,
        map: clock.map.as_deref().ok(),
    });
    json_lines::write(
        out,
        &Line::Start {
            schema: SCHEMA,
            version: env!("CARGO_PKG_VERSION"),
            interval_ns: whole_nanoseconds(interval),
            readings,
            steer,
            clocks: clocks.collect(),
        },
    )
}

pub(super) fn update(out: &mut impl io::Write, update: &told::Update<'_>) -> io::Result<()> {
    let &told::Update { clock, time_ns, state, epoch, event, offset_ns, delay_ns, bound_ns, unassumed_ns, .. } = update;
    let rate_ppb = update.rate_ppb.map(thousandths);
    let steered = update.steered.map(|steered| Steered {
        sink: steered.sink,
        servo: match steered.servo {
            Servo::Measuring => "measuring",
            Servo::Stepped => "stepped",
            Servo::Locked => "locked",
        },
        offset_ns: steered.offset_ns,
        frequency_ppb: thousandths(steered.frequency_ppb),
    });
    json_lines::write(
        out,
        &Line::Update {
            clock,
            time_ns,
            state,
            epoch,
            event,
            offset_ns,
            delay_ns,
            rate_ppb,
            bound_ns,
            unassumed_ns,
            steered,
        },
    )
}

pub(super) fn missed(out: &mut impl io::Write, clock: &str, time_ns: i64, error: &str) -> io::Result<()> {
    json_lines::write(out, &Line::Missed { clock, time_ns, error })
}

pub(super) fn dropped(out: &mut impl io::Write, time_ns: i64, lines: u64) -> io::Result<()> {
    json_lines::write(out, &Line::Dropped { time_ns, lines })
}

pub(super) fn withdrawn(
    out: &mut impl io::Write,
    clock: &str,
    time_ns: i64,
    epoch: u64,
    event: &Event,
) -> io::Result<()> {
    let (by_ns, by_ppb) = match event {
        Event::Stepped { by } | Event::Reset { by } => (Some(by.as_ns()), None),
        Event::RateChanged { by_ppb } => (None, Some(thousandths(*by_ppb))),
        Event::Acquired | Event::FrequencySet { .. } | Event::Inconsistent | Event::Withdrawn(_) => (None, None),
    };
    json_lines::write(out, &Line::Withdrawn { clock, time_ns, epoch, reason: event_name(event), by_ns, by_ppb })
}

pub(super) fn interval(out: &mut impl io::Write, clock: &str, updates: u64, spread: &told::Spread) -> io::Result<()> {
    json_lines::write(out, &Line::Interval { clock, updates, spread: spread.into() })
}

pub(super) fn summary(out: &mut impl io::Write, clock: &str, tally: &Tally, elapsed: Duration) -> io::Result<()> {
    let &Tally { updates, missed, withdrawn, ref spread, .. } = tally;
    let elapsed_ns = whole_nanoseconds(elapsed);
    json_lines::write(out, &Line::Summary { clock, updates, missed, withdrawn, elapsed_ns, spread: spread.into() })
}

impl From<&told::Spread> for Spread {
    fn from(spread: &told::Spread) -> Self {
        let steered = spread.steered_offset.any().map(|offset| OfSteered {
            offset_ns: OfOffset::from(offset),
            frequency_ppb: OfRate::from(spread.steered_frequency),
        });
        Self {
            offset_ns: spread.offset.any().map(OfOffset::from),
            rate_ppb: spread.rate.any().map(OfRate::from),
            delay_ns: spread
                .delay
                .any()
                .map(|of| OfDelay { mean: whole(of.mean()), stddev: whole(of.standard_deviation()) }),
            bound_ns: spread.bound.any().map(|of| OfBound { mean: whole(of.mean()), max: whole(of.largest()) }),
            steered,
        }
    }
}

impl From<Statistics> for OfOffset {
    fn from(of: Statistics) -> Self {
        Self { rms: whole(of.rms()), max: whole(of.largest()) }
    }
}

impl From<Statistics> for OfRate {
    fn from(of: Statistics) -> Self {
        Self { mean: thousandths(of.mean()), stddev: thousandths(of.standard_deviation()) }
    }
}

/// To the nanosecond.
#[expect(clippy::cast_possible_truncation, reason = "saturates")]
fn whole(ns: f64) -> i64 {
    ns.round() as i64
}

/// Rates are told to a thousandth of a ppb: 1 ps a second.
fn thousandths(ppb: f64) -> f64 {
    // Adding 0 makes a negative one positive.
    (ppb * 1000.0).round() / 1000.0 + 0.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::samples::{self, text};

    #[test]
    fn start_line() {
        let clocks = [samples::clock(), samples::stand_in()];
        assert_eq!(
            text(|out| start(out, &clocks, Duration::from_millis(100), 10, None)),
            concat!(
                r#"{"type":"start","schema":1,"version":"0.1.0","interval_ns":100000000,"readings":10,"steer":null,"clocks":["#,
                r#"{"clock":"/dev/ptp0","devices":["eth0","eth1"],"method":"extended","file":"/run/instamp/clock/ptp0","#,
                r#""map":"/sys/fs/bpf/instamp/clock/ptp0"},"#,
                r#"{"clock":"CLOCK_MONOTONIC_RAW","devices":[],"method":"sandwich","file":"/run/instamp/clock/monotonic_raw","#,
                r#""map":null}]}"#,
                "\n"
            )
        );
    }

    #[test]
    fn update_lines() {
        assert_eq!(
            text(|out| update(out, &samples::update())),
            concat!(
                r#"{"type":"update","clock":"/dev/ptp0","time_ns":2146667417031,"state":"locked","epoch":3,"event":null,"#,
                r#""offset_ns":-12,"delay_ns":1120,"rate_ppb":-1234.568,"bound_ns":345,"unassumed_ns":550,"steered":null}"#,
                "\n"
            )
        );
        assert_eq!(
            text(|out| update(out, &samples::first_update())),
            concat!(
                r#"{"type":"update","clock":"/dev/ptp0","time_ns":2146667417031,"state":"acquiring","epoch":3,"event":null,"#,
                r#""offset_ns":null,"delay_ns":1120,"rate_ppb":null,"bound_ns":null,"unassumed_ns":null,"steered":null}"#,
                "\n"
            )
        );
        assert_eq!(
            text(|out| update(out, &samples::steered_update())),
            concat!(
                r#"{"type":"update","clock":"/dev/ptp0","time_ns":2146667417031,"state":"locked","epoch":3,"event":null,"#,
                r#""offset_ns":-12,"delay_ns":1120,"rate_ppb":-1234.568,"bound_ns":345,"unassumed_ns":550,"#,
                r#""steered":{"sink":"CLOCK_REALTIME","servo":"locked","offset_ns":-123,"frequency_ppb":456.4}}"#,
                "\n"
            )
        );
    }

    #[test]
    fn lines_of_what_went_wrong() {
        assert_eq!(
            text(|out| withdrawn(out, "/dev/ptp0", 7, 4, &Event::Stepped { by: hwtstamp::Span::from_ns(-5) })),
            concat!(
                r#"{"type":"withdrawn","clock":"/dev/ptp0","time_ns":7,"epoch":4,"reason":"stepped","by_ns":-5,"by_ppb":null}"#,
                "\n"
            )
        );
        assert_eq!(
            text(|out| missed(out, "/dev/ptp0", 7, "busy")),
            concat!(r#"{"type":"missed","clock":"/dev/ptp0","time_ns":7,"error":"busy"}"#, "\n")
        );
        assert_eq!(text(|out| dropped(out, 7, 12)), concat!(r#"{"type":"dropped","time_ns":7,"lines":12}"#, "\n"));
    }

    #[test]
    fn lines_of_statistics() {
        let tally = samples::tally();
        assert_eq!(
            text(|out| summary(out, "/dev/ptp0", &tally, Duration::from_secs(2))),
            concat!(
                r#"{"type":"summary","clock":"/dev/ptp0","updates":2,"missed":1,"withdrawn":0,"elapsed_ns":2000000000,"#,
                r#""offset_ns":{"rms":12,"max":12},"rate_ppb":{"mean":-1234.568,"stddev":0.0},"#,
                r#""delay_ns":{"mean":1120,"stddev":0},"bound_ns":{"mean":345,"max":345},"steered":null}"#,
                "\n"
            )
        );
        let mut steered = told::Spread::default();
        steered.count(&samples::steered_update());
        let line = text(|out| interval(out, "/dev/ptp0", 1, &steered));
        let expected = concat!(
            r#","steered":{"offset_ns":{"rms":123,"max":123},"frequency_ppb":{"mean":456.4,"stddev":0.0}}}"#,
            "\n"
        );
        assert!(line.ends_with(expected), "{line}");
        assert_eq!(
            text(|out| interval(out, "/dev/ptp0", 0, &told::Spread::default())),
            concat!(
                r#"{"type":"interval","clock":"/dev/ptp0","updates":0,"#,
                r#""offset_ns":null,"rate_ppb":null,"delay_ns":null,"bound_ns":null,"steered":null}"#,
                "\n"
            )
        );
    }
}
