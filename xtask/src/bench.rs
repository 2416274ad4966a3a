//! `cargo xtask bench`: what instamp costs and how exact it is, as JSON Lines.

use anyhow::Result;

use crate::{
    packages::as_root,
    process::{cargo, run, target},
    setup, static_command,
};

/// The part that runs real containers.
const CONTAINERS: &str = "containers";

/// What is measured.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Of cost, accuracy, added, flood, clock, afxdp and watch: all of these by default; and containers, endurance
    parts: Vec<String>,
}

/// Builds for release, measures in a lab of its own, and prints a JSON object on a line for each result.
pub(crate) fn bench(options: &Options) -> Result<()> {
    setup::measuring()?;
    let packages = ["instamp-tools", "instamp-cni", "instamp-tests"];
    run(cargo().args(["build", "--release", "--quiet"]).args(packages.map(|package| format!("--package={package}"))))?;
    let in_containers = if options.parts.iter().any(|part| part == CONTAINERS) {
        Some(static_command::build(&["--release"], "release")?)
    } else {
        None
    };
    let folder = target().join("release");
    run(as_root("env")
        .arg(format!("INSTAMP_BIN={}", folder.join("instamp").display()))
        .args(in_containers.map(|path| format!("INSTAMP_STATIC_BIN={}", path.display())))
        .arg(folder.join("bench"))
        .args(&options.parts))
}
