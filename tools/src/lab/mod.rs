//! `instamp lab`.

use std::process::ExitCode;

/// Makes and removes network namespaces to measure in.
#[derive(clap::Args)]
pub(crate) struct Options {}

pub(crate) fn run(_options: Options) -> anyhow::Result<ExitCode> {
    anyhow::bail!("`instamp lab` is not part of this build")
}
