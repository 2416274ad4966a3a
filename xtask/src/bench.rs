//! `cargo xtask bench`: what instamp costs and how exact it is, as JSON Lines.

use anyhow::Result;

use crate::{
    capi,
    packages::as_root,
    process::{cargo, run, target},
    python, setup, static_command,
};

/// Figures are of optimized programs.
const PROFILE: &str = "release";

/// The part that runs real containers.
const CONTAINERS: &str = "containers";

/// The part that measures the libraries for other languages.
const BINDINGS: &str = "bindings";

/// What is measured.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Of cost, accuracy, added, flood, clock, afxdp, watch and bindings: all of these by default; and containers, come-and-go, endurance
    parts: Vec<String>,
}

/// Builds for release, measures in a lab of its own, and prints a JSON object on a line for each result.
pub(crate) fn bench(options: &Options) -> Result<()> {
    setup::measuring()?;
    let packages = ["instamp-tools", "instamp-cni", "instamp-tests"];
    run(cargo().args(["build", "--release", "--quiet"]).args(packages.map(|package| format!("--package={package}"))))?;
    let in_containers = if options.parts.iter().any(|part| part == CONTAINERS) {
        Some(static_command::build(&["--release"], PROFILE)?)
    } else {
        None
    };
    let bindings = if options.parts.is_empty() || options.parts.iter().any(|part| part == BINDINGS) {
        vec![("INSTAMP_CAPI", capi::installed(PROFILE)?), ("INSTAMP_PYTHON", python::environment(PROFILE)?)]
    } else {
        Vec::new()
    };
    let folder = target().join(PROFILE);
    run(as_root("env")
        .arg(format!("INSTAMP_BIN={}", folder.join("instamp").display()))
        .args(bindings.into_iter().map(|(name, path)| format!("{name}={}", path.display())))
        .args(in_containers.map(|path| format!("INSTAMP_STATIC_BIN={}", path.display())))
        .arg(folder.join("bench"))
        .args(&options.parts))
}
