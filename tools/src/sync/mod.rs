//! `instamp sync`.

mod events;
mod follower;
mod json;
mod options;
mod output;
mod owner;
mod publisher;
mod report;
#[cfg(test)]
mod samples;
mod service;
mod sinks;
mod source;
mod statistics;
mod steer;
mod system_lock;
mod text;
mod told;

use std::{future, process::ExitCode, time::Duration};

use anyhow::{Context as _, bail, ensure};
use instamp::time_namespace::MonotonicOffset;
use instamp_sync::CrossTimestamp;
use tokio::time::{Interval, MissedTickBehavior, interval};

pub(crate) use self::options::Options;
use self::{follower::Follower, report::Report, service::Service, source::Source};
use crate::{
    clock_names,
    signals::{Signals, Wish},
};

/// Reads the clock that stands in for a card's as `instamp sync --phc CLOCK_MONOTONIC_RAW` does, for what measures that.
pub fn stand_in(readings: u32) -> impl CrossTimestamp<Error: std::error::Error> {
    Source::stand_in(readings)
}

pub(crate) fn run(options: Options) -> anyhow::Result<ExitCode> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start the runtime")?;
    runtime.block_on(sync(&options))
}

async fn sync(options: &Options) -> anyhow::Result<ExitCode> {
    ensure!(
        MonotonicOffset::of_this_process()? == MonotonicOffset::default(),
        "models are of the host's time: run this outside of the time namespace"
    );
    let mut service = Service::of_this_process()?;
    let mut signals = Signals::new().context("cannot listen to signals")?;
    let (mut followers, clocks) = open(options)?;
    let mut report = Report::start(options, &clocks)?;
    let mut ticks = every(options.interval());
    let mut signs_of_life = service.watchdog().map(every);
    let mut left = options.count;
    let mut outcome = Ok(());
    let mut is_told_to_end = false;
    while left != Some(0) && outcome.is_ok() {
        tokio::select! {
            biased;
            wish = signals.next() => match wish {
                Wish::End => {
                    is_told_to_end = true;
                    break;
                }
                Wish::Status => followers.iter().for_each(|follower| report.notice(follower.standing())),
            },
            () = due(&mut signs_of_life) => service.alive(),
            _ = ticks.tick() => {
                outcome = update(&mut followers, &mut report);
                tell(&mut service, &followers);
                left = left.map(|left| left - 1);
            }
        }
    }
    service.stopping();
    followers.iter_mut().for_each(Follower::withdraw);
    let ended = report.end(followers.iter().map(Follower::tally));
    outcome?;
    ended?;
    // Whoever stops a service early does not want to hear that it has failed.
    let is_as_wanted = is_told_to_end || followers.iter().any(Follower::has_locked);
    Ok(ExitCode::from(u8::from(!is_as_wanted)))
}

fn open(options: &Options) -> anyhow::Result<(Vec<Follower>, Vec<told::Clock>)> {
    let chosen = clock_names::choose(&options.dev, &options.phc)?;
    if options.steer == Some(options::Steer::System) && chosen.len() > 1 {
        bail!("the system's clock can follow one clock alone: name one, or leave out --steer");
    }
    let opened: anyhow::Result<Vec<_>> = chosen.iter().map(|chosen| Follower::open(chosen, options)).collect();
    Ok(opened?.into_iter().unzip())
}

/// Updates every clock. One that is gone does not stop the others.
fn update(followers: &mut [Follower], report: &mut Report<'_>) -> anyhow::Result<()> {
    for follower in followers.iter_mut().filter(|follower| !follower.is_gone()) {
        follower.update(report)?;
    }
    ensure!(!followers.iter().all(Follower::is_gone), "no clock is left");
    Ok(())
}

fn tell(service: &mut Service, followers: &[Follower]) {
    if followers.iter().any(Follower::has_locked) {
        service.ready();
    }
    service.status(followers.iter().map(Follower::state).collect::<Vec<_>>().join("; "));
}

/// At absolute times: what is done at one does not delay the next. One that is late is not made up for.
fn every(period: Duration) -> Interval {
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    ticks
}

/// When the next sign of life is due; never where none is wanted.
async fn due(signs_of_life: &mut Option<Interval>) {
    match signs_of_life {
        Some(signs_of_life) => {
            signs_of_life.tick().await;
        }
        None => future::pending().await,
    }
}
