//! `instamp caps`.

use std::process::ExitCode;

/// Shows what each device can do.
#[derive(clap::Args)]
pub(crate) struct Options {}

pub(crate) fn run(_options: Options) -> anyhow::Result<ExitCode> {
    anyhow::bail!("`instamp caps` is not part of this build")
}
