//! `instamp reflect`.

use std::{
    io::{self, Write as _},
    num::NonZeroU32,
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use instamp_hooks::{Error, Objects, Prefix, ReflectCounts, ReflectRequest, Reflector};
use serde::Serialize;

use crate::{
    choices::{ClockChoice, XdpModeChoice},
    json_lines,
    signals::{Signals, Wish},
    units::whole_nanoseconds,
};

/// Answers probes where they arrive, and stamps both ways: so that probers can tell what this host has taken from the network's time.
///
/// An XDP program turns echo requests with a trailer round, from the networks that are allowed, with a stamp on arriving and one on
/// leaving; the stack never sees them. All other packets are untouched. It runs until it is interrupted (SIGINT, SIGTERM).
#[derive(clap::Args)]
#[command(after_help = HELP)]
#[expect(clippy::doc_markdown, reason = "this is the text of --help")]
pub(crate) struct Options {
    /// The device.
    #[arg(long, value_name = "IF")]
    dev: String,

    /// Answer probes of these addresses. Needed: whoever gets answers reads this host's clock. May be repeated.
    #[arg(long, value_name = "PREFIX", required = true)]
    allow: Vec<Prefix>,

    /// How many probes a second to answer of each source: an IPv4 address, or an IPv6 network of 64 bits. What is more, the stack
    /// answers as it does without this command. 0 is no limit.
    #[arg(long, value_name = "N", default_value = "1000")]
    rate: u32,

    /// How many of these may come at once.
    #[arg(long, value_name = "N", default_value = "100", value_parser = clap::value_parser!(u32).range(1..))]
    burst: u32,

    /// The clock of the stamps: with tai, probers whose CLOCK_TAI agrees with this host's can tell one-way delays.
    #[arg(long, value_enum, value_name = "CLOCK", default_value_t)]
    clock: ClockChoice,

    /// The number of this host in its stamps [default: that of the attachment, or a hash of its boot]. An attachment by XDP keeps
    /// its own.
    #[arg(long, value_name = "N")]
    node: Option<u16>,

    /// Who runs the XDP program, where the device has none of `instamp attach`: the driver, or the kernel, which is slower and later.
    #[arg(long, value_enum, value_name = "MODE", default_value_t)]
    xdp_mode: XdpModeChoice,

    /// Print a start and a summary object as JSON Lines.
    #[arg(long)]
    json: bool,
}

const HELP: &str = "\
On a device that `instamp attach` stamps by XDP, this takes the place of the program that is there,
stamps this host's own probes as that does, and puts it back at the end. On a device that is stamped
by TC, or not at all, it has a program of its own, which the kernel takes off when this process ends.
A device with somebody else's XDP program is refused, and so is one attached with --hw whose driver
hands on the card's receive times. However this process ends, nothing is answered
three seconds later.

Counted are the requests with a trailer to this host that were
  stamped      answered, with both stamps
  full         answered without, as there was no room for both: a larger --cap has more
  not-allowed  left to the stack, as --allow does not name their senders
  limited      left to the stack, as their source had sent more than --rate
  unfit        left to the stack: IPv4 options, IPv6 extension headers, multicast, other oddities
`instamp status` tells the same.

Replies go back to the station that the request came from, whatever the routes say.

Examples:
  instamp reflect --dev eth0 --allow 192.0.2.0/24
  instamp reflect --dev eth0 --allow 192.0.2.1 --allow 2001:db8::/64 --rate 0 --clock tai";

/// As often the program is told to go on.
const RENEWAL: Duration = Duration::from_secs(1);

/// How long it goes on without having been told to.
const LEASE: Duration = Duration::from_secs(3);

pub(crate) fn run(options: Options) -> anyhow::Result<ExitCode> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start the runtime")?;
    runtime.block_on(reflect(&options))
}

async fn reflect(options: &Options) -> anyhow::Result<ExitCode> {
    let mut signals = Signals::new().context("cannot listen to signals")?;
    let reflector =
        crate::hooks()?.reflect(&Objects::built_in(), &options.dev, options.xdp_mode.into(), &options.into())?;
    let started = Instant::now();
    begin(options, &reflector)?;
    let ended = await_end(&reflector, &mut signals).await;
    let counts = reflector.counts();
    let stopped = reflector.stop();
    // What was answered is told whatever went wrong.
    let told = match stopped.as_ref().or(counts.as_ref()) {
        Ok(counts) => end(options, *counts, started.elapsed()),
        Err(_) => Ok(()),
    };
    ended?;
    stopped?;
    told?;
    Ok(ExitCode::SUCCESS)
}

/// Has it go on until a signal asks for an end, or it cannot.
async fn await_end(reflector: &Reflector, signals: &mut Signals) -> Result<(), Error> {
    let mut renewal = tokio::time::interval(RENEWAL);
    let mut renewed = Instant::now();
    loop {
        tokio::select! {
            _ = renewal.tick() => match reflector.renew() {
                Ok(()) => renewed = Instant::now(),
                Err(error) if is_final(&error, renewed.elapsed()) => return Err(error),
                Err(error) => eprintln!("instamp: trying again: {:#}", anyhow::Error::from(error)),
            },
            wish = signals.next() => match wish {
                Wish::Status => match reflector.counts() {
                    Ok(counts) => eprintln!("{}", Counted(counts)),
                    Err(error) => eprintln!("instamp: {:#}", anyhow::Error::from(error)),
                },
                Wish::End => return Ok(()),
            },
        }
    }
}

/// Whether there is no use in trying again, so long after it was last told to go on.
fn is_final(error: &Error, since: Duration) -> bool {
    matches!(error, Error::NotReflecting { .. }) || since >= LEASE
}

impl From<&Options> for ReflectRequest {
    fn from(options: &Options) -> Self {
        let unlimited = NonZeroU32::MAX;
        Self {
            rate: NonZeroU32::new(options.rate).unwrap_or(unlimited),
            burst: NonZeroU32::new(options.burst).unwrap_or(unlimited),
            clock: options.clock.into(),
            node: options.node,
            ..Self::new(options.allow.clone())
        }
    }
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Line<'a> {
    Start { device: &'a str, node: u16, attached: bool },
    Summary { stamped: u64, full: u64, not_allowed: u64, limited: u64, unfit: u64, elapsed_ns: u64 },
}

/// Tells that it answers from now on: who starts it may wait for this line.
fn begin(options: &Options, reflector: &Reflector) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let (device, node, attached) = (&*options.dev, reflector.site().node, reflector.joins());
    if options.json {
        json_lines::write(&mut out, &Line::Start { device, node, attached })?;
    } else {
        let allowed: Vec<String> = options.allow.iter().map(Prefix::to_string).collect();
        let by = if attached { "by the program of its attachment" } else { "by a program of its own" };
        writeln!(out, "{device}: probes of {} are answered {by}, node {node}", allowed.join(", "))?;
    }
    out.flush()
}

fn end(options: &Options, counts: ReflectCounts, elapsed: Duration) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let ReflectCounts { stamped, full, not_allowed, limited, unfit, .. } = counts;
    if options.json {
        let elapsed_ns = whole_nanoseconds(elapsed);
        json_lines::write(&mut out, &Line::Summary { stamped, full, not_allowed, limited, unfit, elapsed_ns })?;
    } else {
        writeln!(out, "{}: {}", options.dev, Counted(counts))?;
    }
    out.flush()
}

/// The counts for people: those that are not 0, and always what was answered.
pub(crate) struct Counted(pub(crate) ReflectCounts);

impl std::fmt::Display for Counted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ReflectCounts { stamped, full, not_allowed, limited, unfit, .. } = self.0;
        write!(f, "stamped {stamped}")?;
        for (count, name) in [(full, "full"), (not_allowed, "not-allowed"), (limited, "limited"), (unfit, "unfit")] {
            if count > 0 {
                write!(f, ", {name} {count}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_passes_is_borne_for_as_long_as_a_lease() {
        let passing = || Error::System {
            operation: "renew the reflector on",
            object: "eth0".to_owned(),
            source: io::Error::from(io::ErrorKind::ResourceBusy).into(),
        };
        let gone = Error::NotReflecting { device: "eth0".into() };
        for (error, since, expected) in [
            (passing(), Duration::ZERO, false),
            (passing(), LEASE - Duration::from_millis(1), false),
            (passing(), LEASE, true),
            (gone, Duration::ZERO, true),
        ] {
            assert_eq!(is_final(&error, since), expected, "{error} after {since:?}");
        }
    }
}
