//! `cargo xtask test`: every test, on a machine that is set up for them.

use anyhow::Result;

use crate::{
    bpf, capi, debian, dist,
    process::{cargo, run, target},
    python, setup, static_command,
};

/// What the tests look for in the environment, which sudo resets.
const VARIABLES: [&str; 9] = [
    "CARGO",
    "CI",
    "INSTAMP_BIN",
    "INSTAMP_STATIC_BIN",
    "INSTAMP_BPF_OBJECTS",
    "INSTAMP_CAPI",
    "INSTAMP_PYTHON",
    "INSTAMP_DIST",
    "INSTAMP_DEBIAN",
];

/// What is tested.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Only what runs in virtual machines: other kernels, and network cards with hardware clocks
    #[arg(long)]
    vm: bool,
}

/// Sets up, builds the command and the BPF objects, compares those with the ones in the tree, and runs all tests, each
/// that needs BPF programs on both.
pub(crate) fn test(options: &Options) -> Result<()> {
    if options.vm { setup::testing_in_machines() } else { setup::testing() }?;
    bpf::check()?;
    run(cargo().args(["build", "--locked", "--package", "instamp-tools", "--package", "instamp-cni"]))?;
    let in_containers = if options.vm { None } else { Some(static_command::build(&["--locked"], "debug")?) };
    let mut tests = cargo();
    if !nix::unistd::geteuid().is_root() {
        let runner = format!("target.'cfg(all())'.runner = 'sudo --preserve-env={}'", VARIABLES.join(","));
        tests.args(["--config", &runner]);
    }
    tests.args(["test", "--locked", "--no-fail-fast"]);
    if options.vm {
        // With what they print: the figures that they measured.
        tests.args(["--package", "instamp-tests", "--test", "vm", "--", "--nocapture"]);
        // Who asks for these alone is not served by skipping them.
        tests.env("CI", "true");
    } else {
        tests.arg("--workspace");
    }
    tests.envs(in_containers.map(|path| ("INSTAMP_STATIC_BIN", path)));
    if !options.vm {
        tests.env("INSTAMP_CAPI", capi::installed("dev")?).env("INSTAMP_DEBIAN", debian::folder());
        if python::is_ready() {
            tests.env("INSTAMP_PYTHON", python::environment("dev")?).env("INSTAMP_DIST", dist::dist("dev")?);
        } else {
            // What is distributed has the wheel in it. `setup` has told what is missing.
            tests.env_remove("INSTAMP_PYTHON").env_remove("INSTAMP_DIST");
        }
    }
    run(tests.env("INSTAMP_BIN", target().join("debug/instamp")).env("INSTAMP_BPF_OBJECTS", bpf::fresh()))
}
