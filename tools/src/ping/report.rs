//! What is printed when.

use std::{
    io::{self, StdoutLock, Write as _},
    net::IpAddr,
    time::Instant,
};

use instamp::{
    MIN_PAYLOAD_LENGTH, Uncorrected,
    prober::{Event, Reply},
};

use super::{
    Options, json,
    picture::{self, Terminal},
    stages::Stages,
    tally::Tally,
    text::{self, Lines},
};

pub(super) struct Report<'a> {
    options: &'a Options,
    out: StdoutLock<'static>,
    started: Instant,
    tally: Tally,
    lines: Lines,
    stages: Stages,
    /// The reasons for not correcting that were explained: once each.
    explained: Vec<Uncorrected>,
}

impl<'a> Report<'a> {
    pub(super) fn start(options: &'a Options, address: IpAddr) -> io::Result<Self> {
        let mut out = io::stdout().lock();
        if options.json {
            json::start(&mut out, &options.destination, address, options.size, options.interval)?;
        } else {
            text::header(&mut out, &options.destination, address, options.size)?;
        }
        Ok(Self {
            options,
            out,
            started: Instant::now(),
            tally: Tally::new(),
            lines: Lines::new(options.style()),
            stages: Stages::default(),
            explained: Vec::new(),
        })
    }

    pub(super) fn event(&mut self, event: &Event) -> io::Result<()> {
        self.tally.count(event);
        if self.options.json {
            return if self.options.quiet { Ok(()) } else { json::event(&mut self.out, event) };
        }
        self.lines.event(&mut self.out, event)?;
        if let Event::Reply(reply) = event {
            self.explain(reply)?;
            if self.options.stages {
                self.stages.count(reply);
            }
        }
        Ok(())
    }

    /// Says once what to do about replies that are not corrected.
    fn explain(&mut self, reply: &Reply) -> io::Result<()> {
        let Err(reason) = reply.correction else { return Ok(()) };
        if self.explained.contains(&reason) {
            return Ok(());
        }
        self.explained.push(reason);
        let size = self.options.size;
        if reason == Uncorrected::NoStamps && size < MIN_PAYLOAD_LENGTH {
            writeln!(
                io::stderr(),
                "uncorrected: a payload of {size} bytes has no room for stamps; use -s {MIN_PAYLOAD_LENGTH} or more"
            )
        } else {
            writeln!(io::stderr(), "uncorrected: {reason}")
        }
    }

    pub(super) fn status(&self) -> io::Result<()> {
        text::status(&mut io::stderr().lock(), &self.tally)
    }

    /// Prints the summary. Returns whether a reply came.
    pub(super) fn end(mut self) -> io::Result<bool> {
        let elapsed = self.started.elapsed();
        if self.options.json {
            json::summary(&mut self.out, &self.tally, elapsed)?;
        } else {
            text::summary(&mut self.out, &self.options.destination, &self.tally, elapsed)?;
            if self.options.stages {
                self.out.write_all(picture::draw(&self.stages, Terminal::of_stdout()).as_bytes())?;
            }
        }
        self.out.flush()?;
        Ok(self.tally.received > 0)
    }
}
