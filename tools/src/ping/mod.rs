//! `instamp ping`.

mod hints;
mod json;
mod options;
mod picture;
mod report;
#[cfg(test)]
pub(crate) mod samples;
mod tally;
mod text;

use std::process::ExitCode;

use anyhow::Context as _;
use instamp::prober::Prober;
#[cfg(feature = "afxdp")]
use instamp::{afxdp::TransportOptions, prober::Config};

pub(crate) use self::options::Options;
#[cfg(feature = "afxdp")]
use self::options::Transport;
use self::report::Report;
use crate::resolve::resolve;
#[cfg(feature = "afxdp")]
use crate::route::device_towards;
use crate::signals::{Signals, Wish};

pub(crate) fn run(options: Options) -> anyhow::Result<ExitCode> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start the runtime")?;
    runtime.block_on(ping(&options))
}

async fn ping(options: &Options) -> anyhow::Result<ExitCode> {
    #[cfg(feature = "afxdp")]
    options.check()?;
    let (address, interface) = resolve(&options.destination, options.family()).await?;
    let config = options.config(address, interface);
    #[cfg(feature = "afxdp")]
    let config = by_transport(options, config).await?;
    let mut prober = Prober::new(config)?;
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

/// With the device to be used past the kernel's stack, if one is.
#[cfg(feature = "afxdp")]
async fn by_transport(options: &Options, mut config: Config) -> anyhow::Result<Config> {
    if options.transport == Transport::Afxdp {
        let device = match &config.interface {
            Some(device) => device.clone(),
            None => device_towards(config.target).await?,
        };
        config.afxdp = Some(TransportOptions::new(&device));
    }
    Ok(config)
}
