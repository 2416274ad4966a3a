//! `instamp exporter`.

mod clocks;
mod config;
mod exposition;
mod hooks;
mod metrics;
mod options;
mod problem;
mod read;
mod registry;
mod server;
mod target;

use std::{
    io::{self, Write as _},
    net::TcpListener,
    process::ExitCode,
};

use anyhow::{Context as _, anyhow, ensure};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use prometheus_client::registry::Registry;
use tokio::{sync::oneshot, task::LocalSet};

pub(crate) use self::options::Options;
use self::{config::Config, metrics::Families, registry::registry};
use crate::signals::{Signals, Wish};

pub(crate) fn run(options: Options) -> anyhow::Result<ExitCode> {
    let config = Config::of(options)?;
    make_room(config.targets.len())?;
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start the runtime")?;
    let ended = LocalSet::new().block_on(&runtime, export(config));
    // A name that is being looked up would be waited for.
    runtime.shutdown_background();
    ended.map(|()| ExitCode::SUCCESS)
}

/// Has the process open as many files as so many targets take.
fn make_room(targets: usize) -> anyhow::Result<()> {
    /// A socket and a timer.
    const OF_TARGET: usize = 2;
    /// Connections, pins, what the runtime has, and names that are being looked up.
    const OTHERS: usize = 256;
    let needed = u64::try_from(OF_TARGET * targets + OTHERS).unwrap_or(u64::MAX);
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).context("cannot tell how many files may be open")?;
    if soft >= needed {
        return Ok(());
    }
    ensure!(
        hard >= needed,
        "{targets} targets take {needed} open files, and {hard} are allowed: `ulimit -Hn`, or LimitNOFILE= of a unit, allows more"
    );
    setrlimit(Resource::RLIMIT_NOFILE, needed, hard).context("cannot have more open files")
}

/// Probes and answers until it is told to end.
async fn export(config: Config) -> anyhow::Result<()> {
    let mut signals = Signals::new().context("cannot listen to signals")?;
    let listener = TcpListener::bind(config.listen)
        .with_context(|| format!("cannot listen on {}: --listen names another address", config.listen))?;
    let address = listener.local_addr().context("cannot tell the address listened on")?;
    let families = Families::default();
    let mut served = serve(listener, registry(&families))?;
    target::start_all(config.targets, &families);
    writeln!(io::stdout(), "instamp exporter: http://{address}/metrics")?;
    loop {
        tokio::select! {
            wish = signals.next() => match wish {
                Wish::End => return Ok(()),
                Wish::Status => eprintln!("instamp exporter: http://{address}/metrics"),
            },
            ended = &mut served => {
                let reason = ended.unwrap_or_else(|_| Err(anyhow!("a panic")));
                return reason.context("metrics are not served any more");
            }
        }
    }
}

/// Serves on a thread of its own: what a scrape takes would be in the `rx stack` of replies that come meanwhile.
fn serve(listener: TcpListener, registry: Registry) -> anyhow::Result<oneshot::Receiver<anyhow::Result<()>>> {
    let (ended, ends) = oneshot::channel();
    let serve = move || _ = ended.send(server::serve(listener, registry));
    std::thread::Builder::new().name("metrics".into()).spawn(serve).context("cannot start a thread")?;
    Ok(ends)
}
