//! `instamp ping`.

mod hints;
mod json;
mod options;
mod picture;
mod report;
#[cfg(test)]
mod samples;
mod source;
mod stages;
mod tally;
mod text;

use std::process::ExitCode;

use anyhow::Context as _;
use instamp::prober::Prober;

pub(crate) use self::options::Options;
use self::report::Report;
use crate::resolve::resolve;
use crate::signals::{Signals, Wish};

pub(crate) fn run(options: Options) -> anyhow::Result<ExitCode> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start the runtime")?;
    runtime.block_on(ping(&options))
}

async fn ping(options: &Options) -> anyhow::Result<ExitCode> {
    let (address, interface) = resolve(&options.destination, options.family()).await?;
    let mut prober = Prober::new(options.config(address, interface))?;
    let mut signals = Signals::new().context("cannot listen to signals")?;
    let mut report = Report::start(options, address)?;
    let mut interrupted = false;
    loop {
        tokio::select! {
            event = prober.next() => match event {
                Some(event) => report.event(&event)?,
                None => break,
            },
            wish = signals.next() => match wish {
                Wish::Status => report.status()?,
                Wish::End if interrupted => break,
                Wish::End => {
                    interrupted = true;
                    prober.stop();
                }
            },
        }
    }
    // Zeros where the payload has no room for a trailer, and so none is asked for.
    let nic_tx = options.hw.then(|| prober.nic_tx().unwrap_or_default());
    let answered = report.end(nic_tx)?;
    Ok(ExitCode::from(u8::from(!answered)))
}
