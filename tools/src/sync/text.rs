//! Lines for people, in the shape of phc2sys's, so that what reads its lines reads these.

use std::{
    fmt,
    io::{self, Write},
    time::Duration,
};

use super::{
    statistics::Statistics,
    told::{self, Clock, Spread, Tally, Update},
};

/// A line with phc2sys's prefix: the program, and `CLOCK_MONOTONIC` in seconds.
pub(super) fn line(out: &mut impl Write, now: Duration, line: impl fmt::Display) -> io::Result<()> {
    writeln!(out, "instamp[{}.{:03}]: {line}", now.as_secs(), now.subsec_millis())
}

/// What is read how, and where it goes.
impl fmt::Display for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        if !self.devices.is_empty() {
            write!(f, " ({})", self.devices.join(", "))?;
        }
        write!(f, ": read by {}, published at {}", self.method, self.file.display())?;
        match &self.map {
            Ok(map) => write!(f, " and {}", map.display()),
            Err(reason) => write!(f, ", not in a BPF map: {reason}"),
        }
    }
}

impl fmt::Display for Update<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (sink, source, state, offset, frequency) = match &self.steered {
            Some(told::Steered { sink, source, offset_ns, servo, frequency_ppb }) => {
                (*sink, *source, *servo as u8, Some(*offset_ns), Some(*frequency_ppb))
            }
            None => (self.clock, "sys", if self.bound_ns.is_some() { 2 } else { 0 }, self.offset_ns, self.rate_ppb),
        };
        write!(f, "{sink} {source} offset {:>9}", OrNone(offset))?;
        write!(f, " s{state} freq {:+7.0}", OrNone(frequency.map(Rounded)))?;
        write!(f, " delay {:6} bound {:>6}", self.delay_ns, OrNone(self.bound_ns))
    }
}

/// phc2sys's statistics of several updates, and the bound.
pub(super) struct Of<'a>(pub(super) &'a str, pub(super) &'a Spread);

impl fmt::Display for Of<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(clock, spread) = self;
        let offset = spread.steered_offset.any().or(spread.offset.any());
        let rate = spread.steered_frequency.any().or(spread.rate.any());
        let (delay, bound) = (spread.delay.any(), spread.bound.any());
        let of = |statistics: Option<Statistics>, value: fn(&Statistics) -> f64| {
            OrNone(statistics.map(|statistics| Rounded(value(&statistics))))
        };
        write!(f, "{clock} rms {:4.0} max {:4.0}", of(offset, Statistics::rms), of(offset, Statistics::largest))?;
        let (mean, deviation) = (Statistics::mean, Statistics::standard_deviation);
        write!(f, " freq {:+6.0} +/- {:3.0}", of(rate, mean), of(rate, deviation))?;
        write!(f, " delay {:5.0} +/- {:3.0}", of(delay, mean), of(delay, deviation))?;
        write!(f, " bound {:5.0} max {:5.0}", of(bound, mean), of(bound, Statistics::largest))
    }
}

/// The end of a clock's run.
pub(super) fn summary(out: &mut impl Write, clock: &str, tally: &Tally, elapsed: Duration) -> io::Result<()> {
    let Tally { updates, missed, withdrawn, .. } = tally;
    let [updates_are, models_are] = [(updates, "update"), (withdrawn, "model")]
        .map(|(&count, word)| format!("{count} {word}{}", if count == 1 { "" } else { "s" }));
    writeln!(out, "\n--- {clock} clock statistics ---")?;
    writeln!(out, "{updates_are}, {missed} missed, {models_are} withdrawn, time {:.3} s", elapsed.as_secs_f64())?;
    if *updates > 0 { writeln!(out, "{}", Of(clock, &tally.spread)) } else { Ok(()) }
}

/// How a clock stands.
pub(super) struct Standing<'a> {
    pub(super) clock: &'a str,
    pub(super) state: &'static str,
    pub(super) rate_ppb: Option<f64>,
    pub(super) bound_ns: Option<u64>,
    pub(super) tally: &'a Tally,
}

impl fmt::Display for Standing<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tally { updates, missed, withdrawn, spread, .. } = self.tally;
        write!(f, "{} {}", self.clock, self.state)?;
        if let Some(bound) = self.bound_ns {
            write!(f, ", bound {bound} ns")?;
        }
        if let Some(rate) = self.rate_ppb {
            write!(f, ", {:+.3} ppb", Rounded(rate))?;
        }
        if let Some(offset) = spread.offset.any() {
            write!(f, ", rms {:.0} ns", offset.rms())?;
        }
        write!(f, "; {updates} updates, {missed} missed, {withdrawn} withdrawn")
    }
}

/// A number, or a dash.
struct OrNone<T>(Option<T>);

impl<T: fmt::Display> fmt::Display for OrNone<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(value) => value.fmt(f),
            None => write!(f, "{:>width$}", "-", width = f.width().unwrap_or(0)),
        }
    }
}

/// Without the sign of what rounds to 0 from below, which C prints as well, and which means nothing.
struct Rounded(f64);

impl fmt::Display for Rounded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scale = 10_f64.powi(f.precision().map_or(0, |digits| i32::try_from(digits).unwrap_or(0)));
        let rounded = (self.0 * scale).round() / scale;
        fmt::Display::fmt(&if rounded == 0.0 { 0.0 } else { rounded }, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::samples;

    #[test]
    fn update_lines_are_those_of_phc2sys_and_the_bound() {
        let of = |update: Update<'_>| samples::text(|out| line(out, Duration::from_millis(2_146_667), update));
        assert_eq!(
            of(samples::update()),
            "instamp[2146.667]: /dev/ptp0 sys offset       -12 s2 freq   -1235 delay   1120 bound    345\n"
        );
        assert_eq!(
            of(samples::first_update()),
            "instamp[2146.667]: /dev/ptp0 sys offset         - s0 freq       - delay   1120 bound      -\n"
        );
        assert_eq!(
            of(samples::steered_update()),
            "instamp[2146.667]: CLOCK_REALTIME phc offset      -123 s2 freq    +456 delay   1120 bound    345\n"
        );
    }

    #[test]
    fn the_start_tells_where_models_go() {
        assert_eq!(
            samples::clock().to_string(),
            "/dev/ptp0 (eth0, eth1): read by extended, \
             published at /run/instamp/clock/ptp0 and /sys/fs/bpf/instamp/clock/ptp0"
        );
        assert_eq!(
            samples::stand_in().to_string(),
            "CLOCK_MONOTONIC_RAW: read by sandwich, \
             published at /run/instamp/clock/monotonic_raw, not in a BPF map: no bpffs is mounted"
        );
    }

    #[test]
    fn statistics_are_those_of_phc2sys_and_the_bound() {
        let of = |spread| Of("/dev/ptp0", &spread).to_string();
        assert_eq!(
            of(samples::tally().spread),
            "/dev/ptp0 rms   12 max   12 freq  -1235 +/-   0 delay  1120 +/-   0 bound   345 max   345"
        );
        let mut steered = Spread::default();
        steered.count(&samples::steered_update());
        assert_eq!(
            of(steered),
            "/dev/ptp0 rms  123 max  123 freq   +456 +/-   0 delay  1120 +/-   0 bound   345 max   345"
        );
        assert_eq!(
            of(Spread::default()),
            "/dev/ptp0 rms    - max    - freq      - +/-   - delay     - +/-   - bound     - max     -"
        );
    }

    #[test]
    fn the_summary() {
        let of = |tally| samples::text(|out| summary(out, "/dev/ptp0", &tally, Duration::from_millis(2_000)));
        assert_eq!(
            of(samples::tally()),
            "\n--- /dev/ptp0 clock statistics ---\n\
             2 updates, 1 missed, 0 models withdrawn, time 2.000 s\n\
             /dev/ptp0 rms   12 max   12 freq  -1235 +/-   0 delay  1120 +/-   0 bound   345 max   345\n"
        );
        assert_eq!(
            of(Tally::default()),
            "\n--- /dev/ptp0 clock statistics ---\n0 updates, 0 missed, 0 models withdrawn, time 2.000 s\n"
        );
        let once = of(Tally { updates: 1, withdrawn: 1, ..Tally::default() });
        assert!(once.contains("\n1 update, 0 missed, 1 model withdrawn, time 2.000 s\n"), "{once}");
    }

    #[test]
    fn the_status_line() {
        let tally = samples::tally();
        let standing = Standing {
            clock: "/dev/ptp0",
            state: "locked",
            rate_ppb: Some(-1234.5678),
            bound_ns: Some(345),
            tally: &tally,
        };
        assert_eq!(
            standing.to_string(),
            "/dev/ptp0 locked, bound 345 ns, -1234.568 ppb, rms 12 ns; 2 updates, 1 missed, 0 withdrawn"
        );
        let standing =
            Standing { state: "acquiring", rate_ppb: None, bound_ns: None, tally: &Tally::default(), ..standing };
        assert_eq!(standing.to_string(), "/dev/ptp0 acquiring; 0 updates, 0 missed, 0 withdrawn");
    }
}
