//! `cargo xtask bench`: what instamp costs and how exact it is, as JSON Lines.

use anyhow::Result;

use crate::{
    packages::as_root,
    process::{cargo, run, target},
    setup,
};

/// What is measured.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Of cost, accuracy, added, flood, clock, afxdp and watch: all of these by default; and endurance
    parts: Vec<String>,
}

/// Builds for release, measures in a lab of its own, and prints a JSON object on a line for each result.
pub(crate) fn bench(options: &Options) -> Result<()> {
    setup::measuring()?;
    run(cargo().args(["build", "--release", "--quiet", "--package", "instamp-tools", "--package", "instamp-tests"]))?;
    let folder = target().join("release");
    run(as_root("env")
        .arg(format!("INSTAMP_BIN={}", folder.join("instamp").display()))
        .arg(folder.join("bench"))
        .args(&options.parts))
}
