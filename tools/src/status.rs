//! `instamp status`.

use std::process::ExitCode;

/// Shows what is attached, and what it has counted.
#[derive(clap::Args)]
pub(crate) struct Options {}

pub(crate) fn run(_options: Options) -> anyhow::Result<ExitCode> {
    anyhow::bail!("`instamp status` is not part of this build")
}
