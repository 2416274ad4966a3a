//! `instamp ping`.

use std::process::ExitCode;

/// Pings, and says how much of each round trip was network.
#[derive(clap::Args)]
pub(crate) struct Options {}

pub(crate) fn run(_options: Options) -> anyhow::Result<ExitCode> {
    anyhow::bail!("`instamp ping` is not part of this build")
}
