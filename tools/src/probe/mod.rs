//! `instamp probe`.

mod collector;
mod csv;
mod groups;
mod hdr;
mod json;
mod options;
mod progress;
#[cfg(test)]
mod samples;
mod sources;
mod summary;
mod tally;
mod text;

use std::{
    io::{self, Write as _},
    process::ExitCode,
    sync::{Arc, PoisonError},
    time::{Duration, Instant},
};

use anyhow::Context as _;
use instamp::{afxdp::StatelessRun, stateless::Plan};
use rand::Rng as _;

pub(crate) use self::options::Options;
use self::{
    collector::{Collector, Lines, Progress},
    progress::{ProgressLine, status},
    sources::{Chosen, choose},
    summary::Summary,
};
use crate::{
    route::device_towards,
    signals::{Signals, Wish},
};

/// As often is looked whether the run is over.
const LOOK: Duration = Duration::from_millis(20);

pub(crate) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start the runtime")?;
    runtime.block_on(probe(options))
}

async fn probe(options: &Options) -> anyhow::Result<ExitCode> {
    let Chosen { targets, special } = choose(options).await?;
    if special > 0 {
        eprintln!("instamp: {special} addresses of special purpose are left out: --special probes them too");
    }
    let device = match &options.dev {
        Some(device) => device.clone(),
        None => device_towards(targets.get(0).context("there is a target")?).await?,
    };
    let plan = Plan::new(targets, options.count, rand::rng().random())?;

    let progress = Arc::new(Progress::default());
    let collector = |_queue| Collector::new(options.lines(), options.group, Arc::clone(&progress));
    let mut signals = Signals::new().context("cannot listen to signals")?;
    let started = Instant::now();
    let run = StatelessRun::start(&crate::hooks()?, &options.run(&device), plan.clone(), collector)?;
    begin(options, &plan, &device, &run)?;
    await_end(options, &plan, &run, &progress, &mut signals, started).await?;
    let (outcomes, failed) = run.join();
    if let Some(error) = progress.unread.lock().unwrap_or_else(PoisonError::into_inner).take() {
        return Err(error).context("cannot write the replies");
    }
    let summary = Summary::of(outcomes, started.elapsed());
    end(options, &summary)?;
    if let Some(error) = failed {
        return Err(error.into());
    }
    Ok(ExitCode::from(u8::from(summary.counts.received == 0)))
}

/// Prints what comes before the replies.
fn begin(options: &Options, plan: &Plan, device: &str, run: &StatelessRun<Collector>) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match options.lines() {
        _ if options.json => json::start(&mut out, options, plan, device, run.facts())?,
        Lines::Csv => csv::header(&mut out)?,
        Lines::Json { .. } | Lines::None => text::header(&mut out, plan, device)?,
    }
    out.flush()
}

async fn await_end(
    options: &Options,
    plan: &Plan,
    run: &StatelessRun<Collector>,
    progress: &Progress,
    signals: &mut Signals,
    started: Instant,
) -> anyhow::Result<()> {
    let mut line = if options.quiet { None } else { ProgressLine::of_stderr(plan.total()) };
    let mut look = tokio::time::interval(LOOK);
    let mut is_interrupted = false;
    while !run.is_over() {
        tokio::select! {
            wish = signals.next() => match wish {
                Wish::Status => eprintln!("{}", status(progress, plan.total(), 0, Duration::ZERO)),
                Wish::End if is_interrupted => run.abort(),
                Wish::End => {
                    is_interrupted = true;
                    run.stop();
                }
            },
            _ = look.tick() => {
                if options.deadline.is_some_and(|deadline| started.elapsed() >= deadline) {
                    run.stop();
                }
                if progress.unread.lock().unwrap_or_else(PoisonError::into_inner).is_some() {
                    run.abort();
                }
                if let Some(line) = &mut line {
                    line.show(progress)?;
                }
            }
        }
    }
    if let Some(line) = line {
        line.clear()?;
    }
    Ok(())
}

/// Prints what comes behind the replies.
fn end(options: &Options, summary: &Summary) -> anyhow::Result<()> {
    if let Some(path) = &options.hdr {
        hdr::write_to_file(path, summary)?;
    }
    let mut out = io::stdout().lock();
    if options.json {
        for (prefix, group) in summary.groups.iter().flat_map(|groups| groups.iter()) {
            json::group(&mut out, prefix, group)?;
        }
        json::summary(&mut out, summary)?;
    } else if options.csv {
        text::summary(&mut io::stderr().lock(), summary)?;
    } else {
        text::summary(&mut out, summary)?;
    }
    out.flush()?;
    Ok(())
}
