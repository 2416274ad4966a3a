//! Measures what instamp costs and how exact it is, in a lab of its own, and prints JSON Lines: `cargo xtask bench`.
//!
//! Figures are medians, or means over interleaved runs, of one machine at one time; nothing fails on a time, and what is lost or wrong does.

mod accuracy;
mod added;
mod afxdp;
mod bindings;
mod clock;
mod containers;
mod cost;
mod driver_tx;
mod flood;
mod machine;
mod run;
mod sync;
mod watch;

use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use instamp_tests::privilege;

/// Measures, and prints a JSON object on a line for each result. Times are in nanoseconds.
#[derive(Parser)]
struct Cli {
    /// What to measure
    #[arg(value_enum, default_values_t = [Part::Cost, Part::Accuracy, Part::Added, Part::Flood, Part::Clock, Part::Afxdp, Part::Watch, Part::Bindings])]
    parts: Vec<Part>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Part {
    /// Time of a hook per packet, less that of a program that does nothing
    Cost,
    /// `net` against a packet capture on the same device
    Accuracy,
    /// What hooks add to the RTT
    Added,
    /// Share of replies corrected, and exactness, beside flooding containers
    Flood,
    /// Probing past the stack: round trips a second and what they take beside other tools, evenness, exactness
    Afxdp,
    /// The same for ten million probes: a minute or two
    Endurance,
    /// A prober in a container of podman beside one of the host, and beside flooding containers; `instamp watch` beside other people's pings in six
    Containers,
    /// Containers that come and go, 200 times: some minutes
    ComeAndGo,
    /// `instamp watch` at 50,000 probes a second: its share of a processor, what it adds to the RTT, and how exact it is
    Watch,
    /// Time to strip and correct a reply in Rust, C and Python
    Bindings,
    /// Time to convert a hardware time, to publish the model that it is done with, and to make it
    Clock,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    if privilege::root().is_none() {
        return ExitCode::from(2);
    }
    machine::print();
    for part in cli.parts {
        match part {
            Part::Cost => {
                cost::measure();
                driver_tx::measure();
            }
            Part::Accuracy => accuracy::measure(),
            Part::Added => added::measure(),
            Part::Flood => flood::measure(),
            Part::Afxdp => afxdp::measure(),
            Part::Endurance => afxdp::endure(),
            Part::Containers => containers::measure(),
            Part::ComeAndGo => containers::coming(),
            Part::Watch => watch::measure(),
            Part::Bindings => bindings::measure(),
            Part::Clock => {
                clock::measure();
                sync::measure();
            }
        }
    }
    ExitCode::SUCCESS
}
