//! `instamp watch`.

mod histogram;
mod json;
mod options;
#[cfg(test)]
pub(crate) mod samples;
mod screen;
mod table;
mod tally;
mod text;

use std::{
    io::{self, BufWriter, IsTerminal as _, Write as _},
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use instamp_hooks::{Observed, Origin, WatchRequest, Watcher};

pub(crate) use self::{
    options::{Options, Uplinks},
    tally::Tally,
    text::{Failures, Times, times},
};
use self::{
    screen::Screen,
    table::Room,
    tally::{Group, Groups},
    text::ReplyLine,
};
use crate::{
    hdr, json_lines,
    namespaces::{Names, Namespace},
    signals::{Signals, Wish},
};

/// As often is looked what there is: nobody is woken for a reply.
const LOOK: Duration = Duration::from_millis(50);
/// As often a terminal gets a new table.
const REDRAW: Duration = Duration::from_secs(1);

pub(crate) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start the runtime")?;
    runtime.block_on(watch(options))
}

async fn watch(options: &Options) -> anyhow::Result<ExitCode> {
    let namespaces = options.namespaces()?;
    let mut request = WatchRequest::default();
    request.uplinks.clone_from(&options.uplinks.dev);
    request.namespaces = namespaces.iter().map(Namespace::inode).collect();
    let mut signals = Signals::new().context("cannot listen to signals")?;
    let watcher = Watcher::start(&request)?;
    tell_limits(&watcher);
    let mut output = Output::new(options, &watcher, &namespaces);
    output.begin(&namespaces)?;
    let ended = output.follow(&mut signals).await;
    // What was seen is told whatever went wrong.
    let told = output.end();
    ended?;
    told?;
    Ok(ExitCode::from(u8::from(output.answered == 0)))
}

/// Says what will be missing, where containers may be watched.
pub(crate) fn tell_limits(watcher: &Watcher) {
    if !watcher.follows_translation() {
        eprintln!(
            "instamp: nf_conntrack is not loaded: what this host translates is not followed, and containers behind that are told of as \
             forwarded; load it before: `modprobe nf_conntrack`"
        );
    }
}

/// How replies are told.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Style {
    Json,
    Lines,
    Table,
    Nothing,
}

struct Output<'a> {
    options: &'a Options,
    watcher: &'a Watcher,
    names: Names,
    style: Style,
    screen: Screen,
    groups: Groups,
    answered: u64,
    started: Instant,
}

impl<'a> Output<'a> {
    fn new(options: &'a Options, watcher: &'a Watcher, namespaces: &[Namespace]) -> Self {
        let style = match (options.quiet, options.json) {
            (true, _) => Style::Nothing,
            (false, true) => Style::Json,
            (false, false) if io::stdout().is_terminal() => Style::Table,
            (false, false) => Style::Lines,
        };
        let mut names = Names::new(namespaces);
        names.insert(watcher.namespace().into(), "host");
        Self {
            options,
            watcher,
            names,
            style,
            screen: Screen::default(),
            groups: Groups::default(),
            answered: 0,
            started: Instant::now(),
        }
    }

    /// Tells that it watches from now on: who starts it may wait for this line.
    fn begin(&self, namespaces: &[Namespace]) -> io::Result<()> {
        let devices: Vec<&str> = self.watcher.uplinks().iter().map(|(_, name)| &**name).collect();
        let senders = || namespaces.iter().map(Namespace::name).collect::<Vec<_>>();
        let mut out = io::stdout().lock();
        if self.options.json {
            json::start(&mut out, devices, (!namespaces.is_empty()).then(senders), json_lines::now_ns())?;
        } else {
            let whose = if namespaces.is_empty() { "all".to_owned() } else { senders().join(", ") };
            writeln!(out, "WATCH {} for the pings of {whose}", devices.join(", "))?;
        }
        out.flush()
    }

    async fn follow(&mut self, signals: &mut Signals) -> anyhow::Result<()> {
        let mut look = tokio::time::interval(LOOK);
        loop {
            tokio::select! {
                wish = signals.next() => match wish {
                    Wish::End => return self.take(),
                    Wish::Status => eprintln!("{}", self.table(Room::UNBOUNDED)?.join("\n")),
                },
                _ = look.tick() => {
                    self.take()?;
                    let is_enough = self.options.count.is_some_and(|count| self.answered >= count.get());
                    if is_enough || self.options.duration.is_some_and(|duration| self.started.elapsed() >= duration) {
                        return Ok(());
                    }
                    if self.style == Style::Table && self.screen.is_due(REDRAW) {
                        let table = self.table(Screen::room())?;
                        self.screen.show(&table)?;
                    }
                }
            }
        }
    }

    /// Takes what there is, and tells it.
    fn take(&mut self) -> anyhow::Result<()> {
        let mut out = BufWriter::new(io::stdout().lock());
        for observed in self.watcher.observed()? {
            if self.options.count.is_some_and(|count| self.answered >= count.get()) {
                break;
            }
            self.answered += 1;
            self.groups.count(&observed);
            match self.style {
                Style::Json => {
                    let name = self.names.of_origin(observed.origin);
                    json::reply(&mut out, &name, self.device(&observed), &observed)?;
                }
                Style::Lines => {
                    let name = &self.names.of_origin(observed.origin);
                    writeln!(out, "{}", ReplyLine { name, observed: &observed })?;
                }
                Style::Table => {
                    // While its processes are there to name it by.
                    self.names.of_origin(observed.origin);
                }
                Style::Nothing => {}
            }
        }
        Ok(out.flush()?)
    }

    /// The device by which the reply came.
    fn device(&self, observed: &Observed) -> Option<&'a str> {
        self.watcher.uplinks().iter().find(|(ifindex, _)| *ifindex == observed.uplink_rx).map(|(_, name)| &**name)
    }

    fn table(&mut self, room: Room) -> anyhow::Result<Vec<String>> {
        self.groups.set_counts(self.watcher.counts()?);
        Ok(table::table(&self.groups, &mut |group| self.names.of_group(group), room))
    }

    fn end(&mut self) -> anyhow::Result<()> {
        self.groups.set_counts(self.watcher.counts()?);
        let (failures, elapsed) = (self.watcher.failures()?, self.started.elapsed());
        if let Some(path) = &self.options.hdr {
            hdr::write_to_file(path, self.groups.total().1.named(), elapsed)?;
        }
        self.screen.clear()?;
        let names = &mut |group| self.names.of_group(group);
        let mut out = BufWriter::new(io::stdout().lock());
        if self.options.json {
            json::summary(&mut out, &self.groups, names, failures, elapsed)?;
        } else {
            text::summary(&mut out, &self.groups, names, failures, elapsed)?;
        }
        Ok(out.flush()?)
    }
}

impl Names {
    fn of_origin(&mut self, origin: Origin) -> String {
        self.of_group(origin.into())
    }

    fn of_group(&mut self, group: Group) -> String {
        match group {
            Group::Namespace { cookie, inode } => self.of(cookie, inode.into()),
            Group::Forwarded => "forwarded".to_owned(),
        }
    }
}
