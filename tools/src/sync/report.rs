//! What is printed when.

use std::{
    fmt, io,
    time::{Duration, Instant},
};

use hwtstamp::{Monotonic, SystemClock as _};
use instamp_sync::Event;

use super::{
    events, json,
    options::Options,
    output::Output,
    text,
    told::{Clock, Spread, Tally, Update},
};

pub(super) struct Report<'a> {
    options: &'a Options,
    out: Output,
    errors: Output,
    started: Instant,
}

impl<'a> Report<'a> {
    pub(super) fn start(options: &'a Options, clocks: &[Clock]) -> io::Result<Self> {
        let (out, errors) = (Output::new(io::stdout())?, Output::new(io::stderr())?);
        let mut report = Self { options, out, errors, started: Instant::now() };
        if options.json {
            let steer = options.steer.map(|sink| sink.name());
            report.write(|out| json::start(out, clocks, options.interval(), options.readings, steer))?;
        } else {
            for clock in clocks {
                report.line(clock)?;
            }
        }
        Ok(report)
    }

    pub(super) fn update(&mut self, update: &Update<'_>) -> io::Result<()> {
        match self.options {
            Options { quiet: true, .. } | Options { summary: 1.., .. } => Ok(()),
            Options { json: true, .. } => self.write(|out| json::update(out, update)),
            _ => self.line(update),
        }
    }

    /// Whether a line of statistics is due after so many updates.
    pub(super) fn is_interval(&self, updates: u64) -> bool {
        let every = u64::from(self.options.summary);
        every > 0 && updates >= every
    }

    pub(super) fn interval(&mut self, clock: &str, updates: u64, spread: &Spread) -> io::Result<()> {
        if self.options.quiet {
            return Ok(());
        }
        if self.options.json {
            return self.write(|out| json::interval(out, clock, updates, spread));
        }
        self.line(text::Of(clock, spread))
    }

    pub(super) fn missed(&mut self, clock: &str, error: &str) -> io::Result<()> {
        if self.options.json {
            return self.write(|out| json::missed(out, clock, Monotonic::now().as_ns(), error));
        }
        self.line(format_args!("{clock} not read: {error}"))
    }

    pub(super) fn withdrawn(&mut self, clock: &str, time_ns: i64, epoch: u64, event: &Event) -> io::Result<()> {
        if self.options.json {
            return self.write(|out| json::withdrawn(out, clock, time_ns, epoch, event));
        }
        self.line(format_args!("{clock} model withdrawn: {}", events::Told(event)))
    }

    /// Tells on standard error. A clock is followed whoever reads that.
    pub(super) fn notice(&self, notice: impl fmt::Display) {
        let _ = self.errors.push(format!("{notice}\n").into_bytes());
    }

    /// Prints the summaries.
    pub(super) fn end<'t>(self, clocks: impl IntoIterator<Item = (&'t str, &'t Tally)>) -> io::Result<()> {
        let elapsed = self.started.elapsed();
        let mut last = Vec::new();
        if let Some(lines) = self.out.all_dropped() {
            last.push(self.dropped(lines)?);
        }
        for (clock, tally) in clocks {
            let mut summary = Vec::new();
            if self.options.json {
                json::summary(&mut summary, clock, tally, elapsed)?;
            } else {
                text::summary(&mut summary, clock, tally, elapsed)?;
            }
            last.push(summary);
        }
        let ended = self.out.finish(last);
        let _ = self.errors.finish([]);
        ended
    }

    fn line(&mut self, line: impl fmt::Display) -> io::Result<()> {
        self.write(|out| text::line(out, now(), line))
    }

    fn write(&mut self, line: impl FnOnce(&mut Vec<u8>) -> io::Result<()>) -> io::Result<()> {
        if let Some(lines) = self.out.dropped() {
            self.out.push(self.dropped(lines)?)?;
        }
        let mut bytes = Vec::new();
        line(&mut bytes)?;
        self.out.push(bytes)
    }

    /// The line that says how many are missing in its place.
    fn dropped(&self, lines: u64) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        if self.options.json {
            json::dropped(&mut out, Monotonic::now().as_ns(), lines)?;
        } else {
            let line = format_args!("lines left out because nobody read them: {lines}");
            text::line(&mut out, now(), line)?;
        }
        Ok(out)
    }
}

/// `CLOCK_MONOTONIC`, which is never negative.
fn now() -> Duration {
    Duration::from_nanos(Monotonic::now().as_ns().max(0).cast_unsigned())
}
