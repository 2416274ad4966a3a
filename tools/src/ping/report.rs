//! What is printed when.

use std::{
    io::{self, StdoutLock, Write as _},
    net::IpAddr,
    time::Instant,
};

use instamp::prober::{Event, NicTxCounts};

use super::{
    Options,
    hints::Hints,
    json,
    picture::{self, Terminal},
    tally::Tally,
    text::{self, Lines},
};
use crate::{json_lines::now_ns, stages::Stages};

pub(super) struct Report<'a> {
    options: &'a Options,
    out: StdoutLock<'static>,
    started: Instant,
    tally: Tally,
    lines: Lines,
    stages: Stages,
    hints: Hints,
}

impl<'a> Report<'a> {
    pub(super) fn start(options: &'a Options, address: IpAddr) -> io::Result<Self> {
        let mut out = io::stdout().lock();
        if options.json {
            json::start(&mut out, &options.destination, address, options.size(), options.interval, now_ns())?;
        } else {
            text::header(&mut out, &options.destination, address, options.size())?;
        }
        Ok(Self {
            options,
            out,
            started: Instant::now(),
            tally: Tally::new(),
            lines: Lines::new(options.style()),
            stages: Stages::default(),
            hints: Hints::new(options.size()),
        })
    }

    pub(super) fn event(&mut self, event: &Event) -> io::Result<()> {
        self.tally.count(event);
        if self.options.json {
            return if self.options.quiet { Ok(()) } else { json::event(&mut self.out, event, self.options.one_way()) };
        }
        self.lines.event(&mut self.out, event)?;
        if let Event::Reply(reply) = event {
            if let Some(hint) = self.hints.after(reply) {
                writeln!(io::stderr(), "{hint}")?;
            }
            if self.options.stages {
                self.stages.count(reply);
            }
        }
        Ok(())
    }

    pub(super) fn status(&self) -> io::Result<()> {
        text::status(&mut io::stderr().lock(), &self.tally)
    }

    /// Prints the summary, with the card's transmit times where they were asked for. Returns whether a reply came.
    pub(super) fn end(mut self, nic_tx: Option<NicTxCounts>) -> io::Result<bool> {
        let elapsed = self.started.elapsed();
        if self.options.json {
            json::summary(&mut self.out, &self.tally, elapsed, nic_tx)?;
        } else {
            text::summary(&mut self.out, &self.options.destination, &self.tally, elapsed, nic_tx)?;
            if self.options.stages {
                self.out.write_all(picture::draw(&self.stages, Terminal::of_stdout()).as_bytes())?;
            }
        }
        self.out.flush()?;
        Ok(self.tally.received > 0)
    }
}
