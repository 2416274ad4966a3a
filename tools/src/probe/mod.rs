//! `instamp probe`.

mod collector;
mod csv;
mod groups;
mod json;
mod options;
mod progress;
#[cfg(test)]
mod samples;
mod sources;
mod summary;
mod tally;
mod text;
mod writer;

use std::{
    io,
    process::ExitCode,
    sync::Arc,
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
    writer::{Output, Writer},
};
use crate::{
    hdr,
    route::device_towards,
    signals::{Signals, Wish},
};

/// As often is looked whether the run is over.
const LOOK: Duration = Duration::from_millis(20);

/// How long a run that was to end at once still waits for its output to be read.
const PATIENCE: Duration = Duration::from_secs(1);

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
    let (output, lines) = Output::new();
    let collector = |_queue| Collector::new(options.lines(), options.group, output.clone(), Arc::clone(&progress));
    let mut signals = Signals::new().context("cannot listen to signals")?;
    let run = StatelessRun::start(&crate::hooks()?, &options.run(&device), plan.clone(), collector)?;
    // Loading the programs and opening the sockets is no part of it.
    let started = Instant::now();
    let first = begin(options, &plan, &device, &run)?;
    let writer = Writer::start(io::stdout(), first, lines, Arc::clone(&progress)).context("cannot start a thread")?;
    let patience = await_end(options, &plan, &run, &progress, &mut signals, started).await?;
    let (outcomes, failed) = run.join();
    let summary = Summary::of(outcomes);
    let last = if progress.is_unread() { Ok(Vec::new()) } else { end(options, &summary) };
    // What was printed before an error is written, too.
    let (last, ended) = last.map_or_else(|error| (Vec::new(), Err(error)), |last| (last, Ok(())));
    let is_written = writer.finish(output, last, &mut signals, patience).await;
    if let Some(error) = progress.take_unread() {
        return Err(error).context("cannot write the replies");
    }
    if summary.unwritten > 0 {
        eprintln!("instamp: {} replies are counted and not written: they were not read fast enough", summary.unwritten);
    }
    if !is_written {
        eprintln!("instamp: the last lines are not written: nobody has read them");
    }
    ended?;
    if let Some(error) = failed {
        return Err(error.into());
    }
    Ok(ExitCode::from(u8::from(summary.counts.received == 0)))
}

/// What comes before the replies.
fn begin(options: &Options, plan: &Plan, device: &str, run: &StatelessRun<Collector>) -> io::Result<Vec<u8>> {
    if options.asks_card() && !run.facts().nic_tx {
        eprintln!(
            "instamp: {device} does not tell when probes leave it: --hw takes zero copy, and a driver with transmit metadata"
        );
    }
    let mut out = Vec::new();
    match options.lines() {
        _ if options.json => json::start(&mut out, options, plan, device, run.facts())?,
        Lines::Csv => csv::header(&mut out)?,
        Lines::Json { .. } | Lines::None => text::header(&mut out, plan, device)?,
    }
    Ok(out)
}

/// Awaits the end of the run, and says how long to wait for the output then.
async fn await_end(
    options: &Options,
    plan: &Plan,
    run: &StatelessRun<Collector>,
    progress: &Progress,
    signals: &mut Signals,
    started: Instant,
) -> anyhow::Result<Option<Duration>> {
    let mut line = if options.quiet { None } else { ProgressLine::of_stderr(plan.total()) };
    let mut look = tokio::time::interval(LOOK);
    let (mut is_interrupted, mut patience) = (false, None);
    while !run.is_over() {
        tokio::select! {
            wish = signals.next() => match wish {
                Wish::Status => eprintln!("{}", status(progress, plan.total(), 0, Duration::ZERO)),
                Wish::End if is_interrupted => {
                    patience = Some(PATIENCE);
                    run.abort();
                }
                Wish::End => {
                    is_interrupted = true;
                    run.stop();
                }
            },
            _ = look.tick() => {
                if options.deadline.is_some_and(|deadline| started.elapsed() >= deadline) {
                    run.stop();
                }
                if progress.is_unread() {
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
    Ok(patience)
}

/// What comes behind the replies. Other files than standard output are written.
fn end(options: &Options, summary: &Summary) -> anyhow::Result<Vec<u8>> {
    if let Some(path) = &options.hdr {
        hdr::write_to_file(path, summary.tally.named(), summary.elapsed)?;
    }
    let mut out = Vec::new();
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
    Ok(out)
}
