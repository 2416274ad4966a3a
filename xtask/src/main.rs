//! Development tasks: `cargo xtask --help`.

mod apt;
mod bench;
mod bpf;
mod bpf_toolchain;
mod capi;
mod deb;
mod debian;
mod demo;
mod dist;
mod machines;
mod packages;
mod process;
mod prometheus;
mod python;
mod setup;
mod static_command;
mod test;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Development tasks.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Installs what building, testing and the demo need and is missing.
    Setup,
    /// Shows where the time of 20 round trips went, in a lab that is made for it and removed again.
    Demo,
    /// Runs every test, as root or through sudo.
    Test(test::Options),
    /// Measures cost, exactness, added RTT and behaviour under floods, and prints JSON Lines.
    Bench(bench::Options),
    /// Builds the Python package, installs it in target/python, and prints the path of the interpreter that has it.
    Python,
    /// Builds the BPF objects in the tree from their sources.
    Bpf(bpf::Options),
    /// Builds the library for programs in C and installs it with its header and manual.
    Capi(capi::Options),
    /// Makes what users install: packages, manual pages, completions.
    Dist(dist::Options),
}

fn main() -> ExitCode {
    let result = match Cli::parse().task {
        Task::Setup => setup::everything(),
        Task::Demo => demo::demo(),
        Task::Test(options) => test::test(&options),
        Task::Bench(options) => bench::bench(&options),
        Task::Python => python::environment("dev").map(|interpreter| println!("{}", interpreter.display())),
        Task::Bpf(options) => bpf::run_task(&options),
        Task::Capi(options) => capi::run_task(&options),
        Task::Dist(options) => dist::run_task(&options),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}
