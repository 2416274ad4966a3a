//! The parts of the `instamp` command; the crates for programs are `instamp` (probers) and `instamp-hooks` (attaching).

mod attach;
mod caps;
mod choices;
mod clock;
mod clock_names;
mod decode;
mod detach;
mod distribution;
mod engines;
mod exporter;
mod hdr;
mod json_lines;
mod lab;
mod namespaces;
mod one_way;
mod ping;
#[cfg(feature = "afxdp")]
mod probe;
mod reflect;
mod report;
mod resolve;
#[cfg(feature = "afxdp")]
mod route;
mod run;
mod signals;
mod source;
mod stages;
mod stamp;
mod status;
mod sync;
mod units;
mod watch;

use std::{io, process::ExitCode};

use clap::{CommandFactory as _, Parser, Subcommand};
use instamp_hooks::Hooks;

pub use decode::decode_to;
pub use sync::stand_in;

/// What `instamp` exits with where something failed: ping's code for errors, and clap's for wrong usage.
const FAILURE: u8 = 2;

/// Measures how much of a round trip was network, and how much was this host.
///
/// Programs on the XDP and TC hooks write the time at which a probe (an ICMP echo message) passed into the probe
/// itself. `attach` puts them on a network device, `ping` sends probes and reads the times from every reply. `sync` brings the
/// clock of a network card, which stamps in its own time, into the system's.
#[derive(Parser)]
#[command(name = "instamp", version, after_help = EXAMPLES, subcommand_required = true, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  instamp attach --dev eth0             stamp this host's probes at eth0 from now on
  instamp ping --stages -c 20 DEST      where the time of 20 round trips went
  instamp detach --dev eth0             leave the device as it was
  instamp sync --dev eth0               the card's clock beside the system's, and how wrong that can be

Exit status: 0 on success, 2 on an error, which is told on standard error. `ping` and `watch` exit with 1 where there was no
reply, `decode` where there was no probe, `sync` and `clock` where no model was valid. `run` exits with the code of its tool.";

#[derive(Subcommand)]
enum Command {
    Attach(attach::Options),
    Detach(detach::Options),
    Status(status::Options),
    Caps(caps::Options),
    Ping(ping::Options),
    #[cfg(feature = "afxdp")]
    Probe(probe::Options),
    Reflect(reflect::Options),
    Watch(watch::Options),
    Run(run::Options),
    Sync(sync::Options),
    Clock(clock::Options),
    Exporter(exporter::Options),
    Decode(decode::Options),
    Report(report::Options),
    Lab(lab::Options),
}

/// The command line as it is defined, for what is made of it: manual pages and completions.
pub fn command() -> clap::Command {
    Cli::command()
}

/// Runs the command with this process' arguments.
pub fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Attach(options) => attach::run(options),
        Command::Detach(options) => detach::run(options),
        Command::Status(options) => status::run(options),
        Command::Caps(options) => caps::run(options),
        Command::Ping(options) => ping::run(options),
        #[cfg(feature = "afxdp")]
        Command::Probe(options) => probe::run(&options),
        Command::Reflect(options) => reflect::run(options),
        Command::Watch(options) => watch::run(&options),
        Command::Run(options) => run::run(&options),
        Command::Sync(options) => sync::run(options),
        Command::Clock(options) => clock::run(options),
        Command::Exporter(options) => exporter::run(options),
        Command::Decode(options) => decode::run(options),
        Command::Report(options) => report::run(&options),
        Command::Lab(options) => lab::run(options),
    };
    match result {
        Ok(code) => code,
        // Whoever read the output has seen enough of it (`| head`).
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("instamp: {error:#}");
            ExitCode::from(FAILURE)
        }
    }
}

/// The attachments of this machine. What the user should know of the work on them is told on standard error.
fn hooks() -> Result<Hooks, instamp_hooks::Error> {
    Hooks::open(None, |notice| eprintln!("instamp: {notice}"))
}

/// Whether the reader of the output has gone away.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().filter_map(|cause| cause.downcast_ref::<io::Error>()).any(|e| e.kind() == io::ErrorKind::BrokenPipe)
}
