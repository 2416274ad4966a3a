//! `instamp detach`.

use std::process::ExitCode;

/// Removes what attach has put on a device.
#[derive(clap::Args)]
pub(crate) struct Options {}

pub(crate) fn run(_options: Options) -> anyhow::Result<ExitCode> {
    anyhow::bail!("`instamp detach` is not part of this build")
}
