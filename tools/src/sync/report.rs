//! What is printed when.

use std::{
    io::{self, StdoutLock, Write as _},
    time::{Duration, Instant},
};

use hwtstamp::{Monotonic, SystemClock as _};
use instamp_sync::Event;

use super::{
    events, json,
    options::Options,
    text,
    told::{Clock, Spread, Tally, Update},
};

pub(super) struct Report<'a> {
    options: &'a Options,
    out: StdoutLock<'static>,
    started: Instant,
}

impl<'a> Report<'a> {
    pub(super) fn start(options: &'a Options, clocks: &[Clock]) -> io::Result<Self> {
        let mut report = Self { options, out: io::stdout().lock(), started: Instant::now() };
        if options.json {
            let steer = options.steer.map(|sink| sink.name());
            json::start(&mut report.out, clocks, options.interval(), options.readings, steer)?;
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
            Options { json: true, .. } => json::update(&mut self.out, update),
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
            return json::interval(&mut self.out, clock, updates, spread);
        }
        self.line(&text::Of(clock, spread))
    }

    pub(super) fn missed(&mut self, clock: &str, error: &str) -> io::Result<()> {
        if self.options.json {
            return json::missed(&mut self.out, clock, Monotonic::now().as_ns(), error);
        }
        self.line(&format_args!("{clock} not read: {error}"))
    }

    pub(super) fn withdrawn(&mut self, clock: &str, time_ns: i64, epoch: u64, event: &Event) -> io::Result<()> {
        if self.options.json {
            return json::withdrawn(&mut self.out, clock, time_ns, epoch, event);
        }
        self.line(&format_args!("{clock} model withdrawn: {}", events::Told(event)))
    }

    /// Prints the summaries.
    pub(super) fn end<'t>(mut self, clocks: impl IntoIterator<Item = (&'t str, &'t Tally)>) -> io::Result<()> {
        let elapsed = self.started.elapsed();
        for (clock, tally) in clocks {
            if self.options.json {
                json::summary(&mut self.out, clock, tally, elapsed)?;
            } else {
                text::summary(&mut self.out, clock, tally, elapsed)?;
            }
        }
        self.out.flush()
    }

    fn line(&mut self, line: &dyn std::fmt::Display) -> io::Result<()> {
        let now = Duration::from_nanos(Monotonic::now().as_ns().max(0).cast_unsigned());
        text::line(&mut self.out, now, line)
    }
}
